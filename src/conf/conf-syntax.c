/*
 * mailhook.conf's text, taken apart by libconfuse (nowhere else).
 *
 * Every value is a string to it and is checked by others, so that all mistakes
 * are told alike, "FILE:LINE: KEY …; write …". It keeps no lines for values and
 * lets a second assignment win, so a parse callback notes where each value
 * stood and refuses duplicates. libconfuse's callbacks carry no context and its
 * scanner is one per process: `reading` is set for the duration of
 * mse_conf_take_apart() only, on one thread.
 *
 * Invariant: no message repeats a value that could be a secret (tokens, URLs,
 * unknown words that do not look like a key).
 */
#include "conf/conf-read.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int mse_conf_fail(int line, const char *format, ...)
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

int mse_conf_no_memory(void)
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
	"concurrency", "rate", "timeout", "connect_timeout", "retry_first",
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
		mse_conf_fail(cfg->line, "the file ends inside endpoint "
			      "\"%s\"; write the missing \"}\"", cfg->title);
	} else if (!looks_like_key(name)) {
		mse_conf_fail(cfg->line, "here stands something that is no "
			      "key; write KEY = \"value\", or put commas "
			      "between the values of a list");
	} else if (!inside && is_one_of(endpoint_keys, name)) {
		mse_conf_fail(cfg->line, "%s belongs to an endpoint; write it "
			      "inside endpoint NAME { … }", name);
	} else if (inside && is_one_of(global_keys, name)) {
		mse_conf_fail(cfg->line, "%s is no endpoint's own; write it "
			      "outside endpoint NAME { … }", name);
	} else if (inside) {
		mse_conf_fail(cfg->line, "%s is no key of an endpoint; write "
			      "one of url secret secret_file format order "
			      "events users mailboxes parameters content_part "
			      "content_limit tags batch_events batch_bytes "
			      "linger compress handshake concurrency rate "
			      "timeout connect_timeout retry_first retry_max "
			      "give_up ca_file cert_file key_file bearer_file "
			      "proxy headers allow_networks deny_networks",
			      name);
	} else {
		mse_conf_fail(cfg->line, "%s is no key; write one of "
			      "server_name retention journal_limit flag_events "
			      "expire_services metrics lag_warning, or "
			      "endpoint NAME { … }", name);
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
		mse_conf_fail(line, "endpoint \"%s\" is there twice; write "
			      "another name or put both together", name);
	} else if (strncmp(format, "missing equal sign", 18) == 0) {
		name = va_arg(args, const char *);
		mse_conf_fail(line, "%s has no \"=\" behind it; write %s = "
			      "\"…\"", name, name);
	} else if (strncmp(format, "missing title", 13) == 0 ||
		   strncmp(format, "missing opening brace", 21) == 0) {
		mse_conf_fail(line, "an endpoint needs a name and braces; "
			      "write endpoint NAME { … }");
	} else if (strncmp(format, "attempt to append", 17) == 0) {
		name = va_arg(args, const char *);
		mse_conf_fail(line, "%s is no list; write %s = \"…\"",
			      name, name);
	} else if (strncmp(format, "unexpected closing", 18) == 0) {
		mse_conf_fail(line, "a \"}\" closes nothing; remove it");
	} else if (strncmp(format, "premature end", 13) == 0 ||
		   strncmp(format, "unterminated", 12) == 0) {
		mse_conf_fail(line, "the file ends in the middle; write the "
			      "missing quote or \"}\"");
	} else if (strncmp(format, "unexpected token", 16) == 0) {
		mse_conf_fail(line, "a value is missing or a comma; write KEY "
			      "= \"value\" or KEY = {\"one\", \"two\"}");
	} else {
		mse_conf_fail(line, "this cannot be read; write KEY = "
			      "\"value\" or KEY = {\"one\", \"two\"}");
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
		return mse_conf_fail(cfg->line, "%s was given in line %u "
				     "already; write it once",
				     opt->name, key->lines[0]);
	}
	if (key == NULL)
		key = add_key(opt);
	if (key == NULL || add_line(key, cfg->line) < 0)
		return mse_conf_no_memory();
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
		return mse_conf_fail(1, "is not a text file; write mailhook's "
				     "configuration into it");
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		mse_buf_append_char(text, '\n');
	mse_buf_append_str(text, END_KEY " = 1\n");
	if (mse_buf_failed(text))
		return mse_conf_no_memory();
	/* A stream over memory: libconfuse's scanner ends the process when
	   reading from a file fails. */
	stream = fmemopen(text->data, text->len, "r");
	if (stream == NULL)
		return mse_conf_no_memory();
	ret = cfg_parse_fp(cfg, stream);
	fclose(stream);
	if (ret != CFG_SUCCESS || reading->failed) {
		mse_conf_fail(cfg->line, "this cannot be read; write KEY = "
			      "\"value\" or KEY = {\"one\", \"two\"}");
		return -1;
	}
	return 0;
}

static cfg_t *cfg_of(struct mse_conf_section *section)
{
	return (cfg_t *)section;
}

unsigned int mse_conf_count_endpoints(struct mse_conf_section *top)
{
	return cfg_size(cfg_of(top), "endpoint");
}

struct mse_conf_section *mse_conf_endpoint(struct mse_conf_section *top,
					   unsigned int index)
{
	return (struct mse_conf_section *)cfg_getnsec(cfg_of(top), "endpoint",
						      index);
}

const char *mse_conf_section_name(const struct mse_conf_section *section)
{
	return ((const cfg_t *)section)->title;
}

int mse_conf_section_line(const struct mse_conf_section *section)
{
	return ((const cfg_t *)section)->line;
}

int mse_conf_get(struct mse_conf_section *section, const char *name,
		 struct mse_conf_value *value_r)
{
	const cfg_opt_t *option = cfg_getopt(cfg_of(section), name);
	const struct key *key = find_key(option);

	value_r->name = name;
	value_r->given = key != NULL;
	value_r->count = key == NULL ? 0 : option->nvalues;
	value_r->lines = key == NULL ? NULL : key->lines;
	value_r->option = option;
	/* NAME = {…} and then NAME = {}: the callback saw only the first. */
	if (key != NULL && value_r->count == 0)
		return mse_conf_fail((int)key->lines[0], "%s is emptied "
				     "further down; write it once", name);
	return 0;
}

const char *mse_conf_text(const struct mse_conf_value *value,
			  unsigned int index)
{
	const cfg_opt_t *option = value->option;

	return option->values[index]->string;
}

int mse_conf_fail_value(const struct mse_conf_value *value, unsigned int index,
			const struct mse_error *error)
{
	return mse_conf_fail((int)value->lines[index], "%s %s",
			     value->name, error->text);
}

static int take_text(struct mse_buf *text,
		     int (*take)(struct mse_conf_section *top,
				 struct mse_conf *conf),
		     struct mse_conf *conf)
{
	cfg_t *cfg = new_parser();
	int ret;

	if (cfg == NULL)
		return mse_conf_no_memory();
	ret = parse_text(cfg, text);
	if (ret == 0)
		ret = take((struct mse_conf_section *)cfg, conf);
	cfg_free(cfg);
	return ret;
}

int mse_conf_take_apart(const char *path, struct mse_buf *text,
			int (*take)(struct mse_conf_section *top,
				    struct mse_conf *conf),
			struct mse_conf *conf, struct mse_error *error_r)
{
	struct reading state = { .path = path, .error = error_r };
	size_t i;
	int ret;

	reading = &state;
	ret = take_text(text, take, conf);
	for (i = 0; i < state.key_count; i++)
		free(state.keys[i].lines);
	free(state.keys);
	reading = NULL;
	return ret;
}
