/* What mailhookctl makes of what people write, and of what strangers do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

#define NOW INT64_C(1790000000000)

static void test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* 0: no time */
	} cases[] = {
		{ "90s", NOW - 90000 },
		{ "0s", NOW },
		{ "30m", NOW - 1800000 },
		{ "2h", NOW - 7200000 },
		{ "1d", NOW - 86400000 },
		{ "2w", NOW - 14 * INT64_C(86400000) },
		{ "2026-09-21T14:13:20Z", NOW },
		{ "2026-09-21T16:13:20.500+02:00", NOW + 500 },
		{ "", 0 }, { "2", 0 }, { "h", 0 }, { "-2h", 0 }, { "2 h", 0 },
		{ "2hours", 0 }, { "2h3m", 0 }, { "1y", 0 },
		{ "99999999999999999999h", 0 },
		{ "2026-09-21", 0 }, { "2026-09-21T14:13:20", 0 },
		{ "2026-02-30T00:00:00Z", 0 }, { "yesterday", 0 }
	};
	struct mse_error error;
	int64_t at;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		at = 0;
		if (mse_ctl_time(cases[i].text, NOW, &at, &error) < 0) {
			if (cases[i].want != 0)
				fail_msg("\"%s\": %s", cases[i].text,
					 error.text);
			assert_non_null(strstr(error.text, "ago"));
		} else if (at != cases[i].want) {
			fail_msg("\"%s\": %lld", cases[i].text, (long long)at);
		}
	}
}

/* What print() writes to standard output. */
static const char *written(void (*print)(const char *text), const char *text)
{
	static char *got;
	size_t len = 0;
	FILE *before = stdout;

	free(got);
	got = NULL;
	stdout = open_memstream(&got, &len);
	assert_non_null(stdout);
	print(text);
	fclose(stdout);
	stdout = before;
	return got;
}

static void print_line(const char *text)
{
	mse_ctl_print_safe(text, false);
}

static void print_lines(const char *text)
{
	mse_ctl_print_safe(text, true);
}

static void print_json(const char *text)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "a", json_object_new_string(text));
	mse_ctl_print_json(object);
	json_object_put(object);
}

/* A mailbox's name is a stranger's, and so is what a receiver answers. */
static void test_safe(void **state)
{
	static const struct {
		const char *text, *line, *lines, *json;
	} cases[] = {
		{ "Entwürfe", "Entwürfe", "Entwürfe", "{\"a\":\"Entwürfe\"}\n" },
		{ "a\x1b[31mb", "a?[31mb", "a?[31mb",
		  "{\"a\":\"a\\u001b[31mb\"}\n" },
		{ "a\x7f", "a?", "a?", "{\"a\":\"a\\u007f\"}\n" },
		/* U+009B is what ESC [ is, to some terminals. */
		{ "a\xc2\x9b" "31m", "a?31m", "a?31m",
		  "{\"a\":\"a\\u009b31m\"}\n" },
		{ "a\nb\tc\r", "a?b?c?", "a\nb\tc?",
		  "{\"a\":\"a\\nb\\tc\\r\"}\n" },
		/* Right to left from here on. */
		{ "a\xe2\x80\xae" "b", "a?b", "a?b",
		  "{\"a\":\"a\xe2\x80\xae" "b\"}\n" },
		{ "\xc3(", "?(", "?(", NULL }
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(written(print_line, cases[i].text),
				    cases[i].line);
		assert_string_equal(written(print_lines, cases[i].text),
				    cases[i].lines);
		if (cases[i].json != NULL)
			assert_string_equal(written(print_json, cases[i].text),
					    cases[i].json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_safe)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
