#ifndef MSE_JOURNAL_INTEREST_NAMES_H
#define MSE_JOURNAL_INTEREST_NAMES_H

#include <stdint.h>

#include "base/buf.h"
#include "event/subscription.h"

/*
 * The names of long `users` lists: the last member of the interest file, one
 * line each, sorted, so that a mail process reads some ten blocks of the file
 * for the user whose mail it handles, however many there are:
 *
 *   "names":{
 *   "*@example.com":[2],
 *   "joe@example.org":[1,-3]
 *   }}
 *
 * A key is a pattern that can be looked up (mse_pattern_is_key()), without its
 * "!"; sorted by its octets as they stand there, escapes included. Its value:
 * the lists that take it, ascending, and negative those that leave it out.
 * Lists are numbered from 1 and hold more patterns in the document's head.
 */

/* With fewer names in all everything stands in the head. */
#define MSE_INTEREST_NAMES_MIN 100
#define MSE_INTEREST_LISTS_MAX 1000000

#define MSE_INTEREST_NAMES_BEGIN "\"names\":{\n"
#define MSE_INTEREST_NAMES_END "}}\n"

/* Appends the lines for the users of these subscriptions, of which the first
   is list 1. Fails as the buffer does. */
void mse_interest_names_format(const struct mse_subscription *subscriptions,
			       size_t count, struct mse_buf *buf);
/* How many patterns of the list that would be. */
size_t mse_interest_names_count(const struct mse_patterns *users);

/* The lines between these offsets of the file, for as long as it is open. Takes
   the descriptor in any case. NULL if memory is out. */
struct mse_interest_names *mse_interest_names_new(int fd, uint64_t begin,
						  uint64_t end);
void mse_interest_names_free(struct mse_interest_names **names);
/* So many lists there are. */
void mse_interest_names_set_lists(struct mse_interest_names *names,
				  unsigned int lists);
/* As mse_patterns_find_t; what cannot be read takes everybody. The answers for
   the last few names are kept. */
unsigned int mse_interest_names_find(void *names, unsigned int list,
				     const char *name);

#endif
