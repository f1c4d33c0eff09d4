/* What each kind of answer counts as. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "deliver/counters.h"

#define NOW INT64_C(1795510000000)

static const struct {
	enum mse_outcome outcome;
	int status;
	int64_t retry_after_s;
	const char *name;
} rows[] = {
	{ MSE_OUTCOME_ANSWERED, 200, -1, "success" },
	{ MSE_OUTCOME_ANSWERED, 299, -1, "success" },
	{ MSE_OUTCOME_ANSWERED, 204, 60, "success" },
	{ MSE_OUTCOME_ANSWERED, 302, -1, "redirect" },
	{ MSE_OUTCOME_ANSWERED, 400, -1, "client_error" },
	{ MSE_OUTCOME_ANSWERED, 410, -1, "gone" },
	{ MSE_OUTCOME_ANSWERED, 429, -1, "client_error" },
	{ MSE_OUTCOME_ANSWERED, 429, 0, "client_error" },
	{ MSE_OUTCOME_ANSWERED, 429, 5, "retry_after" },
	{ MSE_OUTCOME_ANSWERED, 503, -1, "server_error" },
	{ MSE_OUTCOME_ANSWERED, 503, 5, "retry_after" },
	{ MSE_OUTCOME_ANSWERED, 500, 5, "server_error" },
	{ MSE_OUTCOME_ANSWERED, 999, -1, "server_error" },
	{ MSE_OUTCOME_DNS, 0, -1, "dns" },
	{ MSE_OUTCOME_REFUSED, 0, -1, "refused" },
	{ MSE_OUTCOME_CONNECT_TIMEOUT, 0, -1, "connect_timeout" },
	{ MSE_OUTCOME_TLS, 0, -1, "tls" },
	{ MSE_OUTCOME_TIMEOUT, 0, -1, "timeout" },
	{ MSE_OUTCOME_BROKEN, 0, -1, "broken" },
	{ MSE_OUTCOME_LOCAL, 0, -1, "local" },
};

static void test_results(void **state)
{
	struct mse_answer answer = { .elapsed_ms = 1 };
	struct mse_counters counters;
	size_t i, j;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("row %zu\n", i);
		answer.outcome = rows[i].outcome;
		answer.status = rows[i].status;
		answer.retry_after_s = rows[i].retry_after_s;
		mse_counters_init(&counters);
		assert_int_equal(counters.last, MSE_RESULT_COUNT);
		mse_counters_attempt(&counters, &answer, NOW);
		assert_string_equal(mse_result_name(counters.last),
				    rows[i].name);
		assert_int_equal(counters.last_status, rows[i].status);
		assert_int_equal(counters.last_at_ms, NOW);
		assert_int_equal(counters.last_success_at_ms,
				 counters.last == MSE_RESULT_SUCCESS ? NOW :
				 0);
		for (j = 0; j < MSE_RESULT_COUNT; j++)
			assert_int_equal(counters.results[j],
					 j == counters.last);
	}
}

static void test_cancelled(void **state)
{
	static const struct mse_answer answer = {
		.outcome = MSE_OUTCOME_CANCELLED, .elapsed_ms = 1
	};
	struct mse_counters counters, before;

	mse_counters_init(&counters);
	before = counters;
	mse_counters_attempt(&counters, &answer, NOW);
	assert_memory_equal(&counters, &before, sizeof(counters));
}

/* A bound belongs to the bucket below it ("le"). */
static void test_latency(void **state)
{
	static const struct {
		int64_t ms;
		unsigned int bucket;
	} times[] = {
		{ 0, 0 }, { 5, 0 }, { 6, 1 }, { 10, 1 }, { 1000, 7 },
		{ 1001, 8 }, { 30000, 11 }, { 30001, 12 },
		{ INT64_C(3600000), 12 }
	};
	struct mse_answer answer = {
		.outcome = MSE_OUTCOME_ANSWERED, .status = 204
	};
	struct mse_counters counters;
	unsigned int i, j;

	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		mse_counters_init(&counters);
		answer.elapsed_ms = times[i].ms;
		mse_counters_attempt(&counters, &answer, NOW);
		assert_int_equal(counters.latency_ms, times[i].ms);
		for (j = 0; j <= MSE_LATENCY_BUCKETS; j++)
			assert_int_equal(counters.latency[j],
					 j == times[i].bucket);
	}
	for (i = 1; i < MSE_LATENCY_BUCKETS; i++)
		assert_true(mse_latency_bounds_ms[i] >
			    mse_latency_bounds_ms[i - 1]);
}

static void test_dead_reasons(void **state)
{
	static const struct {
		int status;
		const char *name;
	} reasons[] = {
		{ 0, "no_answer" }, { 100, "redirect" }, { 302, "redirect" },
		{ 404, "client_error" }, { 500, "server_error" },
		{ 700, "server_error" }
	};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		assert_string_equal(mse_dead_reason_name(
			mse_dead_reason_of(reasons[i].status)),
			reasons[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_dead_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
