/*
 * Lists of name patterns. Invariant: exact names of each kind, and the domains
 * of "*@domain", stand sorted in one array each, so that a list of 200,000
 * users costs a binary search; only other patterns with wildcards are walked.
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
	struct names exact[2], domains[2], wild[2]; /* [1]: exclusions */
	struct mse_patterns_elsewhere elsewhere;
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

/* "*@domain": every name with this tail has it behind its last "@". */
static bool is_domain(const char *pattern)
{
	return pattern[0] == '*' && pattern[1] == '@' &&
		strpbrk(pattern + 2, "*?@") == NULL;
}

bool mse_pattern_is_key(const char *pattern)
{
	if (*pattern == '!')
		pattern++;
	return *pattern != '\0' &&
		(strpbrk(pattern, "*?") == NULL || is_domain(pattern));
}

static struct names *names_for(struct mse_patterns *patterns,
			       const char **pattern, bool excludes)
{
	if (strpbrk(*pattern, "*?") == NULL)
		return &patterns->exact[excludes];
	if (!is_domain(*pattern))
		return &patterns->wild[excludes];
	(*pattern)++;
	return &patterns->domains[excludes];
}

static int sort_in(struct mse_patterns *patterns)
{
	size_t i, size = (patterns->count + 1) * sizeof(char *);
	int kind;

	for (kind = 0; kind < 2; kind++) {
		patterns->exact[kind].names = malloc(size);
		patterns->domains[kind].names = malloc(size);
		patterns->wild[kind].names = malloc(size);
		if (patterns->exact[kind].names == NULL ||
		    patterns->domains[kind].names == NULL ||
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
		names = names_for(patterns, &pattern, excludes);
		names->names[names->count++] = pattern;
	}
	for (kind = 0; kind < 2; kind++) {
		qsort(patterns->exact[kind].names, patterns->exact[kind].count,
		      sizeof(char *), compare);
		qsort(patterns->domains[kind].names,
		      patterns->domains[kind].count, sizeof(char *), compare);
	}
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
		free(patterns->domains[i].names);
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

static bool holds(const struct names *names, const char *name)
{
	return names->count > 0 &&
		bsearch(&name, names->names, names->count, sizeof(char *),
			compare) != NULL;
}

static bool matches_any(const struct mse_patterns *patterns, bool excludes,
			const char *name, const char *domain)
{
	const struct names *wild = &patterns->wild[excludes];
	size_t i;

	if (holds(&patterns->exact[excludes], name) ||
	    (domain != NULL && holds(&patterns->domains[excludes], domain)))
		return true;
	for (i = 0; i < wild->count; i++)
		if (wild_match(wild->names[i], name))
			return true;
	return false;
}

static bool takes_all(const struct mse_patterns *patterns)
{
	return patterns->exact[0].count + patterns->domains[0].count +
		patterns->wild[0].count == 0 && !patterns->elsewhere.takes;
}

bool mse_patterns_match(const struct mse_patterns *patterns, const char *name)
{
	const struct mse_patterns_elsewhere *elsewhere = &patterns->elsewhere;
	const char *domain;
	unsigned int found = 0;

	/* Most lists are empty. */
	if (patterns->count == 0 && elsewhere->find == NULL)
		return takes_all(patterns);
	domain = strrchr(name, '@');
	name = canonical(patterns, name);
	if (matches_any(patterns, true, name, domain))
		return false;
	if (elsewhere->find != NULL)
		found = elsewhere->find(elsewhere->context, elsewhere->list,
					name);
	if ((found & MSE_PATTERNS_LEAVES) != 0)
		return false;
	return takes_all(patterns) || (found & MSE_PATTERNS_TAKES) != 0 ||
		matches_any(patterns, false, name, domain);
}

void mse_patterns_set_elsewhere(struct mse_patterns *patterns,
				const struct mse_patterns_elsewhere *elsewhere)
{
	patterns->elsewhere = *elsewhere;
}

const char *const *mse_patterns_list(const struct mse_patterns *patterns,
				     size_t *count_r)
{
	*count_r = patterns->count;
	return (const char *const *)patterns->list;
}
