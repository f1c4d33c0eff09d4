/*
 * The interest document, the only place in journal/ that knows json-c.
 *
 *   {"version":1,"serverName":"mail.example.com","flagEvents":"simple",
 *    "expireServices":["doveadm"],
 *    "subscriptions":[{"events":["MessageNew",…],
 *                      "users":["*@example.com"],"mailboxes":[],
 *                      "parameters":["envelope","messageContent",…],
 *                      "contentPart":"message","contentLimit":2048}]}
 *
 * Where the lists of users are long, what can be looked up by name stands in
 * lines of its own behind the rest (interest-names.h), of which mail processes
 * read only what is about their user. Lists that have some of it are then
 *
 *   {…,"users":[],"userList":{"number":1,"takes":true,"patterns":["a*"]},…}
 *
 * `takes` says whether any of it includes; "users":[] makes who does not know
 * the rest take everybody. The document's first line ends with
 *   …,"namesOctets":123456,"names":{
 * so that the whole remains one JSON document.
 *
 * Names that we do not know are skipped: a newer daemon may want what this
 * plugin cannot make. `serverName` and `parameters` may be missing: an older
 * daemon's; what
 * describes the content is there if it is among them. Everything else that is
 * missing or of the wrong kind makes the document corrupt, and a corrupt
 * interest means all events, without optional parameters.
 */
#include "journal/interest-json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/format.h"
#include "journal/interest-names.h"

#define INTEREST_VERSION 1
#define JSON_DEPTH 8

static struct json_object *member(struct json_object *object, const char *name,
				  enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* NULL-terminated borrowed strings; NULL if memory is out or one of them is
   none (*corrupt_r). */
static const char **strings(struct json_object *array, bool *corrupt_r)
{
	struct json_object *value;
	size_t i, count = json_object_array_length(array);
	const char **list = calloc(count + 1, sizeof(*list));

	for (i = 0; list != NULL && i < count; i++) {
		value = json_object_array_get_idx(array, i);
		if (!json_object_is_type(value, json_type_string)) {
			*corrupt_r = true;
			free(list);
			return NULL;
		}
		list[i] = json_object_get_string(value);
	}
	return list;
}

static struct mse_patterns *parse_patterns(struct json_object *object,
					   const char *name,
					   enum mse_patterns_flags flags,
					   bool *corrupt_r)
{
	struct json_object *array = member(object, name, json_type_array);
	struct mse_patterns *patterns;
	const char **list;

	if (array == NULL) {
		*corrupt_r = true;
		return NULL;
	}
	list = strings(array, corrupt_r);
	if (list == NULL)
		return NULL;
	patterns = mse_patterns_new(list, json_object_array_length(array),
				    flags);
	free(list);
	return patterns;
}

static int parse_types(struct json_object *object, mse_event_types_t *types_r,
		       bool *corrupt_r)
{
	struct json_object *array = member(object, "events", json_type_array);
	enum mse_event_type type;
	const char **list;
	size_t i;

	if (array == NULL) {
		*corrupt_r = true;
		return -1;
	}
	list = strings(array, corrupt_r);
	if (list == NULL)
		return -1;
	*types_r = 0;
	for (i = 0; list[i] != NULL; i++) {
		type = mse_event_type_find(list[i]);
		if (type != MSE_EVENT_UNKNOWN)
			*types_r |= MSE_EVENT_BIT(type);
	}
	free(list);
	*types_r &= MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS;
	return 0;
}

static int parse_content(struct json_object *object,
			 struct mse_subscription *subscription,
			 bool *corrupt_r)
{
	struct json_object *part, *limit;
	int64_t octets;

	part = member(object, "contentPart", json_type_string);
	limit = member(object, "contentLimit", json_type_int);
	octets = limit == NULL ? 0 : json_object_get_int64(limit);
	if (part == NULL || octets < 1) {
		*corrupt_r = true;
		return -1;
	}
	subscription->content_limit = octets < MSE_CONTENT_MAX ?
		(uint64_t)octets : MSE_CONTENT_MAX;
	subscription->content_part =
		mse_content_part_find(json_object_get_string(part));
	if (subscription->content_part < MSE_CONTENT_PART_COUNT)
		return 0;
	subscription->content_part = MSE_CONTENT_MESSAGE;
	subscription->optionals &=
		~MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT);
	return 0;
}

static int parse_optionals(struct json_object *object,
			   struct mse_subscription *subscription,
			   bool *corrupt_r)
{
	enum mse_optional optional;
	struct json_object *array;
	const char **list;
	size_t i;

	if (!json_object_object_get_ex(object, "parameters", &array))
		return 0;
	if (!json_object_is_type(array, json_type_array)) {
		*corrupt_r = true;
		return -1;
	}
	list = strings(array, corrupt_r);
	if (list == NULL)
		return -1;
	for (i = 0; list[i] != NULL; i++) {
		optional = mse_optional_find(list[i]);
		if (optional < MSE_OPTIONAL_COUNT)
			subscription->optionals |= MSE_OPTIONAL_BIT(optional);
	}
	free(list);
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) == 0)
		return 0;
	return parse_content(object, subscription, corrupt_r);
}

/* A list whose names stand apart. */
static struct mse_patterns *parse_list(struct json_object *list,
				       struct mse_interest_names *names,
				       unsigned int *lists, bool *corrupt_r)
{
	struct mse_patterns_elsewhere elsewhere = {
		.find = mse_interest_names_find,
		.context = names
	};
	struct json_object *number, *takes;
	struct mse_patterns *patterns;
	int64_t value;

	number = member(list, "number", json_type_int);
	takes = member(list, "takes", json_type_boolean);
	value = number == NULL ? 0 : json_object_get_int64(number);
	if (names == NULL || takes == NULL || value < 1 ||
	    value > MSE_INTEREST_LISTS_MAX) {
		*corrupt_r = true;
		return NULL;
	}
	patterns = parse_patterns(list, "patterns", 0, corrupt_r);
	if (patterns == NULL)
		return NULL;
	elsewhere.list = (unsigned int)value;
	elsewhere.takes = json_object_get_boolean(takes);
	mse_patterns_set_elsewhere(patterns, &elsewhere);
	if (*lists < elsewhere.list)
		*lists = elsewhere.list;
	return patterns;
}

static struct mse_patterns *parse_users(struct json_object *object,
					struct mse_interest_names *names,
					unsigned int *lists, bool *corrupt_r)
{
	struct json_object *list;

	if (!json_object_object_get_ex(object, "userList", &list))
		return parse_patterns(object, "users", 0, corrupt_r);
	return parse_list(list, names, lists, corrupt_r);
}

static int parse_subscription(struct json_object *object,
			      struct mse_subscription *subscription,
			      struct mse_interest_names *names,
			      unsigned int *lists, bool *corrupt_r)
{
	if (!json_object_is_type(object, json_type_object)) {
		*corrupt_r = true;
		return -1;
	}
	if (parse_types(object, &subscription->types, corrupt_r) < 0)
		return -1;
	subscription->users = parse_users(object, names, lists, corrupt_r);
	if (subscription->users == NULL)
		return -1;
	subscription->mailboxes = parse_patterns(object, "mailboxes",
						 MSE_PATTERNS_MAILBOX,
						 corrupt_r);
	if (subscription->mailboxes == NULL)
		return -1;
	return parse_optionals(object, subscription, corrupt_r);
}

static int parse_subscriptions(struct json_object *document,
			       struct mse_interest *interest, bool *corrupt_r)
{
	struct json_object *array =
		member(document, "subscriptions", json_type_array);
	struct mse_subscription *subscription;
	unsigned int lists = 0;
	size_t i, count;

	if (array == NULL) {
		*corrupt_r = true;
		return -1;
	}
	count = json_object_array_length(array);
	interest->subscriptions = calloc(count + 1,
					 sizeof(*interest->subscriptions));
	if (interest->subscriptions == NULL)
		return -1;
	for (i = 0; i < count; i++) {
		subscription = &interest->subscriptions[interest->count++];
		if (parse_subscription(json_object_array_get_idx(array, i),
				       subscription, interest->names, &lists,
				       corrupt_r) < 0)
			return -1;
		interest->types |= subscription->types;
		interest->optionals |= subscription->optionals;
	}
	if (interest->names != NULL)
		mse_interest_names_set_lists(interest->names, lists);
	return 0;
}

static int parse_services(struct json_object *document,
			  struct mse_interest *interest, bool *corrupt_r)
{
	struct json_object *array =
		member(document, "expireServices", json_type_array);
	const char **list;
	size_t i;

	if (array == NULL) {
		*corrupt_r = true;
		return -1;
	}
	list = strings(array, corrupt_r);
	if (list == NULL)
		return -1;
	interest->expire_services = calloc(json_object_array_length(array) + 1,
					   sizeof(char *));
	for (i = 0; interest->expire_services != NULL && list[i] != NULL; i++) {
		interest->expire_services[i] = strdup(list[i]);
		if (interest->expire_services[i] == NULL)
			break;
	}
	i = interest->expire_services != NULL && list[i] == NULL;
	free(list);
	return i ? 0 : -1;
}

static int parse_server_name(struct json_object *document,
			     struct mse_interest *interest)
{
	struct json_object *name =
		member(document, "serverName", json_type_string);

	if (name == NULL)
		return 0;
	interest->server_name = strdup(json_object_get_string(name));
	return interest->server_name == NULL ? -1 : 0;
}

static int parse_document(struct json_object *document,
			  struct mse_interest *interest, bool *corrupt_r)
{
	struct json_object *version, *flags;

	version = member(document, "version", json_type_int);
	flags = member(document, "flagEvents", json_type_string);
	if (version == NULL || flags == NULL ||
	    json_object_get_int(version) != INTEREST_VERSION) {
		*corrupt_r = true;
		return -1;
	}
	interest->flag_events_full =
		strcmp(json_object_get_string(flags), "full") == 0;
	if (parse_server_name(document, interest) < 0 ||
	    parse_services(document, interest, corrupt_r) < 0)
		return -1;
	return parse_subscriptions(document, interest, corrupt_r);
}

static struct json_object *parse_text(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *document;

	if (tokener == NULL)
		return NULL;
	/* Not JSON_TOKENER_STRICT: json-c 0.18, Debian 13's, then refuses
	   every letter outside ASCII. What it would refuse besides does not
	   harm here. */
	document = json_tokener_parse_ex(tokener, text, (int)len);
	json_tokener_free(tokener);
	if (!json_object_is_type(document, json_type_object)) {
		json_object_put(document);
		return NULL;
	}
	return document;
}

static int not_a_document(struct mse_error *error_r)
{
	mse_error_set(error_r, "the interest file is not a JSON document; all "
		      "events are taken");
	return 1;
}

static int damaged(struct mse_error *error_r)
{
	mse_error_set(error_r, "the interest file is damaged or of another "
		      "version; all events are taken");
	return 1;
}

/* Takes names (NULL: they do not stand apart). */
static int take_document(struct json_object *document,
			 struct mse_interest_names *names,
			 struct mse_interest **interest_r,
			 struct mse_error *error_r)
{
	struct mse_interest *interest = calloc(1, sizeof(*interest));
	bool corrupt = false;

	if (interest == NULL) {
		mse_interest_names_free(&names);
		return -1;
	}
	interest->names = names;
	if (parse_document(document, interest, &corrupt) == 0) {
		*interest_r = interest;
		return 0;
	}
	mse_interest_free(&interest);
	return corrupt ? damaged(error_r) : -1;
}

/* All of it in memory: its names do not stand apart. */
static int load_whole(const char *text, size_t len,
		      struct mse_interest **interest_r,
		      struct mse_error *error_r)
{
	struct json_object *document = parse_text(text, len);
	int ret;

	if (document == NULL)
		return not_a_document(error_r);
	ret = take_document(document, NULL, interest_r, error_r);
	json_object_put(document);
	return ret;
}

/* Whether the document's first line ends with the beginning of the names; that
   line alone. */
static bool is_head(const struct mse_buf *buf, size_t line)
{
	const size_t len = sizeof(MSE_INTEREST_NAMES_BEGIN) - 1;

	return line >= len && memcmp(buf->data + line - len,
				     MSE_INTEREST_NAMES_BEGIN, len) == 0;
}

/* Of an open file; up to its first line if the names follow (*line_r is that
   line's length), else (0) all of it. */
static int read_file(int fd, struct mse_buf *buf, size_t *line_r,
		     struct mse_error *error_r)
{
	char chunk[16384];
	const char *lf;
	bool seen = false;
	ssize_t n;

	*line_r = 0;
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return mse_error_set(error_r, "cannot read %s: %s; all "
					     "events are taken",
					     MSE_INTEREST_NAME,
					     strerror(errno));
		mse_buf_append(buf, chunk, (size_t)n);
		if (mse_buf_failed(buf))
			return mse_error_set(error_r, "%s is larger than %d "
					     "octets, or memory is out; all "
					     "events are taken",
					     MSE_INTEREST_NAME,
					     MSE_INTEREST_MAX);
		lf = seen ? NULL : memchr(chunk, '\n', (size_t)n);
		if (lf == NULL)
			continue;
		seen = true;
		*line_r = buf->len - (size_t)n + (size_t)(lf - chunk) + 1;
		if (is_head(buf, *line_r))
			return 0;
		*line_r = 0;
	}
	return 0;
}

/* Takes the descriptor. Where the names end is told by the head and by the
   file's size: a part that is missing shows. */
static int load_head(int fd, off_t size, struct mse_buf *buf, size_t line,
		     struct mse_interest **interest_r,
		     struct mse_error *error_r)
{
	const size_t tail = sizeof(MSE_INTEREST_NAMES_END) - 1;
	struct json_object *document, *octets;
	struct mse_interest_names *names;
	int64_t len;
	int ret;

	mse_buf_truncate(buf, line);
	mse_buf_append_str(buf, MSE_INTEREST_NAMES_END);
	document = parse_text(mse_buf_str(buf), buf->len);
	octets = document == NULL ? NULL :
		member(document, "namesOctets", json_type_int);
	len = octets == NULL ? -1 : json_object_get_int64(octets);
	if (len < 0 || len != (int64_t)size - (int64_t)(line + tail)) {
		(void)close(fd);
		ret = document == NULL ? not_a_document(error_r) :
			damaged(error_r);
	} else {
		names = mse_interest_names_new(fd, line,
					       line + (uint64_t)len);
		ret = names == NULL ? -1 :
			take_document(document, names, interest_r, error_r);
	}
	json_object_put(document);
	return ret;
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
	} else if (read_file(fd, &buf, &line, error_r) < 0) {
		(void)close(fd);
	} else if (line > 0) {
		ret = load_head(fd, st.st_size, &buf, line, interest_r,
				error_r);
	} else {
		(void)close(fd);
		ret = load_whole(mse_buf_str(&buf), buf.len, interest_r,
				 error_r);
	}
	mse_buf_clear(&buf);
	return ret;
}

static int add_string(struct json_object *array, const char *text)
{
	struct json_object *value = json_object_new_string(text);

	if (value == NULL || json_object_array_add(array, value) < 0) {
		json_object_put(value);
		return -1;
	}
	return 0;
}

/* Gives value (NULL: memory is out) to object. */
static int give(struct json_object *object, const char *name,
		struct json_object *value)
{
	if (value == NULL)
		return -1;
	if (json_object_object_add(object, name, value) < 0) {
		json_object_put(value);
		return -1;
	}
	return 0;
}

/* `list` ends with NULL or after count. */
static int give_strings(struct json_object *object, const char *name,
			const char *const *list, size_t count)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	if (give(object, name, array) < 0)
		return -1;
	for (i = 0; i < count && list[i] != NULL; i++) {
		if (add_string(array, list[i]) < 0)
			return -1;
	}
	return 0;
}

static int give_patterns(struct json_object *object, const char *name,
			 const struct mse_patterns *patterns)
{
	const char *const *list;
	size_t count;

	if (patterns == NULL)
		return give_strings(object, name, NULL, 0);
	list = mse_patterns_list(patterns, &count);
	return give_strings(object, name, list, count);
}

/* What of a list stands apart, and what does not. `number` is 0 if nothing
   does. */
static int give_users(struct json_object *object,
		      const struct mse_patterns *users, unsigned int number)
{
	struct json_object *list, *patterns;
	size_t i, count;
	const char *const *all;
	bool takes = false;

	if (number == 0 || mse_interest_names_count(users) == 0)
		return give_patterns(object, "users", users);
	list = json_object_new_object();
	patterns = json_object_new_array();
	if (give_strings(object, "users", NULL, 0) < 0 ||
	    give(object, "userList", list) < 0 ||
	    give(list, "patterns", patterns) < 0)
		return -1;
	all = mse_patterns_list(users, &count);
	for (i = 0; i < count; i++) {
		if (mse_pattern_is_key(all[i])) {
			takes = takes || all[i][0] != '!';
		} else if (add_string(patterns, all[i]) < 0) {
			return -1;
		}
	}
	if (give(list, "number",
		 json_object_new_int64((int64_t)number)) < 0)
		return -1;
	return give(list, "takes", json_object_new_boolean(takes));
}

static int give_types(struct json_object *object, mse_event_types_t types)
{
	const char *names[MSE_EVENT_TYPE_COUNT];
	size_t type, count = 0;

	for (type = 0; type < MSE_EVENT_TYPE_COUNT; type++) {
		if ((types & (MSE_EVENT_TYPES_ALL | MSE_EVENT_TYPES_FACTS) &
		     MSE_EVENT_BIT(type)) != 0)
			names[count++] = mse_event_type_name(
				(enum mse_event_type)type);
	}
	return give_strings(object, "events", names, count);
}

static int give_optionals(struct json_object *object,
			  const struct mse_subscription *subscription)
{
	const char *names[MSE_OPTIONAL_COUNT];
	size_t i, count = 0;

	if (subscription->optionals == 0)
		return 0;
	for (i = 0; i < MSE_OPTIONAL_COUNT; i++) {
		if ((subscription->optionals & MSE_OPTIONAL_BIT(i)) != 0)
			names[count++] = mse_optional_name(
				(enum mse_optional)i);
	}
	if (give_strings(object, "parameters", names, count) < 0)
		return -1;
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) == 0)
		return 0;
	if (give(object, "contentPart", json_object_new_string(
			mse_content_part_name(subscription->content_part))) < 0)
		return -1;
	return give(object, "contentLimit", json_object_new_int64(
			(int64_t)subscription->content_limit));
}

/* subscription->mailboxes NULL: all. */
static int format_subscription(struct json_object *array,
			       const struct mse_subscription *subscription,
			       unsigned int number)
{
	struct json_object *object = json_object_new_object();

	if (object == NULL || json_object_array_add(array, object) < 0) {
		json_object_put(object);
		return -1;
	}
	if (give_types(object, subscription->types) < 0 ||
	    give_users(object, subscription->users, number) < 0 ||
	    give_patterns(object, "mailboxes", subscription->mailboxes) < 0)
		return -1;
	return give_optionals(object, subscription);
}

/* What an endpoint wants, and what must be known to derive it: for the same
   users, whatever mailbox it happens in. */
static int format_wanted(struct json_object *array,
			 const struct mse_subscription *wanted,
			 unsigned int number)
{
	struct mse_subscription behind = {
		.types = mse_event_types_behind(wanted->types),
		.users = wanted->users
	};

	if (format_subscription(array, wanted, number) < 0)
		return -1;
	return behind.types == 0 ? 0 :
		format_subscription(array, &behind, number);
}

static int format_document(struct json_object *document,
			   const struct mse_interest *interest, bool apart)
{
	struct json_object *array;
	size_t i;

	if (give(document, "version",
		 json_object_new_int(INTEREST_VERSION)) < 0 ||
	    (interest->server_name != NULL &&
	     give(document, "serverName",
		  json_object_new_string(interest->server_name)) < 0) ||
	    give(document, "flagEvents", json_object_new_string(
			interest->flag_events_full ? "full" : "simple")) < 0 ||
	    give_strings(document, "expireServices",
			 (const char *const *)interest->expire_services,
			 SIZE_MAX) < 0)
		return -1;
	array = json_object_new_array();
	if (give(document, "subscriptions", array) < 0)
		return -1;
	for (i = 0; i < interest->count; i++) {
		if (format_wanted(array, &interest->subscriptions[i],
				  apart ? (unsigned int)i + 1 : 0) < 0)
			return -1;
	}
	return 0;
}

static bool stand_apart(const struct mse_interest *interest)
{
	size_t i, names = 0;

	for (i = 0; i < interest->count; i++)
		names += mse_interest_names_count(
			interest->subscriptions[i].users);
	return names >= MSE_INTEREST_NAMES_MIN &&
		interest->count <= MSE_INTEREST_LISTS_MAX;
}

/* In place of the document's last brace. */
static void append_names(const struct mse_interest *interest,
			 struct mse_buf *buf)
{
	struct mse_buf names;

	mse_buf_init(&names, MSE_INTEREST_MAX);
	mse_interest_names_format(interest->subscriptions, interest->count,
				  &names);
	if (mse_buf_failed(&names) || buf->len == 0) {
		buf->failed = true;
	} else {
		mse_buf_truncate(buf, buf->len - 1);
		mse_buf_appendf(buf, ",\"namesOctets\":%zu,", names.len);
		mse_buf_append_str(buf, MSE_INTEREST_NAMES_BEGIN);
		mse_buf_append(buf, names.data, names.len);
		mse_buf_append_str(buf, MSE_INTEREST_NAMES_END);
	}
	mse_buf_clear(&names);
}

void mse_interest_format(const struct mse_interest *interest,
			 struct mse_buf *buf)
{
	struct json_object *document = json_object_new_object();
	bool apart = stand_apart(interest);
	const char *text = NULL;

	if (document != NULL &&
	    format_document(document, interest, apart) == 0) {
		text = json_object_to_json_string_ext(
			document, JSON_C_TO_STRING_PLAIN |
			JSON_C_TO_STRING_NOSLASHESCAPE);
	}
	if (text == NULL)
		buf->failed = true;
	else
		mse_buf_append_str(buf, text);
	if (apart)
		append_names(interest, buf);
	else
		mse_buf_append_char(buf, '\n');
	json_object_put(document);
}
