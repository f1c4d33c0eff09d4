/*
 * The interest file: the union of what anyone wants.
 *
 * Invariant: whatever is wrong with the file, the answer errs towards more
 * events, never towards fewer; only a file that is not there at all (the
 * daemon has never run here) means that nobody wants anything. The document
 * is read in interest-read.c and written in interest-write.c.
 */
#include "journal/interest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "journal/format.h"
#include "journal/interest-json.h"
#include "journal/interest-names.h"

static int take_everything(struct mse_interest *interest)
{
	struct mse_subscription *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return -1;
	interest->subscriptions = all;
	interest->count = 1;
	all->types = MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS;
	interest->types = all->types;
	all->users = mse_patterns_new(NULL, 0, 0);
	all->mailboxes = mse_patterns_new(NULL, 0, MSE_PATTERNS_MAILBOX);
	return all->users == NULL || all->mailboxes == NULL ? -1 : 0;
}

struct mse_interest *mse_interest_new(bool all)
{
	struct mse_interest *interest = calloc(1, sizeof(*interest));

	if (interest == NULL)
		return NULL;
	interest->expire_services = calloc(1, sizeof(char *));
	if (interest->expire_services == NULL ||
	    (all && take_everything(interest) < 0))
		mse_interest_free(&interest);
	return interest;
}

void mse_interest_free(struct mse_interest **_interest)
{
	struct mse_interest *interest = *_interest;
	size_t i;

	*_interest = NULL;
	if (interest == NULL)
		return;
	for (i = 0; i < interest->count; i++) {
		mse_patterns_free(&interest->subscriptions[i].users);
		mse_patterns_free(&interest->subscriptions[i].mailboxes);
	}
	free(interest->subscriptions);
	for (i = 0; interest->expire_services != NULL &&
	     interest->expire_services[i] != NULL; i++)
		free(interest->expire_services[i]);
	free(interest->expire_services);
	free(interest->server_name);
	mse_interest_names_free(&interest->names);
	free(interest);
}

static int everything(struct mse_interest **interest_r)
{
	*interest_r = mse_interest_new(true);
	return *interest_r == NULL ? -1 : 1;
}

int mse_interest_read(int dir_fd, struct mse_interest **interest_r,
		      struct mse_error *error_r)
{
	/* NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = openat(dir_fd, MSE_INTEREST_NAME,
			O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int ret;

	*interest_r = NULL;
	if (fd < 0 && errno == ENOENT) {
		*interest_r = mse_interest_new(false);
		return *interest_r == NULL ? -1 : 0;
	}
	if (fd < 0) {
		mse_error_set(error_r, "cannot open %s: %s; all events are "
			      "taken", MSE_INTEREST_NAME, strerror(errno));
		return everything(interest_r);
	}
	ret = mse_interest_load(fd, interest_r, error_r);
	return ret == 1 ? everything(interest_r) : ret;
}

mse_event_types_t mse_interest_types(const struct mse_interest *interest,
				     const struct mse_event_route *route)
{
	mse_event_types_t types = 0;
	size_t i;

	for (i = 0; i < interest->count && types != interest->types; i++)
		types |= mse_subscription_types(&interest->subscriptions[i],
						route);
	return types;
}

bool mse_interest_wants(const struct mse_interest *interest,
			const struct mse_event_route *route)
{
	size_t i;

	/* Group OWN cannot be asked for and is not in the union. */
	if (mse_event_type_group(route->type) != MSE_GROUP_OWN &&
	    (interest->types & MSE_EVENT_BIT(route->type)) == 0)
		return false;
	for (i = 0; i < interest->count; i++) {
		if (mse_subscription_matches(&interest->subscriptions[i],
					     route))
			return true;
	}
	return false;
}

void mse_interest_wanted(const struct mse_interest *interest,
			 const struct mse_event_route *route,
			 struct mse_wanted *wanted_r)
{
	size_t i;

	memset(wanted_r, 0, sizeof(*wanted_r));
	if (interest->optionals == 0)
		return;
	for (i = 0; i < interest->count; i++) {
		if (interest->subscriptions[i].optionals != 0 &&
		    mse_subscription_matches(&interest->subscriptions[i],
					     route))
			mse_wanted_add(wanted_r, &interest->subscriptions[i]);
	}
}
