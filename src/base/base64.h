#ifndef MSE_BASE_BASE64_H
#define MSE_BASE_BASE64_H

#include <stddef.h>

#include "base/buf.h"

/* Appends data in base64 (RFC 4648, section 4): padded, no line breaks. */
void mse_base64_append(struct mse_buf *buf, const void *data, size_t len);

#endif
