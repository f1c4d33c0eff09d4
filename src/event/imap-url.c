/*
 * IMAP URLs, RFC 5092. The URI is the lossless form of a name: bytes that
 * are not allowed literally are percent-encoded one by one, whatever they
 * mean.
 */
#include "event/imap-url.h"

#include <stdbool.h>
#include <string.h>

enum literal {
	ACHAR = 1 << 0,
	BCHAR = 1 << 1
};

/* RFC 3986 unreserved and sub-delims-sh of RFC 5092 ("!" "$" "'" "(" ")" "*"
   "+" ","), then achar's "&" and "="; a bchar may also be ":" "@" "/". */
static const unsigned char literals[256] = {
	['a' ... 'z'] = ACHAR | BCHAR, ['A' ... 'Z'] = ACHAR | BCHAR,
	['0' ... '9'] = ACHAR | BCHAR,
	['-'] = ACHAR | BCHAR, ['.'] = ACHAR | BCHAR, ['_'] = ACHAR | BCHAR,
	['~'] = ACHAR | BCHAR, ['!'] = ACHAR | BCHAR, ['$'] = ACHAR | BCHAR,
	['\''] = ACHAR | BCHAR, ['('] = ACHAR | BCHAR, [')'] = ACHAR | BCHAR,
	['*'] = ACHAR | BCHAR, ['+'] = ACHAR | BCHAR, [','] = ACHAR | BCHAR,
	['&'] = ACHAR | BCHAR, ['='] = ACHAR | BCHAR,
	[':'] = BCHAR, ['@'] = BCHAR, ['/'] = BCHAR
};

static void encode(struct mse_buf *buf, const char *text, enum literal literal)
{
	static const char hex[] = "0123456789ABCDEF";
	const char *start = text;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char escaped[3] = { '%', hex[c >> 4], hex[c & 0xf] };

		if ((literals[c] & literal) != 0)
			continue;
		mse_buf_append(buf, start, (size_t)(text - start));
		mse_buf_append(buf, escaped, sizeof(escaped));
		start = text + 1;
	}
	mse_buf_append(buf, start, (size_t)(text - start));
}

void mse_imap_url_encode_user(struct mse_buf *buf, const char *user)
{
	encode(buf, user, ACHAR);
}

void mse_imap_url_encode_mailbox(struct mse_buf *buf, const char *mailbox)
{
	encode(buf, mailbox, BCHAR);
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
