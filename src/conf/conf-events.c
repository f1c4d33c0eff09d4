/*
 * What an endpoint subscribes to: event names and groups to a set of types,
 * and the digest of all filters that numbering depends on.
 */
#include "conf/conf-values.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/buf.h"

#define DIGEST_INPUT_MAX ((size_t)256 * 1024 * 1024)

static mse_event_types_t types_of(const char *name)
{
	enum mse_event_type type = mse_event_type_find(name);

	if (type != MSE_EVENT_UNKNOWN)
		return MSE_EVENT_BIT(type) & MSE_EVENT_TYPES_ALL;
	return mse_event_group_types(name) & MSE_EVENT_TYPES_ALL;
}

static int unknown_event(const char *name, struct mse_error *error_r)
{
	if (strncmp(name, "vnd.mailhook.fact.", 18) == 0)
		return mse_error_set(error_r, "has \"%.40s\", a note between "
				     "the plugin and the daemon that no "
				     "endpoint gets; leave it out", name);
	if (strncmp(name, "vnd.mailhook.", 13) == 0)
		return mse_error_set(error_r, "names an event of mailhook's "
				     "own, which every endpoint gets; leave "
				     "it out");
	return mse_error_set(error_r, "has \"%.40s\", which is no event; "
			     "write RFC 5423's names, such as \"MessageNew\", "
			     "or groups: message, flags, quota, access, "
			     "mailbox, subscription", name);
}

int mse_conf_parse_events(const char *const *items, size_t count,
			  mse_event_types_t *types_r, size_t *bad_r,
			  struct mse_error *error_r)
{
	mse_event_types_t wanted = 0, excluded = 0, types;
	bool any_wanted = false, exclude;
	const char *name;
	size_t i;

	for (i = 0; i < count; i++) {
		exclude = items[i][0] == '!';
		name = items[i] + (exclude ? 1 : 0);
		types = types_of(name);
		if (types == 0) {
			*bad_r = i;
			return unknown_event(name, error_r);
		}
		if (exclude) {
			excluded |= types;
		} else {
			wanted |= types;
			any_wanted = true;
		}
	}
	if (!any_wanted)
		wanted = MSE_EVENT_TYPES_ALL;
	wanted &= ~excluded;
	if (wanted == 0) {
		*bad_r = count;
		return mse_error_set(error_r, "excludes everything it names; "
				     "leave something over, or remove the "
				     "endpoint");
	}
	*types_r = wanted;
	return 0;
}

/* A NUL behind each item and an empty item behind each list: two different
   configurations never give the same input. */
static void append_patterns(struct mse_buf *input,
			    const struct mse_patterns *patterns)
{
	const char *const *list;
	size_t i, count;

	list = mse_patterns_list(patterns, &count);
	for (i = 0; i < count; i++)
		mse_buf_append(input, list[i], strlen(list[i]) + 1);
	mse_buf_append_char(input, '\0');
}

int mse_conf_digest_filters(const struct mse_conf_endpoint *endpoint,
			    char hex_r[65])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int i, len = 0;
	struct mse_buf input;
	int ret = -1;

	mse_buf_init(&input, DIGEST_INPUT_MAX);
	/* The names, not the bits: those may move in a later version. */
	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++) {
		if ((endpoint->subscription.types & MSE_EVENT_BIT(i)) != 0) {
			mse_buf_append_str(&input, mse_event_type_name(
				(enum mse_event_type)i));
			mse_buf_append_char(&input, '\0');
		}
	}
	mse_buf_append_char(&input, '\0');
	append_patterns(&input, endpoint->subscription.users);
	append_patterns(&input, endpoint->subscription.mailboxes);
	mse_buf_append_str(&input, endpoint->order == MSE_ORDER_NONE ?
			   "none" : "owner");
	if (mse_buf_failed(&input) ||
	    EVP_Digest(input.data, input.len, digest, &len, EVP_sha256(),
		       NULL) != 1 || len != 32)
		goto out;
	for (i = 0; i < 32; i++) {
		hex_r[i * 2] = digits[digest[i] >> 4];
		hex_r[i * 2 + 1] = digits[digest[i] & 15];
	}
	hex_r[64] = '\0';
	ret = 0;
out:
	mse_buf_clear(&input);
	return ret;
}
