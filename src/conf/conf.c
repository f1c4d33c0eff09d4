/*
 * mailhook.conf as checked structs: what stands outside of endpoints, and the
 * whole (conf-read.h says who does the rest).
 */
#include "conf/conf-read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "conf/conf-transport.h"
#include "conf/conf-values.h"

#define CONF_FILE_MAX ((size_t)64 * 1024 * 1024)
#define METRICS_DEFAULT "127.0.0.1:9423"

static int take_expire_services(struct mse_conf_section *top,
				struct mse_conf *conf)
{
	struct mse_conf_value value;
	unsigned int i;

	if (mse_conf_get(top, "expire_services", &value) < 0)
		return -1;
	conf->expire_services = calloc(value.count + 1,
				       sizeof(*conf->expire_services));
	if (conf->expire_services == NULL)
		return mse_conf_no_memory();
	for (i = 0; i < value.count; i++) {
		const char *text = mse_conf_text(&value, i);

		if (*text == '\0' || strspn(text, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
		    strlen(text))
			return mse_conf_fail((int)value.lines[i],
					     "expire_services has something "
					     "that is no service; write names "
					     "such as \"doveadm\"");
		conf->expire_services[i] = strdup(text);
		if (conf->expire_services[i] == NULL)
			return mse_conf_no_memory();
	}
	return 0;
}

static int take_flag_events(struct mse_conf_section *top, struct mse_conf *conf)
{
	struct mse_conf_value value;

	if (mse_conf_get(top, "flag_events", &value) < 0)
		return -1;
	if (value.count == 0 || strcmp(mse_conf_text(&value, 0), "simple") == 0)
		return 0;
	if (strcmp(mse_conf_text(&value, 0), "full") != 0)
		return mse_conf_fail((int)value.lines[0], "flag_events is "
				     "neither; write \"simple\" or \"full\"");
	conf->flag_events_full = true;
	return 0;
}

static int take_journal_limit(struct mse_conf_section *top,
			      struct mse_conf *conf)
{
	conf->journal_limit = 1024 * 1024 * 1024;
	return mse_conf_take_size(top, "journal_limit", 4 * 32 * 1024 * 1024,
				  1024ULL * 1024 * 1024 * 1024 * 1024,
				  &conf->journal_limit);
}

static int take_metrics(struct mse_conf_section *top, struct mse_conf *conf)
{
	struct mse_conf_value value;

	if (mse_conf_get(top, "metrics", &value) < 0)
		return -1;
	if (value.count > 0 && *mse_conf_text(&value, 0) == '\0')
		return 0;
	if (mse_conf_take_checked(top, "metrics", mse_conf_check_listen,
				  &conf->metrics) < 0)
		return -1;
	if (conf->metrics == NULL)
		conf->metrics = strdup(METRICS_DEFAULT);
	return conf->metrics == NULL ? mse_conf_no_memory() : 0;
}

/* Dovecot's `hostname`, from our launcher; the name of the machine as Dovecot
   tells it to its services; as the system does. */
static char *host_name(void)
{
	static const char *const told[] = {
		"MAILHOOK_HOSTNAME", "DOVECOT_HOSTDOMAIN"
	};
	struct mse_error error;
	const char *name;
	char host[256];
	size_t i;

	for (i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		name = getenv(told[i]);
		if (name != NULL &&
		    mse_conf_check_server_name(name, &error) == 0)
			return strdup(name);
	}
	if (gethostname(host, sizeof(host)) < 0)
		return strdup("localhost");
	host[sizeof(host) - 1] = '\0';
	if (mse_conf_check_server_name(host, &error) < 0)
		return strdup("localhost");
	return strdup(host);
}

static int read_globals(struct mse_conf_section *top, struct mse_conf *conf)
{
	conf->retention_ms = MSE_DAY;
	conf->lag_warning_ms = 15 * MSE_MINUTE;
	if (mse_conf_take_checked(top, "server_name",
				  mse_conf_check_server_name,
				  &conf->server_name) < 0 ||
	    mse_conf_take_duration(top, "retention", MSE_SECOND,
				   3650 * MSE_DAY, &conf->retention_ms) < 0 ||
	    take_journal_limit(top, conf) < 0 ||
	    take_metrics(top, conf) < 0 ||
	    mse_conf_take_duration(top, "lag_warning", MSE_SECOND,
				   365 * MSE_DAY, &conf->lag_warning_ms) < 0 ||
	    take_flag_events(top, conf) < 0 ||
	    take_expire_services(top, conf) < 0)
		return -1;
	if (conf->server_name == NULL)
		conf->server_name = host_name();
	return conf->server_name == NULL ? mse_conf_no_memory() : 0;
}

static int read_endpoints(struct mse_conf_section *top, struct mse_conf *conf)
{
	unsigned int i, count = mse_conf_count_endpoints(top);

	conf->endpoints = calloc(count == 0 ? 1 : count,
				 sizeof(*conf->endpoints));
	if (conf->endpoints == NULL)
		return mse_conf_no_memory();
	for (i = 0; i < count; i++) {
		conf->endpoint_count = i + 1;
		if (mse_conf_take_endpoint(mse_conf_endpoint(top, i),
					   &conf->endpoints[i]) < 0)
			return -1;
	}
	return 0;
}

static int take_all(struct mse_conf_section *top, struct mse_conf *conf)
{
	if (read_globals(top, conf) < 0)
		return -1;
	return read_endpoints(top, conf);
}

int mse_conf_read(const char *path, struct mse_conf **conf_r,
		  struct mse_error *error_r)
{
	struct mse_conf *conf;
	struct mse_error error;
	struct mse_buf text;
	int ret;

	mse_buf_init(&text, CONF_FILE_MAX);
	if (mse_file_read(AT_FDCWD, path, &text, &error) < 0) {
		mse_buf_clear(&text);
		return mse_error_set(error_r, "%s", error.text);
	}
	conf = calloc(1, sizeof(*conf));
	ret = conf == NULL ?
		mse_error_set(&error, "%s: cannot be read: out of memory",
			      path) :
		mse_conf_take_apart(path, &text, take_all, conf, &error);
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	mse_buf_clear(&text);
	if (ret < 0) {
		mse_conf_free(&conf);
		return mse_error_set(error_r, "%s", error.text);
	}
	*conf_r = conf;
	return 0;
}

static void clear_transport(struct mse_conf_transport *transport)
{
	size_t i;

	mse_conf_free_token(&transport->bearer);
	for (i = 0; i < transport->header_count; i++)
		free(transport->headers[i]);
	free(transport->headers);
	free(transport->ca_file);
	free(transport->cert_file);
	free(transport->key_file);
	free(transport->proxy);
	free(transport->allow);
	free(transport->deny);
}

static void clear_endpoint(struct mse_conf_endpoint *endpoint)
{
	if (endpoint->secrets != NULL)
		explicit_bzero(endpoint->secrets,
			       MSE_CONF_SECRETS_MAX *
			       sizeof(*endpoint->secrets));
	free(endpoint->secrets);
	free(endpoint->name);
	free(endpoint->url);
	free(endpoint->tags);
	clear_transport(&endpoint->transport);
	mse_conf_forget_files(endpoint);
	mse_patterns_free(&endpoint->subscription.users);
	mse_patterns_free(&endpoint->subscription.mailboxes);
}

void mse_conf_free(struct mse_conf **_conf)
{
	struct mse_conf *conf = *_conf;
	size_t i;

	if (conf == NULL)
		return;
	*_conf = NULL;
	for (i = 0; i < conf->endpoint_count; i++)
		clear_endpoint(&conf->endpoints[i]);
	free(conf->endpoints);
	for (i = 0; conf->expire_services != NULL &&
	     conf->expire_services[i] != NULL; i++)
		free(conf->expire_services[i]);
	free(conf->expire_services);
	free(conf->server_name);
	free(conf->metrics);
	free(conf);
}

const struct mse_conf_endpoint *mse_conf_find(const struct mse_conf *conf,
					      const char *name)
{
	size_t i;

	for (i = 0; i < conf->endpoint_count; i++) {
		if (strcmp(conf->endpoints[i].name, name) == 0)
			return &conf->endpoints[i];
	}
	return NULL;
}
