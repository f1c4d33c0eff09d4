/* A mail server in small, for tests that take things away from it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/event.h"
#include "event/imap-url.h"
#include "test-flow-common.h"

#define DAY ((int64_t)86400000)

void fail_round(struct world *world, const char *format, ...)
{
	va_list args;

	if (world->aside != NULL)
		world->aside(true);
	fprintf(stderr, "%s: ", world->why);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	_exit(1);
}

/* The receiver */

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

static void member(const char *body, const char *name, char *value_r,
		   size_t size)
{
	char key[64];
	const char *p;
	size_t len;

	value_r[0] = '\0';
	snprintf(key, sizeof(key), "\"%s\":", name);
	p = strstr(body, key);
	if (p == NULL)
		return;
	p += strlen(key);
	p += *p == '"';
	len = strcspn(p, "\",}");
	snprintf(value_r, size, "%.*s", (int)len, p);
}

static void take_gap(struct world *world, const char *body, struct sent *sent,
		     bool again)
{
	char reason[128], lost[32], sequences[64], *end;
	size_t len = strlen(world->reasons);

	member(body, "vnd.mailhook.reason", reason, sizeof(reason));
	member(body, "vnd.mailhook.lost", lost, sizeof(lost));
	member(body, "vnd.mailhook.sequences", sequences, sizeof(sequences));
	if (sequences[0] != '\0') {
		sent->from = strtoull(sequences, &end, 10);
		sent->to = *end == '-' ? strtoull(end + 1, NULL, 10) :
			sent->from;
	}
	if (again)
		return;
	snprintf(world->reasons + len, sizeof(world->reasons) - len, "%s;",
		 reason);
	world->told_lost += strtoull(lost, NULL, 10);
}

void know(struct world *world, const struct sent *sent)
{
	uint64_t n;

	if (strcmp(world->stream, sent->stream) != 0) {
		/* Counts from 1 again. */
		memcpy(world->stream, sent->stream, MSE_UUID_SIZE);
		memset(world->ids, 0, sizeof(world->ids));
		memset(world->accepted, 0, sizeof(world->accepted));
		world->floor = 0;
		world->streams++;
	}
	if (sent->id[0] == '\0')
		return;
	memcpy(world->ids[sent->sequence], sent->id, MSE_UUID_SIZE);
	world->accepted[sent->sequence] = true;
	for (n = sent->from; n > 0 && n <= sent->to && n < NUMBERS; n++)
		world->accepted[n] = true;
}

static void accept(struct world *world, const char *body, const char *id,
		   uint64_t sequence)
{
	struct sent *sent = &world->sent[world->sent_count];
	char type[64];

	if (world->sent_count == SENT_MAX)
		fail_round(world, "too much was sent");
	memset(sent, 0, sizeof(*sent));
	member(body, "type", type, sizeof(type));
	member(body, "partitionkey", sent->owner, sizeof(sent->owner));
	snprintf(sent->type, sizeof(sent->type), "%.31s",
		 strrchr(type, '.') == NULL ? type : strrchr(type, '.') + 1);
	memcpy(sent->stream, world->stream, MSE_UUID_SIZE);
	sent->sequence = sequence;
	if (strcmp(sent->type, "Gap") == 0)
		take_gap(world, body, sent, times_sent(world, id) > 0);
	snprintf(sent->id, sizeof(sent->id), "%s", id);
	know(world, sent);
	world->sent_count++;
	if (world->accepted_one != NULL)
		world->accepted_one(world);
}

/* What a receiver sees; returns the status. */
static int receive(struct world *world, const struct mse_request *request)
{
	char *body = strndup(request->body, request->body_len);
	char sequence_text[32], owner[32], stream[MSE_UUID_SIZE];
	const char *id = header(request, "webhook-id");
	const char *floor_text = header(request, "mailhook-floor");
	uint64_t sequence, floor, n;
	struct sent other;
	int status = 200;

	if (id == NULL || floor_text == NULL ||
	    header(request, "webhook-signature") == NULL)
		fail_round(world, "a header is missing");
	member(body, "sequence", sequence_text, sizeof(sequence_text));
	member(body, "partitionkey", owner, sizeof(owner));
	member(body, "stream", stream, sizeof(stream));
	memset(&other, 0, sizeof(other));
	memcpy(other.stream, stream, sizeof(stream));
	know(world, &other);
	sequence = strtoull(sequence_text, NULL, 10);
	floor = strtoull(floor_text, NULL, 10);
	if (sequence == 0 || sequence >= NUMBERS || floor >= sequence)
		fail_round(world, "sequence %" PRIu64 " floor %" PRIu64,
			   sequence, floor);
	if (world->ids[sequence][0] == '\0')
		memcpy(world->ids[sequence], id, MSE_UUID_SIZE);
	if (strcmp(world->ids[sequence], id) != 0)
		fail_round(world, "number %" PRIu64 " was %s, now %s",
			   sequence, world->ids[sequence], id);
	for (n = world->floor + 1; n <= floor; n++) {
		if (!world->accepted[n])
			fail_round(world, "floor %" PRIu64 " covers %" PRIu64,
				   floor, n);
	}
	if (floor > world->floor)
		world->floor = floor;
	if (strcmp(owner, "u1") == 0 && world->refusals > 0) {
		world->refusals--;
		status = 500;
	} else {
		accept(world, body, id, sequence);
	}
	free(body);
	return status;
}

static int post(struct mse_transport *transport, struct mse_request *request)
{
	struct world *world = (struct world *)transport;

	if (world->out_count == 64)
		return -1;
	world->cancelled[world->out_count] = false;
	world->out[world->out_count++] = request;
	return 0;
}

static void cancel(struct mse_transport *transport,
		   struct mse_request *request)
{
	struct world *world = (struct world *)transport;
	unsigned int i;

	for (i = 0; i < world->out_count; i++)
		world->cancelled[i] = world->cancelled[i] ||
			world->out[i] == request;
}

static bool answer_all(struct world *world)
{
	struct mse_request *request;
	struct mse_answer answer;
	bool any = false;

	while (world->out_count > 0) {
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
		if (world->aside != NULL)
			world->aside(true);
		if (answer.outcome == MSE_OUTCOME_ANSWERED)
			answer.status = receive(world, request);
		if (world->aside != NULL)
			world->aside(false);
		request->done(request, &answer);
		any = true;
	}
	return any;
}

/* The daemon */

static void log_text(enum mse_log_level level, const char *text,
		     void *context)
{
	if (getenv("SHOW_LOG") != NULL)
		fprintf(stderr, "%d %s\n", (int)level, text);
}

void take_down(struct world *world)
{
	mse_deliver_free(&world->deliver);
	mse_derive_free(&world->derive);
	mse_ledger_worker_free(&world->ledger);
	mse_appender_free(&world->appender);
	mse_journal_close(&world->journal);
	world->out_count = 0;
}

static int put_up(struct world *world, struct mse_error *error_r)
{
	struct mse_journal_limits limits = {
		.file_size = FILE_SIZE, .retention_ms = 60000,
		.journal_limit = (uint64_t)1 << 30
	};
	struct mse_deliver_parts deliver = {
		.transport = &world->transport,
		.clock = &world->clock.clock, .server_fqdn = "b1.example",
		.log = log_text
	};
	struct mse_derive_parts derive = {
		.clock = &world->clock.clock, .server_name = "mail.example",
		.server_fqdn = "b1.example"
	};
	struct mse_ledger *ledger = NULL;
	bool created;

	if (mse_ledger_open_sqlite(world->dir, 0, &created, &ledger,
				   error_r) < 0)
		return -1;
	if (mse_ledger_worker_new(&ledger, false, &world->ledger,
				  error_r) < 0) {
		mse_ledger_free(&ledger);
		return -1;
	}
	if (mse_journal_open(world->dir, &limits, &world->clock.clock,
			     &world->journal, error_r) < 0 ||
	    mse_journal_allow(world->journal, 1, error_r) < 0)
		return -1;
	if (mse_appender_new(world->dir, &world->appender) < 0)
		return mse_error_set(error_r, "memory is out");
	derive.journal = deliver.journal = world->journal;
	derive.ledger = deliver.ledger = world->ledger;
	derive.appender = world->appender;
	if (mse_derive_new(&derive, &world->derive, error_r) < 0)
		return -1;
	deliver.unclean_boot = mse_derive_is_unclean_boot(world->derive);
	if (mse_deliver_new(&deliver, &world->deliver, error_r) < 0 ||
	    mse_deliver_configure(world->deliver, &world->conf, error_r) < 0)
		return -1;
	return 0;
}

/* As an administrator, or Dovecot's master, would: again. */
void start(struct world *world)
{
	struct mse_error error;
	unsigned int tries;

	for (tries = 0; tries < 200; tries++) {
		error.text[0] = '\0';
		if (put_up(world, &error) == 0)
			return;
		if (error.text[0] == '\0')
			fail_round(world, "a start failed without a word");
		log_text(MSE_LOG_ERROR, error.text, NULL);
		take_down(world);
	}
	fail_round(world, "it does not start: %s", error.text);
}

void one_pass(struct world *world)
{
	struct mse_error error = { "" };

	if (mse_derive_run(world->derive, &error) == INT64_MAX - 1) {
		if (error.text[0] == '\0')
			fail_round(world, "derive failed without a word");
		log_text(MSE_LOG_WARNING, error.text, NULL);
	}
	(void)mse_ledger_worker_dispatch(world->ledger);
	do {
		(void)mse_deliver_run(world->deliver);
		(void)mse_ledger_worker_dispatch(world->ledger);
	} while (answer_all(world));
	(void)mse_ledger_worker_dispatch(world->ledger);
}

void pass(struct world *world, int64_t ms, int64_t step_ms)
{
	for (; ms > 0; ms -= step_ms) {
		one_pass(world);
		one_pass(world);
		mse_clock_fake_advance(&world->clock, step_ms);
	}
}

static int forget_file(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	return mse_ledger_forget_file(ledger, context, error_r);
}

static void released(const struct mse_journal_file *file, bool forced,
		     void *context)
{
	struct world *world = context;
	char uuid[MSE_UUID_SIZE];
	struct mse_error error;

	memcpy(uuid, file->uuid, sizeof(uuid));
	(void)mse_deliver_file_released(world->deliver, file, forced, &error);
	(void)mse_ledger_worker_call(world->ledger, forget_file, uuid, &error);
}

void upkeep(struct world *world)
{
	const char *one = mse_deliver_oldest_file(world->deliver);
	const char *two = mse_derive_file(world->derive);
	const struct mse_journal_file *files;
	struct mse_error error;
	unsigned int count, i;

	files = mse_journal_files(world->journal, &count);
	for (i = 0; i < count && strcmp(files[i].uuid, two) != 0; i++) {
		if (one != NULL && strcmp(files[i].uuid, one) == 0)
			two = one;
	}
	(void)mse_journal_release(world->journal, two, released, world,
				  &error);
	(void)mse_journal_allow(world->journal, 1, &error);
}

void stop(struct world *world)
{
	unsigned int i;

	mse_deliver_stop(world->deliver);
	for (i = 0; i < 100 && !(mse_deliver_is_idle(world->deliver) &&
				 mse_derive_is_idle(world->derive)); i++) {
		one_pass(world);
		mse_clock_fake_advance(&world->clock, 50);
	}
	take_down(world);
}

/* Mail processes */

static struct event *note(struct world *world, const struct mse_event *event,
			  enum mse_append_result result)
{
	struct event *noted = &world->events[world->event_count++];

	memcpy(noted->id, event->id, MSE_UUID_SIZE);
	snprintf(noted->owner, sizeof(noted->owner), "%s", event->owner);
	noted->result = result;
	world->lost += result == MSE_APPEND_LOST;
	if (world->appended != NULL)
		world->appended(world, noted);
	return noted;
}

static void tell(struct world *world, struct mse_appender *appender,
		 struct mse_event *event, bool expect_event)
{
	struct mse_imap_url url = { .server = "mail.example",
				    .user = event->owner,
				    .mailbox = event->mailbox };
	enum mse_append_result result;
	struct mse_buf uri, record;

	mse_buf_init(&uri, 1024);
	mse_buf_init(&record, 65536);
	mse_imap_url_append(&uri, &url);
	mse_event_set_string(event, MSE_PARAM_URI, mse_buf_str(&uri));
	mse_event_set_string(event, MSE_PARAM_USER, event->owner);
	mse_event_write(event, &record);
	record.failed = record.failed || mse_buf_failed(&uri);
	/* As the plugin does it. */
	result = mse_buf_failed(&record) ?
		mse_appender_count_lost(appender, 1) :
		mse_appender_append(appender, &record, 1,
				    world->durability);
	if (result != MSE_APPEND_DONE &&
	    mse_appender_last_error(appender)[0] == '\0')
		fail_round(world, "an append failed without a word");
	mse_buf_clear(&uri);
	mse_buf_clear(&record);
	if (expect_event)
		(void)note(world, event, result);
	else
		world->lost += result == MSE_APPEND_LOST;
}

void mail(struct world *world, struct mse_appender *appender,
		 const char *owner)
{
	struct mse_event event;

	mse_event_init(&event, MSE_EVENT_MESSAGE_NEW, world->clock.wall);
	event.user = event.owner = owner;
	event.mailbox = "INBOX";
	tell(world, appender, &event, true);
	mse_clock_fake_advance(&world->clock, 1);
}

void quota(struct world *world, struct mse_appender *appender,
		  enum mse_event_type type, uint64_t used)
{
	struct mse_event event;

	mse_event_init(&event, type, world->clock.wall);
	event.user = event.owner = "u2";
	mse_event_set_string(&event, MSE_PARAM_QUOTA_ROOT, "User quota");
	mse_event_set_number(&event, MSE_PARAM_DISK_QUOTA, 100);
	mse_event_set_number(&event, MSE_PARAM_DISK_USED, used);
	mse_event_set_string(&event, type == MSE_EVENT_FACT_QUOTA ?
			     MSE_PARAM_CAUSE : MSE_PARAM_QUOTA_RESOURCE,
			     type == MSE_EVENT_FACT_QUOTA ? "expunge" :
			     "STORAGE");
	tell(world, appender, &event, type != MSE_EVENT_FACT_QUOTA);
	mse_clock_fake_advance(&world->clock, 1);
}

/* A session whose process dies. */
void session(struct world *world)
{
	struct mse_appender *appender;
	char instance[MSE_UUID_SIZE];
	struct mse_event event;
	unsigned int slot;

	if (mse_appender_new(world->dir, &appender) < 0)
		return;
	mse_event_init(&event, MSE_EVENT_LOGIN, world->clock.wall);
	event.user = event.owner = "u3";
	mse_event_set_string(&event, MSE_PARAM_SESSION, "s/1");
	if (mse_appender_presence(appender, &slot, instance) == 0) {
		event.slot = slot;
		event.instance = instance;
	}
	tell(world, appender, &event, true);
	world->sessions += event.instance != NULL &&
		world->events[world->event_count - 1].result ==
		MSE_APPEND_DONE;
	mse_appender_free(&appender);
}

void killed(struct world *world)
{
	struct mse_intent intent = {
		.user = "u4", .owner = "u4", .mailbox = "INBOX", .uidnext = 7
	};
	struct mse_appender *appender;

	if (mse_appender_new(world->dir, &appender) < 0)
		return;
	mse_appender_done(appender, mse_appender_intend(appender, &intent));
	world->intended += mse_appender_intend(appender, &intent) != 0;
	intent.owner = "u5";
	world->intended += mse_appender_intend(appender, &intent) != 0;
	mse_appender_free(&appender);
}

struct mse_appender *process(struct world *world)
{
	struct mse_appender *appender;
	unsigned int tries;

	for (tries = 0; tries < 200; tries++) {
		if (mse_appender_new(world->dir, &appender) == 0)
			return appender;
	}
	fail_round(world, "no appender");
	return NULL;
}

unsigned int times_sent(const struct world *world, const char *id)
{
	unsigned int i, count = 0;

	for (i = 0; i < world->sent_count; i++)
		count += strcmp(world->sent[i].id, id) == 0;
	return count;
}

unsigned int types_sent(const struct world *world, const char *type)
{
	unsigned int i, j, count = 0;

	for (i = 0; i < world->sent_count; i++) {
		if (strcmp(world->sent[i].type, type) != 0)
			continue;
		for (j = 0; j < i && strcmp(world->sent[i].id,
					    world->sent[j].id) != 0; j++)
			;
		count += j == i;
	}
	return count;
}

static int first_sent(const struct world *world, const char *id)
{
	unsigned int i;

	for (i = 0; i < world->sent_count; i++) {
		if (strcmp(world->sent[i].id, id) == 0)
			return (int)i;
	}
	return -1;
}

void check_order(struct world *world)
{
	unsigned int i, j;

	for (i = 0; i < world->event_count; i++) {
		for (j = i + 1; j < world->event_count; j++) {
			int a = first_sent(world, world->events[i].id);
			int b = first_sent(world, world->events[j].id);

			if (strcmp(world->events[i].owner,
				   world->events[j].owner) == 0 &&
			    a >= 0 && b >= 0 && b < a)
				fail_round(world, "%s: %u before %u",
					   world->events[i].owner, j, i);
		}
	}
}

void empty_dir(const char *path)
{
	const struct dirent *entry;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

void init_world(struct world *world, const char *dir)
{
	struct mse_conf_endpoint *endpoint = &world->endpoint;

	snprintf(world->dir, sizeof(world->dir), "%s", dir);
	world->transport.post = post;
	world->transport.cancel = cancel;
	world->refusals = 3;
	world->durability = MSE_DURABILITY_POWER;
	mse_clock_fake_init(&world->clock, INT64_C(1790000000000));
	world->secret.key_len = 32;
	world->conf.server_name = (char *)"mail.example";
	world->conf.journal_limit = (uint64_t)1 << 30;
	world->conf.endpoints = endpoint;
	world->conf.endpoint_count = 1;
	endpoint->name = (char *)"portal";
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
	endpoint->retry_first_ms = 2000;
	endpoint->retry_max_ms = 8000;
	endpoint->give_up_ms = 3 * DAY;
}

void release_world(struct world *world)
{
	mse_patterns_free(&world->endpoint.subscription.users);
	mse_patterns_free(&world->endpoint.subscription.mailboxes);
}
