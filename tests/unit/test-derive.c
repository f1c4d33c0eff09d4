/* derive: what it announces, once, whatever is lost between two steps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "journal/presence.h"
#include "test-derive-common.h"

/* Until nothing waits; time passes for looks, seals and commits. */
static void settle(struct derive_test *test)
{
	unsigned int i;

	for (i = 0; i < 20; i++) {
		run_once(test);
		mse_clock_fake_advance(&test->journal->clock, 1000);
	}
	assert_true(mse_derive_is_idle(test->derive));
}

/* Gaps in the journal; the last one's cause and text. */
static unsigned int count_type(struct derive_test *test, const char *part,
			       char *text_r, size_t size)
{
	struct mse_journal_reader *reader =
		journal_test_reader(test->journal);
	struct mse_read_result result;
	struct mse_error error;
	unsigned int count = 0;
	enum mse_read read;
	char text[4096];

	while ((read = mse_journal_reader_next(reader, &result, &error)) !=
	       MSE_READ_END) {
		if (read != MSE_READ_RECORD)
			continue;
		snprintf(text, sizeof(text), "%.*s",
			 (int)result.record.bytes.len,
			 result.record.bytes.data);
		if (strstr(text, part) == NULL)
			continue;
		count++;
		if (text_r != NULL)
			snprintf(text_r, size, "%s", text);
	}
	mse_journal_reader_free(&reader);
	return count;
}

static void lose(struct derive_test *test, uint64_t count)
{
	int fd = mse_journal_presence_fd(test->journal->journal);

	assert_int_equal(mse_presence_add_lost(fd, 7, count,
					       test->journal->clock.wall), 0);
}

static void test_losses(void **state)
{
	struct derive_test test;
	char text[4096];

	open_test(&test, *state);
	settle(&test);
	assert_int_equal(count_type(&test, "Gap", NULL, 0), 0);
	lose(&test, 3);
	settle(&test);
	assert_int_equal(count_type(&test, "Gap", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "presence:7:3"));
	assert_non_null(strstr(text, "lost in a mail process"));
	assert_non_null(strstr(text, "imap://mail.example/"));
	lose(&test, 2);
	settle(&test);
	assert_int_equal(count_type(&test, "Gap", text, sizeof(text)), 2);
	assert_non_null(strstr(text, "presence:7:5"));
	/* A new daemon has nothing new to tell. */
	stop(&test);
	open_derive(&test);
	settle(&test);
	assert_int_equal(count_type(&test, "Gap", NULL, 0), 2);
	close_test(&test);
}

/* Appended and synced, then the daemon died before the commit. */
static void test_crash_before_commit(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	lose(&test, 3);
	settle(&test);
	close_test(&test);
	open_test(&test, *state); /* a ledger that knows nothing of it */
	settle(&test);
	assert_int_equal(count_type(&test, "presence:7:3", NULL, 0), 1);
	close_test(&test);
}

static void test_damage(void **state)
{
	static const char foreign[] = "\x1e{\"half\":\x1e{}\n";
	struct mse_derive_status status;
	struct derive_test test;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 1, 0);
	journal_test_put(test.journal, "journal", foreign,
			 sizeof(foreign) - 1);
	journal_test_append(test.journal, 2, 1, 0);
	mse_derive_get_status(test.derive, &status);
	assert_true(status.behind_octets > sizeof(foreign));
	settle(&test);
	assert_int_equal(count_type(&test, "damage:", NULL, 0), 1);
	assert_int_equal(count_type(&test, "vnd.mailhook.lost", NULL, 0), 0);
	mse_derive_get_status(test.derive, &status);
	assert_int_equal(status.torn + status.damaged, 1);
	assert_int_equal(status.behind_octets, 0);
	close_test(&test);
	open_test(&test, *state);
	settle(&test);
	assert_int_equal(count_type(&test, "damage:", NULL, 0), 1);
	close_test(&test);
}

static bool old_file_is_sealed(struct derive_test *test)
{
	unsigned int count;

	return mse_journal_files(test->journal->journal, &count)[0].sealed;
}

/* Passes, a tenth of a second apart. */
static void run_for(struct derive_test *test, unsigned int ms)
{
	for (; ms > 0; ms -= 100) {
		run_once(test);
		mse_clock_fake_advance(&test->journal->clock, 100);
	}
}

static void limit_file(struct derive_test *test, uint64_t size)
{
	test->journal->limits.file_size = size;
	mse_journal_set_limits(test->journal->journal, &test->journal->limits);
}

/* Is at work since so long after this moment. */
static uint32_t start_work(struct derive_test *test, int64_t after_ms)
{
	struct mse_intent intent = {
		.wall_ms = mse_clock_wall(&test->journal->clock.clock) +
			after_ms,
		.user = "joe", .mailbox = "INBOX",
	};
	uint32_t id = mse_appender_intend(test->journal->appender, &intent);

	assert_true(id != 0);
	return id;
}

static void rotate_now(struct derive_test *test)
{
	unsigned int count;

	limit_file(test, 100);
	run_once(test);
	limit_file(test, MSE_JOURNAL_FILE_SIZE);
	(void)mse_journal_files(test->journal->journal, &count);
	assert_int_equal(count, 2);
	assert_false(old_file_is_sealed(test));
}

/* It looked for the file before the rotation and comes to write to it long
   after: a busy machine. What the same process tells next is in the new one,
   so this may not be late. */
static void write_to_the_old_one(struct derive_test *test, uint32_t id)
{
	struct mse_buf record;

	run_for(test, 1500);
	assert_false(old_file_is_sealed(test));
	mse_buf_init(&record, 4096);
	journal_test_record(&record, 4, 0);
	journal_test_put(test->journal, "journal.1", record.data, record.len);
	mse_buf_clear(&record);
	mse_appender_done(test->journal->appender, id);
	run_for(test, 500);
	assert_true(old_file_is_sealed(test));
	settle(test);
	assert_int_equal(count_type(test, "\"late\":true}", NULL, 0), 0);
}

static void test_seal_waits_for_who_is_at_work(void **state)
{
	struct derive_test test;
	uint32_t id;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	id = start_work(&test, -1);
	rotate_now(&test);
	write_to_the_old_one(&test, id);
	close_test(&test);
}

static void test_seal_waits_after_a_start(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	rotate_now(&test);
	restart(&test);
	write_to_the_old_one(&test, start_work(&test, -1));
	close_test(&test);
}

/* For others not, and for nobody for ever. */
static void test_seal_waits_no_longer(void **state)
{
	struct derive_test test;
	uint32_t id;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	id = start_work(&test, -1);
	rotate_now(&test);
	/* Since after the rotation. */
	mse_appender_done(test.journal->appender, id);
	id = start_work(&test, 1);
	run_for(&test, 600);
	assert_true(old_file_is_sealed(&test));
	settle(&test);
	mse_appender_done(test.journal->appender, id);
	start_work(&test, -1);
	journal_test_append(test.journal, 5, 1, 0);
	limit_file(&test, 100);
	run_once(&test);
	limit_file(&test, MSE_JOURNAL_FILE_SIZE);
	run_for(&test, 5600);
	assert_true(mse_journal_files(test.journal->journal,
				      &(unsigned int){0})[1].sealed);
	close_test(&test);
}

static void test_rotation_and_late(void **state)
{
	const struct mse_journal_file *files;
	struct derive_test test;
	struct mse_buf late;
	unsigned int count;
	bool rotated;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	assert_int_equal(mse_journal_rotate(test.journal->journal, true,
					    &rotated, NULL), 0);
	assert_true(rotated);
	settle(&test);
	files = mse_journal_files(test.journal->journal, &count);
	assert_int_equal(count, 2);
	assert_true(files[0].sealed);
	assert_int_equal(files[0].sealed_length, files[0].size);
	assert_string_equal(mse_derive_file(test.derive), files[1].uuid);

	mse_buf_init(&late, 4096);
	journal_test_record(&late, 9, 0);
	journal_test_put(test.journal, "journal.1", late.data, late.len);
	mse_buf_clear(&late);
	settle(&test);
	assert_int_equal(count_type(&test, "\"late\":true}", NULL, 0), 1);
	stop(&test);
	open_derive(&test);
	settle(&test);
	assert_int_equal(count_type(&test, "\"late\":true}", NULL, 0), 1);
	close_test(&test);
}

static int count_one(const char *key, const char *value, void *context)
{
	unsigned int *count = context;

	(*count)++;
	return 0;
}

static int count_late_job(struct mse_ledger *ledger, void *context,
			  struct mse_error *error_r)
{
	return mse_ledger_each_derived(ledger, "late", NULL, 0, count_one,
				       context, error_r);
}

/* Files of which the ledger knows what came behind the seal. */
static unsigned int remembered(struct derive_test *test)
{
	unsigned int count = 0;
	struct mse_error error;

	assert_int_equal(mse_ledger_worker_call(test->worker, count_late_job,
						&count, &error), 0);
	return count;
}

static void rotate_and_seal(struct derive_test *test)
{
	bool rotated;

	assert_int_equal(mse_journal_rotate(test->journal->journal, true,
					    &rotated, NULL), 0);
	assert_true(rotated);
	settle(test);
}

static void put_late(struct derive_test *test, unsigned int n)
{
	struct mse_buf late;

	mse_buf_init(&late, 4096);
	journal_test_record(&late, n, 0);
	journal_test_put(test->journal, "journal.1", late.data, late.len);
	mse_buf_clear(&late);
}

static void release_oldest(struct derive_test *test)
{
	static const struct timespec times[2];
	struct mse_error error = { "" };
	unsigned int count;

	/* As old as can be. */
	assert_int_equal(utimensat(AT_FDCWD, journal_test_path(
		test->journal, "journal.1"), times, 0), 0);
	if (mse_journal_release(test->journal->journal,
				mse_derive_file(test->derive), NULL, NULL,
				&error) < 0)
		fail_msg("%s", error.text);
	(void)mse_journal_files(test->journal->journal, &count);
	assert_int_equal(count, 1);
}

/* A released file's tail is read a last time, then nothing of it stays. */
static void test_released(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	rotate_and_seal(&test);
	put_late(&test, 9);
	settle(&test);
	assert_int_equal(remembered(&test), 1);
	/* Behind the last look, before the name went. */
	put_late(&test, 10);
	release_oldest(&test);
	settle(&test);
	assert_int_equal(count_type(&test, "\"late\":true}", NULL, 0), 2);
	assert_int_equal(remembered(&test), 0);
	close_test(&test);
}

/* The daemon died before derive had noticed the release. */
static void test_released_and_restarted(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	rotate_and_seal(&test);
	put_late(&test, 9);
	settle(&test);
	release_oldest(&test);
	assert_int_equal(remembered(&test), 1);
	stop(&test);
	open_derive(&test);
	assert_int_equal(remembered(&test), 0);
	settle(&test);
	assert_int_equal(count_type(&test, "\"late\":true}", NULL, 0), 1);
	close_test(&test);
}

/* What stays incomplete behind a seal has lost its writer. */
static void test_torn_behind_the_seal(void **state)
{
	static const char torn[] = "\x1e{\"id\":\"0199";
	struct derive_test test;
	unsigned int i;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	rotate_and_seal(&test);
	journal_test_put(test.journal, "journal.1", torn, sizeof(torn) - 1);
	settle(&test);
	/* Its writer may only be slow. */
	assert_int_equal(count_type(&test, "damage:", NULL, 0), 0);
	for (i = 0; i < 6; i++)
		settle(&test);
	assert_int_equal(count_type(&test, "damage:", NULL, 0), 1);
	assert_int_equal(count_type(&test, "torn record in the journal", NULL,
				    0), 1);
	/* If its writer lived on, it has counted it. */
	assert_int_equal(count_type(&test, "vnd.mailhook.lost", NULL, 0), 0);
	stop(&test);
	open_derive(&test);
	for (i = 0; i < 6; i++)
		settle(&test);
	assert_int_equal(count_type(&test, "damage:", NULL, 0), 1);
	close_test(&test);
}

/* Runs once and expects a sentence. */
static void expect_sentence(struct derive_test *test, const char *part)
{
	struct mse_error error = { "" };

	assert_true(mse_derive_run(test->derive, &error) == INT64_MAX - 1);
	if (strstr(error.text, part) == NULL)
		fail_msg("\"%s\" without \"%s\"", error.text, part);
	mse_ledger_worker_dispatch(test->worker);
}

/* An append that fails is said, waits longer each time, and is made up for;
   no cursor passes what is in line meanwhile. */
static void test_failed_append(void **state)
{
	struct derive_test test;
	struct mse_error error = { "" };
	int64_t wait = 0, before, next;
	unsigned int i;

	open_test(&test, *state);
	settle(&test);
	lose(&test, 3);
	/* No octet more is allowed. */
	test.journal->limits.journal_limit = 1;
	mse_journal_set_limits(test.journal->journal, &test.journal->limits);
	assert_int_equal(mse_journal_allow(test.journal->journal, 1, &error),
			 0);
	mse_clock_fake_advance(&test.journal->clock, 2000);
	for (i = 0; i < 4; i++) {
		expect_sentence(&test, "could not be appended");
		before = test.journal->clock.mono;
		next = mse_derive_run(test.derive, &error);
		assert_true(next - before > wait);
		wait = next - before;
		assert_false(mse_derive_is_idle(test.derive));
		mse_clock_fake_advance(&test.journal->clock, wait);
	}
	assert_int_equal(count_type(&test, "presence:", NULL, 0), 0);
	test.journal->limits.journal_limit = 1024 * 1024 * 1024;
	mse_journal_set_limits(test.journal->journal, &test.journal->limits);
	assert_int_equal(mse_journal_allow(test.journal->journal, 1, &error),
			 0);
	mse_clock_fake_advance(&test.journal->clock, 60000);
	settle(&test);
	assert_int_equal(count_type(&test, "presence:7:3", NULL, 0), 1);
	/* It came late, but nothing of derive's own is lost. */
	mse_clock_fake_advance(&test.journal->clock, 60000);
	settle(&test);
	assert_int_equal(count_type(&test, "presence:", NULL, 0), 1);
	close_test(&test);
}

static int spoil_cursor(struct mse_ledger *ledger, void *context,
			struct mse_error *error_r)
{
	struct mse_ledger_cursor cursor;

	if (mse_ledger_get_cursor(ledger, MSE_LEDGER_DERIVE, &cursor,
				  error_r) != 1)
		return -1;
	cursor.position.offset++;
	return mse_ledger_put_cursor(ledger, MSE_LEDGER_DERIVE, &cursor,
				     error_r);
}

static int spoil_boot(struct mse_ledger *ledger, void *context,
		      struct mse_error *error_r)
{
	if (mse_ledger_put_value(ledger, "boot-id", "another", error_r) < 0)
		return -1;
	return mse_ledger_put_value(ledger, "clean", context, error_r);
}

static void restart_with(struct derive_test *test,
			 int (*spoil)(struct mse_ledger *ledger, void *context,
				      struct mse_error *error_r),
			 void *context)
{
	struct mse_error error;

	stop(test);
	assert_int_equal(mse_ledger_worker_call(test->worker, spoil, context,
						&error), 0);
	open_derive(test);
	settle(test);
}

static void test_mismatch(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 3, 0);
	settle(&test);
	restart_with(&test, spoil_cursor, NULL);
	assert_int_equal(count_type(&test, "position:", NULL, 0), 1);
	close_test(&test);
}

static void test_boot(void **state)
{
	struct derive_test test;
	char text[4096];

	open_test(&test, *state);
	journal_test_append(test.journal, 1, 1, 0);
	settle(&test);
	restart_with(&test, spoil_boot, "1");
	assert_int_equal(count_type(&test, "boot:", NULL, 0), 0);
	restart_with(&test, spoil_boot, "0");
	assert_int_equal(count_type(&test, "boot:", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "vnd.mailhook.since"));
	close_test(&test);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						   journal_test_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_losses),
		TEST(test_crash_before_commit),
		TEST(test_damage),
		TEST(test_seal_waits_for_who_is_at_work),
		TEST(test_seal_waits_after_a_start),
		TEST(test_seal_waits_no_longer),
		TEST(test_rotation_and_late),
		TEST(test_released),
		TEST(test_released_and_restarted),
		TEST(test_torn_behind_the_seal),
		TEST(test_failed_append),
		TEST(test_mismatch),
		TEST(test_boot),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
