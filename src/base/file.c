/*
 * The few file operations that must be done the same way everywhere.
 * Invariant: every descriptor is CLOEXEC, EINTR never shows.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

int mse_file_write_all(int fd, const void *data, size_t len, size_t *written_r)
{
	const char *bytes = data;
	size_t done = 0;
	int ret = 0;

	while (done < len) {
		ssize_t n = write(fd, bytes + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENOSPC;
			ret = -1;
			break;
		}
		done += (size_t)n;
	}
	if (written_r != NULL)
		*written_r = done;
	return ret;
}

static int read_regular(int fd, const char *name, struct mse_buf *buf,
			struct mse_error *error_r)
{
	char chunk[16384];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return mse_error_set(error_r, "cannot look at %s: %s", name,
				     strerror(errno));
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return mse_error_set(error_r, "%s is not a regular file", name);
	}
	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return mse_error_set(error_r, "cannot read %s: %s",
					     name, strerror(errno));
		if (n == 0)
			return 0;
		mse_buf_append(buf, chunk, (size_t)n);
		if (mse_buf_failed(buf)) {
			errno = EFBIG;
			return mse_error_set(error_r,
					     "%s is larger than %zu octets",
					     name, buf->limit);
		}
	}
}

int mse_file_read(int dirfd, const char *name, struct mse_buf *buf,
		  struct mse_error *error_r)
{
	/* NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int ret, saved_errno;

	if (fd < 0) {
		saved_errno = errno;
		mse_error_set(error_r, "cannot open %s: %s", name,
			      strerror(errno));
		errno = saved_errno;
		return -1;
	}
	ret = read_regular(fd, name, buf, error_r);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}

static int replace_open(int dirfd, const char *name, const char *temporary,
			mode_t mode, const void *data, size_t len,
			struct mse_error *error_r)
{
	int fd = openat(dirfd, temporary,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int ret = 0;

	if (fd < 0)
		return mse_error_set(error_r, "cannot create %s: %s",
				     temporary, strerror(errno));
	if (fchmod(fd, mode) < 0 ||
	    mse_file_write_all(fd, data, len, NULL) < 0 || fsync(fd) < 0)
		ret = mse_error_set(error_r, "cannot write %s: %s", name,
				    strerror(errno));
	if (close(fd) < 0 && ret == 0)
		ret = mse_error_set(error_r, "cannot write %s: %s", name,
				    strerror(errno));
	return ret;
}

static int sync_dir(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -1;
	ret = fsync(fd);
	close(fd);
	return ret;
}

int mse_file_replace(int dirfd, const char *name, mode_t mode,
		     const void *data, size_t len, struct mse_error *error_r)
{
	char temporary[256];
	struct stat st;
	int saved_errno;

	snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	unlinkat(dirfd, temporary, 0);
	if (replace_open(dirfd, name, temporary, mode, data, len,
			 error_r) < 0) {
		unlinkat(dirfd, temporary, 0);
		return -1;
	}
	if (renameat(dirfd, temporary, dirfd, name) < 0) {
		saved_errno = errno;
		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode))
			saved_errno = EISDIR;
		mse_error_set(error_r, "cannot replace %s: %s", name,
			      mse_file_obstacle(saved_errno));
		unlinkat(dirfd, temporary, 0);
		return -1;
	}
	if (sync_dir(dirfd) < 0)
		return mse_error_set(error_r,
				     "cannot sync the directory of %s: %s",
				     name, strerror(errno));
	return 0;
}

const char *mse_file_obstacle(int error)
{
	switch (error) {
	case ELOOP:
		return "it is a symbolic link: move it away";
	case EISDIR:
		return "it is a directory: move it away";
	case ENXIO:
		return "it is not a regular file: move it away";
	case EACCES:
	case EPERM:
		return "Permission denied: give it to mailhookd's user, or "
			"move it away";
	default:
		return strerror(error);
	}
}

/* statfs(2): the kernel's magic numbers of file systems whose O_APPEND is
   not atomic between machines, or whose locks are not local. */
static const uint32_t network_magics[] = {
	0x6969,     /* NFS */
	0xff534d42, /* CIFS */
	0xfe534d42, /* SMB2 */
	0x517b,     /* SMB */
	0x5346414f, /* AFS */
	0x6b414653, /* kAFS */
	0x00c36400, /* Ceph */
	0x65735546, /* FUSE */
	0x01021997, /* 9p */
	0x0bd00bd0, /* Lustre */
	0x47504653, /* GPFS */
	0x01161970, /* GFS2 */
	0x7461636f, /* OCFS2 */
	0x73757245, /* Coda */
};

bool mse_file_is_on_network(int fd)
{
	struct statfs fs;
	size_t i;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (i = 0; i < sizeof(network_magics) / sizeof(*network_magics); i++)
		if ((uint32_t)fs.f_type == network_magics[i])
			return true;
	return false;
}
