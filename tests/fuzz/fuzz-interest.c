/*
 * An interest file of any octets. What is taken is a document to json-c, too,
 * and says the same after it was written out again; whatever is refused has a
 * reason. As a file it may have names that are looked up where they stand;
 * where these stand any octets get an answer, and names written there are found
 * as they were given.
 */
#include "fuzz.h"

#include <json-c/json.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "journal/interest-json.h"
#include "journal/interest-names.h"
#include "journal/interest.h"

#define LISTS 3
#define LIST_MAX 40

const char fuzz_name[] = "interest";

static const struct mse_event_route routes[] = {
	{ MSE_EVENT_MESSAGE_NEW, "", NULL, NULL },
	{ MSE_EVENT_MESSAGE_NEW, "one@example.org", "INBOX", NULL },
	{ MSE_EVENT_MAILBOX_RENAME, "a", "b", "c" },
};

static int open_file(const void *data, size_t size)
{
	int fd = memfd_create("interest", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(write(fd, data, size) == (ssize_t)size);
	FUZZ_CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static int load(const void *data, size_t size,
		struct mse_interest **interest_r, struct mse_error *error_r)
{
	return mse_interest_load(open_file(data, size), interest_r, error_r);
}

static void check_same(const struct mse_interest *one,
		       const struct mse_interest *two)
{
	struct mse_wanted wanted_one, wanted_two;
	mse_event_types_t types;
	size_t i;

	/* And what is behind it. */
	types = one->types | mse_event_types_behind(one->types);
	FUZZ_CHECK(two->types == types);
	FUZZ_CHECK(one->optionals == two->optionals);
	FUZZ_CHECK(one->flag_events_full == two->flag_events_full);
	for (i = 0; one->expire_services[i] != NULL; i++)
		FUZZ_CHECK(strcmp(one->expire_services[i],
				  two->expire_services[i]) == 0);
	FUZZ_CHECK(two->expire_services[i] == NULL);
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		FUZZ_CHECK(!mse_interest_wants(one, &routes[i]) ||
			   mse_interest_wants(two, &routes[i]));
		memset(&wanted_one, 0, sizeof(wanted_one));
		memset(&wanted_two, 0, sizeof(wanted_two));
		mse_interest_wanted(one, &routes[i], &wanted_one);
		mse_interest_wanted(two, &routes[i], &wanted_two);
		FUZZ_CHECK(wanted_one.optionals == wanted_two.optionals);
		FUZZ_CHECK(memcmp(wanted_one.content_limit,
				  wanted_two.content_limit,
				  sizeof(wanted_one.content_limit)) == 0);
	}
}

static void check_json(const void *data, size_t size)
{
	struct json_tokener *tokener = json_tokener_new_ex(64);
	struct json_object *document;

	document = json_tokener_parse_ex(tokener, data, (int)size);
	FUZZ_CHECK(json_object_is_type(document, json_type_object));
	FUZZ_CHECK(json_object_object_get_ex(document, "subscriptions", NULL));
	json_object_put(document);
	json_tokener_free(tokener);
}

static void check_interest(const struct mse_interest *interest)
{
	struct mse_interest *again;
	struct mse_error error;
	struct mse_buf buf;
	size_t i;

	/* What is looked up in the file cannot be listed. */
	if (interest->names != NULL)
		return;
	for (i = 0; i < interest->count; i++) {
		const struct mse_subscription *one =
			&interest->subscriptions[i];

		FUZZ_CHECK(one->users != NULL && one->mailboxes != NULL);
		FUZZ_CHECK(one->content_limit <= MSE_CONTENT_MAX);
		FUZZ_CHECK(one->content_part < MSE_CONTENT_PART_COUNT);
	}
	mse_buf_init(&buf, 64 * 1024 * 1024);
	mse_interest_format(interest, &buf);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(load(buf.data, buf.len, &again, &error) == 0);
	check_same(interest, again);
	mse_interest_free(&again);
	mse_buf_clear(&buf);
}

static struct mse_interest_names *open_names(const void *data, size_t size)
{
	struct mse_interest_names *names =
		mse_interest_names_new(open_file(data, size), 0, size);

	FUZZ_CHECK(names != NULL);
	mse_interest_names_set_lists(names, LISTS);
	return names;
}

/* Octets where the names' lines should be. */
static void check_octets(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	char *name = fuzz_take_string(&input);
	struct mse_interest_names *names = open_names(input.data, input.left);
	unsigned int list, found;

	for (list = 1; list <= LISTS; list++) {
		found = mse_interest_names_find(names, list, name);
		FUZZ_CHECK(found <= (MSE_PATTERNS_TAKES | MSE_PATTERNS_LEAVES));
		FUZZ_CHECK(mse_interest_names_find(names, list, name) == found);
	}
	mse_interest_names_free(&names);
	free(name);
}

/* What the patterns that are this key, or "!" and this key, say. */
static unsigned int found_key(const char *const *list, size_t count,
			      const char *key)
{
	unsigned int found = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		if (!mse_pattern_is_key(list[i]))
			continue;
		if (list[i][0] == '!' && strcmp(list[i] + 1, key) == 0)
			return MSE_PATTERNS_LEAVES;
		if (list[i][0] != '!' && strcmp(list[i], key) == 0)
			found = MSE_PATTERNS_TAKES;
	}
	return found;
}

static void check_found(struct mse_interest_names *names, unsigned int list,
			const struct mse_patterns *users, const char *name)
{
	const char *domain = strrchr(name, '@');
	unsigned int expected;
	size_t count;
	const char *const *all = mse_patterns_list(users, &count);
	char *key;

	expected = *name == '\0' ? 0 : found_key(all, count, name);
	if (domain != NULL) {
		FUZZ_CHECK(asprintf(&key, "*%s", domain) > 0);
		expected |= found_key(all, count, key);
		free(key);
	}
	FUZZ_CHECK(mse_interest_names_find(names, list, name) == expected);
}

/* The same octets as patterns, for one list after the other. */
static void check_lists(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct mse_subscription subscriptions[LISTS];
	char *patterns[LISTS][LIST_MAX];
	struct mse_interest_names *names;
	unsigned int list, from, n = 0, i;
	struct mse_buf buf;

	for (; n < LISTS * LIST_MAX && input.left > 0; n++)
		patterns[n % LISTS][n / LISTS] = fuzz_take_string(&input);
	memset(subscriptions, 0, sizeof(subscriptions));
	for (list = 0; list < LISTS; list++) {
		subscriptions[list].users = mse_patterns_new(
			(const char *const *)patterns[list],
			(n + LISTS - 1 - list) / LISTS, 0);
		FUZZ_CHECK(subscriptions[list].users != NULL);
	}
	mse_buf_init(&buf, 1024 * 1024);
	mse_interest_names_format(subscriptions, LISTS, &buf);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	names = open_names(mse_buf_str(&buf), buf.len);
	for (i = 0; i < n; i++) {
		const char *name = patterns[i % LISTS][i / LISTS];

		from = *name == '!' ? 1 : 0;
		for (list = 0; list < LISTS; list++)
			check_found(names, list + 1,
				    subscriptions[list].users, name + from);
	}
	mse_interest_names_free(&names);
	mse_buf_clear(&buf);
	for (list = 0; list < LISTS; list++)
		mse_patterns_free(&subscriptions[list].users);
	while (n-- > 0)
		free(patterns[n % LISTS][n / LISTS]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mse_interest *interest = NULL;
	struct mse_error error = { "" };
	size_t i;

	if (size > 65536)
		return 0;
	check_octets(data, size);
	check_lists(data, size);
	if (load(data, size, &interest, &error) != 0) {
		FUZZ_CHECK(error.text[0] != '\0' && interest == NULL);
		return 0;
	}
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		/* Looked up, then from memory. */
		FUZZ_CHECK(mse_interest_wants(interest, &routes[i]) ==
			   mse_interest_wants(interest, &routes[i]));
	}
	/* What stands apart is not looked at before it is asked for. */
	if (interest->names == NULL)
		check_json(data, size);
	check_interest(interest);
	mse_interest_free(&interest);
	return 0;
}
