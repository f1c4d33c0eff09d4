#ifndef MSE_LEDGER_MEMORY_H
#define MSE_LEDGER_MEMORY_H

#include "ledger/ledger-backend.h"

/*
 * The in-memory ledger's store: entries (table, name, number) → value, and
 * their transactions. Nobody but ledger-memory*.c includes this.
 */
enum mse_memory_table {
	MSE_MEMORY_CURSOR,     /* endpoint */
	MSE_MEMORY_ROW,        /* endpoint, sequence */
	MSE_MEMORY_SEAL,       /* file; the value is its length */
	MSE_MEMORY_CHECKPOINT, /* file, offset / MSE_CHECKPOINT_EVERY */
	MSE_MEMORY_ANNOUNCED,  /* slot */
	MSE_MEMORY_VALUE,      /* name */
	MSE_MEMORY_DERIVED,    /* kind "/" key */
	MSE_MEMORY_BATCH       /* endpoint "/" id */
};

struct mse_memory_entry {
	enum mse_memory_table table;
	char *name;
	uint64_t number;
	void *value;
};

struct mse_memory {
	struct mse_ledger ledger;
	struct mse_memory_entry *entries;
	size_t count, size;

	/* Entries as they were; value NULL: there was none. */
	struct mse_memory_entry *undo;
	size_t undo_count, undo_size;
	/* Lengths of the undo log at which transaction and savepoints began;
	   empty: no transaction. */
	size_t *marks;
	size_t mark_count, mark_size;
	bool explicit_begin;
};

/* Sets the error and returns -1. */
int mse_memory_exhausted(struct mse_error *error_r);

/* Index of the first entry that is not before this key. */
size_t mse_memory_lower_bound(const struct mse_memory *memory,
			      enum mse_memory_table table, const char *name,
			      uint64_t number);
/* Entry i, if there is one and it is of this table (and name, unless NULL). */
const struct mse_memory_entry *mse_memory_at(const struct mse_memory *memory,
					     size_t i,
					     enum mse_memory_table table,
					     const char *name);
/* The value, or NULL. Borrowed until the entry is set. */
const void *mse_memory_get(const struct mse_memory *memory,
			   enum mse_memory_table table, const char *name,
			   uint64_t number);
/* Inserts, replaces or (value NULL) deletes. Takes value, one allocation,
   over, also on failure. */
int mse_memory_set(struct mse_memory *memory, enum mse_memory_table table,
		   const char *name, uint64_t number, void *value,
		   struct mse_error *error_r);
int mse_memory_set_copy(struct mse_memory *memory,
			enum mse_memory_table table, const char *name,
			uint64_t number, const void *data, size_t size,
			struct mse_error *error_r);

/* The backend's functions of these names. */
int mse_memory_begin(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_memory_commit(struct mse_ledger *ledger, struct mse_error *error_r);
void mse_memory_rollback(struct mse_ledger *ledger);
int mse_memory_savepoint(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_memory_release(struct mse_ledger *ledger, struct mse_error *error_r);
int mse_memory_rollback_to(struct mse_ledger *ledger,
			   struct mse_error *error_r);
void mse_memory_free(struct mse_ledger *ledger);

/* ledger-memory-derived.c */
int mse_memory_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r);
int mse_memory_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r);
int mse_memory_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r);
int mse_memory_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r);
int mse_memory_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r);

/* ledger-memory-batch.c */
int mse_memory_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r);
int mse_memory_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r);
int mse_memory_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r);
int mse_memory_forget_batches(struct mse_memory *memory, const char *endpoint,
			      struct mse_error *error_r);

#endif
