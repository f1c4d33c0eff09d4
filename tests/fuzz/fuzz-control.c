/*
 * A line on the control socket. A request has a command, and what is said
 * about one that was refused, or with its own words, is one line of JSON.
 */
#include "fuzz.h"

#include <json-c/json.h>
#include <string.h>

#include "base/utf8.h"
#include "daemon/control-json.h"

const char fuzz_name[] = "control";

static void check_line(const char *word, size_t len)
{
	struct json_object *object, *member;
	struct mse_buf buf, scrubbed;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, 8 * len + 256);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", false);
	mse_json_bytes(&json, "word", word, len);
	mse_json_open(&json, "list", '[');
	mse_json_number(&json, NULL, INT64_MIN);
	mse_json_string(&json, NULL, NULL);
	mse_json_close(&json, ']');
	mse_json_close(&json, '}');
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(memchr(buf.data, '\n', buf.len) == NULL);
	FUZZ_CHECK(mse_utf8_is_valid(buf.data, buf.len));
	object = json_tokener_parse(buf.data);
	FUZZ_CHECK(json_object_is_type(object, json_type_object));
	FUZZ_CHECK(json_object_object_get_ex(object, "word", &member));
	mse_buf_init(&scrubbed, 3 * len + 16);
	mse_utf8_append_scrubbed(&scrubbed, word, len);
	FUZZ_CHECK((size_t)json_object_get_string_len(member) ==
		   scrubbed.len);
	FUZZ_CHECK(memcmp(json_object_get_string(member),
			  mse_buf_str(&scrubbed), scrubbed.len) == 0);
	json_object_put(object);
	mse_buf_clear(&scrubbed);
	mse_buf_clear(&buf);
}

static void check_words(const struct mse_control_request *request)
{
	const char *const words[] = { request->command, request->endpoint,
				      request->id, request->type,
				      request->user };
	size_t i;

	FUZZ_CHECK(request->command != NULL);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i] != NULL)
			check_line(words[i], strlen(words[i]));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mse_control_request request;
	struct mse_error error = { "" };

	if (size > 65536)
		return 0;
	check_line((const char *)data, size);
	if (mse_control_request_parse((const char *)data, size, &request,
				      &error) == 0) {
		check_words(&request);
		mse_control_request_clear(&request);
		return 0;
	}
	FUZZ_CHECK(error.text[0] != '\0' && request.command == NULL);
	check_line(error.text, strlen(error.text));
	return 0;
}
