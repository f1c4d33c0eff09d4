/*
 * A record becomes a request: body, Standard Webhooks headers, signature.
 *
 * Invariant: a request owns all it points to, until mse_sending_free().
 */
#include "deliver/request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/signature.h"
#include "mse-config.h"

/* The largest record, wrapped. */
#define BODY_MAX (MSE_RECORD_MAX + (size_t)64 * 1024)
#define TEXT_MAX ((size_t)64 * 1024)

static void end_string(struct mse_buf *text)
{
	mse_buf_append_char(text, '\0');
}

static void add_signature(struct mse_sending *sending,
			  const struct mse_conf_endpoint *conf,
			  const char *id, int64_t timestamp)
{
	struct mse_buf value;

	mse_buf_init(&value, TEXT_MAX / 2);
	if (mse_signature_write(conf->secrets, conf->secret_count, id,
				timestamp, sending->body.data,
				sending->body.len, &value) < 0)
		sending->text.failed = true;
	mse_buf_appendf(&sending->text, "webhook-signature: %s",
			mse_buf_str(&value));
	mse_buf_clear(&value);
	end_string(&sending->text);
}

static unsigned int add_headers(struct mse_sending *sending,
				const struct mse_conf_endpoint *conf,
				const char *id, enum mse_request_kind kind,
				uint64_t floor, int64_t wall_ms)
{
	struct mse_buf *text = &sending->text;
	unsigned int count = 5;

	mse_buf_appendf(text, "content-type: %s",
			mse_body_content_type(conf->format));
	end_string(text);
	mse_buf_appendf(text, "webhook-id: %s", id);
	end_string(text);
	mse_buf_appendf(text, "webhook-timestamp: %" PRId64, wall_ms / 1000);
	end_string(text);
	add_signature(sending, conf, id, wall_ms / 1000);
	mse_buf_append_str(text, "user-agent: mailhook/" MAILHOOK_VERSION);
	end_string(text);
	if (kind == MSE_REQUEST_LIVE) {
		mse_buf_appendf(text, "mailhook-floor: %" PRIu64, floor);
		end_string(text);
		count++;
	} else if (kind == MSE_REQUEST_REPLAY) {
		mse_buf_append_str(text, "mailhook-replay: true");
		end_string(text);
		count++;
	}
	return count;
}

/* Only now, when the text moves no more. */
static void point_into(struct mse_sending *sending, unsigned int headers,
		       bool ca_file)
{
	struct mse_request *request = &sending->request;
	const char *p = sending->text.data;
	unsigned int i;

	request->endpoint = p;
	p += strlen(p) + 1;
	request->url = p;
	p += strlen(p) + 1;
	if (ca_file) {
		request->ca_file = p;
		p += strlen(p) + 1;
	}
	for (i = 0; i < headers; i++) {
		sending->headers[i] = p;
		p += strlen(p) + 1;
	}
	request->headers = sending->headers;
	request->body = sending->body.data;
	request->body_len = sending->body.len;
}

int mse_sending_new(const struct mse_conf_endpoint *conf,
		    const struct mse_body_context *context,
		    const struct mse_record *record,
		    enum mse_request_kind kind, uint64_t floor,
		    int64_t wall_ms, struct mse_sending **sending_r)
{
	struct mse_sending *sending = calloc(1, sizeof(*sending));
	unsigned int headers;

	if (sending == NULL)
		return -1;
	mse_buf_init(&sending->body, BODY_MAX);
	mse_buf_init(&sending->text, TEXT_MAX);
	if (mse_body_write(conf, context, record, &sending->body) < 0) {
		mse_sending_free(&sending);
		return -1;
	}
	mse_buf_append_str(&sending->text, conf->name);
	end_string(&sending->text);
	mse_buf_append_str(&sending->text, conf->url);
	end_string(&sending->text);
	if (conf->ca_file != NULL) {
		mse_buf_append_str(&sending->text, conf->ca_file);
		end_string(&sending->text);
	}
	headers = add_headers(sending, conf, record->id, kind, floor, wall_ms);
	if (mse_buf_failed(&sending->text)) {
		mse_sending_free(&sending);
		return -1;
	}
	point_into(sending, headers, conf->ca_file != NULL);
	sending->request.timeout_ms = conf->timeout_ms;
	sending->request.connect_timeout_ms = conf->connect_timeout_ms;
	*sending_r = sending;
	return 0;
}

void mse_sending_free(struct mse_sending **_sending)
{
	struct mse_sending *sending = *_sending;

	*_sending = NULL;
	if (sending == NULL)
		return;
	mse_buf_clear(&sending->body);
	mse_buf_clear(&sending->text);
	free(sending);
}
