/*
 * How requests travel: headers, proxy, certificates, bearer token.
 *
 * Invariant: no message repeats a header's value, a proxy's address (it may
 * hold a password) or anything out of a file.
 */
#include "conf/conf-transport.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "conf/conf-values.h"

#define HEADER_MAX 8192
#define TOKEN_MAX 8192

/* RFC 9110, 5.6.2 */
#define TOKEN_CHARACTERS "!#$%&'*+-.^_`|~0123456789" \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_own_header(const char *name, size_t len)
{
	static const char *const own[] = {
		"content-type", "content-length", "content-encoding",
		"transfer-encoding", "connection", "expect", "host", "te",
		"upgrade", "user-agent", "cookie", NULL
	};
	unsigned int i;

	for (i = 0; own[i] != NULL; i++) {
		if (strlen(own[i]) == len &&
		    strncasecmp(own[i], name, len) == 0)
			return true;
	}
	return strncasecmp(name, "webhook-", 8) == 0 ||
		strncasecmp(name, "mailhook-", 9) == 0 ||
		strncasecmp(name, "ce-", 3) == 0 ||
		strncasecmp(name, "proxy-", 6) == 0;
}

int mse_conf_check_header(const char *text, struct mse_error *error_r)
{
	size_t name = strspn(text, TOKEN_CHARACTERS);
	const char *p;

	if (name == 0 || text[name] != ':' || strlen(text) > HEADER_MAX)
		return mse_error_set(error_r, "has something that is no "
				     "header; write \"Name: value\"");
	if (is_own_header(text, name))
		return mse_error_set(error_r, "has a header that is "
				     "mailhook's own (%.*s); remove it",
				     (int)name, text);
	for (p = text + name + 1; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return mse_error_set(error_r, "has a control "
					     "character in the value of "
					     "%.*s; write it in one line",
					     (int)name, text);
	}
	/* libcurl takes a header without a value for one to be removed. */
	for (p = text + name + 1; *p == ' '; p++)
		;
	if (*p == '\0')
		return mse_error_set(error_r, "has no value for %.*s; write "
				     "\"%.*s: value\"", (int)name, text,
				     (int)name, text);
	return 0;
}

/* Behind "scheme://" and "user:password@". NULL: not a scheme we know. */
static const char *proxy_authority(const char *text)
{
	static const char *const schemes[] = {
		"http://", "https://", "socks5://", "socks5h://", NULL
	};
	const char *at;
	unsigned int i;

	for (i = 0; schemes[i] != NULL; i++) {
		if (strncmp(text, schemes[i], strlen(schemes[i])) != 0)
			continue;
		text += strlen(schemes[i]);
		at = strrchr(text, '@');
		return at != NULL ? at + 1 : text;
	}
	return NULL;
}

int mse_conf_check_proxy(const char *text, struct mse_error *error_r)
{
	const char *authority = proxy_authority(text);
	char url[2048];
	const char *p;

	if (*text == '\0')
		return 0;
	for (p = text; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			authority = NULL;
	}
	if (authority == NULL || strpbrk(authority, "/?#") != NULL ||
	    (size_t)snprintf(url, sizeof(url), "http://%s", authority) >=
	    sizeof(url) || mse_conf_check_url(url, NULL) < 0)
		return mse_error_set(error_r, "is no proxy; write "
				     "\"http://proxy.example.com:3128\" (or "
				     "https, socks5, socks5h), or \"\" for "
				     "none");
	return 0;
}

static FILE *open_pem(const char *path, bool private,
		      struct mse_error *error_r)
{
	int fd = private ? mse_conf_open_private(path, error_r) :
		mse_conf_open_file(path, error_r);
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && stream == NULL) {
		close(fd);
		mse_error_set(error_r, "cannot be read: out of memory");
	}
	return stream;
}

/* No passphrase is ever asked for at a terminal. */
static int no_passphrase(char *buf, int size, int writing, void *context)
{
	bool *asked = context;

	*asked = true;
	return 0;
}

static int read_certificate(const char *path, X509 **certificate_r,
			    struct mse_error *error_r)
{
	FILE *stream = open_pem(path, false, error_r);
	bool asked = false;

	if (stream == NULL)
		return -1;
	*certificate_r = PEM_read_X509(stream, NULL, no_passphrase, &asked);
	fclose(stream);
	ERR_clear_error();
	return *certificate_r != NULL ? 0 :
		mse_error_set(error_r, "\"%s\" has no certificate in it; "
			      "write the path of a PEM file "
			      "(-----BEGIN CERTIFICATE-----)", path);
}

int mse_conf_check_ca_file(const char *path, struct mse_error *error_r)
{
	X509 *certificate;

	if (read_certificate(path, &certificate, error_r) < 0)
		return -1;
	X509_free(certificate);
	return 0;
}

static int read_key(const char *path, EVP_PKEY **key_r,
		    struct mse_error *error_r)
{
	FILE *stream = open_pem(path, true, error_r);
	bool asked = false;

	if (stream == NULL)
		return -1;
	*key_r = PEM_read_PrivateKey(stream, NULL, no_passphrase, &asked);
	fclose(stream);
	ERR_clear_error();
	if (*key_r != NULL)
		return 0;
	return asked ?
		mse_error_set(error_r, "\"%s\" is protected by a passphrase; "
			      "write the key without one (openssl pkey -in "
			      "OLD -out NEW)", path) :
		mse_error_set(error_r, "\"%s\" has no private key in it; "
			      "write key_file = the path of a PEM file "
			      "(-----BEGIN PRIVATE KEY-----)", path);
}

int mse_conf_check_key_file(const char *cert_file, const char *key_file,
			    struct mse_error *error_r)
{
	X509 *certificate;
	EVP_PKEY *key;
	int ret;

	if (key_file == NULL)
		key_file = cert_file;
	if (read_certificate(cert_file, &certificate, error_r) < 0)
		return -1;
	ret = read_key(key_file, &key, error_r);
	if (ret == 0) {
		if (X509_check_private_key(certificate, key) != 1)
			ret = mse_error_set(error_r, "\"%s\" does not belong "
					    "to the certificate in \"%s\"; "
					    "write the path of its key",
					    key_file, cert_file);
		EVP_PKEY_free(key);
	}
	X509_free(certificate);
	ERR_clear_error();
	return ret;
}

/* The one line's end; -1 if there is more than a line or it is no token. */
static int cut_token(char *text)
{
	size_t len = strcspn(text, "\r\n");
	const char *rest = text + len + strspn(text + len, "\r\n");
	size_t i;

	text[len] = '\0';
	for (i = 0; i < len; i++) {
		if (!isgraph((unsigned char)text[i]))
			return -1;
	}
	return len > 0 && *rest == '\0' ? 0 : -1;
}

int mse_conf_read_bearer_file(const char *path, char **token_r,
			      struct mse_error *error_r)
{
	char *text = calloc(1, TOKEN_MAX + 1);
	size_t len = 0;
	ssize_t got = 1;
	int fd;

	if (text == NULL)
		return mse_error_set(error_r, "cannot be read: out of memory");
	fd = mse_conf_open_private(path, error_r);
	if (fd < 0) {
		free(text);
		return -1;
	}
	while (len < TOKEN_MAX && got > 0) {
		got = read(fd, text + len, TOKEN_MAX - len);
		len += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (got != 0 || strlen(text) != len || cut_token(text) < 0) {
		mse_conf_free_token(&text);
		return mse_error_set(error_r, "\"%s\" is not a token alone; "
				     "write it into the file in one line, "
				     "without \"Bearer\" and blanks", path);
	}
	*token_r = text;
	return 0;
}

void mse_conf_free_token(char **_token)
{
	char *token = *_token;

	*_token = NULL;
	if (token == NULL)
		return;
	explicit_bzero(token, strlen(token));
	free(token);
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool mse_conf_same_way(const struct mse_conf_endpoint *a,
		       const struct mse_conf_endpoint *b)
{
	return strcmp(a->url, b->url) == 0 &&
		same_text(a->transport.ca_file, b->transport.ca_file) &&
		same_text(a->transport.cert_file, b->transport.cert_file) &&
		same_text(a->transport.key_file, b->transport.key_file) &&
		same_text(a->transport.proxy, b->transport.proxy);
}
