/*
 * What the ledger is asked to do for an endpoint.
 *
 * Invariant: a job that failed is submitted again until it succeeds, and what
 * depends on it waits. Jobs run in the order of their submission.
 */
#include "deliver/endpoint.h"

#include <stdlib.h>
#include <string.h>

#define JOB_RETRY_MS 1000

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

int mse_row_resolve(struct mse_ledger *ledger, const char *endpoint,
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

static int take_dead(const struct mse_ledger_row *row, void *context)
{
	struct mse_row_copy *copy = context;

	copy->was_dead = row->sequence == copy->row.sequence;
	copy->status_before = row->last_status;
	return 1;
}

/* Somebody else may have dropped it, or sent it again, meanwhile: what
   becomes of a dead letter is counted once. */
static int change_dead(struct mse_ledger *ledger, const char *endpoint,
		       struct mse_row_copy *copy, struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = endpoint, .state = MSE_ROW_DEAD,
		.after = copy->row.sequence - 1, .limit = 1
	};

	copy->was_dead = false;
	if (mse_ledger_each_row(ledger, &filter, take_dead, copy, error_r) < 0)
		return -1;
	if (!copy->was_dead)
		return 0;
	return copy->op == MSE_OP_REDIE ?
		mse_ledger_update_row(ledger, endpoint, &copy->row, error_r) :
		mse_row_resolve(ledger, endpoint, copy->row, error_r);
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
			ret = mse_row_resolve(ledger, name, job->rows[i].row,
					      error_r);
			break;
		case MSE_OP_UNDIE:
		case MSE_OP_REDIE:
			ret = change_dead(ledger, name, &job->rows[i],
					  error_r);
			break;
		}
	}
	if (ret == 0 && job->trim)
		ret = mse_ledger_trim_dead(ledger, name, job->trim_before_ms,
					   job->trim_octets, error_r);
	if (ret == 0 && job->more != NULL)
		ret = job->more(ledger, job, error_r);
	if (ret == 0 && job->sync != NULL)
		ret = mse_journal_sync_run(job->sync, error_r);
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
	job->rows = job->own_rows;
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
	if (job->clear != NULL)
		job->clear(job);
	for (i = 0; i < job->row_count; i++)
		mse_row_clear(&job->rows[i]);
	if (job->rows != job->own_rows)
		free(job->rows);
	if (job->has_found)
		mse_row_clear(&job->found);
	mse_journal_sync_end(&job->sync, false);
	free(job->fetch_lane);
	free(job);
}

int mse_job_reserve(struct mse_job *job, unsigned int count)
{
	struct mse_row_copy *rows;

	if (count <= sizeof(job->own_rows) / sizeof(job->own_rows[0]))
		return 0;
	rows = calloc(count, sizeof(*rows));
	if (rows == NULL)
		return -1;
	job->rows = rows;
	return 0;
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

void mse_job_nothing(struct mse_job *job)
{
	(void)job;
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
