#ifndef MSE_JOURNAL_JOURNAL_H
#define MSE_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "journal/format.h"

/*
 * The daemon's half: the set of files, their rotation, sealing and release.
 * Nothing here blocks but the fsyncs of a rotation (twice an hour at most on
 * a busy server).
 */
struct mse_journal;

struct mse_journal_limits {
	uint64_t file_size;     /* rotate at; MSE_JOURNAL_FILE_SIZE */
	int64_t retention_ms;
	uint64_t journal_limit; /* octets, all files together */
};

/* Opens the directory, finishes a rotation that a crash interrupted, makes
   what is missing (journal, presence). Refuses a network file system. */
int mse_journal_open(const char *dir, const struct mse_journal_limits *limits,
		     const struct mse_clock *clock,
		     struct mse_journal **journal_r, struct mse_error *error_r);
void mse_journal_close(struct mse_journal **journal);
void mse_journal_set_limits(struct mse_journal *journal,
			    const struct mse_journal_limits *limits);
int mse_journal_dir_fd(const struct mse_journal *journal);
int mse_journal_presence_fd(const struct mse_journal *journal);
/* True if open() found no journal at all, made a new presence, or moved a
   foreign file aside to journal.foreign-TIME. */
bool mse_journal_was_created(const struct mse_journal *journal);

/* inotify descriptor, readable when the current file grew or was replaced;
   mse_journal_watch_drain() empties it and tells whether there was anything.
   -1 if inotify is not to be had: the safety timer alone then. */
int mse_journal_watch_fd(const struct mse_journal *journal);
bool mse_journal_watch_drain(struct mse_journal *journal);

/* fdatasync of every file that grew since the last one. */
int mse_journal_sync(struct mse_journal *journal, struct mse_error *error_r);
/* The same in three steps, so that nobody waits for the disk: begin notes what
   is there now (-1 if memory is out), run may be called in any thread and
   more than once, end in begin's thread, also after the journal was closed;
   synced: run returned 0. end takes NULL. */
struct mse_journal_sync;
int mse_journal_sync_begin(struct mse_journal *journal,
			   struct mse_journal_sync **sync_r);
int mse_journal_sync_run(const struct mse_journal_sync *sync,
			 struct mse_error *error_r);
void mse_journal_sync_end(struct mse_journal_sync **sync, bool synced);

struct mse_journal_file {
	char uuid[MSE_UUID_SIZE];
	uint64_t number;        /* N of journal.N; 0 for the current file */
	uint64_t size;
	bool current;
	bool sealed;            /* a rotated file: length committed */
	uint64_t sealed_length;
	int64_t newest_ms;      /* wall time of its last change */
};
/* Oldest first. Valid until the next call into the journal. */
const struct mse_journal_file *
mse_journal_files(const struct mse_journal *journal, unsigned int *count_r);

/* Rotation: new current file in place, the old one readable on but not
   sealed. True in *rotated_r if it was due (or forced). */
int mse_journal_rotate(struct mse_journal *journal, bool force,
		       bool *rotated_r, struct mse_error *error_r);
/* A rotated file is sealed once the caller has committed {uuid, length} to
   the ledger. length: what the caller committed (at least all whole records
   seen). At start-up the caller repeats the seals the ledger holds. */
void mse_journal_seal(struct mse_journal *journal, const char *uuid,
		      uint64_t length);

/* What is still behind the seal of a rotated file: reads whole records that
   processes appended late. derive appends them once more (member `late`).
   Calls back for each record's JSON text, once while the journal is open; after
   a start for all of them again. A callback that returns -1 ends it with an
   error; that record comes again the next time. Works for the files that the
   last mse_journal_release() unlinked, too: call it for them after it. */
int mse_journal_each_late(struct mse_journal *journal, const char *uuid,
			  int (*found)(const char *text, size_t len,
				       void *context),
			  void *context, struct mse_error *error_r);

/* Releases what may go: files older than retention that `oldest_needed` (the
   uuid of the oldest file any cursor stands in) has passed; and, beyond
   journal_limit, the oldest rotated file whatever stands in it. Calls back
   before each unlink; the callback's journal file is still readable. forced:
   a cursor may still stand in it. */
int mse_journal_release(struct mse_journal *journal,
			const char *oldest_needed,
			void (*released)(const struct mse_journal_file *file,
					 bool forced, void *context),
			void *context, struct mse_error *error_r);
/* Writes the size allowed for the current file into presence (and keeps the
   generation), and touches the directory if it is another one than before: so
   producers, which look at the directory only, know. Call after open, rotate,
   release. */
int mse_journal_allow(struct mse_journal *journal, uint64_t generation,
		      struct mse_error *error_r);

#endif
