/*
 * An event of any strings and numbers, written as a mail process does it: one
 * record, and every value in it as it was given (what is not UTF-8 as U+FFFD).
 */
#include "fuzz.h"

#include <json-c/json.h>
#include <string.h>

#include "base/utf8.h"
#include "event/event.h"
#include "event/record.h"

const char fuzz_name[] = "event";

#define STRINGS_MAX 128

static char *strings[STRINGS_MAX];
static unsigned int string_count;

static const char *take(struct fuzz_input *input)
{
	FUZZ_CHECK(string_count < STRINGS_MAX);
	return strings[string_count++] = fuzz_take_string(input);
}

static void check_same(const char *given, const char *got)
{
	struct mse_buf buf;

	FUZZ_CHECK((given == NULL) == (got == NULL));
	if (given == NULL)
		return;
	mse_buf_init(&buf, strlen(given) * 3 + 16);
	mse_utf8_append_scrubbed(&buf, given, strlen(given));
	FUZZ_CHECK(strcmp(mse_buf_str(&buf), got) == 0);
	mse_buf_clear(&buf);
}

static void take_params(struct fuzz_input *input, struct mse_event *event)
{
	uint64_t which = fuzz_take_number(input);
	unsigned int i;

	for (i = 0; i < MSE_PARAM_COUNT; i++) {
		enum mse_param param = (enum mse_param)i;

		if ((which & ((uint64_t)1 << i)) == 0 ||
		    param == MSE_PARAM_TIMESTAMP)
			continue;
		switch (mse_param_kind(param)) {
		case MSE_KIND_STRING:
			mse_event_set_string(event, param, take(input));
			break;
		case MSE_KIND_NUMBER:
			mse_event_set_number(event, param,
					     fuzz_take_number(input));
			break;
		case MSE_KIND_BOOL:
			mse_event_set_bool(event, param,
					   fuzz_take_octet(input) & 1);
			break;
		}
	}
}

static void take_optionals(struct fuzz_input *input,
			   struct mse_optionals *optionals)
{
	unsigned int i;

	optionals->set = fuzz_take_octet(input) &
		((1U << MSE_OPTIONAL_COUNT) - 1);
	optionals->envelope = take(input);
	optionals->body_structure = take(input);
	for (i = 0; i < MSE_HEADER_COUNT; i++) {
		if ((fuzz_take_octet(input) & 1) != 0)
			optionals->headers[i] = take(input);
	}
	optionals->unseen = fuzz_take_number(input);
	for (i = 0; i < MSE_CONTENT_MEMBER_COUNT; i++) {
		struct mse_content *content = &optionals->content[i];

		content->wanted = (fuzz_take_octet(input) & 1) != 0;
		content->text = take(input);
		content->octets = strlen(content->text);
		if ((fuzz_take_octet(input) & 1) != 0) {
			content->text = NULL;
			content->suppressed = MSE_SUPPRESSED_LIMIT;
		}
	}
}

static void check_params(const struct mse_event *event,
			 const struct mse_record *record)
{
	uint64_t number;
	unsigned int i;
	char *string;

	for (i = 0; i < MSE_PARAM_COUNT; i++) {
		enum mse_param param = (enum mse_param)i;
		bool set = (event->set & ((uint64_t)1 << i)) != 0;

		if (param == MSE_PARAM_TIMESTAMP)
			continue;
		if (mse_param_kind(param) == MSE_KIND_STRING) {
			string = NULL;
			FUZZ_CHECK(mse_record_string(record, param,
						     &string) == set);
			check_same(set ? event->values[i].string : NULL,
				   string);
			free(string);
		} else {
			FUZZ_CHECK(mse_record_number(record, param,
						     &number) == set);
			FUZZ_CHECK(!set || number == event->values[i].number);
		}
	}
}

static void check_event(const struct mse_event *event)
{
	struct json_object *object;
	struct mse_record record;
	struct mse_error error;
	struct mse_buf buf;

	mse_buf_init(&buf, 4 * 1024 * 1024);
	mse_event_write(event, &buf);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(buf.len > 2 && buf.data[0] == MSE_RECORD_SEPARATOR &&
		   buf.data[buf.len - 1] == '\n');
	FUZZ_CHECK(memchr(buf.data + 1, MSE_RECORD_SEPARATOR,
			  buf.len - 1) == NULL);
	FUZZ_CHECK(memchr(buf.data, '\n', buf.len - 1) == NULL);
	FUZZ_CHECK(mse_record_parse(buf.data + 1, buf.len - 2, &record,
				    &error) == 0);
	FUZZ_CHECK(record.type == event->type);
	FUZZ_CHECK(record.time_ms == event->time_ms);
	FUZZ_CHECK(strcmp(record.id, event->id) == 0);
	check_same(event->user, record.user);
	check_same(event->owner, record.owner);
	check_same(event->mailbox, record.mailbox);
	check_params(event, &record);
	mse_record_clear(&record);
	object = json_tokener_parse(buf.data + 1);
	FUZZ_CHECK(json_object_is_type(object, json_type_object));
	json_object_put(object);
	mse_buf_clear(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct mse_optionals optionals;
	struct mse_event event;
	uint8_t flags;

	if (size > 65536)
		return 0;
	memset(&optionals, 0, sizeof(optionals));
	flags = fuzz_take_octet(&input);
	/* From 1970 to 9999. */
	mse_event_init(&event, (enum mse_event_type)
		       (fuzz_take_octet(&input) % MSE_EVENT_TYPE_COUNT),
		       (int64_t)(fuzz_take_number(&input) % 253402300799999));
	event.user = take(&input);
	event.owner = (flags & 1) != 0 ? take(&input) : event.user;
	event.mailbox = (flags & 2) != 0 ? take(&input) : NULL;
	if (event.type == MSE_EVENT_MAILBOX_RENAME)
		event.old_mailbox = take(&input);
	if ((flags & 4) != 0) {
		take_optionals(&input, &optionals);
		event.optionals = &optionals;
	}
	take_params(&input, &event);
	check_event(&event);
	while (string_count > 0)
		free(strings[--string_count]);
	return 0;
}
