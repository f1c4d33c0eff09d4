/*
 * One endpoint: what is sent when, and what follows from the answer.
 *
 * A fresh event that fails is parked (parked.c) unless the endpoint refuses
 * everything: with the breaker open it stays where it is, uncounted.
 *
 * Invariant: at most one request of a lane is out; the usable clock, by which
 * events are given up, stands while the breaker is open, while Retry-After
 * holds the endpoint and while it is paused or disabled.
 */
#include "deliver/endpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/answer.h"

#define FLOOR_EVERY_MS 1000
#define FLOOR_LANES 1024
#define NOT_YET_MS 5000
/* The largest record, wrapped. */
#define BODY_MAX (MSE_RECORD_MAX + (size_t)64 * 1024)

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
		!endpoint->cursor.disabled;
}

bool mse_endpoint_may_send(const struct mse_endpoint *endpoint)
{
	return !endpoint->deliver->stopping && !endpoint->leaving &&
		!endpoint->cursor.paused && !endpoint->cursor.disabled &&
		endpoint->in_flight + endpoint->fetching <
		endpoint->conf->concurrency &&
		mse_deliver_mono(endpoint->deliver) >= endpoint->hold_until_ms;
}

/* With the breaker about to open nothing is parked either: an outage leaves
   the journal where it is. */
bool mse_endpoint_may_park(const struct mse_endpoint *endpoint)
{
	return !endpoint->breaker.open &&
		endpoint->breaker.failures < MSE_BREAKER_FAILURES &&
		endpoint->parked_octets <
		endpoint->deliver->conf->journal_limit / 4;
}

void mse_endpoint_update_lane(struct mse_endpoint *endpoint,
			      struct mse_lane *lane)
{
	bool has_next = lane->parked > 0 ? lane->head.sequence != 0 :
		lane->first != NULL;

	if (lane->parked == 0) {
		memset(&lane->head, 0, sizeof(lane->head));
		lane->low = 0;
		lane->gaps = 0;
		mse_gap_attempted(lane, endpoint);
	}
	if (lane->busy > 0 || !has_next)
		mse_lanes_unwait(&endpoint->lanes, lane);
	else
		mse_lanes_wait(&endpoint->lanes, lane, lane->not_before_ms);
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

/* An old floor is as true as a new one, so with many lanes it is not looked
   for each time. */
uint64_t mse_endpoint_floor(struct mse_endpoint *endpoint)
{
	int64_t now = mse_deliver_mono(endpoint->deliver);
	uint64_t floor;

	if (!endpoint->floor_dirty || (endpoint->lanes.count > FLOOR_LANES &&
				       now < endpoint->floor_at_ms))
		return endpoint->floor;
	endpoint->floor_dirty = false;
	endpoint->floor_at_ms = now + FLOOR_EVERY_MS;
	floor = lowest_open(endpoint) - 1;
	if (floor > endpoint->floor)
		endpoint->floor = floor;
	return endpoint->floor;
}

static void fly(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;

	item->flight_prev = NULL;
	item->flight_next = endpoint->flights;
	if (item->flight_next != NULL)
		item->flight_next->flight_prev = item;
	endpoint->flights = item;
	endpoint->in_flight++;
}

static void land(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;

	if (item->flight_prev != NULL)
		item->flight_prev->flight_next = item->flight_next;
	else
		endpoint->flights = item->flight_next;
	if (item->flight_next != NULL)
		item->flight_next->flight_prev = item->flight_prev;
	endpoint->in_flight--;
}

static void log_attempt(const struct mse_item *item,
			const struct mse_answer *answer, bool success,
			const char *next)
{
	char outcome[300];

	if (answer->outcome == MSE_OUTCOME_ANSWERED)
		snprintf(outcome, sizeof(outcome), "answered %d",
			 answer->status);
	else
		snprintf(outcome, sizeof(outcome), "failed (%s): %s",
			 mse_outcome_name(answer->outcome), answer->text);
	mse_deliver_log(item->endpoint->deliver,
			success ? MSE_LOG_INFO : MSE_LOG_WARNING,
			"endpoint %s: %s %s sequence %" PRIu64 " %s in %"
			PRId64 " ms%s%s", item->endpoint->name,
			item->record.type_name != NULL ?
			item->record.type_name :
			mse_event_type_name(item->record.type),
			item->record.id, item->sequence, outcome,
			answer->elapsed_ms, *next != '\0' ? "; " : "", next);
}

/* The event goes back to where it waited; a row's copy is dropped. */
static void put_back(struct mse_item *item, int64_t not_before_ms)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;

	lane->not_before_ms = not_before_ms;
	if (item->origin == MSE_ITEM_FRESH) {
		item->state = MSE_ITEM_WAITING;
	} else {
		lane->head = item->tries;
		mse_item_free(&item);
	}
	mse_endpoint_update_lane(endpoint, lane);
}

static void on_success(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;

	lane->not_before_ms = 0;
	if (item->origin == MSE_ITEM_PARKED) {
		mse_parked_answered(item);
		return;
	}
	mse_lane_take(lane, item);
	mse_window_resolved(item);
	mse_endpoint_update_lane(endpoint, lane);
}

/* Whether the failure counts against the event. */
static bool count_attempt(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;

	if (endpoint->breaker.open)
		return false;
	if (item->tries.attempts++ == 0) {
		item->tries.used_ms = 0;
	} else {
		item->tries.used_ms +=
			endpoint->usable_ms - item->tries.since;
	}
	item->tries.since = endpoint->usable_ms;
	return true;
}

/* Not before a number given now is certainly new, and a Gap out of the
   journal only as a row, which dies without a further Gap. */
static bool may_give_up(const struct mse_item *item)
{
	const struct mse_endpoint *endpoint = item->endpoint;

	return item->tries.used_ms >= endpoint->conf->give_up_ms &&
		item->tries.attempts > 1 && endpoint->caught_up &&
		(!item->gap || item->origin == MSE_ITEM_PARKED);
}

static void give_up(struct mse_item *item, int64_t now)
{
	if (mse_gap_die(item, MSE_ROW_DEAD,
			"given up after give_up without success") < 0)
		put_back(item, now + NOT_YET_MS);
}

static void on_failure(struct mse_item *item, const struct mse_answer *answer,
		       int64_t now)
{
	struct mse_endpoint *endpoint = item->endpoint;
	const struct mse_conf_endpoint *conf = endpoint->conf;
	char next[80];
	int64_t delay;

	if (!count_attempt(item)) {
		log_attempt(item, answer, false,
			    "the endpoint accepts nothing: waiting");
		put_back(item, 0);
		return;
	}
	if (may_give_up(item)) {
		log_attempt(item, answer, false, "given up, dead letter");
		give_up(item, now);
		return;
	}
	delay = mse_backoff_ms(conf->retry_first_ms, conf->retry_max_ms,
			       item->tries.attempts,
			       mse_deliver_random(endpoint->deliver));
	snprintf(next, sizeof(next), "next attempt in %" PRId64 " s",
		 (delay + 999) / 1000);
	log_attempt(item, answer, false, next);
	item->lane->not_before_ms = now + delay;
	if (item->origin == MSE_ITEM_PARKED) {
		mse_parked_failed(item);
		return;
	}
	item->state = MSE_ITEM_WAITING;
	endpoint->followers = true;
	if (!mse_endpoint_may_park(endpoint) || mse_parked_park(item) < 0)
		mse_endpoint_update_lane(endpoint, item->lane);
}

/* Retry-After: nothing is wrong with the event, unless others are accepted
   between its refusals. */
static void on_hold(struct mse_item *item, const struct mse_answer *answer,
		    int64_t hold_ms, int64_t now)
{
	struct mse_endpoint *endpoint = item->endpoint;
	char next[80];
	int64_t extra;

	if (now + hold_ms > endpoint->hold_until_ms)
		endpoint->hold_until_ms = now + hold_ms;
	if (item->tries.holds > 0 &&
	    item->tries.answered_at_hold != endpoint->answered) {
		item->tries.answered_at_hold = endpoint->answered;
		on_failure(item, answer, now);
		return;
	}
	snprintf(next, sizeof(next), "the endpoint waits %" PRId64
		 " s as asked", hold_ms / 1000);
	log_attempt(item, answer, false, next);
	/* Others first, the next time. */
	extra = item->tries.holds++ < 10 ? item->tries.holds * 100 : 1000;
	item->tries.answered_at_hold = endpoint->answered;
	put_back(item, now + hold_ms + extra);
}

static void on_disable(struct mse_item *item, const struct mse_answer *answer)
{
	struct mse_endpoint *endpoint = item->endpoint;

	endpoint->cursor.disabled = true;
	endpoint->cursor_dirty = true;
	log_attempt(item, answer, false,
		    "410 Gone: the endpoint is disabled until resumed");
	put_back(item, 0);
}

static void on_replay(struct mse_item *item, const struct mse_answer *answer,
		      bool success)
{
	log_attempt(item, answer, success, success ? "dead letter answered" :
		    "stays a dead letter");
	if (success)
		mse_replay_answered(item);
	mse_item_free(&item);
}

static void on_judged(struct mse_item *item, const struct mse_answer *answer,
		      int64_t now)
{
	struct mse_endpoint *endpoint = item->endpoint;
	int64_t hold_ms;

	switch (mse_answer_judge(answer, &hold_ms)) {
	case MSE_VERDICT_SUCCESS:
		log_attempt(item, answer, true, "");
		on_success(item);
		break;
	case MSE_VERDICT_RETRY:
		on_failure(item, answer, now);
		break;
	case MSE_VERDICT_HOLD:
		on_hold(item, answer, hold_ms, now);
		break;
	case MSE_VERDICT_DISABLE:
		on_disable(item, answer);
		break;
	case MSE_VERDICT_NOTHING:
		put_back(item, endpoint->deliver->stopping ? 0 :
			 now + NOT_YET_MS);
		break;
	}
}

/* What the answer says of the endpoint as a whole. */
static void count_answer(struct mse_item *item,
			 const struct mse_answer *answer, int64_t now)
{
	struct mse_endpoint *endpoint = item->endpoint;
	const struct mse_conf_endpoint *conf = endpoint->conf;
	int64_t hold_ms;

	switch (mse_answer_judge(answer, &hold_ms)) {
	case MSE_VERDICT_SUCCESS:
		endpoint->answered++;
		if (mse_breaker_success(&endpoint->breaker)) {
			mse_deliver_log(endpoint->deliver, MSE_LOG_INFO,
					"endpoint %s accepts events again",
					endpoint->name);
			endpoint->followers = true;
		}
		return;
	case MSE_VERDICT_NOTHING:
		return;
	case MSE_VERDICT_RETRY:
		if (mse_breaker_failure(&endpoint->breaker, item->probe, now,
					conf->retry_first_ms,
					conf->retry_max_ms, mse_deliver_random(
						endpoint->deliver)))
			mse_deliver_log(endpoint->deliver, MSE_LOG_WARNING,
					"endpoint %s accepts nothing: an "
					"outage; its events wait",
					endpoint->name);
		break;
	case MSE_VERDICT_HOLD:
	case MSE_VERDICT_DISABLE:
		break;
	}
	endpoint->failed++;
	item->last_status = answer->outcome == MSE_OUTCOME_ANSWERED ?
		answer->status : 0;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 answer->text);
	mse_item_keep_answer(item, answer->body, answer->body_len);
	endpoint->last_outcome = mse_outcome_name(answer->outcome);
	snprintf(endpoint->last_error, sizeof(endpoint->last_error), "%s",
		 answer->text);
}

static void on_answer(struct mse_item *item, const struct mse_answer *answer)
{
	struct mse_endpoint *endpoint = item->endpoint;
	int64_t now = mse_deliver_mono(endpoint->deliver), hold_ms;
	bool success = mse_answer_judge(answer, &hold_ms) ==
		MSE_VERDICT_SUCCESS;

	mse_endpoint_tick(endpoint);
	land(item);
	endpoint->deliver->again = true;
	if (item->origin == MSE_ITEM_TEST) {
		log_attempt(item, answer, success, "");
		item->test_done(&item->sending->request, answer,
				item->test_context);
		mse_item_free(&item);
		return;
	}
	mse_counters_attempt(&endpoint->counters, answer,
			     mse_deliver_wall(endpoint->deliver));
	if (item->origin == MSE_ITEM_REPLAY) {
		on_replay(item, answer, success);
		return;
	}
	if (item->probe)
		endpoint->probing = false;
	count_answer(item, answer, now);
	item->probe = false;
	mse_sending_free(&item->sending);
	item->lane->busy--;
	if (answer->outcome != MSE_OUTCOME_CANCELLED)
		mse_gap_attempted(item->lane, endpoint);
	on_judged(item, answer, now);
	mse_endpoint_tick(endpoint);
}

static void request_done(struct mse_request *request,
			 const struct mse_answer *answer)
{
	on_answer(request->context, answer);
}

static enum mse_request_kind request_kind(const struct mse_item *item)
{
	switch (item->origin) {
	case MSE_ITEM_REPLAY:
		return MSE_REQUEST_REPLAY;
	case MSE_ITEM_TEST:
		return MSE_REQUEST_TEST;
	case MSE_ITEM_FRESH:
	case MSE_ITEM_PARKED:
		break;
	}
	return MSE_REQUEST_LIVE;
}

static int post(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_body_context context = {
		.server_name = mse_deliver_server_name(deliver),
		.server_fqdn = deliver->server_fqdn,
		.stream = endpoint->cursor.stream,
		.sequence = item->sequence
	};
	struct mse_body body;

	mse_body_init(&body, endpoint->conf->format, BODY_MAX);
	mse_body_add(&body, endpoint->conf, &context, &item->record);
	if (mse_body_end(&body) < 0) {
		mse_body_clear(&body);
		return -1;
	}
	if (mse_sending_new(endpoint->conf, &body, item->record.id,
			    request_kind(item), mse_endpoint_floor(endpoint),
			    mse_deliver_wall(deliver), &item->sending) < 0)
		return -1;
	item->sending->request.done = request_done;
	item->sending->request.context = item;
	return deliver->parts.transport->post(deliver->parts.transport,
					      &item->sending->request);
}

void mse_endpoint_send(struct mse_item *item, bool probe)
{
	struct mse_answer answer = {
		.outcome = MSE_OUTCOME_LOCAL,
		.retry_after_s = -1,
		.text = "the request could not be made (memory?)",
		.body = ""
	};

	item->probe = probe;
	item->state = MSE_ITEM_SENDING;
	fly(item);
	if (post(item) == 0)
		return;
	if (item->sending == NULL)
		item->sending = calloc(1, sizeof(*item->sending));
	on_answer(item, &answer);
}

/* The lane's next event. */
static void go(struct mse_endpoint *endpoint, struct mse_lane *lane,
	       bool probe, int64_t now)
{
	struct mse_item *item = lane->first;

	if (probe)
		endpoint->probing = true;
	mse_rate_take(&endpoint->rate, endpoint->conf->rate, now);
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
		if (lane->busy == 0 && (lane->parked > 0 ?
					lane->head.sequence != 0 :
					lane->first != NULL)) {
			go(endpoint, lane, true, now);
			return;
		}
	}
}

static void send_due(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_lane *lane;

	while (mse_endpoint_may_send(endpoint) &&
	       mse_rate_at(&endpoint->rate, endpoint->conf->rate, now) <= now) {
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

/* Filters may change, or the endpoint leave, once the window is empty: what
   cannot be answered now is parked. */
static void settle(struct mse_endpoint *endpoint)
{
	mse_endpoint_tick(endpoint);
	if (endpoint->leaving || endpoint->breaker.open ||
	    endpoint->cursor.paused || endpoint->cursor.disabled)
		mse_window_park(endpoint, true);
	if (endpoint->first != NULL || endpoint->gap_jobs > 0 ||
	    endpoint->next_conf == NULL)
		return;
	endpoint->conf = endpoint->next_conf;
	endpoint->next_conf = NULL;
	endpoint->settling = endpoint->leaving;
	memcpy(endpoint->cursor.filters, endpoint->conf->filters,
	       sizeof(endpoint->cursor.filters));
	endpoint->cursor_dirty = true;
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
	    endpoint->cursor.disabled || endpoint->in_flight +
	    endpoint->fetching >= endpoint->conf->concurrency)
		return at;
	if (endpoint->breaker.open) {
		if (!endpoint->probing && first != NULL)
			due = endpoint->breaker.probe_at_ms;
	} else if (first != NULL) {
		due = first->due_ms;
	}
	if (due == INT64_MAX)
		return at;
	rate = mse_rate_at(&endpoint->rate, endpoint->conf->rate, now);
	if (due < rate)
		due = rate;
	if (due < endpoint->hold_until_ms)
		due = endpoint->hold_until_ms;
	return earlier(at, due);
}

int64_t mse_endpoint_run(struct mse_endpoint *endpoint)
{
	int64_t now = mse_deliver_mono(endpoint->deliver);

	mse_endpoint_tick(endpoint);
	mse_jobs_retry(endpoint, now);
	if (mse_window_read(endpoint, now))
		endpoint->deliver->again = true;
	send_due(endpoint, now);
	if (endpoint->followers)
		mse_window_park(endpoint, false);
	endpoint->waiting = endpoint->followers && !endpoint->breaker.open &&
		endpoint->parked_octets >=
		endpoint->deliver->conf->journal_limit / 4;
	if (endpoint->settling)
		settle(endpoint);
	mse_cursor_commit(endpoint, now);
	return next_time(endpoint, now);
}

void mse_endpoint_free(struct mse_endpoint **_endpoint)
{
	struct mse_endpoint *endpoint = *_endpoint;
	struct mse_item *item;
	struct mse_job *job;

	*_endpoint = NULL;
	if (endpoint == NULL)
		return;
	while ((job = endpoint->failed_jobs) != NULL) {
		endpoint->failed_jobs = job->next_failed;
		mse_job_free(job);
	}
	mse_journal_reader_free(&endpoint->reader);
	while ((item = endpoint->first) != NULL) {
		endpoint->first = item->next;
		mse_item_free(&item);
	}
	mse_lanes_clear(&endpoint->lanes);
	free(endpoint->taken);
	free(endpoint->skip);
	free(endpoint->unannounced);
	free(endpoint->name);
	free(endpoint);
}
