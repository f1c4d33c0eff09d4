#include "test-deliver-common.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/imap-url.h"
#include "journal/append.h"
#include "journal/reader.h"
#include "test-request-common.h"

bool threaded, batching;

static void see(struct world *world, const struct mse_request *request);

static int post(struct mse_transport *transport, struct mse_request *request)
{
	struct world *world = (struct world *)transport;

	assert_true(world->out_count < 256);
	see(world, request);
	world->cancelled[world->out_count] = false;
	world->out[world->out_count++] = request;
	return 0;
}

static void cancel(struct mse_transport *transport,
		   struct mse_request *request)
{
	struct world *world = (struct world *)transport;
	unsigned int i;

	for (i = 0; i < world->out_count; i++) {
		if (world->out[i] == request)
			world->cancelled[i] = true;
	}
}

/* One event: text up to its end. */
static void parse_event(const struct mse_request *request, const char *text,
			size_t len, struct sent *sent)
{
	char *body = strndup(text, len), *p;
	const char *floor = header(request, "mailhook-floor");

	memset(sent, 0, sizeof(*sent));
	snprintf(sent->request, sizeof(sent->request), "%s",
		 header(request, "webhook-id"));
	p = strstr(body, "\"id\":\"");
	assert_non_null(p);
	snprintf(sent->id, sizeof(sent->id), "%s", p + 6);
	p = strstr(body, "\"sequence\":\"");
	assert_non_null(p);
	sent->sequence = strtoull(p + 12, NULL, 10);
	sent->floor = floor == NULL ? 0 : strtoull(floor, NULL, 10);
	sent->replay = header(request, "mailhook-replay") != NULL;
	assert_true((floor != NULL) != (sent->replay || sent->sequence == 0));
	p = strstr(body, "\"partitionkey\":\"");
	if (p != NULL)
		sscanf(p + 16, "%31[^\"]", sent->owner);
	sent->gap = strstr(body, "vnd.mailhook.Gap") != NULL;
	p = strstr(body, "\"vnd.mailhook.sequences\"");
	if (p != NULL) {
		p += strcspn(p, "0123456789");
		sent->announces = true;
		sent->from = strtoull(p, &p, 10);
		sent->to = *p == '-' ? strtoull(p + 1, NULL, 10) : sent->from;
	}
	p = strstr(body, "\"vnd.mailhook.reason\":\"");
	if (p != NULL)
		sscanf(p + 23, "%95[^\"]", sent->reason);
	free(body);
}

/* All events of a request; to be freed. */
static struct sent *parse_sent(const struct mse_request *request,
			       unsigned int *count_r)
{
	struct sent *list = NULL;
	unsigned int count = 0, i;
	const char *event = NULL;
	size_t len;

	assert_non_null(header(request, "webhook-signature"));
	assert_non_null(header(request, "webhook-timestamp"));
	assert_int_equal(*(const char *)request->body, batching ? '[' : '{');
	while (next_event(request, &event, &len)) {
		list = realloc(list, (count + 1) * sizeof(*list));
		parse_event(request, event, len, &list[count++]);
	}
	assert_true(count > 0);
	for (i = 0; i < count; i++)
		list[i].of = count;
	if (count == 1)
		assert_string_equal(list[0].request, list[0].id);
	*count_r = count;
	return list;
}

/* The same id carries the same events, in order of their numbers. */
static void check_composition(struct world *world, const struct sent *list,
			      unsigned int count)
{
	struct composition made = { .numbers = "" };
	unsigned int i;
	size_t len = 0;

	memcpy(made.request, list[0].request, MSE_UUID_SIZE);
	for (i = 0; i < count; i++) {
		assert_true(i == 0 || list[i].sequence >
			    list[i - 1].sequence);
		len += (size_t)snprintf(made.numbers + len,
					sizeof(made.numbers) - len, "%llu ",
					list[i].sequence);
		assert_true(len < sizeof(made.numbers));
	}
	for (i = 0; i < world->composition_count; i++) {
		if (strcmp(world->compositions[i].request,
			   made.request) != 0)
			continue;
		assert_string_equal(world->compositions[i].numbers,
				    made.numbers);
		return;
	}
	world->compositions = realloc(world->compositions,
		(world->composition_count + 1) * sizeof(made));
	world->compositions[world->composition_count++] = made;
}

/* In order, an owner's events are out in one request at a time. */
static void check_alone(struct world *world, const struct sent *list,
			unsigned int count)
{
	unsigned int i, k, n, others;
	struct sent *other;

	if (world->endpoints[0].order == MSE_ORDER_NONE)
		return;
	for (i = 0; i < world->out_count; i++) {
		other = parse_sent(world->out[i], &others);
		for (k = 0; k < others && !other[k].replay; k++) {
			for (n = 0; n < count; n++)
				assert_true(other[k].owner[0] == '\0' ||
					    strcmp(other[k].owner,
						   list[n].owner) != 0);
		}
		free(other);
	}
}

static void see(struct world *world, const struct mse_request *request)
{
	struct sent *list;
	unsigned int count, i;

	if (strcmp(request->endpoint, "portal") != 0)
		return;
	if (request->method != NULL) {
		assert_string_equal(request->method, "OPTIONS");
		assert_string_equal(header(request, "webhook-request-origin"),
				    "mail.example.com");
		assert_null(header(request, "webhook-signature"));
		assert_int_equal(request->body_len, 0);
		world->asked++;
		return;
	}
	list = parse_sent(request, &count);
	world->requests++;
	if (count > world->largest)
		world->largest = count;
	if (request->body_len > world->largest_body)
		world->largest_body = request->body_len;
	if (!list[0].replay && list[0].sequence != 0) {
		if (batching)
			check_composition(world, list, count);
		check_alone(world, list, count);
		for (i = 0; i < count; i++) {
			char *last = world->unanswered[list[i].sequence];

			if (batching && *last != '\0')
				assert_string_equal(last, list[i].request);
			memcpy(last, list[i].request, MSE_UUID_SIZE);
		}
	}
	free(list);
}

static void receive(struct world *world, const struct sent *sent, bool ok)
{
	unsigned long long n;

	world->attempts++;
	world->replay_attempts += sent->replay;
	if (sent->sequence == 0 && sent->replay && ok) {
		assert_true(world->replay_count < 2000);
		world->replays[world->replay_count++] = *sent;
	}
	if (sent->sequence == 0)
		return;
	assert_true(sent->sequence < NUMBERS);
	if (world->ids[sent->sequence][0] == '\0')
		memcpy(world->ids[sent->sequence], sent->id, MSE_UUID_SIZE);
	assert_string_equal(world->ids[sent->sequence], sent->id);
	if (!sent->replay) {
		/* The floor covers only what was accepted or announced. */
		for (n = world->floor + 1; n <= sent->floor; n++) {
			if (!world->accepted[n])
				fail_msg("floor %llu covers %llu",
					 sent->floor, n);
		}
		if (sent->floor > world->floor)
			world->floor = sent->floor;
		/* Or it was accepted, and comes again after a crash. */
		assert_true(sent->floor < sent->sequence ||
			    world->accepted[sent->sequence]);
	}
	if (!ok)
		return;
	world->accepted[sent->sequence] = true;
	for (n = sent->from; sent->announces && n <= sent->to; n++)
		world->accepted[n] = true;
	if (world->log_count == world->log_size) {
		world->log_size = world->log_size * 2 + 64;
		world->log = realloc(world->log, world->log_size *
				     sizeof(*world->log));
	}
	world->log[world->log_count++] = *sent;
}

/* What the script says to the request: the first refusal of its events. */
static int status_for(struct world *world, const struct sent *list,
		      unsigned int count, int64_t *retry_after_s)
{
	int status = world->status;
	unsigned int i;

	for (i = 0; world->answer != NULL && i < count; i++) {
		status = world->answer(world, &list[i], retry_after_s);
		if (status / 100 != 2)
			break;
	}
	return status;
}

bool answer_all(struct world *world)
{
	struct mse_answer answer;
	struct mse_request *request;
	struct sent *list;
	unsigned int count, i;
	bool any = false;

	while (world->out_count > 0 && (!world->hold ||
					world->cancelled[0])) {
		request = world->out[0];
		memset(&answer, 0, sizeof(answer));
		answer.retry_after_s = -1;
		answer.body = "";
		answer.outcome = world->cancelled[0] ? MSE_OUTCOME_CANCELLED :
			MSE_OUTCOME_ANSWERED;
		world->out_count--;
		memmove(world->out, world->out + 1,
			world->out_count * sizeof(world->out[0]));
		memmove(world->cancelled, world->cancelled + 1,
			world->out_count * sizeof(world->cancelled[0]));
		if (request->method != NULL) {
			answer.status = world->permit_status;
			answer.allowed_origin = world->allowed_origin;
			answer.allowed_rate = world->allowed_rate;
			snprintf(answer.text, sizeof(answer.text),
				 "the receiver answered %d", answer.status);
			request->done(request, &answer);
			any = true;
			continue;
		}
		list = parse_sent(request, &count);
		answer.status = status_for(world, list, count,
					   &answer.retry_after_s);
		for (i = 0; i < count &&
		     answer.outcome == MSE_OUTCOME_ANSWERED; i++) {
			world->unanswered[list[i].sequence][0] = '\0';
			receive(world, &list[i], answer.status / 100 == 2);
		}
		free(list);
		request->done(request, &answer);
		any = true;
	}
	return any;
}

/* False if nothing is under way there. */
static bool wait_for_ledger(struct world *world)
{
	struct pollfd poll_fd = {
		.fd = mse_ledger_worker_fd(world->worker), .events = POLLIN
	};

	/* It may have come to its end since it was last asked. */
	if (mse_ledger_worker_queued(world->worker) == 0)
		return mse_ledger_worker_dispatch(world->worker) > 0;
	assert_int_equal(poll(&poll_fd, 1, 10000), 1);
	return true;
}

/* Until nothing more happens without the clock. */
int64_t settle(struct world *world)
{
	unsigned int rounds = 0;
	int64_t at;
	bool any;

	do {
		assert_true(rounds++ < 1000000);
		at = mse_deliver_run(world->deliver);
		any = mse_ledger_worker_dispatch(world->worker) > 0;
		any = answer_all(world) || any;
		any = mse_ledger_worker_dispatch(world->worker) > 0 || any;
		if (!any && at > world->clock.mono)
			any = wait_for_ledger(world);
	} while (any || at <= world->clock.mono);
	return at;
}

/* Lets time pass, from one thing planned to the next. */
void pass(struct world *world, int64_t ms)
{
	int64_t until = world->clock.mono + ms, at;

	for (;;) {
		at = settle(world);
		if (at > until)
			break;
		mse_clock_fake_advance(&world->clock, at - world->clock.mono);
	}
	mse_clock_fake_advance(&world->clock, until - world->clock.mono);
	settle(world);
}

void append(struct world *world, const char *owner, char *id_r)
{
	struct mse_event event;
	struct mse_imap_url url = { .server = "mail.example.com",
				    .user = owner, .mailbox = "INBOX" };
	struct mse_buf uri, record;

	mse_buf_init(&uri, 1024);
	mse_buf_init(&record, 65536);
	mse_imap_url_append(&uri, &url);
	mse_event_init(&event, MSE_EVENT_MESSAGE_NEW, world->clock.wall);
	event.user = owner;
	event.mailbox = "INBOX";
	mse_event_set_string(&event, MSE_PARAM_URI, mse_buf_str(&uri));
	mse_event_write(&event, &record);
	assert_int_equal(mse_appender_append(world->appender, &record, 1,
					     MSE_DURABILITY_PROCESS),
			 MSE_APPEND_DONE);
	if (id_r != NULL)
		memcpy(id_r, event.id, MSE_UUID_SIZE);
	mse_buf_clear(&uri);
	mse_buf_clear(&record);
}

void append_many(struct world *world, unsigned int count,
			unsigned int owners)
{
	char owner[32];
	unsigned int i;

	for (i = 0; i < count; i++) {
		snprintf(owner, sizeof(owner), "u%u", i % owners);
		append(world, owner, NULL);
	}
}

#define LOG_LINES 300

static char log_lines[LOG_LINES][256];
static unsigned int log_lines_count;

static void log_text(enum mse_log_level level, const char *text,
		     void *context)
{
	if (getenv("SHOW_LOG") != NULL)
		fprintf(stderr, "%d %s\n", level, text);
	snprintf(log_lines[log_lines_count++ % LOG_LINES],
		 sizeof(log_lines[0]), "%d %s", level, text);
}

static void tell_sent(const char *what, const struct sent *sent)
{
	fprintf(stderr, "%s %llu %s %s of %u in %s floor %llu", what,
		sent->sequence, sent->owner, sent->id, sent->of,
		sent->request, sent->floor);
	if (sent->gap)
		fprintf(stderr, " GAP %llu-%llu %s", sent->from, sent->to,
			sent->reason);
	fputc('\n', stderr);
}

void tell(const struct world *world)
{
	unsigned int i, k;

	for (i = 0; i < world->log_count; i++)
		tell_sent("accepted", &world->log[i]);
	for (i = 0; i < world->log_count; i++) {
		if (world->log[i].gap)
			tell_sent("Gap", &world->log[i]);
		for (k = 0; k < i; k++) {
			if (strcmp(world->log[i].id, world->log[k].id) == 0 &&
			    world->log[i].sequence != world->log[k].sequence)
				tell_sent("two numbers", &world->log[i]);
		}
	}
	for (i = log_lines_count < LOG_LINES ? 0 :
	     log_lines_count - LOG_LINES; i < log_lines_count; i++)
		fprintf(stderr, "log %s\n", log_lines[i % LOG_LINES]);
}

void open_journal(struct world *world)
{
	struct mse_journal_limits limits = {
		.file_size = MSE_JOURNAL_FILE_SIZE, .retention_ms = DAY,
		.journal_limit = (uint64_t)1 << 30
	};
	struct mse_error error = { "" };

	if (mse_journal_open(world->dir, &limits, &world->clock.clock,
			     &world->journal, &error) < 0 ||
	    mse_journal_allow(world->journal, 1, &error) < 0)
		fail_msg("%s", error.text);
}

void start(struct world *world)
{
	struct mse_deliver_parts parts = {
		.journal = world->journal, .ledger = world->worker,
		.transport = &world->transport,
		.clock = &world->clock.clock,
		.server_fqdn = "mail.example.com",
		.ledger_rebuilt = world->rebuilt,
		.lanes_max = world->lanes_max, .log = log_text
	};
	struct mse_error error = { "" };

	if (mse_deliver_new(&parts, &world->deliver, &error) < 0 ||
	    mse_deliver_configure(world->deliver, &world->conf, &error) < 0)
		fail_msg("%s", error.text);
}

/* kill -9: what was out was perhaps received, and nobody hears of it. */
void crash(struct world *world, bool received)
{
	struct mse_answer nothing = {
		.outcome = MSE_OUTCOME_CANCELLED, .retry_after_s = -1,
		.body = ""
	};
	struct sent *list;
	unsigned int count, i, k;

	/* What was out is freed, without a consequence. */
	mse_deliver_stop(world->deliver);
	for (i = 0; i < world->out_count; i++) {
		list = parse_sent(world->out[i], &count);
		for (k = 0; received && k < count; k++)
			receive(world, &list[k], true);
		free(list);
		world->out[i]->done(world->out[i], &nothing);
	}
	world->out_count = 0;
	mse_deliver_free(&world->deliver);
	mse_journal_close(&world->journal);
	open_journal(world);
}

void make_worker(struct world *world)
{
	struct mse_ledger *ledger = mse_ledger_new_memory();
	struct mse_error error = { "" };

	assert_non_null(ledger);
	if (mse_ledger_worker_new(&ledger, threaded, &world->worker,
				  &error) < 0)
		fail_msg("%s", error.text);
}

static void init_endpoint(struct world *world,
			  struct mse_conf_endpoint *endpoint, char *name)
{
	endpoint->name = name;
	endpoint->url = (char *)"https://example.com/hook";
	endpoint->secrets = &world->secret;
	endpoint->secret_count = 1;
	endpoint->subscription.types = MSE_EVENT_TYPES_ALL;
	endpoint->subscription.users = mse_patterns_new(NULL, 0, 0);
	endpoint->subscription.mailboxes = mse_patterns_new(NULL, 0, 0);
	strcpy(endpoint->filters, "one");
	endpoint->format = batching ? MSE_FORMAT_CLOUDEVENTS_BATCH :
		MSE_FORMAT_CLOUDEVENTS;
	endpoint->batch_events = 10;
	endpoint->batch_bytes = 1024 * 1024;
	endpoint->linger_ms = 200;
	endpoint->concurrency = 8;
	endpoint->timeout_ms = 15000;
	endpoint->connect_timeout_ms = 5000;
	endpoint->retry_first_ms = 5000;
	endpoint->retry_max_ms = 3600000;
	endpoint->give_up_ms = 3 * DAY;
}

int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->transport.post = post;
	world->transport.cancel = cancel;
	world->status = 200;
	mse_clock_fake_init(&world->clock, INT64_C(1790000000000));
	strcpy(world->dir, "/tmp/mse-deliver-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	world->secret.key_len = 32;
	world->conf.server_name = (char *)"mail.example.com";
	world->conf.journal_limit = (uint64_t)1 << 30;
	world->conf.endpoints = world->endpoints;
	world->conf.endpoint_count = 1;
	init_endpoint(world, &world->endpoints[0], (char *)"portal");
	init_endpoint(world, &world->endpoints[1], (char *)"billing");
	open_journal(world);
	assert_int_equal(mse_appender_new(world->dir, &world->appender), 0);
	make_worker(world);
	start(world);
	settle(world);
	*state = world;
	return 0;
}

int teardown(void **state)
{
	struct world *world = *state;
	char command[128];

	world->out_count = 0;
	mse_ledger_worker_dispatch(world->worker);
	mse_ledger_worker_free(&world->worker);
	mse_deliver_free(&world->deliver);
	mse_appender_free(&world->appender);
	mse_journal_close(&world->journal);
	mse_patterns_free(&world->endpoints[0].subscription.users);
	mse_patterns_free(&world->endpoints[0].subscription.mailboxes);
	mse_patterns_free(&world->endpoints[1].subscription.users);
	mse_patterns_free(&world->endpoints[1].subscription.mailboxes);
	snprintf(command, sizeof(command), "rm -rf %s", world->dir);
	assert_int_equal(system(command), 0);
	free(world->compositions);
	free(world->log);
	free(world);
	return 0;
}

static struct mse_endpoint_status status_of;

static void take_status(const struct mse_endpoint_status *status,
			void *context)
{
	status_of = *status;
}

const struct mse_endpoint_status *look(struct world *world)
{
	mse_deliver_each_status(world->deliver, take_status, NULL);
	return &status_of;
}

/* Each owner's events in order of number, each id once; Gaps aside. */
void check_order(struct world *world, unsigned int expected)
{
	unsigned long long last[64] = { 0 };
	unsigned int i, owner, count = 0;

	for (i = 0; i < world->log_count; i++) {
		if (world->log[i].gap)
			continue;
		count++;
		owner = (unsigned int)atoi(world->log[i].owner + 1);
		assert_true(owner < 64);
		if (world->log[i].sequence <= last[owner])
			fail_msg("u%u: %llu after %llu", owner,
				 world->log[i].sequence, last[owner]);
		last[owner] = world->log[i].sequence;
	}
	assert_int_equal(count, expected);
}
