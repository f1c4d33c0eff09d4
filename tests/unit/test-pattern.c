/* Name patterns and subscriptions: what passes and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/pattern.h"
#include "event/subscription.h"

static void test_match(void **state)
{
	static const struct {
		const char *patterns[4];
		enum mse_patterns_flags flags;
		const char *name;
		bool expected;
	} rows[] = {
		{ { NULL }, 0, "any", true },
		{ { NULL }, 0, "", true },
		{ { "b", "a", "c" }, 0, "a", true },
		{ { "b", "a", "c" }, 0, "d", false },
		{ { "a" }, 0, "A", false },
		{ { "a" }, 0, "", false },
		{ { "!a" }, 0, "a", false },
		{ { "!a" }, 0, "b", true },
		{ { "a*", "!ab" }, 0, "ab", false },
		{ { "!ab", "a*" }, 0, "ab", false },
		{ { "a*", "!ab" }, 0, "ac", true },
		{ { "a*", "!*@x" }, 0, "a@x", false },
		{ { "*" }, 0, "", true },
		{ { "*" }, 0, "a/b", true },
		{ { "*@example.com" }, 0, "joe@example.com", true },
		{ { "*@example.com" }, 0, "joe@example.com.org", false },
		{ { "*@example.com" }, 0, "@example.com", true },
		{ { "*@example.com" }, 0, "a@b@example.com", true },
		{ { "*@example.com" }, 0, "a@example.com@b", false },
		{ { "*@example.com" }, 0, "example.com", false },
		{ { "*@b", "*@a", "*@c" }, 0, "x@c", true },
		{ { "*@b", "*@a", "!*@c" }, 0, "x@c", false },
		{ { "*@a", "!joe@a" }, 0, "joe@a", false },
		{ { "*@" }, 0, "a@", true },
		{ { "*@" }, 0, "a@b", false },
		{ { "*@b@c" }, 0, "a@b@c", true },
		{ { "*@b?" }, 0, "a@bc", true },
		{ { "*@a" }, MSE_PATTERNS_MAILBOX, "x@a", true },
		{ { "a*b*c" }, 0, "abbcbc", true },
		{ { "a*b*c" }, 0, "abbcb", false },
		{ { "a?c" }, 0, "abc", true },
		{ { "a?c" }, 0, "ac", false },
		{ { "a?c" }, 0, "a\xc3\xa9" "c", true },
		{ { "a??c" }, 0, "a\xc3\xa9" "c", false },
		{ { "*?" }, 0, "", false },
		{ { "INBOX" }, 0, "inbox", false },
		{ { "inbox" }, MSE_PATTERNS_MAILBOX, "INBOX", true },
		{ { "INBOX" }, MSE_PATTERNS_MAILBOX, "Inbox", true },
		{ { "!inbox" }, MSE_PATTERNS_MAILBOX, "INBOX", false },
		{ { "Inbox*" }, MSE_PATTERNS_MAILBOX, "INBOX", true },
		{ { "inbox/*" }, MSE_PATTERNS_MAILBOX, "INBOX/a", false },
		{ { "INBOX/a" }, MSE_PATTERNS_MAILBOX, "inbox/a", false },
		{ { "INBOX" }, MSE_PATTERNS_MAILBOX, "INBOX2", false },
		{ { "Work" }, MSE_PATTERNS_MAILBOX, "work", false },
	};
	struct mse_patterns *patterns;
	size_t i, count, listed;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (count = 0; rows[i].patterns[count] != NULL;)
			count++;
		patterns = mse_patterns_new(rows[i].patterns, count,
					    rows[i].flags);
		assert_non_null(patterns);
		if (mse_patterns_match(patterns, rows[i].name) !=
		    rows[i].expected)
			fail_msg("row %zu", i);
		if (count > 0 &&
		    strcmp(mse_patterns_list(patterns, &listed)[0],
			   rows[i].patterns[0]) != 0)
			fail_msg("row %zu: not listed as given", i);
		mse_patterns_free(&patterns);
		assert_null(patterns);
	}
}

/* A matcher that recurses at each star would not come back. */
static void test_no_explosion(void **state)
{
	const char *list[] = { "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b" };
	struct mse_patterns *patterns = mse_patterns_new(list, 1, 0);
	char name[2001];
	clock_t start = clock();

	memset(name, 'a', 2000);
	name[2000] = '\0';
	assert_false(mse_patterns_match(patterns, name));
	assert_true(clock() - start < CLOCKS_PER_SEC);
	mse_patterns_free(&patterns);
}

static void test_subscription(void **state)
{
	static const struct {
		mse_event_types_t types;
		const char *user, *mailbox;
		struct mse_event_route route;
		bool expected;
	} rows[] = {
		{ MSE_EVENT_TYPES_ALL, "joe", "*",
		  { MSE_EVENT_LOGIN, "joe", NULL, NULL }, true },
		{ MSE_EVENT_TYPES_ALL, "joe", "*",
		  { MSE_EVENT_LOGIN, "ann", NULL, NULL }, false },
		{ MSE_EVENT_TYPES_ALL, "joe", "*",
		  { MSE_EVENT_LOGIN, NULL, NULL, NULL }, false },
		{ MSE_EVENT_BIT(MSE_EVENT_LOGOUT), "*", "*",
		  { MSE_EVENT_LOGIN, "joe", NULL, NULL }, false },
		{ MSE_EVENT_TYPES_ALL, "*", "Work",
		  { MSE_EVENT_LOGIN, "joe", NULL, NULL }, true },
		{ MSE_EVENT_TYPES_ALL, "*", "Work",
		  { MSE_EVENT_MESSAGE_NEW, "joe", "INBOX", NULL }, false },
		{ MSE_EVENT_TYPES_ALL, "*", "Work",
		  { MSE_EVENT_MAILBOX_RENAME, "joe", "New", "Work" }, true },
		{ MSE_EVENT_TYPES_ALL, "*", "Work",
		  { MSE_EVENT_MAILBOX_RENAME, "joe", "Work", "Old" }, true },
		{ MSE_EVENT_TYPES_ALL, "*", "Work",
		  { MSE_EVENT_MAILBOX_RENAME, "joe", "New", "Old" }, false },
		{ 0, "nobody", "None",
		  { MSE_EVENT_GAP, "joe", "INBOX", NULL }, true },
		{ 0, "joe", "INBOX",
		  { MSE_EVENT_RESYNC, "joe", "INBOX", NULL }, true },
		{ 0, "joe", "Work",
		  { MSE_EVENT_RESYNC, "joe", NULL, NULL }, true },
		{ 0, "joe", "Work",
		  { MSE_EVENT_RESYNC, "joe", "New", "Work" }, true },
		{ 0, "joe", "Work",
		  { MSE_EVENT_RESYNC, "joe", "INBOX", NULL }, false },
		{ 0, "ann", "*",
		  { MSE_EVENT_RESYNC, "joe", "INBOX", NULL }, false },
		{ UINT32_MAX, "*", "*",
		  { MSE_EVENT_UNKNOWN, "joe", NULL, NULL }, false },
	};
	struct mse_subscription subscription;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		subscription.types = rows[i].types;
		subscription.users = mse_patterns_new(&rows[i].user, 1, 0);
		subscription.mailboxes = mse_patterns_new(
			&rows[i].mailbox, 1, MSE_PATTERNS_MAILBOX);
		if (mse_subscription_matches(&subscription, &rows[i].route) !=
		    rows[i].expected)
			fail_msg("row %zu", i);
		mse_patterns_free(&subscription.users);
		mse_patterns_free(&subscription.mailboxes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_no_explosion),
		cmocka_unit_test(test_subscription),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
