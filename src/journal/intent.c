/*
 * Intents as the image that stands in `presence`.
 *
 * Invariant: whatever is added, the image stays within its size and says
 * that something is under way; what has no room loses names, never itself.
 *
 * Format, native byte order: the head (intent.h), then for each entry 32
 * octets and the strings user, owner, mailbox, old mailbox, each with its NUL
 * and empty if absent.
 */
#include "journal/intent.h"

#include <stddef.h>
#include <string.h>

#define HEAD_SIZE 48
#define ENTRY_PUBLIC 1
#define STRINGS 4
/* Ids of those that had no room. */
#define NO_ROOM ((uint32_t)1 << 31)

struct entry {
	uint32_t id;
	uint16_t size;           /* strings included */
	uint16_t flags;
	uint32_t uidvalidity, uidnext;
	uint64_t modseq;
	int64_t wall_ms;
};

_Static_assert(sizeof(((struct mse_intents *)0)->image.head) == HEAD_SIZE,
	       "no holes");
_Static_assert(sizeof(struct entry) == 32, "no holes");
_Static_assert(sizeof(((struct mse_intents *)0)->image) == MSE_INTENT_SIZE,
	       "the image is what is written");

void mse_intents_init(struct mse_intents *intents, const char *instance)
{
	memset(intents, 0, sizeof(*intents));
	intents->image.head.len = HEAD_SIZE;
	strncpy(intents->image.head.instance, instance,
		sizeof(intents->image.head.instance) - 1);
}

static bool add(struct mse_intents *intents, uint32_t id,
		const struct mse_intent *intent, const char *mailbox,
		const char *old_mailbox)
{
	const char *strings[STRINGS] = {
		intent->user, intent->owner, mailbox, old_mailbox
	};
	struct entry entry = {
		.id = id,
		.flags = intent->is_public ? ENTRY_PUBLIC : 0,
		.modseq = mailbox == NULL ? 0 : intent->modseq,
		.uidvalidity = mailbox == NULL ? 0 : intent->uidvalidity,
		.uidnext = mailbox == NULL ? 0 : intent->uidnext,
		.wall_ms = intent->wall_ms,
	};
	uint32_t start = intents->image.head.len, len = start + sizeof(entry);
	size_t size;
	unsigned int i;

	if (len > MSE_INTENT_SIZE)
		return false;
	for (i = 0; i < STRINGS; i++) {
		if (strings[i] == NULL)
			strings[i] = "";
		size = strnlen(strings[i], MSE_INTENT_SIZE) + 1;
		if (size > MSE_INTENT_SIZE - len) {
			memset(intents->image.bytes + start, 0,
			       MSE_INTENT_SIZE - start);
			return false;
		}
		memcpy(intents->image.bytes + len, strings[i], size);
		len += (uint32_t)size;
	}
	entry.size = (uint16_t)(len - start);
	memcpy(intents->image.bytes + start, &entry, sizeof(entry));
	intents->image.head.len = len;
	intents->image.head.count++;
	return true;
}

uint32_t mse_intents_add(struct mse_intents *intents,
			 const struct mse_intent *intent)
{
	uint32_t id = (intents->last_id + 1) & ~NO_ROOM;

	if (id == 0)
		id = 1;
	intents->last_id = id;
	if (add(intents, id, intent, intent->mailbox, intent->old_mailbox) ||
	    add(intents, id, intent, NULL, NULL))
		return id;
	intents->image.head.more++;
	return id | NO_ROOM;
}

void mse_intents_remove(struct mse_intents *intents, uint32_t id)
{
	char *bytes = intents->image.bytes;
	uint32_t at = HEAD_SIZE, len = intents->image.head.len;
	struct entry entry;

	if ((id & NO_ROOM) != 0) {
		if (intents->image.head.more > 0)
			intents->image.head.more--;
		return;
	}
	for (; at < len; at += entry.size) {
		memcpy(&entry, bytes + at, sizeof(entry));
		if (entry.id != id)
			continue;
		memmove(bytes + at, bytes + at + entry.size,
			len - at - entry.size);
		len -= entry.size;
		memset(bytes + len, 0, entry.size);
		intents->image.head.len = len;
		intents->image.head.count--;
		return;
	}
}

static bool entry_is_valid(const char *bytes, const struct entry *entry,
			   uint32_t room)
{
	const char *strings = bytes + sizeof(*entry);
	unsigned int i, nuls = 0;

	if (entry->size < sizeof(*entry) + STRINGS || entry->size > room)
		return false;
	for (i = 0; i < entry->size - sizeof(*entry); i++)
		nuls += strings[i] == '\0';
	return nuls == STRINGS && bytes[entry->size - 1] == '\0';
}

bool mse_intents_are_valid(const struct mse_intents *intents)
{
	uint32_t at = HEAD_SIZE, len = intents->image.head.len;
	unsigned int count = 0;
	struct entry entry;

	if (len < HEAD_SIZE || len > MSE_INTENT_SIZE ||
	    intents->image.head.instance[MSE_UUID_SIZE - 1] != '\0' ||
	    !mse_uuid_is_valid(intents->image.head.instance))
		return false;
	for (; at < len; at += entry.size) {
		if (len - at < sizeof(entry))
			return false;
		memcpy(&entry, intents->image.bytes + at, sizeof(entry));
		if (!entry_is_valid(intents->image.bytes + at, &entry,
				    len - at))
			return false;
		count++;
	}
	return count == intents->image.head.count;
}

static const char *next_string(const char **text)
{
	const char *string = *text;

	*text += strlen(string) + 1;
	return *string == '\0' ? NULL : string;
}

bool mse_intents_next(const struct mse_intents *intents, uint32_t *offset,
		      struct mse_intent *intent_r)
{
	uint32_t at = *offset == 0 ? HEAD_SIZE : *offset;
	struct entry entry;
	const char *text;

	if (at >= intents->image.head.len)
		return false;
	memcpy(&entry, intents->image.bytes + at, sizeof(entry));
	text = intents->image.bytes + at + sizeof(entry);
	intent_r->wall_ms = entry.wall_ms;
	intent_r->is_public = (entry.flags & ENTRY_PUBLIC) != 0;
	intent_r->uidvalidity = entry.uidvalidity;
	intent_r->uidnext = entry.uidnext;
	intent_r->modseq = entry.modseq;
	intent_r->user = next_string(&text);
	intent_r->owner = next_string(&text);
	intent_r->mailbox = next_string(&text);
	intent_r->old_mailbox = next_string(&text);
	*offset = at + entry.size;
	return true;
}
