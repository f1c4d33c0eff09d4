/* Quotas: what follows from what, and exactly once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "derive/quota.h"
#include "event/event.h"
#include "test-derive-common.h"

/* Pure: one root's notes, and what follows */

struct step {
	char kind;      /* E exceeds, F a session's first fact, X another one,
			   after an expunge, O another one */
	const char *of; /* E: S, M, SM */
	uint64_t used, limit, messages, max;
	const char *follows; /* C change, S and M within */
};

static void run_steps(const struct step *steps, size_t count)
{
	struct mse_quota_state state, again;
	struct mse_quota_outcome outcome;
	struct mse_quota_note note;
	char text[MSE_QUOTA_STATE_SIZE], follows[8];
	size_t i;

	memset(&state, 0, sizeof(state));
	for (i = 0; i < count; i++) {
		memset(&note, 0, sizeof(note));
		note.is_fact = steps[i].kind != 'E';
		note.freed = steps[i].kind == 'X';
		note.limits_new = steps[i].kind == 'F';
		if (steps[i].of != NULL) {
			note.exceeds_storage = strchr(steps[i].of, 'S') != NULL;
			note.exceeds_messages =
				strchr(steps[i].of, 'M') != NULL;
		}
		note.storage.used = steps[i].used;
		note.storage.limit = steps[i].limit;
		note.messages.used = steps[i].messages;
		note.messages.limit = steps[i].max;
		mse_quota_step(&state, &note, &outcome);
		snprintf(follows, sizeof(follows), "%s%s%s",
			 outcome.change ? "C" : "",
			 outcome.within_storage ? "S" : "",
			 outcome.within_messages ? "M" : "");
		if (strcmp(follows, steps[i].follows) != 0)
			fail_msg("step %zu: \"%s\", not \"%s\"", i, follows,
				 steps[i].follows);
		/* As if the daemon was restarted between any two. */
		mse_quota_state_format(&state, text);
		mse_quota_state_parse(text, &again);
		assert_memory_equal(&state, &again, sizeof(state));
		state = again;
	}
}

#define RUN(steps) run_steps(steps, sizeof(steps) / sizeof((steps)[0]))

static void test_within(void **state)
{
	static const struct step steps[] = {
		{ 'F', NULL, 10, 100, 0, 0, "" },   /* first sight */
		{ 'X', NULL, 5, 100, 0, 0, "" },    /* nothing exceeded */
		{ 'E', "S", 81, 100, 0, 0, "" },
		{ 'E', "S", 81, 100, 0, 0, "" },    /* again: still one latch */
		{ 'F', NULL, 81, 100, 0, 0, "" },   /* a login changes nothing */
		{ 'F', NULL, 90, 100, 0, 0, "" },   /* a smaller one fitted */
		{ 'X', NULL, 85, 100, 0, 0, "S" },
		{ 'X', NULL, 40, 100, 0, 0, "" },   /* once */
		{ 'E', "S", 110, 100, 0, 0, "" },   /* within the grace */
		{ 'X', NULL, 105, 100, 0, 0, "" },  /* still beyond */
		{ 'X', NULL, 100, 100, 0, 0, "" },  /* full */
		{ 'F', NULL, 99, 100, 0, 0, "S" },  /* less than when last seen */
	};

	RUN(steps);
}

static void test_within_of_both(void **state)
{
	static const struct step steps[] = {
		{ 'E', "SM", 100, 100, 5, 5, "" },
		{ 'X', NULL, 100, 100, 4, 5, "M" },
		{ 'X', NULL, 90, 100, 3, 5, "S" },
		{ 'E', "SM", 100, 100, 5, 5, "" },
		{ 'X', NULL, 90, 100, 4, 5, "SM" },
	};

	RUN(steps);
}

static void test_change(void **state)
{
	static const struct step steps[] = {
		{ 'E', "S", 81, 100, 0, 0, "" },    /* before any fact */
		{ 'F', NULL, 81, 100, 0, 0, "" },   /* first sight */
		{ 'F', NULL, 81, 200, 0, 0, "CS" },
		{ 'F', NULL, 81, 200, 0, 0, "" },
		{ 'F', NULL, 81, 200, 7, 500, "C" },
		{ 'E', "M", 81, 200, 500, 500, "" },
		{ 'F', NULL, 81, 100, 500, 500, "C" }, /* another limit */
		{ 'F', NULL, 0, 0, 0, 0, "CM" },    /* unlimited now */
		{ 'F', NULL, 0, 0, 0, 0, "" },
		{ 'F', NULL, 81, 50, 0, 0, "C" },   /* lowered: not exceeded */
		{ 'X', NULL, 40, 50, 0, 0, "" },
		{ 'E', "S", 40, 50, 0, 0, "" },
		{ 'F', NULL, 40, 45, 0, 0, "C" },   /* lowered: no room made */
		{ 'F', NULL, 40, 50, 0, 0, "CS" },
	};

	RUN(steps);
}

/* One begins with new limits while another goes on with the old ones. */
static void test_sessions_side_by_side(void **state)
{
	static const struct step steps[] = {
		{ 'F', NULL, 81, 100, 0, 0, "" },
		{ 'E', "S", 81, 100, 0, 0, "" },
		{ 'F', NULL, 81, 300, 0, 0, "CS" },
		{ 'E', "S", 81, 100, 0, 0, "" },
		{ 'X', NULL, 80, 100, 0, 0, "S" },
		{ 'O', NULL, 80, 100, 0, 0, "" },
		{ 'F', NULL, 80, 300, 0, 0, "" },
	};

	RUN(steps);
}

static void test_state_text(void **state)
{
	static const char *const bad[] = {
		"", "1", "a b c d", "1 2 3/4", "1 x - -", "1 2 3 -", "- - - /",
	};
	struct mse_quota_state parsed, none;
	size_t i;

	memset(&none, 0, sizeof(none));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		mse_quota_state_parse(bad[i], &parsed);
		assert_memory_equal(&parsed, &none, sizeof(none));
	}
	mse_quota_state_parse("18446744073709551615 0 "
			      "18446744073709551615/18446744073709551615 -",
			      &parsed);
	assert_true(parsed.known && parsed.storage.set);
	assert_true(parsed.storage.at.limit == UINT64_MAX);
}

/* With a journal and a ledger */

static void pass(struct derive_test *test)
{
	run_once(test);
	mse_clock_fake_advance(&test->journal->clock, 1000);
}

static void settle(struct derive_test *test)
{
	unsigned int i;

	for (i = 0; i < 40; i++)
		pass(test);
	assert_true(mse_derive_is_idle(test->derive));
}

struct root {
	const char *user, *owner, *root, *session;
	uint64_t used, limit;
};

static void append(struct derive_test *test, enum mse_event_type type,
		   const struct root *root, const char *why)
{
	struct mse_event event;
	struct mse_buf bytes;

	mse_event_init(&event, type, test->journal->clock.wall);
	event.user = root->user;
	event.owner = root->owner;
	mse_event_set_string(&event, MSE_PARAM_URI, "imap://mail.example/");
	mse_event_set_string(&event, MSE_PARAM_USER, root->user);
	mse_event_set_string(&event, MSE_PARAM_SERVICE, "imap");
	mse_event_set_string(&event, MSE_PARAM_CLIENT_IP, "192.0.2.1");
	mse_event_set_string(&event, MSE_PARAM_SESSION, root->session);
	if (strcmp(root->session, "stale") != 0)
		mse_event_set_string(&event, MSE_PARAM_REASON, "limits");
	mse_event_set_string(&event, MSE_PARAM_QUOTA_ROOT, root->root);
	if (root->limit > 0) {
		mse_event_set_number(&event, MSE_PARAM_DISK_QUOTA,
				     root->limit);
		mse_event_set_number(&event, MSE_PARAM_DISK_USED, root->used);
	}
	mse_event_set_string(&event, type == MSE_EVENT_FACT_QUOTA ?
			     MSE_PARAM_CAUSE : MSE_PARAM_QUOTA_RESOURCE, why);
	mse_buf_init(&bytes, 65536);
	mse_event_write(&event, &bytes);
	assert_int_equal(mse_appender_append(test->journal->appender, &bytes,
					     1, MSE_DURABILITY_PROCESS),
			 MSE_APPEND_DONE);
	mse_buf_clear(&bytes);
}

static void exceed(struct derive_test *test, const struct root *root)
{
	append(test, MSE_EVENT_QUOTA_EXCEED, root, "STORAGE");
}

static void fact(struct derive_test *test, const struct root *root,
		 const char *cause)
{
	append(test, MSE_EVENT_FACT_QUOTA, root, cause);
}

/* The types of derived records, first letters in order: "CW". */
static void expect(struct derive_test *test, const char *types, char *last_r,
		   size_t size)
{
	struct mse_journal_reader *reader = journal_test_reader(test->journal);
	struct mse_read_result result;
	struct mse_error error;
	char found[64] = "";
	enum mse_read read;
	size_t len;

	while ((read = mse_journal_reader_next(reader, &result, &error)) !=
	       MSE_READ_END) {
		if (read != MSE_READ_RECORD || result.record.cause == NULL)
			continue;
		len = strlen(found);
		assert_true(len + 1 < sizeof(found));
		found[len] = result.record.type == MSE_EVENT_QUOTA_CHANGE ?
			'C' : result.record.type == MSE_EVENT_QUOTA_WITHIN ?
			'W' : '?';
		found[len + 1] = '\0';
		if (last_r != NULL)
			snprintf(last_r, size, "%.*s",
				 (int)result.record.bytes.len,
				 result.record.bytes.data);
	}
	mse_journal_reader_free(&reader);
	assert_string_equal(found, types);
}

static const struct root full = { "u@x", NULL, "User quota", "s1", 99, 100 };
static const struct root room = { "u@x", NULL, "User quota", "s2", 50, 100 };
static const struct root raised = { "u@x", NULL, "User quota", "s3", 99, 300 };

static const struct root stale = { "u@x", NULL, "User quota", "stale", 90,
	100 };

static void test_derived_carries_what_its_cause_carried(void **state)
{
	struct derive_test test;
	char text[4096];

	open_test(&test, *state);
	exceed(&test, &full);
	fact(&test, &room, "expunge");
	settle(&test);
	expect(&test, "W", text, sizeof(text));
	assert_non_null(strstr(text, ":QuotaWithin\",\"data\":{"));
	assert_non_null(strstr(text, "\"user\":\"u@x\",\"owner\":\"u@x\""));
	assert_non_null(strstr(text, "\"vnd.mailhook.session\":\"s2\""));
	assert_non_null(strstr(text, "\"clientIP\":\"192.0.2.1\""));
	assert_non_null(strstr(text, "\"service\":\"imap\""));
	assert_non_null(strstr(text, "\"diskQuota\":100,\"diskUsed\":50"));
	assert_non_null(strstr(text, "\"vnd.mailhook.cause\":\"expunge\""));
	assert_non_null(strstr(text, "\"vnd.mailhook.quotaRoot\":\"User quota"));
	assert_non_null(strstr(text,
		"\"vnd.mailhook.quotaResource\":\"STORAGE\""));
	assert_null(strstr(text, "vnd.mailhook.reason"));
	close_test(&test);
}

static void test_change_comes_before_within(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	fact(&test, &full, "login");
	exceed(&test, &full);
	fact(&test, &raised, "login");
	settle(&test);
	expect(&test, "CW", NULL, 0);
	fact(&test, &stale, "expunge");
	settle(&test);
	expect(&test, "CW", NULL, 0);
	close_test(&test);
}

/* Owners and roots are latched each for itself; the actor does not count. */
static void test_subjects_are_apart(void **state)
{
	const struct root other_user = { "v@x", NULL, "User quota", "t", 50,
		100 };
	const struct root other_root = { "u@x", NULL, "Archive", "t", 50, 100 };
	const struct root shared = { "v@x", "u@x", "User quota", "t", 50, 100 };
	struct derive_test test;

	open_test(&test, *state);
	exceed(&test, &full);
	fact(&test, &other_user, "expunge");
	fact(&test, &other_root, "expunge");
	settle(&test);
	expect(&test, "", NULL, 0);
	fact(&test, &shared, "expunge");
	settle(&test);
	expect(&test, "W", NULL, 0);
	close_test(&test);
}

/* However the daemon stops, each cause has its effect once. */
static void test_once_whatever_restarts(void **state)
{
	unsigned int passes;

	for (passes = 0; passes < 12; passes++) {
		struct derive_test test;
		unsigned int i;

		if (passes > 0) {
			journal_test_teardown(state);
			journal_test_setup(state);
		}
		open_test(&test, *state);
		fact(&test, &full, "login");
		settle(&test);
		exceed(&test, &full);
		for (i = 0; i < passes / 2; i++)
			pass(&test);
		restart(&test);
		fact(&test, &raised, "login");
		fact(&test, &raised, "expunge");
		for (i = 0; i < passes; i++)
			pass(&test);
		restart(&test);
		settle(&test);
		expect(&test, "CW", NULL, 0);
		restart(&test);
		settle(&test);
		expect(&test, "CW", NULL, 0);
		close_test(&test);
	}
}

/* Appended and synced, but never committed; then nothing but the journal. */
static void test_lost_ledger_repeats_nothing(void **state)
{
	struct derive_test test;

	open_test(&test, *state);
	fact(&test, &full, "login");
	exceed(&test, &full);
	fact(&test, &raised, "expunge");
	settle(&test);
	expect(&test, "CW", NULL, 0);
	close_test(&test);
	open_test(&test, *state);
	settle(&test);
	expect(&test, "CW", NULL, 0);
	exceed(&test, &raised);
	fact(&test, &room, "expunge");
	settle(&test);
	expect(&test, "CWCW", NULL, 0);
	close_test(&test);
}

/* More than one batch, read after a start in two passes. */
static void test_backlog(void **state)
{
	struct root one = full;
	struct derive_test test;
	char user[32];
	unsigned int i;

	open_test(&test, *state);
	settle(&test);
	mse_derive_free(&test.derive);
	mse_ledger_worker_dispatch(test.worker);
	one.user = user;
	for (i = 0; i < 2500; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		exceed(&test, &one);
	}
	one.used = 10;
	for (i = 2497; i < 2500; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		fact(&test, &one, "expunge");
	}
	open_derive(&test);
	settle(&test);
	expect(&test, "WWW", NULL, 0);
	close_test(&test);
}

/* What is read twice after a start is told once. */
static void test_damage_before_facts(void **state)
{
	static const char foreign[] = "\x1e{\"half\":\x1e{}\n";
	struct journal_test *journal = *state;
	struct mse_journal_reader *reader;
	struct mse_read_result result;
	struct mse_error error;
	struct derive_test test;
	unsigned int gaps = 0;
	enum mse_read read;

	open_test(&test, journal);
	mse_derive_free(&test.derive);
	exceed(&test, &full);
	journal_test_put(journal, "journal", foreign, sizeof(foreign) - 1);
	fact(&test, &room, "expunge");
	open_derive(&test);
	settle(&test);
	reader = journal_test_reader(journal);
	while ((read = mse_journal_reader_next(reader, &result, &error)) !=
	       MSE_READ_END)
		gaps += read == MSE_READ_RECORD &&
			result.record.type == MSE_EVENT_GAP;
	mse_journal_reader_free(&reader);
	assert_int_equal(gaps, 1);
	expect(&test, "?W", NULL, 0);
	close_test(&test);
}

static int get_cursor(struct mse_ledger *ledger, void *context,
		      struct mse_error *error_r)
{
	return mse_ledger_get_cursor(ledger, MSE_LEDGER_DERIVE, context,
				     error_r) == 1 ? 0 : -1;
}

/* Facts without an end do not keep the cursor from being committed. */
static void test_commits_under_load(void **state)
{
	struct mse_ledger_cursor cursor;
	struct mse_error error;
	struct derive_test test;
	uint64_t before;
	unsigned int i;

	open_test(&test, *state);
	settle(&test);
	assert_int_equal(mse_ledger_worker_call(test.worker, get_cursor,
						&cursor, &error), 0);
	before = cursor.position.offset;
	for (i = 0; i < 40; i++) {
		fact(&test, &room, "login");
		pass(&test);
	}
	assert_int_equal(mse_ledger_worker_call(test.worker, get_cursor,
						&cursor, &error), 0);
	assert_true(cursor.position.offset > before + 10 * 300);
	close_test(&test);
}

/* Told by no root (a file system, one mailbox's own limit): no latch. */
static void test_exceed_without_a_root(void **state)
{
	struct root none = full;
	struct derive_test test;

	open_test(&test, *state);
	none.root = NULL;
	exceed(&test, &none);
	append(&test, MSE_EVENT_QUOTA_EXCEED, &full, NULL);
	append(&test, MSE_EVENT_QUOTA_EXCEED, &full, "MAILBOX");
	fact(&test, &room, "expunge");
	settle(&test);
	expect(&test, "", NULL, 0);
	close_test(&test);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						   journal_test_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_within),
		cmocka_unit_test(test_within_of_both),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_sessions_side_by_side),
		cmocka_unit_test(test_state_text),
		TEST(test_derived_carries_what_its_cause_carried),
		TEST(test_change_comes_before_within),
		TEST(test_subjects_are_apart),
		TEST(test_once_whatever_restarts),
		TEST(test_lost_ledger_repeats_nothing),
		TEST(test_backlog),
		TEST(test_damage_before_facts),
		TEST(test_commits_under_load),
		TEST(test_exceed_without_a_root),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
