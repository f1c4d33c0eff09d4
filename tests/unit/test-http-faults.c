/*
 * The transport with one call after another to libcurl and libevent failing. A
 * request ends once, as if nothing were or with a fault of our own; none goes
 * out other than it was asked for (without its proxy, say, or its client
 * certificate); and the next one succeeds.
 *
 * Allocations inside libcurl are left alone: where they fail 7.88 loses memory
 * and may die of it. MAILHOOK_TORTURE=STORY:N runs one round.
 */
#include "mse-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "http/http-private.h"
#include "http/http.h"

/* What libcurl and libevent are asked for. */

/* An option without which a request would be another one was refused. */
static bool spoiled;

CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLMcode __real_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __real_curl_multi_socket_action(CURLM *multi, curl_socket_t fd,
					  int what, int *running);
CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd,
					  int what, int *running);
CURLcode __real_curl_global_init(long flags);
CURLcode __wrap_curl_global_init(long flags);
struct event *__real_event_new(struct event_base *base, evutil_socket_t fd,
			       short what, event_callback_fn callback,
			       void *context);
struct event *__wrap_event_new(struct event_base *base, evutil_socket_t fd,
			       short what, event_callback_fn callback,
			       void *context);
int __real_event_add(struct event *ev, const struct timeval *time);
int __wrap_event_add(struct event *ev, const struct timeval *time);

CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
	CURLcode code;
	va_list args;

	if (faults_strike(FAULT_CALL)) {
		/* A libcurl may be built without these. */
		spoiled = spoiled || (option != CURLOPT_HTTP_VERSION &&
				      option != CURLOPT_PIPEWAIT &&
				      option != CURLOPT_CA_CACHE_TIMEOUT);
		return CURLE_OUT_OF_MEMORY;
	}
	va_start(args, option);
	if (option < CURLOPTTYPE_OBJECTPOINT)
		code = __real_curl_easy_setopt(easy, option,
					       va_arg(args, long));
	else if (option < CURLOPTTYPE_OFF_T)
		code = __real_curl_easy_setopt(easy, option,
					       va_arg(args, void *));
	else
		code = __real_curl_easy_setopt(easy, option,
					       va_arg(args, curl_off_t));
	va_end(args);
	return code;
}

CURL *__wrap_curl_easy_init(void)
{
	return faults_strike(FAULT_CALL) ? NULL : __real_curl_easy_init();
}

CURLM *__wrap_curl_multi_init(void)
{
	return faults_strike(FAULT_CALL) ? NULL : __real_curl_multi_init();
}

CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy)
{
	return faults_strike(FAULT_CALL) ? CURLM_OUT_OF_MEMORY :
		__real_curl_multi_add_handle(multi, easy);
}

CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd,
					  int what, int *running)
{
	return faults_strike(FAULT_CALL) ? CURLM_OUT_OF_MEMORY :
		__real_curl_multi_socket_action(multi, fd, what, running);
}

CURLcode __wrap_curl_global_init(long flags)
{
	return faults_strike(FAULT_CALL) ? CURLE_OUT_OF_MEMORY :
		__real_curl_global_init(flags);
}

struct event *__wrap_event_new(struct event_base *base, evutil_socket_t fd,
			       short what, event_callback_fn callback,
			       void *context)
{
	return faults_strike(FAULT_CALL) ? NULL :
		__real_event_new(base, fd, what, callback, context);
}

int __wrap_event_add(struct event *ev, const struct timeval *time)
{
	return faults_strike(FAULT_CALL) ? -1 : __real_event_add(ev, time);
}

/* A receiver in a process of its own, which no fault reaches. */

struct receiver {
	int fd;
	pid_t pid;
	bool is_proxy;
	unsigned int port;
	unsigned int requests, connections; /* atomic */
	unsigned int others; /* that nobody asked for */
};

static struct receiver *target, *proxy; /* shared memory */

static bool is_whole(const char *request, size_t len)
{
	const char *end = strstr(request, "\r\n\r\n");

	if (end == NULL)
		return false;
	return strncmp(request, "POST", 4) != 0 ||
		request + len >= end + 4 + 2;
}

static bool is_as_asked(const struct receiver *receiver, const char *request)
{
	const char *start = receiver->is_proxy ? "POST http://127.0.0.1:" :
		strstr(request, " /ask ") != NULL ? "OPTIONS /ask " :
		"POST /tell ";

	return strncmp(request, start, strlen(start)) == 0 &&
		strstr(request, "\r\nX-Test: yes\r\n") != NULL &&
		strstr(request, "\r\nExpect:") == NULL &&
		(request[0] == 'O' ||
		 strcmp(strstr(request, "\r\n\r\n"), "\r\n\r\n{}") == 0);
}

static struct receiver *serving;

static void *serve(void *context)
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char request[4096];
	int fd = (int)(intptr_t)context;
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, request + len, sizeof(request) - 1 - len)) > 0) {
		len += (size_t)n;
		request[len] = '\0';
		if (request[0] == 0x16) /* TLS, which is not spoken here */
			break;
		if (!is_whole(request, len))
			continue;
		if (!is_as_asked(serving, request))
			__atomic_add_fetch(&serving->others, 1,
					   __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&serving->requests, 1, __ATOMIC_SEQ_CST);
		if (write(fd, answer, sizeof(answer) - 1) < 0)
			break;
		len = 0;
	}
	close(fd);
	return NULL;
}

static void receive(struct receiver *receiver)
{
	pthread_t thread;
	int fd;

	serving = receiver;
	while ((fd = accept(receiver->fd, NULL, NULL)) >= 0) {
		__atomic_add_fetch(&receiver->connections, 1,
				   __ATOMIC_SEQ_CST);
		if (pthread_create(&thread, NULL, serve,
				   (void *)(intptr_t)fd) != 0)
			_exit(1);
		(void)pthread_detach(thread);
	}
	_exit(1);
}

static struct receiver *receiver_start(bool is_proxy)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	struct receiver *receiver = mmap(NULL, sizeof(*receiver),
					 PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	assert_true(receiver != MAP_FAILED);
	receiver->is_proxy = is_proxy;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	receiver->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(receiver->fd, (struct sockaddr *)&address,
			      sizeof(address)), 0);
	assert_int_equal(listen(receiver->fd, 64), 0);
	assert_int_equal(getsockname(receiver->fd,
				     (struct sockaddr *)&address, &len), 0);
	receiver->port = ntohs(address.sin_port);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		receive(receiver);
	}
	receiver->pid = pid;
	return receiver;
}

static void receiver_stop(struct receiver *receiver)
{
	(void)kill(receiver->pid, SIGKILL);
	(void)waitpid(receiver->pid, NULL, 0);
	close(receiver->fd);
	(void)munmap(receiver, sizeof(*receiver));
}

/* One round */

struct story {
	const char *name, *scheme, *path, *method;
	bool proxied;
	enum mse_outcome outcome;
};

static const struct story told = {
	"told", "http", "tell", NULL, false, MSE_OUTCOME_ANSWERED
};
static const struct story asked = {
	"asked", "http", "ask", "OPTIONS", false, MSE_OUTCOME_ANSWERED
};
static const struct story proxied = {
	"proxied", "http", "tell", NULL, true, MSE_OUTCOME_ANSWERED
};
static const struct story secured = {
	"secured", "https", "tell", NULL, false, MSE_OUTCOME_TLS
};

static char why[128];

static void fail_round(const char *what)
{
	(void)faults_disarm();
	print_error("%s: %s\n", why, what);
	_exit(1);
}

struct result {
	unsigned int calls;
	bool inside;
	enum mse_outcome outcome;
	int status;
};

static void done(struct mse_request *request, const struct mse_answer *answer)
{
	struct result *result = request->context;

	if (result->inside)
		fail_round("done() from inside post()");
	if (answer->text[0] == '\0')
		fail_round("an outcome without a word");
	result->calls++;
	result->outcome = answer->outcome;
	result->status = answer->status;
}

/* NULL: post() said at once that memory is out. */
static const struct result *post(const struct story *story,
				 struct event_base *base,
				 struct mse_http *http, bool cancel)
{
	static const char *const headers[] = { "X-Test: yes", NULL };
	static struct result result;
	struct mse_transport *transport = mse_http_transport(http);
	struct mse_request request;
	char url[64], via[64];

	memset(&result, 0, sizeof(result));
	memset(&request, 0, sizeof(request));
	snprintf(url, sizeof(url), "%s://127.0.0.1:%u/%s", story->scheme,
		 target->port, story->path);
	snprintf(via, sizeof(via), "http://127.0.0.1:%u", proxy->port);
	request.endpoint = "one";
	request.url = url;
	request.method = story->method;
	request.headers = headers;
	request.body = "{}";
	request.body_len = 2;
	/* Longer than a round may take. */
	request.timeout_ms = request.connect_timeout_ms = 600000;
	request.proxy = story->proxied ? via : NULL;
	if (strcmp(story->scheme, "https") == 0)
		request.ca_file = request.cert_file = "/nonexistent";
	request.done = done;
	request.context = &result;
	result.inside = true;
	if (transport->post(transport, &request) < 0) {
		if (result.calls > 0)
			fail_round("done() of a request that was not taken");
		return NULL;
	}
	if (cancel)
		transport->cancel(transport, &request);
	result.inside = false;
	while (result.calls == 0) {
		if (event_base_loop(base, EVLOOP_ONCE) != 0)
			fail_round("nothing to wait for, and not done");
	}
	if (result.calls > 1)
		fail_round("done() twice");
	return &result;
}

static void check_result(const struct story *story,
			 const struct result *result)
{
	if (result == NULL)
		return;
	if (spoiled && result->outcome != MSE_OUTCOME_LOCAL)
		fail_round("it was made without an option");
	if (result->outcome == MSE_OUTCOME_ANSWERED && result->status != 200)
		fail_round("an answer that was none");
	if (result->outcome == MSE_OUTCOME_TIMEOUT ||
	    result->outcome == MSE_OUTCOME_DENIED)
		fail_round("a wrong outcome");
	spoiled = false;
}

/* The story in which the fault strikes. */
static void live(const struct story *story, struct event_base *base,
		 struct mse_http **http)
{
	struct mse_error error = { "" };

	if (mse_http_new(base, http, &error) < 0) {
		if (error.text[0] == '\0')
			fail_round("a start failed without a word");
		return;
	}
	check_result(story, post(story, base, *http, false));
	check_result(story, post(story, base, *http, false));
	(void)post(story, base, *http, true);
	spoiled = false;
	mse_http_forget(*http, "one");
	check_result(story, post(story, base, *http, false));
}

static void recover(const struct story *story, struct event_base *base,
		    struct mse_http **http)
{
	const struct result *result;
	struct mse_error error;

	if (*http == NULL && mse_http_new(base, http, &error) < 0)
		fail_round("it does not start");
	result = post(story, base, *http, false);
	if (result == NULL || result->outcome != story->outcome)
		fail_round("no request succeeds any more");
	mse_http_free(http);
}

static unsigned int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static bool warm; /* what libraries keep for good is theirs by now */

/* Returns how many calls there were that could have failed. */
static unsigned long run_round(const struct story *story, unsigned long at)
{
	unsigned int descriptors = count_descriptors();
	long blocks = faults_blocks();
	struct event_base *base = event_base_new();
	struct mse_http *http = NULL;
	unsigned long seen;

	snprintf(why, sizeof(why), "%s:%lu", story->name, at);
	assert_non_null(base);
	spoiled = false;
	faults_arm(FAULT_CALL, at, 1, ENOMEM, false);
	live(story, base, &http);
	seen = faults_disarm();
	recover(story, base, &http);
	event_base_free(base);
	if (warm && count_descriptors() != descriptors)
		fail_round("a descriptor is left");
	if (warm && faults_blocks() > blocks)
		fail_round("memory is left");
	return seen;
}

/* In a process of its own: it may crash, or wait for ever. */
static bool round_passes(const struct story *story, unsigned long at)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(120);
		(void)run_round(story, at);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		print_error("%s:%lu: status %d\n", story->name, at, status);
	return status == 0;
}

static void torture(const struct story *story)
{
	const char *only = getenv("MAILHOOK_TORTURE");
	size_t len = strlen(story->name);
	unsigned long at, count, failed = 0;

	warm = false;
	(void)run_round(story, ULONG_MAX);
	warm = true;
	if (only != NULL && strncmp(only, story->name, len) == 0 &&
	    only[len] == ':') {
		/* Here, for a debugger. */
		(void)run_round(story, strtoul(only + len + 1, NULL, 10));
		return;
	}
	count = run_round(story, ULONG_MAX);
	for (at = 1; at <= count && failed < 10; at++)
		failed += !round_passes(story, at);
	print_message("%s: %lu places\n", story->name, count);
	assert_int_equal(failed, 0);
	assert_int_equal(target->others, 0);
	assert_int_equal(proxy->others, 0);
}

static void test_plain(void **state)
{
	torture(&told);
	torture(&asked);
}

static void test_tls(void **state)
{
	torture(&secured);
}

/* What went past the proxy is there before a request that is sent last, as
   what the tests before left is before the first. */
static void test_proxy(void **state)
{
	struct event_base *base = event_base_new();
	struct mse_http *http = NULL;
	unsigned int before;

	snprintf(why, sizeof(why), "before");
	recover(&told, base, &http);
	before = target->connections;
	torture(&proxied);
	snprintf(why, sizeof(why), "afterwards");
	recover(&told, base, &http);
	event_base_free(base);
	assert_int_equal(target->connections, before + 1);
}

static int setup(void **state)
{
	target = receiver_start(false);
	proxy = receiver_start(true);
	return 0;
}

static int teardown(void **state)
{
	receiver_stop(target);
	receiver_stop(proxy);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_proxy),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
