#include "mse-config.h"
#include "ledger/ledger-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

/*
 * The lock file: the holder's process id in decimal and LF, empty while
 * nobody holds it. The lock itself is an open file description lock, so a
 * second opener in the same process is refused too, and closing some other
 * descriptor of the file does not drop it (as POSIX locks would).
 */

#define POLL_MS 50

static int try_lock(int fd)
{
	struct flock lock;

	memset(&lock, 0, sizeof(lock));
	lock.l_type = F_WRLCK;
	lock.l_whence = SEEK_SET;
	return fcntl(fd, F_OFD_SETLK, &lock);
}

static int set_held(int fd, int wait_ms, struct mse_error *error_r)
{
	struct timespec pause = {0, POLL_MS * 1000000L};
	char holder[32];
	ssize_t len;
	long pid;

	while (try_lock(fd) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EACCES) {
			return mse_error_set(error_r, "cannot lock %s: %s",
					     MSE_LEDGER_LOCK_NAME,
					     strerror(errno));
		}
		if (wait_ms <= 0) {
			len = pread(fd, holder, sizeof(holder) - 1, 0);
			holder[len > 0 ? len : 0] = '\0';
			pid = strtol(holder, NULL, 10);
			if (pid <= 0) {
				return mse_error_set(error_r,
					"the ledger is in use by another "
					"mailhookd");
			}
			return mse_error_set(error_r,
				"the ledger is in use by another mailhookd "
				"(process %ld)", pid);
		}
		(void)nanosleep(&pause, NULL);
		wait_ms -= POLL_MS;
	}
	return 0;
}

int mse_ledger_lock(int dirfd, int wait_ms, struct mse_error *error_r)
{
	char holder[32];
	int fd, len;

	fd = openat(dirfd, MSE_LEDGER_LOCK_NAME,
		    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		    0600);
	/* fchmod: whatever the umask, the next daemon must be able to open
	   it and nobody else may lock us out. */
	if (fd < 0 || fchmod(fd, 0600) < 0) {
		mse_error_set(error_r, "cannot open %s: %s",
			      MSE_LEDGER_LOCK_NAME, mse_file_obstacle(errno));
		goto fail;
	}
	if (set_held(fd, wait_ms, error_r) < 0)
		goto fail;
	/* Only for people: a full disk must not keep the daemon down. */
	len = snprintf(holder, sizeof(holder), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == 0 && pwrite(fd, holder, (size_t)len, 0) < 0)
		(void)!ftruncate(fd, 0);
	return fd;
fail:
	if (fd >= 0)
		close(fd);
	return -1;
}

void mse_ledger_unlock(int *fd)
{
	if (*fd < 0)
		return;
	(void)!ftruncate(*fd, 0);
	close(*fd);
	*fd = -1;
}
