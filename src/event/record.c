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

#include "base/clock.h"
#include "base/utf8.h"

enum member {
	MEMBER_ID, MEMBER_TYPE, MEMBER_TIME, MEMBER_USER, MEMBER_OWNER,
	MEMBER_MAILBOX, MEMBER_OLD_MAILBOX, MEMBER_CAUSE, MEMBER_SOCKET,
	MEMBER_SLOT, MEMBER_INSTANCE, MEMBER_DATA, MEMBER_COUNT
};

static const char *const member_names[MEMBER_COUNT] = {
	"id", "type", "time", "user", "owner", "mailbox", "oldMailbox",
	"cause", "socket", "slot", "instance", "data"
};

/* Where the values stand. */
struct members {
	struct mse_slice spans[MEMBER_COUNT];
	struct mse_record *record;
};

static bool is_name(const struct mse_slice *key, const char *name)
{
	/* Most differ in the first octet. */
	return key->len > 0 && key->data[0] == name[0] &&
		strlen(name) == key->len &&
		memcmp(key->data, name, key->len) == 0;
}

/* The place for a value; NULL: a member we do not know. */
static struct mse_slice *find_member(struct members *members,
				     const struct mse_slice *key)
{
	unsigned int i;

	for (i = 0; i < MEMBER_COUNT; i++)
		if (is_name(key, member_names[i]))
			return &members->spans[i];
	for (i = 0; i < MSE_OPTIONAL_COUNT; i++)
		if (is_name(key, mse_optional_name((enum mse_optional)i)))
			return &members->record->optionals[i];
	return NULL;
}

static struct mse_record_content *find_content(struct mse_record *record,
					       const struct mse_slice *key)
{
	unsigned int i;

	for (i = 0; i < MSE_CONTENT_MEMBER_COUNT; i++)
		if (is_name(key, mse_content_part_member(
				(enum mse_content_part)i)))
			return &record->content[i];
	return NULL;
}

/* Digits only. */
static int read_number(const struct mse_slice *value, uint64_t *number_r)
{
	uint64_t number = 0;
	size_t i;

	if (value->len > 19)
		return -1;
	for (i = 0; i < value->len; i++) {
		if (value->data[i] < '0' || value->data[i] > '9')
			return -1;
		number = number * 10 + (uint64_t)(value->data[i] - '0');
	}
	*number_r = number;
	return 0;
}

/* Spliced as it is, where a receiver expects a string; once. */
static int take_string(const struct mse_slice *value,
		       struct mse_slice *string)
{
	if (value->data[0] != '"' || string->data != NULL)
		return -1;
	*string = *value;
	return 0;
}

static int scan_content_member(struct mse_json_scan *scan, void *context)
{
	struct mse_record_content *content = context;
	struct mse_slice key, value;

	if (mse_json_scan_key(scan, &key) < 0 ||
	    mse_json_scan_value(scan, &value) < 0)
		return -1;
	if (is_name(&key, "octets"))
		return read_number(&value, &content->octets);
	if (is_name(&key, "encoding"))
		return take_string(&value, &content->encoding);
	if (is_name(&key, "text"))
		return take_string(&value, &content->text);
	if (is_name(&key, "suppressed"))
		return take_string(&value, &content->suppressed);
	return 0;
}

/* Either the text or why it is not there. */
static int scan_content(struct mse_json_scan *scan,
			struct mse_record_content *content)
{
	if (content->present ||
	    mse_json_scan_object(scan, scan_content_member, content) < 0 ||
	    (content->text.data == NULL) == (content->suppressed.data == NULL))
		return -1;
	content->present = true;
	return 0;
}

/* Notes the value of each member we know; the same one twice is refused, or
   two readers could disagree about the record. */
static int scan_member(struct mse_json_scan *scan, void *context)
{
	struct members *members = context;
	struct mse_record_content *content;
	struct mse_slice key, value, *span;

	/* "\u0069d" is "id" to another reader. No name of ours needs that. */
	if (mse_json_scan_key(scan, &key) < 0 ||
	    memchr(key.data, '\\', key.len) != NULL)
		return -1;
	content = find_content(members->record, &key);
	if (content != NULL)
		return scan_content(scan, content);
	if (mse_json_scan_value(scan, &value) < 0)
		return -1;
	span = find_member(members, &key);
	if (span == NULL)
		return 0;
	if (span->data != NULL)
		return -1;
	*span = value;
	return 0;
}

static int decode_uuid(const struct mse_slice *span,
		       char uuid_r[MSE_UUID_SIZE])
{
	/* Each of its characters may be an escape, if none ever is. */
	char decoded[6 * MSE_UUID_SIZE];

	if (span->data == NULL || span->data[0] != '"' ||
	    span->len - 1 > sizeof(decoded))
		return -1;
	(void)mse_json_scan_decode(span, decoded);
	if (!mse_uuid_is_valid(decoded))
		return -1;
	memcpy(uuid_r, decoded, MSE_UUID_SIZE);
	return 0;
}

/* Both or neither; digits only, and few: no slot has more. */
static int decode_presence(const struct mse_slice *slot,
			   const struct mse_slice *instance,
			   struct mse_record *record)
{
	uint64_t number;

	if (slot->data == NULL && instance->data == NULL)
		return 0;
	if (slot->data == NULL || instance->data == NULL || slot->len > 9 ||
	    read_number(slot, &number) < 0)
		return -1;
	record->slot = (unsigned int)number;
	return decode_uuid(instance, record->instance);
}

/* The strings that are decoded. */
#define STRING_COUNT 8
static void strings_of(struct mse_record *record,
		       char **strings_r[STRING_COUNT])
{
	char **const strings[STRING_COUNT] = {
		&record->type_name, &record->time_text, &record->user,
		&record->owner, &record->mailbox, &record->old_mailbox,
		&record->cause, &record->socket
	};

	memcpy(strings_r, strings, sizeof(strings));
}

static int decode_strings(const struct mse_slice *spans,
			  struct mse_record *record)
{
	static const enum member members[STRING_COUNT] = {
		MEMBER_TYPE, MEMBER_TIME, MEMBER_USER, MEMBER_OWNER,
		MEMBER_MAILBOX, MEMBER_OLD_MAILBOX, MEMBER_CAUSE,
		MEMBER_SOCKET
	};
	char **strings[STRING_COUNT], *end;
	const struct mse_slice *span;
	size_t size = 1; /* "" */
	unsigned int i;

	for (i = 0; i < STRING_COUNT; i++) {
		span = &spans[members[i]];
		if (span->data != NULL && span->data[0] != '"')
			return -1;
		size += span->len;
	}
	record->own = end = malloc(size);
	if (end == NULL)
		return MSE_RECORD_NO_MEMORY;
	*end++ = '\0';
	strings_of(record, strings);
	for (i = 0; i < STRING_COUNT; i++) {
		span = &spans[members[i]];
		if (span->data == NULL)
			continue;
		*strings[i] = end;
		end = mse_json_scan_decode(span, end);
	}
	record->strings_len = (size_t)(end - record->own);
	if (record->owner == NULL)
		record->owner = record->user != NULL ? record->user :
			record->own;
	return 0;
}

static int decode(const struct mse_slice *spans, struct mse_record *record)
{
	int ret = decode_uuid(&spans[MEMBER_ID], record->id);

	if (ret == 0)
		ret = decode_presence(&spans[MEMBER_SLOT],
				      &spans[MEMBER_INSTANCE], record);
	if (ret == 0)
		ret = decode_strings(spans, record);
	if (ret < 0)
		return ret;
	if (record->type_name == NULL || record->time_text == NULL ||
	    mse_timestamp_parse(record->time_text, &record->time_ms) < 0 ||
	    spans[MEMBER_DATA].data == NULL ||
	    spans[MEMBER_DATA].data[0] != '{')
		return -1;
	record->type = mse_event_type_find(record->type_name);
	record->data = spans[MEMBER_DATA];
	return 0;
}

int mse_record_parse(const char *text, size_t len, struct mse_record *record_r,
		     struct mse_error *error_r)
{
	struct members members = { .record = record_r };
	struct mse_json_scan scan = { text, text + len, 0 };
	const char *wrong = NULL;
	int ret = 0;

	memset(record_r, 0, sizeof(*record_r));
	if (len > MSE_RECORD_MAX)
		return mse_error_set(error_r, "a record of %zu octets is "
				     "longer than any of ours", len);
	mse_json_scan_space(&scan);
	if (!mse_utf8_is_valid(text, len) ||
	    mse_json_scan_object(&scan, scan_member, &members) < 0)
		wrong = "not a well-formed JSON object";
	mse_json_scan_space(&scan);
	if (wrong == NULL && scan.pos != scan.end)
		wrong = "something follows the JSON object";
	if (wrong == NULL)
		ret = decode(members.spans, record_r);
	if (ret == MSE_RECORD_NO_MEMORY)
		wrong = "memory is out";
	else if (ret < 0)
		wrong = "a record needs id (a UUID), type, time (RFC 3339) "
			"and data";
	if (wrong != NULL) {
		mse_record_clear(record_r);
		(void)mse_error_set(error_r, "%s", wrong);
		return ret < 0 ? ret : -1;
	}
	record_r->bytes.data = text;
	record_r->bytes.len = len;
	return 0;
}

void mse_record_clear(struct mse_record *record)
{
	free(record->own);
	memset(record, 0, sizeof(*record));
}

static void move(struct mse_slice *slice, const char *from, const char *to)
{
	if (slice->data != NULL)
		slice->data = to + (slice->data - from);
}

static void move_slices(struct mse_record *record, const char *to)
{
	const char *from = record->bytes.data;
	unsigned int i;

	move(&record->data, from, to);
	for (i = 0; i < MSE_OPTIONAL_COUNT; i++)
		move(&record->optionals[i], from, to);
	for (i = 0; i < MSE_CONTENT_MEMBER_COUNT; i++) {
		move(&record->content[i].text, from, to);
		move(&record->content[i].suppressed, from, to);
		move(&record->content[i].encoding, from, to);
	}
	record->bytes.data = to;
}

static void move_strings(struct mse_record *record, char *to)
{
	char **strings[STRING_COUNT];
	unsigned int i;

	strings_of(record, strings);
	for (i = 0; i < STRING_COUNT; i++) {
		if (*strings[i] != NULL)
			*strings[i] = to + (*strings[i] - record->own);
	}
	record->own = to;
}

int mse_record_copy(const struct mse_record *record,
		    struct mse_record *copy_r)
{
	size_t strings_len = record->strings_len, len = record->bytes.len;
	char *own = malloc(strings_len + len + 1);

	if (own == NULL)
		return -1;
	memcpy(own, record->own, strings_len);
	memcpy(own + strings_len, record->bytes.data, len);
	own[strings_len + len] = '\0';
	*copy_r = *record;
	move_strings(copy_r, own);
	move_slices(copy_r, own + strings_len);
	return 0;
}

struct wanted {
	const char *name;
	struct mse_slice value; /* data NULL until found */
};

static int scan_param(struct mse_json_scan *scan, void *context)
{
	struct wanted *wanted = context;
	struct mse_slice key, value;

	if (mse_json_scan_key(scan, &key) < 0 ||
	    mse_json_scan_value(scan, &value) < 0)
		return -1;
	if (is_name(&key, wanted->name))
		wanted->value = value;
	return 0;
}

/* The value as it is written; false if there is none. */
static bool find_param(const struct mse_record *record, enum mse_param param,
		       struct mse_slice *value_r)
{
	struct mse_json_scan scan = { record->data.data,
		record->data.data + record->data.len, 0 };
	struct wanted wanted = { mse_param_name(param), { NULL, 0 } };

	if (mse_json_scan_object(&scan, scan_param, &wanted) < 0)
		return false;
	*value_r = wanted.value;
	return wanted.value.data != NULL;
}

int mse_record_string(const struct mse_record *record, enum mse_param param,
		      char **value_r)
{
	struct mse_slice span;

	if (mse_param_kind(param) != MSE_KIND_STRING ||
	    !find_param(record, param, &span) || span.data[0] != '"')
		return 0;
	*value_r = malloc(span.len - 1);
	if (*value_r == NULL)
		return -1;
	(void)mse_json_scan_decode(&span, *value_r);
	return 1;
}

static int parse_number(const struct mse_slice *span, uint64_t *value_r)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < span->len; i++) {
		unsigned int digit = (unsigned char)span->data[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return 0;
		value = value * 10 + digit;
	}
	*value_r = value;
	return 1;
}

int mse_record_number(const struct mse_record *record, enum mse_param param,
		      uint64_t *value_r)
{
	enum mse_param_kind kind = mse_param_kind(param);
	struct mse_slice span;

	if (kind == MSE_KIND_STRING || !find_param(record, param, &span))
		return 0;
	if (kind == MSE_KIND_NUMBER)
		return parse_number(&span, value_r);
	if (span.data[0] != 't' && span.data[0] != 'f')
		return 0;
	*value_r = span.data[0] == 't';
	return 1;
}

void mse_record_route(const struct mse_record *record,
		      struct mse_event_route *route_r)
{
	route_r->type = record->type;
	route_r->owner = record->owner;
	route_r->mailbox = record->mailbox;
	route_r->old_mailbox = record->old_mailbox;
}
