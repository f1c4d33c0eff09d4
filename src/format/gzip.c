/*
 * Content-Encoding: gzip. The only file that knows zlib.
 *
 * Fast rather than small: the daemon has one thread for all endpoints, and
 * JSON that repeats itself becomes small at any level.
 */
#include "format/gzip.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define WINDOW_BITS_GZIP (15 + 16)
#define MEM_LEVEL 8

int mse_gzip_append(struct mse_buf *buf, const void *data, size_t len)
{
	unsigned char *out = NULL;
	z_stream stream;
	uLong bound;
	int ret = -1;

	if (len > UINT_MAX / 2)
		return -1;
	memset(&stream, 0, sizeof(stream));
	if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS_GZIP,
			 MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return -1;
	bound = deflateBound(&stream, (uLong)len);
	out = malloc(bound);
	if (out == NULL)
		goto out;
	stream.next_in = (z_const Bytef *)data;
	stream.avail_in = (uInt)len;
	stream.next_out = out;
	stream.avail_out = (uInt)bound;
	if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
		goto out;
	mse_buf_append(buf, out, stream.total_out);
	ret = mse_buf_failed(buf) ? -1 : 0;
out:
	(void)deflateEnd(&stream);
	free(out);
	return ret;
}
