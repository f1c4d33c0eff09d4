/*
 * The power fails, at any point of a mail server's day, and takes with it
 * whatever was not synced, or any part of it (disk.h). The daemon starts on
 * what is left, after mail processes have appended to it already. With
 * `power` durability everything that was acknowledged has come to the
 * receiver then; with `process` what has not is covered by the Gap of an
 * unclean boot. Numbers and ids stay together, no floor lies.
 *
 * MAILHOOK_TORTURE=all cuts everywhere; without it a sample that takes
 * seconds. MAILHOOK_TORTURE=CUT:POLICY:SEED cuts there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "test-flow-common.h"

#define BOOT_GAP "the machine stopped without shutting down"

static char dir[64], dir_after[64];
/* When each event's append returned, and when the receiver said 200. */
static size_t event_at[EVENTS_MAX], sent_at[ENDPOINTS][SENT_MAX];
/* When each request was out, and when the daemon heard of its answer. */
static size_t posted_at[ENDPOINTS][REQUESTS_MAX];
static size_t heard_at[ENDPOINTS][REQUESTS_MAX];
/* Appended while no daemon ran: nobody but the kernel syncs it, and whether
   the machine was shut down or not after that leaves no trace. `process` does
   not promise more (journal.md). */
static bool alone[EVENTS_MAX];
/* From here on mail processes know that somebody wants their events. */
static size_t wanted_at;
/* The story's world, and the one that goes on after the cut. */
static struct world *story, *after;

static void appended(struct world *world, const struct event *event)
{
	event_at[event - world->events] = disk_now();
	alone[event - world->events] = world->journal == NULL;
}

static void posted(struct receiver *receiver, const struct carried *carried)
{
	size_t index = (size_t)(receiver - story->receivers);

	(carried->answered ? heard_at : posted_at)
		[index][carried - receiver->carried] = disk_now();
}

static void accepted(struct receiver *receiver)
{
	sent_at[receiver - story->receivers][receiver->sent_count - 1] =
		disk_now();
}

/* Starts and stops, rotations, refusals, batches that are halved, a killed
   daemon. */
static void live(struct world *world)
{
	struct mse_appender *appender;
	unsigned int i;

	start(world);
	wanted_at = disk_now();
	pass(world, 2000, 500);
	appender = process(world);
	for (i = 0; i < 4; i++) {
		mail(world, appender, "u0");
		mail(world, appender, "u1");
		if (i == 1)
			poison(world, 422, 4);
		one_pass(world);
		mail(world, appender, "u2");
	}
	pass(world, 2000, 500);
	for (i = 0; i < 8; i++) {
		mail(world, appender, "u2");
		if (i == 1)
			poison(world, 500, 5);
	}
	/* Rotates; who has the old file open goes on in the new one. */
	one_pass(world);
	mail(world, appender, "u0");
	pass(world, 1000, 100);
	mail(world, appender, "u0");
	stop(world);
	mail(world, appender, "u1");
	start(world);
	pass(world, 2000, 200);
	mail(world, appender, "u0");
	mail(world, appender, "u1");
	poison(world, 500, 1);
	pass(world, 1000, 200);
	world->silent = true;
	pass(world, 3000, 500);
	for (i = 0; i < 10; i++)
		mail(world, appender, "u3");
	/* kill -9; the feed had just taken batches. */
	one_pass(world);
	take_down(world);
	world->silent = false;
	mail(world, appender, "u3");
	start(world);
	pass(world, 20000, 1000);
	mail(world, appender, "u0");
	one_pass(world);
	mse_appender_free(&appender);
}

static void recall_receiver(unsigned int index, size_t cut)
{
	const struct receiver *then = &story->receivers[index];
	struct receiver *receiver = &after->receivers[index];
	unsigned int i;

	receiver->reasons[0] = receiver->stream[0] = '\0';
	receiver->streams = 0;
	for (i = 0; i < then->sent_count && sent_at[index][i] <= cut; i++)
		know(receiver, &then->sent[i]);
	receiver->sent_count = i;
	for (i = 0; i < then->carried_count && posted_at[index][i] <= cut;
	     i++) {
		if (heard_at[index][i] > cut)
			receiver->carried[i].answered = false;
	}
	receiver->carried_count = i;
}

/* What the receivers know at the cut. */
static void recall(struct world *world, size_t cut)
{
	unsigned int i;

	*world = *story;
	snprintf(world->dir, sizeof(world->dir), "%s", dir_after);
	world->appended = NULL;
	world->posted = NULL;
	world->accepted_one = NULL;
	world->transport = after->transport;
	world->refusals = world->poison_count = world->out_count = 0;
	world->conf.endpoints = world->endpoints;
	for (i = 0; i < ENDPOINTS; i++)
		recall_receiver(i, cut);
	for (i = 0; i < story->event_count && event_at[i] <= cut; i++)
		;
	world->event_count = i;
}

static void check(struct world *world, const struct receiver *receiver)
{
	bool told = strstr(receiver->reasons, BOOT_GAP) != NULL ||
		strstr(receiver->reasons, "the ledger was lost") != NULL;
	const char *name = receiver->name;
	const struct event *event;
	unsigned int i;

	check_numbers(world, receiver);
	for (i = 0; i < world->event_count; i++) {
		event = &world->events[i];
		if (event->result != MSE_APPEND_DONE ||
		    times_sent(receiver, event->id) > 0)
			continue;
		/* After the boot nothing was lost any more. */
		if (world->durability == MSE_DURABILITY_POWER ||
		    event_at[i] == SIZE_MAX)
			fail_round(world, "%s: event %u (%s) was acknowledged "
				   "and is lost", name, i, event->owner);
		if (!told && !alone[i])
			fail_round(world, "%s: event %u (%s) is lost and "
				   "nobody says so: \"%s\"", name, i,
				   event->owner, receiver->reasons);
	}
}

static void after_boot(struct world *world, struct mse_appender *appender,
		       const char *owner)
{
	mail(world, appender, owner);
	event_at[world->event_count - 1] = SIZE_MAX;
	alone[world->event_count - 1] = false;
}

static void run_cut(size_t cut, enum disk_policy policy, unsigned int seed)
{
	struct mse_appender *appender;
	struct world *world = after;
	unsigned int i;

	empty_dir(dir_after);
	disk_after_cut(cut, policy, seed, dir_after);
	after->transport = story->transport;
	recall(world, cut);
	snprintf(world->why, sizeof(world->why), "%zu:%d:%u", cut, policy,
		 seed);
	mse_clock_fake_advance(&world->clock, 3600000);
	world->clock.mono = 1000;
	/* Mail comes before the daemon does. */
	appender = process(world);
	for (i = 0; i < 2 && cut >= wanted_at; i++)
		after_boot(world, appender, "u0");
	start(world);
	pass(world, 5000, 500);
	after_boot(world, appender, "u1");
	mse_appender_free(&appender);
	pass(world, 30000, 2000);
	for (i = 0; i < ENDPOINTS; i++)
		check(world, &world->receivers[i]);
	stop(world);
}

static bool cut_passes(size_t cut, enum disk_policy policy, unsigned int seed)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(120);
		run_cut(cut, policy, seed);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		print_error("%zu:%d:%u: died of signal %d\n", cut, policy,
			    seed, WTERMSIG(status));
	return status == 0;
}

static void tell_story(enum mse_durability durability)
{
	empty_dir(dir);
	disk_watch(dir);
	disk_boot(1);
	memset(story, 0, sizeof(*story));
	init_world(story, dir);
	story->durability = durability;
	story->appended = appended;
	story->posted = posted;
	story->accepted_one = accepted;
	live(story);
	check_story(story);
	disk_stop();
	disk_boot(2);
}

static void end_story(void)
{
	take_down(story);
	release_world(story);
	disk_forget();
}

static void cut_everywhere(enum mse_durability durability,
			   unsigned long sample)
{
	const char *only = getenv("MAILHOOK_TORTURE");
	unsigned int policy, seed, failed = 0, rounds = 0;
	size_t cut, count, step;
	unsigned long at;

	tell_story(durability);
	count = disk_now();
	if (only != NULL &&
	    sscanf(only, "%lu:%u:%u", &at, &policy, &seed) == 3) {
		run_cut(at, policy, seed);
		end_story();
		return;
	}
	step = only != NULL || count < sample ? 1 :
		(count + sample - 1) / sample;
	cut = step > 1 ? (size_t)time(NULL) / 86400 % step : 0;
	for (; cut <= count && (failed < 10 || only != NULL); cut += step) {
		for (policy = 0; policy <= DISK_ALL; policy++, rounds++)
			failed += !cut_passes(cut, policy, (unsigned int)cut);
	}
	print_message("%u rounds, %zu steps to cut behind\n", rounds, count);
	end_story();
	assert_int_equal(failed, 0);
}

static void test_power(void **state)
{
	cut_everywhere(MSE_DURABILITY_POWER, 15);
}

static void test_process(void **state)
{
	cut_everywhere(MSE_DURABILITY_PROCESS, 25);
}

static size_t read_journal(const char *where, char *data, size_t size)
{
	char path[128];
	size_t len;
	FILE *file;

	snprintf(path, sizeof(path), "%s/journal", where);
	file = fopen(path, "rb");
	assert_non_null(file);
	len = fread(data, 1, size, file);
	fclose(file);
	return len;
}

/* The kernel could not write, says so once, and takes it for written. */
static void test_failed_sync(void **state)
{
	static char before[FILE_SIZE * 2], left[FILE_SIZE * 2];
	struct mse_appender *appender;
	struct mse_error error;
	size_t len;

	empty_dir(dir);
	empty_dir(dir_after);
	disk_watch(dir);
	memset(story, 0, sizeof(*story));
	init_world(story, dir);
	story->durability = MSE_DURABILITY_PROCESS;
	start(story);
	appender = process(story);
	mail(story, appender, "u0");
	disk_fail_sync(1);
	assert_int_equal(mse_journal_sync(story->journal, &error), -1);
	mail(story, appender, "u0");
	assert_int_equal(mse_journal_sync(story->journal, &error), 0);
	len = read_journal(dir, before, sizeof(before));
	disk_after_cut(disk_now(), DISK_NOTHING, 0, dir_after);
	assert_int_equal(read_journal(dir_after, left, sizeof(left)), len);
	assert_memory_equal(before, left, len);
	mse_appender_free(&appender);
	disk_stop();
	end_story();
}

static struct mse_appender *meanwhile;
static size_t appended_at;

static void append_meanwhile(void)
{
	mail(story, meanwhile, "u1");
	appended_at = disk_now();
}

/* A mail process finds the new file as soon as it has its name, which is not
   on disk yet; what it puts there is. */
static void test_new_file(void **state)
{
	unsigned int policy, seed, failed = 0;
	struct mse_appender *appender;
	size_t end;

	empty_dir(dir);
	disk_watch(dir);
	disk_boot(1);
	memset(story, 0, sizeof(*story));
	init_world(story, dir);
	story->durability = MSE_DURABILITY_POWER;
	story->appended = appended;
	story->posted = posted;
	story->accepted_one = accepted;
	start(story);
	pass(story, 2000, 500);
	wanted_at = 0;
	appended_at = 0;
	appender = process(story);
	meanwhile = process(story);
	disk_before_names(append_meanwhile);
	while (appended_at == 0 && story->event_count < EVENTS_MAX - 4) {
		mail(story, appender, "u0");
		one_pass(story);
	}
	assert_int_not_equal(appended_at, 0);
	end = disk_now();
	disk_stop();
	disk_boot(2);
	for (policy = 0; policy <= DISK_ALL; policy++) {
		for (seed = 0; seed < 4; seed++)
			failed += !cut_passes(appended_at, policy, seed);
	}
	failed += !cut_passes(end, DISK_NOTHING, 0);
	mse_appender_free(&appender);
	mse_appender_free(&meanwhile);
	end_story();
	assert_int_equal(failed, 0);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/mse-power-XXXXXX");
	strcpy(dir_after, "/tmp/mse-power-XXXXXX");
	if (mkdtemp(dir) == NULL || mkdtemp(dir_after) == NULL)
		return -1;
	story = calloc(1, sizeof(*story));
	after = calloc(1, sizeof(*after));
	return story == NULL || after == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	empty_dir(dir);
	empty_dir(dir_after);
	free(story);
	free(after);
	return rmdir(dir) + rmdir(dir_after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failed_sync),
		cmocka_unit_test(test_new_file),
		cmocka_unit_test(test_power),
		cmocka_unit_test(test_process),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
