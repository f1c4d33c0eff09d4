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
 * at least one of them. Names without wildcards, and "*@domain", are kept
 * sorted: 200,000 of them cost a binary search.
 */
struct mse_patterns;

enum mse_patterns_flags { MSE_PATTERNS_MAILBOX = 0x01 };

/* Copies the strings. NULL if memory ran out. An empty list passes all. */
struct mse_patterns *mse_patterns_new(const char *const *patterns,
				      size_t count,
				      enum mse_patterns_flags flags);
void mse_patterns_free(struct mse_patterns **patterns);
bool mse_patterns_match(const struct mse_patterns *patterns, const char *name);
/* The patterns as given, in their order, for writing them out again; without
   those kept elsewhere. Borrowed. */
const char *const *mse_patterns_list(const struct mse_patterns *patterns,
				     size_t *count_r);

/* More patterns of the list, kept elsewhere. */
enum mse_patterns_found {
	MSE_PATTERNS_TAKES = 0x01,  /* an inclusion matches the name */
	MSE_PATTERNS_LEAVES = 0x02  /* an exclusion does */
};
typedef unsigned int mse_patterns_find_t(void *context, unsigned int list,
					 const char *name);
struct mse_patterns_elsewhere {
	mse_patterns_find_t *find;
	void *context;
	unsigned int list;
	bool takes;             /* there is an inclusion among them */
};
void mse_patterns_set_elsewhere(struct mse_patterns *patterns,
				const struct mse_patterns_elsewhere *elsewhere);
/* Whether the pattern, with or without its "!", matches just those names that
   are it, or (it being "*@domain") those whose last "@" begins its "@domain":
   what can be looked up instead of being compared. */
bool mse_pattern_is_key(const char *pattern);

#endif
