/*
 * An event's bytes in the journal: RS, one JSON object, LF (RFC 7464), the
 * members a reader routes on first:
 *
 *   {"id":"…","type":"MessageNew","time":"…","user":"u","owner":"u",
 *    "mailbox":"INBOX","data":{"uri":"imap://…",…}}
 *
 * json-c escapes the strings (RS in a name comes out as \u001e, so RS only
 * ever begins a record); the frame around them is ours.
 */
#include "event/event.h"

#include <json.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "event/record.h"

/* What JSON makes of these bytes at least. */
static size_t escaped_len(const char *data, size_t len)
{
	size_t i, escaped = 2;

	for (i = 0; i < len; i++)
		escaped += (unsigned char)data[i] < 0x20 || data[i] == '"' ||
			   data[i] == '\\' ? 2 : 1;
	return escaped;
}

static void write_json_string(struct mse_buf *buf, const char *data, size_t len)
{
	struct json_object *string = len > INT_MAX ? NULL :
		json_object_new_string_len(data, (int)len);
	size_t text_len = 0;
	const char *text = string == NULL ? NULL :
		json_object_to_json_string_length(string,
			JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
			&text_len);

	/* json-c leaves out what it has no memory for, and does not say. */
	if (text == NULL || text_len < escaped_len(data, len))
		buf->failed = true;
	else
		mse_buf_append(buf, text, text_len);
	json_object_put(string);
}

static void write_string(struct mse_buf *buf, const char *value)
{
	size_t len = strlen(value);
	struct mse_buf scrubbed;

	if (mse_utf8_is_valid(value, len)) {
		write_json_string(buf, value, len);
		return;
	}
	mse_buf_init(&scrubbed, len * 3);
	mse_utf8_append_scrubbed(&scrubbed, value, len);
	if (mse_buf_failed(&scrubbed))
		buf->failed = true;
	else
		write_json_string(buf, scrubbed.data, scrubbed.len);
	mse_buf_clear(&scrubbed);
}

static void write_member(struct mse_buf *buf, const char *name,
			 const char *value)
{
	if (value == NULL)
		return;
	mse_buf_appendf(buf, "\"%s\":", name);
	write_string(buf, value);
	mse_buf_append_char(buf, ',');
}

static void write_data(const struct mse_event *event, const char *timestamp,
		       struct mse_buf *buf)
{
	unsigned int i;

	mse_buf_append_char(buf, '{');
	for (i = 0; i < MSE_PARAM_COUNT; i++) {
		if (i == MSE_PARAM_TIMESTAMP)
			write_member(buf, mse_param_name(i), timestamp);
		else if ((event->set & (uint64_t)1 << i) == 0)
			continue;
		else if (mse_param_kind(i) == MSE_KIND_STRING)
			write_member(buf, mse_param_name(i),
				     event->values[i].string);
		else if (mse_param_kind(i) == MSE_KIND_BOOL)
			mse_buf_appendf(buf, "\"%s\":%s,", mse_param_name(i),
					event->values[i].number != 0 ?
					"true" : "false");
		else
			mse_buf_appendf(buf, "\"%s\":%llu,", mse_param_name(i),
					(unsigned long long)
					event->values[i].number);
	}
	if (!mse_buf_failed(buf))
		mse_buf_truncate(buf, buf->len - 1);
	mse_buf_append_char(buf, '}');
}

void mse_event_write(const struct mse_event *event, struct mse_buf *buf)
{
	const char *owner = event->owner != NULL ? event->owner : event->user;
	char timestamp[MSE_TIMESTAMP_SIZE];

	mse_timestamp_format(event->time_ms, timestamp);
	mse_buf_append_char(buf, MSE_RECORD_SEPARATOR);
	mse_buf_append_char(buf, '{');
	write_member(buf, "id", event->id);
	write_member(buf, "type", mse_event_type_name(event->type));
	write_member(buf, "time", timestamp);
	write_member(buf, "user", event->user);
	write_member(buf, "owner", owner);
	write_member(buf, "mailbox", event->mailbox);
	write_member(buf, "oldMailbox", event->old_mailbox);
	write_member(buf, "cause", event->cause);
	if (event->instance != NULL) {
		mse_buf_appendf(buf, "\"slot\":%u,", event->slot);
		write_member(buf, "instance", event->instance);
	}
	mse_buf_append_str(buf, "\"data\":");
	write_data(event, timestamp, buf);
	mse_buf_append_str(buf, "}\n");
}
