/*
 * Release: which of the oldest files may go, and their going.
 *
 * Invariant: only the oldest file goes, then the next: cursors never find a
 * hole behind them. A file goes when it is older than the retention and all
 * cursors have passed it, or, whatever stands in it, when the current file
 * would else not have room for a whole file within journal_limit.
 *
 * The name goes first. An append that comes after is seen by the appender
 * (its file has no name) and repeated elsewhere; one that came before is in
 * the file, whose tail mse_journal_each_late() still reads until the next
 * release.
 */
#include "journal/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_over_limit(const struct mse_journal *journal)
{
	const struct mse_files *files = journal->files;
	uint64_t total = 0, current;
	unsigned int i;

	for (i = 0; i + 1 < files->count; i++) {
		(void)mse_jfile_refresh(files->list[i]);
		total += files->list[i]->info.size;
	}
	(void)mse_jfile_refresh(files->list[i]);
	current = files->list[i]->info.size;
	if (current < journal->limits.file_size)
		current = journal->limits.file_size;
	return total + current > journal->limits.journal_limit;
}

/* No cursor stands in the oldest file. */
static bool is_passed(const struct mse_files *files, const char *oldest_needed)
{
	if (oldest_needed == NULL)
		return true;
	/* One that stands in a file we do not have: nobody knows. */
	return mse_files_find(files, oldest_needed) != NULL &&
		strcmp(files->list[0]->info.uuid, oldest_needed) != 0;
}

static bool is_expired(const struct mse_journal *journal,
		       const struct mse_jfile *file)
{
	return mse_clock_wall(journal->clock) - file->info.newest_ms >
		journal->limits.retention_ms;
}

static void forget_released(struct mse_files *files)
{
	unsigned int i;

	for (i = 0; i < files->released_count; i++)
		mse_jfile_unref(&files->released[i]);
	files->released_count = 0;
}

static int remember_released(struct mse_files *files, struct mse_jfile *file)
{
	struct mse_jfile **list;

	list = realloc(files->released,
		       (files->released_count + 1) * sizeof(*list));
	if (list == NULL)
		return -1;
	files->released = list;
	list[files->released_count++] = mse_jfile_ref(file);
	return 0;
}

static int release_oldest(struct mse_journal *journal,
			  struct mse_error *error_r)
{
	struct mse_jfile *file = journal->files->list[0];
	char name[64];

	if (remember_released(journal->files, file) < 0)
		return mse_error_set(error_r, "memory is out");
	(void)snprintf(name, sizeof(name), MSE_JOURNAL_NAME ".%" PRIu64,
		       file->info.number);
	if (unlinkat(journal->dir_fd, name, 0) < 0 && errno != ENOENT) {
		mse_error_set(error_r, "cannot remove %s/%s: %s", journal->dir,
			      name, strerror(errno));
		mse_jfile_unref(&journal->files->released[
			--journal->files->released_count]);
		return -1;
	}
	file->released = true;
	mse_files_remove(journal->files, 0);
	return 0;
}

int mse_journal_release(struct mse_journal *journal,
			const char *oldest_needed,
			void (*released)(const struct mse_journal_file *file,
					 bool forced, void *context),
			void *context, struct mse_error *error_r)
{
	struct mse_files *files = journal->files;
	struct mse_journal_file info;
	bool passed, forced;

	forget_released(files);
	while (files->count > 1) {
		passed = is_passed(files, oldest_needed);
		forced = is_over_limit(journal);
		if (!forced && !(passed && files->list[0]->info.sealed &&
				 is_expired(journal, files->list[0])))
			return 0;
		/* A copy: the callback may look at the files. */
		info = files->list[0]->info;
		if (released != NULL)
			released(&info, forced && !passed, context);
		if (release_oldest(journal, error_r) < 0)
			return -1;
	}
	return 0;
}
