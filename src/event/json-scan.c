/*
 * Scanning JSON (RFC 8259) in place: well-formed or not, and where things
 * stand. Invariant: never reads an octet at or beyond `end`, and never goes
 * deeper than DEPTH_MAX.
 */
#include "event/json-scan.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 32

static int scan_any(struct mse_json_scan *scan);

void mse_json_scan_space(struct mse_json_scan *scan)
{
	while (scan->pos < scan->end &&
	       (*scan->pos == ' ' || *scan->pos == '\t' ||
		*scan->pos == '\r' || *scan->pos == '\n'))
		scan->pos++;
}

bool mse_json_scan_take(struct mse_json_scan *scan, char c)
{
	if (scan->pos >= scan->end || *scan->pos != c)
		return false;
	scan->pos++;
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits behind \u, or -1. */
static int hex4(const char *pos, const char *end)
{
	int value = 0, i, digit;

	if (end - pos < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		if ((digit = hex_value(pos[i])) < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* Behind \u. Half a surrogate pair is no character: a receiver could choke
   on it for ever. */
static int scan_code_unit(struct mse_json_scan *scan)
{
	int value = hex4(scan->pos, scan->end);

	if (value < 0)
		return -1;
	scan->pos += 4;
	if (value < 0xd800 || value > 0xdfff)
		return 0;
	if (value > 0xdbff || scan->end - scan->pos < 6 ||
	    scan->pos[0] != '\\' || scan->pos[1] != 'u')
		return -1;
	value = hex4(scan->pos + 2, scan->end);
	scan->pos += 6;
	return value >= 0xdc00 && value <= 0xdfff ? 0 : -1;
}

static int scan_escape(struct mse_json_scan *scan)
{
	char c = *scan->pos++;

	if (c == 'u')
		return scan_code_unit(scan);
	return c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? 0 : -1;
}

/* An octet c in each of the eight. */
#define EACH(c) (UINT64_C(0x0101010101010101) * (c))

/* How many of the eight octets come before one that ends a string, begins an
   escape or is a control character. (What borrows from such an octet may show
   in the next one, so only the first counts.) */
static size_t plain8(const char *data)
{
	uint64_t word, quote, backslash, found;

	memcpy(&word, data, sizeof(word));
	word = le64toh(word);
	quote = word ^ EACH('"');
	backslash = word ^ EACH('\\');
	found = (((quote - EACH(1)) & ~quote) |
		 ((backslash - EACH(1)) & ~backslash) |
		 ((word - EACH(' ')) & ~word)) & EACH(0x80);
	return found == 0 ? 8 : (size_t)__builtin_ctzll(found) / 8;
}

static int scan_string(struct mse_json_scan *scan)
{
	size_t plain;

	if (!mse_json_scan_take(scan, '"'))
		return -1;
	while (scan->pos < scan->end) {
		unsigned char c;

		if (scan->end - scan->pos >= 8) {
			plain = plain8(scan->pos);
			scan->pos += plain;
			if (plain == 8)
				continue;
		}
		c = (unsigned char)*scan->pos++;
		if (c == '"')
			return 0;
		if (c < 0x20)
			return -1;
		if (c == '\\' && (scan->pos >= scan->end ||
				  scan_escape(scan) < 0))
			return -1;
	}
	return -1;
}

static int scan_digits(struct mse_json_scan *scan)
{
	const char *start = scan->pos;

	while (scan->pos < scan->end && *scan->pos >= '0' &&
	       *scan->pos <= '9')
		scan->pos++;
	return scan->pos > start ? 0 : -1;
}

static int scan_number(struct mse_json_scan *scan)
{
	mse_json_scan_take(scan, '-');
	if (!mse_json_scan_take(scan, '0') && scan_digits(scan) < 0)
		return -1;
	if (mse_json_scan_take(scan, '.') && scan_digits(scan) < 0)
		return -1;
	if (mse_json_scan_take(scan, 'e') || mse_json_scan_take(scan, 'E')) {
		if (!mse_json_scan_take(scan, '+'))
			mse_json_scan_take(scan, '-');
		return scan_digits(scan);
	}
	return 0;
}

static int scan_literal(struct mse_json_scan *scan, const char *literal)
{
	size_t len = strlen(literal);

	if ((size_t)(scan->end - scan->pos) < len ||
	    memcmp(scan->pos, literal, len) != 0)
		return -1;
	scan->pos += len;
	return 0;
}

/*
 * The inside of an object or array behind its opening bracket; member() is
 * called for each "key": or element and must consume it.
 */
static int scan_list(struct mse_json_scan *scan, char close,
		     int (*member)(struct mse_json_scan *scan, void *context),
		     void *context)
{
	if (++scan->depth > DEPTH_MAX)
		return -1;
	mse_json_scan_space(scan);
	if (!mse_json_scan_take(scan, close)) {
		do {
			mse_json_scan_space(scan);
			if (member(scan, context) < 0)
				return -1;
			mse_json_scan_space(scan);
		} while (mse_json_scan_take(scan, ','));
		if (!mse_json_scan_take(scan, close))
			return -1;
	}
	scan->depth--;
	return 0;
}

static int scan_element(struct mse_json_scan *scan, void *context)
{
	return scan_any(scan);
}

int mse_json_scan_key(struct mse_json_scan *scan, struct mse_slice *key_r)
{
	const char *start = scan->pos;

	if (scan_string(scan) < 0)
		return -1;
	key_r->data = start + 1;
	key_r->len = (size_t)(scan->pos - start) - 2;
	mse_json_scan_space(scan);
	if (!mse_json_scan_take(scan, ':'))
		return -1;
	mse_json_scan_space(scan);
	return 0;
}

static int scan_pair(struct mse_json_scan *scan, void *context)
{
	struct mse_slice key;

	return mse_json_scan_key(scan, &key) < 0 ? -1 : scan_any(scan);
}

static int scan_any(struct mse_json_scan *scan)
{
	if (scan->pos >= scan->end)
		return -1;
	switch (*scan->pos) {
	case '{':
		scan->pos++;
		return scan_list(scan, '}', scan_pair, NULL);
	case '[':
		scan->pos++;
		return scan_list(scan, ']', scan_element, NULL);
	case '"':
		return scan_string(scan);
	case 't':
		return scan_literal(scan, "true");
	case 'f':
		return scan_literal(scan, "false");
	case 'n':
		return scan_literal(scan, "null");
	default:
		return scan_number(scan);
	}
}

int mse_json_scan_value(struct mse_json_scan *scan, struct mse_slice *value_r)
{
	value_r->data = scan->pos;
	if (scan_any(scan) < 0)
		return -1;
	value_r->len = (size_t)(scan->pos - value_r->data);
	return 0;
}

int mse_json_scan_object(struct mse_json_scan *scan,
			 int (*member)(struct mse_json_scan *scan,
				       void *context),
			 void *context)
{
	return !mse_json_scan_take(scan, '{') ? -1 :
		scan_list(scan, '}', member, context);
}

int mse_json_scan_array(struct mse_json_scan *scan,
			int (*element)(struct mse_json_scan *scan,
				       void *context),
			void *context)
{
	return !mse_json_scan_take(scan, '[') ? -1 :
		scan_list(scan, ']', element, context);
}

/* Returns what is behind it. */
static char *put_utf8(char *to, unsigned int c)
{
	if (c == 0 || (c >= 0xd800 && c <= 0xdfff))
		c = 0xfffd; /* a C string cannot hold it */
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* pos: behind the backslash of a checked string. Returns what is behind.
   No character is longer than its escape. */
static const char *decode_escape(const char *pos, const char *end, char **to)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	const char *name;
	int high, low;

	if (*pos != 'u') {
		name = strchr(names, *pos);
		*(*to)++ = name == NULL ? *pos : values[name - names];
		return pos + 1;
	}
	high = hex4(pos + 1, end);
	pos += 5;
	if (high >= 0xd800 && high < 0xdc00 && end - pos >= 6 &&
	    pos[0] == '\\' && pos[1] == 'u') {
		low = hex4(pos + 2, end);
		if (low >= 0xdc00 && low < 0xe000) {
			*to = put_utf8(*to, 0x10000u +
				       ((unsigned)high - 0xd800) * 0x400u +
				       ((unsigned)low - 0xdc00));
			return pos + 6;
		}
	}
	*to = put_utf8(*to, (unsigned int)high);
	return pos;
}

char *mse_json_scan_decode(const struct mse_slice *string, char *to)
{
	const char *pos = string->data + 1;
	const char *end = string->data + string->len - 1;

	while (pos < end) {
		const char *escape = memchr(pos, '\\', (size_t)(end - pos));
		const char *stop = escape == NULL ? end : escape;

		memcpy(to, pos, (size_t)(stop - pos));
		to += stop - pos;
		pos = escape == NULL ? end :
			decode_escape(escape + 1, end, &to);
	}
	*to = '\0';
	return to + 1;
}
