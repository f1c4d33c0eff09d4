#include "mse-config.h"
#include "ledger/ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include <cmocka.h>

/*
 * What only a ledger on disk can get wrong: reopening, crashes, two openers,
 * foreign and damaged files, modes, size.
 */

static char dir[64];
static struct mse_error error;

static int setup(void **state)
{
	strcpy(dir, "/tmp/mse-ledger-XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	DIR *handle = opendir(dir);
	struct dirent *entry;

	while (handle != NULL && (entry = readdir(handle)) != NULL) {
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(handle), entry->d_name, 0);
	}
	closedir(handle);
	return rmdir(dir);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static struct mse_ledger *open_ledger(bool want_created)
{
	struct mse_ledger *ledger = NULL;
	bool created = !want_created;

	if (mse_ledger_open_sqlite(dir, 0, &created, &ledger, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(created, want_created);
	return ledger;
}

static void refuse_ledger(const char *why)
{
	struct mse_ledger *ledger = NULL;
	bool created;

	assert_int_equal(mse_ledger_open_sqlite(dir, 0, &created, &ledger,
						&error), -1);
	assert_null(ledger);
	if (strstr(error.text, why) == NULL)
		fail_msg("%s", error.text);
}

static void put_value(struct mse_ledger *ledger, const char *value)
{
	assert_int_equal(mse_ledger_put_value(ledger, "boot-id", value, &error),
			 0);
}

static void assert_value(struct mse_ledger *ledger, const char *want)
{
	char value[32];

	assert_int_equal(mse_ledger_get_value(ledger, "boot-id", value,
					      sizeof(value), &error), 1);
	assert_string_equal(value, want);
}

static void test_reopen(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);

	put_value(ledger, "one");
	mse_ledger_free(&ledger);
	assert_null(ledger);
	assert_int_equal(access(path_of("ledger.db-wal"), F_OK), -1);
	ledger = open_ledger(false);
	assert_value(ledger, "one");
	mse_ledger_free(&ledger);
}

/* Runs in a child that dies without closing anything. */
static void die_with(const char *committed, const char *uncommitted)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct mse_ledger *ledger = NULL;
		bool created;

		if (mse_ledger_open_sqlite(dir, 0, &created, &ledger,
					   &error) < 0 ||
		    mse_ledger_begin(ledger, &error) < 0 ||
		    mse_ledger_put_value(ledger, "boot-id", committed,
					 &error) < 0 ||
		    mse_ledger_commit(ledger, &error) < 0 ||
		    mse_ledger_begin(ledger, &error) < 0 ||
		    mse_ledger_put_value(ledger, "boot-id", uncommitted,
					 &error) < 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_killed(void **state)
{
	struct mse_ledger *ledger;

	die_with("kept", "lost");
	assert_int_equal(access(path_of("ledger.db-wal"), F_OK), 0);
	ledger = open_ledger(false);
	assert_value(ledger, "kept");
	mse_ledger_free(&ledger);
}

static void test_second_opener(void **state)
{
	struct mse_ledger *ledger = open_ledger(true), *second = NULL;
	struct timespec before, after;
	char want[64];
	bool created;
	long waited;

	snprintf(want, sizeof(want), "(process %ld)", (long)getpid());
	refuse_ledger(want);
	assert_int_equal(mse_ledger_set_aside(dir, &error), -1);
	assert_non_null(strstr(error.text, want));

	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(mse_ledger_open_sqlite(dir, 200, &created, &second,
						&error), -1);
	clock_gettime(CLOCK_MONOTONIC, &after);
	waited = (after.tv_sec - before.tv_sec) * 1000 +
		 (after.tv_nsec - before.tv_nsec) / 1000000;
	assert_in_range(waited, 190, 5000);
	mse_ledger_free(&ledger);
	ledger = open_ledger(false);
	mse_ledger_free(&ledger);
}

static void test_waits_for_holder(void **state)
{
	struct mse_ledger *ledger = NULL;
	struct timespec pause = {0, 200000000};
	int ready[2];
	bool created;
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (mse_ledger_open_sqlite(dir, 0, &created, &ledger,
					   &error) < 0 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		nanosleep(&pause, NULL);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(mse_ledger_open_sqlite(dir, 10000, &created, &ledger,
						&error), 0);
	mse_ledger_free(&ledger);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ready[0]);
	close(ready[1]);
}

static void run_sql(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path_of("ledger.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A ledger of before this table: upgraded in place, nothing else changed. */
static void test_older_schema(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);
	char value[8];

	assert_int_equal(mse_ledger_put_value(ledger, "clean", "1", &error), 0);
	mse_ledger_free(&ledger);
	run_sql("DROP TABLE derived; DROP INDEX row_died; DROP TABLE answer;"
		"DROP TRIGGER answer_delete; DROP TRIGGER answer_trim;"
		"DROP TABLE batch");
	run_sql("PRAGMA user_version = 1");
	ledger = open_ledger(false);
	assert_int_equal(mse_ledger_get_value(ledger, "clean", value,
					      sizeof(value), &error), 1);
	assert_string_equal(value, "1");
	assert_int_equal(mse_ledger_put_derived(ledger, "a", "k", "v", &error),
			 0);
	mse_ledger_free(&ledger);
	/* Once. */
	ledger = open_ledger(false);
	mse_ledger_free(&ledger);
}

static void test_newer_schema(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);

	mse_ledger_free(&ledger);
	run_sql("PRAGMA user_version = 1000");
	refuse_ledger("newer mailhook (its version is 1000,");
	assert_false(mse_ledger_error_is_corrupt(&error));
}

static void test_foreign_database(void **state)
{
	run_sql("CREATE TABLE holiday (snaps); PRAGMA user_version = 1");
	refuse_ledger("belongs to another program");
	assert_false(mse_ledger_error_is_corrupt(&error));
}

static void write_at(const char *name, off_t offset, const void *data,
		     size_t len)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, offset), len);
	close(fd);
}

/* The file set aside, by its end. */
static const char *find_aside(const char *suffix)
{
	static char name[256];
	DIR *handle = opendir(dir);
	struct dirent *entry;
	size_t len;

	name[0] = '\0';
	while ((entry = readdir(handle)) != NULL) {
		len = strlen(entry->d_name);
		if (strncmp(entry->d_name, "ledger.db.corrupt-", 18) == 0 &&
		    len >= strlen(suffix) &&
		    strcmp(entry->d_name + len - strlen(suffix), suffix) == 0)
			snprintf(name, sizeof(name), "%s", entry->d_name);
	}
	closedir(handle);
	return name;
}

static void test_garbage(void **state)
{
	char garbage[8192], found[8192];
	struct mse_ledger *ledger;
	int fd;

	memset(garbage, 'g', sizeof(garbage));
	write_at("ledger.db", 0, garbage, sizeof(garbage));
	refuse_ledger("corrupt: ");
	assert_true(mse_ledger_error_is_corrupt(&error));
	assert_memory_equal(error.text, "corrupt: ", 9);

	write_at("ledger.db-wal", 0, "wal", 3);
	assert_int_equal(mse_ledger_set_aside(dir, &error), 0);
	assert_int_equal(access(path_of("ledger.db"), F_OK), -1);
	assert_int_equal(access(path_of("ledger.db-wal"), F_OK), -1);
	fd = open(path_of(find_aside("Z")), O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, found, sizeof(found)), sizeof(found));
	assert_memory_equal(found, garbage, sizeof(found));
	close(fd);
	assert_string_not_equal(find_aside("Z-wal"), "");

	ledger = open_ledger(true);
	put_value(ledger, "fresh");
	mse_ledger_free(&ledger);
	/* Again within the second: nothing is overwritten. */
	assert_int_equal(mse_ledger_set_aside(dir, &error), 0);
	fd = open(path_of(find_aside("Z")), O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mse_ledger_set_aside(dir, &error), 0);
}

/* A damaged page that opening alone does not touch. */
static void test_damaged_page(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);
	struct mse_ledger_row row = {.sequence = 1, .id = "i", .type = "t",
				     .lane = "l", .last_error = "",
				     .record = "r", .record_len = 1};
	char garbage[4096 * 4];

	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	mse_ledger_free(&ledger);
	memset(garbage, 0xee, sizeof(garbage));
	/* Page 1 is the header and the list of tables; these are theirs. */
	write_at("ledger.db", 4096 * 4, garbage, sizeof(garbage));
	/* As after a crash: there is a WAL. */
	write_at("ledger.db-wal", 0, "", 1);
	refuse_ledger("corrupt: ");
	assert_int_equal(mse_ledger_set_aside(dir, &error), 0);
	ledger = open_ledger(true);
	mse_ledger_free(&ledger);
}

static void assert_mode(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(name), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_modes(void **state)
{
	static const mode_t umasks[] = {0, 022, 077, 0777};
	struct mse_ledger *ledger;
	unsigned int i;
	mode_t before;

	for (i = 0; i < sizeof(umasks) / sizeof(umasks[0]); i++) {
		before = umask(umasks[i]);
		ledger = open_ledger(true);
		put_value(ledger, "x");
		umask(before);
		assert_mode("ledger.db");
		assert_mode("ledger.db-wal");
		assert_mode("ledger.lock");
		assert_int_equal(access(path_of("ledger.db-shm"), F_OK), -1);
		mse_ledger_free(&ledger);
		unlink(path_of("ledger.db"));
		unlink(path_of("ledger.lock"));
	}
	/* Somebody has loosened them. */
	ledger = open_ledger(true);
	mse_ledger_free(&ledger);
	chmod(path_of("ledger.db"), 0666);
	ledger = open_ledger(false);
	put_value(ledger, "y");
	assert_mode("ledger.db");
	assert_mode("ledger.db-wal");
	mse_ledger_free(&ledger);
}

static void test_bad_places(void **state)
{
	struct mse_ledger *ledger = NULL;
	bool created;

	assert_int_equal(mse_ledger_open_sqlite("/nonexistent/x", 0, &created,
						&ledger, &error), -1);
	assert_non_null(strstr(error.text, "/nonexistent/x"));
	assert_int_equal(symlink("elsewhere", path_of("ledger.db")), 0);
	refuse_ledger("ledger.db");
	unlink(path_of("ledger.db"));
	assert_int_equal(mkfifo(path_of("ledger.db"), 0600), 0);
	refuse_ledger("not a regular file");
}

static void put_big(struct mse_ledger *ledger, uint64_t sequence, size_t len,
		    int want)
{
	struct mse_ledger_row row = {.sequence = sequence, .id = "i",
				     .type = "t", .lane = "l",
				     .last_error = ""};
	char *record = calloc(1, len);

	assert_non_null(record);
	row.record = record;
	row.record_len = len;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error),
			 want);
	free(record);
}

static void assert_parked(struct mse_ledger *ledger, uint64_t rows,
			  uint64_t octets)
{
	struct mse_ledger_totals totals;

	assert_int_equal(mse_ledger_totals(ledger, "portal", &totals, &error),
			 0);
	assert_int_equal(totals.parked, rows);
	assert_int_equal(totals.parked_octets, octets);
}

/* A file size limit stands in for a full disk: writing fails half-way. */
static void test_full_disk(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);
	struct rlimit before, small;

	put_big(ledger, 1, 1000, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 256 * 1024;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);

	/* On its own, at the commit, and before it (the cache spills). */
	put_big(ledger, 2, 1000000, -1);
	assert_false(mse_ledger_error_is_corrupt(&error));
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	put_big(ledger, 2, 1000000, 0);
	assert_int_equal(mse_ledger_commit(ledger, &error), -1);
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put_big(ledger, 2, 40000000, -1);
	(void)mse_ledger_rollback_to(ledger, &error);
	mse_ledger_rollback(ledger);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_parked(ledger, 1, 1000);
	put_big(ledger, 3, 1000000, 0);
	assert_parked(ledger, 2, 1001000);
	mse_ledger_free(&ledger);
	ledger = open_ledger(false);
	assert_parked(ledger, 2, 1001000);
	mse_ledger_free(&ledger);
}

static int count_row(const struct mse_ledger_row *row, void *context)
{
	++*(unsigned int *)context;
	return 0;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#define LANES 200000

static void park_many(struct mse_ledger *ledger, unsigned int count)
{
	struct mse_ledger_row row = {.type = "MessageNew", .last_error = ""};
	char lane[32], id[48], record[200];
	unsigned int i;

	memset(record, 'r', sizeof(record));
	row.record = record;
	row.record_len = sizeof(record);
	row.lane = lane;
	row.id = id;
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	for (i = 0; i < count; i++) {
		row.sequence = i + 1;
		snprintf(lane, sizeof(lane), "user%u", i % LANES);
		snprintf(id, sizeof(id),
			 "019a0000-0000-7000-8000-%012x", i);
		if (mse_ledger_put_row(ledger, "portal", &row, &error) < 0)
			fail_msg("%s", error.text);
	}
	assert_int_equal(mse_ledger_commit(ledger, &error), 0);
}

/* Generous, for a busy machine: a scan per lane would take hours. */
static void test_many_lanes(void **state)
{
	struct mse_ledger *ledger = open_ledger(true);
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1,
					.heads_only = true};
	struct mse_ledger_totals totals;
	unsigned int count = 0;
	double start = seconds();

	park_many(ledger, LANES + LANES / 4);
	print_message("parked in %.2f s\n", seconds() - start);
	start = seconds();
	assert_int_equal(mse_ledger_each_row(ledger, &filter, count_row, &count,
					     &error), 0);
	print_message("heads in %.2f s\n", seconds() - start);
	assert_int_equal(count, LANES);
	assert_true(seconds() - start < 20);

	start = seconds();
	filter.limit = 1;
	filter.lane = "user7";
	for (count = 0; count < 10000;) {
		assert_int_equal(mse_ledger_each_row(ledger, &filter, count_row,
						     &count, &error), 0);
	}
	print_message("10,000 lanes' heads in %.2f s\n", seconds() - start);
	assert_int_equal(mse_ledger_totals(ledger, "portal", &totals, &error),
			 0);
	assert_true(seconds() - start < 20);
	assert_int_equal(totals.parked, LANES + LANES / 4);
	assert_int_equal(totals.parked_octets, (LANES + LANES / 4) * 200);
	mse_ledger_free(&ledger);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_opener, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_holder, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_older_schema, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_newer_schema, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_foreign_database, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_page, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_places, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_many_lanes, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
