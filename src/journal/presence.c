/*
 * The presence file: what mail processes tell the daemon besides events, and
 * the one number the daemon tells them.
 *
 * Invariant: a loss counter only grows and belongs to its slot, whoever
 * holds it; only the holder of a slot's OFD lock writes the slot. Nothing is
 * mapped: a file that somebody shortens is a short read here, where a
 * mapping would be SIGBUS in a mail process. A file without our head is
 * never written to.
 *
 * Format, native byte order (the file never leaves the machine; a file of
 * the other order has the wrong magic and is foreign):
 *
 *   0     u64 magic "MSEPRES1", u32 version, u32 slots,
 *         u64 generation, u64 allowed size, u32 octets of an image of
 *         intents (0: there are none), u32 unused,
 *         8 marks of an octet; zeros up to 4096
 *   4096  slots of 128 octets: u64 lost, i64 since, i64 until (wall ms),
 *         char instance[40]; zeros
 *   528384  images of intents, one for each slot (intent.c). Version 0.1.0
 *         began without them: its plugin neither reads nor writes them, its
 *         daemon makes no room. None crosses a page, so that a process that
 *         is killed has written all of one or nothing.
 *
 * Marks tell how far to look. Processes claim one of the first 16 slots; where
 * those are taken, the first of them writes 1 to mark 0 and from then on all
 * claim one of the first 32, and so on: mark n doubles 16 << n. They are only
 * ever set, each by a write of its own octet and before a slot behind it is
 * claimed, so that nothing is lost where two do it at once. A
 * plugin from before there were marks claims any slot: while a process has one
 * behind them its lock tells, later only a look at all slots does.
 */
#include "journal/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/format.h"
#include "journal/write.h"

#define PRESENCE_MAGIC 0x3153455250455345ULL
#define PRESENCE_VERSION 1
#define HEAD_SIZE 4096
#define SLOT_SIZE 128
#define INTENTS_AT (HEAD_SIZE + MSE_PRESENCE_SLOTS * SLOT_SIZE)
#define SIZE_WITHOUT_INTENTS INTENTS_AT
#define FILE_SIZE (INTENTS_AT + MSE_PRESENCE_SLOTS * MSE_INTENT_SIZE)
#define TEMPORARY_NAME MSE_PRESENCE_NAME ".tmp"
/* Slots that are claimed while there is no mark. */
#define FIRST_REACH 16U
#define MARKS 8
/* Before more are marked: as good as never while half of them are free. */
#define REACH_TRIES 16
/* A claim in a crowded file stays cheap: then slot 0 serves. */
#define CLAIM_TRIES 64
#define SHARED_TRIES 16
#define BLOCK_SLOTS 64
#define MAX_INTERRUPTS 100

struct head_bytes {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint64_t generation;
	uint64_t allowed_size;
	uint32_t intent_size;
	uint32_t unused;
	/* Mail processes'; the daemon writes what stands before. */
	unsigned char marks[MARKS];
};

_Static_assert(FIRST_REACH << MARKS >= MSE_PRESENCE_SLOTS,
	       "the marks reach every slot");

struct slot_bytes {
	uint64_t lost;
	int64_t since_ms;
	int64_t until_ms;
	char instance[40];
};

static off_t slot_offset(unsigned int slot)
{
	return (off_t)HEAD_SIZE + (off_t)slot * SLOT_SIZE;
}

static off_t intents_offset(unsigned int slot)
{
	return (off_t)INTENTS_AT + (off_t)slot * MSE_INTENT_SIZE;
}

/* All of it or -1 with errno; a file's end is EINVAL. */
static int read_at(int fd, void *data, size_t len, off_t offset)
{
	unsigned int interrupts = 0;
	ssize_t ret;

	do {
		ret = pread(fd, data, len, offset);
	} while (ret < 0 && errno == EINTR && ++interrupts < MAX_INTERRUPTS);
	if (ret >= 0 && (size_t)ret != len) {
		errno = EINVAL;
		return -1;
	}
	return ret < 0 ? -1 : 0;
}

static int write_at(int fd, const void *data, size_t len, off_t offset)
{
	unsigned int interrupts = 0;
	ssize_t ret;

	/* Writing beyond RLIMIT_FSIZE would be SIGXFSZ. */
	if (!mse_write_may_reach((uint64_t)offset + len)) {
		errno = EFBIG;
		return -1;
	}
	do {
		ret = pwrite(fd, data, len, offset);
	} while (ret < 0 && errno == EINTR && ++interrupts < MAX_INTERRUPTS);
	if (ret >= 0 && (size_t)ret != len) {
		errno = ENOSPC;
		return -1;
	}
	return ret < 0 ? -1 : 0;
}

static int read_head_bytes(int fd, struct head_bytes *head_r)
{
	if (read_at(fd, head_r, sizeof(*head_r), 0) < 0)
		return -1;
	if (head_r->magic != PRESENCE_MAGIC ||
	    head_r->version != PRESENCE_VERSION ||
	    head_r->slots != MSE_PRESENCE_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

int mse_presence_write_head(int fd, const struct mse_presence_head *head)
{
	struct head_bytes bytes = {
		.magic = PRESENCE_MAGIC,
		.version = PRESENCE_VERSION,
		.slots = MSE_PRESENCE_SLOTS,
		.generation = head->generation,
		.allowed_size = head->allowed_size,
	};
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size >= FILE_SIZE)
		bytes.intent_size = MSE_INTENT_SIZE;
	return write_at(fd, &bytes, offsetof(struct head_bytes, marks), 0);
}

static void head_decode(const struct head_bytes *bytes,
			struct mse_presence_head *head_r)
{
	head_r->generation = bytes->generation;
	head_r->allowed_size = bytes->allowed_size;
	head_r->has_intents = bytes->intent_size == MSE_INTENT_SIZE;
}

int mse_presence_read_head(int fd, struct mse_presence_head *head_r)
{
	struct head_bytes bytes;

	if (read_head_bytes(fd, &bytes) < 0)
		return -1;
	head_decode(&bytes, head_r);
	return 0;
}

static void slot_decode(const struct slot_bytes *bytes,
			struct mse_presence_slot *slot_r)
{
	memset(slot_r, 0, sizeof(*slot_r));
	slot_r->lost = bytes->lost;
	slot_r->lost_since_ms = bytes->since_ms;
	slot_r->lost_until_ms = bytes->until_ms;
	memcpy(slot_r->instance, bytes->instance, sizeof(slot_r->instance) - 1);
	if (!mse_uuid_is_valid(slot_r->instance))
		slot_r->instance[0] = '\0';
}

int mse_presence_read_slot(int fd, unsigned int slot,
			   struct mse_presence_slot *slot_r)
{
	struct slot_bytes bytes;

	if (slot >= MSE_PRESENCE_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	if (read_at(fd, &bytes, sizeof(bytes), slot_offset(slot)) < 0)
		return -1;
	slot_decode(&bytes, slot_r);
	return 0;
}

/* Slots that are read at once. */
static unsigned int block_of(unsigned int slots)
{
	return slots < BLOCK_SLOTS ? slots : BLOCK_SLOTS;
}

int mse_presence_each_loss(int fd, unsigned int slots,
			   void (*found)(unsigned int slot,
					 const struct mse_presence_slot *data,
					 void *context),
			   void *context)
{
	struct mse_presence_slot slot;
	struct slot_bytes bytes;
	struct head_bytes head;
	char block[BLOCK_SLOTS * SLOT_SIZE];
	unsigned int i, j, count;

	if (read_head_bytes(fd, &head) < 0)
		return -1;
	for (i = 0; i < slots; i += count) {
		count = block_of(slots - i);
		if (read_at(fd, block, (size_t)count * SLOT_SIZE,
			    slot_offset(i)) < 0)
			return -1;
		for (j = 0; j < count; j++) {
			memcpy(&bytes, block + j * SLOT_SIZE, sizeof(bytes));
			if (bytes.lost == 0)
				continue;
			slot_decode(&bytes, &slot);
			found(i + j, &slot, context);
		}
	}
	return 0;
}

/* 0, or -1 with errno (EAGAIN: somebody else's). Never waits. */
static int slot_lock(int fd, unsigned int slot, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = slot_offset(slot),
		.l_len = SLOT_SIZE,
	};

	return fcntl(fd, F_OFD_SETLK, &lock);
}

/* Whether a living process holds one of them: 1, 0, -1 with errno. */
static int is_any_held(int fd, unsigned int first, unsigned int end)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = slot_offset(first),
		.l_len = slot_offset(end) - slot_offset(first),
	};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -1;
	return lock.l_type != F_UNLCK;
}

int mse_presence_is_held(int fd, unsigned int slot)
{
	return is_any_held(fd, slot, slot + 1);
}

/* Reach */

static unsigned int marked_reach(const struct head_bytes *head)
{
	unsigned int i, reach = FIRST_REACH;

	for (i = 0; i < MARKS; i++) {
		if (head->marks[i] != 0)
			reach = FIRST_REACH << (i + 1);
	}
	return reach < MSE_PRESENCE_SLOTS ? reach : MSE_PRESENCE_SLOTS;
}

/* Slots up to twice that are going to be claimed. */
static int mark_reach(int fd, unsigned int reach)
{
	unsigned int mark = 0;

	while (FIRST_REACH << mark < reach)
		mark++;
	return write_at(fd, "\x01", 1, (off_t)(offsetof(struct head_bytes,
						       marks) + mark));
}

int mse_presence_reach(int fd)
{
	struct head_bytes head;
	unsigned int reach;
	int held;

	if (read_head_bytes(fd, &head) < 0)
		return -1;
	reach = marked_reach(&head);
	if (reach == MSE_PRESENCE_SLOTS)
		return MSE_PRESENCE_SLOTS;
	held = is_any_held(fd, reach, MSE_PRESENCE_SLOTS);
	if (held < 0)
		return -1;
	return held > 0 ? MSE_PRESENCE_SLOTS : (int)reach;
}

/* Intents */

/* Whether intents that stood there before are left: of the same instance as
   then, which is dead. The lock is asked for, or the slot's instance (one of
   an older version may have claimed it), after they were seen first: so who
   wrote them has come to an end by then. They are read once more behind that:
   it may have been an end in good order, and the slot somebody else's now. */
static int read_left_intents(int fd, unsigned int slot,
			     const struct mse_intents *before,
			     struct mse_intents *intents_r, bool *left_r)
{
	struct mse_presence_slot now;
	const char *instance = before->image.head.instance;
	int held = mse_presence_is_held(fd, slot);

	*left_r = false;
	if (held < 0 || mse_presence_read_slot(fd, slot, &now) < 0 ||
	    read_at(fd, intents_r->image.bytes, MSE_INTENT_SIZE,
		    intents_offset(slot)) < 0)
		return -1;
	intents_r->last_id = intents_r->written = 0;
	*left_r = !mse_intents_is_empty(intents_r) &&
		memcmp(intents_r->image.head.instance, instance,
		       sizeof(intents_r->image.head.instance)) == 0 &&
		(held == 0 || strncmp(instance, now.instance,
				      MSE_UUID_SIZE) != 0);
	return 0;
}

/* Each slot whose image is not empty, as it was read on the way. Ends with what
   look() returns if that is not 0. */
static int each_image(int fd, unsigned int slots,
		      int (*look)(int fd, unsigned int slot,
				  const struct mse_intents *image,
				  void *context), void *context)
{
	struct mse_presence_head head;
	struct mse_intents image;
	char block[BLOCK_SLOTS * MSE_INTENT_SIZE];
	unsigned int i, j, count;
	int ret;

	if (mse_presence_read_head(fd, &head) < 0)
		return -1;
	for (i = 0; head.has_intents && i < slots; i += count) {
		count = block_of(slots - i);
		if (read_at(fd, block, (size_t)count * MSE_INTENT_SIZE,
			    intents_offset(i)) < 0)
			return -1;
		for (j = 0; j < count; j++) {
			memcpy(image.image.bytes, block + j * MSE_INTENT_SIZE,
			       MSE_INTENT_SIZE);
			if (mse_intents_is_empty(&image))
				continue;
			ret = look(fd, i + j, &image, context);
			if (ret != 0)
				return ret;
		}
	}
	return 0;
}

struct finder {
	void (*found)(unsigned int slot, const struct mse_intents *intents,
		      void *context);
	void *context;
};

static int find_left(int fd, unsigned int slot,
		     const struct mse_intents *before, void *context)
{
	const struct finder *finder = context;
	struct mse_intents intents;
	bool left;

	if (read_left_intents(fd, slot, before, &intents, &left) < 0)
		return -1;
	if (left)
		finder->found(slot, &intents, finder->context);
	return 0;
}

int mse_presence_each_intent(int fd, unsigned int slots,
			     void (*found)(unsigned int slot,
					   const struct mse_intents *intents,
					   void *context),
			     void *context)
{
	struct finder finder = { found, context };

	return each_image(fd, slots, find_left, &finder);
}

static bool is_from_before(const struct mse_intents *intents,
			   int64_t before_ms)
{
	struct mse_intent intent;
	uint32_t offset = 0;

	/* Half of one that is being written begins now. */
	if (!mse_intents_are_valid(intents))
		return false;
	while (mse_intents_next(intents, &offset, &intent)) {
		if (intent.wall_ms < before_ms)
			return true;
	}
	return false;
}

static int is_at_work(int fd, unsigned int slot,
		      const struct mse_intents *image, void *context)
{
	const int64_t *before_ms = context;

	return is_from_before(image, *before_ms) ?
		mse_presence_is_held(fd, slot) : 0;
}

int mse_presence_is_under_way(int fd, int64_t before_ms)
{
	int reach = mse_presence_reach(fd);

	return reach < 0 ? -1 :
		each_image(fd, (unsigned int)reach, is_at_work, &before_ms);
}

int mse_presence_clear_intents(int fd, unsigned int slot)
{
	static const struct mse_intents none;

	if (slot >= MSE_PRESENCE_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	return write_at(fd, none.image.bytes, MSE_INTENT_SIZE,
			intents_offset(slot));
}

int mse_presence_write_intents(int fd, int slot, struct mse_intents *intents)
{
	if (slot <= 0 || slot >= MSE_PRESENCE_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	if (write_at(fd, intents->image.bytes, mse_intents_extent(intents),
		     intents_offset((unsigned int)slot)) < 0)
		return -1;
	intents->written = intents->image.head.len;
	return 0;
}

/* Slots a process may use: those it can write under RLIMIT_FSIZE. */
static unsigned int usable_slots(void)
{
	unsigned int count = MSE_PRESENCE_SLOTS;

	while (count > 1 && !mse_write_may_reach(
			(uint64_t)slot_offset(count - 1) + SLOT_SIZE))
		count /= 2;
	return count;
}

static unsigned int random_number(void)
{
	struct timespec now;
	unsigned int number;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) ==
	    (ssize_t)sizeof(number))
		return number;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned int)now.tv_nsec ^ ((unsigned int)getpid() << 12);
}

static int write_instance(int fd, unsigned int slot,
			  char instance_r[MSE_UUID_SIZE])
{
	struct timespec now;
	char instance[40] = "";

	(void)clock_gettime(CLOCK_REALTIME, &now);
	mse_uuid_make((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
		      instance);
	memcpy(instance_r, instance, MSE_UUID_SIZE);
	return write_at(fd, instance, sizeof(instance),
			slot_offset(slot) +
			(off_t)offsetof(struct slot_bytes, instance));
}

/* Somebody's intents are left in it; asked with the lock held. */
static bool is_left(int fd, const struct mse_presence_head *head,
		    unsigned int slot)
{
	struct mse_intents intents;

	return head->has_intents &&
		(read_at(fd, intents.image.bytes, sizeof(intents.image.head),
			 intents_offset(slot)) < 0 ||
		 !mse_intents_is_empty(&intents));
}

/* One of the first count slots but 0; 0 if those that were tried are taken, -1
   with errno. */
static int claim_one(int fd, const struct mse_presence_head *head,
		     unsigned int count, unsigned int tries,
		     char instance_r[MSE_UUID_SIZE])
{
	uint32_t number = random_number();
	unsigned int i, slot;

	/* Not one after the other: runs of taken ones would only grow. */
	for (i = 0; i < tries; i++) {
		number = number * 1664525 + 1013904223;
		slot = 1 + (number >> 8) % (count - 1);
		if (slot_lock(fd, slot, F_WRLCK) < 0) {
			if (errno == EAGAIN || errno == EACCES)
				continue;
			return -1;
		}
		if (is_left(fd, head, slot)) {
			(void)slot_lock(fd, slot, F_UNLCK);
			continue;
		}
		if (write_instance(fd, slot, instance_r) < 0) {
			(void)slot_lock(fd, slot, F_UNLCK);
			instance_r[0] = '\0';
			return -1;
		}
		return (int)slot;
	}
	return 0;
}

int mse_presence_claim(int fd, char instance_r[MSE_UUID_SIZE])
{
	struct mse_presence_head head;
	struct head_bytes bytes;
	unsigned int usable, reach;
	int slot;

	instance_r[0] = '\0';
	if (read_head_bytes(fd, &bytes) < 0)
		return -1;
	head_decode(&bytes, &head);
	usable = usable_slots();
	if (usable <= 1)
		return 0;
	for (reach = marked_reach(&bytes); reach < usable; reach *= 2) {
		slot = claim_one(fd, &head, reach, REACH_TRIES, instance_r);
		if (slot != 0)
			return slot;
		if (mark_reach(fd, reach) < 0)
			return 0;
	}
	return claim_one(fd, &head, usable, CLAIM_TRIES, instance_r);
}

static int add_lost(int fd, unsigned int slot, uint64_t lost, int64_t wall_ms)
{
	struct slot_bytes bytes;

	if (read_at(fd, &bytes, sizeof(bytes), slot_offset(slot)) < 0)
		return -1;
	if (bytes.lost == 0)
		bytes.since_ms = wall_ms;
	bytes.lost += lost;
	bytes.until_ms = wall_ms;
	/* The instance is not ours to write in slot 0. */
	return write_at(fd, &bytes, offsetof(struct slot_bytes, instance),
			slot_offset(slot));
}

int mse_presence_add_lost(int fd, int slot, uint64_t lost, int64_t wall_ms)
{
	struct head_bytes head;
	unsigned int i;
	int ret, saved_errno;

	if (slot < 0 || slot >= MSE_PRESENCE_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	if (read_head_bytes(fd, &head) < 0)
		return -1;
	if (slot > 0)
		return add_lost(fd, (unsigned int)slot, lost, wall_ms);
	for (i = 0; slot_lock(fd, 0, F_WRLCK) < 0; i++) {
		if (i == SHARED_TRIES)
			return -1;
		(void)sched_yield();
	}
	ret = add_lost(fd, 0, lost, wall_ms);
	saved_errno = errno;
	(void)slot_lock(fd, 0, F_UNLCK);
	errno = saved_errno;
	return ret;
}

static int create_content(int fd)
{
	static const struct mse_presence_head head;
	int ret;

	if (fchmod(fd, 0660) < 0)
		return -1;
	/* So that a full disk can still be told about. */
	ret = posix_fallocate(fd, 0, FILE_SIZE);
	if (ret != 0) {
		errno = ret;
		return -1;
	}
	if (mse_presence_write_head(fd, &head) < 0)
		return -1;
	return fsync(fd);
}

static int create(int dir_fd, struct mse_error *error_r)
{
	int fd;

	(void)unlinkat(dir_fd, TEMPORARY_NAME, 0);
	fd = openat(dir_fd, TEMPORARY_NAME,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return mse_error_set(error_r, "cannot create %s: %s",
				     TEMPORARY_NAME, strerror(errno));
	}
	if (create_content(fd) < 0 ||
	    renameat(dir_fd, TEMPORARY_NAME, dir_fd, MSE_PRESENCE_NAME) < 0 ||
	    fsync(dir_fd) < 0) {
		mse_error_set(error_r, "cannot write %s: %s",
			      MSE_PRESENCE_NAME, strerror(errno));
		(void)unlinkat(dir_fd, TEMPORARY_NAME, 0);
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* -1: not to be had; *absent_r if there is none yet. */
static int open_existing(int dir_fd, bool *absent_r, struct mse_error *error_r)
{
	struct stat st;
	int fd;

	*absent_r = false;
	fd = openat(dir_fd, MSE_PRESENCE_NAME,
		    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		*absent_r = errno == ENOENT;
		return mse_error_set(error_r, "cannot open %s: %s",
				     MSE_PRESENCE_NAME,
				     mse_file_obstacle(errno));
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return mse_error_set(error_r, "%s is not a regular file: "
				     "move it away", MSE_PRESENCE_NAME);
	}
	return fd;
}

/* The file of a version without intents becomes one with them where it
   stands: processes that run hold it by their locks. Without room on the disk
   it stays what it is, until the next start. */
static void make_room(int fd, off_t size)
{
	struct mse_presence_head head;

	if (size < FILE_SIZE &&
	    posix_fallocate(fd, 0, FILE_SIZE) == 0 &&
	    mse_presence_read_head(fd, &head) == 0)
		(void)mse_presence_write_head(fd, &head);
}

/* 0, 1 if it is short or foreign, -1 with errno if it cannot be read. */
static int check_content(int fd, off_t *size_r)
{
	struct head_bytes head;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	*size_r = st.st_size;
	if (st.st_size < SIZE_WITHOUT_INTENTS)
		return 1;
	if (read_head_bytes(fd, &head) == 0)
		return 0;
	return errno == EINVAL ? 1 : -1;
}

int mse_presence_open_daemon(int dir_fd, bool *created_r,
			     struct mse_error *error_r)
{
	bool absent;
	off_t size;
	int fd, ret;

	*created_r = false;
	fd = open_existing(dir_fd, &absent, error_r);
	if (fd < 0 && !absent)
		return -1;
	if (fd >= 0) {
		ret = check_content(fd, &size);
		if (ret == 0) {
			(void)fchmod(fd, 0660);
			make_room(fd, size);
			return fd;
		}
		/* Losses may be counted there: only what it says counts. */
		if (ret < 0)
			mse_error_set(error_r, "cannot read %s: %s",
				      MSE_PRESENCE_NAME, strerror(errno));
		(void)close(fd);
		if (ret < 0)
			return -1;
	}
	*created_r = true;
	return create(dir_fd, error_r);
}
