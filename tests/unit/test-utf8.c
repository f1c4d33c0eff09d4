/* UTF-8: what is valid, and what becomes of what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"

#define R "\xef\xbf\xbd"

static void test_scrub(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} rows[] = {
		{ "", "" },
		{ "abc", "abc" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "a\xff" "b", "a" R "b" },
		/* Overlong, surrogate, beyond U+10FFFF: an octet each. */
		{ "\xc0\xaf", R R },
		{ "\xe0\x80\xaf", R R R },
		{ "\xed\xa0\x80", R R R },
		{ "\xf4\x90\x80\x80", R R R R },
		{ "\xf5", R },
		/* A cut character is one. */
		{ "\xe2\x82", R },
		{ "\xf0\x9f\x98z", R "z" },
		{ "\xe2\x82\xe2\x82\xac", R "\xe2\x82\xac" },
		{ "\x80", R },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	};
	struct mse_buf buf;
	size_t i;
	bool valid;

	mse_buf_init(&buf, 100);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_reset(&buf);
		mse_utf8_append_scrubbed(&buf, rows[i].text,
					 strlen(rows[i].text));
		if (strcmp(mse_buf_str(&buf), rows[i].expected) != 0)
			fail_msg("row %zu: %s", i, mse_buf_str(&buf));
		valid = mse_utf8_is_valid(rows[i].text, strlen(rows[i].text));
		if (valid != (strcmp(rows[i].text, rows[i].expected) == 0))
			fail_msg("row %zu: valid %d", i, valid);
	}
	mse_buf_clear(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_scrub) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
