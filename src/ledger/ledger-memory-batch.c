#include "mse-config.h"
#include "ledger/ledger-memory.h"

#include <stdlib.h>
#include <string.h>

/*
 * Batches that are out, in the in-memory ledger: entries of the name
 * endpoint "/" id (no endpoint's name has a "/"), so that one endpoint's
 * stand together, in order.
 */
struct entry {
	struct mse_ledger_batch batch; /* its strings stand behind it */
	char text[];
};

/* NULL without memory. */
static char *name_of(const char *endpoint, const char *id)
{
	size_t len = strlen(endpoint), id_len = strlen(id);
	char *name = malloc(len + id_len + 2);

	if (name == NULL)
		return NULL;
	memcpy(name, endpoint, len);
	name[len] = '/';
	memcpy(name + len + 1, id, id_len + 1);
	return name;
}

int mse_memory_put_batch(struct mse_ledger *ledger, const char *endpoint,
			 const struct mse_ledger_batch *batch,
			 struct mse_error *error_r)
{
	char *name = name_of(endpoint, batch->id);
	size_t id_size = strlen(batch->id) + 1;
	size_t members_size = strlen(batch->members) + 1;
	struct entry *entry = malloc(sizeof(*entry) + id_size + members_size);
	int ret;

	if (name == NULL || entry == NULL) {
		free(name);
		free(entry);
		return mse_memory_exhausted(error_r);
	}
	entry->batch = *batch;
	entry->batch.id = memcpy(entry->text, batch->id, id_size);
	entry->batch.members = memcpy(entry->text + id_size, batch->members,
				      members_size);
	ret = mse_memory_set((struct mse_memory *)ledger, MSE_MEMORY_BATCH,
			     name, 0, entry, error_r);
	free(name);
	return ret;
}

int mse_memory_delete_batch(struct mse_ledger *ledger, const char *endpoint,
			    const char *id, struct mse_error *error_r)
{
	char *name = name_of(endpoint, id);
	int ret;

	if (name == NULL)
		return mse_memory_exhausted(error_r);
	ret = mse_memory_set((struct mse_memory *)ledger, MSE_MEMORY_BATCH,
			     name, 0, NULL, error_r);
	free(name);
	return ret;
}

int mse_memory_each_batch(struct mse_ledger *ledger, const char *endpoint,
			  int (*found)(const struct mse_ledger_batch *batch,
				       void *context),
			  void *context, struct mse_error *error_r)
{
	struct mse_memory *memory = (struct mse_memory *)ledger;
	char *prefix = name_of(endpoint, "");
	const struct mse_memory_entry *entry;
	size_t i;
	int ret = 0;

	if (prefix == NULL)
		return mse_memory_exhausted(error_r);
	i = mse_memory_lower_bound(memory, MSE_MEMORY_BATCH, prefix, 0);
	while (ret == 0 &&
	       (entry = mse_memory_at(memory, i++, MSE_MEMORY_BATCH,
				      NULL)) != NULL &&
	       strncmp(entry->name, prefix, strlen(prefix)) == 0)
		ret = found(&((const struct entry *)entry->value)->batch,
			    context);
	free(prefix);
	return ret;
}

int mse_memory_forget_batches(struct mse_memory *memory, const char *endpoint,
			      struct mse_error *error_r)
{
	char *prefix = name_of(endpoint, "");
	const struct mse_memory_entry *entry;
	size_t i;
	int ret = 0;

	if (prefix == NULL)
		return mse_memory_exhausted(error_r);
	i = mse_memory_lower_bound(memory, MSE_MEMORY_BATCH, prefix, 0);
	while (ret == 0 &&
	       (entry = mse_memory_at(memory, i, MSE_MEMORY_BATCH,
				      NULL)) != NULL &&
	       strncmp(entry->name, prefix, strlen(prefix)) == 0)
		ret = mse_memory_set(memory, MSE_MEMORY_BATCH, entry->name, 0,
				     NULL, error_r);
	free(prefix);
	return ret;
}
