#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

#include <stdio.h>

/*
 * The tables, and how an older file becomes a current one. Invariant:
 * user_version is the number of steps below that the file has been through;
 * a step and its number are committed together. Steps are only ever added.
 *
 *	cursor      one line per endpoint, "" is derive's
 *	row         parked, dead and answered events; small, so that walking
 *	            a million of them reads no event's bytes
 *	record      the bytes of a row that still has them, by row.key; apart,
 *	            so that counting an attempt does not rewrite a megabyte
 *	answer      how the last answer to a row's request began, by row.key
 *	totals      what rows of a state there are and how many octets,
 *	            kept by triggers: exact at any size, within the transaction
 *	batch       what a batch that is out is made of
 *	seal        length at which a rotated journal file ends
 *	checkpoint  last position seen in each MiB of a journal file
 *	announced   losses already announced, per presence slot
 *	value       the rest, by name
 *	derived     what derive remembers between events, by kind and key
 *
 * row_waits finds the head of a lane, row_parked walks heads in order of
 * number, row_dead finds the oldest bytes to drop, row_answered what a
 * cursor has passed, row_id the event a person asks for, row_died lists what
 * was given up.
 */

/* "mhLg" */
#define APPLICATION_ID 0x6d684c67

static const char schema_1[] =
	"CREATE TABLE cursor ("
	" endpoint TEXT NOT NULL PRIMARY KEY,"
	" stream TEXT NOT NULL,"
	" file TEXT NOT NULL,"
	" offset INTEGER NOT NULL,"
	" id TEXT NOT NULL,"
	" sequence INTEGER NOT NULL,"
	" reserved INTEGER NOT NULL,"
	" filters TEXT NOT NULL,"
	" disabled INTEGER NOT NULL,"
	" paused INTEGER NOT NULL"
	") WITHOUT ROWID;"
	"CREATE TABLE row ("
	" key INTEGER PRIMARY KEY,"
	" endpoint TEXT NOT NULL,"
	" sequence INTEGER NOT NULL,"
	" state INTEGER NOT NULL," /* enum mse_row_state */
	" gap INTEGER NOT NULL,"
	" id TEXT NOT NULL,"
	" type TEXT NOT NULL,"
	" lane TEXT NOT NULL,"
	" attempts INTEGER NOT NULL,"
	" used_ms INTEGER NOT NULL,"
	" parked_at_ms INTEGER NOT NULL,"
	" changed_at_ms INTEGER NOT NULL,"
	" last_status INTEGER NOT NULL,"
	" last_error TEXT NOT NULL,"
	" record_len INTEGER NOT NULL,"
	" UNIQUE (endpoint, sequence)"
	");"
	"CREATE TABLE record ("
	" key INTEGER PRIMARY KEY,"
	" bytes BLOB NOT NULL"
	");"
	"CREATE INDEX row_waits ON row (endpoint, lane, sequence)"
	" WHERE state = 0;"
	"CREATE INDEX row_parked ON row (endpoint, sequence)"
	" WHERE state = 0;"
	"CREATE INDEX row_dead ON row (endpoint, changed_at_ms, sequence)"
	" WHERE state = 1 AND record_len > 0;"
	"CREATE INDEX row_answered ON row (endpoint, sequence)"
	" WHERE state = 2;"
	"CREATE INDEX row_id ON row (id);"
	"CREATE TABLE totals ("
	" endpoint TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" rows INTEGER NOT NULL,"
	" octets INTEGER NOT NULL,"
	" PRIMARY KEY (endpoint, state)"
	") WITHOUT ROWID;"
	"CREATE TRIGGER row_insert AFTER INSERT ON row BEGIN"
	" INSERT INTO totals VALUES"
	"  (new.endpoint, new.state, 1, new.record_len)"
	"  ON CONFLICT (endpoint, state) DO UPDATE SET"
	"  rows = rows + 1, octets = octets + new.record_len;"
	"END;"
	"CREATE TRIGGER row_update AFTER UPDATE OF state, record_len ON row"
	" WHEN old.state <> new.state OR old.record_len <> new.record_len"
	" BEGIN"
	" UPDATE totals SET rows = rows - 1, octets = octets - old.record_len"
	"  WHERE endpoint = old.endpoint AND state = old.state;"
	" INSERT INTO totals VALUES"
	"  (new.endpoint, new.state, 1, new.record_len)"
	"  ON CONFLICT (endpoint, state) DO UPDATE SET"
	"  rows = rows + 1, octets = octets + new.record_len;"
	" DELETE FROM record WHERE key = new.key AND new.record_len = 0;"
	"END;"
	"CREATE TRIGGER row_delete AFTER DELETE ON row BEGIN"
	" UPDATE totals SET rows = rows - 1, octets = octets - old.record_len"
	"  WHERE endpoint = old.endpoint AND state = old.state;"
	" DELETE FROM record WHERE key = old.key;"
	"END;"
	"CREATE TABLE seal ("
	" file TEXT NOT NULL PRIMARY KEY,"
	" length INTEGER NOT NULL"
	") WITHOUT ROWID;"
	"CREATE TABLE checkpoint ("
	" file TEXT NOT NULL,"
	" part INTEGER NOT NULL," /* offset / MSE_CHECKPOINT_EVERY */
	" offset INTEGER NOT NULL,"
	" id TEXT NOT NULL,"
	" PRIMARY KEY (file, part)"
	") WITHOUT ROWID;"
	"CREATE TABLE announced ("
	" slot INTEGER PRIMARY KEY,"
	" lost INTEGER NOT NULL"
	");"
	"CREATE TABLE value ("
	" name TEXT NOT NULL PRIMARY KEY,"
	" value TEXT NOT NULL"
	") WITHOUT ROWID;";

static const char schema_2[] =
	"CREATE TABLE derived ("
	" kind TEXT NOT NULL,"
	" key TEXT NOT NULL,"
	" value TEXT NOT NULL,"
	" PRIMARY KEY (kind, key)"
	") WITHOUT ROWID;";

static const char schema_3[] =
	"CREATE TABLE answer ("
	" key INTEGER PRIMARY KEY,"
	" bytes BLOB NOT NULL"
	");"
	"CREATE INDEX row_died ON row (endpoint, sequence) WHERE state = 1;"
	"CREATE TRIGGER answer_delete AFTER DELETE ON row BEGIN"
	" DELETE FROM answer WHERE key = old.key;"
	"END;"
	/* Dead letters that are trimmed keep their line alone. */
	"CREATE TRIGGER answer_trim AFTER UPDATE OF record_len ON row"
	" WHEN new.record_len = 0 BEGIN"
	" DELETE FROM answer WHERE key = new.key;"
	"END;";

static const char schema_4[] =
	"CREATE TABLE batch ("
	" endpoint TEXT NOT NULL,"
	" id TEXT NOT NULL,"
	" members TEXT NOT NULL,"
	" digest INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL,"
	" used_ms INTEGER NOT NULL,"
	" PRIMARY KEY (endpoint, id)"
	") WITHOUT ROWID;";

static const char *const steps[] = {
	schema_1, schema_2, schema_3, schema_4,
};
#define CURRENT ((int)(sizeof(steps) / sizeof(steps[0])))

static int get_number(struct mse_sqlite *sqlite, const char *sql, int *number_r,
		      struct mse_error *error_r)
{
	sqlite3_stmt *stmt = mse_sqlite_take(sqlite, sql, error_r);
	int ret;

	if (stmt == NULL)
		return -1;
	*number_r = 0;
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0)
		*number_r = sqlite3_column_int(stmt, 0);
	mse_sqlite_give(sqlite, stmt);
	return ret < 0 ? -1 : 0;
}

static int run_steps(struct mse_sqlite *sqlite, int version,
		     struct mse_error *error_r)
{
	char pragma[64];

	for (; version < CURRENT; version++) {
		if (mse_sqlite_exec(sqlite, steps[version], error_r) < 0)
			return -1;
	}
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", CURRENT);
	if (mse_sqlite_exec(sqlite, pragma, error_r) < 0)
		return -1;
	snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d",
		 APPLICATION_ID);
	return mse_sqlite_exec(sqlite, pragma, error_r);
}

static int upgrade(struct mse_sqlite *sqlite, int version,
		   struct mse_error *error_r)
{
	struct mse_ledger *ledger = &sqlite->ledger;

	if (mse_ledger_begin(ledger, error_r) < 0)
		return -1;
	if (run_steps(sqlite, version, error_r) < 0) {
		mse_ledger_rollback(ledger);
		return -1;
	}
	return mse_ledger_commit(ledger, error_r);
}

int mse_sqlite_schema_open(struct mse_sqlite *sqlite, bool *created_r,
			   struct mse_error *error_r)
{
	int version, application, tables;

	if (get_number(sqlite, "PRAGMA user_version", &version, error_r) < 0 ||
	    get_number(sqlite, "PRAGMA application_id", &application,
		       error_r) < 0 ||
	    get_number(sqlite, "SELECT count(*) FROM sqlite_schema", &tables,
		       error_r) < 0)
		return -1;

	/* Also after a crash between creating the file and its tables. */
	*created_r = tables == 0 && version == 0 && application == 0;
	if (!*created_r && application != APPLICATION_ID) {
		return mse_error_set(error_r,
			"ledger.db belongs to another program: move it away");
	}
	if (version > CURRENT) {
		return mse_error_set(error_r,
			"ledger.db was written by a newer mailhook (its "
			"version is %d, this one knows up to %d): install "
			"that version again, or move ledger.db away",
			version, CURRENT);
	}
	if (version == CURRENT)
		return 0;
	return upgrade(sqlite, version, error_r);
}
