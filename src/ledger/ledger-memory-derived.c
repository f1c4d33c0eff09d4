#include "mse-config.h"
#include "ledger/ledger-memory.h"

#include <stdlib.h>
#include <string.h>

/*
 * What derive remembers, in the in-memory ledger: entries of the name
 * kind "/" key, so that one kind's keys stand together, in order.
 */

/* NULL without memory. */
static char *name_of(const char *kind, const char *key)
{
	size_t kind_len = strlen(kind), key_len = strlen(key);
	char *name = malloc(kind_len + key_len + 2);

	if (name == NULL)
		return NULL;
	memcpy(name, kind, kind_len);
	name[kind_len] = '/';
	memcpy(name + kind_len + 1, key, key_len + 1);
	return name;
}

int mse_memory_put_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, const char *value,
			   struct mse_error *error_r)
{
	char *name = name_of(kind, key);
	int ret;

	if (name == NULL)
		return mse_memory_exhausted(error_r);
	ret = mse_memory_set_copy((struct mse_memory *)ledger,
				  MSE_MEMORY_DERIVED, name, 0, value,
				  strlen(value) + 1, error_r);
	free(name);
	return ret;
}

int mse_memory_delete_derived(struct mse_ledger *ledger, const char *kind,
			      const char *key, struct mse_error *error_r)
{
	char *name = name_of(kind, key);
	int ret;

	if (name == NULL)
		return mse_memory_exhausted(error_r);
	ret = mse_memory_set((struct mse_memory *)ledger, MSE_MEMORY_DERIVED,
			     name, 0, NULL, error_r);
	free(name);
	return ret;
}

int mse_memory_clear_derived(struct mse_ledger *ledger, const char *kind,
			     struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	char *prefix = name_of(kind, "");
	const struct mse_memory_entry *entry;
	size_t i;
	int ret = 0;

	if (prefix == NULL)
		return mse_memory_exhausted(error_r);
	i = mse_memory_lower_bound(memory, MSE_MEMORY_DERIVED, prefix, 0);
	while (ret == 0 &&
	       (entry = mse_memory_at(memory, i, MSE_MEMORY_DERIVED,
				      NULL)) != NULL &&
	       strncmp(entry->name, prefix, strlen(prefix)) == 0)
		ret = mse_memory_set(memory, MSE_MEMORY_DERIVED, entry->name,
				     0, NULL, error_r);
	free(prefix);
	return ret;
}

int mse_memory_get_derived(struct mse_ledger *ledger, const char *kind,
			   const char *key, struct mse_buf *value,
			   struct mse_error *error_r)
{
	char *name = name_of(kind, key);
	const char *found;

	if (name == NULL)
		return mse_memory_exhausted(error_r);
	found = mse_memory_get((struct mse_memory *)ledger, MSE_MEMORY_DERIVED,
			       name, 0);
	free(name);
	if (found == NULL)
		return 0;
	mse_buf_append_str(value, found);
	return 1;
}

int mse_memory_each_derived(struct mse_ledger *ledger, const char *kind,
			    const char *after, unsigned int limit,
			    int (*found)(const char *key, const char *value,
					 void *context),
			    void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	char *name = name_of(kind, after == NULL ? "" : after);
	size_t i, kind_len = strlen(kind) + 1;
	const struct mse_memory_entry *entry;
	unsigned int count = 0;
	int ret = 0;

	if (name == NULL)
		return mse_memory_exhausted(error_r);
	/* Number 1: behind `after` itself, which has number 0. */
	i = mse_memory_lower_bound(memory, MSE_MEMORY_DERIVED, name,
				   after == NULL ? 0 : 1);
	while ((entry = mse_memory_at(memory, i++, MSE_MEMORY_DERIVED,
				      NULL)) != NULL &&
	       strncmp(entry->name, name, kind_len) == 0 &&
	       (limit == 0 || count++ < limit)) {
		ret = found(entry->name + kind_len, entry->value, context);
		if (ret != 0)
			break;
	}
	free(name);
	return ret;
}
