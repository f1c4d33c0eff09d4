#ifndef MSE_LEDGER_LEDGER_H
#define MSE_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "event/uuid.h"
#include "journal/format.h"

/*
 * What is not the straight line: where each cursor stands, what is parked,
 * what died, seals and checkpoints, which losses were announced. Two
 * backends pass the same contract tests: ledger-sqlite.c (one connection,
 * WAL, synchronous=FULL) and ledger-memory.c.
 *
 * All calls are synchronous and belong to one thread; ledger/worker.h gives
 * the ledger a thread of its own and makes them asynchronous.
 *
 * Numbers (journal.md): a cursor commits (position, sequence S) together.
 * Rows above S keep their numbers and stay, even answered, until S passes
 * them.
 */
struct mse_ledger;

#define MSE_LEDGER_DERIVE "" /* derive's cursor; no endpoint is named so */

struct mse_ledger_cursor {
	char stream[MSE_UUID_SIZE];
	struct mse_position position;
	uint64_t sequence;      /* S: every number up to it is given out */
	uint64_t reserved;      /* bound reserved before use; 0: none */
	char filters[65];       /* digest of the filters the numbers obey */
	bool disabled;          /* 410 until resumed */
	bool paused;
};

enum mse_row_state {
	MSE_ROW_PARKED,   /* waits for its (next) attempt; its lane waits */
	MSE_ROW_DEAD,     /* given up; its Gap announces it */
	MSE_ROW_ANSWERED  /* 2xx; kept only while its number is above S */
};

struct mse_ledger_row {
	uint64_t sequence;      /* unique per endpoint; > 0 */
	enum mse_row_state state;
	bool gap;               /* a Gap (or another own event) of it alone */
	const char *id;         /* event id */
	const char *type;
	const char *lane;
	uint32_t attempts;
	int64_t used_ms;        /* of give_up: monotonic, breaker closed */
	int64_t parked_at_ms;   /* wall, for people */
	int64_t changed_at_ms;  /* wall: of the last attempt or of death */
	int last_status;        /* HTTP status of the last answer, 0: none */
	const char *last_error; /* sentence; "" if none */
	const void *record;     /* the journal record's JSON text */
	size_t record_len;      /* 0: bytes dropped (an old dead letter) */
	const void *answer;     /* first octets of the last answer's body */
	size_t answer_len;      /* 0: none; more than the bound is cut */
};
#define MSE_LEDGER_ANSWER_MAX 1024

/* A write transaction: all of it or nothing. A commit that fails leaves no
   transaction behind. A write outside of one is a transaction of its own. */
int mse_ledger_begin(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_ledger_commit(struct mse_ledger *ledger, struct mse_error *error_r);
void mse_ledger_rollback(struct mse_ledger *ledger);
/* A part of a transaction that can be undone alone; they nest. rollback_to
   undoes and forgets the innermost one. -1 from any of them may mean that
   the whole transaction is gone (disk full, I/O error): begin again. */
int mse_ledger_savepoint(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_ledger_release(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_ledger_rollback_to(struct mse_ledger *ledger,
			   struct mse_error *error_r);
void mse_ledger_free(struct mse_ledger **ledger);

/* 1 found, 0 not, -1 error. */
int mse_ledger_get_cursor(struct mse_ledger *ledger, const char *endpoint,
			  struct mse_ledger_cursor *cursor_r,
			  struct mse_error *error_r);
/* Inserts or replaces; forgets ANSWERED rows with sequence <= S. */
int mse_ledger_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_cursor *cursor,
			  struct mse_error *error_r);
/* Cursor, rows, batches, everything of this endpoint. */
int mse_ledger_drop_endpoint(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_error *error_r);
/* Each endpoint that has a cursor (not derive), by name. This and every other
   callback here may read the ledger but must not change it; a value other
   than 0 stops the loop and is returned. */
int mse_ledger_each_cursor(struct mse_ledger *ledger,
			   int (*found)(const char *endpoint,
					const struct mse_ledger_cursor *cursor,
					void *context),
			   void *context, struct mse_error *error_r);

/* Inserts or replaces the row of this (endpoint, sequence). */
int mse_ledger_put_row(struct mse_ledger *ledger, const char *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r);
/* Everything but the record's bytes; without an answer the row has none any
   more. Like delete_row, it does not mind that there is no such row (dropped
   while its request was in flight). */
int mse_ledger_update_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r);
int mse_ledger_delete_row(struct mse_ledger *ledger, const char *endpoint,
			  uint64_t sequence, struct mse_error *error_r);

/* Which rows mse_ledger_each_row() visits, in order of sequence. */
struct mse_row_filter {
	const char *endpoint;        /* required */
	const char *lane;            /* NULL: any */
	const char *id;              /* NULL: any */
	int state;                   /* enum mse_row_state, -1: any */
	uint64_t after;              /* sequence > after */
	unsigned int limit;          /* 0: none */
	bool heads_only;             /* the lowest PARKED row of each lane */
	bool with_record;            /* else record = NULL, record_len true */
	bool with_answer;            /* else answer = NULL, answer_len 0 */
};
/* The callback's row is borrowed; return non-zero to stop (and return it). */
int mse_ledger_each_row(struct mse_ledger *ledger,
			const struct mse_row_filter *filter,
			int (*found)(const struct mse_ledger_row *row,
				     void *context),
			void *context, struct mse_error *error_r);

struct mse_ledger_totals {
	uint64_t parked, parked_octets;
	uint64_t dead, dead_octets;
	uint64_t lowest_parked;      /* sequence; 0: none */
	uint64_t highest;            /* highest row number; 0: none */
};
int mse_ledger_totals(struct mse_ledger *ledger, const char *endpoint,
		      struct mse_ledger_totals *totals_r,
		      struct mse_error *error_r);
/* Dead letters: older than before_ms (changed_at) or beyond `octets` (oldest
   first) lose their bytes and their answer, not their line. */
int mse_ledger_trim_dead(struct mse_ledger *ledger, const char *endpoint,
			 int64_t before_ms, uint64_t octets,
			 struct mse_error *error_r);

/*
 * A batch that is, or was, on its way: several events in one request. It is
 * here from before its first POST until it is answered, so that it is the same
 * after any crash.
 */
struct mse_ledger_batch {
	const char *id;         /* webhook-id */
	const char *members;    /* its events' numbers, ascending: "4-9,12" */
	uint64_t digest;        /* of their ids, below 2^63 */
	uint32_t attempts;
	int64_t used_ms;        /* as of a row */
};
/* Inserts or replaces the one of this (endpoint, id). */
int mse_ledger_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r);
/* Does not mind that there is none. */
int mse_ledger_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r);
/* In order of id; borrowed, as with rows. */
int mse_ledger_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r);

/* Seals, checkpoints (one per MiB and file), announced losses, and named
   values ("generation", "boot-id", "clean", …). */
int mse_ledger_put_seal(struct mse_ledger *ledger, const char *file,
			uint64_t length, struct mse_error *error_r);
int mse_ledger_each_seal(struct mse_ledger *ledger,
			 int (*found)(const char *file, uint64_t length,
				      void *context),
			 void *context, struct mse_error *error_r);
int mse_ledger_put_checkpoint(struct mse_ledger *ledger,
			      const struct mse_position *position,
			      struct mse_error *error_r);
/* From the highest offset down. */
int mse_ledger_each_checkpoint(struct mse_ledger *ledger, const char *file,
			       int (*found)(const struct mse_position *position,
					    void *context),
			       void *context, struct mse_error *error_r);
/* Forgets seals and checkpoints of a released file. */
int mse_ledger_forget_file(struct mse_ledger *ledger, const char *file,
			   struct mse_error *error_r);
int mse_ledger_put_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t lost, struct mse_error *error_r);
/* 1 found, 0 not (*lost_r = 0), -1 error. */
int mse_ledger_get_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t *lost_r, struct mse_error *error_r);
int mse_ledger_put_value(struct mse_ledger *ledger, const char *name,
			 const char *value, struct mse_error *error_r);
/* 1 found (value_r NUL-terminated, cut at size), 0 not, -1 error. */
int mse_ledger_get_value(struct mse_ledger *ledger, const char *name,
			 char *value_r, size_t size, struct mse_error *error_r);

/*
 * What derive remembers between events: text by kind and key, changed in the
 * transaction that moves its cursor. kind: a word of ours, without "/".
 */
int mse_ledger_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r);
/* Does not mind that there is none. */
int mse_ledger_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r);
/* Forgets all keys of a kind. */
int mse_ledger_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r);
/* 1 found (appended to value), 0 not, -1 error (also: beyond value's limit). */
int mse_ledger_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r);
/* In order of key (octets), those behind `after` (NULL: all), at most `limit`
   (0: no limit). key and value are borrowed; the callback may read the
   ledger but not change it; non-zero stops and is returned. */
int mse_ledger_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r);

/* ledger.db in dir_path: takes the lock of `ledger.lock` (a second daemon
   waits for it up to wait_ms, then is told who holds it), opens or creates,
   checks the schema version. created_r: there was none. A corrupt file is
   an error here (mse_ledger_error_is_corrupt); the daemon decides to set it
   aside. */
int mse_ledger_open_sqlite(const char *dir_path, int wait_ms, bool *created_r,
			   struct mse_ledger **ledger_r,
			   struct mse_error *error_r);
/* Whether the ledger's contents are damaged; such a sentence has "corrupt: "
   in front of it. Any call may say so. */
bool mse_ledger_error_is_corrupt(const struct mse_error *error);
/* Renames ledger.db (and -wal, -shm) to ledger.db.corrupt-TIME (and -wal,
   -shm). The ledger must be closed: refused while somebody holds its lock. */
int mse_ledger_set_aside(const char *dir_path, struct mse_error *error_r);
struct mse_ledger *mse_ledger_new_memory(void);

#endif
