#ifndef MSE_DELIVER_SCHEDULE_H
#define MSE_DELIVER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* When things are tried. Pure: the clock (monotonic ms) and random numbers
   are passed in. */

/* Before the attempt after `attempts` failed ones: doubles from first to max,
   a quarter more or less by chance, never beyond max. */
int64_t mse_backoff_ms(int64_t first_ms, int64_t max_ms, uint32_t attempts,
		       uint32_t random);

#define MSE_BREAKER_FAILURES 5
#define MSE_BREAKER_SPAN_MS 10000
#define MSE_BREAKER_PROBE_MAX_MS 60000

struct mse_breaker {
	unsigned int failures;    /* in a row */
	int64_t first_failure_ms; /* of them */
	bool open;
	uint32_t probes;          /* failed since it opened */
	int64_t probe_at_ms;
};

/* Returns true if it closed the breaker. */
bool mse_breaker_success(struct mse_breaker *breaker);
/* Returns true if it opened the breaker. Of an open breaker only the probe's
   failure counts. */
bool mse_breaker_failure(struct mse_breaker *breaker, bool probe,
			 int64_t now_ms, int64_t retry_first_ms,
			 int64_t retry_max_ms, uint32_t random);

/* Requests a minute, evenly. */
struct mse_rate {
	int64_t next_us;
};
/* When the next request may go: <= now_ms for now. rate 0: always. */
int64_t mse_rate_at(const struct mse_rate *rate, unsigned int per_minute,
		    int64_t now_ms);
void mse_rate_take(struct mse_rate *rate, unsigned int per_minute,
		   int64_t now_ms);

#endif
