/*
 * fdatasync of the journal, in whatever thread has the time for it.
 *
 * Invariant: what the readers may have given out when a sync was begun is on
 * disk once it has run; a file counts as synced only up to the size it had
 * before.
 */
#include "journal/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mse_journal_sync {
	unsigned int count;
	struct {
		struct mse_jfile *file;
		uint64_t size;
	} files[];
};

int mse_journal_sync_begin(struct mse_journal *journal,
			   struct mse_journal_sync **sync_r)
{
	const struct mse_files *files = journal->files;
	struct mse_journal_sync *sync = calloc(1, sizeof(*sync) +
		files->count * sizeof(sync->files[0]));
	struct mse_jfile *file;
	unsigned int i;

	*sync_r = sync;
	if (sync == NULL)
		return -1;
	for (i = 0; i < files->count; i++) {
		file = files->list[i];
		mse_jfile_refresh(file);
		if (file->info.size == file->synced_size)
			continue;
		sync->files[sync->count].file = mse_jfile_ref(file);
		sync->files[sync->count++].size = file->info.size;
	}
	return 0;
}

int mse_journal_sync_run(const struct mse_journal_sync *sync,
			 struct mse_error *error_r)
{
	unsigned int i;

	for (i = 0; i < sync->count; i++) {
		if (fdatasync(sync->files[i].file->fd) < 0)
			return mse_error_set(error_r, "cannot sync a journal "
					     "file: %s", strerror(errno));
	}
	return 0;
}

void mse_journal_sync_end(struct mse_journal_sync **_sync, bool synced)
{
	struct mse_journal_sync *sync = *_sync;
	unsigned int i;

	*_sync = NULL;
	if (sync == NULL)
		return;
	for (i = 0; i < sync->count; i++) {
		/* Another one may have been quicker and seen more. */
		if (synced && sync->files[i].file->synced_size <
		    sync->files[i].size)
			sync->files[i].file->synced_size =
				sync->files[i].size;
		mse_jfile_unref(&sync->files[i].file);
	}
	free(sync);
}

int mse_journal_sync(struct mse_journal *journal, struct mse_error *error_r)
{
	struct mse_journal_sync *sync;
	int ret;

	if (mse_journal_sync_begin(journal, &sync) < 0)
		return mse_error_set(error_r, "out of memory");
	ret = mse_journal_sync_run(sync, error_r);
	mse_journal_sync_end(&sync, ret == 0);
	return ret;
}
