/*
 * UUIDv7, RFC 9562 section 5.7: 48 bits of Unix milliseconds, then a 12 bit
 * counter (method 1 of section 6.2) and 62 random bits. Invariant: within one
 * thread of one process each id is greater than the one before, also when the
 * clock steps back; after fork() the child draws a counter of its own.
 */
#include "event/uuid.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define COUNTER_MAX 0xfff

static __thread pid_t owner_pid;
static __thread uint64_t last_ms;
static __thread unsigned int counter;
static __thread uint64_t fallback;

/* Never waits: early at boot the kernel may have no random numbers yet. */
static uint64_t random_bits(void)
{
	struct timespec now;
	uint64_t bits;

	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) ==
	    (ssize_t)sizeof(bits))
		return bits;
	clock_gettime(CLOCK_MONOTONIC, &now);
	bits = (uint64_t)getpid() << 40;
	bits ^= (uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec;
	return (bits ^ ++fallback) * 0x9e3779b97f4a7c15ull;
}

void mse_uuid_make(int64_t wall_ms, char uuid_r[MSE_UUID_SIZE])
{
	uint64_t random = random_bits(), random2 = random_bits();
	uint64_t ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms;

	if (ms > last_ms || owner_pid != getpid()) {
		owner_pid = getpid();
		if (ms > last_ms)
			last_ms = ms;
		/* Half of the counter is room for ids of the same ms. */
		counter = (unsigned int)(random >> 52) & (COUNTER_MAX >> 1);
	} else if (++counter > COUNTER_MAX) {
		last_ms++;
		counter = 0;
	}
	ms = last_ms & 0xffffffffffffull;
	snprintf(uuid_r, MSE_UUID_SIZE, "%08x-%04x-7%03x-%04x-%012llx",
		 (unsigned int)(ms >> 16), (unsigned int)(ms & 0xffff),
		 counter, 0x8000u | ((unsigned int)random & 0x3fff),
		 (unsigned long long)(random2 & 0xffffffffffffull));
}

bool mse_uuid_is_valid(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i;

	for (i = 0; shape[i] != '\0'; i++) {
		if (shape[i] == '-' ? text[i] != '-' :
		    text[i] == '\0' ||
		    strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	}
	return text[i] == '\0';
}
