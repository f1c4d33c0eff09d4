/*
 * Reads the interest document (interest-json.h), as each mail process does
 * when it begins: in one pass over the text, without a tree of it.
 *
 * Invariant: whatever the octets are, the answer is what the document says, or
 * that it is damaged; never less than it says.
 */
#include "journal/interest-json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event/json-scan.h"
#include "journal/format.h"
#include "journal/interest-names.h"

#define CHUNK 16384

struct reading {
	struct mse_interest *interest;
	int64_t names_octets;        /* -1: not said */
	unsigned int lists;          /* the highest number of one */
	bool no_memory;
	/* Of the subscription, and of the list, that is being read. */
	struct mse_subscription *subscription;
	struct mse_slice content_part, content_limit;
	struct mse_patterns *patterns;
	struct mse_slice list_number, list_takes;
};

/* Takes the value of a member. -1: it is of the wrong kind, or memory is out
   (reading->no_memory). */
typedef int take_t(struct mse_json_scan *scan, struct reading *reading);

struct member {
	const char *name;
	take_t *take;
};

/* An object that is being read; members ends with a name of NULL. */
struct object {
	struct reading *reading;
	const struct member *members;
	unsigned int seen; /* of which bits */
};

static bool is(const struct mse_slice *slice, const char *text)
{
	return strlen(text) == slice->len &&
		memcmp(slice->data, text, slice->len) == 0;
}

static int take_member(struct mse_json_scan *scan, void *context)
{
	struct object *object = context;
	struct mse_slice key;
	unsigned int i;

	if (mse_json_scan_key(scan, &key) < 0)
		return -1;
	for (i = 0; object->members[i].name != NULL; i++) {
		if (!is(&key, object->members[i].name))
			continue;
		if ((object->seen & 1U << i) != 0)
			return -1;
		object->seen |= 1U << i;
		return object->members[i].take(scan, object->reading);
	}
	return mse_json_scan_value(scan, &key);
}

/* required: bits of the members without which it is damaged. */
static int take_object(struct mse_json_scan *scan, struct reading *reading,
		       const struct member *members, unsigned int required)
{
	struct object object = { reading, members, 0 };

	if (mse_json_scan_object(scan, take_member, &object) < 0)
		return -1;
	return (object.seen & required) == required ? 0 : -1;
}

/* A string with its quotes. */
static int take_quoted(struct mse_json_scan *scan, struct mse_slice *value_r)
{
	return mse_json_scan_value(scan, value_r) == 0 &&
		*value_r->data == '"' ? 0 : -1;
}

static char *decode(struct reading *reading, const struct mse_slice *quoted)
{
	char *text = malloc(quoted->len - 1);

	if (text == NULL)
		reading->no_memory = true;
	else
		(void)mse_json_scan_decode(quoted, text);
	return text;
}

/* A number that is whole and not negative; beyond INT64_MAX it is that. */
static bool is_number(const struct mse_slice *value, int64_t *number_r)
{
	size_t i;

	*number_r = 0;
	for (i = 0; i < value->len; i++) {
		int digit = value->data[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		*number_r = *number_r > (INT64_MAX - digit) / 10 ? INT64_MAX :
			*number_r * 10 + digit;
	}
	return value->len > 0;
}

/* Lists of strings */

struct strings {
	struct reading *reading;
	char **list;
	size_t count, room;
};

static void strings_free(struct strings *strings)
{
	while (strings->count > 0)
		free(strings->list[--strings->count]);
	free(strings->list);
	strings->list = NULL;
}

/* There is always room for a NULL behind them. */
static int strings_grow(struct strings *strings)
{
	size_t room = strings->room == 0 ? 4 : strings->room * 2;
	char **list;

	if (strings->count + 1 < strings->room)
		return 0;
	list = realloc(strings->list, room * sizeof(*list));
	if (list == NULL) {
		strings->reading->no_memory = true;
		return -1;
	}
	strings->list = list;
	strings->room = room;
	return 0;
}

static int take_string(struct mse_json_scan *scan, void *context)
{
	struct strings *strings = context;
	struct mse_slice value;
	char *text;

	if (take_quoted(scan, &value) < 0 || strings_grow(strings) < 0)
		return -1;
	text = decode(strings->reading, &value);
	if (text == NULL)
		return -1;
	strings->list[strings->count++] = text;
	strings->list[strings->count] = NULL;
	return 0;
}

/* strings_free() them if that is 0. An empty list is NULL. */
static int take_strings(struct mse_json_scan *scan, struct reading *reading,
			struct strings *strings_r)
{
	memset(strings_r, 0, sizeof(*strings_r));
	strings_r->reading = reading;
	if (mse_json_scan_array(scan, take_string, strings_r) == 0)
		return 0;
	strings_free(strings_r);
	return -1;
}

static int take_patterns(struct mse_json_scan *scan, struct reading *reading,
			 enum mse_patterns_flags flags,
			 struct mse_patterns **patterns_r)
{
	struct strings strings;

	if (take_strings(scan, reading, &strings) < 0)
		return -1;
	*patterns_r = mse_patterns_new((const char *const *)strings.list,
				       strings.count, flags);
	strings_free(&strings);
	if (*patterns_r != NULL)
		return 0;
	reading->no_memory = true;
	return -1;
}

/* Subscriptions */

struct types {
	mse_event_types_t found;
	unsigned int next;
};

/* They are written in the order of the vocabulary, so each is found behind the
   one before. */
static int take_type(struct mse_json_scan *scan, void *context)
{
	struct types *types = context;
	struct mse_slice name;
	unsigned int i, type;

	if (take_quoted(scan, &name) < 0 ||
	    /* What has one is no name that a daemon writes. */
	    memchr(name.data, '\\', name.len) != NULL)
		return -1;
	name.data++;
	name.len -= 2;
	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++) {
		type = (types->next + i) % MSE_EVENT_TYPE_COUNT;
		if (!is(&name, mse_event_type_name((enum mse_event_type)type)))
			continue;
		types->found |= MSE_EVENT_BIT(type);
		types->next = type + 1;
		break;
	}
	return 0;
}

static int take_events(struct mse_json_scan *scan, struct reading *reading)
{
	struct types types = { 0, 0 };

	if (mse_json_scan_array(scan, take_type, &types) < 0)
		return -1;
	reading->subscription->types = types.found &
		(MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS);
	return 0;
}

static int take_mailboxes(struct mse_json_scan *scan, struct reading *reading)
{
	return take_patterns(scan, reading, MSE_PATTERNS_MAILBOX,
			     &reading->subscription->mailboxes);
}

static int take_users(struct mse_json_scan *scan, struct reading *reading)
{
	struct mse_patterns *users;

	if (take_patterns(scan, reading, 0, &users) < 0)
		return -1;
	/* The other list, where there is one, says more. */
	if (reading->subscription->users == NULL)
		reading->subscription->users = users;
	else
		mse_patterns_free(&users);
	return 0;
}

static int take_list_number(struct mse_json_scan *scan,
			    struct reading *reading)
{
	return mse_json_scan_value(scan, &reading->list_number);
}

static int take_list_takes(struct mse_json_scan *scan, struct reading *reading)
{
	return mse_json_scan_value(scan, &reading->list_takes);
}

static int take_list_patterns(struct mse_json_scan *scan,
			      struct reading *reading)
{
	return take_patterns(scan, reading, 0, &reading->patterns);
}

static const struct member list_members[] = {
	{ "number", take_list_number },
	{ "takes", take_list_takes },
	{ "patterns", take_list_patterns },
	{ NULL, NULL }
};
#define LIST_REQUIRED 0x07

/* A list whose names stand apart. */
static int set_elsewhere(struct reading *reading)
{
	struct mse_patterns_elsewhere elsewhere = {
		.find = mse_interest_names_find,
		.context = reading->interest->names,
		.takes = is(&reading->list_takes, "true")
	};
	int64_t number;

	if (elsewhere.context == NULL ||
	    (!elsewhere.takes && !is(&reading->list_takes, "false")) ||
	    !is_number(&reading->list_number, &number) ||
	    number < 1 || number > MSE_INTEREST_LISTS_MAX)
		return -1;
	elsewhere.list = (unsigned int)number;
	if (reading->lists < elsewhere.list)
		reading->lists = elsewhere.list;
	mse_patterns_set_elsewhere(reading->patterns, &elsewhere);
	return 0;
}

static int take_user_list(struct mse_json_scan *scan, struct reading *reading)
{
	int ret;

	reading->patterns = NULL;
	ret = take_object(scan, reading, list_members, LIST_REQUIRED);
	if (ret == 0)
		ret = set_elsewhere(reading);
	if (ret < 0) {
		mse_patterns_free(&reading->patterns);
		return -1;
	}
	mse_patterns_free(&reading->subscription->users);
	reading->subscription->users = reading->patterns;
	return 0;
}

static int take_parameters(struct mse_json_scan *scan, struct reading *reading)
{
	enum mse_optional optional;
	struct strings strings;
	size_t i;

	if (take_strings(scan, reading, &strings) < 0)
		return -1;
	for (i = 0; i < strings.count; i++) {
		optional = mse_optional_find(strings.list[i]);
		if (optional < MSE_OPTIONAL_COUNT)
			reading->subscription->optionals |=
				MSE_OPTIONAL_BIT(optional);
	}
	strings_free(&strings);
	return 0;
}

static int take_content_part(struct mse_json_scan *scan,
			     struct reading *reading)
{
	return mse_json_scan_value(scan, &reading->content_part);
}

static int take_content_limit(struct mse_json_scan *scan,
			      struct reading *reading)
{
	return mse_json_scan_value(scan, &reading->content_limit);
}

/* What is wanted of the content; asked only if it is. */
static int set_content(struct reading *reading)
{
	struct mse_subscription *subscription = reading->subscription;
	int64_t octets;
	char *part;

	if (reading->content_part.len == 0 ||
	    *reading->content_part.data != '"' ||
	    !is_number(&reading->content_limit, &octets) || octets < 1)
		return -1;
	subscription->content_limit = octets < MSE_CONTENT_MAX ?
		(uint64_t)octets : MSE_CONTENT_MAX;
	part = decode(reading, &reading->content_part);
	if (part == NULL)
		return -1;
	subscription->content_part = mse_content_part_find(part);
	free(part);
	if (subscription->content_part < MSE_CONTENT_PART_COUNT)
		return 0;
	subscription->content_part = MSE_CONTENT_MESSAGE;
	subscription->optionals &=
		~MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT);
	return 0;
}

static const struct member subscription_members[] = {
	{ "events", take_events },
	{ "users", take_users },
	{ "mailboxes", take_mailboxes },
	{ "userList", take_user_list },
	{ "parameters", take_parameters },
	{ "contentPart", take_content_part },
	{ "contentLimit", take_content_limit },
	{ NULL, NULL }
};
#define SUBSCRIPTION_REQUIRED 0x07

static struct mse_subscription *add_subscription(struct mse_interest *interest)
{
	struct mse_subscription *list = interest->subscriptions;
	size_t count = interest->count;

	/* Full at each power of two. */
	if ((count & (count - 1)) == 0) {
		list = realloc(list, (count == 0 ? 1 : count * 2) *
			       sizeof(*list));
		if (list == NULL)
			return NULL;
		interest->subscriptions = list;
	}
	interest->count++;
	return memset(&list[count], 0, sizeof(*list));
}

static int take_subscription(struct mse_json_scan *scan, void *context)
{
	struct reading *reading = context;
	struct mse_subscription *subscription =
		add_subscription(reading->interest);

	if (subscription == NULL) {
		reading->no_memory = true;
		return -1;
	}
	reading->subscription = subscription;
	memset(&reading->content_part, 0, sizeof(reading->content_part));
	memset(&reading->content_limit, 0, sizeof(reading->content_limit));
	if (take_object(scan, reading, subscription_members,
			SUBSCRIPTION_REQUIRED) < 0)
		return -1;
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) != 0 &&
	    set_content(reading) < 0)
		return -1;
	reading->interest->types |= subscription->types;
	reading->interest->optionals |= subscription->optionals;
	return 0;
}

/* The document */

static int take_version(struct mse_json_scan *scan, struct reading *reading)
{
	struct mse_slice value;
	int64_t version;

	return mse_json_scan_value(scan, &value) == 0 &&
		is_number(&value, &version) &&
		version == MSE_INTEREST_VERSION ? 0 : -1;
}

static int take_server_name(struct mse_json_scan *scan,
			    struct reading *reading)
{
	struct mse_slice value;

	if (mse_json_scan_value(scan, &value) < 0)
		return -1;
	if (*value.data != '"')
		return 0;
	reading->interest->server_name = decode(reading, &value);
	return reading->interest->server_name == NULL ? -1 : 0;
}

static int take_flag_events(struct mse_json_scan *scan,
			    struct reading *reading)
{
	struct mse_slice value;

	if (take_quoted(scan, &value) < 0)
		return -1;
	reading->interest->flag_events_full = is(&value, "\"full\"");
	return 0;
}

static int take_expire_services(struct mse_json_scan *scan,
				struct reading *reading)
{
	struct strings strings;

	if (take_strings(scan, reading, &strings) < 0)
		return -1;
	if (strings.count == 0 && strings_grow(&strings) < 0)
		return -1;
	strings.list[strings.count] = NULL;
	reading->interest->expire_services = strings.list;
	return 0;
}

static int take_subscriptions(struct mse_json_scan *scan,
			      struct reading *reading)
{
	return mse_json_scan_array(scan, take_subscription, reading);
}

static int take_names_octets(struct mse_json_scan *scan,
			     struct reading *reading)
{
	struct mse_slice value;

	if (mse_json_scan_value(scan, &value) < 0)
		return -1;
	if (!is_number(&value, &reading->names_octets))
		reading->names_octets = -1;
	return 0;
}

static const struct member document_members[] = {
	{ "version", take_version },
	{ "flagEvents", take_flag_events },
	{ "expireServices", take_expire_services },
	{ "subscriptions", take_subscriptions },
	{ "serverName", take_server_name },
	{ "namesOctets", take_names_octets },
	{ NULL, NULL }
};
#define DOCUMENT_REQUIRED 0x0f

static int take_document(const struct mse_buf *text, struct reading *reading)
{
	struct mse_json_scan scan = {
		mse_buf_str(text), mse_buf_str(text) + text->len, 0
	};

	mse_json_scan_space(&scan);
	if (take_object(&scan, reading, document_members,
			DOCUMENT_REQUIRED) < 0)
		return -1;
	mse_json_scan_space(&scan);
	return scan.pos == scan.end ? 0 : -1;
}

static int damaged(struct mse_error *error_r)
{
	mse_error_set(error_r, "the interest file is damaged or of another "
		      "version; all events are taken");
	return 1;
}

/* Takes names (NULL: they do not stand apart), of which there are so many
   octets. */
static int parse(const struct mse_buf *text, struct mse_interest_names *names,
		 int64_t names_octets, struct mse_interest **interest_r,
		 struct mse_error *error_r)
{
	struct reading reading = { .names_octets = -1 };

	reading.interest = calloc(1, sizeof(*reading.interest));
	if (reading.interest == NULL) {
		mse_interest_names_free(&names);
		return -1;
	}
	reading.interest->names = names;
	if (take_document(text, &reading) < 0 ||
	    (names != NULL && reading.names_octets != names_octets)) {
		mse_interest_free(&reading.interest);
		return reading.no_memory ? -1 : damaged(error_r);
	}
	if (names != NULL)
		mse_interest_names_set_lists(names, reading.lists);
	*interest_r = reading.interest;
	return 0;
}

/* The file */

/* Whether the document's first line ends with the beginning of the names; that
   line alone. */
static bool is_head(const struct mse_buf *buf, size_t line)
{
	const size_t len = sizeof(MSE_INTEREST_NAMES_BEGIN) - 1;

	return line >= len && memcmp(buf->data + line - len,
				     MSE_INTEREST_NAMES_BEGIN, len) == 0;
}

/* What comes next of so many octets. The number of octets read, 0 at the
   file's end. */
static ssize_t read_chunk(int fd, struct mse_buf *buf, size_t left,
			  struct mse_error *error_r)
{
	size_t size = left < CHUNK ? left : CHUNK;
	char *room = mse_buf_reserve(buf, size);
	ssize_t n;

	if (room == NULL) {
		return mse_error_set(error_r, "%s is larger than %d octets, or "
				     "memory is out; all events are taken",
				     MSE_INTEREST_NAME, MSE_INTEREST_MAX);
	}
	do {
		n = read(fd, room, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		return mse_error_set(error_r, "cannot read %s: %s; all events "
				     "are taken", MSE_INTEREST_NAME,
				     strerror(errno));
	}
	room[n] = '\0';
	buf->len += (size_t)n;
	return n;
}

/* Of a file of that size; up to its first line if the names follow (*line_r is
   that line's length), else (0) all of it. */
static int read_file(int fd, uint64_t size, struct mse_buf *buf,
		     size_t *line_r, struct mse_error *error_r)
{
	const char *lf = NULL;
	ssize_t n;

	*line_r = 0;
	while (buf->len < size) {
		n = read_chunk(fd, buf, size - buf->len, error_r);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		if (lf != NULL)
			continue;
		lf = memchr(buf->data + buf->len - n, '\n', (size_t)n);
		if (lf == NULL)
			continue;
		*line_r = (size_t)(lf - buf->data) + 1;
		if (is_head(buf, *line_r))
			return 0;
		*line_r = 0;
	}
	return 0;
}

/* Takes the descriptor. Where the names end is told by the head and by the
   file's size: a part that is missing shows. */
static int load_head(int fd, uint64_t size, struct mse_buf *buf, size_t line,
		     struct mse_interest **interest_r,
		     struct mse_error *error_r)
{
	const size_t tail = sizeof(MSE_INTEREST_NAMES_END) - 1;
	struct mse_interest_names *names;

	mse_buf_truncate(buf, line);
	mse_buf_append_str(buf, MSE_INTEREST_NAMES_END);
	if (mse_buf_failed(buf) || size < line + tail) {
		(void)close(fd);
		return mse_buf_failed(buf) ? -1 : damaged(error_r);
	}
	names = mse_interest_names_new(fd, line, size - tail);
	return names == NULL ? -1 :
		parse(buf, names, (int64_t)(size - tail - line), interest_r,
		      error_r);
}

int mse_interest_load(int fd, struct mse_interest **interest_r,
		      struct mse_error *error_r)
{
	struct mse_buf buf;
	struct stat st;
	size_t line;
	int ret = 1;

	mse_buf_init(&buf, MSE_INTEREST_MAX);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		mse_error_set(error_r, "%s is not a regular file; all events "
			      "are taken", MSE_INTEREST_NAME);
		(void)close(fd);
	} else if (read_file(fd, (uint64_t)st.st_size, &buf, &line,
			     error_r) < 0) {
		(void)close(fd);
	} else if (line > 0) {
		ret = load_head(fd, (uint64_t)st.st_size, &buf, line,
				interest_r, error_r);
	} else {
		(void)close(fd);
		ret = parse(&buf, NULL, 0, interest_r, error_r);
	}
	mse_buf_clear(&buf);
	return ret;
}
