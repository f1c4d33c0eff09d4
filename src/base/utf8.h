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

/* U+FFFD, what stands for octets that are not UTF-8. */
#define MSE_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Length of the valid character at data (len > 0), or 0 with *bad_r: how many
   octets the maximal invalid sequence has (Unicode, table 3-7: the longest
   prefix of a well-formed character, at least one octet). */
size_t mse_utf8_char(const char *data, size_t len, size_t *bad_r);

#endif
