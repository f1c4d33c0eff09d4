#ifndef MSE_JOURNAL_APPEND_H
#define MSE_JOURNAL_APPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "event/uuid.h"
#include "journal/intent.h"
#include "journal/interest.h"

/*
 * The producers' half of the journal, the only part of journal/ that runs in
 * mail processes (and, for its own events, in the daemon). It takes no lock,
 * never waits, never aborts and never fails the caller: what cannot be
 * appended is counted in presence. One per process; it survives changes of
 * the effective uid because its descriptors were opened before.
 */
struct mse_appender;

enum mse_durability {
	MSE_DURABILITY_PROCESS, /* survives kill -9 of anything */
	MSE_DURABILITY_POWER    /* fdatasync before the operation returns */
};

/* Opens dir (O_DIRECTORY) and, as far as they exist, journal and presence.
   -1 only if memory is out. What is absent (the daemon has never run) or may
   not be opened is tried again later, cheaply. */
int mse_appender_new(const char *dir, struct mse_appender **appender_r);
void mse_appender_free(struct mse_appender **appender);

/* The interest now: one fstat-sized look for a change. Never NULL; valid
   until the next call. No journal or interest file: empty. */
const struct mse_interest *
mse_appender_interest(struct mse_appender *appender);
/* The same as it was last looked at: no system call. */
const struct mse_interest *
mse_appender_known_interest(const struct mse_appender *appender);

/* The process's presence slot (claimed now if it has none) and its instance:
   what a record names that promises another one. -1: it has no slot of its
   own, so its death would not be seen. */
int mse_appender_presence(struct mse_appender *appender, unsigned int *slot_r,
			  char instance_r[MSE_UUID_SIZE]);

/* Before a change whose events will be appended: should the process die before
   mse_appender_done(), the daemon tells receivers what to read again. Copies
   it. 0: nobody will see it (no slot of its own, presence of an older daemon);
   then all is as without. */
uint32_t mse_appender_intend(struct mse_appender *appender,
			     const struct mse_intent *intent);
/* The change is reported, or did not happen. Any order; 0 is allowed. */
void mse_appender_done(struct mse_appender *appender, uint32_t id);

enum mse_append_result {
	MSE_APPEND_DONE,
	/* Counted in presence as `records` losses. Under MSE_DURABILITY_POWER
	   also if they could not be synced: they stand in the journal then and
	   are delivered, but what was promised is not kept, and nobody else
	   would tell if the power failed now. */
	MSE_APPEND_LOST,
	MSE_APPEND_UNSEEN  /* lost, and presence could not be reached either */
};

/* Appends whole records (as mse_event_write() makes them; `records` of them)
   in one write() up to 1 MiB, else in several of whole records. Rotation,
   the inode check before, the name check after, RLIMIT_FSIZE and the allowed
   size are journal.md, Appending. */
enum mse_append_result
mse_appender_append(struct mse_appender *appender, const struct mse_buf *bytes,
		    unsigned int records, enum mse_durability durability);

/* For who keeps the records and comes again (derive): the same under
   "process" durability, but what is not appended is not counted as lost. 0;
   -1: some or all of them are not in the journal, mse_appender_last_error()
   says why. Appended again, they have the ids they had. */
int mse_appender_try(struct mse_appender *appender,
		     const struct mse_buf *bytes, unsigned int records);

/* Counts events that never became bytes (memory, a lookup that failed). */
enum mse_append_result
mse_appender_count_lost(struct mse_appender *appender, unsigned int records);

/* Why the last append was not done, as a sentence for one log line. "" if it
   was. Borrowed. */
const char *mse_appender_last_error(const struct mse_appender *appender);

#endif
