/*
 * A journal file goes although a cursor still stands in it.
 *
 * Invariant: what was read of the file is parked with its number, the rest is
 * a Gap, and the cursor stands behind the file, all durable before the file
 * is unlinked. If that cannot be had (the ledger's disk is full), nothing has
 * changed, and the reader meets the file's end as released.
 */
#include "deliver/endpoint.h"

#include <string.h>

struct jump {
	struct mse_endpoint *endpoint;
	struct mse_row_copy row; /* the Gap's */
	bool has_row;
	struct mse_ledger_cursor cursor;
	struct mse_journal_sync *sync; /* before the cursor */
};

static int store(struct mse_ledger *ledger, void *context,
		 struct mse_error *error_r)
{
	struct jump *jump = context;
	const char *name = jump->endpoint->name;

	if (jump->has_row &&
	    mse_ledger_put_row(ledger, name, &jump->row.row, error_r) < 0)
		return -1;
	if (mse_journal_sync_run(jump->sync, error_r) < 0)
		return -1;
	return mse_ledger_put_cursor(ledger, name, &jump->cursor, error_r);
}

/* The reader had not come to the file's end. */
static bool has_unread(const struct mse_endpoint *endpoint,
		       const struct mse_journal_file *file)
{
	return strcmp(endpoint->read_position.file, file->uuid) == 0 &&
		endpoint->read_position.offset < (file->sealed ?
			file->sealed_length : file->size);
}

/* Waits until the rows before it are durable. */
static int nothing(struct mse_ledger *ledger, void *context,
		   struct mse_error *error_r)
{
	(void)ledger;
	(void)context;
	(void)error_r;
	return 0;
}

/* The Gap's number: above all that may have been used before a restart. */
static uint64_t gap_number(struct mse_endpoint *endpoint,
			   struct mse_gap *gap)
{
	uint64_t next = endpoint->next_sequence;

	if (endpoint->caught_up)
		return mse_window_number(endpoint);
	gap->from = next;
	gap->to = endpoint->cursor.reserved;
	endpoint->next_sequence = endpoint->cursor.reserved + 1;
	endpoint->caught_up = true;
	if (gap->to < gap->from)
		gap->from = gap->to = 0;
	return mse_window_number(endpoint);
}

/* The reader goes on in the next file; a Gap if it leaves something. */
static int jump_over(struct jump *jump, const struct mse_journal_file *file,
		     struct mse_gap *gap)
{
	struct mse_endpoint *endpoint = jump->endpoint;
	struct mse_position position;
	uint64_t sequence;

	if (strcmp(endpoint->read_position.file, file->uuid) != 0)
		return 0;
	mse_journal_next_file_start(endpoint->deliver->parts.journal,
				    file->uuid, &position);
	if (has_unread(endpoint, file)) {
		sequence = gap_number(endpoint, gap);
		if (mse_gap_row(endpoint, gap, sequence, &jump->row) < 0)
			return -1;
		jump->has_row = true;
	}
	endpoint->read_position = position;
	return 0;
}

/* A commit of the cursor that failed, from before, comes again. */
static void correct_failed(struct mse_endpoint *endpoint)
{
	struct mse_job *job;

	for (job = endpoint->failed_jobs; job != NULL; job = job->next_failed) {
		if (job->has_cursor)
			job->cursor = endpoint->cursor;
	}
}

/* Memory first: once it is committed nothing can fail. */
static int commit(struct jump *jump, const struct mse_gap *gap,
		  struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = jump->endpoint;
	struct mse_deliver *deliver = endpoint->deliver;
	int ret;

	mse_window_cursor(endpoint, &jump->cursor);
	if (mse_journal_sync_begin(deliver->parts.journal, &jump->sync) < 0)
		return mse_error_set(error_r, "out of memory");
	if (jump->has_row &&
	    mse_gap_begin(endpoint, &jump->row.row, gap->from) < 0) {
		mse_journal_sync_end(&jump->sync, false);
		return mse_error_set(error_r, "out of memory");
	}
	/* What was submitted before has ended then, one way or the other. */
	ret = mse_ledger_worker_call(deliver->parts.ledger, store, jump,
				     error_r);
	mse_journal_sync_end(&jump->sync, ret == 0);
	if (ret < 0) {
		if (jump->has_row)
			mse_gap_withdraw(endpoint, &jump->row.row);
		return -1;
	}
	endpoint->cursor = jump->cursor;
	correct_failed(endpoint);
	mse_journal_reader_free(&endpoint->reader);
	if (jump->has_row)
		mse_deliver_log(deliver, MSE_LOG_WARNING,
				"endpoint %s: Gap: %s", endpoint->name,
				gap->reason);
	return 0;
}

/* Rows for what is read and waits, so that the cursor may leave the file. A
   request that is out keeps it there until its answer: if the daemon dies
   before, its start finds the file gone and says so. */
static int leave_file(struct mse_endpoint *endpoint,
		      const struct mse_journal_file *file,
		      struct mse_error *error_r)
{
	struct mse_gap gap = {
		.reason = "a journal file was released before it was "
			"delivered (journal_limit)"
	};
	struct jump jump = { .endpoint = endpoint };
	struct mse_position position;
	uint64_t next_sequence;
	size_t taken_next;
	bool caught_up;
	int ret = -1;

	mse_window_park(endpoint, true);
	if (mse_ledger_worker_call(endpoint->deliver->parts.ledger, nothing,
				   NULL, error_r) < 0)
		return -1;
	position = endpoint->read_position;
	next_sequence = endpoint->next_sequence;
	taken_next = endpoint->taken_next;
	caught_up = endpoint->caught_up;
	if (jump_over(&jump, file, &gap) < 0)
		mse_error_set(error_r, "out of memory");
	else
		ret = commit(&jump, &gap, error_r);
	if (ret < 0) {
		endpoint->read_position = position;
		endpoint->next_sequence = next_sequence;
		endpoint->taken_next = taken_next;
		endpoint->caught_up = caught_up;
	}
	if (jump.has_row)
		mse_row_clear(&jump.row);
	return ret;
}

int mse_deliver_file_released(struct mse_deliver *deliver,
			      const struct mse_journal_file *file,
			      bool forced, struct mse_error *error_r)
{
	struct mse_journal_file copy = *file;
	struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; forced && endpoint != NULL;
	     endpoint = endpoint->next) {
		if (strcmp(endpoint->cursor.position.file, copy.uuid) == 0 &&
		    leave_file(endpoint, &copy, error_r) < 0)
			return mse_error_prefix(error_r, "endpoint %s",
						endpoint->name);
	}
	return 0;
}
