/*
 * What derive has to tell: Gaps for all endpoints, and records that were
 * appended behind a seal.
 *
 * Invariant: a Gap is one journal record with a cause of its own; nothing is
 * put in line whose cause the journal held already when derive started.
 */
#include "derive/derive-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/event.h"
#include "event/imap-url.h"

/* A torn record behind a seal may still be completed by its writer. */
#define TORN_AFTER_MS 60000

void *mse_derive_grow(void *array, size_t *size, size_t count, size_t element)
{
	size_t wanted = *size == 0 ? 8 : *size * 2;
	void *bigger;

	if (count < *size)
		return array;
	bigger = realloc(array, wanted * element);
	if (bigger != NULL)
		*size = wanted;
	return bigger;
}

int mse_derive_gap_add(struct mse_derive *derive, const char *cause,
		       const char *reason, uint64_t lost, int64_t since_ms,
		       int64_t until_ms)
{
	struct mse_derive_gap *gap;
	size_t i;

	/* What is read twice after a start is told once. */
	for (i = 0; i < derive->gap_count; i++) {
		if (strcmp(derive->gaps[i].cause, cause) == 0)
			return 0;
	}
	gap = mse_derive_grow(derive->gaps, &derive->gap_size,
			      derive->gap_count, sizeof(*gap));
	if (gap == NULL)
		return -1;
	derive->gaps = gap;
	gap += derive->gap_count++;
	snprintf(gap->cause, sizeof(gap->cause), "%s", cause);
	gap->reason = reason;
	gap->lost = lost;
	gap->since_ms = since_ms;
	gap->until_ms = until_ms;
	return 0;
}

void mse_derive_event_init(const struct mse_derive *derive,
			   enum mse_event_type type, const char *uri,
			   struct mse_event *event_r)
{
	mse_event_init(event_r, type, mse_clock_wall(derive->clock));
	mse_event_set_string(event_r, MSE_PARAM_URI, uri);
	mse_event_set_string(event_r, MSE_PARAM_SERVICE, "mailhook");
	mse_event_set_string(event_r, MSE_PARAM_PROCESS, "mailhookd");
	mse_event_set_number(event_r, MSE_PARAM_PID, (uint64_t)getpid());
	mse_event_set_string(event_r, MSE_PARAM_SERVER_FQDN,
			     derive->server_fqdn);
}

void mse_derive_gap_write(const struct mse_derive *derive,
			  const struct mse_derive_gap *gap,
			  struct mse_buf *buf)
{
	struct mse_imap_url url = { .server = derive->server_name };
	char since[MSE_TIMESTAMP_SIZE], until[MSE_TIMESTAMP_SIZE];
	struct mse_event event;
	struct mse_buf uri;

	mse_buf_init(&uri, 4096);
	mse_imap_url_append(&uri, &url);
	mse_derive_event_init(derive, MSE_EVENT_GAP, mse_buf_str(&uri), &event);
	event.cause = gap->cause;
	if (gap->lost > 0)
		mse_event_set_number(&event, MSE_PARAM_LOST, gap->lost);
	if (gap->since_ms > 0) {
		mse_timestamp_format(gap->since_ms, since);
		mse_event_set_string(&event, MSE_PARAM_SINCE, since);
	}
	if (gap->until_ms > 0) {
		mse_timestamp_format(gap->until_ms, until);
		mse_event_set_string(&event, MSE_PARAM_UNTIL, until);
	}
	mse_event_set_string(&event, MSE_PARAM_REASON, gap->reason);
	mse_event_write(&event, buf);
	buf->failed = buf->failed || mse_buf_failed(&uri);
	mse_buf_clear(&uri);
}

struct presence_look {
	struct mse_derive *derive;
	bool failed;
};

static void on_loss(unsigned int slot, const struct mse_presence_slot *data,
		    void *context)
{
	struct presence_look *look = context;
	struct mse_derive *derive = look->derive;
	char cause[MSE_DERIVE_CAUSE_SIZE];
	int64_t since = data->lost_since_ms;
	uint64_t *announced;

	if (slot >= MSE_PRESENCE_SLOTS)
		return;
	announced = &derive->announced[slot];
	/* A counter only grows: a lower one is of a new presence file. */
	if (data->lost < *announced)
		*announced = 0;
	if (data->lost == *announced)
		return;
	snprintf(cause, sizeof(cause), "presence:%u:%" PRIu64, slot,
		 data->lost);
	/* The slot remembers its first loss ever; what was told is over. */
	if (*announced > 0 && derive->announced_until[slot] > since)
		since = derive->announced_until[slot];
	if (mse_derive_note_announced(derive, slot, data->lost) < 0) {
		look->failed = true;
		return;
	}
	if (!mse_derive_seen_has(&derive->seen, cause) &&
	    mse_derive_gap_add(derive, cause, "lost in a mail process",
			       data->lost - *announced, since,
			       data->lost_until_ms) < 0) {
		/* Neither of them, or it would be told twice or never. */
		derive->changes.announced_count--;
		look->failed = true;
		return;
	}
	*announced = data->lost;
	derive->announced_until[slot] = data->lost_until_ms;
}

int mse_derive_look_at_losses(struct mse_derive *derive, unsigned int slots,
			      struct mse_error *error_r)
{
	struct presence_look look = { .derive = derive };
	int fd = mse_journal_presence_fd(derive->journal);

	if (mse_presence_each_loss(fd, slots, on_loss, &look) < 0)
		return mse_error_set(error_r, "presence cannot be read: %m");
	if (look.failed)
		return mse_error_set(error_r, "out of memory for gaps");
	return 0;
}

struct mse_derive_tail *mse_derive_tail_of(struct mse_derive *derive,
					   const char *file)
{
	struct mse_derive_tail *tail;
	size_t i;

	for (i = 0; i < derive->tail_count; i++) {
		if (strcmp(derive->tails[i].file, file) == 0)
			return &derive->tails[i];
	}
	tail = mse_derive_grow(derive->tails, &derive->tail_size,
			       derive->tail_count, sizeof(*tail));
	if (tail == NULL)
		return NULL;
	derive->tails = tail;
	tail += derive->tail_count++;
	memset(tail, 0, sizeof(*tail));
	snprintf(tail->file, sizeof(tail->file), "%s", file);
	return tail;
}

struct late_look {
	struct mse_derive *derive;
	struct mse_derive_tail *tail;
};

/* 0, or -1 with the buffer as it was at len: what stands there already must
   not be spoilt by what finds no room. */
static int keep_whole(struct mse_buf *buf, size_t len)
{
	if (!mse_buf_failed(buf))
		return 0;
	buf->failed = false;
	mse_buf_truncate(buf, len);
	return -1;
}

int mse_derive_put_event(const struct mse_event *event, struct mse_buf *buf)
{
	size_t len = buf->len;

	mse_event_write(event, buf);
	return keep_whole(buf, len);
}

static int append_late(struct mse_buf *buf, const struct mse_slice *text)
{
	size_t len = buf->len;

	mse_buf_append_char(buf, MSE_RECORD_SEPARATOR);
	mse_buf_append(buf, text->data, text->len - 1);
	mse_buf_append_str(buf, ",\"late\":true}\n");
	return keep_whole(buf, len);
}

/* Each whole record behind the seal, in order, each once in this process;
   `handled` tells those that an earlier one appended again. */
static int on_late(const char *text, size_t len, void *context)
{
	struct late_look *look = context;
	struct mse_derive *derive = look->derive;
	uint64_t met = look->tail->met + len + 2;
	struct mse_record record;
	int ret = 0;

	if (met <= look->tail->handled) {
		look->tail->met = met;
		return 0;
	}
	if (mse_record_parse(text, len, &record, NULL) < 0)
		return -1;
	if (!mse_derive_seen_has(&derive->seen, record.id))
		ret = append_late(&derive->late, &record.bytes);
	if (ret == 0) {
		derive->late_records +=
			!mse_derive_seen_has(&derive->seen, record.id);
		look->tail->met = look->tail->handled = met;
	}
	mse_record_clear(&record);
	return ret;
}

static int read_tail(struct mse_derive *derive, struct mse_derive_tail *tail,
		     struct mse_error *error_r)
{
	struct late_look look = { .derive = derive, .tail = tail };
	uint64_t handled = tail->handled;
	int ret;

	ret = mse_journal_each_late(derive->journal, tail->file, on_late,
				    &look, error_r);
	/* Forgetting it costs one id twice after a crash. */
	if (tail->handled != handled)
		(void)mse_derive_note_late(derive, tail);
	return ret;
}

/* What stays incomplete behind a seal has lost its writer. */
static int look_for_torn(struct mse_derive *derive,
			 const struct mse_journal_file *file,
			 struct mse_derive_tail *tail,
			 struct mse_error *error_r)
{
	char cause[MSE_DERIVE_CAUSE_SIZE];
	uint64_t end = file->sealed_length + tail->met;

	if (file->size <= end) {
		tail->torn_told = true;
		return 0;
	}
	snprintf(cause, sizeof(cause), "damage:%s:%" PRIu64, tail->file, end);
	if (!mse_derive_seen_has(&derive->seen, cause)) {
		if (mse_derive_gap_add(derive, cause,
				       "torn record in the journal", 0, 0,
				       file->newest_ms) < 0)
			return mse_error_set(error_r, "out of memory for "
					     "gaps");
		derive->met.torn++;
	}
	/* The next start looks again, from a cursor behind that Gap. */
	tail->torn_told = true;
	(void)mse_derive_note_late(derive, tail);
	return 0;
}

static int look_at_tail(struct mse_derive *derive,
			const struct mse_journal_file *file, int64_t mono_ms,
			struct mse_error *error_r)
{
	struct mse_derive_tail *tail = mse_derive_tail_of(derive, file->uuid);

	if (tail == NULL)
		return mse_error_set(error_r, "out of memory for late records");
	tail->listed = true;
	if (file->size <= file->sealed_length)
		return 0;
	if (tail->looked_at != file->size) {
		if (read_tail(derive, tail, error_r) < 0)
			return -1;
		tail->looked_at = file->size;
		tail->same_since = mono_ms;
		return 0;
	}
	if (tail->torn_told || mono_ms - tail->same_since < TORN_AFTER_MS)
		return 0;
	return look_for_torn(derive, file, tail, error_r);
}

/* Released files: what came between the last look and the unlink is still
   there to be read, once. */
static int drop_released(struct mse_derive *derive, struct mse_error *error_r)
{
	struct mse_derive_tail *tail;
	size_t i = 0;

	while (i < derive->tail_count) {
		tail = &derive->tails[i];
		if (tail->listed) {
			tail->listed = false;
			i++;
			continue;
		}
		if (read_tail(derive, tail, error_r) < 0)
			return -1;
		if (mse_derive_note_forgotten(derive, tail->file) < 0)
			return mse_error_set(error_r, "out of memory");
		*tail = derive->tails[--derive->tail_count];
	}
	return 0;
}

int mse_derive_look_at_tails(struct mse_derive *derive, int64_t mono_ms,
			     struct mse_error *error_r)
{
	const struct mse_journal_file *files;
	struct mse_journal_file *sealed;
	unsigned int i, count, sealed_count = 0;
	int ret = 0;

	/* Copied: the list is only valid until the next call. */
	files = mse_journal_files(derive->journal, &count);
	sealed = calloc(count + 1, sizeof(*sealed));
	if (sealed == NULL)
		return mse_error_set(error_r, "out of memory for late records");
	for (i = 0; i < count; i++) {
		if (files[i].sealed)
			sealed[sealed_count++] = files[i];
	}
	for (i = 0; i < sealed_count && ret == 0; i++)
		ret = look_at_tail(derive, &sealed[i], mono_ms, error_r);
	free(sealed);
	return ret < 0 ? -1 : drop_released(derive, error_r);
}
