/*
 * The journal as the daemon holds it: opening, sealing, syncing, limits.
 *
 * Invariant: while it is open the set of files is never empty and its last
 * member is current. Nothing here writes to a journal file but its header
 * (rotate.c): events, the daemon's own too, go through the appender.
 */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/files.h"
#include "journal/presence.h"

static int open_dir(struct mse_journal *journal, struct mse_error *error_r)
{
	journal->dir_fd = open(journal->dir,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd < 0) {
		return mse_error_set(error_r, "cannot open %s: %s",
				     journal->dir, strerror(errno));
	}
	if (mse_file_is_on_network(journal->dir_fd)) {
		return mse_error_set(error_r, "%s is on a network file system, "
				     "where appends of several processes "
				     "overwrite each other; choose a local "
				     "mailhook_dir", journal->dir);
	}
	return 0;
}

static int open_parts(struct mse_journal *journal, struct mse_error *error_r)
{
	bool presence_created;

	if (open_dir(journal, error_r) < 0 ||
	    mse_journal_open_files(journal, error_r) < 0)
		return -1;
	journal->presence_fd = mse_presence_open_daemon(
		journal->dir_fd, &presence_created, error_r);
	if (journal->presence_fd < 0)
		return -1;
	if (presence_created)
		journal->created = true;
	/* Its head may say more than that of the version before; producers
	   look into it when the directory has changed. */
	(void)utimensat(AT_FDCWD, journal->dir, NULL, 0);
	mse_journal_watch_init(journal);
	return 0;
}

int mse_journal_open(const char *dir, const struct mse_journal_limits *limits,
		     const struct mse_clock *clock,
		     struct mse_journal **journal_r, struct mse_error *error_r)
{
	struct mse_journal *journal = calloc(1, sizeof(*journal));

	*journal_r = NULL;
	if (journal == NULL)
		return mse_error_set(error_r, "memory is out");
	journal->dir_fd = journal->presence_fd = -1;
	journal->watch_fd = journal->watch_current = -1;
	journal->watch_previous = -1;
	journal->clock = clock;
	journal->limits = *limits;
	journal->dir = strdup(dir);
	journal->files = calloc(1, sizeof(*journal->files));
	if (journal->dir == NULL || journal->files == NULL) {
		mse_journal_close(&journal);
		return mse_error_set(error_r, "memory is out");
	}
	if (open_parts(journal, error_r) < 0) {
		mse_journal_close(&journal);
		return -1;
	}
	*journal_r = journal;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void mse_journal_close(struct mse_journal **_journal)
{
	struct mse_journal *journal = *_journal;

	*_journal = NULL;
	if (journal == NULL)
		return;
	mse_files_free(&journal->files);
	close_fd(journal->watch_fd);
	close_fd(journal->presence_fd);
	close_fd(journal->dir_fd);
	free(journal->dir);
	free(journal);
}

void mse_journal_set_limits(struct mse_journal *journal,
			    const struct mse_journal_limits *limits)
{
	journal->limits = *limits;
}

int mse_journal_dir_fd(const struct mse_journal *journal)
{
	return journal->dir_fd;
}

int mse_journal_presence_fd(const struct mse_journal *journal)
{
	return journal->presence_fd;
}

bool mse_journal_was_created(const struct mse_journal *journal)
{
	return journal->created;
}

const struct mse_journal_file *
mse_journal_files(const struct mse_journal *journal, unsigned int *count_r)
{
	struct mse_files *files = journal->files;
	unsigned int i;

	for (i = 0; i < files->count; i++) {
		(void)mse_jfile_refresh(files->list[i]);
		files->infos[i] = files->list[i]->info;
	}
	*count_r = files->count;
	return files->infos;
}

void mse_journal_seal(struct mse_journal *journal, const char *uuid,
		      uint64_t length)
{
	struct mse_jfile *file = mse_files_find(journal->files, uuid);

	/* The current file is never sealed, and a seal never moves: cursors
	   may be beyond it already. */
	if (file == NULL || file->info.current || file->info.sealed)
		return;
	file->info.sealed = true;
	file->info.sealed_length = length;
}

static int announce(struct mse_journal *journal,
		    const struct mse_presence_head *before,
		    const struct mse_presence_head *head)
{
	if (before->allowed_size == head->allowed_size)
		return 0;
	return utimensat(AT_FDCWD, journal->dir, NULL, 0);
}

int mse_journal_allow(struct mse_journal *journal, uint64_t generation,
		      struct mse_error *error_r)
{
	struct mse_presence_head head = { .generation = generation }, before;
	uint64_t older = 0;
	unsigned int i;

	for (i = 0; i + 1 < journal->files->count; i++) {
		(void)mse_jfile_refresh(journal->files->list[i]);
		older += journal->files->list[i]->info.size;
	}
	/* 0 would mean that nobody has said yet. */
	head.allowed_size = journal->limits.journal_limit > older ?
		journal->limits.journal_limit - older : 1;
	if (mse_presence_read_head(journal->presence_fd, &before) < 0)
		before.allowed_size = 0;
	if (mse_presence_write_head(journal->presence_fd, &head) < 0 ||
	    announce(journal, &before, &head) < 0) {
		return mse_error_set(error_r, "cannot write %s/%s: %s",
				     journal->dir, MSE_PRESENCE_NAME,
				     strerror(errno));
	}
	return 0;
}
