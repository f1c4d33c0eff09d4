/*
 * The daemon's open journal files and the set they form.
 *
 * Invariant: the set is ordered by age, its last member is the current file
 * and the only one with `current`; a file's first record is its header and
 * names it. Inode numbers are compared only between descriptors and names
 * that exist at the same time.
 */
#include "journal/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "event/record.h"

/* A header is a tenth of this. */
#define HEADER_MAX 4096
#define MAX_INTERRUPTS 100

ssize_t mse_jfile_read(const struct mse_jfile *file, void *data, size_t len,
		       uint64_t offset)
{
	unsigned int interrupts = 0;
	size_t done = 0;
	ssize_t ret;

	while (done < len) {
		ret = pread(file->fd, (char *)data + done, len - done,
			    (off_t)(offset + done));
		if (ret < 0) {
			if (errno == EINTR && ++interrupts < MAX_INTERRUPTS)
				continue;
			return -1;
		}
		if (ret == 0)
			break;
		done += (size_t)ret;
	}
	return (ssize_t)done;
}

/* {"version":N} of the header's data; 0 if there is none. */
static unsigned long header_version(const struct mse_slice *data)
{
	static const char name[] = "\"version\":";
	const char *found;

	found = memmem(data->data, data->len, name, sizeof(name) - 1);
	/* An LF stands behind the text: the number ends. */
	return found == NULL ? 0 : strtoul(found + sizeof(name) - 1, NULL, 10);
}

/* 0, 1 if the file is no journal, -1 with a sentence. */
static int read_header(struct mse_jfile *file, const char *name,
		       struct mse_error *error_r)
{
	struct mse_record record;
	char block[HEADER_MAX];
	const char *lf;
	ssize_t len;
	int ret;

	len = mse_jfile_read(file, block, sizeof(block), 0);
	if (len < 0) {
		return mse_error_set(error_r, "cannot read %s: %s", name,
				     strerror(errno));
	}
	if (len < 2 || block[0] != MSE_RECORD_SEPARATOR)
		return 1;
	lf = memchr(block, '\n', (size_t)len);
	if (lf == NULL)
		return 1;
	ret = mse_record_parse(block + 1, (size_t)(lf - block - 1), &record,
			       NULL);
	if (ret == MSE_RECORD_NO_MEMORY)
		return mse_error_set(error_r, "memory is out");
	if (ret < 0)
		return 1;
	ret = 1;
	if (strcmp(record.type_name, MSE_JOURNAL_HEADER_TYPE) == 0 &&
	    mse_uuid_is_valid(record.id)) {
		ret = 0;
		memcpy(file->info.uuid, record.id, sizeof(file->info.uuid));
		file->header_end = (uint64_t)(lf - block) + 1;
		if (header_version(&record.data) > MSE_JOURNAL_VERSION) {
			ret = mse_error_set(error_r, "%s was written by a "
					    "newer mailhook; start that one, "
					    "or move the file away", name);
		}
	}
	mse_record_clear(&record);
	return ret;
}

static int identify(struct mse_jfile *file, const char *name,
		    struct mse_error *error_r)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0) {
		return mse_error_set(error_r, "cannot look at %s: %s", name,
				     strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return mse_error_set(error_r, "%s is not a regular file: "
				     "move it away", name);
	}
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	return read_header(file, name, error_r);
}

int mse_jfile_open(int dir_fd, const char *name, struct mse_jfile **file_r,
		   struct mse_error *error_r)
{
	struct mse_jfile *file;
	int fd, ret;

	*file_r = NULL;
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		    O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		if (errno == ENOENT)
			return 1;
		return mse_error_set(error_r, "cannot open %s: %s", name,
				     mse_file_obstacle(errno));
	}
	file = calloc(1, sizeof(*file));
	if (file == NULL) {
		(void)close(fd);
		return mse_error_set(error_r, "memory is out");
	}
	file->refs = 1;
	file->fd = fd;
	ret = identify(file, name, error_r);
	if (ret != 0) {
		mse_jfile_unref(&file);
		return ret < 0 ? -1 : 2;
	}
	if (mse_jfile_refresh(file) < 0) {
		mse_error_set(error_r, "cannot look at %s: %s", name,
			      strerror(errno));
		mse_jfile_unref(&file);
		return -1;
	}
	*file_r = file;
	return 0;
}

struct mse_jfile *mse_jfile_ref(struct mse_jfile *file)
{
	file->refs++;
	return file;
}

void mse_jfile_unref(struct mse_jfile **_file)
{
	struct mse_jfile *file = *_file;

	*_file = NULL;
	if (file == NULL || --file->refs > 0)
		return;
	(void)close(file->fd);
	free(file);
}

int mse_jfile_refresh(struct mse_jfile *file)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -1;
	file->info.size = (uint64_t)st.st_size;
	file->info.newest_ms = (int64_t)st.st_mtim.tv_sec * 1000 +
		st.st_mtim.tv_nsec / 1000000;
	return 0;
}

uint64_t mse_jfile_limit(const struct mse_jfile *file)
{
	return file->info.sealed ? file->info.sealed_length : UINT64_MAX;
}

int mse_files_add(struct mse_files *files, struct mse_jfile *file)
{
	size_t count = files->count + 1;
	struct mse_journal_file *infos;
	struct mse_jfile **list;

	list = realloc(files->list, count * sizeof(*list));
	if (list != NULL)
		files->list = list;
	infos = realloc(files->infos, count * sizeof(*infos));
	if (infos != NULL)
		files->infos = infos;
	if (list == NULL || infos == NULL) {
		mse_jfile_unref(&file);
		return -1;
	}
	files->list[files->count++] = file;
	return 0;
}

void mse_files_remove(struct mse_files *files, unsigned int index)
{
	mse_jfile_unref(&files->list[index]);
	files->count--;
	memmove(files->list + index, files->list + index + 1,
		(files->count - index) * sizeof(*files->list));
}

void mse_files_free(struct mse_files **_files)
{
	struct mse_files *files = *_files;
	unsigned int i;

	*_files = NULL;
	if (files == NULL)
		return;
	for (i = 0; i < files->count; i++)
		mse_jfile_unref(&files->list[i]);
	for (i = 0; i < files->released_count; i++)
		mse_jfile_unref(&files->released[i]);
	free(files->released);
	free(files->list);
	free(files->infos);
	free(files);
}

struct mse_jfile *mse_files_find(const struct mse_files *files,
				 const char *uuid)
{
	unsigned int i;

	for (i = files->count; i > 0; i--) {
		if (strcmp(files->list[i - 1]->info.uuid, uuid) == 0)
			return files->list[i - 1];
	}
	return NULL;
}

struct mse_jfile *mse_files_current(const struct mse_files *files)
{
	return files->list[files->count - 1];
}

struct mse_jfile *mse_files_next(const struct mse_files *files,
				 const struct mse_jfile *file)
{
	unsigned int i;

	if (file->info.current)
		return NULL;
	for (i = 0; i < files->count; i++) {
		if (files->list[i]->info.current ||
		    files->list[i]->info.number > file->info.number)
			return files->list[i];
	}
	return NULL;
}

uint64_t mse_files_highest_number(const struct mse_files *files)
{
	uint64_t highest = 0;
	unsigned int i;

	for (i = 0; i < files->count; i++) {
		if (files->list[i]->info.number > highest)
			highest = files->list[i]->info.number;
	}
	return highest;
}
