/*
 * mailhook.conf of any octets. What is accepted is within its limits, and no
 * message about what is not repeats a secret that stands in it.
 */
#include "fuzz.h"

#include <string.h>

#include "conf/conf.h"

const char fuzz_name[] = "conf";

#define NAME "mailhook.conf"
/* So much of a secret in a message would be one too many. */
#define SECRET_OCTETS 12
#define SMALL "abcdefghijklmnopqrstuvwxyz"

static void check_no_secret(const char *text, size_t len, const char *said)
{
	char part[SECRET_OCTETS + 1];
	size_t i;

	for (i = 0; i + 6 + SECRET_OCTETS <= len; i++) {
		if (memcmp(text + i, "whsec_", 6) != 0)
			continue;
		memcpy(part, text + i + 6, SECRET_OCTETS);
		part[SECRET_OCTETS] = '\0';
		/* The names of keys may be told. */
		if (strspn(part, SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			   "+/") == SECRET_OCTETS &&
		    strspn(part, SMALL) < SECRET_OCTETS)
			FUZZ_CHECK(strstr(said, part) == NULL);
	}
}

static void check_endpoint(const struct mse_conf_endpoint *endpoint)
{
	const struct mse_subscription *subscription = &endpoint->subscription;

	FUZZ_CHECK(endpoint->name[0] != '\0' && strlen(endpoint->name) <= 64);
	FUZZ_CHECK(strncmp(endpoint->url, "http://", 7) == 0 ||
		   strncmp(endpoint->url, "https://", 8) == 0);
	FUZZ_CHECK(endpoint->secret_count >= 1 &&
		   endpoint->secret_count <= MSE_CONF_SECRETS_MAX);
	FUZZ_CHECK(endpoint->concurrency >= 1 &&
		   endpoint->concurrency <= 1000);
	FUZZ_CHECK(endpoint->timeout_ms > 0 &&
		   endpoint->connect_timeout_ms > 0);
	FUZZ_CHECK(endpoint->retry_first_ms > 0 &&
		   endpoint->retry_max_ms >= endpoint->retry_first_ms);
	FUZZ_CHECK(endpoint->give_up_ms > 0);
	FUZZ_CHECK((subscription->types & ~MSE_EVENT_TYPES_ALL) == 0);
	FUZZ_CHECK(subscription->users != NULL &&
		   subscription->mailboxes != NULL);
	FUZZ_CHECK(subscription->content_limit <= MSE_CONTENT_MAX);
	FUZZ_CHECK(strlen(endpoint->filters) == 64);
}

static void changed(const struct mse_conf_endpoint *endpoint,
		    const struct mse_error *error, void *context)
{
}

static void check_conf(struct mse_conf *conf)
{
	size_t i;

	FUZZ_CHECK(conf->retention_ms >= 0);
	FUZZ_CHECK(conf->journal_limit >= (uint64_t)4 * 32 * 1024 * 1024);
	for (i = 0; i < conf->endpoint_count; i++) {
		check_endpoint(&conf->endpoints[i]);
		FUZZ_CHECK(mse_conf_find(conf, conf->endpoints[i].name) ==
			   &conf->endpoints[i]);
		FUZZ_CHECK(mse_conf_same_way(&conf->endpoints[i],
					     &conf->endpoints[i]));
	}
	mse_conf_refresh(conf, changed, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mse_error error = { "" };
	struct mse_conf *conf = NULL;
	const char *said;
	char path[512];

	if (size > 16384)
		return 0;
	fuzz_put_file(NAME, data, size);
	snprintf(path, sizeof(path), "%s/" NAME, fuzz_directory());
	if (mse_conf_read(path, &conf, &error) == 0) {
		FUZZ_CHECK(error.text[0] == '\0');
		check_conf(conf);
		mse_conf_free(&conf);
		return 0;
	}
	FUZZ_CHECK(conf == NULL);
	said = strstr(error.text, path);
	FUZZ_CHECK(said != NULL);
	check_no_secret((const char *)data, size, said + strlen(path));
	return 0;
}
