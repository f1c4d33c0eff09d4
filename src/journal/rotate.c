/*
 * Rotation: a new current file, the old one kept as journal.N.
 *
 *   1. the new file under a temporary name, with header and mode, fsync
 *   2. link `journal` to `journal.N`
 *   3. fsync the directory
 *   4. rename the temporary over `journal`
 *   5. fsync the directory
 *
 * Invariant: there is a `journal` at every instant, and the old file never
 * loses its last name here. files-open.c finishes what a crash interrupts.
 * From 4 on a mail process may append to the new file, sync it and call that
 * durable: after a power cut before 5 it has its temporary name on disk.
 * No file is ever truncated: giving back preallocated blocks that way would
 * race with an append and eat it.
 */
#include "journal/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "event/record.h"

#define NAME_SIZE 64
#define HEADER_MAX 1024

static void format_header(const struct mse_journal *journal,
			  struct mse_buf *buf)
{
	int64_t now_ms = mse_clock_wall(journal->clock);
	char uuid[MSE_UUID_SIZE], time_text[MSE_TIMESTAMP_SIZE];

	mse_uuid_make(now_ms, uuid);
	mse_timestamp_format(now_ms, time_text);
	mse_buf_appendf(buf, "%c{\"id\":\"%s\",\"type\":\"%s\",\"time\":\"%s\","
			"\"data\":{\"version\":%d}}\n", MSE_RECORD_SEPARATOR,
			uuid, MSE_JOURNAL_HEADER_TYPE, time_text,
			MSE_JOURNAL_VERSION);
}

static int fill_temporary(struct mse_journal *journal, int fd)
{
	uint64_t size = journal->limits.file_size;
	struct mse_buf buf;
	int ret = -1;

	mse_buf_init(&buf, HEADER_MAX);
	format_header(journal, &buf);
	/* Mail processes append and do not read. The directory's setgid bit
	   has given the file its group. */
	if (!mse_buf_failed(&buf) && fchmod(fd, 0620) == 0 &&
	    mse_file_write_all(fd, buf.data, buf.len, NULL) == 0)
		ret = 0;
	mse_buf_clear(&buf);
	if (ret < 0)
		return -1;
	/* A full disk should hit others first. Not every file system can. */
	if (size > MSE_JOURNAL_FILE_SIZE)
		size = MSE_JOURNAL_FILE_SIZE;
	(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
	return fsync(fd);
}

int mse_journal_make_temporary(struct mse_journal *journal,
			       struct mse_error *error_r)
{
	int fd, ret;

	(void)unlinkat(journal->dir_fd, MSE_JOURNAL_TEMPORARY, 0);
	fd = openat(journal->dir_fd, MSE_JOURNAL_TEMPORARY,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0) {
		return mse_error_set(error_r, "cannot create %s/%s: %s",
				     journal->dir, MSE_JOURNAL_TEMPORARY,
				     strerror(errno));
	}
	ret = fill_temporary(journal, fd);
	if (ret < 0) {
		mse_error_set(error_r, "cannot write %s/%s: %s", journal->dir,
			      MSE_JOURNAL_TEMPORARY, strerror(errno));
		(void)unlinkat(journal->dir_fd, MSE_JOURNAL_TEMPORARY, 0);
	}
	(void)close(fd);
	return ret;
}

int mse_journal_put_current(struct mse_journal *journal,
			    struct mse_error *error_r)
{
	struct mse_jfile *file;
	int ret;

	/* Opened before it can be seen, so that failing changes nothing. */
	ret = mse_jfile_open(journal->dir_fd, MSE_JOURNAL_TEMPORARY, &file,
			     error_r);
	if (ret < 0)
		return -1;
	if (ret > 0) {
		return mse_error_set(error_r, "%s/%s was changed by somebody "
				     "else", journal->dir,
				     MSE_JOURNAL_TEMPORARY);
	}
	file->info.current = true;
	if (mse_files_add(journal->files, file) < 0)
		return mse_error_set(error_r, "memory is out");
	if (fsync(journal->dir_fd) < 0) {
		mse_error_set(error_r, "cannot sync %s: %s", journal->dir,
			      strerror(errno));
		mse_files_remove(journal->files, journal->files->count - 1);
		return -1;
	}
	if (renameat(journal->dir_fd, MSE_JOURNAL_TEMPORARY,
		     journal->dir_fd, MSE_JOURNAL_NAME) < 0) {
		mse_error_set(error_r, "cannot rename %s/%s: %s", journal->dir,
			      MSE_JOURNAL_TEMPORARY, strerror(errno));
		mse_files_remove(journal->files, journal->files->count - 1);
		return -1;
	}
	/* It is in place and in use even if this fails. Then only a power cut
	   could undo the rename, and open() finishes the rotation again. */
	(void)fsync(journal->dir_fd);
	return 0;
}

/* Whether the name `journal` still leads to the file we take for current: 1,
   0, or -1 with errno. */
static int is_in_place(const struct mse_journal *journal,
		       const struct mse_jfile *current, bool *gone_r)
{
	struct stat st;

	*gone_r = false;
	if (fstatat(journal->dir_fd, MSE_JOURNAL_NAME, &st,
		    AT_SYMLINK_NOFOLLOW) < 0) {
		*gone_r = errno == ENOENT;
		return *gone_r ? 0 : -1;
	}
	return st.st_dev == current->dev && st.st_ino == current->ino;
}

/* Gives the current file its second name. */
static int link_old(struct mse_journal *journal, uint64_t *number,
		    struct mse_error *error_r)
{
	char name[NAME_SIZE];
	unsigned int tries;

	for (tries = 0; tries < 1000; tries++, ++*number) {
		(void)snprintf(name, sizeof(name),
			       MSE_JOURNAL_NAME ".%" PRIu64, *number);
		if (linkat(journal->dir_fd, MSE_JOURNAL_NAME, journal->dir_fd,
			   name, 0) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return mse_error_set(error_r, "cannot link %s/%s to %s: %s",
			     journal->dir, MSE_JOURNAL_NAME, name,
			     strerror(errno));
}

static void unlink_old(struct mse_journal *journal, uint64_t number)
{
	char name[NAME_SIZE];

	(void)snprintf(name, sizeof(name), MSE_JOURNAL_NAME ".%" PRIu64,
		       number);
	(void)unlinkat(journal->dir_fd, name, 0);
}

int mse_journal_rotate(struct mse_journal *journal, bool force,
		       bool *rotated_r, struct mse_error *error_r)
{
	struct mse_jfile *old = mse_files_current(journal->files);
	uint64_t number = mse_files_highest_number(journal->files) + 1;
	bool gone, linked;
	int in_place;

	*rotated_r = false;
	(void)mse_jfile_refresh(old);
	in_place = is_in_place(journal, old, &gone);
	if (in_place < 0) {
		return mse_error_set(error_r, "cannot look at %s/%s: %s",
				     journal->dir, MSE_JOURNAL_NAME,
				     strerror(errno));
	}
	if (in_place && !force && old->info.size < journal->limits.file_size)
		return 0;
	if (mse_journal_make_temporary(journal, error_r) < 0)
		return -1;
	/* Somebody took `journal` away or put another there: what we hold is
	   read to its end, under no name, and a new one takes its place. */
	linked = in_place && link_old(journal, &number, error_r) == 0;
	if ((in_place && !linked) ||
	    (!in_place && !gone &&
	     mse_journal_move_aside(journal, MSE_JOURNAL_NAME, error_r) < 0) ||
	    mse_journal_put_current(journal, error_r) < 0) {
		if (linked)
			unlink_old(journal, number);
		/* With all that was preallocated for it. */
		(void)unlinkat(journal->dir_fd, MSE_JOURNAL_TEMPORARY, 0);
		return -1;
	}
	old->info.current = false;
	old->info.number = number;
	mse_journal_watch_rearm(journal);
	*rotated_r = true;
	return 0;
}
