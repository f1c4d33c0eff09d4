#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "ledger/ledger-lock.h"

/*
 * The ledger in an SQLite file: opening, closing, transactions and the
 * statements the other ledger-sqlite-*.c use. The tables are described in
 * ledger-sqlite-schema.c.
 *
 * Invariants: one process (ledger.lock), one connection, one thread at a
 * time; SQLite up to 3.51.2 can corrupt a WAL database that two connections
 * write, so it is also told to lock the file exclusively, and an
 * administrator's sqlite3 shell is refused while the daemon runs. What
 * commit() returned 0 for is on disk (WAL, synchronous=FULL).
 *
 * A clean close folds the WAL into ledger.db and removes it; finding one at
 * start means a crash, after which the file is checked before it is used.
 */

#define DB_NAME "ledger.db"
#define BUSY_MS 2000

static const struct mse_ledger_ops sqlite_ops;

int mse_sqlite_fail(struct mse_sqlite *sqlite, struct mse_error *error_r)
{
	int code = sqlite3_errcode(sqlite->db) & 0xff;
	const char *text = sqlite3_errmsg(sqlite->db);
	int number = sqlite3_system_errno(sqlite->db);

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
		return mse_error_set(error_r, "corrupt: " DB_NAME ": %s",
				     text);
	}
	if ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && number != 0) {
		return mse_error_set(error_r, DB_NAME ": %s: %s", text,
				     strerror(number));
	}
	return mse_error_set(error_r, DB_NAME ": %s", text);
}

sqlite3_stmt *mse_sqlite_take(struct mse_sqlite *sqlite, const char *sql,
			      struct mse_error *error_r)
{
	sqlite3_stmt *stmt;
	unsigned int i;

	for (i = 0; i < MSE_SQLITE_CACHED; i++) {
		stmt = sqlite->idle[i];
		if (stmt != NULL && strcmp(sqlite3_sql(stmt), sql) == 0) {
			sqlite->idle[i] = NULL;
			return stmt;
		}
	}
	if (sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
			       &stmt, NULL) != SQLITE_OK) {
		mse_sqlite_fail(sqlite, error_r);
		return NULL;
	}
	return stmt;
}

void mse_sqlite_give(struct mse_sqlite *sqlite, sqlite3_stmt *stmt)
{
	unsigned int i;

	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	for (i = 0; i < MSE_SQLITE_CACHED; i++) {
		if (sqlite->idle[i] == NULL) {
			sqlite->idle[i] = stmt;
			return;
		}
	}
	i = sqlite->evict++ % MSE_SQLITE_CACHED;
	sqlite3_finalize(sqlite->idle[i]);
	sqlite->idle[i] = stmt;
}

int mse_sqlite_step(struct mse_sqlite *sqlite, sqlite3_stmt *stmt,
		    struct mse_error *error_r)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return mse_sqlite_fail(sqlite, error_r);
	}
}

int mse_sqlite_finish(struct mse_sqlite *sqlite, sqlite3_stmt *stmt,
		      struct mse_error *error_r)
{
	int ret = mse_sqlite_step(sqlite, stmt, error_r);

	mse_sqlite_give(sqlite, stmt);
	return ret < 0 ? -1 : 0;
}

int mse_sqlite_exec(struct mse_sqlite *sqlite, const char *sql,
		    struct mse_error *error_r)
{
	if (sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return mse_sqlite_fail(sqlite, error_r);
	return 0;
}

void mse_sqlite_bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
	/* Failing for want of memory leaves NULL, which NOT NULL refuses. */
	sqlite3_bind_text(stmt, index, text == NULL ? "" : text, -1,
			  SQLITE_STATIC);
}

void mse_sqlite_bind_uint(sqlite3_stmt *stmt, int index, uint64_t number)
{
	if (number > INT64_MAX)
		number = INT64_MAX;
	sqlite3_bind_int64(stmt, index, (sqlite3_int64)number);
}

const char *mse_sqlite_text(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return text == NULL ? "" : text;
}

void mse_sqlite_copy(sqlite3_stmt *stmt, int column, char *text_r, size_t size)
{
	snprintf(text_r, size, "%s", mse_sqlite_text(stmt, column));
}

static int run_cached(struct mse_ledger *ledger, const char *sql,
		      struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt = mse_sqlite_take(sqlite, sql, error_r);

	return stmt == NULL ? -1 : mse_sqlite_finish(sqlite, stmt, error_r);
}

static int sqlite_begin(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return run_cached(ledger, "BEGIN IMMEDIATE", error_r);
}

static void sqlite_rollback(struct mse_ledger *ledger)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	struct mse_error ignored;

	/* It can be over already: some errors roll everything back. */
	if (sqlite3_get_autocommit(sqlite->db) == 0)
		(void)run_cached(ledger, "ROLLBACK", &ignored);
}

static int sqlite_commit(struct mse_ledger *ledger, struct mse_error *error_r)
{
	if (run_cached(ledger, "COMMIT", error_r) == 0)
		return 0;
	sqlite_rollback(ledger);
	return -1;
}

static int sqlite_savepoint(struct mse_ledger *ledger,
			    struct mse_error *error_r)
{
	return run_cached(ledger, "SAVEPOINT part", error_r);
}

static int sqlite_rollback_to(struct mse_ledger *ledger,
			      struct mse_error *error_r)
{
	/* Without a transaction, as after a full disk, this says so. */
	if (run_cached(ledger, "ROLLBACK TO part", error_r) < 0)
		return -1;
	return run_cached(ledger, "RELEASE part", error_r);
}

static int sqlite_release(struct mse_ledger *ledger, struct mse_error *error_r)
{
	struct mse_error ignored;

	if (run_cached(ledger, "RELEASE part", error_r) == 0)
		return 0;
	/* The outermost release is a commit and can fail like one. */
	(void)sqlite_rollback_to(ledger, &ignored);
	return -1;
}

static void sqlite_free(struct mse_ledger *ledger)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	unsigned int i;

	if (sqlite->db != NULL)
		sqlite_rollback(ledger);
	for (i = 0; i < MSE_SQLITE_CACHED; i++)
		sqlite3_finalize(sqlite->idle[i]);
	sqlite3_close(sqlite->db);
	/* Last: the successor opens the file as soon as it has the lock. */
	mse_ledger_unlock(&sqlite->lock_fd);
	free(sqlite);
}

static int quick_check(struct mse_sqlite *sqlite, struct mse_error *error_r)
{
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite, "PRAGMA quick_check(1)", error_r);
	if (stmt == NULL)
		return -1;
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0 && strcmp(mse_sqlite_text(stmt, 0), "ok") != 0) {
		ret = mse_error_set(error_r, "corrupt: " DB_NAME ": %s",
				    mse_sqlite_text(stmt, 0));
	}
	mse_sqlite_give(sqlite, stmt);
	return ret < 0 ? -1 : 0;
}

/* SQLite gives -wal the mode of ledger.db, so the mode is settled here, before
   SQLite sees it, whatever the umask. */
static int make_file(int dirfd, struct mse_error *error_r)
{
	struct stat st;
	int fd, ret;

	/* O_NONBLOCK: a FIFO by that name must not hang the daemon. */
	fd = openat(dirfd, DB_NAME,
		    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		    0600);
	if (fd < 0) {
		return mse_error_set(error_r, "cannot open " DB_NAME ": %s",
				     mse_file_obstacle(errno));
	}
	ret = fchmod(fd, 0600);
	if (ret == 0)
		ret = fstat(fd, &st);
	if (ret == 0 && st.st_size == 0)
		ret = fsync(dirfd);
	if (ret < 0) {
		mse_error_set(error_r, "cannot set up " DB_NAME ": %s",
			      strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		ret = mse_error_set(error_r, DB_NAME " is not a regular file: "
				    "move it away");
	}
	close(fd);
	return ret;
}

static int connect_db(struct mse_sqlite *sqlite, const char *dir_path,
		      struct mse_error *error_r)
{
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/" DB_NAME, dir_path) >=
	    (int)sizeof(path))
		return mse_error_set(error_r, "the path is too long");
	if (sqlite3_open_v2(path, &sqlite->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK) {
		if (sqlite->db == NULL)
			return mse_error_set(error_r, "out of memory");
		return mse_sqlite_fail(sqlite, error_r);
	}
	sqlite3_extended_result_codes(sqlite->db, 1);
	sqlite3_busy_timeout(sqlite->db, BUSY_MS);
	/* Exclusive before WAL: then there is no shared memory file. */
	return mse_sqlite_exec(sqlite,
		"PRAGMA locking_mode = EXCLUSIVE;"
		"PRAGMA journal_mode = WAL;"
		"PRAGMA synchronous = FULL;"
		"PRAGMA foreign_keys = OFF;"
		"PRAGMA temp_store = MEMORY;"
		"PRAGMA journal_size_limit = 16777216;"
		"PRAGMA cache_size = -16384;", error_r);
}

static int open_in(int dirfd, const char *dir_path, int wait_ms,
		   bool *created_r, struct mse_sqlite *sqlite,
		   struct mse_error *error_r)
{
	bool unclean;

	sqlite->lock_fd = mse_ledger_lock(dirfd, wait_ms, error_r);
	if (sqlite->lock_fd < 0 || make_file(dirfd, error_r) < 0)
		return -1;
	unclean = faccessat(dirfd, DB_NAME "-wal", F_OK, 0) == 0;
	if (connect_db(sqlite, dir_path, error_r) < 0)
		return -1;
	if (unclean && quick_check(sqlite, error_r) < 0)
		return -1;
	return mse_sqlite_schema_open(sqlite, created_r, error_r);
}

static int open_dir(const char *dir_path, struct mse_error *error_r)
{
	int dirfd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		mse_error_set(error_r, "%s", strerror(errno));
	return dirfd;
}

int mse_ledger_open_sqlite(const char *dir_path, int wait_ms, bool *created_r,
			   struct mse_ledger **ledger_r,
			   struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = calloc(1, sizeof(*sqlite));
	struct mse_error error;
	int dirfd, ret = -1;

	if (sqlite == NULL)
		return mse_error_set(error_r, "out of memory");
	sqlite->ledger.ops = &sqlite_ops;
	sqlite->lock_fd = -1;
	dirfd = open_dir(dir_path, &error);
	if (dirfd >= 0) {
		ret = open_in(dirfd, dir_path, wait_ms, created_r, sqlite,
			      &error);
		close(dirfd);
	}
	if (ret == 0) {
		*ledger_r = &sqlite->ledger;
		return 0;
	}
	sqlite_free(&sqlite->ledger);
	if (strncmp(error.text, "corrupt: ", 9) == 0) {
		return mse_error_set(error_r, "corrupt: %s: %s", dir_path,
				     error.text + 9);
	}
	return mse_error_set(error_r, "%s: %s", dir_path, error.text);
}

static bool name_is_free(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT;
}

/* Twice within a second is possible (a test, a bad disk): the old bytes of
   the first time stay too. */
static void choose_name(int dirfd, char *name, size_t size)
{
	char stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	unsigned int i;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(name, size, DB_NAME ".corrupt-%s", stamp);
	for (i = 2; i < 1000 && !name_is_free(dirfd, name); i++)
		snprintf(name, size, DB_NAME ".corrupt-%s.%u", stamp, i);
}

static int set_aside_in(int dirfd, struct mse_error *error_r)
{
	/* The database first: were the WAL gone and the file still in place,
	   a crash here would leave an older ledger that looks sound, while
	   SQLite deletes a WAL that has no database. */
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char base[64], from[32], to[80];
	unsigned int i;

	choose_name(dirfd, base, sizeof(base));
	for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(from, sizeof(from), DB_NAME "%s", suffixes[i]);
		snprintf(to, sizeof(to), "%s%s", base, suffixes[i]);
		if (renameat(dirfd, from, dirfd, to) < 0 && errno != ENOENT) {
			return mse_error_set(error_r,
				"cannot rename %s to %s: %s", from, to,
				strerror(errno));
		}
	}
	if (fsync(dirfd) < 0) {
		return mse_error_set(error_r, "fsync of the directory: %s",
				     strerror(errno));
	}
	return 0;
}

int mse_ledger_set_aside(const char *dir_path, struct mse_error *error_r)
{
	struct mse_error error;
	int dirfd, lock_fd, ret = -1;

	dirfd = open_dir(dir_path, &error);
	if (dirfd >= 0) {
		lock_fd = mse_ledger_lock(dirfd, 0, &error);
		if (lock_fd >= 0)
			ret = set_aside_in(dirfd, &error);
		mse_ledger_unlock(&lock_fd);
		close(dirfd);
	}
	if (ret < 0)
		return mse_error_set(error_r, "%s: %s", dir_path, error.text);
	return 0;
}

static const struct mse_ledger_ops sqlite_ops = {
	.free = sqlite_free,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.savepoint = sqlite_savepoint,
	.release = sqlite_release,
	.rollback_to = sqlite_rollback_to,
	.get_cursor = mse_sqlite_get_cursor,
	.put_cursor = mse_sqlite_put_cursor,
	.drop_endpoint = mse_sqlite_drop_endpoint,
	.each_cursor = mse_sqlite_each_cursor,
	.put_row = mse_sqlite_put_row,
	.update_row = mse_sqlite_update_row,
	.delete_row = mse_sqlite_delete_row,
	.each_row = mse_sqlite_each_row,
	.totals = mse_sqlite_totals,
	.trim_dead = mse_sqlite_trim_dead,
	.put_batch = mse_sqlite_put_batch,
	.delete_batch = mse_sqlite_delete_batch,
	.each_batch = mse_sqlite_each_batch,
	.put_seal = mse_sqlite_put_seal,
	.each_seal = mse_sqlite_each_seal,
	.put_checkpoint = mse_sqlite_put_checkpoint,
	.each_checkpoint = mse_sqlite_each_checkpoint,
	.forget_file = mse_sqlite_forget_file,
	.put_announced = mse_sqlite_put_announced,
	.get_announced = mse_sqlite_get_announced,
	.put_value = mse_sqlite_put_value,
	.get_value = mse_sqlite_get_value,
	.put_derived = mse_sqlite_put_derived,
	.delete_derived = mse_sqlite_delete_derived,
	.clear_derived = mse_sqlite_clear_derived,
	.get_derived = mse_sqlite_get_derived,
	.each_derived = mse_sqlite_each_derived,
};
