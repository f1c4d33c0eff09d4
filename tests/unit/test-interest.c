/* The interest file: written and read back, and everything wrong with it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <json-c/json.h>
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
		ONE("\"parameters\":[\"messageContent\"],"
		    "\"contentPart\":\"body\",\"contentLimit\":-1"),
		ONE("\"parameters\":[\"messageContent\"],"
		    "\"contentPart\":\"body\",\"contentLimit\":1.5"),
		/* Twice, in another order, behind the end, unfinished. */
		ONE("\"users\":[\"nobody\"]"),
		ONE("\"events\":[]"),
		ONE("\"userList\":{\"number\":1,\"takes\":true,"
		    "\"patterns\":[]}"),
		ONE("\"x\":1") "{}",
		ONE("\"x\":[1}"),
		ONE("\"x\":\"\\u12\""),
		"{\"version\":1,\"version\":1,\"flagEvents\":\"simple\","
			"\"expireServices\":[],\"subscriptions\":[]}",
		"{\"version\":1,\"flagEvents\":\"simple\",\"expireServices\":[],"
			"\"subscriptions\":[{\"events\":[\"Log\\u0069n\"],"
			"\"users\":[],\"mailboxes\":[]}]}",
		"{\"version\":18446744073709551617,\"flagEvents\":\"simple\","
			"\"expireServices\":[],\"subscriptions\":[]}",
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

/* json-c, which wrote it, and writes it in another way: with space, with
   escapes that need not be, with what is unknown. */
static void test_other_hands(void **state)
{
	static const char text[] =
		"{\"new\":{\"a\":[1,-2.5e3,null,{\"b\":[[]]}]},"
		"\"subscriptions\":[{\"mailboxes\":[\"a/b\",\"\\u00e9\\\"\"],"
		"\"contentLimit\":7,\"contentPart\":\"body\",\"parameters\":"
		"[\"messageContent\",\"unseen\"],\"users\":[\"!joe\",\"j*\"],"
		"\"events\":[\"Logout\",\"Login\",\"Login\"]}],"
		"\"expireServices\":[\"doveadm\",\"a/b\"],"
		"\"flagEvents\":\"full\",\"serverName\":\"m\\u0061il/\","
		"\"version\":1}";
	static const int styles[] = {
		JSON_C_TO_STRING_PLAIN, JSON_C_TO_STRING_SPACED,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_PRETTY_TAB,
		JSON_C_TO_STRING_NOSLASHESCAPE
	};
	struct json_object *document = json_tokener_parse(text);
	int dir_fd = open_dir(*state);
	struct mse_subscription *one;
	struct mse_interest *interest;
	struct mse_error error;
	const char *const *list;
	const char *written;
	size_t i, count;

	assert_non_null(document);
	for (i = 0; i <= sizeof(styles) / sizeof(styles[0]); i++) {
		written = i == 0 ? text : json_object_to_json_string_ext(
			document, styles[i - 1]);
		assert_int_equal(mse_file_replace(dir_fd, "interest", 0640,
						  written, strlen(written),
						  &error), 0);
		assert_int_equal(mse_interest_read(dir_fd, &interest, &error),
				 0);
		assert_int_equal(interest->count, 1);
		assert_int_equal(interest->types,
				 MSE_EVENT_BIT(MSE_EVENT_LOGIN) |
				 MSE_EVENT_BIT(MSE_EVENT_LOGOUT));
		assert_true(interest->flag_events_full);
		assert_string_equal(interest->server_name, "mail/");
		assert_string_equal(interest->expire_services[0], "doveadm");
		assert_string_equal(interest->expire_services[1], "a/b");
		assert_null(interest->expire_services[2]);
		one = &interest->subscriptions[0];
		assert_int_equal(one->optionals,
				 MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN) |
				 MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT));
		assert_int_equal(one->content_part, MSE_CONTENT_BODY);
		assert_int_equal(one->content_limit, 7);
		list = mse_patterns_list(one->users, &count);
		assert_int_equal(count, 2);
		assert_string_equal(list[0], "!joe");
		list = mse_patterns_list(one->mailboxes, &count);
		assert_int_equal(count, 2);
		assert_string_equal(list[0], "a/b");
		assert_string_equal(list[1], "\xc3\xa9\"");
		mse_interest_free(&interest);
	}
	json_object_put(document);
	close(dir_fd);
}

/* Names that stand apart: enough of them to. */
enum { APART = 300 };
static const char *const odd_names[] = {
	"quo\"te", "back\\slash", "back\\\"", "tab\there", "line\nfeed", "\x01",
	"\xc3\xa9", "\xff", "a", "ab", "a\"", "a!", "a]", "a[", "a\\", "!",
	"*@domain.example", "*@d", "*@", "u@d@e", "*@quo\"te", "@d"
};
static const char *const odd_wild[] = {
	"", "z*", "?", "*@*", "*@a@b", "*x@domain.example"
};

static const char *pick(const char *const *names, size_t count)
{
	return names[(size_t)random() % count];
}

/* One of few, so that lists meet. */
static const char *any_name(char name[static 64])
{
	if (random() % 4 == 0)
		return pick(odd_names, sizeof(odd_names) / sizeof(char *));
	(void)snprintf(name, 64, "user%ld@%ld.example", random() % 400,
		       random() % 3);
	return name;
}

static struct mse_patterns *random_list(void)
{
	size_t i, count = random() % 3 == 0 ? 0 : (size_t)random() % APART;
	char *list[APART], name[64];
	struct mse_patterns *patterns;
	const char *text;

	for (i = 0; i < count; i++) {
		text = random() % 50 != 0 ? any_name(name) :
			pick(odd_wild, sizeof(odd_wild) / sizeof(char *));
		list[i] = malloc(strlen(text) + 2);
		(void)sprintf(list[i], "%s%s", random() % 4 == 0 ? "!" : "",
			      text);
	}
	patterns = mse_patterns_new((const char *const *)list, count, 0);
	while (i > 0)
		free(list[--i]);
	return patterns;
}

static struct mse_interest *random_interest(size_t count)
{
	struct mse_interest *interest = mse_interest_new(false);
	size_t i;

	interest->subscriptions = calloc(count,
					 sizeof(*interest->subscriptions));
	for (i = 0; i < count; i++) {
		struct mse_subscription *one =
			&interest->subscriptions[interest->count++];

		one->types = MSE_EVENT_BIT(MSE_EVENT_MESSAGE_NEW);
		one->users = random_list();
		one->mailboxes = mse_patterns_new(NULL, 0,
						  MSE_PATTERNS_MAILBOX);
		interest->types |= one->types;
	}
	return interest;
}

static void same_answers(const struct mse_interest *interest,
			 const struct mse_interest *back, const char *name)
{
	size_t i;

	assert_int_equal(back->count, interest->count);
	for (i = 0; i < interest->count; i++) {
		if (mse_patterns_match(back->subscriptions[i].users, name) !=
		    mse_patterns_match(interest->subscriptions[i].users, name))
			fail_msg("list %zu says another thing of \"%s\"", i,
				 name);
	}
}

/* Whatever stands apart says what the lists say. */
static void test_names_apart(void **state)
{
	int dir_fd = open_dir(*state), round;
	struct mse_interest *interest, *back;
	struct mse_error error;
	unsigned int apart = 0;
	char name[64];
	size_t i;

	srandom(5423);
	for (round = 0; round < 40; round++) {
		interest = random_interest(1 + (size_t)random() % 5);
		assert_int_equal(mse_interest_write(dir_fd, interest, &error),
				 0);
		assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
		apart += back->names != NULL;
		same_answers(interest, back, "");
		for (i = 0; i < sizeof(odd_names) / sizeof(char *); i++)
			same_answers(interest, back, odd_names[i]);
		for (i = 0; i < 300; i++)
			same_answers(interest, back, any_name(name));
		/* Said from memory. */
		same_answers(interest, back, "user1@0.example");
		same_answers(interest, back, "user1@0.example");
		mse_interest_free(&back);
		mse_interest_free(&interest);
	}
	assert_true(apart > 20 && apart < 40);
	close(dir_fd);
}

/* So many names, of which number 7 is so long. */
enum { MANY = 2000 };
static struct mse_interest *write_some_names(int dir_fd, size_t count,
					     size_t long_name)
{
	struct mse_interest *interest = mse_interest_new(true);
	struct mse_subscription *one = &interest->subscriptions[0];
	char *list[MANY];
	struct mse_error error;
	size_t i;

	for (i = 0; i < count; i++) {
		list[i] = calloc(1, i == 7 && long_name > 64 ? long_name + 1 :
				 64);
		if (i == 7 && long_name > 0)
			memset(list[i], 'm', long_name);
		else
			(void)snprintf(list[i], 64, "user%zu@example.org", i);
	}
	mse_patterns_free(&one->users);
	one->users = mse_patterns_new((const char *const *)list, count, 0);
	for (i = 0; i < count; i++)
		free(list[i]);
	assert_int_equal(mse_interest_write(dir_fd, interest, &error), 0);
	return interest;
}

static struct mse_interest *write_names(int dir_fd, size_t long_name)
{
	return write_some_names(dir_fd, 200, long_name);
}

static bool wants(const struct mse_interest *interest, const char *owner)
{
	const struct mse_event_route route = {
		.type = MSE_EVENT_MESSAGE_NEW, .owner = owner,
		.mailbox = "INBOX"
	};

	return mse_interest_wants(interest, &route);
}

static void test_long_names(void **state)
{
	static const size_t lengths[] = { 2000, 5000, 70000, 600000, 1100000 };
	int dir_fd = open_dir(*state);
	struct mse_interest *interest, *back;
	struct mse_error error;
	char *name;
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		interest = write_names(dir_fd, lengths[i]);
		name = calloc(1, lengths[i] + 1);
		memset(name, 'm', lengths[i]);
		assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
		assert_non_null(back->names);
		assert_true(wants(back, name));
		assert_true(wants(back, "user8@example.org"));
		assert_true(wants(back, "user99@example.org"));
		/* Beyond a million octets who looks there takes everybody. */
		if (lengths[i] < 1000000) {
			assert_false(wants(back, "user7@example.org"));
			name[lengths[i] - 1] = 'n';
			assert_false(wants(back, name));
			name[lengths[i] - 1] = '\0';
			assert_false(wants(back, name));
		}
		mse_interest_free(&back);
		mse_interest_free(&interest);
		free(name);
	}
	close(dir_fd);
}

/* Who has read the old file stays with it, whole; who finds it shortened takes
   everybody. */
static void test_names_replaced(void **state)
{
	int dir_fd = open_dir(*state), fd;
	struct mse_interest *interest, *old, *fresh;
	struct mse_error error;
	struct stat st;

	interest = write_some_names(dir_fd, MANY, 0);
	assert_int_equal(mse_interest_read(dir_fd, &old, &error), 0);
	fd = openat(dir_fd, "interest", O_WRONLY);
	mse_interest_free(&interest);
	interest = write_some_names(dir_fd, MANY, 100);
	assert_int_equal(mse_interest_read(dir_fd, &fresh, &error), 0);
	assert_true(wants(old, "user7@example.org"));
	assert_false(wants(fresh, "user7@example.org"));
	assert_false(wants(old, "user2000@example.org"));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
	assert_true(wants(old, "user99x@example.org"));
	/* What was looked up before it was shortened. */
	assert_false(wants(old, "user2000@example.org"));
	close(fd);
	mse_interest_free(&old);
	mse_interest_free(&fresh);
	mse_interest_free(&interest);
	close(dir_fd);
}

static void replace(int dir_fd, const void *data, size_t len)
{
	struct mse_error error;

	assert_int_equal(mse_file_replace(dir_fd, "interest", 0640, data, len,
					  &error), 0);
}

/* A file that is cut or longer than its head says is damaged as a whole; in a
   line that is none everybody is taken. */
static void test_names_damaged(void **state)
{
	int dir_fd = open_dir(*state), ret;
	struct mse_interest *interest, *back;
	struct mse_error error;
	struct mse_buf buf;
	char *names, *line;
	size_t len, i;

	interest = write_names(dir_fd, 0);
	mse_interest_free(&interest);
	mse_buf_init(&buf, 1024 * 1024);
	assert_int_equal(mse_file_read(dir_fd, "interest", &buf, &error), 0);
	names = strchr(buf.data, '\n') + 1;
	for (len = 0; len < buf.len; len += len < 500 ? 1 : 61) {
		replace(dir_fd, buf.data, len);
		assert_int_equal(mse_interest_read(dir_fd, &back, &error), 1);
		assert_true(wants(back, "user201@example.org"));
		mse_interest_free(&back);
	}
	mse_buf_append_char(&buf, '\n');
	replace(dir_fd, buf.data, buf.len);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 1);
	mse_interest_free(&back);
	mse_buf_truncate(&buf, buf.len - 1);

	/* Octets of any line: each answer is one, and none is a crash. */
	names = strchr(buf.data, '\n') + 1;
	for (i = 0; i < (size_t)(buf.data + buf.len - names); i += 3) {
		char was = names[i];

		names[i] = "\n\"\\\0,-[9"[i % 8];
		replace(dir_fd, buf.data, buf.len);
		ret = mse_interest_read(dir_fd, &back, &error);
		assert_true(ret == 0);
		(void)wants(back, "user7@example.org");
		(void)wants(back, "user199@example.org");
		(void)wants(back, "a");
		mse_interest_free(&back);
		names[i] = was;
	}
	/* Zeros, as some file systems show after a power cut. */
	memset(names, 0, (size_t)(buf.data + buf.len - 3 - names));
	replace(dir_fd, buf.data, buf.len);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
	assert_true(wants(back, "user201@example.org"));
	mse_interest_free(&back);
	/* A list that there is not. */
	memset(names, ' ', (size_t)(buf.data + buf.len - 3 - names));
	line = buf.data + buf.len - 3 - sizeof("\"a\":[2]\n") + 1;
	memcpy(line, "\"a\":[2]\n", sizeof("\"a\":[2]\n") - 1);
	line[-1] = '\n';
	names[0] = '"';
	memcpy(names + 1, "0\":[1],", 7);
	replace(dir_fd, buf.data, buf.len);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 0);
	assert_true(wants(back, "a"));
	assert_true(wants(back, "0"));
	assert_false(wants(back, "00"));
	mse_interest_free(&back);
	mse_buf_clear(&buf);
	close(dir_fd);
}

/* Who knows nothing of names apart finds one JSON document, in which nobody is
   left out. */
static void test_names_for_others(void **state)
{
	int dir_fd = open_dir(*state);
	struct mse_interest *interest = write_names(dir_fd, 0), *back;
	struct json_object *document, *value, *names;
	struct mse_error error;
	struct mse_buf buf;

	mse_buf_init(&buf, 1024 * 1024);
	assert_int_equal(mse_file_read(dir_fd, "interest", &buf, &error), 0);
	document = json_tokener_parse(buf.data);
	assert_non_null(document);
	assert_true(json_object_object_get_ex(document, "names", &names));
	assert_int_equal(json_object_object_length(names), 200);
	assert_true(json_object_object_get_ex(names, "user9@example.org",
					      &value));
	assert_int_equal(json_object_array_length(value), 1);
	assert_true(json_object_object_get_ex(document, "subscriptions",
					      &value));
	value = json_object_array_get_idx(value, 0);
	assert_true(json_object_object_get_ex(value, "users", &value));
	assert_int_equal(json_object_array_length(value), 0);
	/* Written by another hand: its names cannot be looked up. */
	mse_buf_reset(&buf);
	mse_buf_append_str(&buf, json_object_to_json_string(document));
	replace(dir_fd, buf.data, buf.len);
	assert_int_equal(mse_interest_read(dir_fd, &back, &error), 1);
	assert_true(wants(back, "user201@example.org"));
	mse_interest_free(&back);
	mse_interest_free(&interest);
	json_object_put(document);
	mse_buf_clear(&buf);
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
		D(test_unknown_names), D(test_other_hands),
		D(test_names_apart), D(test_long_names),
		D(test_names_replaced), D(test_names_damaged),
		D(test_names_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
