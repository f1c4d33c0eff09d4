/*
 * A body becomes a request: it, Standard Webhooks headers, signature.
 *
 * Invariant: a request owns all it points to, until mse_sending_free().
 */
#include "deliver/request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/gzip.h"
#include "format/signature.h"
#include "mse-config.h"

/* Beside what the event itself puts into headers. */
#define TEXT_MAX ((size_t)2 * 1024 * 1024)
/* What it mostly comes to. */
#define TEXT_USUAL ((size_t)1000)
/* What does not compress becomes larger by less than this and a thousandth. */
#define PACKED_MORE ((size_t)1024 * 1024)

static void end_string(struct mse_buf *text)
{
	mse_buf_append_char(text, '\0');
}

static void add_header(struct mse_buf *text, const char *name,
		       const char *value)
{
	mse_buf_append_str(text, name);
	mse_buf_append_str(text, value);
	end_string(text);
}

static void add_number(struct mse_buf *text, const char *name,
		       uint64_t value)
{
	mse_buf_append_str(text, name);
	mse_buf_append_number(text, value);
	end_string(text);
}

static void add_signature(struct mse_sending *sending,
			  const struct mse_conf_endpoint *conf,
			  const char *id, int64_t timestamp)
{
	struct mse_buf *text = &sending->text;

	mse_buf_append_str(text, "webhook-signature: ");
	if (mse_signature_write(conf->secrets, conf->secret_count, id,
				timestamp, sending->body.octets.data,
				sending->body.octets.len, text) < 0)
		text->failed = true;
	end_string(text);
}

/* What every request of the endpoint has. */
static size_t add_common(struct mse_sending *sending,
			 const struct mse_conf_endpoint *conf)
{
	struct mse_buf *text = &sending->text;
	size_t count = 1, i;

	mse_buf_append_str(text, "user-agent: mailhook/" MAILHOOK_VERSION);
	end_string(text);
	if (conf->transport.bearer != NULL) {
		add_header(text, "authorization: Bearer ",
			   conf->transport.bearer);
		count++;
	}
	for (i = 0; i < conf->transport.header_count; i++, count++) {
		mse_buf_append_str(text, conf->transport.headers[i]);
		end_string(text);
	}
	return count;
}

static size_t add_headers(struct mse_sending *sending,
				const struct mse_conf_endpoint *conf,
				const char *id, enum mse_request_kind kind,
				uint64_t floor, int64_t wall_ms)
{
	struct mse_buf *text = &sending->text;
	const struct mse_body *body = &sending->body;
	size_t count = 4 + body->header_count;

	mse_buf_append(text, body->headers.data, body->headers.len);
	add_header(text, "content-type: ",
		   mse_body_content_type(body->format));
	add_header(text, "webhook-id: ", id);
	mse_buf_appendf(text, "webhook-timestamp: %" PRId64, wall_ms / 1000);
	end_string(text);
	add_signature(sending, conf, id, wall_ms / 1000);
	if (kind == MSE_REQUEST_LIVE) {
		add_number(text, "mailhook-floor: ", floor);
		count++;
	} else if (kind == MSE_REQUEST_REPLAY) {
		mse_buf_append_str(text, "mailhook-replay: true");
		end_string(text);
		count++;
	}
	if (sending->packed.len > 0) {
		mse_buf_append_str(text, "content-encoding: gzip");
		end_string(text);
		count++;
	}
	return count + add_common(sending, conf);
}

/* What stands before the headers, in this order. */
enum { TEXT_ENDPOINT, TEXT_URL, TEXT_CA_FILE, TEXT_CERT_FILE, TEXT_KEY_FILE,
       TEXT_PROXY, TEXT_COUNT };

/* "" for what is not there. */
static void add_text(struct mse_sending *sending,
		     const struct mse_conf_endpoint *conf)
{
	const struct mse_conf_transport *transport = &conf->transport;
	const char *const texts[TEXT_COUNT] = {
		conf->name, conf->url, transport->ca_file,
		transport->cert_file, transport->key_file, transport->proxy
	};
	unsigned int i;

	(void)mse_buf_reserve(&sending->text, TEXT_USUAL);
	for (i = 0; i < TEXT_COUNT; i++) {
		if (texts[i] != NULL)
			mse_buf_append_str(&sending->text, texts[i]);
		end_string(&sending->text);
	}
}

/* Only now, when the text moves no more. */
static int point_into(struct mse_sending *sending, size_t headers)
{
	struct mse_request *request = &sending->request;
	const char *p = sending->text.data, *texts[TEXT_COUNT];
	size_t i;

	sending->headers = calloc(headers + 1, sizeof(*sending->headers));
	if (sending->headers == NULL)
		return -1;
	for (i = 0; i < TEXT_COUNT; i++, p += strlen(p) + 1)
		texts[i] = *p != '\0' ? p : NULL;
	for (i = 0; i < headers; i++, p += strlen(p) + 1)
		sending->headers[i] = p;
	request->endpoint = texts[TEXT_ENDPOINT];
	request->url = texts[TEXT_URL];
	request->ca_file = texts[TEXT_CA_FILE];
	request->cert_file = texts[TEXT_CERT_FILE];
	request->key_file = texts[TEXT_KEY_FILE];
	request->proxy = texts[TEXT_PROXY];
	request->headers = sending->headers;
	request->plain = request->body = sending->body.octets.data;
	request->plain_len = request->body_len = sending->body.octets.len;
	if (sending->packed.len > 0) {
		request->body = sending->packed.data;
		request->body_len = sending->packed.len;
	}
	return 0;
}

static int copy_networks(struct mse_sending *sending,
			 const struct mse_conf_transport *transport)
{
	struct mse_request *request = &sending->request;
	size_t count = transport->allow_count + transport->deny_count;
	size_t i;

	if (count == 0)
		return 0;
	sending->networks = calloc(count, sizeof(*sending->networks));
	if (sending->networks == NULL)
		return -1;
	for (i = 0; i < count; i++)
		sending->networks[i] = i < transport->allow_count ?
			transport->allow[i] :
			transport->deny[i - transport->allow_count];
	request->allow = sending->networks;
	request->allow_count = transport->allow_count;
	request->deny = sending->networks + transport->allow_count;
	request->deny_count = transport->deny_count;
	return 0;
}

/* What would not become smaller goes as it is. */
static int pack(struct mse_sending *sending,
		const struct mse_conf_endpoint *conf)
{
	const struct mse_buf *octets = &sending->body.octets;

	mse_buf_init(&sending->packed, octets->len + PACKED_MORE);
	if (!conf->compress)
		return 0;
	if (mse_gzip_append(&sending->packed, octets->data, octets->len) < 0)
		return -1;
	if (sending->packed.len >= octets->len)
		mse_buf_clear(&sending->packed);
	return 0;
}

/* Points the request to what it has, once that is complete. */
static int finish(struct mse_sending *sending,
		  const struct mse_conf_endpoint *conf, size_t headers)
{
	if (mse_buf_failed(&sending->text) ||
	    point_into(sending, headers) < 0 ||
	    copy_networks(sending, &conf->transport) < 0)
		return -1;
	sending->request.timeout_ms = conf->timeout_ms;
	sending->request.connect_timeout_ms = conf->connect_timeout_ms;
	return 0;
}

int mse_sending_new(const struct mse_conf_endpoint *conf,
		    struct mse_body *body, const char *id,
		    enum mse_request_kind kind, uint64_t floor,
		    int64_t wall_ms, struct mse_sending **sending_r)
{
	struct mse_sending *sending = calloc(1, sizeof(*sending));
	size_t headers;

	if (sending == NULL) {
		mse_body_clear(body);
		return -1;
	}
	sending->body = *body;
	memset(body, 0, sizeof(*body));
	mse_buf_init(&sending->text, TEXT_MAX);
	if (pack(sending, conf) < 0) {
		mse_sending_free(&sending);
		return -1;
	}
	add_text(sending, conf);
	headers = add_headers(sending, conf, id, kind, floor, wall_ms);
	if (finish(sending, conf, headers) < 0) {
		mse_sending_free(&sending);
		return -1;
	}
	*sending_r = sending;
	return 0;
}

int mse_sending_ask(const struct mse_conf_endpoint *conf, const char *origin,
		    struct mse_sending **sending_r)
{
	struct mse_sending *sending = calloc(1, sizeof(*sending));
	size_t headers = 1;

	if (sending == NULL)
		return -1;
	mse_buf_init(&sending->text, TEXT_MAX);
	add_text(sending, conf);
	add_header(&sending->text, "webhook-request-origin: ", origin);
	if (conf->rate > 0) {
		/* A minute. */
		add_number(&sending->text, "webhook-request-rate: ",
			   (uint64_t)conf->rate * 60);
		headers++;
	}
	headers += add_common(sending, conf);
	if (finish(sending, conf, headers) < 0) {
		mse_sending_free(&sending);
		return -1;
	}
	sending->request.method = "OPTIONS";
	*sending_r = sending;
	return 0;
}

void mse_sending_free(struct mse_sending **_sending)
{
	struct mse_sending *sending = *_sending;

	*_sending = NULL;
	if (sending == NULL)
		return;
	mse_body_clear(&sending->body);
	mse_buf_clear(&sending->packed);
	/* It may hold a bearer token. */
	if (sending->text.len > 0)
		explicit_bzero(sending->text.data, sending->text.len);
	mse_buf_clear(&sending->text);
	free(sending->headers);
	free(sending->networks);
	free(sending);
}
