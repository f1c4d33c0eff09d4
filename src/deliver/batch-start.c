/*
 * Batches that were out when the daemon ended.
 *
 * Those whose events are rows are whole at once. Those whose events are read
 * again from the journal wait until all of them are there: they get the
 * numbers they had (journal.md, Numbers), and a digest of their ids says that
 * they are the same. What cannot become whole again is no batch any more: its
 * numbers were announced by a Gap, or it was answered.
 */
#include "deliver/batch.h"

#include <stdlib.h>
#include <string.h>

struct load {
	struct mse_ledger *ledger;
	struct mse_endpoint *endpoint;
	bool fresh;
	struct mse_error *error;
	struct mse_id *gone;
	size_t gone_count;
};

/* "4-9,12" into numbers; their count, 0 if it is no such text or too many. */
static unsigned int parse_members(const char *text, uint64_t *numbers)
{
	unsigned int count = 0;
	uint64_t from, to;
	char *end;

	for (;;) {
		from = to = strtoull(text, &end, 10);
		if (end == text)
			return 0;
		if (*end == '-')
			to = strtoull(end + 1, &end, 10);
		if (from == 0 || to < from || (count > 0 &&
					       from <= numbers[count - 1]))
			return 0;
		for (; from <= to; from++) {
			if (count == MSE_BATCH_EVENTS_MAX)
				return 0;
			numbers[count++] = from;
		}
		if (*end == '\0')
			return count;
		if (*end != ',')
			return 0;
		text = end + 1;
	}
}

struct lookup {
	struct mse_endpoint *endpoint;
	struct mse_member *member;
};

static int take_lane(const struct mse_ledger_row *row, void *context)
{
	struct lookup *lookup = context;

	if (row->sequence == lookup->member->sequence && !row->gap)
		lookup->member->lane = mse_lanes_find(
			&lookup->endpoint->lanes, row->lane);
	return 1;
}

/* How many of its events are rows that wait; -1: the ledger failed. */
static int find_rows(struct load *load, struct mse_batch *batch)
{
	struct mse_row_filter filter = {
		.endpoint = load->endpoint->name, .state = MSE_ROW_PARKED,
		.limit = 1
	};
	struct lookup lookup = { .endpoint = load->endpoint };
	unsigned int i;
	int count = 0;

	for (i = 0; i < batch->count; i++) {
		lookup.member = &batch->members[i];
		filter.after = lookup.member->sequence - 1;
		if (mse_ledger_each_row(load->ledger, &filter, take_lane,
					&lookup, load->error) < 0)
			return -1;
		count += lookup.member->lane != NULL;
	}
	return count;
}

static int note_gone(struct load *load, const char *id)
{
	struct mse_id *gone = realloc(load->gone, (load->gone_count + 1) *
				      sizeof(*gone));

	if (gone == NULL)
		return -1;
	load->gone = gone;
	strncpy(gone[load->gone_count].text, id, MSE_UUID_SIZE - 1);
	gone[load->gone_count++].text[MSE_UUID_SIZE - 1] = '\0';
	return 0;
}

static int restore(struct load *load, const struct mse_ledger_batch *line,
		   const uint64_t *numbers, unsigned int count)
{
	struct mse_endpoint *endpoint = load->endpoint;
	struct mse_batch *batch = mse_batch_new(endpoint, line->id, count);
	unsigned int i;
	int rows;

	if (batch == NULL)
		return -1;
	for (i = 0; i < count; i++)
		batch->members[i].sequence = numbers[i];
	batch->count = count;
	batch->digest = line->digest;
	batch->tries.attempts = batch->failures = line->attempts;
	batch->tries.used_ms = line->used_ms;
	batch->state = MSE_BATCH_GATHERING;
	rows = find_rows(load, batch);
	if (rows == (int)count && count > 1) {
		batch->parked = true;
		batch->attached = count;
		return 0;
	}
	if (rows == 0 && load->fresh &&
	    numbers[0] > endpoint->cursor.sequence) {
		endpoint->restoring++;
		return 0;
	}
	mse_batch_free(&batch);
	return rows < 0 ? -1 : note_gone(load, line->id);
}

static int take_line(const struct mse_ledger_batch *line, void *context)
{
	uint64_t numbers[MSE_BATCH_EVENTS_MAX];
	struct load *load = context;
	unsigned int count = strlen(line->id) != MSE_UUID_SIZE - 1 ? 0 :
		parse_members(line->members, numbers);

	return count == 0 ? note_gone(load, line->id) :
		restore(load, line, numbers, count);
}

int mse_batch_load(struct mse_ledger *ledger, struct mse_endpoint *endpoint,
		   bool fresh, struct mse_error *error_r)
{
	struct load load = {
		.ledger = ledger, .endpoint = endpoint, .fresh = fresh,
		.error = error_r
	};
	size_t i;
	int ret = mse_ledger_each_batch(ledger, endpoint->name, take_line,
					&load, error_r);

	for (i = 0; i < load.gone_count && ret == 0; i++)
		ret = mse_ledger_delete_batch(ledger, endpoint->name,
					      load.gone[i].text, error_r);
	free(load.gone);
	return ret == 0 ? 0 : -1;
}

static void break_up(struct mse_batch *batch, const char *why)
{
	mse_deliver_log(batch->endpoint->deliver, MSE_LOG_WARNING,
			"endpoint %s: batch %s %s: its events go in others",
			batch->endpoint->name, batch->id, why);
	(void)mse_batch_dissolve(batch);
}

/* All of it was read. */
static void complete(struct mse_batch *batch)
{
	uint64_t digest = 0;
	unsigned int i;

	batch->endpoint->restoring--;
	for (i = 0; i < batch->count; i++)
		digest = mse_batch_add_digest(digest, batch->members[i].hash);
	if (digest != batch->digest)
		break_up(batch, "has other events now than it was sent with");
}

static void attach(struct mse_batch *batch, struct mse_member *member,
		   struct mse_item *item)
{
	member->item = item;
	member->lane = item->lane;
	member->hash = mse_batch_hash(item->record.id);
	item->batch = batch;
	item->state = MSE_ITEM_BATCHED;
	batch->attached++;
	/* Behind others of it that are held already. */
	if (item->lane->holder == batch) {
		batch->held++;
		mse_batch_look(batch);
	}
	if (batch->attached == batch->count)
		complete(batch);
}

void mse_batch_attach(struct mse_item *item)
{
	struct mse_endpoint *endpoint = item->endpoint;
	struct mse_batch *batch;
	struct mse_member *member;

	if (endpoint->restoring == 0)
		return;
	for (batch = endpoint->batches; batch != NULL; batch = batch->next) {
		if (batch->attached == batch->count)
			continue;
		member = mse_batch_find_member(batch, item->sequence);
		if (member == NULL || member->item != NULL)
			continue;
		attach(batch, member, item);
		return;
	}
}

void mse_batch_give_up_waiting(struct mse_endpoint *endpoint)
{
	struct mse_batch *batch, *next;

	if (endpoint->restoring == 0)
		return;
	for (batch = endpoint->batches; batch != NULL; batch = next) {
		next = batch->next;
		if (batch->attached < batch->count)
			break_up(batch, "cannot be read again as a whole");
	}
}
