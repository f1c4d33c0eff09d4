/*
 * `data` as one endpoint is told it. Pure: depends on the record and the
 * endpoint's configuration alone, so that every attempt sends the same octets.
 */
#include "format/data.h"

#include <string.h>

#include "event/json-string.h"

struct data {
	const struct mse_conf_endpoint *endpoint;
	const struct mse_record *record;
	struct mse_buf *buf;
	bool any; /* there is something to put a comma behind */
};

static void begin_member(struct data *data, const char *name)
{
	mse_buf_appendf(data->buf, "%s\"%s\":", data->any ? "," : "", name);
	data->any = true;
}

static void splice(struct data *data, const char *name,
		   const struct mse_slice *value)
{
	begin_member(data, name);
	mse_buf_append(data->buf, value->data, value->len);
}

static void put_string(struct data *data, const char *name, const char *value)
{
	begin_member(data, name);
	mse_json_append_string(data->buf, value, strlen(value));
}

/* Without its braces. */
static void splice_recorded(struct data *data)
{
	const char *inside = data->record->data.data + 1;
	size_t len = data->record->data.len - 2;

	mse_buf_append(data->buf, inside, len);
	data->any = strspn(inside, " \t\r\n") < len;
}

static void put_text(struct data *data,
		     const struct mse_record_content *content)
{
	splice(data, mse_optional_member(MSE_OPTIONAL_MESSAGE_CONTENT),
	       &content->text);
	if (content->encoding.data != NULL)
		splice(data, MSE_CONTENT_ENCODING, &content->encoding);
}

/* Why there is none, if octets (those the limit is for) are within it. */
static void put_suppressed(struct data *data,
			   const struct mse_record_content *content,
			   uint64_t octets)
{
	if (!content->present)
		put_string(data, MSE_CONTENT_SUPPRESSED,
			   MSE_SUPPRESSED_UNRECORDED);
	else if (octets > data->endpoint->subscription.content_limit ||
		 content->suppressed.data == NULL)
		put_string(data, MSE_CONTENT_SUPPRESSED, MSE_SUPPRESSED_LIMIT);
	else
		splice(data, MSE_CONTENT_SUPPRESSED, &content->suppressed);
}

static void put_part(struct data *data, enum mse_content_part part)
{
	const struct mse_record_content *content = &data->record->content[part];

	if (content->present && content->text.data != NULL &&
	    content->octets <= data->endpoint->subscription.content_limit)
		put_text(data, content);
	else
		put_suppressed(data, content, content->octets);
}

/* The whole message if its body is within the limit, else its headers. */
static void put_headersbody(struct data *data)
{
	const struct mse_record_content
		*message = &data->record->content[MSE_CONTENT_MESSAGE],
		*headers = &data->record->content[MSE_CONTENT_HEADERS];
	uint64_t body = message->octets > headers->octets ?
		message->octets - headers->octets : 0;

	if (message->present && headers->present &&
	    message->text.data != NULL &&
	    body <= data->endpoint->subscription.content_limit) {
		put_text(data, message);
		return;
	}
	if (headers->present && headers->text.data != NULL)
		put_text(data, headers);
	put_suppressed(data, message, body);
}

static void put_content(struct data *data)
{
	enum mse_content_part part =
		data->endpoint->subscription.content_part;

	if (data->record->type != MSE_EVENT_MESSAGE_NEW &&
	    data->record->type != MSE_EVENT_MESSAGE_APPEND)
		return;
	if (part == MSE_CONTENT_HEADERSBODY)
		put_headersbody(data);
	else
		put_part(data, part);
}

static void put_optionals(struct data *data)
{
	mse_optionals_t asked = data->endpoint->subscription.optionals;
	const struct mse_slice *value;
	unsigned int i;

	for (i = 0; i < MSE_OPTIONAL_COUNT; i++) {
		if ((asked & MSE_OPTIONAL_BIT(i)) == 0)
			continue;
		value = &data->record->optionals[i];
		if (i == MSE_OPTIONAL_MESSAGE_CONTENT)
			put_content(data);
		else if (value->data != NULL)
			splice(data, mse_optional_member(
				(enum mse_optional)i), value);
	}
}

void mse_data_append_members(const struct mse_conf_endpoint *endpoint,
			     const struct mse_record *record,
			     struct mse_buf *buf)
{
	struct data data = {
		.endpoint = endpoint, .record = record, .buf = buf
	};

	splice_recorded(&data);
	if (endpoint->tags != NULL)
		put_string(&data, mse_param_name(MSE_PARAM_TAGS),
			   endpoint->tags);
	put_optionals(&data);
}

void mse_data_append(const struct mse_conf_endpoint *endpoint,
		     const struct mse_record *record, struct mse_buf *buf)
{
	mse_buf_append_char(buf, '{');
	mse_data_append_members(endpoint, record, buf);
	mse_buf_append_char(buf, '}');
}
