/*
 * Where the endpoint's cursor may stand, committed now and then.
 *
 * Invariant: the journal is on disk before a cursor that is beyond it. Both
 * are written in the ledger's thread, so that a slow disk stalls no endpoint.
 */
#include "deliver/batch.h"

#include <string.h>

#define CURSOR_EVERY_MS 50
#define NOT_YET_MS 1000

static void cursor_done(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	bool disabled = endpoint->cursor.disabled;
	bool paused = endpoint->cursor.paused;
	char filters[sizeof(endpoint->cursor.filters)];

	/* What was decided since the job was made stays so, and is said by
	   the next one. */
	memcpy(filters, endpoint->cursor.filters, sizeof(filters));
	mse_journal_sync_end(&job->sync, true);
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
	struct mse_job *job;
	bool hurry = deliver->stopping || endpoint->settling ||
		endpoint->next_sequence > endpoint->cursor.reserved;

	/* A Gap's number counts for S only once it is durable. */
	if (!endpoint->cursor_dirty || endpoint->cursor_job ||
	    endpoint->gap_jobs > 0 || endpoint->gap_owed ||
	    (!hurry && now < endpoint->cursor_at_ms + CURSOR_EVERY_MS))
		return;
	job = mse_job_new(endpoint, NULL, NULL, cursor_done);
	endpoint->cursor_at_ms = now;
	if (job == NULL)
		return;
	mse_window_cursor(endpoint, &job->cursor);
	if (mse_journal_sync_begin(deliver->parts.journal, &job->sync) < 0) {
		endpoint->cursor_at_ms = now + NOT_YET_MS;
		mse_job_free(job);
		return;
	}
	endpoint->cursor_dirty = false;
	endpoint->cursor_job = true;
	job->has_cursor = true;
	mse_batch_pass(job);
	mse_job_submit(job);
}

int64_t mse_cursor_commit_at(const struct mse_endpoint *endpoint)
{
	return endpoint->cursor_dirty && !endpoint->cursor_job &&
		endpoint->gap_jobs == 0 && !endpoint->gap_owed ?
		endpoint->cursor_at_ms + CURSOR_EVERY_MS : INT64_MAX;
}
