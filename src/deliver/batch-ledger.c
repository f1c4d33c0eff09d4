/*
 * Batches in the ledger: one line with the numbers of its events, "4-9,12".
 *
 * Invariant: what one job does is one transaction; it copied all it needs when
 * it was made, but for the batch it is about.
 */
#include "deliver/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Three numbers of 20 digits for each range, at most one range an event. */
#define MEMBERS_MAX ((size_t)MSE_BATCH_EVENTS_MAX * 42 + 1)
#define KEPT_MAX 2
#define NOT_YET_MS 5000

struct kept {
	char id[MSE_UUID_SIZE];
	char *members;
	struct mse_ledger_batch line;
};

struct change {
	struct mse_batch *subject;
	char gone[MSE_UUID_SIZE]; /* "": none */
	struct kept kept[KEPT_MAX];
	unsigned int kept_count;
	enum mse_batch_rows rows;
	uint64_t *numbers;
	unsigned int count;
	struct mse_ledger_row after; /* of a row that failed, or was answered */
	char *error, *answer;
};

static char *members_text(const struct mse_batch *batch)
{
	const struct mse_member *members = batch->members;
	struct mse_buf text;
	unsigned int i = 0, last;

	mse_buf_init(&text, MEMBERS_MAX);
	while (i < batch->count) {
		for (last = i; last + 1 < batch->count &&
		     members[last + 1].sequence == members[last].sequence + 1;
		     last++)
			;
		if (i > 0)
			mse_buf_append_char(&text, ',');
		mse_buf_append_number(&text, members[i].sequence);
		if (last > i) {
			mse_buf_append_char(&text, '-');
			mse_buf_append_number(&text, members[last].sequence);
		}
		i = last + 1;
	}
	return mse_buf_take(&text);
}

static int keep(struct change *change, const struct mse_batch *batch)
{
	struct kept *kept = &change->kept[change->kept_count];

	memcpy(kept->id, batch->id, MSE_UUID_SIZE);
	kept->members = members_text(batch);
	if (kept->members == NULL)
		return -1;
	kept->line.id = kept->id;
	kept->line.members = kept->members;
	kept->line.digest = batch->digest;
	kept->line.attempts = batch->tries.attempts;
	kept->line.used_ms = batch->tries.used_ms;
	change->kept_count++;
	return 0;
}

static int change_rows(struct change *change, const struct mse_batch *batch,
		       enum mse_batch_rows rows)
{
	struct mse_ledger_row *after = &change->after;
	unsigned int i;

	change->rows = rows;
	change->numbers = calloc(batch->count, sizeof(*change->numbers));
	change->error = strdup(batch->last_error);
	if (batch->answer_len > 0)
		change->answer = malloc(batch->answer_len);
	if (change->numbers == NULL || change->error == NULL ||
	    (batch->answer_len > 0 && change->answer == NULL))
		return -1;
	for (i = 0; i < batch->count; i++)
		change->numbers[i] = batch->members[i].sequence;
	change->count = batch->count;
	after->attempts = batch->tries.attempts;
	after->used_ms = batch->tries.used_ms;
	after->changed_at_ms = mse_deliver_wall(batch->endpoint->deliver);
	after->last_status = batch->last_status;
	after->last_error = change->error;
	if (batch->answer_len > 0)
		memcpy(change->answer, batch->answer, batch->answer_len);
	after->answer = change->answer;
	after->answer_len = batch->answer_len;
	return 0;
}

static void clear_change(struct mse_job *job)
{
	struct change *change = job->context;
	unsigned int i;

	for (i = 0; i < change->kept_count; i++)
		free(change->kept[i].members);
	free(change->numbers);
	free(change->error);
	free(change->answer);
	free(change);
}

struct found_row {
	struct mse_row_copy copy;
	uint64_t sequence;
	bool found;
};

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct found_row *found = context;

	if (row->sequence != found->sequence)
		return 1;
	found->found = mse_row_copy(&found->copy, row) == 0;
	return found->found ? 1 : -1;
}

static int find_row(struct mse_ledger *ledger, const char *endpoint,
		    bool with_record, struct found_row *found,
		    struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = endpoint, .state = MSE_ROW_PARKED,
		.after = found->sequence - 1, .limit = 1,
		.with_record = with_record
	};

	found->found = false;
	return mse_ledger_each_row(ledger, &filter, take_row, found,
				   error_r) < 0 ? -1 : 0;
}

/* Of a row that is not there any more nothing is left to say. */
static int change_row(struct mse_ledger *ledger, const char *endpoint,
		      const struct change *change, uint64_t sequence,
		      struct mse_error *error_r)
{
	struct found_row found = { .sequence = sequence };
	struct mse_ledger_row *row = &found.copy.row;
	int ret = find_row(ledger, endpoint, false, &found, error_r);

	if (ret < 0 || !found.found)
		return ret;
	if (change->rows == MSE_BATCH_ROWS_ANSWERED) {
		ret = mse_row_resolve(ledger, endpoint, *row, error_r);
	} else {
		/* It may have had some before it was in this batch. */
		if (row->attempts < change->after.attempts)
			row->attempts = change->after.attempts;
		if (row->used_ms < change->after.used_ms)
			row->used_ms = change->after.used_ms;
		row->changed_at_ms = change->after.changed_at_ms;
		row->last_status = change->after.last_status;
		row->last_error = change->after.last_error;
		row->answer = change->after.answer;
		row->answer_len = change->after.answer_len;
		ret = mse_ledger_update_row(ledger, endpoint, row, error_r);
	}
	mse_row_clear(&found.copy);
	return ret;
}

static int run_change(struct mse_ledger *ledger, struct mse_job *job,
		      struct mse_error *error_r)
{
	const struct change *change = job->context;
	const char *name = job->endpoint->name;
	unsigned int i;
	int ret = 0;

	if (change->gone[0] != '\0')
		ret = mse_ledger_delete_batch(ledger, name, change->gone,
					      error_r);
	for (i = 0; i < change->kept_count && ret == 0; i++)
		ret = mse_ledger_put_batch(ledger, name,
					   &change->kept[i].line, error_r);
	for (i = 0; i < change->count && ret == 0; i++)
		ret = change_row(ledger, name, change, change->numbers[i],
				 error_r);
	return ret;
}

/* A batch of one event has its id, also if it was in one before. */
static void is_there_again(struct mse_endpoint *endpoint, const char *id)
{
	struct mse_answered *batches = endpoint->answered_batches;
	size_t i = 0;

	if (endpoint->lines_owed == 0)
		return;
	while (i < endpoint->answered_count &&
	       (batches[i].last > 0 || strcmp(batches[i].id, id) != 0))
		i++;
	if (i == endpoint->answered_count)
		return;
	batches[i] = batches[--endpoint->answered_count];
	endpoint->lines_owed--;
}

struct mse_job *mse_batch_job(struct mse_endpoint *endpoint,
			      struct mse_batch *subject, const char *gone,
			      struct mse_batch *const *kept,
			      unsigned int count,
			      const struct mse_batch *of,
			      enum mse_batch_rows rows,
			      void (*done)(struct mse_job *job))
{
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL, done);
	struct change *change = calloc(1, sizeof(*change));
	unsigned int i;

	if (job == NULL || change == NULL) {
		mse_job_free(job);
		free(change);
		return NULL;
	}
	job->context = change;
	job->clear = clear_change;
	job->more = run_change;
	change->subject = subject;
	if (gone != NULL)
		memcpy(change->gone, gone, MSE_UUID_SIZE);
	for (i = 0; i < count; i++) {
		if (keep(change, kept[i]) < 0)
			goto fail;
	}
	if (of != NULL && change_rows(change, of, rows) < 0)
		goto fail;
	for (i = 0; i < count; i++)
		is_there_again(endpoint, kept[i]->id);
	return job;
fail:
	mse_job_free(job);
	return NULL;
}

struct mse_batch *mse_batch_job_subject(const struct mse_job *job)
{
	return ((const struct change *)job->context)->subject;
}

static void forgotten(struct mse_job *job)
{
	(void)job;
}

/* -- lines of what was answered, until the cursor has passed it */

int mse_batch_make_room(struct mse_endpoint *endpoint)
{
	size_t size = endpoint->answered_size;
	struct mse_answered *batches;

	if (endpoint->answered_count + endpoint->batch_count < size)
		return 0;
	size = size == 0 ? 64 : size * 2;
	batches = realloc(endpoint->answered_batches, size * sizeof(*batches));
	if (batches == NULL)
		return -1;
	endpoint->answered_batches = batches;
	endpoint->answered_size = size;
	return 0;
}

static void keep_line(struct mse_endpoint *endpoint, const char *id,
		      uint64_t last)
{
	struct mse_answered *kept =
		&endpoint->answered_batches[endpoint->answered_count++];

	memcpy(kept->id, id, MSE_UUID_SIZE);
	kept->last = last;
}

void mse_batch_keep_line(const struct mse_batch *batch)
{
	keep_line(batch->endpoint, batch->id,
		  batch->members[batch->count - 1].sequence);
}

/* Without memory it goes with the next cursor. */
void mse_batch_forget(const struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_job *job = mse_batch_job(endpoint, NULL, batch->id, NULL, 0,
					    NULL, MSE_BATCH_ROWS_STAY,
					    forgotten);

	if (job != NULL) {
		mse_job_submit(job);
		return;
	}
	keep_line(endpoint, batch->id, 0);
	endpoint->lines_owed++;
	endpoint->cursor_dirty = true;
}

struct passed {
	struct mse_answered *batches;
	size_t count;
};

static int run_passed(struct mse_ledger *ledger, struct mse_job *job,
		      struct mse_error *error_r)
{
	const struct passed *passed = job->context;
	size_t i;
	int ret = 0;

	for (i = 0; i < passed->count && ret == 0; i++)
		ret = mse_ledger_delete_batch(ledger, job->endpoint->name,
					      passed->batches[i].id, error_r);
	return ret;
}

static void clear_passed(struct mse_job *job)
{
	struct passed *passed = job->context;

	free(passed->batches);
	free(passed);
}

/* Moves them to the job: what the cursor does not pass stays, in order. */
static void move_passed(struct mse_endpoint *endpoint, uint64_t sequence,
			struct passed *passed)
{
	struct mse_answered *batches = endpoint->answered_batches;
	size_t i, left = 0;

	endpoint->lines_owed = 0;
	for (i = 0; i < endpoint->answered_count; i++) {
		if (batches[i].last <= sequence)
			passed->batches[passed->count++] = batches[i];
		else
			batches[left++] = batches[i];
	}
	endpoint->answered_count = left;
}

void mse_batch_pass(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	struct passed *passed;

	if (endpoint->answered_count == 0)
		return;
	passed = calloc(1, sizeof(*passed));
	if (passed == NULL)
		return;
	passed->batches = calloc(endpoint->answered_count,
				 sizeof(*passed->batches));
	if (passed->batches == NULL) {
		free(passed);
		return;
	}
	move_passed(endpoint, job->cursor.sequence, passed);
	job->context = passed;
	job->clear = clear_passed;
	job->more = run_passed;
}

/* -- its rows' bytes */

struct fetch {
	struct mse_batch *batch;
	uint64_t *numbers;
	struct mse_row_copy *rows;
	unsigned int count, found;
};

static void forget_found(struct fetch *fetch)
{
	while (fetch->found > 0)
		mse_row_clear(&fetch->rows[--fetch->found]);
}

static void clear_fetch(struct mse_job *job)
{
	struct fetch *fetch = job->context;

	forget_found(fetch);
	free(fetch->numbers);
	free(fetch->rows);
	free(fetch);
}

static int run_fetch(struct mse_ledger *ledger, struct mse_job *job,
		     struct mse_error *error_r)
{
	struct fetch *fetch = job->context;
	struct found_row found;
	unsigned int i;

	/* It may run again. */
	forget_found(fetch);
	for (i = 0; i < fetch->count; i++) {
		memset(&found, 0, sizeof(found));
		found.sequence = fetch->numbers[i];
		if (find_row(ledger, job->endpoint->name, true, &found,
			     error_r) < 0)
			return -1;
		if (!found.found)
			return 0;
		fetch->rows[fetch->found++] = found.copy;
	}
	return 0;
}

/* -1: it is not what it was; MSE_RECORD_NO_MEMORY: nobody can tell. */
static int add_row(struct mse_batch *batch, const struct mse_row_copy *copy,
		   struct mse_body *body, struct mse_member *member)
{
	struct mse_body_context context;
	struct mse_record record;
	int ret = copy->record == NULL ? -1 :
		mse_record_parse(copy->record, copy->row.record_len, &record,
				 NULL);

	if (ret < 0)
		return ret;
	mse_deliver_body_context(batch->endpoint, copy->row.sequence,
				 &context);
	mse_body_add(body, batch->endpoint->conf, &context, &record);
	member->hash = mse_batch_hash(record.id);
	batch->octets += copy->row.record_len;
	mse_record_clear(&record);
	return 0;
}

static int write_rows(struct mse_batch *batch, const struct fetch *fetch,
		      struct mse_body *body)
{
	uint64_t digest = 0;
	unsigned int i;
	int ret;

	batch->octets = 0;
	if (fetch->found < fetch->count)
		return -1;
	for (i = 0; i < fetch->count; i++) {
		ret = add_row(batch, &fetch->rows[i], body,
			      &batch->members[i]);
		if (ret < 0)
			return ret;
		digest = mse_batch_add_digest(digest,
					      batch->members[i].hash);
	}
	return digest == batch->digest ? 0 : -1;
}

static void fetched(struct mse_job *job)
{
	struct fetch *fetch = job->context;
	struct mse_batch *batch = fetch->batch;
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_body body;
	int ret;

	endpoint->fetching--;
	if (endpoint->deliver->stopping || !mse_batch_mode(endpoint) ||
	    (endpoint->breaker.open && !batch->flight.probe)) {
		if (batch->flight.probe)
			endpoint->probing = false;
		mse_batch_wait(batch, 0);
		return;
	}
	mse_body_init(&body, endpoint->conf->format, SIZE_MAX / 2);
	ret = write_rows(batch, fetch, &body);
	if (ret == 0) {
		mse_batch_send(batch, &body);
		return;
	}
	mse_body_clear(&body);
	if (batch->flight.probe)
		endpoint->probing = false;
	if (ret == MSE_RECORD_NO_MEMORY) {
		mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
				"endpoint %s: out of memory", endpoint->name);
		mse_batch_wait(batch, mse_deliver_mono(endpoint->deliver) +
			       NOT_YET_MS);
		return;
	}
	mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
			"endpoint %s: batch %s is not what the ledger has: "
			"its events go alone", endpoint->name, batch->id);
	batch->state = MSE_BATCH_READY;
	(void)mse_batch_dissolve(batch);
}

int mse_batch_fetch(struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL, fetched);
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	unsigned int i;

	if (job == NULL || fetch == NULL) {
		mse_job_free(job);
		free(fetch);
		return -1;
	}
	job->context = fetch;
	job->clear = clear_fetch;
	job->more = run_fetch;
	fetch->batch = batch;
	fetch->numbers = calloc(batch->count, sizeof(*fetch->numbers));
	fetch->rows = calloc(batch->count, sizeof(*fetch->rows));
	if (fetch->numbers == NULL || fetch->rows == NULL) {
		mse_job_free(job);
		return -1;
	}
	fetch->count = batch->count;
	for (i = 0; i < batch->count; i++)
		fetch->numbers[i] = batch->members[i].sequence;
	batch->state = MSE_BATCH_FETCHING;
	endpoint->fetching++;
	mse_endpoint_update_lane(endpoint, batch->own);
	mse_job_submit(job);
	return 0;
}
