/* The interest file: written and read back, and everything wrong with it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "test-journal-common.h"

#define EVERYTHING (MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS)

static int open_dir(const struct journal_test *test)
{
	int fd = open(test->dir, O_RDONLY | O_DIRECTORY);

	assert_true(fd >= 0);
	return fd;
}

static void test_absent(void **state)
{
	int dir_fd = open_dir(*state);
	struct mse_interest *interest;
	struct mse_error error;

	assert_int_equal(mse_interest_read(dir_fd, &interest, &error), 0);
	assert_int_equal(interest->count, 0);
	assert_int_equal(interest->types, 0);
	assert_non_null(interest->expire_services);
	mse_interest_free(&interest);
	assert_null(interest);
	mse_interest_free(&interest);
	close(dir_fd);
}

static ino_t inode_after_write(int dir_fd, const struct mse_interest *interest)
{
	struct mse_error error;
	struct stat st;

	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	assert_int_equal(fstatat(dir_fd, "interest", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	return st.st_ino;
}

/* A daemon that starts again leaves it to those who have it open, unless it
   says something else or has other rights. */
static void test_unchanged(void **state)
{
	struct mse_interest *interest = mse_interest_new(true);
	int dir_fd = open_dir(*state), held;
	ino_t inode;

	inode = inode_after_write(dir_fd, interest);
	/* Held, so that its number is not given to its successor. */
	held = openat(dir_fd, "interest", O_RDONLY);
	assert_true(inode_after_write(dir_fd, interest) == inode);
	interest->flag_events_full = true;
	assert_false(inode_after_write(dir_fd, interest) == inode);
	close(held);

	inode = inode_after_write(dir_fd, interest);
	held = openat(dir_fd, "interest", O_RDONLY);
	assert_int_equal(fchmodat(dir_fd, "interest", 0600, 0), 0);
	assert_false(inode_after_write(dir_fd, interest) == inode);
	close(held);
	mse_interest_free(&interest);
	close(dir_fd);
}

static void test_round_trip(void **state)
{
	static const char *const users[] = { "*@example.com", "!x@y", "\xc3\xa9" };
	static const char *const boxes[] = { "INBOX", "a/b \"c\"\\" };
	struct mse_interest *interest = mse_interest_new(true), *back;
	struct mse_event_route route = { .type = MSE_EVENT_LOGIN };
	int dir_fd = open_dir(*state);
	const char *const *list;
	struct mse_error error;
	struct stat st;
	size_t count;

	mse_patterns_free(&interest->subscriptions[0].users);
	mse_patterns_free(&interest->subscriptions[0].mailboxes);
	interest->subscriptions[0].users = mse_patterns_new(users, 3, 0);
	interest->subscriptions[0].mailboxes =
		mse_patterns_new(boxes, 2, MSE_PATTERNS_MAILBOX);
	interest->subscriptions[0].types = MSE_EVENT_BIT(MSE_EVENT_LOGIN) |
		MSE_EVENT_BIT(MSE_EVENT_MAILBOX_UNSUBSCRIBE);
	interest->flag_events_full = true;
	free(interest->expire_services);
	interest->expire_services = calloc(2, sizeof(char *));
	interest->expire_services[0] = strdup("doveadm");
	interest->server_name = strdup("mail.example.com");
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	assert_int_equal(fstatat(dir_fd, "interest", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);

	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
	assert_int_equal(back->count, 1);
	assert_int_equal(back->types, interest->subscriptions[0].types);
	assert_int_equal(back->subscriptions[0].types, back->types);
	assert_true(back->flag_events_full);
	assert_string_equal(back->expire_services[0], "doveadm");
	assert_null(back->expire_services[1]);
	assert_string_equal(back->server_name, "mail.example.com");
	list = mse_patterns_list(back->subscriptions[0].users, &count);
	assert_int_equal(count, 3);
	assert_string_equal(list[1], "!x@y");
	assert_string_equal(list[2], "\xc3\xa9");
	list = mse_patterns_list(back->subscriptions[0].mailboxes, &count);
	assert_int_equal(count, 2);
	assert_string_equal(list[1], boxes[1]);

	route.owner = "a@example.com";
	assert_true(mse_interest_wants(back, &route));
	route.owner = "x@y";
	assert_false(mse_interest_wants(back, &route));
	route.owner = "a@example.com";
	route.type = MSE_EVENT_LOGOUT;
	assert_false(mse_interest_wants(back, &route));
	route.type = MSE_EVENT_GAP;
	assert_true(mse_interest_wants(back, &route));
	mse_interest_free(&interest);
	mse_interest_free(&back);
	close(dir_fd);
}

/* A lost session's Logout needs its Login: of the endpoint's users, and
   whatever its mailboxes are. */
static void test_behind(void **state)
{
	static const char *const users[] = { "joe" }, *const boxes[] = { "Box" };
	struct mse_interest *interest = mse_interest_new(true), *back;
	struct mse_subscription *wanted = &interest->subscriptions[0];
	struct mse_event_route route = { .owner = "joe", .mailbox = "INBOX" };
	int dir_fd = open_dir(*state);
	struct mse_error error;

	mse_patterns_free(&wanted->users);
	mse_patterns_free(&wanted->mailboxes);
	wanted->users = mse_patterns_new(users, 1, 0);
	wanted->mailboxes = mse_patterns_new(boxes, 1, MSE_PATTERNS_MAILBOX);
	wanted->types = MSE_EVENT_BIT(MSE_EVENT_LOGOUT) |
		MSE_EVENT_BIT(MSE_EVENT_QUOTA_WITHIN);
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
	assert_int_equal(back->types, wanted->types |
			 mse_event_types_behind(wanted->types));

	route.type = MSE_EVENT_QUOTA_WITHIN;
	assert_false(mse_interest_wants(back, &route));
	route.type = MSE_EVENT_QUOTA_EXCEED;
	assert_true(mse_interest_wants(back, &route));
	route.type = MSE_EVENT_FACT_QUOTA;
	assert_true(mse_interest_wants(back, &route));
	route.type = MSE_EVENT_FACT_HIBERNATED;
	assert_true(mse_interest_wants(back, &route));
	route.owner = "jim";
	assert_false(mse_interest_wants(back, &route));
	/* The endpoint's own filter is not touched. */
	assert_false(mse_subscription_matches(wanted, &route));
	mse_interest_free(&interest);
	mse_interest_free(&back);
	close(dir_fd);
}

static void give(struct mse_subscription *subscription,
		 mse_event_types_t types, const char *user,
		 mse_optionals_t optionals, enum mse_content_part part,
		 uint64_t limit)
{
	subscription->types = types;
	subscription->users = mse_patterns_new(&user, user == NULL ? 0 : 1, 0);
	subscription->mailboxes =
		mse_patterns_new(NULL, 0, MSE_PATTERNS_MAILBOX);
	subscription->optionals = optionals;
	subscription->content_part = part;
	subscription->content_limit = limit;
}

/* What those who match ask for together, content by part. */
static void test_wanted(void **state)
{
	enum {
		ENVELOPE = MSE_OPTIONAL_BIT(MSE_OPTIONAL_ENVELOPE),
		CONTENT = MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT),
		UNSEEN = MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN)
	};
	struct mse_event_route route = {
		.type = MSE_EVENT_MESSAGE_NEW, .owner = "a", .mailbox = "INBOX"
	};
	mse_event_types_t new = MSE_EVENT_BIT(MSE_EVENT_MESSAGE_NEW);
	struct mse_subscription given[5];
	struct mse_interest interest = { .subscriptions = given, .count = 5 };
	struct mse_interest *back;
	struct mse_wanted wanted;
	struct mse_error error;
	int dir_fd = open_dir(*state);
	char *none = NULL;
	size_t i;

	interest.expire_services = &none;
	give(&given[0], new, NULL, 0, 0, 9);
	give(&given[1], new, "a", ENVELOPE | CONTENT, MSE_CONTENT_MESSAGE, 10);
	give(&given[2], new, "a", CONTENT, MSE_CONTENT_MESSAGE, 30);
	give(&given[3], new, "a", CONTENT, MSE_CONTENT_HEADERSBODY, 20);
	give(&given[4], MSE_EVENT_BIT(MSE_EVENT_MESSAGE_APPEND), NULL,
	     UNSEEN | CONTENT, MSE_CONTENT_BODY, MSE_CONTENT_MAX);
	assert_int_equal(mse_interest_write(dir_fd, &interest, &error), 0);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
	assert_int_equal(back->optionals, ENVELOPE | CONTENT | UNSEEN);
	mse_interest_wanted(back, &route, &wanted);
	assert_int_equal(wanted.optionals, ENVELOPE | CONTENT);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_MESSAGE], 30);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_HEADERS], 0);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_BODY], 0);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_HEADERSBODY], 20);
	route.owner = "b";
	mse_interest_wanted(back, &route, &wanted);
	assert_int_equal(wanted.optionals, 0);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_MESSAGE], 0);
	route.type = MSE_EVENT_MESSAGE_APPEND;
	mse_interest_wanted(back, &route, &wanted);
	assert_int_equal(wanted.optionals, UNSEEN | CONTENT);
	assert_int_equal(wanted.content_limit[MSE_CONTENT_BODY],
			 MSE_CONTENT_MAX);
	mse_interest_free(&back);
	for (i = 0; i < 5; i++) {
		mse_patterns_free(&given[i].users);
		mse_patterns_free(&given[i].mailboxes);
	}
	close(dir_fd);
}

/* Whatever is wrong, the answer is more events, not fewer. */
static void test_corrupt(void **state)
{
	static const char *const rows[] = {
		"", "\n", "{", "[]", "{}", "null", "\xff\xfe",
		"{\"version\":2,\"flagEvents\":\"simple\",\"expireServices\":[],"
			"\"subscriptions\":[]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[]}",
		"{\"version\":1,\"flagEvents\":1,\"expireServices\":[],"
			"\"subscriptions\":[]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[1],"
			"\"subscriptions\":[]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[],"
			"\"subscriptions\":[1]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[],"
			"\"subscriptions\":[{\"events\":[],\"users\":[]}]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[],"
			"\"subscriptions\":[{\"events\":[],\"users\":[null],"
			"\"mailboxes\":[]}]}",
#define ONE(members) "{\"version\":1,\"flagEvents\":\"simple\"," \
		"\"expireServices\":[],\"subscriptions\":[{\"events\":[]," \
		"\"users\":[],\"mailboxes\":[]," members "}]}"
		ONE("\"parameters\":1"),
		ONE("\"parameters\":[1]"),
		ONE("\"parameters\":[\"messageContent\"]"),
		ONE("\"parameters\":[\"messageContent\"],"
		    "\"contentPart\":\"body\",\"contentLimit\":0"),
		ONE("\"parameters\":[\"messageContent\"],"
		    "\"contentPart\":7,\"contentLimit\":1"),
	};
	int dir_fd = open_dir(*state);
	struct mse_interest *interest;
	struct mse_error error;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mse_file_replace(dir_fd, "interest", 0640,
						  rows[i], strlen(rows[i]),
						  &error), 0);
		error.text[0] = '\0';
		if (mse_interest_read(dir_fd, &interest, &error) != 1)
			fail_msg("row %zu was taken", i);
		assert_string_not_equal(error.text, "");
		assert_int_equal(interest->types, EVERYTHING);
		assert_int_equal(interest->count, 1);
		assert_int_equal(interest->optionals, 0);
		assert_int_equal(interest->subscriptions[0].optionals, 0);
		mse_interest_free(&interest);
	}
	assert_int_equal(unlinkat(dir_fd, "interest", 0), 0);
	assert_int_equal(mkdirat(dir_fd, "interest", 0700), 0);
	assert_int_equal(mse_interest_read(dir_fd, &interest, &error), 1);
	assert_int_equal(interest->types, EVERYTHING);
	mse_interest_free(&interest);
	close(dir_fd);
}

/* A newer daemon may name what we do not know, and want more of it. */
static void test_unknown_names(void **state)
{
	static const char text[] =
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[],"
		"\"new\":1,\"subscriptions\":[{\"events\":[\"Login\",\"Later\","
		"\"vnd.mailhook.Gap\"],\"users\":[],\"mailboxes\":[],\"x\":2,"
		"\"parameters\":[\"unseen\",\"later\",\"messageContent\"],"
		"\"contentPart\":\"attachments\",\"contentLimit\":5},"
		"{\"events\":[],\"users\":[],\"mailboxes\":[],"
		"\"parameters\":[\"messageContent\"],"
		"\"contentPart\":\"body\",\"contentLimit\":99999999999}]}";
	int dir_fd = open_dir(*state);
	struct mse_interest *interest;
	struct mse_error error;

	assert_int_equal(mse_file_replace(dir_fd, "interest", 0640, text,
					  strlen(text), &error), 0);
	assert_int_equal(mse_interest_read(dir_fd, &interest, &error), 0);
	assert_int_equal(interest->types, MSE_EVENT_BIT(MSE_EVENT_LOGIN));
	assert_int_equal(interest->subscriptions[0].optionals,
			 MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN));
	assert_int_equal(interest->subscriptions[1].content_limit,
			 MSE_CONTENT_MAX);
	mse_interest_free(&interest);
	close(dir_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define D(name) cmocka_unit_test_setup_teardown(name, journal_test_setup_dir, \
						journal_test_teardown)
		D(test_absent),
		D(test_round_trip), D(test_unchanged),
		D(test_behind),
		D(test_corrupt),
		D(test_wanted),
		D(test_unknown_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
