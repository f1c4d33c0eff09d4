#include "mse-config.h"
#include "ledger/ledger.h"

#include <string.h>

#include "ledger/ledger-backend.h"

/*
 * Passes every call to the backend. Invariant: a call that changes more than
 * one thing happens whole or not at all, also where the caller has no
 * transaction open and also if it fails half-way within one.
 */

int mse_ledger_begin(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return ledger->ops->begin(ledger, error_r);
}

int mse_ledger_commit(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return ledger->ops->commit(ledger, error_r);
}

void mse_ledger_rollback(struct mse_ledger *ledger)
{
	ledger->ops->rollback(ledger);
}

int mse_ledger_savepoint(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return ledger->ops->savepoint(ledger, error_r);
}

int mse_ledger_release(struct mse_ledger *ledger, struct mse_error *error_r)
{
	return ledger->ops->release(ledger, error_r);
}

int mse_ledger_rollback_to(struct mse_ledger *ledger,
			   struct mse_error *error_r)
{
	return ledger->ops->rollback_to(ledger, error_r);
}

void mse_ledger_free(struct mse_ledger **ledger)
{
	if (*ledger == NULL)
		return;
	(*ledger)->ops->free(*ledger);
	*ledger = NULL;
}

/* Ends the savepoint around a call that returned result. */
static int whole(struct mse_ledger *ledger, int result,
		 struct mse_error *error_r)
{
	struct mse_error ignored;

	if (result == 0)
		return mse_ledger_release(ledger, error_r);
	/* The first error is the one worth telling. */
	(void)mse_ledger_rollback_to(ledger, &ignored);
	return -1;
}

int mse_ledger_get_cursor(struct mse_ledger *ledger, const char *endpoint,
			  struct mse_ledger_cursor *cursor_r,
			  struct mse_error *error_r)
{
	return ledger->ops->get_cursor(ledger, endpoint, cursor_r, error_r);
}

int mse_ledger_put_cursor(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_cursor *cursor,
			  struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger,
		     ledger->ops->put_cursor(ledger, endpoint, cursor, error_r),
		     error_r);
}

int mse_ledger_drop_endpoint(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger,
		     ledger->ops->drop_endpoint(ledger, endpoint, error_r),
		     error_r);
}

int mse_ledger_each_cursor(struct mse_ledger *ledger,
			   int (*found)(const char *endpoint,
					const struct mse_ledger_cursor *cursor,
					void *context),
			   void *context, struct mse_error *error_r)
{
	return ledger->ops->each_cursor(ledger, found, context, error_r);
}

int mse_ledger_put_row(struct mse_ledger *ledger, const char *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r)
{
	if (row->sequence == 0 || row->sequence > INT64_MAX) {
		return mse_error_set(error_r, "ledger: %llu is no row number",
				     (unsigned long long)row->sequence);
	}
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger,
		     ledger->ops->put_row(ledger, endpoint, row, error_r),
		     error_r);
}

int mse_ledger_update_row(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger,
		     ledger->ops->update_row(ledger, endpoint, row, error_r),
		     error_r);
}

int mse_ledger_delete_row(struct mse_ledger *ledger, const char *endpoint,
			  uint64_t sequence, struct mse_error *error_r)
{
	return ledger->ops->delete_row(ledger, endpoint, sequence, error_r);
}

int mse_ledger_each_row(struct mse_ledger *ledger,
			const struct mse_row_filter *filter,
			int (*found)(const struct mse_ledger_row *row,
				     void *context),
			void *context, struct mse_error *error_r)
{
	return ledger->ops->each_row(ledger, filter, found, context, error_r);
}

int mse_ledger_totals(struct mse_ledger *ledger, const char *endpoint,
		      struct mse_ledger_totals *totals_r,
		      struct mse_error *error_r)
{
	return ledger->ops->totals(ledger, endpoint, totals_r, error_r);
}

int mse_ledger_trim_dead(struct mse_ledger *ledger, const char *endpoint,
			 int64_t before_ms, uint64_t octets,
			 struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger,
		     ledger->ops->trim_dead(ledger, endpoint, before_ms,
					    octets, error_r),
		     error_r);
}

int mse_ledger_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r)
{
	return ledger->ops->put_batch(ledger, endpoint, batch, error_r);
}

int mse_ledger_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r)
{
	return ledger->ops->delete_batch(ledger, endpoint, id, error_r);
}

int mse_ledger_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r)
{
	return ledger->ops->each_batch(ledger, endpoint, found, context,
				       error_r);
}

int mse_ledger_put_seal(struct mse_ledger *ledger, const char *file,
			uint64_t length, struct mse_error *error_r)
{
	return ledger->ops->put_seal(ledger, file, length, error_r);
}

int mse_ledger_each_seal(struct mse_ledger *ledger,
			 int (*found)(const char *file, uint64_t length,
				      void *context),
			 void *context, struct mse_error *error_r)
{
	return ledger->ops->each_seal(ledger, found, context, error_r);
}

int mse_ledger_put_checkpoint(struct mse_ledger *ledger,
			      const struct mse_position *position,
			      struct mse_error *error_r)
{
	return ledger->ops->put_checkpoint(ledger, position, error_r);
}

int mse_ledger_each_checkpoint(struct mse_ledger *ledger, const char *file,
			       int (*found)(const struct mse_position *position,
					    void *context),
			       void *context, struct mse_error *error_r)
{
	return ledger->ops->each_checkpoint(ledger, file, found, context,
					    error_r);
}

int mse_ledger_forget_file(struct mse_ledger *ledger, const char *file,
			   struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger, ledger->ops->forget_file(ledger, file, error_r),
		     error_r);
}

int mse_ledger_put_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t lost, struct mse_error *error_r)
{
	return ledger->ops->put_announced(ledger, slot, lost, error_r);
}

int mse_ledger_get_announced(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t *lost_r, struct mse_error *error_r)
{
	return ledger->ops->get_announced(ledger, slot, lost_r, error_r);
}

int mse_ledger_put_value(struct mse_ledger *ledger, const char *name,
			 const char *value, struct mse_error *error_r)
{
	return ledger->ops->put_value(ledger, name, value, error_r);
}

int mse_ledger_get_value(struct mse_ledger *ledger, const char *name,
			 char *value_r, size_t size, struct mse_error *error_r)
{
	return ledger->ops->get_value(ledger, name, value_r, size, error_r);
}

int mse_ledger_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r)
{
	return ledger->ops->put_derived(ledger, kind, key, value, error_r);
}

int mse_ledger_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r)
{
	return ledger->ops->delete_derived(ledger, kind, key, error_r);
}

int mse_ledger_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r)
{
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	return whole(ledger, ledger->ops->clear_derived(ledger, kind, error_r),
		     error_r);
}

int mse_ledger_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r)
{
	int ret = ledger->ops->get_derived(ledger, kind, key, value, error_r);

	if (ret > 0 && mse_buf_failed(value))
		return mse_error_set(error_r, "no memory or room for a value");
	return ret;
}

int mse_ledger_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r)
{
	return ledger->ops->each_derived(ledger, kind, after, limit, found,
					 context, error_r);
}

bool mse_ledger_error_is_corrupt(const struct mse_error *error)
{
	/* Not only at the start: callers put context in front of errors. */
	return strstr(error->text, "corrupt: ") != NULL;
}
