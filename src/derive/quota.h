#ifndef MSE_DERIVE_QUOTA_H
#define MSE_DERIVE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "event/record.h"

/*
 * QuotaWithin and QuotaChange out of QuotaExceed and the quota facts, for one
 * quota root of one owner: what a record says, what is remembered, and what
 * follows. Pure functions; who calls them keeps the state (in the ledger).
 *
 * A session's limits are its userdb's as it began: facts of a session that
 * lasts are no news of limits that later ones know better.
 *
 * A resource (storage, messages) is latched by a QuotaExceed and released by
 * the first fact that shows room again because something was freed or the
 * limit was raised: not by one that only shows that a smaller message would
 * have fitted all the while.
 */

/* KiB or messages; limit 0: unlimited, used is then unknown. */
struct mse_quota_amount {
	uint64_t used, limit;
};

/* What one record says of one root. */
struct mse_quota_note {
	bool exceeds_storage, exceeds_messages; /* QuotaExceed, of what */
	bool is_fact;
	bool freed;              /* a fact after an expunge */
	bool limits_new;         /* told by its session for the first time */
	struct mse_quota_amount storage, messages;
};

struct mse_quota_latch {
	bool set;
	struct mse_quota_amount at; /* when last seen */
};

struct mse_quota_state {
	bool known;              /* the limits have been seen */
	uint64_t storage_limit, messages_limit;
	struct mse_quota_latch storage, messages;
};

struct mse_quota_outcome {
	bool change;             /* comes first */
	bool within_storage, within_messages; /* one QuotaWithin */
};

/* 1 if the record says something of a root: *note_r, and the key of what is
   remembered appended to key. 0 if not. -1 if memory is out. */
int mse_quota_note_read(const struct mse_record *record,
			struct mse_quota_note *note_r, struct mse_buf *key);
void mse_quota_step(struct mse_quota_state *state,
		    const struct mse_quota_note *note,
		    struct mse_quota_outcome *outcome_r);

/* The state as the ledger keeps it. Text that makes no sense (of another
   version) is as if nothing were remembered. */
#define MSE_QUOTA_STATE_SIZE 160
void mse_quota_state_format(const struct mse_quota_state *state,
			    char text_r[MSE_QUOTA_STATE_SIZE]);
void mse_quota_state_parse(const char *text, struct mse_quota_state *state_r);

#endif
