#ifndef MSE_DELIVER_ENDPOINT_H
#define MSE_DELIVER_ENDPOINT_H

#include "deliver/answer.h"
#include "deliver/deliver.h"
#include "deliver/handshake.h"
#include "deliver/lanes.h"
#include "deliver/replay.h"
#include "deliver/request.h"
#include "deliver/schedule.h"
#include "journal/reader.h"

/*
 * Private to deliver/: one endpoint's state and the functions between its
 * parts (window.c reads and numbers, endpoint.c says when, attempt.c sends
 * one event and judges, flight.c knows what is out, parked.c keeps rows, job.c
 * talks to the ledger, cursor.c commits, gap.c gives up, start.c finds the
 * place to go on, released.c leaves a file that goes, replay.c sends again,
 * sweep.c drops by the thousand, command.c obeys, show.c and status.c tell).
 */

#define MSE_WINDOW_OCTETS ((size_t)8 * 1024 * 1024)
/* Read and not passed by the cursor, answered ones included. */
#define MSE_WINDOW_MAX 4096
/* With batches, which wait for the ledger before they leave. */
#define MSE_WINDOW_MAX_BATCHES 8192
#define MSE_RESERVE 10000

enum mse_item_origin {
	MSE_ITEM_FRESH,  /* from the journal, in the window */
	MSE_ITEM_PARKED, /* a row's, for one attempt */
	MSE_ITEM_REPLAY, /* a replay's */
	MSE_ITEM_TEST
};

enum mse_item_state {
	MSE_ITEM_WAITING,
	MSE_ITEM_BATCHED, /* in a batch, whatever that does */
	MSE_ITEM_SENDING,
	MSE_ITEM_PARKING, /* its row is being committed */
	MSE_ITEM_DONE     /* answered or durable: the cursor may pass */
};

/* A request that is out: part of what it carries. */
struct mse_flight {
	struct mse_flight *next, *prev;
	struct mse_endpoint *endpoint;
	struct mse_sending *sending;
	bool probe;
	/* Once, with the request's answer; sending is the callee's to free. */
	void (*landed)(struct mse_flight *flight,
		       const struct mse_answer *answer);
};

struct mse_item {
	struct mse_flight flight; /* first: one is found from the other */
	struct mse_item *next, *prev; /* window */
	struct mse_item *lane_next;
	struct mse_endpoint *endpoint;
	struct mse_lane *lane;        /* NULL: test */
	struct mse_batch *batch;      /* BATCHED: which */
	int64_t read_at_ms;           /* FRESH: monotonic */
	enum mse_item_origin origin;
	enum mse_item_state state;
	bool gap;
	uint64_t sequence;
	struct mse_position before;   /* FRESH: where reading it began */
	struct mse_record record;
	size_t len;                   /* of its text */
	struct mse_head tries;        /* attempts, used time, holds */
	int last_status;
	char last_error[256];
	char *answer; /* how the last answer's body began; NULL: none */
	size_t answer_len;
	struct mse_replay *replay; /* whose it is; NULL: none's */
	void (*test_done)(const struct mse_request *request,
			  const struct mse_answer *answer, void *context);
	void *test_context;
};

/* Asking the receiver for its permission. */
struct mse_handshake {
	struct mse_flight flight;
	bool out, stale;         /* stale: asked with another configuration */
	bool granted;
	uint32_t attempts;
	int64_t at_ms;           /* of the next question */
	unsigned int per_minute; /* permitted; 0: any number */
};

/* A Gap for this endpoint that is not answered yet. */
struct mse_unannounced {
	uint64_t gap;    /* its number */
	uint64_t lowest; /* of the numbers it announces */
};

struct mse_id {
	char text[MSE_UUID_SIZE];
};

/* A batch that was answered, and has its line still. */
struct mse_answered {
	char id[MSE_UUID_SIZE];
	uint64_t last; /* number; 0: it is no more, answered or not */
};

struct mse_endpoint {
	struct mse_endpoint *next;
	struct mse_deliver *deliver;
	char *name;
	const struct mse_conf_endpoint *conf;
	/* Once the window is empty. */
	const struct mse_conf_endpoint *next_conf;
	bool settling; /* next_conf waits, or leaving */
	bool leaving;

	struct mse_ledger_cursor cursor; /* as committed last */
	bool cursor_dirty, cursor_job;   /* something to say; being said */
	int64_t cursor_at_ms;            /* last commit */
	uint64_t next_sequence;
	uint64_t first_sequence;         /* at start */
	uint64_t reserved_before;        /* no number was used beyond it then */
	bool caught_up; /* nothing unread was ever numbered */
	uint64_t *taken; /* numbers of rows above S at start, ascending */
	size_t taken_count, taken_next;
	struct mse_id *skip; /* ids of rows above S at start, sorted */
	size_t skip_count;

	struct mse_journal_reader *reader;
	struct mse_position read_position;
	int64_t read_error_until_ms;
	bool gap_owed; /* a file went unread, and its Gap is not made yet */
	struct mse_item *first, *last; /* window, by number */
	unsigned int window_count, unresolved;
	size_t window_octets;
	bool followers; /* some wait that should be parked */

	struct mse_lanes lanes;
	/* Batches (batch.h): all of them; those made and never sent; those
	   whose events are not all read since the start. */
	struct mse_batch *batches;
	unsigned int batch_count, prepared, restoring;
	size_t prepared_octets; /* of their bodies */
	struct mse_answered *answered_batches;
	size_t answered_count, answered_size; /* room for all batches, too */
	unsigned int lines_owed; /* of them: to go with the next cursor */
	/* Lanes of fresh events to be put into batches. */
	struct mse_lane *ready_first, *ready_last;
	unsigned int ready_events;
	size_t ready_octets;
	int64_t linger_at_ms;
	bool headless; /* a lane's next row is still to be found */
	struct mse_flight *flights;
	struct mse_replay *replays;
	unsigned int in_flight;
	unsigned int fetching;
	unsigned int jobs;
	unsigned int gap_jobs; /* numbers given that are not durable yet */
	unsigned int gaps_first; /* of nobody, not attempted yet */
	struct mse_job *failed_jobs;

	struct mse_unannounced *unannounced;
	size_t unannounced_count, unannounced_size;
	uint64_t floor;
	bool floor_dirty;
	int64_t floor_at_ms;

	struct mse_breaker breaker;
	struct mse_rate rate;
	unsigned int live_in_a_row; /* requests since the last of a replay */
	struct mse_handshake handshake;
	bool probing;
	int64_t hold_until_ms;
	int64_t usable_ms, usable_at_ms; /* time that counts; last looked */
	bool usable;

	uint64_t parked, parked_octets, dead;
	uint64_t answered, failed;
	struct mse_counters counters;
	bool waiting; /* bound reached */
	int64_t trim_at_ms;
	const char *last_outcome; /* its name; NULL: none failed */
	char last_error[256];
};

struct mse_deliver {
	struct mse_deliver_parts parts;
	char *server_fqdn;
	const struct mse_conf *conf;
	struct mse_endpoint *endpoints;
	/* Where cursors of endpoints stand that are not configured. */
	struct mse_id *kept;
	size_t kept_count;
	bool configured, stopping;
	uint64_t random;
	bool again; /* run once more at once */
};

static inline int64_t mse_deliver_mono(const struct mse_deliver *deliver)
{
	return mse_clock_mono(deliver->parts.clock);
}

static inline int64_t mse_deliver_wall(const struct mse_deliver *deliver)
{
	return mse_clock_wall(deliver->parts.clock);
}

void mse_deliver_log(struct mse_deliver *deliver, enum mse_log_level level,
		     const char *format, ...)
	__attribute__((format(printf, 3, 4)));
uint32_t mse_deliver_random(struct mse_deliver *deliver);
/* NULL and a sentence if there is none. */
struct mse_endpoint *mse_deliver_find(struct mse_deliver *deliver,
				      const char *name,
				      struct mse_error *error_r);
const char *mse_deliver_server_name(const struct mse_deliver *deliver);
void mse_deliver_body_context(const struct mse_endpoint *endpoint,
			      uint64_t sequence,
			      struct mse_body_context *context_r);

/* endpoint.c */
void mse_endpoint_free(struct mse_endpoint **endpoint);
int64_t mse_endpoint_run(struct mse_endpoint *endpoint);
bool mse_endpoint_is_idle(const struct mse_endpoint *endpoint);
/* Counts usable time up to now; call before what changes it. */
void mse_endpoint_tick(struct mse_endpoint *endpoint);
bool mse_endpoint_may_send(const struct mse_endpoint *endpoint);
bool mse_endpoint_may_park(const struct mse_endpoint *endpoint);
/* What the lane does next: wait in the heap, or nothing, or go. The lane may
   be gone after it. */
void mse_endpoint_update_lane(struct mse_endpoint *endpoint,
			      struct mse_lane *lane);
uint64_t mse_endpoint_floor(struct mse_endpoint *endpoint);
/* Its configuration is another one: lanes wait as that wants. */
void mse_endpoint_reconfigured(struct mse_endpoint *endpoint,
			       const struct mse_conf_endpoint *conf);

/* flight.c */
/* Posts the body, which is taken, with flight's endpoint and landed. */
void mse_flight_start(struct mse_flight *flight, struct mse_body *body,
		      const char *id, enum mse_request_kind kind, bool probe);
/* The question whether the receiver permits deliveries. */
void mse_flight_ask(struct mse_flight *flight);
/* What the answer means, counted against the endpoint: breaker, figures,
   last failure. events: as many as the request carried. */
enum mse_verdict mse_flight_judge(struct mse_flight *flight,
				  const struct mse_answer *answer,
				  unsigned int events, int64_t *hold_ms_r);
/* Its receiver has said 410: nothing is sent until somebody resumes it. */
void mse_flight_gone(struct mse_endpoint *endpoint,
		     const struct mse_answer *answer);
#define MSE_GONE "410 Gone: the endpoint is disabled until resumed"

/* attempt.c */
/* Sends now, whatever the schedule says. Takes the item, which needs neither
   lane nor number. */
void mse_endpoint_send(struct mse_item *item, bool probe);
/* next: what follows from it; "": nothing. */
void mse_attempt_log(const struct mse_item *item,
		     const struct mse_answer *answer, bool success,
		     const char *next);
/* The body of a request with this one event, not ended yet. */
void mse_attempt_body(const struct mse_endpoint *endpoint,
		      const struct mse_record *record, uint64_t sequence,
		      struct mse_body *body_r);
/* What follows from an answer that was no success: for an event or a batch. */
struct mse_sequel {
	int64_t at_ms; /* of the next attempt */
	char text[80]; /* for the log */
};
/* Retry-After: holds the endpoint. Nothing is wrong with the event, unless
   others are accepted between its refusals: false, a failure. */
bool mse_attempt_hold(struct mse_endpoint *endpoint, struct mse_head *tries,
		      int64_t hold_ms, int64_t now,
		      struct mse_sequel *sequel_r);
/* A failure that was counted. */
void mse_attempt_backoff(struct mse_endpoint *endpoint,
			 const struct mse_head *tries, int64_t now,
			 struct mse_sequel *sequel_r);
/* A failure: whether it counts against the event (or batch). */
bool mse_attempt_count(struct mse_endpoint *endpoint, struct mse_head *tries);
bool mse_attempt_may_give_up(const struct mse_item *item);
#define MSE_GIVEN_UP "given up after give_up without success"

/* item.c */
/* Copies the record; NULL if memory is out. */
struct mse_item *mse_item_of_record(struct mse_endpoint *endpoint,
				    enum mse_item_origin origin,
				    const struct mse_record *record);
/* Parses and copies text; NULL if memory is out or it is no record. */
struct mse_item *mse_item_new(struct mse_endpoint *endpoint,
			      enum mse_item_origin origin, const char *text,
			      size_t len);
/* With what the row knows of it. Also NULL if the row has no bytes. */
struct mse_item *mse_item_of_row(struct mse_endpoint *endpoint,
				 enum mse_item_origin origin,
				 const struct mse_ledger_row *row);
void mse_item_free(struct mse_item **item);
/* Keeps how the answer's body begins, as far as a row has room for it. */
void mse_item_keep_answer(struct mse_item *item, const void *body, size_t len);
/* Frees what only sending needs. */
void mse_item_drop_text(struct mse_item *item);

/* window.c */
uint64_t mse_window_number(struct mse_endpoint *endpoint);
/* Borrowed from the record, or from own. */
const char *mse_window_lane_key(const struct mse_endpoint *endpoint,
				const struct mse_record *record,
				char own[MSE_UUID_SIZE + 1]);
/* True if more may be there at once. */
bool mse_window_read(struct mse_endpoint *endpoint, int64_t now);
void mse_window_resolved(struct mse_item *item);
void mse_lane_append(struct mse_lane *lane, struct mse_item *item);
void mse_lane_take(struct mse_lane *lane, struct mse_item *item);
/* Parks what waits in lanes that have rows, as far as it may. all: everything
   that is not being sent, whatever the bound. */
void mse_window_park(struct mse_endpoint *endpoint, bool all);
/* Where the cursor may stand now. */
void mse_window_cursor(const struct mse_endpoint *endpoint,
		       struct mse_ledger_cursor *cursor_r);

/* job.c */
struct mse_row_copy {
	/* UNDIE: resolve, REDIE: update, if it is dead still. */
	enum { MSE_OP_PUT, MSE_OP_UPDATE, MSE_OP_RESOLVE, MSE_OP_UNDIE,
	       MSE_OP_REDIE } op;
	bool was_dead;
	int status_before; /* of the dead letter */
	struct mse_ledger_row row;
	char *strings[4];
	char *record, *answer;
};
int mse_row_copy(struct mse_row_copy *copy, const struct mse_ledger_row *row);
void mse_row_clear(struct mse_row_copy *copy);
/* Answered or dropped: kept only while its number is above S. */
int mse_row_resolve(struct mse_ledger *ledger, const char *endpoint,
		    struct mse_ledger_row row, struct mse_error *error_r);

struct mse_job {
	struct mse_ledger_job job;
	struct mse_job *next_failed;
	int64_t retry_at_ms;
	struct mse_endpoint *endpoint;
	struct mse_lane *lane;
	struct mse_item *item;
	void (*done)(struct mse_job *job);
	struct mse_row_copy *rows, own_rows[2];
	unsigned int row_count;
	/* What else it does in the ledger's thread; what it holds for it. */
	int (*more)(struct mse_ledger *ledger, struct mse_job *job,
		    struct mse_error *error_r);
	void (*clear)(struct mse_job *job);
	void *context;
	bool has_cursor;
	struct mse_ledger_cursor cursor;
	struct mse_journal_sync *sync; /* before the cursor */
	bool fetch, fetch_record, fetch_gap, head, probe;
	uint64_t fetch_after;
	bool trim;
	int64_t trim_before_ms;
	uint64_t trim_octets;
	char *fetch_lane;
	struct mse_row_copy found;
	bool has_found;
	struct mse_unannounced gap;
};
struct mse_job *mse_job_new(struct mse_endpoint *endpoint,
			    struct mse_lane *lane, struct mse_item *item,
			    void (*done)(struct mse_job *job));
/* Room for more than two rows, before the first is added. -1 if memory is
   out. */
int mse_job_reserve(struct mse_job *job, unsigned int count);
/* -1 if memory is out. */
int mse_job_add_row(struct mse_job *job, int op,
		    const struct mse_ledger_row *row);
void mse_job_submit(struct mse_job *job);
void mse_job_free(struct mse_job *job);
void mse_jobs_retry(struct mse_endpoint *endpoint, int64_t now);
/* For a job after which nothing is left to do. */
void mse_job_nothing(struct mse_job *job);

/* parked.c */
void mse_parked_row(const struct mse_item *item, enum mse_row_state state,
		    struct mse_ledger_row *row_r);
/* -1 if memory is out: nothing happened. */
int mse_parked_park(struct mse_item *item);
/* A row is the lane's head from now on. */
void mse_parked_set_head(struct mse_lane *lane, const struct mse_head *head);
/* The lane has, or is to have, a row of this number. */
void mse_parked_lower(struct mse_lane *lane, uint64_t sequence);
/* Its head is not its first row: an event that had been answered was read once
   more after a crash, and became a row behind one that was a row before. */
bool mse_parked_is_overtaken(const struct mse_lane *lane);
/* Looks for the lane's next row, which becomes its head. */
void mse_parked_next(struct mse_endpoint *endpoint, struct mse_lane *lane);
/* Once more where there was no memory for it. */
void mse_parked_find_heads(struct mse_endpoint *endpoint);
/* The lane's head with its bytes, to be sent. */
int mse_parked_fetch(struct mse_endpoint *endpoint, struct mse_lane *lane,
		     bool probe);
/* The row's attempt failed / succeeded. The item is freed. */
void mse_parked_failed(struct mse_item *item);
void mse_parked_answered(struct mse_item *item);
/* Its row changes to state and the lane goes on with the next one. */
int mse_parked_leave(struct mse_item *item, enum mse_row_state state);
/* A dead letter was answered: its row may go. The item stays the caller's. */
void mse_replay_answered(struct mse_item *item);

/* cursor.c */
void mse_cursor_commit(struct mse_endpoint *endpoint, int64_t now);
int64_t mse_cursor_commit_at(const struct mse_endpoint *endpoint);

/* status.c */
/* One dead letter more, one less; status: of its last answer. */
void mse_endpoint_died(struct mse_endpoint *endpoint, int status);
void mse_endpoint_undied(struct mse_endpoint *endpoint, int status);
/* Still one, for another reason. */
void mse_endpoint_redied(struct mse_endpoint *endpoint, int before,
			 int status);

/* replay.c */
/* Reads and sends what may be sent after the live events. Returns when to come
   back. */
int64_t mse_replay_run(struct mse_endpoint *endpoint, int64_t now);
/* Its request was answered. Takes the item. */
void mse_replay_answer(struct mse_item *item, const struct mse_answer *answer);
unsigned int mse_replay_count(const struct mse_endpoint *endpoint);
/* Whether one could send at this time and has nothing out. */
bool mse_replay_waits(const struct mse_endpoint *endpoint, int64_t now);
void mse_replay_end_all(struct mse_endpoint *endpoint, const char *problem);

/* gap.c */
struct mse_gap {
	const char *owner;     /* NULL: unknown */
	const char *lane;      /* NULL: one of its own */
	uint64_t lost;         /* 0: not known */
	const char *reason;
	const char *since;     /* NULL: not known */
	uint64_t from, to;     /* numbers concerned; 0: none */
};
/* Makes the Gap's row (free with mse_row_clear). */
int mse_gap_row(struct mse_endpoint *endpoint, const struct mse_gap *gap,
		uint64_t sequence, struct mse_row_copy *copy_r);
/* Gives the event up: DEAD (or, dropped, ANSWERED) and its Gap in one
   transaction. Takes the item unless it returns -1. */
int mse_gap_die(struct mse_item *item, enum mse_row_state state,
		const char *reason);
/* A Gap alone. */
int mse_gap_add(struct mse_endpoint *endpoint, const struct mse_gap *gap);
/* A Gap whose row the caller makes durable, in a lane of its own; and if it
   could not. */
int mse_gap_begin(struct mse_endpoint *endpoint,
		  const struct mse_ledger_row *row, uint64_t lowest);
void mse_gap_withdraw(struct mse_endpoint *endpoint,
		      const struct mse_ledger_row *row);
int mse_gap_announce(struct mse_endpoint *endpoint, uint64_t gap,
		     uint64_t lowest);
/* A Gap in a lane of its own is attempted before anything is read on. */
void mse_gap_unattempted(struct mse_lane *lane, struct mse_endpoint *endpoint);
void mse_gap_attempted(struct mse_lane *lane, struct mse_endpoint *endpoint);
void mse_gap_announced(struct mse_endpoint *endpoint, uint64_t gap);
/* The lowest number a Gap's record names, else its own. */
uint64_t mse_gap_lowest(const char *record, size_t len, uint64_t sequence);
void mse_gap_done(struct mse_job *job);

/* start.c */
int mse_endpoint_start(struct mse_deliver *deliver,
		       const struct mse_conf_endpoint *conf, bool first,
		       struct mse_endpoint **endpoint_r,
		       struct mse_error *error_r);

#endif
