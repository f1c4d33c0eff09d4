#ifndef MSE_EVENT_JSON_STRING_H
#define MSE_EVENT_JSON_STRING_H

#include <stddef.h>

#include "base/buf.h"

/* Appends len octets at data as one JSON string (RFC 8259 section 7), quotes
   included. Octets that are not valid UTF-8 become U+FFFD, control characters
   are escaped, "/" is not. Fails only as the buffer does.
   A string of an event is written in a mail process, some twenty times for
   each change: json-c, which makes an object and a buffer for every one,
   took thirty times the instructions. Mail processes do without it: what they
   read goes through json-scan.h. */
void mse_json_append_string(struct mse_buf *buf, const char *data, size_t len);

#endif
