/*
 * Delivery against a scripted transport, a standing clock, a ledger in
 * memory and a real journal. A model receiver watches every request: numbers
 * and ids stay together for life, and the floor never covers a number that
 * was neither answered 2xx nor named in an answered Gap.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deliver/deliver.h"
#include "event/event.h"
#include "event/imap-url.h"
#include "journal/append.h"
#include "journal/reader.h"

#define NUMBERS 20000
#define DAY ((int64_t)86400000)

struct sent {
	char id[MSE_UUID_SIZE];
	char owner[32];
	unsigned long long sequence, floor;
	bool gap, replay, announces;
	unsigned long long from, to;
};

struct world {
	struct mse_transport transport;
	struct mse_clock_fake clock;
	char dir[64];
	struct mse_journal *journal;
	struct mse_ledger_worker *worker;
	struct mse_deliver *deliver;
	struct mse_appender *appender;
	struct mse_conf conf;
	struct mse_conf_endpoint endpoints[2];
	struct mse_secret secret;
	bool rebuilt;
	/* Requests that are out. */
	struct mse_request *out[256];
	bool cancelled[256];
	unsigned int out_count;
	bool hold; /* do not answer */
	int (*answer)(struct world *world, const struct sent *sent,
		      int64_t *retry_after_s);
	int status;
	/* The model receiver. */
	char ids[NUMBERS][MSE_UUID_SIZE];
	bool accepted[NUMBERS];
	unsigned long long floor;
	struct sent *log;
	unsigned int log_count, log_size;
	unsigned int attempts;
	const char *poison;
	char test_body[256];
	/* Replays: what was accepted, and what was told to have failed. */
	struct sent replays[2000];
	unsigned int replay_count, replay_attempts, replay_failed;
	char replay_failed_id[MSE_UUID_SIZE];
	uint64_t dropped;
};

/* The second round: the ledger answers when it likes. */
static bool threaded;

static int post(struct mse_transport *transport, struct mse_request *request)
{
	struct world *world = (struct world *)transport;

	assert_true(world->out_count < 256);
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

static const char *header(const struct mse_request *request, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; request->headers[i] != NULL; i++) {
		if (strncmp(request->headers[i], name, len) == 0 &&
		    request->headers[i][len] == ':')
			return request->headers[i] + len + 2;
	}
	return NULL;
}

static void parse_sent(const struct mse_request *request, struct sent *sent)
{
	char *body = strndup(request->body, request->body_len), *p;
	const char *floor = header(request, "mailhook-floor");

	memset(sent, 0, sizeof(*sent));
	assert_non_null(header(request, "webhook-signature"));
	assert_non_null(header(request, "webhook-timestamp"));
	snprintf(sent->id, sizeof(sent->id), "%s",
		 header(request, "webhook-id"));
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
	free(body);
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
		assert_true(sent->floor < sent->sequence);
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

static bool answer_all(struct world *world)
{
	struct mse_answer answer;
	struct mse_request *request;
	struct sent sent;
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
		parse_sent(request, &sent);
		answer.status = world->answer == NULL ? world->status :
			world->answer(world, &sent, &answer.retry_after_s);
		if (answer.outcome == MSE_OUTCOME_ANSWERED)
			receive(world, &sent, answer.status / 100 == 2);
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

	if (mse_ledger_worker_queued(world->worker) == 0)
		return false;
	assert_int_equal(poll(&poll_fd, 1, 10000), 1);
	return true;
}

/* Until nothing more happens without the clock. */
static int64_t settle(struct world *world)
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
static void pass(struct world *world, int64_t ms)
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

static void append(struct world *world, const char *owner, char *id_r)
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

static void append_many(struct world *world, unsigned int count,
			unsigned int owners)
{
	char owner[32];
	unsigned int i;

	for (i = 0; i < count; i++) {
		snprintf(owner, sizeof(owner), "u%u", i % owners);
		append(world, owner, NULL);
	}
}

static void log_text(enum mse_log_level level, const char *text,
		     void *context)
{
	if (getenv("SHOW_LOG") != NULL)
		fprintf(stderr, "%d %s\n", level, text);
}

static void open_journal(struct world *world)
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

static void start(struct world *world)
{
	struct mse_deliver_parts parts = {
		.journal = world->journal, .ledger = world->worker,
		.transport = &world->transport,
		.clock = &world->clock.clock,
		.server_fqdn = "mail.example.com",
		.ledger_rebuilt = world->rebuilt, .log = log_text
	};
	struct mse_error error = { "" };

	if (mse_deliver_new(&parts, &world->deliver, &error) < 0 ||
	    mse_deliver_configure(world->deliver, &world->conf, &error) < 0)
		fail_msg("%s", error.text);
}

/* kill -9: what was out was perhaps received, and nobody hears of it. */
static void crash(struct world *world, bool received)
{
	struct sent sent;
	unsigned int i;

	for (i = 0; i < world->out_count; i++) {
		parse_sent(world->out[i], &sent);
		if (received)
			receive(world, &sent, true);
	}
	world->out_count = 0;
	mse_deliver_free(&world->deliver);
	mse_journal_close(&world->journal);
	open_journal(world);
}

static void make_worker(struct world *world)
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
	endpoint->concurrency = 8;
	endpoint->timeout_ms = 15000;
	endpoint->connect_timeout_ms = 5000;
	endpoint->retry_first_ms = 5000;
	endpoint->retry_max_ms = 3600000;
	endpoint->give_up_ms = 3 * DAY;
}

static int setup(void **state)
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

static int teardown(void **state)
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

static const struct mse_endpoint_status *look(struct world *world)
{
	mse_deliver_each_status(world->deliver, take_status, NULL);
	return &status_of;
}

/* Each owner's events in order of number, each id once; Gaps aside. */
static void check_order(struct world *world, unsigned int expected)
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

static void test_happy(void **state)
{
	struct world *world = *state;

	append_many(world, 500, 20);
	pass(world, 1000);
	check_order(world, 500);
	assert_int_equal(world->attempts, 500);
	assert_int_equal(look(world)->floor, 500);
	assert_string_equal(look(world)->state, "ok");
	assert_true(mse_deliver_is_idle(world->deliver));
	/* Nothing again after a restart. */
	crash(world, false);
	start(world);
	append(world, "u1", NULL);
	pass(world, 1000);
	assert_int_equal(world->attempts, 501);
	assert_int_equal(world->log[500].sequence, 501);
}

static void replay_failed(const char *id, const char *type, const char *owner,
			  int status, const char *text, void *context)
{
	struct world *world = context;

	world->replay_failed++;
	snprintf(world->replay_failed_id, sizeof(world->replay_failed_id),
		 "%s", id);
	assert_string_equal(type, "MessageNew");
	assert_true(owner[0] == 'u');
	assert_true(status >= 300);
	assert_non_null(text);
}

static struct mse_replay *replay(struct world *world, bool dead, const char *id,
				 const char *user, bool dry_run)
{
	struct mse_replay_options options = {
		.endpoint = "portal", .dead = dead, .dry_run = dry_run,
		.failed = replay_failed, .context = world
	};
	struct mse_error error = { "" };
	struct mse_replay *made;
	int ret;

	assert_int_equal(mse_pick_init(&options.pick, id, NULL, user,
				       INT64_MIN, INT64_MAX, &error), 0);
	mse_journal_oldest(world->journal, &options.start);
	ret = id != NULL ?
		mse_deliver_retry(world->deliver, &options, &made, &error) :
		mse_deliver_replay(world->deliver, &options, &made, &error);
	if (ret < 0)
		fail_msg("%s", error.text);
	return made;
}

static struct mse_replay_progress progress_of(struct mse_replay *one)
{
	struct mse_replay_progress progress;

	mse_deliver_replay_progress(one, &progress);
	return progress;
}

static void retry(struct world *world, const char *id)
{
	struct mse_replay *one = replay(world, true, id, NULL, false);

	pass(world, 1000);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).answered, 1);
	mse_deliver_replay_end(&one);
}

/* u1 is refused while `status` says so. */
static int refuse_u1(struct world *world, const struct sent *sent,
		     int64_t *retry_after_s)
{
	return strcmp(sent->owner, "u1") == 0 && !sent->gap ? world->status :
		200;
}

static void test_isolation(void **state)
{
	struct world *world = *state;

	world->answer = refuse_u1;
	world->status = 500;
	append_many(world, 200, 10);
	pass(world, 1000);
	check_order(world, 180);
	assert_string_equal(look(world)->state, "retrying");
	assert_int_equal(look(world)->parked, 20);
	assert_int_equal(look(world)->floor, 1);
	world->status = 200;
	pass(world, 60000);
	check_order(world, 200);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(look(world)->floor, 200);
}

static int ask_to_wait(struct world *world, const struct sent *sent,
		       int64_t *retry_after_s)
{
	if (world->clock.mono >= 600000)
		return 200;
	*retry_after_s = 600;
	return 429;
}

static void test_retry_after(void **state)
{
	struct world *world = *state;
	int64_t until;

	world->clock.mono = 0;
	crash(world, false);
	start(world);
	append_many(world, 20, 20);
	world->answer = ask_to_wait;
	until = world->clock.mono + 599000;
	pass(world, until - world->clock.mono);
	assert_int_equal(world->attempts, 8);
	assert_int_equal(look(world)->parked, 0);
	pass(world, 10000);
	check_order(world, 20);
	assert_int_equal(look(world)->dead, 0);
}

static void test_gone(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };

	world->status = 410;
	append_many(world, 5, 1);
	pass(world, 10 * DAY);
	assert_int_equal(world->attempts, 1);
	assert_string_equal(look(world)->state, "disabled");
	crash(world, false);
	world->status = 200;
	start(world);
	pass(world, DAY);
	assert_int_equal(world->attempts, 1);
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 1000);
	check_order(world, 5);
}

static int refuse_poison(struct world *world, const struct sent *sent,
			 int64_t *retry_after_s)
{
	return world->poison != NULL &&
		strcmp(sent->id, world->poison) == 0 ? 400 : world->status;
}

/* Others keep being accepted: a poison event dies, with a Gap. */
static void test_give_up(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];
	unsigned int i;

	world->answer = refuse_poison;
	append(world, "u1", id);
	world->poison = id;
	append(world, "u1", NULL);
	for (i = 0; i < 4 * 24 * 60; i++) {
		append(world, "u2", NULL);
		pass(world, 60000);
		if (look(world)->dead > 0)
			break;
	}
	assert_in_range(i, 3 * 24 * 60 - 2, 3 * 24 * 60 + 61);
	pass(world, 60000);
	assert_int_equal(look(world)->dead, 1);
	assert_int_equal(look(world)->parked, 0);
	for (i = 0; i < world->log_count && !world->log[i].gap; i++)
		;
	assert_true(i < world->log_count);
	assert_string_equal(world->log[i].owner, "u1");
	assert_int_equal(world->log[i].from, 1);
	/* Before the lane's next event. */
	assert_int_equal(world->log[i + 1].sequence, 2);
	assert_int_equal(look(world)->floor, look(world)->sequence);
	/* The dead letter once more. */
	world->poison = NULL;
	retry(world, id);
	pass(world, 1000);
	assert_true(world->log[world->log_count - 1].replay);
	assert_int_equal(world->log[world->log_count - 1].sequence, 1);
	assert_int_equal(look(world)->dead, 0);
}

static void test_outage(void **state)
{
	struct world *world = *state;
	unsigned int attempts, i;

	world->status = 500;
	append_many(world, 2000, 40);
	pass(world, 60000);
	assert_string_equal(look(world)->state, "outage");
	attempts = world->attempts;
	for (i = 0; i < 4; i++) {
		append_many(world, 500, 40);
		pass(world, DAY);
	}
	assert_in_range(world->attempts - attempts, 4 * 1440 - 100,
			4 * 1440 * 4 / 3 + 100);
	assert_in_range(look(world)->parked, 1, 100);
	crash(world, false);
	start(world);
	pass(world, DAY);
	world->status = 200;
	pass(world, 2 * 3600000);
	check_order(world, 4000);
	assert_int_equal(look(world)->dead, 0);
	assert_int_equal(look(world)->floor, 4000);
}

/* Restarts with requests out, rows parked and answered above S. */
static void test_restart(void **state)
{
	struct world *world = *state;
	unsigned int round;

	world->answer = refuse_u1;
	for (round = 0; round < 30; round++) {
		world->status = round % 3 == 0 ? 500 : 200;
		append_many(world, 40, 10);
		world->hold = round % 2 == 0;
		pass(world, 500 + round * 300);
		crash(world, round % 4 == 0);
		world->hold = false;
		start(world);
		/* Another process's late thoughts. */
		settle(world);
	}
	world->status = 200;
	pass(world, 2 * 3600000);
	assert_int_equal(look(world)->sequence, 1200);
	assert_int_equal(look(world)->floor, 1200);
	for (round = 1; round <= 1200; round++)
		assert_true(world->accepted[round]);
}

/* A Gap's number may not be one that an event had before the crash. */
static void test_restart_gap(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];
	unsigned int i;

	world->answer = refuse_poison;
	append(world, "u1", id);
	world->poison = id;
	for (i = 0; i < 80; i++) {
		append(world, "u2", NULL);
		append(world, "u3", NULL);
		pass(world, 3600000);
		world->hold = true;
		append_many(world, 20, 20);
		pass(world, 10);
		crash(world, true);
		world->hold = false;
		start(world);
		settle(world);
	}
	pass(world, 3600000);
	assert_int_equal(look(world)->dead, 1);
	assert_int_equal(look(world)->floor, look(world)->sequence);
}

static void test_bound(void **state)
{
	struct world *world = *state;

	world->conf.journal_limit = 40000;
	world->answer = refuse_u1;
	world->status = 500;
	append_many(world, 400, 2);
	pass(world, 20000);
	assert_string_equal(look(world)->state, "waiting");
	assert_in_range(look(world)->parked, 5, 60);
	assert_true(look(world)->behind_octets > 0);
	world->status = 200;
	pass(world, 3600000);
	check_order(world, 400);
	assert_string_equal(look(world)->state, "ok");
}

/* The journal's last megabyte is lost, as after a power cut. */
static void test_lost_megabyte(void **state)
{
	struct world *world = *state;
	char path[128];
	unsigned int i, gaps = 0;

	append_many(world, 200, 5);
	pass(world, 1000);
	snprintf(path, sizeof(path), "%s/journal", world->dir);
	crash(world, false);
	mse_journal_close(&world->journal);
	assert_int_equal(truncate(path, 20000), 0);
	append_many(world, 300, 5);
	open_journal(world);
	start(world);
	pass(world, 10000);
	for (i = 200; i < world->log_count; i++) {
		if (world->log[i].gap) {
			gaps++;
			assert_int_equal(world->log[i].from, 201);
		} else {
			assert_true(world->log[i].sequence > 10000);
		}
	}
	assert_int_equal(gaps, 1);
	assert_true(world->log_count > 501);
	assert_int_equal(look(world)->floor, look(world)->sequence);
}

static void test_rebuilt(void **state)
{
	struct world *world = *state;

	append_many(world, 10, 5);
	pass(world, 1000);
	mse_deliver_free(&world->deliver);
	mse_ledger_worker_free(&world->worker);
	make_worker(world);
	memset(world->ids, 0, sizeof(world->ids));
	memset(world->accepted, 0, sizeof(world->accepted));
	world->floor = 0;
	world->rebuilt = true;
	start(world);
	pass(world, 1000);
	assert_int_equal(world->log_count, 21);
	assert_true(world->log[10].gap);
	assert_int_equal(look(world)->sequence, 11);
	assert_int_equal(look(world)->floor, 11);
}

/* Two endpoints; one hangs. A reload changes filters, removes, adds. */
static void test_reload(void **state)
{
	struct world *world = *state;
	struct mse_conf other = world->conf;
	struct mse_conf_endpoint changed = world->endpoints[0];
	struct mse_error error = { "" };

	world->hold = true;
	append_many(world, 100, 5);
	settle(world);
	assert_int_equal(world->out_count, 5);
	strcpy(changed.filters, "two");
	changed.subscription.types = MSE_EVENT_BIT(MSE_EVENT_LOGIN);
	other.endpoints = &changed;
	assert_int_equal(mse_deliver_configure(world->deliver, &other,
					       &error), 0);
	settle(world);
	assert_false(mse_deliver_is_settled(world->deliver));
	world->hold = false;
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	assert_int_equal(look(world)->sequence, look(world)->floor);
	assert_true(world->log_count >= 64);
	other.endpoint_count = 0;
	assert_int_equal(mse_deliver_configure(world->deliver, &other,
					       &error), 0);
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	/* Its cursor stays, and the journal for it. */
	assert_non_null(mse_deliver_oldest_file(world->deliver));
	world->log_count = 0;
	append_many(world, 7, 5);
	settle(world);
	assert_int_equal(mse_deliver_configure(world->deliver, &world->conf,
					       &error), 0);
	pass(world, 1000);
	/* Its filters are not those it left with: a Gap, then all seven. */
	assert_int_equal(world->log_count, 8);
	assert_true(world->log[0].gap);
}

static void test_done(const struct mse_request *request,
		      const struct mse_answer *answer, void *context)
{
	struct world *world = context;

	snprintf(world->test_body, sizeof(world->test_body), "%.*s",
		 (int)request->body_len, (const char *)request->body);
	assert_int_equal(answer->status, 200);
}

static void test_test_and_drop(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];

	assert_int_equal(mse_deliver_test(world->deliver, "portal", test_done,
					  world, &error), 0);
	pass(world, 10);
	assert_non_null(strstr(world->test_body, "vnd.mailhook"));
	assert_int_equal(mse_deliver_test(world->deliver, "nobody", test_done,
					  world, &error), -1);
	world->status = 500;
	append(world, "u1", id);
	append(world, "u1", NULL);
	pass(world, 3600000);
	assert_string_equal(look(world)->state, "outage");
	assert_string_equal(look(world)->held_id, id);
	world->status = 200;
	world->answer = refuse_poison;
	world->poison = id;
	assert_int_equal(mse_deliver_drop(world->deliver, "portal", id,
					  &error), 0);
	pass(world, 3600000);
	check_order(world, 1);
	assert_int_equal(look(world)->floor, 3);
}

/* Ids and their owners' order as before, numbers none; and nothing that live
   delivery has is touched. */
static void test_replay(void **state)
{
	struct world *world = *state;
	struct mse_endpoint_status before;
	struct mse_replay *one;
	unsigned long long last[10] = { 0 }, n;
	unsigned int i, owner;

	append_many(world, 1500, 10);
	pass(world, 1000);
	before = *look(world);
	one = replay(world, false, NULL, "u?", false);
	pass(world, 1000);
	assert_true(progress_of(one).ended);
	assert_string_equal(progress_of(one).problem, "");
	assert_int_equal(progress_of(one).found, 1500);
	assert_int_equal(progress_of(one).answered, 1500);
	assert_int_equal(progress_of(one).read_octets,
			 progress_of(one).total_octets);
	mse_deliver_replay_end(&one);
	assert_int_equal(world->replay_count, 1500);
	for (i = 0; i < world->replay_count; i++) {
		owner = (unsigned int)atoi(world->replays[i].owner + 1);
		for (n = last[owner] + 1; n <= 1500; n++) {
			if (strcmp(world->ids[n], world->replays[i].id) == 0)
				break;
		}
		assert_in_range(n, 1, 1500);
		last[owner] = n;
	}
	assert_memory_equal(&before, look(world), sizeof(before));
	/* Some of it; and counted only. */
	one = replay(world, false, NULL, "u3", false);
	pass(world, 1000);
	assert_int_equal(progress_of(one).found, 150);
	assert_int_equal(world->replay_count, 1650);
	mse_deliver_replay_end(&one);
	one = replay(world, false, NULL, "!u3", true);
	pass(world, 1000);
	assert_int_equal(progress_of(one).found, 1350);
	assert_int_equal(world->replay_count, 1650);
	mse_deliver_replay_end(&one);
	append(world, "u1", NULL);
	pass(world, 1000);
	assert_int_equal(world->log[world->log_count - 1].sequence, 1501);
}

/* Half of the concurrency is the most it takes; what comes live has the other
   half, and what its cursor has not passed is not sent twice. */
static void test_replay_shares(void **state)
{
	struct world *world = *state;
	struct mse_replay *one;

	append_many(world, 40, 20);
	pass(world, 1000);
	world->hold = true;
	append(world, "u30", NULL);
	settle(world);
	one = replay(world, false, NULL, NULL, false);
	settle(world);
	assert_int_equal(world->out_count, 5);
	assert_int_equal(progress_of(one).in_flight, 4);
	append_many(world, 20, 20);
	settle(world);
	assert_int_equal(world->out_count, 8);
	assert_int_equal(progress_of(one).in_flight, 4);
	/* Let go of, it sends nothing more. */
	mse_deliver_replay_end(&one);
	world->hold = false;
	pass(world, 1000);
	assert_int_equal(world->replay_count, 4);
	check_order(world, 61);
}

static void test_replay_refused(void **state)
{
	struct world *world = *state;
	struct mse_replay *one;
	char id[MSE_UUID_SIZE];
	unsigned int attempts;

	append_many(world, 40, 4);
	append(world, "u1", id);
	append_many(world, 40, 4);
	pass(world, 1000);
	world->answer = refuse_poison;
	world->poison = id;
	one = replay(world, false, NULL, NULL, false);
	pass(world, 60000);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).answered, 80);
	assert_int_equal(progress_of(one).failed, 1);
	assert_int_equal(world->replay_failed, 1);
	assert_string_equal(world->replay_failed_id, id);
	assert_int_equal(world->replay_attempts, 83);
	mse_deliver_replay_end(&one);
	/* Everything is refused: the replay waits, then ends, and says from
	   where to go on; the live path has heard nothing of it. */
	world->answer = NULL;
	world->status = 500;
	attempts = world->attempts;
	one = replay(world, false, NULL, NULL, false);
	pass(world, 5 * 60000);
	assert_false(progress_of(one).ended);
	assert_string_equal(progress_of(one).waiting,
			    "the endpoint accepts nothing");
	pass(world, 15 * 60000);
	assert_true(progress_of(one).ended);
	assert_string_not_equal(progress_of(one).problem, "");
	assert_int_equal(progress_of(one).resume_ms, INT64_C(1790000000000));
	assert_in_range(world->attempts - attempts, 10, 60);
	assert_string_equal(look(world)->state, "ok");
	assert_int_equal(look(world)->failed, 0);
	mse_deliver_replay_end(&one);
	world->status = 410;
	one = replay(world, false, NULL, NULL, false);
	pass(world, 1000);
	assert_true(progress_of(one).ended);
	assert_non_null(strstr(progress_of(one).problem, "410"));
	assert_string_equal(look(world)->state, "ok");
	mse_deliver_replay_end(&one);
}

/* The endpoint goes, or the daemon: so does what is replayed to it. */
static void test_replay_ends(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	struct mse_conf none = world->conf;
	struct mse_replay *one, *two;

	append_many(world, 100, 10);
	pass(world, 1000);
	world->hold = true;
	one = replay(world, false, NULL, NULL, false);
	settle(world);
	none.endpoint_count = 0;
	assert_int_equal(mse_deliver_configure(world->deliver, &none, &error),
			 0);
	settle(world);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).in_flight, 4);
	world->hold = false;
	settle(world);
	assert_true(mse_deliver_is_settled(world->deliver));
	assert_int_equal(progress_of(one).in_flight, 0);
	mse_deliver_replay_end(&one);
	assert_int_equal(mse_deliver_configure(world->deliver, &world->conf,
					       &error), 0);
	settle(world);
	world->hold = true;
	one = replay(world, false, NULL, NULL, false);
	two = replay(world, true, NULL, NULL, false);
	settle(world);
	mse_deliver_stop(world->deliver);
	settle(world);
	assert_true(progress_of(one).ended && progress_of(two).ended);
	assert_non_null(strstr(progress_of(one).problem, "stopping"));
	mse_deliver_replay_end(&two);
	mse_deliver_cancel(world->deliver);
	settle(world);
	assert_true(mse_deliver_is_idle(world->deliver));
	crash(world, false);
	/* Whoever holds it may let go after all the rest. */
	mse_deliver_replay_end(&one);
	start(world);
}

static int refuse_even(struct world *world, const struct sent *sent,
		       int64_t *retry_after_s)
{
	return sent->gap || sent->owner[1] % 2 != 0 ? 200 : world->status;
}

static void take_dropped(uint64_t dropped, const char *problem, void *context)
{
	struct world *world = context;

	assert_null(problem);
	world->dropped = dropped;
}

static void drop_dead(struct world *world, const char *user)
{
	struct mse_error error = { "" };
	struct mse_pick pick;

	world->dropped = UINT64_MAX;
	assert_int_equal(mse_pick_init(&pick, NULL, NULL, user, INT64_MIN,
				       INT64_MAX, &error), 0);
	assert_int_equal(mse_deliver_drop_dead(world->deliver, "portal", &pick,
					       take_dropped, world, &error),
			 0);
	settle(world);
}

static void test_many_dead(void **state)
{
	struct world *world = *state;
	struct mse_replay *one;
	unsigned int i;

	world->endpoints[0].give_up_ms = 60000;
	world->endpoints[0].retry_first_ms = 1000;
	world->endpoints[0].retry_max_ms = 10000;
	world->answer = refuse_even;
	world->status = 422;
	append_many(world, 200, 4);
	for (i = 0; i < 200 && look(world)->dead < 100; i++) {
		append(world, "u1", NULL);
		pass(world, 60000);
	}
	assert_int_equal(look(world)->dead, 100);
	one = replay(world, true, NULL, NULL, false);
	pass(world, 60000);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).found, 100);
	assert_int_equal(progress_of(one).failed, 100);
	assert_int_equal(world->replay_failed, 100);
	assert_int_equal(look(world)->dead, 100);
	assert_int_equal(look(world)->counters.dead[MSE_DEAD_CLIENT_ERROR],
			 100);
	mse_deliver_replay_end(&one);
	drop_dead(world, "u9");
	assert_int_equal(world->dropped, 0);
	drop_dead(world, "u2");
	assert_int_equal(world->dropped, 50);
	assert_int_equal(look(world)->dead, 50);
	world->answer = NULL;
	world->status = 200;
	world->replay_attempts = 0;
	one = replay(world, true, NULL, "u0", false);
	pass(world, 1000);
	assert_int_equal(progress_of(one).answered, 50);
	assert_int_equal(world->replay_attempts, 50);
	assert_int_equal(look(world)->dead, 0);
	mse_deliver_replay_end(&one);
}

static void test_stop(void **state)
{
	struct world *world = *state;

	world->hold = true;
	append_many(world, 20, 20);
	settle(world);
	mse_deliver_stop(world->deliver);
	settle(world);
	assert_false(mse_deliver_is_idle(world->deliver));
	mse_deliver_cancel(world->deliver);
	settle(world);
	assert_true(mse_deliver_is_idle(world->deliver));
	world->hold = false;
	crash(world, false);
	start(world);
	pass(world, 1000);
	check_order(world, 20);
}

/* journal_limit takes a file away under the cursor. */
static void test_released(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	const struct mse_journal_file *files;
	struct mse_journal_file file;
	unsigned int count, i, gaps = 0;
	bool rotated;

	world->status = 500;
	append_many(world, 300, 10);
	pass(world, 60000);
	assert_int_equal(mse_journal_rotate(world->journal, true, &rotated,
					    &error), 0);
	files = mse_journal_files(world->journal, &count);
	assert_int_equal(count, 2);
	file = files[0];
	mse_journal_seal(world->journal, file.uuid, file.size);
	files = mse_journal_files(world->journal, &count);
	file = files[0];
	assert_int_equal(mse_deliver_file_released(world->deliver, &file,
						   true, &error), 0);
	assert_string_not_equal(mse_deliver_oldest_file(world->deliver),
				file.uuid);
	append_many(world, 10, 10);
	world->status = 200;
	pass(world, 3600000);
	for (i = 0; i < world->log_count; i++)
		gaps += world->log[i].gap;
	assert_int_equal(gaps, 1);
	assert_int_equal(look(world)->floor, look(world)->sequence);
	assert_int_equal(look(world)->parked, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_happy), T(test_isolation), T(test_retry_after),
		T(test_gone), T(test_give_up), T(test_outage),
		T(test_restart), T(test_restart_gap), T(test_bound),
		T(test_lost_megabyte), T(test_rebuilt), T(test_reload),
		T(test_test_and_drop), T(test_replay), T(test_replay_shares),
		T(test_replay_refused), T(test_replay_ends),
		T(test_many_dead), T(test_stop), T(test_released)
	};
#undef T

	int failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);

	threaded = true;
	return failed + cmocka_run_group_tests_name("threaded", tests, NULL,
						    NULL);
}
