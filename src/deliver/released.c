/*
 * A journal file goes although a cursor still stands in it.
 *
 * Invariant: what was read of the file is parked with its number, the rest is
 * a Gap, and the cursor stands behind the file, all durable before the file
 * is unlinked.
 */
#include "deliver/endpoint.h"

#include <stdlib.h>
#include <string.h>

struct jump {
	struct mse_endpoint *endpoint;
	struct mse_row_copy *rows;
	size_t count;
	struct mse_ledger_cursor cursor;
};

static int store(struct mse_ledger *ledger, void *context,
		 struct mse_error *error_r)
{
	struct jump *jump = context;
	const char *name = jump->endpoint->name;
	size_t i;

	for (i = 0; i < jump->count; i++) {
		if (mse_ledger_put_row(ledger, name, &jump->rows[i].row,
				       error_r) < 0)
			return -1;
	}
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

/* Everything out or half committed has its turn first, as far as it can: the
   ledger is waited for, requests are not. */
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

static int jump_over(struct mse_endpoint *endpoint,
		     const struct mse_journal_file *file,
		     struct mse_error *error_r)
{
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_gap gap = {
		.reason = "a journal file was released before it was "
			"delivered (journal_limit)"
	};
	struct mse_row_copy row;
	struct jump jump = { .endpoint = endpoint, .rows = &row };
	struct mse_position position;
	uint64_t sequence;

	if (!has_unread(endpoint, file))
		return 0;
	mse_journal_next_file_start(deliver->parts.journal, file->uuid,
				    &position);
	sequence = gap_number(endpoint, &gap);
	if (mse_gap_row(endpoint, &gap, sequence, &row) < 0)
		return mse_error_set(error_r, "out of memory");
	jump.count = 1;
	mse_journal_reader_free(&endpoint->reader);
	endpoint->read_position = position;
	mse_window_cursor(endpoint, &jump.cursor);
	if (mse_ledger_worker_call(deliver->parts.ledger, store, &jump,
				   error_r) < 0 ||
	    mse_gap_begin(endpoint, &row.row, gap.from) < 0) {
		mse_row_clear(&row);
		return -1;
	}
	endpoint->cursor = jump.cursor;
	mse_deliver_log(deliver, MSE_LOG_WARNING, "endpoint %s: Gap: %s",
			endpoint->name, gap.reason);
	mse_row_clear(&row);
	return 0;
}

/* Rows for what is read and waits, so that the cursor may leave the file;
   what is out gets one too when its answer is bad. */
static int leave_file(struct mse_endpoint *endpoint,
		      const struct mse_journal_file *file,
		      struct mse_error *error_r)
{
	struct mse_deliver *deliver = endpoint->deliver;

	mse_window_park(endpoint, true);
	if (mse_ledger_worker_call(deliver->parts.ledger, nothing, NULL,
				   error_r) < 0)
		return -1;
	if (jump_over(endpoint, file, error_r) < 0)
		return -1;
	endpoint->cursor_dirty = true;
	return 0;
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
