/*
 * IMAP URLs, RFC 5092. The URI is the lossless form of a name: bytes that
 * are not allowed literally are percent-encoded one by one, whatever they
 * mean.
 */
#include "event/imap-url.h"

#include <stdbool.h>
#include <string.h>

/* RFC 3986 unreserved and sub-delims-sh of RFC 5092 ("!" "$" "'" "(" ")" "*"
   "+" ","), then achar's "&" and "=". */
static bool is_achar(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~!$'()*+,&=", c) != NULL);
}

static bool is_bchar(unsigned char c)
{
	return is_achar(c) || c == ':' || c == '@' || c == '/';
}

static void encode(struct mse_buf *buf, const char *text,
		   bool (*is_literal)(unsigned char c))
{
	static const char hex[] = "0123456789ABCDEF";
	const char *start = text;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char escaped[3] = { '%', hex[c >> 4], hex[c & 0xf] };

		if (is_literal(c))
			continue;
		mse_buf_append(buf, start, (size_t)(text - start));
		mse_buf_append(buf, escaped, sizeof(escaped));
		start = text + 1;
	}
	mse_buf_append(buf, start, (size_t)(text - start));
}

void mse_imap_url_encode_user(struct mse_buf *buf, const char *user)
{
	encode(buf, user, is_achar);
}

void mse_imap_url_encode_mailbox(struct mse_buf *buf, const char *mailbox)
{
	encode(buf, mailbox, is_bchar);
}

void mse_imap_url_append(struct mse_buf *buf, const struct mse_imap_url *url)
{
	const char *colon = strchr(url->server, ':');
	/* One colon stands before a port, an IPv6 address has two. */
	bool literal_ip6 = colon != NULL && strchr(colon + 1, ':') != NULL &&
			   url->server[0] != '[';

	mse_buf_append_str(buf, "imap://");
	if (url->user != NULL && url->user[0] != '\0') {
		mse_imap_url_encode_user(buf, url->user);
		mse_buf_append_char(buf, '@');
	}
	if (literal_ip6)
		mse_buf_append_char(buf, '[');
	mse_buf_append_str(buf, url->server);
	mse_buf_append_str(buf, literal_ip6 ? "]/" : "/");
	if (url->mailbox == NULL || url->mailbox[0] == '\0')
		return;
	mse_imap_url_encode_mailbox(buf, url->mailbox);
	if (url->uidvalidity != 0) {
		mse_buf_append_str(buf, ";UIDVALIDITY=");
		mse_buf_append_number(buf, url->uidvalidity);
	}
	if (url->uid != 0) {
		mse_buf_append_str(buf, "/;UID=");
		mse_buf_append_number(buf, url->uid);
	}
}
