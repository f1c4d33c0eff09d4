/*
 * messageContent: a message, its headers or its body, as IMAP's BODY[],
 * BODY[HEADER] and BODY[TEXT] give them, kept until the transaction has
 * committed. Invariants: a content is whole or left out; a message is read
 * once, and not at all if nothing of it is within the limits; whatever fails,
 * the save goes on.
 */

#include "lib.h"
#include "istream-crlf.h"
#include "message-size.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#define MAILHOOK_PART(part) (1u << MSE_CONTENT_##part)

static uint64_t mailhook_limit(const struct mailhook_transaction *mt,
			       enum mse_content_part part)
{
	return mt->wanted.content_limit[part];
}

/* Which of them anyone takes at this size. */
static unsigned int
mailhook_content_choose(const struct mailhook_transaction *mt,
			uint64_t headers, uint64_t body)
{
	const uint64_t *limit = mt->wanted.content_limit;
	bool either = limit[MSE_CONTENT_HEADERSBODY] > 0;
	uint64_t most;
	unsigned int parts = 0;

	if (limit[MSE_CONTENT_MESSAGE] >= headers + body ||
	    (either && body <= limit[MSE_CONTENT_HEADERSBODY] &&
	     headers + body <= MSE_CONTENT_MAX))
		parts |= MAILHOOK_PART(MESSAGE);
	most = either ? MSE_CONTENT_MAX : limit[MSE_CONTENT_HEADERS];
	if (most >= headers)
		parts |= MAILHOOK_PART(HEADERS);
	if (limit[MSE_CONTENT_BODY] >= body)
		parts |= MAILHOOK_PART(BODY);
	return parts;
}

static bool mailhook_content_wants(const struct mailhook_transaction *mt,
				   enum mse_content_part part)
{
	return mailhook_limit(mt, part) > 0 ||
		((part == MSE_CONTENT_MESSAGE ||
		  part == MSE_CONTENT_HEADERS) &&
		 mailhook_limit(mt, MSE_CONTENT_HEADERSBODY) > 0);
}

/* Exactly so many octets up to the end of input, or nothing. */
static int mailhook_content_read(struct istream *input, uint64_t octets,
				 struct mse_buf *buf)
{
	size_t before = buf->len, size;
	const unsigned char *data;
	ssize_t ret;

	while ((ret = i_stream_read_more(input, &data, &size)) > 0) {
		if (size > octets - (buf->len - before))
			break;
		mse_buf_append(buf, data, size);
		if (mse_buf_failed(buf))
			break;
		i_stream_skip(input, size);
	}
	if (ret == -1 && input->stream_errno == 0 &&
	    buf->len - before == octets)
		return 0;
	mse_buf_truncate(buf, before);
	buf->failed = false;
	return -1;
}

/* input: the message as it is stored, at its beginning. */
static int mailhook_content_copy(struct mailhook_transaction *mt,
				 struct mailhook_content *content,
				 struct istream *input,
				 uoff_t stored_headers)
{
	bool headers = (content->parts & (MAILHOOK_PART(MESSAGE) |
					  MAILHOOK_PART(HEADERS))) != 0;
	bool body = (content->parts & (MAILHOOK_PART(MESSAGE) |
				       MAILHOOK_PART(BODY))) != 0;
	struct istream *part, *crlf;
	uint64_t octets;
	int ret;

	octets = (headers ? content->headers : 0) + (body ? content->body : 0);
	if (octets > mt->content.limit - mt->content.len) {
		content->suppressed = MSE_SUPPRESSED_TRANSACTION;
		return 0;
	}
	i_stream_seek(input, headers ? 0 : stored_headers);
	part = i_stream_create_limit(input, body ? UOFF_T_MAX :
				     stored_headers);
	crlf = i_stream_create_crlf(part);
	content->start = mt->content.len;
	content->has_headers = headers;
	ret = mailhook_content_read(crlf, octets, &mt->content);
	i_stream_unref(&crlf);
	i_stream_unref(&part);
	return ret;
}

/* size: of the whole message. -1: it cannot be read. */
static int mailhook_content_get(struct mailhook_transaction *mt,
				struct mailhook_content *content,
				struct mail *mail, uint64_t size)
{
	struct message_size headers;
	struct istream *input;

	/* With its size alone it may be clear that nobody takes it. */
	content->body = size;
	if (!mailhook_content_wants(mt, MSE_CONTENT_HEADERS) &&
	    !mailhook_content_wants(mt, MSE_CONTENT_BODY) &&
	    size > mailhook_limit(mt, MSE_CONTENT_MESSAGE))
		return 0;
	if (mail_get_stream_because(mail, &headers, NULL, "mailhook content",
				    &input) < 0 ||
	    headers.virtual_size > size)
		return -1;
	content->headers = headers.virtual_size;
	content->body = size - headers.virtual_size;
	content->parts = mailhook_content_choose(mt, content->headers,
						 content->body);
	return content->parts == 0 ? 0 :
		mailhook_content_copy(mt, content, input,
				      headers.physical_size);
}

void mailhook_content_take(struct mailhook_transaction *mt,
			   const struct mailhook_save *save,
			   struct mail *mail,
			   struct mailhook_content *content)
{
	if (!save->size_known ||
	    mailhook_content_get(mt, content, mail, save->size) < 0)
		content->suppressed = MSE_SUPPRESSED_UNREADABLE;
}

/* Of what is in the transaction. */
static void mailhook_content_tell(const struct mailhook_transaction *mt,
				  const struct mailhook_content *content,
				  enum mse_content_part part,
				  struct mse_content *told)
{
	const char *text = mse_buf_str(&mt->content) + content->start;

	told->wanted = true;
	told->octets = (part == MSE_CONTENT_BODY ? 0 : content->headers) +
		(part == MSE_CONTENT_HEADERS ? 0 : content->body);
	told->suppressed = content->suppressed;
	if (content->suppressed != NULL)
		return;
	if ((content->parts & 1u << part) == 0) {
		told->suppressed = MSE_SUPPRESSED_LIMIT;
		return;
	}
	if (part == MSE_CONTENT_BODY && content->has_headers)
		text += content->headers;
	told->text = text;
}

void mailhook_content_give(const struct mailhook_transaction *mt,
			   const struct mailhook_content *content,
			   struct mse_optionals *optionals)
{
	unsigned int part;

	for (part = 0; part < MSE_CONTENT_MEMBER_COUNT; part++) {
		if (mailhook_content_wants(mt, part))
			mailhook_content_tell(mt, content, part,
					      &optionals->content[part]);
	}
}
