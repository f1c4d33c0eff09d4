/*
 * Base64 for mail processes, which have no OpenSSL.
 */
#include "base/base64.h"

#include <stdint.h>

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One to three octets as four digits. */
static void encode(const unsigned char *data, size_t len, char text_r[4])
{
	uint32_t bits = (uint32_t)data[0] << 16;

	if (len > 1)
		bits |= (uint32_t)data[1] << 8;
	if (len > 2)
		bits |= data[2];
	text_r[0] = digits[bits >> 18];
	text_r[1] = digits[bits >> 12 & 63];
	text_r[2] = len > 1 ? digits[bits >> 6 & 63] : '=';
	text_r[3] = len > 2 ? digits[bits & 63] : '=';
}

void mse_base64_append(struct mse_buf *buf, const void *data, size_t len)
{
	const unsigned char *octets = data;
	char text[1024];
	size_t used = 0, pos, rest;

	for (pos = 0; pos < len; pos += 3) {
		rest = len - pos;
		encode(octets + pos, rest < 3 ? rest : 3, text + used);
		used += 4;
		if (used == sizeof(text)) {
			mse_buf_append(buf, text, used);
			used = 0;
		}
	}
	mse_buf_append(buf, text, used);
}
