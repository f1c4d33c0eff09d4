#ifndef MSE_DELIVER_SHOW_H
#define MSE_DELIVER_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "deliver/transport.h"
#include "event/record.h"
#include "journal/format.h"

struct mse_deliver;

/*
 * One event as a person looks at it: how it stands with each endpoint.
 */
struct mse_show;

struct mse_delivery {
	const char *endpoint;
	/* "waiting": its turn comes; "held": behind held_by, of the same
	   owner; "sending"; "retrying"; "dead"; "answered"; "passed": answered,
	   dropped, or older than the endpoint; "unread": still in the journal;
	   "unwanted": by the endpoint's filters. */
	const char *state;
	const char *held_by;       /* an id; "" */
	uint64_t sequence;         /* 0: none (yet, or known any more) */
	uint32_t attempts;
	int64_t changed_at_ms;     /* wall, of the last attempt; 0: none */
	int64_t next_attempt_ms;   /* from now; -1: not planned */
	int last_status;
	const char *last_error;    /* "" */
	const char *answer;        /* how its body began */
	size_t answer_len;
	/* As it would be sent now; NULL: not at all. */
	const struct mse_request *request;
};

/* Looks for its rows; waits for the ledger's thread. endpoint NULL: all. */
int mse_deliver_show_new(struct mse_deliver *deliver, const char *id,
			 const char *endpoint, struct mse_show **show_r,
			 struct mse_error *error_r);
void mse_deliver_show_free(struct mse_show **show);
/* The event's journal record if a row still has it, else NULL. Borrowed. */
const char *mse_deliver_show_record(const struct mse_show *show,
				    size_t *len_r);
bool mse_deliver_show_has_rows(const struct mse_show *show);
/* record, position: NULL: not known, not in the journal. */
void mse_deliver_show_each(const struct mse_show *show,
			   const struct mse_record *record,
			   const struct mse_position *position,
			   void (*found)(const struct mse_delivery *delivery,
					 void *context),
			   void *context);

#endif
