/*
 * JSON of the control socket. json-c reads; writing is so little that it
 * goes straight into the reply's bounded buffer.
 *
 * Invariant: a reply is one line of valid UTF-8, whatever octets an answer's
 * body or a mailbox name has.
 */
#include "mse-config.h"

#include "daemon/control-json.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static int mse_control_string(struct json_object *object, const char *name,
			      char **value_r, struct mse_error *error_r)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value) || value == NULL)
		return 0;
	if (!json_object_is_type(value, json_type_string))
		return mse_error_set(error_r, "\"%s\" must be a string", name);
	*value_r = strdup(json_object_get_string(value));
	return *value_r != NULL ? 0 :
		mse_error_set(error_r, "there is no memory");
}

static int mse_control_number(struct json_object *object, const char *name,
			      int64_t *value_r, struct mse_error *error_r)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value) || value == NULL)
		return 0;
	if (!json_object_is_type(value, json_type_int))
		return mse_error_set(error_r, "\"%s\" must be a whole number",
				     name);
	*value_r = json_object_get_int64(value);
	return 0;
}

static int mse_control_bool(struct json_object *object, const char *name,
			    bool *value_r, struct mse_error *error_r)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value) || value == NULL)
		return 0;
	if (!json_object_is_type(value, json_type_boolean))
		return mse_error_set(error_r, "\"%s\" must be true or false",
				     name);
	*value_r = json_object_get_boolean(value);
	return 0;
}

static int mse_control_members(struct json_object *object,
			       struct mse_control_request *request,
			       struct mse_error *error_r)
{
	const struct {
		const char *name;
		char **value;
	} strings[] = {
		{ "command", &request->command },
		{ "endpoint", &request->endpoint },
		{ "id", &request->id },
		{ "type", &request->type },
		{ "user", &request->user },
		{ "mailbox", &request->mailbox }
	};
	const struct {
		const char *name;
		int64_t *value;
	} numbers[] = {
		{ "since_ms", &request->since_ms },
		{ "until_ms", &request->until_ms },
		{ "uidvalidity", &request->uidvalidity }
	};
	size_t i;

	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		if (mse_control_string(object, strings[i].name,
				       strings[i].value, error_r) < 0)
			return -1;
	}
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (mse_control_number(object, numbers[i].name,
				       numbers[i].value, error_r) < 0)
			return -1;
	}
	if (mse_control_bool(object, "all", &request->all, error_r) < 0 ||
	    mse_control_bool(object, "dry_run", &request->dry_run, error_r) < 0)
		return -1;
	return request->command != NULL ? 0 :
		mse_error_set(error_r, "\"command\" is missing");
}

/* Nothing but white space behind the object. */
static bool mse_control_ends(const char *line, size_t len,
			     struct json_tokener *tokener)
{
	size_t i = json_tokener_get_parse_end(tokener);

	while (i < len && (line[i] == ' ' || line[i] == '\t' ||
			   line[i] == '\r'))
		i++;
	return i >= len;
}

int mse_control_request_parse(const char *line, size_t len,
			      struct mse_control_request *request_r,
			      struct mse_error *error_r)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object = NULL;
	int ret = -1;

	memset(request_r, 0, sizeof(*request_r));
	request_r->since_ms = INT64_MIN;
	request_r->until_ms = INT64_MAX;
	if (tokener != NULL)
		object = json_tokener_parse_ex(tokener, line, (int)len);
	if (!json_object_is_type(object, json_type_object))
		mse_error_set(error_r, "a request is one JSON object a line");
	else if (!mse_control_ends(line, len, tokener))
		mse_error_set(error_r, "a request is one JSON object a line, "
			      "and something stands behind this one");
	else
		ret = mse_control_members(object, request_r, error_r);
	json_object_put(object);
	if (tokener != NULL)
		json_tokener_free(tokener);
	if (ret < 0)
		mse_control_request_clear(request_r);
	return ret;
}

void mse_control_request_clear(struct mse_control_request *request)
{
	free(request->command);
	free(request->endpoint);
	free(request->id);
	free(request->type);
	free(request->user);
	free(request->mailbox);
	memset(request, 0, sizeof(*request));
}

bool mse_control_picks(const struct mse_control_request *request)
{
	return request->all || request->id != NULL || request->type != NULL ||
		request->user != NULL || request->since_ms != INT64_MIN ||
		request->until_ms != INT64_MAX;
}

static void mse_json_escape(struct mse_buf *buf, const char *data, size_t len)
{
	size_t i;

	mse_buf_append_char(buf, '"');
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == '"' || c == '\\')
			mse_buf_appendf(buf, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			mse_buf_appendf(buf, "\\u%04x", c);
		else
			mse_buf_append_char(buf, (char)c);
	}
	mse_buf_append_char(buf, '"');
}

static void mse_json_key(struct mse_json *json, const char *key)
{
	if (json->comma)
		mse_buf_append_char(json->buf, ',');
	json->comma = true;
	if (key != NULL)
		mse_buf_appendf(json->buf, "\"%s\":", key);
}

void mse_json_open(struct mse_json *json, const char *key, char bracket)
{
	mse_json_key(json, key);
	mse_buf_append_char(json->buf, bracket);
	json->comma = false;
}

void mse_json_close(struct mse_json *json, char bracket)
{
	mse_buf_append_char(json->buf, bracket);
	json->comma = true;
}

void mse_json_bytes(struct mse_json *json, const char *key, const char *data,
		    size_t len)
{
	struct mse_buf scrubbed;

	mse_json_key(json, key);
	mse_buf_init(&scrubbed, len * 3 + 16);
	mse_utf8_append_scrubbed(&scrubbed, data, len);
	mse_json_escape(json->buf, mse_buf_str(&scrubbed), scrubbed.len);
	mse_buf_clear(&scrubbed);
}

void mse_json_string(struct mse_json *json, const char *key,
		     const char *value)
{
	if (value != NULL)
		mse_json_bytes(json, key, value, strlen(value));
}

void mse_json_number(struct mse_json *json, const char *key, int64_t value)
{
	mse_json_key(json, key);
	mse_buf_appendf(json->buf, "%" PRId64, value);
}

void mse_json_bool(struct mse_json *json, const char *key, bool value)
{
	mse_json_key(json, key);
	mse_buf_append_str(json->buf, value ? "true" : "false");
}
