/*
 * What a person asks for: test, pause, retry, drop.
 *
 * Invariant: what is given up on request is announced by a Gap like anything
 * else that is given up, in the same transaction.
 */
#include "deliver/batch.h"

#include <stdio.h>
#include <string.h>

#include "event/event.h"
#include "event/imap-url.h"

static struct mse_item *make_test(struct mse_endpoint *endpoint)
{
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_imap_url url = {
		.server = mse_deliver_server_name(deliver)
	};
	struct mse_item *item = NULL;
	struct mse_event event;
	struct mse_buf uri, record;

	mse_buf_init(&uri, 4096);
	mse_buf_init(&record, 65536);
	mse_imap_url_append(&uri, &url);
	mse_event_init(&event, MSE_EVENT_TEST, mse_deliver_wall(deliver));
	mse_event_set_string(&event, MSE_PARAM_URI, mse_buf_str(&uri));
	mse_event_set_string(&event, MSE_PARAM_SERVER_FQDN,
			     deliver->server_fqdn);
	mse_event_write(&event, &record);
	if (!mse_buf_failed(&record) && record.len > 2)
		item = mse_item_new(endpoint, MSE_ITEM_TEST, record.data + 1,
				    record.len - 2);
	mse_buf_clear(&uri);
	mse_buf_clear(&record);
	return item;
}

int mse_deliver_test(struct mse_deliver *deliver, const char *name,
		     void (*done)(const struct mse_request *request,
				  const struct mse_answer *answer,
				  void *context),
		     void *context, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint =
		mse_deliver_find(deliver, name, error_r);
	struct mse_item *item;

	if (endpoint == NULL)
		return -1;
	if (!mse_handshake_permits(endpoint))
		return mse_error_set(error_r, "endpoint %s: its receiver has "
				     "not permitted deliveries yet%s%s", name,
				     endpoint->last_error[0] != '\0' ? ": " :
				     "", endpoint->last_error);
	item = make_test(endpoint);
	if (item == NULL)
		return mse_error_set(error_r, "out of memory");
	item->test_done = done;
	item->test_context = context;
	mse_endpoint_send(item, false);
	return 0;
}

struct flags {
	const char *endpoint;
	bool paused, disabled;
};

static int store_flags(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	struct flags *flags = context;
	struct mse_ledger_cursor cursor;

	if (mse_ledger_get_cursor(ledger, flags->endpoint, &cursor,
				  error_r) != 1)
		return -1;
	cursor.paused = flags->paused;
	cursor.disabled = flags->disabled;
	return mse_ledger_put_cursor(ledger, flags->endpoint, &cursor,
				     error_r);
}

int mse_deliver_pause(struct mse_deliver *deliver, const char *name,
		      bool pause, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint =
		mse_deliver_find(deliver, name, error_r);
	struct flags flags = { .endpoint = name, .paused = pause };

	if (endpoint == NULL)
		return -1;
	flags.disabled = pause && endpoint->cursor.disabled;
	if (mse_ledger_worker_call(deliver->parts.ledger, store_flags, &flags,
				   error_r) < 0)
		return -1;
	mse_endpoint_tick(endpoint);
	endpoint->cursor.paused = pause;
	if (!pause) {
		endpoint->cursor.disabled = false;
		/* Somebody says that it is well: try at once. */
		endpoint->hold_until_ms = 0;
		endpoint->breaker.probe_at_ms = 0;
	}
	mse_endpoint_tick(endpoint);
	return 0;
}

struct lookup {
	const char *endpoint, *id;
	struct mse_row_copy row;
	bool found, missing;
};

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct lookup *lookup = context;

	if (row->state == MSE_ROW_ANSWERED)
		return 0;
	lookup->found = mse_row_copy(&lookup->row, row) == 0;
	return lookup->found ? 1 : -1;
}

static int look_up(struct mse_ledger *ledger, void *context,
		   struct mse_error *error_r)
{
	struct lookup *lookup = context;
	struct mse_row_filter filter = {
		.endpoint = lookup->endpoint, .id = lookup->id, .state = -1,
		.with_record = true
	};

	return mse_ledger_each_row(ledger, &filter, take_row, lookup,
				   error_r) < 0 ? -1 : 0;
}

static int find_row(struct mse_deliver *deliver, struct lookup *lookup,
		    struct mse_error *error_r)
{
	if (mse_ledger_worker_call(deliver->parts.ledger, look_up, lookup,
				   error_r) < 0)
		return -1;
	lookup->missing = !lookup->found;
	if (lookup->missing)
		return mse_error_set(error_r, "endpoint %s has no parked or "
				     "dead event %s", lookup->endpoint,
				     lookup->id);
	return 0;
}

/* 1: it is dead. */
static int retry_row(struct mse_endpoint *endpoint,
		     const struct mse_ledger_row *row,
		     struct mse_error *error_r)
{
	struct mse_batch *batch;
	struct mse_lane *lane;

	if (row->state == MSE_ROW_PARKED) {
		/* Not dead yet: its next attempt now. */
		batch = mse_batch_of_row(endpoint, row->sequence);
		if (batch != NULL && batch->state == MSE_BATCH_READY) {
			mse_batch_wait(batch, 0);
			return 0;
		}
		lane = mse_lanes_find(&endpoint->lanes, row->lane);
		if (lane == NULL || lane->head.sequence != row->sequence)
			return mse_error_set(error_r, "%s waits behind "
					     "another event of its owner",
					     row->id);
		lane->not_before_ms = 0;
		mse_endpoint_update_lane(endpoint, lane);
		return 0;
	}
	return 1;
}

int mse_deliver_retry(struct mse_deliver *deliver,
		      struct mse_replay_options *options,
		      struct mse_replay **replay_r, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint =
		mse_deliver_find(deliver, options->endpoint, error_r);
	struct lookup lookup = {
		.endpoint = options->endpoint, .id = options->pick.id
	};
	int ret;

	if (replay_r != NULL)
		*replay_r = NULL;
	if (endpoint == NULL || find_row(deliver, &lookup, error_r) < 0)
		return -1;
	ret = retry_row(endpoint, &lookup.row.row, error_r);
	mse_row_clear(&lookup.row);
	if (ret <= 0)
		return ret;
	options->dead = true;
	return mse_deliver_replay(deliver, options, replay_r, error_r);
}

#define DROPPED "dropped by the administrator"

static int busy(const char *id, struct mse_error *error_r)
{
	mse_error_set(error_r, "%s is being sent or stored just now; try "
		      "again", id);
	return MSE_DROP_AGAIN;
}

/* Numbers read before a restart are known again in a moment. */
static int check_caught_up(const struct mse_endpoint *endpoint,
			   struct mse_error *error_r)
{
	if (endpoint->caught_up)
		return 0;
	mse_error_set(error_r, "endpoint %s has just been started and still "
		      "reads; try again", endpoint->name);
	return MSE_DROP_AGAIN;
}

/* Nothing happens to its rows just now: at most a batch waits in front. */
static bool is_idle(const struct mse_lane *lane)
{
	return lane->busy == 0 || (lane->busy == 1 && lane->holder != NULL &&
				   lane->holder->state == MSE_BATCH_READY);
}

static int drop_parked(struct mse_endpoint *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r)
{
	struct mse_batch *batch = mse_batch_of_row(endpoint, row->sequence);
	struct mse_lane *lane;
	struct mse_item *item;
	int ret;

	if (check_caught_up(endpoint, error_r) < 0)
		return MSE_DROP_AGAIN;
	/* The others of its batch go on without it. */
	if (batch != NULL && !mse_batch_dissolve(batch))
		return busy(row->id, error_r);
	lane = mse_lanes_find(&endpoint->lanes, row->lane);
	if (lane == NULL || !is_idle(lane))
		return busy(row->id, error_r);
	item = mse_item_of_row(endpoint, MSE_ITEM_PARKED, row);
	if (item == NULL)
		return mse_error_set(error_r, "out of memory");
	item->lane = lane;
	if (item->gap) {
		mse_gap_announced(endpoint, item->sequence);
		ret = item->sequence != lane->head.sequence ? -1 :
			mse_parked_leave(item, MSE_ROW_ANSWERED);
	} else {
		ret = mse_gap_die(item, MSE_ROW_ANSWERED, DROPPED);
	}
	if (ret < 0) {
		mse_item_free(&item);
		return busy(row->id, error_r);
	}
	return 0;
}

static void dropped(struct mse_job *job)
{
	if (job->rows[0].was_dead)
		mse_endpoint_undied(job->endpoint,
				    job->rows[0].status_before);
}

static int drop_dead(struct mse_endpoint *endpoint,
		     const struct mse_ledger_row *row,
		     struct mse_error *error_r)
{
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL, dropped);

	if (job == NULL || mse_job_add_row(job, MSE_OP_UNDIE, row) < 0) {
		mse_job_free(job);
		return mse_error_set(error_r, "out of memory");
	}
	mse_job_submit(job);
	return 0;
}

static int drop_waiting(struct mse_item *item, struct mse_error *error_r)
{
	if (check_caught_up(item->endpoint, error_r) < 0)
		return MSE_DROP_AGAIN;
	if (item->batch != NULL)
		(void)mse_batch_dissolve(item->batch);
	if (item->state != MSE_ITEM_WAITING ||
	    mse_gap_die(item, MSE_ROW_ANSWERED, DROPPED) < 0)
		return busy(item->record.id, error_r);
	return 0;
}

int mse_deliver_drop(struct mse_deliver *deliver, const char *name,
		     const char *id, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint =
		mse_deliver_find(deliver, name, error_r);
	struct lookup lookup = { .endpoint = name, .id = id };
	struct mse_item *item;
	int ret;

	if (endpoint == NULL)
		return -1;
	for (item = endpoint->first; item != NULL; item = item->next) {
		if (item->state != MSE_ITEM_DONE &&
		    strcmp(item->record.id, id) == 0)
			return drop_waiting(item, error_r);
	}
	if (find_row(deliver, &lookup, error_r) < 0)
		return lookup.missing ? MSE_DROP_GONE : -1;
	ret = lookup.row.row.state == MSE_ROW_DEAD ?
		drop_dead(endpoint, &lookup.row.row, error_r) :
		drop_parked(endpoint, &lookup.row.row, error_r);
	mse_row_clear(&lookup.row);
	return ret;
}
