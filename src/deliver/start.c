/*
 * Where an endpoint goes on: cursor, rows above S, lane heads.
 *
 * Invariant: nothing is skipped. A position that does not match goes back to
 * one that does; what was numbered then goes on above every number that can
 * have been used, and a Gap names those left out (journal.md, Positions and
 * Numbers). All of it is committed before this returns.
 */
#include "deliver/batch.h"

#include <stdlib.h>
#include <string.h>

struct start {
	struct mse_endpoint *endpoint;
	bool found;
	struct mse_ledger_totals totals;
	struct mse_row_copy gap;
	bool has_gap;
	bool cut; /* power went, and the journal's end with it, perhaps */
	size_t taken_size;
	struct mse_id *gaps; /* parked ones */
	size_t gap_count;
};

static int load_cursor(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	struct start *start = context;
	struct mse_endpoint *endpoint = start->endpoint;
	int ret = mse_ledger_get_cursor(ledger, endpoint->name,
					&endpoint->cursor, error_r);

	if (ret < 0)
		return -1;
	start->found = ret == 1;
	return mse_ledger_totals(ledger, endpoint->name, &start->totals,
				 error_r);
}

static int store(struct mse_ledger *ledger, void *context,
		 struct mse_error *error_r)
{
	struct start *start = context;
	struct mse_endpoint *endpoint = start->endpoint;

	if (mse_ledger_put_cursor(ledger, endpoint->name, &endpoint->cursor,
				  error_r) < 0)
		return -1;
	return start->has_gap ?
		mse_ledger_put_row(ledger, endpoint->name, &start->gap.row,
				   error_r) : 0;
}

struct checkpoint {
	struct mse_journal *journal;
	const char *file;
	uint64_t below;
	struct mse_position position;
	bool found;
};

static int try_checkpoint(const struct mse_position *position, void *context)
{
	struct checkpoint *checkpoint = context;
	enum mse_match match;

	if (position->offset > checkpoint->below)
		return 0;
	match = mse_journal_match(checkpoint->journal, position);
	if (match != MSE_MATCH_YES)
		return match == MSE_MATCH_UNKNOWN ? -1 : 0;
	checkpoint->position = *position;
	checkpoint->found = true;
	return 1;
}

static int find_checkpoint(struct mse_ledger *ledger, void *context,
			   struct mse_error *error_r)
{
	struct checkpoint *checkpoint = context;

	checkpoint->found = false;
	return mse_ledger_each_checkpoint(ledger, checkpoint->file,
					  try_checkpoint, checkpoint,
					  error_r) < 0 ? -1 : 0;
}

/* From the cursor's position, which does not match, to one that does. */
static int go_back(struct mse_endpoint *endpoint, enum mse_match match,
		   struct mse_error *error_r)
{
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_journal *journal = deliver->parts.journal;
	struct mse_position *position = &endpoint->cursor.position;
	struct checkpoint checkpoint = {
		.journal = journal, .file = position->file,
		.below = position->offset
	};

	if (match == MSE_MATCH_RELEASED) {
		mse_journal_next_file_start(journal, position->file,
					    &checkpoint.position);
	} else {
		if (mse_ledger_worker_call(deliver->parts.ledger,
					   find_checkpoint, &checkpoint,
					   error_r) < 0)
			return -1;
		if (!checkpoint.found &&
		    mse_journal_file_start(journal, position->file,
					   &checkpoint.position) < 0)
			mse_journal_oldest(journal, &checkpoint.position);
	}
	*position = checkpoint.position;
	return 0;
}

/* A Gap as the first number from here on. from, to: left out; 0: none. */
static int begin_with_gap(struct start *start, const char *reason,
			  uint64_t from, uint64_t to)
{
	struct mse_endpoint *endpoint = start->endpoint;
	struct mse_gap gap = { .reason = reason, .from = from, .to = to };
	uint64_t sequence = to + 1;

	endpoint->cursor.sequence = sequence;
	endpoint->cursor.reserved = sequence + MSE_RESERVE;
	if (mse_gap_row(endpoint, &gap, sequence, &start->gap) < 0)
		return -1;
	start->has_gap = true;
	mse_deliver_log(endpoint->deliver, MSE_LOG_WARNING,
			"endpoint %s: Gap: %s", endpoint->name, reason);
	return 0;
}

static int begin_above(struct start *start, const char *reason)
{
	const struct mse_ledger_cursor *cursor = &start->endpoint->cursor;
	uint64_t used = cursor->reserved;

	if (used < cursor->sequence)
		used = cursor->sequence;
	if (used < start->totals.highest)
		used = start->totals.highest;
	return begin_with_gap(start, reason, used > cursor->sequence ?
			      cursor->sequence + 1 : 0, used);
}

static int begin_new(struct start *start, bool rebuilt,
		     struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = start->endpoint;
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_ledger_cursor *cursor = &endpoint->cursor;

	memset(cursor, 0, sizeof(*cursor));
	mse_uuid_make(mse_deliver_wall(deliver), cursor->stream);
	memcpy(cursor->filters, endpoint->conf->filters,
	       sizeof(cursor->filters));
	cursor->reserved = MSE_RESERVE;
	if (!rebuilt)
		return mse_journal_newest(deliver->parts.journal,
					  &cursor->position, error_r);
	mse_journal_oldest(deliver->parts.journal, &cursor->position);
	if (begin_with_gap(start, "the ledger was lost; events are sent "
			   "again from the oldest kept", 0, 0) < 0)
		return mse_error_set(error_r, "out of memory");
	return 0;
}

/* The ledger was restored from a backup: what it numbered since then is not
   known, so nothing is numbered in the old stream any more. */
static void begin_stream(struct mse_endpoint *endpoint)
{
	struct mse_ledger_cursor *cursor = &endpoint->cursor;

	mse_uuid_make(mse_deliver_wall(endpoint->deliver), cursor->stream);
	cursor->sequence = cursor->reserved = 0;
}

static const char *gap_reason(enum mse_match match, bool restored,
			      bool filters, bool cut)
{
	if (restored)
		return match == MSE_MATCH_RELEASED ?
			"the ledger was restored from an older copy, and the "
			"journal file its cursor stood in is gone" :
			"the ledger was restored from an older copy; events "
			"since then are sent again";
	if (match == MSE_MATCH_RELEASED)
		return "the journal file with the cursor is gone; numbering "
			"goes on above";
	if (match == MSE_MATCH_NO)
		return "journal does not match the cursor";
	/* Where what had these numbers stood, other records may stand now. */
	if (cut)
		return "the machine stopped without shutting down; numbering "
			"goes on above";
	return filters ? "the endpoint's filters were changed while mailhook "
		"was not running; no event was lost" : NULL;
}

static int go_on(struct start *start, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = start->endpoint;
	struct mse_ledger_cursor *cursor = &endpoint->cursor;
	enum mse_match match = mse_journal_match(
		endpoint->deliver->parts.journal, &cursor->position);
	bool restored = cursor->stream[0] == '\0';
	const char *reason = gap_reason(match, restored, strcmp(
		cursor->filters, endpoint->conf->filters) != 0, start->cut);

	if (match == MSE_MATCH_UNKNOWN)
		return mse_error_set(error_r, "out of memory");
	if (match != MSE_MATCH_YES && go_back(endpoint, match, error_r) < 0)
		return -1;
	if (restored)
		begin_stream(endpoint);
	memcpy(cursor->filters, endpoint->conf->filters,
	       sizeof(cursor->filters));
	if (reason != NULL && begin_above(start, reason) < 0)
		return mse_error_set(error_r, "out of memory");
	if (reason == NULL && cursor->reserved < cursor->sequence)
		cursor->reserved = cursor->sequence + MSE_RESERVE;
	endpoint->caught_up = reason != NULL;
	return 0;
}

static int take_number(struct start *start, const struct mse_ledger_row *row)
{
	struct mse_endpoint *endpoint = start->endpoint;
	size_t size = start->taken_size;
	uint64_t *taken;
	struct mse_id *skip;

	if (endpoint->taken_count == size) {
		size = size == 0 ? 64 : size * 2;
		taken = realloc(endpoint->taken, size * sizeof(*taken));
		if (taken == NULL)
			return -1;
		endpoint->taken = taken;
		skip = realloc(endpoint->skip, size * sizeof(*skip));
		if (skip == NULL)
			return -1;
		endpoint->skip = skip;
		start->taken_size = size;
	}
	endpoint->taken[endpoint->taken_count++] = row->sequence;
	memcpy(endpoint->skip[endpoint->skip_count++].text, row->id,
	       MSE_UUID_SIZE);
	return 0;
}

static int take_parked(struct mse_endpoint *endpoint,
		       const struct mse_ledger_row *row)
{
	struct mse_lane *lane = mse_lanes_get(&endpoint->lanes, row->lane);

	if (lane == NULL)
		return -1;
	lane->parked++;
	if (lane->low == 0)
		lane->low = row->sequence;
	/* Gaps first, then by number. */
	if (lane->head.sequence != 0 && (!row->gap || lane->head.gap)) {
		lane->gaps += row->gap;
		return 0;
	}
	lane->head.sequence = row->sequence;
	lane->head.gap = row->gap;
	lane->head.attempts = row->attempts;
	lane->head.used_ms = row->used_ms;
	lane->head.parked_at_ms = row->parked_at_ms;
	memcpy(lane->head.id, row->id, MSE_UUID_SIZE);
	if (row->gap && row->attempts == 0)
		mse_gap_unattempted(lane, endpoint);
	return 0;
}

static int note_gap(struct start *start, const struct mse_ledger_row *row)
{
	struct mse_id *gaps = realloc(start->gaps, (start->gap_count + 1) *
				      sizeof(*gaps));

	if (gaps == NULL)
		return -1;
	start->gaps = gaps;
	memcpy(gaps[start->gap_count++].text, row->id, MSE_UUID_SIZE);
	return 0;
}

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct start *start = context;
	struct mse_endpoint *endpoint = start->endpoint;

	/* Nothing above S is skipped that S was moved above of. */
	if (row->sequence > endpoint->first_sequence - 1 || start->has_gap) {
		if (take_number(start, row) < 0)
			return -1;
	}
	if (row->state == MSE_ROW_DEAD)
		endpoint->counters.dead[mse_dead_reason_of(
			row->last_status)]++;
	if (row->state != MSE_ROW_PARKED)
		return 0;
	if (row->gap && note_gap(start, row) < 0)
		return -1;
	return take_parked(endpoint, row);
}

struct gap_rows {
	struct mse_endpoint *endpoint;
};

static int take_gap_row(const struct mse_ledger_row *row, void *context)
{
	struct gap_rows *rows = context;

	return mse_gap_announce(rows->endpoint, row->sequence,
				mse_gap_lowest(row->record, row->record_len,
					       row->sequence));
}

static int load_gap(struct mse_ledger *ledger, struct mse_endpoint *endpoint,
		    const struct mse_ledger_row *row,
		    struct mse_error *error_r)
{
	struct gap_rows rows = { endpoint };
	struct mse_row_filter filter = {
		.endpoint = endpoint->name, .id = row->id,
		.state = MSE_ROW_PARKED, .with_record = true
	};

	return mse_ledger_each_row(ledger, &filter, take_gap_row, &rows,
				   error_r) != 0 ? -1 : 0;
}

/* The bytes of Gaps only: a quarter of journal_limit may be parked. */
static int load_gaps(struct mse_ledger *ledger, const struct start *start,
		     struct mse_error *error_r)
{
	struct mse_ledger_row row;
	size_t i;

	for (i = 0; i < start->gap_count; i++) {
		memset(&row, 0, sizeof(row));
		row.id = start->gaps[i].text;
		if (load_gap(ledger, start->endpoint, &row, error_r) < 0)
			return -1;
	}
	return 0;
}

static int load_rows(struct mse_ledger *ledger, void *context,
		     struct mse_error *error_r)
{
	struct start *start = context;
	struct mse_endpoint *endpoint = start->endpoint;
	struct mse_row_filter filter = {
		.endpoint = endpoint->name, .state = -1
	};

	if (mse_ledger_each_row(ledger, &filter, take_row, start,
				error_r) != 0)
		return -1;
	if (load_gaps(ledger, start, error_r) < 0)
		return -1;
	return mse_batch_load(ledger, endpoint, start->found &&
			      !start->has_gap, error_r);
}

/* The cursor may go beyond what the batches' lines that go are about: both or
   neither. Rows first: the new cursor forgets those that were answered. */
static int load_and_store(struct mse_ledger *ledger, void *context,
			  struct mse_error *error_r)
{
	return load_rows(ledger, context, error_r) < 0 ? -1 :
		store(ledger, context, error_r);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct mse_id *)a)->text,
		      ((const struct mse_id *)b)->text);
}

static void wake_lanes(struct mse_endpoint *endpoint)
{
	struct mse_lane *lane = endpoint->lanes.ring;
	size_t i;

	for (i = 0; i < endpoint->lanes.count; i++, lane = lane->next)
		mse_endpoint_update_lane(endpoint, lane);
}

static int start_endpoint(struct start *start, bool rebuilt,
			  struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = start->endpoint;
	struct mse_ledger_worker *ledger = endpoint->deliver->parts.ledger;
	struct mse_ledger_totals totals;
	uint64_t old;

	if (mse_ledger_worker_call(ledger, load_cursor, start, error_r) < 0)
		return -1;
	old = endpoint->cursor.sequence;
	if ((start->found ? go_on(start, error_r) :
	     begin_new(start, rebuilt, error_r)) < 0)
		return -1;
	if (!start->found)
		endpoint->caught_up = true;
	endpoint->first_sequence = old + 1;
	if (mse_ledger_worker_call(ledger, load_and_store, start, error_r) < 0)
		return -1;
	if (start->has_gap && (take_parked(endpoint, &start->gap.row) < 0 ||
	    mse_gap_announce(endpoint, start->gap.row.sequence,
			     mse_gap_lowest(start->gap.row.record,
					    start->gap.row.record_len,
					    start->gap.row.sequence)) < 0))
		return mse_error_set(error_r, "out of memory");
	totals = start->totals;
	endpoint->parked = totals.parked + start->has_gap;
	endpoint->parked_octets = totals.parked_octets;
	endpoint->dead = totals.dead;
	endpoint->read_position = endpoint->cursor.position;
	endpoint->first_sequence = endpoint->next_sequence =
		endpoint->cursor.sequence + 1;
	endpoint->reserved_before = endpoint->cursor.reserved;
	endpoint->floor_dirty = true;
	if (endpoint->skip_count > 0)
		qsort(endpoint->skip, endpoint->skip_count,
		      sizeof(*endpoint->skip), compare_ids);
	wake_lanes(endpoint);
	return 0;
}

int mse_endpoint_start(struct mse_deliver *deliver,
		       const struct mse_conf_endpoint *conf, bool first,
		       struct mse_endpoint **endpoint_r,
		       struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = calloc(1, sizeof(*endpoint));
	struct start start;
	int ret = -1;

	memset(&start, 0, sizeof(start));
	if (endpoint != NULL)
		endpoint->name = strdup(conf->name);
	if (endpoint == NULL || endpoint->name == NULL) {
		mse_error_set(error_r, "out of memory");
		goto out;
	}
	endpoint->deliver = deliver;
	endpoint->conf = conf;
	mse_counters_init(&endpoint->counters);
	endpoint->usable_at_ms = mse_deliver_mono(deliver);
	start.endpoint = endpoint;
	start.cut = first && deliver->parts.unclean_boot;
	if (start_endpoint(&start, first && deliver->parts.ledger_rebuilt,
			   error_r) < 0) {
		mse_error_prefix(error_r, "endpoint %s", conf->name);
		goto out;
	}
	*endpoint_r = endpoint;
	endpoint = NULL;
	ret = 0;
out:
	free(start.gaps);
	if (start.has_gap)
		mse_row_clear(&start.gap);
	mse_endpoint_free(&endpoint);
	return ret;
}
