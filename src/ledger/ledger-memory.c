#include "mse-config.h"
#include "ledger/ledger-memory.h"

#include <stdlib.h>
#include <string.h>

/*
 * The ledger in memory, for tests and as the second reading of ledger.h.
 * Everything is an entry of ledger-memory-store.c; nothing here changes a
 * value in place, so that a rollback finds the old one.
 */

/* Puts text (NULL: "") at `to`. Returns what is behind it. */
static char *pack(char *to, const char **text_r, const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	if (len > 0)
		memcpy(to, text, len);
	to[len] = '\0';
	*text_r = to;
	return to + len + 1;
}

/* The row and all it points to in one allocation. */
static struct mse_ledger_row *copy_row(const struct mse_ledger_row *row,
				       const void *record, size_t record_len)
{
	const char *texts[] = {row->id, row->type, row->lane, row->last_error};
	struct mse_ledger_row *copy;
	size_t answer_len = row->answer_len < MSE_LEDGER_ANSWER_MAX ?
		row->answer_len : MSE_LEDGER_ANSWER_MAX;
	size_t i, size = sizeof(*row) + record_len + answer_len;
	char *to;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		size += (texts[i] == NULL ? 0 : strlen(texts[i])) + 1;
	copy = malloc(size);
	if (copy == NULL)
		return NULL;
	*copy = *row;
	to = pack((char *)(copy + 1), &copy->id, row->id);
	to = pack(to, &copy->type, row->type);
	to = pack(to, &copy->lane, row->lane);
	to = pack(to, &copy->last_error, row->last_error);
	copy->record_len = record_len;
	copy->record = NULL;
	if (record_len > 0) {
		memcpy(to, record, record_len);
		copy->record = to;
	}
	copy->answer_len = answer_len;
	copy->answer = NULL;
	if (answer_len > 0) {
		memcpy(to + record_len, row->answer, answer_len);
		copy->answer = to + record_len;
	}
	return copy;
}

static int store_row(struct mse_memory *memory, const char *endpoint,
		     const struct mse_ledger_row *row, const void *record,
		     size_t record_len, struct mse_error *error_r)
{
	struct mse_ledger_row *copy = copy_row(row, record, record_len);

	if (copy == NULL)
		return mse_memory_exhausted(error_r);
	return mse_memory_set(memory, MSE_MEMORY_ROW, endpoint, row->sequence,
			      copy, error_r);
}

static int memory_put_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r)
{
	return store_row((struct mse_memory *)ledger, endpoint, row,
			 row->record, row->record_len, error_r);
}

static int memory_update_row(struct mse_ledger *ledger, const char *endpoint,
			     const struct mse_ledger_row *row,
			     struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_ledger_row *old;

	old = mse_memory_get(memory, MSE_MEMORY_ROW, endpoint, row->sequence);
	if (old == NULL)
		return 0;
	return store_row(memory, endpoint, row, old->record, old->record_len,
			 error_r);
}

static int memory_delete_row(struct mse_ledger *ledger, const char *endpoint,
			     uint64_t sequence, struct mse_error *error_r)
{
	return mse_memory_set((struct mse_memory *)ledger, MSE_MEMORY_ROW,
			      endpoint, sequence, NULL, error_r);
}

/* The endpoint's first row with a number above after. */
static const struct mse_ledger_row *
next_row(const struct mse_memory *memory, const char *endpoint, uint64_t after)
{
	const struct mse_memory_entry *entry;

	if (after == UINT64_MAX)
		return NULL;
	entry = mse_memory_at(memory,
			      mse_memory_lower_bound(memory, MSE_MEMORY_ROW,
						     endpoint, after + 1),
			      MSE_MEMORY_ROW, endpoint);
	return entry == NULL ? NULL : entry->value;
}

static bool is_head(const struct mse_memory *memory, const char *endpoint,
		    const struct mse_ledger_row *row)
{
	const struct mse_ledger_row *other = NULL;

	if (row->state != MSE_ROW_PARKED)
		return false;
	for (;;) {
		other = next_row(memory, endpoint,
				 other == NULL ? 0 : other->sequence);
		if (other == row)
			return true;
		if (other->state == MSE_ROW_PARKED &&
		    strcmp(other->lane, row->lane) == 0)
			return false;
	}
}

static bool matches(const struct mse_memory *memory,
		    const struct mse_row_filter *filter,
		    const struct mse_ledger_row *row)
{
	if (filter->lane != NULL && strcmp(row->lane, filter->lane) != 0)
		return false;
	if (filter->id != NULL && strcmp(row->id, filter->id) != 0)
		return false;
	if (filter->state >= 0 && (int)row->state != filter->state)
		return false;
	return !filter->heads_only || is_head(memory, filter->endpoint, row);
}

static int
memory_each_row(struct mse_ledger *ledger, const struct mse_row_filter *filter,
		int (*found)(const struct mse_ledger_row *row, void *context),
		void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_ledger_row *row;
	struct mse_ledger_row shown;
	uint64_t after = filter->after;
	unsigned int count = 0;
	int ret;

	while ((row = next_row(memory, filter->endpoint, after)) != NULL) {
		after = row->sequence;
		if (!matches(memory, filter, row))
			continue;
		shown = *row;
		if (!filter->with_record)
			shown.record = NULL;
		if (!filter->with_answer) {
			shown.answer = NULL;
			shown.answer_len = 0;
		}
		ret = found(&shown, context);
		if (ret != 0)
			return ret;
		if (++count == filter->limit)
			break;
	}
	return 0;
}

static int memory_totals(struct mse_ledger *ledger, const char *endpoint,
			 struct mse_ledger_totals *totals_r,
			 struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_ledger_row *row;
	uint64_t after = 0;

	memset(totals_r, 0, sizeof(*totals_r));
	for (; (row = next_row(memory, endpoint, after)) != NULL;
	     after = row->sequence) {
		totals_r->highest = row->sequence;
		if (row->state == MSE_ROW_PARKED) {
			if (totals_r->parked++ == 0)
				totals_r->lowest_parked = row->sequence;
			totals_r->parked_octets += row->record_len;
		} else if (row->state == MSE_ROW_DEAD) {
			totals_r->dead++;
			totals_r->dead_octets += row->record_len;
		}
	}
	return 0;
}

/* The dead row that died first among those that still have bytes. */
static const struct mse_ledger_row *oldest_dead(const struct mse_memory *memory,
						const char *endpoint)
{
	const struct mse_ledger_row *row, *oldest = NULL;
	uint64_t after = 0;

	for (; (row = next_row(memory, endpoint, after)) != NULL;
	     after = row->sequence) {
		if (row->state == MSE_ROW_DEAD && row->record_len > 0 &&
		    (oldest == NULL ||
		     row->changed_at_ms < oldest->changed_at_ms))
			oldest = row;
	}
	return oldest;
}

static int memory_trim_dead(struct mse_ledger *ledger, const char *endpoint,
			    int64_t before_ms, uint64_t octets,
			    struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_ledger_row *row;
	struct mse_ledger_totals totals;
	struct mse_ledger_row line;

	while ((row = oldest_dead(memory, endpoint)) != NULL) {
		(void)memory_totals(ledger, endpoint, &totals, error_r);
		if (row->changed_at_ms >= before_ms &&
		    totals.dead_octets <= octets)
			break;
		line = *row;
		line.answer_len = 0;
		if (store_row(memory, endpoint, &line, NULL, 0, error_r) < 0)
			return -1;
	}
	return 0;
}

/* Cursors */

static int memory_get_cursor(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_ledger_cursor *cursor_r,
			     struct mse_error *error_r)
{
	const struct mse_ledger_cursor *cursor;

	cursor = mse_memory_get((struct mse_memory *)ledger, MSE_MEMORY_CURSOR,
				endpoint, 0);
	if (cursor == NULL)
		return 0;
	*cursor_r = *cursor;
	return 1;
}

/* Forgets rows up to a number: all, or only answered ones. */
static int forget_rows(struct mse_memory *memory, const char *endpoint,
		       uint64_t up_to, bool answered_only,
		       struct mse_error *error_r)
{
	const struct mse_ledger_row *row;
	uint64_t after = 0;

	while ((row = next_row(memory, endpoint, after)) != NULL) {
		after = row->sequence;
		if (after > up_to)
			break;
		if (answered_only && row->state != MSE_ROW_ANSWERED)
			continue;
		if (mse_memory_set(memory, MSE_MEMORY_ROW, endpoint, after,
				   NULL, error_r) < 0)
			return -1;
	}
	return 0;
}

static int memory_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			     const struct mse_ledger_cursor *cursor,
			     struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (mse_memory_set_copy(memory, MSE_MEMORY_CURSOR, endpoint, 0, cursor,
				sizeof(*cursor), error_r) < 0)
		return -1;
	return forget_rows(memory, endpoint, cursor->sequence, true, error_r);
}

static int memory_drop_endpoint(struct mse_ledger *ledger, const char *endpoint,
				struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (mse_memory_set(memory, MSE_MEMORY_CURSOR, endpoint, 0, NULL,
			   error_r) < 0 ||
	    mse_memory_forget_batches(memory, endpoint, error_r) < 0)
		return -1;
	return forget_rows(memory, endpoint, UINT64_MAX, false, error_r);
}

static int memory_each_cursor(
	struct mse_ledger *ledger,
	int (*found)(const char *endpoint,
		     const struct mse_ledger_cursor *cursor, void *context),
	void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_memory_entry *entry;
	size_t i = mse_memory_lower_bound(memory, MSE_MEMORY_CURSOR,
					  MSE_LEDGER_DERIVE, 1);
	int ret;

	while ((entry = mse_memory_at(memory, i++, MSE_MEMORY_CURSOR,
				      NULL)) != NULL) {
		ret = found(entry->name, entry->value, context);
		if (ret != 0)
			return ret;
	}
	return 0;
}

/* The rest */

static int memory_put_seal(struct mse_ledger *ledger, const char *file,
			   uint64_t length, struct mse_error *error_r)
{
	return mse_memory_set_copy((struct mse_memory *)ledger, MSE_MEMORY_SEAL,
				   file, 0, &length, sizeof(length), error_r);
}

static int memory_each_seal(struct mse_ledger *ledger,
			    int (*found)(const char *file, uint64_t length,
					 void *context),
			    void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_memory_entry *entry;
	size_t i = mse_memory_lower_bound(memory, MSE_MEMORY_SEAL, "", 0);
	int ret;

	while ((entry = mse_memory_at(memory, i++, MSE_MEMORY_SEAL, NULL)) !=
	       NULL) {
		ret = found(entry->name, *(const uint64_t *)entry->value,
			    context);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static int memory_put_checkpoint(struct mse_ledger *ledger,
				 const struct mse_position *position,
				 struct mse_error *error_r)
{
	return mse_memory_set_copy((struct mse_memory *)ledger,
				   MSE_MEMORY_CHECKPOINT, position->file,
				   position->offset / MSE_CHECKPOINT_EVERY,
				   position, sizeof(*position), error_r);
}

static int memory_each_checkpoint(
	struct mse_ledger *ledger, const char *file,
	int (*found)(const struct mse_position *position, void *context),
	void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_memory_entry *entry;
	size_t i = mse_memory_lower_bound(memory, MSE_MEMORY_CHECKPOINT, file,
					  UINT64_MAX);
	int ret;

	while (i-- > 0 &&
	       (entry = mse_memory_at(memory, i, MSE_MEMORY_CHECKPOINT,
				      file)) != NULL) {
		ret = found(entry->value, context);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static int memory_forget_file(struct mse_ledger *ledger, const char *file,
			      struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	const struct mse_memory_entry *entry;
	size_t i = mse_memory_lower_bound(memory, MSE_MEMORY_CHECKPOINT, file,
					  0);

	while ((entry = mse_memory_at(memory, i, MSE_MEMORY_CHECKPOINT,
				      file)) != NULL) {
		if (mse_memory_set(memory, MSE_MEMORY_CHECKPOINT, file,
				   entry->number, NULL, error_r) < 0)
			return -1;
	}
	return mse_memory_set(memory, MSE_MEMORY_SEAL, file, 0, NULL, error_r);
}

static int memory_put_announced(struct mse_ledger *ledger, unsigned int slot,
				uint64_t lost, struct mse_error *error_r)
{
	return mse_memory_set_copy((struct mse_memory *)ledger,
				   MSE_MEMORY_ANNOUNCED, "", slot, &lost,
				   sizeof(lost), error_r);
}

static int memory_get_announced(struct mse_ledger *ledger, unsigned int slot,
				uint64_t *lost_r, struct mse_error *error_r)
{
	const uint64_t *lost;

	lost = mse_memory_get((struct mse_memory *)ledger, MSE_MEMORY_ANNOUNCED,
			      "", slot);
	*lost_r = lost == NULL ? 0 : *lost;
	return lost != NULL;
}

static int memory_put_value(struct mse_ledger *ledger, const char *name,
			    const char *value, struct mse_error *error_r)
{
	return mse_memory_set_copy((struct mse_memory *)ledger,
				   MSE_MEMORY_VALUE, name, 0, value,
				   strlen(value) + 1, error_r);
}

static int memory_get_value(struct mse_ledger *ledger, const char *name,
			    char *value_r, size_t size,
			    struct mse_error *error_r)
{
	const char *value;
	size_t len;

	value = mse_memory_get((struct mse_memory *)ledger, MSE_MEMORY_VALUE,
			       name, 0);
	if (value == NULL)
		return 0;
	if (size > 0) {
		len = strlen(value);
		if (len >= size)
			len = size - 1;
		memcpy(value_r, value, len);
		value_r[len] = '\0';
	}
	return 1;
}

static const struct mse_ledger_ops memory_ops = {
	.free = mse_memory_free,
	.begin = mse_memory_begin,
	.commit = mse_memory_commit,
	.rollback = mse_memory_rollback,
	.savepoint = mse_memory_savepoint,
	.release = mse_memory_release,
	.rollback_to = mse_memory_rollback_to,
	.get_cursor = memory_get_cursor,
	.put_cursor = memory_put_cursor,
	.drop_endpoint = memory_drop_endpoint,
	.each_cursor = memory_each_cursor,
	.put_row = memory_put_row,
	.update_row = memory_update_row,
	.delete_row = memory_delete_row,
	.each_row = memory_each_row,
	.totals = memory_totals,
	.trim_dead = memory_trim_dead,
	.put_batch = mse_memory_put_batch,
	.delete_batch = mse_memory_delete_batch,
	.each_batch = mse_memory_each_batch,
	.put_seal = memory_put_seal,
	.each_seal = memory_each_seal,
	.put_checkpoint = memory_put_checkpoint,
	.each_checkpoint = memory_each_checkpoint,
	.forget_file = memory_forget_file,
	.put_announced = memory_put_announced,
	.get_announced = memory_get_announced,
	.put_value = memory_put_value,
	.get_value = memory_get_value,
	.put_derived = mse_memory_put_derived,
	.delete_derived = mse_memory_delete_derived,
	.clear_derived = mse_memory_clear_derived,
	.get_derived = mse_memory_get_derived,
	.each_derived = mse_memory_each_derived,
};

struct mse_ledger *mse_ledger_new_memory(void)
{
	struct mse_memory *memory = calloc(1, sizeof(*memory));

	if (memory == NULL)
		return NULL;
	memory->ledger.ops = &memory_ops;
	return &memory->ledger;
}
