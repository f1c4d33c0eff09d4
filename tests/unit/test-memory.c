/* What is given back, and what must not be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/memory.h"

/* A page of constants in the midst of others. */
#define PAGE 65536
static const char constants[3 * PAGE]
	__attribute__((aligned(PAGE))) = "as it is";

/* KiB, counted page by page. */
static unsigned long resident(const char *name)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long size = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0)
			size = strtoul(line + strlen(name) + 1, NULL, 10);
	}
	fclose(file);
	return size;
}

/* Read where the compiler cannot know what is there. */
static char constant(size_t at)
{
	const volatile char *octets = constants;

	return octets[at];
}

/* Likewise written to: a constant is not, for all the compiler knows. */
static char *writable(const char *octets)
{
	const volatile uintptr_t address = (uintptr_t)octets;

	return (char *)address;
}

static void test_code(void **state)
{
	unsigned long before, after;
	size_t i, sum = 0;

	for (i = 0; i < sizeof(constants); i += 4096)
		sum += (size_t)constant(i);
	before = resident("Rss");
	mse_memory_give_back();
	after = resident("Rss");
	assert_true(after + sizeof(constants) / 1024 <= before);
	for (i = 0; i < sizeof(constants); i += 4096)
		sum -= (size_t)constant(i);
	assert_int_equal(sum, 0);
	assert_int_equal(constant(0), 'a');
}

/* A debugger's breakpoint. */
static void test_what_was_written(void **state)
{
	int fd = open("/proc/self/mem", O_RDWR);

	/* Some kernels allow it to nobody. */
	if (fd < 0 || pwrite(fd, "x", 1, (off_t)(uintptr_t)
			     (constants + PAGE + 7)) != 1)
		skip();
	close(fd);
	assert_int_equal(constant(PAGE + 7), 'x');
	mse_memory_give_back();
	assert_int_equal(constant(PAGE + 7), 'x');
	assert_int_equal(constant(0), 'a');
}

/* Code that was mended while it ran. */
static void test_what_could_be_written(void **state)
{
	char *page = writable(constants + PAGE);

	assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
	page[8] = 'y';
	assert_int_equal(mprotect(page, PAGE, PROT_READ), 0);
	mse_memory_give_back();
	assert_int_equal(constant(PAGE + 8), 'y');
	assert_int_equal(constant(0), 'a');
}

static void test_heap(void **state)
{
	enum { COUNT = 4000 };
	static char *blocks[COUNT], *last;
	unsigned long before, after;
	bool is_libc;
	size_t i;

	for (i = 0; i < COUNT; i++) {
		blocks[i] = malloc(4000);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, 4000);
	}
	last = malloc(100);
	assert_non_null(last);
	before = resident("Anonymous");
	/* Sanitizers and valgrind bring a malloc of their own. */
	is_libc = mallinfo2().uordblks >= (size_t)COUNT * 4000;
	for (i = 0; i < COUNT; i++)
		free(blocks[i]);
	mse_memory_give_back();
	after = resident("Anonymous");
	free(last);
	if (!is_libc)
		skip();
	assert_true(after + 10000 < before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_what_was_written),
		cmocka_unit_test(test_what_could_be_written),
		cmocka_unit_test(test_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
