/*
 * Standard Webhooks secrets, from the configuration or from files.
 *
 * Invariant: no message, and nothing that outlives a function but the
 * decoded key, holds a secret's text.
 */
#include "conf/conf-values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_PREFIX "whsec_"
#define SECRET_KEY_MIN 24
#define SECRET_KEY_MAX 64
#define SECRET_FILE_MAX 65536

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

/* RFC 4648 §4; the padding may be missing, as some generators leave it out.
   -1 if it is not base64 or longer than size. */
static int base64_decode(const char *text, unsigned char *out, size_t size,
			 size_t *len_r)
{
	size_t len = strlen(text), i, used = 0;
	unsigned int bits = 0, have = 0;
	int value;

	if (len > 0 && len % 4 == 0 && text[len - 1] == '=') {
		len--;
		if (text[len - 1] == '=')
			len--;
	}
	for (i = 0; i < len; i++) {
		value = base64_value(text[i]);
		if (value < 0)
			return -1;
		bits = (bits << 6) | (unsigned int)value;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (used == size)
			return -1;
		out[used++] = (unsigned char)((bits >> have) & 0xff);
	}
	/* One character alone holds no octet; leftover bits must be zero. */
	if (len % 4 == 1 || (bits & ((1U << have) - 1)) != 0)
		return -1;
	*len_r = used;
	return 0;
}

int mse_conf_parse_secret(const char *text, struct mse_secret *secret_r,
			  struct mse_error *error_r)
{
	size_t prefix = strlen(SECRET_PREFIX);

	if (strncmp(text, "whsk_", 5) == 0)
		return mse_error_set(error_r, "is an Ed25519 key (whsk_), "
				     "which is not in this version yet; write "
				     "a secret that begins with \"whsec_\"");
	memset(secret_r, 0, sizeof(*secret_r));
	if (strncmp(text, SECRET_PREFIX, prefix) != 0 ||
	    base64_decode(text + prefix, secret_r->key, sizeof(secret_r->key),
			  &secret_r->key_len) < 0 ||
	    secret_r->key_len < SECRET_KEY_MIN ||
	    secret_r->key_len > SECRET_KEY_MAX) {
		explicit_bzero(secret_r, sizeof(*secret_r));
		return mse_error_set(error_r, "is not a Standard Webhooks "
				     "secret; write \"whsec_\" and the base64 "
				     "of 24 to 64 random octets, as printed "
				     "by: echo whsec_$(openssl rand -base64 "
				     "32)");
	}
	return 0;
}

static int open_private(const char *path, struct mse_error *error_r)
{
	struct stat st;
	int fd;

	if (*path != '/')
		return mse_error_set(error_r, "is not a full path; write one "
				     "that begins with \"/\"");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return mse_error_set(error_r, "\"%s\" cannot be read (%s); "
				     "write the path of a file that the "
				     "daemon's user owns", path,
				     strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return mse_error_set(error_r, "\"%s\" is not a regular file; "
				     "write the path of one", path);
	}
	if ((st.st_mode & (S_IRGRP | S_IROTH)) != 0) {
		close(fd);
		return mse_error_set(error_r, "\"%s\" can be read by its "
				     "group or by others; run: chmod 600 %s",
				     path, path);
	}
	return fd;
}

/* text is NUL-terminated and cut into lines in place. */
static int each_line(const char *path, char *text,
		     int (*found)(const struct mse_secret *secret,
				  void *context, struct mse_error *error_r),
		     void *context, struct mse_error *error_r)
{
	char *line, *save = NULL, *end;
	struct mse_secret secret;
	unsigned int count = 0;
	int ret;

	for (line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t\r");
		for (end = line + strlen(line);
		     end > line && strchr(" \t\r", end[-1]) != NULL; end--)
			end[-1] = '\0';
		if (*line == '\0' || *line == '#')
			continue;
		if (mse_conf_parse_secret(line, &secret, error_r) < 0)
			return mse_error_prefix(error_r, "\"%s\" has a line "
						"that ", path);
		ret = found(&secret, context, error_r);
		explicit_bzero(&secret, sizeof(secret));
		if (ret < 0)
			return -1;
		count++;
	}
	if (count == 0)
		return mse_error_set(error_r, "\"%s\" is empty; write one "
				     "secret a line into it", path);
	return 0;
}

int mse_conf_read_secret_file(const char *path,
			      int (*found)(const struct mse_secret *secret,
					   void *context,
					   struct mse_error *error_r),
			      void *context, struct mse_error *error_r)
{
	size_t len = 0;
	ssize_t got = 1;
	int fd, ret;
	char *text;

	fd = open_private(path, error_r);
	if (fd < 0)
		return -1;
	text = malloc(SECRET_FILE_MAX + 1);
	if (text == NULL) {
		close(fd);
		return mse_error_set(error_r, "cannot be read: out of memory");
	}
	while (len < SECRET_FILE_MAX && got > 0) {
		got = read(fd, text + len, SECRET_FILE_MAX - len);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			len += (size_t)got;
	}
	text[len] = '\0';
	if (got < 0)
		ret = mse_error_set(error_r, "\"%s\" cannot be read (%s); "
				    "write the path of a file that can",
				    path, strerror(errno));
	else if (len == SECRET_FILE_MAX || strlen(text) != len)
		ret = mse_error_set(error_r, "\"%s\" is not a file of "
				    "secrets; write one secret a line into "
				    "it", path);
	else
		ret = each_line(path, text, found, context, error_r);
	explicit_bzero(text, SECRET_FILE_MAX);
	free(text);
	close(fd);
	return ret;
}
