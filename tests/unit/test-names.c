/* The vocabulary, ids, and IMAP URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/imap-url.h"
#include "event/uuid.h"
#include "event/vocabulary.h"

static void test_names(void **state)
{
	unsigned int i;

	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++)
		if (mse_event_type_find(mse_event_type_name(i)) != i)
			fail_msg("type %u", i);
	assert_int_equal(mse_event_type_find("MailboxUnsubscribe"),
			 MSE_EVENT_UNKNOWN);
	assert_int_equal(mse_event_type_find("MailboxUnSubscribe"),
			 MSE_EVENT_MAILBOX_UNSUBSCRIBE);
	assert_int_equal(mse_event_type_find(""), MSE_EVENT_UNKNOWN);
	assert_string_equal(mse_param_name(MSE_PARAM_MAILBOX_ID), "mailboxID");
	assert_int_equal(mse_param_kind(MSE_PARAM_PID), MSE_KIND_NUMBER);
	assert_int_equal(mse_param_kind(MSE_PARAM_TLS), MSE_KIND_BOOL);
}

static void test_optional_names(void **state)
{
	unsigned int i;

	for (i = 0; i < MSE_OPTIONAL_COUNT; i++)
		if (mse_optional_find(mse_optional_name(i)) != i)
			fail_msg("optional %u", i);
	assert_int_equal(mse_optional_find("uri"), MSE_OPTIONAL_COUNT);
	assert_int_equal(mse_optional_find("vnd.mailhook.unseen"),
			 MSE_OPTIONAL_COUNT);
	assert_string_equal(mse_optional_member(MSE_OPTIONAL_HEADERS),
			    "vnd.mailhook.headers");
	for (i = 0; i < MSE_CONTENT_PART_COUNT; i++) {
		if (mse_content_part_find(mse_content_part_name(i)) != i ||
		    (mse_content_part_member(i) == NULL) !=
		    (i >= MSE_CONTENT_MEMBER_COUNT))
			fail_msg("part %u", i);
	}
	assert_int_equal(mse_content_part_find("header"),
			 MSE_CONTENT_PART_COUNT);
	assert_string_equal(mse_header_name(MSE_HEADER_MESSAGE_ID),
			    "messageId");
	assert_string_equal(mse_header_field(MSE_HEADER_MESSAGE_ID),
			    "Message-ID");
}

static void test_groups(void **state)
{
	static const char *const groups[] = { "message", "flags", "quota",
		"access", "mailbox", "subscription" };
	mse_event_types_t all = 0, types;
	size_t i;

	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		types = mse_event_group_types(groups[i]);
		if (types == 0 || (all & types) != 0)
			fail_msg("row %zu: %x", i, types);
		all |= types;
	}
	assert_int_equal(all, MSE_EVENT_TYPES_ALL);
	assert_int_equal(all & MSE_EVENT_TYPES_FACTS, 0);
	assert_int_equal(mse_event_group_types("own"), 0);
	assert_int_equal(mse_event_group_types("fact"), 0);
	assert_int_equal(mse_event_group_types("Message"), 0);
	assert_int_equal(mse_event_group_types("access"),
			 MSE_EVENT_BIT(MSE_EVENT_LOGIN) |
			 MSE_EVENT_BIT(MSE_EVENT_LOGOUT));
}

static void test_facts(void **state)
{
	mse_event_types_t facts = 0;
	unsigned int i;

	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++) {
		if (mse_event_type_group(i) == MSE_GROUP_FACT)
			facts |= MSE_EVENT_BIT(i);
		assert_int_equal(mse_event_type_group(i) == MSE_GROUP_FACT,
				 strncmp(mse_event_type_name(i),
					 "vnd.mailhook.fact.", 18) == 0);
	}
	assert_int_equal(facts, MSE_EVENT_TYPES_FACTS);
}

/* What must be written so that this can be derived. */
static void test_behind(void **state)
{
#define B(type) MSE_EVENT_BIT(MSE_EVENT_##type)
	static const struct {
		mse_event_types_t types, behind;
	} rows[] = {
		{ 0, 0 },
		{ B(LOGIN), 0 },
		{ B(QUOTA_EXCEED) | B(MESSAGE_NEW), 0 },
		{ B(LOGOUT), B(LOGIN) | B(FACT_HIBERNATED) | B(FACT_RESUMED) },
		{ B(QUOTA_WITHIN), B(QUOTA_EXCEED) | B(FACT_QUOTA) },
		{ B(QUOTA_CHANGE), B(QUOTA_EXCEED) | B(FACT_QUOTA) },
		{ MSE_EVENT_TYPES_ALL, B(LOGIN) | B(QUOTA_EXCEED) |
			MSE_EVENT_TYPES_FACTS },
	};
#undef B
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (mse_event_types_behind(rows[i].types) != rows[i].behind)
			fail_msg("row %zu", i);
}

static void test_uuid_increases(void **state)
{
	char last[MSE_UUID_SIZE], uuid[MSE_UUID_SIZE];
	unsigned int i;

	mse_uuid_make(INT64_C(0x17f22e279b0), last);
	assert_memory_equal(last, "017f22e2-79b0-7", 15);
	for (i = 0; i < 20000; i++) {
		/* The clock stands, then steps back. */
		mse_uuid_make(INT64_C(0x17f22e279b0) - i / 10000 * 5000, uuid);
		if (strcmp(uuid, last) <= 0 || !mse_uuid_is_valid(uuid) ||
		    uuid[14] != '7' || strchr("89ab", uuid[19]) == NULL)
			fail_msg("id %u: %s after %s", i, uuid, last);
		strcpy(last, uuid);
	}
}

static void test_uuid_after_fork(void **state)
{
	char parent[MSE_UUID_SIZE], child[MSE_UUID_SIZE] = "";
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	mse_uuid_make(INT64_C(0x17f22e279b0), parent);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		mse_uuid_make(INT64_C(0x17f22e279b0), child);
		_exit(write(fds[1], child, sizeof(child)) < 0);
	}
	mse_uuid_make(INT64_C(0x17f22e279b0), parent);
	assert_int_equal(read(fds[0], child, sizeof(child)), sizeof(child));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(mse_uuid_is_valid(child));
	assert_string_not_equal(parent, child);
	close(fds[0]);
	close(fds[1]);
}

static void test_uuid_is_valid(void **state)
{
	static const struct {
		const char *text;
		bool expected;
	} rows[] = {
		{ "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", true },
		{ "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", false },
		{ "017f22e2-79b0-7cc3-98c4-dc0c0c07398", false },
		{ "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", false },
		{ "017f22e2079b0-7cc3-98c4-dc0c0c07398f", false },
		{ "017f22e2-79b0-7cc3-98c4-dc0c0c07398g", false },
		{ "", false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (mse_uuid_is_valid(rows[i].text) != rows[i].expected)
			fail_msg("row %zu", i);
}

static void test_url(void **state)
{
	static const struct {
		struct mse_imap_url url;
		const char *expected;
	} rows[] = {
		{ { "s", NULL, NULL, 0, 0 }, "imap://s/" },
		{ { "s", "joe@x", NULL, 0, 0 }, "imap://joe%40x@s/" },
		{ { "s", "", NULL, 7, 0 }, "imap://s/" },
		{ { "s", "joe", "INBOX", 7, 9 },
		  "imap://joe@s/INBOX;UIDVALIDITY=7/;UID=9" },
		{ { "s", "joe", "INBOX", UINT32_MAX, 0 },
		  "imap://joe@s/INBOX;UIDVALIDITY=4294967295" },
		{ { "s", "a/b:c;d%e", "x/y:z@w;v?#% \xc3\xa9\xff\n", 0, 0 },
		  "imap://a%2Fb%3Ac%3Bd%25e@s/"
		  "x/y:z@w%3Bv%3F%23%25%20%C3%A9%FF%0A" },
		{ { "s", "a&=b!$'()*+,-._~", NULL, 0, 0 },
		  "imap://a&=b!$'()*+,-._~@s/" },
		{ { "2001:db8::1", "joe", NULL, 0, 0 },
		  "imap://joe@[2001:db8::1]/" },
		{ { "[::1]", NULL, NULL, 0, 0 }, "imap://[::1]/" },
		{ { "s:1143", NULL, NULL, 0, 0 }, "imap://s:1143/" },
	};
	struct mse_buf buf;
	size_t i;

	mse_buf_init(&buf, 1000);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_reset(&buf);
		mse_imap_url_append(&buf, &rows[i].url);
		if (strcmp(mse_buf_str(&buf), rows[i].expected) != 0)
			fail_msg("row %zu: %s", i, mse_buf_str(&buf));
	}
	mse_buf_clear(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_optional_names),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_uuid_increases),
		cmocka_unit_test(test_uuid_after_fork),
		cmocka_unit_test(test_uuid_is_valid),
		cmocka_unit_test(test_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
