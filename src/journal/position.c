/*
 * Positions: what they say, and whether it is true.
 *
 * A position names the record that ends at its offset. A power cut, a
 * restore or damage can put something else there; then the position is not
 * believed and its cursor goes back. Records are looked for backwards from
 * the offset: back to an RS, forward to the LF.
 */
#include "journal/reader.h"

#include <stdlib.h>
#include <string.h>

#include "journal/files.h"

#define BLOCK_SIZE (64 * 1024)
#define BLOCK_MAX (MSE_RECORD_MAX + BLOCK_SIZE)

/* data[0] is an RS; len reaches to the next RS or the limit. 1 it is a
   record, 0 not, -1 memory is out. */
static int is_record(const char *data, size_t len, bool exact,
		     char id_r[MSE_UUID_SIZE], size_t *record_len_r)
{
	const char *lf = memchr(data, '\n', len);
	struct mse_record record;
	int ret;

	if (lf == NULL)
		return 0;
	*record_len_r = (size_t)(lf - data) + 1;
	if (exact && *record_len_r != len)
		return 0;
	ret = mse_record_parse(data + 1, *record_len_r - 2, &record, NULL);
	if (ret < 0)
		return ret == MSE_RECORD_NO_MEMORY ? -1 : 0;
	memcpy(id_r, record.id, MSE_UUID_SIZE);
	mse_record_clear(&record);
	return 1;
}

/* 1 found, 0 not in this block, -1 memory is out. *begun_r: there was an
   RS. */
static int search_block(const char *data, size_t len, bool exact,
			char id_r[MSE_UUID_SIZE], size_t *end_r, bool *begun_r)
{
	size_t end = len, record_len;
	const char *rs;
	int ret;

	*begun_r = false;
	while ((rs = memrchr(data, MSE_RECORD_SEPARATOR, end)) != NULL) {
		*begun_r = true;
		ret = is_record(rs, (size_t)(data + end - rs), exact, id_r,
				&record_len);
		if (ret > 0)
			*end_r = (size_t)(rs - data) + record_len;
		if (ret != 0)
			return ret;
		if (exact)
			return 0;
		end = (size_t)(rs - data);
	}
	return 0;
}

/* Searches ever larger blocks that end at limit. */
int mse_jfile_last_record(const struct mse_jfile *file, uint64_t limit,
			  bool exact, char id_r[MSE_UUID_SIZE],
			  uint64_t *end_r)
{
	size_t size = BLOCK_SIZE, end, want;
	char *block = NULL, *grown;
	bool begun;
	int found = 0;
	ssize_t len;

	for (;;) {
		want = limit < size ? (size_t)limit : size;
		grown = realloc(block, want + 1);
		if (grown == NULL) {
			found = -1;
			break;
		}
		block = grown;
		len = mse_jfile_read(file, block, want, limit - want);
		if (len < 0 || (exact && (size_t)len != want))
			break;
		found = search_block(block, (size_t)len, exact, id_r, &end,
				     &begun);
		if (found > 0)
			*end_r = limit - want + end;
		if (found != 0 || want == limit || (exact && begun) ||
		    size >= BLOCK_MAX)
			break;
		size = size * 2 > BLOCK_MAX ? BLOCK_MAX : size * 2;
	}
	free(block);
	return found < 0 ? MSE_RECORD_NO_MEMORY : found > 0 ? 0 : -1;
}

static void file_start(const struct mse_jfile *file,
		       struct mse_position *position_r)
{
	/* Padding too, so that positions may be compared as bytes. */
	memset(position_r, 0, sizeof(*position_r));
	memcpy(position_r->file, file->info.uuid, MSE_UUID_SIZE);
	memcpy(position_r->id, file->info.uuid, MSE_UUID_SIZE);
	position_r->offset = file->header_end;
}

enum mse_match mse_journal_match(struct mse_journal *journal,
				 const struct mse_position *position)
{
	struct mse_jfile *file = mse_files_find(journal->files, position->file);
	char id[MSE_UUID_SIZE];
	uint64_t end;
	int ret;

	if (file == NULL)
		return MSE_MATCH_RELEASED;
	(void)mse_jfile_refresh(file);
	/* Behind a seal is no mismatch: it was set while the cursor was
	   there. */
	if (position->offset < file->header_end ||
	    position->offset > file->info.size)
		return MSE_MATCH_NO;
	ret = mse_jfile_last_record(file, position->offset, true, id, &end);
	if (ret < 0)
		return ret == MSE_RECORD_NO_MEMORY ? MSE_MATCH_UNKNOWN :
			MSE_MATCH_NO;
	return strcmp(id, position->id) == 0 ? MSE_MATCH_YES : MSE_MATCH_NO;
}

void mse_journal_oldest(struct mse_journal *journal,
			struct mse_position *position_r)
{
	file_start(journal->files->list[0], position_r);
}

int mse_journal_newest(struct mse_journal *journal,
		       struct mse_position *position_r,
		       struct mse_error *error_r)
{
	struct mse_jfile *file = mse_files_current(journal->files);

	file_start(file, position_r);
	(void)mse_jfile_refresh(file);
	if (file->info.size < file->header_end) {
		return mse_error_set(error_r, "the current journal file has "
				     "lost its header");
	}
	if (file->info.size == file->header_end)
		return 0;
	if (mse_jfile_last_record(file, file->info.size, false,
				  position_r->id, &position_r->offset) < 0) {
		return mse_error_set(error_r, "cannot find the last record of "
				     "the current journal file");
	}
	return 0;
}

int mse_journal_file_start(struct mse_journal *journal, const char *uuid,
			   struct mse_position *position_r)
{
	const struct mse_jfile *file = mse_files_find(journal->files, uuid);

	if (file == NULL)
		return -1;
	file_start(file, position_r);
	return 0;
}

void mse_journal_next_file_start(struct mse_journal *journal,
				 const char *uuid,
				 struct mse_position *position_r)
{
	const struct mse_jfile *file = mse_files_find(journal->files, uuid);
	const struct mse_jfile *next = NULL;

	if (file != NULL) {
		next = mse_files_next(journal->files, file);
		/* Behind the current file there is nothing yet. */
		if (next == NULL)
			next = file;
	}
	file_start(next == NULL ? journal->files->list[0] : next, position_r);
}
