/*
 * One request as a libcurl easy handle.
 *
 * Invariant: everything libcurl is pointed at (headers, body, URL) lives
 * until the handle left the multi handle; easy handles are used again, which
 * spares their setup and buffers.
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

int64_t mse_http_mono_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct mse_http_transfer *mse_http_transfer_of(CURL *easy)
{
	char *transfer = NULL;

	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
	return (struct mse_http_transfer *)(void *)transfer;
}

struct mse_http_transfer *mse_http_transfer_new(struct mse_http *http)
{
	struct mse_http_transfer *transfer = calloc(1, sizeof(*transfer));

	if (transfer == NULL)
		return NULL;
	transfer->http = http;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL) {
		free(transfer);
		return NULL;
	}
	mse_buf_init(&transfer->body, MSE_HTTP_BODY_MAX + 1);
	return transfer;
}

void mse_http_transfer_free(struct mse_http_transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	free(transfer->headers);
	mse_buf_clear(&transfer->body);
	free(transfer);
}

/* Its value, without blanks around it, if the line is this header's. */
static bool mse_http_value(const char *line, size_t len, const char *name,
			   char *value_r, size_t size)
{
	size_t name_len = strlen(name);

	if (len <= name_len || strncasecmp(line, name, name_len) != 0)
		return false;
	line += name_len;
	len -= name_len;
	while (len > 0 && strchr(" \t", *line) != NULL) {
		line++;
		len--;
	}
	while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
		len--;
	(void)snprintf(value_r, size, "%.*s", (int)len, line);
	return true;
}

/* A final answer's headers: its status line resets what an interim (1xx) one
   said. */
static size_t mse_http_header(char *data, size_t size, size_t count,
			      void *context)
{
	struct mse_http_transfer *transfer = context;
	size_t len = size * count;
	char value[128];
	long status = 0;

	transfer->headers_len += len;
	if (transfer->headers_len > MSE_HTTP_HEADERS_MAX)
		return 0;
	transfer->status_line = len >= 5 && memcmp(data, "HTTP/", 5) == 0;
	if (transfer->status_line) {
		transfer->headers_done = false;
		transfer->retry_after_s = -1;
		transfer->allowed_origin[0] = '\0';
		transfer->allowed_rate[0] = '\0';
	} else if (mse_http_value(data, len, "retry-after:", value,
				  sizeof(value))) {
		transfer->retry_after_s =
			mse_http_retry_after(value, (int64_t)time(NULL));
	} else if (mse_http_value(data, len, "webhook-allowed-origin:",
				  transfer->allowed_origin,
				  sizeof(transfer->allowed_origin)) ||
		   mse_http_value(data, len, "webhook-allowed-rate:",
				  transfer->allowed_rate,
				  sizeof(transfer->allowed_rate))) {
		return len;
	} else if (len <= 2 && (data[0] == '\r' || data[0] == '\n')) {
		(void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE,
					&status);
		transfer->headers_done = status >= 200;
	}
	return len;
}

/* libcurl before 8.1.0 takes a folded line for the continuation of the last
   header it has seen, and if that was of the answer before, its memory is
   freed (curl issue 11101; Debian 12 has 7.88.1). With CURLOPT_HEADER it asks
   here first: an answer whose first header line is folded is none (RFC 9112,
   2.2), as it is not with a new handle. */
static size_t mse_http_line(const struct mse_http_transfer *transfer,
			    const char *data, size_t len)
{
	return transfer->status_line && (*data == ' ' || *data == '\t') ?
		0 : len;
}

/* Beyond the limit the transfer ends: who answers a webhook with more is not
   worth the wait. The status line has been read by then. */
static size_t mse_http_body(char *data, size_t size, size_t count,
			    void *context)
{
	struct mse_http_transfer *transfer = context;
	size_t len = size * count;
	size_t room = MSE_HTTP_BODY_MAX - transfer->body.len;

	if (!transfer->headers_done)
		return mse_http_line(transfer, data, len);
	mse_buf_append(&transfer->body, data, len < room ? len : room);
	return len <= room ? len : 0;
}

/* One node before those of the request; libcurl only reads the list. */
static int mse_http_headers(struct mse_http_transfer *transfer)
{
	/* A receiver that does not know 100-continue would cost a second. */
	static char expect[] = "Expect:";
	const char *const *headers = transfer->request->headers;
	struct curl_slist *list;
	size_t count = 1, i;

	while (headers != NULL && headers[count - 1] != NULL)
		count++;
	if (count > transfer->header_count) {
		list = realloc(transfer->headers, count * sizeof(*list));
		if (list == NULL)
			return -1;
		transfer->headers = list;
		transfer->header_count = count;
	}
	list = transfer->headers;
	for (i = 0; i < count; i++) {
		list[i].data = i == 0 ? expect : (char *)headers[i - 1];
		list[i].next = i + 1 < count ? &list[i + 1] : NULL;
	}
	return 0;
}

/* How old a connection of this endpoint may be: one from before it was to be
   forgotten may not serve it. 0: only a new one will do. */
static long mse_http_max_age(const struct mse_http *http,
			     const char *endpoint)
{
	const struct mse_http_forgotten *forgotten;
	int64_t age_s = MSE_HTTP_LIFETIME_S;

	for (forgotten = http->forgotten; forgotten != NULL;
	     forgotten = forgotten->next) {
		if (endpoint != NULL &&
		    strcmp(forgotten->endpoint, endpoint) == 0)
			break;
	}
	/* libcurl counts whole seconds and allows the last one. */
	if (forgotten != NULL)
		age_s = (mse_http_mono_ms() - forgotten->at_ms) / 1000 - 1;
	if (age_s > MSE_HTTP_LIFETIME_S)
		age_s = MSE_HTTP_LIFETIME_S;
	return age_s < 1 ? 0 : (long)age_s;
}

/* libcurl copies strings, for which there may be no memory. A request that goes
   out without what was to be set would be another one: past its proxy, say, or
   without its certificate. What is not set by this is as good left out. */
#define mse_http_set(transfer, option, value) do { \
	CURLcode code_ = curl_easy_setopt((transfer)->easy, option, value); \
	if (code_ != CURLE_OK) \
		(transfer)->code = code_; \
} while (0)

static void mse_http_tls(struct mse_http_transfer *transfer)
{
	const struct mse_request *request = transfer->request;

	if (strncmp(request->url, "https:", 6) != 0)
		return;
	/* One connection for all, where HTTP/2 is to be had. */
	(void)curl_easy_setopt(transfer->easy, CURLOPT_PIPEWAIT, 1L);
	/* A resumed session is not verified again: these files may change. */
	if (request->ca_file != NULL || request->cert_file != NULL)
		mse_http_set(transfer, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (request->ca_file != NULL) {
		mse_http_set(transfer, CURLOPT_CAINFO, request->ca_file);
		/* It is this file's content now that counts. */
		mse_http_set(transfer, CURLOPT_CAPATH, NULL);
		(void)curl_easy_setopt(transfer->easy,
				       CURLOPT_CA_CACHE_TIMEOUT, 0L);
	}
	if (request->cert_file == NULL)
		return;
	mse_http_set(transfer, CURLOPT_SSLCERT, request->cert_file);
	mse_http_set(transfer, CURLOPT_SSLKEY, request->key_file != NULL ?
			 request->key_file : request->cert_file);
}

static void mse_http_connection(struct mse_http_transfer *transfer)
{
	const struct mse_request *request = transfer->request;
	long max_age = mse_http_max_age(transfer->http, request->endpoint);

	/* Nothing from the environment or ~/.netrc. */
	mse_http_set(transfer, CURLOPT_PROXY, request->proxy != NULL ?
			 request->proxy : "");
	mse_http_set(transfer, CURLOPT_NOPROXY, "");
	mse_http_set(transfer, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	mse_http_set(transfer, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	mse_http_set(transfer, CURLOPT_TCP_KEEPALIVE, 1L);
	mse_http_set(transfer, CURLOPT_MAXAGE_CONN, 110L);
	if (max_age > 0)
		mse_http_set(transfer, CURLOPT_MAXLIFETIME_CONN, max_age);
	else
		mse_http_set(transfer, CURLOPT_FRESH_CONNECT, 1L);
	mse_http_set(transfer, CURLOPT_OPENSOCKETFUNCTION,
		     mse_http_guard_socket);
	mse_http_set(transfer, CURLOPT_OPENSOCKETDATA, transfer);
	mse_http_set(transfer, CURLOPT_CLOSESOCKETFUNCTION,
		     mse_http_close_socket);
	mse_http_set(transfer, CURLOPT_CLOSESOCKETDATA, transfer->http);
	mse_http_set(transfer, CURLOPT_PREREQFUNCTION, mse_http_guard_request);
	mse_http_set(transfer, CURLOPT_PREREQDATA, transfer);
}

static void mse_http_method(struct mse_http_transfer *transfer)
{
	struct mse_request *request = transfer->request;

	if (request->method != NULL) {
		mse_http_set(transfer, CURLOPT_HTTPGET, 1L);
		mse_http_set(transfer, CURLOPT_CUSTOMREQUEST, request->method);
		return;
	}
	mse_http_set(transfer, CURLOPT_POST, 1L);
	mse_http_set(transfer, CURLOPT_POSTFIELDSIZE_LARGE,
			 (curl_off_t)request->body_len);
	mse_http_set(transfer, CURLOPT_POSTFIELDS,
			 request->body_len > 0 ? request->body : "");
}

static void mse_http_options(struct mse_http_transfer *transfer)
{
	struct mse_request *request = transfer->request;

	mse_http_set(transfer, CURLOPT_NOSIGNAL, 1L);
	mse_http_set(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
	mse_http_set(transfer, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION,
			       (long)CURL_HTTP_VERSION_2TLS);
	mse_http_set(transfer, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	mse_http_set(transfer, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)request->connect_timeout_ms);
	mse_http_set(transfer, CURLOPT_ERRORBUFFER, transfer->curl_text);
	mse_http_set(transfer, CURLOPT_HEADERFUNCTION, mse_http_header);
	mse_http_set(transfer, CURLOPT_HEADERDATA, transfer);
	mse_http_set(transfer, CURLOPT_WRITEFUNCTION, mse_http_body);
	mse_http_set(transfer, CURLOPT_WRITEDATA, transfer);
	mse_http_set(transfer, CURLOPT_PRIVATE, transfer);
	if (transfer->http->looks_at_folds)
		mse_http_set(transfer, CURLOPT_HEADER, 1L);
	mse_http_method(transfer);
	mse_http_set(transfer, CURLOPT_HTTPHEADER, transfer->headers);
	mse_http_connection(transfer);
	mse_http_tls(transfer);
}

int mse_http_transfer_setup(struct mse_http_transfer *transfer,
			    struct mse_request *request)
{
	if (transfer->used)
		curl_easy_reset(transfer->easy);
	transfer->used = true;
	mse_buf_reset(&transfer->body);
	transfer->request = request;
	transfer->started_ms = mse_http_mono_ms();
	transfer->retry_after_s = -1;
	transfer->allowed_origin[0] = transfer->allowed_rate[0] = '\0';
	transfer->status_line = transfer->headers_done = false;
	transfer->tried = false;
	transfer->headers_len = 0;
	transfer->denied[0] = '\0';
	transfer->finished = false;
	transfer->code = CURLE_OK;
	transfer->outcome = MSE_OUTCOME_LOCAL;
	transfer->status = 0;
	transfer->curl_text[0] = '\0';
	transfer->text[0] = '\0';
	if (mse_http_headers(transfer) < 0) {
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "there is no memory for the request");
		return -1;
	}
	mse_http_options(transfer);
	if (transfer->code != CURLE_OK) {
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "libcurl cannot make this request (%s)",
			       curl_easy_strerror(transfer->code));
		return -1;
	}
	if (curl_easy_setopt(transfer->easy, CURLOPT_URL,
			     request->url) != CURLE_OK) {
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "libcurl does not take this URL");
		return -1;
	}
	return 0;
}
