/* Sessions that end without a Logout: which are lost, once, and which are
   not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "derive/sockets.h"
#include "event/event.h"
#include "journal/presence.h"
#include "test-derive-common.h"

#define NOBODY "01890a5d-ac96-774b-bcce-b302099a8057"
#define DAY_MS ((int64_t)24 * 3600 * 1000)

/* A mail process: dies with mse_appender_free(). */
struct process {
	struct mse_appender *appender;
	unsigned int slot;
	char instance[MSE_UUID_SIZE];
};

/* Long enough for any look. */
static void settle(struct derive_test *test)
{
	unsigned int i;

	for (i = 0; i < 40; i++) {
		run_once(test);
		mse_clock_fake_advance(&test->journal->clock, 1000);
	}
	assert_true(mse_derive_is_idle(test->derive));
}

static struct process start_process(struct derive_test *test)
{
	struct process process;

	assert_int_equal(mse_appender_new(test->journal->dir,
					  &process.appender), 0);
	assert_int_equal(mse_appender_presence(process.appender, &process.slot,
					       process.instance), 0);
	return process;
}

/* Returns the record's id. */
static const char *tell(struct derive_test *test,
			const struct process *process,
			enum mse_event_type type, const char *session,
			const char *socket)
{
	static char id[MSE_UUID_SIZE];
	struct mse_event event;
	struct mse_buf buf;

	mse_buf_init(&buf, 100000);
	mse_event_init(&event, type, test->journal->clock.wall);
	event.user = "joe";
	event.owner = "joe";
	event.socket = socket;
	if (process->instance[0] != '\0') {
		event.instance = process->instance;
		event.slot = process->slot;
	}
	mse_event_set_string(&event, MSE_PARAM_URI, "imap://joe@mail.example/");
	mse_event_set_string(&event, MSE_PARAM_USER, "joe");
	mse_event_set_string(&event, MSE_PARAM_CLIENT_IP, "192.0.2.1");
	mse_event_set_number(&event, MSE_PARAM_CLIENT_PORT, 4711);
	mse_event_set_string(&event, MSE_PARAM_SESSION, session);
	mse_event_set_bool(&event, MSE_PARAM_TLS, true);
	mse_event_write(&event, &buf);
	assert_int_equal(mse_appender_append(process->appender, &buf, 1,
					     MSE_DURABILITY_PROCESS),
			 MSE_APPEND_DONE);
	mse_buf_clear(&buf);
	memcpy(id, event.id, sizeof(id));
	return id;
}

/* Lost Logouts in the journal; the text of the last one. */
static unsigned int count_lost(struct derive_test *test, char *text_r,
			       size_t size)
{
	struct mse_journal_reader *reader =
		journal_test_reader(test->journal);
	struct mse_read_result result;
	unsigned int count = 0;
	struct mse_error error;
	char *reason = NULL;
	enum mse_read read;

	while ((read = mse_journal_reader_next(reader, &result, &error)) !=
	       MSE_READ_END) {
		if (read != MSE_READ_RECORD ||
		    result.record.type != MSE_EVENT_LOGOUT ||
		    mse_record_string(&result.record, MSE_PARAM_DISCONNECT,
				      &reason) != 1)
			continue;
		count++;
		assert_string_equal(reason, "lost");
		free(reason);
		if (text_r != NULL)
			snprintf(text_r, size, "%.*s",
				 (int)result.record.bytes.len,
				 result.record.bytes.data);
	}
	mse_journal_reader_free(&reader);
	return count;
}

static void assert_lost(struct derive_test *test, unsigned int count)
{
	assert_int_equal(count_lost(test, NULL, 0), count);
}

static void test_killed(void **state)
{
	struct derive_test test;
	struct process one, two;
	char id[MSE_UUID_SIZE], cause[64], text[4096];

	open_test(&test, *state);
	one = start_process(&test);
	two = start_process(&test);
	strcpy(id, tell(&test, &one, MSE_EVENT_LOGIN, "s/1", NULL));
	tell(&test, &two, MSE_EVENT_LOGIN, "s/2", NULL);
	settle(&test);
	restart(&test);
	settle(&test);
	assert_lost(&test, 0);
	mse_appender_free(&one.appender);
	settle(&test);
	assert_int_equal(count_lost(&test, text, sizeof(text)), 1);
	snprintf(cause, sizeof(cause), "\"cause\":\"%s\"", id);
	assert_non_null(strstr(text, cause));
	/* What the Login carried, and nothing that nobody knows. */
	assert_non_null(strstr(text, "\"user\":\"joe\",\"owner\":\"joe\","));
	assert_non_null(strstr(text, "\"data\":{"
		"\"uri\":\"imap://joe@mail.example/\",\"user\":\"joe\","
		"\"clientIP\":\"192.0.2.1\",\"clientPort\":4711,"
		"\"timestamp\":"));
	assert_non_null(strstr(text, "\"vnd.mailhook.session\":\"s/1\","
		"\"vnd.mailhook.tls\":true,"
		"\"vnd.mailhook.disconnect\":\"lost\"}"));
	settle(&test);
	restart(&test);
	settle(&test);
	assert_lost(&test, 1);
	/* The other one goes on, and ends like one. */
	tell(&test, &two, MSE_EVENT_LOGOUT, "s/2", NULL);
	mse_appender_free(&two.appender);
	settle(&test);
	assert_lost(&test, 1);
	close_test(&test);
}

/* The last thing a process does is its Logout: that it is dead when we look
   must not make us forget to read. */
static void test_logout_before_death(void **state)
{
	struct derive_test test;
	struct process process;
	unsigned int i;

	open_test(&test, *state);
	for (i = 0; i < 20; i++) {
		process = start_process(&test);
		tell(&test, &process, MSE_EVENT_LOGIN, "s1", NULL);
		run_once(&test);
		mse_clock_fake_advance(&test.journal->clock, 500 * i);
		run_once(&test);
		tell(&test, &process, MSE_EVENT_LOGOUT, "s1", NULL);
		mse_appender_free(&process.appender);
		run_once(&test);
	}
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* Dead when it was looked at, but its Logout had not been read by then. */
static void test_logout_unread(void **state)
{
	struct derive_test test;
	struct process process;
	unsigned int i;

	open_test(&test, *state);
	process = start_process(&test);
	tell(&test, &process, MSE_EVENT_LOGIN, "s1", NULL);
	settle(&test);
	tell(&test, &process, MSE_EVENT_LOGOUT, "s1", NULL);
	mse_appender_free(&process.appender);
	/* More than one run can read lies before it. */
	for (i = 0; i < 5; i++)
		journal_test_append(test.journal, i * 1000, 1000, 0);
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* Appended, and then nothing was committed. */
static void test_crash_before_commit(void **state)
{
	struct derive_test test;
	struct process process;

	open_test(&test, *state);
	process = start_process(&test);
	tell(&test, &process, MSE_EVENT_LOGIN, "s1", NULL);
	mse_appender_free(&process.appender);
	settle(&test);
	assert_lost(&test, 1);
	close_test(&test);
	open_test(&test, *state); /* a ledger that knows nothing of it */
	settle(&test);
	assert_lost(&test, 1);
	close_test(&test);
}

/* The slot is held, but by somebody else. */
static void test_slot_taken(void **state)
{
	struct derive_test test;
	struct process process, gone;

	open_test(&test, *state);
	process = start_process(&test);
	gone = process;
	strcpy(gone.instance, NOBODY);
	tell(&test, &gone, MSE_EVENT_LOGIN, "s1", NULL);
	tell(&test, &process, MSE_EVENT_LOGIN, "s2", NULL);
	settle(&test);
	assert_lost(&test, 1);
	mse_appender_free(&process.appender);
	close_test(&test);
}

static void test_no_promise(void **state)
{
	struct derive_test test;
	struct process process;

	open_test(&test, *state);
	process = start_process(&test);
	process.instance[0] = '\0';
	tell(&test, &process, MSE_EVENT_LOGIN, "s1", NULL);
	mse_appender_free(&process.appender);
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* Behind a seal: its Logout may stand before it. */
static void test_late_login(void **state)
{
	static const char text[] = "\x1e{\"id\":\"" NOBODY "\","
		"\"type\":\"Login\",\"time\":\"2026-11-24T10:00:00.000+00:00\","
		"\"slot\":1,\"instance\":\"" NOBODY "\","
		"\"data\":{\"vnd.mailhook.session\":\"s1\"},\"late\":true}\n";
	struct derive_test test;

	open_test(&test, *state);
	journal_test_put(test.journal, "journal", text, sizeof(text) - 1);
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* Hibernated sessions */

struct connection {
	int fds[2];
	char name[128];
};

static void read_boot_id(char boot_id[MSE_UUID_SIZE])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%36s", boot_id), 1);
	fclose(file);
}

static void name_connection(struct connection *connection,
			    const char *other_boot, int64_t other_netns)
{
	char boot_id[MSE_UUID_SIZE];
	struct stat socket, netns;

	read_boot_id(boot_id);
	assert_int_equal(fstat(connection->fds[0], &socket), 0);
	assert_int_equal(stat("/proc/self/ns/net", &netns), 0);
	snprintf(connection->name, sizeof(connection->name),
		 "%s:%" PRIu64 ":%" PRIu64,
		 other_boot != NULL ? other_boot : boot_id,
		 (uint64_t)netns.st_ino + (uint64_t)other_netns,
		 (uint64_t)socket.st_ino);
}

static void open_connection(struct connection *connection, int domain)
{
	if (domain == AF_UNIX) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
					    connection->fds), 0);
	} else {
		/* Listening: that is in the list, too. */
		connection->fds[0] = socket(domain, SOCK_STREAM, 0);
		connection->fds[1] = dup(connection->fds[0]);
		assert_true(connection->fds[0] >= 0);
		assert_int_equal(listen(connection->fds[0], 1), 0);
	}
	name_connection(connection, NULL, 0);
}

static void close_connection(struct connection *connection)
{
	close(connection->fds[0]);
	close(connection->fds[1]);
}

/* Logged in, and asleep in imap-hibernate's hands. */
static void hibernate(struct derive_test *test, const char *session,
		      const char *socket)
{
	struct process process = start_process(test);

	tell(test, &process, MSE_EVENT_LOGIN, session, NULL);
	tell(test, &process, MSE_EVENT_FACT_HIBERNATED, session, socket);
	mse_appender_free(&process.appender);
	settle(test);
}

static void ends_while_hibernated(struct journal_test *journal, int domain)
{
	struct connection connection, other;
	struct derive_test test;
	char text[4096];

	open_test(&test, journal);
	open_connection(&connection, domain);
	open_connection(&other, domain);
	hibernate(&test, "s1", connection.name);
	hibernate(&test, "s2", other.name);
	restart(&test);
	settle(&test);
	assert_lost(&test, 0);
	close_connection(&connection);
	settle(&test);
	assert_int_equal(count_lost(&test, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "\"vnd.mailhook.session\":\"s1\""));
	restart(&test);
	settle(&test);
	assert_lost(&test, 1);
	close_connection(&other);
	settle(&test);
	assert_lost(&test, 2);
	close_test(&test);
}

static void test_hibernated_unix(void **state)
{
	ends_while_hibernated(*state, AF_UNIX);
}

static void test_hibernated_tcp(void **state)
{
	ends_while_hibernated(*state, AF_INET);
}

/* Back in a process it ends there, in whatever way. */
static void test_resumed(void **state)
{
	struct connection connection;
	struct derive_test test;
	struct process process;

	open_test(&test, *state);
	open_connection(&connection, AF_UNIX);
	hibernate(&test, "s1", connection.name);
	hibernate(&test, "s2", connection.name);
	process = start_process(&test);
	tell(&test, &process, MSE_EVENT_FACT_RESUMED, "s1", NULL);
	tell(&test, &process, MSE_EVENT_FACT_RESUMED, "s2", NULL);
	settle(&test);
	close_connection(&connection);
	settle(&test);
	assert_lost(&test, 0);
	tell(&test, &process, MSE_EVENT_LOGOUT, "s1", NULL);
	mse_appender_free(&process.appender);
	settle(&test);
	assert_lost(&test, 1);
	close_test(&test);
}

/* What cannot be seen is not lost. After a week it is forgotten. */
static void test_unseen(void **state)
{
	struct connection connection;
	struct derive_test test;

	open_test(&test, *state);
	open_connection(&connection, AF_UNIX);
	name_connection(&connection, NULL, 1);
	hibernate(&test, "s1", connection.name);
	hibernate(&test, "s2", NULL);
	hibernate(&test, "s3", "nonsense");
	close_connection(&connection);
	settle(&test);
	mse_clock_fake_advance(&test.journal->clock, 6 * DAY_MS);
	settle(&test);
	assert_lost(&test, 0);
	mse_clock_fake_advance(&test.journal->clock, 2 * DAY_MS);
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* Its number can be another connection's by now. */
static void test_other_boot(void **state)
{
	struct connection connection;
	struct derive_test test;

	open_test(&test, *state);
	open_connection(&connection, AF_UNIX);
	name_connection(&connection, NOBODY, 0);
	hibernate(&test, "s1", connection.name);
	assert_lost(&test, 1);
	close_connection(&connection);
	close_test(&test);
}

/* A new presence file knows nothing of those who hold the old one. */
static void test_new_presence(void **state)
{
	struct journal_test *journal = *state;
	struct derive_test test;
	struct process process;

	open_test(&test, journal);
	process = start_process(&test);
	tell(&test, &process, MSE_EVENT_LOGIN, "s1", NULL);
	settle(&test);
	mse_derive_free(&test.derive);
	mse_ledger_worker_dispatch(test.worker);
	journal_test_close(journal);
	assert_int_equal(unlink(journal_test_path(journal, "presence")), 0);
	journal_test_open(journal);
	open_derive(&test);
	settle(&test);
	assert_lost(&test, 0);
	tell(&test, &process, MSE_EVENT_LOGOUT, "s1", NULL);
	mse_appender_free(&process.appender);
	settle(&test);
	assert_lost(&test, 0);
	close_test(&test);
}

/* A machine stops with more sessions than one look takes. */
static void test_many(void **state)
{
	struct derive_test test;
	struct process process;
	char session[16];
	unsigned int i;

	open_test(&test, *state);
	process = start_process(&test);
	for (i = 0; i < 2500; i++) {
		snprintf(session, sizeof(session), "s%u", i);
		tell(&test, &process, MSE_EVENT_LOGIN, session, NULL);
	}
	mse_appender_free(&process.appender);
	for (i = 0; i < 3; i++) {
		run_once(&test);
		restart(&test);
	}
	settle(&test);
	settle(&test);
	assert_lost(&test, 2500);
	close_test(&test);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						   journal_test_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_killed),
		TEST(test_logout_before_death),
		TEST(test_logout_unread),
		TEST(test_crash_before_commit),
		TEST(test_slot_taken),
		TEST(test_no_promise),
		TEST(test_late_login),
		TEST(test_hibernated_unix),
		TEST(test_hibernated_tcp),
		TEST(test_resumed),
		TEST(test_unseen),
		TEST(test_other_boot),
		TEST(test_new_presence),
		TEST(test_many),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
