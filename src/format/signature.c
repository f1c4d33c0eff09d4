/*
 * Standard Webhooks 1.0 signatures. What is signed is ID "." TIMESTAMP "."
 * BODY, exactly the octets sent; each secret gives one signature of its own,
 * so that a receiver that knows any of them is content.
 *
 * Both algorithms give the same octets for the same input: an Ed25519
 * signature draws no random number.
 */
#include "format/signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define SHA256_SIZE 32
#define ED25519_SIZE 64
/* Beside the body: an id and a number. */
#define HEAD_MAX 1024

struct signed_content {
	const char *id;
	char timestamp[24];
	const void *body;
	size_t body_len;
	struct mse_buf whole; /* Ed25519 only: made for the first key */
};

/* Finding the algorithm takes longer than most bodies do: once a thread. */
static EVP_MAC_CTX *hmac_context(void)
{
	static __thread EVP_MAC_CTX *context;
	char name[] = "SHA256";
	OSSL_PARAM params[2];
	EVP_MAC *mac;

	if (context != NULL)
		return context;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
						     name, 0);
	params[1] = OSSL_PARAM_construct_end();
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	context = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	if (context != NULL && !EVP_MAC_CTX_set_params(context, params)) {
		EVP_MAC_CTX_free(context);
		context = NULL;
	}
	return context;
}

static int hmac(const struct mse_secret *secret,
		const struct signed_content *content,
		unsigned char digest_r[SHA256_SIZE])
{
	EVP_MAC_CTX *context = hmac_context();
	size_t len = 0;

	if (context == NULL ||
	    !EVP_MAC_init(context, secret->key, secret->key_len, NULL) ||
	    !EVP_MAC_update(context, (const unsigned char *)content->id,
			    strlen(content->id)) ||
	    !EVP_MAC_update(context, (const unsigned char *)content->timestamp,
			    strlen(content->timestamp)) ||
	    (content->body_len > 0 &&
	     !EVP_MAC_update(context, content->body, content->body_len)) ||
	    !EVP_MAC_final(context, digest_r, &len, SHA256_SIZE))
		return -1;
	return len == SHA256_SIZE ? 0 : -1;
}

/* Ed25519 reads what it signs twice: it must be in one piece. */
static int make_whole(struct signed_content *content)
{
	struct mse_buf *whole = &content->whole;

	if (whole->len > 0)
		return 0;
	mse_buf_init(whole, content->body_len + HEAD_MAX);
	mse_buf_append_str(whole, content->id);
	mse_buf_append_str(whole, content->timestamp);
	mse_buf_append(whole, content->body, content->body_len);
	return mse_buf_failed(whole) ? -1 : 0;
}

static int ed25519(const struct mse_secret *secret,
		   struct signed_content *content,
		   unsigned char signature_r[ED25519_SIZE])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
						      secret->key,
						      secret->key_len);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t len = ED25519_SIZE;
	int ret = -1;

	if (pkey != NULL && context != NULL && make_whole(content) == 0 &&
	    EVP_DigestSignInit(context, NULL, NULL, NULL, pkey) == 1 &&
	    EVP_DigestSign(context, signature_r, &len,
			   (const unsigned char *)content->whole.data,
			   content->whole.len) == 1 &&
	    len == ED25519_SIZE)
		ret = 0;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	return ret;
}

static int append_signature(struct mse_buf *value,
			    const struct mse_secret *secret,
			    struct signed_content *content)
{
	unsigned char signature[ED25519_SIZE];
	unsigned char text[4 * ((ED25519_SIZE + 2) / 3) + 1];
	bool symmetric = secret->kind == MSE_SECRET_HMAC;
	int len;

	if ((symmetric ? hmac(secret, content, signature) :
	     ed25519(secret, content, signature)) < 0)
		return -1;
	len = EVP_EncodeBlock(text, signature,
			      symmetric ? SHA256_SIZE : ED25519_SIZE);
	mse_buf_append_str(value, symmetric ? "v1," : "v1a,");
	mse_buf_append(value, text, (size_t)len);
	return 0;
}

int mse_signature_write(const struct mse_secret *secrets, size_t count,
			const char *id, int64_t timestamp, const void *body,
			size_t body_len, struct mse_buf *value)
{
	struct signed_content content = {
		.id = id, .body = body, .body_len = body_len
	};
	int ret = 0;
	size_t i;

	snprintf(content.timestamp, sizeof(content.timestamp),
		 ".%" PRId64 ".", timestamp);
	for (i = 0; i < count && ret == 0; i++) {
		if (i > 0)
			mse_buf_append_char(value, ' ');
		ret = append_signature(value, &secrets[i], &content);
	}
	mse_buf_clear(&content.whole);
	return ret < 0 || mse_buf_failed(value) ? -1 : 0;
}
