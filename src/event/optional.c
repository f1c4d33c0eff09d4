/*
 * The optional parameters' members of a record. Invariant: each value is
 * written once, in the form in which delivery splices it into a body.
 */
#include "event/optional.h"

#include <string.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "event/json-string.h"

static bool has(const struct mse_optionals *optionals,
		enum mse_optional optional)
{
	return (optionals->set & MSE_OPTIONAL_BIT(optional)) != 0;
}

/* In mail processes: no printf. */
static void write_name(struct mse_buf *buf, const char *before,
		       const char *name)
{
	mse_buf_append_str(buf, before);
	mse_buf_append_char(buf, '"');
	mse_buf_append_str(buf, name);
	mse_buf_append(buf, "\":", 2);
}

static void write_string(struct mse_buf *buf, enum mse_optional optional,
			 const char *value)
{
	write_name(buf, ",", mse_optional_name(optional));
	mse_json_append_string(buf, value, strlen(value));
}

static void write_headers(struct mse_buf *buf,
			  const char *const headers[MSE_HEADER_COUNT])
{
	const char *comma = "";
	unsigned int i;

	write_name(buf, ",", mse_optional_name(MSE_OPTIONAL_HEADERS));
	mse_buf_append_char(buf, '{');
	for (i = 0; i < MSE_HEADER_COUNT; i++) {
		if (headers[i] == NULL)
			continue;
		write_name(buf, comma, mse_header_name(i));
		mse_json_append_string(buf, headers[i], strlen(headers[i]));
		comma = ",";
	}
	mse_buf_append_char(buf, '}');
}

/* NUL is valid UTF-8, but no receiver's idea of text. Other control
   characters take six octets in JSON, so there may be some, not many. */
static bool is_text(const char *data, size_t len)
{
	size_t i, controls = 0;

	for (i = 0; i < len; i++) {
		if (data[i] == '\0')
			return false;
		if (((unsigned char)data[i] < 0x20 && data[i] != '\t' &&
		     data[i] != '\n' && data[i] != '\r') || data[i] == 0x7f)
			controls++;
	}
	return controls <= len / 16 && mse_utf8_is_valid(data, len);
}

static void write_text(struct mse_buf *buf, const char *text, size_t len)
{
	if (is_text(text, len)) {
		write_name(buf, ",", "text");
		mse_json_append_string(buf, text, len);
	} else {
		write_name(buf, ",", "encoding");
		mse_buf_append_str(buf, "\"base64\"");
		write_name(buf, ",", "text");
		mse_buf_append_char(buf, '"');
		mse_base64_append(buf, text, len);
		mse_buf_append_char(buf, '"');
	}
}

static void write_content(struct mse_buf *buf, enum mse_content_part part,
			  const struct mse_content *content)
{
	write_name(buf, ",", mse_content_part_member(part));
	mse_buf_append_char(buf, '{');
	write_name(buf, "", "octets");
	mse_buf_append_number(buf, content->octets);
	if (content->text != NULL) {
		write_text(buf, content->text, (size_t)content->octets);
	} else {
		write_name(buf, ",", "suppressed");
		mse_json_append_string(buf, content->suppressed,
				       strlen(content->suppressed));
	}
	mse_buf_append_char(buf, '}');
}

void mse_optionals_write(const struct mse_optionals *optionals,
			 struct mse_buf *buf)
{
	unsigned int i;

	if (has(optionals, MSE_OPTIONAL_ENVELOPE))
		write_string(buf, MSE_OPTIONAL_ENVELOPE, optionals->envelope);
	if (has(optionals, MSE_OPTIONAL_BODY_STRUCTURE))
		write_string(buf, MSE_OPTIONAL_BODY_STRUCTURE,
			     optionals->body_structure);
	if (has(optionals, MSE_OPTIONAL_HEADERS))
		write_headers(buf, optionals->headers);
	if (has(optionals, MSE_OPTIONAL_UNSEEN)) {
		write_name(buf, ",", mse_optional_name(MSE_OPTIONAL_UNSEEN));
		mse_buf_append_number(buf, optionals->unseen);
	}
	if (!has(optionals, MSE_OPTIONAL_MESSAGE_CONTENT))
		return;
	for (i = 0; i < MSE_CONTENT_MEMBER_COUNT; i++) {
		if (optionals->content[i].wanted)
			write_content(buf, i, &optionals->content[i]);
	}
}
