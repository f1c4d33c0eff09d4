#ifndef MSE_JOURNAL_INTEREST_H
#define MSE_JOURNAL_INTEREST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "event/subscription.h"

/*
 * The interest file: what any endpoint wants, written by the daemon (0640,
 * no secrets, replaced atomically), read by mail processes. What an endpoint
 * wants may be derived from other events and facts: those stand in a
 * subscription of their own, with the same users and every mailbox, so that
 * mail processes write them; what the endpoint gets is decided by its own
 * filter.
 */
struct mse_interest {
	struct mse_subscription *subscriptions;
	size_t count;
	mse_event_types_t types;  /* union: the cheap first question */
	mse_optionals_t optionals; /* union */
	bool flag_events_full;
	char **expire_services;   /* NULL-terminated; never NULL */
	char *server_name;        /* host in IMAP URLs; NULL: Dovecot's */
	/* Names of users that are looked up in the file as it was when it was
	   read; NULL: there are few, the subscriptions have them. */
	struct mse_interest_names *names;
};

/* Nothing, or all events and facts, but no optional parameters. NULL if
   memory is out. */
struct mse_interest *mse_interest_new(bool all);
/* dir_fd/interest. 0 with *interest_r (free with mse_interest_free);
   absent file: an empty interest (nothing wanted). Unreadable or corrupt:
   all events without optional parameters, and *error_r says why (return 1).
   -1 only if memory is out. */
int mse_interest_read(int dir_fd, struct mse_interest **interest_r,
		      struct mse_error *error_r);
/* In the daemon. interest has what the endpoints want (names is not looked at);
   the file also what is behind it. A file that says just that is left as it is. */
int mse_interest_write(int dir_fd, const struct mse_interest *interest,
		       struct mse_error *error_r);
void mse_interest_free(struct mse_interest **interest);
/* The types anyone wants of this owner and mailbox (route->type does not
   matter): one look at each subscription. */
mse_event_types_t mse_interest_types(const struct mse_interest *interest,
				     const struct mse_event_route *route);
bool mse_interest_wants(const struct mse_interest *interest,
			const struct mse_event_route *route);
/* What those who want this event want to know of it. */
void mse_interest_wanted(const struct mse_interest *interest,
			 const struct mse_event_route *route,
			 struct mse_wanted *wanted_r);

#endif
