#ifndef MSE_DERIVE_DERIVE_PRIVATE_H
#define MSE_DERIVE_DERIVE_PRIVATE_H

#include "base/buf.h"
#include "derive/derive.h"
#include "event/event.h"
#include "event/record.h"
#include "journal/presence.h"
#include "journal/reader.h"

/* Shared by the files of derive/ only. */

/* A set of strings: causes and ids met between the cursor and the end. */
struct mse_derive_seen {
	char **slots;
	size_t size;             /* a power of two, or 0 */
	size_t count;
};
int mse_derive_seen_add(struct mse_derive_seen *seen, const char *text);
bool mse_derive_seen_has(const struct mse_derive_seen *seen,
			 const char *text);
void mse_derive_seen_clear(struct mse_derive_seen *seen);

#define MSE_DERIVE_CAUSE_SIZE 96
/* So much is noted, then it is committed before anything more is read. */
#define MSE_DERIVE_STATE_MAX 4000

/* A Gap that waits to be appended. */
struct mse_derive_gap {
	char cause[MSE_DERIVE_CAUSE_SIZE];
	const char *reason;      /* a literal */
	uint64_t lost;           /* 0: unknown, the member is left out */
	int64_t since_ms;        /* wall; 0: unknown */
	int64_t until_ms;
};

/* A Resync that waits to be appended, if its cause is not there already; then,
   if it comes from intents, those wait to be cleared. */
struct mse_derive_resync {
	char cause[MSE_DERIVE_CAUSE_SIZE];
	char *record;            /* the bytes to append */
	size_t len;
	unsigned int slot;       /* whose intents; 0: it comes from none */
	bool appended;           /* or was there */
};

/* By file: octets behind the seal that were appended again, and "torn" if
   an incomplete record there has been told. */
#define MSE_DERIVE_LATE "late"

/* What is known of a sealed file's tail. */
struct mse_derive_tail {
	char file[MSE_UUID_SIZE];
	uint64_t met;            /* octets of whole records seen there */
	uint64_t handled;        /* of them, appended again or in line */
	uint64_t looked_at;      /* file size at the last look */
	int64_t same_since;      /* mono: that size since */
	bool torn_told;
	bool listed;             /* the journal still has the file */
};

/* What the next commit brings into the ledger besides the cursor. */
struct mse_derive_changes {
	struct mse_position *checkpoints;
	size_t checkpoint_count, checkpoint_size;
	struct mse_derive_announced {
		unsigned int slot;
		uint64_t lost;
	} *announced;
	size_t announced_count, announced_size;
	struct mse_derive_late {
		char file[MSE_UUID_SIZE];
		uint64_t handled;
		bool torn_told;
	} *late;
	size_t late_count, late_size;
	/* Derived state, applied in this order. */
	struct mse_derive_state {
		const char *kind;        /* a literal */
		char *key;               /* NULL: all of the kind */
		char *value;             /* NULL: deleted */
	} *state;
	size_t state_count, state_size;
	char (*forgotten)[MSE_UUID_SIZE]; /* released files */
	size_t forgotten_count, forgotten_size;
	/* What resolving a batch of facts came to: all of it or nothing. */
	struct mse_derive_state *resolved;
	size_t resolved_count;
	char seal_file[MSE_UUID_SIZE]; /* "": no seal */
	uint64_t seal_length;
	bool boot;               /* this boot is accounted for */
};

struct mse_derive_commit;
struct mse_derive_batch;

struct mse_derive {
	struct mse_journal *journal;
	struct mse_ledger_worker *ledger;
	struct mse_appender *appender;
	const struct mse_clock *clock;
	char *server_name, *server_fqdn;

	struct mse_journal_reader *reader;
	struct mse_position position;   /* behind the last record read */
	struct mse_position committed;
	int64_t last_record_ms;         /* wall time of that record; 0 */
	bool caught_up;                 /* read to the end since the start */
	bool at_end;                    /* the last read said END */
	bool has_missed;                /* facts were read before that */
	bool reads_again;               /* until the end, for those facts */
	struct mse_derive_seen seen;    /* only until caught up and appended */

	/* Damage being read; closed by the next record or the end. */
	bool in_damage, damage_torn;
	uint64_t damage_start;
	char damage_file[MSE_UUID_SIZE];
	/* A file that went away unread, while its Gap is not in line; "". */
	char released_cause[MSE_DERIVE_CAUSE_SIZE];

	char checkpoint_file[MSE_UUID_SIZE];
	uint64_t checkpoint_offset;     /* of the last one */

	struct mse_derive_gap *gaps;
	size_t gap_count, gap_size;
	struct mse_derive_resync *resyncs;
	size_t resync_count, resync_size;
	struct mse_derive_tail *tails;
	size_t tail_count, tail_size;
	/* Records in line to be appended: late ones, once more, and Logouts
	   of lost sessions. */
	struct mse_buf late;
	unsigned int late_records;
	struct mse_derive_batch *batch; /* facts, noted or being resolved */
	struct mse_buf events;          /* what follows from them, in line */
	unsigned int event_records;
	int64_t resolve_at;             /* mono: not before */
	struct mse_derive_status met;   /* counted; behind_octets is not */

	uint64_t announced[MSE_PRESENCE_SLOTS];
	int64_t announced_until[MSE_PRESENCE_SLOTS];
	int64_t presence_at;            /* mono: next look */
	int64_t all_slots_at;           /* mono: that is one at all slots */
	int64_t look_until;             /* one more after this time, at least */
	bool has_read;                  /* records, in this run */
	int64_t append_at;              /* mono: not before */
	int64_t append_wait_ms;
	int64_t commit_at;              /* mono: not before */
	int64_t settle_at;              /* mono: no seal before */
	int64_t settle_until;           /* mono: then, whoever is at work */
	int64_t rotated_ms;             /* wall; or the daemon's start */

	/* Reading rounds: the journal's end was reached so often; what was
	   read up to one of them is committed; how often it had been when
	   something was appended last. */
	uint64_t read_round, committed_round, appended_round;
	struct mse_sessions *sessions;

	char boot_id[MSE_UUID_SIZE];    /* this boot's */
	bool boot_pending;              /* its Gap is not in the journal yet */
	struct mse_derive_changes changes;
	struct mse_derive_commit *commit; /* in flight or to be repeated */
	bool commit_failed;
	struct mse_error error;         /* to be told by the next run */
	bool has_error;
};

/* Makes room for one more element of an array. NULL: out of memory. */
void *mse_derive_grow(void *array, size_t *size, size_t count,
		      size_t element);

/* derive-start.c: what the ledger remembers, and where to begin. */
int mse_derive_load(struct mse_derive *derive, struct mse_error *error_r);

/* derive-gap.c */
/* An event of the daemon's own, with what all of those carry. Borrows from
   derive and uri. */
void mse_derive_event_init(const struct mse_derive *derive,
			   enum mse_event_type type, const char *uri,
			   struct mse_event *event_r);
int mse_derive_gap_add(struct mse_derive *derive, const char *cause,
		       const char *reason, uint64_t lost, int64_t since_ms,
		       int64_t until_ms);
void mse_derive_gap_write(const struct mse_derive *derive,
			  const struct mse_derive_gap *gap,
			  struct mse_buf *buf);
/* Appends the record to buf; -1: memory is out, and buf is as it was. */
int mse_derive_put_event(const struct mse_event *event, struct mse_buf *buf);
/* Looks at the losses of so many slots of presence, and at tails of sealed
   files. */
int mse_derive_look_at_losses(struct mse_derive *derive, unsigned int slots,
			      struct mse_error *error_r);
int mse_derive_look_at_tails(struct mse_derive *derive, int64_t mono_ms,
			     struct mse_error *error_r);
struct mse_derive_tail *mse_derive_tail_of(struct mse_derive *derive,
					   const char *file);

/* derive-resync.c */
/* Looks for what dead processes of so many slots were changing. */
int mse_derive_look_at_intents(struct mse_derive *derive, unsigned int slots,
			       struct mse_error *error_r);
/* Those in line, as records for one append. */
void mse_derive_resyncs_write(struct mse_derive *derive,
			      struct mse_buf *bytes, unsigned int *records);
/* They are in the journal. */
void mse_derive_resyncs_appended(struct mse_derive *derive);
/* Syncs the journal and clears the intents of those that were appended. Goes
   before any commit of the cursor: behind the record, nothing would say that
   the intents have been told. */
int mse_derive_resyncs_settle(struct mse_derive *derive,
			      struct mse_error *error_r);
void mse_derive_resyncs_free(struct mse_derive *derive);

/* derive-facts.c: what follows from records of interest. */
/* Notes the record if something can follow from it. -1: out of memory. */
int mse_derive_note(struct mse_derive *derive, const struct mse_record *record);
/* False while outcomes wait to be committed, or too much is noted. */
bool mse_derive_may_read(const struct mse_derive *derive);
/* Sends what is noted to the ledger's thread, one batch at a time. */
void mse_derive_resolve(struct mse_derive *derive, int64_t mono_ms);
void mse_derive_batch_leave(struct mse_derive *derive);
void mse_derive_state_free(struct mse_derive_state *list, size_t count);

/* derive-commit.c */
int mse_derive_note_checkpoint(struct mse_derive *derive,
			       const struct mse_position *position);
int mse_derive_note_announced(struct mse_derive *derive, unsigned int slot,
			      uint64_t lost);
int mse_derive_note_late(struct mse_derive *derive,
			 const struct mse_derive_tail *tail);
/* What derive remembers changes with its cursor. kind: a literal; value NULL:
   the key is forgotten, or with key NULL all of the kind. */
int mse_derive_note_state(struct mse_derive *derive, const char *kind,
			  const char *key, const char *value);
int mse_derive_note_forgotten(struct mse_derive *derive, const char *file);
bool mse_derive_has_changes(const struct mse_derive *derive);
/* Submits cursor and changes in one job, or only the seal (all = false), or
   the failed job again. The journal must have been synced. */
int mse_derive_submit(struct mse_derive *derive, bool all,
		      struct mse_error *error_r);
/* Forgets a job in flight and leaves "clean" behind. */
void mse_derive_submit_clean(struct mse_derive *derive);
void mse_derive_changes_clear(struct mse_derive_changes *changes);

/* derive-copy.c */

/* An event with strings of its own. */
struct mse_derive_copy {
	struct mse_event event;
	char *strings[MSE_PARAM_COUNT];
};

/* A new event, with an id of now, that carries what the record carried; user
   and owner are borrowed from it. -1: memory is out, or it holds something
   that cannot be. Free with mse_derive_copy_clear(). */
int mse_derive_copy_init(const struct mse_derive *derive,
			 const struct mse_record *record,
			 enum mse_event_type type, int64_t time_ms,
			 struct mse_derive_copy *copy_r);
void mse_derive_copy_clear(struct mse_derive_copy *copy);

#endif
