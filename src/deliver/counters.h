#ifndef MSE_DELIVER_COUNTERS_H
#define MSE_DELIVER_COUNTERS_H

#include <stdint.h>

#include "deliver/transport.h"

/*
 * What an endpoint's attempts came to, for people and their monitoring.
 * Counts of this process: they live as long as the endpoint is configured,
 * reloads included.
 */
enum mse_result {
	MSE_RESULT_SUCCESS,      /* 2xx */
	MSE_RESULT_REDIRECT,     /* 3xx (and 1xx): never followed */
	MSE_RESULT_CLIENT_ERROR, /* 4xx */
	MSE_RESULT_SERVER_ERROR, /* 5xx and beyond */
	MSE_RESULT_RETRY_AFTER,  /* 429, 503 that say when to come back */
	MSE_RESULT_GONE,         /* 410 */
	MSE_RESULT_DNS,
	MSE_RESULT_REFUSED,
	MSE_RESULT_CONNECT_TIMEOUT,
	MSE_RESULT_PROXY,
	MSE_RESULT_DENIED,
	MSE_RESULT_TLS,
	MSE_RESULT_TIMEOUT,
	MSE_RESULT_RESET,
	MSE_RESULT_BROKEN,
	MSE_RESULT_LOCAL,
	MSE_RESULT_COUNT
};

/* By what the last attempt of an event that was given up came to. */
enum mse_dead_reason {
	MSE_DEAD_REDIRECT,
	MSE_DEAD_CLIENT_ERROR,
	MSE_DEAD_SERVER_ERROR,
	MSE_DEAD_NO_ANSWER,
	MSE_DEAD_REASON_COUNT
};

#define MSE_LATENCY_BUCKETS 12
/* Upper bounds in milliseconds, ascending; a last bucket has no bound. */
extern const int64_t mse_latency_bounds_ms[MSE_LATENCY_BUCKETS];

struct mse_counters {
	uint64_t results[MSE_RESULT_COUNT];
	uint64_t latency[MSE_LATENCY_BUCKETS + 1]; /* each on its own */
	int64_t latency_ms;                        /* all together */
	/* Dead letters there are; also of earlier processes. */
	uint64_t dead[MSE_DEAD_REASON_COUNT];
	uint64_t died, dropped;                    /* since start */
	enum mse_result last;                      /* COUNT: none yet */
	int last_status;                           /* 0: no answer */
	int64_t last_at_ms, last_success_at_ms;    /* wall; 0: never */
};

void mse_counters_init(struct mse_counters *counters);
/* An attempt that was not cancelled ended at wall_ms. */
void mse_counters_attempt(struct mse_counters *counters,
			  const struct mse_answer *answer, int64_t wall_ms);
enum mse_result mse_result_of(const struct mse_answer *answer);
/* "success", "client_error", …: words of [a-z_] that do not change. */
const char *mse_result_name(enum mse_result result);

/* status: of the last answer; 0: there was none. */
enum mse_dead_reason mse_dead_reason_of(int status);
const char *mse_dead_reason_name(enum mse_dead_reason reason);

#endif
