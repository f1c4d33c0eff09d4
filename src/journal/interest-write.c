/*
 * Writes the interest document (interest-json.h), in the daemon: with json-c,
 * which mail processes do not load.
 */
#include "journal/interest-json.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/format.h"
#include "journal/interest-names.h"

#define INTEREST_MODE 0640

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
		 json_object_new_int(MSE_INTEREST_VERSION)) < 0 ||
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

/* Mail processes without the group (doveadm, dovecot-lda) read the file while
   they are still root. One replaced under them could not be read again, and
   their events would lack what was subscribed to. */
static bool stands_already(int dir_fd, const struct mse_buf *wanted)
{
	struct stat st, dir;
	struct mse_error error;
	struct mse_buf buf;
	bool same;

	if (fstat(dir_fd, &dir) < 0 ||
	    fstatat(dir_fd, MSE_INTEREST_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) || (st.st_mode & 07777) != INTEREST_MODE ||
	    st.st_uid != geteuid() || st.st_gid != dir.st_gid ||
	    (size_t)st.st_size != wanted->len)
		return false;
	mse_buf_init(&buf, MSE_INTEREST_MAX);
	same = mse_file_read(dir_fd, MSE_INTEREST_NAME, &buf, &error) == 0 &&
		buf.len == wanted->len &&
		memcmp(buf.data, wanted->data, buf.len) == 0;
	mse_buf_clear(&buf);
	return same;
}

int mse_interest_write(int dir_fd, const struct mse_interest *interest,
		       struct mse_error *error_r)
{
	struct mse_buf buf;
	int ret;

	mse_buf_init(&buf, MSE_INTEREST_MAX);
	mse_interest_format(interest, &buf);
	if (mse_buf_failed(&buf)) {
		ret = mse_error_set(error_r, "the interest file would be too "
				    "large, or memory is out");
	} else if (stands_already(dir_fd, &buf)) {
		ret = 0;
	} else {
		ret = mse_file_replace(dir_fd, MSE_INTEREST_NAME,
				       INTEREST_MODE, buf.data, buf.len,
				       error_r);
	}
	mse_buf_clear(&buf);
	return ret;
}
