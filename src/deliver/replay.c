/*
 * Sending again, beside the live cursor (replay.h).
 *
 * Events (replay-read.c) wait in lanes of the replay's own. A refused one is
 * tried ATTEMPTS times (a dead letter once); after that its owner's next events
 * have one attempt each until one is accepted, so that an owner whose every
 * event is refused costs one request an event.
 *
 * Invariant: a replay belongs to its endpoint's list until it ended, and to
 * whoever holds it; it is freed when neither has it and nothing of it is out,
 * neither a request nor a job of the ledger.
 */
#include "deliver/replay-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/answer.h"

#define REPLAYS_MAX 4           /* of an endpoint */
#define ATTEMPTS 3
#define RETRY_MAX_MS 60000
#define OUTAGE_MAX_MS ((int64_t)15 * 60000)

void mse_replay_free_if_done(struct mse_replay *replay)
{
	if (replay->held || replay->running || replay->endpoint != NULL ||
	    replay->in_flight > 0 || replay->page != NULL)
		return;
	mse_lanes_clear(&replay->lanes);
	mse_pick_clear(&replay->pick);
	free(replay);
}

static void forget_item(struct mse_replay *replay, struct mse_item *item)
{
	struct mse_lane *lane = item->lane;

	mse_lane_take(lane, item);
	replay->waiting_count--;
	replay->waiting_octets -= item->len;
	mse_item_free(&item);
	if (lane->first == NULL && lane->busy == 0)
		mse_lanes_remove(&replay->lanes, lane);
}

/* What waits goes; what is out comes back and is forgotten then. */
static void forget_waiting(struct mse_replay *replay)
{
	struct mse_lane *lane, *next;
	struct mse_item *item, *following;
	size_t left = replay->lanes.count;

	for (lane = replay->lanes.ring; left > 0; left--, lane = next) {
		next = lane->next;
		mse_lanes_unwait(&replay->lanes, lane);
		for (item = lane->first; item != NULL; item = following) {
			following = item->lane_next;
			if (item->state == MSE_ITEM_WAITING)
				forget_item(replay, item);
		}
	}
}

/* Every event of an earlier time was answered, or given up and told. */
static int64_t resume_ms(const struct mse_replay *replay)
{
	const struct mse_lane *lane = replay->lanes.ring;
	const struct mse_item *item;
	int64_t at = replay->last_read_ms;
	size_t i;

	for (i = 0; i < replay->lanes.count; i++, lane = lane->next) {
		for (item = lane->first; item != NULL; item = item->lane_next) {
			if (item->record.time_ms < at)
				at = item->record.time_ms;
		}
	}
	return at;
}

void mse_replay_end(struct mse_replay *replay, const char *problem)
{
	struct mse_replay **p;

	if (replay->endpoint == NULL)
		return;
	for (p = &replay->endpoint->replays; *p != replay; p = &(*p)->next)
		;
	*p = replay->next;
	replay->problem = problem;
	replay->resume_ms = resume_ms(replay);
	replay->endpoint = NULL;
	mse_journal_reader_free(&replay->reader);
	forget_waiting(replay);
	mse_replay_free_if_done(replay);
}

void mse_replay_end_all(struct mse_endpoint *endpoint, const char *problem)
{
	while (endpoint->replays != NULL)
		mse_replay_end(endpoint->replays, problem);
}

void mse_deliver_replay_leave(struct mse_replay **_replay)
{
	struct mse_replay *replay = *_replay;

	*_replay = NULL;
	if (replay == NULL)
		return;
	replay->held = false;
	replay->failed_one = NULL;
	mse_replay_free_if_done(replay);
}

void mse_deliver_replay_end(struct mse_replay **replay)
{
	if (*replay != NULL && (*replay)->endpoint != NULL)
		mse_replay_end(*replay, NULL);
	mse_deliver_replay_leave(replay);
}

static unsigned int all_in_flight(const struct mse_endpoint *endpoint)
{
	const struct mse_replay *replay;
	unsigned int count = 0;

	for (replay = endpoint->replays; replay != NULL;
	     replay = replay->next)
		count += replay->in_flight;
	return count;
}

/* Why nothing may be sent, and until when that is known to last. */
static const char *held_up(const struct mse_replay *replay, int64_t now,
			   int64_t *until_r)
{
	const struct mse_endpoint *endpoint = replay->endpoint;

	*until_r = INT64_MAX;
	if (endpoint->cursor.paused)
		return "the endpoint is paused";
	if (endpoint->cursor.disabled)
		return "the endpoint is disabled";
	if (endpoint->breaker.open)
		return "the endpoint accepts nothing";
	if (replay->breaker.open && (replay->in_flight > 0 ||
				     now < replay->breaker.probe_at_ms)) {
		if (replay->in_flight == 0)
			*until_r = replay->breaker.probe_at_ms;
		return "the endpoint accepts nothing";
	}
	*until_r = endpoint->hold_until_ms > replay->hold_until_ms ?
		endpoint->hold_until_ms : replay->hold_until_ms;
	return now < *until_r ? "the endpoint asked to wait (Retry-After)" :
		NULL;
}

static bool may_send(const struct mse_replay *replay, int64_t now)
{
	const struct mse_endpoint *endpoint = replay->endpoint;
	int64_t until;

	return held_up(replay, now, &until) == NULL &&
		mse_endpoint_may_send(endpoint) &&
		all_in_flight(endpoint) <
		(endpoint->conf->concurrency + 1) / 2 &&
		mse_rate_at(&endpoint->rate, mse_handshake_rate(endpoint),
			    now) <= now;
}

bool mse_replay_waits(const struct mse_endpoint *endpoint, int64_t now)
{
	const struct mse_replay *replay = endpoint->replays;
	const struct mse_lane *first;
	int64_t until;

	if (all_in_flight(endpoint) > 0)
		return false;
	for (; replay != NULL; replay = replay->next) {
		first = mse_lanes_first(&replay->lanes);
		if (first != NULL && first->due_ms <= now &&
		    held_up(replay, now, &until) == NULL)
			return true;
	}
	return false;
}

static void send_due(struct mse_replay *replay, int64_t now)
{
	struct mse_endpoint *endpoint = replay->endpoint;
	struct mse_lane *lane;

	/* A request that cannot even be made ends in here. */
	while (replay->endpoint != NULL && may_send(replay, now)) {
		lane = mse_lanes_first(&replay->lanes);
		if (lane == NULL || lane->due_ms > now)
			return;
		mse_rate_take(&endpoint->rate, mse_handshake_rate(endpoint),
			      now);
		endpoint->live_in_a_row = 0;
		lane->busy++;
		mse_lanes_unwait(&replay->lanes, lane);
		replay->in_flight++;
		mse_endpoint_send(lane->first, replay->breaker.open);
	}
}

static int64_t next_time(const struct mse_replay *replay, int64_t now)
{
	const struct mse_endpoint *endpoint = replay->endpoint;
	const struct mse_lane *first = mse_lanes_first(&replay->lanes);
	int64_t at, until;

	if (first == NULL || all_in_flight(endpoint) >=
	    (endpoint->conf->concurrency + 1) / 2)
		return INT64_MAX;
	at = mse_rate_at(&endpoint->rate, mse_handshake_rate(endpoint), now);
	if (at < first->due_ms)
		at = first->due_ms;
	if (held_up(replay, now, &until) != NULL && at < until)
		at = until;
	return at > now ? at : INT64_MAX;
}

static void run(struct mse_replay *replay, int64_t now, int64_t *at)
{
	int64_t next;

	if (!mse_replay_read(replay))
		return;
	send_due(replay, now);
	if (replay->endpoint == NULL)
		return;
	if (replay->read_all && replay->lanes.count == 0 &&
	    replay->in_flight == 0) {
		mse_replay_end(replay, NULL);
		return;
	}
	if (replay->breaker.open &&
	    now - replay->opened_at_ms >= OUTAGE_MAX_MS) {
		mse_replay_end(replay, "the endpoint has accepted nothing for "
			       "a quarter of an hour");
		return;
	}
	next = next_time(replay, now);
	if (next < *at)
		*at = next;
}

int64_t mse_replay_run(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_replay *replay, *next;
	int64_t at = INT64_MAX;

	if (endpoint->deliver->stopping)
		mse_replay_end_all(endpoint, "mailhookd is stopping");
	else if (endpoint->leaving)
		mse_replay_end_all(endpoint,
				   "the endpoint is no longer configured");
	for (replay = endpoint->replays; replay != NULL; replay = next) {
		next = replay->next;
		replay->running = true;
		run(replay, now, &at);
		replay->running = false;
		mse_replay_free_if_done(replay);
	}
	return at;
}

/* The event is done with, in one way or the other. */
static void leave(struct mse_replay *replay, struct mse_item *item)
{
	struct mse_lane *lane = item->lane;

	if (item->lane_next != NULL)
		mse_lanes_wait(&replay->lanes, lane, 0);
	forget_item(replay, item);
}

static void redied(struct mse_job *job)
{
	const struct mse_row_copy *copy = &job->rows[0];

	if (copy->was_dead)
		mse_endpoint_redied(job->endpoint, copy->status_before,
				    copy->row.last_status);
}

static void still_dead(struct mse_item *item)
{
	struct mse_job *job = mse_job_new(item->endpoint, NULL, NULL, redied);
	struct mse_ledger_row row;

	mse_parked_row(item, MSE_ROW_DEAD, &row);
	row.record = NULL;
	if (job == NULL || mse_job_add_row(job, MSE_OP_REDIE, &row) < 0) {
		mse_job_free(job);
		return;
	}
	mse_job_submit(job);
}

static void tell_failed(struct mse_replay *replay,
			const struct mse_item *item)
{
	replay->failed++;
	if (replay->failed_one != NULL)
		replay->failed_one(item->record.id, item->record.type_name,
				   item->record.owner, item->last_status,
				   item->last_error, replay->context);
}

static void on_refused(struct mse_replay *replay, struct mse_item *item,
		       const struct mse_answer *answer, bool probe,
		       int64_t now)
{
	struct mse_endpoint *endpoint = replay->endpoint;
	const struct mse_conf_endpoint *conf = endpoint->conf;
	struct mse_lane *lane = item->lane;
	bool counts = !replay->breaker.open;
	int64_t delay;

	if (mse_breaker_failure(&replay->breaker, probe, now,
				conf->retry_first_ms, conf->retry_max_ms,
				mse_deliver_random(endpoint->deliver)))
		replay->opened_at_ms = now;
	if (!counts) {
		/* Others first, at the next probe. */
		mse_lanes_wait(&replay->lanes, lane, now);
		return;
	}
	item->last_status = answer->outcome == MSE_OUTCOME_ANSWERED ?
		answer->status : 0;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 answer->text);
	mse_item_keep_answer(item, answer->body, answer->body_len);
	item->tries.attempts++;
	/* A lane's head is nobody's here: it says that the event before was
	   refused to the end. */
	if (!replay->dead && !lane->head.gap &&
	    item->tries.attempts < ATTEMPTS) {
		delay = mse_backoff_ms(conf->retry_first_ms,
				       conf->retry_max_ms < RETRY_MAX_MS ?
				       conf->retry_max_ms : RETRY_MAX_MS,
				       item->tries.attempts,
				       mse_deliver_random(endpoint->deliver));
		mse_lanes_wait(&replay->lanes, lane, now + delay);
		return;
	}
	if (replay->dead)
		still_dead(item);
	lane->head.gap = true;
	tell_failed(replay, item);
	leave(replay, item);
}

static void on_judged(struct mse_replay *replay, struct mse_item *item,
		      const struct mse_answer *answer,
		      enum mse_verdict verdict, int64_t hold_ms, bool probe,
		      int64_t now)
{
	switch (verdict) {
	case MSE_VERDICT_SUCCESS:
		replay->answered++;
		(void)mse_breaker_success(&replay->breaker);
		item->lane->head.gap = false;
		leave(replay, item);
		break;
	case MSE_VERDICT_RETRY:
		on_refused(replay, item, answer, probe, now);
		break;
	case MSE_VERDICT_HOLD:
		if (now + hold_ms > replay->hold_until_ms)
			replay->hold_until_ms = now + hold_ms;
		mse_lanes_wait(&replay->lanes, item->lane, now);
		break;
	case MSE_VERDICT_DISABLE:
		mse_lanes_wait(&replay->lanes, item->lane, now);
		mse_replay_end(replay, "the endpoint answered 410 Gone and is "
			       "disabled until resumed");
		break;
	case MSE_VERDICT_NOTHING:
		mse_lanes_wait(&replay->lanes, item->lane, now);
		break;
	}
}

static const char *what_follows(const struct mse_replay *replay,
				enum mse_verdict verdict)
{
	if (verdict == MSE_VERDICT_DISABLE)
		return MSE_GONE;
	if (!replay->dead)
		return "replay";
	return verdict == MSE_VERDICT_SUCCESS ? "dead letter answered" :
		"stays a dead letter";
}

void mse_replay_answer(struct mse_item *item, const struct mse_answer *answer)
{
	int64_t now = mse_deliver_mono(item->endpoint->deliver), hold_ms;
	struct mse_replay *replay = item->replay;
	enum mse_verdict verdict = mse_answer_judge(answer, &hold_ms);
	bool probe = item->flight.probe;

	mse_attempt_log(item, answer, verdict == MSE_VERDICT_SUCCESS,
			what_follows(replay, verdict));
	/* Also of a replay that ended meanwhile: it was answered. */
	if (replay->dead && verdict == MSE_VERDICT_SUCCESS)
		mse_replay_answered(item);
	if (verdict == MSE_VERDICT_DISABLE)
		mse_flight_gone(item->endpoint, answer);
	item->flight.probe = false;
	item->state = MSE_ITEM_WAITING;
	mse_sending_free(&item->flight.sending);
	item->lane->busy--;
	replay->in_flight--;
	if (replay->endpoint != NULL) {
		on_judged(replay, item, answer, verdict, hold_ms, probe, now);
		return;
	}
	forget_item(replay, item);
	mse_replay_free_if_done(replay);
}

unsigned int mse_replay_count(const struct mse_endpoint *endpoint)
{
	const struct mse_replay *replay;
	unsigned int count = 0;

	for (replay = endpoint->replays; replay != NULL;
	     replay = replay->next)
		count++;
	return count;
}

int mse_deliver_replay(struct mse_deliver *deliver,
		       struct mse_replay_options *options,
		       struct mse_replay **replay_r,
		       struct mse_error *error_r)
{
	struct mse_endpoint *endpoint =
		mse_deliver_find(deliver, options->endpoint, error_r);
	struct mse_replay *replay;

	if (endpoint == NULL)
		return -1;
	if (deliver->stopping)
		return mse_error_set(error_r, "mailhookd is stopping");
	if (mse_replay_count(endpoint) >= REPLAYS_MAX)
		return mse_error_set(error_r, "endpoint %s is sent %d replays "
				     "already: wait for one to end or end one",
				     endpoint->name, REPLAYS_MAX);
	replay = calloc(1, sizeof(*replay));
	if (replay == NULL)
		return mse_error_set(error_r, "out of memory");
	replay->endpoint = endpoint;
	replay->dead = options->dead;
	replay->dry_run = options->dry_run;
	if (!replay->dead &&
	    mse_replay_find_span(replay, &options->start) < 0) {
		mse_journal_reader_free(&replay->reader);
		free(replay);
		return mse_error_set(error_r, "out of memory");
	}
	replay->pick = options->pick;
	memset(&options->pick, 0, sizeof(options->pick));
	replay->failed_one = options->failed;
	replay->context = options->context;
	replay->held = replay_r != NULL;
	replay->next = endpoint->replays;
	endpoint->replays = replay;
	deliver->again = true;
	if (replay_r != NULL)
		*replay_r = replay;
	return 0;
}

void mse_deliver_replay_progress(const struct mse_replay *replay,
				 struct mse_replay_progress *progress_r)
{
	const char *waiting = NULL;
	int64_t until;

	memset(progress_r, 0, sizeof(*progress_r));
	if (replay->endpoint != NULL)
		waiting = held_up(replay, mse_deliver_mono(
			replay->endpoint->deliver), &until);
	progress_r->read_octets = replay->read_octets;
	progress_r->total_octets = replay->total_octets;
	progress_r->found = replay->found;
	progress_r->answered = replay->answered;
	progress_r->failed = replay->failed;
	progress_r->in_flight = replay->in_flight;
	progress_r->waiting = waiting != NULL ? waiting : "";
	if (!replay->dead)
		progress_r->resume_ms = replay->endpoint != NULL ?
			resume_ms(replay) : replay->resume_ms;
	progress_r->ended = replay->endpoint == NULL;
	progress_r->problem = replay->problem != NULL ? replay->problem : "";
}
