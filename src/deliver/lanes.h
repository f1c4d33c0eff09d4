#ifndef MSE_DELIVER_LANES_H
#define MSE_DELIVER_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/uuid.h"

struct mse_batch;
struct mse_item;

/* What is kept of a lane's parked head between attempts. */
struct mse_head {
	uint64_t sequence;    /* 0: not known (yet) */
	char id[MSE_UUID_SIZE];
	bool gap;
	uint32_t attempts;
	int64_t used_ms;      /* at `since` */
	int64_t since;        /* endpoint's usable time */
	int64_t parked_at_ms; /* wall */
	uint32_t holds;
	uint64_t answered_at_hold;
};

/*
 * One owner's events at one endpoint: first the rows parked in the ledger
 * (only the head is known here), then those read and not yet sent (fifo). A
 * lane exists only while it has either; at most one request of it is out.
 */
struct mse_lane {
	struct mse_lane *hash_next;
	struct mse_lane *next, *prev;  /* ring of all lanes, for probes */
	struct mse_item *first, *last; /* fifo */
	unsigned int count;            /* in it */
	size_t octets;
	struct mse_batch *batch;       /* waits here; nobody's lane then */
	struct mse_batch *holder;      /* has its events, counted in busy */
	struct mse_lane *ready_next, *ready_prev;
	bool is_ready;                 /* to be put into a batch */
	unsigned int ready_events;     /* as counted */
	size_t ready_octets;
	uint64_t parked;               /* rows, also those being committed */
	uint64_t resolving;            /* of them, those about to be none */
	unsigned int gaps;             /* parked Gaps other than the head */
	uint64_t low;                  /* no row has a lower number */
	unsigned int busy;             /* request or ledger has the head */
	bool first_of_all; /* a Gap of nobody before its first attempt */
	struct mse_head head;
	int64_t due_ms;
	int64_t not_before_ms;         /* of the next attempt */
	size_t heap_index;             /* SIZE_MAX: not waiting for its time */
	uint32_t hash;
	char key[];
};

struct mse_lanes {
	struct mse_lane **table;
	size_t table_size, count;
	struct mse_lane *ring; /* where the next probe looks, at first the newest;
				  NULL: none */
	struct mse_lane **heap;
	size_t heap_count, heap_size;
};

void mse_lanes_clear(struct mse_lanes *lanes);
struct mse_lane *mse_lanes_find(const struct mse_lanes *lanes,
				const char *key);
/* Finds or makes it; NULL if memory is out. */
struct mse_lane *mse_lanes_get(struct mse_lanes *lanes, const char *key);
void mse_lanes_remove(struct mse_lanes *lanes, struct mse_lane *lane);

/* Waits for due_ms in the heap, or does not. Room was made when the lane was:
   cannot fail. */
void mse_lanes_wait(struct mse_lanes *lanes, struct mse_lane *lane,
		    int64_t due_ms);
void mse_lanes_unwait(struct mse_lanes *lanes, struct mse_lane *lane);
/* The one that is due first; NULL if none waits. */
struct mse_lane *mse_lanes_first(const struct mse_lanes *lanes);

#endif
