/*
 * The lanes of one endpoint: a hash table by key, a heap by due time and a
 * ring for probes.
 *
 * Invariant: heap_size >= count, so that waiting never needs memory; a lane
 * is in the heap exactly while heap_index says so.
 */
#include "deliver/lanes.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash_key(const char *key)
{
	uint32_t hash = 2166136261u;

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char)*key) * 16777619u;
	return hash;
}

void mse_lanes_clear(struct mse_lanes *lanes)
{
	while (lanes->ring != NULL)
		mse_lanes_remove(lanes, lanes->ring);
	free(lanes->table);
	free(lanes->heap);
	memset(lanes, 0, sizeof(*lanes));
}

struct mse_lane *mse_lanes_find(const struct mse_lanes *lanes,
				const char *key)
{
	uint32_t hash = hash_key(key);
	struct mse_lane *lane;

	if (lanes->table_size == 0)
		return NULL;
	lane = lanes->table[hash & (lanes->table_size - 1)];
	while (lane != NULL &&
	       (lane->hash != hash || strcmp(lane->key, key) != 0))
		lane = lane->hash_next;
	return lane;
}

static int grow_table(struct mse_lanes *lanes)
{
	size_t size = lanes->table_size == 0 ? 64 : lanes->table_size * 2, i;
	struct mse_lane **table, *lane, *next;

	if (lanes->count < lanes->table_size)
		return 0;
	table = calloc(size, sizeof(*table));
	if (table == NULL)
		return -1;
	for (i = 0; i < lanes->table_size; i++) {
		for (lane = lanes->table[i]; lane != NULL; lane = next) {
			next = lane->hash_next;
			lane->hash_next = table[lane->hash & (size - 1)];
			table[lane->hash & (size - 1)] = lane;
		}
	}
	free(lanes->table);
	lanes->table = table;
	lanes->table_size = size;
	return 0;
}

static int grow_heap(struct mse_lanes *lanes)
{
	size_t size = lanes->heap_size == 0 ? 64 : lanes->heap_size * 2;
	struct mse_lane **heap;

	if (lanes->count < lanes->heap_size)
		return 0;
	heap = realloc(lanes->heap, size * sizeof(*heap));
	if (heap == NULL)
		return -1;
	lanes->heap = heap;
	lanes->heap_size = size;
	return 0;
}

/* The next probe asks for it: a new owner does not wait until thousands whose
   events are refused were asked for once more. */
static void add_to_ring(struct mse_lanes *lanes, struct mse_lane *lane)
{
	if (lanes->ring == NULL) {
		lane->next = lane->prev = lane;
	} else {
		lane->next = lanes->ring;
		lane->prev = lanes->ring->prev;
		lane->prev->next = lane;
		lane->next->prev = lane;
	}
	lanes->ring = lane;
}

struct mse_lane *mse_lanes_get(struct mse_lanes *lanes, const char *key)
{
	struct mse_lane *lane = mse_lanes_find(lanes, key), **slot;
	size_t len = strlen(key) + 1;

	if (lane != NULL)
		return lane;
	if (grow_table(lanes) < 0 || grow_heap(lanes) < 0)
		return NULL;
	lane = calloc(1, sizeof(*lane) + len);
	if (lane == NULL)
		return NULL;
	memcpy(lane->key, key, len);
	lane->hash = hash_key(key);
	lane->heap_index = SIZE_MAX;
	slot = &lanes->table[lane->hash & (lanes->table_size - 1)];
	lane->hash_next = *slot;
	*slot = lane;
	lanes->count++;
	add_to_ring(lanes, lane);
	return lane;
}

void mse_lanes_remove(struct mse_lanes *lanes, struct mse_lane *lane)
{
	struct mse_lane **slot =
		&lanes->table[lane->hash & (lanes->table_size - 1)];

	mse_lanes_unwait(lanes, lane);
	while (*slot != lane)
		slot = &(*slot)->hash_next;
	*slot = lane->hash_next;
	if (lanes->ring == lane)
		lanes->ring = lane->next == lane ? NULL : lane->next;
	lane->prev->next = lane->next;
	lane->next->prev = lane->prev;
	lanes->count--;
	free(lane);
}

static bool is_before(const struct mse_lane *a, const struct mse_lane *b)
{
	return a->due_ms < b->due_ms;
}

static void put_at(struct mse_lanes *lanes, size_t index,
		   struct mse_lane *lane)
{
	lanes->heap[index] = lane;
	lane->heap_index = index;
}

static void sift_up(struct mse_lanes *lanes, size_t index,
		    struct mse_lane *lane)
{
	while (index > 0 && is_before(lane, lanes->heap[(index - 1) / 2])) {
		put_at(lanes, index, lanes->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	put_at(lanes, index, lane);
}

static void sift_down(struct mse_lanes *lanes, size_t index,
		      struct mse_lane *lane)
{
	size_t child;

	for (;;) {
		child = index * 2 + 1;
		if (child >= lanes->heap_count)
			break;
		if (child + 1 < lanes->heap_count &&
		    is_before(lanes->heap[child + 1], lanes->heap[child]))
			child++;
		if (!is_before(lanes->heap[child], lane))
			break;
		put_at(lanes, index, lanes->heap[child]);
		index = child;
	}
	put_at(lanes, index, lane);
}

void mse_lanes_wait(struct mse_lanes *lanes, struct mse_lane *lane,
		    int64_t due_ms)
{
	if (lane->heap_index != SIZE_MAX) {
		if (lane->due_ms == due_ms)
			return;
		mse_lanes_unwait(lanes, lane);
	}
	lane->due_ms = due_ms;
	sift_up(lanes, lanes->heap_count++, lane);
}

void mse_lanes_unwait(struct mse_lanes *lanes, struct mse_lane *lane)
{
	size_t index = lane->heap_index;
	struct mse_lane *last;

	if (index == SIZE_MAX)
		return;
	lane->heap_index = SIZE_MAX;
	last = lanes->heap[--lanes->heap_count];
	if (last == lane)
		return;
	if (index > 0 && is_before(last, lanes->heap[(index - 1) / 2]))
		sift_up(lanes, index, last);
	else
		sift_down(lanes, index, last);
}

struct mse_lane *mse_lanes_first(const struct mse_lanes *lanes)
{
	return lanes->heap_count == 0 ? NULL : lanes->heap[0];
}
