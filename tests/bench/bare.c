/*
 * What is to be compared with: a bare libcurl multi loop that posts the same
 * requests (body and headers, signed) to the same receiver and knows nothing
 * of order, numbers, cursors or failures.
 *
 * Usage: bare CONFIG ENDPOINT JOURNAL CONNECTIONS COUNT EACH [live]
 *   COUNT requests of EACH events are made of JOURNAL's records for ENDPOINT,
 *   as mailhookd makes them: before the clock starts, or, with "live", while
 *   it runs (reading, routing and signing included).
 * Prints events a second and microseconds of processor time an event.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "conf/conf.h"
#include "deliver/request.h"
#include "event/record.h"

/* Made beforehand; then the first ones once more. */
#define PREPARED_MAX 20000
#define BODY_MAX ((size_t)16 * 1024 * 1024)

struct journal {
	const char *data, *pos, *end;
	uint64_t records;
};

struct slot {
	CURL *easy;
	struct curl_slist *headers;
	struct mse_sending *sending; /* live only */
};

static const struct mse_conf_endpoint *endpoint;
static struct journal journal;
static struct mse_sending **prepared;
static size_t prepared_count;
static uint64_t left, sent, failed;
static CURLM *multi;
static int epoll_fd;
static long timeout_ms = -1;
static bool live;
static unsigned int events_each = 1;

static void die(const char *what)
{
	fprintf(stderr, "bare: %s\n", what);
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void open_journal(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("cannot open the journal");
	journal.data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE,
			    fd, 0);
	if (journal.data == MAP_FAILED)
		die("cannot map the journal");
	journal.pos = journal.data;
	journal.end = journal.data + st.st_size;
	close(fd);
}

/* The next record the endpoint wants, from the start again at the end. */
static void next_record(struct mse_record *record_r)
{
	struct mse_event_route route;
	const char *lf;

	for (;;) {
		lf = memchr(journal.pos, '\n',
			    (size_t)(journal.end - journal.pos));
		if (lf == NULL) {
			if (journal.records == 0)
				die("the journal has nothing for it");
			journal.pos = journal.data;
			continue;
		}
		if (mse_record_parse(journal.pos + 1,
				     (size_t)(lf - journal.pos - 1), record_r,
				     NULL) < 0)
			die("the journal has what is no record");
		journal.pos = lf + 1;
		if (record_r->type != MSE_EVENT_UNKNOWN) {
			mse_record_route(record_r, &route);
			if (mse_subscription_matches(&endpoint->subscription,
						     &route))
				break;
		}
		mse_record_clear(record_r);
	}
	journal.records++;
}

static struct mse_sending *make(uint64_t number)
{
	struct mse_body_context context = {
		.server_name = "mail.example.org",
		.server_fqdn = "mx1.example.org",
		.stream = "4c7d3f0e-5f1b-4a58-8c0e-6f1d3b2a9e70"
	};
	struct mse_sending *sending;
	char id[MSE_UUID_SIZE];
	struct mse_record record;
	struct mse_body body;
	unsigned int i;

	mse_body_init(&body, endpoint->format, BODY_MAX);
	for (i = 0; i < events_each; i++) {
		next_record(&record);
		context.sequence = (number - 1) * events_each + i + 1;
		mse_body_add(&body, endpoint, &context, &record);
		memcpy(id, record.id, sizeof(id));
		mse_record_clear(&record);
	}
	if (mse_body_end(&body) < 0 ||
	    mse_sending_new(endpoint, &body, id, MSE_REQUEST_LIVE,
			    context.sequence - 1, (int64_t)time(NULL) * 1000,
			    &sending) < 0)
		die("cannot make a request");
	return sending;
}

static size_t discard(char *data, size_t size, size_t count, void *context)
{
	(void)data;
	(void)context;
	return size * count;
}

static void post(struct slot *slot)
{
	const struct mse_sending *sending;
	size_t i;

	sent++;
	left--;
	if (live) {
		mse_sending_free(&slot->sending);
		slot->sending = make(sent);
		sending = slot->sending;
	} else {
		sending = prepared[sent % prepared_count];
	}
	curl_slist_free_all(slot->headers);
	slot->headers = curl_slist_append(NULL, "Expect:");
	for (i = 0; sending->request.headers[i] != NULL; i++)
		slot->headers = curl_slist_append(slot->headers,
						  sending->request.headers[i]);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE,
			 (curl_off_t)sending->request.body_len);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, sending->request.body);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
	curl_multi_add_handle(multi, slot->easy);
}

static void open_slot(struct slot *slot)
{
	slot->easy = curl_easy_init();
	curl_easy_setopt(slot->easy, CURLOPT_URL, endpoint->url);
	curl_easy_setopt(slot->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, 15000L);
	curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what,
			 void *context, void *known)
{
	struct epoll_event ev = { .data.fd = fd };

	(void)easy;
	(void)context;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if ((what & CURL_POLL_IN) != 0)
		ev.events |= EPOLLIN;
	if ((what & CURL_POLL_OUT) != 0)
		ev.events |= EPOLLOUT;
	(void)epoll_ctl(epoll_fd, known == NULL ? EPOLL_CTL_ADD :
			EPOLL_CTL_MOD, fd, &ev);
	(void)curl_multi_assign(multi, fd, &epoll_fd);
	return 0;
}

static int timer_wanted(CURLM *one, long wanted_ms, void *context)
{
	(void)one;
	(void)context;
	timeout_ms = wanted_ms;
	return 0;
}

static void collect(void)
{
	struct slot *slot;
	CURLMsg *msg;
	long status;
	int more;

	while ((msg = curl_multi_info_read(multi, &more)) != NULL) {
		status = 0;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_RESPONSE_CODE,
				  &status);
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &slot);
		if (msg->data.result != CURLE_OK || status / 100 != 2)
			failed++;
		curl_multi_remove_handle(multi, slot->easy);
		if (left > 0)
			post(slot);
	}
}

static void loop(void)
{
	struct epoll_event events[64];
	int running = 1, count, i, flags;

	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	while (running > 0 || left > 0) {
		count = epoll_wait(epoll_fd, events, 64, (int)timeout_ms);
		if (count == 0 || timeout_ms == 0) {
			timeout_ms = -1;
			curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT,
						 0, &running);
		}
		for (i = 0; i < count; i++) {
			flags = ((events[i].events & EPOLLOUT) != 0 ?
				 CURL_CSELECT_OUT : 0) |
				((events[i].events & ~(uint32_t)EPOLLOUT) !=
				 0 ? CURL_CSELECT_IN : 0);
			curl_multi_socket_action(multi, events[i].data.fd,
						 flags, &running);
		}
		collect();
	}
}

int main(int argc, char *argv[])
{
	struct mse_error error = { "" };
	struct mse_conf *conf;
	uint64_t count;
	unsigned int connections, i;
	struct slot *slots;
	double start, start_cpu;

	if (argc < 7)
		die("Usage: bare CONFIG ENDPOINT JOURNAL CONNECTIONS COUNT "
		    "EACH [live]");
	if (mse_conf_read(argv[1], &conf, &error) < 0)
		die(error.text);
	endpoint = mse_conf_find(conf, argv[2]);
	if (endpoint == NULL)
		die("no such endpoint");
	open_journal(argv[3]);
	connections = (unsigned int)atoi(argv[4]);
	count = left = strtoull(argv[5], NULL, 10);
	events_each = (unsigned int)atoi(argv[6]);
	live = argc > 7 && strcmp(argv[7], "live") == 0;
	prepared_count = PREPARED_MAX / events_each;
	if (prepared_count > count)
		prepared_count = (size_t)count;
	prepared = calloc(prepared_count, sizeof(*prepared));
	for (i = 0; !live && i < prepared_count; i++)
		prepared[i] = make(i + 1);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	epoll_fd = epoll_create1(0);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
	slots = calloc(connections, sizeof(*slots));
	start = now(CLOCK_MONOTONIC);
	start_cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (i = 0; i < connections && left > 0; i++) {
		open_slot(&slots[i]);
		post(&slots[i]);
	}
	loop();
	count *= events_each;
	printf("%.0f %.2f\n",
	       (double)count / (now(CLOCK_MONOTONIC) - start),
	       (now(CLOCK_PROCESS_CPUTIME_ID) - start_cpu) / (double)count *
	       1e6);
	if (failed > 0)
		die("some were not answered 2xx");
	return 0;
}
