/*
 * secret: a new one for mailhook.conf.
 *
 * Invariant: standard output is a file of secrets as secret_file wants it,
 * whatever kind was asked for; the daemon is not needed.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <string.h>

#include "conf/conf.h"

static void mse_ctl_print_secret(const struct mse_ctl *ctl,
				 const char *secret, const char *public_key)
{
	struct json_object *object;

	if (!ctl->json) {
		if (*public_key != '\0')
			printf("# for the receiver: %s\n", public_key);
		puts(secret);
		return;
	}
	object = json_object_new_object();
	json_object_object_add(object, "secret",
			       json_object_new_string(secret));
	if (*public_key != '\0')
		json_object_object_add(object, "public_key",
				       json_object_new_string(public_key));
	mse_ctl_print_json(object);
	json_object_put(object);
}

int mse_ctl_secret(const struct mse_ctl *ctl, char **arguments)
{
	char secret[MSE_SECRET_TEXT_SIZE], public_key[MSE_SECRET_TEXT_SIZE];

	if (mse_conf_new_secret(ctl->ed25519 ? MSE_SECRET_ED25519 :
				MSE_SECRET_HMAC, secret, public_key) < 0) {
		fprintf(stderr, "mailhookctl: OpenSSL has no random numbers; "
			"no secret was made\n");
		return MSE_CTL_PROBLEM;
	}
	mse_ctl_print_secret(ctl, secret, public_key);
	explicit_bzero(secret, sizeof(secret));
	if (fflush(stdout) != 0) {
		fprintf(stderr, "mailhookctl: the secret could not be "
			"written: %m\n");
		return MSE_CTL_PROBLEM;
	}
	return MSE_CTL_OK;
}
