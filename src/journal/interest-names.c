/*
 * The sorted names of the interest file (see the header), written and looked
 * up.
 *
 * Invariant: whatever is wrong with them, the answer errs towards more events.
 * They are read by pread(), never mapped: a file that somebody shortens must
 * not kill a mail process.
 */
#include "journal/interest-names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define LINE_MAX_OCTETS (1024 * 1024)
/* Owners of shared mailboxes take turns. */
#define KEPT 4

struct answer {
	char *name;
	/* By list's number: enum mse_patterns_found. */
	unsigned char *found;
};

struct mse_interest_names {
	int fd;
	uint64_t begin, end;
	unsigned int lists;

	struct mse_buf block;   /* of the file, from block_offset */
	uint64_t block_offset;

	struct answer kept[KEPT];
	unsigned int next_kept;
};

/* As JSON wants it, and nothing else changed: the same octets, the same key. */
static void append_key(struct mse_buf *buf, const char *name)
{
	for (; *name != '\0'; name++) {
		if ((unsigned char)*name < 0x20) {
			mse_buf_appendf(buf, "\\u%04x",
					(unsigned int)(unsigned char)*name);
			continue;
		}
		if (*name == '"' || *name == '\\')
			mse_buf_append_char(buf, '\\');
		mse_buf_append_char(buf, *name);
	}
}

struct entry {
	const char *name;
	unsigned int list;
	bool excludes;
};

/* The escaped octets' order: an escape is a backslash where it begins. */
static int compare_names(const char *a, const char *b)
{
	unsigned char x, y;

	while (*a == *b && *a != '\0')
		a++, b++;
	x = (unsigned char)*a;
	y = (unsigned char)*b;
	if (x != '\0' && y != '\0') {
		bool escaped_x = x < 0x20 || x == '"' || x == '\\';
		bool escaped_y = y < 0x20 || y == '"' || y == '\\';

		if (escaped_x && escaped_y) {
			/* Behind the backslash: '"', then '\\', then 'u'. */
			unsigned int rank_x = x < 0x20 ? 256U + x : x;
			unsigned int rank_y = y < 0x20 ? 256U + y : y;

			return rank_x < rank_y ? -1 : 1;
		}
		if (escaped_x)
			x = '\\';
		if (escaped_y)
			y = '\\';
	}
	return x < y ? -1 : x > y;
}

static int compare_entries(const void *_a, const void *_b)
{
	const struct entry *a = _a, *b = _b;
	int ret = compare_names(a->name, b->name);

	if (ret != 0)
		return ret;
	if (a->list != b->list)
		return a->list < b->list ? -1 : 1;
	return (int)b->excludes - (int)a->excludes;
}

static size_t add_entries(const struct mse_patterns *users, unsigned int number,
			  struct entry *entries)
{
	size_t i, count, added = 0;
	const char *const *list = mse_patterns_list(users, &count);

	for (i = 0; i < count; i++) {
		bool excludes = list[i][0] == '!';

		if (!mse_pattern_is_key(list[i]))
			continue;
		if (entries != NULL) {
			entries[added].name = list[i] + (excludes ? 1 : 0);
			entries[added].list = number;
			entries[added].excludes = excludes;
		}
		added++;
	}
	return added;
}

size_t mse_interest_names_count(const struct mse_patterns *users)
{
	return add_entries(users, 0, NULL);
}

static void append_entries(const struct entry *entries, size_t count,
			   struct mse_buf *buf)
{
	size_t i;

	for (i = 0; i < count; i++) {
		bool same = i > 0 &&
			strcmp(entries[i - 1].name, entries[i].name) == 0;

		/* Said twice, or excluded and taken: excluded comes first. */
		if (same && entries[i - 1].list == entries[i].list)
			continue;
		if (!same) {
			mse_buf_append_str(buf, i > 0 ? "],\n\"" : "\"");
			append_key(buf, entries[i].name);
			mse_buf_append_str(buf, "\":[");
		} else {
			mse_buf_append_char(buf, ',');
		}
		if (entries[i].excludes)
			mse_buf_append_char(buf, '-');
		mse_buf_append_number(buf, entries[i].list);
	}
	if (count > 0)
		mse_buf_append_str(buf, "]\n");
}

void mse_interest_names_format(const struct mse_subscription *subscriptions,
			       size_t count, struct mse_buf *buf)
{
	struct entry *entries;
	size_t i, total = 0;

	for (i = 0; i < count; i++)
		total += mse_interest_names_count(subscriptions[i].users);
	entries = calloc(total + 1, sizeof(*entries));
	if (entries == NULL) {
		buf->failed = true;
		return;
	}
	total = 0;
	for (i = 0; i < count; i++)
		total += add_entries(subscriptions[i].users,
				     (unsigned int)i + 1, entries + total);
	qsort(entries, total, sizeof(*entries), compare_entries);
	append_entries(entries, total, buf);
	free(entries);
}

struct mse_interest_names *mse_interest_names_new(int fd, uint64_t begin,
						  uint64_t end)
{
	struct mse_interest_names *names = calloc(1, sizeof(*names));

	if (names == NULL) {
		(void)close(fd);
		return NULL;
	}
	names->fd = fd;
	names->begin = begin;
	names->end = end;
	mse_buf_init(&names->block, LINE_MAX_OCTETS + 1);
	return names;
}

void mse_interest_names_set_lists(struct mse_interest_names *names,
				  unsigned int lists)
{
	names->lists = lists;
}

static void forget(struct answer *answer)
{
	free(answer->name);
	free(answer->found);
	memset(answer, 0, sizeof(*answer));
}

void mse_interest_names_free(struct mse_interest_names **_names)
{
	struct mse_interest_names *names = *_names;
	unsigned int i;

	*_names = NULL;
	if (names == NULL)
		return;
	for (i = 0; i < KEPT; i++)
		forget(&names->kept[i]);
	mse_buf_clear(&names->block);
	(void)close(names->fd);
	free(names);
}

/* -1 if there is not all of it. */
static int read_block(struct mse_interest_names *names, uint64_t offset,
		      size_t size)
{
	struct mse_buf *block = &names->block;
	char *to;
	ssize_t n;

	if (size > names->end - offset)
		size = (size_t)(names->end - offset);
	mse_buf_reset(block);
	names->block_offset = offset;
	to = mse_buf_reserve(block, size);
	if (to == NULL)
		return -1;
	while (block->len < size) {
		n = pread(names->fd, to + block->len, size - block->len,
			  (off_t)(offset + block->len));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		block->len += (size_t)n;
	}
	to[size] = '\0';
	return 0;
}

/* What stands from here, between begin and end, to the end of the line; it ends
   with LF and is good until the next call. -1: not readable, or too long. */
static int get_line(struct mse_interest_names *names, uint64_t offset,
		    const char **line_r, size_t *len_r)
{
	const struct mse_buf *block = &names->block;
	/* What is looked at next may be a little before. */
	uint64_t from = offset - names->begin > BLOCK / 2 ?
		offset - BLOCK / 2 : names->begin;
	size_t size, ahead;
	const char *lf;

	for (size = BLOCK;; size *= 4) {
		if (offset >= names->block_offset &&
		    offset < names->block_offset + block->len) {
			ahead = (size_t)(offset - names->block_offset);
			*line_r = block->data + ahead;
			lf = memchr(*line_r, '\n', block->len - ahead);
			if (lf != NULL) {
				*len_r = (size_t)(lf - *line_r) + 1;
				return 0;
			}
			if (names->block_offset + block->len == names->end)
				return -1;
		}
		if (size > LINE_MAX_OCTETS ||
		    read_block(names, from, size) < 0) {
			mse_buf_reset(&names->block);
			return -1;
		}
	}
}

/* The length of the key at the beginning of a line; -1 if there is none. */
static int key_length(const char *line, size_t len, size_t *len_r)
{
	size_t i;

	if (line[0] != '"')
		return -1;
	for (i = 1; i < len && line[i] != '"'; i++) {
		if (line[i] == '\\')
			i++;
	}
	*len_r = i - 1;
	return i + 3 < len && memcmp(line + i, "\":[", 3) == 0 ? 0 : -1;
}

static int compare_key(const struct mse_buf *key, const char *data, size_t len)
{
	size_t both = key->len < len ? key->len : len;
	int ret = memcmp(key->data, data, both);

	if (ret != 0)
		return ret;
	return key->len < len ? -1 : key->len > len;
}

/* `text` is what stands behind the bracket, LF included. */
static int take_lists(const struct mse_interest_names *names, const char *text,
		      unsigned char *found)
{
	bool excludes;
	unsigned int list;

	do {
		excludes = *text == '-';
		if (excludes)
			text++;
		if (*text < '1' || *text > '9')
			return -1;
		for (list = 0; *text >= '0' && *text <= '9'; text++) {
			list = list * 10 + (unsigned int)(*text - '0');
			if (list > names->lists)
				return -1;
		}
		found[list] |= excludes ? MSE_PATTERNS_LEAVES :
			MSE_PATTERNS_TAKES;
	} while (*text++ == ',');
	return text[-1] == ']' ? 0 : -1;
}

/* Adds the lists in which the key stands. */
static int search(struct mse_interest_names *names, const struct mse_buf *key,
		  unsigned char *found)
{
	/* If it is there, its line begins at or behind low, where a line
	   begins, and before high. */
	uint64_t low = names->begin, high = names->end, middle, begin;
	const char *line;
	size_t len, key_len;
	int order;

	while (low < high) {
		middle = low + (high - low) / 2;
		begin = middle;
		/* The first line that begins there or behind. */
		if (middle > low) {
			if (get_line(names, middle - 1, &line, &len) < 0)
				return -1;
			begin = middle - 1 + len;
		}
		if (begin >= high) {
			high = middle;
			continue;
		}
		if (get_line(names, begin, &line, &len) < 0 ||
		    key_length(line, len, &key_len) < 0)
			return -1;
		order = compare_key(key, line + 1, key_len);
		if (order == 0)
			return take_lists(names, line + 1 + key_len + 3,
					  found);
		if (order < 0)
			high = middle;
		else
			low = begin + len;
	}
	return 0;
}

/* The name itself, and "*@domain". */
static int search_both(struct mse_interest_names *names, const char *name,
		       unsigned char *found)
{
	const char *domain = strrchr(name, '@');
	struct mse_buf key;
	int ret;

	mse_buf_init(&key, LINE_MAX_OCTETS);
	append_key(&key, name);
	/* An empty name is nobody's. */
	ret = mse_buf_failed(&key) ? -1 :
		key.len == 0 ? 0 : search(names, &key, found);
	if (ret == 0 && domain != NULL) {
		mse_buf_reset(&key);
		mse_buf_append_char(&key, '*');
		append_key(&key, domain);
		ret = mse_buf_failed(&key) ? -1 : search(names, &key, found);
	}
	mse_buf_clear(&key);
	return ret;
}

static const struct answer *look_up(struct mse_interest_names *names,
				    const char *name)
{
	struct answer *answer = &names->kept[names->next_kept];

	forget(answer);
	answer->found = calloc(names->lists + 1, 1);
	if (answer->found == NULL ||
	    search_both(names, name, answer->found) < 0 ||
	    (answer->name = strdup(name)) == NULL) {
		forget(answer);
		return NULL;
	}
	names->next_kept = (names->next_kept + 1) % KEPT;
	return answer;
}

unsigned int mse_interest_names_find(void *context, unsigned int list,
				     const char *name)
{
	struct mse_interest_names *names = context;
	const struct answer *answer = NULL;
	unsigned int i;

	for (i = 0; i < KEPT; i++) {
		if (names->kept[i].name != NULL &&
		    strcmp(names->kept[i].name, name) == 0)
			answer = &names->kept[i];
	}
	if (answer == NULL)
		answer = look_up(names, name);
	if (answer == NULL || list > names->lists)
		return MSE_PATTERNS_TAKES;
	return answer->found[list];
}
