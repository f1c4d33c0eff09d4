/*
 * What an answer means, and the names of outcomes.
 *
 * Invariant: only a 2xx is success; 3xx is a failure like any other.
 */
#include "deliver/answer.h"

enum mse_verdict mse_answer_judge(const struct mse_answer *answer,
				  int64_t *hold_ms_r)
{
	int64_t hold_s = answer->retry_after_s;

	*hold_ms_r = 0;
	if (answer->outcome == MSE_OUTCOME_CANCELLED)
		return MSE_VERDICT_NOTHING;
	if (answer->outcome != MSE_OUTCOME_ANSWERED)
		return MSE_VERDICT_RETRY;
	if (answer->status >= 200 && answer->status <= 299)
		return MSE_VERDICT_SUCCESS;
	if (answer->status == 410)
		return MSE_VERDICT_DISABLE;
	/* "Retry-After: 0" asks for nothing. */
	if ((answer->status == 429 || answer->status == 503) && hold_s > 0) {
		*hold_ms_r = hold_s > MSE_HOLD_MAX_MS / 1000 ?
			MSE_HOLD_MAX_MS : hold_s * 1000;
		return MSE_VERDICT_HOLD;
	}
	return MSE_VERDICT_RETRY;
}

const char *mse_outcome_name(enum mse_outcome outcome)
{
	switch (outcome) {
	case MSE_OUTCOME_ANSWERED:
		return "answered";
	case MSE_OUTCOME_DNS:
		return "dns";
	case MSE_OUTCOME_REFUSED:
		return "refused";
	case MSE_OUTCOME_CONNECT_TIMEOUT:
		return "connect-timeout";
	case MSE_OUTCOME_PROXY:
		return "proxy";
	case MSE_OUTCOME_DENIED:
		return "denied";
	case MSE_OUTCOME_TLS:
		return "tls";
	case MSE_OUTCOME_TIMEOUT:
		return "timeout";
	case MSE_OUTCOME_RESET:
		return "reset";
	case MSE_OUTCOME_BROKEN:
		return "broken";
	case MSE_OUTCOME_CANCELLED:
		return "cancelled";
	case MSE_OUTCOME_LOCAL:
		break;
	}
	return "local";
}
