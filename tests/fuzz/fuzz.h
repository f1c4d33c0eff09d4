#ifndef MSE_TEST_FUZZ_H
#define MSE_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A fuzz target: libFuzzer calls it with octets of its own making, replay.c
 * with those of tests/fuzz/corpus/NAME.
 */
extern const char fuzz_name[];
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the octets are. */
#define FUZZ_CHECK(condition) \
	do { \
		if (!(condition)) \
			fuzz_failed(__FILE__, __LINE__, #condition); \
	} while (0)

static inline void fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

/* The octets, taken from the front. What is not there any more is 0, "". */
struct fuzz_input {
	const uint8_t *data;
	size_t left;
};
uint8_t fuzz_take_octet(struct fuzz_input *input);
uint64_t fuzz_take_number(struct fuzz_input *input);
/* Up to the next NUL or the end; NUL-terminated in memory of its own. */
char *fuzz_take_string(struct fuzz_input *input);
/* All that is left, NUL-terminated, in memory of its own. */
char *fuzz_take_rest(struct fuzz_input *input, size_t *len_r);

/* A directory of this process's own, in memory where there is such a file
   system, made at the first call and removed at exit. */
const char *fuzz_directory(void);
/* Removes what is in it, but not `keep` (NULL: everything goes). */
void fuzz_empty_directory(const char *keep);
/* Writes one file there. */
void fuzz_put_file(const char *name, const void *data, size_t len);

#endif
