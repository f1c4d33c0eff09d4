#ifndef MSE_DERIVE_DERIVE_H
#define MSE_DERIVE_DERIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "event/uuid.h"
#include "journal/append.h"
#include "journal/journal.h"
#include "ledger/worker.h"

/*
 * Journal in, events out: Gaps for losses counted in presence, for damaged
 * journal bytes, for an unclean boot; Resyncs for what mail processes were
 * changing when they died; records appended behind a seal, once more. Also
 * keeps the journal in shape: checkpoints, rotation, seals.
 * Exactly once: every record appended names its cause; after a start derive
 * reads from its cursor to the journal's end before it appends, and appends
 * nothing whose cause is already there.
 */
struct mse_derive;

struct mse_derive_parts {
	struct mse_journal *journal;
	struct mse_ledger_worker *ledger;
	struct mse_appender *appender;
	const struct mse_clock *clock;
	const char *server_name;
	const char *server_fqdn;
};

int mse_derive_new(const struct mse_derive_parts *parts,
		   struct mse_derive **derive_r, struct mse_error *error_r);
void mse_derive_free(struct mse_derive **derive);
/* Right after _new(): the machine has stopped under the last daemon. What came
   last may be gone from the journal, and other records be in its place. */
bool mse_derive_is_unclean_boot(const struct mse_derive *derive);
/* Reads what there is, appends what follows from it; commits. Returns the
   monotonic time to be called again at the latest (looking at presence). A
   sentence in error_r (return INT64_MAX - 1) if something needs saying: say
   it and call again within two seconds. */
int64_t mse_derive_run(struct mse_derive *derive, struct mse_error *error_r);
/* A mailbox, or all of an owner's, that receivers have to read again. */
struct mse_resync {
	const char *reason;      /* for people */
	const char *user;        /* who changed it; NULL: unknown */
	const char *owner;       /* lane: the mailbox's owner, or the prefix of
				    a public namespace; NULL: the user */
	bool is_public;          /* the latter: URLs name no user */
	const char *mailbox;     /* NULL: all of the owner's */
	const char *old_mailbox; /* its name before, perhaps; NULL */
	int64_t since_ms;        /* wall; 0: unknown */
	/* From which state; 0: unknown. */
	uint32_t uidvalidity, uidnext;
	uint64_t modseq;
};
/* Puts a vnd.mailhook.Resync in line: the next run appends it. cause: of at
   most 95 octets, never used for anything else: a Resync whose cause the
   journal already had at the start, or that is in line, is not put there
   again. id_r (may be NULL): of the event. Strings are copied. -1: memory is
   out. */
int mse_derive_resync(struct mse_derive *derive, const char *cause,
		      const struct mse_resync *resync,
		      char id_r[MSE_UUID_SIZE]);
/* Some are still in line: not in the journal, or not synced there. */
bool mse_derive_has_resyncs(const struct mse_derive *derive);
/* Nothing waits to be committed. */
bool mse_derive_is_idle(const struct mse_derive *derive);
struct mse_derive_status {
	uint64_t behind_octets;  /* journal not read yet */
	/* Since the start: */
	uint64_t torn, damaged;  /* torn records, other damage that was met */
	uint64_t late;           /* records appended once more */
	uint64_t resyncs;        /* appended */
};
void mse_derive_get_status(const struct mse_derive *derive,
			   struct mse_derive_status *status_r);
/* uuid of the file derive's cursor stands in. */
const char *mse_derive_file(const struct mse_derive *derive);

#endif
