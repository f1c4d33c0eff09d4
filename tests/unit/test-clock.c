/* RFC 3339 timestamps, across summer time and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static void test_format(void **state)
{
	static const struct {
		const char *tz;
		int64_t wall_ms;
		const char *expected;
	} rows[] = {
		{ "UTC", 0, "1970-01-01T00:00:00.000+00:00" },
		{ "UTC", -1, "1969-12-31T23:59:59.999+00:00" },
		{ "Europe/Berlin", INT64_C(1795491035123),
		  "2026-11-24T04:30:35.123+01:00" },
		/* A millisecond before and at the change to summer time. */
		{ "Europe/Berlin", INT64_C(1774745999999),
		  "2026-03-29T01:59:59.999+01:00" },
		{ "Europe/Berlin", INT64_C(1774746000000),
		  "2026-03-29T03:00:00.000+02:00" },
		/* The same local hour twice, told apart by the offset. */
		{ "Europe/Berlin", INT64_C(1792888200000),
		  "2026-10-25T02:30:00.000+02:00" },
		{ "Europe/Berlin", INT64_C(1792891800000),
		  "2026-10-25T02:30:00.000+01:00" },
		{ "America/St_Johns", INT64_C(1795491035123),
		  "2026-11-24T00:00:35.123-03:30" },
	};
	char text[MSE_TIMESTAMP_SIZE];
	int64_t parsed;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setenv("TZ", rows[i].tz, 1);
		tzset();
		mse_timestamp_format(rows[i].wall_ms, text);
		if (strcmp(text, rows[i].expected) != 0)
			fail_msg("row %zu: %s", i, text);
		if (mse_timestamp_parse(text, &parsed) < 0 ||
		    parsed != rows[i].wall_ms)
			fail_msg("row %zu does not parse back", i);
	}
}

/* Whatever a clock says, the record that has it can be read. */
static void test_any_clock(void **state)
{
	static const struct {
		int64_t wall_ms;
		const char *expected;
	} rows[] = {
		{ INT64_C(-61336697243000), "0026-04-26T12:32:37.000+00:00" },
		{ INT64_C(253402214399999), "9999-12-30T23:59:59.999+00:00" },
		{ INT64_C(253402300800000), "9999-12-30T23:59:59.000+00:00" },
		{ INT64_MAX, "9999-12-30T23:59:59.807+00:00" },
		{ INT64_MIN, "0001-01-02T00:00:00.192+00:00" },
	};
	char text[MSE_TIMESTAMP_SIZE];
	int64_t parsed;
	size_t i;

	setenv("TZ", "UTC", 1);
	tzset();
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_timestamp_format(rows[i].wall_ms, text);
		if (strcmp(text, rows[i].expected) != 0)
			fail_msg("row %zu: %s", i, text);
		if (mse_timestamp_parse(text, &parsed) < 0)
			fail_msg("row %zu does not parse back", i);
	}
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int ret;
		int64_t wall_ms;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0, 0 },
		{ "1970-01-01T01:00:00.5+01:00", 0, 500 },
		{ "1970-01-01T00:00:00.123999-00:00", 0, 123 },
		{ "2024-02-29T00:00:00Z", 0, INT64_C(1709164800000) },
		{ "2016-12-31T23:59:60Z", 0, INT64_C(1483228800000) },
		{ "2026-02-29T00:00:00Z", -1, 0 },
		{ "2026-04-31T00:00:00Z", -1, 0 },
		{ "2026-13-01T00:00:00Z", -1, 0 },
		{ "2026-01-00T00:00:00Z", -1, 0 },
		{ "2026-01-01T24:00:00Z", -1, 0 },
		{ "2026-01-01 00:00:00Z", -1, 0 },
		{ "2026-01-01T00:00:00", -1, 0 },
		{ "2026-01-01T00:00:00.Z", -1, 0 },
		{ "2026-01-01T00:00:00+1:00", -1, 0 },
		{ "2026-01-01T00:00:00Zx", -1, 0 },
		{ "2026-1-01T00:00:00Z", -1, 0 },
		{ "", -1, 0 },
	};
	int64_t wall_ms;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		wall_ms = 0;
		if (mse_timestamp_parse(rows[i].text, &wall_ms) !=
		    rows[i].ret || wall_ms != rows[i].wall_ms)
			fail_msg("row %zu: %lld", i, (long long)wall_ms);
	}
}

#define FIRST_OF_10000 INT64_C(253402300800)

/* Every day from 1890 to 2110, some of all the others. */
static void test_days(void **state)
{
	char text[64];
	struct tm tm = { .tm_year = -1900, .tm_mday = 1 };
	time_t seconds;
	int64_t parsed;

	for (seconds = timegm(&tm); seconds < FIRST_OF_10000;
	     seconds += 86400 * (abs(tm.tm_year - 100) < 110 ? 1 : 11)) {
		gmtime_r(&seconds, &tm);
		snprintf(text, sizeof(text), "%04d-%02d-%02dT23:59:58Z",
			 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
		if (mse_timestamp_parse(text, &parsed) < 0 ||
		    parsed != ((int64_t)seconds + 86398) * 1000)
			fail_msg("%s", text);
	}
}

static void test_fake(void **state)
{
	struct mse_clock_fake fake;
	int64_t mono;

	mse_clock_fake_init(&fake, 5000);
	mono = mse_clock_mono(&fake.clock);
	mse_clock_fake_advance(&fake, 7);
	assert_int_equal(mse_clock_wall(&fake.clock), 5007);
	assert_int_equal(mse_clock_mono(&fake.clock), mono + 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_any_clock),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
