/*
 * endpoint NAME { … } of mailhook.conf: what is sent to it, and when.
 *
 * Invariant: what was taken is the endpoint's, also if a later key is refused.
 */
#include "conf/conf-read.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf-transport.h"
#include "conf/conf-values.h"

#define TAGS_MAX 4096

static int take_events(struct mse_conf_section *section,
		       mse_event_types_t *types_r)
{
	struct mse_error error;
	struct mse_conf_value value;
	const char **list;
	size_t bad = 0;
	int ret;

	if (mse_conf_get(section, "events", &value) < 0)
		return -1;
	list = mse_conf_list(&value);
	if (list == NULL)
		return mse_conf_no_memory();
	ret = mse_conf_parse_events(list, value.count, types_r, &bad, &error);
	free(list);
	if (ret < 0)
		return mse_conf_fail_value(&value, bad < value.count ?
					   (unsigned int)bad : 0, &error);
	return 0;
}

static int take_patterns(struct mse_conf_section *section, const char *name,
			 enum mse_patterns_flags flags,
			 struct mse_patterns **patterns_r)
{
	struct mse_conf_value value;
	const char **list;
	unsigned int i;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		const char *text = mse_conf_text(&value, i);

		if (*text == '\0' || strcmp(text, "!") == 0)
			return mse_conf_fail((int)value.lines[i], "%s has an "
					     "empty pattern; write a name, or "
					     "a pattern such as "
					     "\"*@example.com\"", name);
	}
	list = mse_conf_list(&value);
	if (list == NULL)
		return mse_conf_no_memory();
	*patterns_r = mse_patterns_new(list, value.count, flags);
	free(list);
	return *patterns_r == NULL ? mse_conf_no_memory() : 0;
}

/* A limit for what nobody asks for is a mistake of the tired. */
static int check_content_keys(struct mse_conf_section *section)
{
	static const char *const keys[] = { "content_part", "content_limit" };
	struct mse_conf_value value;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (mse_conf_get(section, keys[i], &value) < 0)
			return -1;
		if (value.count > 0)
			return mse_conf_fail((int)value.lines[0], "%s says "
					     "something about messageContent, "
					     "which this endpoint does not "
					     "get; write \"messageContent\" "
					     "into its parameters, or remove "
					     "the line", keys[i]);
	}
	return 0;
}

static int take_content(struct mse_conf_section *section,
			struct mse_subscription *subscription)
{
	struct mse_error error;
	struct mse_conf_value value;

	subscription->content_part = MSE_CONTENT_MESSAGE;
	subscription->content_limit = 2048;
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) == 0)
		return check_content_keys(section);
	if (mse_conf_get(section, "content_part", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_content_part(mse_conf_text(&value, 0),
					&subscription->content_part,
					&error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return mse_conf_take_size(section, "content_limit", 1, MSE_CONTENT_MAX,
				  &subscription->content_limit);
}

static int take_parameters(struct mse_conf_section *section,
			   struct mse_subscription *subscription)
{
	struct mse_error error;
	struct mse_conf_value value;
	const char **list;
	size_t bad = 0;
	int ret;

	if (mse_conf_get(section, "parameters", &value) < 0)
		return -1;
	list = mse_conf_list(&value);
	if (list == NULL)
		return mse_conf_no_memory();
	ret = mse_conf_parse_parameters(list, value.count,
					&subscription->optionals, &bad, &error);
	free(list);
	if (ret < 0)
		return mse_conf_fail_value(&value, (unsigned int)bad, &error);
	return take_content(section, subscription);
}

static int take_tags(struct mse_conf_section *section, char **tags_r)
{
	struct mse_error error;
	struct mse_buf tags;
	struct mse_conf_value value;
	unsigned int i;

	if (mse_conf_get(section, "tags", &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	mse_buf_init(&tags, TAGS_MAX);
	for (i = 0; i < value.count; i++) {
		if (mse_conf_check_tag(mse_conf_text(&value, i), &error) < 0) {
			mse_buf_clear(&tags);
			return mse_conf_fail_value(&value, i, &error);
		}
		if (i > 0)
			mse_buf_append_char(&tags, ',');
		mse_buf_append_str(&tags, mse_conf_text(&value, i));
	}
	*tags_r = mse_buf_take(&tags);
	mse_buf_clear(&tags);
	if (*tags_r != NULL)
		return 0;
	return mse_conf_fail((int)value.lines[0], "tags are too long; write at "
			     "most %d octets together", TAGS_MAX);
}

static int add_secret(const struct mse_secret *secret, void *context,
		      struct mse_error *error_r)
{
	struct mse_conf_endpoint *endpoint = context;

	if (endpoint->secret_count == MSE_CONF_SECRETS_MAX)
		return mse_error_set(error_r, "makes more than %d secrets; "
				     "write those in use only",
				     MSE_CONF_SECRETS_MAX);
	endpoint->secrets[endpoint->secret_count++] = *secret;
	return 0;
}

static int take_secrets(struct mse_conf_section *section,
			struct mse_conf_endpoint *endpoint)
{
	struct mse_secret secret;
	struct mse_error error;
	struct mse_conf_value value;
	unsigned int i;

	endpoint->secrets = calloc(MSE_CONF_SECRETS_MAX,
				   sizeof(*endpoint->secrets));
	if (endpoint->secrets == NULL)
		return mse_conf_no_memory();
	if (mse_conf_get(section, "secret", &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		if (mse_conf_parse_secret(mse_conf_text(&value, i), &secret,
					  &error) < 0 ||
		    add_secret(&secret, endpoint, &error) < 0)
			return mse_conf_fail_value(&value, i, &error);
	}
	explicit_bzero(&secret, sizeof(secret));
	endpoint->own_secret_count = endpoint->secret_count;
	if (mse_conf_get(section, "secret_file", &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		if (mse_conf_watch_file(endpoint, MSE_CONF_FILE_SECRETS,
					mse_conf_text(&value, i)) < 0)
			return mse_conf_no_memory();
		if (mse_conf_read_secret_file(mse_conf_text(&value, i),
					      add_secret, endpoint, &error) < 0)
			return mse_conf_fail_value(&value, i, &error);
	}
	if (endpoint->secret_count == 0)
		return mse_conf_fail(mse_conf_section_line(section),
				     "endpoint \"%s\" ends here without a "
				     "secret; write secret = \"whsec_…\" or "
				     "secret_file = \"/…\" in it",
				     endpoint->name);
	return 0;
}

static int take_url(struct mse_conf_section *section,
		    struct mse_conf_endpoint *endpoint)
{
	if (mse_conf_take_checked(section, "url", mse_conf_check_url,
				  &endpoint->url) < 0)
		return -1;
	if (endpoint->url == NULL)
		return mse_conf_fail(mse_conf_section_line(section),
				     "endpoint \"%s\" ends here without a url; "
				     "write url = \"https://…\" in it",
				     endpoint->name);
	return 0;
}

static int take_words(struct mse_conf_section *section,
		      struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, "format", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_format(mse_conf_text(&value, 0), &endpoint->format,
				  &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	if (mse_conf_get(section, "order", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_order(mse_conf_text(&value, 0), &endpoint->order,
				 &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

/* What only some formats know is a mistake with the others. */
static int check_batch_keys(struct mse_conf_section *section)
{
	static const char *const keys[] = {
		"batch_events", "batch_bytes", "linger"
	};
	struct mse_conf_value value;
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (mse_conf_get(section, keys[i], &value) < 0)
			return -1;
		if (value.count > 0)
			return mse_conf_fail((int)value.lines[0], "%s is about "
					     "batches, which this format does "
					     "not make; write format = "
					     "\"cloudevents-batch\", or remove "
					     "the line", keys[i]);
	}
	return 0;
}

static int take_batch(struct mse_conf_section *section,
		      struct mse_conf_endpoint *endpoint)
{
	endpoint->batch_events = 100;
	endpoint->batch_bytes = 1024 * 1024;
	endpoint->linger_ms = 200;
	if (endpoint->format != MSE_FORMAT_CLOUDEVENTS_BATCH)
		return check_batch_keys(section);
	if (mse_conf_take_number(section, "batch_events", 1,
				 MSE_BATCH_EVENTS_MAX,
				 &endpoint->batch_events) < 0 ||
	    mse_conf_take_duration(section, "linger", 0, MSE_MINUTE,
				   &endpoint->linger_ms) < 0)
		return -1;
	return mse_conf_take_size(section, "batch_bytes", 1024,
				  MSE_BATCH_BYTES_MAX, &endpoint->batch_bytes);
}

static int take_schedule(struct mse_conf_section *section,
			 struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_value value;

	endpoint->concurrency = 8;
	endpoint->rate = 0;
	endpoint->timeout_ms = 15 * MSE_SECOND;
	endpoint->connect_timeout_ms = 5 * MSE_SECOND;
	endpoint->retry_first_ms = 5 * MSE_SECOND;
	endpoint->retry_max_ms = MSE_HOUR;
	endpoint->give_up_ms = 3 * MSE_DAY;
	if (mse_conf_take_number(section, "concurrency", 1, 1000,
				 &endpoint->concurrency) < 0 ||
	    mse_conf_take_number(section, "rate", 0, 1000000,
				 &endpoint->rate) < 0 ||
	    mse_conf_take_duration(section, "timeout", 10, MSE_HOUR,
				   &endpoint->timeout_ms) < 0 ||
	    mse_conf_take_duration(section, "connect_timeout", 10, MSE_HOUR,
				   &endpoint->connect_timeout_ms) < 0 ||
	    mse_conf_take_duration(section, "retry_first", 1, MSE_DAY,
				   &endpoint->retry_first_ms) < 0 ||
	    mse_conf_take_duration(section, "retry_max", 1, 7 * MSE_DAY,
				   &endpoint->retry_max_ms) < 0 ||
	    mse_conf_take_duration(section, "give_up", 1, 365 * MSE_DAY,
				   &endpoint->give_up_ms) < 0)
		return -1;
	if (endpoint->retry_first_ms <= endpoint->retry_max_ms)
		return 0;
	/* One of them was given: the defaults are in order. */
	if (mse_conf_get(section, "retry_max", &value) < 0 ||
	    (!value.given && mse_conf_get(section, "retry_first", &value) < 0))
		return -1;
	return mse_conf_fail((int)value.lines[0], "retry_first is longer than "
			     "retry_max; write a retry_max that is at least as "
			     "long");
}

int mse_conf_take_endpoint(struct mse_conf_section *section,
			   struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;

	if (mse_conf_check_name(mse_conf_section_name(section), &error) < 0)
		return mse_conf_fail(mse_conf_section_line(section), "the "
				     "endpoint that ends here %s", error.text);
	endpoint->name = strdup(mse_conf_section_name(section));
	if (endpoint->name == NULL)
		return mse_conf_no_memory();
	if (take_url(section, endpoint) < 0 ||
	    take_secrets(section, endpoint) < 0 ||
	    take_words(section, endpoint) < 0 ||
	    take_events(section, &endpoint->subscription.types) < 0 ||
	    take_patterns(section, "users", 0,
			  &endpoint->subscription.users) < 0 ||
	    take_patterns(section, "mailboxes", MSE_PATTERNS_MAILBOX,
			  &endpoint->subscription.mailboxes) < 0 ||
	    take_parameters(section, &endpoint->subscription) < 0 ||
	    take_tags(section, &endpoint->tags) < 0 ||
	    take_batch(section, endpoint) < 0 ||
	    mse_conf_take_switch(section, "compress",
				 &endpoint->compress) < 0 ||
	    mse_conf_take_switch(section, "handshake",
				 &endpoint->handshake) < 0 ||
	    take_schedule(section, endpoint) < 0 ||
	    mse_conf_take_transport(section, endpoint) < 0)
		return -1;
	if (mse_conf_digest_filters(endpoint, endpoint->filters) < 0)
		return mse_conf_no_memory();
	return 0;
}
