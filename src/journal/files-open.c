/*
 * What stands in the directory when the daemon starts.
 *
 * A crash between the steps of a rotation (rotate.c) leaves one of:
 *   - the temporary file: removed, the rotation will come again;
 *   - `journal` and `journal.N` on one inode (linked, the new file not yet in
 *     place): finished here, the temporary or a new file is put over
 *     `journal`. A power cut may leave this behind the rename: then there are
 *     records in the temporary;
 *   - everything done.
 * No step is without a `journal`. One that is missing or foreign all the same
 * was taken away: a new one is made, which counts as created.
 */
#include "journal/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE 64

/* N of "journal.N"; 0 for every other name. */
static uint64_t name_number(const char *name)
{
	static const char prefix[] = MSE_JOURNAL_NAME ".";
	const char *digits;
	uint64_t number = 0;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	digits = name + sizeof(prefix) - 1;
	if (*digits == '0' || *digits == '\0' || strlen(digits) > 18)
		return 0;
	for (; *digits != '\0'; digits++) {
		if (*digits < '0' || *digits > '9')
			return 0;
		number = number * 10 + (uint64_t)(*digits - '0');
	}
	return number;
}

int mse_journal_move_aside(struct mse_journal *journal, const char *name,
			   struct mse_error *error_r)
{
	char aside[NAME_SIZE];
	int64_t now_s = mse_clock_wall(journal->clock) / 1000;
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		(void)snprintf(aside, sizeof(aside),
			       MSE_JOURNAL_NAME ".foreign-%" PRId64,
			       now_s + i);
		/* Never over something that was moved aside before. */
		if (linkat(journal->dir_fd, name, journal->dir_fd, aside,
			   0) == 0) {
			if (unlinkat(journal->dir_fd, name, 0) == 0)
				return 0;
			break;
		}
		if (errno != EEXIST)
			break;
	}
	return mse_error_set(error_r, "%s is no journal and cannot be moved "
			     "aside: %s", name, strerror(errno));
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int add_number(uint64_t **numbers, unsigned int *count, uint64_t number)
{
	uint64_t *list = realloc(*numbers, (*count + 1) * sizeof(*list));

	if (list == NULL)
		return -1;
	*numbers = list;
	list[(*count)++] = number;
	return 0;
}

/* The N of all journal.N, sorted; *numbers_r is the caller's to free. */
static int list_numbers(struct mse_journal *journal, uint64_t **numbers_r,
			unsigned int *count_r, struct mse_error *error_r)
{
	const struct dirent *entry;
	uint64_t number;
	DIR *dir = NULL;
	int fd, ret = 0;

	*numbers_r = NULL;
	*count_r = 0;
	fd = openat(journal->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		dir = fdopendir(fd);
	if (dir == NULL) {
		mse_error_set(error_r, "cannot list %s: %s", journal->dir,
			      strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		number = name_number(entry->d_name);
		if (number > 0)
			ret = add_number(numbers_r, count_r, number);
	}
	if (ret < 0 || errno != 0) {
		ret = mse_error_set(error_r, "cannot list %s: %s", journal->dir,
				    strerror(errno));
	}
	(void)closedir(dir);
	if (*count_r > 0)
		qsort(*numbers_r, *count_r, sizeof(**numbers_r),
		      compare_numbers);
	return ret;
}

static int open_older(struct mse_journal *journal, uint64_t number,
		      struct mse_error *error_r)
{
	char name[NAME_SIZE];
	struct mse_jfile *file;
	int ret;

	(void)snprintf(name, sizeof(name), MSE_JOURNAL_NAME ".%" PRIu64,
		       number);
	ret = mse_jfile_open(journal->dir_fd, name, &file, error_r);
	if (ret < 0)
		return -1;
	if (ret > 0) {
		journal->created = true;
		return ret == 2 ?
			mse_journal_move_aside(journal, name, error_r) : 0;
	}
	file->info.number = number;
	if (mse_files_add(journal->files, file) < 0)
		return mse_error_set(error_r, "memory is out");
	return 0;
}

/* True if `journal` is still the newest rotated file. */
static bool is_interrupted(const struct mse_files *files,
			   const struct mse_jfile *current)
{
	const struct mse_jfile *last;

	if (files->count == 0)
		return false;
	last = files->list[files->count - 1];
	return last->dev == current->dev && last->ino == current->ino;
}

/* The temporary is a journal file, durable: 1; not: 0. */
static int has_temporary(const struct mse_journal *journal,
			 struct mse_error *error_r)
{
	struct mse_jfile *file;
	int ret;

	ret = mse_jfile_open(journal->dir_fd, MSE_JOURNAL_TEMPORARY, &file,
			     error_r);
	if (ret != 0)
		return ret < 0 ? -1 : 0;
	ret = fsync(file->fd) == 0 ? 1 :
		mse_error_set(error_r, "cannot sync %s/%s: %s", journal->dir,
			      MSE_JOURNAL_TEMPORARY, strerror(errno));
	mse_jfile_unref(&file);
	return ret;
}

static int make_current(struct mse_journal *journal, struct mse_error *error_r)
{
	int ret = has_temporary(journal, error_r);

	if (ret < 0 || (ret == 0 &&
			mse_journal_make_temporary(journal, error_r) < 0))
		return -1;
	return mse_journal_put_current(journal, error_r);
}

static int remove_temporary(struct mse_journal *journal,
			    struct mse_error *error_r)
{
	if (unlinkat(journal->dir_fd, MSE_JOURNAL_TEMPORARY, 0) == 0 ||
	    errno == ENOENT)
		return 0;
	return mse_error_set(error_r, "cannot remove %s/%s: %s", journal->dir,
			     MSE_JOURNAL_TEMPORARY, strerror(errno));
}

static int open_current(struct mse_journal *journal, struct mse_error *error_r)
{
	struct mse_jfile *file;
	int ret;

	ret = mse_jfile_open(journal->dir_fd, MSE_JOURNAL_NAME, &file,
			     error_r);
	if (ret < 0)
		return -1;
	if (ret == 2 &&
	    mse_journal_move_aside(journal, MSE_JOURNAL_NAME, error_r) < 0)
		return -1;
	if (ret > 0) {
		journal->created = true;
		return make_current(journal, error_r);
	}
	if (is_interrupted(journal->files, file)) {
		mse_jfile_unref(&file);
		return make_current(journal, error_r);
	}
	file->info.current = true;
	if (mse_files_add(journal->files, file) < 0)
		return mse_error_set(error_r, "memory is out");
	return remove_temporary(journal, error_r);
}

int mse_journal_open_files(struct mse_journal *journal,
			   struct mse_error *error_r)
{
	unsigned int i, count;
	uint64_t *numbers;
	int ret;

	ret = list_numbers(journal, &numbers, &count, error_r);
	for (i = 0; ret == 0 && i < count; i++)
		ret = open_older(journal, numbers[i], error_r);
	free(numbers);
	return ret < 0 ? -1 : open_current(journal, error_r);
}
