/* Base64, octet by octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

/* A text that may have NULs in it. */
#define TEXT(text) text, sizeof(text) - 1

static void test_base64(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		const char *expected;
	} rows[] = {
		/* RFC 4648, section 10 */
		{ TEXT(""), "" },
		{ TEXT("f"), "Zg==" },
		{ TEXT("fo"), "Zm8=" },
		{ TEXT("foo"), "Zm9v" },
		{ TEXT("foob"), "Zm9vYg==" },
		{ TEXT("fooba"), "Zm9vYmE=" },
		{ TEXT("foobar"), "Zm9vYmFy" },
		{ TEXT("\0\xff\xfe\xfb"), "AP/++w==" },
	};
	unsigned char zeros[3000];
	struct mse_buf buf;
	size_t i;

	mse_buf_init(&buf, 5000);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_reset(&buf);
		mse_base64_append(&buf, rows[i].data, rows[i].len);
		if (strcmp(mse_buf_str(&buf), rows[i].expected) != 0)
			fail_msg("row %zu: %s", i, mse_buf_str(&buf));
	}
	/* Longer than it encodes at once. */
	memset(zeros, 0, sizeof(zeros));
	for (i = 765; i < 772; i++) {
		mse_buf_reset(&buf);
		mse_base64_append(&buf, zeros, i);
		assert_int_equal(buf.len, (i + 2) / 3 * 4);
		assert_int_equal(strspn(buf.data, "A"),
				 buf.len - (3 - i % 3) % 3);
	}
	mse_buf_clear(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
