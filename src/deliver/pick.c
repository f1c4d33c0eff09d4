/*
 * Which events a person means.
 *
 * Invariant: a row is picked if its record would be; the time in its id is that
 * of the event (of a few events of the daemon's own: a little later).
 */
#include "deliver/pick.h"

#include <stdlib.h>
#include <string.h>

static bool is_event(enum mse_event_type type)
{
	return type != MSE_EVENT_UNKNOWN &&
		mse_event_type_group(type) != MSE_GROUP_FACT;
}

int mse_pick_init(struct mse_pick *pick, const char *id, const char *type,
		  const char *user, int64_t since_ms, int64_t until_ms,
		  struct mse_error *error_r)
{
	memset(pick, 0, sizeof(*pick));
	if (type != NULL && !is_event(mse_event_type_find(type)))
		return mse_error_set(error_r, "\"%.64s\" is no event; names "
				     "are those of RFC 5423, such as "
				     "MessageNew", type);
	pick->since_ms = since_ms;
	pick->until_ms = until_ms;
	pick->id = id != NULL ? strdup(id) : NULL;
	pick->type = type != NULL ? strdup(type) : NULL;
	if (user != NULL)
		pick->users = mse_patterns_new(&user, 1, 0);
	if ((id != NULL && pick->id == NULL) ||
	    (type != NULL && pick->type == NULL) ||
	    (user != NULL && pick->users == NULL)) {
		mse_pick_clear(pick);
		return mse_error_set(error_r, "out of memory");
	}
	return 0;
}

void mse_pick_clear(struct mse_pick *pick)
{
	free(pick->id);
	free(pick->type);
	if (pick->users != NULL)
		mse_patterns_free(&pick->users);
	memset(pick, 0, sizeof(*pick));
}

static bool picks(const struct mse_pick *pick, const char *id,
		  const char *type, int64_t time_ms)
{
	return (pick->id == NULL || strcmp(pick->id, id) == 0) &&
		(pick->type == NULL || strcmp(pick->type, type) == 0) &&
		time_ms >= pick->since_ms && time_ms <= pick->until_ms;
}

bool mse_pick_record(const struct mse_pick *pick,
		     const struct mse_record *record)
{
	return picks(pick, record->id, record->type_name, record->time_ms) &&
		(pick->users == NULL ||
		 mse_patterns_match(pick->users, record->owner));
}

bool mse_pick_needs_record(const struct mse_pick *pick)
{
	return pick->users != NULL;
}

/* With order = "none" the lane says nothing of the owner. */
static bool owner_matches(const struct mse_pick *pick,
			  const struct mse_ledger_row *row)
{
	struct mse_record record;
	bool matches;

	if (row->record == NULL ||
	    mse_record_parse(row->record, row->record_len, &record, NULL) < 0)
		return row->lane[0] != '\x01' &&
			mse_patterns_match(pick->users, row->lane);
	matches = mse_patterns_match(pick->users, record.owner);
	mse_record_clear(&record);
	return matches;
}

bool mse_pick_row(const struct mse_pick *pick,
		  const struct mse_ledger_row *row)
{
	return picks(pick, row->id, row->type, mse_uuid_time_ms(row->id)) &&
		(pick->users == NULL || owner_matches(pick, row));
}
