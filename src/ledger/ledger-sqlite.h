#ifndef MSE_LEDGER_SQLITE_H
#define MSE_LEDGER_SQLITE_H

#include <sqlite3.h>

#include "ledger/ledger-backend.h"

/*
 * What the SQLite backend's files share; nobody else includes this.
 */
#define MSE_SQLITE_CACHED 48

struct mse_sqlite {
	struct mse_ledger ledger;
	sqlite3 *db;
	int lock_fd;
	/* Idle prepared statements; those in use belong to their user. */
	sqlite3_stmt *idle[MSE_SQLITE_CACHED];
	unsigned int evict;
};

/* A prepared statement of this text, reset and with nothing bound; NULL with
   an error. Given back with mse_sqlite_give() or mse_sqlite_finish(). What
   is bound to it must live as long. */
sqlite3_stmt *mse_sqlite_take(struct mse_sqlite *sqlite, const char *sql,
			      struct mse_error *error_r);
void mse_sqlite_give(struct mse_sqlite *sqlite, sqlite3_stmt *stmt);
/* Runs a statement that returns no rows and gives it back. */
int mse_sqlite_finish(struct mse_sqlite *sqlite, sqlite3_stmt *stmt,
		      struct mse_error *error_r);
/* Runs SQL text without parameters. */
int mse_sqlite_exec(struct mse_sqlite *sqlite, const char *sql,
		    struct mse_error *error_r);
/* Describes SQLite's last error. Returns -1. */
int mse_sqlite_fail(struct mse_sqlite *sqlite, struct mse_error *error_r);
/* 1: a row, 0: no more, -1: error. */
int mse_sqlite_step(struct mse_sqlite *sqlite, sqlite3_stmt *stmt,
		    struct mse_error *error_r);

void mse_sqlite_bind_text(sqlite3_stmt *stmt, int index, const char *text);
void mse_sqlite_bind_uint(sqlite3_stmt *stmt, int index, uint64_t number);
/* Never NULL; valid until the next step. */
const char *mse_sqlite_text(sqlite3_stmt *stmt, int column);
void mse_sqlite_copy(sqlite3_stmt *stmt, int column, char *text_r,
		     size_t size);

/* The file format: schema version and tables (ledger-sqlite-schema.c).
   created_r: there were none. */
int mse_sqlite_schema_open(struct mse_sqlite *sqlite, bool *created_r,
			   struct mse_error *error_r);

/* ledger-sqlite-rows.c */
int mse_sqlite_put_row(struct mse_ledger *ledger, const char *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r);
int mse_sqlite_update_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r);
int mse_sqlite_delete_row(struct mse_ledger *ledger, const char *endpoint,
			  uint64_t sequence, struct mse_error *error_r);
int mse_sqlite_each_row(struct mse_ledger *ledger,
			const struct mse_row_filter *filter,
			int (*found)(const struct mse_ledger_row *row,
				     void *context),
			void *context, struct mse_error *error_r);
int mse_sqlite_totals(struct mse_ledger *ledger, const char *endpoint,
		      struct mse_ledger_totals *totals_r,
		      struct mse_error *error_r);
int mse_sqlite_trim_dead(struct mse_ledger *ledger, const char *endpoint,
			 int64_t before_ms, uint64_t octets,
			 struct mse_error *error_r);
int mse_sqlite_forget_rows(struct mse_sqlite *sqlite, const char *endpoint,
			   struct mse_error *error_r);
int mse_sqlite_forget_answered(struct mse_sqlite *sqlite,
			       const char *endpoint, uint64_t up_to,
			       struct mse_error *error_r);

/* ledger-sqlite-state.c */
int mse_sqlite_get_cursor(struct mse_ledger *ledger, const char *endpoint,
			  struct mse_ledger_cursor *cursor_r,
			  struct mse_error *error_r);
int mse_sqlite_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_cursor *cursor,
			  struct mse_error *error_r);
int mse_sqlite_drop_endpoint(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_error *error_r);
int mse_sqlite_each_cursor(struct mse_ledger *ledger,
			   int (*found)(const char *endpoint,
					const struct mse_ledger_cursor *cursor,
					void *context),
			   void *context, struct mse_error *error_r);
int mse_sqlite_put_seal(struct mse_ledger *ledger, const char *file,
			uint64_t length, struct mse_error *error_r);
int mse_sqlite_each_seal(struct mse_ledger *ledger,
			 int (*found)(const char *file, uint64_t length,
				      void *context),
			 void *context, struct mse_error *error_r);
int mse_sqlite_put_checkpoint(struct mse_ledger *ledger,
			      const struct mse_position *position,
			      struct mse_error *error_r);
int mse_sqlite_each_checkpoint(
	struct mse_ledger *ledger, const char *file,
	int (*found)(const struct mse_position *position, void *context),
	void *context, struct mse_error *error_r);
int mse_sqlite_forget_file(struct mse_ledger *ledger, const char *file,
			   struct mse_error *error_r);
int mse_sqlite_put_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t lost, struct mse_error *error_r);
int mse_sqlite_get_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t *lost_r, struct mse_error *error_r);
int mse_sqlite_put_value(struct mse_ledger *ledger, const char *name,
			 const char *value, struct mse_error *error_r);
int mse_sqlite_get_value(struct mse_ledger *ledger, const char *name,
			 char *value_r, size_t size,
			 struct mse_error *error_r);

/* ledger-sqlite-batch.c */
int mse_sqlite_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r);
int mse_sqlite_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r);
int mse_sqlite_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r);

/* ledger-sqlite-derived.c */
int mse_sqlite_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r);
int mse_sqlite_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r);
int mse_sqlite_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r);
int mse_sqlite_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r);
int mse_sqlite_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r);

#endif
