#ifndef MSE_FORMAT_CLOUDEVENTS_H
#define MSE_FORMAT_CLOUDEVENTS_H

#include "format/body.h"

/* CloudEvents 1.0.2. The attributes of an event are the same in every mode.
   Failures stick to the buffer. */

/* Structured (JSON event format), one event. */
void mse_cloudevents_append(const struct mse_conf_endpoint *endpoint,
			    const struct mse_body_context *context,
			    const struct mse_record *record,
			    struct mse_buf *body);
/* Binary: the attributes as "ce-NAME: VALUE" header lines, each with its NUL
   behind it (HTTP protocol binding 3.1.3). Returns how many. */
size_t mse_cloudevents_headers(const struct mse_body_context *context,
			       const struct mse_record *record,
			       struct mse_buf *text);

#endif
