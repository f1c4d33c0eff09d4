#ifndef MSE_DAEMON_HISTORY_H
#define MSE_DAEMON_HISTORY_H

#include <stdint.h>

/* The last hour of one endpoint, a sample a minute, for the status page's
   graph. Minutes are counted from anywhere, by a clock that never steps. */
#define MSE_HISTORY_MINUTES 60

struct mse_history_sample {
	uint64_t delivered, failed; /* in that minute */
	int64_t lag_ms;             /* at its end */
};

struct mse_history {
	struct mse_history_sample samples[MSE_HISTORY_MINUTES];
	unsigned int count, next;
	int64_t minute;             /* that runs and has no sample yet */
	uint64_t delivered, failed; /* counters when it began */
};

void mse_history_init(struct mse_history *history, int64_t minute,
		      uint64_t delivered, uint64_t failed);
/* The counters and the lag, looked at in this minute. Does something once a
   minute: what was counted since the last time belongs to the minute that ran
   then; minutes in between, in which nobody looked, had nothing to count. */
void mse_history_look(struct mse_history *history, int64_t minute,
		      uint64_t delivered, uint64_t failed, int64_t lag_ms);
/* The sample of `ago` minutes before the last one (0: that itself); NULL if
   there is none. */
const struct mse_history_sample *
mse_history_ago(const struct mse_history *history, unsigned int ago);

#endif
