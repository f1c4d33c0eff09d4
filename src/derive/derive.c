/*
 * Journal in, events out.
 *
 * One run: read what there is; at the end of it put Gaps and late records in
 * line; append them; fdatasync; commit cursor and what was announced in one
 * job. What a crash leaves between two of these steps:
 *
 *   read, not appended     the cursor has not moved: it is read again
 *   appended, not synced   the record is there and names its cause, or it is
 *                          not there and is appended again
 *   synced, not committed  the next start meets the cause before it appends
 *   (a Resync) synced, its intents not cleared   the same, then clears them;
 *                          no cursor gets past it before they are
 *
 * Invariant: nothing is appended before the journal was read to its end once
 * since the start, and no cursor is committed past what is still in line.
 */
#include "derive/derive-private.h"
#include "derive/sessions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_AT_ONCE 1000        /* records a run */
#define LOOK_EVERY_MS 2000
#define LOOK_IDLE_MS 60000
#define COMMIT_EVERY_MS 1000
#define RETRY_FIRST_MS 2000
#define RETRY_MAX_MS 60000
/* Processes that opened the file before the rotation get this long; those
   that were at work then, until they have told it, but no longer than that. */
#define SETTLE_MS 200
#define SETTLE_MAX_MS 5000
#define APPEND_MAX ((size_t)64 * 1024 * 1024)

static void settle_after_rotation(struct mse_derive *derive, int64_t mono_ms)
{
	derive->settle_at = mono_ms + SETTLE_MS;
	derive->settle_until = mono_ms + SETTLE_MAX_MS;
	derive->rotated_ms = mse_clock_wall(derive->clock);
}

int mse_derive_new(const struct mse_derive_parts *parts,
		   struct mse_derive **derive_r, struct mse_error *error_r)
{
	struct mse_derive *derive = calloc(1, sizeof(*derive));

	if (derive == NULL)
		return mse_error_set(error_r, "out of memory");
	derive->journal = parts->journal;
	derive->ledger = parts->ledger;
	derive->appender = parts->appender;
	derive->clock = parts->clock;
	mse_buf_init(&derive->late, APPEND_MAX);
	mse_buf_init(&derive->events, APPEND_MAX);
	derive->server_name = strdup(parts->server_name);
	derive->server_fqdn = strdup(parts->server_fqdn);
	if (derive->server_name == NULL || derive->server_fqdn == NULL) {
		mse_error_set(error_r, "out of memory");
		goto fail;
	}
	/* If the last daemon died between a rotation and its seal. */
	settle_after_rotation(derive, mse_clock_mono(derive->clock));
	if (mse_derive_load(derive, error_r) < 0)
		goto fail;
	derive->reader = mse_journal_reader_new(derive->journal,
						&derive->position);
	if (derive->reader == NULL || mse_sessions_new(derive) < 0) {
		mse_error_set(error_r, "out of memory");
		goto fail;
	}
	*derive_r = derive;
	return 0;
fail:
	mse_derive_free(&derive);
	return -1;
}

bool mse_derive_is_unclean_boot(const struct mse_derive *derive)
{
	return derive->boot_pending;
}

void mse_derive_free(struct mse_derive **_derive)
{
	struct mse_derive *derive = *_derive;

	if (derive == NULL)
		return;
	*_derive = NULL;
	mse_derive_submit_clean(derive);
	mse_sessions_free(&derive->sessions);
	mse_journal_reader_free(&derive->reader);
	mse_derive_seen_clear(&derive->seen);
	mse_derive_changes_clear(&derive->changes);
	mse_derive_batch_leave(derive);
	mse_buf_clear(&derive->late);
	mse_buf_clear(&derive->events);
	mse_derive_resyncs_free(derive);
	free(derive->gaps);
	free(derive->tails);
	free(derive->server_name);
	free(derive->server_fqdn);
	free(derive);
}

static int out_of_memory(struct mse_error *error_r)
{
	return mse_error_set(error_r, "derive is out of memory");
}

static int close_damage(struct mse_derive *derive, int64_t until_ms,
			struct mse_error *error_r)
{
	char cause[MSE_DERIVE_CAUSE_SIZE];

	if (!derive->in_damage)
		return 0;
	snprintf(cause, sizeof(cause), "damage:%s:%" PRIu64,
		 derive->damage_file, derive->damage_start);
	/* Without a number: a writer that lived on has counted what it tore,
	   or written it once more. */
	if (mse_derive_gap_add(derive, cause, derive->damage_torn ?
			       "torn record in the journal" :
			       "damaged journal", 0,
			       derive->last_record_ms, until_ms) < 0)
		return out_of_memory(error_r);
	derive->in_damage = false;
	if (derive->damage_torn)
		derive->met.torn++;
	else
		derive->met.damaged++;
	return 0;
}

static void take_damage(struct mse_derive *derive,
			const struct mse_read_result *result)
{
	if (!derive->in_damage) {
		derive->in_damage = true;
		derive->damage_torn = false;
		derive->damage_start = result->damage_offset;
		memcpy(derive->damage_file, result->damage_file,
		       sizeof(derive->damage_file));
	}
	/* A shrunken file sends the reader back to its start. */
	derive->position = result->position;
	derive->damage_torn = derive->damage_torn || result->torn;
}

static bool is_late(const struct mse_record *record)
{
	static const char late[] = ",\"late\":true}";
	size_t len = sizeof(late) - 1;

	return record->bytes.len > len &&
		memcmp(record->bytes.data + record->bytes.len - len, late,
		       len) == 0;
}

/* Until the end was reached: which causes and late records are there. */
static int remember(struct mse_derive *derive, const struct mse_record *record)
{
	if (derive->caught_up)
		return 0;
	if (record->cause != NULL &&
	    mse_derive_seen_add(&derive->seen, record->cause) < 0)
		return -1;
	if (is_late(record))
		return mse_derive_seen_add(&derive->seen, record->id);
	return 0;
}

static int take_record(struct mse_derive *derive,
		       const struct mse_read_result *result,
		       struct mse_error *error_r)
{
	const struct mse_position *position = &result->position;

	if (close_damage(derive, result->record.time_ms, error_r) < 0)
		return -1;
	if (remember(derive, &result->record) < 0 ||
	    mse_derive_note(derive, &result->record) < 0 ||
	    mse_sessions_take(derive, &result->record,
			      is_late(&result->record)) < 0)
		return out_of_memory(error_r);
	derive->last_record_ms = result->record.time_ms;
	derive->position = *position;
	derive->has_read = true;
	if (strcmp(derive->checkpoint_file, position->file) != 0) {
		memcpy(derive->checkpoint_file, position->file,
		       sizeof(derive->checkpoint_file));
		derive->checkpoint_offset = 0;
	}
	if (position->offset - derive->checkpoint_offset <
	    MSE_CHECKPOINT_EVERY)
		return 0;
	derive->checkpoint_offset = position->offset;
	/* Without one a cursor would only go back further. */
	(void)mse_derive_note_checkpoint(derive, position);
	return 0;
}

/* What could not be put in line when it was met. */
static int put_released_in_line(struct mse_derive *derive,
				struct mse_error *error_r)
{
	if (derive->released_cause[0] == '\0')
		return 0;
	if (mse_sessions_forget(derive) < 0 ||
	    mse_derive_gap_add(derive, derive->released_cause,
			       "the journal was released unread", 0,
			       derive->last_record_ms,
			       mse_clock_wall(derive->clock)) < 0)
		return out_of_memory(error_r);
	derive->released_cause[0] = '\0';
	return 0;
}

/* The reader stands in the next file already. */
static int take_released(struct mse_derive *derive,
			 const struct mse_read_result *result,
			 struct mse_error *error_r)
{
	snprintf(derive->released_cause, sizeof(derive->released_cause),
		 "position:%s:%" PRIu64, derive->position.file,
		 derive->position.offset);
	derive->position = result->position;
	return put_released_in_line(derive, error_r);
}

/* Returns 0 at the end, 1 if there may be more, -1. */
static int read_on(struct mse_derive *derive, struct mse_error *error_r)
{
	struct mse_read_result result;
	unsigned int i;
	int ret = 0;

	derive->at_end = false;
	if (put_released_in_line(derive, error_r) < 0)
		return -1;
	for (i = 0; i < READ_AT_ONCE && ret == 0; i++) {
		if (!mse_derive_may_read(derive))
			return 0;
		switch (mse_journal_reader_next(derive->reader, &result,
						error_r)) {
		case MSE_READ_RECORD:
			ret = take_record(derive, &result, error_r);
			if (ret < 0)
				mse_journal_reader_again(derive->reader);
			break;
		case MSE_READ_DAMAGE:
			take_damage(derive, &result);
			break;
		case MSE_READ_RELEASED:
			ret = take_released(derive, &result, error_r);
			break;
		case MSE_READ_END:
			derive->at_end = true;
			derive->read_round++;
			return close_damage(derive,
					    mse_clock_wall(derive->clock),
					    error_r);
		case MSE_READ_ERROR:
			return -1;
		}
	}
	return ret < 0 ? -1 : 1;
}

/* The file the reader stands in at the end: the first from the cursor on that
   is not sealed. */
static bool find_end_file(struct mse_derive *derive,
			  struct mse_journal_file *file_r)
{
	const struct mse_journal_file *files;
	unsigned int i, count, first = 0;

	files = mse_journal_files(derive->journal, &count);
	for (i = 0; i < count; i++) {
		if (strcmp(files[i].uuid, derive->position.file) == 0)
			first = i;
	}
	for (i = first; i < count; i++) {
		if (!files[i].sealed || files[i].current) {
			*file_r = files[i];
			return true;
		}
	}
	return false;
}

/* The end was reached once: what causes are there is known. Facts between the
   cursor and here were only met: they are read again, now for good. */
static void catch_up(struct mse_derive *derive)
{
	struct mse_journal_reader *reader;

	if (derive->caught_up) {
		derive->reads_again = false;
		return;
	}
	if (derive->has_missed) {
		reader = mse_journal_reader_new(derive->journal,
						&derive->committed);
		if (reader == NULL)
			return; /* at the next run */
		mse_journal_reader_free(&derive->reader);
		derive->reader = reader;
		derive->position = derive->committed;
		derive->has_missed = false;
		derive->reads_again = true;
		derive->at_end = false;
		derive->read_round = 0;
		derive->in_damage = false;
		derive->checkpoint_file[0] = '\0';
	}
	derive->caught_up = true;
}

/* Whether the file that was left can have its end. What a process appends
   behind that is told late, after what the same process tells next: on a busy
   machine it may take a while between looking for the file and writing to
   it. */
static bool is_settled(struct mse_derive *derive, int64_t mono_ms)
{
	int fd = mse_journal_presence_fd(derive->journal);

	if (mono_ms < derive->settle_at)
		return false;
	if (mono_ms >= derive->settle_until ||
	    mse_presence_is_under_way(fd, derive->rotated_ms) <= 0)
		return true;
	derive->settle_at = mono_ms + SETTLE_MS;
	return false;
}

/* At the end: enters a file that has no record yet, and plans the last step
   of a rotation, where all cursors leave the old file: at the end of its last
   whole record, as what follows is late, or torn. */
static void settle_at_end(struct mse_derive *derive, int64_t mono_ms)
{
	struct mse_journal_file file;
	struct mse_position start;

	if (!derive->at_end || !find_end_file(derive, &file))
		return;
	if (strcmp(file.uuid, derive->position.file) != 0) {
		if (mse_journal_file_start(derive->journal, file.uuid,
					   &start) < 0)
			return;
		derive->position = start;
	}
	if (file.current) {
		catch_up(derive);
	} else if ((derive->commit == NULL || derive->commit_failed) &&
		   is_settled(derive, mono_ms)) {
		memcpy(derive->changes.seal_file, file.uuid,
		       sizeof(derive->changes.seal_file));
		derive->changes.seal_length = derive->position.offset;
		derive->commit_at = 0;
	}
}

static int rotate(struct mse_derive *derive, int64_t mono_ms,
		  struct mse_error *error_r)
{
	struct mse_presence_head head;
	bool rotated = false;

	if (mse_journal_rotate(derive->journal, false, &rotated, error_r) < 0)
		return -1;
	if (!rotated)
		return 0;
	settle_after_rotation(derive, mono_ms);
	/* What follows from the old file's end is not to stand behind it: the
	   appender looks for the new one now, however short a while ago it
	   looked last. */
	(void)mse_appender_interest(derive->appender);
	if (mse_presence_read_head(mse_journal_presence_fd(derive->journal),
				   &head) < 0)
		return mse_error_set(error_r, "presence cannot be read: %m");
	return mse_journal_allow(derive->journal, head.generation, error_r);
}

/* At the slots that are in use; once a minute, and as long as somebody holds
   one that should not be, at all. */
static int look_at_presence(struct mse_derive *derive, int64_t mono_ms,
			    struct mse_error *error_r)
{
	int reach = mse_presence_reach(mse_journal_presence_fd(
			derive->journal));
	unsigned int slots;

	if (reach < 0)
		return mse_error_set(error_r, "presence cannot be read: %m");
	/* Once more when they are gone: for what they left. */
	if (reach == MSE_PRESENCE_SLOTS)
		derive->all_slots_at = mono_ms;
	slots = mono_ms < derive->all_slots_at ? (unsigned int)reach :
		MSE_PRESENCE_SLOTS;
	if (mse_derive_look_at_losses(derive, slots, error_r) < 0 ||
	    mse_derive_look_at_intents(derive, slots, error_r) < 0)
		return -1;
	if (slots == MSE_PRESENCE_SLOTS && reach < MSE_PRESENCE_SLOTS)
		derive->all_slots_at = mono_ms + LOOK_IDLE_MS;
	return 0;
}

static int look_around(struct mse_derive *derive, int64_t mono_ms,
		       struct mse_error *error_r)
{
	if (mono_ms < derive->presence_at || derive->append_at > mono_ms)
		return 0;
	derive->presence_at = mono_ms + LOOK_EVERY_MS;
	if (look_at_presence(derive, mono_ms, error_r) < 0)
		return -1;
	return mse_derive_look_at_tails(derive, mono_ms, error_r);
}

static void write_gaps(struct mse_derive *derive, struct mse_buf *bytes,
		       unsigned int *records)
{
	size_t i;

	for (i = 0; i < derive->gap_count; i++) {
		if (mse_derive_seen_has(&derive->seen, derive->gaps[i].cause))
			continue;
		mse_derive_gap_write(derive, &derive->gaps[i], bytes);
		(*records)++;
	}
}

static void appended(struct mse_derive *derive)
{
	size_t i;

	/* Without memory for it a Gap may come twice. */
	for (i = 0; i < derive->gap_count && derive->reads_again; i++)
		(void)mse_derive_seen_add(&derive->seen, derive->gaps[i].cause);
	if (derive->boot_pending) {
		derive->boot_pending = false;
		derive->changes.boot = true;
	}
	derive->gap_count = 0;
	mse_derive_resyncs_appended(derive);
	derive->met.late += derive->late_records;
	derive->late_records = 0;
	mse_buf_reset(&derive->late);
	derive->event_records = 0;
	mse_buf_reset(&derive->events);
	derive->append_wait_ms = 0;
	derive->commit_at = 0;
	derive->appended_round = derive->read_round;
}

static bool resyncs_wait(const struct mse_derive *derive)
{
	size_t i;

	for (i = 0; i < derive->resync_count; i++) {
		if (!derive->resyncs[i].appended)
			return true;
	}
	return false;
}

/* Appends what is in line. 0 once nothing is. */
static int append(struct mse_derive *derive, int64_t mono_ms,
		  struct mse_error *error_r)
{
	unsigned int records = derive->late_records + derive->event_records;
	struct mse_buf bytes;
	int ret = 0;

	if (derive->gap_count == 0 && !resyncs_wait(derive) && records == 0)
		return 0;
	if (mono_ms < derive->append_at)
		return 1;
	/* All that is in line has room, the Gaps beside it too. */
	mse_buf_init(&bytes, 3 * APPEND_MAX);
	mse_buf_append(&bytes, derive->late.data, derive->late.len);
	mse_buf_append(&bytes, derive->events.data, derive->events.len);
	mse_derive_resyncs_write(derive, &bytes, &records);
	write_gaps(derive, &bytes, &records);
	if (mse_buf_failed(&bytes)) {
		ret = out_of_memory(error_r);
	} else if (records > 0 &&
		   mse_appender_try(derive->appender, &bytes, records) < 0) {
		ret = mse_error_set(error_r, "%u events of the daemon could "
				    "not be appended: %.400s", records,
				    mse_appender_last_error(
					    derive->appender));
	}
	mse_buf_clear(&bytes);
	if (ret == 0) {
		appended(derive);
		return 0;
	}
	derive->append_wait_ms = derive->append_wait_ms == 0 ?
		RETRY_FIRST_MS : derive->append_wait_ms * 2;
	if (derive->append_wait_ms > RETRY_MAX_MS)
		derive->append_wait_ms = RETRY_MAX_MS;
	derive->append_at = mono_ms + derive->append_wait_ms;
	return ret;
}

/* all: nothing is in line, so cursor and all that was announced may go. Else
   only a seal: consumers must not wait for what cannot be appended. */
static int commit(struct mse_derive *derive, int64_t mono_ms, bool all,
		  struct mse_error *error_r)
{
	if ((mono_ms < derive->commit_at &&
	     derive->changes.state_count < MSE_DERIVE_STATE_MAX) ||
	    (derive->commit != NULL && !derive->commit_failed))
		return 0;
	if (derive->commit == NULL &&
	    !(all ? mse_derive_has_changes(derive) :
	      derive->changes.seal_file[0] != '\0'))
		return 0;
	derive->commit_at = mono_ms + COMMIT_EVERY_MS;
	return mse_derive_submit(derive, all, error_r);
}

/* A commit that is due goes first: with facts coming all the time there may
   be some to resolve whenever one could go. */
static bool commit_goes_first(const struct mse_derive *derive, int64_t mono_ms)
{
	return derive->caught_up && derive->batch == NULL &&
	       derive->gap_count == 0 && derive->resync_count == 0 &&
	       derive->late_records == 0 && derive->event_records == 0 &&
	       derive->commit == NULL &&
	       mono_ms >= derive->commit_at && mse_derive_has_changes(derive);
}

static int run(struct mse_derive *derive, int64_t mono_ms, bool *more_r,
	       struct mse_error *error_r)
{
	bool looked;
	int ret;

	if (commit_goes_first(derive, mono_ms)) {
		derive->at_end = false;
		ret = 1;
	} else {
		ret = read_on(derive, error_r);
	}
	*more_r = ret > 0;
	if (ret < 0)
		return -1;
	if (derive->has_read)
		derive->look_until = mono_ms + LOOK_EVERY_MS;
	derive->has_read = false;
	settle_at_end(derive, mono_ms);
	if (rotate(derive, mono_ms, error_r) < 0)
		return -1;
	if (!derive->caught_up)
		return commit(derive, mono_ms, false, error_r);
	/* What is in line may go all the same: perhaps it is in the way. */
	looked = look_around(derive, mono_ms, error_r) == 0;
	mse_derive_resolve(derive, mono_ms);
	ret = append(derive, mono_ms, looked ? error_r : NULL);
	if (ret < 0) {
		/* The append's sentence is the one to tell. */
		(void)commit(derive, mono_ms, false, NULL);
		return -1;
	}
	if (mse_derive_resyncs_settle(derive, error_r) < 0)
		return -1;
	if (commit(derive, mono_ms, ret == 0 && derive->batch == NULL,
		   looked ? error_r : NULL) < 0 || !looked)
		return -1;
	/* There was nothing to commit. */
	if (derive->at_end && mse_derive_is_idle(derive))
		derive->committed_round = derive->read_round;
	return mse_sessions_run(derive, mono_ms, error_r);
}

static int64_t next_run(const struct mse_derive *derive, int64_t mono_ms)
{
	int64_t next = mono_ms + LOOK_IDLE_MS;

	if (derive->gap_count > 0 || resyncs_wait(derive) ||
	    derive->late_records > 0 || derive->event_records > 0)
		next = derive->append_at > mono_ms ? derive->append_at :
			mono_ms;
	else if (!mse_derive_is_idle(derive))
		next = derive->commit_at;
	/* Who wrote last may have died over what came next. */
	if (derive->presence_at <= derive->look_until && derive->caught_up &&
	    derive->append_at <= mono_ms && derive->presence_at < next)
		next = derive->presence_at;
	/* A rotated file that waits for its seal. */
	if (derive->settle_at > mono_ms && derive->settle_at < next)
		next = derive->settle_at;
	/* Facts to resolve; once they are, the worker wakes the loop. */
	if (derive->batch != NULL && next > mono_ms + LOOK_EVERY_MS)
		next = mono_ms + LOOK_EVERY_MS;
	if (derive->batch != NULL && derive->resolve_at > mono_ms &&
	    derive->resolve_at < next)
		next = derive->resolve_at;
	if ((derive->commit != NULL ||
	     mse_sessions_is_busy(derive->sessions)) &&
	    next > mono_ms + LOOK_EVERY_MS)
		next = mono_ms + LOOK_EVERY_MS;
	return next < mono_ms ? mono_ms : next;
}

int64_t mse_derive_run(struct mse_derive *derive, struct mse_error *error_r)
{
	int64_t mono_ms = mse_clock_mono(derive->clock);
	bool more = false;

	if (run(derive, mono_ms, &more, error_r) < 0)
		return INT64_MAX - 1;
	if (derive->has_error) {
		derive->has_error = false;
		mse_error_set(error_r, "%s", derive->error.text);
		return INT64_MAX - 1;
	}
	return more ? mono_ms : next_run(derive, mono_ms);
}

bool mse_derive_has_resyncs(const struct mse_derive *derive)
{
	return derive->resync_count > 0;
}

bool mse_derive_is_idle(const struct mse_derive *derive)
{
	return derive->commit == NULL && derive->gap_count == 0 &&
	       derive->resync_count == 0 && derive->late_records == 0 &&
	       derive->event_records == 0 && derive->batch == NULL &&
	       !mse_derive_has_changes(derive);
}

const char *mse_derive_file(const struct mse_derive *derive)
{
	return derive->committed.file;
}

void mse_derive_get_status(const struct mse_derive *derive,
			   struct mse_derive_status *status_r)
{
	*status_r = derive->met;
	status_r->behind_octets = mse_journal_reader_behind(derive->reader);
}
