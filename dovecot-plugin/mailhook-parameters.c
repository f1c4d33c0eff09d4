/*
 * Optional parameters of MessageNew and MessageAppend: asked of Dovecot before
 * it saves a message, so that it finds them while it parses it for itself;
 * taken when it is saved; told when the transaction has committed.
 * Invariants: nothing is looked up that no matching endpoint asked for; what
 * cannot be had is absent, and neither the save nor its error knows.
 */

#include "lib.h"
#include "str.h"
#include "mail-index-private.h"
#include "message-header-decode.h"
#include "mailhook-compat.h"
#include "mailhook-plugin.h"

/* Of one transaction; what is beyond is left out. */
#define MAILHOOK_TEXTS_MAX (16 * 1024 * 1024)
#define MAILHOOK_CONTENT_MAX (16 * 1024 * 1024)
/* Longer ones are absent. */
#define MAILHOOK_BODY_STRUCTURE_MAX (256 * 1024)
/* Of one header field: what is looked at, and what is told. */
#define MAILHOOK_RAW_HEADER_MAX (16 * 1024)
#define MAILHOOK_HEADER_MAX (8 * 1024)
/* Of all that are looked at, with those that come more than once. */
#define MAILHOOK_HEADERS_MAX (256 * 1024)

static bool mailhook_wants(const struct mailhook_transaction *mt,
			   enum mse_optional optional)
{
	return (mt->wanted.optionals & MSE_OPTIONAL_BIT(optional)) != 0;
}

/* Kept: finding the fields in the mailbox's cache takes its time. */
static struct mailbox_header_lookup_ctx *
mailhook_headers_lookup(struct mailhook_transaction *mt, struct mailbox *box)
{
	const char *fields[MSE_HEADER_COUNT + 1];
	unsigned int i;

	if (mt->headers != NULL && mt->headers_box == box)
		return mt->headers;
	if (mt->headers != NULL)
		mailbox_header_lookup_unref(&mt->headers);
	for (i = 0; i < MSE_HEADER_COUNT; i++)
		fields[i] = mse_header_field(i);
	fields[i] = NULL;
	mt->headers = mailbox_header_lookup_init(box, fields);
	mt->headers_box = box;
	return mt->headers;
}

void mailhook_parameters_init(struct mailhook_transaction *mt,
			      const struct mse_interest *interest,
			      const struct mailhook_place *place,
			      enum mse_event_type type)
{
	const struct mse_event_route route = {
		.type = type, .owner = place->lane, .mailbox = place->mailbox
	};

	mse_interest_wanted(interest, &route, &mt->wanted);
	mse_buf_init(&mt->texts, MAILHOOK_TEXTS_MAX);
	mse_buf_init(&mt->content, MAILHOOK_CONTENT_MAX);
}

void mailhook_parameters_deinit(struct mailhook_transaction *mt)
{
	if (mt->headers != NULL)
		mailbox_header_lookup_unref(&mt->headers);
	mse_buf_clear(&mt->texts);
	mse_buf_clear(&mt->content);
}

/* All at once, or each would be a parse of its own. */
static void mailhook_ask_headers(struct mailhook_transaction *mt,
				 struct mail *mail)
{
	if (mailhook_wants(mt, MSE_OPTIONAL_HEADERS))
		mail_add_temp_wanted_fields(
			mail, 0, mailhook_headers_lookup(mt, mail->box));
}

void mailhook_parameters_ask(struct mail_save_context *ctx)
{
	struct mailhook_transaction *mt =
		mailhook_transaction_get(ctx->transaction);

	if (mt == NULL || ctx->dest_mail == NULL)
		return;
	if (mailhook_wants(mt, MSE_OPTIONAL_BODY_STRUCTURE))
		mail_add_temp_wanted_fields(ctx->dest_mail,
					    MAIL_FETCH_IMAP_BODYSTRUCTURE,
					    NULL);
	mailhook_ask_headers(mt, ctx->dest_mail);
}

/* Strings are kept by where they begin, because their buffer moves, and made
   where they are kept. 0: none, or no room. */
#define MAILHOOK_CUT "\xe2\x80\xa6"

/* So many octets, a NUL, and what stands for the rest of a text. NULL: none. */
static char *mailhook_text_room(struct mailhook_transaction *mt, size_t len)
{
	struct mse_buf *texts = &mt->texts;
	char *room;

	/* So that 0 is no beginning. */
	if (texts->len == 0)
		mse_buf_append_char(texts, '\0');
	room = mse_buf_reserve(texts, len + strlen(MAILHOOK_CUT) + 1);
	texts->failed = false;
	return room;
}

/* What has been put there. */
static size_t mailhook_text_keep(struct mailhook_transaction *mt, size_t len)
{
	size_t start = mt->texts.len;

	mt->texts.len += len;
	mse_buf_append_char(&mt->texts, '\0');
	return start;
}

static const char *mailhook_kept_text(const struct mailhook_transaction *mt,
				      size_t start)
{
	return start == 0 ? NULL : mse_buf_str(&mt->texts) + start;
}

static size_t mailhook_take_body_structure(struct mailhook_transaction *mt,
					   struct mail *mail)
{
	const char *inside;
	char *room;
	size_t len;

	if (mail_get_special(mail, MAIL_FETCH_IMAP_BODYSTRUCTURE,
			     &inside) < 0)
		return 0;
	len = strlen(inside);
	room = len > MAILHOOK_BODY_STRUCTURE_MAX ? NULL :
		mailhook_text_room(mt, len + 2);
	if (room == NULL)
		return 0;
	/* As in a FETCH response. */
	room[0] = '(';
	memcpy(room + 1, inside, len);
	room[len + 1] = ')';
	return mailhook_text_keep(mt, len + 2);
}

/* Folded lines become one. A NUL becomes what is no character. plain: neither
   encoded words nor anything that is not ASCII. Returns the length. */
static size_t mailhook_unfold(const unsigned char *raw, size_t len,
			      char *line, bool *plain_r)
{
	unsigned char all = 0, c;
	char *end = line;
	size_t i;

	*plain_r = TRUE;
	for (i = 0; i < len; i++) {
		c = raw[i];
		if (c == '\n') {
			if (i + 1 < len && (raw[i + 1] == ' ' ||
					    raw[i + 1] == '\t'))
				i++;
			c = ' ';
		} else if (c == '\0') {
			c = 0x80;
		} else if (c == '\r') {
			continue;
		} else if (c == '?' && end > line && end[-1] == '=') {
			*plain_r = FALSE;
		}
		all |= c;
		*end++ = (char)c;
	}
	if (all >= 0x80)
		*plain_r = FALSE;
	return (size_t)(end - line);
}

/* Encoded words can bring anything, NUL and line ends too. What is too long
   ends with "…". Returns the length. */
static size_t mailhook_make_readable(char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
	}
	while (len > 0 && text[len - 1] == ' ')
		len--;
	if (len <= MAILHOOK_HEADER_MAX)
		return len;
	/* Not within a character. */
	for (len = MAILHOOK_HEADER_MAX;
	     len > 0 && (text[len] & 0xc0) == 0x80; len--)
		;
	memcpy(text + len, MAILHOOK_CUT, strlen(MAILHOOK_CUT));
	return len + strlen(MAILHOOK_CUT);
}

/* RFC 2047 decoded, in one line of text. */
static size_t mailhook_take_header(struct mailhook_transaction *mt,
				   const unsigned char *raw, size_t raw_len)
{
	size_t len = I_MIN(raw_len, MAILHOOK_RAW_HEADER_MAX);
	char *room = mailhook_text_room(mt, len);
	string_t *text;
	bool plain;

	if (room == NULL)
		return 0;
	len = mailhook_unfold(raw, len, room, &plain);
	if (!plain) T_BEGIN {
		text = t_str_new(len + 1);
		message_header_decode_utf8((const unsigned char *)room, len,
					   text, NULL);
		len = str_len(text);
		room = mailhook_text_room(mt, len);
		if (room != NULL)
			memcpy(room, str_data(text), len);
	} T_END;
	return room == NULL ? 0 :
		mailhook_text_keep(mt, mailhook_make_readable(room, len));
}

static bool mailhook_is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* Which of our fields a header line is, and where its value begins. */
static bool mailhook_header_find(const unsigned char *line, size_t len,
				 unsigned int *header_r, size_t *value_r)
{
	unsigned int i;
	size_t at;

	for (i = 0; i < MSE_HEADER_COUNT; i++) {
		at = strlen(mse_header_field(i));
		if (at >= len || strncasecmp((const char *)line,
					     mse_header_field(i), at) != 0)
			continue;
		while (at < len && mailhook_is_blank(line[at]))
			at++;
		if (at == len || line[at] != ':')
			continue;
		/* It may all be on the lines that follow. */
		for (at++; at < len && (mailhook_is_blank(line[at]) ||
					line[at] == '\r' ||
					line[at] == '\n'); at++)
			;
		*header_r = i;
		*value_r = at;
		return TRUE;
	}
	return FALSE;
}

/* The first of each field. A line goes on where the next begins with white
   space. */
static void mailhook_take_fields(struct mailhook_transaction *mt,
				 const unsigned char *data, size_t size,
				 struct mailhook_optionals *taken)
{
	size_t begin, end, value;
	unsigned int header;

	for (begin = 0; begin < size; begin = end + 1) {
		end = begin;
		while (end < size &&
		       (data[end] != '\n' ||
			(end + 1 < size && mailhook_is_blank(data[end + 1]))))
			end++;
		if (!mailhook_header_find(data + begin, end - begin, &header,
					  &value) ||
		    taken->headers[header] != 0)
			continue;
		taken->headers[header] = mailhook_take_header(
			mt, data + begin + value, end - begin - value);
	}
}

/* All at once: each asked for by itself is looked up in Dovecot's cache by
   itself. */
static void mailhook_take_headers(struct mailhook_transaction *mt,
				  struct mail *mail,
				  struct mailhook_optionals *taken)
{
	struct mailbox_header_lookup_ctx *headers =
		mailhook_headers_lookup(mt, mail->box);
	const unsigned char *data;
	struct istream *input;
	string_t *text;
	size_t size;

	if (mail_get_header_stream(mail, headers, &input) == 0) {
		text = t_str_new(1024);
		while (str_len(text) < MAILHOOK_HEADERS_MAX &&
		       i_stream_read_more(input, &data, &size) > 0) {
			str_append_data(text, data, size);
			i_stream_skip(input, size);
		}
		if (input->stream_errno == 0)
			mailhook_take_fields(mt, str_data(text),
					     str_len(text), taken);
	}
}

static void mailhook_take(struct mailhook_transaction *mt,
			  const struct mailhook_save *save, struct mail *mail,
			  struct mailhook_optionals *taken)
{
	if (mailhook_wants(mt, MSE_OPTIONAL_BODY_STRUCTURE)) T_BEGIN {
		taken->body_structure = mailhook_take_body_structure(mt, mail);
	} T_END;
	if (mailhook_wants(mt, MSE_OPTIONAL_HEADERS)) T_BEGIN {
		mailhook_take_headers(mt, mail, taken);
	} T_END;
	if (mailhook_wants(mt, MSE_OPTIONAL_MESSAGE_CONTENT))
		mailhook_content_take(mt, save, mail, &taken->content);
}

/* A message being saved to an mbox cannot be read: that would seek in the
   file under the save. What was parsed meanwhile is there all the same. */
static bool mailhook_may_read(const struct mail *mail)
{
	return !mail->saving ||
		strcmp(mail->box->storage->name, "mbox") != 0;
}

struct mailhook_optionals *
mailhook_parameters_take(struct mailhook_transaction *mt,
			 const struct mailhook_save *save,
			 const struct mail_save_context *ctx,
			 struct mail *dest, struct mail *src)
{
	/* A file was linked: the source's cache knows more, and several
	   recipients' copies have one source. Else the copy was parsed while
	   it was written. */
	struct mail *mail = src != NULL && !ctx->copying_via_save ? src : dest;
	enum mail_lookup_abort abort = mail->lookup_abort;
	struct mailhook_optionals *taken;

	if (mt->wanted.optionals == 0)
		return NULL;
	taken = p_new(mt->pool, struct mailhook_optionals, 1);
	if (!mailhook_may_read(mail))
		mail->lookup_abort = MAIL_LOOKUP_ABORT_NOT_IN_CACHE;
	mail_storage_last_error_push(mail->box->storage);
	/* The other one was asked before it was saved. */
	if (mail != dest)
		mailhook_ask_headers(mt, mail);
	mailhook_take(mt, save, mail, taken);
	mail_storage_last_error_pop(mail->box->storage);
	mail->lookup_abort = abort;
	return taken;
}

static void mailhook_give_headers(const struct mailhook_transaction *mt,
				  const struct mailhook_optionals *taken,
				  struct mse_optionals *optionals_r)
{
	unsigned int i;

	for (i = 0; i < MSE_HEADER_COUNT; i++)
		optionals_r->headers[i] =
			mailhook_kept_text(mt, taken->headers[i]);
	optionals_r->set |= MSE_OPTIONAL_BIT(MSE_OPTIONAL_HEADERS);
}

/* As STATUS has it. \Seen flags of one's own in a shared mailbox are in an
   index that is only updated later. */
static void mailhook_give_unseen(struct mailbox *box,
				 const struct mail_index_header *hdr,
				 struct mse_optionals *optionals_r)
{
	if (hdr == NULL ||
	    (mailbox_get_private_flags_mask(box) & MAIL_SEEN) != 0)
		return;
	if (hdr->seen_messages_count > hdr->messages_count)
		return;
	optionals_r->unseen = hdr->messages_count - hdr->seen_messages_count;
	optionals_r->set |= MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN);
}

void mailhook_parameters_give(const struct mailhook_transaction *mt,
			      const struct mailhook_save *save,
			      struct mailbox *box,
			      const struct mail_index_header *hdr,
			      struct mse_optionals *optionals_r)
{
	const struct mailhook_optionals *taken = save->optionals;

	i_zero(optionals_r);
	if (taken == NULL)
		return;
	if (mailhook_wants(mt, MSE_OPTIONAL_ENVELOPE) &&
	    save->type == MSE_EVENT_MESSAGE_NEW) {
		optionals_r->envelope = mailhook_envelope_get(mt->user);
		if (optionals_r->envelope != NULL)
			optionals_r->set |=
				MSE_OPTIONAL_BIT(MSE_OPTIONAL_ENVELOPE);
	}
	if (taken->body_structure != 0) {
		optionals_r->body_structure =
			mailhook_kept_text(mt, taken->body_structure);
		optionals_r->set |=
			MSE_OPTIONAL_BIT(MSE_OPTIONAL_BODY_STRUCTURE);
	}
	if (mailhook_wants(mt, MSE_OPTIONAL_HEADERS))
		mailhook_give_headers(mt, taken, optionals_r);
	if (mailhook_wants(mt, MSE_OPTIONAL_UNSEEN))
		mailhook_give_unseen(box, hdr, optionals_r);
	if (mailhook_wants(mt, MSE_OPTIONAL_MESSAGE_CONTENT)) {
		mailhook_content_give(mt, &taken->content, optionals_r);
		optionals_r->set |=
			MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT);
	}
}
