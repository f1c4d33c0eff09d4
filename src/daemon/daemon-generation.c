/*
 * Whether the ledger is the one that belongs to this journal.
 *
 * Each start, each reload and each hour count one generation up, in the ledger
 * and then in presence. A ledger that has none beside existing journal files
 * is a new one: the old one was lost, and endpoints begin at the oldest kept
 * record. One with a lower number than presence was restored from a backup:
 * what it numbered since then is unknown, so each of its cursors begins a new
 * stream, which an empty stream stands for until its endpoint is started.
 *
 * Invariant: what was found is in the ledger with the new generation, in one
 * transaction, until every endpoint has acted on it: a crash in between
 * forgets nothing.
 */
#include "mse-config.h"

#include "daemon/daemon-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "journal/journal.h"
#include "journal/presence.h"
#include "ledger/worker.h"

struct mse_daemon_generation {
	uint64_t presence; /* what presence says */
	bool had_journal;
	uint64_t next;     /* out: ours from now on */
	bool lost;         /* out: the ledger is a new one */
	bool restored;     /* out: it is older than presence */
};

struct mse_daemon_names {
	char (*list)[128];
	size_t count;
};

static int mse_daemon_note_name(const char *endpoint,
				const struct mse_ledger_cursor *cursor,
				void *context)
{
	struct mse_daemon_names *names = context;
	char (*list)[128] = realloc(names->list, (names->count + 1) *
				    sizeof(*list));

	if (list == NULL)
		return 1;
	names->list = list;
	(void)snprintf(list[names->count++], sizeof(*list), "%s", endpoint);
	return 0;
}

static int mse_daemon_end_stream(struct mse_ledger *ledger,
				 const char *endpoint,
				 struct mse_error *error_r)
{
	struct mse_ledger_cursor cursor;

	if (mse_ledger_get_cursor(ledger, endpoint, &cursor, error_r) < 1)
		return -1;
	cursor.stream[0] = '\0';
	return mse_ledger_put_cursor(ledger, endpoint, &cursor, error_r);
}

/* Also of endpoints that are not configured now: they may come back. */
static int mse_daemon_end_streams(struct mse_ledger *ledger,
				  struct mse_error *error_r)
{
	struct mse_daemon_names names = { NULL, 0 };
	size_t i;
	int ret;

	ret = mse_ledger_each_cursor(ledger, mse_daemon_note_name, &names,
				     error_r);
	if (ret > 0)
		ret = mse_error_set(error_r, "there is no memory");
	for (i = 0; i < names.count && ret == 0; i++)
		ret = mse_daemon_end_stream(ledger, names.list[i], error_r);
	free(names.list);
	return ret;
}

static int mse_daemon_generation_store(struct mse_ledger *ledger,
				       void *context,
				       struct mse_error *error_r)
{
	struct mse_daemon_generation *generation = context;
	char text[32], rebuilt[4] = "";
	uint64_t number = 0;
	int found;

	found = mse_ledger_get_value(ledger, "generation", text, sizeof(text),
				     error_r);
	if (found < 0 ||
	    mse_ledger_get_value(ledger, "rebuilt", rebuilt, sizeof(rebuilt),
				 error_r) < 0)
		return -1;
	if (found > 0)
		number = strtoull(text, NULL, 10);
	generation->lost = (found == 0 && generation->had_journal) ||
		strcmp(rebuilt, "1") == 0;
	generation->restored = found > 0 && number < generation->presence;
	if (number < generation->presence)
		number = generation->presence;
	generation->next = number + 1;
	(void)snprintf(text, sizeof(text), "%" PRIu64, generation->next);
	if (mse_ledger_put_value(ledger, "generation", text, error_r) < 0 ||
	    (generation->lost &&
	     mse_ledger_put_value(ledger, "rebuilt", "1", error_r) < 0))
		return -1;
	return generation->restored ?
		mse_daemon_end_streams(ledger, error_r) : 0;
}

/* The ledger first: a crash between the two leaves presence behind, which
   says nothing; the other order would say that the ledger is an old one. */
int mse_daemon_generation_begin(struct mse_daemon *daemon, bool had_journal,
				struct mse_error *error_r)
{
	struct mse_daemon_generation generation;
	struct mse_presence_head head;

	memset(&generation, 0, sizeof(generation));
	generation.had_journal = had_journal;
	if (mse_presence_read_head(mse_journal_presence_fd(daemon->journal),
				   &head) == 0)
		generation.presence = head.generation;
	if (mse_ledger_worker_call(daemon->ledger, mse_daemon_generation_store,
				   &generation, error_r) < 0)
		return -1;
	daemon->generation = generation.next;
	daemon->generation_at_ms = mse_daemon_now() + MSE_GENERATION_MS;
	daemon->ledger_rebuilt = generation.lost;
	if (generation.lost)
		mse_log(MSE_LOG_WARNING, "%s has a journal but no ledger: it "
			"was lost, and what is in the journal is sent again, "
			"with a Gap", daemon->options.dir);
	if (generation.restored)
		mse_log(MSE_LOG_WARNING, "the ledger is older than the rest "
			"of %s (restored from a backup?): what came since "
			"then is sent again, with a Gap",
			daemon->options.dir);
	return mse_journal_allow(daemon->journal, daemon->generation, error_r);
}

static int mse_daemon_generation_put(struct mse_ledger *ledger, void *context,
				     struct mse_error *error_r)
{
	const uint64_t *next = context;
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, *next);
	return mse_ledger_put_value(ledger, "generation", text, error_r);
}

int mse_daemon_generation_next(struct mse_daemon *daemon,
			       struct mse_error *error_r)
{
	uint64_t next = daemon->generation + 1;

	daemon->generation_at_ms = mse_daemon_now() + MSE_GENERATION_MS;
	if (mse_ledger_worker_call(daemon->ledger, mse_daemon_generation_put,
				   &next, error_r) < 0)
		return -1;
	daemon->generation = next;
	return mse_journal_allow(daemon->journal, next, error_r);
}

static int mse_daemon_generation_clear(struct mse_ledger *ledger,
				       void *context,
				       struct mse_error *error_r)
{
	return mse_ledger_put_value(ledger, "rebuilt", "0", error_r);
}

int mse_daemon_generation_done(struct mse_daemon *daemon,
			       struct mse_error *error_r)
{
	return !daemon->ledger_rebuilt ? 0 :
		mse_ledger_worker_call(daemon->ledger,
				       mse_daemon_generation_clear, NULL,
				       error_r);
}
