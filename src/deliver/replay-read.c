/*
 * What a replay sends: records of the journal that the live cursor has passed,
 * or dead letters out of the ledger.
 *
 * Invariant: at most WINDOW_MAX events wait, and one page of dead letters is
 * on its way.
 */
#include "deliver/replay-private.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_MAX 512
#define WINDOW_OCTETS ((size_t)8 * 1024 * 1024)
#define READ_BUDGET 500         /* records a pass */
#define PAGE_ROWS 32
#define PAGE_LOOKED_AT 500
#define PAGE_OCTETS ((size_t)1024 * 1024)

/* Dead letters on their way from the ledger. */
struct replay_page {
	struct mse_ledger_job job;     /* first: the worker's view */
	struct mse_replay *replay;
	struct mse_endpoint *endpoint;
	uint64_t after, next_after;
	bool more;
	unsigned int looked_at, count;
	size_t octets;
	struct mse_row_copy rows[PAGE_ROWS];
};

static int add_item(struct mse_replay *replay, struct mse_item *item,
		    const char *key)
{
	struct mse_lane *lane = mse_lanes_get(&replay->lanes, key);

	if (lane == NULL)
		return -1;
	item->replay = replay;
	mse_lane_append(lane, item);
	replay->waiting_count++;
	replay->waiting_octets += item->len;
	if (lane->busy == 0 && lane->first == item)
		mse_lanes_wait(&replay->lanes, lane, 0);
	return 0;
}

/* Where a file stands among those there are; -1: it is released. */
static int place_of(const struct mse_replay *replay, const char *file)
{
	const struct mse_journal_file *files;
	unsigned int count, i;

	files = mse_journal_files(replay->endpoint->deliver->parts.journal,
				  &count);
	for (i = 0; i < count; i++) {
		if (strcmp(files[i].uuid, file) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_at_end(struct mse_replay *replay,
		      const struct mse_position *position)
{
	if (strcmp(position->file, replay->end.file) == 0)
		return position->offset >= replay->end.offset;
	if (strcmp(position->file, replay->file) == 0)
		return false;
	memcpy(replay->file, position->file, MSE_UUID_SIZE);
	return place_of(replay, position->file) >
		place_of(replay, replay->end.file);
}

static int take_record(struct mse_replay *replay,
		       const struct mse_record *record)
{
	struct mse_endpoint *endpoint = replay->endpoint;
	char own[MSE_UUID_SIZE + 1];
	struct mse_event_route route;
	struct mse_item *item;

	replay->read_octets += record->bytes.len + 2;
	replay->last_read_ms = record->time_ms;
	if (record->type == MSE_EVENT_UNKNOWN ||
	    !mse_pick_record(&replay->pick, record))
		return 0;
	mse_record_route(record, &route);
	if (!mse_subscription_matches(&endpoint->conf->subscription, &route))
		return 0;
	replay->found++;
	if (replay->dry_run)
		return 0;
	item = mse_item_of_record(endpoint, MSE_ITEM_REPLAY, record);
	if (item == NULL)
		return -1;
	item->gap = mse_event_type_group(record->type) == MSE_GROUP_OWN;
	if (add_item(replay, item,
		     mse_window_lane_key(endpoint, record, own)) < 0) {
		mse_item_free(&item);
		return -1;
	}
	return 0;
}

static bool has_room(const struct mse_replay *replay)
{
	return !replay->read_all && replay->waiting_count < WINDOW_MAX &&
		replay->waiting_octets < WINDOW_OCTETS;
}

/* False: it ended. */
static bool read_journal(struct mse_replay *replay)
{
	struct mse_read_result result;
	struct mse_error error = { "" };
	unsigned int budget = READ_BUDGET;

	while (has_room(replay)) {
		if (budget-- == 0) {
			replay->endpoint->deliver->again = true;
			return true;
		}
		switch (mse_journal_reader_next(replay->reader, &result,
						&error)) {
		case MSE_READ_RECORD:
			if (take_record(replay, &result.record) == 0)
				break;
			mse_replay_end(replay, "there is no memory");
			return false;
		case MSE_READ_END:
			replay->read_all = true;
			return true;
		case MSE_READ_DAMAGE:
		case MSE_READ_RELEASED:
			break;
		case MSE_READ_ERROR:
			mse_replay_end(replay, "the journal cannot be read");
			return false;
		}
		replay->read_all = is_at_end(replay, &result.position);
	}
	return true;
}

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct replay_page *page = context;

	page->next_after = row->sequence;
	page->looked_at++;
	if (mse_pick_row(&page->replay->pick, row)) {
		if (mse_row_copy(&page->rows[page->count], row) < 0)
			return -1;
		page->count++;
		page->octets += row->record_len;
	}
	page->more = page->count >= PAGE_ROWS ||
		page->octets >= PAGE_OCTETS ||
		page->looked_at >= PAGE_LOOKED_AT;
	return page->more ? 1 : 0;
}

static void clear_page(struct replay_page *page)
{
	while (page->count > 0)
		mse_row_clear(&page->rows[--page->count]);
	page->looked_at = 0;
	page->octets = 0;
	page->more = false;
}

static int run_page(struct mse_ledger *ledger, struct mse_ledger_job *job,
		    struct mse_error *error_r)
{
	struct replay_page *page = (struct replay_page *)job;
	struct mse_row_filter filter = {
		.endpoint = page->endpoint->name, .state = MSE_ROW_DEAD,
		.id = page->replay->pick.id, .after = page->after,
		.with_record = true
	};

	/* The worker may repeat a job. */
	clear_page(page);
	if (mse_ledger_each_row(ledger, &filter, take_row, page, error_r) < 0)
		return -1;
	return 0;
}

static int take_dead(struct mse_replay *replay,
		     const struct mse_ledger_row *row)
{
	struct mse_item *item;

	replay->found++;
	if (replay->dry_run)
		return 0;
	if (row->record == NULL) {
		replay->failed++;
		if (replay->failed_one != NULL)
			replay->failed_one(row->id, row->type, row->lane,
					   row->last_status, "its content is "
					   "not kept any more",
					   replay->context);
		return 0;
	}
	item = mse_item_of_row(replay->endpoint, MSE_ITEM_REPLAY, row);
	if (item == NULL)
		return -1;
	if (add_item(replay, item, row->lane) < 0) {
		mse_item_free(&item);
		return -1;
	}
	return 0;
}

static void take_page(struct mse_replay *replay,
		      const struct replay_page *page)
{
	unsigned int i;

	for (i = 0; i < page->count; i++) {
		if (take_dead(replay, &page->rows[i].row) < 0) {
			mse_replay_end(replay, "there is no memory");
			return;
		}
	}
	replay->after = page->next_after;
	replay->read_all = !page->more;
}

static void page_done(struct mse_ledger_job *job,
		      const struct mse_error *error)
{
	struct replay_page *page = (struct replay_page *)job;
	struct mse_replay *replay = page->replay;
	struct mse_endpoint *endpoint = page->endpoint;

	endpoint->jobs--;
	endpoint->deliver->again = true;
	replay->page = NULL;
	if (replay->endpoint == NULL)
		mse_replay_free_if_done(replay);
	else if (error != NULL)
		mse_replay_end(replay, "the ledger cannot be read");
	else
		take_page(replay, page);
	clear_page(page);
	free(page);
}

static bool read_dead(struct mse_replay *replay)
{
	struct replay_page *page;

	if (replay->page != NULL || !has_room(replay))
		return true;
	page = calloc(1, sizeof(*page));
	if (page == NULL) {
		mse_replay_end(replay, "there is no memory");
		return false;
	}
	page->job.run = run_page;
	page->job.done = page_done;
	page->replay = replay;
	page->endpoint = replay->endpoint;
	page->after = page->next_after = replay->after;
	replay->page = page;
	replay->endpoint->jobs++;
	mse_ledger_worker_submit(replay->endpoint->deliver->parts.ledger,
				 &page->job);
	return true;
}

bool mse_replay_read(struct mse_replay *replay)
{
	return replay->dead ? read_dead(replay) : read_journal(replay);
}

/* What the cursor has passed is delivered or has a row; what is behind it is
   on its way. */
int mse_replay_find_span(struct mse_replay *replay,
			 const struct mse_position *start)
{
	struct mse_journal *journal = replay->endpoint->deliver->parts.journal;
	struct mse_journal_reader *last;
	uint64_t behind, rest;

	replay->end = replay->endpoint->cursor.position;
	replay->reader = mse_journal_reader_new(journal, start);
	last = mse_journal_reader_new(journal, &replay->end);
	if (replay->reader == NULL || last == NULL) {
		mse_journal_reader_free(&last);
		return -1;
	}
	behind = mse_journal_reader_behind(replay->reader);
	rest = mse_journal_reader_behind(last);
	replay->total_octets = behind > rest ? behind - rest : 0;
	mse_journal_reader_free(&last);
	replay->read_all = is_at_end(replay, start);
	return 0;
}
