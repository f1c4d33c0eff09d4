/*
 * mailhook.conf, read by libconfuse (nowhere else) into checked structs.
 *
 * libconfuse only takes the file apart: every value is a string to it and is
 * checked here, so that all mistakes are told alike, "FILE:LINE: KEY …; write
 * …". It keeps no lines for values and lets a second assignment win, so a
 * parse callback notes where each value stood and refuses duplicates.
 * libconfuse's callbacks carry no context and its scanner is one per process:
 * `reading` is set for the duration of mse_conf_read() only, on one thread.
 *
 * Invariant: no message repeats a value that could be a secret (tokens, URLs,
 * unknown words that do not look like a key).
 */
#include "conf/conf.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "conf/conf-transport.h"
#include "conf/conf-values.h"

#define CONF_FILE_MAX ((size_t)64 * 1024 * 1024)
#define TAGS_MAX 4096
#define HEADERS_MAX 32
#define NETWORKS_MAX 1024
#define METRICS_DEFAULT "127.0.0.1:9423"
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

/* Put behind the file's text: libconfuse takes the end of the file for the
   "}" of a section, so an endpoint that was never closed meets this key. */
#define END_KEY "mailhook_conf_ends_here"

/* Where the values of one key stood. */
struct key {
	const cfg_opt_t *opt;
	unsigned int *lines;
	unsigned int count;
};

struct reading {
	const char *path;
	struct mse_error *error;
	bool failed;
	struct key *keys;
	size_t key_count;
};

static struct reading *reading;

static int fail_at(int line, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The first mistake is the one that is told. */
static int fail_at(int line, const char *format, ...)
{
	char text[MSE_ERROR_SIZE];
	va_list args;

	if (reading->failed)
		return -1;
	reading->failed = true;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return mse_error_set(reading->error, "%s:%d: %s", reading->path, line,
			     text);
}

static int fail_memory(void)
{
	reading->failed = true;
	return mse_error_set(reading->error, "%s: cannot be read: out of "
			     "memory", reading->path);
}

static const char *const global_keys[] = {
	"server_name", "retention", "journal_limit", "flag_events",
	"expire_services", "metrics", "lag_warning", NULL
};
static const char *const endpoint_keys[] = {
	"url", "secret", "secret_file", "format", "order", "events", "users",
	"mailboxes", "parameters", "content_part", "content_limit", "tags",
	"batch_events", "batch_bytes", "linger", "compress", "handshake",
	"concurrency", "rate",
	"timeout", "connect_timeout", "retry_first",
	"retry_max", "give_up", "ca_file", "cert_file", "key_file",
	"bearer_file", "proxy", "headers", "allow_networks", "deny_networks",
	NULL
};

static bool is_one_of(const char *const *names, const char *name)
{
	for (; *names != NULL; names++) {
		if (strcmp(*names, name) == 0)
			return true;
	}
	return false;
}

/* A misplaced comma can make a secret stand where a key belongs, or a part
   of one (whsec_, whsk_). */
static bool looks_like_key(const char *word)
{
	size_t len = strlen(word);

	return len <= 24 && strncmp(word, "whs", 3) != 0 &&
		strspn(word, "abcdefghijklmnopqrstuvwxyz_") == len;
}

static void fail_unknown_key(cfg_t *cfg, const char *name)
{
	bool inside = strcmp(cfg->name, "endpoint") == 0;

	if (strcmp(name, END_KEY) == 0) {
		fail_at(cfg->line, "the file ends inside endpoint \"%s\"; "
			"write the missing \"}\"", cfg->title);
	} else if (!looks_like_key(name)) {
		fail_at(cfg->line, "here stands something that is no key; "
			"write KEY = \"value\", or put commas between the "
			"values of a list");
	} else if (!inside && is_one_of(endpoint_keys, name)) {
		fail_at(cfg->line, "%s belongs to an endpoint; write it "
			"inside endpoint NAME { … }", name);
	} else if (inside && is_one_of(global_keys, name)) {
		fail_at(cfg->line, "%s is no endpoint's own; write it "
			"outside endpoint NAME { … }", name);
	} else if (inside) {
		fail_at(cfg->line, "%s is no key of an endpoint; write one "
			"of url secret secret_file format order events users "
			"mailboxes parameters content_part content_limit tags "
			"batch_events batch_bytes linger compress handshake concurrency rate timeout connect_timeout retry_first "
			"retry_max give_up ca_file cert_file key_file "
			"bearer_file proxy headers allow_networks "
			"deny_networks", name);
	} else {
		fail_at(cfg->line, "%s is no key; write one of server_name "
			"retention journal_limit flag_events expire_services "
			"metrics lag_warning, or endpoint NAME { … }", name);
	}
}

/* libconfuse's sentences, told apart by their format so that the token in
   them is never shown. */
static void on_confuse_error(cfg_t *cfg, const char *format, va_list args)
{
	int line = cfg->line;
	const char *name;

	if (reading == NULL || reading->failed)
		return;
	if (strncmp(format, "no such option", 14) == 0) {
		name = va_arg(args, const char *);
		fail_unknown_key(cfg, name);
	} else if (strncmp(format, "found duplicate title", 21) == 0) {
		name = va_arg(args, const char *);
		fail_at(line, "endpoint \"%s\" is there twice; write another "
			"name or put both together", name);
	} else if (strncmp(format, "missing equal sign", 18) == 0) {
		name = va_arg(args, const char *);
		fail_at(line, "%s has no \"=\" behind it; write %s = \"…\"",
			name, name);
	} else if (strncmp(format, "missing title", 13) == 0 ||
		   strncmp(format, "missing opening brace", 21) == 0) {
		fail_at(line, "an endpoint needs a name and braces; write "
			"endpoint NAME { … }");
	} else if (strncmp(format, "attempt to append", 17) == 0) {
		name = va_arg(args, const char *);
		fail_at(line, "%s is no list; write %s = \"…\"", name, name);
	} else if (strncmp(format, "unexpected closing", 18) == 0) {
		fail_at(line, "a \"}\" closes nothing; remove it");
	} else if (strncmp(format, "premature end", 13) == 0 ||
		   strncmp(format, "unterminated", 12) == 0) {
		fail_at(line, "the file ends in the middle; write the missing "
			"quote or \"}\"");
	} else if (strncmp(format, "unexpected token", 16) == 0) {
		fail_at(line, "a value is missing or a comma; write "
			"KEY = \"value\" or KEY = {\"one\", \"two\"}");
	} else {
		fail_at(line, "this cannot be read; write "
			"KEY = \"value\" or KEY = {\"one\", \"two\"}");
	}
}

static struct key *find_key(const cfg_opt_t *opt)
{
	size_t i;

	for (i = reading->key_count; i > 0; i--) {
		if (reading->keys[i - 1].opt == opt)
			return &reading->keys[i - 1];
	}
	return NULL;
}

static struct key *add_key(const cfg_opt_t *opt)
{
	struct key *keys;

	keys = realloc(reading->keys,
		       (reading->key_count + 1) * sizeof(*keys));
	if (keys == NULL)
		return NULL;
	reading->keys = keys;
	keys += reading->key_count++;
	memset(keys, 0, sizeof(*keys));
	keys->opt = opt;
	return keys;
}

static int add_line(struct key *key, int line)
{
	unsigned int *lines;

	/* Doubled at each power of two: lists can be long. */
	if ((key->count & (key->count - 1)) == 0) {
		lines = realloc(key->lines, (key->count == 0 ? 1 :
				key->count * 2) * sizeof(*lines));
		if (lines == NULL)
			return -1;
		key->lines = lines;
	}
	key->lines[key->count++] = (unsigned int)line;
	return 0;
}

/* Called by libconfuse for each value, before it is stored but after room
   was made for it: nvalues is 1 for the first value of an assignment. */
static int note_value(cfg_t *cfg, cfg_opt_t *opt, const char *value,
		      void *result)
{
	struct key *key = find_key(opt);

	if (key != NULL && opt->nvalues <= 1) {
		return fail_at(cfg->line, "%s was given in line %u already; "
			       "write it once", opt->name, key->lines[0]);
	}
	if (key == NULL)
		key = add_key(opt);
	if (key == NULL || add_line(key, cfg->line) < 0)
		return fail_memory();
	*(const char **)result = value;
	return 0;
}

#define STRING(name) CFG_STR_CB(name, NULL, CFGF_NODEFAULT, note_value)
#define LIST(name) CFG_STR_LIST_CB(name, NULL, CFGF_NODEFAULT, note_value)

static cfg_t *new_parser(void)
{
	cfg_opt_t endpoint_opts[] = {
		STRING("url"), LIST("secret"), LIST("secret_file"),
		STRING("format"), STRING("order"), LIST("events"),
		LIST("users"), LIST("mailboxes"), LIST("parameters"),
		STRING("content_part"), STRING("content_limit"),
		LIST("tags"), STRING("batch_events"), STRING("batch_bytes"),
		STRING("linger"), STRING("compress"), STRING("handshake"),
		STRING("concurrency"),
		STRING("rate"), STRING("timeout"), STRING("connect_timeout"),
		STRING("retry_first"), STRING("retry_max"),
		STRING("give_up"), STRING("ca_file"), STRING("cert_file"),
		STRING("key_file"), STRING("bearer_file"), STRING("proxy"),
		LIST("headers"), LIST("allow_networks"),
		LIST("deny_networks"), CFG_END()
	};
	cfg_opt_t opts[] = {
		STRING("server_name"), STRING("retention"),
		STRING("journal_limit"), STRING("flag_events"),
		LIST("expire_services"), STRING("metrics"),
		STRING("lag_warning"), STRING(END_KEY),
		CFG_SEC("endpoint", endpoint_opts,
			CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_END()
	};
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);

	if (cfg != NULL)
		cfg_set_error_function(cfg, on_confuse_error);
	return cfg;
}

static int parse_text(cfg_t *cfg, struct mse_buf *text)
{
	FILE *stream;
	int ret;

	if (text->len > 0 && memchr(text->data, '\0', text->len) != NULL)
		return fail_at(1, "is not a text file; write mailhook's "
			       "configuration into it");
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		mse_buf_append_char(text, '\n');
	mse_buf_append_str(text, END_KEY " = 1\n");
	if (mse_buf_failed(text))
		return fail_memory();
	/* A stream over memory: libconfuse's scanner ends the process when
	   reading from a file fails. */
	stream = fmemopen(text->data, text->len, "r");
	if (stream == NULL)
		return fail_memory();
	ret = cfg_parse_fp(cfg, stream);
	fclose(stream);
	if (ret != CFG_SUCCESS || reading->failed) {
		fail_at(cfg->line, "this cannot be read; write KEY = "
			"\"value\" or KEY = {\"one\", \"two\"}");
		return -1;
	}
	return 0;
}

/* One key of a section on its way into the structs. */
struct value {
	cfg_opt_t *opt;
	const struct key *key; /* NULL: not given */
	unsigned int count;
};

static int get_value(cfg_t *section, const char *name, struct value *value_r)
{
	value_r->opt = cfg_getopt(section, name);
	value_r->key = find_key(value_r->opt);
	value_r->count = value_r->key == NULL ? 0 : value_r->opt->nvalues;
	/* NAME = {…} and then NAME = {}: the callback saw only the first. */
	if (value_r->key != NULL && value_r->count == 0)
		return fail_at((int)value_r->key->lines[0],
			       "%s is emptied further down; write it once",
			       name);
	return 0;
}

static const char *value_text(const struct value *value, unsigned int index)
{
	return value->opt->values[index]->string;
}

/* The rest of a sentence from conf-values becomes a whole one. */
static int fail_value(const struct value *value, unsigned int index,
		      const struct mse_error *error)
{
	return fail_at((int)value->key->lines[index], "%s %s",
		       value->opt->name, error->text);
}

static int take_duration(cfg_t *section, const char *name, int64_t min_ms,
			 int64_t max_ms, int64_t *ms_r)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_duration(value_text(&value, 0), min_ms, max_ms,
				    ms_r, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_number(cfg_t *section, const char *name, unsigned int min,
		       unsigned int max, unsigned int *number_r)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_number(value_text(&value, 0), min, max, number_r,
				  &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_checked(cfg_t *section, const char *name,
			int (*check)(const char *text,
				     struct mse_error *error_r),
			char **text_r)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, name, &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	if (check(value_text(&value, 0), &error) < 0)
		return fail_value(&value, 0, &error);
	*text_r = strdup(value_text(&value, 0));
	return *text_r == NULL ? fail_memory() : 0;
}

/* The values as an array, NULL-terminated, borrowed; free() the array. */
static const char **value_list(const struct value *value)
{
	const char **list = calloc(value->count + 1, sizeof(*list));
	unsigned int i;

	for (i = 0; list != NULL && i < value->count; i++)
		list[i] = value_text(value, i);
	return list;
}

static int take_events(cfg_t *section, mse_event_types_t *types_r)
{
	struct mse_error error;
	struct value value;
	const char **list;
	size_t bad = 0;
	int ret;

	if (get_value(section, "events", &value) < 0)
		return -1;
	list = value_list(&value);
	if (list == NULL)
		return fail_memory();
	ret = mse_conf_parse_events(list, value.count, types_r, &bad, &error);
	free(list);
	if (ret < 0)
		return fail_value(&value, bad < value.count ?
				  (unsigned int)bad : 0, &error);
	return 0;
}

static int take_patterns(cfg_t *section, const char *name,
			 enum mse_patterns_flags flags,
			 struct mse_patterns **patterns_r)
{
	struct value value;
	const char **list;
	unsigned int i;

	if (get_value(section, name, &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		const char *text = value_text(&value, i);

		if (*text == '\0' || strcmp(text, "!") == 0)
			return fail_at((int)value.key->lines[i], "%s has an "
				       "empty pattern; write a name, or a "
				       "pattern such as \"*@example.com\"",
				       name);
	}
	list = value_list(&value);
	if (list == NULL)
		return fail_memory();
	*patterns_r = mse_patterns_new(list, value.count, flags);
	free(list);
	return *patterns_r == NULL ? fail_memory() : 0;
}

/* A limit for what nobody asks for is a mistake of the tired. */
static int check_content_keys(cfg_t *section)
{
	static const char *const keys[] = { "content_part", "content_limit" };
	struct value value;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (get_value(section, keys[i], &value) < 0)
			return -1;
		if (value.count > 0)
			return fail_at((int)value.key->lines[0], "%s says "
				       "something about messageContent, which "
				       "this endpoint does not get; write "
				       "\"messageContent\" into its "
				       "parameters, or remove the line",
				       keys[i]);
	}
	return 0;
}

static int take_content(cfg_t *section, struct mse_subscription *subscription)
{
	struct mse_error error;
	struct value value;

	subscription->content_part = MSE_CONTENT_MESSAGE;
	subscription->content_limit = 2048;
	if ((subscription->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) == 0)
		return check_content_keys(section);
	if (get_value(section, "content_part", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_content_part(value_text(&value, 0),
					&subscription->content_part,
					&error) < 0)
		return fail_value(&value, 0, &error);
	if (get_value(section, "content_limit", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_size(value_text(&value, 0), 1, MSE_CONTENT_MAX,
				&subscription->content_limit, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_parameters(cfg_t *section,
			   struct mse_subscription *subscription)
{
	struct mse_error error;
	struct value value;
	const char **list;
	size_t bad = 0;
	int ret;

	if (get_value(section, "parameters", &value) < 0)
		return -1;
	list = value_list(&value);
	if (list == NULL)
		return fail_memory();
	ret = mse_conf_parse_parameters(list, value.count,
					&subscription->optionals, &bad, &error);
	free(list);
	if (ret < 0)
		return fail_value(&value, (unsigned int)bad, &error);
	return take_content(section, subscription);
}

static int take_tags(cfg_t *section, char **tags_r)
{
	struct mse_error error;
	struct mse_buf tags;
	struct value value;
	unsigned int i;

	if (get_value(section, "tags", &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	mse_buf_init(&tags, TAGS_MAX);
	for (i = 0; i < value.count; i++) {
		if (mse_conf_check_tag(value_text(&value, i), &error) < 0) {
			mse_buf_clear(&tags);
			return fail_value(&value, i, &error);
		}
		if (i > 0)
			mse_buf_append_char(&tags, ',');
		mse_buf_append_str(&tags, value_text(&value, i));
	}
	*tags_r = mse_buf_take(&tags);
	mse_buf_clear(&tags);
	if (*tags_r != NULL)
		return 0;
	return fail_at((int)value.key->lines[0], "tags are too long; write at "
		       "most %d octets together", TAGS_MAX);
}

static int add_secret(const struct mse_secret *secret, void *context,
		      struct mse_error *error_r)
{
	struct mse_conf_endpoint *endpoint = context;

	if (endpoint->secret_count == MSE_CONF_SECRETS_MAX)
		return mse_error_set(error_r, "makes more than %d secrets; "
				     "write those in use only", MSE_CONF_SECRETS_MAX);
	endpoint->secrets[endpoint->secret_count++] = *secret;
	return 0;
}

static int take_secrets(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_secret secret;
	struct mse_error error;
	struct value value;
	unsigned int i;

	endpoint->secrets = calloc(MSE_CONF_SECRETS_MAX, sizeof(*endpoint->secrets));
	if (endpoint->secrets == NULL)
		return fail_memory();
	if (get_value(section, "secret", &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		if (mse_conf_parse_secret(value_text(&value, i), &secret,
					  &error) < 0 ||
		    add_secret(&secret, endpoint, &error) < 0)
			return fail_value(&value, i, &error);
	}
	explicit_bzero(&secret, sizeof(secret));
	endpoint->own_secret_count = endpoint->secret_count;
	if (get_value(section, "secret_file", &value) < 0)
		return -1;
	for (i = 0; i < value.count; i++) {
		if (mse_conf_watch_file(endpoint, MSE_CONF_FILE_SECRETS,
					value_text(&value, i)) < 0)
			return fail_memory();
		if (mse_conf_read_secret_file(value_text(&value, i),
					      add_secret, endpoint,
					      &error) < 0)
			return fail_value(&value, i, &error);
	}
	if (endpoint->secret_count == 0)
		return fail_at(section->line, "endpoint \"%s\" ends here "
			       "without a secret; write secret = "
			       "\"whsec_…\" or secret_file = \"/…\" in it",
			       endpoint->name);
	return 0;
}

static int take_url(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	if (take_checked(section, "url", mse_conf_check_url,
			 &endpoint->url) < 0)
		return -1;
	if (endpoint->url == NULL)
		return fail_at(section->line, "endpoint \"%s\" ends here "
			       "without a url; write url = \"https://…\" in "
			       "it", endpoint->name);
	return 0;
}

static int take_words(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, "format", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_format(value_text(&value, 0), &endpoint->format,
				  &error) < 0)
		return fail_value(&value, 0, &error);
	if (get_value(section, "order", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_order(value_text(&value, 0), &endpoint->order,
				 &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

/* What only some formats know is a mistake with the others. */
static int check_batch_keys(cfg_t *section)
{
	static const char *const keys[] = {
		"batch_events", "batch_bytes", "linger"
	};
	struct value value;
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (get_value(section, keys[i], &value) < 0)
			return -1;
		if (value.count > 0)
			return fail_at((int)value.key->lines[0], "%s is about "
				       "batches, which this format does not "
				       "make; write format = "
				       "\"cloudevents-batch\", or remove the "
				       "line", keys[i]);
	}
	return 0;
}

static int take_batch(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;
	struct value value;

	endpoint->batch_events = 100;
	endpoint->batch_bytes = 1024 * 1024;
	endpoint->linger_ms = 200;
	if (endpoint->format != MSE_FORMAT_CLOUDEVENTS_BATCH)
		return check_batch_keys(section);
	if (take_number(section, "batch_events", 1, MSE_BATCH_EVENTS_MAX,
			&endpoint->batch_events) < 0 ||
	    take_duration(section, "linger", 0, MINUTE,
			  &endpoint->linger_ms) < 0 ||
	    get_value(section, "batch_bytes", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_size(value_text(&value, 0), 1024,
				MSE_BATCH_BYTES_MAX, &endpoint->batch_bytes,
				&error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_switch(cfg_t *section, const char *name, bool *on_r)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_switch(value_text(&value, 0), on_r, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_schedule(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct value value;

	endpoint->concurrency = 8;
	endpoint->rate = 0;
	endpoint->timeout_ms = 15 * SECOND;
	endpoint->connect_timeout_ms = 5 * SECOND;
	endpoint->retry_first_ms = 5 * SECOND;
	endpoint->retry_max_ms = HOUR;
	endpoint->give_up_ms = 3 * DAY;
	if (take_number(section, "concurrency", 1, 1000,
			&endpoint->concurrency) < 0 ||
	    take_number(section, "rate", 0, 1000000, &endpoint->rate) < 0 ||
	    take_duration(section, "timeout", 10, HOUR,
			  &endpoint->timeout_ms) < 0 ||
	    take_duration(section, "connect_timeout", 10, HOUR,
			  &endpoint->connect_timeout_ms) < 0 ||
	    take_duration(section, "retry_first", 1, DAY,
			  &endpoint->retry_first_ms) < 0 ||
	    take_duration(section, "retry_max", 1, 7 * DAY,
			  &endpoint->retry_max_ms) < 0 ||
	    take_duration(section, "give_up", 1, 365 * DAY,
			  &endpoint->give_up_ms) < 0)
		return -1;
	if (endpoint->retry_first_ms <= endpoint->retry_max_ms)
		return 0;
	/* One of them was given: the defaults are in order. */
	if (get_value(section, "retry_max", &value) < 0 ||
	    (value.key == NULL &&
	     get_value(section, "retry_first", &value) < 0))
		return -1;
	return fail_at((int)value.key->lines[0], "retry_first is longer than "
		       "retry_max; write a retry_max that is at least as "
		       "long");
}

static int take_headers(cfg_t *section, struct mse_conf_transport *transport)
{
	struct mse_error error;
	struct value value;
	unsigned int i;

	if (get_value(section, "headers", &value) < 0)
		return -1;
	if (value.count > HEADERS_MAX)
		return fail_at((int)value.key->lines[HEADERS_MAX], "headers "
			       "has more than %d of them; write those that "
			       "are needed", HEADERS_MAX);
	transport->headers = calloc(value.count + 1,
				    sizeof(*transport->headers));
	if (transport->headers == NULL)
		return fail_memory();
	for (i = 0; i < value.count; i++) {
		if (mse_conf_check_header(value_text(&value, i), &error) < 0)
			return fail_value(&value, i, &error);
		if (transport->bearer != NULL &&
		    strncasecmp(value_text(&value, i), "authorization:",
				14) == 0)
			return fail_at((int)value.key->lines[i], "headers "
				       "has Authorization, which bearer_file "
				       "sends already; write one of them");
		transport->headers[i] = strdup(value_text(&value, i));
		if (transport->headers[i] == NULL)
			return fail_memory();
		transport->header_count++;
	}
	return 0;
}

static int take_networks(cfg_t *section, const char *name,
			 struct mse_network **list_r, size_t *count_r)
{
	struct mse_error error;
	struct value value;
	unsigned int i;

	if (get_value(section, name, &value) < 0)
		return -1;
	if (value.count > NETWORKS_MAX)
		return fail_at((int)value.key->lines[NETWORKS_MAX], "%s has "
			       "more than %d networks; write larger ones",
			       name, NETWORKS_MAX);
	*list_r = calloc(value.count + 1, sizeof(**list_r));
	if (*list_r == NULL)
		return fail_memory();
	for (i = 0; i < value.count; i++) {
		if (mse_network_parse(value_text(&value, i), &(*list_r)[i],
				      &error) < 0)
			return fail_value(&value, i, &error);
		(*count_r)++;
	}
	return 0;
}

static int take_bearer(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;
	struct value value;

	if (get_value(section, "bearer_file", &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	if (mse_conf_watch_file(endpoint, MSE_CONF_FILE_BEARER,
				value_text(&value, 0)) < 0)
		return fail_memory();
	if (mse_conf_read_bearer_file(value_text(&value, 0),
				      &endpoint->transport.bearer, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int watch_tls(struct mse_conf_endpoint *endpoint)
{
	const struct mse_conf_transport *transport = &endpoint->transport;

	if ((transport->ca_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->ca_file) < 0) ||
	    (transport->cert_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->cert_file) < 0) ||
	    (transport->key_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->key_file) < 0))
		return fail_memory();
	return 0;
}

static int any_text(const char *text, struct mse_error *error_r)
{
	(void)text;
	(void)error_r;
	return 0;
}

static int take_tls(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_transport *transport = &endpoint->transport;
	struct mse_error error;
	struct value value;

	if (take_checked(section, "ca_file", mse_conf_check_ca_file,
			 &transport->ca_file) < 0 ||
	    take_checked(section, "cert_file", mse_conf_check_ca_file,
			 &transport->cert_file) < 0 ||
	    take_checked(section, "key_file", any_text,
			 &transport->key_file) < 0 ||
	    watch_tls(endpoint) < 0 ||
	    get_value(section, transport->key_file != NULL ? "key_file" :
		      "cert_file", &value) < 0)
		return -1;
	if (transport->cert_file == NULL && transport->key_file != NULL)
		return fail_at((int)value.key->lines[0], "key_file is the "
			       "key of no certificate; write cert_file = the "
			       "path of its certificate too");
	if (transport->cert_file != NULL &&
	    mse_conf_check_key_file(transport->cert_file,
				    transport->key_file, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_transport(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_transport *transport = &endpoint->transport;

	if (take_tls(section, endpoint) < 0 ||
	    take_bearer(section, endpoint) < 0 ||
	    take_headers(section, transport) < 0 ||
	    take_checked(section, "proxy", mse_conf_check_proxy,
			 &transport->proxy) < 0 ||
	    take_networks(section, "allow_networks", &transport->allow,
			  &transport->allow_count) < 0 ||
	    take_networks(section, "deny_networks", &transport->deny,
			  &transport->deny_count) < 0)
		return -1;
	if (transport->proxy != NULL && *transport->proxy == '\0') {
		free(transport->proxy);
		transport->proxy = NULL;
	}
	return 0;
}

static int read_endpoint(cfg_t *section, struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;

	if (mse_conf_check_name(section->title, &error) < 0)
		return fail_at(section->line, "the endpoint that ends here "
			       "%s", error.text);
	endpoint->name = strdup(section->title);
	if (endpoint->name == NULL)
		return fail_memory();
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
	    take_switch(section, "compress", &endpoint->compress) < 0 ||
	    take_switch(section, "handshake", &endpoint->handshake) < 0 ||
	    take_schedule(section, endpoint) < 0 ||
	    take_transport(section, endpoint) < 0)
		return -1;
	if (mse_conf_digest_filters(endpoint, endpoint->filters) < 0)
		return fail_memory();
	return 0;
}

static int read_endpoints(cfg_t *cfg, struct mse_conf *conf)
{
	size_t i, count = cfg_size(cfg, "endpoint");

	conf->endpoints = calloc(count == 0 ? 1 : count,
				 sizeof(*conf->endpoints));
	if (conf->endpoints == NULL)
		return fail_memory();
	for (i = 0; i < count; i++) {
		conf->endpoint_count = i + 1;
		if (read_endpoint(cfg_getnsec(cfg, "endpoint",
					      (unsigned int)i),
				  &conf->endpoints[i]) < 0)
			return -1;
	}
	return 0;
}

static int take_expire_services(cfg_t *cfg, struct mse_conf *conf)
{
	struct value value;
	unsigned int i;

	if (get_value(cfg, "expire_services", &value) < 0)
		return -1;
	conf->expire_services = calloc(value.count + 1,
				       sizeof(*conf->expire_services));
	if (conf->expire_services == NULL)
		return fail_memory();
	for (i = 0; i < value.count; i++) {
		const char *text = value_text(&value, i);

		if (*text == '\0' || strspn(text, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
		    strlen(text))
			return fail_at((int)value.key->lines[i],
				       "expire_services has something that "
				       "is no service; write names such as "
				       "\"doveadm\"");
		conf->expire_services[i] = strdup(text);
		if (conf->expire_services[i] == NULL)
			return fail_memory();
	}
	return 0;
}

static int take_flag_events(cfg_t *cfg, struct mse_conf *conf)
{
	struct value value;

	if (get_value(cfg, "flag_events", &value) < 0)
		return -1;
	if (value.count == 0 || strcmp(value_text(&value, 0), "simple") == 0)
		return 0;
	if (strcmp(value_text(&value, 0), "full") != 0)
		return fail_at((int)value.key->lines[0], "flag_events is "
			       "neither; write \"simple\" or \"full\"");
	conf->flag_events_full = true;
	return 0;
}

static int take_journal_limit(cfg_t *cfg, struct mse_conf *conf)
{
	struct mse_error error;
	struct value value;

	conf->journal_limit = 1024 * 1024 * 1024;
	if (get_value(cfg, "journal_limit", &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_size(value_text(&value, 0), 4 * 32 * 1024 * 1024,
				1024ULL * 1024 * 1024 * 1024 * 1024,
				&conf->journal_limit, &error) < 0)
		return fail_value(&value, 0, &error);
	return 0;
}

static int take_metrics(cfg_t *cfg, struct mse_conf *conf)
{
	struct value value;

	if (get_value(cfg, "metrics", &value) < 0)
		return -1;
	if (value.count > 0 && *value_text(&value, 0) == '\0')
		return 0;
	if (take_checked(cfg, "metrics", mse_conf_check_listen,
			 &conf->metrics) < 0)
		return -1;
	if (conf->metrics == NULL)
		conf->metrics = strdup(METRICS_DEFAULT);
	return conf->metrics == NULL ? fail_memory() : 0;
}

/* Dovecot's `hostname`, from our launcher; the name of the machine as Dovecot
   tells it to its services; as the system does. */
static char *host_name(void)
{
	static const char *const told[] = {
		"MAILHOOK_HOSTNAME", "DOVECOT_HOSTDOMAIN"
	};
	struct mse_error error;
	const char *name;
	char host[256];
	size_t i;

	for (i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		name = getenv(told[i]);
		if (name != NULL &&
		    mse_conf_check_server_name(name, &error) == 0)
			return strdup(name);
	}
	if (gethostname(host, sizeof(host)) < 0)
		return strdup("localhost");
	host[sizeof(host) - 1] = '\0';
	if (mse_conf_check_server_name(host, &error) < 0)
		return strdup("localhost");
	return strdup(host);
}

static int read_globals(cfg_t *cfg, struct mse_conf *conf)
{
	conf->retention_ms = DAY;
	conf->lag_warning_ms = 15 * MINUTE;
	if (take_checked(cfg, "server_name", mse_conf_check_server_name,
			 &conf->server_name) < 0 ||
	    take_duration(cfg, "retention", SECOND, 3650 * DAY,
			  &conf->retention_ms) < 0 ||
	    take_journal_limit(cfg, conf) < 0 ||
	    take_metrics(cfg, conf) < 0 ||
	    take_duration(cfg, "lag_warning", SECOND, 365 * DAY,
			  &conf->lag_warning_ms) < 0 ||
	    take_flag_events(cfg, conf) < 0 ||
	    take_expire_services(cfg, conf) < 0)
		return -1;
	if (conf->server_name == NULL)
		conf->server_name = host_name();
	return conf->server_name == NULL ? fail_memory() : 0;
}

static int read_conf(struct mse_buf *text, struct mse_conf *conf)
{
	cfg_t *cfg = new_parser();
	int ret;

	if (cfg == NULL)
		return fail_memory();
	ret = parse_text(cfg, text);
	if (ret == 0)
		ret = read_globals(cfg, conf);
	if (ret == 0)
		ret = read_endpoints(cfg, conf);
	cfg_free(cfg);
	return ret;
}

static void clear_reading(struct reading *done)
{
	size_t i;

	for (i = 0; i < done->key_count; i++)
		free(done->keys[i].lines);
	free(done->keys);
	reading = NULL;
}

int mse_conf_read(const char *path, struct mse_conf **conf_r,
		  struct mse_error *error_r)
{
	struct reading state = { .path = path };
	struct mse_conf *conf;
	struct mse_error error;
	struct mse_buf text;
	int ret;

	state.error = &error;
	mse_buf_init(&text, CONF_FILE_MAX);
	if (mse_file_read(AT_FDCWD, path, &text, &error) < 0) {
		mse_buf_clear(&text);
		return mse_error_set(error_r, "%s", error.text);
	}
	reading = &state;
	conf = calloc(1, sizeof(*conf));
	ret = conf == NULL ? fail_memory() :
		read_conf(&text, conf);
	clear_reading(&state);
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	mse_buf_clear(&text);
	if (ret < 0) {
		mse_conf_free(&conf);
		return mse_error_set(error_r, "%s", error.text);
	}
	*conf_r = conf;
	return 0;
}

static void clear_transport(struct mse_conf_transport *transport)
{
	size_t i;

	mse_conf_free_token(&transport->bearer);
	for (i = 0; i < transport->header_count; i++)
		free(transport->headers[i]);
	free(transport->headers);
	free(transport->ca_file);
	free(transport->cert_file);
	free(transport->key_file);
	free(transport->proxy);
	free(transport->allow);
	free(transport->deny);
}

static void clear_endpoint(struct mse_conf_endpoint *endpoint)
{
	if (endpoint->secrets != NULL)
		explicit_bzero(endpoint->secrets,
			       MSE_CONF_SECRETS_MAX * sizeof(*endpoint->secrets));
	free(endpoint->secrets);
	free(endpoint->name);
	free(endpoint->url);
	free(endpoint->tags);
	clear_transport(&endpoint->transport);
	mse_conf_forget_files(endpoint);
	mse_patterns_free(&endpoint->subscription.users);
	mse_patterns_free(&endpoint->subscription.mailboxes);
}

void mse_conf_free(struct mse_conf **_conf)
{
	struct mse_conf *conf = *_conf;
	size_t i;

	if (conf == NULL)
		return;
	*_conf = NULL;
	for (i = 0; i < conf->endpoint_count; i++)
		clear_endpoint(&conf->endpoints[i]);
	free(conf->endpoints);
	for (i = 0; conf->expire_services != NULL &&
	     conf->expire_services[i] != NULL; i++)
		free(conf->expire_services[i]);
	free(conf->expire_services);
	free(conf->server_name);
	free(conf->metrics);
	free(conf);
}

const struct mse_conf_endpoint *mse_conf_find(const struct mse_conf *conf,
					      const char *name)
{
	size_t i;

	for (i = 0; i < conf->endpoint_count; i++) {
		if (strcmp(conf->endpoints[i].name, name) == 0)
			return &conf->endpoints[i];
	}
	return NULL;
}
