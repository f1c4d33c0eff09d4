/*
 * Events read and numbered that the cursor has not passed.
 *
 * The window is in journal order and in order of numbers. The cursor stands
 * before its first event that is neither answered nor durable as a row, with
 * S = that event's number - 1: every number up to S belongs to an event the
 * cursor has passed or to a row. So reading again from there gives each event
 * the number it had: an event with a row above S is skipped, any other takes
 * the next number that no row has (journal.md, Numbers).
 *
 * Invariant: no number is given to an event read while a Gap's number is not
 * durable, and none beyond cursor.reserved.
 */
#include "deliver/batch.h"

#include <stdlib.h>
#include <string.h>

#define READ_BUDGET 500

/* The next number is none that a row has. */
static void pass_rows(struct mse_endpoint *endpoint)
{
	while (endpoint->taken_next < endpoint->taken_count &&
	       endpoint->taken[endpoint->taken_next] <=
	       endpoint->next_sequence) {
		if (endpoint->taken[endpoint->taken_next] ==
		    endpoint->next_sequence)
			endpoint->next_sequence++;
		endpoint->taken_next++;
	}
}

uint64_t mse_window_number(struct mse_endpoint *endpoint)
{
	pass_rows(endpoint);
	return endpoint->next_sequence++;
}

/* All there is was read, so nothing unread has a row: S may pass those with
   the highest numbers, and the floor, too, without waiting for an event. */
static void at_end(struct mse_endpoint *endpoint)
{
	uint64_t before = endpoint->next_sequence;

	endpoint->caught_up = true;
	mse_batch_give_up_waiting(endpoint);
	pass_rows(endpoint);
	if (endpoint->next_sequence == before)
		return;
	endpoint->floor_dirty = true;
	endpoint->cursor_dirty = true;
}

void mse_lane_append(struct mse_lane *lane, struct mse_item *item)
{
	item->lane = lane;
	item->lane_next = NULL;
	if (lane->last != NULL)
		lane->last->lane_next = item;
	else
		lane->first = item;
	lane->last = item;
	lane->count++;
	lane->octets += item->len;
}

void mse_lane_take(struct mse_lane *lane, struct mse_item *item)
{
	struct mse_item **p = &lane->first, *previous = NULL;

	while (*p != item) {
		previous = *p;
		p = &(*p)->lane_next;
	}
	*p = item->lane_next;
	if (lane->last == item)
		lane->last = previous;
	item->lane_next = NULL;
	lane->count--;
	lane->octets -= item->len;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct mse_id *)a)->text,
		      ((const struct mse_id *)b)->text);
}

static bool has_row(const struct mse_endpoint *endpoint, const char *id)
{
	return endpoint->skip_count > 0 &&
		bsearch(id, endpoint->skip, endpoint->skip_count,
			sizeof(*endpoint->skip), compare_ids) != NULL;
}

/* Own events of nobody have a lane of their own; "" is a lane like others. */
const char *mse_window_lane_key(const struct mse_endpoint *endpoint,
				const struct mse_record *record,
				char own[MSE_UUID_SIZE + 1])
{
	if (endpoint->conf->order == MSE_ORDER_OWNER &&
	    (record->owner[0] != '\0' ||
	     mse_event_type_group(record->type) != MSE_GROUP_OWN))
		return record->owner;
	own[0] = '\x01';
	memcpy(own + 1, record->id, MSE_UUID_SIZE);
	return own;
}

static void add_to_window(struct mse_endpoint *endpoint,
			  struct mse_item *item)
{
	item->prev = endpoint->last;
	if (endpoint->last != NULL)
		endpoint->last->next = item;
	else
		endpoint->first = item;
	endpoint->last = item;
	endpoint->window_count++;
	endpoint->unresolved++;
	endpoint->window_octets += item->len;
}

static int take_record(struct mse_endpoint *endpoint,
		       const struct mse_read_result *result)
{
	const struct mse_record *record = &result->record;
	bool is_own = mse_event_type_group(record->type) == MSE_GROUP_OWN;
	char own[MSE_UUID_SIZE + 1];
	struct mse_event_route route;
	struct mse_item *item;
	struct mse_lane *lane;

	if (record->type == MSE_EVENT_UNKNOWN ||
	    has_row(endpoint, record->id))
		return 0;
	mse_record_route(record, &route);
	if (!mse_subscription_matches(&endpoint->conf->subscription, &route))
		return 0;
	lane = mse_lanes_get(&endpoint->lanes,
			     mse_window_lane_key(endpoint, record, own));
	if (lane == NULL)
		return -1;
	item = mse_item_of_record(endpoint, MSE_ITEM_FRESH, record);
	if (item == NULL) {
		mse_endpoint_update_lane(endpoint, lane);
		return -1;
	}
	item->sequence = mse_window_number(endpoint);
	item->gap = is_own;
	item->before = endpoint->read_position;
	item->read_at_ms = mse_deliver_mono(endpoint->deliver);
	add_to_window(endpoint, item);
	mse_lane_append(lane, item);
	mse_batch_attach(item);
	if (lane->parked > 0)
		endpoint->followers = true;
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

/* A batch made within one window is whole again within one. */
static unsigned int window_max(const struct mse_endpoint *endpoint)
{
	return mse_batch_mode(endpoint) || endpoint->restoring > 0 ?
		MSE_WINDOW_MAX_BATCHES : MSE_WINDOW_MAX;
}

/* Events that wait: enough to have always something to send. */
static unsigned int read_ahead(const struct mse_endpoint *endpoint)
{
	unsigned int limit = 4 * endpoint->conf->concurrency;

	/* A batch that was out before the start is to become whole. */
	if (endpoint->restoring > 0)
		return window_max(endpoint);
	if (mse_batch_mode(endpoint))
		limit *= endpoint->conf->batch_events;
	return limit < 64 ? 64 : limit;
}

static bool may_read(struct mse_endpoint *endpoint)
{
	if (endpoint->next_sequence > endpoint->cursor.reserved) {
		/* The bound first. */
		endpoint->cursor_dirty = true;
		return false;
	}
	return !endpoint->deliver->stopping && !endpoint->settling &&
		!endpoint->cursor.paused && !endpoint->cursor.disabled &&
		endpoint->gap_jobs == 0 && endpoint->gaps_first == 0 &&
		endpoint->unresolved < read_ahead(endpoint) &&
		endpoint->window_count < window_max(endpoint) &&
		endpoint->window_octets < MSE_WINDOW_OCTETS;
}

/* Memory is out, or the file cannot be read: from here once more, later. */
static void read_again(struct mse_endpoint *endpoint, int64_t now,
		       const char *why)
{
	mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR, "endpoint %s: %s",
			endpoint->name, why);
	mse_journal_reader_free(&endpoint->reader);
	endpoint->read_error_until_ms = now + 1000;
}

/* False: not yet, and nothing is read before it. */
static bool pay_gap(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_gap gap = {
		.reason = "a journal file was released before it was "
			"delivered (journal_limit)"
	};

	if (!endpoint->gap_owed)
		return true;
	if (mse_gap_add(endpoint, &gap) < 0) {
		read_again(endpoint, now, "out of memory for a Gap");
		return false;
	}
	endpoint->gap_owed = false;
	return true;
}

static bool open_reader(struct mse_endpoint *endpoint, int64_t now)
{
	if (endpoint->reader == NULL)
		endpoint->reader = mse_journal_reader_new(
			endpoint->deliver->parts.journal,
			&endpoint->read_position);
	if (endpoint->reader == NULL)
		read_again(endpoint, now, "out of memory");
	return endpoint->reader != NULL;
}

bool mse_window_read(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_read_result result;
	struct mse_error error = { "" };
	unsigned int budget = READ_BUDGET;

	if (now < endpoint->read_error_until_ms || !pay_gap(endpoint, now) ||
	    !open_reader(endpoint, now))
		return false;
	while (may_read(endpoint)) {
		if (budget-- == 0)
			return true;
		switch (mse_journal_reader_next(endpoint->reader, &result,
						&error)) {
		case MSE_READ_RECORD:
			if (take_record(endpoint, &result) < 0) {
				read_again(endpoint, now, "out of memory");
				return false;
			}
			break;
		case MSE_READ_END:
			at_end(endpoint);
			return false;
		case MSE_READ_DAMAGE:
			/* derive announces it to all. */
			break;
		case MSE_READ_RELEASED:
			endpoint->caught_up = true;
			endpoint->gap_owed = true;
			break;
		case MSE_READ_ERROR:
			read_again(endpoint, now, error.text);
			return false;
		}
		endpoint->read_position = result.position;
		endpoint->cursor_dirty = true;
		if (!pay_gap(endpoint, now))
			return false;
		if (endpoint->next_sequence > endpoint->reserved_before)
			endpoint->caught_up = true;
	}
	return false;
}

static void forget_first(struct mse_endpoint *endpoint)
{
	struct mse_item *item = endpoint->first;

	endpoint->first = item->next;
	if (item->next != NULL)
		item->next->prev = NULL;
	else
		endpoint->last = NULL;
	endpoint->window_count--;
	mse_item_free(&item);
}

void mse_window_resolved(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;

	item->state = MSE_ITEM_DONE;
	endpoint->unresolved--;
	endpoint->floor_dirty = true;
	endpoint->window_octets -= item->len;
	mse_item_drop_text(item);
	while (endpoint->first != NULL &&
	       endpoint->first->state == MSE_ITEM_DONE) {
		forget_first(endpoint);
		endpoint->cursor_dirty = true;
	}
	endpoint->deliver->again = true;
}

static bool should_park(const struct mse_item *item, bool all)
{
	const struct mse_lane *lane = item->lane;

	if (item->state != MSE_ITEM_WAITING)
		return false;
	/* Not past events that are out and may become rows, too. */
	if (lane->first != item && (lane->first->batch != NULL ||
				    lane->first->state == MSE_ITEM_SENDING))
		return false;
	return all || lane->parked > lane->resolving ||
		(item->tries.attempts > 0 && lane->busy == 0);
}

void mse_window_park(struct mse_endpoint *endpoint, bool all)
{
	struct mse_item *item, *next;
	bool left = mse_batch_park_waiting(endpoint, all);

	for (item = endpoint->first; item != NULL; item = next) {
		next = item->next;
		if (item->state == MSE_ITEM_WAITING &&
		    (item->lane->parked > 0 || item->tries.attempts > 0))
			left = true;
		if (!should_park(item, all))
			continue;
		if (!all && !mse_endpoint_may_park(endpoint))
			break;
		if (mse_parked_park(item) < 0)
			break;
	}
	endpoint->followers = left;
}

void mse_window_cursor(const struct mse_endpoint *endpoint,
		       struct mse_ledger_cursor *cursor_r)
{
	const struct mse_item *first = endpoint->first;

	*cursor_r = endpoint->cursor;
	cursor_r->position = first != NULL ? first->before :
		endpoint->read_position;
	cursor_r->sequence = first != NULL ? first->sequence - 1 :
		endpoint->next_sequence - 1;
	if (endpoint->next_sequence + MSE_RESERVE / 2 > cursor_r->reserved)
		cursor_r->reserved = endpoint->next_sequence + MSE_RESERVE;
}
