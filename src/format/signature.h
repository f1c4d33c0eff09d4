#ifndef MSE_FORMAT_SIGNATURE_H
#define MSE_FORMAT_SIGNATURE_H

#include <stdint.h>

#include "base/buf.h"
#include "conf/conf.h"

/* Standard Webhooks 1.0: "v1," + base64(HMAC-SHA256(key, id.timestamp.body))
   for each secret, separated by a space (rotation). timestamp: Unix seconds
   of the attempt. -1 if OpenSSL failed. */
int mse_signature_write(const struct mse_secret *secrets, size_t count,
			const char *id, int64_t timestamp, const void *body,
			size_t body_len, struct mse_buf *value);

#endif
