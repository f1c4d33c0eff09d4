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

static void write_string(struct mse_buf *buf, const char *value)
{
	mse_json_append_string(buf, value, strlen(value));
	mse_buf_append_char(buf, ',');
}

static void write_number(struct mse_buf *buf, uint64_t value)
{
	mse_buf_append_number(buf, value);
	mse_buf_append_char(buf, ',');
}

/* name: quoted, with the colon. */
static void write_member(struct mse_buf *buf, const char *name, size_t len,
			 const char *value)
{
	if (value == NULL)
		return;
	mse_buf_append(buf, name, len);
	write_string(buf, value);
}

/* An envelope's member; its name is a literal. */
#define WRITE_MEMBER(buf, name, value) \
	write_member(buf, "\"" name "\":", sizeof("\"" name "\":") - 1, value)

static void write_param(const struct mse_event *event, unsigned int param,
			const char *timestamp, struct mse_buf *buf)
{
	const struct mse_param_key *key = mse_param_key(param);

	mse_buf_append(buf, key->text, key->len);
	if (param == MSE_PARAM_TIMESTAMP) {
		mse_buf_append_char(buf, '"');
		mse_buf_append_str(buf, timestamp);
		mse_buf_append_str(buf, "\",");
	} else if (key->kind == MSE_KIND_STRING)
		write_string(buf, event->values[param].string);
	else if (key->kind == MSE_KIND_NUMBER)
		write_number(buf, event->values[param].number);
	else if (event->values[param].number != 0)
		mse_buf_append(buf, "true,", 5);
	else
		mse_buf_append(buf, "false,", 6);
}

uint64_t mse_event_print(const struct mse_event *event, uint64_t params,
			 struct mse_buf *buf)
{
	uint64_t left;

	params &= event->set & ~MSE_PARAM_BIT(MSE_PARAM_TIMESTAMP);
	for (left = params; left != 0; left &= left - 1)
		write_param(event, (unsigned int)__builtin_ctzll(left), NULL,
			    buf);
	return params;
}

/* NULL if the parameter is none of those that are printed already. */
static const struct mse_printed *find_printed(const struct mse_event *event,
					      unsigned int param)
{
	unsigned int i;

	for (i = 0; i < MSE_EVENT_PRINTED_MAX && event->printed[i] != NULL;
	     i++) {
		if ((event->printed[i]->set & MSE_PARAM_BIT(param)) != 0)
			return event->printed[i];
	}
	return NULL;
}

/* What is printed comes where its first member would. */
static void write_data(const struct mse_event *event, const char *timestamp,
		       struct mse_buf *buf)
{
	uint64_t left = event->set | MSE_PARAM_BIT(MSE_PARAM_TIMESTAMP);
	const struct mse_printed *printed;
	unsigned int i, param;

	for (i = 0; i < MSE_EVENT_PRINTED_MAX && event->printed[i] != NULL; i++)
		left |= event->printed[i]->set;
	mse_buf_append_char(buf, '{');
	while (left != 0) {
		param = (unsigned int)__builtin_ctzll(left);
		printed = find_printed(event, param);
		if (printed != NULL) {
			mse_buf_append(buf, printed->text, printed->len);
			left &= ~printed->set;
		} else {
			write_param(event, param, timestamp, buf);
			left &= left - 1;
		}
	}
	if (!mse_buf_failed(buf))
		mse_buf_truncate(buf, buf->len - 1);
	mse_buf_append_char(buf, '}');
}

/* RS, and the members that each event has; none of them needs escapes. */
static void write_head(const struct mse_event *event, const char *timestamp,
		       struct mse_buf *buf)
{
	static const char begin[] = { MSE_RECORD_SEPARATOR, '{', '"', 'i', 'd',
				      '"', ':', '"' };

	mse_buf_append(buf, begin, sizeof(begin));
	mse_buf_append_str(buf, event->id);
	mse_buf_append_str(buf, "\",\"type\":\"");
	mse_buf_append_str(buf, mse_event_type_name(event->type));
	mse_buf_append_str(buf, "\",\"time\":\"");
	mse_buf_append_str(buf, timestamp);
	mse_buf_append_str(buf, "\",");
}

void mse_event_write(const struct mse_event *event, struct mse_buf *buf)
{
	const char *owner = event->owner != NULL ? event->owner : event->user;
	char timestamp[MSE_TIMESTAMP_SIZE];

	mse_timestamp_format(event->time_ms, timestamp);
	write_head(event, timestamp, buf);
	WRITE_MEMBER(buf, "user", event->user);
	WRITE_MEMBER(buf, "owner", owner);
	WRITE_MEMBER(buf, "mailbox", event->mailbox);
	WRITE_MEMBER(buf, "oldMailbox", event->old_mailbox);
	WRITE_MEMBER(buf, "cause", event->cause);
	WRITE_MEMBER(buf, "socket", event->socket);
	if (event->instance != NULL) {
		mse_buf_append_str(buf, "\"slot\":");
		write_number(buf, event->slot);
		WRITE_MEMBER(buf, "instance", event->instance);
	}
	mse_buf_append_str(buf, "\"data\":");
	write_data(event, timestamp, buf);
	if (event->optionals != NULL)
		mse_optionals_write(event->optionals, buf);
	mse_buf_append_str(buf, "}\n");
}
