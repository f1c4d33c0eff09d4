#ifndef MSE_FORMAT_SIGNATURE_H
#define MSE_FORMAT_SIGNATURE_H

#include <stdint.h>

#include "base/buf.h"
#include "conf/conf.h"

/* Standard Webhooks 1.0, of the octets id "." timestamp "." body: for each
   secret "v1," and the base64 of their HMAC-SHA256, or, for an Ed25519 key,
   "v1a," and that of their signature (RFC 8032); in the order of the secrets,
   separated by a space (rotation). timestamp: Unix seconds of the attempt.
   -1 if OpenSSL or memory failed, or value's limit is reached. */
int mse_signature_write(const struct mse_secret *secrets, size_t count,
			const char *id, int64_t timestamp, const void *body,
			size_t body_len, struct mse_buf *value);

#endif
