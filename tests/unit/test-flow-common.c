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
#include "test-request-common.h"

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

static void take_gap(struct receiver *receiver, const char *text,
		     struct sent *sent, bool again)
{
	char reason[128], lost[32], sequences[64], *end;
	size_t len = strlen(receiver->reasons);

	member(text, "vnd.mailhook.reason", reason, sizeof(reason));
	member(text, "vnd.mailhook.lost", lost, sizeof(lost));
	member(text, "vnd.mailhook.sequences", sequences, sizeof(sequences));
	if (sequences[0] != '\0') {
		sent->from = strtoull(sequences, &end, 10);
		sent->to = *end == '-' ? strtoull(end + 1, NULL, 10) :
			sent->from;
	}
	if (again)
		return;
	snprintf(receiver->reasons + len, sizeof(receiver->reasons) - len,
		 "%s;", reason);
	receiver->told_lost += strtoull(lost, NULL, 10);
}

static void know_stream(struct receiver *receiver, const char *stream)
{
	size_t count = receiver->highest + 1;

	if (strcmp(receiver->stream, stream) == 0)
		return;
	/* Counts from 1 again. */
	memcpy(receiver->stream, stream, MSE_UUID_SIZE);
	memset(receiver->ids, 0, count * sizeof(receiver->ids[0]));
	memset(receiver->accepted, 0, count * sizeof(receiver->accepted[0]));
	receiver->floor = receiver->highest = 0;
	receiver->streams++;
}

static void know_number(struct receiver *receiver, uint64_t number)
{
	receiver->accepted[number] = true;
	if (number > receiver->highest)
		receiver->highest = number;
}

void know(struct receiver *receiver, const struct sent *sent)
{
	uint64_t n;

	know_stream(receiver, sent->stream);
	memcpy(receiver->ids[sent->sequence], sent->id, MSE_UUID_SIZE);
	know_number(receiver, sent->sequence);
	for (n = sent->from; n > 0 && n <= sent->to && n < NUMBERS; n++)
		know_number(receiver, n);
}

/* One event of a request. */
struct part {
	char *text;
	char id[MSE_UUID_SIZE], stream[MSE_UUID_SIZE], owner[16];
	uint64_t sequence;
};

static void read_part(struct world *world, const char *text, size_t len,
		      struct part *part)
{
	char sequence[32];

	part->text = strndup(text, len);
	member(part->text, "id", part->id, sizeof(part->id));
	member(part->text, "stream", part->stream, sizeof(part->stream));
	member(part->text, "partitionkey", part->owner, sizeof(part->owner));
	member(part->text, "sequence", sequence, sizeof(sequence));
	part->sequence = strtoull(sequence, NULL, 10);
	if (part->sequence == 0 || part->sequence >= NUMBERS)
		fail_round(world, "sequence %" PRIu64, part->sequence);
}

static unsigned int read_parts(struct world *world,
			       const struct mse_request *request,
			       struct part *parts)
{
	const char *event = NULL, *id = header(request, "webhook-id");
	unsigned int count = 0;
	size_t len;

	while (next_event(request, &event, &len)) {
		if (count == BATCH_EVENTS)
			fail_round(world, "too many events in a request");
		read_part(world, event, len, &parts[count++]);
	}
	if (count == 0 || id == NULL ||
	    (count == 1 && strcmp(id, parts[0].id) != 0))
		fail_round(world, "%u events in request %s", count, id);
	return count;
}

static void free_parts(struct part *parts, unsigned int count)
{
	while (count > 0)
		free(parts[--count].text);
}

static struct receiver *receiver_of(struct world *world,
				    const struct mse_request *request)
{
	return &world->receivers[strcmp(request->endpoint, world->receivers
					[PORTAL].name) == 0 ? PORTAL : FEED];
}

static void accept(struct world *world, struct receiver *receiver,
		   const struct part *part)
{
	struct sent *sent = &receiver->sent[receiver->sent_count];
	char type[64];

	if (receiver->sent_count == SENT_MAX)
		fail_round(world, "too much was sent");
	memset(sent, 0, sizeof(*sent));
	member(part->text, "type", type, sizeof(type));
	snprintf(sent->type, sizeof(sent->type), "%.31s",
		 strrchr(type, '.') == NULL ? type : strrchr(type, '.') + 1);
	memcpy(sent->owner, part->owner, sizeof(sent->owner));
	memcpy(sent->stream, part->stream, MSE_UUID_SIZE);
	sent->sequence = part->sequence;
	if (strcmp(sent->type, "Gap") == 0)
		take_gap(receiver, part->text, sent,
			 times_sent(receiver, part->id) > 0);
	memcpy(sent->id, part->id, MSE_UUID_SIZE);
	know(receiver, sent);
	receiver->sent_count++;
	if (world->accepted_one != NULL)
		world->accepted_one(receiver);
}

static void check_floor(struct world *world, struct receiver *receiver,
			const struct mse_request *request, uint64_t lowest)
{
	const char *text = header(request, "mailhook-floor");
	uint64_t floor, n;

	if (text == NULL || header(request, "webhook-signature") == NULL)
		fail_round(world, "%s: a header is missing", receiver->name);
	floor = strtoull(text, NULL, 10);
	if (floor >= lowest)
		fail_round(world, "%s: sequence %" PRIu64 " floor %" PRIu64,
			   receiver->name, lowest, floor);
	for (n = receiver->floor + 1; n <= floor; n++) {
		if (!receiver->accepted[n])
			fail_round(world, "%s: floor %" PRIu64 " covers %"
				   PRIu64, receiver->name, floor, n);
	}
	if (floor > receiver->floor)
		receiver->floor = floor;
}

static void check_id(struct world *world, struct receiver *receiver,
		     const struct part *part)
{
	char *id = receiver->ids[part->sequence];

	if (id[0] == '\0')
		memcpy(id, part->id, MSE_UUID_SIZE);
	if (part->sequence > receiver->highest)
		receiver->highest = part->sequence;
	if (strcmp(id, part->id) != 0)
		fail_round(world, "%s: number %" PRIu64 " was %s, now %s",
			   receiver->name, part->sequence, id, part->id);
}

static int status_for(struct world *world, const struct receiver *receiver,
		      const struct part *part)
{
	struct poison *poisons = world->poisons;
	unsigned int i;

	if (receiver == &world->receivers[PORTAL]) {
		if (strcmp(part->owner, "u1") != 0 || world->refusals == 0)
			return 200;
		world->refusals--;
		return 500;
	}
	for (i = 0; i < world->poison_count; i++) {
		if (strcmp(poisons[i].id, part->id) != 0 ||
		    poisons[i].times == 0)
			continue;
		poisons[i].times--;
		return poisons[i].status;
	}
	return 200;
}

/* What a receiver sees; returns the status. */
static int receive(struct world *world, const struct mse_request *request)
{
	struct receiver *receiver = receiver_of(world, request);
	struct part parts[BATCH_EVENTS];
	unsigned int count = read_parts(world, request, parts), i;
	int status = 200;

	know_stream(receiver, parts[0].stream);
	check_floor(world, receiver, request, parts[0].sequence);
	for (i = 0; i < count; i++)
		check_id(world, receiver, &parts[i]);
	for (i = 0; i < count && status == 200; i++)
		status = status_for(world, receiver, &parts[i]);
	for (i = 0; i < count && status == 200; i++)
		accept(world, receiver, &parts[i]);
	free_parts(parts, count);
	return status;
}

static bool carries(const struct carried *carried, uint64_t number)
{
	unsigned int i;

	for (i = 0; i < carried->count && carried->numbers[i] != number; i++)
		;
	return i < carried->count;
}

/* The same events, in other words: of one event the id is its own, and it may
   have gone under another number before the power went. */
static bool is_same(const struct carried *one, const struct carried *other)
{
	return one->count == other->count &&
		(one->count == 1 || memcmp(one->numbers, other->numbers,
					   sizeof(one->numbers)) == 0);
}

/* The same id, the same events; and what nobody heard of comes again in the
   request it was in last. */
static void check_carried(struct world *world,
			  const struct receiver *receiver,
			  const struct carried *carried)
{
	bool found[BATCH_EVENTS] = { false };
	const struct carried *other;
	unsigned int i, k;

	for (i = receiver->carried_count; i-- > 0; ) {
		other = &receiver->carried[i];
		if (strcmp(other->stream, carried->stream) != 0)
			continue;
		if (strcmp(other->id, carried->id) == 0 &&
		    !is_same(other, carried))
			fail_round(world, "%s: request %s has others now",
				   receiver->name, carried->id);
		for (k = 0; k < carried->count; k++) {
			if (found[k] || !carries(other, carried->numbers[k]))
				continue;
			found[k] = true;
			if (!other->answered &&
			    strcmp(other->id, carried->id) != 0)
				fail_round(world, "%s: %" PRIu64 " was out in "
					   "%s of %u, is in %s of %u",
					   receiver->name,
					   carried->numbers[k], other->id,
					   other->count, carried->id,
					   carried->count);
		}
	}
}

static struct carried *note_request(struct world *world,
				    const struct mse_request *request)
{
	struct receiver *receiver = receiver_of(world, request);
	struct part parts[BATCH_EVENTS];
	unsigned int count = read_parts(world, request, parts), i;
	struct carried *carried =
		&receiver->carried[receiver->carried_count];

	if (receiver->carried_count == REQUESTS_MAX)
		fail_round(world, "too many requests");
	memset(carried, 0, sizeof(*carried));
	snprintf(carried->id, sizeof(carried->id), "%s",
		 header(request, "webhook-id"));
	memcpy(carried->stream, parts[0].stream, MSE_UUID_SIZE);
	carried->count = count;
	for (i = 0; i < count; i++) {
		carried->numbers[i] = parts[i].sequence;
		if (i > 0 && parts[i].sequence <= parts[i - 1].sequence)
			fail_round(world, "%s: %" PRIu64 " after %" PRIu64,
				   receiver->name, parts[i].sequence,
				   parts[i - 1].sequence);
	}
	free_parts(parts, count);
	check_carried(world, receiver, carried);
	receiver->carried_count++;
	if (world->posted != NULL)
		world->posted(receiver, carried);
	return carried;
}

static void aside(struct world *world, bool begin)
{
	if (world->aside != NULL)
		world->aside(begin);
}

static int post(struct mse_transport *transport, struct mse_request *request)
{
	struct world *world = (struct world *)transport;

	if (world->out_count == 64)
		return -1;
	aside(world, true);
	world->cancelled[world->out_count] = false;
	world->out_as[world->out_count] = note_request(world, request);
	world->out[world->out_count++] = request;
	aside(world, false);
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

static bool is_unheard(struct world *world, unsigned int out)
{
	return world->silent && receiver_of(world, world->out[out]) ==
		&world->receivers[FEED];
}

static void take_out(struct world *world, unsigned int out)
{
	size_t left = --world->out_count - out;

	memmove(world->out + out, world->out + out + 1,
		left * sizeof(world->out[0]));
	memmove(world->out_as + out, world->out_as + out + 1,
		left * sizeof(world->out_as[0]));
	memmove(world->cancelled + out, world->cancelled + out + 1,
		left * sizeof(world->cancelled[0]));
}

static void answer(struct world *world, unsigned int out)
{
	struct mse_request *request = world->out[out];
	struct carried *carried = world->out_as[out];
	struct mse_answer answer;

	memset(&answer, 0, sizeof(answer));
	answer.retry_after_s = -1;
	answer.body = "";
	answer.outcome = world->cancelled[out] ? MSE_OUTCOME_CANCELLED :
		MSE_OUTCOME_ANSWERED;
	aside(world, true);
	if (answer.outcome == MSE_OUTCOME_ANSWERED || is_unheard(world, out))
		answer.status = receive(world, request);
	if (answer.outcome == MSE_OUTCOME_ANSWERED) {
		carried->answered = true;
		if (world->posted != NULL)
			world->posted(receiver_of(world, request), carried);
	} else {
		answer.status = 0;
	}
	aside(world, false);
	take_out(world, out);
	request->done(request, &answer);
}

static bool answer_all(struct world *world)
{
	unsigned int i = 0;
	bool any = false;

	while (i < world->out_count) {
		if (is_unheard(world, i) && !world->cancelled[i]) {
			i++;
			continue;
		}
		answer(world, i);
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
	unsigned int i;

	aside(world, true);
	for (i = 0; i < world->out_count; i++) {
		if (is_unheard(world, i))
			(void)receive(world, world->out[i]);
	}
	aside(world, false);
	world->out_count = 0;
	mse_deliver_free(&world->deliver);
	mse_derive_free(&world->derive);
	mse_ledger_worker_free(&world->ledger);
	mse_appender_free(&world->appender);
	mse_journal_close(&world->journal);
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
		if (i == 10)
			mse_deliver_cancel(world->deliver);
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

	/* A transaction begins: a rotation is noticed, however little time went
	   by for the process since it looked last. */
	(void)mse_appender_interest(appender);
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

void poison(struct world *world, int status, unsigned int times)
{
	struct poison *poison = &world->poisons[world->poison_count++];

	memcpy(poison->id, world->events[world->event_count - 1].id,
	       MSE_UUID_SIZE);
	poison->status = status;
	poison->times = times;
}

/* What they have */

unsigned int times_sent(const struct receiver *receiver, const char *id)
{
	unsigned int i, count = 0;

	for (i = 0; i < receiver->sent_count; i++)
		count += strcmp(receiver->sent[i].id, id) == 0;
	return count;
}

static int first_sent(const struct receiver *receiver, const char *id)
{
	unsigned int i;

	for (i = 0; i < receiver->sent_count; i++) {
		if (strcmp(receiver->sent[i].id, id) == 0)
			return (int)i;
	}
	return -1;
}

unsigned int types_sent(const struct receiver *receiver, const char *type)
{
	unsigned int i, count = 0;

	for (i = 0; i < receiver->sent_count; i++)
		count += strcmp(receiver->sent[i].type, type) == 0 &&
			first_sent(receiver, receiver->sent[i].id) == (int)i;
	return count;
}

void check_order(struct world *world, const struct receiver *receiver)
{
	unsigned int i, j;

	for (i = 0; i < world->event_count; i++) {
		for (j = i + 1; j < world->event_count; j++) {
			int a = first_sent(receiver, world->events[i].id);
			int b = first_sent(receiver, world->events[j].id);

			if (strcmp(world->events[i].owner,
				   world->events[j].owner) == 0 &&
			    a >= 0 && b >= 0 && b < a)
				fail_round(world, "%s: %s: %u before %u",
					   receiver->name,
					   world->events[i].owner, j, i);
		}
	}
}

void check_numbers(struct world *world, const struct receiver *receiver)
{
	uint64_t n;

	for (n = 1; n <= receiver->highest; n++) {
		if (!receiver->accepted[n])
			fail_round(world, "%s: nothing was heard of number %"
				   PRIu64 " of %" PRIu64, receiver->name, n,
				   receiver->highest);
	}
}

static const struct carried *find_again(const struct receiver *receiver,
					const struct carried *first)
{
	const struct carried *other = first + 1,
		*end = receiver->carried + receiver->carried_count;

	for (; other < end; other++) {
		if (strcmp(other->id, first->id) == 0)
			return other;
	}
	return NULL;
}

static bool is_halved(const struct receiver *receiver,
		      const struct carried *batch)
{
	const struct carried *other = batch + 1,
		*end = receiver->carried + receiver->carried_count;

	for (; other < end; other++) {
		if (other->count < batch->count &&
		    carries(other, batch->numbers[0]))
			return true;
	}
	return false;
}

void check_story(struct world *world)
{
	const struct receiver *feed = &world->receivers[FEED];
	unsigned int i, fresh = 0, rows = 0, halved = 0, halved_rows = 0;
	const struct carried *carried, *again;

	for (i = 0; i < feed->carried_count; i++) {
		carried = &feed->carried[i];
		if (carried->count == 1)
			continue;
		again = find_again(feed, carried);
		if (again == NULL)
			halved += is_halved(feed, carried);
		else if (!carried->answered)
			fresh++;
		else if (!again->answered)
			rows += find_again(feed, again) != NULL;
		else
			halved_rows += is_halved(feed, again);
	}
	if (fresh == 0 || rows == 0 || halved == 0 || halved_rows == 0)
		fail_round(world, "the story is not what it should be: %u and "
			   "%u batches come again, %u and %u are halved",
			   fresh, rows, halved, halved_rows);
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

static void init_endpoint(struct world *world,
			  struct mse_conf_endpoint *endpoint, const char *name)
{
	endpoint->name = (char *)name;
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

void init_world(struct world *world, const char *dir)
{
	static const char *const names[ENDPOINTS] = { "portal", "feed" };
	struct mse_conf_endpoint *feed = &world->endpoints[FEED];
	unsigned int i;

	snprintf(world->dir, sizeof(world->dir), "%s", dir);
	world->transport.post = post;
	world->transport.cancel = cancel;
	world->refusals = 3;
	world->durability = MSE_DURABILITY_POWER;
	mse_clock_fake_init(&world->clock, INT64_C(1790000000000));
	world->secret.key_len = 32;
	world->conf.server_name = (char *)"mail.example";
	world->conf.journal_limit = (uint64_t)1 << 30;
	world->conf.endpoints = world->endpoints;
	world->conf.endpoint_count = ENDPOINTS;
	for (i = 0; i < ENDPOINTS; i++) {
		world->receivers[i].name = names[i];
		init_endpoint(world, &world->endpoints[i], names[i]);
	}
	feed->format = MSE_FORMAT_CLOUDEVENTS_BATCH;
	feed->batch_events = BATCH_EVENTS;
	feed->batch_bytes = 1024 * 1024;
	feed->linger_ms = 200;
}

void release_world(struct world *world)
{
	unsigned int i;

	for (i = 0; i < ENDPOINTS; i++) {
		mse_patterns_free(&world->endpoints[i].subscription.users);
		mse_patterns_free(
			&world->endpoints[i].subscription.mailboxes);
	}
}
