/*
 * One event's attempt, and what follows from its answer.
 *
 * A fresh event that fails is parked (parked.c) unless the endpoint refuses
 * everything: with the breaker open it stays where it is, uncounted.
 */
#include "deliver/endpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOT_YET_MS 5000
/* The largest record, wrapped. */
#define BODY_MAX (MSE_RECORD_MAX + (size_t)64 * 1024)

void mse_attempt_log(const struct mse_item *item,
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

bool mse_attempt_count(struct mse_endpoint *endpoint, struct mse_head *tries)
{
	if (endpoint->breaker.open)
		return false;
	if (tries->attempts++ == 0)
		tries->used_ms = 0;
	else
		tries->used_ms += endpoint->usable_ms - tries->since;
	tries->since = endpoint->usable_ms;
	return true;
}

void mse_attempt_backoff(struct mse_endpoint *endpoint,
			 const struct mse_head *tries, int64_t now,
			 struct mse_sequel *sequel_r)
{
	const struct mse_conf_endpoint *conf = endpoint->conf;
	int64_t delay;

	delay = mse_backoff_ms(conf->retry_first_ms, conf->retry_max_ms,
			       tries->attempts,
			       mse_deliver_random(endpoint->deliver));
	sequel_r->at_ms = now + delay;
	snprintf(sequel_r->text, sizeof(sequel_r->text),
		 "next attempt in %" PRId64 " s", (delay + 999) / 1000);
}

bool mse_attempt_hold(struct mse_endpoint *endpoint, struct mse_head *tries,
		      int64_t hold_ms, int64_t now,
		      struct mse_sequel *sequel_r)
{
	bool others = tries->answered_at_hold != endpoint->answered;
	int64_t extra;

	if (now + hold_ms > endpoint->hold_until_ms)
		endpoint->hold_until_ms = now + hold_ms;
	tries->answered_at_hold = endpoint->answered;
	if (tries->holds > 0 && others)
		return false;
	/* Others first, the next time. */
	extra = tries->holds++ < 10 ? tries->holds * 100 : 1000;
	sequel_r->at_ms = now + hold_ms + extra;
	snprintf(sequel_r->text, sizeof(sequel_r->text),
		 "the endpoint waits %" PRId64 " s as asked", hold_ms / 1000);
	return true;
}

/* Not before a number given now is certainly new, and a Gap out of the
   journal only as a row, which dies without a further Gap. */
bool mse_attempt_may_give_up(const struct mse_item *item)
{
	const struct mse_endpoint *endpoint = item->endpoint;

	return item->tries.used_ms >= endpoint->conf->give_up_ms &&
		item->tries.attempts > 1 && endpoint->caught_up &&
		(!item->gap || item->origin == MSE_ITEM_PARKED);
}

static void give_up(struct mse_item *item, int64_t now)
{
	if (mse_gap_die(item, MSE_ROW_DEAD, MSE_GIVEN_UP) < 0)
		put_back(item, now + NOT_YET_MS);
}

static void on_failure(struct mse_item *item, const struct mse_answer *answer,
		       int64_t now)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_sequel next;

	if (!mse_attempt_count(endpoint, &item->tries)) {
		mse_attempt_log(item, answer, false,
				"the endpoint accepts nothing: waiting");
		put_back(item, 0);
		return;
	}
	if (mse_attempt_may_give_up(item)) {
		mse_attempt_log(item, answer, false,
				"given up, dead letter");
		give_up(item, now);
		return;
	}
	mse_attempt_backoff(endpoint, &item->tries, now, &next);
	mse_attempt_log(item, answer, false, next.text);
	item->lane->not_before_ms = next.at_ms;
	if (item->origin == MSE_ITEM_PARKED) {
		mse_parked_failed(item);
		return;
	}
	item->state = MSE_ITEM_WAITING;
	endpoint->followers = true;
	if (!mse_endpoint_may_park(endpoint) || mse_parked_park(item) < 0)
		mse_endpoint_update_lane(endpoint, item->lane);
}

static void on_hold(struct mse_item *item, const struct mse_answer *answer,
		    int64_t hold_ms, int64_t now)
{
	struct mse_sequel next;

	if (!mse_attempt_hold(item->endpoint, &item->tries, hold_ms, now,
			      &next)) {
		on_failure(item, answer, now);
		return;
	}
	mse_attempt_log(item, answer, false, next.text);
	put_back(item, next.at_ms);
}

static void on_disable(struct mse_item *item, const struct mse_answer *answer)
{
	mse_attempt_log(item, answer, false, MSE_GONE);
	put_back(item, 0);
}

static void on_judged(struct mse_item *item, const struct mse_answer *answer,
		      enum mse_verdict verdict, int64_t hold_ms)
{
	struct mse_endpoint *endpoint = item->endpoint;
	int64_t now = mse_deliver_mono(endpoint->deliver);

	switch (verdict) {
	case MSE_VERDICT_SUCCESS:
		mse_attempt_log(item, answer, true, "");
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

static void keep_failure(struct mse_item *item,
			 const struct mse_answer *answer,
			 enum mse_verdict verdict)
{
	if (verdict == MSE_VERDICT_SUCCESS || verdict == MSE_VERDICT_NOTHING)
		return;
	item->last_status = answer->outcome == MSE_OUTCOME_ANSWERED ?
		answer->status : 0;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 answer->text);
	mse_item_keep_answer(item, answer->body, answer->body_len);
}

static void on_test(struct mse_item *item, const struct mse_answer *answer)
{
	/* There was no memory for one. */
	static const struct mse_request unmade = { .url = "", .body = "" };
	int64_t hold_ms;
	enum mse_verdict verdict = mse_answer_judge(answer, &hold_ms);
	bool gone = verdict == MSE_VERDICT_DISABLE;

	mse_attempt_log(item, answer, verdict == MSE_VERDICT_SUCCESS,
			gone ? MSE_GONE : "");
	/* It means the receiver, whatever it was asked with. */
	if (gone)
		mse_flight_gone(item->endpoint, answer);
	item->test_done(item->flight.sending != NULL ?
			&item->flight.sending->request : &unmade, answer,
			item->test_context);
	mse_item_free(&item);
}

static void landed(struct mse_flight *flight, const struct mse_answer *answer)
{
	struct mse_item *item = (struct mse_item *)flight;
	struct mse_endpoint *endpoint = item->endpoint;
	enum mse_verdict verdict;
	int64_t hold_ms;

	if (item->origin == MSE_ITEM_TEST) {
		on_test(item, answer);
		return;
	}
	/* Of the endpoint's health it says nothing but that it is gone:
	   somebody asked for it. */
	if (item->replay != NULL) {
		mse_replay_answer(item, answer);
		return;
	}
	verdict = mse_flight_judge(flight, answer, 1, &hold_ms);
	keep_failure(item, answer, verdict);
	flight->probe = false;
	mse_sending_free(&flight->sending);
	item->lane->busy--;
	if (answer->outcome != MSE_OUTCOME_CANCELLED)
		mse_gap_attempted(item->lane, endpoint);
	on_judged(item, answer, verdict, hold_ms);
	mse_endpoint_tick(endpoint);
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

void mse_attempt_body(const struct mse_endpoint *endpoint,
		      const struct mse_record *record, uint64_t sequence,
		      struct mse_body *body_r)
{
	struct mse_body_context context;

	mse_deliver_body_context(endpoint, sequence, &context);
	mse_body_init(body_r, endpoint->conf->format, BODY_MAX);
	mse_body_add(body_r, endpoint->conf, &context, record);
}

void mse_endpoint_send(struct mse_item *item, bool probe)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_body body;

	mse_attempt_body(endpoint, &item->record, item->sequence, &body);
	item->state = MSE_ITEM_SENDING;
	item->flight.endpoint = endpoint;
	item->flight.landed = landed;
	mse_flight_start(&item->flight, &body, item->record.id,
			 request_kind(item), probe);
}
