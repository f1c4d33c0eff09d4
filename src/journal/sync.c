/*
 * fdatasync of the journal, in whatever thread has the time for it.
 *
 * Invariant: what the readers may have given out when a sync was begun is on
 * disk once it has run; a file counts as synced only up to the size it had
 * before.
 *
 * A sync that failed is never just tried again: the kernel tells of an octet
 * it could not write once, takes it for clean from then on, and the next sync
 * would succeed without it. So whatever was not on disk before is first
 * written over itself, out of the cache where it still stands, and so is new
 * to the kernel. That moves nothing and cuts nothing off, and appends only
 * come behind it.
 */
#include "journal/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct mse_journal_sync {
	unsigned int count;
	struct mse_sync_file {
		struct mse_jfile *file;
		uint64_t from; /* on disk before */
		uint64_t size;
	} files[];
};

#define BLOCK_SIZE (64 * 1024)

/* One at a time: of two that wait for the same octets only one would be told
   that they failed. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

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
		if (mse_jfile_refresh(file) < 0) {
			mse_journal_sync_end(sync_r, false);
			return -1;
		}
		if (file->info.size == file->synced_size)
			continue;
		sync->files[sync->count].file = mse_jfile_ref(file);
		sync->files[sync->count].from = file->synced_size;
		sync->files[sync->count++].size = file->info.size;
	}
	return 0;
}

static int write_over(int fd, const char *data, size_t len, uint64_t offset)
{
	ssize_t ret;

	while (len > 0) {
		ret = pwrite(fd, data, len, (off_t)offset);
		if (ret < 0 && errno != EINTR)
			return -1;
		if (ret <= 0)
			continue;
		data += ret;
		len -= (size_t)ret;
		offset += (uint64_t)ret;
	}
	return 0;
}

/* Each octet that is not on disk becomes itself: also what was appended since
   the sync was begun, for the failed one may have been about that. */
static int write_again(const struct mse_sync_file *sync)
{
	char path[64], block[BLOCK_SIZE];
	uint64_t offset = sync->from, end;
	size_t want;
	ssize_t len = 1;
	struct stat st;
	int fd, ret;

	/* Ours is for reading only, and its name may have changed. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", sync->file->fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = fstat(fd, &st);
	end = ret == 0 ? (uint64_t)st.st_size : 0;
	while (ret == 0 && len > 0 && offset < end) {
		want = end - offset < sizeof(block) ?
			(size_t)(end - offset) : sizeof(block);
		len = mse_jfile_read(sync->file, block, want, offset);
		ret = len < 0 ? -1 : write_over(fd, block, (size_t)len,
						offset);
		offset += len > 0 ? (uint64_t)len : 0;
	}
	if (ret == 0)
		ret = fdatasync(fd);
	(void)close(fd);
	return ret;
}

static int sync_file(const struct mse_sync_file *sync)
{
	struct mse_jfile *file = sync->file;

	if (__atomic_load_n(&file->sync_failed, __ATOMIC_ACQUIRE)) {
		if (write_again(sync) < 0)
			return -1;
		__atomic_store_n(&file->sync_failed, false, __ATOMIC_RELEASE);
		return 0;
	}
	if (fdatasync(file->fd) == 0)
		return 0;
	__atomic_store_n(&file->sync_failed, true, __ATOMIC_RELEASE);
	return -1;
}

int mse_journal_sync_run(const struct mse_journal_sync *sync,
			 struct mse_error *error_r)
{
	unsigned int i;
	int ret = 0;

	(void)pthread_mutex_lock(&one_at_a_time);
	for (i = 0; ret == 0 && i < sync->count; i++) {
		if (sync_file(&sync->files[i]) < 0)
			ret = mse_error_set(error_r, "cannot sync a journal "
					    "file: %s; it is written once "
					    "more", strerror(errno));
	}
	(void)pthread_mutex_unlock(&one_at_a_time);
	return ret;
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
