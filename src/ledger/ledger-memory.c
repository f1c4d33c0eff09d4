#include "mse-config.h"
#include "ledger/ledger-backend.h"

#include <stdlib.h>
#include <string.h>

/*
 * The ledger in memory, for tests and as the second reading of ledger.h.
 *
 * Everything is an entry (table, name, number) → value in one sorted array.
 * Invariants: a value is never changed, only replaced; every change goes
 * through set_value(), which within a transaction first writes down what was
 * there before, so rolling back is playing the undo log backwards.
 */

enum table {
	CURSOR,     /* endpoint */
	ROW,        /* endpoint, sequence */
	SEAL,       /* file; the value is its length */
	CHECKPOINT, /* file, offset / MSE_CHECKPOINT_EVERY */
	ANNOUNCED,  /* slot */
	VALUE       /* name */
};

struct entry {
	enum table table;
	char *name;
	uint64_t number;
	void *value;
};

struct memory {
	struct mse_ledger ledger;
	struct entry *entries;
	size_t count, size;

	/* Entries as they were; value NULL: there was none. */
	struct entry *undo;
	size_t undo_count, undo_size;
	/* Lengths of the undo log at which transaction and savepoints began;
	   empty: no transaction. */
	size_t *marks;
	size_t mark_count, mark_size;
	bool explicit_begin;
};

static const struct mse_ledger_ops memory_ops;

static int no_memory(struct mse_error *error_r)
{
	return mse_error_set(error_r, "out of memory");
}

/* items with room for one more of item_size; NULL without memory (items is
   still good then). */
static void *grow(void *items, size_t *size, size_t count, size_t item_size)
{
	size_t new_size = *size == 0 ? 16 : *size * 2;

	if (count < *size)
		return items;
	items = realloc(items, new_size * item_size);
	if (items != NULL)
		*size = new_size;
	return items;
}

/* Room for one more entry and for the way back. */
static int make_room(struct memory *memory)
{
	struct entry *items;

	items = grow(memory->entries, &memory->size, memory->count,
		     sizeof(*items));
	if (items == NULL)
		return -1;
	memory->entries = items;
	items = grow(memory->undo, &memory->undo_size, memory->undo_count,
		     sizeof(*items));
	if (items == NULL)
		return -1;
	memory->undo = items;
	return 0;
}

static int compare(const struct entry *entry, enum table table,
		   const char *name, uint64_t number)
{
	int ret;

	if (entry->table != table)
		return entry->table < table ? -1 : 1;
	ret = strcmp(entry->name, name);
	if (ret != 0)
		return ret;
	if (entry->number != number)
		return entry->number < number ? -1 : 1;
	return 0;
}

/* Index of the first entry that is not before this key. */
static size_t lower_bound(const struct memory *memory, enum table table,
			  const char *name, uint64_t number)
{
	size_t low = 0, high = memory->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (compare(&memory->entries[middle], table, name, number) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const void *get_value(const struct memory *memory, enum table table,
			     const char *name, uint64_t number)
{
	size_t i = lower_bound(memory, table, name, number);

	if (i == memory->count ||
	    compare(&memory->entries[i], table, name, number) != 0)
		return NULL;
	return memory->entries[i].value;
}

/* Entry i, if there is one and it is of this table (and name, unless NULL). */
static const struct entry *at(const struct memory *memory, size_t i,
			      enum table table, const char *name)
{
	const struct entry *entry;

	if (i >= memory->count)
		return NULL;
	entry = &memory->entries[i];
	if (entry->table != table ||
	    (name != NULL && strcmp(entry->name, name) != 0))
		return NULL;
	return entry;
}

/* Puts value (NULL: nothing) in place and hands the old one back. There is
   room; name is taken over. */
static void *exchange(struct memory *memory, enum table table, char *name,
		      uint64_t number, void *value)
{
	size_t i = lower_bound(memory, table, name, number);
	struct entry *entry = memory->entries + i;
	void *old = NULL;

	if (i < memory->count && compare(entry, table, name, number) == 0) {
		old = entry->value;
		entry->value = value;
		free(name);
		if (value == NULL) {
			free(entry->name);
			memory->count--;
			memmove(entry, entry + 1,
				(memory->count - i) * sizeof(*entry));
		}
		return old;
	}
	if (value == NULL) {
		free(name);
		return NULL;
	}
	memmove(entry + 1, entry, (memory->count - i) * sizeof(*entry));
	memory->count++;
	entry->table = table;
	entry->name = name;
	entry->number = number;
	entry->value = value;
	return NULL;
}

/* Takes value over, also on failure. */
static int set_value(struct memory *memory, enum table table, const char *name,
		     uint64_t number, void *value, struct mse_error *error_r)
{
	struct entry *undo;
	char *key = strdup(name), *undo_key = strdup(name);

	if (key == NULL || undo_key == NULL || make_room(memory) < 0) {
		free(key);
		free(undo_key);
		free(value);
		return no_memory(error_r);
	}
	value = exchange(memory, table, key, number, value);
	if (memory->mark_count == 0) {
		free(undo_key);
		free(value);
		return 0;
	}
	undo = &memory->undo[memory->undo_count++];
	undo->table = table;
	undo->name = undo_key;
	undo->number = number;
	undo->value = value;
	return 0;
}

/* A copy of size bytes as a value; NULL without memory. */
static void *copy_of(const void *data, size_t size)
{
	void *copy = malloc(size);

	if (copy != NULL)
		memcpy(copy, data, size);
	return copy;
}

static int set_copy(struct memory *memory, enum table table, const char *name,
		    uint64_t number, const void *data, size_t size,
		    struct mse_error *error_r)
{
	void *copy = copy_of(data, size);

	if (copy == NULL)
		return no_memory(error_r);
	return set_value(memory, table, name, number, copy, error_r);
}

/* Transactions */

static int push_mark(struct memory *memory, struct mse_error *error_r)
{
	size_t *marks;

	marks = grow(memory->marks, &memory->mark_size, memory->mark_count,
		     sizeof(*marks));
	if (marks == NULL)
		return no_memory(error_r);
	memory->marks = marks;
	memory->marks[memory->mark_count++] = memory->undo_count;
	return 0;
}

static void undo_to(struct memory *memory, size_t mark)
{
	struct entry *undo;

	while (memory->undo_count > mark) {
		undo = &memory->undo[--memory->undo_count];
		free(exchange(memory, undo->table, undo->name, undo->number,
			      undo->value));
	}
}

static void forget_undo(struct memory *memory)
{
	size_t i;

	for (i = 0; i < memory->undo_count; i++) {
		free(memory->undo[i].name);
		free(memory->undo[i].value);
	}
	memory->undo_count = 0;
	memory->mark_count = 0;
	memory->explicit_begin = false;
}

static int memory_begin(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (memory->mark_count > 0) {
		return mse_error_set(error_r,
				     "a transaction is already open");
	}
	if (push_mark(memory, error_r) < 0)
		return -1;
	memory->explicit_begin = true;
	return 0;
}

static int memory_commit(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (memory->mark_count == 0)
		return mse_error_set(error_r, "no transaction is open");
	forget_undo(memory);
	return 0;
}

static void memory_rollback(struct mse_ledger *ledger)
{
	struct memory *memory = (struct memory *)ledger;

	undo_to(memory, 0);
	forget_undo(memory);
}

static int memory_savepoint(struct mse_ledger *ledger,
			    struct mse_error *error_r)
{
	return push_mark((struct memory *)ledger, error_r);
}

static int no_savepoint(const struct memory *memory, struct mse_error *error_r)
{
	if (memory->mark_count > (memory->explicit_begin ? 1U : 0U))
		return 0;
	return mse_error_set(error_r, "no savepoint is open");
}

static int memory_release(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (no_savepoint(memory, error_r) < 0)
		return -1;
	if (--memory->mark_count == 0)
		forget_undo(memory);
	return 0;
}

static int memory_rollback_to(struct mse_ledger *ledger,
			      struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (no_savepoint(memory, error_r) < 0)
		return -1;
	undo_to(memory, memory->marks[--memory->mark_count]);
	return 0;
}

static void memory_free(struct mse_ledger *ledger)
{
	struct memory *memory = (struct memory *)ledger;
	size_t i;

	forget_undo(memory);
	for (i = 0; i < memory->count; i++) {
		free(memory->entries[i].name);
		free(memory->entries[i].value);
	}
	free(memory->entries);
	free(memory->undo);
	free(memory->marks);
	free(memory);
}

/* Rows */

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
	size_t i, size = sizeof(*row) + record_len;
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
	return copy;
}

static int store_row(struct memory *memory, const char *endpoint,
		     const struct mse_ledger_row *row, const void *record,
		     size_t record_len, struct mse_error *error_r)
{
	struct mse_ledger_row *copy = copy_row(row, record, record_len);

	if (copy == NULL)
		return no_memory(error_r);
	return set_value(memory, ROW, endpoint, row->sequence, copy, error_r);
}

static int memory_put_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r)
{
	return store_row((struct memory *)ledger, endpoint, row, row->record,
			 row->record_len, error_r);
}

static int memory_update_row(struct mse_ledger *ledger, const char *endpoint,
			     const struct mse_ledger_row *row,
			     struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
	const struct mse_ledger_row *old;

	old = get_value(memory, ROW, endpoint, row->sequence);
	if (old == NULL)
		return 0;
	return store_row(memory, endpoint, row, old->record, old->record_len,
			 error_r);
}

static int memory_delete_row(struct mse_ledger *ledger, const char *endpoint,
			     uint64_t sequence, struct mse_error *error_r)
{
	return set_value((struct memory *)ledger, ROW, endpoint, sequence,
			 NULL, error_r);
}

/* The endpoint's first row with a number above after. */
static const struct mse_ledger_row *next_row(const struct memory *memory,
					     const char *endpoint,
					     uint64_t after)
{
	const struct entry *entry;

	if (after == UINT64_MAX)
		return NULL;
	entry = at(memory, lower_bound(memory, ROW, endpoint, after + 1), ROW,
		   endpoint);
	return entry == NULL ? NULL : entry->value;
}

static bool is_head(const struct memory *memory, const char *endpoint,
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

static bool matches(const struct memory *memory,
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

static int memory_each_row(struct mse_ledger *ledger,
			   const struct mse_row_filter *filter,
			   int (*found)(const struct mse_ledger_row *row,
					void *context),
			   void *context, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
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
	struct memory *memory = (struct memory *)ledger;
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
static const struct mse_ledger_row *oldest_dead(const struct memory *memory,
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
	struct memory *memory = (struct memory *)ledger;
	const struct mse_ledger_row *row;
	struct mse_ledger_totals totals;

	while ((row = oldest_dead(memory, endpoint)) != NULL) {
		(void)memory_totals(ledger, endpoint, &totals, error_r);
		if (row->changed_at_ms >= before_ms &&
		    totals.dead_octets <= octets)
			break;
		if (store_row(memory, endpoint, row, NULL, 0, error_r) < 0)
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

	cursor = get_value((struct memory *)ledger, CURSOR, endpoint, 0);
	if (cursor == NULL)
		return 0;
	*cursor_r = *cursor;
	return 1;
}

/* Forgets rows up to a number: all, or only answered ones. */
static int forget_rows(struct memory *memory, const char *endpoint,
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
		if (set_value(memory, ROW, endpoint, after, NULL, error_r) < 0)
			return -1;
	}
	return 0;
}

static int memory_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			     const struct mse_ledger_cursor *cursor,
			     struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (set_copy(memory, CURSOR, endpoint, 0, cursor, sizeof(*cursor),
		     error_r) < 0)
		return -1;
	return forget_rows(memory, endpoint, cursor->sequence, true, error_r);
}

static int memory_drop_endpoint(struct mse_ledger *ledger,
				const char *endpoint,
				struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;

	if (set_value(memory, CURSOR, endpoint, 0, NULL, error_r) < 0)
		return -1;
	return forget_rows(memory, endpoint, UINT64_MAX, false, error_r);
}

static int memory_each_cursor(
	struct mse_ledger *ledger,
	int (*found)(const char *endpoint,
		     const struct mse_ledger_cursor *cursor, void *context),
	void *context, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
	const struct entry *entry;
	size_t i = lower_bound(memory, CURSOR, MSE_LEDGER_DERIVE, 1);
	int ret;

	for (; (entry = at(memory, i, CURSOR, NULL)) != NULL; i++) {
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
	return set_copy((struct memory *)ledger, SEAL, file, 0, &length,
			sizeof(length), error_r);
}

static int memory_each_seal(struct mse_ledger *ledger,
			    int (*found)(const char *file, uint64_t length,
					 void *context),
			    void *context, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
	const struct entry *entry;
	size_t i = lower_bound(memory, SEAL, "", 0);
	int ret;

	for (; (entry = at(memory, i, SEAL, NULL)) != NULL; i++) {
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
	return set_copy((struct memory *)ledger, CHECKPOINT, position->file,
			position->offset / MSE_CHECKPOINT_EVERY, position,
			sizeof(*position), error_r);
}

static int memory_each_checkpoint(
	struct mse_ledger *ledger, const char *file,
	int (*found)(const struct mse_position *position, void *context),
	void *context, struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
	const struct entry *entry;
	size_t i = lower_bound(memory, CHECKPOINT, file, UINT64_MAX);
	int ret;

	while (i-- > 0 &&
	       (entry = at(memory, i, CHECKPOINT, file)) != NULL) {
		ret = found(entry->value, context);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static int memory_forget_file(struct mse_ledger *ledger, const char *file,
			      struct mse_error *error_r)
{
	struct memory *memory = (struct memory *)ledger;
	const struct entry *entry;
	size_t i = lower_bound(memory, CHECKPOINT, file, 0);

	while ((entry = at(memory, i, CHECKPOINT, file)) != NULL) {
		if (set_value(memory, CHECKPOINT, file, entry->number, NULL,
			      error_r) < 0)
			return -1;
	}
	return set_value(memory, SEAL, file, 0, NULL, error_r);
}

static int memory_put_announced(struct mse_ledger *ledger, unsigned int slot,
				uint64_t lost, struct mse_error *error_r)
{
	return set_copy((struct memory *)ledger, ANNOUNCED, "", slot, &lost,
			sizeof(lost), error_r);
}

static int memory_get_announced(struct mse_ledger *ledger, unsigned int slot,
				uint64_t *lost_r, struct mse_error *error_r)
{
	const uint64_t *lost;

	lost = get_value((struct memory *)ledger, ANNOUNCED, "", slot);
	*lost_r = lost == NULL ? 0 : *lost;
	return lost != NULL;
}

static int memory_put_value(struct mse_ledger *ledger, const char *name,
			    const char *value, struct mse_error *error_r)
{
	return set_copy((struct memory *)ledger, VALUE, name, 0, value,
			strlen(value) + 1, error_r);
}

static int memory_get_value(struct mse_ledger *ledger, const char *name,
			    char *value_r, size_t size,
			    struct mse_error *error_r)
{
	const char *value;
	size_t len;

	value = get_value((struct memory *)ledger, VALUE, name, 0);
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
	.free = memory_free,
	.begin = memory_begin,
	.commit = memory_commit,
	.rollback = memory_rollback,
	.savepoint = memory_savepoint,
	.release = memory_release,
	.rollback_to = memory_rollback_to,
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
	.put_seal = memory_put_seal,
	.each_seal = memory_each_seal,
	.put_checkpoint = memory_put_checkpoint,
	.each_checkpoint = memory_each_checkpoint,
	.forget_file = memory_forget_file,
	.put_announced = memory_put_announced,
	.get_announced = memory_get_announced,
	.put_value = memory_put_value,
	.get_value = memory_get_value,
};

struct mse_ledger *mse_ledger_new_memory(void)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	if (memory == NULL)
		return NULL;
	memory->ledger.ops = &memory_ops;
	return &memory->ledger;
}
