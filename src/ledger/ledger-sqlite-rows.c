#include "mse-config.h"
#include "ledger/ledger-sqlite.h"

#include <string.h>

#include "base/buf.h"

/*
 * Rows of the SQLite backend. Invariants: row.record_len > 0 if and only if
 * record has a line of the same key; nothing here but each_row(with_record)
 * reads an event's bytes, and each_row(with_answer) an answer's. States are
 * written into the SQL as numbers, because SQLite uses a partial index only if
 * it sees its condition in the text.
 */

#define ROW_COLUMNS                                                            \
	"sequence, state, gap, id, type, lane, attempts, used_ms, "            \
	"parked_at_ms, changed_at_ms, last_status, last_error, record_len"

static void bind_row(sqlite3_stmt *stmt, const char *endpoint,
		     const struct mse_ledger_row *row)
{
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_uint(stmt, 2, row->sequence);
	sqlite3_bind_int(stmt, 3, (int)row->state);
	sqlite3_bind_int(stmt, 4, row->gap);
	mse_sqlite_bind_text(stmt, 5, row->id);
	mse_sqlite_bind_text(stmt, 6, row->type);
	mse_sqlite_bind_text(stmt, 7, row->lane);
	sqlite3_bind_int64(stmt, 8, row->attempts);
	sqlite3_bind_int64(stmt, 9, row->used_ms);
	sqlite3_bind_int64(stmt, 10, row->parked_at_ms);
	sqlite3_bind_int64(stmt, 11, row->changed_at_ms);
	sqlite3_bind_int(stmt, 12, row->last_status);
	mse_sqlite_bind_text(stmt, 13, row->last_error);
}

/* Inserts or replaces the line; its key is what the bytes go by. */
static int put_line(struct mse_sqlite *sqlite, const char *endpoint,
		    const struct mse_ledger_row *row, sqlite3_int64 *key_r,
		    struct mse_error *error_r)
{
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"INSERT INTO row (endpoint, " ROW_COLUMNS ")"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
		" ?13, ?14)"
		" ON CONFLICT (endpoint, sequence) DO UPDATE SET"
		" state = excluded.state, gap = excluded.gap,"
		" id = excluded.id, type = excluded.type,"
		" lane = excluded.lane, attempts = excluded.attempts,"
		" used_ms = excluded.used_ms,"
		" parked_at_ms = excluded.parked_at_ms,"
		" changed_at_ms = excluded.changed_at_ms,"
		" last_status = excluded.last_status,"
		" last_error = excluded.last_error,"
		" record_len = excluded.record_len"
		" RETURNING key", error_r);
	if (stmt == NULL)
		return -1;
	bind_row(stmt, endpoint, row);
	mse_sqlite_bind_uint(stmt, 14, row->record_len);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0) {
		*key_r = sqlite3_column_int64(stmt, 0);
		ret = mse_sqlite_step(sqlite, stmt, error_r);
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

/* Most rows never had an answer, so there is seldom something to forget. */
static int put_answer(struct mse_sqlite *sqlite, const char *endpoint,
		      const struct mse_ledger_row *row,
		      struct mse_error *error_r)
{
	size_t len = row->answer_len < MSE_LEDGER_ANSWER_MAX ?
		row->answer_len : MSE_LEDGER_ANSWER_MAX;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite, len == 0 ?
		"DELETE FROM answer WHERE key = (SELECT key FROM row"
		" WHERE endpoint = ?1 AND sequence = ?2)" :
		"REPLACE INTO answer (key, bytes) SELECT key, ?3 FROM row"
		" WHERE endpoint = ?1 AND sequence = ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_uint(stmt, 2, row->sequence);
	if (len > 0)
		sqlite3_bind_blob64(stmt, 3, row->answer, len, SQLITE_STATIC);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_put_row(struct mse_ledger *ledger, const char *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;
	sqlite3_int64 key = 0;

	if (put_line(sqlite, endpoint, row, &key, error_r) < 0 ||
	    put_answer(sqlite, endpoint, row, error_r) < 0)
		return -1;
	if (row->record_len == 0)
		return 0; /* a trigger has dropped what was there */
	stmt = mse_sqlite_take(sqlite,
		"REPLACE INTO record (key, bytes) VALUES (?1, ?2)", error_r);
	if (stmt == NULL)
		return -1;
	sqlite3_bind_int64(stmt, 1, key);
	sqlite3_bind_blob64(stmt, 2, row->record, row->record_len,
			    SQLITE_STATIC);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_update_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"UPDATE row SET state = ?3, gap = ?4, id = ?5, type = ?6,"
		" lane = ?7, attempts = ?8, used_ms = ?9, parked_at_ms = ?10,"
		" changed_at_ms = ?11, last_status = ?12, last_error = ?13"
		" WHERE endpoint = ?1 AND sequence = ?2", error_r);
	if (stmt == NULL)
		return -1;
	bind_row(stmt, endpoint, row);
	if (mse_sqlite_finish(sqlite, stmt, error_r) < 0)
		return -1;
	return put_answer(sqlite, endpoint, row, error_r);
}

/* Runs a statement about (endpoint, number). */
static int run_for(struct mse_sqlite *sqlite, const char *sql,
		   const char *endpoint, uint64_t number,
		   struct mse_error *error_r)
{
	sqlite3_stmt *stmt = mse_sqlite_take(sqlite, sql, error_r);

	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	mse_sqlite_bind_uint(stmt, 2, number);
	return mse_sqlite_finish(sqlite, stmt, error_r);
}

int mse_sqlite_delete_row(struct mse_ledger *ledger, const char *endpoint,
			  uint64_t sequence, struct mse_error *error_r)
{
	return run_for((struct mse_sqlite *)ledger,
		       "DELETE FROM row WHERE endpoint = ?1 AND sequence = ?2",
		       endpoint, sequence, error_r);
}

int mse_sqlite_forget_rows(struct mse_sqlite *sqlite, const char *endpoint,
			   struct mse_error *error_r)
{
	if (run_for(sqlite,
		    "DELETE FROM row WHERE endpoint = ?1 AND sequence > ?2",
		    endpoint, 0, error_r) < 0)
		return -1;
	/* The triggers have counted down to 0 by now. */
	return run_for(sqlite,
		       "DELETE FROM totals WHERE endpoint = ?1 AND rows = ?2",
		       endpoint, 0, error_r);
}

int mse_sqlite_forget_answered(struct mse_sqlite *sqlite,
			       const char *endpoint, uint64_t up_to,
			       struct mse_error *error_r)
{
	return run_for(sqlite,
		       "DELETE FROM row INDEXED BY row_answered"
		       " WHERE endpoint = ?1 AND sequence <= ?2 AND state = 2",
		       endpoint, up_to, error_r);
}

/* The index that makes this filter cheap at a million rows. */
static const char *filter_index(const struct mse_row_filter *filter)
{
	bool parked = filter->heads_only || filter->state == MSE_ROW_PARKED;

	if (filter->id != NULL)
		return " INDEXED BY row_id";
	if (parked && filter->lane != NULL)
		return " INDEXED BY row_waits";
	if (parked)
		return " INDEXED BY row_parked";
	if (filter->state == MSE_ROW_ANSWERED)
		return " INDEXED BY row_answered";
	if (filter->state == MSE_ROW_DEAD)
		return " INDEXED BY row_died";
	return "";
}

static void filter_sql(struct mse_buf *sql, const struct mse_row_filter *filter)
{
	mse_buf_append_str(sql, "SELECT " ROW_COLUMNS);
	if (filter->with_record)
		mse_buf_append_str(sql,
			", (SELECT bytes FROM record WHERE key = row.key)");
	if (filter->with_answer)
		mse_buf_appendf(sql, ", %s(SELECT bytes FROM answer"
				" WHERE key = row.key)",
				filter->with_record ? "" : "NULL, ");
	mse_buf_append_str(sql, " FROM row");
	mse_buf_append_str(sql, filter_index(filter));
	mse_buf_append_str(sql, " WHERE endpoint = ?1 AND sequence > ?2");
	if (filter->lane != NULL)
		mse_buf_append_str(sql, " AND lane = ?3");
	if (filter->id != NULL)
		mse_buf_append_str(sql, " AND id = ?4");
	if (filter->state >= 0)
		mse_buf_appendf(sql, " AND state = %d", filter->state);
	if (filter->heads_only) {
		mse_buf_append_str(sql,
			" AND state = 0 AND NOT EXISTS (SELECT 1 FROM row p"
			" INDEXED BY row_waits WHERE p.endpoint = ?1"
			" AND p.state = 0 AND p.lane = row.lane"
			" AND p.sequence < row.sequence)");
	}
	mse_buf_append_str(sql, " ORDER BY sequence LIMIT ?5");
}

static sqlite3_stmt *filter_stmt(struct mse_sqlite *sqlite,
				 const struct mse_row_filter *filter,
				 struct mse_error *error_r)
{
	sqlite3_stmt *stmt;
	struct mse_buf sql;

	mse_buf_init(&sql, 4096);
	filter_sql(&sql, filter);
	if (mse_buf_failed(&sql)) {
		mse_error_set(error_r, "out of memory");
		stmt = NULL;
	} else {
		stmt = mse_sqlite_take(sqlite, mse_buf_str(&sql), error_r);
	}
	mse_buf_clear(&sql);
	if (stmt == NULL)
		return NULL;

	mse_sqlite_bind_text(stmt, 1, filter->endpoint);
	mse_sqlite_bind_uint(stmt, 2, filter->after);
	if (filter->lane != NULL)
		mse_sqlite_bind_text(stmt, 3, filter->lane);
	if (filter->id != NULL)
		mse_sqlite_bind_text(stmt, 4, filter->id);
	sqlite3_bind_int64(stmt, 5, filter->limit == 0 ? -1 :
			   (sqlite3_int64)filter->limit);
	return stmt;
}

static int load_row(struct mse_sqlite *sqlite, sqlite3_stmt *stmt,
		    const struct mse_row_filter *filter,
		    struct mse_ledger_row *row_r, struct mse_error *error_r)
{
	memset(row_r, 0, sizeof(*row_r));
	row_r->sequence = (uint64_t)sqlite3_column_int64(stmt, 0);
	row_r->state = (enum mse_row_state)sqlite3_column_int(stmt, 1);
	row_r->gap = sqlite3_column_int(stmt, 2) != 0;
	row_r->id = mse_sqlite_text(stmt, 3);
	row_r->type = mse_sqlite_text(stmt, 4);
	row_r->lane = mse_sqlite_text(stmt, 5);
	row_r->attempts = (uint32_t)sqlite3_column_int64(stmt, 6);
	row_r->used_ms = sqlite3_column_int64(stmt, 7);
	row_r->parked_at_ms = sqlite3_column_int64(stmt, 8);
	row_r->changed_at_ms = sqlite3_column_int64(stmt, 9);
	row_r->last_status = sqlite3_column_int(stmt, 10);
	row_r->last_error = mse_sqlite_text(stmt, 11);
	row_r->record_len = (size_t)sqlite3_column_int64(stmt, 12);
	if (filter->with_answer) {
		row_r->answer = sqlite3_column_blob(stmt, 14);
		row_r->answer_len = row_r->answer == NULL ? 0 :
			(size_t)sqlite3_column_bytes(stmt, 14);
	}
	if (!filter->with_record || row_r->record_len == 0)
		return 0;

	row_r->record = sqlite3_column_blob(stmt, 13);
	if (row_r->record != NULL &&
	    (size_t)sqlite3_column_bytes(stmt, 13) == row_r->record_len)
		return 0;
	if (sqlite3_errcode(sqlite->db) == SQLITE_NOMEM)
		return mse_error_set(error_r, "out of memory");
	return mse_error_set(error_r,
		"corrupt: ledger.db: row %llu has lost its record",
		(unsigned long long)row_r->sequence);
}

int mse_sqlite_each_row(struct mse_ledger *ledger,
			const struct mse_row_filter *filter,
			int (*found)(const struct mse_ledger_row *row,
				     void *context),
			void *context, struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	struct mse_ledger_row row;
	sqlite3_stmt *stmt = filter_stmt(sqlite, filter, error_r);
	int ret;

	if (stmt == NULL)
		return -1;
	while ((ret = mse_sqlite_step(sqlite, stmt, error_r)) > 0) {
		ret = load_row(sqlite, stmt, filter, &row, error_r);
		if (ret == 0)
			ret = found(&row, context);
		if (ret != 0)
			break;
	}
	mse_sqlite_give(sqlite, stmt);
	return ret;
}

static int count_state(struct mse_sqlite *sqlite, const char *endpoint,
		       enum mse_row_state state, uint64_t *rows_r,
		       uint64_t *octets_r, struct mse_error *error_r)
{
	sqlite3_stmt *stmt;
	int ret;

	stmt = mse_sqlite_take(sqlite,
		"SELECT rows, octets FROM totals"
		" WHERE endpoint = ?1 AND state = ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	sqlite3_bind_int(stmt, 2, (int)state);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0) {
		*rows_r = (uint64_t)sqlite3_column_int64(stmt, 0);
		*octets_r = (uint64_t)sqlite3_column_int64(stmt, 1);
	}
	mse_sqlite_give(sqlite, stmt);
	return ret < 0 ? -1 : 0;
}

/* The number that a query about one endpoint returns, 0 for NULL. */
static int find_number(struct mse_sqlite *sqlite, const char *sql,
		       const char *endpoint, uint64_t *number_r,
		       struct mse_error *error_r)
{
	sqlite3_stmt *stmt = mse_sqlite_take(sqlite, sql, error_r);
	int ret;

	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	ret = mse_sqlite_step(sqlite, stmt, error_r);
	if (ret > 0)
		*number_r = (uint64_t)sqlite3_column_int64(stmt, 0);
	mse_sqlite_give(sqlite, stmt);
	return ret < 0 ? -1 : 0;
}

int mse_sqlite_totals(struct mse_ledger *ledger, const char *endpoint,
		      struct mse_ledger_totals *totals_r,
		      struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;

	memset(totals_r, 0, sizeof(*totals_r));
	if (count_state(sqlite, endpoint, MSE_ROW_PARKED, &totals_r->parked,
			&totals_r->parked_octets, error_r) < 0 ||
	    count_state(sqlite, endpoint, MSE_ROW_DEAD, &totals_r->dead,
			&totals_r->dead_octets, error_r) < 0)
		return -1;
	if (find_number(sqlite,
			"SELECT min(sequence) FROM row INDEXED BY row_parked"
			" WHERE endpoint = ?1 AND state = 0", endpoint,
			&totals_r->lowest_parked, error_r) < 0)
		return -1;
	return find_number(sqlite,
			   "SELECT max(sequence) FROM row"
			   " WHERE endpoint = ?1", endpoint,
			   &totals_r->highest, error_r);
}

#define OLDEST_DEAD                                                            \
	"SELECT key FROM row INDEXED BY row_dead"                              \
	" WHERE endpoint = ?1 AND state = 1 AND record_len > 0"                \
	" ORDER BY changed_at_ms, sequence LIMIT 1"

int mse_sqlite_trim_dead(struct mse_ledger *ledger, const char *endpoint,
			 int64_t before_ms, uint64_t octets,
			 struct mse_error *error_r)
{
	struct mse_sqlite *sqlite = (struct mse_sqlite *)ledger;
	uint64_t rows = 0, dead_octets;
	sqlite3_stmt *stmt;

	stmt = mse_sqlite_take(sqlite,
		"UPDATE row INDEXED BY row_dead SET record_len = 0"
		" WHERE endpoint = ?1 AND state = 1 AND record_len > 0"
		" AND changed_at_ms < ?2", error_r);
	if (stmt == NULL)
		return -1;
	mse_sqlite_bind_text(stmt, 1, endpoint);
	sqlite3_bind_int64(stmt, 2, before_ms);
	if (mse_sqlite_finish(sqlite, stmt, error_r) < 0)
		return -1;

	for (;;) {
		dead_octets = 0;
		if (count_state(sqlite, endpoint, MSE_ROW_DEAD, &rows,
				&dead_octets, error_r) < 0)
			return -1;
		if (dead_octets <= octets)
			return 0;
		if (run_for(sqlite,
			    "UPDATE row SET record_len = ?2"
			    " WHERE key = (" OLDEST_DEAD ")", endpoint, 0,
			    error_r) < 0)
			return -1;
		/* Totals that disagree with the rows must not loop here. */
		if (sqlite3_changes(sqlite->db) == 0) {
			return mse_error_set(error_r,
				"corrupt: ledger.db: its totals are wrong");
		}
	}
}
