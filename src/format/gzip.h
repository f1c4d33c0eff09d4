#ifndef MSE_FORMAT_GZIP_H
#define MSE_FORMAT_GZIP_H

#include "base/buf.h"

/* Appends data as one gzip member (RFC 1952), without a time: the same octets
   give the same octets. -1 if memory ran out or buf's limit is reached. */
int mse_gzip_append(struct mse_buf *buf, const void *data, size_t len);

#endif
