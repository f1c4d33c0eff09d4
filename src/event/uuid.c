/*
 * UUIDv7, RFC 9562 section 5.7: 48 bits of Unix milliseconds, then a 12 bit
 * counter (method 1 of section 6.2) and 62 random bits. Invariant: within one
 * thread of one process each id is greater than the one before, also when the
 * clock steps back; after fork() the child draws random numbers of its own.
 */
#include "event/uuid.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/process.h"

#define COUNTER_MAX 0xfff
#define POOL_SIZE 32
/* An octet in each of eight. */
#define EACH(octet) (UINT64_C(0x0101010101010101) * (octet))

static __thread pid_t owner_pid;
static __thread uint64_t last_ms;
static __thread unsigned int counter;
static __thread uint64_t pool[POOL_SIZE];
static __thread size_t pool_left;
static __thread uint64_t fallback;

/* Never waits: early at boot the kernel may have no random numbers yet. */
static void fill_pool(void)
{
	struct timespec now;
	size_t i;

	pool_left = POOL_SIZE;
	if (getrandom(pool, sizeof(pool), GRND_NONBLOCK) ==
	    (ssize_t)sizeof(pool))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (i = 0; i < POOL_SIZE; i++) {
		pool[i] = (uint64_t)owner_pid << 40;
		pool[i] ^= (uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec;
		pool[i] = (pool[i] ^ ++fallback) * 0x9e3779b97f4a7c15ull;
	}
}

/* One system call for many ids: a mail process makes them in a hurry. */
static uint64_t random_bits(void)
{
	if (pool_left == 0)
		fill_pool();
	return pool[--pool_left];
}

/* Eight hexadecimal digits, all at once: a nibble into each octet, then
   those beyond 9 moved to the letters. */
static void write_hex(char text[8], uint32_t value)
{
	uint64_t octets = value, letters;

	octets = (octets << 16 | octets) & UINT64_C(0x0000ffff0000ffff);
	octets = (octets << 8 | octets) & UINT64_C(0x00ff00ff00ff00ff);
	octets = (octets << 4 | octets) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	letters = (octets + EACH(6)) >> 4 & EACH(1);
	octets = htobe64(octets + EACH('0') + letters * ('a' - '0' - 10));
	memcpy(text, &octets, sizeof(octets));
}

void mse_uuid_make(int64_t wall_ms, char uuid_r[MSE_UUID_SIZE])
{
	uint64_t ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms;
	uint64_t random, random2;
	char digits[32];
	bool forked = owner_pid != mse_process_id();

	if (forked) {
		owner_pid = mse_process_id();
		pool_left = 0;
	}
	random = random_bits();
	random2 = random_bits();
	if (ms > last_ms || forked) {
		if (ms > last_ms)
			last_ms = ms;
		/* Half of the counter is room for ids of the same ms. */
		counter = (unsigned int)(random >> 52) & (COUNTER_MAX >> 1);
	} else if (++counter > COUNTER_MAX) {
		last_ms++;
		counter = 0;
	}
	write_hex(digits, (uint32_t)(last_ms >> 16));
	write_hex(digits + 8, (uint32_t)(last_ms & 0xffff) << 16 | 0x7000 |
		  counter);
	write_hex(digits + 16, (0x8000u | (uint32_t)(random & 0x3fff)) << 16 |
		  (uint32_t)(random2 >> 32 & 0xffff));
	write_hex(digits + 24, (uint32_t)random2);
	memcpy(uuid_r, digits, 8);
	uuid_r[8] = uuid_r[13] = uuid_r[18] = uuid_r[23] = '-';
	memcpy(uuid_r + 9, digits + 8, 4);
	memcpy(uuid_r + 14, digits + 12, 4);
	memcpy(uuid_r + 19, digits + 16, 4);
	memcpy(uuid_r + 24, digits + 20, 12);
	uuid_r[36] = '\0';
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool mse_uuid_is_valid(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i;

	for (i = 0; shape[i] != '\0'; i++) {
		if (shape[i] == '-' ? text[i] != '-' : !is_hex(text[i]))
			return false;
	}
	return text[i] == '\0';
}

int64_t mse_uuid_time_ms(const char *uuid)
{
	int64_t ms = 0;
	unsigned int digits = 0;
	char c;

	for (; digits < 12 && *uuid != '\0'; uuid++) {
		c = *uuid;
		if (c == '-')
			continue;
		ms = ms * 16 + (c >= 'a' ? c - 'a' + 10 : c - '0');
		digits++;
	}
	return ms;
}
