/*
 * What derive remembers, and where it begins to read.
 *
 * Invariant: it never begins behind a record it has not accounted for. A
 * cursor that does not match what is there goes back: to the latest
 * checkpoint that matches, else to the file's first record.
 */
#include "derive/derive-private.h"
#include "derive/sessions.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct seal {
	char file[MSE_UUID_SIZE];
	uint64_t length;
	bool kept;               /* the file is still there */
};

/* What was handled behind a seal. */
struct late {
	char file[MSE_UUID_SIZE];
	uint64_t handled;
	bool torn_told;
	bool kept;
};

struct memory {
	struct mse_derive *derive;
	int found;               /* the cursor: 1, 0 */
	struct mse_ledger_cursor cursor;
	struct seal *seals;
	size_t seal_count, seal_size;
	struct late *late;
	size_t late_count, late_size;
	struct mse_position *checkpoints;
	size_t checkpoint_count, checkpoint_size;
	char boot_id[MSE_UUID_SIZE], clean[8], alive[MSE_TIMESTAMP_SIZE];
};

static int on_seal(const char *file, uint64_t length, void *context)
{
	struct memory *memory = context;
	struct seal *seal;

	seal = mse_derive_grow(memory->seals, &memory->seal_size,
			       memory->seal_count, sizeof(*seal));
	if (seal == NULL)
		return -1;
	memory->seals = seal;
	seal += memory->seal_count++;
	memset(seal, 0, sizeof(*seal));
	snprintf(seal->file, sizeof(seal->file), "%s", file);
	seal->length = length;
	return 0;
}

static int on_checkpoint(const struct mse_position *position, void *context)
{
	struct memory *memory = context;
	struct mse_position *list;

	list = mse_derive_grow(memory->checkpoints, &memory->checkpoint_size,
			       memory->checkpoint_count, sizeof(*list));
	if (list == NULL)
		return -1;
	memory->checkpoints = list;
	list[memory->checkpoint_count++] = *position;
	return 0;
}

static int on_late(const char *file, const char *handled, void *context)
{
	struct memory *memory = context;
	struct late *late;

	late = mse_derive_grow(memory->late, &memory->late_size,
			       memory->late_count, sizeof(*late));
	if (late == NULL)
		return -1;
	memory->late = late;
	late += memory->late_count++;
	memset(late, 0, sizeof(*late));
	snprintf(late->file, sizeof(late->file), "%s", file);
	late->handled = strtoull(handled, NULL, 10);
	late->torn_told = strstr(handled, " torn") != NULL;
	return 0;
}

static int recall(struct mse_ledger *ledger, void *context,
		  struct mse_error *error_r)
{
	struct memory *memory = context;
	struct mse_derive *derive = memory->derive;
	unsigned int slot;

	memory->found = mse_ledger_get_cursor(ledger, MSE_LEDGER_DERIVE,
					      &memory->cursor, error_r);
	if (memory->found < 0 ||
	    mse_ledger_get_value(ledger, "boot-id", memory->boot_id,
				 sizeof(memory->boot_id), error_r) < 0 ||
	    mse_ledger_get_value(ledger, "clean", memory->clean,
				 sizeof(memory->clean), error_r) < 0 ||
	    mse_ledger_get_value(ledger, "alive", memory->alive,
				 sizeof(memory->alive), error_r) < 0)
		return -1;
	memory->seal_count = 0;
	if (mse_ledger_each_seal(ledger, on_seal, memory, error_r) < 0)
		return -1;
	memory->late_count = 0;
	if (mse_ledger_each_derived(ledger, MSE_DERIVE_LATE, NULL, 0, on_late,
				    memory, error_r) < 0)
		return -1;
	memory->checkpoint_count = 0;
	if (memory->found > 0 &&
	    mse_ledger_each_checkpoint(ledger, memory->cursor.position.file,
				       on_checkpoint, memory, error_r) < 0)
		return -1;
	for (slot = 0; slot < MSE_PRESENCE_SLOTS; slot++) {
		if (mse_ledger_get_announced(ledger, slot,
					     &derive->announced[slot],
					     error_r) < 0)
			return -1;
	}
	return 0;
}

/* From now on only an orderly end makes it clean again. What is gone with
   its file is forgotten. */
static int settle(struct mse_ledger *ledger, void *context,
		  struct mse_error *error_r)
{
	struct memory *memory = context;
	size_t i;

	if (mse_ledger_put_value(ledger, "clean", "0", error_r) < 0)
		return -1;
	for (i = 0; i < memory->seal_count; i++) {
		if (!memory->seals[i].kept &&
		    mse_ledger_forget_file(ledger, memory->seals[i].file,
					   error_r) < 0)
			return -1;
	}
	for (i = 0; i < memory->late_count; i++) {
		if (!memory->late[i].kept &&
		    mse_ledger_delete_derived(ledger, MSE_DERIVE_LATE,
					      memory->late[i].file,
					      error_r) < 0)
			return -1;
	}
	return 0;
}

static bool has_file(struct mse_journal *journal, const char *uuid)
{
	const struct mse_journal_file *files;
	unsigned int i, count;

	files = mse_journal_files(journal, &count);
	for (i = 0; i < count; i++) {
		if (strcmp(files[i].uuid, uuid) == 0)
			return true;
	}
	return false;
}

static int repeat_seals(struct mse_derive *derive, struct memory *memory)
{
	struct mse_derive_tail *tail;
	struct late *late;
	struct seal *seal;
	size_t i;

	for (i = 0; i < memory->seal_count; i++) {
		seal = &memory->seals[i];
		seal->kept = has_file(derive->journal, seal->file);
		if (seal->kept)
			mse_journal_seal(derive->journal, seal->file,
					 seal->length);
	}
	for (i = 0; i < memory->late_count; i++) {
		late = &memory->late[i];
		late->kept = has_file(derive->journal, late->file);
		if (!late->kept)
			continue;
		tail = mse_derive_tail_of(derive, late->file);
		if (tail == NULL)
			return -1;
		tail->handled = late->handled;
		tail->torn_told = late->torn_told;
	}
	return 0;
}

static void go_back(struct mse_derive *derive, struct memory *memory)
{
	const struct mse_position *there = &memory->cursor.position;
	size_t i;

	for (i = 0; i < memory->checkpoint_count; i++) {
		if (memory->checkpoints[i].offset <= there->offset &&
		    mse_journal_match(derive->journal,
				      &memory->checkpoints[i]) ==
		    MSE_MATCH_YES) {
			derive->position = memory->checkpoints[i];
			return;
		}
	}
	if (mse_journal_file_start(derive->journal, there->file,
				   &derive->position) < 0)
		mse_journal_next_file_start(derive->journal, there->file,
					    &derive->position);
}

static int place(struct mse_derive *derive, struct memory *memory)
{
	const struct mse_position *there = &memory->cursor.position;
	char cause[MSE_DERIVE_CAUSE_SIZE];
	enum mse_match match;

	if (memory->found == 0) {
		mse_journal_oldest(derive->journal, &derive->position);
		derive->committed = derive->position;
		return 0;
	}
	match = mse_journal_match(derive->journal, there);
	if (match == MSE_MATCH_UNKNOWN)
		return -1;
	if (match == MSE_MATCH_YES) {
		derive->position = derive->committed = *there;
		return 0;
	}
	go_back(derive, memory);
	derive->committed = derive->position;
	if (match == MSE_MATCH_RELEASED && mse_sessions_forget(derive) < 0)
		return -1;
	snprintf(cause, sizeof(cause), "position:%s:%" PRIu64, there->file,
		 there->offset);
	return mse_derive_gap_add(derive, cause, match == MSE_MATCH_NO ?
				  "the journal is not what it was" :
				  "the journal was released unread", 0, 0,
				  mse_clock_wall(derive->clock));
}

static void read_boot_id(char boot_id_r[MSE_UUID_SIZE])
{
	struct mse_buf text;

	mse_buf_init(&text, 64);
	boot_id_r[0] = '\0';
	/* Without one (no /proc) no boot is ever told from another. */
	if (mse_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text,
			  NULL) == 0)
		snprintf(boot_id_r, MSE_UUID_SIZE, "%.36s",
			 mse_buf_str(&text));
	mse_buf_clear(&text);
}

static int compare_boot(struct mse_derive *derive, const struct memory *memory)
{
	char cause[MSE_DERIVE_CAUSE_SIZE];
	int64_t since = 0;

	read_boot_id(derive->boot_id);
	if (strcmp(derive->boot_id, memory->boot_id) == 0)
		return 0;
	if (memory->boot_id[0] == '\0' || derive->boot_id[0] == '\0' ||
	    strcmp(memory->clean, "1") == 0) {
		derive->changes.boot = true;
		return 0;
	}
	if (mse_timestamp_parse(memory->alive, &since) < 0)
		since = 0;
	derive->boot_pending = true;
	snprintf(cause, sizeof(cause), "boot:%s", derive->boot_id);
	return mse_derive_gap_add(derive, cause, "the machine stopped without "
				  "shutting down", 0, since,
				  mse_clock_wall(derive->clock));
}

/* A new presence counts from nothing. */
static int forget_announced(struct mse_derive *derive)
{
	unsigned int slot;

	if (!mse_journal_was_created(derive->journal))
		return 0;
	if (mse_sessions_forget(derive) < 0)
		return -1;
	for (slot = 0; slot < MSE_PRESENCE_SLOTS; slot++) {
		if (derive->announced[slot] == 0)
			continue;
		derive->announced[slot] = 0;
		if (mse_derive_note_announced(derive, slot, 0) < 0)
			return -1;
	}
	return 0;
}

int mse_derive_load(struct mse_derive *derive, struct mse_error *error_r)
{
	struct memory memory = { .derive = derive };
	int ret;

	ret = mse_ledger_worker_call(derive->ledger, recall, &memory, error_r);
	if (ret < 0)
		goto out;
	if (forget_announced(derive) < 0 ||
	    repeat_seals(derive, &memory) < 0 ||
	    place(derive, &memory) < 0 || compare_boot(derive, &memory) < 0) {
		ret = mse_error_set(error_r, "out of memory");
		goto out;
	}
	ret = mse_ledger_worker_call(derive->ledger, settle, &memory, error_r);
out:
	free(memory.seals);
	free(memory.late);
	free(memory.checkpoints);
	return ret;
}
