/*
 * Lists of name patterns. Invariant: exact names of each kind stand sorted in
 * one array, so that a list of 200,000 users costs a binary search; only
 * patterns with wildcards are walked.
 */
#include "event/pattern.h"

#include <stdlib.h>
#include <string.h>

struct names {
	const char **names;
	size_t count;
};

struct mse_patterns {
	char **list;
	size_t count;
	enum mse_patterns_flags flags;
	struct names exact[2], wild[2]; /* [1]: exclusions */
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char inbox[] = "INBOX";

/* Not toupper(): that would ask the host process's locale. */
static char fold(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* INBOX is the only name without case (RFC 3501, 5.1); it is returned as
   inbox itself. */
static const char *canonical(const struct mse_patterns *patterns,
			     const char *name)
{
	size_t i;

	if ((patterns->flags & MSE_PATTERNS_MAILBOX) == 0)
		return name;
	for (i = 0; i < sizeof(inbox); i++)
		if (fold(name[i]) != inbox[i])
			return name;
	return inbox;
}

static int sort_in(struct mse_patterns *patterns)
{
	size_t i, size = (patterns->count + 1) * sizeof(char *);
	int kind;

	for (kind = 0; kind < 2; kind++) {
		patterns->exact[kind].names = malloc(size);
		patterns->wild[kind].names = malloc(size);
		if (patterns->exact[kind].names == NULL ||
		    patterns->wild[kind].names == NULL)
			return -1;
	}
	for (i = 0; i < patterns->count; i++) {
		const char *pattern = patterns->list[i];
		bool excludes = pattern[0] == '!';
		struct names *names;

		if (excludes)
			pattern++;
		pattern = canonical(patterns, pattern);
		names = strpbrk(pattern, "*?") != NULL ?
			&patterns->wild[excludes] : &patterns->exact[excludes];
		names->names[names->count++] = pattern;
	}
	for (kind = 0; kind < 2; kind++)
		qsort(patterns->exact[kind].names, patterns->exact[kind].count,
		      sizeof(char *), compare);
	return 0;
}

struct mse_patterns *mse_patterns_new(const char *const *list, size_t count,
				      enum mse_patterns_flags flags)
{
	struct mse_patterns *patterns = calloc(1, sizeof(*patterns));

	if (patterns == NULL)
		return NULL;
	patterns->flags = flags;
	patterns->list = calloc(count + 1, sizeof(char *));
	if (patterns->list == NULL)
		goto failed;
	for (; patterns->count < count; patterns->count++) {
		char *copy = strdup(list[patterns->count]);

		if (copy == NULL)
			goto failed;
		patterns->list[patterns->count] = copy;
	}
	if (sort_in(patterns) == 0)
		return patterns;
failed:
	mse_patterns_free(&patterns);
	return NULL;
}

void mse_patterns_free(struct mse_patterns **_patterns)
{
	struct mse_patterns *patterns = *_patterns;
	size_t i;

	*_patterns = NULL;
	if (patterns == NULL)
		return;
	for (i = 0; i < patterns->count; i++)
		free(patterns->list[i]);
	free(patterns->list);
	for (i = 0; i < 2; i++) {
		free(patterns->exact[i].names);
		free(patterns->wild[i].names);
	}
	free(patterns);
}

/* One character: an octet and the UTF-8 continuation octets behind it. */
static const char *skip_char(const char *name)
{
	do
		name++;
	while (((unsigned char)*name & 0xc0) == 0x80);
	return name;
}

/* Goes back to the last "*" only, so the worst case is len * len. */
static bool wild_match(const char *pattern, const char *name)
{
	/* "Inbox*" means INBOX too. */
	bool any_case = name == inbox;
	const char *star = NULL, *star_name = NULL;

	while (*name != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			star_name = name;
		} else if (*pattern == '?') {
			pattern++;
			name = skip_char(name);
		} else if (*pattern == *name ||
			   (any_case && fold(*pattern) == *name)) {
			pattern++;
			name++;
		} else if (star != NULL) {
			pattern = star;
			name = ++star_name;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool matches_any(const struct names *exact, const struct names *wild,
			const char *name)
{
	size_t i;

	if (bsearch(&name, exact->names, exact->count, sizeof(char *),
		    compare) != NULL)
		return true;
	for (i = 0; i < wild->count; i++)
		if (wild_match(wild->names[i], name))
			return true;
	return false;
}

bool mse_patterns_match(const struct mse_patterns *patterns, const char *name)
{
	name = canonical(patterns, name);
	if (matches_any(&patterns->exact[1], &patterns->wild[1], name))
		return false;
	if (patterns->exact[0].count + patterns->wild[0].count == 0)
		return true;
	return matches_any(&patterns->exact[0], &patterns->wild[0], name);
}

const char *const *mse_patterns_list(const struct mse_patterns *patterns,
				     size_t *count_r)
{
	*count_r = patterns->count;
	return (const char *const *)patterns->list;
}
