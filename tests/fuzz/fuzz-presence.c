/*
 * A presence file of any octets. One that is not ours is never written to by
 * a mail process, the daemon makes a new one, and a loss that was counted is
 * found.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/presence.h"

const char fuzz_name[] = "presence";

/* With the intents behind the slots. */
#define FULL_SIZE (4096 + 4096 * 128 + 4096 * 1024)

static int open_file(int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/presence", fuzz_directory());
	fd = open(path, flags | O_CLOEXEC);
	FUZZ_CHECK(fd >= 0);
	return fd;
}

static int open_daemon(bool *created_r)
{
	struct mse_error error;
	int dir, fd;

	dir = open(fuzz_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(dir >= 0);
	fd = mse_presence_open_daemon(dir, created_r, &error);
	FUZZ_CHECK(fd >= 0);
	close(dir);
	return fd;
}

/* All of it, or somewhere in one of ours. */
static void put_presence(struct fuzz_input *input)
{
	uint8_t flags = fuzz_take_octet(input);
	uint64_t offset = fuzz_take_number(input);
	bool created;
	size_t len;
	char *rest = fuzz_take_rest(input, &len);
	int fd;

	if ((flags & 1) == 0) {
		fuzz_put_file("presence", rest, len);
	} else {
		close(open_daemon(&created));
		fd = open_file(O_RDWR);
		offset = (flags & 2) != 0 ? offset % 64 : offset % FULL_SIZE;
		FUZZ_CHECK(pwrite(fd, rest, len, (off_t)offset) ==
			   (ssize_t)len);
		if ((flags & 4) != 0)
			FUZZ_CHECK(ftruncate(fd, (off_t)offset) == 0);
		close(fd);
	}
	free(rest);
}

struct found {
	unsigned int slot;
	uint64_t lost;
	bool seen;
};

static void found_loss(unsigned int slot, const struct mse_presence_slot *data,
		       void *context)
{
	struct found *found = context;

	FUZZ_CHECK(slot < MSE_PRESENCE_SLOTS);
	FUZZ_CHECK(memchr(data->instance, '\0', MSE_UUID_SIZE) != NULL);
	if (slot != found->slot)
		return;
	found->seen = true;
	found->lost = data->lost;
}

/* What a dead process was changing, as far as it can be read; then it is
   cleared, as the daemon does it. */
struct intents {
	int fd;
	unsigned int found;
};

static void found_intents(unsigned int slot, const struct mse_intents *intents,
			  void *context)
{
	struct intents *all = context;
	struct mse_intent intent;
	uint32_t offset = 0;

	FUZZ_CHECK(slot > 0 && slot < MSE_PRESENCE_SLOTS);
	FUZZ_CHECK(++all->found < MSE_PRESENCE_SLOTS);
	if (!mse_intents_are_valid(intents))
		return;
	while (mse_intents_next(intents, &offset, &intent)) {
		FUZZ_CHECK(offset <= MSE_INTENT_SIZE);
		FUZZ_CHECK(intent.user == NULL ||
			   strlen(intent.user) < MSE_INTENT_SIZE);
		FUZZ_CHECK(intent.owner == NULL ||
			   strlen(intent.owner) < MSE_INTENT_SIZE);
		FUZZ_CHECK(intent.mailbox == NULL ||
			   strlen(intent.mailbox) < MSE_INTENT_SIZE);
		FUZZ_CHECK(intent.old_mailbox == NULL ||
			   strlen(intent.old_mailbox) < MSE_INTENT_SIZE);
	}
}

static void check_intents(int fd)
{
	struct intents all = { .fd = fd };
	unsigned int slot;

	if (mse_presence_each_intent(fd, MSE_PRESENCE_SLOTS, found_intents,
				     &all) < 0)
		return;
	for (slot = 1; all.found > 0 && slot < MSE_PRESENCE_SLOTS; slot++)
		(void)mse_presence_clear_intents(fd, slot);
	all.found = 0;
	FUZZ_CHECK(mse_presence_each_intent(fd, MSE_PRESENCE_SLOTS,
					    found_intents, &all) == 0);
	FUZZ_CHECK(all.found == 0);
}

/* The octets as one image of intents. */
static void check_image(struct fuzz_input input)
{
	struct mse_intents intents;
	struct mse_intent intent;
	uint32_t offset = 0;
	size_t len;
	char *rest = fuzz_take_rest(&input, &len);

	memset(&intents, 0, sizeof(intents));
	memcpy(&intents.image, rest, len < sizeof(intents.image) ? len :
	       sizeof(intents.image));
	free(rest);
	if (!mse_intents_are_valid(&intents))
		return;
	while (mse_intents_next(&intents, &offset, &intent))
		FUZZ_CHECK(offset <= MSE_INTENT_SIZE);
}

/* As a mail process meets it. */
static void check_producer(void)
{
	struct mse_presence_slot before, after;
	struct mse_presence_head head;
	char instance[MSE_UUID_SIZE];
	struct stat st, st_after;
	int fd = open_file(O_RDWR), slot;

	FUZZ_CHECK(fstat(fd, &st) == 0);
	slot = mse_presence_claim(fd, instance);
	if (mse_presence_read_head(fd, &head) < 0)
		FUZZ_CHECK(slot < 0 &&
			   mse_presence_add_lost(fd, 1, 1, 1) < 0);
	FUZZ_CHECK(fstat(fd, &st_after) == 0);
	if (slot < 0) {
		FUZZ_CHECK(st.st_size == st_after.st_size);
		close(fd);
		return;
	}
	if (mse_presence_read_slot(fd, (unsigned int)slot, &before) == 0 &&
	    mse_presence_add_lost(fd, slot, 3, 1700000000000) == 0) {
		FUZZ_CHECK(mse_presence_read_slot(fd, (unsigned int)slot,
						  &after) == 0);
		FUZZ_CHECK(after.lost == before.lost + 3);
		FUZZ_CHECK(after.lost_until_ms == 1700000000000);
	}
	close(fd);
}

/* As the daemon does; what it then has is good. */
static void check_daemon(void)
{
	struct found found = { .slot = 5 };
	struct mse_presence_slot slot;
	struct mse_presence_head head;
	bool created;
	int fd = open_daemon(&created);

	FUZZ_CHECK(mse_presence_read_head(fd, &head) == 0);
	FUZZ_CHECK(mse_presence_read_slot(fd, 5, &slot) == 0);
	FUZZ_CHECK(mse_presence_is_held(fd, 5) == 0);
	check_intents(fd);
	FUZZ_CHECK(mse_presence_add_lost(fd, 5, 1, 1) == 0);
	FUZZ_CHECK(mse_presence_reach(fd) > 0);
	FUZZ_CHECK(mse_presence_each_loss(fd, MSE_PRESENCE_SLOTS, found_loss,
					  &found) == 0);
	FUZZ_CHECK(found.lost == slot.lost + 1);
	FUZZ_CHECK(found.seen || found.lost == 0); /* it went round */
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };

	if (size > 65536)
		return 0;
	fuzz_empty_directory(NULL);
	check_image(input);
	put_presence(&input);
	check_producer();
	check_daemon();
	return 0;
}
