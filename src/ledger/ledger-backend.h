#ifndef MSE_LEDGER_BACKEND_H
#define MSE_LEDGER_BACKEND_H

#include "ledger/ledger.h"

/*
 * What a backend implements; ledger.c calls it. A backend embeds struct
 * mse_ledger as its first member. The functions mean what ledger.h says of
 * their namesakes. Those that take several steps are called within a
 * savepoint, so a backend may fail half-way.
 */
struct mse_ledger_ops {
	void (*free)(struct mse_ledger *ledger);

	int (*begin)(struct mse_ledger *ledger, struct mse_error *error_r);
	int (*commit)(struct mse_ledger *ledger, struct mse_error *error_r);
	void (*rollback)(struct mse_ledger *ledger);
	int (*savepoint)(struct mse_ledger *ledger, struct mse_error *error_r);
	int (*release)(struct mse_ledger *ledger, struct mse_error *error_r);
	int (*rollback_to)(struct mse_ledger *ledger,
			   struct mse_error *error_r);

	int (*get_cursor)(struct mse_ledger *ledger, const char *endpoint,
			  struct mse_ledger_cursor *cursor_r,
			  struct mse_error *error_r);
	int (*put_cursor)(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_cursor *cursor,
			  struct mse_error *error_r);
	int (*drop_endpoint)(struct mse_ledger *ledger, const char *endpoint,
			     struct mse_error *error_r);
	int (*each_cursor)(struct mse_ledger *ledger,
			   int (*found)(const char *endpoint,
					const struct mse_ledger_cursor *cursor,
					void *context),
			   void *context, struct mse_error *error_r);

	int (*put_row)(struct mse_ledger *ledger, const char *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r);
	int (*update_row)(struct mse_ledger *ledger, const char *endpoint,
			  const struct mse_ledger_row *row,
			  struct mse_error *error_r);
	int (*delete_row)(struct mse_ledger *ledger, const char *endpoint,
			  uint64_t sequence, struct mse_error *error_r);
	int (*each_row)(struct mse_ledger *ledger,
			const struct mse_row_filter *filter,
			int (*found)(const struct mse_ledger_row *row,
				     void *context),
			void *context, struct mse_error *error_r);
	int (*totals)(struct mse_ledger *ledger, const char *endpoint,
		      struct mse_ledger_totals *totals_r,
		      struct mse_error *error_r);
	int (*trim_dead)(struct mse_ledger *ledger, const char *endpoint,
			 int64_t before_ms, uint64_t octets,
			 struct mse_error *error_r);

	int (*put_batch)(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r);
	int (*delete_batch)(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r);
	int (*each_batch)(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r);

	int (*put_seal)(struct mse_ledger *ledger, const char *file,
			uint64_t length, struct mse_error *error_r);
	int (*each_seal)(struct mse_ledger *ledger,
			 int (*found)(const char *file, uint64_t length,
				      void *context),
			 void *context, struct mse_error *error_r);
	int (*put_checkpoint)(struct mse_ledger *ledger,
			      const struct mse_position *position,
			      struct mse_error *error_r);
	int (*each_checkpoint)(struct mse_ledger *ledger, const char *file,
			       int (*found)(const struct mse_position *position,
					    void *context),
			       void *context, struct mse_error *error_r);
	int (*forget_file)(struct mse_ledger *ledger, const char *file,
			   struct mse_error *error_r);
	int (*put_announced)(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t lost, struct mse_error *error_r);
	int (*get_announced)(struct mse_ledger *ledger, unsigned int slot,
			     uint64_t *lost_r, struct mse_error *error_r);
	int (*put_value)(struct mse_ledger *ledger, const char *name,
			 const char *value, struct mse_error *error_r);
	int (*get_value)(struct mse_ledger *ledger, const char *name,
			 char *value_r, size_t size,
			 struct mse_error *error_r);
	int (*put_derived)(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r);
	int (*delete_derived)(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r);
	int (*clear_derived)(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r);
	int (*get_derived)(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r);
	int (*each_derived)(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r);
};

struct mse_ledger {
	const struct mse_ledger_ops *ops;
};

#endif
