/*
 * Rows of the ledger: parking, the next head of a lane, cursor commits.
 *
 * Invariant: an event counts as resolved only once its row is committed; a
 * job that failed is submitted again until it succeeds, and what depends on
 * it waits. Jobs run in the order of their submission.
 */
#include "deliver/endpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define JOB_RETRY_MS 1000
#define CURSOR_EVERY_MS 50

void mse_row_clear(struct mse_row_copy *copy)
{
	size_t i;

	for (i = 0; i < sizeof(copy->strings) / sizeof(copy->strings[0]); i++)
		free(copy->strings[i]);
	free(copy->record);
	free(copy->answer);
	memset(copy, 0, sizeof(*copy));
}

int mse_row_copy(struct mse_row_copy *copy, const struct mse_ledger_row *row)
{
	memset(copy, 0, sizeof(*copy));
	copy->row = *row;
	copy->row.id = copy->strings[0] = strdup(row->id);
	copy->row.type = copy->strings[1] = strdup(row->type);
	copy->row.lane = copy->strings[2] = strdup(row->lane);
	copy->row.last_error = copy->strings[3] = strdup(row->last_error);
	copy->row.record = NULL;
	if (row->record != NULL && row->record_len > 0) {
		copy->record = malloc(row->record_len);
		if (copy->record != NULL)
			memcpy(copy->record, row->record, row->record_len);
		copy->row.record = copy->record;
	}
	copy->row.answer = NULL;
	if (row->answer != NULL && row->answer_len > 0) {
		copy->answer = malloc(row->answer_len);
		if (copy->answer != NULL)
			memcpy(copy->answer, row->answer, row->answer_len);
		copy->row.answer = copy->answer;
	}
	if (copy->row.id == NULL || copy->row.type == NULL ||
	    copy->row.lane == NULL || copy->row.last_error == NULL ||
	    (row->record != NULL && row->record_len > 0 &&
	     copy->record == NULL) ||
	    (row->answer != NULL && row->answer_len > 0 &&
	     copy->answer == NULL)) {
		mse_row_clear(copy);
		return -1;
	}
	return 0;
}

/* Answered or dropped: kept only while its number is above S. */
static int resolve_row(struct mse_ledger *ledger, const char *endpoint,
		       struct mse_ledger_row row, struct mse_error *error_r)
{
	struct mse_ledger_cursor cursor;

	switch (mse_ledger_get_cursor(ledger, endpoint, &cursor, error_r)) {
	case -1:
		return -1;
	case 1:
		if (row.sequence <= cursor.sequence)
			break;
		row.state = MSE_ROW_ANSWERED;
		return mse_ledger_update_row(ledger, endpoint, &row, error_r);
	}
	return mse_ledger_delete_row(ledger, endpoint, row.sequence, error_r);
}

static int take_found(const struct mse_ledger_row *row, void *context)
{
	struct mse_job *job = context;

	if (job->fetch_gap && !row->gap && job->has_found)
		return 0;
	if (job->has_found)
		mse_row_clear(&job->found);
	job->has_found = mse_row_copy(&job->found, row) == 0;
	if (!job->has_found)
		return -1;
	/* Any row will do, but a Gap goes first. */
	return job->fetch_gap && !row->gap ? 0 : 1;
}

static int fetch_row(struct mse_ledger *ledger, struct mse_job *job,
		     struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = job->endpoint->name,
		.lane = job->fetch_lane,
		.state = MSE_ROW_PARKED,
		.with_record = job->fetch_record,
		.after = job->fetch_after,
		.limit = job->fetch_gap ? 0 : 1
	};

	if (job->has_found)
		mse_row_clear(&job->found);
	job->has_found = false;
	return mse_ledger_each_row(ledger, &filter, take_found, job,
				   error_r) < 0 ? -1 : 0;
}

static int run_job(struct mse_ledger *ledger, struct mse_ledger_job *_job,
		   struct mse_error *error_r)
{
	struct mse_job *job = (struct mse_job *)_job;
	const char *name = job->endpoint->name;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < job->row_count && ret == 0; i++) {
		switch (job->rows[i].op) {
		case MSE_OP_PUT:
			ret = mse_ledger_put_row(ledger, name,
						 &job->rows[i].row, error_r);
			break;
		case MSE_OP_UPDATE:
			ret = mse_ledger_update_row(ledger, name,
						    &job->rows[i].row,
						    error_r);
			break;
		case MSE_OP_RESOLVE:
			ret = resolve_row(ledger, name, job->rows[i].row,
					  error_r);
			break;
		}
	}
	if (ret == 0 && job->trim)
		ret = mse_ledger_trim_dead(ledger, name, job->trim_before_ms,
					   job->trim_octets, error_r);
	if (ret == 0 && job->has_cursor)
		ret = mse_ledger_put_cursor(ledger, name, &job->cursor,
					    error_r);
	if (ret == 0 && job->fetch)
		ret = fetch_row(ledger, job, error_r);
	return ret;
}

static void finish_job(struct mse_ledger_job *_job,
		       const struct mse_error *error)
{
	struct mse_job *job = (struct mse_job *)_job, **p;
	struct mse_endpoint *endpoint = job->endpoint;

	endpoint->deliver->again = true;
	if (error != NULL) {
		mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
				"endpoint %s: ledger: %s", endpoint->name,
				error->text);
		job->retry_at_ms = mse_deliver_mono(endpoint->deliver) +
			JOB_RETRY_MS;
		for (p = &endpoint->failed_jobs; *p != NULL;
		     p = &(*p)->next_failed)
			;
		job->next_failed = NULL;
		*p = job;
		return;
	}
	endpoint->jobs--;
	job->done(job);
	mse_job_free(job);
}

struct mse_job *mse_job_new(struct mse_endpoint *endpoint,
			    struct mse_lane *lane, struct mse_item *item,
			    void (*done)(struct mse_job *job))
{
	struct mse_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	job->job.run = run_job;
	job->job.done = finish_job;
	job->endpoint = endpoint;
	job->lane = lane;
	job->item = item;
	job->done = done;
	return job;
}

void mse_job_free(struct mse_job *job)
{
	unsigned int i;

	if (job == NULL)
		return;
	for (i = 0; i < job->row_count; i++)
		mse_row_clear(&job->rows[i]);
	if (job->has_found)
		mse_row_clear(&job->found);
	free(job->fetch_lane);
	free(job);
}

int mse_job_add_row(struct mse_job *job, int op,
		    const struct mse_ledger_row *row)
{
	struct mse_row_copy *copy = &job->rows[job->row_count];

	if (mse_row_copy(copy, row) < 0)
		return -1;
	copy->op = op;
	job->row_count++;
	return 0;
}

void mse_job_submit(struct mse_job *job)
{
	job->endpoint->jobs++;
	mse_ledger_worker_submit(job->endpoint->deliver->parts.ledger,
				 &job->job);
}

void mse_jobs_retry(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_job *job = endpoint->failed_jobs, *next;

	if (job == NULL || job->retry_at_ms > now)
		return;
	endpoint->failed_jobs = NULL;
	for (; job != NULL; job = next) {
		next = job->next_failed;
		mse_ledger_worker_submit(endpoint->deliver->parts.ledger,
					 &job->job);
	}
}

void mse_parked_row(const struct mse_item *item, enum mse_row_state state,
		    struct mse_ledger_row *row_r)
{
	int64_t wall = mse_deliver_wall(item->endpoint->deliver);

	memset(row_r, 0, sizeof(*row_r));
	row_r->sequence = item->sequence;
	row_r->state = state;
	row_r->gap = item->gap;
	row_r->id = item->record.id;
	row_r->type = item->record.type == MSE_EVENT_UNKNOWN ?
		item->record.type_name : mse_event_type_name(item->record.type);
	row_r->lane = item->lane != NULL ? item->lane->key : "";
	row_r->attempts = item->tries.attempts;
	row_r->used_ms = item->tries.used_ms;
	row_r->parked_at_ms = item->tries.parked_at_ms != 0 ?
		item->tries.parked_at_ms : wall;
	row_r->changed_at_ms = wall;
	row_r->last_status = item->last_status;
	row_r->last_error = item->last_error;
	row_r->record = item->text;
	row_r->record_len = item->len;
	row_r->answer = item->answer;
	row_r->answer_len = item->answer_len;
}

/* A row is the lane's head from now on. */
static void set_head(struct mse_lane *lane, const struct mse_head *head)
{
	lane->head = *head;
	if (!head->gap || lane->low == 0)
		lane->low = head->sequence;
}

static void park_done(struct mse_job *job)
{
	struct mse_lane *lane = job->lane;
	struct mse_item *item = job->item;
	struct mse_endpoint *endpoint = job->endpoint;

	if (job->head)
		lane->busy--;
	else if (lane->head.sequence == 0 && lane->busy == 0)
		set_head(lane, &item->tries);
	mse_window_resolved(item);
	mse_endpoint_update_lane(endpoint, lane);
}

int mse_parked_park(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, lane, item, park_done);
	struct mse_ledger_row row;

	if (job == NULL)
		return -1;
	mse_parked_row(item, MSE_ROW_PARKED, &row);
	if (mse_job_add_row(job, MSE_OP_PUT, &row) < 0) {
		mse_job_free(job);
		return -1;
	}
	item->state = MSE_ITEM_PARKING;
	mse_lane_take(lane, item);
	item->tries.sequence = item->sequence;
	item->tries.gap = item->gap;
	item->tries.parked_at_ms = row.parked_at_ms;
	memcpy(item->tries.id, item->record.id, MSE_UUID_SIZE);
	job->head = lane->parked == 0;
	if (job->head) {
		lane->low = 0;
		set_head(lane, &item->tries);
		lane->busy++;
	}
	lane->parked++;
	endpoint->parked++;
	endpoint->parked_octets += item->len;
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

static void head_from_row(struct mse_endpoint *endpoint,
			  struct mse_lane *lane,
			  const struct mse_ledger_row *row)
{
	struct mse_head head;

	memset(&head, 0, sizeof(head));
	head.sequence = row->sequence;
	head.gap = row->gap;
	head.attempts = row->attempts;
	head.used_ms = row->used_ms;
	head.since = endpoint->usable_ms;
	head.parked_at_ms = row->parked_at_ms;
	memcpy(head.id, row->id, MSE_UUID_SIZE);
	if (row->gap && lane->gaps > 0)
		lane->gaps--;
	lane->not_before_ms = 0;
	set_head(lane, &head);
}

/* One row less. */
static void leave_row(struct mse_endpoint *endpoint, struct mse_lane *lane,
		      size_t octets)
{
	lane->parked--;
	endpoint->parked--;
	endpoint->parked_octets -= octets < endpoint->parked_octets ?
		octets : endpoint->parked_octets;
	endpoint->floor_dirty = true;
}

static void resolve_done(struct mse_job *job)
{
	struct mse_lane *lane = job->lane;

	lane->busy--;
	lane->resolving--;
	leave_row(job->endpoint, lane, job->rows[0].row.record_len);
	lane->head.sequence = 0;
	if (job->has_found)
		head_from_row(job->endpoint, lane, &job->found.row);
	mse_endpoint_update_lane(job->endpoint, lane);
}

static void stuck(struct mse_endpoint *endpoint)
{
	mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
			"endpoint %s: out of memory", endpoint->name);
}

int mse_parked_leave(struct mse_item *item, enum mse_row_state state)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, resolve_done);
	struct mse_ledger_row row;

	mse_parked_row(item, state, &row);
	row.record = NULL;
	if (job != NULL)
		job->fetch_lane = strdup(lane->key);
	if (job == NULL || job->fetch_lane == NULL ||
	    mse_job_add_row(job, state == MSE_ROW_DEAD ? MSE_OP_UPDATE :
			    MSE_OP_RESOLVE, &row) < 0) {
		mse_job_free(job);
		return -1;
	}
	job->fetch = true;
	job->fetch_gap = lane->gaps > 0;
	if (state == MSE_ROW_DEAD)
		mse_endpoint_died(endpoint, item->last_status);
	lane->busy++;
	lane->resolving++;
	mse_item_free(&item);
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

void mse_parked_answered(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;

	if (item->gap)
		mse_gap_announced(endpoint, item->sequence);
	if (mse_parked_leave(item, MSE_ROW_ANSWERED) == 0)
		return;
	/* It will be sent once more. */
	stuck(endpoint);
	lane->not_before_ms = mse_deliver_mono(endpoint->deliver) +
		JOB_RETRY_MS;
	mse_item_free(&item);
	mse_endpoint_update_lane(endpoint, lane);
}

static void nothing_done(struct mse_job *job)
{
	(void)job;
}

void mse_parked_failed(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL, nothing_done);
	struct mse_ledger_row row;

	lane->head = item->tries;
	mse_parked_row(item, MSE_ROW_PARKED, &row);
	row.record = NULL;
	if (job == NULL || mse_job_add_row(job, MSE_OP_UPDATE, &row) < 0) {
		mse_job_free(job);
		stuck(endpoint);
	} else {
		mse_job_submit(job);
	}
	mse_item_free(&item);
	mse_endpoint_update_lane(endpoint, lane);
}

static void replay_done(struct mse_job *job)
{
	mse_endpoint_undied(job->endpoint, job->rows[0].row.last_status);
}

void mse_replay_answered(struct mse_item *item)
{
	struct mse_job *job = mse_job_new(item->endpoint, NULL, NULL,
					  replay_done);
	struct mse_ledger_row row;

	mse_parked_row(item, MSE_ROW_ANSWERED, &row);
	row.record = NULL;
	if (job == NULL || mse_job_add_row(job, MSE_OP_RESOLVE, &row) < 0) {
		mse_job_free(job);
		stuck(item->endpoint);
		return;
	}
	mse_job_submit(job);
}

/* The row is not there: somebody else's hand in the ledger. Whatever the
   lane has next. */
static void fetch_lost(struct mse_endpoint *endpoint, struct mse_lane *lane)
{
	leave_row(endpoint, lane, 0);
	lane->head.sequence = 0;
	endpoint->probing = false;
	mse_endpoint_update_lane(endpoint, lane);
}

static void fetch_done(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	struct mse_lane *lane = job->lane;
	struct mse_item *item;

	endpoint->fetching--;
	lane->busy--;
	if (!job->has_found ||
	    job->found.row.sequence != lane->head.sequence) {
		fetch_lost(endpoint, lane);
		return;
	}
	item = job->found.record == NULL ? NULL :
		mse_item_new(endpoint, MSE_ITEM_PARKED, job->found.record,
			     job->found.row.record_len);
	if (item == NULL || endpoint->deliver->stopping ||
	    (endpoint->breaker.open && !job->probe)) {
		mse_item_free(&item);
		if (job->probe)
			endpoint->probing = false;
		lane->not_before_ms = mse_deliver_mono(endpoint->deliver) +
			JOB_RETRY_MS;
		mse_endpoint_update_lane(endpoint, lane);
		return;
	}
	item->lane = lane;
	item->sequence = lane->head.sequence;
	item->gap = lane->head.gap;
	item->tries = lane->head;
	lane->busy++;
	mse_endpoint_send(item, job->probe);
}

int mse_parked_fetch(struct mse_endpoint *endpoint, struct mse_lane *lane,
		     bool probe)
{
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, fetch_done);

	if (job == NULL)
		return -1;
	job->fetch_lane = strdup(lane->key);
	if (job->fetch_lane == NULL) {
		mse_job_free(job);
		return -1;
	}
	job->fetch = job->fetch_record = true;
	job->fetch_after = lane->head.sequence - 1;
	job->probe = probe;
	lane->busy++;
	endpoint->fetching++;
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

static void cursor_done(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	bool disabled = endpoint->cursor.disabled;
	bool paused = endpoint->cursor.paused;
	char filters[sizeof(endpoint->cursor.filters)];

	/* What was decided since the job was made stays so, and is said by
	   the next one. */
	memcpy(filters, endpoint->cursor.filters, sizeof(filters));
	endpoint->cursor_job = false;
	endpoint->cursor = job->cursor;
	if (endpoint->cursor.disabled != disabled ||
	    endpoint->cursor.paused != paused ||
	    strcmp(endpoint->cursor.filters, filters) != 0)
		endpoint->cursor_dirty = true;
	endpoint->cursor.disabled = disabled;
	endpoint->cursor.paused = paused;
	memcpy(endpoint->cursor.filters, filters, sizeof(filters));
}

void mse_cursor_commit(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_error error = { "" };
	struct mse_job *job;
	bool hurry = deliver->stopping || endpoint->settling ||
		endpoint->next_sequence > endpoint->cursor.reserved;

	/* A Gap's number counts for S only once it is durable. */
	if (!endpoint->cursor_dirty || endpoint->cursor_job ||
	    endpoint->gap_jobs > 0 ||
	    (!hurry && now < endpoint->cursor_at_ms + CURSOR_EVERY_MS))
		return;
	job = mse_job_new(endpoint, NULL, NULL, cursor_done);
	if (job == NULL)
		return;
	mse_window_cursor(endpoint, &job->cursor);
	endpoint->cursor_at_ms = now;
	if (mse_journal_sync(deliver->parts.journal, &error) < 0) {
		mse_deliver_log(deliver, MSE_LOG_ERROR,
				"endpoint %s: cannot commit: %s",
				endpoint->name, error.text);
		endpoint->cursor_at_ms = now + JOB_RETRY_MS;
		mse_job_free(job);
		return;
	}
	endpoint->cursor_dirty = false;
	endpoint->cursor_job = true;
	job->has_cursor = true;
	mse_job_submit(job);
}

int64_t mse_cursor_commit_at(const struct mse_endpoint *endpoint)
{
	return endpoint->cursor_dirty && !endpoint->cursor_job &&
		endpoint->gap_jobs == 0 ?
		endpoint->cursor_at_ms + CURSOR_EVERY_MS : INT64_MAX;
}
