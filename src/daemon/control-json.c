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

static int mse_control_member(struct json_object *object, const char *name,
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

int mse_control_request_parse(const char *line, size_t len,
			      struct mse_control_request *request_r,
			      struct mse_error *error_r)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object = NULL;
	int ret = -1;

	memset(request_r, 0, sizeof(*request_r));
	if (tokener != NULL)
		object = json_tokener_parse_ex(tokener, line, (int)len);
	if (!json_object_is_type(object, json_type_object))
		mse_error_set(error_r, "a request is one JSON object a line");
	else if (mse_control_member(object, "command", &request_r->command,
				    error_r) == 0 &&
		 mse_control_member(object, "endpoint", &request_r->endpoint,
				    error_r) == 0 &&
		 mse_control_member(object, "id", &request_r->id,
				    error_r) == 0 &&
		 mse_control_member(object, "type", &request_r->type,
				    error_r) == 0 &&
		 mse_control_member(object, "user", &request_r->user,
				    error_r) == 0)
		ret = request_r->command != NULL ? 0 :
			mse_error_set(error_r, "\"command\" is missing");
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
	memset(request, 0, sizeof(*request));
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
