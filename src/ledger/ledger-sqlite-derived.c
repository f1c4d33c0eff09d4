#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

/*
 * What derive remembers, in the SQLite backend. Any number of keys: each
 * call touches only those it is asked for.
 */

int mse_sqlite_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO derived (kind, key, value)"
		" VALUES (?1, ?2, ?3)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, kind);
	mse_sqlite_bind_text(stmt, 2, key);
	mse_sqlite_bind_text(stmt, 3, value);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"DELETE FROM derived WHERE kind = ?1 AND key = ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, kind);
	mse_sqlite_bind_text(stmt, 2, key);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite, "DELETE FROM derived WHERE kind = ?1",
			       error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, kind);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT value FROM derived WHERE kind = ?1 AND key = ?2",
		error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, kind);
	mse_sqlite_bind_text(stmt, 2, key);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0)
		mse_buf_append_str(value, mse_sqlite_text(stmt, 0));
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

int mse_sqlite_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite, after == NULL ?
		"SELECT key, value FROM derived WHERE kind = ?1"
		" ORDER BY key LIMIT ?2" :
		"SELECT key, value FROM derived WHERE kind = ?1 AND key > ?3"
		" ORDER BY key LIMIT ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, kind);
	sqlite3_bind_int64(stmt, 2, limit == 0 ? -1 : (sqlite3_int64)limit);
	if (after != NULL)
		mse_sqlite_bind_text(stmt, 3, after);
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		ret = found(mse_sqlite_text(stmt, 0), mse_sqlite_text(stmt, 1),
			    context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}
