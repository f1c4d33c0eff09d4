/*
 * What follows from a batch's answer.
 *
 * Refused for its content it is halved at once; failing again while the
 * endpoint accepts others (or while there is nobody else to ask), too: a
 * poison event ends up alone. A failure that is not its own fault, its first
 * one, makes its events rows and leaves it one batch.
 *
 * Invariant: what becomes of its events and of its line in the ledger is one
 * transaction, and no lane goes on before that.
 */
#include "deliver/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_YET_MS 5000

static void log_attempt(const struct mse_batch *batch,
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
	mse_deliver_log(batch->endpoint->deliver,
			success ? MSE_LOG_INFO : MSE_LOG_WARNING,
			"endpoint %s: batch %s of %u events, sequence %" PRIu64
			" to %" PRIu64 ", %s in %" PRId64 " ms%s%s",
			batch->endpoint->name, batch->id, batch->count,
			batch->members[0].sequence,
			batch->members[batch->count - 1].sequence, outcome,
			answer->elapsed_ms, *next != '\0' ? "; " : "", next);
}

static void keep_failure(struct mse_batch *batch,
			 const struct mse_answer *answer)
{
	size_t len = answer->body_len;

	batch->failures++;
	batch->last_status = answer->outcome == MSE_OUTCOME_ANSWERED ?
		answer->status : 0;
	snprintf(batch->last_error, sizeof(batch->last_error), "%s",
		 answer->text);
	free(batch->answer);
	batch->answer = NULL;
	batch->answer_len = 0;
	if (len > MSE_LEDGER_ANSWER_MAX)
		len = MSE_LEDGER_ANSWER_MAX;
	if (len > 0)
		batch->answer = malloc(len);
	if (batch->answer == NULL)
		return;
	memcpy(batch->answer, answer->body, len);
	batch->answer_len = len;
}

/* -- answered */

static void answered_fresh(struct mse_batch *batch)
{
	unsigned int i;

	mse_batch_keep_line(batch);
	for (i = 0; i < batch->count; i++) {
		mse_lane_take(batch->members[i].lane, batch->members[i].item);
		mse_window_resolved(batch->members[i].item);
	}
	mse_batch_release(batch);
	mse_batch_free(&batch);
}

static void answered_done(struct mse_job *job)
{
	struct mse_batch *batch = mse_batch_job_subject(job);
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_lane *lane;
	unsigned int i;

	endpoint->parked -= batch->count;
	endpoint->parked_octets -= batch->octets < endpoint->parked_octets ?
		batch->octets : endpoint->parked_octets;
	endpoint->floor_dirty = true;
	for (i = 0; i < batch->count; i++) {
		lane = batch->members[i].lane;
		lane->parked--;
		lane->resolving--;
		lane->head.sequence = 0;
		lane->not_before_ms = 0;
	}
	for (i = 0; i < batch->lane_count; i++) {
		/* It has nothing to send until its next row is known. */
		if (batch->lanes[i]->parked > 0)
			mse_parked_next(endpoint, batch->lanes[i]);
	}
	mse_batch_release(batch);
	mse_batch_free(&batch);
}

static void store(struct mse_batch *batch, struct mse_job *job)
{
	batch->state = MSE_BATCH_STORING;
	mse_endpoint_update_lane(batch->endpoint, batch->own);
	mse_job_submit(job);
}

static void out_of_memory(struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;

	mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
			"endpoint %s: out of memory", endpoint->name);
	mse_batch_wait(batch, mse_deliver_mono(endpoint->deliver) +
		       NOT_YET_MS);
}

static void answered(struct mse_batch *batch)
{
	struct mse_job *job;
	unsigned int i;

	if (!batch->parked) {
		answered_fresh(batch);
		return;
	}
	job = mse_batch_job(batch->endpoint, batch, batch->id, NULL, 0, batch,
			    MSE_BATCH_ROWS_ANSWERED, answered_done);
	if (job == NULL) {
		/* It will be sent once more. */
		out_of_memory(batch);
		return;
	}
	for (i = 0; i < batch->count; i++)
		batch->members[i].lane->resolving++;
	store(batch, job);
}

/* -- rows */

static void parked(struct mse_job *job)
{
	struct mse_batch *batch = mse_batch_job_subject(job);
	struct mse_member *member;
	struct mse_lane *lane;
	unsigned int i;

	for (i = 0; i < batch->count; i++) {
		member = &batch->members[i];
		mse_window_resolved(member->item);
		member->item = NULL;
	}
	/* Of one event nothing but the row stays. */
	batch->parked = batch->count > 1;
	batch->state = MSE_BATCH_GATHERING;
	mse_batch_release(batch);
	for (i = 0; i < batch->count; i++) {
		lane = batch->members[i].lane;
		mse_parked_lower(lane, batch->members[i].sequence);
		mse_batch_overtaken(lane);
		/* Where the rows in front were answered meanwhile, and nothing
		   was found behind them. */
		if (lane->head.sequence == 0 && lane->busy == 0)
			mse_parked_next(batch->endpoint, lane);
		else
			mse_endpoint_update_lane(batch->endpoint, lane);
	}
	if (!batch->parked)
		mse_batch_free(&batch);
}

/* What one of its fresh events has behind it: what it had before it was put
   into this batch, and the batch's own. */
static struct mse_head tries_of(const struct mse_batch *batch,
				const struct mse_item *item)
{
	struct mse_head tries = batch->tries;

	tries.attempts += item->tries.attempts;
	tries.used_ms += item->tries.used_ms;
	return tries;
}

/* One of its events is a row from now on. */
static void becomes_row(struct mse_batch *batch, struct mse_member *member,
			int64_t parked_at_ms)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_item *item = member->item;
	struct mse_lane *lane = member->lane;

	item->state = MSE_ITEM_PARKING;
	mse_lane_take(lane, item);
	item->tries = tries_of(batch, item);
	item->tries.sequence = item->sequence;
	item->tries.gap = item->gap;
	item->tries.parked_at_ms = parked_at_ms;
	memcpy(item->tries.id, item->record.id, MSE_UUID_SIZE);
	if (lane->parked == 0) {
		lane->low = 0;
		mse_parked_set_head(lane, &item->tries);
	}
	mse_parked_lower(lane, item->sequence);
	lane->parked++;
	lane->not_before_ms = batch->own->not_before_ms;
	endpoint->parked++;
	endpoint->parked_octets += item->len;
}

static int add_rows(struct mse_batch *batch, struct mse_job *job)
{
	struct mse_ledger_row row;
	struct mse_head tries;
	struct mse_item *item;
	unsigned int i;

	if (mse_job_reserve(job, batch->count) < 0)
		return -1;
	for (i = 0; i < batch->count; i++) {
		item = batch->members[i].item;
		tries = tries_of(batch, item);
		item->last_status = batch->last_status;
		snprintf(item->last_error, sizeof(item->last_error), "%s",
			 batch->last_error);
		mse_item_keep_answer(item, batch->answer, batch->answer_len);
		mse_parked_row(item, MSE_ROW_PARKED, &row);
		row.attempts = tries.attempts;
		row.used_ms = tries.used_ms;
		if (mse_job_add_row(job, MSE_OP_PUT, &row) < 0)
			return -1;
	}
	return 0;
}

int mse_batch_park(struct mse_batch *batch)
{
	bool one = batch->count == 1;
	struct mse_job *job = mse_batch_job(
		batch->endpoint, batch, one ? batch->id : NULL,
		one ? NULL : &batch, one ? 0 : 1, NULL, MSE_BATCH_ROWS_STAY,
		parked);
	int64_t wall = mse_deliver_wall(batch->endpoint->deliver);
	unsigned int i;

	if (job == NULL || add_rows(batch, job) < 0) {
		mse_job_free(job);
		return -1;
	}
	mse_batch_unprepare(batch);
	for (i = 0; i < batch->count; i++)
		becomes_row(batch, &batch->members[i], wall);
	store(batch, job);
	return 0;
}

/* Rows are in front of some of its events. */
static bool is_behind_rows(const struct mse_batch *batch)
{
	const struct mse_lane *lane;
	unsigned int i;

	for (i = 0; i < batch->count; i++) {
		lane = batch->members[i].lane;
		if (lane->parked > lane->resolving)
			return true;
	}
	return false;
}

/* Nothing fresh is in front of its events, which would be overtaken if they
   became rows. */
static bool is_first(const struct mse_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->count; i++) {
		if (batch->members[i].lane->first->batch != batch)
			return false;
	}
	return true;
}

/* Also behind rows it becomes some, before what is behind it does. */
static bool wants_rows(const struct mse_batch *batch, bool all)
{
	if (batch->state == MSE_BATCH_READY)
		return all || batch->tries.attempts > 0;
	return batch->state == MSE_BATCH_GATHERING && is_behind_rows(batch);
}

bool mse_batch_park_waiting(struct mse_endpoint *endpoint, bool all)
{
	struct mse_batch *batch, *next;
	bool left = false;

	for (batch = endpoint->batches; batch != NULL; batch = next) {
		next = batch->next;
		if (batch->parked)
			continue;
		if (batch->attached < batch->count) {
			/* Its events were not read since the start: they are
			   not waited for. */
			if (all)
				(void)mse_batch_dissolve(batch);
			continue;
		}
		if (!wants_rows(batch, all))
			continue;
		if ((!all && !mse_endpoint_may_park(endpoint)) ||
		    !is_first(batch) || mse_batch_park(batch) < 0)
			left = true;
	}
	return left;
}

/* -- apart */

static struct mse_batch *new_half(struct mse_batch *batch, unsigned int from,
				  unsigned int to)
{
	char id[MSE_UUID_SIZE];
	struct mse_batch *half;
	unsigned int i;

	if (to - from == 1 && !batch->parked)
		memcpy(id, batch->members[from].item->record.id, sizeof(id));
	else
		mse_uuid_make(mse_deliver_wall(batch->endpoint->deliver), id);
	half = mse_batch_new(batch->endpoint, id, to - from);
	if (half == NULL)
		return NULL;
	half->count = half->attached = to - from;
	memcpy(half->members, batch->members + from,
	       half->count * sizeof(*half->members));
	half->state = MSE_BATCH_COMMITTING;
	half->parked = batch->parked;
	half->tries = batch->tries;
	half->failures = batch->failures;
	half->answered_at_failure = batch->endpoint->answered;
	for (i = from; i < to; i++)
		half->digest = mse_batch_add_digest(half->digest,
						    batch->members[i].hash);
	return half;
}

static void row_tries(struct mse_lane *lane, uint64_t sequence,
		      const struct mse_head *tries)
{
	struct mse_head *head = &lane->head;

	if (head->sequence != sequence)
		return;
	if (head->attempts < tries->attempts)
		head->attempts = tries->attempts;
	if (head->used_ms < tries->used_ms)
		head->used_ms = tries->used_ms;
	head->since = tries->since;
}

/* A row alone needs no batch. */
static void settle_row(struct mse_batch *half, int64_t now)
{
	struct mse_member *member = &half->members[0];

	row_tries(member->lane, member->sequence, &half->tries);
	member->lane->not_before_ms = now;
	mse_batch_free(&half);
}

static void begin_half(struct mse_batch *half, int64_t now)
{
	unsigned int i;

	half->own->not_before_ms = now;
	half->state = MSE_BATCH_GATHERING;
	if (half->parked) {
		if (half->count == 1)
			settle_row(half, now);
		return;
	}
	for (i = 0; i < half->count; i++)
		half->members[i].item->batch = half;
}

static void halved(struct mse_job *job)
{
	struct mse_batch *batch = mse_batch_job_subject(job);
	int64_t now = mse_deliver_mono(batch->endpoint->deliver);
	struct mse_batch *first = batch->halves[0], *second = batch->halves[1];

	begin_half(first, now);
	begin_half(second, now);
	/* Its rows are its halves' now. */
	batch->parked = false;
	mse_batch_release(batch);
	mse_batch_free(&batch);
}

static int halve(struct mse_batch *batch)
{
	struct mse_batch **halves = batch->halves, *kept[2];
	unsigned int middle = (batch->count + 1) / 2, i, count = 0;
	struct mse_job *job = NULL;

	halves[0] = new_half(batch, 0, middle);
	halves[1] = halves[0] == NULL ? NULL :
		new_half(batch, middle, batch->count);
	for (i = 0; i < 2 && halves[1] != NULL; i++) {
		if (halves[i]->count > 1 || !batch->parked)
			kept[count++] = halves[i];
	}
	if (halves[1] != NULL)
		job = mse_batch_job(batch->endpoint, batch, batch->id, kept,
				    count, batch->parked ? batch : NULL,
				    MSE_BATCH_ROWS_FAILED, halved);
	if (job == NULL) {
		mse_batch_free(&halves[0]);
		mse_batch_free(&halves[1]);
		return -1;
	}
	store(batch, job);
	return 0;
}

/* What its event has tried stays tried: of a row that is its lane's head it is
   known here, of the others the ledger knows it. */
static void keep_tries(const struct mse_batch *batch,
		       struct mse_member *member)
{
	if (batch->parked)
		row_tries(member->lane, member->sequence, &batch->tries);
	else if (member->item != NULL)
		member->item->tries = tries_of(batch, member->item);
}

bool mse_batch_dissolve(struct mse_batch *batch)
{
	struct mse_item *item;
	unsigned int i;

	if (batch->state != MSE_BATCH_READY &&
	    batch->state != MSE_BATCH_GATHERING)
		return false;
	mse_batch_forget(batch);
	if (batch->attached < batch->count)
		batch->endpoint->restoring--;
	for (i = 0; i < batch->count; i++)
		keep_tries(batch, &batch->members[i]);
	for (i = 0; i < batch->count && !batch->parked; i++) {
		item = batch->members[i].item;
		if (item == NULL)
			continue;
		item->batch = NULL;
		item->state = MSE_ITEM_WAITING;
	}
	/* Nobody looks for it any more. */
	batch->parked = false;
	batch->state = MSE_BATCH_STORING;
	mse_batch_release(batch);
	mse_batch_free(&batch);
	return true;
}

/* -- judging */

/* It waits again, and its tries are remembered. */
static void put_back(struct mse_batch *batch, int64_t not_before_ms)
{
	mse_batch_wait(batch, not_before_ms);
}

/* What is wrong is what it carries, not who sends it or when. */
static bool is_refused(const struct mse_answer *answer)
{
	if (answer->outcome != MSE_OUTCOME_ANSWERED || answer->status < 400 ||
	    answer->status > 499)
		return false;
	return answer->status != 401 && answer->status != 403 &&
		answer->status != 408 && answer->status != 410 &&
		answer->status != 429;
}

static bool is_alone(const struct mse_endpoint *endpoint)
{
	return mse_lanes_first(&endpoint->lanes) == NULL &&
		endpoint->ready_first == NULL && endpoint->in_flight == 0;
}

static bool should_halve(const struct mse_batch *batch,
			 const struct mse_answer *answer)
{
	const struct mse_endpoint *endpoint = batch->endpoint;
	bool refused = is_refused(answer);

	if (batch->count == 1 || (!refused && batch->failures < 2))
		return false;
	if (is_alone(endpoint) ||
	    (batch->failures > 1 &&
	     endpoint->answered != batch->answered_at_failure))
		return true;
	/* A receiver that refuses all is not looked for a culprit. */
	return refused && endpoint->breaker.failures < MSE_BREAKER_FAILURES;
}

/* Its events' rows say how it went, as those of events alone do. */
static void remember(struct mse_batch *batch)
{
	struct mse_job *job = mse_batch_job(
		batch->endpoint, batch, NULL, &batch, 1, batch,
		MSE_BATCH_ROWS_FAILED, mse_job_nothing);

	if (job != NULL)
		mse_job_submit(job);
}

static bool give_up(struct mse_batch *batch)
{
	struct mse_item *item = batch->members[0].item;
	struct mse_head before;

	if (batch->count > 1 || batch->parked)
		return false;
	before = item->tries;
	item->tries = tries_of(batch, item);
	item->last_status = batch->last_status;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 batch->last_error);
	if (!mse_attempt_may_give_up(item) ||
	    mse_gap_die(item, MSE_ROW_DEAD, MSE_GIVEN_UP) < 0) {
		item->tries = before;
		return false;
	}
	item->batch = NULL;
	mse_batch_forget(batch);
	mse_batch_release(batch);
	mse_batch_free(&batch);
	return true;
}

static void on_failure(struct mse_batch *batch,
		       const struct mse_answer *answer, int64_t now)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_sequel next;
	bool counted;

	if (should_halve(batch, answer)) {
		/* Its events' time runs, but looking for the culprit makes
		   nobody wait longer between attempts. */
		if (batch->tries.attempts == 0)
			(void)mse_attempt_count(endpoint, &batch->tries);
		if (halve(batch) == 0) {
			log_attempt(batch, answer, false, "halved");
			return;
		}
	}
	counted = mse_attempt_count(endpoint, &batch->tries);
	batch->answered_at_failure = endpoint->answered;
	if (!counted) {
		log_attempt(batch, answer, false,
			    "the endpoint accepts nothing: waiting");
		put_back(batch, 0);
		return;
	}
	mse_attempt_backoff(endpoint, &batch->tries, now, &next);
	log_attempt(batch, answer, false, next.text);
	if (give_up(batch))
		return;
	batch->own->not_before_ms = next.at_ms;
	/* Also what was read behind its events and is in no batch. */
	endpoint->followers = true;
	if (batch->parked)
		remember(batch);
	else if (mse_endpoint_may_park(endpoint) &&
		 mse_batch_park(batch) == 0)
		return;
	put_back(batch, next.at_ms);
}

static void on_hold(struct mse_batch *batch, const struct mse_answer *answer,
		    int64_t hold_ms, int64_t now)
{
	struct mse_sequel next;

	if (!mse_attempt_hold(batch->endpoint, &batch->tries, hold_ms, now,
			      &next)) {
		on_failure(batch, answer, now);
		return;
	}
	log_attempt(batch, answer, false, next.text);
	put_back(batch, next.at_ms);
}

static void on_disable(struct mse_batch *batch,
		       const struct mse_answer *answer)
{
	log_attempt(batch, answer, false, MSE_GONE);
	put_back(batch, 0);
}

void mse_batch_landed(struct mse_flight *flight,
		      const struct mse_answer *answer)
{
	struct mse_batch *batch = (struct mse_batch *)flight;
	struct mse_endpoint *endpoint = batch->endpoint;
	int64_t now = mse_deliver_mono(endpoint->deliver), hold_ms;
	enum mse_verdict verdict = mse_flight_judge(flight, answer,
						    batch->count, &hold_ms);

	flight->probe = false;
	mse_sending_free(&flight->sending);
	if (verdict != MSE_VERDICT_SUCCESS && verdict != MSE_VERDICT_NOTHING)
		keep_failure(batch, answer);
	switch (verdict) {
	case MSE_VERDICT_SUCCESS:
		log_attempt(batch, answer, true, "");
		answered(batch);
		break;
	case MSE_VERDICT_RETRY:
		on_failure(batch, answer, now);
		break;
	case MSE_VERDICT_HOLD:
		on_hold(batch, answer, hold_ms, now);
		break;
	case MSE_VERDICT_DISABLE:
		on_disable(batch, answer);
		break;
	case MSE_VERDICT_NOTHING:
		put_back(batch, endpoint->deliver->stopping ? 0 :
			 now + NOT_YET_MS);
		break;
	}
	mse_endpoint_tick(endpoint);
}
