/*
 * CloudEvents 1.0: an event's attributes, as members of a JSON object or as
 * HTTP headers.
 *
 *   {"specversion":"1.0","id":"…","source":"imap://SERVER/#SERVERFQDN",
 *    "type":"org.ietf.rfc5423.MessageNew","partitionkey":"OWNER",
 *    "subject":"USER/MAILBOX","time":"…","datacontenttype":"application/json",
 *    "stream":"…","sequence":"00000000000000000042","data":{…}}
 *
 * Invariant: `data` is the record's own bytes, unchanged, and what the
 * endpoint asked for (data.h); everything else comes from the record and the
 * context alone: the same event with the same number gives the same octets at
 * every attempt.
 */
#include "format/cloudevents.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event/imap-url.h"
#include "event/json-string.h"
#include "format/data.h"

#define TYPE_PREFIX "org.ietf.rfc5423."
#define VENDOR_PREFIX "vnd."
#define VALUE_MAX ((size_t)256 * 1024)

struct attributes {
	struct mse_buf *out;
	bool headers;
	size_t count;
	struct mse_buf value; /* of those put together */
};

/* HTTP protocol binding 3.1.3.2: UTF-8, percent-encoded but for printable
   ASCII without space, '"' and "%". */
static void append_header_value(struct mse_buf *out, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *p = (const unsigned char *)value;

	for (; *p != '\0'; p++) {
		if (*p > ' ' && *p < 0x7f && *p != '"' && *p != '%') {
			mse_buf_append_char(out, (char)*p);
			continue;
		}
		mse_buf_append_char(out, '%');
		mse_buf_append_char(out, hex[*p >> 4]);
		mse_buf_append_char(out, hex[*p & 15]);
	}
}

static void put(struct attributes *attributes, const char *name,
		const char *value)
{
	struct mse_buf *out = attributes->out;

	if (attributes->headers) {
		mse_buf_append_str(out, "ce-");
		mse_buf_append_str(out, name);
		mse_buf_append_str(out, ": ");
		append_header_value(out, value);
		mse_buf_append_char(out, '\0');
	} else {
		mse_buf_append_str(out, attributes->count == 0 ? "{\"" :
				   ",\"");
		mse_buf_append_str(out, name);
		mse_buf_append_str(out, "\":");
		mse_json_append_string(out, value, strlen(value));
	}
	attributes->count++;
}

static void put_value(struct attributes *attributes, const char *name)
{
	if (mse_buf_failed(&attributes->value))
		attributes->out->failed = true;
	else
		put(attributes, name, mse_buf_str(&attributes->value));
	mse_buf_reset(&attributes->value);
}

static void put_source(struct attributes *attributes,
		       const struct mse_body_context *context)
{
	struct mse_imap_url url = { .server = context->server_name };

	mse_imap_url_append(&attributes->value, &url);
	mse_buf_append_char(&attributes->value, '#');
	mse_buf_append_str(&attributes->value, context->server_fqdn);
	put_value(attributes, "source");
}

/* Only names that are the RFC's get its prefix. */
static void put_type(struct attributes *attributes,
		     const struct mse_record *record)
{
	const char *name = mse_body_type(record);

	if (record->type != MSE_EVENT_UNKNOWN &&
	    strncmp(name, VENDOR_PREFIX, strlen(VENDOR_PREFIX)) != 0)
		mse_buf_append_str(&attributes->value, TYPE_PREFIX);
	mse_buf_append_str(&attributes->value, name);
	put_value(attributes, "type");
}

/* Encoded user "/" encoded mailbox: "/" in either cannot be mistaken for the
   one between them in the user, and all of it is ASCII. An attribute may not
   be empty (CloudEvents 1.0), so an event of nobody has no subject. */
static void put_routing(struct attributes *attributes,
			const struct mse_record *record)
{
	const char *owner = record->owner[0] != '\0' ? record->owner :
		record->user;

	if (owner == NULL || *owner == '\0')
		return;
	mse_imap_url_encode_user(&attributes->value, owner);
	put_value(attributes, "partitionkey");
	mse_imap_url_encode_user(&attributes->value, owner);
	if (record->mailbox != NULL && attributes->value.len > 0) {
		mse_buf_append_char(&attributes->value, '/');
		mse_imap_url_encode_mailbox(&attributes->value,
					    record->mailbox);
	}
	put_value(attributes, "subject");
}

static void put_all(struct attributes *attributes,
		    const struct mse_body_context *context,
		    const struct mse_record *record)
{
	char sequence[24];

	mse_buf_init(&attributes->value, VALUE_MAX);
	put(attributes, "specversion", "1.0");
	put(attributes, "id", record->id);
	put_source(attributes, context);
	put_type(attributes, record);
	put_routing(attributes, record);
	put(attributes, "time", record->time_text);
	/* Of a binary event that is Content-Type. */
	if (!attributes->headers)
		put(attributes, "datacontenttype", "application/json");
	put(attributes, "stream", context->stream);
	snprintf(sequence, sizeof(sequence), "%020" PRIu64,
		 context->sequence);
	put(attributes, "sequence", sequence);
	mse_buf_clear(&attributes->value);
}

void mse_cloudevents_append(const struct mse_conf_endpoint *endpoint,
			    const struct mse_body_context *context,
			    const struct mse_record *record,
			    struct mse_buf *body)
{
	struct attributes attributes = { .out = body };

	put_all(&attributes, context, record);
	mse_buf_append_str(body, ",\"data\":");
	mse_data_append(endpoint, record, body);
	mse_buf_append_char(body, '}');
}

size_t mse_cloudevents_headers(const struct mse_body_context *context,
			       const struct mse_record *record,
			       struct mse_buf *text)
{
	struct attributes attributes = { .out = text, .headers = true };

	put_all(&attributes, context, record);
	return attributes.count;
}
