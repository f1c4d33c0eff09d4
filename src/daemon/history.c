/*
 * A ring of samples.
 *
 * Invariant: it is written when somebody looks, never by a timer of its own:
 * an idle daemon sleeps.
 */
#include "daemon/history.h"

#include <stddef.h>
#include <string.h>

void mse_history_init(struct mse_history *history, int64_t minute,
		      uint64_t delivered, uint64_t failed)
{
	memset(history, 0, sizeof(*history));
	history->minute = minute;
	history->delivered = delivered;
	history->failed = failed;
}

static void add(struct mse_history *history, uint64_t delivered,
		uint64_t failed, int64_t lag_ms)
{
	struct mse_history_sample *sample = &history->samples[history->next];

	sample->delivered = delivered;
	sample->failed = failed;
	sample->lag_ms = lag_ms;
	history->next = (history->next + 1) % MSE_HISTORY_MINUTES;
	if (history->count < MSE_HISTORY_MINUTES)
		history->count++;
	history->minute++;
}

/* A counter that began anew has counted nothing yet. */
static uint64_t since(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

void mse_history_look(struct mse_history *history, int64_t minute,
		      uint64_t delivered, uint64_t failed, int64_t lag_ms)
{
	if (minute <= history->minute)
		return;
	if (minute - history->minute > MSE_HISTORY_MINUTES) {
		/* The machine slept: nothing of the hour is left. */
		history->count = 0;
		history->minute = minute - 1;
	}
	add(history, since(delivered, history->delivered),
	    since(failed, history->failed), lag_ms);
	while (history->minute < minute)
		add(history, 0, 0, lag_ms);
	history->delivered = delivered;
	history->failed = failed;
}

const struct mse_history_sample *
mse_history_ago(const struct mse_history *history, unsigned int ago)
{
	if (ago >= history->count)
		return NULL;
	return &history->samples[(history->next + MSE_HISTORY_MINUTES - 1 -
				  ago) % MSE_HISTORY_MINUTES];
}
