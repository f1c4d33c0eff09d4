/*
 * What a receiver answers, octet by octet, through libcurl: every request
 * ends once with an outcome, and with a hold that is within its bound.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deliver/answer.h"
#include "http/http-private.h"
#include "http/http.h"

const char fuzz_name[] = "answer";

#define ANSWER_MAX 32768

static struct {
	struct event_base *base;
	struct mse_http *http;
	struct event *accepting;
	char url[64];
	/* What the receiver says, once. */
	const uint8_t *data;
	size_t size;
	unsigned int done;
	int fd; /* what was accepted last */
} one = { .fd = -1 };

/* Says it before it was asked, which libcurl does not mind. The connection
   stays open until the request has ended: a request that nobody reads would
   otherwise be a reset, which can come before the answer. */
static void serve(evutil_socket_t listener, short what, void *context)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (one.size > 0)
		(void)send(fd, one.data, one.size, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	if (one.fd >= 0)
		close(one.fd);
	one.fd = fd;
}

static void listen_somewhere(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(bind(fd, (struct sockaddr *)&address, len) == 0);
	FUZZ_CHECK(listen(fd, 16) == 0);
	FUZZ_CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	snprintf(one.url, sizeof(one.url), "http://127.0.0.1:%u/",
		 ntohs(address.sin_port));
	one.accepting = event_new(one.base, fd, EV_READ | EV_PERSIST, serve,
				  NULL);
	FUZZ_CHECK(one.accepting != NULL);
	FUZZ_CHECK(event_add(one.accepting, NULL) == 0);
}

static void start(void)
{
	struct mse_error error;

	if (one.base != NULL)
		return;
	one.base = event_base_new();
	FUZZ_CHECK(one.base != NULL);
	FUZZ_CHECK(mse_http_new(one.base, &one.http, &error) == 0);
	listen_somewhere();
}

static void done(struct mse_request *request, const struct mse_answer *answer)
{
	int64_t hold_ms;

	one.done++;
	FUZZ_CHECK(answer->retry_after_s >= -1);
	FUZZ_CHECK(answer->body_len <= MSE_HTTP_BODY_MAX);
	FUZZ_CHECK(answer->text != NULL && answer->text[0] != '\0');
	if (answer->outcome == MSE_OUTCOME_ANSWERED)
		FUZZ_CHECK(answer->status >= 200 && answer->status <= 999);
	switch (mse_answer_judge(answer, &hold_ms)) {
	case MSE_VERDICT_HOLD:
		FUZZ_CHECK(hold_ms > 0 && hold_ms <= MSE_HOLD_MAX_MS);
		break;
	case MSE_VERDICT_SUCCESS:
		FUZZ_CHECK(answer->outcome == MSE_OUTCOME_ANSWERED &&
			   answer->status <= 299);
		break;
	default:
		FUZZ_CHECK(hold_ms == 0);
	}
}

static void check_retry_after(const char *value)
{
	int64_t now = 1700000000;
	int64_t seconds = mse_http_retry_after(value, now);

	FUZZ_CHECK(seconds >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct mse_transport *transport;
	struct mse_request request;
	char *value;

	if (size > ANSWER_MAX)
		return 0;
	value = fuzz_take_string(&input);
	check_retry_after(value);
	free(value);
	start();
	one.data = data;
	one.size = size;
	one.done = 0;
	memset(&request, 0, sizeof(request));
	request.url = one.url;
	request.endpoint = "one";
	request.body = "{}";
	request.body_len = 2;
	request.timeout_ms = 1000;
	request.connect_timeout_ms = 1000;
	request.done = done;
	transport = mse_http_transport(one.http);
	transport->post(transport, &request);
	while (one.done == 0)
		event_base_loop(one.base, EVLOOP_ONCE);
	FUZZ_CHECK(one.done == 1);
	if (one.fd >= 0)
		close(one.fd);
	one.fd = -1;
	return 0;
}
