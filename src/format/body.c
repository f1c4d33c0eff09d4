/*
 * A journal record as the body of a request: CloudEvents 1.0, structured.
 *
 *   {"specversion":"1.0","id":"…","source":"imap://SERVER/#SERVERFQDN",
 *    "type":"org.ietf.rfc5423.MessageNew","subject":"USER/MAILBOX",
 *    "time":"…","datacontenttype":"application/json","partitionkey":"OWNER",
 *    "stream":"…","sequence":"00000000000000000042","data":{…}}
 *
 * Invariant: `data` is the record's own bytes, unchanged, and what the
 * endpoint asked for (data.h); everything else comes from the record and the
 * context alone: the same event with the same number gives the same octets at
 * every attempt.
 */
#include "format/body.h"

#include <inttypes.h>
#include <string.h>

#include "event/imap-url.h"
#include "event/json-string.h"
#include "format/data.h"

#define TYPE_PREFIX "org.ietf.rfc5423."
#define VENDOR_PREFIX "vnd."

static void append_member(struct mse_buf *body, const char *name,
			  const char *text)
{
	mse_buf_appendf(body, ",\"%s\":", name);
	mse_json_append_string(body, text, strlen(text));
}

static void append_source(struct mse_buf *body,
			  const struct mse_body_context *context)
{
	struct mse_imap_url url = { .server = context->server_name };
	struct mse_buf source;

	mse_buf_init(&source, 4096);
	mse_imap_url_append(&source, &url);
	mse_buf_append_char(&source, '#');
	mse_buf_append_str(&source, context->server_fqdn);
	body->failed = body->failed || mse_buf_failed(&source);
	append_member(body, "source", mse_buf_str(&source));
	mse_buf_clear(&source);
}

/* Only names that are the RFC's get its prefix. */
static void append_type(struct mse_buf *body, const struct mse_record *record)
{
	const char *name = record->type != MSE_EVENT_UNKNOWN ?
		mse_event_type_name(record->type) : record->type_name;

	mse_buf_append_str(body, ",\"type\":\"");
	if (record->type != MSE_EVENT_UNKNOWN &&
	    strncmp(name, VENDOR_PREFIX, strlen(VENDOR_PREFIX)) != 0)
		mse_buf_append_str(body, TYPE_PREFIX);
	mse_buf_append_str(body, name);
	mse_buf_append_char(body, '"');
}

/* Encoded user "/" encoded mailbox: "/" in either cannot be mistaken for the
   one between them in the user, and all of it is ASCII. An attribute may not
   be empty (CloudEvents 1.0), so an event of nobody has no subject. */
static void append_routing(struct mse_buf *body,
			   const struct mse_record *record)
{
	const char *owner = record->owner[0] != '\0' ? record->owner :
		record->user;
	size_t len;

	if (owner == NULL || *owner == '\0')
		return;
	mse_buf_append_str(body, ",\"partitionkey\":\"");
	mse_imap_url_encode_user(body, owner);
	mse_buf_append_str(body, "\",\"subject\":\"");
	len = body->len;
	mse_imap_url_encode_user(body, owner);
	if (record->mailbox != NULL && body->len > len) {
		mse_buf_append_char(body, '/');
		mse_imap_url_encode_mailbox(body, record->mailbox);
	}
	mse_buf_append_char(body, '"');
}

static void append_cloudevents(const struct mse_conf_endpoint *endpoint,
			       const struct mse_body_context *context,
			       const struct mse_record *record,
			       struct mse_buf *body)
{
	mse_buf_append_str(body, "{\"specversion\":\"1.0\"");
	append_member(body, "id", record->id);
	append_source(body, context);
	append_type(body, record);
	append_routing(body, record);
	append_member(body, "time", record->time_text);
	mse_buf_append_str(body,
			   ",\"datacontenttype\":\"application/json\"");
	append_member(body, "stream", context->stream);
	mse_buf_appendf(body, ",\"sequence\":\"%020" PRIu64 "\",\"data\":",
			context->sequence);
	mse_data_append(endpoint, record, body);
	mse_buf_append_char(body, '}');
}

int mse_body_write(const struct mse_conf_endpoint *endpoint,
		   const struct mse_body_context *context,
		   const struct mse_record *record, struct mse_buf *body)
{
	switch (endpoint->format) {
	case MSE_FORMAT_CLOUDEVENTS:
		append_cloudevents(endpoint, context, record, body);
		break;
	}
	return mse_buf_failed(body) ? -1 : 0;
}

const char *mse_body_content_type(enum mse_conf_format format)
{
	switch (format) {
	case MSE_FORMAT_CLOUDEVENTS:
		break;
	}
	return "application/cloudevents+json";
}
