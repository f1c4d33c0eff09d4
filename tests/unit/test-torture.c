/*
 * A mail server's day in small (appends, quota, a session that dies, a change
 * that dies before it is told, refusals, batches that are halved and some that
 * nobody hears of, a rotation, a stop and a start), again and again, with the
 * n-th call of a kind failing. Afterwards, for an endpoint of single events
 * and one of batches: what was acknowledged has come to the receiver, what was
 * not is told by a Gap with the right count, no Gap tells of what did not
 * happen, numbers and ids stay together, the floor is true, order holds,
 * batches stay as they were made, and no memory or descriptor is left behind.
 *
 * MAILHOOK_TORTURE=all (or all:KIND) tries every n; without it a sample that
 * takes seconds. Memory has 22,000 places and is tried twice, at 0.1 s a round.
 * Reading has 7,000 where /proc/net/tcp is short, and more for each connection
 * of the machine: run it below unshare --net.
 * MAILHOOK_TORTURE=KIND:N or KIND:N:BURST runs one round, KIND:FROM-TO those
 * of a part.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "test-flow-common.h"

/* The story in which the fault strikes. */
static void live(struct world *world)
{
	struct mse_appender *appender;
	unsigned int i;

	start(world);
	pass(world, 2000, 500);
	appender = process(world);
	for (i = 0; i < 4; i++) {
		mail(world, appender, "u0");
		mail(world, appender, "u1");
		if (i == 1)
			poison(world, 422, 4);
		mail(world, appender, "u2");
	}
	quota(world, appender, MSE_EVENT_QUOTA_EXCEED, 99);
	pass(world, 3000, 500);
	session(world);
	killed(world);
	quota(world, appender, MSE_EVENT_FACT_QUOTA, 50);
	for (i = 0; i < 3; i++) {
		mail(world, appender, "u1");
		mail(world, appender, "u2");
		if (i == 1)
			poison(world, 500, 5);
	}
	pass(world, 30000, 1000);
	upkeep(world);
	mail(world, appender, "u0");
	mail(world, appender, "u2");
	poison(world, 500, 1);
	pass(world, 1000, 500);
	world->silent = true;
	mail(world, appender, "u1");
	mail(world, appender, "u6");
	pass(world, 3000, 1000);
	stop(world);
	world->silent = false;
	mail(world, appender, "u1");
	killed(world);
	start(world);
	pass(world, 5000, 500);
	mail(world, appender, "u0");
	mse_clock_fake_advance(&world->clock, 120000);
	pass(world, 5000, 500);
	upkeep(world);
	pass(world, 5000, 500);
	mse_appender_free(&appender);
}

/* Afterwards nothing fails any more. */
static void recover(struct world *world)
{
	struct mse_appender *appender = process(world);

	mail(world, appender, "u1");
	mse_appender_free(&appender);
	pass(world, 30000, 2000);
	pass(world, 150000, 15000);
	upkeep(world);
	stop(world);
	start(world);
	pass(world, 30000, 3000);
	if (!mse_derive_is_idle(world->derive))
		fail_round(world, "derive does not come to rest");
	stop(world);
}

/* A write that failed in the middle leaves something torn. A cursor whose
   record cannot be read goes back, rather than keep the daemon from starting
   for the sake of one bad block. */
static bool may_be_told(unsigned int kind, const char *reasons)
{
	return kind == FAULT_WRITE || reasons[0] == '\0' ||
		(kind == FAULT_READ &&
		 (strstr(reasons, "the journal is not what it was") != NULL ||
		  strstr(reasons, "does not match the cursor") != NULL));
}

static void check_receiver(struct world *world,
			   const struct receiver *receiver, unsigned int kind)
{
	unsigned int i, lost_events = 0, resyncs, withins, logouts;
	const char *name = receiver->name;
	const struct event *event;

	for (i = 0; i < world->event_count; i++) {
		event = &world->events[i];
		if (event->result == MSE_APPEND_DONE &&
		    times_sent(receiver, event->id) == 0)
			fail_round(world, "%s: event %u (%s) was acknowledged "
				   "and never came", name, i, event->owner);
		lost_events += event->result != MSE_APPEND_DONE;
	}
	if (receiver->streams != 1)
		fail_round(world, "%s: %u streams", name, receiver->streams);
	if (receiver->told_lost != world->lost)
		fail_round(world, "%s: %" PRIu64 " lost, %" PRIu64
			   " told: %s", name, world->lost,
			   receiver->told_lost, receiver->reasons);
	check_order(world, receiver);
	check_numbers(world, receiver);
	/* An intent that could not be written whole may be told of, too. */
	resyncs = types_sent(receiver, "Resync");
	if (resyncs != world->intended &&
	    !(kind == FAULT_WRITE &&
	      (resyncs > world->intended ||
	       strstr(receiver->reasons, "changed something") != NULL)))
		fail_round(world, "%s: %u intended, %u Resyncs", name,
			   world->intended, resyncs);
	if (lost_events > 0 || world->lost > 0)
		return;
	if (!may_be_told(kind, receiver->reasons))
		fail_round(world, "%s: a Gap of nothing: %s", name,
			   receiver->reasons);
	withins = types_sent(receiver, "QuotaWithin");
	if (withins != 1)
		fail_round(world, "%s: %u QuotaWithin", name, withins);
	logouts = types_sent(receiver, "Logout");
	if (logouts != world->sessions)
		fail_round(world, "%s: %u Logouts", name, logouts);
}

static void check(struct world *world, unsigned int kind)
{
	unsigned int i;

	for (i = 0; i < ENDPOINTS; i++)
		check_receiver(world, &world->receivers[i], kind);
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

static void aside(bool begin)
{
	if (begin)
		faults_pause();
	else
		faults_resume();
}

static char dir[64];
static bool warm; /* what libraries keep for good is theirs by now */

/* Returns how many calls there were that could have failed. */
static unsigned long run_round(unsigned int kind, unsigned long at,
			       unsigned long burst, int error, bool cut)
{
	long blocks;
	unsigned int descriptors;
	unsigned long seen;
	/* Large and empty: not to be cleared each time. */
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	empty_dir(dir);
	init_world(world, dir);
	world->aside = aside;
	blocks = faults_blocks();
	descriptors = count_descriptors();
	snprintf(world->why, sizeof(world->why), "%s:%lu:%lu (%s%s)",
		 faults_kind_name(kind), at, burst, strerror(error),
		 cut ? ", cut" : "");
	/* A first start, so that a lost directory is none of this. */
	start(world);
	pass(world, 2000, 500);
	stop(world);
	faults_arm(kind, at, burst, error, cut);
	live(world);
	seen = faults_disarm();
	recover(world);
	check(world, kind);
	if (at == ULONG_MAX)
		check_story(world);
	release_world(world);
	if (count_descriptors() != descriptors)
		fail_round(world, "descriptors: %u, not %u",
			   count_descriptors(), descriptors);
	if (warm && faults_blocks() > blocks)
		fail_round(world, "%ld blocks of memory are left",
			   faults_blocks() - blocks);
	free(world);
	return seen;
}

/* In a process of its own: it may crash. */
static bool round_passes(unsigned int kind, unsigned long at,
			 unsigned long burst, int error, bool cut)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(120);
		(void)run_round(kind, at, burst, error, cut);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		print_error("%s:%lu:%lu: died of signal %d\n",
			    faults_kind_name(kind), at, burst,
			    WTERMSIG(status));
	return status == 0;
}

/* All of them, or so many spread over all. */
static void torture(unsigned int kind, unsigned long burst, int error,
		    bool cut, unsigned long sample)
{
	const char *only = getenv("MAILHOOK_TORTURE");
	const char *name = faults_kind_name(kind);
	unsigned long at = 0, to = ULONG_MAX, count, step;
	unsigned long rounds = 0, failed = 0;

	if (only != NULL && strncmp(only, name, strlen(name)) == 0 &&
	    only[strlen(name)] == ':') {
		char *end;

		at = strtoul(only + strlen(name) + 1, &end, 10);
		if (*end == '-') {
			to = strtoul(end + 1, NULL, 10);
		} else {
			/* Here, for a debugger. */
			(void)run_round(kind, at, *end == ':' ?
					strtoul(end + 1, NULL, 10) : burst,
					error, cut);
			return;
		}
	} else if (only != NULL && strcmp(only, "all") != 0 &&
		   (strncmp(only, "all:", 4) != 0 ||
		    strcmp(only + 4, name) != 0)) {
		return;
	}
	count = run_round(kind, ULONG_MAX, 1, error, cut);
	step = only != NULL || count <= sample ? 1 :
		(count + sample - 1) / sample;
	/* Another offset every day, so that in time all are met. */
	if (at == 0)
		at = 1 + (step > 1 ? (unsigned long)time(NULL) / 86400 % step :
			  0);
	if (to > count)
		to = count;
	for (; at <= to && (failed < 10 || only != NULL); at += step) {
		rounds++;
		failed += !round_passes(kind, at, burst, error, cut);
	}
	print_message("%s: %lu rounds for %lu places\n", name, rounds, count);
	assert_int_equal(failed, 0);
}

static void test_memory(void **state)
{
	torture(FAULT_MEMORY, 1, ENOMEM, false, 20);
}

static void test_memory_for_a_while(void **state)
{
	torture(FAULT_MEMORY, 20, ENOMEM, false, 10);
}

static void test_full_disk(void **state)
{
	torture(FAULT_WRITE, 1, ENOSPC, false, 12);
}

static void test_full_disk_that_takes_half(void **state)
{
	torture(FAULT_WRITE, 1, EDQUOT, true, 12);
}

static void test_sync(void **state)
{
	torture(FAULT_SYNC, 1, EIO, false, 12);
}

static void test_names(void **state)
{
	torture(FAULT_NAME, 1, EMFILE, false, 12);
}

static void test_reading(void **state)
{
	torture(FAULT_READ, 1, EIO, false, 12);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/mse-torture-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)run_round(FAULT_MEMORY, ULONG_MAX, 1, ENOMEM, false);
	warm = true;
	return 0;
}

static int teardown(void **state)
{
	empty_dir(dir);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_for_a_while),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_full_disk_that_takes_half),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_reading),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
