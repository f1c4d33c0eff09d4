#include "mse-config.h"
#include "ledger/ledger-memory.h"

#include <stdlib.h>
#include <string.h>

/*
 * The in-memory ledger's entries and their transactions. Invariants: entries
 * are sorted; a value is never changed, only replaced; every change goes
 * through mse_memory_set(), which within a transaction first writes down what
 * was there before, so rolling back is playing the undo log backwards. Undoing
 * needs no memory: the array never shrinks, and the log owns its names.
 */

int mse_memory_exhausted(struct mse_error *error_r)
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
static int make_room(struct mse_memory *memory)
{
	struct mse_memory_entry *items;

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

static int compare(const struct mse_memory_entry *entry,
		   enum mse_memory_table table, const char *name,
		   uint64_t number)
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

size_t mse_memory_lower_bound(const struct mse_memory *memory,
			      enum mse_memory_table table, const char *name,
			      uint64_t number)
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

const void *mse_memory_get(const struct mse_memory *memory,
			   enum mse_memory_table table, const char *name,
			   uint64_t number)
{
	size_t i = mse_memory_lower_bound(memory, table, name, number);

	if (i == memory->count ||
	    compare(&memory->entries[i], table, name, number) != 0)
		return NULL;
	return memory->entries[i].value;
}

const struct mse_memory_entry *mse_memory_at(const struct mse_memory *memory,
					     size_t i,
					     enum mse_memory_table table,
					     const char *name)
{
	const struct mse_memory_entry *entry;

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
static void *exchange(struct mse_memory *memory, enum mse_memory_table table,
		      char *name, uint64_t number, void *value)
{
	size_t i = mse_memory_lower_bound(memory, table, name, number);
	struct mse_memory_entry *entry = memory->entries + i;
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

int mse_memory_set(struct mse_memory *memory, enum mse_memory_table table,
		   const char *name, uint64_t number, void *value,
		   struct mse_error *error_r)
{
	struct mse_memory_entry *undo;
	char *key = strdup(name), *undo_key = strdup(name);

	if (key == NULL || undo_key == NULL || make_room(memory) < 0) {
		free(key);
		free(undo_key);
		free(value);
		return mse_memory_exhausted(error_r);
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

int mse_memory_set_copy(struct mse_memory *memory, enum mse_memory_table table,
			const char *name, uint64_t number, const void *data,
			size_t size, struct mse_error *error_r)
{
	void *copy = copy_of(data, size);

	if (copy == NULL)
		return mse_memory_exhausted(error_r);
	return mse_memory_set(memory, table, name, number, copy, error_r);
}

static int push_mark(struct mse_memory *memory, struct mse_error *error_r)
{
	size_t *marks;

	marks = grow(memory->marks, &memory->mark_size, memory->mark_count,
		     sizeof(*marks));
	if (marks == NULL)
		return mse_memory_exhausted(error_r);
	memory->marks = marks;
	memory->marks[memory->mark_count++] = memory->undo_count;
	return 0;
}

static void undo_to(struct mse_memory *memory, size_t mark)
{
	struct mse_memory_entry *undo;

	while (memory->undo_count > mark) {
		undo = &memory->undo[--memory->undo_count];
		free(exchange(memory, undo->table, undo->name, undo->number,
			      undo->value));
	}
}

static void forget_undo(struct mse_memory *memory)
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

int mse_memory_begin(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (memory->mark_count > 0) {
		return mse_error_set(error_r, "a transaction is already open");
	}
	if (push_mark(memory, error_r) < 0)
		return -1;
	memory->explicit_begin = true;
	return 0;
}

int mse_memory_commit(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (memory->mark_count == 0)
		return mse_error_set(error_r, "no transaction is open");
	forget_undo(memory);
	return 0;
}

void mse_memory_rollback(struct mse_ledger *ledger)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	undo_to(memory, 0);
	forget_undo(memory);
}

int mse_memory_savepoint(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return push_mark((struct mse_memory *)ledger, error_r);
}

static int no_savepoint(const struct mse_memory *memory,
			struct mse_error *error_r)
{
	if (memory->mark_count > (memory->explicit_begin ? 1U : 0U))
		return 0;
	return mse_error_set(error_r, "no savepoint is open");
}

int mse_memory_release(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (no_savepoint(memory, error_r) < 0)
		return -1;
	if (--memory->mark_count == 0)
		forget_undo(memory);
	return 0;
}

int mse_memory_rollback_to(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;

	if (no_savepoint(memory, error_r) < 0)
		return -1;
	undo_to(memory, memory->marks[--memory->mark_count]);
	return 0;
}

void mse_memory_free(struct mse_ledger *ledger)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
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
