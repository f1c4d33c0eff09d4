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

/* Exact names, domains, what has to be walked. */
enum kind { EXACT, DOMAINS, WILD, KINDS };

/* All of it is one block of memory: behind this the list, then the arrays of
   each kind, then the strings. Most lists are empty, and each mail process
   makes some. */
struct mse_patterns {
	size_t count;
	enum mse_patterns_flags flags;
	struct names names[KINDS][2]; /* [1]: exclusions */
	struct mse_patterns_elsewhere elsewhere;
	const char *list[];
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

static enum kind kind_of(const char *pattern)
{
	return strpbrk(pattern, "*?") == NULL ? EXACT :
		is_domain(pattern) ? DOMAINS : WILD;
}

/* Which array a pattern of the list stands in, and as what. */
static struct names *names_for(struct mse_patterns *patterns,
			       const char **pattern)
{
	bool excludes = **pattern == '!';
	enum kind kind;

	if (excludes)
		(*pattern)++;
	*pattern = canonical(patterns, *pattern);
	kind = kind_of(*pattern);
	if (kind == DOMAINS)
		(*pattern)++;
	return &patterns->names[kind][excludes];
}

static void sort(struct names *names)
{
	if (names->count > 1)
		qsort(names->names, names->count, sizeof(char *), compare);
}

/* room: for as many names as there are patterns. */
static void sort_in(struct mse_patterns *patterns, const char **room)
{
	struct names *names;
	const char *pattern;
	size_t i;
	int kind;

	for (i = 0; i < patterns->count; i++) {
		pattern = patterns->list[i];
		names_for(patterns, &pattern)->count++;
	}
	for (kind = 0; kind < KINDS; kind++) {
		for (i = 0; i < 2; i++) {
			names = &patterns->names[kind][i];
			names->names = room;
			room += names->count;
			names->count = 0;
		}
	}
	for (i = 0; i < patterns->count; i++) {
		pattern = patterns->list[i];
		names = names_for(patterns, &pattern);
		names->names[names->count++] = pattern;
	}
	for (i = 0; i < 2; i++) {
		sort(&patterns->names[EXACT][i]);
		sort(&patterns->names[DOMAINS][i]);
	}
}

struct mse_patterns *mse_patterns_new(const char *const *list, size_t count,
				      enum mse_patterns_flags flags)
{
	struct mse_patterns *patterns;
	size_t i, len, size = sizeof(*patterns) + 2 * count * sizeof(char *);
	char *text;

	for (i = 0; i < count; i++)
		size += strlen(list[i]) + 1;
	patterns = malloc(size);
	if (patterns == NULL)
		return NULL;
	memset(patterns, 0, sizeof(*patterns));
	patterns->flags = flags;
	patterns->count = count;
	text = (char *)(patterns->list + 2 * count);
	for (i = 0; i < count; i++) {
		len = strlen(list[i]) + 1;
		patterns->list[i] = memcpy(text, list[i], len);
		text += len;
	}
	sort_in(patterns, patterns->list + count);
	return patterns;
}

void mse_patterns_free(struct mse_patterns **patterns)
{
	free(*patterns);
	*patterns = NULL;
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
	const struct names *wild = &patterns->names[WILD][excludes];
	size_t i;

	if (holds(&patterns->names[EXACT][excludes], name) ||
	    (domain != NULL &&
	     holds(&patterns->names[DOMAINS][excludes], domain)))
		return true;
	for (i = 0; i < wild->count; i++)
		if (wild_match(wild->names[i], name))
			return true;
	return false;
}

static bool takes_all(const struct mse_patterns *patterns)
{
	return patterns->names[EXACT][0].count +
		patterns->names[DOMAINS][0].count +
		patterns->names[WILD][0].count == 0 &&
		!patterns->elsewhere.takes;
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
	return patterns->list;
}
