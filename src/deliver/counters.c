/*
 * Counting what attempts came to.
 *
 * Invariant: each attempt is in exactly one result and one latency bucket.
 */
#include "deliver/counters.h"

#include <string.h>

#include "deliver/answer.h"

/* From a receiver next door to the longest time-out people set. */
const int64_t mse_latency_bounds_ms[MSE_LATENCY_BUCKETS] = {
	5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000
};

void mse_counters_init(struct mse_counters *counters)
{
	memset(counters, 0, sizeof(*counters));
	counters->last = MSE_RESULT_COUNT;
}

static enum mse_result result_of_status(const struct mse_answer *answer)
{
	int64_t hold_ms;

	switch (mse_answer_judge(answer, &hold_ms)) {
	case MSE_VERDICT_SUCCESS:
		return MSE_RESULT_SUCCESS;
	case MSE_VERDICT_HOLD:
		return MSE_RESULT_RETRY_AFTER;
	case MSE_VERDICT_DISABLE:
		return MSE_RESULT_GONE;
	case MSE_VERDICT_RETRY:
	case MSE_VERDICT_NOTHING:
		break;
	}
	if (answer->status < 400)
		return MSE_RESULT_REDIRECT;
	return answer->status < 500 ? MSE_RESULT_CLIENT_ERROR :
		MSE_RESULT_SERVER_ERROR;
}

enum mse_result mse_result_of(const struct mse_answer *answer)
{
	switch (answer->outcome) {
	case MSE_OUTCOME_ANSWERED:
		return result_of_status(answer);
	case MSE_OUTCOME_DNS:
		return MSE_RESULT_DNS;
	case MSE_OUTCOME_REFUSED:
		return MSE_RESULT_REFUSED;
	case MSE_OUTCOME_CONNECT_TIMEOUT:
		return MSE_RESULT_CONNECT_TIMEOUT;
	case MSE_OUTCOME_PROXY:
		return MSE_RESULT_PROXY;
	case MSE_OUTCOME_DENIED:
		return MSE_RESULT_DENIED;
	case MSE_OUTCOME_TLS:
		return MSE_RESULT_TLS;
	case MSE_OUTCOME_TIMEOUT:
		return MSE_RESULT_TIMEOUT;
	case MSE_OUTCOME_RESET:
		return MSE_RESULT_RESET;
	case MSE_OUTCOME_BROKEN:
		return MSE_RESULT_BROKEN;
	case MSE_OUTCOME_CANCELLED:
	case MSE_OUTCOME_LOCAL:
		break;
	}
	return MSE_RESULT_LOCAL;
}

const char *mse_result_name(enum mse_result result)
{
	static const char *const names[MSE_RESULT_COUNT] = {
		[MSE_RESULT_SUCCESS] = "success",
		[MSE_RESULT_REDIRECT] = "redirect",
		[MSE_RESULT_CLIENT_ERROR] = "client_error",
		[MSE_RESULT_SERVER_ERROR] = "server_error",
		[MSE_RESULT_RETRY_AFTER] = "retry_after",
		[MSE_RESULT_GONE] = "gone",
		[MSE_RESULT_DNS] = "dns",
		[MSE_RESULT_REFUSED] = "refused",
		[MSE_RESULT_CONNECT_TIMEOUT] = "connect_timeout",
		[MSE_RESULT_PROXY] = "proxy",
		[MSE_RESULT_DENIED] = "denied",
		[MSE_RESULT_TLS] = "tls",
		[MSE_RESULT_TIMEOUT] = "timeout",
		[MSE_RESULT_RESET] = "reset",
		[MSE_RESULT_BROKEN] = "broken",
		[MSE_RESULT_LOCAL] = "local"
	};

	return result < MSE_RESULT_COUNT ? names[result] : "none";
}

void mse_counters_attempt(struct mse_counters *counters,
			  const struct mse_answer *answer, int64_t wall_ms)
{
	unsigned int bucket = 0;

	if (answer->outcome == MSE_OUTCOME_CANCELLED)
		return;
	counters->last = mse_result_of(answer);
	counters->last_status = answer->outcome == MSE_OUTCOME_ANSWERED ?
		answer->status : 0;
	counters->last_at_ms = wall_ms;
	if (counters->last == MSE_RESULT_SUCCESS)
		counters->last_success_at_ms = wall_ms;
	counters->results[counters->last]++;
	while (bucket < MSE_LATENCY_BUCKETS &&
	       answer->elapsed_ms > mse_latency_bounds_ms[bucket])
		bucket++;
	counters->latency[bucket]++;
	if (answer->elapsed_ms > 0)
		counters->latency_ms += answer->elapsed_ms;
}

enum mse_dead_reason mse_dead_reason_of(int status)
{
	if (status == 0)
		return MSE_DEAD_NO_ANSWER;
	if (status < 400)
		return MSE_DEAD_REDIRECT;
	return status < 500 ? MSE_DEAD_CLIENT_ERROR : MSE_DEAD_SERVER_ERROR;
}

const char *mse_dead_reason_name(enum mse_dead_reason reason)
{
	static const char *const names[MSE_DEAD_REASON_COUNT] = {
		[MSE_DEAD_REDIRECT] = "redirect",
		[MSE_DEAD_CLIENT_ERROR] = "client_error",
		[MSE_DEAD_SERVER_ERROR] = "server_error",
		[MSE_DEAD_NO_ANSWER] = "no_answer"
	};

	return names[reason];
}
