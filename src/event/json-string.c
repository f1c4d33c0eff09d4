/*
 * A JSON string. Invariant: whatever octets come in, what is appended is one
 * well-formed string of valid UTF-8 in which no octet is a control character.
 */
#include "event/json-string.h"

#include <stdbool.h>

#include "base/utf8.h"

static void append_escaped(struct mse_buf *buf, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = { ['\b'] = 'b', ['\t'] = 't',
		['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"',
		['\\'] = '\\' };
	char text[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 0xf] };

	if (c < sizeof(letters) && letters[c] != '\0') {
		text[1] = letters[c];
		mse_buf_append(buf, text, 2);
	} else {
		mse_buf_append(buf, text, sizeof(text));
	}
}

/* What stands for itself, but for the octets of longer characters. */
static const bool is_plain[256] = {
	[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... '~'] = true
};

void mse_json_append_string(struct mse_buf *buf, const char *data, size_t len)
{
	const unsigned char *bytes = (const unsigned char *)data;
	size_t start = 0, pos = 0, n, bad;

	mse_buf_append_char(buf, '"');
	for (;;) {
		while (pos < len && is_plain[bytes[pos]])
			pos++;
		if (pos == len)
			break;
		bad = 1;
		n = bytes[pos] < 0x80 ? 0 :
			mse_utf8_char(data + pos, len - pos, &bad);
		if (n > 0) {
			pos += n;
			continue;
		}
		mse_buf_append(buf, data + start, pos - start);
		if (bytes[pos] >= 0x80)
			mse_buf_append_str(buf, MSE_UTF8_REPLACEMENT);
		else
			append_escaped(buf, bytes[pos]);
		pos += bad;
		start = pos;
	}
	mse_buf_append(buf, data + start, pos - start);
	mse_buf_append_char(buf, '"');
}
