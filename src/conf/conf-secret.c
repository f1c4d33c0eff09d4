/*
 * Standard Webhooks secrets, from the configuration or from files.
 *
 * Invariant: no message, and nothing that outlives a function but the
 * decoded key, holds a secret's text.
 */
#include "conf/conf-values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define HMAC_PREFIX "whsec_"
#define HMAC_KEY_MIN 24
#define HMAC_KEY_MAX 64
#define ED25519_PREFIX "whsk_"
#define ED25519_PUBLIC_PREFIX "whpk_"
#define ED25519_SIZE 32
#define SECRET_FILE_MAX 65536
#define HOW_TO_MAKE "write one as printed by: mailhookctl secret"

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
   -1 if it is not base64. What is beyond size is counted, not kept. */
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
		if (used < size)
			out[used] = (unsigned char)((bits >> have) & 0xff);
		used++;
	}
	/* One character alone holds no octet; leftover bits must be zero. */
	if (len % 4 == 1 || (bits & ((1U << have) - 1)) != 0)
		return -1;
	*len_r = used;
	return 0;
}

static int parse_hmac(const char *text, struct mse_secret *secret,
		      struct mse_error *error_r)
{
	secret->kind = MSE_SECRET_HMAC;
	if (base64_decode(text, secret->key, sizeof(secret->key),
			  &secret->key_len) < 0)
		return mse_error_set(error_r, "is not base64 behind \""
				     HMAC_PREFIX "\"; " HOW_TO_MAKE);
	if (secret->key_len < HMAC_KEY_MIN || secret->key_len > HMAC_KEY_MAX)
		return mse_error_set(error_r, "has %zu octets behind \""
				     HMAC_PREFIX "\" where %d to %d belong; "
				     HOW_TO_MAKE, secret->key_len,
				     HMAC_KEY_MIN, HMAC_KEY_MAX);
	return 0;
}

/* Whether a public key is the private one's. */
static bool is_pair(const unsigned char *private_key,
		    const unsigned char *public_key)
{
	unsigned char found[ED25519_SIZE];
	size_t len = sizeof(found);
	EVP_PKEY *pkey;
	bool same;

	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
					    private_key, ED25519_SIZE);
	same = pkey != NULL &&
		EVP_PKEY_get_raw_public_key(pkey, found, &len) == 1 &&
		len == sizeof(found) &&
		CRYPTO_memcmp(found, public_key, sizeof(found)) == 0;
	EVP_PKEY_free(pkey);
	return same;
}

static int parse_ed25519(const char *text, struct mse_secret *secret,
			 struct mse_error *error_r)
{
	secret->kind = MSE_SECRET_ED25519;
	if (base64_decode(text, secret->key, sizeof(secret->key),
			  &secret->key_len) < 0)
		return mse_error_set(error_r, "is not base64 behind \""
				     ED25519_PREFIX "\"; " HOW_TO_MAKE
				     " --ed25519");
	if (secret->key_len != ED25519_SIZE &&
	    secret->key_len != 2 * ED25519_SIZE)
		return mse_error_set(error_r, "has %zu octets behind \""
				     ED25519_PREFIX "\" where an Ed25519 key "
				     "has %d, or %d with its public key; "
				     HOW_TO_MAKE " --ed25519",
				     secret->key_len, ED25519_SIZE,
				     2 * ED25519_SIZE);
	if (secret->key_len == 2 * ED25519_SIZE &&
	    !is_pair(secret->key, secret->key + ED25519_SIZE))
		return mse_error_set(error_r, "is an Ed25519 key with another "
				     "key's public half behind it; "
				     HOW_TO_MAKE " --ed25519");
	explicit_bzero(secret->key + ED25519_SIZE,
		       sizeof(secret->key) - ED25519_SIZE);
	secret->key_len = ED25519_SIZE;
	return 0;
}

int mse_conf_parse_secret(const char *text, struct mse_secret *secret_r,
			  struct mse_error *error_r)
{
	int ret;

	memset(secret_r, 0, sizeof(*secret_r));
	if (strncmp(text, HMAC_PREFIX, strlen(HMAC_PREFIX)) == 0)
		ret = parse_hmac(text + strlen(HMAC_PREFIX), secret_r,
				 error_r);
	else if (strncmp(text, ED25519_PREFIX, strlen(ED25519_PREFIX)) == 0)
		ret = parse_ed25519(text + strlen(ED25519_PREFIX), secret_r,
				    error_r);
	else if (strncmp(text, ED25519_PUBLIC_PREFIX,
			 strlen(ED25519_PUBLIC_PREFIX)) == 0)
		ret = mse_error_set(error_r, "is the public key, which is for "
				    "the receiver; write the \""
				    ED25519_PREFIX "\" key that belongs to "
				    "it");
	else
		ret = mse_error_set(error_r, "begins with neither \""
				    HMAC_PREFIX "\" nor \"" ED25519_PREFIX
				    "\"; " HOW_TO_MAKE);
	if (ret < 0)
		explicit_bzero(secret_r, sizeof(*secret_r));
	return ret;
}

int mse_conf_open_private(const char *path, struct mse_error *error_r)
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

	fd = mse_conf_open_private(path, error_r);
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
