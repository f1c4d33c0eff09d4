/*
 * An event's bytes in the journal: RS, one JSON object, LF (RFC 7464), the
 * members a reader routes on first:
 *
 *   {"id":"…","type":"MessageNew","time":"…","user":"u","owner":"u",
 *    "mailbox":"INBOX","data":{"uri":"imap://…",…}}
 *
 * The optional parameters stand behind the data (optional.h).
 *
 * Invariant: control characters are escaped (RS in a name comes out as
 * \u001e), so that RS only ever begins a record.
 */
#include "event/event.h"

#include <string.h>

#include "base/clock.h"
#include "event/json-string.h"
#include "event/record.h"

static void write_name(struct mse_buf *buf, const char *name)
{
	mse_buf_append_char(buf, '"');
	mse_buf_append_str(buf, name);
	mse_buf_append(buf, "\":", 2);
}

static void write_number(struct mse_buf *buf, const char *name, uint64_t value)
{
	write_name(buf, name);
	mse_buf_append_number(buf, value);
	mse_buf_append_char(buf, ',');
}

static void write_bool(struct mse_buf *buf, const char *name, bool value)
{
	write_name(buf, name);
	mse_buf_append_str(buf, value ? "true," : "false,");
}

static void write_member(struct mse_buf *buf, const char *name,
			 const char *value)
{
	if (value == NULL)
		return;
	write_name(buf, name);
	mse_json_append_string(buf, value, strlen(value));
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
			write_bool(buf, mse_param_name(i),
				   event->values[i].number != 0);
		else
			write_number(buf, mse_param_name(i),
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
	write_member(buf, "socket", event->socket);
	if (event->instance != NULL) {
		write_number(buf, "slot", event->slot);
		write_member(buf, "instance", event->instance);
	}
	mse_buf_append_str(buf, "\"data\":");
	write_data(event, timestamp, buf);
	if (event->optionals != NULL)
		mse_optionals_write(event->optionals, buf);
	mse_buf_append_str(buf, "}\n");
}
