#ifndef MSE_EVENT_SUBSCRIPTION_H
#define MSE_EVENT_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "event/pattern.h"
#include "event/vocabulary.h"

/* What one endpoint wants. The interest file is a list of these, with the
   facts behind them. */
struct mse_subscription {
	mse_event_types_t types;        /* of an endpoint: never FACT or OWN */
	struct mse_patterns *users;     /* never NULL; empty: all */
	struct mse_patterns *mailboxes; /* never NULL; empty: all */
	mse_optionals_t optionals;      /* what it is to be told besides */
	/* If MESSAGE_CONTENT is among them: which part, and the most octets
	   (1..MSE_CONTENT_MAX) that are not left out. */
	enum mse_content_part content_part;
	uint64_t content_limit;
};

/* What is known of an event before its data is looked up. */
struct mse_event_route {
	enum mse_event_type type;
	const char *owner;       /* the lane: mailbox's owner, else the user */
	const char *mailbox;     /* NULL: an event without a mailbox passes */
	const char *old_mailbox; /* rename: either name may match */
};

/* What all that match ask for together. */
struct mse_wanted {
	mse_optionals_t optionals;
	uint64_t content_limit[MSE_CONTENT_PART_COUNT]; /* 0: nobody */
};

/* Adds what this one asks for. */
void mse_wanted_add(struct mse_wanted *wanted,
		    const struct mse_subscription *subscription);

/* The types it wants of this owner and mailbox; route->type does not matter. */
mse_event_types_t
mse_subscription_types(const struct mse_subscription *subscription,
		       const struct mse_event_route *route);
/* Group OWN always matches, but for a Resync of an owner or a mailbox that the
   filters leave out. */
bool mse_subscription_matches(const struct mse_subscription *subscription,
			      const struct mse_event_route *route);

#endif
