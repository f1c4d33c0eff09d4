/*
 * Gaps for one endpoint: what is given up is announced.
 *
 * Invariant: a Gap's row is inserted in the transaction that gives the events
 * up, with a number of its own, and sent only after that commit; while the
 * number is not durable no event gets one (gap_jobs).
 */
#include "deliver/endpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/event.h"
#include "event/imap-url.h"

#define GAP_RECORD_MAX 65536
#define DEAD_KEPT_MS ((int64_t)30 * 24 * 3600 * 1000)
#define TRIM_EVERY_MS 60000

static void write_uri(const struct mse_deliver *deliver, const char *owner,
		      struct mse_buf *uri)
{
	struct mse_imap_url url = {
		.server = mse_deliver_server_name(deliver),
		.user = owner
	};

	mse_imap_url_append(uri, &url);
}

static void write_record(struct mse_endpoint *endpoint,
			 const struct mse_gap *gap, struct mse_event *event,
			 struct mse_buf *record)
{
	struct mse_deliver *deliver = endpoint->deliver;
	char sequences[64];
	struct mse_buf uri;

	mse_buf_init(&uri, GAP_RECORD_MAX);
	write_uri(deliver, gap->owner, &uri);
	mse_event_init(event, MSE_EVENT_GAP, mse_deliver_wall(deliver));
	event->user = event->owner = gap->owner;
	mse_event_set_string(event, MSE_PARAM_URI, mse_buf_str(&uri));
	mse_event_set_string(event, MSE_PARAM_SERVER_FQDN,
			     deliver->server_fqdn);
	if (gap->lost > 0)
		mse_event_set_number(event, MSE_PARAM_LOST, gap->lost);
	mse_event_set_string(event, MSE_PARAM_SINCE, gap->since);
	mse_event_set_string(event, MSE_PARAM_REASON, gap->reason);
	if (gap->from > 0) {
		snprintf(sequences, sizeof(sequences), gap->from == gap->to ?
			 "%" PRIu64 : "%" PRIu64 "-%" PRIu64, gap->from,
			 gap->to);
		mse_event_set_string(event, MSE_PARAM_SEQUENCES, sequences);
	}
	mse_event_write(event, record);
	mse_buf_clear(&uri);
}

int mse_gap_row(struct mse_endpoint *endpoint, const struct mse_gap *gap,
		uint64_t sequence, struct mse_row_copy *copy_r)
{
	char own[MSE_UUID_SIZE + 1] = "\x01";
	struct mse_ledger_row row;
	struct mse_event event;
	struct mse_buf record;
	int ret = -1;

	mse_buf_init(&record, GAP_RECORD_MAX);
	write_record(endpoint, gap, &event, &record);
	memcpy(own + 1, event.id, MSE_UUID_SIZE);
	memset(&row, 0, sizeof(row));
	row.sequence = sequence;
	row.state = MSE_ROW_PARKED;
	row.gap = true;
	row.id = event.id;
	row.type = mse_event_type_name(MSE_EVENT_GAP);
	row.lane = gap->lane != NULL ? gap->lane : own;
	row.parked_at_ms = row.changed_at_ms =
		mse_deliver_wall(endpoint->deliver);
	row.last_error = "";
	if (!mse_buf_failed(&record) && record.len > 2) {
		/* Without RS and LF. */
		row.record = record.data + 1;
		row.record_len = record.len - 2;
		ret = mse_row_copy(copy_r, &row);
		copy_r->op = MSE_OP_PUT;
	}
	mse_buf_clear(&record);
	return ret;
}

int mse_gap_announce(struct mse_endpoint *endpoint, uint64_t gap,
		     uint64_t lowest)
{
	size_t size = endpoint->unannounced_size;
	struct mse_unannounced *list = endpoint->unannounced;

	if (endpoint->unannounced_count == size) {
		size = size == 0 ? 8 : size * 2;
		list = realloc(list, size * sizeof(*list));
		if (list == NULL)
			return -1;
		endpoint->unannounced = list;
		endpoint->unannounced_size = size;
	}
	list += endpoint->unannounced_count++;
	list->gap = gap;
	list->lowest = lowest;
	return 0;
}

void mse_gap_announced(struct mse_endpoint *endpoint, uint64_t gap)
{
	struct mse_unannounced *list = endpoint->unannounced;
	size_t i;

	for (i = 0; i < endpoint->unannounced_count; i++) {
		if (list[i].gap != gap)
			continue;
		list[i] = list[--endpoint->unannounced_count];
		break;
	}
	endpoint->floor_dirty = true;
}

uint64_t mse_gap_lowest(const char *record, size_t len, uint64_t sequence)
{
	static const char member[] = "\"vnd.mailhook.sequences\"";
	const char *p = record == NULL ? NULL :
		memmem(record, len, member, sizeof(member) - 1);
	const char *end = record + len;
	uint64_t lowest = 0;

	if (p == NULL)
		return sequence;
	for (p += sizeof(member) - 1; p < end && (*p < '0' || *p > '9'); p++)
		;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		lowest = lowest * 10 + (uint64_t)(*p - '0');
	return lowest == 0 || lowest > sequence ? sequence : lowest;
}

void mse_gap_unattempted(struct mse_lane *lane, struct mse_endpoint *endpoint)
{
	/* With a known owner it is first in that lane; no more is needed. */
	if (lane->key[0] != '\x01' || lane->first_of_all)
		return;
	lane->first_of_all = true;
	endpoint->gaps_first++;
}

void mse_gap_attempted(struct mse_lane *lane, struct mse_endpoint *endpoint)
{
	if (!lane->first_of_all)
		return;
	lane->first_of_all = false;
	endpoint->gaps_first--;
}

/* The committed Gap is the next thing its lane sends. */
void mse_gap_done(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	struct mse_row_copy *copy = &job->rows[job->row_count - 1];
	struct mse_lane *lane = job->lane;

	endpoint->gap_jobs--;
	lane->busy--;
	if (lane->head.sequence != 0 && !job->head) {
		lane->gaps++;
	} else {
		memset(&lane->head, 0, sizeof(lane->head));
		lane->head.sequence = copy->row.sequence;
		lane->head.gap = true;
		lane->head.since = endpoint->usable_ms;
		lane->head.parked_at_ms = copy->row.parked_at_ms;
		memcpy(lane->head.id, copy->row.id, MSE_UUID_SIZE);
		lane->not_before_ms = 0;
		if (lane->low == 0)
			lane->low = copy->row.sequence;
		mse_gap_unattempted(lane, endpoint);
	}
	if (job->item != NULL)
		mse_window_resolved(job->item);
	mse_endpoint_update_lane(endpoint, lane);
}

/* Adds the Gap to a job and counts its row. */
static int add_gap(struct mse_job *job, const struct mse_gap *gap)
{
	struct mse_endpoint *endpoint = job->endpoint;
	uint64_t next = endpoint->next_sequence;
	size_t taken_next = endpoint->taken_next;
	uint64_t sequence = mse_window_number(endpoint);
	struct mse_row_copy *copy = &job->rows[job->row_count];

	if (mse_gap_row(endpoint, gap, sequence, copy) < 0)
		goto undo;
	job->row_count++;
	if (mse_gap_announce(endpoint, sequence,
			     gap->from > 0 ? gap->from : sequence) < 0)
		goto undo;
	if (job->lane == NULL)
		job->lane = mse_lanes_get(&endpoint->lanes, copy->row.lane);
	if (job->lane == NULL) {
		endpoint->unannounced_count--;
		goto undo;
	}
	job->lane->parked++;
	job->lane->busy++;
	endpoint->parked++;
	endpoint->parked_octets += copy->row.record_len;
	endpoint->gap_jobs++;
	return 0;
undo:
	endpoint->next_sequence = next;
	endpoint->taken_next = taken_next;
	return -1;
}

int mse_gap_add(struct mse_endpoint *endpoint, const struct mse_gap *gap)
{
	struct mse_lane *lane = gap->lane == NULL ? NULL :
		mse_lanes_get(&endpoint->lanes, gap->lane);
	struct mse_job *job = mse_job_new(endpoint, lane, NULL, mse_gap_done);

	if (job == NULL || add_gap(job, gap) < 0) {
		mse_job_free(job);
		if (lane != NULL)
			mse_endpoint_update_lane(endpoint, lane);
		return -1;
	}
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, job->lane);
	return 0;
}

int mse_gap_begin(struct mse_endpoint *endpoint,
		  const struct mse_ledger_row *row, uint64_t lowest)
{
	struct mse_lane *lane = mse_lanes_get(&endpoint->lanes, row->lane);

	if (lane == NULL)
		return -1;
	if (mse_gap_announce(endpoint, row->sequence, lowest > 0 ? lowest :
			     row->sequence) < 0) {
		mse_endpoint_update_lane(endpoint, lane);
		return -1;
	}
	lane->parked++;
	lane->low = lane->head.sequence = row->sequence;
	lane->head.gap = true;
	lane->head.since = endpoint->usable_ms;
	lane->head.parked_at_ms = row->parked_at_ms;
	memcpy(lane->head.id, row->id, MSE_UUID_SIZE);
	endpoint->parked++;
	endpoint->parked_octets += row->record_len;
	mse_gap_unattempted(lane, endpoint);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}

void mse_gap_withdraw(struct mse_endpoint *endpoint,
		      const struct mse_ledger_row *row)
{
	struct mse_lane *lane = mse_lanes_find(&endpoint->lanes, row->lane);

	mse_gap_announced(endpoint, row->sequence);
	endpoint->parked--;
	endpoint->parked_octets -= row->record_len;
	lane->parked--;
	mse_endpoint_update_lane(endpoint, lane);
}

static void trim_dead(struct mse_job *job)
{
	struct mse_endpoint *endpoint = job->endpoint;
	int64_t now = mse_deliver_mono(endpoint->deliver);

	if (now < endpoint->trim_at_ms)
		return;
	endpoint->trim_at_ms = now + TRIM_EVERY_MS;
	job->trim = true;
	job->trim_before_ms = mse_deliver_wall(endpoint->deliver) -
		DEAD_KEPT_MS;
	job->trim_octets = endpoint->deliver->conf->journal_limit / 4;
}

/* A dead Gap makes no further one: the row is all there is to do. */
static int die_alone(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	uint64_t sequence = item->sequence;

	if (mse_parked_leave(item, MSE_ROW_DEAD) < 0)
		return -1;
	mse_gap_announced(endpoint, sequence);
	return 0;
}

static void leave_parked(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;

	item->lane->parked--;
	endpoint->parked--;
	endpoint->parked_octets -= item->len < endpoint->parked_octets ?
		item->len : endpoint->parked_octets;
}

int mse_gap_die(struct mse_item *item, enum mse_row_state state,
		const char *reason)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_lane *lane = item->lane;
	bool fresh = item->origin == MSE_ITEM_FRESH;
	struct mse_gap gap = {
		.owner = item->record.owner[0] != '\0' ? item->record.owner :
			NULL,
		.lane = lane->key, .lost = 1, .reason = reason,
		.since = item->record.time_text,
		.from = item->sequence, .to = item->sequence
	};
	struct mse_ledger_row row;
	struct mse_job *job;

	if (item->gap && !fresh && state == MSE_ROW_DEAD)
		return die_alone(item);
	job = mse_job_new(endpoint, lane, fresh ? item : NULL, mse_gap_done);
	if (job == NULL)
		return -1;
	mse_parked_row(item, state, &row);
	if (mse_job_add_row(job, fresh ? MSE_OP_PUT :
			    state == MSE_ROW_ANSWERED ? MSE_OP_RESOLVE :
			    MSE_OP_UPDATE, &row) < 0 ||
	    add_gap(job, &gap) < 0) {
		mse_job_free(job);
		return -1;
	}
	trim_dead(job);
	job->head = !fresh && item->sequence == lane->head.sequence;
	if (state == MSE_ROW_DEAD)
		mse_endpoint_died(endpoint, item->last_status);
	else
		endpoint->counters.dropped++;
	if (fresh) {
		item->state = MSE_ITEM_PARKING;
		mse_lane_take(lane, item);
	} else {
		leave_parked(item);
		mse_item_free(&item);
	}
	mse_job_submit(job);
	mse_endpoint_update_lane(endpoint, lane);
	return 0;
}
