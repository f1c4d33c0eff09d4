/*
 * Standard Webhooks 1.0 signatures. What is signed is ID "." TIMESTAMP "."
 * BODY, exactly the octets sent; each secret gives one signature of its own,
 * so that a receiver that knows any of them is content.
 */
#include "format/signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define SHA256_SIZE 32

struct signed_content {
	const char *id;
	char timestamp[24];
	const void *body;
	size_t body_len;
};

static int hmac(EVP_MAC *mac, const struct mse_secret *secret,
		const struct signed_content *content,
		unsigned char digest_r[SHA256_SIZE])
{
	char name[] = "SHA256";
	OSSL_PARAM params[2];
	EVP_MAC_CTX *context;
	size_t len = 0;
	int ret = -1;

	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
						     name, 0);
	params[1] = OSSL_PARAM_construct_end();
	context = EVP_MAC_CTX_new(mac);
	if (context != NULL &&
	    EVP_MAC_init(context, secret->key, secret->key_len, params) &&
	    EVP_MAC_update(context, (const unsigned char *)content->id,
			   strlen(content->id)) &&
	    EVP_MAC_update(context, (const unsigned char *)content->timestamp,
			   strlen(content->timestamp)) &&
	    (content->body_len == 0 ||
	     EVP_MAC_update(context, content->body, content->body_len)) &&
	    EVP_MAC_final(context, digest_r, &len, SHA256_SIZE) &&
	    len == SHA256_SIZE)
		ret = 0;
	EVP_MAC_CTX_free(context);
	return ret;
}

static void append_signature(struct mse_buf *value,
			     const unsigned char digest[SHA256_SIZE])
{
	unsigned char text[4 * ((SHA256_SIZE + 2) / 3) + 1];
	int len = EVP_EncodeBlock(text, digest, SHA256_SIZE);

	mse_buf_append_str(value, "v1,");
	mse_buf_append(value, text, (size_t)len);
}

int mse_signature_write(const struct mse_secret *secrets, size_t count,
			const char *id, int64_t timestamp, const void *body,
			size_t body_len, struct mse_buf *value)
{
	struct signed_content content = {
		.id = id, .body = body, .body_len = body_len
	};
	unsigned char digest[SHA256_SIZE];
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	int ret = mac == NULL ? -1 : 0;
	size_t i;

	snprintf(content.timestamp, sizeof(content.timestamp),
		 ".%" PRId64 ".", timestamp);
	for (i = 0; i < count && ret == 0; i++) {
		ret = hmac(mac, &secrets[i], &content, digest);
		if (ret < 0)
			break;
		if (i > 0)
			mse_buf_append_char(value, ' ');
		append_signature(value, digest);
	}
	EVP_MAC_free(mac);
	return ret < 0 || mse_buf_failed(value) ? -1 : 0;
}
