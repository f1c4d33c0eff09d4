/* Events written as records, and records read: exact bytes, and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <time.h>

#include <json.h>

#include "base/utf8.h"
#include "event/event.h"
#include "event/json-string.h"
#include "event/record.h"

#define ID "01890a5d-ac96-774b-bcce-b302099a8057"
#define OTHER_ID "01890a5d-ac96-774b-bcce-b302099a8058"
#define TIME "1970-01-01T00:00:00.005+00:00"
#define HEAD "{\"id\":\"" ID "\",\"type\":\"Login\",\"time\":\"" TIME "\""
#define WITH(member) HEAD ",\"data\":{}," member "}"

static void write_event(struct mse_event *event, struct mse_buf *buf)
{
	strcpy(event->id, ID);
	mse_buf_init(buf, 100000);
	mse_event_write(event, buf);
	assert_false(mse_buf_failed(buf));
}

static void test_write(void **state)
{
	struct mse_event event;
	struct mse_buf buf;

	mse_event_init(&event, MSE_EVENT_LOGIN, 5);
	assert_true(mse_uuid_is_valid(event.id));
	mse_event_set_number(&event, MSE_PARAM_PID, UINT64_MAX);
	mse_event_set_string(&event, MSE_PARAM_URI, "imap://a/\"\\\x1e\n");
	mse_event_set_string(&event, MSE_PARAM_ADMIN, NULL);
	mse_event_set_bool(&event, MSE_PARAM_TLS, true);
	event.instance = OTHER_ID;
	event.slot = 4095;
	event.user = "j\xff";
	write_event(&event, &buf);
	assert_string_equal(mse_buf_str(&buf), "\x1e" HEAD
		",\"user\":\"j\xef\xbf\xbd\",\"owner\":\"j\xef\xbf\xbd\","
		"\"slot\":4095,\"instance\":\"" OTHER_ID "\","
		"\"data\":{\"uri\":\"imap://a/\\\"\\\\\\u001e\\n\","
		"\"pid\":18446744073709551615,"
		"\"timestamp\":\"1970-01-01T00:00:00.005+00:00\","
		"\"vnd.mailhook.tls\":true}}\n");
	mse_buf_clear(&buf);
	mse_event_set_bool(&event, MSE_PARAM_TLS, false);
	write_event(&event, &buf);
	assert_non_null(strstr(mse_buf_str(&buf),
			       ",\"vnd.mailhook.tls\":false}}\n"));
	mse_buf_clear(&buf);
}

static void test_round_trip(void **state)
{
	struct mse_event event;
	struct mse_record record;
	struct mse_event_route route;
	struct mse_error error;
	struct mse_buf buf;

	mse_event_init(&event, MSE_EVENT_MAILBOX_RENAME, 1234567890123);
	event.user = "admin";
	event.owner = "joe";
	event.mailbox = "a\"\\/\xf0\x9f\x98\x80\x01";
	event.old_mailbox = "old";
	event.cause = "why";
	event.instance = OTHER_ID;
	event.slot = 17;
	event.socket = "boot:1:2";
	write_event(&event, &buf);
	assert_int_equal(mse_record_parse(buf.data + 1, buf.len - 2, &record,
					  &error), 0);
	assert_string_equal(record.id, ID);
	assert_int_equal(record.type, MSE_EVENT_MAILBOX_RENAME);
	assert_string_equal(record.type_name, "MailboxRename");
	assert_true(record.time_ms == 1234567890123);
	assert_string_equal(record.user, "admin");
	assert_string_equal(record.owner, "joe");
	assert_string_equal(record.mailbox, event.mailbox);
	assert_string_equal(record.old_mailbox, "old");
	assert_string_equal(record.cause, "why");
	assert_string_equal(record.instance, OTHER_ID);
	assert_int_equal(record.slot, 17);
	assert_string_equal(record.socket, "boot:1:2");
	assert_ptr_equal(record.bytes.data, buf.data + 1);
	assert_int_equal(record.bytes.len, buf.len - 2);
	assert_int_equal(record.data.data[0], '{');
	assert_int_equal(record.data.data[record.data.len - 1], '}');
	mse_record_route(&record, &route);
	assert_string_equal(route.owner, "joe");
	assert_string_equal(route.old_mailbox, "old");
	mse_record_clear(&record);
	mse_record_clear(&record);
	mse_buf_clear(&buf);
}

static void test_data(void **state)
{
	static const char text[] = HEAD ",\"data\":{ \"uri\" : \"a\\u00e9\","
		"\"user\":7,\"pid\":18446744073709551615,"
		"\"clientPort\":18446744073709551616,\"serverPort\":-1,"
		"\"messages\":1.5,\"uidnext\":\"3\",\"x\":{\"admin\":\"no\"},"
		"\"vnd.mailhook.tls\":true,\"modseq\":0}}";
	static const enum mse_param none[] = { MSE_PARAM_CLIENT_PORT,
		MSE_PARAM_SERVER_PORT, MSE_PARAM_MESSAGES, MSE_PARAM_UIDNEXT,
		MSE_PARAM_URI, MSE_PARAM_DISK_QUOTA };
	struct mse_record record;
	struct mse_error error;
	uint64_t number = 5;
	char *string = NULL;
	size_t i;

	assert_int_equal(mse_record_parse(text, sizeof(text) - 1, &record,
					  &error), 0);
	assert_int_equal(mse_record_string(&record, MSE_PARAM_URI, &string), 1);
	assert_string_equal(string, "a\xc3\xa9");
	free(string);
	assert_int_equal(mse_record_string(&record, MSE_PARAM_USER, &string),
			 0);
	assert_int_equal(mse_record_string(&record, MSE_PARAM_ADMIN, &string),
			 0);
	assert_int_equal(mse_record_string(&record, MSE_PARAM_PID, &string), 0);
	assert_int_equal(mse_record_number(&record, MSE_PARAM_PID, &number), 1);
	assert_true(number == UINT64_MAX);
	assert_int_equal(mse_record_number(&record, MSE_PARAM_MODSEQ, &number),
			 1);
	assert_true(number == 0);
	assert_int_equal(mse_record_number(&record, MSE_PARAM_TLS, &number), 1);
	assert_true(number == 1);
	for (i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_int_equal(mse_record_number(&record, none[i], &number),
				 0);
	assert_true(number == 1);
	mse_record_clear(&record);
}

/* However small the limit: failed, never a cut record taken for a whole. */
static void test_write_limits(void **state)
{
	struct mse_event event;
	struct mse_buf buf, whole;
	size_t limit;

	mse_event_init(&event, MSE_EVENT_LOGIN, 5);
	event.user = "j\xff";
	write_event(&event, &whole);
	for (limit = 0; limit < whole.len; limit++) {
		mse_buf_init(&buf, limit);
		mse_event_write(&event, &buf);
		if (!mse_buf_failed(&buf))
			fail_msg("limit %zu", limit);
		mse_buf_clear(&buf);
	}
	mse_buf_clear(&whole);
}

/* What stands behind the data, and that it is found again. */
static void test_optionals(void **state)
{
	static const char escapes[] = "\x01\x02\x03\x04\x05";
	struct mse_optionals optionals = {
		.set = MSE_OPTIONAL_BIT(MSE_OPTIONAL_COUNT) - 1,
		.envelope = "MAIL FROM:<>\r\n",
		.body_structure = "\"text\" \xff",
		.headers = { [MSE_HEADER_FROM] = "J\xc3\xb6rg <j@x>",
			     [MSE_HEADER_MESSAGE_ID] = "<1@x>" },
		.unseen = 7,
		.content = {
			[MSE_CONTENT_MESSAGE] = { true, 4, "a\r\nb", NULL },
			[MSE_CONTENT_HEADERS] = { true, 5000000, NULL,
				MSE_SUPPRESSED_LIMIT },
			[MSE_CONTENT_BODY] = { true, 3, "\0\xff", NULL },
		},
	};
	struct mse_event event;
	struct mse_record record;
	struct mse_error error;
	struct mse_buf buf;
	const char *behind;

	mse_event_init(&event, MSE_EVENT_MESSAGE_NEW, 5);
	event.optionals = &optionals;
	write_event(&event, &buf);
	behind = strstr(buf.data, "}") + 1;
	assert_string_equal(behind,
		",\"envelope\":\"MAIL FROM:<>\\r\\n\""
		",\"bodyStructure\":\"\\\"text\\\" \xef\xbf\xbd\""
		",\"headers\":{\"from\":\"J\xc3\xb6rg <j@x>\","
		"\"messageId\":\"<1@x>\"},\"unseen\":7"
		",\"messageContent\":{\"octets\":4,\"text\":\"a\\r\\nb\"}"
		",\"messageContent.headers\":{\"octets\":5000000,"
		"\"suppressed\":\"limit\"}"
		",\"messageContent.body\":{\"octets\":3,\"encoding\":\"base64\","
		"\"text\":\"AP8A\"}}\n");
	assert_int_equal(mse_record_parse(buf.data + 1, buf.len - 2, &record,
					  &error), 0);
	assert_int_equal(record.optionals[MSE_OPTIONAL_UNSEEN].len, 1);
	assert_memory_equal(record.optionals[MSE_OPTIONAL_UNSEEN].data, "7", 1);
	assert_memory_equal(record.optionals[MSE_OPTIONAL_ENVELOPE].data,
			    "\"MAIL FROM:<>\\r\\n\"", 18);
	assert_null(record.optionals[MSE_OPTIONAL_MESSAGE_CONTENT].data);
	assert_true(record.content[MSE_CONTENT_HEADERS].present);
	assert_int_equal(record.content[MSE_CONTENT_HEADERS].octets, 5000000);
	assert_null(record.content[MSE_CONTENT_HEADERS].text.data);
	assert_memory_equal(
		record.content[MSE_CONTENT_HEADERS].suppressed.data,
		"\"limit\"", 7);
	assert_memory_equal(record.content[MSE_CONTENT_BODY].text.data,
			    "\"AP8A\"", 6);
	assert_memory_equal(record.content[MSE_CONTENT_BODY].encoding.data,
			    "\"base64\"", 8);
	assert_null(record.content[MSE_CONTENT_MESSAGE].encoding.data);
	mse_record_clear(&record);
	mse_buf_clear(&buf);

	/* Nothing is there that is not set; escapes do not blow it up. */
	optionals.set = MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT);
	memset(optionals.content, 0, sizeof(optionals.content));
	optionals.content[MSE_CONTENT_BODY].wanted = true;
	optionals.content[MSE_CONTENT_BODY].octets = 5;
	optionals.content[MSE_CONTENT_BODY].text = escapes;
	write_event(&event, &buf);
	assert_string_equal(strstr(buf.data, "}") + 1,
		",\"messageContent.body\":{\"octets\":5,"
		"\"encoding\":\"base64\",\"text\":\"AQIDBAU=\"}}\n");
	mse_buf_clear(&buf);
}

static void test_mailbox_strings(void **state)
{
	static const struct {
		const char *json;
		const char *expected; /* NULL: refused */
	} rows[] = {
		{ "\"INBOX\"", "INBOX" },
		{ "\"\"", "" },
		{ "\"\\u0041\\n\\/\\\"\\\\\\b\\f\\r\\t\"", "A\n/\"\\\b\f\r\t" },
		{ "\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac" },
		{ "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
		{ "\"a\\u0000b\"", "a\xef\xbf\xbd" "b" },
		{ "\"\\ud83d\"", NULL },
		{ "\"\\ude00\\ud83d\"", NULL },
		{ "\"\\ud83d\\u0041\"", NULL },
		{ "\"\\u12g4\"", NULL },
		{ "\"\\x\"", NULL },
		{ "\"\\\"", NULL },
		{ "\"\x01\"", NULL },
		{ "\"\xff\"", NULL },
		{ "\"\xed\xa0\x80\"", NULL },
		{ "7", NULL },
		{ "null", NULL },
	};
	struct mse_record record;
	struct mse_buf buf;
	size_t i;
	int ret;

	mse_buf_init(&buf, 1000);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_reset(&buf);
		mse_buf_appendf(&buf, "%s,\"data\":{},\"mailbox\":%s}", HEAD,
				rows[i].json);
		ret = mse_record_parse(buf.data, buf.len, &record, NULL);
		if (rows[i].expected == NULL ? ret == 0 :
		    ret < 0 || strcmp(record.mailbox, rows[i].expected) != 0)
			fail_msg("row %zu: %d", i, ret);
		mse_record_clear(&record);
	}
	mse_buf_clear(&buf);
}

static void test_accept_and_refuse(void **state)
{
	static const struct {
		const char *text;
		int ret;
	} rows[] = {
		{ HEAD ",\"data\":{}}", 0 },
		{ " " HEAD " , \"data\" : { } } ", 0 },
		{ WITH("\"late\":true"), 0 },
		{ WITH("\"slot\":1,\"instance\":\"" OTHER_ID "\""), 0 },
		{ WITH("\"x\":[1,-0,0.5,1e9,-1.5E-3,[],{\"a\":null}]"), 0 },
		{ WITH("\"x\":1,\"x\":2"), 0 },
		{ WITH("\"messageContent\":{\"octets\":1,\"text\":\"a\","
		       "\"new\":[]}"), 0 },
		{ WITH("\"messageContent\":{\"octets\":1}"), -1 },
		{ WITH("\"messageContent\":{\"octets\":-1,\"text\":\"a\"}"),
		  -1 },
		{ WITH("\"messageContent\":{\"octets\":1,\"text\":\"a\","
		       "\"suppressed\":\"b\"}"), -1 },
		{ WITH("\"messageContent\":\"a\""), -1 },
		{ WITH("\"messageContent\":{\"text\":\"a\"},"
		       "\"messageContent\":{\"text\":\"a\"}"), -1 },
		{ WITH("\"unseen\":1,\"unseen\":1"), -1 },
		{ "", -1 },
		{ "{}", -1 },
		{ "[]", -1 },
		{ HEAD "}", -1 },
		{ HEAD ",\"data\":[]}", -1 },
		{ HEAD ",\"data\":{}", -1 },
		{ HEAD ",\"data\":{}}}", -1 },
		{ HEAD ",\"data\":{}} {}", -1 },
		{ WITH(""), -1 },
		{ WITH("\"data\":{}"), -1 },
		{ WITH("\"user\":\"a\",\"user\":\"a\""), -1 },
		{ WITH("\"\\u0069d\":\"a\""), -1 },
		{ WITH("\"slot\":1"), -1 },
		{ WITH("\"instance\":\"" OTHER_ID "\""), -1 },
		{ WITH("\"slot\":-1,\"instance\":\"" OTHER_ID "\""), -1 },
		{ WITH("\"slot\":\"1\",\"instance\":\"" OTHER_ID "\""), -1 },
		{ WITH("\"slot\":9999999999,\"instance\":\"" OTHER_ID "\""),
		  -1 },
		{ WITH("\"slot\":1,\"instance\":\"x\""), -1 },
		{ WITH("\"socket\":1"), -1 },
		{ WITH("\"x\":01"), -1 },
		{ WITH("\"x\":+1"), -1 },
		{ WITH("\"x\":1."), -1 },
		{ WITH("\"x\":.5"), -1 },
		{ WITH("\"x\":1e"), -1 },
		{ WITH("\"x\":-"), -1 },
		{ WITH("\"x\":tru"), -1 },
		{ WITH("\"x\":[1,]"), -1 },
		{ WITH("\"x\":{\"a\"}"), -1 },
		{ WITH("\"x\":{a:1}"), -1 },
		{ WITH("\"x\":\x1e"), -1 },
		{ WITH("x:1"), -1 },
		{ "{\"id\":\"1\",\"type\":\"Login\",\"time\":"
		  "\"1970-01-01T00:00:00Z\",\"data\":{}}", -1 },
		{ "{\"id\":\"" ID "\",\"type\":\"Login\",\"time\":"
		  "\"yesterday\",\"data\":{}}", -1 },
		{ "{\"id\":\"" ID "\",\"time\":"
		  "\"1970-01-01T00:00:00Z\",\"data\":{}}", -1 },
	};
	static const struct mse_record zero;
	struct mse_record record;
	struct mse_error error;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		error.text[0] = '\0';
		if (mse_record_parse(rows[i].text, strlen(rows[i].text),
				     &record, &error) != rows[i].ret)
			fail_msg("row %zu: %s", i, error.text);
		if (rows[i].ret < 0 && (error.text[0] == '\0' ||
		    memcmp(&record, &zero, sizeof(record)) != 0))
			fail_msg("row %zu: not clear, or no sentence", i);
		mse_record_clear(&record);
	}
}

/* Each proper beginning of a record is refused; read from memory of exactly
   its size, so that a sanitizer sees a byte too many. */
static void test_cut(void **state)
{
	static const char text[] = WITH("\"user\":\"\\ud83d\\ude00\","
					"\"x\":[true,1.5e3]");
	struct mse_record record;
	size_t len;
	char *copy;

	for (len = 0; len < sizeof(text) - 1; len++) {
		copy = malloc(len + 1);
		memcpy(copy + 1, text, len);
		if (mse_record_parse(copy + 1, len, &record, NULL) == 0)
			fail_msg("%zu octets were enough", len);
		free(copy);
	}
}

/* Whatever is looked for by the word is seen at any place. */
static void test_every_place(void **state)
{
	static const char head[] = HEAD ",\"data\":{},\"tags\":\"";
	static const struct {
		const char *text;
		int expected;
	} rows[] = {
		{ "a", 0 }, { "\x7f", 0 }, { "\xc3\xa9", 0 }, { "!", 0 },
		{ "\\\"", 0 }, { "\\n", 0 }, { "\x1f", -1 }, { "\n", -1 },
		{ "\"", -1 }, { "\\x", -1 }, { "\xe9", -1 }, { "\xff", -1 },
	};
	struct mse_record record;
	char text[256], *p;
	size_t i, place;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (place = 0; place < 26; place++) {
			p = text + sprintf(text, "%s%.*s%s", head, (int)place,
					   "abcdefghijklmnopqrstuvwxyz",
					   rows[i].text);
			p += sprintf(p, "%.*s\"}", (int)(26 - place),
				     "abcdefghijklmnopqrstuvwxyz");
			if (mse_record_parse(text, (size_t)(p - text),
					     &record, NULL) !=
			    rows[i].expected)
				fail_msg("row %zu at %zu", i, place);
			mse_record_clear(&record);
		}
	}
}

/* All of it is found in the copy, whatever becomes of the original. */
static void test_copy(void **state)
{
	static const char text[] = "{\"id\":\"" ID "\",\"type\":"
		"\"MessageNew\",\"time\":\"" TIME "\",\"user\":\"j\\u00f6e\","
		"\"mailbox\":\"a\\nb\",\"data\":{\"uri\":\"x\"},"
		"\"envelope\":\"e\",\"messageContent\":{\"octets\":1,"
		"\"encoding\":\"base64\",\"text\":\"t\"},"
		"\"messageContent.body\":{\"octets\":1,"
		"\"suppressed\":\"limit\"}}";
	struct mse_record record, copy, second;
	char first[sizeof(text)];

	memcpy(first, text, sizeof(text));
	assert_int_equal(mse_record_parse(first, sizeof(text) - 1, &record,
					  NULL), 0);
	assert_int_equal(mse_record_copy(&record, &second), 0);
	mse_record_clear(&record);
	memset(first, '?', sizeof(first));
	assert_int_equal(mse_record_copy(&second, &copy), 0);
	mse_record_clear(&second);
	assert_string_equal(copy.bytes.data, text);
	assert_int_equal(copy.bytes.len, sizeof(text) - 1);
	assert_string_equal(copy.id, ID);
	assert_string_equal(copy.type_name, "MessageNew");
	assert_string_equal(copy.time_text, TIME);
	assert_string_equal(copy.user, "j\xc3\xb6" "e");
	assert_string_equal(copy.owner, "j\xc3\xb6" "e");
	assert_string_equal(copy.mailbox, "a\nb");
	assert_null(copy.old_mailbox);
	assert_null(copy.cause);
	assert_null(copy.socket);
	assert_memory_equal(copy.data.data, "{\"uri\":\"x\"}",
			    copy.data.len);
	assert_memory_equal(copy.optionals[MSE_OPTIONAL_ENVELOPE].data,
			    "\"e\"", 3);
	assert_null(copy.optionals[MSE_OPTIONAL_HEADERS].data);
	assert_memory_equal(copy.content[MSE_CONTENT_MESSAGE].text.data,
			    "\"t\"", 3);
	assert_memory_equal(copy.content[MSE_CONTENT_MESSAGE].encoding.data,
			    "\"base64\"", 8);
	assert_memory_equal(copy.content[MSE_CONTENT_BODY].suppressed.data,
			    "\"limit\"", 7);
	mse_record_clear(&copy);
}

static void test_depth(void **state)
{
	struct mse_record record;
	struct mse_buf buf;
	size_t i;

	mse_buf_init(&buf, 3000000);
	mse_buf_append_str(&buf, HEAD ",\"data\":{\"a\":");
	for (i = 0; i < 1000000; i++)
		mse_buf_append_char(&buf, '[');
	for (i = 0; i < 1000000; i++)
		mse_buf_append_char(&buf, ']');
	mse_buf_append_str(&buf, "}}");
	assert_int_equal(mse_record_parse(buf.data, buf.len, &record, NULL),
			 -1);
	mse_buf_clear(&buf);
}

static void test_unknown_type_and_owner(void **state)
{
	static const char text[] = "{\"id\":\"" ID "\",\"type\":\"New\","
		"\"time\":\"1970-01-01T00:00:00Z\",\"data\":{\"a\":1}}";
	struct mse_record record;

	assert_int_equal(mse_record_parse(text, sizeof(text) - 1, &record,
					  NULL), 0);
	assert_int_equal(record.type, MSE_EVENT_UNKNOWN);
	assert_string_equal(record.type_name, "New");
	assert_string_equal(record.owner, "");
	assert_null(record.user);
	assert_null(record.mailbox);
	assert_int_equal(record.data.len, 7);
	assert_memory_equal(record.data.data, "{\"a\":1}", 7);
	mse_record_clear(&record);
}

static int set_utc(void **state)
{
	setenv("TZ", "UTC", 1);
	tzset();
	return 0;
}

/* json-c, which others wrote, reads back what was meant. */
static void check_json_string(const char *data, size_t len)
{
	struct mse_buf json, expected;
	struct json_object *string;

	mse_buf_init(&json, 10000);
	mse_buf_init(&expected, 10000);
	mse_json_append_string(&json, data, len);
	mse_utf8_append_scrubbed(&expected, data, len);
	string = json_tokener_parse(mse_buf_str(&json));
	assert_non_null(string);
	assert_int_equal(json_object_get_string_len(string), expected.len);
	assert_memory_equal(json_object_get_string(string),
			    mse_buf_str(&expected), expected.len);
	for (size_t i = 0; i < json.len; i++)
		assert_true((unsigned char)json.data[i] >= 0x20 &&
			    json.data[i] != 0x7f);
	json_object_put(string);
	mse_buf_clear(&json);
	mse_buf_clear(&expected);
}

static void test_json_string(void **state)
{
	struct mse_buf buf;
	char pair[4] = "a  z";
	int i, j;

	check_json_string("", 0);
	check_json_string("\xf0\x9f\x98\x80/\xe2\x82", 7);
	for (i = 0; i < 256; i++) {
		for (j = 0; j < 256; j += i < 0x80 ? 7 : 1) {
			pair[1] = (char)i;
			pair[2] = (char)j;
			check_json_string(pair, sizeof(pair));
		}
	}
	mse_buf_init(&buf, 5);
	mse_json_append_string(&buf, "abcd", 4);
	assert_true(mse_buf_failed(&buf));
	mse_buf_clear(&buf);
	mse_buf_init(&buf, 100);
	mse_json_append_string(&buf, "\x1e\n\"\\/\x7f", 6);
	assert_string_equal(mse_buf_str(&buf),
			    "\"\\u001e\\n\\\"\\\\/\\u007f\"");
	mse_buf_clear(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_string),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_write_limits),
		cmocka_unit_test(test_optionals),
		cmocka_unit_test(test_mailbox_strings),
		cmocka_unit_test(test_accept_and_refuse),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_every_place),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_unknown_type_and_owner),
	};

	return cmocka_run_group_tests(tests, set_utc, NULL);
}
