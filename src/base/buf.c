/*
 * A bounded byte buffer. Invariants: len < size whenever data != NULL (room
 * for the NUL), len <= limit, and after a failure nothing is appended.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_SIZE 256

void mse_buf_init(struct mse_buf *buf, size_t limit)
{
	memset(buf, 0, sizeof(*buf));
	buf->limit = limit;
}

void mse_buf_clear(struct mse_buf *buf)
{
	size_t limit = buf->limit;

	free(buf->data);
	mse_buf_init(buf, limit);
}

void mse_buf_reset(struct mse_buf *buf)
{
	buf->failed = false;
	mse_buf_truncate(buf, 0);
}

void mse_buf_truncate(struct mse_buf *buf, size_t len)
{
	buf->len = len;
	if (buf->data != NULL)
		buf->data[len] = '\0';
}

static bool buf_grow(struct mse_buf *buf, size_t len)
{
	size_t need, size;
	char *data;

	if (buf->failed)
		return false;
	if (len > buf->limit - buf->len) {
		buf->failed = true;
		return false;
	}
	need = buf->len + len + 1;
	/* At least doubled, or a buffer filled by the octet would be copied
	   for every one. */
	size = buf->size < BUF_FIRST_SIZE / 2 ? BUF_FIRST_SIZE :
	       buf->size > SIZE_MAX / 2 ? SIZE_MAX : buf->size * 2;
	if (size < need)
		size = need;
	/* need <= limit + 1 */
	if (size - 1 > buf->limit)
		size = buf->limit + 1;
	data = realloc(buf->data, size);
	if (data == NULL) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->size = size;
	return true;
}

static inline bool buf_reserve(struct mse_buf *buf, size_t len)
{
	/* size - len is 0 only before the first octet. */
	return (!buf->failed && len < buf->size - buf->len) ||
		buf_grow(buf, len);
}

char *mse_buf_reserve(struct mse_buf *buf, size_t len)
{
	return buf_reserve(buf, len) ? buf->data + buf->len : NULL;
}

void mse_buf_append_slowly(struct mse_buf *buf, const void *data, size_t len)
{
	if (buf_reserve(buf, len))
		mse_buf_append(buf, data, len);
}

void mse_buf_append_number(struct mse_buf *buf, uint64_t number)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	mse_buf_append(buf, digits + i, sizeof(digits) - i);
}

void mse_buf_appendf(struct mse_buf *buf, const char *format, ...)
{
	/* Mostly there is room. size - 1 is never beyond the limit. */
	size_t room = buf->failed ? 0 : buf->size - buf->len;
	char *end = room > 0 ? buf->data + buf->len : NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(end, room, format, args);
	va_end(args);
	if (len >= 0 && (size_t)len < room) {
		buf->len += (size_t)len;
		return;
	}
	if (end != NULL)
		*end = '\0';
	if (len < 0) {
		buf->failed = true;
		return;
	}
	if (!buf_reserve(buf, (size_t)len))
		return;
	va_start(args, format);
	vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
	va_end(args);
	buf->len += (size_t)len;
}

bool mse_buf_failed(const struct mse_buf *buf)
{
	return buf->failed;
}

const char *mse_buf_str(const struct mse_buf *buf)
{
	return buf->data == NULL ? "" : buf->data;
}

char *mse_buf_take(struct mse_buf *buf)
{
	char *data;

	if (buf->failed)
		return NULL;
	data = buf->data != NULL ? buf->data : calloc(1, 1);
	buf->data = NULL;
	buf->size = buf->len = 0;
	return data;
}
