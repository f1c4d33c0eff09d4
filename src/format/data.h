#ifndef MSE_FORMAT_DATA_H
#define MSE_FORMAT_DATA_H

#include "base/buf.h"
#include "conf/conf.h"
#include "event/record.h"

/*
 * The one place that says what of an event an endpoint is told, whatever the
 * format: the record's data, then `tags`, then the optional parameters that
 * this endpoint asked for and the record has. Values are spliced, not
 * re-encoded.
 *
 * A content larger than the endpoint's content_limit is left out and
 * vnd.mailhook.contentSuppressed says "limit"; where the record does not have
 * it, it says why ("transaction", "unreadable", "unrecorded"). So an endpoint
 * that asked for messageContent finds one of the two with every MessageNew and
 * MessageAppend; of "headersbody" both, if the headers stay alone.
 */

/* The members without braces, separated by commas; "" if there are none. */
void mse_data_append_members(const struct mse_conf_endpoint *endpoint,
			     const struct mse_record *record,
			     struct mse_buf *buf);
/* The same as a JSON object. */
void mse_data_append(const struct mse_conf_endpoint *endpoint,
		     const struct mse_record *record, struct mse_buf *buf);

#endif
