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
 * Names that we do not know are skipped: a newer daemon may want what this
 * plugin cannot make. `serverName` and `parameters` may be missing: an older
 * daemon's; what
 * describes the content is there if it is among them. Everything else that is
 * missing or of the wrong kind makes the document corrupt, and a corrupt
 * interest means all events, without optional parameters.
 */
#include "journal/interest-json.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

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

static int parse_subscription(struct json_object *object,
			      struct mse_subscription *subscription,
			      bool *corrupt_r)
{
	if (!json_object_is_type(object, json_type_object)) {
		*corrupt_r = true;
		return -1;
	}
	if (parse_types(object, &subscription->types, corrupt_r) < 0)
		return -1;
	subscription->users = parse_patterns(object, "users", 0, corrupt_r);
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
				       subscription, corrupt_r) < 0)
			return -1;
		interest->types |= subscription->types;
		interest->optionals |= subscription->optionals;
	}
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

int mse_interest_parse(const char *text, size_t len,
		       struct mse_interest **interest_r,
		       struct mse_error *error_r)
{
	struct json_object *document = parse_text(text, len);
	struct mse_interest *interest;
	bool corrupt = false;
	int ret;

	if (document == NULL) {
		mse_error_set(error_r, "the interest file is not a JSON "
			      "document; all events are taken");
		return 1;
	}
	interest = calloc(1, sizeof(*interest));
	ret = interest == NULL ? -1 :
		parse_document(document, interest, &corrupt);
	json_object_put(document);
	if (ret == 0) {
		*interest_r = interest;
		return 0;
	}
	mse_interest_free(&interest);
	if (!corrupt)
		return -1;
	mse_error_set(error_r, "the interest file is damaged or of another "
		      "version; all events are taken");
	return 1;
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
			       const struct mse_subscription *subscription)
{
	struct json_object *object = json_object_new_object();

	if (object == NULL || json_object_array_add(array, object) < 0) {
		json_object_put(object);
		return -1;
	}
	if (give_types(object, subscription->types) < 0 ||
	    give_patterns(object, "users", subscription->users) < 0 ||
	    give_patterns(object, "mailboxes", subscription->mailboxes) < 0)
		return -1;
	return give_optionals(object, subscription);
}

/* What an endpoint wants, and what must be known to derive it: for the same
   users, whatever mailbox it happens in. */
static int format_wanted(struct json_object *array,
			 const struct mse_subscription *wanted)
{
	struct mse_subscription behind = {
		.types = mse_event_types_behind(wanted->types),
		.users = wanted->users
	};

	if (format_subscription(array, wanted) < 0)
		return -1;
	return behind.types == 0 ? 0 : format_subscription(array, &behind);
}

static int format_document(struct json_object *document,
			   const struct mse_interest *interest)
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
		if (format_wanted(array, &interest->subscriptions[i]) < 0)
			return -1;
	}
	return 0;
}

void mse_interest_format(const struct mse_interest *interest,
			 struct mse_buf *buf)
{
	struct json_object *document = json_object_new_object();
	const char *text = NULL;

	if (document != NULL && format_document(document, interest) == 0) {
		text = json_object_to_json_string_ext(
			document, JSON_C_TO_STRING_PLAIN |
			JSON_C_TO_STRING_NOSLASHESCAPE);
	}
	if (text == NULL)
		buf->failed = true;
	else
		mse_buf_append_str(buf, text);
	mse_buf_append_char(buf, '\n');
	json_object_put(document);
}
