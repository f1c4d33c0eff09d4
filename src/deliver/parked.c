/*
 * Rows of the ledger: parking, the next head of a lane.
 *
 * Invariant: an event counts as resolved only once its row is committed.
 */
#include "deliver/endpoint.h"

#include <stdlib.h>
#include <string.h>

#define NOT_YET_MS 1000

void mse_parked_row(const struct mse_item *item, enum mse_row_state state,
		    struct mse_ledger_row *row_r)
{
	int64_t wall = mse_deliver_wall(item->endpoint->deliver);

	memset(row_r, 0, sizeof(*row_r));
	row_r->sequence = item->sequence;
	row_r->state = state;
	row_r->gap = item->gap;
	row_r->id = item->record.id;
	row_r->type = item->record.type == MSE_EVENT_UNKNOWN ?
		item->record.type_name : mse_event_type_name(item->record.type);
	row_r->lane = item->lane != NULL ? item->lane->key : "";
	row_r->attempts = item->tries.attempts;
	row_r->used_ms = item->tries.used_ms;
	row_r->parked_at_ms = item->tries.parked_at_ms != 0 ?
		item->tries.parked_at_ms : wall;
	row_r->changed_at_ms = wall;
	row_r->last_status = item->last_status;
	row_r->last_error = item->last_error;
	row_r->record = item->record.bytes.data;
	row_r->record_len = item->len;
	row_r->answer = item->answer;
	row_r->answer_len = item->answer_len;
}

void mse_parked_set_head(struct mse_lane *lane, const struct mse_head *head)
{
	lane->head = *head;
	if (!head->gap || lane->low == 0)
		lane->low = head->sequence;
}

/* Also while nothing is known of the rows: one may be a Gap, whose number is
   higher. */
void mse_parked_lower(struct mse_lane *lane, uint64_t sequence)
{
	if (lane->low == 0 || lane->low > sequence)
		lane->low = sequence;
}

bool mse_parked_is_overtaken(const struct mse_lane *lane)
{
	return lane->parked > 0 && lane->head.sequence > lane->low &&
		!lane->head.gap;
}

static void park_done(struct mse_job *job)
{
	struct mse_lane *lane = job->lane;
	struct mse_item *item = job->item;
	struct mse_endpoint *endpoint = job->endpoint;

	if (job->head)
		lane->busy--;
	else if (lane->head.sequence == 0 && lane->busy == 0)
		mse_parked_set_head(lane, &item->tries);
	mse_parked_lower(lane, item->sequence);
	mse_window_resolved(item);
	mse_endpoint_update_lane(endpoint, lane);
}

int mse_parked_park(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, lane, item, park_done);
	struct mse_ledger_row row;

	if (job == NULL)
		return -1;
	mse_parked_row(item, MSE_ROW_PARKED, &row);
	if (mse_job_add_row(job, MSE_OP_PUT, &row) < 0) {
		mse_job_free(job);
		return -1;
	}
	item->state = MSE_ITEM_PARKING;
	mse_lane_take(lane, item);
	item->tries.sequence = item->sequence;
	item->tries.gap = item->gap;
	item->tries.parked_at_ms = row.parked_at_ms;
	memcpy(item->tries.id, item->record.id, MSE_UUID_SIZE);
	job->head = lane->parked == 0;
	if (job->head) {
		lane->low = 0;
		mse_parked_set_head(lane, &item->tries);
		lane->busy++;
	}
	mse_parked_lower(lane, item->sequence);
	lane->parked++;
	endpoint->parked++;
	endpoint->parked_octets += item->len;
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

static void head_from_row(struct mse_endpoint *endpoint,
			  struct mse_lane *lane,
			  const struct mse_ledger_row *row)
{
	struct mse_head head;

	memset(&head, 0, sizeof(head));
	head.sequence = row->sequence;
	head.gap = row->gap;
	head.attempts = row->attempts;
	head.used_ms = row->used_ms;
	head.since = endpoint->usable_ms;
	head.parked_at_ms = row->parked_at_ms;
	memcpy(head.id, row->id, MSE_UUID_SIZE);
	if (row->gap && lane->gaps > 0)
		lane->gaps--;
	lane->not_before_ms = 0;
	mse_parked_set_head(lane, &head);
}

/* One row less. */
static void leave_row(struct mse_endpoint *endpoint, struct mse_lane *lane,
		      size_t octets)
{
	lane->parked--;
	endpoint->parked--;
	endpoint->parked_octets -= octets < endpoint->parked_octets ?
		octets : endpoint->parked_octets;
	endpoint->floor_dirty = true;
}

static void resolve_done(struct mse_job *job)
{
	struct mse_lane *lane = job->lane;

	lane->busy--;
	lane->resolving--;
	leave_row(job->endpoint, lane, job->rows[0].row.record_len);
	lane->head.sequence = 0;
	if (job->has_found)
		head_from_row(job->endpoint, lane, &job->found.row);
	mse_endpoint_update_lane(job->endpoint, lane);
}

static void next_done(struct mse_job *job)
{
	job->lane->busy--;
	if (job->has_found)
		head_from_row(job->endpoint, job->lane, &job->found.row);
	mse_endpoint_update_lane(job->endpoint, job->lane);
}

static void stuck(struct mse_endpoint *endpoint)
{
	mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
			"endpoint %s: out of memory", endpoint->name);
}

void mse_parked_next(struct mse_endpoint *endpoint, struct mse_lane *lane)
{
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, next_done);

	if (job != NULL)
		job->fetch_lane = strdup(lane->key);
	if (job == NULL || job->fetch_lane == NULL) {
		mse_job_free(job);
		endpoint->headless = true;
		return;
	}
	job->fetch = true;
	job->fetch_gap = lane->gaps > 0;
	lane->busy++;
	mse_job_submit(job);
}

void mse_parked_find_heads(struct mse_endpoint *endpoint)
{
	struct mse_lane *lane = endpoint->lanes.ring;
	size_t i;

	endpoint->headless = false;
	for (i = 0; i < endpoint->lanes.count; i++, lane = lane->next) {
		if (lane->parked > 0 && lane->head.sequence == 0 &&
		    lane->busy == 0)
			mse_parked_next(endpoint, lane);
	}
}

int mse_parked_leave(struct mse_item *item, enum mse_row_state state)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, resolve_done);
	struct mse_ledger_row row;

	mse_parked_row(item, state, &row);
	row.record = NULL;
	if (job != NULL)
		job->fetch_lane = strdup(lane->key);
	if (job == NULL || job->fetch_lane == NULL ||
	    mse_job_add_row(job, state == MSE_ROW_DEAD ? MSE_OP_UPDATE :
			    MSE_OP_RESOLVE, &row) < 0) {
		mse_job_free(job);
		return -1;
	}
	job->fetch = true;
	job->fetch_gap = lane->gaps > 0;
	if (state == MSE_ROW_DEAD)
		mse_endpoint_died(endpoint, item->last_status);
	lane->busy++;
	lane->resolving++;
	mse_item_free(&item);
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

void mse_parked_answered(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;

	if (item->gap)
		mse_gap_announced(endpoint, item->sequence);
	if (mse_parked_leave(item, MSE_ROW_ANSWERED) == 0)
		return;
	/* It will be sent once more. */
	stuck(endpoint);
	lane->not_before_ms = mse_deliver_mono(endpoint->deliver) +
		NOT_YET_MS;
	mse_item_free(&item);
	mse_endpoint_update_lane(endpoint, lane);
}

void mse_parked_failed(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL,
					  mse_job_nothing);
	struct mse_ledger_row row;

	lane->head = item->tries;
	mse_parked_row(item, MSE_ROW_PARKED, &row);
	row.record = NULL;
	if (job == NULL || mse_job_add_row(job, MSE_OP_UPDATE, &row) < 0) {
		mse_job_free(job);
		stuck(endpoint);
	} else {
		mse_job_submit(job);
	}
	mse_item_free(&item);
	mse_endpoint_update_lane(endpoint, lane);
}

static void replay_done(struct mse_job *job)
{
	if (job->rows[0].was_dead)
		mse_endpoint_undied(job->endpoint,
				    job->rows[0].status_before);
}

void mse_replay_answered(struct mse_item *item)
{
	struct mse_job *job = mse_job_new(item->endpoint, NULL, NULL,
					  replay_done);
	struct mse_ledger_row row;

	mse_parked_row(item, MSE_ROW_ANSWERED, &row);
	row.record = NULL;
	if (job == NULL || mse_job_add_row(job, MSE_OP_UNDIE, &row) < 0) {
		mse_job_free(job);
		stuck(item->endpoint);
		return;
	}
	mse_job_submit(job);
}

/* The row is not there: somebody else's hand in the ledger. Its number is
   announced, and the lane goes on with whatever it has next. */
static void fetch_lost(struct mse_endpoint *endpoint, struct mse_lane *lane)
{
	struct mse_gap gap = {
		.reason = "the ledger has lost an event that was parked",
		.lost = 1,
		.from = lane->head.sequence,
		.to = lane->head.sequence
	};

	endpoint->probing = false;
	/* Not before a number given now is certainly new. */
	if (!endpoint->caught_up || mse_gap_add(endpoint, &gap) < 0) {
		lane->not_before_ms = mse_deliver_mono(endpoint->deliver) +
			NOT_YET_MS;
		mse_endpoint_update_lane(endpoint, lane);
		return;
	}
	leave_row(endpoint, lane, 0);
	lane->head.sequence = 0;
	/* It has nothing to send until that is known. */
	if (lane->parked > 0)
		mse_parked_next(endpoint, lane);
	mse_endpoint_update_lane(endpoint, lane);
}

static void fetch_done(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	struct mse_lane *lane = job->lane;
	struct mse_item *item;

	endpoint->fetching--;
	lane->busy--;
	if (!job->has_found ||
	    job->found.row.sequence != lane->head.sequence) {
		fetch_lost(endpoint, lane);
		return;
	}
	item = job->found.record == NULL ? NULL :
		mse_item_new(endpoint, MSE_ITEM_PARKED, job->found.record,
			     job->found.row.record_len);
	if (item == NULL || endpoint->deliver->stopping ||
	    (endpoint->breaker.open && !job->probe)) {
		mse_item_free(&item);
		if (job->probe)
			endpoint->probing = false;
		lane->not_before_ms = mse_deliver_mono(endpoint->deliver) +
			NOT_YET_MS;
		mse_endpoint_update_lane(endpoint, lane);
		return;
	}
	item->lane = lane;
	item->sequence = lane->head.sequence;
	item->gap = lane->head.gap;
	item->tries = lane->head;
	lane->busy++;
	mse_endpoint_send(item, job->probe);
}

int mse_parked_fetch(struct mse_endpoint *endpoint, struct mse_lane *lane,
		     bool probe)
{
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, fetch_done);

	if (job == NULL)
		return -1;
	job->fetch_lane = strdup(lane->key);
	if (job->fetch_lane == NULL) {
		mse_job_free(job);
		return -1;
	}
	job->fetch = job->fetch_record = true;
	job->fetch_after = lane->head.sequence - 1;
	job->probe = probe;
	lane->busy++;
	endpoint->fetching++;
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}
