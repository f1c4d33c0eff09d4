/*
 * Loaded first into a mail process (LD_PRELOAD): kills it, as kill -9 does,
 * at a step between a change of Dovecot's and its event. Which step, and at
 * the how manieth of them in the process's life since then, stands in the
 * file that MAILHOOK_DEATH names, while there is one:
 *
 *	intended 1   when an intent is in presence, before the change
 *	append 1     before a write to the journal: the change is made
 *	appended 1   after that write
 *	clearing 1   before the last intent under way is cleared
 *	cleared 1    after it
 *
 * Or it meets another process, who was quicker:
 *
 *	met 1        when it makes the last directory of a maildir
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INTENTS_AT (4096 + 4096 * 128)

static unsigned int met;

static int is_file(int fd, const char *name)
{
	char link[64], path[4096];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return 0;
	path[len] = '\0';
	return strlen(path) > strlen(name) &&
		strcmp(path + len - strlen(name), name) == 0;
}

/* Said, so that a test knows that it was this. */
static void die(const char *path)
{
	char died[4096];

	snprintf(died, sizeof(died), "%s.died", path);
	close(open(died, O_WRONLY | O_CREAT, 0644));
	raise(SIGKILL);
}

static int is_now(const char *step)
{
	const char *path = getenv("MAILHOOK_DEATH");
	char wanted[32] = "";
	unsigned int number = 0;
	FILE *file;
	int found;

	file = path == NULL ? NULL : fopen(path, "r");
	if (file == NULL)
		return 0;
	found = fscanf(file, "%31s %u", wanted, &number);
	fclose(file);
	return found == 2 && strcmp(wanted, step) == 0 && ++met == number;
}

static void die_at(const char *step)
{
	if (is_now(step))
		die(getenv("MAILHOOK_DEATH"));
}

/* The sanitizers' library makes directories before it is ready for anybody's
   dlsym() or strlen(). */
int mkdir(const char *path, mode_t mode)
{
	const char *name = path, *p;

	for (p = path; *p != '\0'; p++) {
		if (*p == '/')
			name = p + 1;
	}
	if (name > path + 1 && name[0] == 't' && name[1] == 'm' &&
	    name[2] == 'p' && name[3] == '\0' && is_now("met"))
		(void)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

ssize_t write(int fd, const void *data, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) =
		dlsym(RTLD_NEXT, "write");
	int journal = is_file(fd, "/journal");
	ssize_t ret;

	if (journal)
		die_at("append");
	ret = real(fd, data, len);
	if (journal)
		die_at("appended");
	return ret;
}

/* How many intents this write says are under way; -1: it is another one. */
static int64_t intents(int fd, const void *data, off_t offset)
{
	uint32_t count;

	if (offset < INTENTS_AT || !is_file(fd, "/presence"))
		return -1;
	memcpy(&count, data, sizeof(count));
	return count;
}

#define PWRITE(name) \
ssize_t name(int fd, const void *data, size_t len, off_t offset) \
{ \
	ssize_t (*real)(int, const void *, size_t, off_t) = \
		dlsym(RTLD_NEXT, #name); \
	int64_t count = intents(fd, data, offset); \
	ssize_t ret; \
	\
	if (count == 0) \
		die_at("clearing"); \
	ret = real(fd, data, len, offset); \
	if (count >= 0) \
		die_at(count == 0 ? "cleared" : "intended"); \
	return ret; \
}
PWRITE(pwrite)
PWRITE(pwrite64)
