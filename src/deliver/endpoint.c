/*
 * One endpoint: what is sent when.
 *
 * Invariant: at most one request of a lane is out; the usable clock, by which
 * events are given up, stands while the breaker is open, while Retry-After
 * holds the endpoint and while it is paused or disabled.
 */
#include "deliver/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/answer.h"

#define FLOOR_LANES_A_MS 64
#define NOT_YET_MS 5000
/* Under `rate`, before a replay that waits has one. */
#define LIVE_IN_A_ROW 3

bool mse_endpoint_is_idle(const struct mse_endpoint *endpoint)
{
	return endpoint->in_flight == 0 && endpoint->jobs == 0 &&
		!endpoint->cursor_dirty;
}

void mse_endpoint_tick(struct mse_endpoint *endpoint)
{
	int64_t now = mse_deliver_mono(endpoint->deliver);

	if (endpoint->usable)
		endpoint->usable_ms += now - endpoint->usable_at_ms;
	endpoint->usable_at_ms = now;
	endpoint->usable = !endpoint->breaker.open &&
		now >= endpoint->hold_until_ms && !endpoint->cursor.paused &&
		!endpoint->cursor.disabled && mse_handshake_permits(endpoint);
}

bool mse_endpoint_may_send(const struct mse_endpoint *endpoint)
{
	return !endpoint->deliver->stopping && !endpoint->leaving &&
		!endpoint->cursor.paused && !endpoint->cursor.disabled &&
		mse_handshake_permits(endpoint) &&
		endpoint->in_flight + endpoint->fetching <
		endpoint->conf->concurrency &&
		mse_deliver_mono(endpoint->deliver) >= endpoint->hold_until_ms;
}

/* On disk and in memory. */
static bool has_room(const struct mse_endpoint *endpoint)
{
	const struct mse_deliver *deliver = endpoint->deliver;

	return endpoint->parked_octets < deliver->conf->journal_limit / 4 &&
		endpoint->lanes.count < (deliver->parts.lanes_max > 0 ?
					 deliver->parts.lanes_max :
					 MSE_DELIVER_LANES_MAX);
}

/* With the breaker about to open nothing is parked either: an outage leaves
   the journal where it is. */
bool mse_endpoint_may_park(const struct mse_endpoint *endpoint)
{
	return !endpoint->breaker.open &&
		endpoint->breaker.failures < MSE_BREAKER_FAILURES &&
		has_room(endpoint);
}

static void wait_for(struct mse_endpoint *endpoint, struct mse_lane *lane,
		     bool waits)
{
	if (waits)
		mse_lanes_wait(&endpoint->lanes, lane, lane->not_before_ms);
	else
		mse_lanes_unwait(&endpoint->lanes, lane);
}

void mse_endpoint_update_lane(struct mse_endpoint *endpoint,
			      struct mse_lane *lane)
{
	bool has_next;

	if (lane->batch != NULL) {
		wait_for(endpoint, lane,
			 lane->batch->state == MSE_BATCH_READY);
		return;
	}
	if (lane->parked == 0) {
		memset(&lane->head, 0, sizeof(lane->head));
		lane->low = 0;
		lane->gaps = 0;
		mse_gap_attempted(lane, endpoint);
	}
	if (lane->busy == 0 && mse_parked_is_overtaken(lane)) {
		lane->head.sequence = 0;
		mse_parked_next(endpoint, lane);
	}
	has_next = lane->parked > 0 ? lane->head.sequence != 0 :
		lane->first != NULL;
	has_next = has_next && lane->busy == 0 &&
		!mse_batch_claim(endpoint, lane);
	if (has_next && lane->parked == 0 && mse_batch_mode(endpoint)) {
		mse_batch_lane_ready(endpoint, lane);
		has_next = false;
	} else {
		mse_batch_lane_unready(endpoint, lane);
	}
	wait_for(endpoint, lane, has_next);
	if (lane->busy == 0 && lane->parked == 0 && lane->first == NULL)
		mse_lanes_remove(&endpoint->lanes, lane);
}

static uint64_t lowest_open(const struct mse_endpoint *endpoint)
{
	uint64_t lowest = endpoint->next_sequence;
	const struct mse_lane *lane = endpoint->lanes.ring;
	size_t i;

	if (endpoint->first != NULL && endpoint->first->sequence < lowest)
		lowest = endpoint->first->sequence;
	for (i = 0; i < endpoint->unannounced_count; i++) {
		if (endpoint->unannounced[i].lowest < lowest)
			lowest = endpoint->unannounced[i].lowest;
	}
	for (i = 0; i < endpoint->lanes.count; i++, lane = lane->next) {
		if (lane->parked > 0 && lane->low < lowest && lane->low > 0)
			lowest = lane->low;
	}
	/* Numbers of rows that were there at the start are known as open only
	   through their lanes; those not reached yet are above. */
	return lowest;
}

/* An old floor is as true as a new one: the more lanes there are to look at,
   the longer it lasts. */
uint64_t mse_endpoint_floor(struct mse_endpoint *endpoint)
{
	int64_t now = mse_deliver_mono(endpoint->deliver);
	uint64_t floor;

	if (!endpoint->floor_dirty || now < endpoint->floor_at_ms)
		return endpoint->floor;
	endpoint->floor_dirty = false;
	endpoint->floor_at_ms = now +
		(int64_t)(endpoint->lanes.count / FLOOR_LANES_A_MS);
	floor = lowest_open(endpoint) - 1;
	if (floor > endpoint->floor)
		endpoint->floor = floor;
	return endpoint->floor;
}

/* The lane's next event. */
static void go(struct mse_endpoint *endpoint, struct mse_lane *lane,
	       bool probe, int64_t now)
{
	struct mse_item *item = lane->first;

	if (probe)
		endpoint->probing = true;
	mse_rate_take(&endpoint->rate, mse_handshake_rate(endpoint), now);
	endpoint->live_in_a_row++;
	if (lane->batch != NULL) {
		mse_batch_go(lane->batch, probe);
		return;
	}
	if (lane->parked == 0 && mse_batch_mode(endpoint)) {
		if (mse_batch_probe(endpoint, lane) < 0)
			endpoint->probing = false;
		return;
	}
	if (lane->parked > 0) {
		if (mse_parked_fetch(endpoint, lane, probe) < 0) {
			endpoint->probing = false;
			lane->not_before_ms = now + NOT_YET_MS;
			mse_endpoint_update_lane(endpoint, lane);
		}
		return;
	}
	lane->busy++;
	mse_endpoint_update_lane(endpoint, lane);
	mse_endpoint_send(item, probe);
}

static bool can_go(const struct mse_lane *lane)
{
	if (lane->batch != NULL)
		return lane->batch->state == MSE_BATCH_READY;
	return lane->busy == 0 && (lane->parked > 0 ?
				   lane->head.sequence != 0 :
				   lane->first != NULL);
}

/* The next lane in the ring that could send, so that one poison event cannot
   keep the breaker open. */
static void probe(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_lanes *lanes = &endpoint->lanes;
	size_t left = lanes->count;
	struct mse_lane *lane;

	if (endpoint->probing || now < endpoint->breaker.probe_at_ms)
		return;
	for (; left > 0; left--) {
		lane = lanes->ring;
		lanes->ring = lane->next;
		if (can_go(lane)) {
			go(endpoint, lane, true, now);
			return;
		}
	}
}

/* However much is behind, who waits for a replay sees it go on. */
static bool leaves_room(const struct mse_endpoint *endpoint, int64_t now)
{
	return endpoint->in_flight + endpoint->fetching + 1 <
		endpoint->conf->concurrency ||
		endpoint->conf->concurrency == 1 ||
		!mse_replay_waits(endpoint, now);
}

/* The same of what `rate` allows. */
static bool leaves_turn(const struct mse_endpoint *endpoint, int64_t now)
{
	return endpoint->live_in_a_row < LIVE_IN_A_ROW ||
		mse_handshake_rate(endpoint) == 0 ||
		!mse_replay_waits(endpoint, now);
}

static void send_due(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_lane *lane;

	while (mse_endpoint_may_send(endpoint) && leaves_room(endpoint, now) &&
	       leaves_turn(endpoint, now) &&
	       mse_rate_at(&endpoint->rate, mse_handshake_rate(endpoint),
			   now) <= now) {
		if (endpoint->breaker.open) {
			probe(endpoint, now);
			return;
		}
		lane = mse_lanes_first(&endpoint->lanes);
		if (lane == NULL || lane->due_ms > now)
			return;
		go(endpoint, lane, false, now);
	}
}

/* What is not read yet may have had numbers before a restart, and gets others
   under other filters: those go on above, as after a change while the daemon
   was dead. -1: not yet. */
static int number_above(struct mse_endpoint *endpoint)
{
	struct mse_gap gap = {
		.reason = "the endpoint's filters were changed before it had "
			"caught up after a restart; no event was lost",
		.from = endpoint->next_sequence,
		.to = endpoint->cursor.reserved
	};

	if (endpoint->caught_up)
		return 0;
	if (gap.to < gap.from) {
		endpoint->caught_up = true;
		return 0;
	}
	endpoint->next_sequence = gap.to + 1;
	if (mse_gap_add(endpoint, &gap) < 0) {
		endpoint->next_sequence = gap.from;
		return -1;
	}
	endpoint->caught_up = true;
	return 0;
}

/* Filters may change, or the endpoint leave, once the window is empty: what
   cannot be answered now is parked. */
static void settle(struct mse_endpoint *endpoint)
{
	mse_endpoint_tick(endpoint);
	/* Nothing more is read, so they never would be whole. */
	mse_batch_give_up_waiting(endpoint);
	if (endpoint->leaving || endpoint->breaker.open ||
	    endpoint->cursor.paused || endpoint->cursor.disabled)
		mse_window_park(endpoint, true);
	if (endpoint->first != NULL || endpoint->gap_jobs > 0 ||
	    endpoint->next_conf == NULL)
		return;
	if (strcmp(endpoint->cursor.filters,
		   endpoint->next_conf->filters) != 0 &&
	    (number_above(endpoint) < 0 || endpoint->gap_jobs > 0))
		return;
	mse_endpoint_reconfigured(endpoint, endpoint->next_conf);
	endpoint->next_conf = NULL;
	endpoint->settling = endpoint->leaving;
	memcpy(endpoint->cursor.filters, endpoint->conf->filters,
	       sizeof(endpoint->cursor.filters));
	endpoint->cursor_dirty = true;
}

void mse_endpoint_reconfigured(struct mse_endpoint *endpoint,
			       const struct mse_conf_endpoint *conf)
{
	struct mse_lane *lane = endpoint->lanes.ring, *next;
	size_t left = endpoint->lanes.count;

	if (endpoint->conf->rate != conf->rate ||
	    strcmp(endpoint->conf->url, conf->url) != 0)
		mse_handshake_forget(endpoint);
	endpoint->conf = conf;
	mse_batch_forget_bodies(endpoint);
	for (; left > 0; left--, lane = next) {
		next = lane->next;
		mse_endpoint_update_lane(endpoint, lane);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t next_time(const struct mse_endpoint *endpoint, int64_t now)
{
	const struct mse_lane *first = mse_lanes_first(&endpoint->lanes);
	int64_t at = mse_cursor_commit_at(endpoint), due = INT64_MAX, rate;

	if (endpoint->failed_jobs != NULL)
		at = earlier(at, endpoint->failed_jobs->retry_at_ms);
	if (endpoint->read_error_until_ms > now)
		at = earlier(at, endpoint->read_error_until_ms);
	if (endpoint->deliver->stopping || endpoint->cursor.paused ||
	    endpoint->cursor.disabled)
		return at;
	if (!mse_handshake_permits(endpoint))
		return earlier(at, mse_handshake_at(endpoint));
	at = earlier(at, mse_batch_compose_at(endpoint));
	if (endpoint->in_flight + endpoint->fetching >=
	    endpoint->conf->concurrency)
		return at;
	if (endpoint->breaker.open) {
		if (!endpoint->probing && (first != NULL ||
					   endpoint->ready_first != NULL))
			due = endpoint->breaker.probe_at_ms;
	} else if (first != NULL) {
		due = first->due_ms;
	}
	if (due == INT64_MAX)
		return at;
	rate = mse_rate_at(&endpoint->rate, mse_handshake_rate(endpoint), now);
	if (due < rate)
		due = rate;
	if (due < endpoint->hold_until_ms)
		due = endpoint->hold_until_ms;
	return earlier(at, due);
}

/* Rows for what waits before something that was answered, so that the
   successor, which reads on from the first without an answer, does not repeat
   that. What is in a batch has its line. */
static void park_for_stop(struct mse_endpoint *endpoint)
{
	struct mse_item *answered = endpoint->last, *item, *next;

	while (answered != NULL && answered->state != MSE_ITEM_DONE)
		answered = answered->prev;
	for (item = answered == NULL ? NULL : endpoint->first;
	     item != answered; item = next) {
		next = item->next;
		if (item->state == MSE_ITEM_WAITING &&
		    item->lane->first->batch == NULL &&
		    mse_parked_park(item) < 0)
			return;
	}
}

int64_t mse_endpoint_run(struct mse_endpoint *endpoint)
{
	int64_t now = mse_deliver_mono(endpoint->deliver), replay_at;

	mse_endpoint_tick(endpoint);
	mse_jobs_retry(endpoint, now);
	if (mse_window_read(endpoint, now))
		endpoint->deliver->again = true;
	mse_handshake_run(endpoint, now);
	if (endpoint->headless)
		mse_parked_find_heads(endpoint);
	mse_batch_compose(endpoint, now);
	send_due(endpoint, now);
	replay_at = mse_replay_run(endpoint, now);
	if (endpoint->followers)
		mse_window_park(endpoint, false);
	endpoint->waiting = endpoint->followers && !endpoint->breaker.open &&
		!has_room(endpoint);
	if (endpoint->deliver->stopping && endpoint->in_flight == 0)
		park_for_stop(endpoint);
	if (endpoint->settling)
		settle(endpoint);
	mse_cursor_commit(endpoint, now);
	return earlier(next_time(endpoint, now), replay_at);
}

void mse_endpoint_free(struct mse_endpoint **_endpoint)
{
	struct mse_endpoint *endpoint = *_endpoint;
	struct mse_batch *batch;
	struct mse_item *item;
	struct mse_job *job;

	*_endpoint = NULL;
	if (endpoint == NULL)
		return;
	mse_replay_end_all(endpoint, "mailhookd is stopping");
	while ((job = endpoint->failed_jobs) != NULL) {
		endpoint->failed_jobs = job->next_failed;
		mse_job_free(job);
	}
	mse_journal_reader_free(&endpoint->reader);
	while ((batch = endpoint->batches) != NULL)
		mse_batch_free(&batch);
	while ((item = endpoint->first) != NULL) {
		endpoint->first = item->next;
		mse_item_free(&item);
	}
	mse_lanes_clear(&endpoint->lanes);
	mse_sending_free(&endpoint->handshake.flight.sending);
	free(endpoint->answered_batches);
	free(endpoint->taken);
	free(endpoint->skip);
	free(endpoint->unannounced);
	free(endpoint->name);
	free(endpoint);
}
