#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

static struct {
	unsigned int kinds;
	unsigned long at, burst, seen;
	int error;
	bool cut, happened;
	int paused;
} armed;
static long blocks;

void faults_arm(unsigned int kinds, unsigned long at, unsigned long burst,
		int error, bool cut)
{
	armed.at = at;
	armed.burst = burst;
	armed.error = error;
	armed.cut = cut;
	armed.seen = 0;
	armed.happened = false;
	armed.paused = 0;
	armed.kinds = kinds;
}

unsigned long faults_disarm(void)
{
	armed.kinds = 0;
	return armed.seen;
}

void faults_pause(void)
{
	armed.paused++;
}

void faults_resume(void)
{
	armed.paused--;
}

bool faults_happened(void)
{
	return armed.happened;
}

long faults_blocks(void)
{
	return blocks;
}

const char *faults_kind_name(unsigned int kind)
{
	switch (kind) {
	case FAULT_MEMORY:
		return "memory";
	case FAULT_WRITE:
		return "write";
	case FAULT_SYNC:
		return "sync";
	case FAULT_NAME:
		return "name";
	case FAULT_CALL:
		return "call";
	default:
		return "read";
	}
}

/* For a debugger: every fault comes by here. */
__attribute__((noinline)) void faults_here(void);
void faults_here(void)
{
	static const char *stop;

	if (stop == NULL && (stop = getenv("FAULTS_ABORT")) == NULL)
		stop = "";
	if (*stop != '\0')
		abort();
}

static bool fails(unsigned int kind)
{
	if ((armed.kinds & kind) == 0 || armed.paused > 0)
		return false;
	armed.seen++;
	if (armed.seen < armed.at || armed.seen - armed.at >= armed.burst)
		return false;
	armed.happened = true;
	faults_here();
	errno = kind == FAULT_MEMORY ? ENOMEM : armed.error;
	return true;
}

bool faults_strike(unsigned int kind)
{
	return fails(kind);
}

/* Memory */

#ifdef SANITIZED

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return fails(FAULT_MEMORY) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return fails(FAULT_MEMORY) ? NULL : __real_strndup(text, len);
}

#else

/* glibc's own; its strdup() and the like come through here, too. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *block);

void *malloc(size_t size)
{
	void *block = fails(FAULT_MEMORY) ? NULL : __libc_malloc(size);

	blocks += block != NULL;
	return block;
}

void *calloc(size_t count, size_t size)
{
	void *block = fails(FAULT_MEMORY) ? NULL : __libc_calloc(count, size);

	blocks += block != NULL;
	return block;
}

void *realloc(void *old, size_t size)
{
	void *block = fails(FAULT_MEMORY) ? NULL : __libc_realloc(old, size);

	blocks += block != NULL && old == NULL;
	blocks -= block == NULL && old != NULL && size == 0;
	return block;
}

void free(void *block)
{
	blocks -= block != NULL;
	__libc_free(block);
}

/* The linker's --wrap is for sanitizers. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	return malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return realloc(old, size);
}

char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

char *__wrap_strdup(const char *text)
{
	return __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return __real_strndup(text, len);
}

#endif

/* Files: straight to the kernel, under both of their names. */

#define AS_64(name) __attribute__((alias(#name)))

ssize_t write(int fd, const void *data, size_t len)
{
	if (!fails(FAULT_WRITE))
		return syscall(SYS_write, fd, data, len);
	if (armed.cut && len > 1 &&
	    lseek(fd, 0, SEEK_CUR) >= 0)
		return syscall(SYS_write, fd, data, len / 2);
	return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (!fails(FAULT_WRITE))
		return syscall(SYS_pwrite64, fd, data, len, offset);
	return armed.cut && len > 1 ?
		syscall(SYS_pwrite64, fd, data, len / 2, offset) : -1;
}
ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
	AS_64(pwrite);

int ftruncate(int fd, off_t size)
{
	return fails(FAULT_WRITE) ? -1 :
		(int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off_t size) AS_64(ftruncate);

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return fails(FAULT_WRITE) ? -1 :
		(int)syscall(SYS_fallocate, fd, mode, offset, len);
}
int fallocate64(int fd, int mode, off_t offset, off_t len) AS_64(fallocate);

int posix_fallocate(int fd, off_t offset, off_t len)
{
	if (fails(FAULT_WRITE))
		return armed.error;
	return syscall(SYS_fallocate, fd, 0, offset, len) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off_t offset, off_t len) AS_64(posix_fallocate);

int fsync(int fd)
{
	(void)fd;
	return fails(FAULT_SYNC) ? -1 : 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return fails(FAULT_SYNC) ? -1 : 0;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return fails(FAULT_NAME) ? -1 :
		(int)syscall(SYS_openat, dir_fd, path, flags, mode);
}
int openat64(int dir_fd, const char *path, int flags, ...) AS_64(openat);

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return fails(FAULT_NAME) ? -1 :
		(int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) AS_64(open);

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return fails(FAULT_NAME) ? -1 :
		(int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return fails(FAULT_NAME) ? -1 :
		(int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
	return fails(FAULT_NAME) ? -1 :
		(int)syscall(SYS_unlinkat, dir_fd, path, flags);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int fchmod(int fd, mode_t mode)
{
	return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

ssize_t read(int fd, void *data, size_t len)
{
	return fails(FAULT_READ) ? -1 : syscall(SYS_read, fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	return fails(FAULT_READ) ? -1 :
		syscall(SYS_pread64, fd, data, len, offset);
}
ssize_t pread64(int fd, void *data, size_t len, off_t offset) AS_64(pread);

int fstatat(int dir_fd, const char *restrict path, struct stat *restrict st_r,
	    int flags)
{
	return fails(FAULT_READ) ? -1 :
		(int)syscall(SYS_newfstatat, dir_fd, path, st_r, flags);
}

int fstatat64(int dir_fd, const char *restrict path,
	      struct stat64 *restrict st_r, int flags)
{
	return fstatat(dir_fd, path, (struct stat *)st_r, flags);
}

int fstat(int fd, struct stat *st_r)
{
	return fstatat(fd, "", st_r, AT_EMPTY_PATH);
}

int fstat64(int fd, struct stat64 *st_r)
{
	return fstat(fd, (struct stat *)st_r);
}

int inotify_init1(int flags)
{
	return fails(FAULT_READ) ? -1 : (int)syscall(SYS_inotify_init1, flags);
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	return fails(FAULT_READ) ? -1 :
		(int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

int fcntl(int fd, int what, ...)
{
	va_list args;
	long value;

	va_start(args, what);
	value = va_arg(args, long);
	va_end(args);
	return fails(FAULT_READ) ? -1 :
		(int)syscall(SYS_fcntl, fd, what, value);
}
int fcntl64(int fd, int what, ...) AS_64(fcntl);
