/*
 * Whether an endpoint wants an event, and what of it. Pure; used by mail
 * processes through the interest, and by deliver/ for each endpoint.
 */
#include "event/subscription.h"

static bool mailbox_matches(const struct mse_patterns *mailboxes,
			    const struct mse_event_route *route)
{
	if (route->mailbox == NULL)
		return true;
	return mse_patterns_match(mailboxes, route->mailbox) ||
	       (route->old_mailbox != NULL &&
		mse_patterns_match(mailboxes, route->old_mailbox));
}

mse_event_types_t
mse_subscription_types(const struct mse_subscription *subscription,
		       const struct mse_event_route *route)
{
	return mse_patterns_match(subscription->users,
				  route->owner == NULL ? "" : route->owner) &&
	       mailbox_matches(subscription->mailboxes, route) ?
		subscription->types : 0;
}

/* A Gap is everybody's. A Resync is for who may have missed an event: names
   that an endpoint's filters leave out are not told it by this one either. */
static bool own_matches(const struct mse_subscription *subscription,
			const struct mse_event_route *route)
{
	return route->type != MSE_EVENT_RESYNC ||
	       (mse_patterns_match(subscription->users,
				   route->owner == NULL ? "" : route->owner) &&
		mailbox_matches(subscription->mailboxes, route));
}

bool mse_subscription_matches(const struct mse_subscription *subscription,
			      const struct mse_event_route *route)
{
	if (route->type >= MSE_EVENT_UNKNOWN)
		return false;
	if (mse_event_type_group(route->type) == MSE_GROUP_OWN)
		return own_matches(subscription, route);
	return (subscription->types & MSE_EVENT_BIT(route->type)) != 0 &&
	       mse_subscription_types(subscription, route) != 0;
}

void mse_wanted_add(struct mse_wanted *wanted,
		    const struct mse_subscription *subscription)
{
	uint64_t *limit = &wanted->content_limit[subscription->content_part];

	wanted->optionals |= subscription->optionals;
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) != 0 &&
	    subscription->content_limit > *limit)
		*limit = subscription->content_limit;
}
