/* Backoff, breaker, rate and the meaning of answers, as tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "deliver/answer.h"
#include "deliver/schedule.h"

static void test_backoff(void **state)
{
	static const struct {
		uint32_t attempts, random;
		int64_t ms;
	} rows[] = {
		{ 1, 0, 3750 },
		{ 1, UINT32_MAX, 6249 },
		{ 2, 0, 7500 },
		{ 3, 0x80000000u, 20000 },
		{ 11, 0, 2700000 },
		{ 11, UINT32_MAX, 3600000 },
		{ UINT32_MAX, 0x80000000u, 3600000 }
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (mse_backoff_ms(5000, 3600000, rows[i].attempts,
				   rows[i].random) != rows[i].ms)
			fail_msg("row %zu", i);
	}
}

static bool fails(struct mse_breaker *breaker, int64_t now)
{
	return mse_breaker_failure(breaker, true, now, 5000, 3600000,
				   0x80000000u);
}

static void test_breaker(void **state)
{
	struct mse_breaker breaker = { 0 };
	int i;

	/* Many failures within ten seconds are not an outage yet. */
	for (i = 0; i < 20; i++)
		assert_false(fails(&breaker, 1000 + i));
	assert_true(fails(&breaker, 11000));
	assert_true(breaker.open);
	assert_int_equal(breaker.probe_at_ms, 16000);
	assert_false(fails(&breaker, 16000));
	assert_int_equal(breaker.probe_at_ms, 26000);
	/* Of others in flight nothing follows. */
	mse_breaker_failure(&breaker, false, 17000, 5000, 3600000, 0);
	assert_int_equal(breaker.probe_at_ms, 26000);
	for (i = 0; i < 30; i++)
		fails(&breaker, 100000);
	assert_int_equal(breaker.probe_at_ms, 160000);
	assert_true(mse_breaker_success(&breaker));
	assert_false(mse_breaker_success(&breaker));
	/* Four failures over any time, then a success: never. */
	for (i = 0; i < 4; i++)
		assert_false(fails(&breaker, 200000 + i * 10000));
	mse_breaker_success(&breaker);
	assert_false(fails(&breaker, 300000));
}

static void test_rate(void **state)
{
	struct mse_rate rate = { 0 };
	int64_t now, sent = 0;

	for (now = 100000; now < 110000; now += 7) {
		while (mse_rate_at(&rate, 50 * 60, now) <= now) {
			mse_rate_take(&rate, 50 * 60, now);
			sent++;
		}
	}
	assert_in_range(sent, 495, 502);
	assert_int_equal(mse_rate_at(&rate, 0, 5), 5);
}

static void test_answer(void **state)
{
	static const struct {
		struct mse_answer answer;
		enum mse_verdict verdict;
		int64_t hold_ms;
	} rows[] = {
#define A(s, r) { .outcome = MSE_OUTCOME_ANSWERED, .status = s, \
		  .retry_after_s = r }
		{ A(200, -1), MSE_VERDICT_SUCCESS, 0 },
		{ A(204, 30), MSE_VERDICT_SUCCESS, 0 },
		{ A(301, -1), MSE_VERDICT_RETRY, 0 },
		{ A(400, -1), MSE_VERDICT_RETRY, 0 },
		{ A(401, 30), MSE_VERDICT_RETRY, 0 },
		{ A(410, -1), MSE_VERDICT_DISABLE, 0 },
		{ A(429, -1), MSE_VERDICT_RETRY, 0 },
		{ A(429, 0), MSE_VERDICT_RETRY, 0 },
		{ A(429, 30), MSE_VERDICT_HOLD, 30000 },
		{ A(503, 120), MSE_VERDICT_HOLD, 120000 },
		{ A(503, INT64_MAX), MSE_VERDICT_HOLD, 86400000 },
		{ A(500, 30), MSE_VERDICT_RETRY, 0 },
		{ { .outcome = MSE_OUTCOME_TIMEOUT, .status = 200 },
		  MSE_VERDICT_RETRY, 0 },
		{ { .outcome = MSE_OUTCOME_TLS }, MSE_VERDICT_RETRY, 0 },
		{ { .outcome = MSE_OUTCOME_CANCELLED }, MSE_VERDICT_NOTHING,
		  0 }
#undef A
	};
	int64_t hold_ms;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (mse_answer_judge(&rows[i].answer, &hold_ms) !=
		    rows[i].verdict || hold_ms != rows[i].hold_ms)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff), cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_rate), cmocka_unit_test(test_answer)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
