/*
 * New Standard Webhooks secrets.
 *
 * Invariant: every octet comes from OpenSSL's generator for private keys, and
 * none of it stays in memory of ours.
 */
#include "conf/conf.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#define KEY_SIZE 32 /* HMAC-SHA256: as long as its output; Ed25519: exactly */
#define BASE64_SIZE (4 * ((KEY_SIZE + 2) / 3) + 1)

static void write_text(char text_r[MSE_SECRET_TEXT_SIZE], const char *prefix,
		       const unsigned char key[KEY_SIZE])
{
	unsigned char base64[BASE64_SIZE];

	EVP_EncodeBlock(base64, key, KEY_SIZE);
	snprintf(text_r, MSE_SECRET_TEXT_SIZE, "%s%s", prefix,
		 (const char *)base64);
	explicit_bzero(base64, sizeof(base64));
}

static int new_hmac(char secret_r[MSE_SECRET_TEXT_SIZE])
{
	unsigned char key[KEY_SIZE];

	if (RAND_priv_bytes(key, sizeof(key)) != 1)
		return -1;
	write_text(secret_r, "whsec_", key);
	explicit_bzero(key, sizeof(key));
	return 0;
}

static int new_ed25519(char secret_r[MSE_SECRET_TEXT_SIZE],
		       char public_r[MSE_SECRET_TEXT_SIZE])
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	unsigned char private_key[KEY_SIZE], public_key[KEY_SIZE];
	size_t private_len = KEY_SIZE, public_len = KEY_SIZE;
	int ret = -1;

	if (pkey != NULL &&
	    EVP_PKEY_get_raw_private_key(pkey, private_key,
					 &private_len) == 1 &&
	    EVP_PKEY_get_raw_public_key(pkey, public_key,
					&public_len) == 1 &&
	    private_len == KEY_SIZE && public_len == KEY_SIZE) {
		write_text(secret_r, "whsk_", private_key);
		write_text(public_r, "whpk_", public_key);
		ret = 0;
	}
	explicit_bzero(private_key, sizeof(private_key));
	EVP_PKEY_free(pkey);
	return ret;
}

int mse_conf_new_secret(enum mse_secret_kind kind,
			char secret_r[MSE_SECRET_TEXT_SIZE],
			char public_r[MSE_SECRET_TEXT_SIZE])
{
	secret_r[0] = public_r[0] = '\0';
	return kind == MSE_SECRET_ED25519 ? new_ed25519(secret_r, public_r) :
		new_hmac(secret_r);
}
