/*
 * A journal record as the body of a request, in the endpoint's format.
 * CloudEvents has a file of its own; the other two are
 *
 *   standard  {"type":"MessageNew","timestamp":"…","data":{…,
 *              "vnd.mailhook.stream":"…","vnd.mailhook.sequence":42}}
 *             as Standard Webhooks advises; the event's id is webhook-id
 *   cyrus     {"event":"MessageNew","vnd.mailhook.id":"…",
 *              "vnd.mailhook.stream":"…","vnd.mailhook.sequence":42,…}
 *             one flat object, as Cyrus IMAP's notifier prints, `timestamp`
 *             being one of data's own members
 *
 * Invariant: the same event with the same number gives the same octets at
 * every attempt.
 */
#include "format/body.h"

#include <inttypes.h>
#include <string.h>

#include "event/json-string.h"
#include "format/cloudevents.h"
#include "format/data.h"

#define OWN_PREFIX "vnd.mailhook."
#define HEADERS_MAX ((size_t)1024 * 1024)
#define BODY_FRAME ((size_t)512)

const char *mse_body_type(const struct mse_record *record)
{
	return record->type != MSE_EVENT_UNKNOWN ?
		mse_event_type_name(record->type) : record->type_name;
}

static void put_string(struct mse_buf *body, const char *before,
		       const char *text)
{
	mse_buf_append_str(body, before);
	mse_json_append_string(body, text, strlen(text));
}

static void put_numbering(struct mse_buf *body,
			  const struct mse_body_context *context)
{
	put_string(body, "\"" OWN_PREFIX "stream\":", context->stream);
	mse_buf_append_str(body, ",\"" OWN_PREFIX "sequence\":");
	mse_buf_append_number(body, context->sequence);
}

/* A comma in front of them if there are any: no format ends in one. */
static void put_data(struct mse_buf *body,
		     const struct mse_conf_endpoint *endpoint,
		     const struct mse_record *record)
{
	size_t before = body->len, empty;

	mse_buf_append_char(body, ',');
	empty = body->len;
	mse_data_append_members(endpoint, record, body);
	if (!mse_buf_failed(body) && strspn(body->data + empty, " \t\r\n") ==
	    body->len - empty)
		mse_buf_truncate(body, before);
}

static void append_standard(const struct mse_conf_endpoint *endpoint,
			    const struct mse_body_context *context,
			    const struct mse_record *record,
			    struct mse_buf *body)
{
	put_string(body, "{\"type\":", mse_body_type(record));
	put_string(body, ",\"timestamp\":", record->time_text);
	mse_buf_append_str(body, ",\"data\":{");
	put_numbering(body, context);
	put_data(body, endpoint, record);
	mse_buf_append_str(body, "}}");
}

static void append_cyrus(const struct mse_conf_endpoint *endpoint,
			 const struct mse_body_context *context,
			 const struct mse_record *record,
			 struct mse_buf *body)
{
	put_string(body, "{\"event\":", mse_body_type(record));
	put_string(body, ",\"" OWN_PREFIX "id\":", record->id);
	mse_buf_append_char(body, ',');
	put_numbering(body, context);
	put_data(body, endpoint, record);
	mse_buf_append_char(body, '}');
}

void mse_body_init(struct mse_body *body, enum mse_conf_format format,
		   size_t limit)
{
	memset(body, 0, sizeof(*body));
	body->format = format;
	mse_buf_init(&body->octets, limit);
	mse_buf_init(&body->headers, HEADERS_MAX);
}

void mse_body_clear(struct mse_body *body)
{
	mse_buf_clear(&body->octets);
	mse_buf_clear(&body->headers);
	body->header_count = body->events = 0;
}

bool mse_body_is_batch(enum mse_conf_format format)
{
	return format == MSE_FORMAT_CLOUDEVENTS_BATCH;
}

void mse_body_add(struct mse_body *body,
		  const struct mse_conf_endpoint *endpoint,
		  const struct mse_body_context *context,
		  const struct mse_record *record)
{
	struct mse_buf *octets = &body->octets;

	/* In one piece: what it mostly comes to. */
	if (record->bytes.len + BODY_FRAME < octets->limit - octets->len)
		(void)mse_buf_reserve(octets, record->bytes.len + BODY_FRAME);
	switch (body->format) {
	case MSE_FORMAT_CLOUDEVENTS_BATCH:
		mse_buf_append_char(octets, body->events == 0 ? '[' : ',');
		/* fall through */
	case MSE_FORMAT_CLOUDEVENTS:
		mse_cloudevents_append(endpoint, context, record, octets);
		break;
	case MSE_FORMAT_CLOUDEVENTS_BINARY:
		body->header_count += mse_cloudevents_headers(context, record,
							      &body->headers);
		mse_data_append(endpoint, record, octets);
		break;
	case MSE_FORMAT_STANDARD:
		append_standard(endpoint, context, record, octets);
		break;
	case MSE_FORMAT_CYRUS:
		append_cyrus(endpoint, context, record, octets);
		break;
	}
	body->events++;
}

void mse_body_cut(struct mse_body *body, size_t len)
{
	mse_buf_truncate(&body->octets, len);
	body->events--;
}

int mse_body_end(struct mse_body *body)
{
	if (mse_body_is_batch(body->format))
		mse_buf_append_char(&body->octets, ']');
	return mse_buf_failed(&body->octets) ||
		mse_buf_failed(&body->headers) ? -1 : 0;
}

const char *mse_body_content_type(enum mse_conf_format format)
{
	switch (format) {
	case MSE_FORMAT_CLOUDEVENTS:
		return "application/cloudevents+json";
	case MSE_FORMAT_CLOUDEVENTS_BATCH:
		return "application/cloudevents-batch+json";
	case MSE_FORMAT_CLOUDEVENTS_BINARY:
	case MSE_FORMAT_STANDARD:
	case MSE_FORMAT_CYRUS:
		break;
	}
	return "application/json";
}
