/*
 * What processes appended behind the seal of a rotated file.
 *
 * A process that had the file open when it was rotated may still append to
 * it once. No cursor reads behind a seal, so derive appends those records
 * once more to the current file. The seal may stand in the middle of a
 * record that was being written: such a record counts as late too, so the
 * search begins behind the last whole record before the seal.
 */
#include "journal/files.h"

#include <errno.h>
#include <string.h>

#include "event/record.h"
#include "journal/scan.h"

static struct mse_jfile *find(const struct mse_files *files, const char *uuid)
{
	unsigned int i;

	for (i = 0; i < files->released_count; i++) {
		if (strcmp(files->released[i]->info.uuid, uuid) == 0)
			return files->released[i];
	}
	return mse_files_find(files, uuid);
}

/* Whole records go to found(); 0, or -1 if one has to come again. */
static int give(const struct mse_slice *text,
		int (*found)(const char *text, size_t len, void *context),
		void *context)
{
	struct mse_record record;
	int ret;

	ret = mse_record_parse(text->data, text->len, &record, NULL);
	if (ret < 0)
		return ret == MSE_RECORD_NO_MEMORY ? -1 : 0;
	mse_record_clear(&record);
	return found(text->data, text->len, context);
}

/* Where the last whole record before the seal ends. */
static int find_begin(struct mse_jfile *file)
{
	char id[MSE_UUID_SIZE];
	int ret;

	if (file->late_offset != 0)
		return 0;
	ret = mse_jfile_last_record(file, file->info.sealed_length, false, id,
				    &file->late_offset);
	if (ret == MSE_RECORD_NO_MEMORY) {
		file->late_offset = 0;
		return -1;
	}
	if (ret < 0)
		file->late_offset = file->info.sealed_length;
	return 0;
}

int mse_journal_each_late(struct mse_journal *journal, const char *uuid,
			  int (*found)(const char *text, size_t len,
				       void *context),
			  void *context, struct mse_error *error_r)
{
	struct mse_jfile *file = find(journal->files, uuid);
	struct mse_scan_found item;
	enum mse_scan_result result;
	struct mse_scan scan;
	int ret = 0;

	if (file == NULL || !file->info.sealed)
		return 0;
	(void)mse_jfile_refresh(file);
	if (find_begin(file) < 0)
		return mse_error_set(error_r, "memory is out for late records");
	if (file->info.size <= file->late_offset)
		return 0;
	mse_scan_init(&scan, file->fd, file->late_offset, UINT64_MAX);
	while ((result = mse_scan_next(&scan, false, &item)) <=
	       MSE_SCAN_DAMAGE) {
		if (result == MSE_SCAN_TEXT)
			ret = give(&item.text, found, context);
		if (ret < 0)
			break;
		file->late_offset = item.end;
	}
	if (ret < 0) {
		mse_error_set(error_r, "memory is out for late records");
	} else if (result == MSE_SCAN_ERROR) {
		ret = mse_error_set(error_r, "cannot read a journal file in "
				    "%s: %s", journal->dir, strerror(errno));
	}
	mse_scan_clear(&scan);
	return ret;
}
