#ifndef MSE_EVENT_PATTERN_H
#define MSE_EVENT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Lists of name patterns as in mailhook.conf `users` and `mailboxes`: "*"
 * matches any run of bytes, "?" one character, everything else itself
 * (case-sensitive, but INBOX in any case as RFC 3501 says when
 * MSE_PATTERNS_MAILBOX is given). A pattern that begins with "!" excludes.
 * A name passes if it matches no exclusion and, when there is any inclusion,
 * at least one of them. Names without wildcards are kept sorted: 200,000 of
 * them cost a binary search.
 */
struct mse_patterns;

enum mse_patterns_flags { MSE_PATTERNS_MAILBOX = 0x01 };

/* Copies the strings. NULL if memory ran out. An empty list passes all. */
struct mse_patterns *mse_patterns_new(const char *const *patterns,
				      size_t count,
				      enum mse_patterns_flags flags);
void mse_patterns_free(struct mse_patterns **patterns);
bool mse_patterns_match(const struct mse_patterns *patterns, const char *name);
/* The patterns as given, in their order, for writing them out again.
   Borrowed. */
const char *const *mse_patterns_list(const struct mse_patterns *patterns,
				     size_t *count_r);

#endif
