/*
 * Collecting one event's values. Invariant: a bit in `set` says that the
 * value of that parameter is there and of the kind the vocabulary names.
 */
#include "event/event.h"

#include <string.h>

_Static_assert(MSE_PARAM_COUNT <= 64, "mse_event.set has a bit for each");

void mse_event_init(struct mse_event *event, enum mse_event_type type,
		    int64_t wall_ms)
{
	memset(event, 0, sizeof(*event));
	event->type = type;
	event->time_ms = wall_ms;
	mse_uuid_make(wall_ms, event->id);
}

void mse_event_set_string(struct mse_event *event, enum mse_param param,
			  const char *value)
{
	event->values[param].string = value;
	if (value != NULL)
		event->set |= MSE_PARAM_BIT(param);
	else
		event->set &= ~MSE_PARAM_BIT(param);
}

void mse_event_set_number(struct mse_event *event, enum mse_param param,
			  uint64_t value)
{
	event->values[param].number = value;
	event->set |= MSE_PARAM_BIT(param);
}

void mse_event_set_bool(struct mse_event *event, enum mse_param param,
			bool value)
{
	mse_event_set_number(event, param, value ? 1 : 0);
}
