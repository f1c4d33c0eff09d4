/*
 * A record, as a reader meets it: whatever is accepted is JSON to json-c
 * too, says the same there, points into the text, and can be spliced into a
 * body that is JSON.
 */
#include "fuzz.h"

#include <json-c/json.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "conf/conf.h"
#include "derive/sockets.h"
#include "event/record.h"
#include "format/body.h"

const char fuzz_name[] = "record";

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(128);
	struct json_object *object;

	FUZZ_CHECK(tokener != NULL);
	object = json_tokener_parse_ex(tokener, text, (int)len);
	json_tokener_free(tokener);
	return object;
}

static void check_inside(const struct mse_slice *slice, const char *text,
			 size_t len)
{
	if (slice->data == NULL)
		return;
	FUZZ_CHECK(slice->data >= text && slice->len > 0);
	FUZZ_CHECK(slice->data + slice->len <= text + len);
}

static void check_string(const struct mse_slice *slice)
{
	if (slice->data != NULL)
		FUZZ_CHECK(slice->len >= 2 && slice->data[0] == '"' &&
			   slice->data[slice->len - 1] == '"');
}

/* json-c's string, with U+FFFD for every NUL. */
static void check_member(struct json_object *object, const char *name,
			 const char *value)
{
	struct json_object *member;
	struct mse_buf buf;
	const char *text;
	size_t i, len;

	if (value == NULL) {
		FUZZ_CHECK(!json_object_object_get_ex(object, name, NULL));
		return;
	}
	FUZZ_CHECK(json_object_object_get_ex(object, name, &member));
	FUZZ_CHECK(json_object_is_type(member, json_type_string));
	text = json_object_get_string(member);
	len = (size_t)json_object_get_string_len(member);
	mse_buf_init(&buf, 4 * len + 1);
	for (i = 0; i < len; i++) {
		if (text[i] == '\0')
			mse_buf_append_str(&buf, MSE_UTF8_REPLACEMENT);
		else
			mse_buf_append_char(&buf, text[i]);
	}
	FUZZ_CHECK(strcmp(mse_buf_str(&buf), value) == 0);
	mse_buf_clear(&buf);
}

static void check_values(const struct mse_record *record)
{
	uint64_t number;
	char *string;
	int param;

	for (param = 0; param < MSE_PARAM_COUNT; param++) {
		string = NULL;
		if (mse_record_string(record, (enum mse_param)param,
				      &string) == 1) {
			FUZZ_CHECK(mse_utf8_is_valid(string, strlen(string)));
			free(string);
		}
		(void)mse_record_number(record, (enum mse_param)param,
					&number);
	}
}

/* Nothing of an event can end a header or begin another one. */
static void check_headers(const struct mse_body *body)
{
	const char *pos = mse_buf_str(&body->headers);
	const char *end = pos + body->headers.len;
	size_t count = 0;

	while (pos < end) {
		FUZZ_CHECK(strchr(pos, ':') != NULL);
		for (; *pos != '\0'; pos++)
			FUZZ_CHECK(*pos >= 0x20 && *pos < 0x7f);
		pos++;
		count++;
	}
	FUZZ_CHECK(count == body->header_count);
}

static void check_body(const struct mse_record *record,
		       enum mse_conf_format format)
{
	struct mse_body_context context = { "mail.example.org", "mx1", "s", 1 };
	struct mse_conf_endpoint endpoint = { .name = (char *)"one" };
	struct json_object *object;
	struct mse_json_scan scan;
	struct mse_slice value;
	struct mse_body body;

	endpoint.format = format;
	endpoint.tags = (char *)"a,b";
	endpoint.subscription.optionals = (1U << MSE_OPTIONAL_COUNT) - 1;
	endpoint.subscription.content_limit = MSE_CONTENT_MAX;
	endpoint.subscription.content_part = MSE_CONTENT_HEADERSBODY;
	mse_body_init(&body, format, 64 * 1024 * 1024);
	mse_body_add(&body, &endpoint, &context, record);
	if (mse_body_is_batch(format))
		mse_body_add(&body, &endpoint, &context, record);
	FUZZ_CHECK(mse_body_end(&body) == 0);
	scan = (struct mse_json_scan){ body.octets.data, body.octets.data +
				       body.octets.len, 0 };
	FUZZ_CHECK(mse_json_scan_value(&scan, &value) == 0);
	FUZZ_CHECK(scan.pos == scan.end);
	object = parse(body.octets.data, body.octets.len);
	FUZZ_CHECK(json_object_is_type(object, mse_body_is_batch(format) ?
				       json_type_array : json_type_object));
	if (format == MSE_FORMAT_CLOUDEVENTS)
		check_member(object, "id", record->id);
	json_object_put(object);
	check_headers(&body);
	mse_body_clear(&body);
}

static void check_record(const struct mse_record *record, const char *text,
			 size_t len)
{
	struct json_object *object = parse(text, len);
	struct mse_sockets sockets;
	unsigned int i;
	int64_t ms;

	FUZZ_CHECK(json_object_is_type(object, json_type_object));
	FUZZ_CHECK(record->bytes.data == text && record->bytes.len == len);
	FUZZ_CHECK(mse_uuid_is_valid(record->id));
	FUZZ_CHECK(mse_timestamp_parse(record->time_text, &ms) == 0);
	FUZZ_CHECK(ms == record->time_ms);
	check_member(object, "id", record->id);
	check_member(object, "type", record->type_name);
	check_member(object, "time", record->time_text);
	check_member(object, "user", record->user);
	check_member(object, "mailbox", record->mailbox);
	check_member(object, "oldMailbox", record->old_mailbox);
	check_member(object, "cause", record->cause);
	FUZZ_CHECK(record->owner != NULL);
	json_object_put(object);

	check_inside(&record->data, text, len);
	FUZZ_CHECK(record->data.data[0] == '{');
	for (i = 0; i < MSE_OPTIONAL_COUNT; i++)
		check_inside(&record->optionals[i], text, len);
	for (i = 0; i < MSE_CONTENT_MEMBER_COUNT; i++) {
		check_inside(&record->content[i].text, text, len);
		check_inside(&record->content[i].suppressed, text, len);
		check_inside(&record->content[i].encoding, text, len);
		check_string(&record->content[i].text);
		check_string(&record->content[i].suppressed);
		check_string(&record->content[i].encoding);
	}
	mse_sockets_init(&sockets, "8f1e4f2e-0000-4000-8000-000000000000");
	(void)mse_sockets_state(&sockets, record->socket);
	mse_sockets_clear(&sockets);
	check_values(record);
	for (i = MSE_FORMAT_CLOUDEVENTS; i <= MSE_FORMAT_CYRUS; i++)
		check_body(record, (enum mse_conf_format)i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct mse_record record;
	struct mse_error error = { "" };

	if (size > 65536)
		return 0;
	if (mse_record_parse(text, size, &record, &error) < 0) {
		FUZZ_CHECK(error.text[0] != '\0');
		FUZZ_CHECK(record.owner == NULL && record.bytes.data == NULL);
		return 0;
	}
	check_record(&record, text, size);
	mse_record_clear(&record);
	return 0;
}
