/*
 * The set of files: made, found again after a crash, rotated, sealed,
 * released; late records; the watch.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/presence.h"
#include "test-journal-common.h"

static void rotate(struct journal_test *test)
{
	struct mse_error error;
	bool rotated;

	assert_int_equal(mse_journal_rotate(test->journal, true, &rotated,
					    &error), 0);
	assert_true(rotated);
}

static unsigned int file_count(const struct journal_test *test)
{
	unsigned int count;

	(void)mse_journal_files(test->journal, &count);
	return count;
}

static ino_t inode(const struct journal_test *test, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(journal_test_path(test, name), &st), 0);
	return st.st_ino;
}

/* The one name that begins so; "" if there is none. */
static void find_name(const struct journal_test *test, const char *prefix,
		      char name_r[256])
{
	const struct dirent *entry;
	DIR *dir = opendir(test->dir);

	name_r[0] = '\0';
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			strcpy(name_r, entry->d_name);
	}
	closedir(dir);
}

static void refuse(struct journal_test *test)
{
	struct mse_error error = { "" };

	assert_int_equal(mse_journal_open(test->dir, &test->limits,
					  &test->clock.clock, &test->journal,
					  &error), -1);
	assert_null(test->journal);
	assert_string_not_equal(error.text, "");
}

static void test_created(void **state)
{
	struct journal_test *test = *state;
	mode_t mask = umask(077);
	struct stat st;

	journal_test_open(test);
	umask(mask);
	assert_true(mse_journal_was_created(test->journal));
	assert_int_equal(stat(journal_test_path(test, "journal"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	/* Preallocated, and yet not longer than its header. */
	assert_true(st.st_size < 1000);
	journal_test_append(test, 1, 1, 0);
	journal_test_close(test);
	journal_test_open(test);
	assert_false(mse_journal_was_created(test->journal));
	assert_int_equal(file_count(test), 1);
	assert_true(inode(test, "journal") == st.st_ino);
}

static void test_foreign(void **state)
{
	struct journal_test *test = *state;
	char name[256];

	journal_test_put(test, "journal", "something else\n", 15);
	journal_test_open(test);
	assert_true(mse_journal_was_created(test->journal));
	find_name(test, "journal.foreign-", name);
	assert_string_not_equal(name, "");
	assert_int_equal(journal_test_file_size(test, name), 15);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
	journal_test_close(test);
	journal_test_open(test);
	assert_false(mse_journal_was_created(test->journal));
	assert_int_equal(file_count(test), 1);
}

static void test_refused(void **state)
{
	struct journal_test *test = *state;
	static const char newer[] = "\x1e{\"id\":"
		"\"0190a5a0-0000-7000-8000-000000000000\",\"type\":"
		"\"vnd.mailhook.journal\",\"time\":"
		"\"2026-11-24T04:30:35.123+01:00\",\"data\":{\"version\":2}}\n";
	char path[128];

	strcpy(path, journal_test_path(test, "journal"));
	assert_int_equal(mkdir(path, 0700), 0);
	refuse(test);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	refuse(test);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	refuse(test);
	assert_int_equal(unlink(path), 0);
	journal_test_put(test, "journal", newer, sizeof(newer) - 1);
	refuse(test);
	assert_int_equal(journal_test_file_size(test, "journal"),
			 sizeof(newer) - 1);
	assert_int_equal(unlink(path), 0);
	strcpy(path, test->dir);
	strcpy(test->dir, "/nonexistent/mailhook");
	refuse(test);
	strcpy(test->dir, path);
}

static void test_rotation(void **state)
{
	struct journal_test *test = *state;
	const struct mse_journal_file *files;
	ino_t old = inode(test, "journal");
	struct mse_error error;
	unsigned int count;
	bool rotated = true;

	assert_int_equal(mse_journal_rotate(test->journal, false, &rotated,
					    &error), 0);
	assert_false(rotated);
	test->limits.file_size = 1000;
	mse_journal_set_limits(test->journal, &test->limits);
	journal_test_append(test, 1, 10, 100);
	assert_int_equal(mse_journal_rotate(test->journal, false, &rotated,
					    &error), 0);
	assert_true(rotated);
	assert_true(inode(test, "journal.1") == old);
	assert_true(inode(test, "journal") != old);
	rotate(test);
	assert_true(inode(test, "journal.1") == old);
	files = mse_journal_files(test->journal, &count);
	assert_int_equal(count, 3);
	assert_int_equal(files[0].number, 1);
	assert_int_equal(files[1].number, 2);
	assert_int_equal(files[2].number, 0);
	assert_true(files[2].current);
	assert_false(files[0].current);
	assert_string_not_equal(files[0].uuid, files[1].uuid);
	assert_int_equal(mse_journal_sync(test->journal, &error), 0);
	journal_test_close(test);
	journal_test_open(test);
	assert_int_equal(file_count(test), 3);
}

/* Begun here, run there, and the journal may be gone before it ends. */
static void test_sync_in_steps(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_sync *first, *second, *nothing = NULL;
	struct mse_error error;

	journal_test_append(test, 3, 1, 0);
	assert_int_equal(mse_journal_sync_begin(test->journal, &first), 0);
	journal_test_append(test, 3, 1, 0);
	assert_int_equal(mse_journal_sync_begin(test->journal, &second), 0);
	assert_int_equal(mse_journal_sync_run(second, &error), 0);
	mse_journal_sync_end(&second, true);
	assert_null(second);
	/* Late, and about less: it takes nothing back. */
	assert_int_equal(mse_journal_sync_run(first, &error), 0);
	assert_int_equal(mse_journal_sync_run(first, &error), 0);
	journal_test_close(test);
	mse_journal_sync_end(&first, true);
	mse_journal_sync_end(&nothing, false);
	journal_test_open(test);
}

/* Killed between link and rename. */
static void test_interrupted_rotation(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	const struct mse_journal_file *files;
	char from[128], to[128];
	unsigned int count;

	journal_test_append(test, 1, 1, 0);
	journal_test_close(test);
	strcpy(from, journal_test_path(test, "journal"));
	strcpy(to, journal_test_path(test, "journal.1"));
	assert_int_equal(link(from, to), 0);
	journal_test_put(test, "journal.tmp", "half", 4);
	journal_test_open(test);
	assert_false(mse_journal_was_created(test->journal));
	assert_false(journal_test_exists(test, "journal.tmp"));
	assert_true(inode(test, "journal") != inode(test, "journal.1"));
	journal_test_append(test, 2, 1, 0);
	files = mse_journal_files(test->journal, &count);
	assert_int_equal(count, 2);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	reader = journal_test_reader(test);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

/* Somebody removes `journal`: a new one comes, what was in the old one is
   still read. */
static void test_current_taken_away(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	const struct mse_journal_file *files;
	struct mse_error error;
	unsigned int count;
	bool rotated;

	journal_test_append(test, 1, 1, 0);
	assert_int_equal(unlink(journal_test_path(test, "journal")), 0);
	assert_int_equal(mse_journal_rotate(test->journal, false, &rotated,
					    &error), 0);
	assert_true(rotated);
	journal_test_append(test, 2, 1, 0);
	files = mse_journal_files(test->journal, &count);
	assert_int_equal(count, 2);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	mse_journal_reader_free(&reader);
	/* And what cannot be moved out of the way is said. */
	assert_int_equal(unlink(journal_test_path(test, "journal")), 0);
	assert_int_equal(mkdir(journal_test_path(test, "journal"), 0700), 0);
	assert_int_equal(mse_journal_rotate(test->journal, false, &rotated,
					    &error), -1);
	assert_false(journal_test_exists(test, "journal.tmp"));
}

static void test_seal(void **state)
{
	struct journal_test *test = *state;
	const struct mse_journal_file *files;
	unsigned int count;

	files = mse_journal_files(test->journal, &count);
	mse_journal_seal(test->journal, files[0].uuid, 5);
	files = mse_journal_files(test->journal, &count);
	assert_false(files[0].sealed);
	rotate(test);
	files = mse_journal_files(test->journal, &count);
	assert_false(files[0].sealed);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	mse_journal_seal(test->journal, files[0].uuid, 1);
	files = mse_journal_files(test->journal, &count);
	assert_true(files[0].sealed);
	assert_int_equal(files[0].sealed_length, files[0].size);
}

struct releases {
	struct journal_test *test;
	unsigned int count, forced;
	bool had_name;
};

static void note_release(const struct mse_journal_file *file, bool forced,
			 void *context)
{
	struct releases *releases = context;
	char name[32];

	releases->count++;
	if (forced)
		releases->forced++;
	snprintf(name, sizeof(name), "journal.%u", (unsigned int)file->number);
	releases->had_name = journal_test_exists(releases->test, name);
}

static void test_retention(void **state)
{
	struct journal_test *test = *state;
	struct releases releases = { .test = test };
	const struct mse_journal_file *files;
	char first[MSE_UUID_SIZE], third[MSE_UUID_SIZE];
	struct mse_error error;
	unsigned int count;

	rotate(test);
	rotate(test);
	files = mse_journal_files(test->journal, &count);
	strcpy(first, files[0].uuid);
	strcpy(third, files[2].uuid);
	/* Not old. */
	test->clock.wall = files[0].newest_ms;
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	assert_int_equal(mse_journal_release(test->journal, NULL, note_release,
					     &releases, &error), 0);
	assert_int_equal(releases.count, 0);
	/* Old, but a cursor stands in it, or in one we know nothing of. */
	test->clock.wall += 2 * test->limits.retention_ms;
	assert_int_equal(mse_journal_release(test->journal, first,
					     note_release, &releases, &error),
			 0);
	assert_int_equal(mse_journal_release(test->journal, "x", note_release,
					     &releases, &error), 0);
	assert_int_equal(releases.count, 0);
	/* Passed; the second is not sealed and stays. */
	assert_int_equal(mse_journal_release(test->journal, third,
					     note_release, &releases, &error),
			 0);
	assert_int_equal(releases.count, 1);
	assert_int_equal(releases.forced, 0);
	assert_true(releases.had_name);
	assert_false(journal_test_exists(test, "journal.1"));
	assert_true(journal_test_exists(test, "journal.2"));
	assert_int_equal(file_count(test), 2);
}

static void test_journal_limit(void **state)
{
	struct journal_test *test = *state;
	struct releases releases = { .test = test };
	const struct mse_journal_file *files;
	char first[MSE_UUID_SIZE];
	struct mse_presence_head head;
	struct mse_error error;
	unsigned int count;

	test->limits.file_size = 10000;
	test->limits.journal_limit = 35000;
	mse_journal_set_limits(test->journal, &test->limits);
	journal_test_append(test, 1, 1, 10000);
	rotate(test);
	journal_test_append(test, 2, 1, 10000);
	rotate(test);
	files = mse_journal_files(test->journal, &count);
	strcpy(first, files[0].uuid);
	assert_int_equal(mse_journal_release(test->journal, first,
					     note_release, &releases, &error),
			 0);
	assert_int_equal(releases.count, 0);
	assert_int_equal(mse_journal_allow(test->journal, 9, &error), 0);
	assert_int_equal(mse_presence_read_head(
		mse_journal_presence_fd(test->journal), &head), 0);
	assert_int_equal(head.generation, 9);
	assert_int_equal(head.allowed_size,
			 35000 - files[0].size - files[1].size);
	/* The current file could not grow to its size any more. */
	test->limits.journal_limit = 30000;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_release(test->journal, first,
					     note_release, &releases, &error),
			 0);
	assert_int_equal(releases.count, 1);
	assert_int_equal(releases.forced, 1);
	/* The last one stays, whatever the limit. */
	test->limits.journal_limit = 1;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_release(test->journal, first,
					     note_release, &releases, &error),
			 0);
	assert_int_equal(file_count(test), 1);
	assert_int_equal(mse_journal_allow(test->journal, 9, &error), 0);
	assert_int_equal(mse_presence_read_head(
		mse_journal_presence_fd(test->journal), &head), 0);
	assert_int_equal(head.allowed_size, 1);
}

static int note_late(const char *text, size_t len, void *context)
{
	unsigned int *numbers = context;
	const char *n = memmem(text, len, "\"n\":", 4);

	assert_non_null(n);
	numbers[++numbers[0]] = (unsigned int)atoi(n + 4);
	return 0;
}

static void put_records(struct journal_test *test, const char *name,
			unsigned int n, unsigned int count, size_t skip,
			size_t keep)
{
	struct mse_buf buf;
	unsigned int i;

	mse_buf_init(&buf, 65536);
	for (i = 0; i < count; i++)
		journal_test_record(&buf, n + i, 0);
	if (keep > buf.len - skip)
		keep = buf.len - skip;
	journal_test_put(test, name, buf.data + skip, keep);
	mse_buf_clear(&buf);
}

static void test_late(void **state)
{
	struct journal_test *test = *state;
	const struct mse_journal_file *files;
	unsigned int count, numbers[16] = { 0 };
	char uuid[MSE_UUID_SIZE];
	struct mse_error error;

	journal_test_append(test, 1, 1, 0);
	/* The seal falls into a record that is being written. */
	put_records(test, "journal", 2, 1, 0, 30);
	rotate(test);
	files = mse_journal_files(test->journal, &count);
	strcpy(uuid, files[0].uuid);
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 0);
	mse_journal_seal(test->journal, uuid, files[0].size);
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 0);
	put_records(test, "journal.1", 2, 1, 30, SIZE_MAX);
	put_records(test, "journal.1", 3, 2, 0, SIZE_MAX);
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 3);
	assert_int_equal(numbers[1], 2);
	assert_int_equal(numbers[2], 3);
	assert_int_equal(numbers[3], 4);
	/* Each once. */
	put_records(test, "journal.1", 5, 1, 0, SIZE_MAX);
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 4);
	assert_int_equal(numbers[4], 5);
}

/* An append just before the name goes is in the tail, and the tail is read
   after it has gone. */
static void test_late_after_release(void **state)
{
	struct journal_test *test = *state;
	const struct mse_journal_file *files;
	unsigned int count, numbers[16] = { 0 };
	char uuid[MSE_UUID_SIZE];
	struct mse_error error;

	rotate(test);
	files = mse_journal_files(test->journal, &count);
	strcpy(uuid, files[0].uuid);
	mse_journal_seal(test->journal, uuid, files[0].size);
	put_records(test, "journal.1", 1, 1, 0, SIZE_MAX);
	test->limits.journal_limit = 1;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_release(test->journal, NULL, NULL, NULL,
					     &error), 0);
	assert_false(journal_test_exists(test, "journal.1"));
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 1);
	assert_int_equal(numbers[1], 1);
	assert_int_equal(mse_journal_release(test->journal, NULL, NULL, NULL,
					     &error), 0);
	assert_int_equal(mse_journal_each_late(test->journal, uuid, note_late,
					       numbers, &error), 0);
	assert_int_equal(numbers[0], 1);
}

static bool is_readable(const struct journal_test *test)
{
	struct pollfd pollfd = {
		.fd = mse_journal_watch_fd(test->journal), .events = POLLIN,
	};

	return poll(&pollfd, 1, 0) == 1;
}

static void test_watch(void **state)
{
	struct journal_test *test = *state;

	if (mse_journal_watch_fd(test->journal) < 0)
		skip();
	mse_journal_watch_drain(test->journal);
	assert_false(is_readable(test));
	journal_test_append(test, 1, 1, 0);
	assert_true(is_readable(test));
	mse_journal_watch_drain(test->journal);
	assert_false(is_readable(test));
	rotate(test);
	mse_journal_watch_drain(test->journal);
	journal_test_append(test, 2, 1, 0);
	assert_true(is_readable(test));
	mse_journal_watch_drain(test->journal);
	/* Late records are heard of too. */
	put_records(test, "journal.1", 3, 1, 0, SIZE_MAX);
	assert_true(is_readable(test));
	mse_journal_watch_drain(test->journal);
	assert_int_equal(unlink(journal_test_path(test, "journal")), 0);
	assert_true(is_readable(test));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						journal_test_teardown)
#define D(name) cmocka_unit_test_setup_teardown(name, journal_test_setup_dir, \
						journal_test_teardown)
		D(test_created),
		D(test_foreign),
		D(test_refused),
		T(test_rotation),
		T(test_sync_in_steps),
		T(test_interrupted_rotation),
		T(test_current_taken_away),
		T(test_seal),
		T(test_retention),
		T(test_journal_limit),
		T(test_late),
		T(test_late_after_release),
		T(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
