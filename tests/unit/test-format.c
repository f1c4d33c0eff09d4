/* Bodies octet by octet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <zlib.h>

#include "format/body.h"
#include "format/data.h"
#include "format/gzip.h"

#define ID "0193a1b2-c3d4-7000-8000-0123456789ab"
#define TIME "2026-11-24T04:30:35.123+01:00"
#define HEAD "{\"specversion\":\"1.0\",\"id\":\"" ID "\"," \
	"\"source\":\"imap://mail.example/#b1.example\",\"type\":"
#define TAIL ",\"time\":\"" TIME "\"," \
	"\"datacontenttype\":\"application/json\",\"stream\":\"st\"," \
	"\"sequence\":\"00000000000000000042\",\"data\":"

#define MESSAGE_NEW "{\"id\":\"" ID "\",\"type\":\"MessageNew\"," \
	"\"time\":\"" TIME "\",\"user\":\"a@b\",\"owner\":\"o@b\"," \
	"\"mailbox\":\"In box/x\",\"data\":{ \"uri\" : \"\\u00e4\" }}"
#define GAP "{\"id\":\"" ID "\",\"type\":\"vnd.mailhook.Gap\"," \
	"\"time\":\"" TIME "\",\"data\":{}}"
#define STRUCTURED_NEW HEAD "\"org.ietf.rfc5423.MessageNew\"," \
	"\"partitionkey\":\"o%40b\",\"subject\":\"o%40b/In%20box/x\"" TAIL \
	"{ \"uri\" : \"\\u00e4\" }}"

static const struct {
	enum mse_conf_format format;
	const char *record, *body, *headers;
} bodies[] = {
	{ MSE_FORMAT_CLOUDEVENTS, MESSAGE_NEW, STRUCTURED_NEW, "" },
	{ MSE_FORMAT_CLOUDEVENTS,
	  "{\"id\":\"" ID "\",\"type\":\"Login\",\"time\":\"" TIME "\","
	  "\"user\":\"a\",\"data\":{}}",
	  HEAD "\"org.ietf.rfc5423.Login\",\"partitionkey\":\"a\","
	  "\"subject\":\"a\"" TAIL "{}}", "" },
	{ MSE_FORMAT_CLOUDEVENTS, GAP,
	  HEAD "\"vnd.mailhook.Gap\"" TAIL "{}}", "" },
	{ MSE_FORMAT_CLOUDEVENTS,
	  "{\"id\":\"" ID "\",\"type\":\"vnd.mailhook.AclChange\",\"time\":"
	  "\"" TIME "\",\"user\":\"a\",\"mailbox\":\"b\",\"data\":{}}",
	  HEAD "\"vnd.mailhook.AclChange\",\"partitionkey\":\"a\","
	  "\"subject\":\"a/b\"" TAIL "{}}", "" },
	{ MSE_FORMAT_CLOUDEVENTS_BATCH, MESSAGE_NEW, "[" STRUCTURED_NEW "]",
	  "" },
	/* "%" and '"' are encoded once more, what is not ASCII by octets. */
	{ MSE_FORMAT_CLOUDEVENTS_BINARY, MESSAGE_NEW,
	  "{ \"uri\" : \"\\u00e4\" }",
	  "ce-specversion: 1.0|ce-id: " ID "|"
	  "ce-source: imap://mail.example/#b1.example|"
	  "ce-type: org.ietf.rfc5423.MessageNew|ce-partitionkey: o%2540b|"
	  "ce-subject: o%2540b/In%2520box/x|ce-time: " TIME "|"
	  "ce-stream: st|ce-sequence: 00000000000000000042|" },
	{ MSE_FORMAT_CLOUDEVENTS_BINARY,
	  "{\"id\":\"" ID "\",\"type\":\"x\\\"\xc3\xa4 %\\r\\n\",\"time\":\""
	  TIME "\",\"data\":{}}", "{}",
	  "ce-specversion: 1.0|ce-id: " ID "|"
	  "ce-source: imap://mail.example/#b1.example|"
	  "ce-type: x%22%C3%A4%20%25%0D%0A|ce-time: " TIME "|"
	  "ce-stream: st|ce-sequence: 00000000000000000042|" },
	{ MSE_FORMAT_STANDARD, MESSAGE_NEW,
	  "{\"type\":\"MessageNew\",\"timestamp\":\"" TIME "\",\"data\":{"
	  "\"vnd.mailhook.stream\":\"st\",\"vnd.mailhook.sequence\":42,"
	  " \"uri\" : \"\\u00e4\" }}", "" },
	{ MSE_FORMAT_STANDARD, GAP,
	  "{\"type\":\"vnd.mailhook.Gap\",\"timestamp\":\"" TIME "\","
	  "\"data\":{\"vnd.mailhook.stream\":\"st\","
	  "\"vnd.mailhook.sequence\":42}}", "" },
	{ MSE_FORMAT_CYRUS, MESSAGE_NEW,
	  "{\"event\":\"MessageNew\",\"vnd.mailhook.id\":\"" ID "\","
	  "\"vnd.mailhook.stream\":\"st\",\"vnd.mailhook.sequence\":42,"
	  " \"uri\" : \"\\u00e4\" }", "" },
	{ MSE_FORMAT_CYRUS, GAP,
	  "{\"event\":\"vnd.mailhook.Gap\",\"vnd.mailhook.id\":\"" ID "\","
	  "\"vnd.mailhook.stream\":\"st\",\"vnd.mailhook.sequence\":42}",
	  "" },
};

static const struct mse_body_context context = {
	.server_name = "mail.example", .server_fqdn = "b1.example",
	.stream = "st", .sequence = 42
};

static void parse(const char *text, struct mse_record *record_r)
{
	struct mse_error error;

	if (mse_record_parse(text, strlen(text), record_r, &error) < 0)
		fail_msg("%s", error.text);
}

/* Each header's NUL becomes "|". */
static void check_headers(struct mse_body *body, const char *expected)
{
	size_t i, count = 0;

	for (i = 0; i < body->headers.len; i++) {
		if (body->headers.data[i] != '\0')
			continue;
		body->headers.data[i] = '|';
		count++;
	}
	assert_string_equal(mse_buf_str(&body->headers), expected);
	assert_int_equal(body->header_count, count);
}

static void test_bodies(void **state)
{
	struct mse_conf_endpoint endpoint = { .format = 0 };
	struct mse_record record;
	struct mse_body body;
	size_t i;

	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		print_message("row %zu\n", i);
		parse(bodies[i].record, &record);
		endpoint.format = bodies[i].format;
		mse_body_init(&body, bodies[i].format, 4096);
		mse_body_add(&body, &endpoint, &context, &record);
		assert_int_equal(mse_body_end(&body), 0);
		assert_string_equal(mse_buf_str(&body.octets), bodies[i].body);
		check_headers(&body, bodies[i].headers);
		mse_body_clear(&body);
		mse_body_init(&body, bodies[i].format,
			      strlen(bodies[i].body) - 1);
		mse_body_add(&body, &endpoint, &context, &record);
		assert_int_equal(mse_body_end(&body), -1);
		mse_body_clear(&body);
		mse_record_clear(&record);
	}
}

static void test_content_types(void **state)
{
	static const char *const types[] = {
		"application/cloudevents+json", "application/json",
		"application/cloudevents-batch+json", "application/json",
		"application/json"
	};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_string_equal(mse_body_content_type(
			(enum mse_conf_format)i), types[i]);
		assert_int_equal(mse_body_is_batch((enum mse_conf_format)i),
				 i == MSE_FORMAT_CLOUDEVENTS_BATCH);
	}
}

static void test_batch(void **state)
{
	static const struct mse_conf_endpoint endpoint = {
		.format = MSE_FORMAT_CLOUDEVENTS_BATCH
	};
	struct mse_record message, gap;
	struct mse_body body;
	size_t len;

	parse(MESSAGE_NEW, &message);
	parse(GAP, &gap);
	mse_body_init(&body, endpoint.format, 4096);
	mse_body_add(&body, &endpoint, &context, &gap);
	len = body.octets.len;
	mse_body_add(&body, &endpoint, &context, &gap);
	mse_body_cut(&body, len);
	mse_body_add(&body, &endpoint, &context, &message);
	assert_int_equal(mse_body_end(&body), 0);
	assert_int_equal(body.events, 2);
	assert_string_equal(mse_buf_str(&body.octets), "[" HEAD
			    "\"vnd.mailhook.Gap\"" TAIL "{}},"
			    STRUCTURED_NEW "]");
	mse_body_clear(&body);
	mse_record_clear(&message);
	mse_record_clear(&gap);
}

static void test_gzip(void **state)
{
	static char text[100000], back[sizeof(text)];
	struct mse_buf packed, again;
	z_stream stream = { .next_out = (Bytef *)back,
			    .avail_out = sizeof(back) };
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 17 + i % 5);
	mse_buf_init(&packed, sizeof(text));
	mse_buf_init(&again, sizeof(text));
	assert_int_equal(mse_gzip_append(&packed, text, sizeof(text)), 0);
	assert_int_equal(mse_gzip_append(&again, text, sizeof(text)), 0);
	assert_true(packed.len < sizeof(text) / 10);
	assert_int_equal(packed.len, again.len);
	assert_memory_equal(packed.data, again.data, packed.len);
	stream.next_in = (Bytef *)packed.data;
	stream.avail_in = (uInt)packed.len;
	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.total_out, sizeof(text));
	assert_memory_equal(back, text, sizeof(text));
	assert_int_equal(inflateEnd(&stream), Z_OK);
	mse_buf_clear(&packed);
	mse_buf_clear(&again);
	mse_buf_init(&packed, 100);
	assert_int_equal(mse_gzip_append(&packed, text, sizeof(text)), -1);
	mse_buf_clear(&packed);
}

#define RECORD(type, members) "{\"id\":\"" ID "\",\"type\":\"" type \
	"\",\"time\":\"" TIME "\",\"data\":{\"a\":1}" members "}"
#define NEW(members) RECORD("MessageNew", members)
#define SMALL "\"envelope\":\"E\",\"bodyStructure\":\"B\"," \
	"\"headers\":{\"from\":\"F\"},\"unseen\":3"
#define MESSAGE ",\"messageContent\":"
#define HEADERS ",\"messageContent.headers\":"
#define BODY ",\"messageContent.body\":"
#define SUPPRESSED(why) \
	"{\"a\":1,\"vnd.mailhook.contentSuppressed\":\"" why "\"}"

enum { E = 1, B = 2, C = 4, H = 8, U = 16 };

/* One record, told to endpoints that asked for this and that. */
static const struct {
	mse_optionals_t asked;
	enum mse_content_part part;
	uint64_t limit;
	const char *tags, *record, *data;
} rows[] = {
	{ 0, 0, 0, NULL, NEW("," SMALL), "{\"a\":1}" },
	{ E, 0, 0, NULL, NEW("," SMALL), "{\"a\":1,\"envelope\":\"E\"}" },
	{ B | H | U, 0, 0, "x,\"y", NEW("," SMALL),
	  "{\"a\":1,\"tags\":\"x,\\\"y\",\"bodyStructure\":\"B\","
	  "\"vnd.mailhook.headers\":{\"from\":\"F\"},"
	  "\"vnd.mailhook.unseen\":3}" },
	{ E | B | H | U, 0, 0, NULL, NEW(""), "{\"a\":1}" },
	{ 0, 0, 0, "t", "{\"id\":\"" ID "\",\"type\":\"Login\",\"time\":\""
	  TIME "\",\"data\":{ }}", "{ \"tags\":\"t\"}" },

	{ C, MSE_CONTENT_MESSAGE, 3, NULL,
	  NEW(MESSAGE "{\"octets\":3,\"text\":\"abc\"}"),
	  "{\"a\":1,\"messageContent\":\"abc\"}" },
	{ C, MSE_CONTENT_MESSAGE, 2, NULL,
	  NEW(MESSAGE "{\"octets\":3,\"text\":\"abc\"}"),
	  SUPPRESSED("limit") },
	{ C, MSE_CONTENT_BODY, 3, NULL,
	  NEW(BODY "{\"octets\":3,\"encoding\":\"base64\","
	      "\"text\":\"AP8A\"}"),
	  "{\"a\":1,\"messageContent\":\"AP8A\","
	  "\"vnd.mailhook.contentEncoding\":\"base64\"}" },
	{ C, MSE_CONTENT_BODY, 3, NULL,
	  NEW(MESSAGE "{\"octets\":3,\"text\":\"abc\"}"),
	  SUPPRESSED("unrecorded") },
	{ C, MSE_CONTENT_HEADERS, 100, NULL,
	  NEW(HEADERS "{\"octets\":3,\"suppressed\":\"transaction\"}"),
	  SUPPRESSED("transaction") },
	{ C, MSE_CONTENT_HEADERS, 2, NULL,
	  NEW(HEADERS "{\"octets\":3,\"suppressed\":\"transaction\"}"),
	  SUPPRESSED("limit") },
	{ C, MSE_CONTENT_HEADERS, 2, NULL,
	  RECORD("MessageExpunge", ""), "{\"a\":1}" },

	{ C, MSE_CONTENT_HEADERSBODY, 2, NULL,
	  NEW(MESSAGE "{\"octets\":5,\"text\":\"hhhbb\"}"
	      HEADERS "{\"octets\":3,\"text\":\"hhh\"}"),
	  "{\"a\":1,\"messageContent\":\"hhhbb\"}" },
	{ C, MSE_CONTENT_HEADERSBODY, 1, NULL,
	  NEW(MESSAGE "{\"octets\":5,\"text\":\"hhhbb\"}"
	      HEADERS "{\"octets\":3,\"text\":\"hhh\"}"),
	  "{\"a\":1,\"messageContent\":\"hhh\","
	  "\"vnd.mailhook.contentSuppressed\":\"limit\"}" },
	{ C, MSE_CONTENT_HEADERSBODY, 9, NULL,
	  NEW(MESSAGE "{\"octets\":5,\"suppressed\":\"unreadable\"}"
	      HEADERS "{\"octets\":3,\"suppressed\":\"unreadable\"}"),
	  SUPPRESSED("unreadable") },
	{ C, MSE_CONTENT_HEADERSBODY, 9, NULL, NEW(""),
	  SUPPRESSED("unrecorded") },
};

static void test_data(void **state)
{
	struct mse_conf_endpoint endpoint = { .format = 0 };
	struct mse_record record;
	struct mse_error error;
	struct mse_buf data;
	size_t i;

	assert_int_equal(U, MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN));
	mse_buf_init(&data, 4096);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (mse_record_parse(rows[i].record, strlen(rows[i].record),
				     &record, &error) < 0)
			fail_msg("row %zu: %s", i, error.text);
		endpoint.subscription.optionals = rows[i].asked;
		endpoint.subscription.content_part = rows[i].part;
		endpoint.subscription.content_limit = rows[i].limit;
		endpoint.tags = (char *)rows[i].tags;
		mse_buf_reset(&data);
		mse_data_append(&endpoint, &record, &data);
		if (strcmp(mse_buf_str(&data), rows[i].data) != 0)
			fail_msg("row %zu: %s", i, mse_buf_str(&data));
		mse_record_clear(&record);
	}
	mse_buf_clear(&data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_content_types),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_gzip),
		cmocka_unit_test(test_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
