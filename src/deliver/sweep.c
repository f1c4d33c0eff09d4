/*
 * Dropping dead letters by the thousand.
 *
 * Invariant: one job of the ledger is out at a time, and looks at so many
 * rows; what it committed is counted, the rest is as it was.
 */
#include "deliver/endpoint.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 200
#define PAGE_LOOKED_AT 500

struct sweep {
	struct mse_ledger_job job; /* first: the worker's view */
	struct mse_endpoint *endpoint;
	struct mse_pick pick;
	void (*done)(uint64_t dropped, const char *problem, void *context);
	void *context;
	uint64_t dropped;
	uint64_t after, next_after;
	bool more;
	unsigned int looked_at, count;
	struct mse_row_copy rows[PAGE_ROWS];
};

static void clear_page(struct sweep *sweep)
{
	while (sweep->count > 0)
		mse_row_clear(&sweep->rows[--sweep->count]);
	sweep->looked_at = 0;
	sweep->more = false;
}

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct sweep *sweep = context;
	struct mse_ledger_row line = *row;

	sweep->next_after = row->sequence;
	sweep->looked_at++;
	if (mse_pick_row(&sweep->pick, row)) {
		line.record = NULL;
		if (mse_row_copy(&sweep->rows[sweep->count], &line) < 0)
			return -1;
		sweep->count++;
	}
	sweep->more = sweep->count >= PAGE_ROWS ||
		sweep->looked_at >= PAGE_LOOKED_AT;
	return sweep->more ? 1 : 0;
}

static int run_page(struct mse_ledger *ledger, struct mse_ledger_job *job,
		    struct mse_error *error_r)
{
	struct sweep *sweep = (struct sweep *)job;
	const char *name = sweep->endpoint->name;
	struct mse_row_filter filter = {
		.endpoint = name, .state = MSE_ROW_DEAD,
		.after = sweep->after,
		.with_record = mse_pick_needs_record(&sweep->pick)
	};
	unsigned int i;

	/* The worker may repeat a job. */
	clear_page(sweep);
	if (mse_ledger_each_row(ledger, &filter, take_row, sweep, error_r) < 0)
		return -1;
	for (i = 0; i < sweep->count; i++) {
		if (mse_row_resolve(ledger, name, sweep->rows[i].row,
				    error_r) < 0)
			return -1;
	}
	return 0;
}

static void finish(struct sweep *sweep, const char *problem)
{
	sweep->done(sweep->dropped, problem, sweep->context);
	clear_page(sweep);
	mse_pick_clear(&sweep->pick);
	free(sweep);
}

static void submit(struct sweep *sweep)
{
	struct mse_endpoint *endpoint = sweep->endpoint;

	endpoint->jobs++;
	mse_ledger_worker_submit(endpoint->deliver->parts.ledger, &sweep->job);
}

static void page_done(struct mse_ledger_job *job,
		      const struct mse_error *error)
{
	struct sweep *sweep = (struct sweep *)job;
	struct mse_endpoint *endpoint = sweep->endpoint;
	unsigned int i;

	endpoint->jobs--;
	endpoint->deliver->again = true;
	if (error != NULL) {
		finish(sweep, error->text);
		return;
	}
	for (i = 0; i < sweep->count; i++)
		mse_endpoint_undied(endpoint, sweep->rows[i].row.last_status);
	sweep->dropped += sweep->count;
	sweep->after = sweep->next_after;
	if (sweep->more && endpoint->deliver->stopping)
		finish(sweep, "mailhookd is stopping");
	else if (sweep->more)
		submit(sweep);
	else
		finish(sweep, NULL);
}

int mse_deliver_drop_dead(struct mse_deliver *deliver, const char *name,
			  struct mse_pick *pick,
			  void (*done)(uint64_t dropped, const char *problem,
				       void *context),
			  void *context, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint;
	struct sweep *sweep;

	endpoint = mse_deliver_find(deliver, name, error_r);
	if (endpoint == NULL)
		return -1;
	sweep = calloc(1, sizeof(*sweep));
	if (sweep == NULL)
		return mse_error_set(error_r, "out of memory");
	sweep->job.run = run_page;
	sweep->job.done = page_done;
	sweep->endpoint = endpoint;
	sweep->pick = *pick;
	memset(pick, 0, sizeof(*pick));
	sweep->done = done;
	sweep->context = context;
	submit(sweep);
	return 0;
}
