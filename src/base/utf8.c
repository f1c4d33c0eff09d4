/*
 * UTF-8 as RFC 3629 has it. Invariant: what leaves append_scrubbed() is valid
 * whatever came in.
 */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

size_t mse_utf8_char(const char *text, size_t len, size_t *bad_r)
{
	const unsigned char *data = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t need, i;

	*bad_r = 1;
	if (data[0] < 0x80)
		return 1;
	if (data[0] < 0xc2 || data[0] > 0xf4)
		return 0;
	need = data[0] < 0xe0 ? 2 : data[0] < 0xf0 ? 3 : 4;
	if (data[0] == 0xe0)
		low = 0xa0;
	else if (data[0] == 0xed)
		high = 0x9f;
	else if (data[0] == 0xf0)
		low = 0x90;
	else if (data[0] == 0xf4)
		high = 0x8f;
	for (i = 1; i < need; i++) {
		if (i >= len || data[i] < low || data[i] > high) {
			*bad_r = i;
			return 0;
		}
		low = 0x80;
		high = 0xbf;
	}
	return need;
}

#define BLOCK 32

/* Whether the octets of the block are ASCII, as most text is. */
static bool is_ascii(const char *data)
{
	uint64_t words[BLOCK / 8];

	memcpy(words, data, sizeof(words));
	return ((words[0] | words[1] | words[2] | words[3]) &
		UINT64_C(0x8080808080808080)) == 0;
}

bool mse_utf8_is_valid(const char *data, size_t len)
{
	size_t pos = 0, n, bad;

	while (pos < len) {
		if (len - pos >= BLOCK && is_ascii(data + pos)) {
			pos += BLOCK;
			continue;
		}
		n = mse_utf8_char(data + pos, len - pos, &bad);
		if (n == 0)
			return false;
		pos += n;
	}
	return true;
}

void mse_utf8_append_scrubbed(struct mse_buf *buf, const char *data, size_t len)
{
	size_t start = 0, pos = 0, n, bad;

	while (pos < len) {
		n = mse_utf8_char(data + pos, len - pos, &bad);
		if (n > 0) {
			pos += n;
			continue;
		}
		mse_buf_append(buf, data + start, pos - start);
		mse_buf_append_str(buf, MSE_UTF8_REPLACEMENT);
		pos += bad;
		start = pos;
	}
	mse_buf_append(buf, data + start, pos - start);
}
