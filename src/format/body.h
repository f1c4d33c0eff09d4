#ifndef MSE_FORMAT_BODY_H
#define MSE_FORMAT_BODY_H

#include "base/buf.h"
#include "conf/conf.h"
#include "event/record.h"

/* What a body says beyond the record. */
struct mse_body_context {
	const char *server_name; /* host in `source` */
	const char *server_fqdn;
	const char *stream;
	uint64_t sequence;       /* 0: test and replay */
};

/* One event as the endpoint wants it (design.md §6), its data as data.h has
   it. -1 if the buffer's limit or memory ran out. */
int mse_body_write(const struct mse_conf_endpoint *endpoint,
		   const struct mse_body_context *context,
		   const struct mse_record *record, struct mse_buf *body);
const char *mse_body_content_type(enum mse_conf_format format);

#endif
