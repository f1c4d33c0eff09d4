#ifndef TEST_REQUEST_COMMON_H
#define TEST_REQUEST_COMMON_H

#include <stdbool.h>
#include <stddef.h>

#include "deliver/transport.h"

/* A request as its receiver reads it. */

/* The value, up to the end; NULL: there is no such header. */
const char *header(const struct mse_request *request, const char *name);
/* Of a body of CloudEvents, alone or in a batch: *event is NULL at first, then
   the beginning of one event after the other, *len its octets. */
bool next_event(const struct mse_request *request, const char **event,
		size_t *len);

#endif
