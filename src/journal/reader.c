/*
 * One cursor's way through the files.
 *
 * Invariant: `position` is behind the last whole record given out, so it
 * always matches what is there (mse_journal_match()); damage after it is
 * read, and reported, once more by a reader that starts from it. A file is
 * left only when it is sealed and read to the seal, so that no cursor misses
 * a record that a slow process put into the older file.
 */
#include "journal/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/files.h"
#include "journal/scan.h"

struct mse_journal_reader {
	struct mse_journal *journal;
	struct mse_jfile *file;
	struct mse_scan scan;
	struct mse_position position;
	struct mse_record record; /* of the last result */
	bool has_record;
	struct mse_scan_found found;  /* where it stands */
	struct mse_position before;   /* position without it */
	bool begins_released;
};

static void enter_file(struct mse_journal_reader *reader,
		       struct mse_jfile *file, uint64_t offset)
{
	struct mse_jfile *old = reader->file;

	reader->file = mse_jfile_ref(file);
	mse_jfile_unref(&old);
	mse_scan_clear(&reader->scan);
	mse_scan_init(&reader->scan, file->fd, offset, mse_jfile_limit(file));
}

static void start_file(struct mse_journal_reader *reader,
		       struct mse_jfile *file)
{
	enter_file(reader, file, file->header_end);
	memcpy(reader->position.file, file->info.uuid, MSE_UUID_SIZE);
	memcpy(reader->position.id, file->info.uuid, MSE_UUID_SIZE);
	reader->position.offset = file->header_end;
}

struct mse_journal_reader *
mse_journal_reader_new(struct mse_journal *journal,
		       const struct mse_position *position)
{
	struct mse_jfile *file = mse_files_find(journal->files, position->file);
	struct mse_journal_reader *reader = calloc(1, sizeof(*reader));

	if (reader == NULL)
		return NULL;
	reader->journal = journal;
	if (file == NULL) {
		reader->begins_released = true;
		start_file(reader, journal->files->list[0]);
		return reader;
	}
	enter_file(reader, file, position->offset);
	reader->position = *position;
	return reader;
}

static void forget_record(struct mse_journal_reader *reader)
{
	if (reader->has_record)
		mse_record_clear(&reader->record);
	reader->has_record = false;
}

void mse_journal_reader_free(struct mse_journal_reader **_reader)
{
	struct mse_journal_reader *reader = *_reader;

	*_reader = NULL;
	if (reader == NULL)
		return;
	forget_record(reader);
	mse_scan_clear(&reader->scan);
	mse_jfile_unref(&reader->file);
	free(reader);
}

/* 0 a record, 1 the header (skipped), -1 no record, or
   MSE_RECORD_NO_MEMORY. */
static int take_text(struct mse_journal_reader *reader,
		     const struct mse_scan_found *found)
{
	struct mse_record *record = &reader->record;
	int ret;

	ret = mse_record_parse(found->text.data, found->text.len, record,
			       NULL);
	if (ret < 0)
		return ret;
	reader->found = *found;
	reader->before = reader->position;
	reader->position.offset = found->end;
	memcpy(reader->position.id, record->id, MSE_UUID_SIZE);
	if (record->type == MSE_EVENT_UNKNOWN &&
	    strcmp(record->type_name, MSE_JOURNAL_HEADER_TYPE) == 0) {
		mse_record_clear(record);
		return 1;
	}
	reader->has_record = true;
	return 0;
}

static enum mse_read give_damage(const struct mse_jfile *file, uint64_t start,
				 uint64_t octets, bool torn,
				 struct mse_read_result *result_r)
{
	memcpy(result_r->damage_file, file->info.uuid, MSE_UUID_SIZE);
	result_r->damage_offset = start;
	result_r->damaged_octets = octets;
	result_r->torn = torn;
	return MSE_READ_DAMAGE;
}

/* The file is shorter than what was read of it: what was there is not there
   any more. From its start, which repeats and skips nothing. */
static enum mse_read shrunken(struct mse_journal_reader *reader,
			      struct mse_read_result *result_r)
{
	uint64_t offset = mse_scan_offset(&reader->scan);
	uint64_t octets = offset - reader->file->info.size;

	start_file(reader, reader->file);
	/* Even the header is gone: what is appended now begins at 0. */
	if (reader->file->info.size < reader->file->header_end)
		enter_file(reader, reader->file, 0);
	return give_damage(reader->file, offset - octets, octets, false,
			   result_r);
}

/* The end of what there is now. RECORD means: look again. */
static enum mse_read at_end(struct mse_journal_reader *reader,
			    struct mse_read_result *result_r)
{
	struct mse_jfile *file = reader->file, *next;
	uint64_t offset = mse_scan_offset(&reader->scan);
	uint64_t missing;

	if (!file->info.sealed) {
		return mse_jfile_refresh(file) == 0 &&
			file->info.size < offset &&
			offset > file->header_end ?
			shrunken(reader, result_r) : MSE_READ_END;
	}
	next = mse_files_next(reader->journal->files, file);
	if (next == NULL)
		return MSE_READ_END;
	missing = offset < file->info.sealed_length ?
		file->info.sealed_length - offset : 0;
	start_file(reader, next);
	if (missing > 0)
		return give_damage(file, offset, missing, false, result_r);
	return MSE_READ_RECORD;
}

/* Released with something in it that was not read. */
static bool was_taken_away(const struct mse_journal_reader *reader)
{
	const struct mse_jfile *file = reader->file;

	return file->released &&
		!(file->info.sealed && mse_scan_offset(&reader->scan) >=
		  file->info.sealed_length);
}

static enum mse_read next(struct mse_journal_reader *reader,
			  struct mse_read_result *result_r,
			  struct mse_error *error_r)
{
	struct mse_scan_found found;
	struct mse_jfile *file;
	enum mse_read end;

	for (;;) {
		file = reader->file;
		if (was_taken_away(reader)) {
			start_file(reader, mse_files_next(
				reader->journal->files, file));
			return MSE_READ_RELEASED;
		}
		mse_scan_set_limit(&reader->scan, mse_jfile_limit(file));
		switch (mse_scan_next(&reader->scan, file->info.sealed,
				      &found)) {
		case MSE_SCAN_TEXT:
			switch (take_text(reader, &found)) {
			case 0:
				return MSE_READ_RECORD;
			case -1:
				mse_scan_spoil(&reader->scan, &found);
				break;
			case MSE_RECORD_NO_MEMORY:
				mse_scan_return(&reader->scan, &found);
				mse_error_set(error_r, "out of memory for a "
					      "journal record");
				return MSE_READ_ERROR;
			}
			break;
		case MSE_SCAN_DAMAGE:
			return give_damage(file, found.start,
					   found.end - found.start, found.torn,
					   result_r);
		case MSE_SCAN_END:
			end = at_end(reader, result_r);
			if (end != MSE_READ_RECORD)
				return end;
			break;
		case MSE_SCAN_ERROR:
			mse_error_set(error_r, "cannot read a journal file in "
				      "%s: %s", reader->journal->dir,
				      strerror(errno));
			return MSE_READ_ERROR;
		}
	}
}

enum mse_read mse_journal_reader_next(struct mse_journal_reader *reader,
				      struct mse_read_result *result_r,
				      struct mse_error *error_r)
{
	enum mse_read ret;

	forget_record(reader);
	memset(result_r, 0, sizeof(*result_r));
	if (reader->begins_released) {
		reader->begins_released = false;
		result_r->position = reader->position;
		return MSE_READ_RELEASED;
	}
	ret = next(reader, result_r, error_r);
	if (ret == MSE_READ_RECORD)
		result_r->record = reader->record;
	result_r->position = reader->position;
	return ret;
}

void mse_journal_reader_again(struct mse_journal_reader *reader)
{
	if (!reader->has_record)
		return;
	forget_record(reader);
	mse_scan_return(&reader->scan, &reader->found);
	reader->position = reader->before;
}

uint64_t mse_journal_reader_behind(const struct mse_journal_reader *reader)
{
	const struct mse_files *files = reader->journal->files;
	struct mse_jfile *file = reader->file;
	uint64_t offset = mse_scan_offset(&reader->scan), behind = 0, end;

	while (file != NULL) {
		(void)mse_jfile_refresh(file);
		end = file->info.size;
		if (end > mse_jfile_limit(file))
			end = mse_jfile_limit(file);
		if (end > offset)
			behind += end - offset;
		file = mse_files_next(files, file);
		if (file != NULL)
			offset = file->header_end;
	}
	return behind;
}
