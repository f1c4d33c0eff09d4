/* Bounded buffers: the limit holds, and a failure stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void test_limit(void **state)
{
	static const struct {
		size_t limit;
		const char *first, *second;
		const char *expected;
		bool failed;
	} rows[] = {
		{ 6, "abc", "def", "abcdef", false },
		{ 5, "abc", "def", "abc", true },
		{ 0, "", "", "", false },
		{ 0, "a", "", "", true },
	};
	struct mse_buf buf;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_init(&buf, rows[i].limit);
		mse_buf_append_str(&buf, rows[i].first);
		mse_buf_appendf(&buf, "%s", rows[i].second);
		if (strcmp(mse_buf_str(&buf), rows[i].expected) != 0 ||
		    mse_buf_failed(&buf) != rows[i].failed)
			fail_msg("row %zu: %s", i, mse_buf_str(&buf));
		mse_buf_clear(&buf);
	}
}

static void test_failure_is_sticky(void **state)
{
	struct mse_buf buf;

	mse_buf_init(&buf, 3);
	mse_buf_append_str(&buf, "abcd");
	mse_buf_append_char(&buf, 'x');
	mse_buf_truncate(&buf, 0);
	assert_true(mse_buf_failed(&buf));
	assert_int_equal(buf.len, 0);
	assert_null(mse_buf_take(&buf));
	mse_buf_reset(&buf);
	mse_buf_append_char(&buf, 'x');
	assert_false(mse_buf_failed(&buf));
	assert_string_equal(mse_buf_str(&buf), "x");
	mse_buf_clear(&buf);
}

static void test_grow_and_take(void **state)
{
	struct mse_buf buf;
	char *taken;
	size_t i;

	mse_buf_init(&buf, 1000);
	for (i = 0; i < 1000; i++)
		mse_buf_append_char(&buf, 'x');
	assert_int_equal(buf.len, 1000);
	taken = mse_buf_take(&buf);
	assert_int_equal(strlen(taken), 1000);
	free(taken);
	assert_int_equal(buf.len, 0);
	taken = mse_buf_take(&buf);
	assert_string_equal(taken, "");
	free(taken);
}

/* Growing must be geometric: few moves for many octets. */
static void test_moves(void **state)
{
	struct mse_buf buf;
	unsigned int moves = 0;
	size_t i, size = 0;

	mse_buf_init(&buf, 1000000);
	for (i = 0; i < 1000000; i++) {
		mse_buf_append_char(&buf, 'x');
		moves += buf.size != size;
		size = buf.size;
	}
	assert_false(mse_buf_failed(&buf));
	assert_int_equal(size, 1000001);
	assert_true(moves < 20);
	mse_buf_clear(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_failure_is_sticky),
		cmocka_unit_test(test_grow_and_take),
		cmocka_unit_test(test_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
