/*
 * What is remembered of a quota root, in the ledger as one line of four
 * words:
 *
 *	STORAGE-LIMIT MESSAGES-LIMIT STORAGE-LATCH MESSAGES-LATCH
 *
 * A limit is KiB or messages, 0 for unlimited, "-" if it was never seen; a
 * latch is USED/LIMIT when last seen, "-" if it is not set:
 *
 *	102400 0 99870/102400 -
 */
#include "mse-config.h"
#include "derive/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between an owner and a root's name. */
#define KEY_SEPARATOR '\x1f'

static const char *const freeing[] = {
	"expunge", "close", "pop3", "autoexpunge", "delete"
};

/* What the plugin calls a fact's reason. A move frees nothing by itself:
   only the figures can say whether there is more room than before. */
static bool is_freeing(const char *cause)
{
	size_t i;

	for (i = 0; i < sizeof(freeing) / sizeof(freeing[0]); i++) {
		if (strcmp(cause, freeing[i]) == 0)
			return true;
	}
	return false;
}

static void read_amount(const struct mse_record *record, enum mse_param used,
			enum mse_param limit, struct mse_quota_amount *amount_r)
{
	if (mse_record_number(record, limit, &amount_r->limit) <= 0)
		amount_r->limit = 0;
	if (mse_record_number(record, used, &amount_r->used) <= 0)
		amount_r->used = 0;
}

static int read_why(const struct mse_record *record,
		    struct mse_quota_note *note)
{
	char *text = NULL;
	int ret;

	if (note->is_fact) {
		ret = mse_record_string(record, MSE_PARAM_REASON, &text);
		note->limits_new = ret > 0 && strcmp(text, "limits") == 0;
		free(text);
		text = NULL;
		if (ret >= 0)
			ret = mse_record_string(record, MSE_PARAM_CAUSE,
						&text);
		note->freed = ret > 0 && is_freeing(text);
	} else {
		ret = mse_record_string(record, MSE_PARAM_QUOTA_RESOURCE,
					&text);
		note->exceeds_storage = ret > 0 &&
			strstr(text, "STORAGE") != NULL;
		note->exceeds_messages = ret > 0 &&
			strstr(text, "MESSAGE") != NULL;
	}
	free(text);
	return ret < 0 ? -1 : 0;
}

int mse_quota_note_read(const struct mse_record *record,
			struct mse_quota_note *note_r, struct mse_buf *key)
{
	char *root = NULL;
	int ret;

	memset(note_r, 0, sizeof(*note_r));
	if (record->type != MSE_EVENT_FACT_QUOTA &&
	    record->type != MSE_EVENT_QUOTA_EXCEED)
		return 0;
	note_r->is_fact = record->type == MSE_EVENT_FACT_QUOTA;
	/* Without a root nobody will ever tell that it has room again. */
	ret = mse_record_string(record, MSE_PARAM_QUOTA_ROOT, &root);
	if (ret <= 0)
		return ret;
	read_amount(record, MSE_PARAM_DISK_USED, MSE_PARAM_DISK_QUOTA,
		    &note_r->storage);
	read_amount(record, MSE_PARAM_MESSAGES, MSE_PARAM_MAX_MESSAGES,
		    &note_r->messages);
	mse_buf_append_str(key, record->owner);
	mse_buf_append_char(key, KEY_SEPARATOR);
	mse_buf_append_str(key, root);
	free(root);
	if (read_why(record, note_r) < 0 || mse_buf_failed(key))
		return -1;
	return note_r->is_fact || note_r->exceeds_storage ||
	       note_r->exceeds_messages;
}

static void latch(struct mse_quota_latch *latch,
		  const struct mse_quota_amount *now)
{
	latch->set = true;
	latch->at = *now;
}

/* Whether it is within its limit again. */
static bool release(struct mse_quota_latch *latch,
		    const struct mse_quota_amount *now, bool freed)
{
	bool room = now->limit == 0 || now->used < now->limit;
	bool better = freed || now->limit == 0 ||
		      now->limit > latch->at.limit ||
		      now->used < latch->at.used;

	if (!latch->set)
		return false;
	latch->at = *now;
	if (!room || !better)
		return false;
	memset(latch, 0, sizeof(*latch));
	return true;
}

void mse_quota_step(struct mse_quota_state *state,
		    const struct mse_quota_note *note,
		    struct mse_quota_outcome *outcome_r)
{
	memset(outcome_r, 0, sizeof(*outcome_r));
	if (!note->is_fact) {
		if (note->exceeds_storage)
			latch(&state->storage, &note->storage);
		if (note->exceeds_messages)
			latch(&state->messages, &note->messages);
		return;
	}
	if (note->limits_new || !state->known) {
		outcome_r->change = state->known &&
			(state->storage_limit != note->storage.limit ||
			 state->messages_limit != note->messages.limit);
		state->known = true;
		state->storage_limit = note->storage.limit;
		state->messages_limit = note->messages.limit;
	}
	outcome_r->within_storage = release(&state->storage, &note->storage,
					    note->freed);
	outcome_r->within_messages = release(&state->messages,
					     &note->messages, note->freed);
}

static void format_latch(const struct mse_quota_latch *latch, char text_r[48])
{
	if (latch->set)
		snprintf(text_r, 48, "%" PRIu64 "/%" PRIu64, latch->at.used,
			 latch->at.limit);
	else
		snprintf(text_r, 48, "-");
}

void mse_quota_state_format(const struct mse_quota_state *state,
			    char text_r[MSE_QUOTA_STATE_SIZE])
{
	char storage[48], messages[48];

	format_latch(&state->storage, storage);
	format_latch(&state->messages, messages);
	if (state->known)
		snprintf(text_r, MSE_QUOTA_STATE_SIZE,
			 "%" PRIu64 " %" PRIu64 " %s %s",
			 state->storage_limit, state->messages_limit, storage,
			 messages);
	else
		snprintf(text_r, MSE_QUOTA_STATE_SIZE, "- - %s %s", storage,
			 messages);
}

static bool parse_latch(const char *text, struct mse_quota_latch *latch)
{
	if (strcmp(text, "-") == 0)
		return true;
	latch->set = true;
	return sscanf(text, "%" SCNu64 "/%" SCNu64, &latch->at.used,
		      &latch->at.limit) == 2;
}

void mse_quota_state_parse(const char *text, struct mse_quota_state *state_r)
{
	char limits[2][24], latches[2][48];
	bool valid;

	memset(state_r, 0, sizeof(*state_r));
	valid = sscanf(text, "%23s %23s %47s %47s", limits[0], limits[1],
		       latches[0], latches[1]) == 4 &&
		parse_latch(latches[0], &state_r->storage) &&
		parse_latch(latches[1], &state_r->messages);
	if (valid && strcmp(limits[0], "-") != 0) {
		state_r->known = true;
		valid = sscanf(limits[0], "%" SCNu64,
			       &state_r->storage_limit) == 1 &&
			sscanf(limits[1], "%" SCNu64,
			       &state_r->messages_limit) == 1;
	}
	if (!valid)
		memset(state_r, 0, sizeof(*state_r));
}
