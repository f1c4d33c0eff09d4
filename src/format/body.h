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

/* What a request carries: the body and the headers that belong to it. */
struct mse_body {
	enum mse_conf_format format;
	struct mse_buf octets;
	struct mse_buf headers;  /* "Name: value", each with its NUL */
	size_t header_count;
	unsigned int events;
};

/* limit: octets of the body. Free with mse_body_clear(). */
void mse_body_init(struct mse_body *body, enum mse_conf_format format,
		   size_t limit);
void mse_body_clear(struct mse_body *body);
/* Whether a body of this format can hold several events. */
bool mse_body_is_batch(enum mse_conf_format format);
/* One event as the endpoint wants it (design.md §6), its data as data.h has
   it; more than one only where mse_body_is_batch(). What it has become so far
   is octets.len. */
void mse_body_add(struct mse_body *body,
		  const struct mse_conf_endpoint *endpoint,
		  const struct mse_body_context *context,
		  const struct mse_record *record);
/* Takes the last event away again: len is what octets.len was before it. */
void mse_body_cut(struct mse_body *body, size_t len);
/* After the last event. -1 if a limit or memory ran out. */
int mse_body_end(struct mse_body *body);
const char *mse_body_content_type(enum mse_conf_format format);
/* The event's name as RFC 5423 or we write it. Borrowed from the record. */
const char *mse_body_type(const struct mse_record *record);

#endif
