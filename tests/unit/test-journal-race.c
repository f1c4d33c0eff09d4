/*
 * Several processes append while the daemon rotates tiny files, seals, reads
 * and releases: every record that an appender called done is seen, through a
 * cursor or as a late one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-journal-common.h"

#define PROCESSES 4
#define TRANSACTIONS 1500
#define RECORDS 3
#define TOTAL (PROCESSES * TRANSACTIONS * RECORDS)

struct race {
	struct journal_test *test;
	struct mse_journal_reader *reader;
	unsigned char seen[TOTAL];
	unsigned int late, damage;
};

static void run_process(const struct journal_test *test, unsigned int process)
{
	unsigned int i, j, n = process * TRANSACTIONS * RECORDS;
	struct mse_appender *appender;
	struct mse_buf buf;

	if (mse_appender_new(test->dir, &appender) < 0)
		_exit(1);
	mse_buf_init(&buf, 65536);
	for (i = 0; i < TRANSACTIONS; i++) {
		mse_buf_reset(&buf);
		for (j = 0; j < RECORDS; j++)
			journal_test_record(&buf, n++, 50);
		if (mse_appender_append(appender, &buf, RECORDS,
					MSE_DURABILITY_PROCESS) !=
		    MSE_APPEND_DONE)
			_exit(2);
	}
	mse_buf_clear(&buf);
	mse_appender_free(&appender);
	_exit(0);
}

static void note(struct race *race, unsigned int n)
{
	assert_true(n < TOTAL);
	race->seen[n] = 1;
}

static int note_late(const char *text, size_t len, void *context)
{
	struct race *race = context;
	const char *n = memmem(text, len, "\"n\":", 4);

	assert_non_null(n);
	note(race, (unsigned int)atoi(n + 4));
	race->late++;
	return 0;
}

static void read_all(struct race *race)
{
	struct mse_read_result result;
	struct mse_error error;
	enum mse_read ret;

	while ((ret = mse_journal_reader_next(race->reader, &result,
					      &error)) != MSE_READ_END) {
		assert_int_not_equal(ret, MSE_READ_ERROR);
		assert_int_not_equal(ret, MSE_READ_RELEASED);
		if (ret == MSE_READ_RECORD)
			note(race, journal_test_number(&result.record));
		else
			race->damage++;
	}
}

static void collect_late(struct race *race, const char *uuid)
{
	struct mse_error error;

	assert_int_equal(mse_journal_each_late(race->test->journal, uuid,
					       note_late, race, &error), 0);
}

/* What the daemon does once a round. */
static void run_daemon(struct race *race)
{
	struct mse_journal *journal = race->test->journal;
	const struct mse_journal_file *files;
	char (*uuids)[MSE_UUID_SIZE];
	struct mse_error error;
	unsigned int i, count;
	bool rotated;

	read_all(race);
	assert_int_equal(mse_journal_rotate(journal, false, &rotated, &error),
			 0);
	files = mse_journal_files(journal, &count);
	for (i = 0; i + 1 < count; i++)
		mse_journal_seal(journal, files[i].uuid, files[i].size);
	read_all(race);
	files = mse_journal_files(journal, &count);
	for (i = 0; i + 1 < count; i++) {
		collect_late(race, files[i].uuid);
		files = mse_journal_files(journal, &count);
	}
	/* Old ones go under the appenders' hands. */
	uuids = calloc(count, sizeof(*uuids));
	assert_non_null(uuids);
	for (i = 0; i < count; i++)
		strcpy(uuids[i], files[i].uuid);
	assert_int_equal(mse_journal_release(journal, uuids[count - 1], NULL,
					     NULL, &error), 0);
	for (i = 0; i < count; i++)
		collect_late(race, uuids[i]);
	free(uuids);
}

static void test_race(void **state)
{
	struct journal_test *test = *state;
	struct race *race = calloc(1, sizeof(*race));
	unsigned int process, running = PROCESSES, i, missing = 0;
	pid_t pids[PROCESSES];
	int status;

	assert_non_null(race);
	race->test = test;
	test->limits.file_size = 20000;
	/* Released as soon as it is passed. */
	test->limits.retention_ms = INT64_MIN / 4;
	mse_journal_set_limits(test->journal, &test->limits);
	race->reader = journal_test_reader(test);
	for (process = 0; process < PROCESSES; process++) {
		pids[process] = fork();
		assert_true(pids[process] >= 0);
		if (pids[process] == 0)
			run_process(test, process);
	}
	while (running > 0) {
		run_daemon(race);
		if (waitpid(-1, &status, WNOHANG) > 0) {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			running--;
		}
	}
	run_daemon(race);
	run_daemon(race);
	for (i = 0; i < TOTAL; i++)
		missing += race->seen[i] == 0;
	assert_int_equal(missing, 0);
	assert_int_equal(journal_test_lost(test), 0);
	mse_journal_reader_free(&race->reader);
	free(race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_race, journal_test_setup,
						journal_test_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
