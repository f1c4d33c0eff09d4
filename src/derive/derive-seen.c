/*
 * A set of strings (open addressing, at most half full). Filled while derive
 * reads from its cursor to the journal's end, asked before it appends.
 */
#include "derive/derive-private.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a */
static size_t hash(const char *text)
{
	uint64_t value = 14695981039346656037ULL;

	for (; *text != '\0'; text++)
		value = (value ^ (unsigned char)*text) * 1099511628211ULL;
	return (size_t)(value ^ (value >> 32));
}

static char **find_slot(char **slots, size_t size, const char *text)
{
	size_t i = hash(text) & (size - 1);

	while (slots[i] != NULL && strcmp(slots[i], text) != 0)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

static int grow(struct mse_derive_seen *seen)
{
	size_t i, size = seen->size == 0 ? 64 : seen->size * 2;
	char **slots = calloc(size, sizeof(*slots));

	if (slots == NULL)
		return -1;
	for (i = 0; i < seen->size; i++) {
		if (seen->slots[i] != NULL)
			*find_slot(slots, size, seen->slots[i]) =
				seen->slots[i];
	}
	free(seen->slots);
	seen->slots = slots;
	seen->size = size;
	return 0;
}

int mse_derive_seen_add(struct mse_derive_seen *seen, const char *text)
{
	char **slot;

	if (seen->count * 2 >= seen->size && grow(seen) < 0)
		return -1;
	slot = find_slot(seen->slots, seen->size, text);
	if (*slot != NULL)
		return 0;
	*slot = strdup(text);
	if (*slot == NULL)
		return -1;
	seen->count++;
	return 0;
}

bool mse_derive_seen_has(const struct mse_derive_seen *seen, const char *text)
{
	return seen->size > 0 &&
	       *find_slot(seen->slots, seen->size, text) != NULL;
}

void mse_derive_seen_clear(struct mse_derive_seen *seen)
{
	size_t i;

	for (i = 0; i < seen->size; i++)
		free(seen->slots[i]);
	free(seen->slots);
	memset(seen, 0, sizeof(*seen));
}
