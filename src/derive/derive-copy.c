/* Derived events carry what the record that caused them carried. */
#include "derive/derive-private.h"

#include <stdlib.h>
#include <string.h>

static int copy_param(const struct mse_record *record, enum mse_param param,
		      struct mse_derive_copy *copy)
{
	uint64_t number;
	int ret;

	if (mse_param_kind(param) == MSE_KIND_STRING) {
		ret = mse_record_string(record, param, &copy->strings[param]);
		if (ret > 0)
			mse_event_set_string(&copy->event, param,
					     copy->strings[param]);
	} else {
		ret = mse_record_number(record, param, &number);
		if (ret > 0)
			mse_event_set_number(&copy->event, param, number);
	}
	return ret;
}

int mse_derive_copy_init(const struct mse_derive *derive,
			 const struct mse_record *record,
			 enum mse_event_type type, int64_t time_ms,
			 struct mse_derive_copy *copy_r)
{
	unsigned int i;

	memset(copy_r, 0, sizeof(*copy_r));
	mse_event_init(&copy_r->event, type, time_ms);
	mse_uuid_make(mse_clock_wall(derive->clock), copy_r->event.id);
	copy_r->event.user = record->user;
	copy_r->event.owner = record->owner;
	for (i = 0; i < MSE_PARAM_COUNT; i++) {
		if (i != MSE_PARAM_TIMESTAMP &&
		    copy_param(record, (enum mse_param)i, copy_r) < 0) {
			mse_derive_copy_clear(copy_r);
			return -1;
		}
	}
	return 0;
}

void mse_derive_copy_clear(struct mse_derive_copy *copy)
{
	unsigned int i;

	for (i = 0; i < MSE_PARAM_COUNT; i++)
		free(copy->strings[i]);
	memset(copy->strings, 0, sizeof(copy->strings));
}
