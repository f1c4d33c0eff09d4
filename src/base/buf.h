#ifndef MSE_BASE_BUF_H
#define MSE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A growing byte buffer with a limit from birth. A failed append (limit or
 * memory) is sticky: later appends do nothing and mse_buf_failed() says so,
 * so that a writer checks once at the end. data is NUL-terminated whenever
 * len > 0 or anything was ever appended.
 */
struct mse_buf {
	char *data;
	size_t len;
	size_t size;
	size_t limit;
	bool failed;
};

void mse_buf_init(struct mse_buf *buf, size_t limit);
/* Frees the memory; the buffer may be used again (same limit). */
void mse_buf_clear(struct mse_buf *buf);
/* Empties the buffer, keeps the memory, forgets a failure. */
void mse_buf_reset(struct mse_buf *buf);
/* Cuts the buffer back to len (<= buf->len); does not forget a failure. */
void mse_buf_truncate(struct mse_buf *buf, size_t len);

/* Where there is no room yet, or will be none. */
void mse_buf_append_slowly(struct mse_buf *buf, const void *data, size_t len);
static inline void
mse_buf_append(struct mse_buf *buf, const void *data, size_t len)
{
	/* size - len is 0 only before the first octet. */
	if (buf->failed || len >= buf->size - buf->len) {
		mse_buf_append_slowly(buf, data, len);
		return;
	}
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}
/* Room for len octets behind what is there, and for a NUL; NULL if there is
   none (the buffer has failed). Who writes there adds to buf->len and ends
   with a NUL. */
char *mse_buf_reserve(struct mse_buf *buf, size_t len);
static inline void mse_buf_append_str(struct mse_buf *buf, const char *str)
{
	mse_buf_append(buf, str, strlen(str));
}
static inline void mse_buf_append_char(struct mse_buf *buf, char c)
{
	mse_buf_append(buf, &c, 1);
}
/* In decimal. */
void mse_buf_append_number(struct mse_buf *buf, uint64_t number);
void mse_buf_appendf(struct mse_buf *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool mse_buf_failed(const struct mse_buf *buf);
/* "" for an empty buffer, never NULL. Borrowed. */
const char *mse_buf_str(const struct mse_buf *buf);
/* Moves the bytes out (caller frees with free()); the buffer is empty after.
   NULL if the buffer failed or is empty and memory ran out. */
char *mse_buf_take(struct mse_buf *buf);

#endif
