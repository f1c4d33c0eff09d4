/*
 * The producers' half: what a mail process's append does when files rotate,
 * vanish, fill up or are not what they should be. write() and fdatasync() are
 * wrapped by the linker, so that a crash's or a full disk's behaviour comes
 * when it is wanted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/write.h"
#include "journal/presence.h"
#include "test-journal-common.h"

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static struct {
	bool on;
	unsigned int calls;      /* that began with an RS */
	bool all_whole;          /* and ended with an LF */
	size_t largest;
	int fail_errno;          /* every call fails so */
	size_t cut_at;           /* the first call writes only so much */
	bool then_fail;          /* and the next says ENOSPC */
	const char *unlink_path; /* after the first write */
	const char *rename_from, *rename_to;
	unsigned int syncs;
	bool sync_fails;
} wrapped;

static void wrap_begin(void)
{
	memset(&wrapped, 0, sizeof(wrapped));
	wrapped.on = true;
	wrapped.all_whole = true;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	const char *bytes = data;
	ssize_t ret;

	if (!wrapped.on || len == 0 || bytes[0] != '\x1e')
		return __real_write(fd, data, len);
	wrapped.calls++;
	if (wrapped.fail_errno != 0) {
		errno = wrapped.fail_errno;
		return -1;
	}
	if (wrapped.then_fail && wrapped.calls > 1) {
		errno = ENOSPC;
		return -1;
	}
	if (bytes[len - 1] != '\n')
		wrapped.all_whole = false;
	if (len > wrapped.largest)
		wrapped.largest = len;
	if (wrapped.cut_at > 0 && wrapped.calls == 1)
		len = wrapped.cut_at;
	ret = __real_write(fd, data, len);
	if (wrapped.unlink_path != NULL) {
		assert_int_equal(unlink(wrapped.unlink_path), 0);
		wrapped.unlink_path = NULL;
	}
	if (wrapped.rename_from != NULL) {
		assert_int_equal(rename(wrapped.rename_from,
					wrapped.rename_to), 0);
		wrapped.rename_from = NULL;
	}
	return ret;
}

int __wrap_fdatasync(int fd)
{
	wrapped.syncs++;
	if (wrapped.on && wrapped.sync_fails) {
		errno = EIO;
		return -1;
	}
	return __real_fdatasync(fd);
}

static int teardown(void **state)
{
	wrapped.on = false;
	return journal_test_teardown(state);
}

static void test_never_ran(void **state)
{
	struct journal_test *test = *state;
	const struct mse_interest *interest;

	assert_int_equal(rmdir(test->dir), 0);
	assert_int_equal(mse_appender_new(test->dir, &test->appender), 0);
	interest = mse_appender_interest(test->appender);
	assert_non_null(interest);
	assert_int_equal(interest->types, 0);
	assert_int_equal(interest->count, 0);
	assert_int_equal(mse_appender_count_lost(test->appender, 1),
			 MSE_APPEND_DONE);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
	assert_string_equal(mse_appender_last_error(test->appender), "");
	/* It comes into being later. */
	assert_int_equal(mkdir(test->dir, 0700), 0);
	assert_int_equal(mse_appender_interest(test->appender)->count, 0);
	mse_appender_free(&test->appender);
	journal_test_open(test);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
}

/* What a Login names is what the daemon sees, for as long as it lives. */
static void test_names_its_slot(void **state)
{
	struct journal_test *test = *state;
	int fd = mse_journal_presence_fd(test->journal);
	char instance[MSE_UUID_SIZE], again[MSE_UUID_SIZE];
	struct mse_presence_slot seen;
	struct mse_appender *other;
	unsigned int slot = 0, slot_again = 0;

	assert_int_equal(mse_appender_new(test->dir, &other), 0);
	assert_int_equal(mse_appender_presence(other, &slot, instance), 0);
	assert_true(slot > 0);
	assert_int_equal(mse_presence_read_slot(fd, slot, &seen), 0);
	assert_string_equal(seen.instance, instance);
	assert_int_equal(mse_presence_is_held(fd, slot), 1);
	assert_int_equal(mse_appender_presence(other, &slot_again, again), 0);
	assert_int_equal(slot_again, slot);
	assert_string_equal(again, instance);
	mse_appender_free(&other);
	assert_int_equal(mse_presence_is_held(fd, slot), 0);

	journal_test_close(test);
	assert_int_equal(unlink(journal_test_path(test, "presence")), 0);
	assert_int_equal(mse_appender_new(test->dir, &other), 0);
	assert_int_equal(mse_appender_presence(other, &slot, instance), -1);
	mse_appender_free(&other);
}

static void test_late_daemon(void **state)
{
	struct journal_test *test = *state;
	struct mse_appender *early;
	struct mse_journal_reader *reader;

	assert_int_equal(mse_appender_new(test->dir, &early), 0);
	journal_test_open(test);
	mse_appender_free(&test->appender);
	test->appender = early;
	assert_int_equal(journal_test_append(test, 7, 1, 0), MSE_APPEND_DONE);
	reader = journal_test_reader(test);
	journal_test_expect(reader, 7);
	mse_journal_reader_free(&reader);
}

static void test_one_write(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	unsigned int i;

	wrap_begin();
	assert_int_equal(journal_test_append(test, 0, 100, 5000),
			 MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 1);
	assert_int_equal(wrapped.syncs, 0);
	reader = journal_test_reader(test);
	for (i = 0; i < 100; i++)
		journal_test_expect(reader, i);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_several_writes(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	unsigned int i;

	wrap_begin();
	assert_int_equal(journal_test_append(test, 0, 21, 100000),
			 MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 3);
	assert_true(wrapped.all_whole);
	assert_true(wrapped.largest <= MSE_WRITE_MAX);
	/* A record that is larger than a write goes alone. */
	wrap_begin();
	assert_int_equal(journal_test_append(test, 21, 3, 1500000),
			 MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 3);
	assert_true(wrapped.all_whole);
	reader = journal_test_reader(test);
	for (i = 0; i < 24; i++)
		journal_test_expect(reader, i);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_power(void **state)
{
	struct journal_test *test = *state;
	struct mse_buf buf;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	wrap_begin();
	assert_int_equal(mse_appender_append(test->appender, &buf, 1,
					     MSE_DURABILITY_POWER),
			 MSE_APPEND_DONE);
	assert_int_equal(wrapped.syncs, 1);
	mse_buf_clear(&buf);
}

/* It is there to be delivered, and counted as if it were not: the power might
   fail now. */
static void test_power_refused(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	struct mse_buf buf;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	journal_test_record(&buf, 2, 0);
	wrap_begin();
	wrapped.sync_fails = true;
	assert_int_equal(mse_appender_append(test->appender, &buf, 2,
					     MSE_DURABILITY_POWER),
			 MSE_APPEND_LOST);
	assert_non_null(strstr(mse_appender_last_error(test->appender),
			       "cannot sync"));
	assert_int_equal(wrapped.calls, 1);
	assert_int_equal(wrapped.syncs, 1);
	assert_int_equal(journal_test_lost(test), 2);
	wrapped.on = false;
	reader = journal_test_reader(test);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
	mse_buf_clear(&buf);
}

static void test_short_write(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	struct mse_buf buf;
	size_t one;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	one = buf.len;
	mse_buf_clear(&buf);
	wrap_begin();
	wrapped.cut_at = one + 10;
	assert_int_equal(journal_test_append(test, 1, 3, 0), MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 2);
	reader = journal_test_reader(test);
	journal_test_expect(reader, 1);
	journal_test_expect_damage(reader, 10, true);
	journal_test_expect(reader, 2);
	journal_test_expect(reader, 3);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
	assert_int_equal(journal_test_lost(test), 0);

	/* Cut exactly between two records: nothing is torn. */
	wrap_begin();
	wrapped.cut_at = one;
	assert_int_equal(journal_test_append(test, 4, 2, 0), MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 2);
}

static void test_disk_full(void **state)
{
	struct journal_test *test = *state;
	struct mse_buf buf;
	size_t one;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	one = buf.len;
	mse_buf_clear(&buf);
	wrap_begin();
	wrapped.cut_at = one + 10;
	wrapped.then_fail = true;
	assert_int_equal(journal_test_append(test, 1, 3, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 2);
	assert_string_not_equal(mse_appender_last_error(test->appender), "");
	wrap_begin();
	assert_int_equal(journal_test_append(test, 1, 3, 0), MSE_APPEND_DONE);
	assert_string_equal(mse_appender_last_error(test->appender), "");
}

static void test_never_loops(void **state)
{
	struct journal_test *test = *state;
	static const int errors[] = { EINTR, EAGAIN, EIO, EDQUOT };
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		wrap_begin();
		wrapped.fail_errno = errors[i];
		assert_int_equal(journal_test_append(test, 1, 2, 0),
				 MSE_APPEND_LOST);
		assert_int_equal(journal_test_lost(test), 2 * (i + 1));
	}
}

static void test_follows_rotation(void **state)
{
	struct journal_test *test = *state;
	struct mse_error error;
	uint64_t size;
	bool rotated;

	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
	assert_int_equal(mse_journal_rotate(test->journal, true, &rotated,
					    &error), 0);
	assert_true(rotated);
	size = journal_test_file_size(test, "journal.1");
	assert_int_equal(journal_test_append(test, 2, 1, 0), MSE_APPEND_DONE);
	assert_int_equal(journal_test_file_size(test, "journal.1"), size);
}

/* `journal` cannot be opened any more: as when the uid has changed. */
static void test_goes_on_with_old_file(void **state)
{
	struct journal_test *test = *state;
	char old[128], new[128];
	uint64_t size;

	strcpy(old, journal_test_path(test, "journal"));
	strcpy(new, journal_test_path(test, "journal.1"));
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
	assert_int_equal(rename(old, new), 0);
	assert_int_equal(mkdir(old, 0700), 0);
	size = journal_test_file_size(test, "journal.1");
	assert_int_equal(journal_test_append(test, 2, 1, 0), MSE_APPEND_DONE);
	assert_true(journal_test_file_size(test, "journal.1") > size);
	/* Without a name nobody would read it. */
	assert_int_equal(unlink(new), 0);
	assert_int_equal(journal_test_append(test, 3, 1, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 1);
}

static void test_released_meanwhile(void **state)
{
	struct journal_test *test = *state;
	struct mse_error error;
	struct mse_buf buf;
	char old[128], new[128];
	bool rotated;

	/* A file that is ready to take the place of `journal`. */
	assert_int_equal(mse_journal_rotate(test->journal, true, &rotated,
					    &error), 0);
	strcpy(old, journal_test_path(test, "journal.1"));
	strcpy(new, journal_test_path(test, "journal"));
	mse_appender_free(&test->appender);
	assert_int_equal(mse_appender_new(test->dir, &test->appender), 0);
	wrap_begin();
	wrapped.rename_from = old;
	wrapped.rename_to = new;
	assert_int_equal(journal_test_append(test, 1, 2, 0), MSE_APPEND_DONE);
	assert_int_equal(wrapped.calls, 2);
	assert_int_equal(journal_test_lost(test), 0);
	mse_buf_init(&buf, 4096);
	assert_int_equal(mse_file_read(AT_FDCWD, new, &buf, &error), 0);
	assert_non_null(strstr(mse_buf_str(&buf), "\"n\":1"));
	assert_non_null(strstr(mse_buf_str(&buf), "\"n\":2"));
	mse_buf_clear(&buf);

	/* Gone, and nothing in its place. */
	wrap_begin();
	wrapped.unlink_path = new;
	assert_int_equal(journal_test_append(test, 3, 2, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 2);
}

static void test_allowed_size(void **state)
{
	struct journal_test *test = *state;
	struct mse_error error;
	uint64_t size = journal_test_file_size(test, "journal");

	test->limits.journal_limit = size + 10;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_allow(test->journal, 1, &error), 0);
	assert_int_equal(journal_test_append(test, 1, 3, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_file_size(test, "journal"), size);
	assert_int_equal(journal_test_lost(test), 3);
	assert_int_equal(mse_appender_count_lost(test->appender, 2),
			 MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 5);
	test->limits.journal_limit = 1024 * 1024;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_allow(test->journal, 1, &error), 0);
	assert_int_equal(journal_test_append(test, 1, 3, 0), MSE_APPEND_DONE);
}

static void limit_file_size(uint64_t size)
{
	struct rlimit limit = { .rlim_cur = size, .rlim_max = size };

	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		_exit(9);
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_rlimit(void **state)
{
	struct journal_test *test = *state;
	uint64_t size;
	pid_t pid;

	/* Presence's slots are below the limit, the journal's end is not. */
	assert_int_equal(journal_test_append(test, 0, 10, 100000),
			 MSE_APPEND_DONE);
	size = journal_test_file_size(test, "journal");
	pid = fork();
	if (pid == 0) {
		limit_file_size(size + 10);
		_exit(journal_test_append(test, 1, 1, 0) == MSE_APPEND_LOST ?
		      0 : 1);
	}
	assert_int_equal(exit_status(pid), 0);
	assert_int_equal(journal_test_file_size(test, "journal"), size);
	assert_int_equal(journal_test_lost(test), 1);
	/* Not even presence may be written. */
	pid = fork();
	if (pid == 0) {
		limit_file_size(100);
		_exit(journal_test_append(test, 1, 1, 0) == MSE_APPEND_UNSEEN ?
		      0 : 1);
	}
	assert_int_equal(exit_status(pid), 0);
}

/* Another process appends between the check and the write. */
static void test_rlimit_race(void **state)
{
	struct journal_test *test = *state;
	struct mse_buf buf;
	sigset_t pending;
	size_t whole;
	pid_t pid;
	int fd;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	fd = open(journal_test_path(test, "journal"), O_WRONLY | O_APPEND);
	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0) {
		limit_file_size(journal_test_file_size(test, "journal"));
		signal(SIGXFSZ, SIG_DFL);
		wrapped.on = false;
		if (mse_write_records(fd, 0, buf.data, 20, &whole) == 0 ||
		    errno != EFBIG || whole != 0)
			_exit(1);
		sigpending(&pending);
		_exit(sigismember(&pending, SIGXFSZ) ? 2 : 0);
	}
	assert_int_equal(exit_status(pid), 0);
	close(fd);
	mse_buf_clear(&buf);
}

static void test_strange_files(void **state)
{
	struct journal_test *test = *state;
	char path[128];

	strcpy(path, journal_test_path(test, "journal"));
	mse_appender_free(&test->appender);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(mse_appender_new(test->dir, &test->appender), 0);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_LOST);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_LOST);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("presence", path), 0);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 3);
}

static void test_interest_change(void **state)
{
	struct journal_test *test = *state;
	int dir_fd = mse_journal_dir_fd(test->journal);
	struct mse_interest *interest;
	struct mse_error error;

	assert_int_equal(mse_appender_interest(test->appender)->types, 0);
	interest = mse_interest_new(true);
	interest->subscriptions[0].types = MSE_EVENT_BIT(MSE_EVENT_LOGIN);
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	assert_int_equal(mse_appender_interest(test->appender)->types,
			 MSE_EVENT_BIT(MSE_EVENT_LOGIN));
	interest->subscriptions[0].types =
		MSE_EVENT_BIT(MSE_EVENT_MESSAGE_NEW);
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	assert_int_equal(mse_appender_interest(test->appender)->types,
			 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_NEW));
	mse_interest_free(&interest);
	journal_test_put(test, "interest", "x}", 2);
	(void)mse_file_replace(dir_fd, "interest", 0640, "{", 1, &error);
	assert_int_equal(mse_appender_interest(test->appender)->types,
			 MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS);
	assert_int_equal(unlink(journal_test_path(test, "interest")), 0);
	assert_int_equal(mse_appender_interest(test->appender)->types, 0);
}

/* Long enough for the directory to be the only thing that is looked at. */
static void settle(struct journal_test *test)
{
	(void)mse_appender_interest(test->appender);
	assert_int_equal(journal_test_append(test, 0, 1, 0), MSE_APPEND_DONE);
	usleep(150000);
	(void)mse_appender_interest(test->appender);
	assert_int_equal(journal_test_append(test, 0, 1, 0), MSE_APPEND_DONE);
}

static void test_notices_when_settled(void **state)
{
	struct journal_test *test = *state;
	int dir_fd = mse_journal_dir_fd(test->journal);
	struct mse_interest *interest;
	struct mse_error error;
	uint64_t size;
	bool rotated;

	settle(test);
	interest = mse_interest_new(true);
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	mse_interest_free(&interest);
	assert_int_equal(mse_appender_interest(test->appender)->types,
			 MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS);

	settle(test);
	assert_int_equal(mse_journal_rotate(test->journal, true, &rotated,
					    &error), 0);
	size = journal_test_file_size(test, "journal.1");
	usleep(20000);
	assert_int_equal(journal_test_append(test, 2, 1, 0), MSE_APPEND_DONE);
	assert_int_equal(journal_test_file_size(test, "journal.1"), size);

	settle(test);
	size = journal_test_file_size(test, "journal");
	test->limits.journal_limit = size + 10;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_allow(test->journal, 1, &error), 0);
	usleep(20000);
	assert_int_equal(journal_test_append(test, 3, 1, 0), MSE_APPEND_LOST);
	assert_int_equal(journal_test_file_size(test, "journal"), size);
}

/* A replaced presence is read by nobody; a loss that nobody is told of is one
   too many. */
/* The state directory is moved away, and a new one stands in its place. */
static void test_notices_another_directory(void **state)
{
	struct journal_test *test = *state;
	struct mse_error error;
	char old[300], path[400];
	struct stat st;

	settle(test);
	mse_journal_close(&test->journal);
	(void)snprintf(old, sizeof(old), "%s.old", test->dir);
	assert_int_equal(rename(test->dir, old), 0);
	assert_int_equal(mkdir(test->dir, 0700), 0);
	assert_int_equal(mse_journal_open(test->dir, &test->limits,
					  &test->clock.clock, &test->journal,
					  &error), 0);
	assert_int_equal(mse_journal_allow(test->journal, 1, &error), 0);
	assert_int_equal(stat(journal_test_path(test, "journal"), &st), 0);
	/* As a transaction begins. */
	(void)mse_appender_interest(test->appender);
	assert_int_equal(journal_test_append(test, 1, 1, 0), MSE_APPEND_DONE);
	assert_true(journal_test_file_size(test, "journal") >
		    (uint64_t)st.st_size);
	for (const char *const *name = (const char *const[]){
		"journal", "presence", "interest", NULL }; *name != NULL;
	     name++) {
		(void)snprintf(path, sizeof(path), "%s/%s", old, *name);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(old), 0);
}

static void test_notices_new_presence_when_settled(void **state)
{
	struct journal_test *test = *state;
	struct mse_error error;

	settle(test);
	mse_journal_close(&test->journal);
	assert_int_equal(unlink(journal_test_path(test, "presence")), 0);
	assert_int_equal(mse_journal_open(test->dir, &test->limits,
					  &test->clock.clock, &test->journal,
					  &error), 0);
	assert_int_equal(mse_journal_allow(test->journal, 1, &error), 0);
	assert_int_equal(mse_appender_count_lost(test->appender, 2),
			 MSE_APPEND_LOST);
	assert_int_equal(journal_test_lost(test), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						teardown)
#define D(name) cmocka_unit_test_setup_teardown(name, journal_test_setup_dir, \
						teardown)
		D(test_never_ran),
		D(test_late_daemon),
		T(test_names_its_slot),
		T(test_one_write),
		T(test_several_writes),
		T(test_power),
		T(test_power_refused),
		T(test_short_write),
		T(test_disk_full),
		T(test_never_loops),
		T(test_follows_rotation),
		T(test_goes_on_with_old_file),
		T(test_released_meanwhile),
		T(test_allowed_size),
		T(test_rlimit),
		T(test_rlimit_race),
		T(test_strange_files),
		T(test_interest_change),
		T(test_notices_when_settled),
		T(test_notices_new_presence_when_settled),
		T(test_notices_another_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
