/*
 * derive's commits: cursor, announced losses, checkpoints, seal, all in one
 * job, so that a crash leaves them all or none.
 *
 * Invariant: at most one job is out; what it carries belongs to it, and a job
 * that failed is submitted again before any newer one.
 */
#include "derive/derive-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mse_derive_commit {
	struct mse_ledger_job job; /* first: the worker's view */
	struct mse_derive *derive; /* NULL: it is gone */
	struct mse_ledger_cursor cursor;
	struct mse_journal_sync *sync; /* before the cursor */
	struct mse_derive_changes changes;
	uint64_t round;            /* all read up to it is in */
	char boot_id[MSE_UUID_SIZE];
	char alive[MSE_TIMESTAMP_SIZE];
};

int mse_derive_note_checkpoint(struct mse_derive *derive,
			       const struct mse_position *position)
{
	struct mse_derive_changes *changes = &derive->changes;
	struct mse_position *list;

	list = mse_derive_grow(changes->checkpoints, &changes->checkpoint_size,
			       changes->checkpoint_count, sizeof(*list));
	if (list == NULL)
		return -1;
	changes->checkpoints = list;
	list[changes->checkpoint_count++] = *position;
	return 0;
}

int mse_derive_note_announced(struct mse_derive *derive, unsigned int slot,
			      uint64_t lost)
{
	struct mse_derive_changes *changes = &derive->changes;
	struct mse_derive_announced *list;

	list = mse_derive_grow(changes->announced, &changes->announced_size,
			       changes->announced_count, sizeof(*list));
	if (list == NULL)
		return -1;
	changes->announced = list;
	list += changes->announced_count++;
	list->slot = slot;
	list->lost = lost;
	return 0;
}

int mse_derive_note_late(struct mse_derive *derive,
			 const struct mse_derive_tail *tail)
{
	struct mse_derive_changes *changes = &derive->changes;
	struct mse_derive_late *list;

	list = mse_derive_grow(changes->late, &changes->late_size,
			       changes->late_count, sizeof(*list));
	if (list == NULL)
		return -1;
	changes->late = list;
	list += changes->late_count++;
	memcpy(list->file, tail->file, sizeof(list->file));
	list->handled = tail->handled;
	list->torn_told = tail->torn_told;
	return 0;
}

int mse_derive_note_state(struct mse_derive *derive, const char *kind,
			  const char *key, const char *value)
{
	struct mse_derive_changes *changes = &derive->changes;
	struct mse_derive_state *list;

	list = mse_derive_grow(changes->state, &changes->state_size,
			       changes->state_count, sizeof(*list));
	if (list == NULL)
		return -1;
	changes->state = list;
	list += changes->state_count;
	list->kind = kind;
	list->key = key == NULL ? NULL : strdup(key);
	list->value = value == NULL ? NULL : strdup(value);
	if ((key != NULL && list->key == NULL) ||
	    (value != NULL && list->value == NULL)) {
		free(list->key);
		free(list->value);
		return -1;
	}
	changes->state_count++;
	return 0;
}

int mse_derive_note_forgotten(struct mse_derive *derive, const char *file)
{
	struct mse_derive_changes *changes = &derive->changes;
	char (*list)[MSE_UUID_SIZE];

	list = mse_derive_grow(changes->forgotten, &changes->forgotten_size,
			       changes->forgotten_count, sizeof(*list));
	if (list == NULL)
		return -1;
	changes->forgotten = list;
	snprintf(list[changes->forgotten_count++], MSE_UUID_SIZE, "%s", file);
	return 0;
}

void mse_derive_state_free(struct mse_derive_state *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(list[i].key);
		free(list[i].value);
	}
	free(list);
}

void mse_derive_changes_clear(struct mse_derive_changes *changes)
{
	mse_derive_state_free(changes->state, changes->state_count);
	mse_derive_state_free(changes->resolved, changes->resolved_count);
	free(changes->checkpoints);
	free(changes->announced);
	free(changes->late);
	free(changes->forgotten);
	memset(changes, 0, sizeof(*changes));
}

bool mse_derive_has_changes(const struct mse_derive *derive)
{
	const struct mse_derive_changes *changes = &derive->changes;

	return changes->checkpoint_count > 0 || changes->announced_count > 0 ||
	       changes->late_count > 0 || changes->state_count > 0 ||
	       changes->forgotten_count > 0 || changes->resolved_count > 0 ||
	       changes->seal_file[0] != '\0' ||
	       changes->boot ||
	       strcmp(derive->position.file, derive->committed.file) != 0 ||
	       derive->position.offset != derive->committed.offset;
}

static int put_state(struct mse_ledger *ledger,
		     const struct mse_derive_state *state,
		     struct mse_error *error_r)
{
	if (state->key == NULL)
		return mse_ledger_clear_derived(ledger, state->kind, error_r);
	if (state->value == NULL)
		return mse_ledger_delete_derived(ledger, state->kind,
						 state->key, error_r);
	return mse_ledger_put_derived(ledger, state->kind, state->key,
				      state->value, error_r);
}

static int put_states(struct mse_ledger *ledger,
		      const struct mse_derive_state *list, size_t count,
		      struct mse_error *error_r)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (put_state(ledger, &list[i], error_r) < 0)
			return -1;
	}
	return 0;
}

static int put_lists(struct mse_ledger *ledger,
		     const struct mse_derive_changes *changes,
		     struct mse_error *error_r)
{
	char value[32];
	size_t i;

	for (i = 0; i < changes->checkpoint_count; i++) {
		if (mse_ledger_put_checkpoint(ledger, &changes->checkpoints[i],
					      error_r) < 0)
			return -1;
	}
	for (i = 0; i < changes->announced_count; i++) {
		if (mse_ledger_put_announced(ledger,
					     changes->announced[i].slot,
					     changes->announced[i].lost,
					     error_r) < 0)
			return -1;
	}
	for (i = 0; i < changes->late_count; i++) {
		snprintf(value, sizeof(value), "%" PRIu64 "%s",
			 changes->late[i].handled,
			 changes->late[i].torn_told ? " torn" : "");
		if (mse_ledger_put_derived(ledger, MSE_DERIVE_LATE,
					   changes->late[i].file, value,
					   error_r) < 0)
			return -1;
	}
	if (put_states(ledger, changes->state, changes->state_count,
		       error_r) < 0)
		return -1;
	for (i = 0; i < changes->forgotten_count; i++) {
		if (mse_ledger_forget_file(ledger, changes->forgotten[i],
					   error_r) < 0 ||
		    mse_ledger_delete_derived(ledger, MSE_DERIVE_LATE,
					      changes->forgotten[i],
					      error_r) < 0)
			return -1;
	}
	return 0;
}

static int run_commit(struct mse_ledger *ledger, struct mse_ledger_job *job,
		      struct mse_error *error_r)
{
	const struct mse_derive_commit *commit =
		(const struct mse_derive_commit *)job;
	const struct mse_derive_changes *changes = &commit->changes;

	if (mse_journal_sync_run(commit->sync, error_r) < 0 ||
	    mse_ledger_put_cursor(ledger, MSE_LEDGER_DERIVE, &commit->cursor,
				  error_r) < 0 ||
	    put_lists(ledger, changes, error_r) < 0 ||
	    put_states(ledger, changes->resolved, changes->resolved_count,
		       error_r) < 0 ||
	    mse_ledger_put_value(ledger, "alive", commit->alive, error_r) < 0)
		return -1;
	if (changes->seal_file[0] != '\0' &&
	    mse_ledger_put_seal(ledger, changes->seal_file,
				changes->seal_length, error_r) < 0)
		return -1;
	if (changes->boot &&
	    mse_ledger_put_value(ledger, "boot-id", commit->boot_id,
				 error_r) < 0)
		return -1;
	return 0;
}

static void free_commit(struct mse_derive_commit *commit)
{
	mse_journal_sync_end(&commit->sync, false);
	mse_derive_changes_clear(&commit->changes);
	free(commit);
}

static void commit_done(struct mse_ledger_job *job,
			const struct mse_error *error)
{
	struct mse_derive_commit *commit = (struct mse_derive_commit *)job;
	struct mse_derive *derive = commit->derive;

	mse_journal_sync_end(&commit->sync, error == NULL);
	if (derive == NULL) {
		free_commit(commit);
		return;
	}
	if (error != NULL) {
		derive->commit_failed = true;
		derive->has_error = true;
		mse_error_set(&derive->error, "derive's commit failed: %.400s",
			      error->text);
		return;
	}
	/* Only now may any cursor enter the next file. */
	if (commit->changes.seal_file[0] != '\0')
		mse_journal_seal(derive->journal, commit->changes.seal_file,
				 commit->changes.seal_length);
	derive->committed = commit->cursor.position;
	if (commit->round > derive->committed_round)
		derive->committed_round = commit->round;
	derive->commit = NULL;
	free_commit(commit);
}

static void fill_commit(struct mse_derive *derive, bool all,
			struct mse_derive_commit *commit)
{
	struct mse_derive_changes *changes = &derive->changes;

	commit->cursor.position = all ? derive->position : derive->committed;
	memcpy(commit->boot_id, derive->boot_id, sizeof(commit->boot_id));
	mse_timestamp_format(mse_clock_wall(derive->clock), commit->alive);
	if (all) {
		commit->round = derive->read_round;
		commit->changes = *changes;
		memset(changes, 0, sizeof(*changes));
		return;
	}
	memcpy(commit->changes.seal_file, changes->seal_file,
	       sizeof(commit->changes.seal_file));
	commit->changes.seal_length = changes->seal_length;
	changes->seal_file[0] = '\0';
}

int mse_derive_submit(struct mse_derive *derive, bool all,
		      struct mse_error *error_r)
{
	struct mse_derive_commit *commit = derive->commit;

	if (commit == NULL) {
		commit = calloc(1, sizeof(*commit));
		if (commit == NULL)
			return mse_error_set(error_r, "out of memory for a "
					     "commit");
		commit->job.run = run_commit;
		commit->job.done = commit_done;
		commit->derive = derive;
		fill_commit(derive, all, commit);
		derive->commit = commit;
	}
	if (mse_journal_sync_begin(derive->journal, &commit->sync) < 0) {
		/* As if it had been tried. */
		derive->commit_failed = true;
		return mse_error_set(error_r, "out of memory for a commit");
	}
	derive->commit_failed = false;
	mse_ledger_worker_submit(derive->ledger, &commit->job);
	return 0;
}

static int run_clean(struct mse_ledger *ledger, struct mse_ledger_job *job,
		     struct mse_error *error_r)
{
	return mse_ledger_put_value(ledger, "clean", "1", error_r);
}

static void clean_done(struct mse_ledger_job *job,
		       const struct mse_error *error)
{
	free(job);
}

void mse_derive_submit_clean(struct mse_derive *derive)
{
	struct mse_ledger_job *job;
	bool clean = derive->caught_up && !derive->boot_pending &&
		     derive->gap_count == 0 && !derive->commit_failed;

	if (derive->commit != NULL) {
		if (derive->commit_failed)
			free_commit(derive->commit);
		else
			derive->commit->derive = NULL;
		derive->commit = NULL;
	}
	if (!clean || mse_journal_sync(derive->journal, NULL) < 0)
		return;
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return;
	job->run = run_clean;
	job->done = clean_done;
	mse_ledger_worker_submit(derive->ledger, job);
}
