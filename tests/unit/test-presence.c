/* The presence file: slots, losses, and files that are not what they were. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/append.h"
#include "journal/presence.h"
#include "test-journal-common.h"

#define SLOTS_AT 4096
#define SLOT_SIZE 128
#define INTENTS_AT (SLOTS_AT + MSE_PRESENCE_SLOTS * SLOT_SIZE)

static char instance[MSE_UUID_SIZE];

/* Around the daemon's question who holds a slot; NULL: nothing happens. */
static void (*before_asked)(void), (*after_asked)(void);

static void happen(void (**what)(void))
{
	void (*now)(void) = *what;

	*what = NULL;
	if (now != NULL)
		now();
}

int fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (command != F_OFD_GETLK)
		return (int)syscall(SYS_fcntl, fd, command, arg);
	happen(&before_asked);
	ret = (int)syscall(SYS_fcntl, fd, command, arg);
	happen(&after_asked);
	return ret;
}
int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

/* What is read from the file that counting is set for; -1: from none. */
static int counted = -1;
static unsigned int reads;
static size_t octets;

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	ssize_t ret = (ssize_t)syscall(SYS_pread64, fd, data, len, offset);

	if (fd == counted) {
		reads++;
		octets += ret > 0 ? (size_t)ret : 0;
	}
	return ret;
}
ssize_t pread64(int fd, void *data, size_t len, off_t offset)
	__attribute__((alias("pread")));

static int open_daemon(const struct journal_test *test, bool *created_r)
{
	struct mse_error error = { "" };
	int dir_fd = open(test->dir, O_RDONLY | O_DIRECTORY);
	int fd;

	assert_true(dir_fd >= 0);
	fd = mse_presence_open_daemon(dir_fd, created_r, &error);
	close(dir_fd);
	if (fd < 0)
		assert_string_not_equal(error.text, "");
	return fd;
}

/* As a mail process has it: an open file description of its own. */
static int open_client(const struct journal_test *test)
{
	int fd = open(journal_test_path(test, "presence"), O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

static void lock_slots(int fd, unsigned int first, unsigned int count)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = SLOTS_AT + (off_t)first * SLOT_SIZE,
		.l_len = (off_t)count * SLOT_SIZE,
	};

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
}

static bool is_locked(int fd, int slot)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = SLOTS_AT + (off_t)slot * SLOT_SIZE,
		.l_len = SLOT_SIZE,
	};

	assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
	return lock.l_type != F_UNLCK;
}

static void test_created(void **state)
{
	struct journal_test *test = *state;
	struct mse_presence_head head = { 7, 1000, false };
	mode_t mask = umask(077);
	struct stat st;
	bool created;
	int fd;

	fd = open_daemon(test, &created);
	umask(mask);
	assert_true(fd >= 0);
	assert_true(created);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_size,
			 INTENTS_AT + MSE_PRESENCE_SLOTS * 1024);
	assert_true((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
	assert_int_equal(mse_presence_write_head(fd, &head), 0);
	close(fd);
	fd = open_daemon(test, &created);
	assert_false(created);
	memset(&head, 0, sizeof(head));
	assert_int_equal(mse_presence_read_head(fd, &head), 0);
	assert_int_equal(head.generation, 7);
	assert_int_equal(head.allowed_size, 1000);
	close(fd);
}

static void test_replaced(void **state)
{
	struct journal_test *test = *state;
	struct mse_presence_head head;
	char path[128];
	bool created;
	int fd;

	strcpy(path, journal_test_path(test, "presence"));
	journal_test_put(test, "presence", "foreign", 7);
	fd = open_daemon(test, &created);
	assert_true(created);
	assert_int_equal(mse_presence_read_head(fd, &head), 0);
	close(fd);
	assert_int_equal(truncate(path, 5000), 0);
	fd = open_daemon(test, &created);
	assert_true(created);
	close(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(open_daemon(test, &created), -1);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_int_equal(open_daemon(test, &created), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_daemon(test, &created), -1);
}

static void test_claim(void **state)
{
	struct mse_presence_slot one, two;
	bool created;
	int daemon = open_daemon(*state, &created);
	int a = open_client(*state), b = open_client(*state);
	int slot_a = mse_presence_claim(a, instance), slot_b = mse_presence_claim(b, instance);

	assert_true(slot_a > 0);
	assert_true(slot_b > 0);
	assert_int_not_equal(slot_a, slot_b);
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot_a,
						&one), 0);
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot_b,
						&two), 0);
	assert_true(mse_uuid_is_valid(one.instance));
	assert_string_not_equal(one.instance, two.instance);
	assert_true(is_locked(daemon, slot_a));
	assert_int_equal(mse_presence_is_held(daemon, (unsigned int)slot_a), 1);
	close(a);
	assert_false(is_locked(daemon, slot_a));
	assert_int_equal(mse_presence_is_held(daemon, (unsigned int)slot_a), 0);
	assert_int_equal(mse_presence_is_held(daemon, (unsigned int)slot_b), 1);
	assert_int_equal(mse_presence_is_held(-1, 1), -1);
	close(b);
	close(daemon);
}

static void test_freed_by_kill(void **state)
{
	bool created;
	int daemon = open_daemon(*state, &created), fds[2], slot, fd;
	struct mse_presence_slot data;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		fd = open_client(*state);
		slot = mse_presence_claim(fd, instance);
		(void)mse_presence_add_lost(fd, slot, 3, 1000);
		(void)!write(fds[1], &slot, sizeof(slot));
		for (;;)
			pause();
	}
	assert_int_equal(read(fds[0], &slot, sizeof(slot)), sizeof(slot));
	assert_true(slot > 0);
	assert_true(is_locked(daemon, slot));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(is_locked(daemon, slot));
	/* The losses stay. */
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot,
						&data), 0);
	assert_int_equal(data.lost, 3);
	close(fds[0]);
	close(fds[1]);
	close(daemon);
}

static void test_losses(void **state)
{
	struct mse_presence_slot data;
	bool created;
	int daemon = open_daemon(*state, &created), fd = open_client(*state);
	int slot = mse_presence_claim(fd, instance);

	assert_int_equal(mse_presence_add_lost(fd, slot, 2, 1000), 0);
	assert_int_equal(mse_presence_add_lost(fd, slot, 5, 2000), 0);
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot,
						&data), 0);
	assert_int_equal(data.lost, 7);
	assert_int_equal(data.lost_since_ms, 1000);
	assert_int_equal(data.lost_until_ms, 2000);
	assert_true(mse_uuid_is_valid(data.instance));
	close(fd);
	/* Another process that gets this slot counts on. */
	fd = open_client(*state);
	lock_slots(fd, (unsigned int)slot, 1);
	assert_int_equal(mse_presence_add_lost(fd, slot, 1, 3000), 0);
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot,
						&data), 0);
	assert_int_equal(data.lost, 8);
	assert_int_equal(data.lost_since_ms, 1000);
	assert_int_equal(mse_presence_add_lost(fd, MSE_PRESENCE_SLOTS, 1, 1),
			 -1);
	assert_int_equal(mse_presence_add_lost(fd, -1, 1, 1), -1);
	close(fd);
	close(daemon);
}

static void test_none_free(void **state)
{
	struct mse_presence_slot data;
	bool created;
	int daemon = open_daemon(*state, &created);
	int others = open_client(*state), fd = open_client(*state);

	lock_slots(others, 1, MSE_PRESENCE_SLOTS - 1);
	assert_int_equal(mse_presence_claim(fd, instance), 0);
	assert_int_equal(mse_presence_add_lost(fd, 0, 4, 1000), 0);
	assert_false(is_locked(daemon, 0));
	/* Never waits for whoever holds it. */
	lock_slots(others, 0, 1);
	assert_int_equal(mse_presence_add_lost(fd, 0, 4, 1000), -1);
	assert_int_equal(mse_presence_read_slot(daemon, 0, &data), 0);
	assert_int_equal(data.lost, 4);
	close(fd);
	close(others);
	close(daemon);
}

/* A mapping would be SIGBUS here. */
static void test_shrunken(void **state)
{
	struct journal_test *test = *state;
	struct mse_presence_slot data;
	struct mse_presence_head head;
	struct stat st;
	bool created;
	int daemon = open_daemon(test, &created), fd = open_client(test);
	int slot = mse_presence_claim(fd, instance);

	assert_int_equal(ftruncate(daemon, 10), 0);
	assert_int_equal(mse_presence_add_lost(fd, slot, 1, 1), -1);
	assert_int_equal(mse_presence_claim(fd, instance), -1);
	assert_int_equal(mse_presence_read_head(fd, &head), -1);
	assert_int_equal(mse_presence_read_slot(fd, 1, &data), -1);
	assert_int_equal(mse_presence_each_loss(fd, MSE_PRESENCE_SLOTS,
						NULL, NULL), -1);
	/* Nothing is written into a foreign file. */
	assert_int_equal(ftruncate(daemon, 0), 0);
	journal_test_put(test, "presence", "a foreign file's content, which "
			 "is long enough for a head", 50);
	assert_int_equal(mse_presence_add_lost(fd, slot, 1, 1), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 50);
	close(fd);
	close(daemon);
}

static const struct mse_intent intent = {
	.user = "joe", .mailbox = "INBOX", .uidnext = 3
};

static void count_left(unsigned int slot, const struct mse_intents *intents,
		       void *context)
{
	unsigned int *slots = context;

	assert_true(mse_intents_are_valid(intents));
	slots[0]++;
	slots[1] = slot;
}

/* Slots with intents of the dead; the last one in *slot_r. */
static unsigned int left(int fd, unsigned int *slot_r)
{
	unsigned int slots[2] = { 0, 0 };

	assert_int_equal(mse_presence_each_intent(fd, MSE_PRESENCE_SLOTS,
						  count_left, slots), 0);
	if (slot_r != NULL)
		*slot_r = slots[1];
	return slots[0];
}

static void test_intents(void **state)
{
	struct mse_presence_head head;
	struct mse_intents intents;
	bool created;
	int daemon = open_daemon(*state, &created), fd = open_client(*state);
	int slot = mse_presence_claim(fd, instance), other;
	unsigned int found;

	assert_int_equal(mse_presence_read_head(fd, &head), 0);
	assert_true(head.has_intents);
	mse_intents_init(&intents, instance);
	(void)mse_intents_add(&intents, &intent);
	assert_int_equal(mse_presence_write_intents(fd, slot, &intents), 0);
	assert_int_equal(mse_presence_write_intents(fd, 0, &intents), -1);
	assert_int_equal(mse_presence_write_intents(fd, MSE_PRESENCE_SLOTS,
						    &intents), -1);
	assert_int_equal(left(daemon, NULL), 0);
	close(fd);
	assert_int_equal(left(daemon, &found), 1);
	assert_int_equal(found, slot);
	/* Nobody gets a slot that was left so. */
	fd = open_client(*state);
	for (other = 1; other < MSE_PRESENCE_SLOTS; other++)
		assert_int_equal(mse_presence_write_intents(daemon, other,
							    &intents), 0);
	assert_int_equal(mse_presence_claim(fd, instance), 0);
	assert_string_equal(instance, "");
	for (other = 1; other < MSE_PRESENCE_SLOTS; other++) {
		assert_false(is_locked(daemon, other));
		assert_int_equal(mse_presence_clear_intents(
			daemon, (unsigned int)other), 0);
	}
	assert_true(mse_presence_claim(fd, instance) > 0);
	assert_int_equal(left(daemon, NULL), 0);
	close(fd);
	close(daemon);
}

/* A plugin without intents takes a slot whatever was left in it. */
static void test_intents_under_an_old_plugin(void **state)
{
	struct mse_intents intents;
	bool created;
	int daemon = open_daemon(*state, &created), fd = open_client(*state);
	int slot = mse_presence_claim(fd, instance);
	unsigned int found;

	mse_intents_init(&intents, instance);
	(void)mse_intents_add(&intents, &intent);
	assert_int_equal(mse_presence_write_intents(fd, slot, &intents), 0);
	close(fd);
	fd = open_client(*state);
	lock_slots(fd, (unsigned int)slot, 1);
	assert_int_equal(pwrite(fd, "01890a5d-ac96-774b-bcce-b302099a8057", 37,
				SLOTS_AT + (off_t)slot * SLOT_SIZE + 24), 37);
	assert_int_equal(left(daemon, &found), 1);
	assert_int_equal(found, slot);
	assert_int_equal(mse_presence_clear_intents(daemon, found), 0);
	assert_int_equal(left(daemon, NULL), 0);
	close(fd);
	close(daemon);
}

static int first, second;
static unsigned int of_both;
static struct mse_intents of_first;

/* The process whose intents were seen comes to an end in good order... */
static void end_first(void)
{
	mse_intents_remove(&of_first, of_first.last_id);
	assert_int_equal(mse_presence_write_intents(first, (int)of_both,
						    &of_first), 0);
	close(first);
}

/* ...and another one takes the slot and changes something. */
static void begin_second(void)
{
	const char other[] = "01890a5d-ac96-774b-bcce-b302099a8057";
	struct mse_intents intents;

	lock_slots(second, of_both, 1);
	assert_int_equal(pwrite(second, other, sizeof(other), SLOTS_AT +
				(off_t)of_both * SLOT_SIZE + 24),
			 sizeof(other));
	mse_intents_init(&intents, other);
	(void)mse_intents_add(&intents, &intent);
	assert_int_equal(mse_presence_write_intents(second, (int)of_both,
						    &intents), 0);
}

static void begin_first(const struct journal_test *test)
{
	first = open_client(test);
	second = open_client(test);
	of_both = (unsigned int)mse_presence_claim(first, instance);
	mse_intents_init(&of_first, instance);
	(void)mse_intents_add(&of_first, &intent);
	assert_int_equal(mse_presence_write_intents(first, (int)of_both,
						    &of_first), 0);
}

/* Who takes a slot while the daemon looks at it is alive. */
static void test_intents_of_another(void **state)
{
	bool created;
	int daemon = open_daemon(*state, &created);
	unsigned int found;

	begin_first(*state);
	before_asked = end_first;
	after_asked = begin_second;
	assert_int_equal(left(daemon, NULL), 0);
	assert_int_equal(left(daemon, NULL), 0);
	close(second);
	assert_int_equal(left(daemon, &found), 1);
	assert_int_equal(found, of_both);
	close(daemon);
}

/* A file of the version before, held by a process that runs. */
static void test_grows(void **state)
{
	static char zeros[INTENTS_AT];
	struct journal_test *test = *state;
	struct mse_presence_slot data;
	struct mse_appender *appender;
	bool created;
	int daemon, slot, fd = open_daemon(test, &created);
	struct stat before, after;
	unsigned int held;

	assert_int_equal(pread(fd, zeros, 32, 0), 32);
	close(fd);
	assert_int_equal(unlink(journal_test_path(test, "presence")), 0);
	journal_test_put(test, "presence", zeros, sizeof(zeros));
	fd = open_client(test);
	assert_int_equal(fstat(fd, &before), 0);
	slot = mse_presence_claim(fd, instance);
	assert_true(slot > 0);
	assert_int_equal(mse_presence_add_lost(fd, slot, 3, 1000), 0);
	assert_int_equal(mse_appender_new(test->dir, &appender), 0);
	/* An old daemon: nobody would read it. */
	assert_int_equal(mse_appender_intend(appender, &intent), 0);
	assert_int_equal(mse_appender_presence(appender, &held, instance), 0);

	daemon = open_daemon(test, &created);
	assert_false(created);
	assert_int_equal(fstat(daemon, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_size, INTENTS_AT + MSE_PRESENCE_SLOTS * 1024);
	assert_int_equal(mse_presence_read_slot(daemon, (unsigned int)slot,
						&data), 0);
	assert_int_equal(data.lost, 3);
	assert_true(mse_appender_intend(appender, &intent) != 0);
	mse_appender_free(&appender);
	assert_int_equal(left(daemon, NULL), 1);
	close(fd);
	close(daemon);
}

/* The child of a process with something under way is another process. */
static void test_intents_and_fork(void **state)
{
	struct journal_test *test = *state;
	struct mse_appender *appender;
	bool created;
	int daemon = open_daemon(test, &created);
	uint32_t id;
	pid_t pid;

	assert_int_equal(mse_appender_new(test->dir, &appender), 0);
	id = mse_appender_intend(appender, &intent);
	assert_true(id != 0);
	pid = fork();
	if (pid == 0) {
		mse_appender_done(appender, id);
		if (mse_appender_intend(appender, &intent) != 0)
			_exit(0);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(left(daemon, NULL), 1);
	mse_appender_free(&appender);
	assert_int_equal(left(daemon, NULL), 2);
	close(daemon);
}

/* Mail processes may read presence: nothing stays there of what is over. */
static void test_intents_leave_nothing(void **state)
{
	static char bytes[INTENTS_AT + MSE_PRESENCE_SLOTS * 1024];
	struct journal_test *test = *state;
	struct mse_intent other = { .user = "a-longer-name", .mailbox = "B" };
	struct mse_appender *appender;
	bool created;
	int daemon = open_daemon(test, &created);
	unsigned int slot;
	uint32_t one, two;

	assert_int_equal(mse_appender_new(test->dir, &appender), 0);
	one = mse_appender_intend(appender, &intent);
	two = mse_appender_intend(appender, &other);
	mse_appender_done(appender, one);
	assert_int_equal(pread(daemon, bytes, sizeof(bytes), 0),
			 (ssize_t)sizeof(bytes));
	assert_null(memmem(bytes, sizeof(bytes), "INBOX", 5));
	assert_non_null(memmem(bytes, sizeof(bytes), "a-longer", 8));
	mse_appender_done(appender, two);
	assert_int_equal(pread(daemon, bytes, sizeof(bytes), 0),
			 (ssize_t)sizeof(bytes));
	assert_null(memmem(bytes, sizeof(bytes), "a-longer", 8));
	assert_true(mse_appender_intend(appender, &intent) != 0);
	mse_appender_free(&appender);
	assert_int_equal(left(daemon, &slot), 1);
	assert_int_equal(mse_presence_clear_intents(daemon, slot), 0);
	assert_int_equal(pread(daemon, bytes, sizeof(bytes), 0),
			 (ssize_t)sizeof(bytes));
	assert_null(memmem(bytes, sizeof(bytes), "INBOX", 5));
	close(daemon);
}

/* A file cut short under a process: no word of it, and mail goes on. */
static void test_intents_cut_off(void **state)
{
	struct journal_test *test = *state;
	struct mse_appender *appender;
	struct stat st;
	bool created;
	int daemon = open_daemon(test, &created);
	unsigned int slots[2];
	uint32_t id;

	assert_int_equal(mse_appender_new(test->dir, &appender), 0);
	id = mse_appender_intend(appender, &intent);
	assert_int_equal(ftruncate(daemon, 10), 0);
	assert_int_equal(mse_appender_intend(appender, &intent), 0);
	assert_int_equal(mse_presence_each_intent(daemon, MSE_PRESENCE_SLOTS,
						  count_left, slots), -1);
	assert_int_equal(fstat(daemon, &st), 0);
	assert_int_equal(st.st_size, 10);
	mse_appender_done(appender, id);
	mse_appender_free(&appender);
	close(daemon);
	assert_true(open_daemon(test, &created) >= 0);
	assert_true(created);
}

static void no_loss(unsigned int slot, const struct mse_presence_slot *data,
		    void *context)
{
	fail();
}

/* What the daemon does every two seconds. */
static void look(int daemon)
{
	int reach;

	reads = 0;
	octets = 0;
	counted = daemon;
	reach = mse_presence_reach(daemon);
	assert_true(reach > 0);
	assert_int_equal(mse_presence_each_loss(daemon, (unsigned int)reach,
						no_loss, NULL), 0);
	assert_int_equal(mse_presence_each_intent(daemon, (unsigned int)reach,
						  NULL, NULL), 0);
	counted = -1;
}

/* A look costs what the processes that are alive make it cost, not what there
   is room for. */
static void test_look_reads_what_is_used(void **state)
{
	bool created;
	int daemon = open_daemon(*state, &created), fds[200], slot;
	unsigned int i, near = 0;

	look(daemon);
	assert_int_equal(reads, 5);
	assert_true(octets < 20000);
	for (i = 0; i < 200; i++) {
		fds[i] = open_client(*state);
		slot = mse_presence_claim(fds[i], instance);
		assert_true(slot > 0);
		assert_true(slot < mse_presence_reach(daemon));
		/* All of the first ones are found before many more are used. */
		near += slot < 16;
		if (i == 9) {
			look(daemon);
			assert_true(octets < 80000);
		}
	}
	assert_true(near > 5);
	assert_in_range(mse_presence_reach(daemon), 256, 1024);
	look(daemon);
	assert_true(octets < 1200000);
	/* It stays what it was: what is written by a process that was slow to
	   mark less would be missed. */
	for (i = 0; i < 200; i++)
		close(fds[i]);
	assert_in_range(mse_presence_reach(daemon), 256, 1024);
	close(daemon);
}

/* Not by the daemon's head, and not by a process that read less. */
static void test_reach_only_grows(void **state)
{
	struct mse_presence_head head = { 1, 1000, false };
	bool created;
	int daemon = open_daemon(*state, &created);
	int others = open_client(*state), fd = open_client(*state);
	int reach, slot;

	assert_int_equal(mse_presence_reach(daemon), 16);
	lock_slots(others, 1, 255);
	slot = mse_presence_claim(fd, instance);
	assert_true(slot >= 256);
	reach = mse_presence_reach(daemon);
	assert_in_range(reach, slot + 1, MSE_PRESENCE_SLOTS - 1);
	close(others);
	assert_int_equal(mse_presence_reach(daemon), reach);
	assert_int_equal(mse_presence_write_head(daemon, &head), 0);
	assert_int_equal(mse_presence_reach(daemon), reach);
	/* A mark that is missing among others. */
	assert_int_equal(pwrite(daemon, "", 1, 41), 1);
	assert_int_equal(mse_presence_reach(daemon), reach);
	close(fd);
	close(daemon);
}

/* A plugin that knows of no marks: its lock tells, wherever it is. */
static void test_reach_under_an_old_plugin(void **state)
{
	bool created;
	int daemon = open_daemon(*state, &created), fd = open_client(*state);
	struct mse_intent begun = { .user = "joe", .wall_ms = 1000 };
	struct mse_intents intents;

	assert_int_equal(mse_presence_is_under_way(daemon, 2000), 0);
	lock_slots(fd, MSE_PRESENCE_SLOTS - 1, 1);
	assert_int_equal(mse_presence_reach(daemon), MSE_PRESENCE_SLOTS);
	mse_intents_init(&intents, "01890a5d-ac96-774b-bcce-b302099a8057");
	(void)mse_intents_add(&intents, &begun);
	assert_int_equal(mse_presence_write_intents(fd, MSE_PRESENCE_SLOTS - 1,
						    &intents), 0);
	assert_int_equal(mse_presence_is_under_way(daemon, 2000), 1);
	assert_int_equal(mse_presence_is_under_way(daemon, 1000), 0);
	close(fd);
	assert_int_equal(mse_presence_is_under_way(daemon, 2000), 0);
	assert_int_equal(mse_presence_reach(daemon), 16);
	assert_int_equal(left(daemon, NULL), 1);
	close(daemon);
	assert_int_equal(mse_presence_reach(-1), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define D(name) cmocka_unit_test_setup_teardown(name, journal_test_setup_dir, \
						journal_test_teardown)
		D(test_created),
		D(test_replaced),
		D(test_claim),
		D(test_freed_by_kill),
		D(test_losses),
		D(test_none_free),
		D(test_shrunken),
		D(test_intents),
		D(test_intents_under_an_old_plugin),
		D(test_intents_of_another),
		D(test_grows),
		D(test_intents_and_fork),
		D(test_intents_leave_nothing),
		D(test_intents_cut_off),
		D(test_look_reads_what_is_used),
		D(test_reach_only_grows),
		D(test_reach_under_an_old_plugin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
