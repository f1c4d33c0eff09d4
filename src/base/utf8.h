#ifndef MSE_BASE_UTF8_H
#define MSE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Valid per RFC 3629: shortest form, no surrogates, up to U+10FFFF. */
bool mse_utf8_is_valid(const char *data, size_t len);
/* Appends data with every maximal invalid sequence replaced by U+FFFD. */
void mse_utf8_append_scrubbed(struct mse_buf *buf, const char *data,
			      size_t len);

#endif
