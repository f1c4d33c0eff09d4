/*
 * Resyncs: what receivers have to read again, because a mail process died
 * while it changed something and before it could tell, or because somebody
 * asks for it.
 *
 * Intents are told once: a Resync names slot and instance, and its intents
 * are cleared when it is in the journal and synced, before any cursor gets
 * past it. A crash before that leaves the intents, and a record that the next
 * start meets before it appends.
 *
 * Invariant: only the daemon clears intents, and only those of the dead.
 */
#include "derive/derive-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/imap-url.h"

/* URLs may be three times as long as names. */
#define RESYNC_URL_MAX (64 * 1024)
#define RESYNC_MAX (1024 * 1024)

static bool is_in_line(const struct mse_derive *derive, const char *cause)
{
	size_t i;

	for (i = 0; i < derive->resync_count; i++) {
		if (strcmp(derive->resyncs[i].cause, cause) == 0)
			return true;
	}
	return false;
}

static int put_in_line(struct mse_derive *derive, const char *cause,
		       char *record, size_t len, unsigned int slot)
{
	struct mse_derive_resync *one;

	one = mse_derive_grow(derive->resyncs, &derive->resync_size,
			      derive->resync_count, sizeof(*one));
	if (one == NULL)
		return -1;
	derive->resyncs = one;
	one += derive->resync_count++;
	memset(one, 0, sizeof(*one));
	snprintf(one->cause, sizeof(one->cause), "%s", cause);
	one->record = record;
	one->len = len;
	one->slot = slot;
	return 0;
}

/* The event */

static void append_url(const struct mse_derive *derive,
		       const struct mse_resync *resync, const char *mailbox,
		       struct mse_buf *url_r)
{
	struct mse_imap_url url = {
		.server = derive->server_name,
		.user = resync->is_public ? NULL :
			resync->owner != NULL ? resync->owner : resync->user,
		.mailbox = mailbox,
		.uidvalidity = mailbox == NULL ? 0 : resync->uidvalidity,
	};

	mse_buf_init(url_r, RESYNC_URL_MAX);
	mse_imap_url_append(url_r, &url);
}

static void set_mailbox(struct mse_event *event,
			const struct mse_resync *resync, const char *url,
			const char *old_url)
{
	event->mailbox = resync->mailbox;
	mse_event_set_string(event, MSE_PARAM_MAILBOX_ID, url);
	mse_event_set_string(event, MSE_PARAM_MAILBOX, resync->mailbox);
	if (resync->old_mailbox != NULL) {
		event->old_mailbox = resync->old_mailbox;
		mse_event_set_string(event, MSE_PARAM_OLD_MAILBOX_ID, old_url);
	}
	if (resync->uidnext != 0)
		mse_event_set_number(event, MSE_PARAM_UIDNEXT,
				     resync->uidnext);
	if (resync->modseq != 0)
		mse_event_set_number(event, MSE_PARAM_MODSEQ, resync->modseq);
}

static void write_event(const struct mse_derive *derive, const char *cause,
			const struct mse_resync *resync,
			char id_r[MSE_UUID_SIZE], struct mse_buf *buf)
{
	const char *owner = resync->owner != NULL ? resync->owner :
		resync->user;
	char since[MSE_TIMESTAMP_SIZE];
	struct mse_buf url, old_url;
	struct mse_event event;

	append_url(derive, resync, resync->mailbox, &url);
	append_url(derive, resync, resync->old_mailbox, &old_url);
	mse_derive_event_init(derive, MSE_EVENT_RESYNC, mse_buf_str(&url),
			      &event);
	event.cause = cause;
	event.user = resync->user;
	event.owner = owner;
	mse_event_set_string(&event, MSE_PARAM_USER, resync->user);
	if (owner != NULL && resync->user != NULL && !resync->is_public &&
	    strcmp(owner, resync->user) != 0)
		mse_event_set_string(&event, MSE_PARAM_OWNER, owner);
	if (resync->mailbox != NULL)
		set_mailbox(&event, resync, mse_buf_str(&url),
			    mse_buf_str(&old_url));
	if (resync->since_ms > 0) {
		mse_timestamp_format(resync->since_ms, since);
		mse_event_set_string(&event, MSE_PARAM_SINCE, since);
	}
	mse_event_set_string(&event, MSE_PARAM_REASON, resync->reason);
	mse_event_write(&event, buf);
	buf->failed = buf->failed || mse_buf_failed(&url) ||
		mse_buf_failed(&old_url);
	if (id_r != NULL)
		memcpy(id_r, event.id, MSE_UUID_SIZE);
	mse_buf_clear(&url);
	mse_buf_clear(&old_url);
}

static int add_resync(struct mse_derive *derive, const char *cause,
		      const struct mse_resync *resync, unsigned int slot,
		      char id_r[MSE_UUID_SIZE])
{
	struct mse_buf record;
	size_t len;
	char *bytes;

	if (is_in_line(derive, cause))
		return 0;
	mse_buf_init(&record, RESYNC_MAX);
	write_event(derive, cause, resync, id_r, &record);
	len = record.len;
	bytes = mse_buf_take(&record);
	mse_buf_clear(&record);
	if (bytes == NULL || put_in_line(derive, cause, bytes, len, slot) < 0) {
		free(bytes);
		return -1;
	}
	return 0;
}

int mse_derive_resync(struct mse_derive *derive, const char *cause,
		      const struct mse_resync *resync,
		      char id_r[MSE_UUID_SIZE])
{
	return add_resync(derive, cause, resync, 0, id_r);
}

/* Intents */

struct intents_look {
	struct mse_derive *derive;
	bool failed;
};

/* The process was killed before it could name what it changed, or what it
   wrote is not readable: nobody knows what to read again. */
static int tell_unknown(struct mse_derive *derive, unsigned int slot,
			const char *cause)
{
	int64_t now = mse_clock_wall(derive->clock);

	if (is_in_line(derive, cause))
		return 0;
	/* Without bytes: there to have the intents cleared behind the Gap. */
	if (put_in_line(derive, cause, NULL, 0, slot) < 0)
		return -1;
	return mse_derive_gap_add(derive, cause, "a mail process died while it "
				  "changed something", 0, 0, now);
}

static int tell_intent(struct mse_derive *derive, unsigned int slot,
		       const char *cause, const struct mse_intent *intent)
{
	struct mse_resync resync = {
		.reason = "a mail process died while it changed this",
		.user = intent->user,
		.owner = intent->owner,
		.is_public = intent->is_public,
		.mailbox = intent->mailbox,
		.old_mailbox = intent->old_mailbox,
		.since_ms = intent->wall_ms,
		.uidvalidity = intent->uidvalidity,
		.uidnext = intent->uidnext,
		.modseq = intent->modseq,
	};

	return add_resync(derive, cause, &resync, slot, NULL);
}

static int tell_intents(struct mse_derive *derive, unsigned int slot,
			const struct mse_intents *intents)
{
	const char *instance = intents->image.head.instance;
	char cause[MSE_DERIVE_CAUSE_SIZE];
	struct mse_intent intent;
	unsigned int number = 0;
	uint32_t offset = 0;
	bool valid = mse_intents_are_valid(intents);

	while (valid && mse_intents_next(intents, &offset, &intent)) {
		snprintf(cause, sizeof(cause), "intent:%u:%s:%u", slot,
			 instance, number++);
		if (tell_intent(derive, slot, cause, &intent) < 0)
			return -1;
	}
	if (valid && intents->image.head.more == 0)
		return 0;
	snprintf(cause, sizeof(cause), "intent:%u:%s:unknown", slot,
		 valid ? instance : "");
	return tell_unknown(derive, slot, cause);
}

static void on_intents(unsigned int slot, const struct mse_intents *intents,
		       void *context)
{
	struct intents_look *look = context;
	struct mse_derive *derive = look->derive;
	size_t before = derive->resync_count;

	if (tell_intents(derive, slot, intents) == 0)
		return;
	look->failed = true;
	/* All of a slot or nothing: it is cleared behind any of them. */
	while (derive->resync_count > before)
		free(derive->resyncs[--derive->resync_count].record);
}

int mse_derive_look_at_intents(struct mse_derive *derive, unsigned int slots,
			       struct mse_error *error_r)
{
	struct intents_look look = { .derive = derive };
	int fd = mse_journal_presence_fd(derive->journal);

	if (mse_presence_each_intent(fd, slots, on_intents, &look) < 0)
		return mse_error_set(error_r, "presence cannot be read: %m");
	if (look.failed)
		return mse_error_set(error_r, "out of memory for resyncs");
	return 0;
}

/* The line */

void mse_derive_resyncs_write(struct mse_derive *derive,
			      struct mse_buf *bytes, unsigned int *records)
{
	const struct mse_derive_resync *one;
	size_t i;

	for (i = 0; i < derive->resync_count; i++) {
		one = &derive->resyncs[i];
		if (one->appended || one->record == NULL ||
		    mse_derive_seen_has(&derive->seen, one->cause))
			continue;
		mse_buf_append(bytes, one->record, one->len);
		(*records)++;
	}
}

void mse_derive_resyncs_appended(struct mse_derive *derive)
{
	struct mse_derive_resync *one;
	size_t i;

	for (i = 0; i < derive->resync_count; i++) {
		one = &derive->resyncs[i];
		if (one->appended)
			continue;
		one->appended = true;
		if (one->record != NULL &&
		    !mse_derive_seen_has(&derive->seen, one->cause))
			derive->met.resyncs++;
	}
}

static void drop_appended(struct mse_derive *derive)
{
	size_t i, kept = 0;

	for (i = 0; i < derive->resync_count; i++) {
		if (derive->resyncs[i].appended)
			free(derive->resyncs[i].record);
		else
			derive->resyncs[kept++] = derive->resyncs[i];
	}
	derive->resync_count = kept;
}

/* Once: cleared, the slot may be claimed by another process at once. */
static int clear_slot(struct mse_derive *derive, unsigned int slot)
{
	size_t i;

	if (mse_presence_clear_intents(
			mse_journal_presence_fd(derive->journal), slot) < 0)
		return -1;
	for (i = 0; i < derive->resync_count; i++) {
		if (derive->resyncs[i].slot == slot)
			derive->resyncs[i].slot = 0;
	}
	return 0;
}

int mse_derive_resyncs_settle(struct mse_derive *derive,
			      struct mse_error *error_r)
{
	size_t i;

	/* What was appended stands in front. */
	if (derive->resync_count == 0 || !derive->resyncs[0].appended)
		return 0;
	if (mse_journal_sync(derive->journal, error_r) < 0)
		return -1;
	for (i = 0; i < derive->resync_count; i++) {
		if (derive->resyncs[i].slot > 0 &&
		    derive->resyncs[i].appended &&
		    clear_slot(derive, derive->resyncs[i].slot) < 0)
			return mse_error_set(error_r, "presence cannot be "
					     "written: %m");
	}
	drop_appended(derive);
	return 0;
}

void mse_derive_resyncs_free(struct mse_derive *derive)
{
	size_t i;

	for (i = 0; i < derive->resync_count; i++)
		free(derive->resyncs[i].record);
	free(derive->resyncs);
	derive->resyncs = NULL;
	derive->resync_count = 0;
}
