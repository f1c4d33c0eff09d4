/*
 * Backoff, breaker, rate: when things are tried.
 *
 * Invariant: nothing here remembers more than the struct it is given, asks a
 * clock or draws a random number.
 */
#include "deliver/schedule.h"

/* A late timer may make up for this much. */
#define RATE_SLACK_US 20000

int64_t mse_backoff_ms(int64_t first_ms, int64_t max_ms, uint32_t attempts,
		       uint32_t random)
{
	int64_t delay = first_ms;

	while (attempts > 1 && delay < max_ms) {
		delay *= 2;
		attempts--;
	}
	if (delay > max_ms)
		delay = max_ms;
	delay = delay - delay / 4 +
		(int64_t)((double)(delay / 2) * random / 4294967296.0);
	return delay > max_ms ? max_ms : delay;
}

bool mse_breaker_success(struct mse_breaker *breaker)
{
	bool was_open = breaker->open;

	breaker->failures = 0;
	breaker->probes = 0;
	breaker->open = false;
	return was_open;
}

static void plan_probe(struct mse_breaker *breaker, int64_t now_ms,
		       int64_t first_ms, int64_t max_ms, uint32_t random)
{
	if (max_ms > MSE_BREAKER_PROBE_MAX_MS)
		max_ms = MSE_BREAKER_PROBE_MAX_MS;
	if (first_ms > max_ms)
		first_ms = max_ms;
	breaker->probes++;
	breaker->probe_at_ms = now_ms +
		mse_backoff_ms(first_ms, max_ms, breaker->probes, random);
}

bool mse_breaker_failure(struct mse_breaker *breaker, bool probe,
			 int64_t now_ms, int64_t retry_first_ms,
			 int64_t retry_max_ms, uint32_t random)
{
	if (breaker->open) {
		if (probe)
			plan_probe(breaker, now_ms, retry_first_ms,
				   retry_max_ms, random);
		return false;
	}
	if (breaker->failures++ == 0)
		breaker->first_failure_ms = now_ms;
	if (breaker->failures < MSE_BREAKER_FAILURES ||
	    now_ms - breaker->first_failure_ms < MSE_BREAKER_SPAN_MS)
		return false;
	breaker->open = true;
	breaker->probes = 0;
	plan_probe(breaker, now_ms, retry_first_ms, retry_max_ms, random);
	return true;
}

int64_t mse_rate_at(const struct mse_rate *rate, unsigned int per_minute,
		    int64_t now_ms)
{
	if (per_minute == 0 || rate->next_us <= now_ms * 1000)
		return now_ms;
	return (rate->next_us + 999) / 1000;
}

void mse_rate_take(struct mse_rate *rate, unsigned int per_minute,
		   int64_t now_ms)
{
	if (per_minute == 0)
		return;
	if (rate->next_us < now_ms * 1000 - RATE_SLACK_US)
		rate->next_us = now_ms * 1000 - RATE_SLACK_US;
	rate->next_us += INT64_C(60000000) / per_minute;
}
