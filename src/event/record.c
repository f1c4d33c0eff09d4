/*
 * Reading a record without building a tree of it: one pass over the bytes
 * checks that they are one well-formed JSON object (RFC 8259, UTF-8 only) and
 * notes where the members stand that anyone routes on or splices.
 *
 * Invariant: a record that was accepted can be spliced into a body as it is.
 * Anything else is foreign bytes to the reader, never half a record.
 */
#include "event/record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"

#define DEPTH_MAX 32

struct scanner {
	const char *pos;
	const char *end;
	unsigned int depth;
};

static int scan_value(struct scanner *scanner);

static void skip_space(struct scanner *scanner)
{
	while (scanner->pos < scanner->end &&
	       strchr(" \t\r\n", *scanner->pos) != NULL && *scanner->pos != '\0')
		scanner->pos++;
}

static bool take(struct scanner *scanner, char c)
{
	if (scanner->pos >= scanner->end || *scanner->pos != c)
		return false;
	scanner->pos++;
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
static int scan_code_unit(struct scanner *scanner)
{
	int value = hex4(scanner->pos, scanner->end);

	if (value < 0)
		return -1;
	scanner->pos += 4;
	if (value < 0xd800 || value > 0xdfff)
		return 0;
	if (value > 0xdbff || scanner->end - scanner->pos < 6 ||
	    scanner->pos[0] != '\\' || scanner->pos[1] != 'u')
		return -1;
	value = hex4(scanner->pos + 2, scanner->end);
	scanner->pos += 6;
	return value >= 0xdc00 && value <= 0xdfff ? 0 : -1;
}

static int scan_escape(struct scanner *scanner)
{
	char c = *scanner->pos++;

	if (c == 'u')
		return scan_code_unit(scanner);
	return c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? 0 : -1;
}

static int scan_string(struct scanner *scanner)
{
	if (!take(scanner, '"'))
		return -1;
	while (scanner->pos < scanner->end) {
		unsigned char c = (unsigned char)*scanner->pos++;

		if (c == '"')
			return 0;
		if (c < 0x20)
			return -1;
		if (c == '\\' && (scanner->pos >= scanner->end ||
				  scan_escape(scanner) < 0))
			return -1;
	}
	return -1;
}

static int scan_digits(struct scanner *scanner)
{
	const char *start = scanner->pos;

	while (scanner->pos < scanner->end && *scanner->pos >= '0' &&
	       *scanner->pos <= '9')
		scanner->pos++;
	return scanner->pos > start ? 0 : -1;
}

static int scan_number(struct scanner *scanner)
{
	take(scanner, '-');
	if (!take(scanner, '0') && scan_digits(scanner) < 0)
		return -1;
	if (take(scanner, '.') && scan_digits(scanner) < 0)
		return -1;
	if (take(scanner, 'e') || take(scanner, 'E')) {
		if (!take(scanner, '+'))
			take(scanner, '-');
		return scan_digits(scanner);
	}
	return 0;
}

static int scan_literal(struct scanner *scanner, const char *literal)
{
	size_t len = strlen(literal);

	if ((size_t)(scanner->end - scanner->pos) < len ||
	    memcmp(scanner->pos, literal, len) != 0)
		return -1;
	scanner->pos += len;
	return 0;
}

/*
 * The inside of an object or array behind its opening bracket; member() is
 * called for each "key": or element and must consume it.
 */
static int scan_list(struct scanner *scanner, char close,
		     int (*member)(struct scanner *scanner, void *context),
		     void *context)
{
	if (++scanner->depth > DEPTH_MAX)
		return -1;
	skip_space(scanner);
	if (!take(scanner, close)) {
		do {
			skip_space(scanner);
			if (member(scanner, context) < 0)
				return -1;
			skip_space(scanner);
		} while (take(scanner, ','));
		if (!take(scanner, close))
			return -1;
	}
	scanner->depth--;
	return 0;
}

static int scan_element(struct scanner *scanner, void *context)
{
	return scan_value(scanner);
}

static int scan_pair(struct scanner *scanner, void *context)
{
	if (scan_string(scanner) < 0)
		return -1;
	skip_space(scanner);
	if (!take(scanner, ':'))
		return -1;
	skip_space(scanner);
	return scan_value(scanner);
}

static int scan_value(struct scanner *scanner)
{
	if (scanner->pos >= scanner->end)
		return -1;
	switch (*scanner->pos) {
	case '{':
		scanner->pos++;
		return scan_list(scanner, '}', scan_pair, NULL);
	case '[':
		scanner->pos++;
		return scan_list(scanner, ']', scan_element, NULL);
	case '"':
		return scan_string(scanner);
	case 't':
		return scan_literal(scanner, "true");
	case 'f':
		return scan_literal(scanner, "false");
	case 'n':
		return scan_literal(scanner, "null");
	default:
		return scan_number(scanner);
	}
}

static void append_utf8(struct mse_buf *buf, unsigned int c)
{
	char utf8[4];
	size_t len;

	if (c == 0 || (c >= 0xd800 && c <= 0xdfff))
		c = 0xfffd; /* a C string cannot hold it */
	if (c < 0x80) {
		utf8[0] = (char)c;
		len = 1;
	} else if (c < 0x800) {
		utf8[0] = (char)(0xc0 | c >> 6);
		utf8[1] = (char)(0x80 | (c & 0x3f));
		len = 2;
	} else if (c < 0x10000) {
		utf8[0] = (char)(0xe0 | c >> 12);
		utf8[1] = (char)(0x80 | (c >> 6 & 0x3f));
		utf8[2] = (char)(0x80 | (c & 0x3f));
		len = 3;
	} else {
		utf8[0] = (char)(0xf0 | c >> 18);
		utf8[1] = (char)(0x80 | (c >> 12 & 0x3f));
		utf8[2] = (char)(0x80 | (c >> 6 & 0x3f));
		utf8[3] = (char)(0x80 | (c & 0x3f));
		len = 4;
	}
	mse_buf_append(buf, utf8, len);
}

/* pos: behind the backslash of a checked string. Returns what is behind. */
static const char *decode_escape(const char *pos, const char *end,
				 struct mse_buf *buf)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	const char *name;
	int high, low;

	if (*pos != 'u') {
		name = strchr(names, *pos);
		mse_buf_append_char(buf, name == NULL ? *pos :
				    values[name - names]);
		return pos + 1;
	}
	high = hex4(pos + 1, end);
	pos += 5;
	if (high >= 0xd800 && high < 0xdc00 && end - pos >= 6 &&
	    pos[0] == '\\' && pos[1] == 'u') {
		low = hex4(pos + 2, end);
		if (low >= 0xdc00 && low < 0xe000) {
			append_utf8(buf, 0x10000u + ((unsigned)high - 0xd800) *
				    0x400u + ((unsigned)low - 0xdc00));
			return pos + 6;
		}
	}
	append_utf8(buf, (unsigned int)high);
	return pos;
}

/* The string behind its opening quote; span ends with the closing one. */
static char *decode_string(struct mse_slice span)
{
	const char *pos = span.data + 1, *end = span.data + span.len - 1;
	struct mse_buf buf;
	char *decoded;

	mse_buf_init(&buf, span.len * 3);
	while (pos < end) {
		const char *escape = memchr(pos, '\\', (size_t)(end - pos));
		const char *stop = escape == NULL ? end : escape;

		mse_buf_append(&buf, pos, (size_t)(stop - pos));
		pos = escape == NULL ? end :
			decode_escape(escape + 1, end, &buf);
	}
	decoded = mse_buf_take(&buf);
	mse_buf_clear(&buf);
	return decoded;
}

enum member {
	MEMBER_ID, MEMBER_TYPE, MEMBER_TIME, MEMBER_USER, MEMBER_OWNER,
	MEMBER_MAILBOX, MEMBER_OLD_MAILBOX, MEMBER_CAUSE, MEMBER_SLOT,
	MEMBER_INSTANCE, MEMBER_DATA, MEMBER_COUNT
};

static const char *const member_names[MEMBER_COUNT] = {
	"id", "type", "time", "user", "owner", "mailbox", "oldMailbox",
	"cause", "slot", "instance", "data"
};

static enum member find_member(struct mse_slice key)
{
	unsigned int i;

	for (i = 0; i < MEMBER_COUNT; i++)
		if (strlen(member_names[i]) + 2 == key.len &&
		    memcmp(key.data + 1, member_names[i], key.len - 2) == 0)
			break;
	return (enum member)i;
}

/* Notes the value of each member we know; the same one twice is refused, or
   two readers could disagree about the record. */
static int scan_member(struct scanner *scanner, void *context)
{
	struct mse_slice *spans = context, key, value;
	enum member member;

	key.data = scanner->pos;
	if (scan_string(scanner) < 0)
		return -1;
	key.len = (size_t)(scanner->pos - key.data);
	/* "\u0069d" is "id" to another reader. No name of ours needs that. */
	if (memchr(key.data, '\\', key.len) != NULL)
		return -1;
	skip_space(scanner);
	if (!take(scanner, ':'))
		return -1;
	skip_space(scanner);
	value.data = scanner->pos;
	if (scan_value(scanner) < 0)
		return -1;
	value.len = (size_t)(scanner->pos - value.data);
	member = find_member(key);
	if (member == MEMBER_COUNT)
		return 0;
	if (spans[member].data != NULL)
		return -1;
	spans[member] = value;
	return 0;
}

static int decode_member(const struct mse_slice *span, char **value_r)
{
	if (span->data == NULL)
		return 0;
	if (span->data[0] != '"')
		return -1;
	*value_r = decode_string(*span);
	return *value_r == NULL ? -1 : 0;
}

static int decode_uuid(const struct mse_slice *span,
		       char uuid_r[MSE_UUID_SIZE])
{
	char *id = NULL;
	int ret = -1;

	if (decode_member(span, &id) == 0 && id != NULL &&
	    mse_uuid_is_valid(id)) {
		memcpy(uuid_r, id, MSE_UUID_SIZE);
		ret = 0;
	}
	free(id);
	return ret;
}

/* Both or neither; digits only, and few: no slot has more. */
static int decode_presence(const struct mse_slice *slot,
			   const struct mse_slice *instance,
			   struct mse_record *record)
{
	unsigned int number = 0;
	size_t i;

	if (slot->data == NULL && instance->data == NULL)
		return 0;
	if (slot->data == NULL || instance->data == NULL || slot->len > 9)
		return -1;
	for (i = 0; i < slot->len; i++) {
		if (slot->data[i] < '0' || slot->data[i] > '9')
			return -1;
		number = number * 10 + (unsigned int)(slot->data[i] - '0');
	}
	record->slot = number;
	return decode_uuid(instance, record->instance);
}

static int decode(const struct mse_slice *spans, struct mse_record *record)
{
	if (decode_uuid(&spans[MEMBER_ID], record->id) < 0 ||
	    decode_presence(&spans[MEMBER_SLOT], &spans[MEMBER_INSTANCE],
			    record) < 0 ||
	    decode_member(&spans[MEMBER_TYPE], &record->type_name) < 0 ||
	    decode_member(&spans[MEMBER_TIME], &record->time_text) < 0 ||
	    decode_member(&spans[MEMBER_USER], &record->user) < 0 ||
	    decode_member(&spans[MEMBER_OWNER], &record->owner) < 0 ||
	    decode_member(&spans[MEMBER_MAILBOX], &record->mailbox) < 0 ||
	    decode_member(&spans[MEMBER_OLD_MAILBOX],
			  &record->old_mailbox) < 0 ||
	    decode_member(&spans[MEMBER_CAUSE], &record->cause) < 0)
		return -1;
	if (record->type_name == NULL || record->time_text == NULL ||
	    mse_timestamp_parse(record->time_text, &record->time_ms) < 0 ||
	    spans[MEMBER_DATA].data == NULL ||
	    spans[MEMBER_DATA].data[0] != '{')
		return -1;
	if (record->owner == NULL)
		record->owner = strdup(record->user == NULL ? "" :
				       record->user);
	record->type = mse_event_type_find(record->type_name);
	record->data = spans[MEMBER_DATA];
	return record->owner == NULL ? -1 : 0;
}

int mse_record_parse(const char *text, size_t len, struct mse_record *record_r,
		     struct mse_error *error_r)
{
	struct mse_slice spans[MEMBER_COUNT] = { { NULL, 0 } };
	struct scanner scanner = { text, text + len, 0 };

	memset(record_r, 0, sizeof(*record_r));
	if (len > MSE_RECORD_MAX)
		return mse_error_set(error_r, "a record of %zu octets is "
				     "longer than any of ours", len);
	skip_space(&scanner);
	if (!mse_utf8_is_valid(text, len) || !take(&scanner, '{') ||
	    scan_list(&scanner, '}', scan_member, spans) < 0)
		return mse_error_set(error_r,
				     "not a well-formed JSON object");
	skip_space(&scanner);
	if (scanner.pos != scanner.end)
		return mse_error_set(error_r,
				     "something follows the JSON object");
	if (decode(spans, record_r) < 0) {
		mse_record_clear(record_r);
		return mse_error_set(error_r, "a record needs id (a UUID), "
				     "type, time (RFC 3339) and data");
	}
	record_r->bytes.data = text;
	record_r->bytes.len = len;
	return 0;
}

void mse_record_clear(struct mse_record *record)
{
	free(record->type_name);
	free(record->time_text);
	free(record->user);
	free(record->owner);
	free(record->mailbox);
	free(record->old_mailbox);
	free(record->cause);
	memset(record, 0, sizeof(*record));
}

void mse_record_route(const struct mse_record *record,
		      struct mse_event_route *route_r)
{
	route_r->type = record->type;
	route_r->owner = record->owner;
	route_r->mailbox = record->mailbox;
	route_r->old_mailbox = record->old_mailbox;
}
