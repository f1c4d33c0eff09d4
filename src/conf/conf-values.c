/*
 * The kinds of values in mailhook.conf.
 *
 * Pure functions of their text (mse_conf_open_file() looks at the disk).
 * Invariant: a value that is out of range or ambiguous is refused here, so
 * that nothing behind conf/ checks it again. Messages continue "KEY " and end
 * with what to write.
 */
#include "conf/conf-values.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define URL_MAX 2048
#define NAME_MAX_LEN 64
#define SERVER_NAME_MAX 253

/* Decimal digits only: strtoull() would take signs, blanks and hexadecimal.
   Returns the first byte behind them, NULL if there is none or too many. */
static const char *read_digits(const char *text, uint64_t *value_r)
{
	uint64_t value = 0;
	unsigned int digit;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9'; p++) {
		digit = (unsigned int)(*p - '0');
		if (value > (UINT64_MAX - digit) / 10)
			return NULL;
		value = value * 10 + digit;
	}
	*value_r = value;
	return p == text ? NULL : p;
}

static const struct unit {
	const char *name;
	uint64_t factor;
} duration_units[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
	{ NULL, 0 }
}, size_units[] = {
	{ "", 1 },
	{ "K", 1024 },
	{ "M", 1024 * 1024 },
	{ "G", 1024 * 1024 * 1024 },
	{ "T", 1024ULL * 1024 * 1024 * 1024 },
	{ NULL, 0 }
};

static int read_with_unit(const char *text, const struct unit *units,
			  uint64_t *value_r)
{
	const struct unit *unit;
	const char *rest;
	uint64_t number;

	rest = read_digits(text, &number);
	if (rest == NULL)
		return -1;
	for (unit = units; unit->name != NULL; unit++) {
		if (strcmp(rest, unit->name) != 0)
			continue;
		if (number > UINT64_MAX / unit->factor)
			return -1;
		*value_r = number * unit->factor;
		return 0;
	}
	return -1;
}

/* The largest unit that writes value without a remainder. */
static unsigned long long in_unit(uint64_t value, const struct unit *units,
				  const char **name_r)
{
	const struct unit *unit, *best = units;

	for (unit = units; unit->name != NULL; unit++) {
		if (value != 0 && value % unit->factor == 0)
			best = unit;
	}
	*name_r = best->name;
	return value / best->factor;
}

static int out_of_range(uint64_t min, uint64_t max, const struct unit *units,
			struct mse_error *error_r)
{
	const char *min_unit, *max_unit;
	unsigned long long low = in_unit(min, units, &min_unit);
	unsigned long long high = in_unit(max, units, &max_unit);

	return mse_error_set(error_r, "is out of range; write a value from "
			     "\"%llu%s\" to \"%llu%s\"", low, min_unit, high,
			     max_unit);
}

int mse_conf_parse_duration(const char *text, int64_t min_ms, int64_t max_ms,
			    int64_t *ms_r, struct mse_error *error_r)
{
	uint64_t ms;

	if (read_with_unit(text, duration_units, &ms) < 0) {
		return mse_error_set(error_r, "is not a duration; write a "
				     "whole number and a unit (ms, s, m, h or "
				     "d), such as \"15s\" or \"3d\"");
	}
	if (ms < (uint64_t)min_ms || ms > (uint64_t)max_ms) {
		return out_of_range((uint64_t)min_ms, (uint64_t)max_ms,
				    duration_units, error_r);
	}
	*ms_r = (int64_t)ms;
	return 0;
}

int mse_conf_parse_size(const char *text, uint64_t min, uint64_t max,
			uint64_t *octets_r, struct mse_error *error_r)
{
	uint64_t octets;

	if (read_with_unit(text, size_units, &octets) < 0) {
		return mse_error_set(error_r, "is not a size; write a whole "
				     "number and a unit (K, M, G or T), such "
				     "as \"1G\"");
	}
	if (octets < min || octets > max)
		return out_of_range(min, max, size_units, error_r);
	*octets_r = octets;
	return 0;
}

int mse_conf_parse_number(const char *text, unsigned int min,
			  unsigned int max, unsigned int *number_r,
			  struct mse_error *error_r)
{
	uint64_t number;
	const char *rest = read_digits(text, &number);

	if (rest == NULL || *rest != '\0' || number < min || number > max) {
		return mse_error_set(error_r, "is not a number it can be; "
				     "write a whole number from %u to %u",
				     min, max);
	}
	*number_r = (unsigned int)number;
	return 0;
}

static bool is_port(const char *text, size_t len)
{
	uint64_t port;
	const char *end;

	if (len == 0 || len > 5)
		return false;
	end = read_digits(text, &port);
	return end == text + len && port >= 1 && port <= 65535;
}

/* host, host:port, [v6] or [v6]:port in [authority, authority + len) */
static bool is_host_and_port(const char *authority, size_t len)
{
	const char *end = authority + len, *colon, *host_end;
	const char *p;

	if (len > 0 && *authority == '[') {
		host_end = memchr(authority, ']', len);
		if (host_end == NULL || host_end == authority + 1)
			return false;
		for (p = authority + 1; p < host_end; p++) {
			if (!isxdigit((unsigned char)*p) && *p != ':' &&
			    *p != '.')
				return false;
		}
		host_end++;
		colon = host_end < end ? host_end : NULL;
		if (colon != NULL && *colon != ':')
			return false;
	} else {
		colon = memchr(authority, ':', len);
		host_end = colon != NULL ? colon : end;
		if (host_end == authority)
			return false;
		for (p = authority; p < host_end; p++) {
			if (!isalnum((unsigned char)*p) && *p != '-' &&
			    *p != '.' && *p != '_')
				return false;
		}
	}
	return colon == NULL ||
	       is_port(colon + 1, (size_t)(end - colon - 1));
}

int mse_conf_check_url(const char *text, struct mse_error *error_r)
{
	const char *authority, *p;
	size_t len;

	if (strncmp(text, "https://", 8) == 0)
		authority = text + 8;
	else if (strncmp(text, "http://", 7) == 0)
		authority = text + 7;
	else
		return mse_error_set(error_r, "is not a web address; write "
				     "one that begins with \"https://\" (or "
				     "\"http://\")");
	if (strlen(text) > URL_MAX)
		return mse_error_set(error_r, "is too long; write at most %d "
				     "octets", URL_MAX);
	for (p = text; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return mse_error_set(error_r, "has a blank or a "
					     "character outside ASCII in it; "
					     "write it percent-encoded "
					     "(%%20 for a blank)");
	}
	if (strchr(text, '#') != NULL)
		return mse_error_set(error_r, "has a fragment (#…), which is "
				     "never sent; write it without");
	len = strcspn(authority, "/?");
	if (memchr(authority, '@', len) != NULL)
		return mse_error_set(error_r, "has a user name or password "
				     "in it; write it without (requests are "
				     "signed with the secret)");
	if (!is_host_and_port(authority, len))
		return mse_error_set(error_r, "has no valid host; write it "
				     "like \"https://host.example.com/path\" "
				     "or with a port, "
				     "\"https://host.example.com:8443/path\"");
	return 0;
}

/* Numbers only: a name would have to be looked up, and may be several. */
static bool is_address(const char *host, size_t len)
{
	unsigned char octets[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	int family = AF_INET;

	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		family = AF_INET6;
		host++;
		len -= 2;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return inet_pton(family, text, octets) == 1;
}

int mse_conf_check_listen(const char *text, struct mse_error *error_r)
{
	const char *colon = strrchr(text, ':'), *end;
	uint64_t port = 0;

	end = colon == NULL ? NULL : read_digits(colon + 1, &port);
	if (end == NULL || *end != '\0' || port < 1 || port > 65535 ||
	    !is_address(text, (size_t)(colon - text)))
		return mse_error_set(error_r, "is no address and port; write "
				     "\"127.0.0.1:9423\" or, for IPv6, "
				     "\"[::1]:9423\", or \"\" for none");
	return 0;
}

int mse_conf_check_server_name(const char *text, struct mse_error *error_r)
{
	size_t len = strlen(text);
	const char *p;

	if (len == 0 || len > SERVER_NAME_MAX)
		goto bad;
	for (p = text; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr("-._:", *p) == NULL)
			goto bad;
	}
	return 0;
bad:
	return mse_error_set(error_r, "is not a host name; write the name "
			     "mail clients use, such as "
			     "\"mail.example.com\"");
}

int mse_conf_open_file(const char *path, struct mse_error *error_r)
{
	int fd;

	if (*path != '/')
		return mse_error_set(error_r, "is not a full path; write one "
				     "that begins with \"/\"");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return mse_error_set(error_r, "\"%s\" cannot be read (%s); "
				     "write the path of a file that the "
				     "daemon may read", path, strerror(errno));
	return fd;
}

int mse_conf_check_name(const char *text, struct mse_error *error_r)
{
	size_t len = strlen(text);
	const char *p;

	if (len == 0 || len > NAME_MAX_LEN)
		goto bad;
	for (p = text; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr("_.-", *p) == NULL)
			goto bad;
	}
	return 0;
bad:
	return mse_error_set(error_r, "has a name that cannot be used; write "
			     "1 to %d letters, digits, \"_\", \".\" or "
			     "\"-\", such as endpoint portal { … }",
			     NAME_MAX_LEN);
}

int mse_conf_parse_format(const char *text, enum mse_conf_format *format_r,
			  struct mse_error *error_r)
{
	static const struct {
		const char *name;
		enum mse_conf_format format;
	} formats[] = {
		{ "cloudevents", MSE_FORMAT_CLOUDEVENTS },
		{ "cloudevents-binary", MSE_FORMAT_CLOUDEVENTS_BINARY },
		{ "cloudevents-batch", MSE_FORMAT_CLOUDEVENTS_BATCH },
		{ "standard", MSE_FORMAT_STANDARD },
		{ "cyrus", MSE_FORMAT_CYRUS },
	};
	unsigned int i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(text, formats[i].name) == 0) {
			*format_r = formats[i].format;
			return 0;
		}
	}
	return mse_error_set(error_r, "is not a format; write "
			     "\"cloudevents\", \"cloudevents-binary\", "
			     "\"cloudevents-batch\", \"standard\" or "
			     "\"cyrus\"");
}

int mse_conf_parse_switch(const char *text, bool *on_r,
			  struct mse_error *error_r)
{
	if (strcmp(text, "true") == 0)
		*on_r = true;
	else if (strcmp(text, "false") == 0)
		*on_r = false;
	else
		return mse_error_set(error_r, "is neither; write true or "
				     "false");
	return 0;
}

int mse_conf_parse_order(const char *text, enum mse_conf_order *order_r,
			 struct mse_error *error_r)
{
	if (strcmp(text, "owner") == 0)
		*order_r = MSE_ORDER_OWNER;
	else if (strcmp(text, "none") == 0)
		*order_r = MSE_ORDER_NONE;
	else
		return mse_error_set(error_r, "is not an order; write "
				     "\"owner\" or \"none\"");
	return 0;
}
