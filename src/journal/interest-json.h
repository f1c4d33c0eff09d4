#ifndef MSE_JOURNAL_INTEREST_JSON_H
#define MSE_JOURNAL_INTEREST_JSON_H

#include "base/buf.h"
#include "journal/interest.h"

/* Some 200,000 names are 6 MB. */
#define MSE_INTEREST_MAX (64 * 1024 * 1024)

/* An open file: reads what it needs, and takes the descriptor in any case. 0
   with *interest_r, 1 and a sentence if it cannot be read or is not an interest
   of a version we know, -1 if memory is out. */
int mse_interest_load(int fd, struct mse_interest **interest_r,
		      struct mse_error *error_r);
/* Appends the document; the buffer is marked failed if memory is out. */
void mse_interest_format(const struct mse_interest *interest,
			 struct mse_buf *buf);

#endif
