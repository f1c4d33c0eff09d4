/*
 * One event, as a person looks at it.
 *
 * Invariant: looking changes nothing, and a request that is shown is made as
 * the one that is sent.
 */
#include "deliver/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/show.h"

struct show_row {
	char endpoint[80];
	struct mse_row_copy copy;
};

struct mse_show {
	struct mse_deliver *deliver;
	char id[MSE_UUID_SIZE];
	char *endpoint;      /* NULL: all */
	struct show_row *rows;
	size_t row_count;
	struct mse_ledger *ledger; /* while it is asked */
	const char *asked;
	bool known;          /* the endpoint is */
};

static void clear_rows(struct mse_show *show)
{
	while (show->row_count > 0)
		mse_row_clear(&show->rows[--show->row_count].copy);
	free(show->rows);
	show->rows = NULL;
}

void mse_deliver_show_free(struct mse_show **_show)
{
	struct mse_show *show = *_show;

	*_show = NULL;
	if (show == NULL)
		return;
	clear_rows(show);
	free(show->endpoint);
	free(show);
}

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct mse_show *show = context;
	struct show_row *rows;

	rows = realloc(show->rows, (show->row_count + 1) * sizeof(*rows));
	if (rows == NULL)
		return -1;
	show->rows = rows;
	rows += show->row_count;
	snprintf(rows->endpoint, sizeof(rows->endpoint), "%s", show->asked);
	if (mse_row_copy(&rows->copy, row) < 0)
		return -1;
	show->row_count++;
	return 1;
}

static int ask_endpoint(const char *name,
			const struct mse_ledger_cursor *cursor, void *context)
{
	struct mse_show *show = context;
	struct mse_row_filter filter = {
		.endpoint = name, .id = show->id, .state = -1,
		.with_record = true, .with_answer = true
	};
	struct mse_error error;

	(void)cursor;
	if (show->endpoint != NULL && strcmp(show->endpoint, name) != 0)
		return 0;
	show->known = true;
	show->asked = name;
	return mse_ledger_each_row(show->ledger, &filter, take_row, show,
				   &error) < 0 ? -1 : 0;
}

static int ask(struct mse_ledger *ledger, void *context,
	       struct mse_error *error_r)
{
	struct mse_show *show = context;

	clear_rows(show);
	show->ledger = ledger;
	if (mse_ledger_each_cursor(ledger, ask_endpoint, show, error_r) < 0)
		return mse_error_set(error_r, "the ledger cannot be read");
	return 0;
}

int mse_deliver_show_new(struct mse_deliver *deliver, const char *id,
			 const char *endpoint, struct mse_show **show_r,
			 struct mse_error *error_r)
{
	struct mse_show *show;

	if (!mse_uuid_is_valid(id))
		return mse_error_set(error_r, "\"%.64s\" is no event's id",
				     id);
	show = calloc(1, sizeof(*show));
	if (show == NULL)
		return mse_error_set(error_r, "out of memory");
	show->deliver = deliver;
	memcpy(show->id, id, MSE_UUID_SIZE);
	if (endpoint != NULL)
		show->endpoint = strdup(endpoint);
	if ((endpoint != NULL && show->endpoint == NULL) ||
	    mse_ledger_worker_call(deliver->parts.ledger, ask, show,
				   error_r) < 0) {
		mse_deliver_show_free(&show);
		return -1;
	}
	if (endpoint != NULL && !show->known) {
		mse_deliver_show_free(&show);
		return mse_error_set(error_r, "there is no endpoint %.64s",
				     endpoint);
	}
	*show_r = show;
	return 0;
}

const char *mse_deliver_show_record(const struct mse_show *show, size_t *len_r)
{
	size_t i;

	for (i = 0; i < show->row_count; i++) {
		*len_r = show->rows[i].copy.row.record_len;
		if (show->rows[i].copy.record != NULL)
			return show->rows[i].copy.record;
	}
	return NULL;
}

bool mse_deliver_show_has_rows(const struct mse_show *show)
{
	return show->row_count > 0;
}

static int64_t due_in(const struct mse_endpoint *endpoint,
		      const struct mse_lane *lane)
{
	int64_t now = mse_deliver_mono(endpoint->deliver), at;

	if (lane->heap_index == SIZE_MAX || endpoint->cursor.paused ||
	    endpoint->cursor.disabled)
		return -1;
	/* In an outage one of those that wait is tried then. */
	at = endpoint->breaker.open ? endpoint->breaker.probe_at_ms :
		lane->due_ms;
	if (at < endpoint->hold_until_ms)
		at = endpoint->hold_until_ms;
	return at > now ? at - now : 0;
}

/* The event goes when its batch goes. */
static void tell_batch(const struct mse_batch *batch,
		       struct mse_delivery *delivery)
{
	switch (batch->state) {
	case MSE_BATCH_GATHERING:
	case MSE_BATCH_READY:
		delivery->state = batch->failures > 0 ? "retrying" : "waiting";
		delivery->next_attempt_ms = due_in(batch->endpoint,
						   batch->own);
		break;
	case MSE_BATCH_COMMITTING:
	case MSE_BATCH_FETCHING:
	case MSE_BATCH_SENDING:
	case MSE_BATCH_STORING:
		delivery->state = "sending";
		break;
	}
}

static void tell_parked(const struct mse_endpoint *endpoint,
			const struct mse_ledger_row *row,
			struct mse_delivery *delivery)
{
	const struct mse_lane *lane = mse_lanes_find(&endpoint->lanes,
						     row->lane);
	const struct mse_batch *batch = mse_batch_of_row(endpoint,
							 row->sequence);

	delivery->state = "retrying";
	if (batch != NULL) {
		tell_batch(batch, delivery);
		return;
	}
	if (lane == NULL)
		return;
	if (lane->head.sequence != row->sequence) {
		delivery->state = "held";
		delivery->held_by = lane->head.id;
		return;
	}
	if (lane->busy > 0)
		delivery->state = "sending";
	delivery->next_attempt_ms = due_in(endpoint, lane);
}

static void tell_row(const struct mse_endpoint *endpoint,
		     const struct mse_ledger_row *row,
		     struct mse_delivery *delivery)
{
	delivery->sequence = row->sequence;
	delivery->attempts = row->attempts;
	delivery->changed_at_ms = row->attempts > 0 ? row->changed_at_ms : 0;
	delivery->last_status = row->last_status;
	delivery->last_error = row->last_error;
	delivery->answer = row->answer;
	delivery->answer_len = row->answer_len;
	switch (row->state) {
	case MSE_ROW_PARKED:
		if (endpoint != NULL)
			tell_parked(endpoint, row, delivery);
		else
			delivery->state = "retrying";
		break;
	case MSE_ROW_DEAD:
		delivery->state = "dead";
		break;
	case MSE_ROW_ANSWERED:
		delivery->state = "answered";
		break;
	}
}

static void tell_waiting(const struct mse_item *item,
			 struct mse_delivery *delivery)
{
	const struct mse_lane *lane = item->lane;

	if (lane->parked > 0 || lane->first != item) {
		delivery->state = "held";
		delivery->held_by = lane->parked > 0 ? lane->head.id :
			lane->first->record.id;
		return;
	}
	delivery->state = item->tries.attempts > 0 ? "retrying" : "waiting";
	delivery->next_attempt_ms = due_in(item->endpoint, lane);
}

static void tell_item(const struct mse_item *item,
		      struct mse_delivery *delivery)
{
	delivery->sequence = item->sequence;
	delivery->attempts = item->tries.attempts;
	delivery->last_status = item->last_status;
	delivery->last_error = item->last_error;
	delivery->answer = item->answer;
	delivery->answer_len = item->answer_len;
	switch (item->state) {
	case MSE_ITEM_WAITING:
		tell_waiting(item, delivery);
		break;
	case MSE_ITEM_BATCHED:
		delivery->attempts = item->batch->tries.attempts;
		delivery->last_status = item->batch->last_status;
		delivery->last_error = item->batch->last_error;
		delivery->answer = item->batch->answer;
		delivery->answer_len = item->batch->answer_len;
		tell_batch(item->batch, delivery);
		break;
	case MSE_ITEM_SENDING:
	case MSE_ITEM_PARKING:
		delivery->state = "sending";
		break;
	case MSE_ITEM_DONE:
		delivery->state = "answered";
		break;
	}
}

static bool is_unread(const struct mse_endpoint *endpoint,
		      const struct mse_position *position)
{
	const struct mse_position *read = &endpoint->read_position;
	const struct mse_journal_file *files;
	unsigned int count, i;

	if (strcmp(position->file, read->file) == 0)
		return position->offset > read->offset;
	files = mse_journal_files(endpoint->deliver->parts.journal, &count);
	for (i = 0; i < count; i++) {
		if (strcmp(files[i].uuid, position->file) == 0)
			return false;
		if (strcmp(files[i].uuid, read->file) == 0)
			return true;
	}
	return false;
}

static void tell_record(const struct mse_endpoint *endpoint,
			const struct mse_record *record,
			const struct mse_position *position,
			struct mse_delivery *delivery)
{
	struct mse_event_route route;

	mse_record_route(record, &route);
	if (!mse_subscription_matches(&endpoint->conf->subscription, &route))
		delivery->state = "unwanted";
	else if (position != NULL && is_unread(endpoint, position))
		delivery->state = "unread";
	else
		delivery->state = "passed";
}

static const struct mse_item *find_item(const struct mse_endpoint *endpoint,
					const char *id)
{
	const struct mse_item *item = endpoint->first;

	while (item != NULL && strcmp(item->record.id, id) != 0)
		item = item->next;
	return item;
}

static const struct mse_ledger_row *find_row(const struct mse_show *show,
					     const char *endpoint)
{
	size_t i;

	for (i = 0; i < show->row_count; i++) {
		if (strcmp(show->rows[i].endpoint, endpoint) == 0)
			return &show->rows[i].copy.row;
	}
	return NULL;
}

static struct mse_sending *make_request(struct mse_endpoint *endpoint,
					const struct mse_record *record,
					const struct mse_delivery *delivery)
{
	bool again = strcmp(delivery->state, "dead") == 0 ||
		strcmp(delivery->state, "passed") == 0;
	struct mse_sending *sending;
	struct mse_body body;

	if (record == NULL || strcmp(delivery->state, "unwanted") == 0)
		return NULL;
	mse_attempt_body(endpoint, record, delivery->sequence, &body);
	if (mse_body_end(&body) < 0) {
		mse_body_clear(&body);
		return NULL;
	}
	if (mse_sending_new(endpoint->conf, &body, record->id, again ?
			    MSE_REQUEST_REPLAY : MSE_REQUEST_LIVE,
			    mse_endpoint_floor(endpoint),
			    mse_deliver_wall(endpoint->deliver), &sending) < 0)
		return NULL;
	return sending;
}

static void begin(struct mse_delivery *delivery, const char *endpoint)
{
	memset(delivery, 0, sizeof(*delivery));
	delivery->endpoint = endpoint;
	delivery->held_by = delivery->last_error = "";
	delivery->next_attempt_ms = -1;
}

static void tell_endpoint(const struct mse_show *show,
			  struct mse_endpoint *endpoint,
			  const struct mse_record *record,
			  const struct mse_position *position,
			  void (*found)(const struct mse_delivery *delivery,
					void *context), void *context)
{
	const struct mse_ledger_row *row = find_row(show, endpoint->name);
	const struct mse_item *item = find_item(endpoint, show->id);
	struct mse_delivery delivery;
	struct mse_sending *sending;

	begin(&delivery, endpoint->name);
	if (row != NULL)
		tell_row(endpoint, row, &delivery);
	else if (item != NULL)
		tell_item(item, &delivery);
	else if (record != NULL)
		tell_record(endpoint, record, position, &delivery);
	else
		return;
	sending = make_request(endpoint, record, &delivery);
	delivery.request = sending != NULL ? &sending->request : NULL;
	found(&delivery, context);
	mse_sending_free(&sending);
}

void mse_deliver_show_each(const struct mse_show *show,
			   const struct mse_record *record,
			   const struct mse_position *position,
			   void (*found)(const struct mse_delivery *delivery,
					 void *context),
			   void *context)
{
	struct mse_endpoint *endpoint;
	struct mse_delivery delivery;
	size_t i;

	for (endpoint = show->deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		if (!endpoint->leaving &&
		    (show->endpoint == NULL ||
		     strcmp(show->endpoint, endpoint->name) == 0))
			tell_endpoint(show, endpoint, record, position, found,
				      context);
	}
	/* Endpoints no longer configured may still have rows. */
	for (i = 0; i < show->row_count; i++) {
		if (mse_deliver_find(show->deliver, show->rows[i].endpoint,
				     NULL) != NULL)
			continue;
		begin(&delivery, show->rows[i].endpoint);
		tell_row(NULL, &show->rows[i].copy.row, &delivery);
		found(&delivery, context);
	}
}
