#ifndef MSE_JOURNAL_INTENT_H
#define MSE_JOURNAL_INTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "event/uuid.h"

/*
 * What a mail process is about to change and has not reported yet. It stands
 * in the process's slot of `presence` from before the change until its
 * records are in the journal; if the process dies between, the daemon tells
 * receivers what to read again. Several may be under way in one process (a
 * DELETE and the emptying it begins with): all of them are one image of fixed
 * size, written as a whole.
 */
#define MSE_INTENT_SIZE 1024

struct mse_intent {
	int64_t wall_ms;
	const char *user;        /* who changes it; NULL: unknown */
	const char *owner;       /* lane; NULL: the user */
	bool is_public;          /* its URLs name no user */
	const char *mailbox;     /* NULL: any of the owner's */
	const char *old_mailbox; /* before a rename, else NULL */
	/* Before the change; 0: unknown. */
	uint32_t uidvalidity, uidnext;
	uint64_t modseq;
};

/* Two octets each for how many there are and how many more had no room, then
   the length, the writer's instance, and entries. */
struct mse_intents {
	union {
		char bytes[MSE_INTENT_SIZE];
		struct {
			uint16_t count, more;
			uint32_t len;
			char instance[40];
		} head;
	} image;
	/* Not part of the image: */
	uint32_t last_id;
	uint32_t written;        /* octets that were written last */
};

void mse_intents_init(struct mse_intents *intents, const char *instance);
/* What has to be written, so that nothing is left of what stood there: names
   of one user are no other's business longer than they must. */
static inline uint32_t mse_intents_extent(const struct mse_intents *intents)
{
	return intents->written > intents->image.head.len ?
		intents->written : intents->image.head.len;
}
static inline bool mse_intents_is_empty(const struct mse_intents *intents)
{
	return intents->image.head.count == 0 && intents->image.head.more == 0;
}
/* Copies it. Never fails: where a name has no room, it is all of the owner's
   mailboxes; where that has none, it only counts. The id is never 0. */
uint32_t mse_intents_add(struct mse_intents *intents,
			 const struct mse_intent *intent);
/* An id that is not there is ignored. Behind what is left come zeros. */
void mse_intents_remove(struct mse_intents *intents, uint32_t id);

/* Whether a foreign image is what mse_intents_add() makes. */
bool mse_intents_are_valid(const struct mse_intents *intents);
/* The entry at *offset (0: the first one) of valid intents, borrowed, and the
   offset of the next; false behind the last. */
bool mse_intents_next(const struct mse_intents *intents, uint32_t *offset,
		      struct mse_intent *intent_r);

#endif
