/* Delivery in batches; see test-deliver-common.h for how. */
#include "test-deliver-common.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/batch.h"
#include "ledger/worker.h"

/* This thread's next calloc() of one object of this size has no memory. */
static __thread size_t failing_size;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	if (failing_size == 0 || count != 1 || size != failing_size)
		return __real_calloc(count, size);
	failing_size = 0;
	return NULL;
}

/* All numbers up to count were accepted or announced. */
static void check_all(struct world *world, unsigned int count)
{
	unsigned int i;

	for (i = 1; i <= count && world->accepted[i]; i++)
		;
	if (i > count && !world->accepted[i] &&
	    look(world)->floor == count)
		return;
	tell(world);
	if (i <= count)
		fail_msg("%u did not come", i);
	if (world->accepted[i])
		fail_msg("%u came, of %u", i, count);
	fail_msg("the floor is %" PRIu64 ", not %u", look(world)->floor,
		 count);
}

/* As a receiver that remembers ids: each owner's events in order. */
static void check_first_order(const struct world *world)
{
	static bool seen[NUMBERS];
	unsigned long long last[64] = { 0 };
	const struct sent *sent;
	unsigned int i, owner;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < world->log_count; i++) {
		sent = &world->log[i];
		if (sent->gap || seen[sent->sequence])
			continue;
		seen[sent->sequence] = true;
		owner = (unsigned int)atoi(sent->owner + 1);
		assert_true(owner < 64);
		if (sent->sequence < last[owner])
			fail_msg("u%u: %llu after %llu", owner,
				 sent->sequence, last[owner]);
		last[owner] = sent->sequence;
	}
}

static void test_many(void **state)
{
	struct world *world = *state;

	append_many(world, 500, 20);
	pass(world, 1000);
	check_order(world, 500);
	check_all(world, 500);
	assert_int_equal(world->largest, 10);
	assert_int_equal(world->requests, 50);
	assert_string_equal(look(world)->state, "ok");
	assert_int_equal(look(world)->answered, 500);
	assert_true(mse_deliver_is_idle(world->deliver));
	/* Nothing again after a restart. */
	crash(world, false);
	start(world);
	append(world, "u1", NULL);
	pass(world, 1000);
	assert_int_equal(world->attempts, 501);
	assert_int_equal(world->log[500].sequence, 501);
}

static void test_one_owner(void **state)
{
	struct world *world = *state;

	append_many(world, 95, 1);
	pass(world, 1000);
	check_order(world, 95);
	assert_int_equal(world->requests, 10);
}

static void test_linger(void **state)
{
	struct world *world = *state;

	append(world, "u1", NULL);
	pass(world, 199);
	assert_int_equal(world->requests, 0);
	append(world, "u2", NULL);
	pass(world, 1);
	assert_int_equal(world->requests, 1);
	check_all(world, 2);
	/* A whole batch waits for nothing. */
	append_many(world, 10, 10);
	settle(world);
	assert_int_equal(world->requests, 2);
	check_all(world, 12);
}

static void test_busy_lanes_grow(void **state)
{
	struct world *world = *state;

	world->endpoints[0].concurrency = 1;
	world->hold = true;
	append(world, "u1", NULL);
	pass(world, 300);
	assert_int_equal(world->out_count, 1);
	append_many(world, 5, 5);
	pass(world, 1000);
	append_many(world, 5, 5);
	pass(world, 1000);
	/* It waits for a place, and grows meanwhile; u1's are held. */
	world->hold = false;
	pass(world, 1000);
	check_all(world, 11);
	check_order(world, 11);
	assert_true(world->requests <= 3);
}

static void test_bytes(void **state)
{
	struct world *world = *state;

	world->endpoints[0].batch_bytes = 2500;
	append_many(world, 40, 10);
	pass(world, 1000);
	check_order(world, 40);
	assert_true(world->largest > 2 && world->largest < 10);
	assert_true(world->largest_body <= 2500);
	/* One that is larger than a batch may be goes alone. */
	world->endpoints[0].batch_bytes = 10;
	world->largest = 0;
	append_many(world, 10, 5);
	pass(world, 1000);
	check_order(world, 50);
	assert_int_equal(world->largest, 1);
}

static void frozen(struct world *world, bool received)
{
	unsigned int made;

	world->hold = true;
	append_many(world, 95, 30);
	pass(world, 300);
	assert_true(world->out_count > 3);
	made = world->composition_count;
	crash(world, received);
	world->hold = false;
	/* The model compares what was out. */
	start(world);
	append_many(world, 5, 5);
	pass(world, 1000);
	check_all(world, 100);
	check_first_order(world);
	assert_true(world->composition_count > made);
	assert_int_equal(look(world)->parked, 0);
}

static int count_line(const struct mse_ledger_batch *batch, void *context)
{
	(void)batch;
	++*(unsigned int *)context;
	return 0;
}

static int count_lines(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	*(unsigned int *)context = 0;
	return mse_ledger_each_batch(ledger, "portal", count_line, context,
				     error_r);
}

/* How many batches the ledger knows of. */
static unsigned int lines(struct world *world)
{
	unsigned int count;

	assert_int_equal(mse_ledger_worker_call(world->worker, count_lines,
						&count, NULL), 0);
	return count;
}

/* Answered, but no cursor has passed it yet: it comes again as it was. */
static void test_answered_not_passed(void **state)
{
	struct world *world = *state;

	append_many(world, 95, 30);
	settle(world);
	assert_int_equal(world->requests, 9);
	assert_int_equal(lines(world), 9);
	crash(world, false);
	start(world);
	pass(world, 1000);
	/* The last five go as what they were made into now. */
	assert_int_equal(world->composition_count, 10);
	check_all(world, 95);
	check_first_order(world);
	/* What the cursor has passed has no line any more, nor does it come
	   again. */
	assert_int_equal(lines(world), 0);
	assert_int_equal(world->requests, 19);
	crash(world, false);
	start(world);
	pass(world, 1000);
	assert_int_equal(world->requests, 19);
}

static void test_frozen(void **state)
{
	frozen(*state, false);
}

static void test_frozen_received(void **state)
{
	frozen(*state, true);
}

/* A last event alone is not put together with others later. */
static void test_frozen_alone(void **state)
{
	struct world *world = *state;

	world->hold = true;
	append(world, "u1", NULL);
	pass(world, 300);
	assert_int_equal(world->out_count, 1);
	crash(world, true);
	append_many(world, 8, 8);
	world->hold = false;
	start(world);
	pass(world, 1000);
	check_all(world, 9);
	assert_int_equal(world->log[0].of, 1);
	assert_int_equal(world->log[1].of, 1);
	assert_string_equal(world->log[0].id, world->log[1].id);
}

/* The last of u1 that was sent is refused for what it is. */
static int refuse_third(struct world *world, const struct sent *sent,
			int64_t *retry_after_s)
{
	return sent->sequence == 3 ? 422 : 200;
}

/* An event that had been answered, and no cursor had passed, comes behind one
   of its owner that is a row: neither is lost for that. */
static void test_answered_before_row(void **state)
{
	struct world *world = *state;

	world->endpoints[0].batch_events = 2;
	world->answer = refuse_third;
	append(world, "u1", NULL);
	append(world, "u2", NULL);
	settle(world);
	append(world, "u1", NULL);
	append(world, "u3", NULL);
	settle(world);
	/* Of the second batch one half is left. */
	assert_int_equal(look(world)->parked, 1);
	assert_int_equal(world->log_count, 3);
	crash(world, false);
	world->answer = NULL;
	start(world);
	pass(world, 60000);
	check_all(world, 4);
	assert_int_equal(look(world)->parked, 0);
	/* The first batch and u3's event again, as they were. */
	assert_int_equal(world->log_count, 7);
	assert_int_equal(world->composition_count, 4);
}

static void subscribe_to_u(struct world *world)
{
	static const char *const patterns[] = { "u*" };
	struct mse_patterns **users = &world->endpoints[0].subscription.users;

	mse_patterns_free(users);
	*users = mse_patterns_new(patterns, 1, 0);
	assert_non_null(*users);
}

static int refuse_fifth(struct world *world, const struct sent *sent,
			int64_t *retry_after_s)
{
	return sent->sequence == 5 ? 500 : 200;
}

/* Rows put in front of a waiting batch's: it lets go of that lane, or neither
   of them would ever have all it needs. */
static void test_overtaken(void **state)
{
	struct world *world = *state;
	unsigned int i;

	world->endpoints[0].batch_events = 2;
	subscribe_to_u(world);
	world->answer = refuse_fifth;
	append(world, "u1", NULL);
	append(world, "u2", NULL);
	settle(world);
	/* What a run reads ends here. */
	for (i = 0; i < 500; i++)
		append(world, "nobody", NULL);
	append(world, "u1", NULL);
	append(world, "u3", NULL);
	settle(world);
	append(world, "u3", NULL);
	append(world, "u1", NULL);
	settle(world);
	assert_int_equal(world->requests, 3);
	assert_int_equal(look(world)->parked, 2);
	crash(world, false);
	/* 1 and 2 become rows in front of 6; 3 and 4 are not read. */
	world->hold = true;
	start(world);
	(void)mse_deliver_run(world->deliver);
	crash(world, false);
	world->answer = NULL;
	start(world);
	assert_int_equal(look(world)->parked, 4);
	/* 1 and 2 are out, the batch of 5 and 6 has one lane of two; now 3 and
	   4 become rows in front of it. */
	settle(world);
	assert_int_equal(world->out_count, 1);
	assert_int_equal(look(world)->parked, 6);
	world->hold = false;
	pass(world, 60000);
	check_all(world, 6);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(world->composition_count, 3);
}

/* The daemon ends while what follows from one commit is another. */
static void test_end_in_between(void **state)
{
	struct world *world = *state;

	world->status = 500;
	append_many(world, 9, 9);
	append_many(world, 1, 1);
	pass(world, 1000);
	append_many(world, 1, 1);
	pass(world, 1000);
	assert_int_equal(look(world)->parked, 11);
	world->status = 200;
	world->hold = true;
	pass(world, 10000);
	assert_int_equal(world->out_count, 1);
	world->hold = false;
	assert_true(answer_all(world));
	crash(world, false);
	start(world);
	pass(world, 60000);
	check_all(world, 11);
}

/* While u1 is asked for. */
static int refuse_u1(struct world *world, const struct sent *sent,
		     int64_t *retry_after_s)
{
	return strcmp(sent->owner, "u1") == 0 && !sent->gap ? world->status :
		200;
}

/* Its events are rows then, and it is still the same. */
static void test_frozen_rows(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];

	world->answer = refuse_u1;
	world->status = 500;
	append_many(world, 10, 10);
	pass(world, 10);
	append_many(world, 20, 40);
	pass(world, 1000);
	/* What its owners did meanwhile is behind it. */
	assert_int_equal(world->requests, 2);
	assert_int_equal(look(world)->parked, 20);
	assert_int_equal(look(world)->floor, 0);
	memcpy(id, world->compositions[0].request, sizeof(id));
	crash(world, false);
	world->status = 200;
	world->requests = 0;
	start(world);
	assert_int_equal(look(world)->parked, 20);
	pass(world, 20000);
	check_all(world, 30);
	check_order(world, 30);
	assert_int_equal(world->composition_count, 12);
	assert_int_equal(look(world)->parked, 0);
}

static int refuse_poison(struct world *world, const struct sent *sent,
			 int64_t *retry_after_s)
{
	return strcmp(sent->id, world->poison) == 0 ? world->status : 200;
}

static void append_with_poison(struct world *world, char *id)
{
	append_many(world, 37, 40);
	append(world, "u37", id);
	append_many(world, 2, 64);
	world->poison = id;
	world->answer = refuse_poison;
}

static void test_refused_content(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];
	unsigned int i, gaps;

	world->endpoints[0].batch_events = 40;
	world->status = 422;
	append_with_poison(world, id);
	pass(world, 1);
	/* Nobody waited: 40, 20 and 20, 10 and 10, 5, 5, 2, 3, 1, 2. */
	check_order(world, 39);
	assert_int_equal(look(world)->parked, 1);
	assert_true(world->requests <= 14);
	assert_int_equal(look(world)->floor, 37);
	append_many(world, 10, 10);
	pass(world, 300);
	check_order(world, 49);
	/* Others are accepted all the time: it dies. */
	for (i = 0; i < 100; i++) {
		append_many(world, 1, 1);
		pass(world, 3600000);
	}
	assert_int_equal(look(world)->dead, 1);
	check_all(world, 151);
	check_first_order(world);
	for (i = 0, gaps = 0; i < world->log_count; i++) {
		gaps += world->log[i].gap;
		assert_true(!world->log[i].gap || world->log[i].from == 38);
	}
	assert_int_equal(gaps, 1);
}

static void test_not_its_content(void **state)
{
	static const int statuses[] = { 401, 403, 408, 429 };
	struct world *world = *state;
	char id[MSE_UUID_SIZE];
	unsigned int requests;

	world->endpoints[0].batch_events = 40;
	world->status = statuses[0];
	append_with_poison(world, id);
	/* Others come, so that it is not alone. */
	append_many(world, 20, 20);
	pass(world, 1000);
	requests = world->requests;
	assert_int_equal(look(world)->parked, 20);
	assert_int_equal(requests, 2);
	world->status = 200;
	pass(world, 20000);
	check_all(world, 60);
	assert_int_equal(world->requests, requests + 1);
}

static void test_failing(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];
	unsigned int i;

	world->endpoints[0].batch_events = 40;
	world->status = 500;
	append_with_poison(world, id);
	for (i = 0; i < 60; i++) {
		append_many(world, 1, 1);
		pass(world, 1000);
	}
	/* Its batch failed twice, then it was looked for. */
	assert_int_equal(look(world)->parked, 1);
	assert_int_equal(look(world)->floor, 37);
	check_first_order(world);
	assert_int_equal(world->log_count, 39 + 60);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 100);
}

/* Nobody else is there to ask, and it is found all the same. */
static void test_failing_alone(void **state)
{
	struct world *world = *state;
	char id[MSE_UUID_SIZE];

	world->status = 500;
	world->answer = refuse_poison;
	append_many(world, 5, 1);
	append(world, "u0", id);
	append_many(world, 4, 1);
	world->poison = id;
	pass(world, 10 * 60000);
	/* What is before it of its owner; what is behind it waits. */
	check_order(world, 5);
	world->status = 200;
	pass(world, 3600000);
	check_order(world, 10);
	check_all(world, 10);
}

static void test_outage(void **state)
{
	struct world *world = *state;
	unsigned int made;

	world->status = 503;
	append_many(world, 300, 30);
	pass(world, 60000);
	made = world->composition_count;
	assert_string_equal(look(world)->state, "outage");
	assert_int_equal(look(world)->floor, 0);
	pass(world, 5 * DAY);
	assert_int_equal(look(world)->dead, 0);
	/* Batches are not taken apart for an outage. */
	assert_true(world->composition_count < made + 40);
	crash(world, false);
	start(world);
	pass(world, 60000);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 300);
	check_order(world, 300);
	assert_int_equal(look(world)->parked, 0);
}

static int ask_to_wait(struct world *world, const struct sent *sent,
		       int64_t *retry_after_s)
{
	*retry_after_s = world->status == 429 ? 30 : -1;
	return world->status;
}

static void test_retry_after(void **state)
{
	struct world *world = *state;
	unsigned int made;

	world->answer = ask_to_wait;
	world->status = 429;
	append_many(world, 30, 30);
	settle(world);
	made = world->requests;
	pass(world, 29000);
	assert_int_equal(world->requests, made);
	world->status = 200;
	pass(world, 10000);
	check_all(world, 30);
	assert_int_equal(world->composition_count, 3);
}

static void test_gone(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };

	world->status = 410;
	append_many(world, 10, 10);
	pass(world, 3600000);
	assert_int_equal(world->requests, 1);
	assert_string_equal(look(world)->state, "disabled");
	crash(world, false);
	start(world);
	pass(world, 3600000);
	assert_int_equal(world->requests, 1);
	world->status = 200;
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 60000);
	check_all(world, 10);
	assert_int_equal(world->requests, 2);
	assert_int_equal(world->composition_count, 1);
}

struct tried {
	unsigned int rows;
	uint32_t least, most; /* attempts of a row */
	int64_t used_ms;      /* the least */
};

static int look_at_row(const struct mse_ledger_row *row, void *context)
{
	struct tried *tried = context;

	if (row->gap)
		return 0;
	if (tried->rows++ == 0 || row->attempts < tried->least)
		tried->least = row->attempts;
	if (tried->rows == 1 || row->used_ms < tried->used_ms)
		tried->used_ms = row->used_ms;
	if (row->attempts > tried->most)
		tried->most = row->attempts;
	return 0;
}

static int look_at_rows(struct mse_ledger *ledger, void *context,
			struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = "portal", .state = MSE_ROW_PARKED
	};

	memset(context, 0, sizeof(struct tried));
	return mse_ledger_each_row(ledger, &filter, look_at_row, context,
				   error_r);
}

/* What the rows say of attempts. */
static struct tried tries(struct world *world)
{
	struct tried tried;

	assert_int_equal(mse_ledger_worker_call(world->worker, look_at_rows,
						&tried, NULL), 0);
	return tried;
}

/* Somebody takes one out of a batch that waits. */
static void drop_one(struct world *world, bool rows)
{
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];

	world->status = 500;
	append_many(world, 4, 10);
	append(world, "u4", id);
	append_many(world, 4, 4);
	pass(world, rows ? 1000 : 3600000);
	assert_int_equal(look(world)->parked, rows ? 9 : 9);
	if (mse_deliver_drop(world->deliver, "portal", id, &error) < 0)
		fail_msg("%s", error.text);
	world->status = 200;
	pass(world, 3600000);
	/* The Gap's number is the tenth. */
	check_all(world, 10);
	check_order(world, 8);
}

static void test_drop_row(void **state)
{
	drop_one(*state, true);
}

static void test_drop_in_outage(void **state)
{
	drop_one(*state, false);
}

/* The others of its batch go on where they were: when they are tried again, and
   when they are given up. */
static void test_drop_keeps_tries(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];
	struct tried tried;

	world->endpoints[0].batch_events = 4;
	world->status = 500;
	append_many(world, 3, 3);
	append(world, "u3", id);
	append(world, "u4", NULL);
	append(world, "u5", NULL);
	append(world, "u6", NULL);
	append(world, "u7", NULL);
	/* Two batches, each tried twice; neither is alone. */
	pass(world, 7000);
	assert_int_equal(world->requests, 4);
	tried = tries(world);
	assert_int_equal(tried.rows, 8);
	assert_int_equal(tried.least, 2);
	assert_int_equal(tried.most, 2);
	assert_int_equal(mse_deliver_drop(world->deliver, "portal", id,
					  &error), 0);
	/* Its three others, each alone, and the Gap. */
	pass(world, 100);
	assert_int_equal(world->requests, 8);
	tried = tries(world);
	assert_int_equal(tried.rows, 7);
	assert_int_equal(tried.least, 2);
	assert_int_equal(tried.most, 3);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 9);
	check_order(world, 7);
}

/* The same of events that are no rows yet, as there is no room for any. */
static void test_another_format_keeps_tries(void **state)
{
	struct world *world = *state;
	struct mse_conf conf;
	struct mse_conf_endpoint other = world->endpoints[0];
	struct mse_error error = { "" };
	struct tried tried;

	world->conf.journal_limit = 3;
	conf = world->conf;
	world->endpoints[0].batch_events = other.batch_events = 2;
	world->status = 500;
	append_many(world, 2, 2);
	pass(world, 2000);
	assert_int_equal(world->requests, 1);
	assert_int_equal(look(world)->parked, 0);
	other.format = MSE_FORMAT_CLOUDEVENTS;
	conf.endpoints = &other;
	batching = false;
	assert_int_equal(mse_deliver_configure(world->deliver, &conf, &error),
			 0);
	pass(world, 6000);
	/* Each was tried once more, for itself. */
	assert_int_equal(world->requests, 3);
	assert_int_equal(look(world)->parked, 0);
	conf.journal_limit = 1 << 30;
	settle(world);
	batching = true;
	tried = tries(world);
	assert_int_equal(tried.rows, 2);
	assert_int_equal(tried.least, 2);
	assert_int_equal(tried.most, 2);
	assert_in_range(tried.used_ms, 3000, 8000);
}

/* Without memory its line is not forgotten at once, but soon. */
static void test_drop_without_memory(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];

	world->status = 500;
	append_many(world, 4, 10);
	append(world, "u4", id);
	append_many(world, 4, 4);
	pass(world, 1000);
	assert_int_equal(look(world)->parked, 9);
	assert_int_equal(lines(world), 1);
	failing_size = sizeof(struct mse_job);
	assert_int_equal(mse_deliver_drop(world->deliver, "portal", id,
					  &error), 0);
	assert_int_equal(failing_size, 0);
	pass(world, 100);
	assert_int_equal(lines(world), 0);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 10);
	check_order(world, 8);
}

/* Waiting batches survive other filters, and end with the format. */
static void test_reload(void **state)
{
	struct world *world = *state;
	struct mse_conf conf = world->conf;
	struct mse_conf_endpoint other = world->endpoints[0];
	struct mse_error error = { "" };

	world->status = 500;
	append_many(world, 30, 30);
	pass(world, 60000);
	strcpy(other.filters, "two");
	conf.endpoints = &other;
	assert_int_equal(mse_deliver_configure(world->deliver, &conf, &error),
			 0);
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	assert_int_equal(look(world)->parked, 30);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 30);
	append_many(world, 10, 10);
	pass(world, 1000);
	check_all(world, 40);
	check_order(world, 40);
}

static void test_another_format(void **state)
{
	struct world *world = *state;
	struct mse_conf conf = world->conf;
	struct mse_conf_endpoint other = world->endpoints[0];
	struct mse_error error = { "" };

	world->status = 500;
	append_many(world, 30, 30);
	pass(world, 60000);
	append_many(world, 3, 3);
	pass(world, 10);
	other.format = MSE_FORMAT_CLOUDEVENTS;
	conf.endpoints = &other;
	batching = false;
	assert_int_equal(mse_deliver_configure(world->deliver, &conf, &error),
			 0);
	world->status = 200;
	pass(world, 3600000);
	batching = true;
	check_all(world, 33);
	check_order(world, 33);
	assert_int_equal(look(world)->parked, 0);
}

static void test_bound(void **state)
{
	struct world *world = *state;

	world->answer = refuse_u1;
	world->status = 500;
	world->conf.journal_limit = 30000;
	append_many(world, 400, 10);
	pass(world, 1000);
	assert_string_equal(look(world)->state, "waiting");
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 400);
	check_first_order(world);
}

/* What was read behind a batch that became rows becomes some, too, and holds
   up nobody. */
static void test_behind_rows(void **state)
{
	struct world *world = *state;

	world->answer = refuse_u1;
	world->status = 500;
	append_many(world, 20, 10);
	append(world, "u1", NULL);
	append(world, "u1", NULL);
	append_many(world, 60, 2);
	pass(world, 1000);
	assert_int_equal(look(world)->parked, 34);
	crash(world, false);
	start(world);
	world->status = 200;
	pass(world, 3600000);
	check_all(world, 82);
	check_order(world, 82);
}

static void test_stop(void **state)
{
	struct world *world = *state;

	world->hold = true;
	append_many(world, 30, 30);
	settle(world);
	assert_int_equal(world->out_count, 3);
	mse_deliver_stop(world->deliver);
	append_many(world, 30, 30);
	pass(world, 1000);
	assert_int_equal(world->out_count, 3);
	mse_deliver_cancel(world->deliver);
	settle(world);
	assert_true(mse_deliver_is_idle(world->deliver));
	crash(world, false);
	world->hold = false;
	start(world);
	pass(world, 1000);
	check_all(world, 60);
	check_order(world, 60);
}

/* Anything may be answered, and the daemon killed at any moment. */
static int answer_anything(struct world *world, const struct sent *sent,
			   int64_t *retry_after_s)
{
	static const int statuses[] = { 500, 400, 429, 503, 302, 404, 401 };
	int chance = rand() % 100;

	*retry_after_s = chance % 5 == 0 ? 3 : -1;
	if (world->poison != NULL && sent->sequence % 17 == 3)
		return 422;
	return chance < world->status ? statuses[chance % 7] : 200;
}

static void torture(void **state, unsigned int seed)
{
	struct world *world = *state;
	unsigned int round, count = 0, more, owners;

	print_message("seed %u\n", seed);
	srand(seed);
	world->endpoints[0].concurrency = 1 + (unsigned int)rand() % 8;
	world->endpoints[0].batch_events = 1 + (unsigned int)rand() % 20;
	world->endpoints[0].order = MSE_ORDER_OWNER;
	owners = 1 + (unsigned int)rand() % 30;
	world->answer = answer_anything;
	for (round = 0; round < 30; round++) {
		world->status = rand() % 3 * 2;
		world->poison = rand() % 4 == 0 ? "all" : NULL;
		more = (unsigned int)rand() % 60;
		append_many(world, more, owners);
		count += more;
		pass(world, rand() % 20000);
		if (rand() % 3 != 0)
			continue;
		world->hold = true;
		append_many(world, 7, owners);
		count += 7;
		pass(world, rand() % 300);
		crash(world, rand() % 2 == 0);
		world->hold = false;
		start(world);
	}
	world->answer = NULL;
	world->status = 200;
	world->poison = NULL;
	pass(world, 2 * 3600000);
	/* After a start the floor passes rows' numbers with the next one. */
	append_many(world, 1, 1);
	pass(world, 1000);
	check_all(world, count + 1);
	check_first_order(world);
	assert_int_equal(look(world)->parked, 0);
	assert_string_equal(look(world)->state, "ok");
}

static void test_torture_1(void **state)
{
	torture(state, 1);
}

static void test_torture_2(void **state)
{
	torture(state, 2);
}

static void test_torture_3(void **state)
{
	torture(state, getenv("SEED") != NULL ?
		(unsigned int)atoi(getenv("SEED")) : 3);
}

/* Taken away and given back while its batches are out: they stay as they are,
   and nothing comes twice. */
static void test_reload_on_reload(void **state)
{
	struct world *world = *state;
	struct mse_conf none = world->conf, other = world->conf;
	struct mse_conf_endpoint changed = world->endpoints[0];
	struct mse_error error = { "" };
	const struct mse_conf *steps[] = {
		&none, &world->conf, &other, &none, &other, &world->conf
	};
	size_t i;

	none.endpoint_count = 0;
	strcpy(changed.filters, "two");
	other.endpoints = &changed;
	world->hold = true;
	append_many(world, 100, 25);
	pass(world, 1000);
	assert_true(world->out_count > 0);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(mse_deliver_configure(world->deliver,
						       steps[i], &error), 0);
		if (i % 3 != 2)
			pass(world, 1000);
		append_many(world, 25, 25);
	}
	world->hold = false;
	pass(world, 600000);
	assert_true(mse_deliver_is_settled(world->deliver));
	check_order(world, 250);
	assert_int_equal(world->attempts, 250);
}

/* A reload while a batch from before a crash is only half read again. */
static void test_reload_while_restoring(void **state)
{
	struct world *world = *state;
	struct mse_conf other = world->conf;
	struct mse_conf_endpoint changed;
	struct mse_error error = { "" };

	world->endpoints[0].batch_events = 200;
	world->endpoints[0].linger_ms = 60000;
	world->endpoints[0].batch_bytes = 1 << 24;
	changed = world->endpoints[0];
	world->hold = true;
	append_many(world, 800, 5);
	pass(world, 70000);
	assert_true(world->out_count > 0);
	crash(world, true);
	start(world);
	(void)mse_deliver_run(world->deliver); /* reads 500 */
	strcpy(changed.filters, "two");
	other.endpoints = &changed;
	assert_int_equal(mse_deliver_configure(world->deliver, &other,
					       &error), 0);
	/* It is broken up: its events come in others. */
	memset(world->unanswered, 0, sizeof(world->unanswered));
	world->hold = false;
	pass(world, 3600000);
	assert_true(mse_deliver_is_settled(world->deliver));
}

/* A start that dies has not forgotten a batch and left the cursor before its
   events: what else is written then stands in one transaction. The others look
   for endpoints that are not configured any more, and for the cursor. */
static void test_start_is_one_transaction(void **state)
{
	struct world *world = *state;
	struct mse_ledger_counts before, after;

	world->hold = true;
	append_many(world, 30, 3);
	settle(world);
	assert_true(world->out_count > 0);
	crash(world, false);
	mse_ledger_worker_counts(world->worker, &before);
	start(world);
	mse_ledger_worker_counts(world->worker, &after);
	assert_int_equal(after.commits - before.commits, 3);
	assert_int_equal(after.failures, before.failures);
	world->hold = false;
	pass(world, 10000);
	check_order(world, 30);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_many), T(test_one_owner), T(test_linger),
		T(test_busy_lanes_grow), T(test_bytes),
		T(test_answered_not_passed), T(test_answered_before_row),
		T(test_overtaken), T(test_end_in_between), T(test_frozen),
		T(test_frozen_received), T(test_frozen_alone),
		T(test_frozen_rows), T(test_refused_content),
		T(test_not_its_content), T(test_failing),
		T(test_failing_alone), T(test_outage), T(test_retry_after),
		T(test_gone), T(test_drop_row), T(test_drop_in_outage),
		T(test_drop_keeps_tries), T(test_another_format_keeps_tries),
		T(test_drop_without_memory),
		T(test_start_is_one_transaction),
		T(test_reload), T(test_reload_on_reload),
		T(test_reload_while_restoring),
		T(test_another_format), T(test_bound), T(test_behind_rows),
		T(test_stop), T(test_torture_1), T(test_torture_2),
		T(test_torture_3)
	};
#undef T
	int failed;

	batching = true;
	failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);
	threaded = true;
	return failed + cmocka_run_group_tests_name("threaded", tests, NULL,
						    NULL);
}
