#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

/*
 * Batches that are out, in the SQLite backend: a line each, inserted at the
 * table's end, for ids grow with time.
 */

int mse_sqlite_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO batch"
		" (endpoint, id, members, digest, attempts, used_ms)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_text(stmt, 2, batch->id);
	mse_sqlite_bind_text(stmt, 3, batch->members);
	sqlite3_bind_int64(stmt, 4, (sqlite3_int64)batch->digest);
	mse_sqlite_bind_uint(stmt, 5, batch->attempts);
	sqlite3_bind_int64(stmt, 6, batch->used_ms);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"DELETE FROM batch WHERE endpoint = ?1 AND id = ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_text(stmt, 2, id);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	struct mse_ledger_batch batch;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT id, members, digest, attempts, used_ms FROM batch"
		" WHERE endpoint = ?1 ORDER BY id", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		batch.id = mse_sqlite_text(stmt, 0);
		batch.members = mse_sqlite_text(stmt, 1);
		batch.digest = (uint64_t)sqlite3_column_int64(stmt, 2);
		batch.attempts = (uint32_t)sqlite3_column_int64(stmt, 3);
		batch.used_ms = sqlite3_column_int64(stmt, 4);
		ret = found(&batch, context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}
