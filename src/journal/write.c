/*
 * Puts whole records at the end of a journal file.
 *
 * Invariant: every write() begins at a record's RS. A record that a short
 * write tore is written again whole: the reader drops the torn one when it
 * sees the next RS. Up to MSE_WRITE_MAX octets go out in one write(), more
 * in several that each end at a record's end: SIGKILL cuts a large write in
 * the middle, and what it cuts should be little.
 *
 * RLIMIT_FSIZE: a write that begins beyond the limit raises SIGXFSZ, whose
 * default action kills the mail process. The size is checked first, but
 * another process may append between the check and the write, so the signal
 * is also blocked meanwhile and taken back.
 */
#include "journal/write.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"
#include "event/record.h"

/* Neither signals nor a file system that gives way octet by octet may keep a
   mail process here. */
#define MAX_INTERRUPTS 100
#define MAX_SHORT_WRITES 16

unsigned int mse_write_count(const char *data, size_t len)
{
	const char *end = data + len;
	unsigned int count = 0;

	while (data < end &&
	       (data = memchr(data, MSE_RECORD_SEPARATOR,
			      (size_t)(end - data))) != NULL) {
		count++;
		data++;
	}
	return count;
}

/* UINT64_MAX: none. A process gets its limit before it runs us, so it is
   asked once a process, and again when the appender looks around. */
static uint64_t known_limit;
static pid_t known_limit_of;

void mse_write_look_at_limit(void)
{
	struct rlimit limit;

	known_limit = UINT64_MAX;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY)
		known_limit = limit.rlim_cur;
	known_limit_of = mse_process_id();
}

static bool size_limit(uint64_t *limit_r)
{
	if (known_limit_of != mse_process_id())
		mse_write_look_at_limit();
	*limit_r = known_limit;
	return known_limit != UINT64_MAX;
}

bool mse_write_may_reach(uint64_t offset)
{
	uint64_t limit;

	return !size_limit(&limit) || offset <= limit;
}

/* Length of the next write: whole records, as many as fit. */
static size_t next_chunk(const char *data, size_t len)
{
	const char *rs;

	if (len <= MSE_WRITE_MAX)
		return len;
	rs = memrchr(data + 1, MSE_RECORD_SEPARATOR, MSE_WRITE_MAX);
	if (rs == NULL) {
		/* One record larger than that. */
		rs = memchr(data + 1 + MSE_WRITE_MAX, MSE_RECORD_SEPARATOR,
			    len - 1 - MSE_WRITE_MAX);
	}
	return rs == NULL ? len : (size_t)(rs - data);
}

/* How much of `written` octets is whole records. More data follows. */
static size_t whole_part(const char *data, size_t written)
{
	const char *rs;

	if (written == 0 || data[written] == MSE_RECORD_SEPARATOR)
		return written;
	rs = memrchr(data, MSE_RECORD_SEPARATOR, written);
	return rs == NULL ? 0 : (size_t)(rs - data);
}

static int write_chunks(int fd, const char *data, size_t len, size_t *whole_r)
{
	unsigned int interrupts = 0, shorts = 0;
	size_t pos = 0, chunk;
	ssize_t ret;

	*whole_r = 0;
	while (pos < len) {
		chunk = next_chunk(data + pos, len - pos);
		ret = write(fd, data + pos, chunk);
		if (ret < 0) {
			if (errno == EINTR && ++interrupts < MAX_INTERRUPTS)
				continue;
			return -1;
		}
		if ((size_t)ret == chunk) {
			pos += chunk;
		} else {
			if (ret == 0 || ++shorts > MAX_SHORT_WRITES) {
				errno = ENOSPC;
				return -1;
			}
			pos += whole_part(data + pos, (size_t)ret);
		}
		*whole_r = pos;
	}
	return 0;
}

/* The kernel sends SIGXFSZ to the thread that writes. */
static int write_guarded(int fd, const char *data, size_t len, size_t *whole_r)
{
	static const struct timespec now;
	sigset_t guard, before, pending;
	bool was_pending;
	int ret, saved_errno;

	sigemptyset(&guard);
	sigaddset(&guard, SIGXFSZ);
	if (pthread_sigmask(SIG_BLOCK, &guard, &before) != 0) {
		*whole_r = 0;
		errno = EFBIG;
		return -1;
	}
	was_pending = sigpending(&pending) == 0 &&
		sigismember(&pending, SIGXFSZ) == 1;
	ret = write_chunks(fd, data, len, whole_r);
	saved_errno = errno;
	if (!was_pending) {
		while (sigtimedwait(&guard, NULL, &now) < 0 && errno == EINTR)
			;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved_errno;
	return ret;
}

int mse_write_records(int fd, uint64_t size, const char *data, size_t len,
		      size_t *whole_r)
{
	uint64_t limit;

	*whole_r = 0;
	if (!size_limit(&limit))
		return write_chunks(fd, data, len, whole_r);
	if (len > limit || size > limit - len) {
		errno = EFBIG;
		return -1;
	}
	return write_guarded(fd, data, len, whole_r);
}
