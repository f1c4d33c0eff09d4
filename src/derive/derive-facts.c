/*
 * From records to what follows from them and from what is remembered.
 *
 *	read:     records of interest are noted, with their bytes
 *	resolve:  in the ledger's thread, what is remembered of each subject
 *	          is read and brought up to date, and undone again; what comes
 *	          out is the events that follow and what to remember
 *	append:   the events, each with its cause
 *	commit:   what to remember, with the cursor
 *
 * Invariants: one batch at a time; nothing is read while a batch's outcome
 * waits to be committed, and none is resolved while a commit is on its way:
 * so each batch finds in the ledger what the one before left. No memory but
 * for the batch, whatever number of users there is.
 */
#include "mse-config.h"
#include "derive/derive-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "derive/quota.h"
#include "event/event.h"

#define NOTES_MAX 1000
#define NOTES_OCTETS_MAX ((size_t)16 * 1024 * 1024)
/* Batches this far apart, for each costs an fsync. */
#define RESOLVE_EVERY_MS 200
#define KIND_QUOTA "quota"

struct note {
	struct mse_quota_note quota;
	struct mse_quota_outcome outcome;
	char *key;
	char *text;              /* the record */
	size_t len;
};

struct mse_derive_batch {
	struct mse_ledger_job job; /* first: the worker's view */
	struct mse_derive *derive; /* NULL: it is gone */
	struct note *notes;
	size_t count, size, octets;
	struct mse_derive_state *states; /* to remember */
	size_t state_count, state_size;
	bool in_flight;
};

static void forget_states(struct mse_derive_batch *batch)
{
	mse_derive_state_free(batch->states, batch->state_count);
	batch->states = NULL;
	batch->state_count = batch->state_size = 0;
}

static void free_batch(struct mse_derive_batch *batch)
{
	size_t i;

	for (i = 0; i < batch->count; i++) {
		free(batch->notes[i].key);
		free(batch->notes[i].text);
	}
	free(batch->notes);
	forget_states(batch);
	free(batch);
}

void mse_derive_batch_leave(struct mse_derive *derive)
{
	struct mse_derive_batch *batch = derive->batch;

	derive->batch = NULL;
	if (batch == NULL)
		return;
	if (batch->in_flight)
		batch->derive = NULL;
	else
		free_batch(batch);
}

/* Noting */

static struct mse_derive_batch *current_batch(struct mse_derive *derive)
{
	if (derive->batch == NULL)
		derive->batch = calloc(1, sizeof(*derive->batch));
	if (derive->batch != NULL)
		derive->batch->derive = derive;
	return derive->batch;
}

static int keep_note(struct mse_derive_batch *batch,
		     const struct mse_record *record,
		     const struct mse_quota_note *quota, const char *key)
{
	struct note *list, *note;

	list = mse_derive_grow(batch->notes, &batch->size, batch->count,
			       sizeof(*list));
	if (list == NULL)
		return -1;
	batch->notes = list;
	note = &list[batch->count];
	memset(note, 0, sizeof(*note));
	note->quota = *quota;
	note->key = strdup(key);
	note->text = malloc(record->bytes.len);
	if (note->key == NULL || note->text == NULL) {
		free(note->key);
		free(note->text);
		return -1;
	}
	memcpy(note->text, record->bytes.data, record->bytes.len);
	note->len = record->bytes.len;
	batch->octets += record->bytes.len;
	batch->count++;
	return 0;
}

int mse_derive_note(struct mse_derive *derive, const struct mse_record *record)
{
	struct mse_quota_note quota;
	struct mse_buf key;
	int ret;

	if (record->type != MSE_EVENT_QUOTA_EXCEED &&
	    record->type != MSE_EVENT_FACT_QUOTA)
		return 0;
	if (!derive->caught_up) {
		derive->has_missed = true;
		return 0;
	}
	mse_buf_init(&key, NOTES_OCTETS_MAX);
	ret = mse_quota_note_read(record, &quota, &key);
	if (ret > 0)
		ret = current_batch(derive) == NULL ? -1 :
			keep_note(derive->batch, record, &quota,
				  mse_buf_str(&key));
	mse_buf_clear(&key);
	return ret < 0 ? -1 : 0;
}

bool mse_derive_may_read(const struct mse_derive *derive)
{
	const struct mse_derive_batch *batch = derive->batch;

	return derive->event_records == 0 &&
	       derive->changes.resolved_count == 0 &&
	       derive->changes.state_count < MSE_DERIVE_STATE_MAX &&
	       (batch == NULL || (!batch->in_flight &&
				  batch->count < NOTES_MAX &&
				  batch->octets < NOTES_OCTETS_MAX));
}

/* Resolving, in the ledger's thread */

static int remember(struct mse_derive_batch *batch, const char *key,
		    const char *value)
{
	struct mse_derive_state *list, *state;

	list = mse_derive_grow(batch->states, &batch->state_size,
			       batch->state_count, sizeof(*list));
	if (list == NULL)
		return -1;
	batch->states = list;
	state = &list[batch->state_count];
	state->kind = KIND_QUOTA;
	state->key = strdup(key);
	state->value = strdup(value);
	if (state->key == NULL || state->value == NULL) {
		free(state->key);
		free(state->value);
		return -1;
	}
	batch->state_count++;
	return 0;
}

static int resolve_note(struct mse_ledger *ledger,
			struct mse_derive_batch *batch, struct note *note,
			struct mse_error *error_r)
{
	char text[MSE_QUOTA_STATE_SIZE];
	struct mse_quota_state state;
	struct mse_buf before;
	int ret;

	mse_buf_init(&before, 4096);
	ret = mse_ledger_get_derived(ledger, KIND_QUOTA, note->key, &before,
				     error_r);
	if (ret < 0)
		goto out;
	mse_quota_state_parse(mse_buf_str(&before), &state);
	mse_quota_step(&state, &note->quota, &note->outcome);
	mse_quota_state_format(&state, text);
	ret = 0;
	if (strcmp(text, mse_buf_str(&before)) == 0)
		goto out;
	if (remember(batch, note->key, text) < 0)
		ret = mse_error_set(error_r, "out of memory");
	else
		ret = mse_ledger_put_derived(ledger, KIND_QUOTA, note->key,
					     text, error_r);
out:
	mse_buf_clear(&before);
	return ret;
}

/* Each note sees what those before it have changed; the ledger keeps nothing
   of it before the events are in the journal. */
static int run_batch(struct mse_ledger *ledger, struct mse_ledger_job *job,
		     struct mse_error *error_r)
{
	struct mse_derive_batch *batch = (struct mse_derive_batch *)job;
	size_t i;
	int ret = 0;

	forget_states(batch);
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	for (i = 0; i < batch->count && ret == 0; i++)
		ret = resolve_note(ledger, batch, &batch->notes[i], error_r);
	if (mse_ledger_rollback_to(ledger, ret < 0 ? NULL : error_r) < 0)
		ret = -1;
	return ret;
}

/* The events that follow */

static int put_in_line(struct mse_derive *derive,
		       const struct mse_record *record,
		       enum mse_event_type type, const char *resource)
{
	char cause[MSE_DERIVE_CAUSE_SIZE];
	struct mse_derive_copy copy;

	snprintf(cause, sizeof(cause), "%s:%s", record->id,
		 mse_event_type_name(type));
	if (mse_derive_seen_has(&derive->seen, cause))
		return 0;
	/* It happened when its cause did, however late the daemon learns of
	   it. */
	if (mse_derive_copy_init(derive, record, type, record->time_ms,
				 &copy) < 0)
		return -1;
	copy.event.cause = cause;
	/* A word between the plugin and us. */
	mse_event_set_string(&copy.event, MSE_PARAM_REASON, NULL);
	mse_event_set_string(&copy.event, MSE_PARAM_QUOTA_RESOURCE, resource);
	mse_event_write(&copy.event, &derive->events);
	mse_derive_copy_clear(&copy);
	if (mse_buf_failed(&derive->events))
		return -1;
	derive->event_records++;
	return 0;
}

static const char *resource_of(const struct mse_quota_outcome *outcome)
{
	if (outcome->within_storage && outcome->within_messages)
		return "STORAGE MESSAGE";
	return outcome->within_storage ? "STORAGE" : "MESSAGE";
}

static int put_note_in_line(struct mse_derive *derive, const struct note *note)
{
	const struct mse_quota_outcome *outcome = &note->outcome;
	bool within = outcome->within_storage || outcome->within_messages;
	struct mse_record record;
	int ret = 0;

	if (!outcome->change && !within)
		return 0;
	if (mse_record_parse(note->text, note->len, &record, NULL) < 0)
		return -1;
	if (outcome->change)
		ret = put_in_line(derive, &record, MSE_EVENT_QUOTA_CHANGE,
				  NULL);
	if (ret == 0 && within)
		ret = put_in_line(derive, &record, MSE_EVENT_QUOTA_WITHIN,
				  resource_of(outcome));
	mse_record_clear(&record);
	return ret;
}

static int take_outcome(struct mse_derive *derive,
			struct mse_derive_batch *batch)
{
	size_t i;

	for (i = 0; i < batch->count; i++) {
		if (put_note_in_line(derive, &batch->notes[i]) < 0)
			return -1;
	}
	derive->changes.resolved = batch->states;
	derive->changes.resolved_count = batch->state_count;
	batch->states = NULL;
	batch->state_count = batch->state_size = 0;
	derive->commit_at = 0;
	return 0;
}

static void batch_done(struct mse_ledger_job *job,
		       const struct mse_error *error)
{
	struct mse_derive_batch *batch = (struct mse_derive_batch *)job;
	struct mse_derive *derive = batch->derive;

	batch->in_flight = false;
	if (derive == NULL) {
		free_batch(batch);
		return;
	}
	if (error == NULL && take_outcome(derive, batch) == 0) {
		derive->batch = NULL;
		free_batch(batch);
		return;
	}
	/* Kept, and resolved again. */
	mse_buf_reset(&derive->events);
	derive->event_records = 0;
	derive->has_error = true;
	mse_error_set(&derive->error, "quota figures could not be compared: "
		      "%.400s", error == NULL ? "out of memory" : error->text);
}

void mse_derive_resolve(struct mse_derive *derive, int64_t mono_ms)
{
	struct mse_derive_batch *batch = derive->batch;

	if (batch == NULL || batch->in_flight || batch->count == 0 ||
	    derive->commit != NULL || derive->event_records > 0 ||
	    derive->changes.resolved_count > 0 || mono_ms < derive->resolve_at)
		return;
	derive->resolve_at = mono_ms + RESOLVE_EVERY_MS;
	batch->in_flight = true;
	batch->job.run = run_batch;
	batch->job.done = batch_done;
	mse_ledger_worker_submit(derive->ledger, &batch->job);
}
