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

static bool is_record(const struct mse_slice *text)
{
	struct mse_record record;

	if (mse_record_parse(text->data, text->len, &record, NULL) < 0)
		return false;
	mse_record_clear(&record);
	return true;
}

int mse_journal_each_late(struct mse_journal *journal, const char *uuid,
			  void (*found)(const char *text, size_t len,
					void *context),
			  void *context, struct mse_error *error_r)
{
	struct mse_jfile *file = find(journal->files, uuid);
	struct mse_scan_found item;
	enum mse_scan_result result;
	struct mse_scan scan;
	char id[MSE_UUID_SIZE];

	if (file == NULL || !file->info.sealed)
		return 0;
	mse_jfile_refresh(file);
	if (file->late_offset == 0 &&
	    mse_jfile_last_record(file, file->info.sealed_length, false, id,
				  &file->late_offset) < 0)
		file->late_offset = file->info.sealed_length;
	if (file->info.size <= file->late_offset)
		return 0;
	mse_scan_init(&scan, file->fd, file->late_offset, UINT64_MAX);
	while ((result = mse_scan_next(&scan, false, &item)) <=
	       MSE_SCAN_DAMAGE) {
		file->late_offset = item.end;
		if (result == MSE_SCAN_TEXT && is_record(&item.text))
			found(item.text.data, item.text.len, context);
	}
	if (result == MSE_SCAN_ERROR) {
		mse_error_set(error_r, "cannot read a journal file in %s: %s",
			      journal->dir, strerror(errno));
	}
	mse_scan_clear(&scan);
	return result == MSE_SCAN_ERROR ? -1 : 0;
}
