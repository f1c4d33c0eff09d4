/*
 * A JSON string. Invariant: whatever octets come in, what is appended is one
 * well-formed string of valid UTF-8 in which no octet is a control character.
 */
#include "event/json-string.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

/* An octet c in each of the eight. */
#define EACH(c) (UINT64_C(0x0101010101010101) * (c))

/* Non-zero if one of the eight octets is not plain. (What borrows from an
   octet below may also be seen in the next one: never in a word in which all
   are plain.) */
static inline uint64_t not_plain(uint64_t word)
{
	uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');
	uint64_t del = word ^ EACH(0x7f);

	return (word | (word - EACH(' ')) | (quote - EACH(1)) |
		(backslash - EACH(1)) | (del - EACH(1))) & EACH(0x80);
}

/* How many octets at the beginning are plain. */
static size_t plain_length(const char *data, size_t len)
{
	uint64_t word;
	size_t pos = 0;

	for (; len - pos >= sizeof(word); pos += sizeof(word)) {
		memcpy(&word, data + pos, sizeof(word));
		if (not_plain(word) != 0)
			break;
	}
	/* The last octets, some of them for the second time. */
	if (len - pos < sizeof(word) && len >= sizeof(word)) {
		memcpy(&word, data + len - sizeof(word), sizeof(word));
		if (not_plain(word) == 0)
			return len;
	}
	while (pos < len && is_plain[(unsigned char)data[pos]])
		pos++;
	return pos;
}

/* A string of which the first pos octets are plain, and the next is not. */
static void append_mixed(struct mse_buf *buf, const char *data, size_t len,
			 size_t pos)
{
	const unsigned char *bytes = (const unsigned char *)data;
	size_t start = 0, n, bad;

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

void mse_json_append_string(struct mse_buf *buf, const char *data, size_t len)
{
	size_t plain = plain_length(data, len);
	char *room;

	if (plain < len) {
		append_mixed(buf, data, len, plain);
		return;
	}
	/* len is the length of something in memory: no overflow. */
	room = mse_buf_reserve(buf, len + 2);
	if (room == NULL)
		return;
	room[0] = '"';
	memcpy(room + 1, data, len);
	memcpy(room + 1 + len, "\"", 2);
	buf->len += len + 2;
}
