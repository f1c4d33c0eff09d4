#ifndef MSE_DELIVER_REPLAY_H
#define MSE_DELIVER_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "deliver/pick.h"
#include "journal/format.h"

struct mse_deliver;
struct mse_replay;

/*
 * Sending again, beside the live cursor: events of the journal that this
 * cursor has passed (sequence 0, no floor), or dead letters (with the numbers
 * they have). Both say mailhook-replay: true.
 *
 * What it has of its own: order per owner, attempts, a breaker, what
 * Retry-After holds. What it shares with live delivery: concurrency, of which
 * it takes half at most and, unless that is 1, one at least; and rate, where
 * live events go first, but a request in four is its own. While the
 * endpoint is paused, disabled or in an outage it waits. It never touches
 * cursor, numbers, floor, breaker or counters of the live path; but a 410 says
 * that the receiver is gone for good: the replay ends and the endpoint is
 * disabled as by a live event's.
 */
struct mse_replay_options {
	const char *endpoint;
	bool dead;                 /* dead letters, not the journal */
	bool dry_run;              /* counts what it would send */
	struct mse_position start; /* of the journal; not if dead */
	struct mse_pick pick;      /* moved */
	/* Given up for now, or (dead) still a dead letter. NULL: no matter. */
	void (*failed)(const char *id, const char *type, const char *owner,
		       int status, const char *error, void *context);
	void *context;
};

struct mse_replay_progress {
	uint64_t read_octets, total_octets; /* of the journal */
	uint64_t found, answered, failed;
	unsigned int in_flight;
	const char *waiting; /* why nothing is sent just now; "" */
	int64_t resume_ms;   /* wall; all before it is done. 0: not known */
	bool ended;
	const char *problem; /* why it ended early; "" */
};

/* -1 with a sentence: no such endpoint, too many replays, memory. The pick is
   taken only on success. A failed replay ends; *replay_r is the caller's until
   mse_deliver_replay_end(). NULL: it runs on its own. */
int mse_deliver_replay(struct mse_deliver *deliver,
		       struct mse_replay_options *options,
		       struct mse_replay **replay_r,
		       struct mse_error *error_r);
void mse_deliver_replay_progress(const struct mse_replay *replay,
				 struct mse_replay_progress *progress_r);
/* Lets go of it: it runs on its own. */
void mse_deliver_replay_leave(struct mse_replay **replay);
/* Sends nothing more; what is out is waited for by nobody. May be called
   after deliver is gone. */
void mse_deliver_replay_end(struct mse_replay **replay);

#endif
