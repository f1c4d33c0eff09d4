/*
 * The transport against a receiver that does as the table says: every
 * outcome is told from the others, and done() never comes from inside
 * post() or cancel().
 */
#include "mse-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/http-private.h"
#include "http/http.h"

#define HANG ((const char *)1)
#define LONG_BODY ((const char *)2)

struct receiver {
	int fd;
	unsigned int port, connections, requests;
	const char *answer; /* "": close at once */
	int gate; /* an octet for each answer; -1: at once */
	pthread_t thread;
};

struct result {
	unsigned int calls;
	bool inside, was_inside;
	struct mse_answer answer;
	char body[64];
};

static void long_body(int fd)
{
	static char block[4096];
	char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
	int i;

	if (write(fd, head, sizeof(head) - 1) < 0)
		return;
	for (i = 0; i < 244; i++) {
		if (write(fd, block, sizeof(block)) < 0)
			return;
	}
}

/* Requests fit one packet and one read. */
static void serve(struct receiver *receiver, int fd)
{
	char request[4096];

	while (read(fd, request, sizeof(request)) > 0) {
		receiver->requests++;
		if (receiver->answer == HANG)
			continue;
		if (receiver->answer == LONG_BODY) {
			long_body(fd);
			return;
		}
		if (receiver->gate >= 0 && read(receiver->gate, request, 1) < 1)
			return;
		if (*receiver->answer == '\0' ||
		    write(fd, receiver->answer, strlen(receiver->answer)) < 0)
			return;
		if (strstr(receiver->answer, "Content-Length: 0") == NULL)
			return;
	}
}

static void *receive(void *context)
{
	struct receiver *receiver = context;
	int fd;

	while ((fd = accept(receiver->fd, NULL, NULL)) >= 0) {
		receiver->connections++;
		serve(receiver, fd);
		close(fd);
	}
	return NULL;
}

static void receiver_start(struct receiver *receiver, const char *answer)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);

	memset(receiver, 0, sizeof(*receiver));
	receiver->answer = answer;
	receiver->gate = -1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	receiver->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(receiver->fd, (struct sockaddr *)&address,
			      sizeof(address)), 0);
	assert_int_equal(listen(receiver->fd, 8), 0);
	assert_int_equal(getsockname(receiver->fd,
				     (struct sockaddr *)&address, &len), 0);
	receiver->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&receiver->thread, NULL, receive,
					receiver), 0);
}

static void receiver_stop(struct receiver *receiver)
{
	shutdown(receiver->fd, SHUT_RDWR);
	pthread_join(receiver->thread, NULL);
	close(receiver->fd);
}

static void done(struct mse_request *request, const struct mse_answer *answer)
{
	struct result *result = request->context;

	result->calls++;
	result->was_inside = result->inside;
	result->answer = *answer;
	(void)snprintf(result->body, sizeof(result->body), "%.*s",
		       answer->body_len < 60 ? (int)answer->body_len : 60,
		       answer->body);
}

/* An answer that comes has all the time a loaded machine needs. */
static void post_within(struct event_base *base, struct mse_http *http,
			const char *url, bool cancel, int64_t timeout_ms,
			struct result *result)
{
	static const char *const headers[] = { "X-Test: yes", NULL };
	struct mse_transport *transport = mse_http_transport(http);
	struct mse_request request = {
		.endpoint = "one", .url = url, .headers = headers,
		.body = "{}", .body_len = 2, .timeout_ms = timeout_ms,
		.connect_timeout_ms = timeout_ms, .done = done,
		.context = result
	};

	memset(result, 0, sizeof(*result));
	result->inside = true;
	assert_int_equal(transport->post(transport, &request), 0);
	if (cancel)
		transport->cancel(transport, &request);
	result->inside = false;
	while (result->calls == 0)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(result->calls, 1);
	assert_false(result->was_inside);
	assert_true(result->answer.text[0] != '\0');
}

static void post(struct event_base *base, struct mse_http *http,
		 const char *url, bool cancel, struct result *result)
{
	post_within(base, http, url, cancel, 60000, result);
}

static const struct {
	const char *answer, *path;
	enum mse_outcome outcome;
	int status;
	int64_t retry_after_s;
	const char *body;
	bool cancel;
} cases[] = {
	{ "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "http",
	  MSE_OUTCOME_ANSWERED, 204, -1, "", false },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 No\r\nRetry-After: 120"
	  "\r\nContent-Length: 0\r\n\r\n", "http", MSE_OUTCOME_ANSWERED, 429,
	  120, "", false },
	{ "HTTP/1.1 302 F\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
	  "http", MSE_OUTCOME_ANSWERED, 302, -1, "", false },
	/* Closed in the middle of the body: the status stands. */
	{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "http",
	  MSE_OUTCOME_ANSWERED, 200, -1, "half", false },
	{ LONG_BODY, "http", MSE_OUTCOME_ANSWERED, 200, -1, NULL, false },
	{ "", "http", MSE_OUTCOME_BROKEN, 0, -1, "", false },
	{ "garbage, not HTTP\r\n\r\n", "http", MSE_OUTCOME_BROKEN, 0, -1,
	  NULL, false },
	{ HANG, "http", MSE_OUTCOME_TIMEOUT, 0, -1, "", false },
	{ HANG, "http", MSE_OUTCOME_CANCELLED, 0, -1, "", true },
	{ "garbage, not TLS\r\n\r\n", "https", MSE_OUTCOME_TLS, 0, -1, "",
	  false },
};

static void test_outcomes(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	char url[64];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("row %zu\n", i);
		assert_int_equal(mse_http_new(base, &http, &error), 0);
		receiver_start(&receiver, cases[i].answer);
		(void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u/x",
			       cases[i].path, receiver.port);
		post_within(base, http, url, cases[i].cancel,
			    cases[i].answer == HANG ? 700 : 60000, &result);
		assert_int_equal(result.answer.outcome, cases[i].outcome);
		assert_int_equal(result.answer.status, cases[i].status);
		assert_int_equal(result.answer.retry_after_s,
				 cases[i].retry_after_s);
		if (cases[i].body != NULL)
			assert_string_equal(result.body, cases[i].body);
		assert_true(result.answer.body_len <= MSE_HTTP_BODY_MAX);
		mse_http_free(&http);
		receiver_stop(&receiver);
	}
	event_base_free(base);
}

static void test_nobody_there(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	char url[64];

	assert_int_equal(mse_http_new(base, &http, &error), 0);
	receiver_start(&receiver, "");
	receiver_stop(&receiver);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       receiver.port);
	post(base, http, url, false, &result);
	assert_int_equal(result.answer.outcome, MSE_OUTCOME_REFUSED);
	post(base, http, "ftp://127.0.0.1/", false, &result);
	assert_int_equal(result.answer.outcome, MSE_OUTCOME_LOCAL);
	mse_http_free(&http);
	event_base_free(base);
}

static void test_connection_is_kept(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	char url[64];

	assert_int_equal(mse_http_new(base, &http, &error), 0);
	receiver_start(&receiver,
		       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       receiver.port);
	post(base, http, url, false, &result);
	post(base, http, url, false, &result);
	assert_int_equal(receiver.requests, 2);
	assert_int_equal(receiver.connections, 1);
	mse_http_free(&http);
	receiver_stop(&receiver);
	event_base_free(base);
}

static struct mse_http_watch *watched(const struct mse_http *http)
{
	size_t i;

	for (i = 0; i < http->watch_count; i++) {
		if (http->watches[i].ev != NULL)
			return &http->watches[i];
	}
	return NULL;
}

/* The receiver answers once libcurl waits for it to. */
static void post_and_wait(struct event_base *base, struct mse_http *http,
			  const char *url, int gate, struct result *result)
{
	struct mse_transport *transport = mse_http_transport(http);
	struct mse_request request = {
		.endpoint = "one", .url = url, .body = "{}", .body_len = 2,
		.timeout_ms = 60000, .connect_timeout_ms = 60000,
		.done = done, .context = result
	};

	memset(result, 0, sizeof(*result));
	assert_int_equal(transport->post(transport, &request), 0);
	while (watched(http) == NULL || watched(http)->wanted != EV_READ)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(write(gate, "", 1), 1);
	while (result->calls == 0)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(result->answer.status, 200);
}

static void test_idle_connection_is_watched(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	struct event *ev;
	int gate[2];
	char url[64];

	assert_int_equal(pipe(gate), 0);
	assert_int_equal(mse_http_new(base, &http, &error), 0);
	receiver_start(&receiver,
		       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	receiver.gate = gate[0];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       receiver.port);
	post_and_wait(base, http, url, gate[1], &result);
	assert_non_null(watched(http));
	assert_int_equal(watched(http)->wanted, 0);
	ev = watched(http)->ev;
	post_and_wait(base, http, url, gate[1], &result);
	assert_int_equal(receiver.connections, 1);
	assert_ptr_equal(watched(http)->ev, ev);
	/* One that has no answer is closed, and with it goes the watch. */
	post_within(base, http, url, false, 700, &result);
	assert_int_equal(result.answer.outcome, MSE_OUTCOME_TIMEOUT);
	assert_null(watched(http));
	mse_http_free(&http);
	close(gate[1]);
	receiver_stop(&receiver);
	close(gate[0]);
	event_base_free(base);
}

/* The loop does not spin on it, and the next connection, whose socket has the
   same number, is heard. */
static void test_idle_connection_ends(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	unsigned int i, turn;
	int gate[2];
	char url[64];

	assert_int_equal(pipe(gate), 0);
	assert_int_equal(mse_http_new(base, &http, &error), 0);
	/* After this one the receiver closes. */
	receiver_start(&receiver,
		       "HTTP/1.1 200 OK\r\nContent-Length:  0\r\n\r\n");
	receiver.gate = gate[0];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       receiver.port);
	for (turn = 1; turn <= 3; turn++) {
		post_and_wait(base, http, url, gate[1], &result);
		assert_int_equal(receiver.connections, turn);
		for (i = 0; turn < 3 && watched(http) != NULL; i++) {
			assert_true(i < 100);
			assert_int_equal(event_base_loop(base, EVLOOP_ONCE),
					 0);
		}
	}
	/* The third ends, and the loop does not see it before it is used. */
	(void)usleep(20000);
	post_and_wait(base, http, url, gate[1], &result);
	assert_int_equal(receiver.connections, 4);
	mse_http_free(&http);
	close(gate[1]);
	receiver_stop(&receiver);
	close(gate[0]);
	event_base_free(base);
}

#define BURST 8

static int listen_here(char *url, size_t size)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      sizeof(address)), 0);
	assert_int_equal(listen(fd, 2 * BURST), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, size, "http://127.0.0.1:%u/",
		       ntohs(address.sin_port));
	return fd;
}

static void answer_all(const int fds[BURST])
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char request[4096];
	unsigned int i;

	for (i = 0; i < BURST; i++) {
		if (recv(fds[i], request, sizeof(request), MSG_DONTWAIT) > 0)
			assert_int_equal(write(fds[i], answer,
					       sizeof(answer) - 1),
					 sizeof(answer) - 1);
	}
}

static void post_to(struct mse_http *http, const char *url,
		    struct mse_request *request, struct result *result)
{
	struct mse_transport *transport = mse_http_transport(http);

	memset(request, 0, sizeof(*request));
	memset(result, 0, sizeof(*result));
	request->endpoint = "one";
	request->url = url;
	request->body = "{}";
	request->body_len = 2;
	request->timeout_ms = request->connect_timeout_ms = 60000;
	request->done = done;
	request->context = result;
	assert_int_equal(transport->post(transport, request), 0);
}

static void finish(struct event_base *base, const int fds[BURST],
		   const struct result *result)
{
	while (result->calls == 0) {
		answer_all(fds);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(result->answer.status, 200);
}

/* Requests at once, then one after the other: all on the same connections,
   and none of those is closed. */
static void test_connections_of_a_burst_stay(void **state)
{
	struct event_base *base = event_base_new();
	struct mse_request requests[BURST];
	struct result results[BURST];
	struct mse_error error;
	struct mse_http *http;
	int fd, fds[BURST];
	char url[64], octet;
	unsigned int i;

	assert_int_equal(mse_http_new(base, &http, &error), 0);
	fd = listen_here(url, sizeof(url));
	for (i = 0; i < BURST; i++)
		post_to(http, url, &requests[i], &results[i]);
	for (i = 0; i < BURST;) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		fds[i] = accept(fd, NULL, NULL);
		if (fds[i] >= 0)
			i++;
	}
	for (i = 0; i < BURST; i++)
		finish(base, fds, &results[i]);
	/* What this frees is no connection. */
	mse_http_trim(http);
	for (i = 0; i < BURST; i++) {
		post_to(http, url, &requests[0], &results[0]);
		finish(base, fds, &results[0]);
	}
	assert_int_equal(accept(fd, NULL, NULL), -1);
	for (i = 0; i < BURST; i++) {
		assert_int_equal(recv(fds[i], &octet, 1, MSG_DONTWAIT), -1);
		close(fds[i]);
	}
	close(fd);
	mse_http_free(&http);
	event_base_free(base);
}

/* An answer that begins with a folded line, after one that had a header: with
   the sanitizers this shows that libcurl's handles, which are used again, do
   not write to what is freed. Such an answer may be refused. */
static void test_folded_first_line(void **state)
{
	struct event_base *base = event_base_new();
	struct receiver receiver;
	struct mse_error error;
	struct mse_http *http;
	struct result result;
	unsigned int i;
	char url[64];

	assert_int_equal(mse_http_new(base, &http, &error), 0);
	receiver_start(&receiver, "HTTP/1.1 200 OK\r\nX-Long: "
		       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
		       "Content-Length: 0\r\n\r\n");
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
		       receiver.port);
	post(base, http, url, false, &result);
	receiver.answer = "HTTP/1.1 200 OK\r\n folded: over it\r\n"
		"Content-Length: 0\r\n\r\n";
	for (i = 0; i < 3; i++) {
		post(base, http, url, false, &result);
		assert_int_equal(result.answer.outcome,
				 http->looks_at_folds ? MSE_OUTCOME_BROKEN :
				 MSE_OUTCOME_ANSWERED);
	}
	receiver.answer = "HTTP/1.1 200 OK\r\nX-Long: a\r\n folded: over it"
		"\r\nContent-Length: 0\r\n\r\n";
	post(base, http, url, false, &result);
	assert_int_equal(result.answer.status, 200);
	assert_int_equal(result.answer.body_len, 0);
	mse_http_free(&http);
	receiver_stop(&receiver);
	event_base_free(base);
}

static void test_retry_after(void **state)
{
	/* 2026-11-24 07:00:00 UTC */
	const int64_t now = 1795503600;

	assert_int_equal(mse_http_retry_after(" 7\r\n", now), 7);
	assert_int_equal(mse_http_retry_after(
		" Tue, 24 Nov 2026 07:02:00 GMT\r\n", now), 120);
	assert_int_equal(mse_http_retry_after(
		"Tue, 24 Nov 2026 06:02:00 GMT", now), 0);
	assert_int_equal(mse_http_retry_after("soon", now), -1);
	assert_int_equal(mse_http_retry_after("", now), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_idle_connection_is_watched),
		cmocka_unit_test(test_idle_connection_ends),
		cmocka_unit_test(test_connections_of_a_burst_stay),
		cmocka_unit_test(test_folded_first_line)
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
