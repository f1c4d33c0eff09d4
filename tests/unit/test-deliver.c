/* Delivery of single events; see test-deliver-common.h for how. */
#include "test-deliver-common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "event/imap-url.h"
#include "journal/append.h"
#include "journal/reader.h"

/* In whatever thread; before libc's. */
static bool fail_syncs;
static unsigned int syncs;

int fdatasync(int fd)
{
	(void)__atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&fail_syncs, __ATOMIC_SEQ_CST))
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
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

/* Others keep being accepted: a poison event dies, with a Gap. The wall clock
   goes back and forth by wall_step_ms each minute, which changes nothing. */
static void give_up(struct world *world, int64_t wall_step_ms)
{
	char id[MSE_UUID_SIZE];
	unsigned int i;

	world->answer = refuse_poison;
	append(world, "u1", id);
	world->poison = id;
	append(world, "u1", NULL);
	for (i = 0; i < 4 * 24 * 60; i++) {
		append(world, "u2", NULL);
		world->clock.wall += i % 3 == 0 ? 2 * wall_step_ms :
			-wall_step_ms;
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

static void test_give_up(void **state)
{
	give_up(*state, 0);
}

static void test_give_up_with_a_mad_clock(void **state)
{
	give_up(*state, 366 * DAY);
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
static int refuse_but_new(struct world *world, const struct sent *sent,
			  int64_t *retry_after_s)
{
	(void)world;
	(void)retry_after_s;
	return sent->gap || strcmp(sent->owner, "new") == 0 ? 200 : 500;
}

/* With many owners whose events are refused, and none of any other, it looks
   like an outage: one that was never tried ends that, not the fortieth. */
static void test_outage_of_some(void **state)
{
	struct world *world = *state;

	world->answer = refuse_but_new;
	append_many(world, 40, 40);
	pass(world, 600000);
	assert_string_equal(look(world)->state, "outage");
	append(world, "new", NULL);
	pass(world, 61000);
	assert_true(world->accepted[41]);
}

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

/* A receiver hangs. Its endpoint is taken away, given back, changed, and
   changed back, each before the change before is done with: the last one
   counts, nothing is lost and nothing sent out of order or twice. */
static void test_reload_on_reload(void **state)
{
	struct world *world = *state;
	struct mse_conf none = world->conf, other = world->conf;
	struct mse_conf_endpoint changed = world->endpoints[0];
	struct mse_error error = { "" };
	const struct mse_conf *steps[] = {
		&none, &world->conf, &other, &none, &other, &world->conf,
		&other, &none, &world->conf
	};
	uint64_t generation = 0;
	size_t i;

	none.endpoint_count = 0;
	strcpy(changed.filters, "two");
	other.endpoints = &changed;
	world->hold = true;
	append_many(world, 100, 5);
	settle(world);
	assert_int_equal(world->out_count, 5);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(mse_deliver_configure(world->deliver,
						       steps[i], &error), 0);
		/* Sometimes before anything was done about it. */
		if (i % 3 != 2)
			settle(world);
		assert_int_equal(mse_deliver_is_settled(world->deliver),
				 steps[i] == &world->conf);
		append_many(world, 5, 5);
		generation++;
	}
	assert_int_equal(world->requests, 5);
	world->hold = false;
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	check_order(world, 100 + 5 * (unsigned int)generation);
	assert_int_equal(world->attempts, 100 + 5 * generation);
	/* One that leaves after all, and is back when it has. */
	world->hold = true;
	append_many(world, 5, 5);
	settle(world);
	assert_int_equal(mse_deliver_configure(world->deliver, &none, &error),
			 0);
	settle(world);
	assert_int_equal(mse_deliver_configure(world->deliver, &none, &error),
			 0);
	settle(world);
	assert_false(mse_deliver_is_settled(world->deliver));
	world->hold = false;
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	assert_int_equal(mse_deliver_configure(world->deliver, &world->conf,
					       &error), 0);
	pass(world, 1000);
	check_order(world, 105 + 5 * (unsigned int)generation);
	assert_int_equal(world->attempts, 105 + 5 * generation);
}

/* Dropped while it leaves: nothing of it is left, whatever it still had to
   say. */
static void test_forget(void **state)
{
	struct world *world = *state;
	struct mse_conf none = world->conf;
	struct mse_error error = { "" };
	int ret;

	none.endpoint_count = 0;
	assert_int_equal(mse_deliver_forget(world->deliver, "portal", &error),
			 -1);
	assert_int_equal(mse_deliver_forget(world->deliver, "nobody", &error),
			 -1);
	world->hold = true;
	append_many(world, 20, 5);
	settle(world);
	assert_int_equal(mse_deliver_configure(world->deliver, &none, &error),
			 0);
	settle(world);
	assert_int_equal(mse_deliver_forget(world->deliver, "portal", &error),
			 0);
	world->hold = false;
	settle(world);
	ret = mse_deliver_forget(world->deliver, "portal", &error);
	assert_int_equal(ret, 1);
	assert_int_equal(mse_deliver_forget(world->deliver, "portal", &error),
			 -1);
	/* Nobody needs the journal any more. */
	assert_null(mse_deliver_oldest_file(world->deliver));
	/* Who comes back by that name is new. */
	assert_int_equal(mse_deliver_configure(world->deliver, &world->conf,
					       &error), 0);
	settle(world);
	assert_int_equal(look(world)->sequence, 0);
	assert_int_equal(look(world)->parked, 0);
}

/* A request is out while its endpoint, paused, gets another configuration:
   what is behind it is to stay behind it though it fails. */
static void test_reload_behind_a_failure(void **state)
{
	struct world *world = *state;
	struct mse_conf other = world->conf;
	struct mse_conf_endpoint changed = world->endpoints[0];
	struct mse_error error = { "" };

	world->hold = true;
	append_many(world, 10, 1);
	settle(world);
	assert_int_equal(world->out_count, 1);
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", true,
					   &error), 0);
	strcpy(changed.filters, "two");
	other.endpoints = &changed;
	assert_int_equal(mse_deliver_configure(world->deliver, &other,
					       &error), 0);
	settle(world);
	world->status = 500;
	world->hold = false;
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	assert_int_equal(look(world)->parked, 10);
	world->status = 204;
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 600000);
	check_order(world, 10);
}

/* What had numbers before a kill -9 is not read again yet, when the filters
   change: other events do not get these numbers. */
static void test_reload_after_a_crash(void **state)
{
	static const char *const only = "u1";
	struct world *world = *state;
	struct mse_conf other = world->conf;
	struct mse_conf_endpoint changed = world->endpoints[0];
	struct mse_error error = { "" };

	world->hold = true;
	append_many(world, 2, 2);
	settle(world);
	assert_int_equal(world->out_count, 2);
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", true,
					   &error), 0);
	pass(world, 1000);
	crash(world, true);
	start(world);
	strcpy(changed.filters, "two");
	changed.subscription.users = mse_patterns_new(&only, 1, 0);
	other.endpoints = &changed;
	assert_int_equal(mse_deliver_configure(world->deliver, &other,
					       &error), 0);
	pass(world, 1000);
	assert_true(mse_deliver_is_settled(world->deliver));
	world->hold = false;
	world->log_count = 0;
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 1000);
	/* A Gap that names what is left out, and u1's event. */
	assert_int_equal(world->log_count, 2);
	assert_true(world->log[0].gap && world->log[0].from == 1);
	assert_string_equal(world->log[1].owner, "u1");
	assert_true(world->log[1].sequence > world->log[0].to);
	mse_patterns_free(&changed.subscription.users);
}

static void test_done(const struct mse_request *request,
		      const struct mse_answer *answer, void *context)
{
	struct world *world = context;

	snprintf(world->test_body, sizeof(world->test_body), "%.*s",
		 (int)request->body_len, (const char *)request->body);
	assert_int_equal(answer->status, world->status);
}

/* A test that is answered 410 disables the endpoint, and only that does
   anything to it; one that is accepted does not enable it. */
static void test_test_gone(void **state)
{
	static const int statuses[] = { 500, 404, 410, 200 };
	struct world *world = *state;
	struct mse_error error = { "" };
	unsigned int i, attempts;

	for (i = 0; i < 4; i++) {
		world->status = statuses[i];
		assert_int_equal(mse_deliver_test(world->deliver, "portal",
						  test_done, world, &error),
				 0);
		pass(world, 1000);
		assert_string_equal(look(world)->state, statuses[i] == 410 ||
				    i == 3 ? "disabled" : "ok");
	}
	attempts = world->attempts;
	append(world, "u1", NULL);
	pass(world, DAY);
	crash(world, false);
	start(world);
	pass(world, DAY);
	assert_int_equal(world->attempts, attempts);
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 1000);
	check_order(world, 1);
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
	assert_int_equal(progress_of(one).found, 40);
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

/* Until the replay has what it wants, each live answer is followed by another
   live event. */
static int more_live(struct world *world, const struct sent *sent,
		     int64_t *retry_after_s)
{
	(void)retry_after_s;
	if (!sent->replay && world->replay_count < 40 &&
	    world->log_count < 2000)
		append(world, sent->owner, NULL);
	return 200;
}

/* However much is behind, one connection of several is the replay's. */
static void test_replay_beside_a_backlog(void **state)
{
	struct world *world = *state;
	struct mse_replay *one;

	append_many(world, 40, 20);
	pass(world, 1000);
	world->hold = true;
	append_many(world, 100, 50);
	settle(world);
	one = replay(world, false, NULL, NULL, false);
	settle(world);
	assert_int_equal(world->out_count, 8);
	assert_int_equal(progress_of(one).in_flight, 0);
	world->answer = more_live;
	world->hold = false;
	pass(world, 1000);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).answered, 40);
	assert_in_range(world->log_count, 240, 500);
	mse_deliver_replay_end(&one);
	/* A single connection is for what is live. */
	world->endpoints[0].concurrency = 1;
	world->replay_count = 0;
	append_many(world, 100, 50);
	one = replay(world, false, NULL, "u1", false);
	pass(world, 1000);
	assert_int_equal(world->log_count, 2000 + 100);
	assert_true(progress_of(one).ended);
	mse_deliver_replay_end(&one);
}

/* Under a rate, too, it goes on: one request in four. */
static void test_replay_beside_a_backlog_by_rate(void **state)
{
	struct world *world = *state;
	struct mse_replay *one;

	world->endpoints[0].rate = 10;
	append_many(world, 40, 20);
	pass(world, 10000);
	assert_int_equal(world->log_count, 40);
	append_many(world, 50, 50);
	world->answer = more_live;
	one = replay(world, false, NULL, NULL, false);
	pass(world, 60000);
	assert_true(progress_of(one).ended);
	assert_int_equal(progress_of(one).answered, 40);
	assert_in_range(world->log_count, 40 + 3 * 39, 40 + 3 * 40 + 50 + 10);
	mse_deliver_replay_end(&one);
	/* With nothing live it has all of it. */
	world->replay_count = 40;
	one = replay(world, false, NULL, "u1", false);
	pass(world, 5000);
	assert_true(progress_of(one).ended);
	mse_deliver_replay_end(&one);
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
	mse_deliver_replay_end(&one);
}

/* Who asks for nothing more gets nothing more, whatever it was asked with: the
   replay ends, another of the endpoint waits, and so do live events until
   somebody resumes it. */
static void replay_gone(struct world *world, bool leave)
{
	struct mse_error error = { "" };
	struct mse_replay *one, *two;
	unsigned int attempts;

	append_many(world, 40, 4);
	pass(world, 1000);
	world->status = 410;
	world->hold = true;
	one = replay(world, false, NULL, NULL, false);
	two = replay(world, false, NULL, NULL, false);
	settle(world);
	/* Also when nobody waits for the replay any more. */
	if (leave) {
		mse_deliver_replay_end(&one);
		mse_deliver_replay_end(&two);
	}
	world->hold = false;
	pass(world, 1000);
	/* What was out already. */
	attempts = world->attempts;
	assert_int_equal(attempts, 44);
	assert_string_equal(look(world)->state, "disabled");
	assert_string_not_equal(look(world)->last_outcome, "");
	assert_int_equal(look(world)->failed, 0);
	if (!leave) {
		assert_true(progress_of(one).ended ||
			    progress_of(two).ended);
		mse_deliver_replay_end(&one);
		mse_deliver_replay_end(&two);
	}
	world->status = 200;
	append_many(world, 4, 4);
	pass(world, DAY);
	assert_int_equal(world->attempts, attempts);
	crash(world, false);
	start(world);
	pass(world, DAY);
	assert_int_equal(world->attempts, attempts);
	assert_string_equal(look(world)->state, "disabled");
	assert_int_equal(mse_deliver_pause(world->deliver, "portal", false,
					   &error), 0);
	pass(world, 1000);
	check_order(world, 44);
	assert_string_equal(look(world)->state, "ok");
}

static void test_replay_gone(void **state)
{
	replay_gone(*state, false);
}

static void test_replay_gone_alone(void **state)
{
	replay_gone(*state, true);
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
/* What was answered out of turn does not come again after a stop. */
static void test_stop_out_of_turn(void **state)
{
	struct world *world = *state;

	world->hold = true;
	append(world, "u0", NULL);
	append(world, "u0", NULL);
	append(world, "u1", NULL);
	settle(world);
	assert_int_equal(world->out_count, 2);
	mse_deliver_stop(world->deliver);
	world->hold = false;
	pass(world, 1000);
	assert_true(mse_deliver_is_idle(world->deliver));
	crash(world, false);
	start(world);
	pass(world, 1000);
	check_order(world, 3);
}

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

static void append_fact(struct world *world)
{
	struct mse_event event;
	struct mse_buf record;

	mse_buf_init(&record, 65536);
	mse_event_init(&event, MSE_EVENT_FACT_QUOTA, world->clock.wall);
	event.user = "u0";
	mse_event_write(&event, &record);
	assert_int_equal(mse_appender_append(world->appender, &record, 1,
					     MSE_DURABILITY_PROCESS),
			 MSE_APPEND_DONE);
	mse_buf_clear(&record);
}

/* The cursor's commit fails, the file it stands in goes, the commit comes
   again. */
static void test_released_behind_a_failure(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	const struct mse_journal_file *files;
	struct mse_journal_file file;
	unsigned int count;
	bool rotated;

	append(world, "u0", NULL);
	pass(world, 1000);
	/* One that is read and not sent: a cursor, and nothing after it. */
	append_fact(world);
	fail_syncs = true;
	pass(world, 100);
	fail_syncs = false;
	assert_false(mse_deliver_is_idle(world->deliver));
	assert_int_equal(mse_journal_rotate(world->journal, true, &rotated,
					    &error), 0);
	files = mse_journal_files(world->journal, &count);
	mse_journal_seal(world->journal, files[0].uuid, files[0].size);
	files = mse_journal_files(world->journal, &count);
	file = files[0];
	syncs = 0;
	assert_int_equal(mse_deliver_file_released(world->deliver, &file,
						   true, &error), 0);
	/* The journal first, then a cursor beyond it. */
	assert_true(syncs > 0);
	pass(world, 5000);
	assert_true(mse_deliver_is_idle(world->deliver));
	assert_string_not_equal(mse_deliver_oldest_file(world->deliver),
				file.uuid);
	/* Nor does the ledger say so. */
	crash(world, false);
	start(world);
	assert_string_not_equal(mse_deliver_oldest_file(world->deliver),
				file.uuid);
	append(world, "u0", NULL);
	pass(world, 5000);
	check_order(world, 2);
}

static uint64_t dead_by_reason(struct world *world)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < MSE_DEAD_REASON_COUNT; i++)
		sum += look(world)->counters.dead[i];
	return sum;
}

/* Whoever comes second does not count it once more, whatever the answer. */
static void dropped_while_retried(struct world *world, int status)
{
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];
	struct mse_replay *one;
	unsigned int i;

	world->endpoints[0].give_up_ms = 60000;
	world->endpoints[0].retry_first_ms = 1000;
	world->endpoints[0].retry_max_ms = 10000;
	world->answer = refuse_even;
	world->status = 422;
	append(world, "u0", id);
	append(world, "u2", NULL);
	append_many(world, 8, 4);
	for (i = 0; i < 200 && look(world)->dead < 6; i++) {
		append(world, "u1", NULL);
		pass(world, 60000);
	}
	assert_int_equal(look(world)->dead, 6);
	world->answer = NULL;
	world->status = status;
	world->hold = true;
	one = replay(world, true, id, NULL, false);
	settle(world);
	assert_int_equal(world->out_count, 1);
	if (mse_deliver_drop(world->deliver, "portal", id, &error) < 0)
		fail_msg("%s", error.text);
	settle(world);
	assert_int_equal(look(world)->dead, 5);
	world->hold = false;
	pass(world, 1000);
	assert_int_equal(look(world)->dead, 5);
	assert_int_equal(look(world)->counters.dead[MSE_DEAD_CLIENT_ERROR], 5);
	assert_int_equal(dead_by_reason(world), 5);
	mse_deliver_replay_end(&one);
	crash(world, false);
	start(world);
	settle(world);
	assert_int_equal(look(world)->dead, 5);
	assert_int_equal(dead_by_reason(world), 5);
}

static void test_dropped_while_retried(void **state)
{
	dropped_while_retried(*state, 200);
}

static void test_dropped_while_refused(void **state)
{
	dropped_while_retried(*state, 500);
}

static int take_first(const struct mse_ledger_row *row, void *context)
{
	*(uint64_t *)context = row->sequence;
	return 1;
}

static int delete_first(struct mse_ledger *ledger, void *context,
			struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = "portal", .state = MSE_ROW_PARKED
	};

	assert_int_equal(mse_ledger_each_row(ledger, &filter, take_first,
					     context, error_r), 1);
	return mse_ledger_delete_row(ledger, "portal", *(uint64_t *)context,
				     error_r);
}

static int take_gap_id(const struct mse_ledger_row *row, void *context)
{
	if (row->gap)
		memcpy(context, row->id, MSE_UUID_SIZE);
	return row->gap;
}

static int find_gap(struct mse_ledger *ledger, void *context,
		    struct mse_error *error_r)
{
	struct mse_row_filter filter = {
		.endpoint = "portal", .state = MSE_ROW_PARKED
	};

	return mse_ledger_each_row(ledger, &filter, take_gap_id, context,
				   error_r) == 1 ? 0 : -1;
}

/* What becomes a row while a Gap of its lane is being stored has the lower
   number: the floor does not pass it with the Gap. */
static void test_row_behind_a_new_gap(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE], gap[MSE_UUID_SIZE];

	world->conf.journal_limit = 3;
	world->answer = refuse_poison;
	world->poison = id;
	append(world, "u1", id);
	append(world, "u1", NULL);
	append(world, "u2", NULL);
	pass(world, 100);
	assert_int_equal(look(world)->parked, 0);
	assert_true(world->accepted[3]);
	assert_int_equal(mse_deliver_drop(world->deliver, "portal", id,
					  &error), 0);
	/* There is room now, at once. */
	world->conf.journal_limit = 1 << 30;
	world->hold = true;
	(void)mse_deliver_run(world->deliver);
	settle(world);
	assert_int_equal(look(world)->parked, 2);
	world->hold = false;
	world->answer = NULL;
	world->status = 500;
	settle(world);
	assert_int_equal(look(world)->floor, 0);
	assert_int_equal(mse_ledger_worker_call(world->worker, find_gap, gap,
						&error), 0);
	assert_int_equal(mse_deliver_drop(world->deliver, "portal", gap,
					  &error), 0);
	assert_int_equal(look(world)->floor, 1);
	/* Nobody hears of these: somebody wanted it so. */
	world->accepted[1] = world->accepted[4] = true;
	world->status = 200;
	pass(world, 60000);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(look(world)->floor, 4);
	assert_true(world->accepted[2]);
}

/* Somebody's hand in the ledger: what is behind the row goes on. */
static void test_row_taken_away(void **state)
{
	struct world *world = *state;
	struct mse_error error = { "" };
	char id[MSE_UUID_SIZE];
	uint64_t sequence = 0;
	unsigned int i, gaps = 0;

	/* Others are accepted, so that this is no outage. */
	world->answer = refuse_poison;
	append(world, "u0", id);
	world->poison = id;
	append(world, "u0", NULL);
	append(world, "u0", NULL);
	append(world, "u1", NULL);
	pass(world, 1000);
	assert_int_equal(look(world)->parked, 3);
	assert_int_equal(mse_ledger_worker_call(world->worker, delete_first,
						&sequence, &error), 0);
	assert_int_not_equal(sequence, 0);
	world->poison = NULL;
	pass(world, 60000);
	assert_int_equal(look(world)->parked, 0);
	for (i = 0; i < world->log_count; i++) {
		assert_string_not_equal(world->log[i].id, id);
		if (!world->log[i].gap)
			continue;
		gaps++;
		assert_int_equal(world->log[i].from, sequence);
		assert_int_equal(world->log[i].to, sequence);
	}
	assert_int_equal(gaps, 1);
	check_order(world, 3);
	assert_int_equal(look(world)->floor, look(world)->sequence);
}

/* Nothing before the receiver permits it; then at the rate it names. */
static void test_handshake(void **state)
{
	static const struct {
		int status;
		const char *origin, *rate, *error;
	} refusals[] = {
		{ 405, NULL, NULL, "handshake: the receiver answered 405" },
		{ 200, NULL, NULL, "handshake: the answer has no "
		  "WebHook-Allowed-Origin" },
		{ 200, "other.example", "*", "handshake: "
		  "WebHook-Allowed-Origin names another origin than "
		  "server_name" },
		{ 200, "*", "0", "handshake: WebHook-Allowed-Rate is no "
		  "number of requests a minute" },
		{ 200, "*", "many", "handshake: WebHook-Allowed-Rate is no "
		  "number of requests a minute" },
	};
	struct world *world = *state;
	struct mse_error error = { "" };
	unsigned int asked;
	size_t i;

	crash(world, false);
	world->endpoints[0].handshake = true;
	world->permit_status = 405;
	start(world);
	append_many(world, 30, 10);
	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		world->permit_status = refusals[i].status;
		world->allowed_origin = refusals[i].origin;
		world->allowed_rate = refusals[i].rate;
		asked = world->asked;
		/* Ever more rarely: within an hour once at least. */
		pass(world, 3600000);
		assert_true(world->asked > asked);
		assert_string_equal(look(world)->state, "handshake");
		assert_string_equal(look(world)->last_error,
				    refusals[i].error);
	}
	assert_true(world->asked < 30);
	assert_int_equal(world->attempts, 0);
	assert_int_equal(mse_deliver_test(world->deliver, "portal", test_done,
					  world, &error), -1);
	assert_string_equal(error.text, "endpoint portal: its receiver has "
			    "not permitted deliveries yet: handshake: "
			    "WebHook-Allowed-Rate is no number of requests a "
			    "minute");
	world->allowed_origin = "Mail.Example.com";
	world->allowed_rate = "60";
	/* An hour until it is asked, half a minute at that rate. */
	pass(world, 3600000 + 60000);
	asked = world->asked;
	check_order(world, 30);
	assert_string_equal(look(world)->state, "ok");
	append_many(world, 30, 30);
	pass(world, 10000);
	assert_true(world->attempts >= 39 && world->attempts <= 42);
	pass(world, 60000);
	check_order(world, 60);
	/* It is not asked twice, but after a restart. */
	assert_int_equal(world->asked, asked);
	crash(world, false);
	start(world);
	append(world, "u1", NULL);
	pass(world, 2000);
	assert_int_equal(world->asked, asked + 1);
	check_order(world, 61);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_happy), T(test_isolation), T(test_retry_after),
		T(test_gone), T(test_give_up), T(test_give_up_with_a_mad_clock),
		T(test_outage), T(test_outage_of_some),
		T(test_restart), T(test_restart_gap), T(test_bound),
		T(test_lost_megabyte), T(test_rebuilt), T(test_reload),
		T(test_reload_on_reload), T(test_forget),
		T(test_reload_behind_a_failure),
		T(test_reload_after_a_crash),
		T(test_test_and_drop), T(test_test_gone), T(test_replay), T(test_replay_shares),
		T(test_replay_beside_a_backlog),
		T(test_replay_beside_a_backlog_by_rate),
		T(test_replay_refused), T(test_replay_gone),
		T(test_replay_gone_alone), T(test_replay_ends),
		T(test_many_dead), T(test_stop), T(test_stop_out_of_turn), T(test_released),
		T(test_released_behind_a_failure),
		T(test_row_taken_away), T(test_row_behind_a_new_gap),
		T(test_dropped_while_retried),
		T(test_dropped_while_refused),
		T(test_handshake)
	};
#undef T

	int failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);

	threaded = true;
	return failed + cmocka_run_group_tests_name("threaded", tests, NULL,
						    NULL);
}
