/* What a mail process was changing when it died: told once, and only then. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/event.h"
#include "journal/presence.h"
#include "test-derive-common.h"

/* Long enough for any look. */
static void settle(struct derive_test *test)
{
	unsigned int i;

	for (i = 0; i < 20; i++) {
		run_once(test);
		mse_clock_fake_advance(&test->journal->clock, 1000);
	}
	assert_true(mse_derive_is_idle(test->derive));
}

static const struct mse_intent inbox = {
	.wall_ms = 1732420000000, .user = "joe", .owner = "joe",
	.mailbox = "INBOX", .uidvalidity = 7, .uidnext = 12, .modseq = 99,
};

static struct mse_appender *start_process(struct derive_test *test)
{
	struct mse_appender *appender;

	assert_int_equal(mse_appender_new(test->journal->dir, &appender), 0);
	return appender;
}

/* It dies with what it has under way. */
static void kill_process(struct mse_appender *appender)
{
	mse_appender_free(&appender);
}

static void die_with(struct derive_test *test, const struct mse_intent *intent)
{
	struct mse_appender *process = start_process(test);

	assert_true(mse_appender_intend(process, intent) != 0);
	kill_process(process);
}

/* Records of the journal that have this in them; the last one's text. */
static unsigned int count(struct derive_test *test, const char *part,
			  char *text_r, size_t size)
{
	struct mse_journal_reader *reader =
		journal_test_reader(test->journal);
	struct mse_read_result result;
	struct mse_error error;
	unsigned int found = 0;
	enum mse_read read;
	char *text;

	while ((read = mse_journal_reader_next(reader, &result, &error)) !=
	       MSE_READ_END) {
		if (read != MSE_READ_RECORD)
			continue;
		text = strndup(result.record.bytes.data,
			       result.record.bytes.len);
		if (strstr(text, part) != NULL) {
			found++;
			if (text_r != NULL)
				snprintf(text_r, size, "%s", text);
		}
		free(text);
	}
	mse_journal_reader_free(&reader);
	return found;
}

static unsigned int count_resyncs(struct derive_test *test)
{
	return count(test, "vnd.mailhook.Resync", NULL, 0);
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("no %s in %s", part, text);
}

static unsigned int left_over;

static void on_left(unsigned int slot, const struct mse_intents *intents,
		    void *context)
{
	left_over++;
}

static unsigned int slots_left(struct derive_test *test)
{
	left_over = 0;
	assert_int_equal(mse_presence_each_intent(mse_journal_presence_fd(
				test->journal->journal), MSE_PRESENCE_SLOTS,
				on_left, NULL), 0);
	return left_over;
}

static void test_died(void **state)
{
	struct mse_derive_status status;
	struct derive_test test;
	char text[4096];

	open_test(&test, *state);
	settle(&test);
	die_with(&test, &inbox);
	assert_int_equal(slots_left(&test), 1);
	settle(&test);
	assert_int_equal(slots_left(&test), 0);
	assert_int_equal(count(&test, "vnd.mailhook.Resync", text,
			       sizeof(text)), 1);
	assert_has(text, "\"user\":\"joe\",\"owner\":\"joe\","
		   "\"mailbox\":\"INBOX\",\"cause\":\"intent:");
	assert_has(text, "\"uri\":\"imap://joe@mail.example/INBOX;"
		   "UIDVALIDITY=7\",\"mailboxID\":\"imap://joe@mail.example/"
		   "INBOX;UIDVALIDITY=7\"");
	assert_has(text, "\"uidnext\":12");
	assert_has(text, "\"modseq\":99");
	assert_has(text, "vnd.mailhook.since");
	assert_has(text, "\"vnd.mailhook.reason\":\"a mail process died while "
		   "it changed this\"");
	assert_null(strstr(text, "vnd.mailhook.owner"));
	mse_derive_get_status(test.derive, &status);
	assert_int_equal(status.resyncs, 1);
	settle(&test);
	restart(&test);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 1);
	close_test(&test);
}

static void test_lives(void **state)
{
	struct derive_test test;
	struct mse_appender *process;
	uint32_t one, two;

	open_test(&test, *state);
	process = start_process(&test);
	one = mse_appender_intend(process, &inbox);
	settle(&test);
	two = mse_appender_intend(process, &inbox);
	assert_true(one != 0 && two != 0 && one != two);
	settle(&test);
	mse_appender_done(process, one);
	mse_appender_done(process, two);
	mse_appender_done(process, two);
	mse_appender_done(process, 0);
	kill_process(process);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 0);
	close_test(&test);
}

/* Whichever ends first; and one that has no mailbox, or no user. */
static void test_several(void **state)
{
	struct mse_intent renamed = inbox, public = inbox, all = inbox;
	struct derive_test test;
	struct mse_appender *process;
	char text[4096];
	uint32_t one;

	renamed.mailbox = "New \x1e name";
	renamed.old_mailbox = "Old";
	public.owner = "Public/";
	public.is_public = true;
	all.mailbox = NULL;
	all.owner = "ann";
	open_test(&test, *state);
	process = start_process(&test);
	one = mse_appender_intend(process, &inbox);
	assert_true(mse_appender_intend(process, &renamed) != 0);
	assert_true(mse_appender_intend(process, &public) != 0);
	assert_true(mse_appender_intend(process, &all) != 0);
	mse_appender_done(process, one);
	kill_process(process);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 3);
	assert_int_equal(count(&test, "\"oldMailbox\":\"Old\"", text,
			       sizeof(text)), 1);
	assert_has(text, "oldMailboxID\":\"imap://joe@mail.example/Old;"
		   "UIDVALIDITY=7");
	assert_int_equal(count(&test, "\"owner\":\"Public/\"", text,
			       sizeof(text)), 1);
	assert_has(text, "\"uri\":\"imap://mail.example/INBOX;");
	assert_int_equal(count(&test, "\"owner\":\"ann\"", text,
			       sizeof(text)), 1);
	assert_has(text, "\"uri\":\"imap://ann@mail.example/\"");
	assert_has(text, "\"vnd.mailhook.owner\":\"ann\"");
	assert_null(strstr(text, "mailboxID"));
	assert_null(strstr(text, "uidnext"));
	restart(&test);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 3);
	close_test(&test);
}

/* A name without room makes it all of the user's; without even that, a Gap. */
static void test_no_room(void **state)
{
	struct mse_intent intent = inbox;
	struct derive_test test;
	struct mse_appender *process;
	char name[2000], text[4096];
	unsigned int i;

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	intent.mailbox = name;
	open_test(&test, *state);
	die_with(&test, &intent);
	settle(&test);
	assert_int_equal(count(&test, "vnd.mailhook.Resync", text,
			       sizeof(text)), 1);
	assert_has(text, "\"uri\":\"imap://joe@mail.example/\"");
	assert_null(strstr(text, "uidnext"));
	intent.user = intent.owner = name;
	die_with(&test, &intent);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 1);
	assert_int_equal(count(&test, "vnd.mailhook.Gap", NULL, 0), 1);
	assert_int_equal(slots_left(&test), 0);
	/* So many that some have room and some have not. */
	process = start_process(&test);
	for (i = 0; i < 100; i++)
		assert_true(mse_appender_intend(process, &inbox) != 0);
	kill_process(process);
	settle(&test);
	assert_true(count_resyncs(&test) > 10);
	assert_int_equal(count(&test, "vnd.mailhook.Gap", NULL, 0), 2);
	assert_int_equal(slots_left(&test), 0);
	close_test(&test);
}

static uint64_t presence_write_at(struct derive_test *test, off_t offset,
				  const void *data, size_t len)
{
	int fd = open(journal_test_path(test->journal, "presence"), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, offset), (ssize_t)len);
	close(fd);
	return len;
}

/* Whatever stands there: one Gap, no crash. */
static void test_foreign_bytes(void **state)
{
	struct derive_test test;
	struct mse_intents image;
	unsigned int i;

	open_test(&test, *state);
	srandom(1);
	for (i = 1; i < 200; i++) {
		mse_intents_init(&image,
				 "01890a5d-ac96-774b-bcce-b302099a8057");
		mse_intents_add(&image, &inbox);
		mse_intents_add(&image, &inbox);
		/* Either the head or the entries, with something under way. */
		image.image.bytes[4 + (size_t)random() % 150] ^=
			(char)(1 << random() % 8);
		presence_write_at(&test, 4096 + 4096 * 128 + i * 1024,
				  image.image.bytes, 1024);
	}
	settle(&test);
	assert_int_equal(slots_left(&test), 0);
	assert_true(count(&test, "while it changed something", NULL, 0) > 10);
	close_test(&test);
}

/* A crash between any two steps: the intents are there again, or the cursor
   has not passed the record. */
static void test_crash_before_clear(void **state)
{
	struct derive_test test;
	struct mse_intents image;
	unsigned int slot;
	char instance[MSE_UUID_SIZE];
	struct mse_appender *process;

	open_test(&test, *state);
	settle(&test);
	process = start_process(&test);
	assert_int_equal(mse_appender_presence(process, &slot, instance), 0);
	assert_true(mse_appender_intend(process, &inbox) != 0);
	kill_process(process);
	mse_intents_init(&image, instance);
	mse_intents_add(&image, &inbox);
	/* Appended and synced, but neither cleared nor committed. */
	mse_clock_fake_advance(&test.journal->clock, 2000);
	run_once(&test);
	assert_int_equal(count_resyncs(&test), 1);
	close_test(&test);
	presence_write_at(&test, 4096 + 4096 * 128 + (off_t)slot * 1024,
			  image.image.bytes, image.image.head.len);
	open_test(&test, *state); /* a ledger that knows nothing of it */
	assert_int_equal(slots_left(&test), 1);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 1);
	assert_int_equal(slots_left(&test), 0);
	close_test(&test);
}

/* The cursor stays in front of the record until the intents are cleared. */
static void test_cleared_before_commit(void **state)
{
	struct derive_test test;
	unsigned int i;

	open_test(&test, *state);
	settle(&test);
	for (i = 0; i < 6; i++) {
		die_with(&test, &inbox);
		mse_clock_fake_advance(&test.journal->clock, 2000);
		run_once(&test);
		if (count_resyncs(&test) > i)
			assert_int_equal(slots_left(&test), 0);
		settle(&test);
		assert_int_equal(count_resyncs(&test), i + 1);
	}
	close_test(&test);
}

/* Until the daemon has seen it nobody gets the slot. */
static void test_daemon_absent(void **state)
{
	struct derive_test test;
	struct mse_appender *processes[200];
	unsigned int i, slot, others[200];
	char instance[MSE_UUID_SIZE];
	struct mse_appender *process;

	open_test(&test, *state);
	settle(&test);
	process = start_process(&test);
	assert_int_equal(mse_appender_presence(process, &slot, instance), 0);
	assert_true(mse_appender_intend(process, &inbox) != 0);
	kill_process(process);
	stop(&test);
	for (i = 0; i < 200; i++) {
		processes[i] = start_process(&test);
		assert_int_equal(mse_appender_presence(
			processes[i], &others[i], instance), 0);
		assert_int_not_equal(others[i], slot);
	}
	for (i = 0; i < 200; i++)
		kill_process(processes[i]);
	mse_clock_fake_advance(&test.journal->clock, (int64_t)7 * 86400 * 1000);
	open_derive(&test);
	settle(&test);
	assert_int_equal(count_resyncs(&test), 1);
	assert_int_equal(slots_left(&test), 0);
	close_test(&test);
}

/* As a process of a plugin that knows of no marks in presence leaves it. */
static void leave_behind_the_marks(struct derive_test *test)
{
	struct mse_intents image;

	mse_intents_init(&image, "01890a5d-ac96-774b-bcce-b302099a8057");
	mse_intents_add(&image, &inbox);
	presence_write_at(test, 4096 + 4096 * 128 + (off_t)4000 * 1024,
			  image.image.bytes, image.image.head.len);
}

static int hold_behind_the_marks(struct derive_test *test)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = 4096 + (off_t)4000 * 128, .l_len = 128
	};
	int fd = open(journal_test_path(test->journal, "presence"), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	return fd;
}

/* One that was never seen is found within a minute, one that was at once. */
static void test_of_an_old_plugin(void **state)
{
	struct derive_test test;
	unsigned int seconds;
	int fd;

	open_test(&test, *state);
	settle(&test);
	leave_behind_the_marks(&test);
	for (seconds = 0; count_resyncs(&test) == 0; seconds++) {
		assert_true(seconds <= 60);
		run_once(&test);
		mse_clock_fake_advance(&test.journal->clock, 1000);
	}
	assert_true(seconds > 10);
	settle(&test);
	assert_int_equal(slots_left(&test), 0);

	fd = hold_behind_the_marks(&test);
	settle(&test);
	leave_behind_the_marks(&test);
	close(fd);
	mse_clock_fake_advance(&test.journal->clock, 2000);
	run_once(&test);
	assert_int_equal(count_resyncs(&test), 2);
	settle(&test);
	assert_int_equal(slots_left(&test), 0);
	assert_int_equal(count_resyncs(&test), 2);
	close_test(&test);
}

/* Somebody asks for one, as mailhookctl does. */
static void test_asked(void **state)
{
	static const struct mse_resync all = {
		.reason = "asked for", .owner = "joe"
	};
	struct derive_test test;
	char id[MSE_UUID_SIZE], text[4096];

	open_test(&test, *state);
	settle(&test);
	assert_int_equal(mse_derive_resync(test.derive, "asked:1", &all, id),
			 0);
	assert_int_equal(mse_derive_resync(test.derive, "asked:1", &all, NULL),
			 0);
	assert_false(mse_derive_is_idle(test.derive));
	settle(&test);
	assert_int_equal(count(&test, "vnd.mailhook.Resync", text,
			       sizeof(text)), 1);
	assert_has(text, id);
	assert_has(text, "\"uri\":\"imap://joe@mail.example/\"");
	assert_has(text, "asked for");
	close_test(&test);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						   journal_test_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_died),
		TEST(test_lives),
		TEST(test_several),
		TEST(test_no_room),
		TEST(test_foreign_bytes),
		TEST(test_crash_before_clear),
		TEST(test_cleared_before_commit),
		TEST(test_daemon_absent),
		TEST(test_of_an_old_plugin),
		TEST(test_asked),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
