/*
 * Where in the journal to begin looking for what happened since some time.
 *
 * The ledger keeps a checkpoint per MiB of journal; the id in it says when
 * that record's event happened. Events are appended a little after they
 * happen, and clocks step.
 *
 * Invariant: what lies before the place found is all older than asked for, by
 * the checkpoints there are; with none the place is the journal's beginning.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <string.h>

#include "daemon/daemon-private.h"
#include "journal/reader.h"
#include "ledger/worker.h"

/* A transaction may be as old as this when it commits. */
#define MSE_FIND_SLACK_MS (10 * 60000)

struct mse_control_find {
	const struct mse_journal_file *files;
	unsigned int count;
	int64_t before_ms;
	struct mse_position position;
	bool found;
};

/* From the youngest to the oldest: the first one before all that are younger
   than asked for. */
static int mse_control_take_checkpoint(const struct mse_position *position,
				       void *context)
{
	struct mse_control_find *find = context;

	if (mse_uuid_time_ms(position->id) >= find->before_ms) {
		find->found = false;
	} else if (!find->found) {
		find->position = *position;
		find->found = true;
	}
	return 0;
}

static int mse_control_find_run(struct mse_ledger *ledger, void *context,
				struct mse_error *error_r)
{
	struct mse_control_find *find = context;
	unsigned int i;

	find->found = false;
	for (i = find->count; i > 0; i--) {
		if (mse_ledger_each_checkpoint(ledger, find->files[i - 1].uuid,
					       mse_control_take_checkpoint,
					       find, error_r) < 0)
			return -1;
	}
	return 0;
}

int mse_control_find_since(struct mse_daemon *daemon, int64_t since_ms,
			   struct mse_position *position_r,
			   struct mse_error *error_r)
{
	struct mse_control_find find = { .before_ms = INT64_MIN };

	if (since_ms > INT64_MIN + MSE_FIND_SLACK_MS)
		find.before_ms = since_ms - MSE_FIND_SLACK_MS;
	find.files = mse_journal_files(daemon->journal, &find.count);
	if (mse_ledger_worker_call(daemon->ledger, mse_control_find_run, &find,
				   error_r) < 0)
		return -1;
	if (find.found && mse_journal_match(daemon->journal, &find.position) ==
	    MSE_MATCH_YES)
		*position_r = find.position;
	else
		mse_journal_oldest(daemon->journal, position_r);
	return 0;
}
