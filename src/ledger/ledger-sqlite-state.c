#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

#include <string.h>

/*
 * Cursors, seals, checkpoints, announced losses and named values of the
 * SQLite backend. Invariant: an answered row lives only while its number is
 * above its cursor's S, so whoever moves the cursor forgets it.
 */

#define CURSOR_COLUMNS                                                         \
	"stream, file, offset, id, sequence, reserved, filters, disabled, "    \
	"paused"

static void load_cursor(sqlite3_stmt *stmt, int column,
			struct mse_ledger_cursor *cursor_r)
{
	struct mse_position *position = &cursor_r->position;

	mse_sqlite_copy(stmt, column, cursor_r->stream,
			sizeof(cursor_r->stream));
	mse_sqlite_copy(stmt, column + 1, position->file,
			sizeof(position->file));
	position->offset = (uint64_t)sqlite3_column_int64(stmt, column + 2);
	mse_sqlite_copy(stmt, column + 3, position->id, sizeof(position->id));
	cursor_r->sequence = (uint64_t)sqlite3_column_int64(stmt, column + 4);
	cursor_r->reserved = (uint64_t)sqlite3_column_int64(stmt, column + 5);
	mse_sqlite_copy(stmt, column + 6, cursor_r->filters,
			sizeof(cursor_r->filters));
	cursor_r->disabled = sqlite3_column_int(stmt, column + 7) != 0;
	cursor_r->paused = sqlite3_column_int(stmt, column + 8) != 0;
}

int mse_sqlite_get_cursor(struct mse_ledger *ledger, const char *endpoint,
			  struct mse_ledger_cursor *cursor_r,
			  struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT " CURSOR_COLUMNS " FROM cursor WHERE endpoint = ?1",
		error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0) {
		memset(cursor_r, 0, sizeof(*cursor_r));
		load_cursor(stmt, 0, cursor_r);
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

static int store_cursor(struct mse_sqlite *sqlite, const char *endpoint,
			const struct mse_ledger_cursor *cursor,
			struct mse_error *error_r)
{
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO cursor (endpoint, " CURSOR_COLUMNS ")"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_text(stmt, 2, cursor->stream);
	mse_sqlite_bind_text(stmt, 3, cursor->position.file);
	mse_sqlite_bind_uint(stmt, 4, cursor->position.offset);
	mse_sqlite_bind_text(stmt, 5, cursor->position.id);
	mse_sqlite_bind_uint(stmt, 6, cursor->sequence);
	mse_sqlite_bind_uint(stmt, 7, cursor->reserved);
	mse_sqlite_bind_text(stmt, 8, cursor->filters);
	sqlite3_bind_int(stmt, 9, cursor->disabled);
	sqlite3_bind_int(stmt, 10, cursor->paused);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_cursor *cursor,
			  struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;

	if (store_cursor(sqlite, endpoint, cursor, error_r) < 0)
		return -1;
	return mse_sqlite_forget_answered(sqlite, endpoint, cursor->sequence,
					  error_r);
}

/* Runs a statement whose one parameter is text. */
static int run_for(struct mse_sqlite *sqlite, const char *sql,
		   const char *text, struct mse_error *error_r)
{
	sqlite3_stmt *stmt = mse_sqlite_take(sqlite, sql, error_r);

	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, text);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_drop_endpoint(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;

	if (run_for(sqlite, "DELETE FROM cursor WHERE endpoint = ?1", endpoint,
		    error_r) < 0 ||
	    run_for(sqlite, "DELETE FROM batch WHERE endpoint = ?1", endpoint,
		    error_r) < 0)
		return -1;
	return mse_sqlite_forget_rows(sqlite, endpoint, error_r);
}

int mse_sqlite_each_cursor(struct mse_ledger *ledger,
			   int (*found)(const char *endpoint,
					const struct mse_ledger_cursor *cursor,
					void *context),
			   void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	struct mse_ledger_cursor cursor;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT endpoint, " CURSOR_COLUMNS " FROM cursor"
		" WHERE endpoint <> '' ORDER BY endpoint", error_r);
	if (stmt == NULL)
		return -1;
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		memset(&cursor, 0, sizeof(cursor));
		load_cursor(stmt, 1, &cursor);
		ret = found(mse_sqlite_text(stmt, 0), &cursor, context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

int mse_sqlite_put_seal(struct mse_ledger *ledger, const char *file,
			uint64_t length, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO seal (file, length) VALUES (?1, ?2)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, file);
	mse_sqlite_bind_uint(stmt, 2, length);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_each_seal(struct mse_ledger *ledger,
			 int (*found)(const char *file, uint64_t length,
				      void *context),
			 void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT file, length FROM seal ORDER BY file", error_r);
	if (stmt == NULL)
		return -1;
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		ret = found(mse_sqlite_text(stmt, 0),
			    (uint64_t)sqlite3_column_int64(stmt, 1), context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

int mse_sqlite_put_checkpoint(struct mse_ledger *ledger,
			      const struct mse_position *position,
			      struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO checkpoint (file, part, offset, id)"
		" VALUES (?1, ?2, ?3, ?4)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, position->file);
	mse_sqlite_bind_uint(stmt, 2, position->offset / MSE_CHECKPOINT_EVERY);
	mse_sqlite_bind_uint(stmt, 3, position->offset);
	mse_sqlite_bind_text(stmt, 4, position->id);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_each_checkpoint(
	struct mse_ledger *ledger, const char *file,
	int (*found)(const struct mse_position *position, void *context),
	void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	struct mse_position position;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT file, offset, id FROM checkpoint WHERE file = ?1"
		" ORDER BY part DESC", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, file);
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		mse_sqlite_copy(stmt, 0, position.file, sizeof(position.file));
		position.offset = (uint64_t)sqlite3_column_int64(stmt, 1);
		mse_sqlite_copy(stmt, 2, position.id, sizeof(position.id));
		ret = found(&position, context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

int mse_sqlite_forget_file(struct mse_ledger *ledger, const char *file,
			   struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;

	if (run_for(sqlite, "DELETE FROM seal WHERE file = ?1", file,
		    error_r) < 0)
		return -1;
	return run_for(sqlite, "DELETE FROM checkpoint WHERE file = ?1", file,
		       error_r);
}

int mse_sqlite_put_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t lost, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO announced (slot, lost) VALUES (?1, ?2)",
		error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_uint(stmt, 1, slot);
	mse_sqlite_bind_uint(stmt, 2, lost);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_get_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t *lost_r, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	*lost_r = 0;
	stmt = mse_sqlite_take(sqlite,
		"SELECT lost FROM announced WHERE slot = ?1", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_uint(stmt, 1, slot);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0)
		*lost_r = (uint64_t)sqlite3_column_int64(stmt, 0);
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

int mse_sqlite_put_value(struct mse_ledger *ledger, const char *name,
			 const char *value, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO value (name, value) VALUES (?1, ?2)", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, name);
	mse_sqlite_bind_text(stmt, 2, value);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_get_value(struct mse_ledger *ledger, const char *name,
			 char *value_r, size_t size,
			 struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT value FROM value WHERE name = ?1", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, name);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0)
		mse_sqlite_copy(stmt, 0, value_r, size);
	mse_sqlite_give(sqlite, stmt);
	return ret;
}
