/*
 * Loaded before libc into a Dovecot's processes: calls on mailhook's files
 * (journal, presence, interest, their directory) fail when test_torture.py
 * wants it. Which, stands in a file that all processes share; every other
 * call of theirs goes through as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, SYNC = 4, LOOK = 8 };
#define FDS 4096

/* Read and written by the test, too. */
static volatile struct shared {
	uint32_t kinds, at, burst, error;
	uint32_t seen, hits;
} *shared;
static unsigned char ours[FDS];

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("MAILHOOK_FAULTS");
	void *map;
	int fd;

	if (path == NULL)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	(void)syscall(SYS_close, fd);
	if (map != MAP_FAILED)
		shared = map;
}

static int fails(unsigned int kind)
{
	uint32_t n;

	if (shared == NULL || (shared->kinds & kind) == 0)
		return 0;
	n = __atomic_add_fetch(&shared->seen, 1, __ATOMIC_SEQ_CST);
	if (n < shared->at || n - shared->at >= shared->burst)
		return 0;
	__atomic_add_fetch(&shared->hits, 1, __ATOMIC_SEQ_CST);
	errno = (int)shared->error;
	return 1;
}

static int is_ours(int fd)
{
	return fd >= 0 && fd < FDS && ours[fd];
}

static int is_our_name(const char *path)
{
	static const char *const names[] = {"journal", "presence", "interest"};
	const char *dir = getenv("MAILHOOK_DIR");
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(path, names[i]) == 0)
			return 1;
	}
	return dir != NULL && strcmp(path, dir) == 0;
}

static int do_open(int dir_fd, const char *path, int flags, int mode)
{
	int our_name = shared != NULL && is_our_name(path), fd;

	if (our_name && fails(OPEN))
		return -1;
	fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
	if (fd >= 0 && fd < FDS)
		ours[fd] = our_name != 0;
	return fd;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return do_open(dir_fd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return do_open(AT_FDCWD, path, flags, mode);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		ours[fd] = 0;
	return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *data, size_t len)
{
	return is_ours(fd) && fails(WRITE) ? -1 :
		syscall(SYS_write, fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return is_ours(fd) && fails(WRITE) ? -1 :
		syscall(SYS_pwrite64, fd, data, len, offset);
}

int fdatasync(int fd)
{
	return is_ours(fd) && fails(SYNC) ? -1 :
		(int)syscall(SYS_fdatasync, fd);
}

ssize_t read(int fd, void *data, size_t len)
{
	return is_ours(fd) && fails(LOOK) ? -1 :
		syscall(SYS_read, fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	return is_ours(fd) && fails(LOOK) ? -1 :
		syscall(SYS_pread64, fd, data, len, offset);
}

int fstat(int fd, struct stat *st_r)
{
	return is_ours(fd) && fails(LOOK) ? -1 :
		(int)syscall(SYS_newfstatat, fd, "", st_r, AT_EMPTY_PATH);
}

int fstatat(int dir_fd, const char *restrict path, struct stat *restrict st_r,
	    int flags)
{
	return shared != NULL && is_our_name(path) && fails(LOOK) ? -1 :
		(int)syscall(SYS_newfstatat, dir_fd, path, st_r, flags);
}

int fcntl(int fd, int what, ...)
{
	va_list args;
	long value;

	va_start(args, what);
	value = va_arg(args, long);
	va_end(args);
	return is_ours(fd) && fails(LOOK) ? -1 :
		(int)syscall(SYS_fcntl, fd, what, value);
}
