#ifndef MSE_DELIVER_BATCH_H
#define MSE_DELIVER_BATCH_H

#include "deliver/endpoint.h"

/*
 * Several events in one request, for formats that make batches.
 *
 * A batch is put together from lanes that wait (batch.c), committed with its
 * id and its events' numbers, posted, and stays as it is until it is answered:
 * after a crash its events are read again under the numbers they had, or are
 * rows, and it goes out once more (batch-start.c); also one whose answer the
 * cursor had not passed yet. When it fails while the
 * endpoint accepts others its events become rows, still one batch; what is
 * refused for its content, or fails again, is halved (batch-fail.c). Of one
 * event there is a batch only while it is fresh; its id is the event's. A row
 * alone is sent as ever (parked.c).
 *
 * Invariant: a lane's events are in one batch that holds it (lane->holder,
 * counted in busy), or in batches of which each holds it only when the one
 * before has let it go: so what is out of one lane is in order.
 */
enum mse_batch_state {
	MSE_BATCH_COMMITTING, /* not durable yet */
	MSE_BATCH_GATHERING,  /* its events are not read yet, or wait for
				 others in their lanes */
	MSE_BATCH_READY,      /* waits for its time, in a lane of its own */
	MSE_BATCH_FETCHING,   /* its rows' bytes are on their way */
	MSE_BATCH_SENDING,
	MSE_BATCH_STORING     /* what follows from its answer is committed */
};

struct mse_member {
	uint64_t sequence;
	struct mse_item *item; /* NULL: not read yet, or a row */
	struct mse_lane *lane; /* NULL: not read yet */
	uint64_t hash;         /* of its id; rows: once fetched */
};

struct mse_batch {
	struct mse_flight flight; /* first: one is found from the other */
	struct mse_batch *next, *prev;
	struct mse_endpoint *endpoint;
	struct mse_lane *own;     /* where it waits for its time */
	char id[MSE_UUID_SIZE];
	enum mse_batch_state state;
	bool parked;              /* its events are rows */
	bool prepared;            /* composed, never sent: counted */
	size_t prepared_octets;   /* of its body then, counted too */
	bool probe;               /* to be sent as one once it is durable */
	struct mse_member *members; /* by number */
	unsigned int count, attached; /* of them: read, or rows */
	struct mse_lane **lanes;  /* that it holds */
	unsigned int lane_count, held; /* events in them */
	uint64_t digest;          /* of its events' ids */
	uint64_t octets;          /* of its rows */
	struct mse_head tries;
	unsigned int failures;    /* of what it was part of, too */
	uint64_t answered_at_failure;
	int last_status;
	char last_error[256];
	char *answer;             /* how the last one's body began */
	size_t answer_len;
	struct mse_batch *halves[2]; /* what is to come of it */
	struct mse_body body;     /* for its first attempt */
	bool has_body;
};

/* batch.c */
/* Whether the endpoint's fresh events go out in batches. */
bool mse_batch_mode(const struct mse_endpoint *endpoint);
/* NULL if memory is out. In the endpoint's list, with a lane of its own. */
struct mse_batch *mse_batch_new(struct mse_endpoint *endpoint, const char *id,
				unsigned int count);
void mse_batch_free(struct mse_batch **batch);
struct mse_member *mse_batch_find_member(const struct mse_batch *batch,
					 uint64_t sequence);
/* The batch whose rows have this number among them; NULL: none. */
struct mse_batch *mse_batch_of_row(const struct mse_endpoint *endpoint,
				   uint64_t sequence);
/* The digest of a batch: of all its events' ids, in order, from 0. Against
   accidents, not against people. */
uint64_t mse_batch_hash(const char *id);
uint64_t mse_batch_add_digest(uint64_t digest, uint64_t hash);
/* It is sent, or will not be as it was made. */
void mse_batch_unprepare(struct mse_batch *batch);
/* An idle lane with something to do: true if a batch that gathers holds it
   from now on. */
bool mse_batch_claim(struct mse_endpoint *endpoint, struct mse_lane *lane);
/* If the lane's head is not its first row any more, a batch that gathers lets
   go of it: two that each wait for what the other holds would wait for ever.
   The lane is the caller's to update. */
void mse_batch_overtaken(struct mse_lane *lane);
/* Lets the lanes go on, with whatever they have next. */
void mse_batch_release(struct mse_batch *batch);
/* Waits for its time. */
void mse_batch_wait(struct mse_batch *batch, int64_t not_before_ms);
/* Holds all its events: it may wait for its time. */
void mse_batch_look(struct mse_batch *batch);
/* A lane of fresh events waits to be put into a batch, or does not. */
void mse_batch_lane_ready(struct mse_endpoint *endpoint,
			  struct mse_lane *lane);
void mse_batch_lane_unready(struct mse_endpoint *endpoint,
			    struct mse_lane *lane);
/* Puts together what is complete or has waited long enough. */
void mse_batch_compose(struct mse_endpoint *endpoint, int64_t now);
/* When to do so at the latest. */
int64_t mse_batch_compose_at(const struct mse_endpoint *endpoint);
/* The lane's first event alone, as a probe. -1 if memory is out. */
int mse_batch_probe(struct mse_endpoint *endpoint, struct mse_lane *lane);
/* Its time has come. */
void mse_batch_go(struct mse_batch *batch, bool probe);
/* Posts it with this body, which is taken. */
void mse_batch_send(struct mse_batch *batch, struct mse_body *body);
/* Another configuration: bodies are made anew. */
void mse_batch_forget_bodies(struct mse_endpoint *endpoint);

/* batch-fail.c */
void mse_batch_landed(struct mse_flight *flight,
		      const struct mse_answer *answer);
/* Its events become rows. -1 if memory is out: nothing happened. */
int mse_batch_park(struct mse_batch *batch);
/* Those that failed and may be parked now. all: any that wait, whatever the
   bound. True if some are left that failed. */
bool mse_batch_park_waiting(struct mse_endpoint *endpoint, bool all);
/* It waits: its events go their own ways. False if it does not wait. */
bool mse_batch_dissolve(struct mse_batch *batch);

/* batch-ledger.c */
enum mse_batch_rows { MSE_BATCH_ROWS_STAY, MSE_BATCH_ROWS_FAILED,
		      MSE_BATCH_ROWS_ANSWERED };
/* What one commit does: forget `gone` (NULL: none), keep the first `count` of
   `kept`, change the rows of `of` (NULL: none). The job is given to `done`
   with its item NULL and context the caller's to read by
   mse_batch_job_subject(). NULL if memory is out. */
struct mse_job *mse_batch_job(struct mse_endpoint *endpoint,
			      struct mse_batch *subject, const char *gone,
			      struct mse_batch *const *kept,
			      unsigned int count,
			      const struct mse_batch *of,
			      enum mse_batch_rows rows,
			      void (*done)(struct mse_job *job));
struct mse_batch *mse_batch_job_subject(const struct mse_job *job);
/* Room for one line more to keep, with which each batch begins: what is done
   with its line needs no memory. -1 if there is none. */
int mse_batch_make_room(struct mse_endpoint *endpoint);
/* Forgets its line in the ledger, when that comes round. Once, and the batch is
   freed then. */
void mse_batch_forget(const struct mse_batch *batch);
/* Its fresh events were answered: its line goes once the cursor has passed
   them all, so that until then a start finds it and sends it as it was. */
void mse_batch_keep_line(const struct mse_batch *batch);
/* A job that commits a cursor: it forgets the lines of what that passes, in
   the same transaction. Without memory they stay for the next one. */
void mse_batch_pass(struct mse_job *job);
/* Its rows with their bytes, then mse_batch_send(). -1 if memory is out. */
int mse_batch_fetch(struct mse_batch *batch);

/* batch-start.c */
/* In the ledger's thread, after the rows' lanes are known. fresh: events that
   are read again have the numbers they had. */
int mse_batch_load(struct mse_ledger *ledger, struct mse_endpoint *endpoint,
		   bool fresh, struct mse_error *error_r);
/* An event was read, numbered and is in its lane. */
void mse_batch_attach(struct mse_item *item);
/* Nothing more is to be read: what is not complete never will be. */
void mse_batch_give_up_waiting(struct mse_endpoint *endpoint);

#endif
