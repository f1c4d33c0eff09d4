/*
 * endpoint NAME { … } of mailhook.conf: how requests travel.
 */
#include "conf/conf-read.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/conf-transport.h"
#include "conf/conf-values.h"

#define HEADERS_MAX 32
#define NETWORKS_MAX 1024

static int take_headers(struct mse_conf_section *section,
			struct mse_conf_transport *transport)
{
	struct mse_error error;
	struct mse_conf_value value;
	unsigned int i;

	if (mse_conf_get(section, "headers", &value) < 0)
		return -1;
	if (value.count > HEADERS_MAX)
		return mse_conf_fail((int)value.lines[HEADERS_MAX], "headers "
				     "has more than %d of them; write those "
				     "that are needed", HEADERS_MAX);
	transport->headers = calloc(value.count + 1,
				    sizeof(*transport->headers));
	if (transport->headers == NULL)
		return mse_conf_no_memory();
	for (i = 0; i < value.count; i++) {
		if (mse_conf_check_header(mse_conf_text(&value, i), &error) < 0)
			return mse_conf_fail_value(&value, i, &error);
		if (transport->bearer != NULL &&
		    strncasecmp(mse_conf_text(&value, i),
				"authorization:", 14) == 0)
			return mse_conf_fail((int)value.lines[i], "headers has "
					     "Authorization, which bearer_file "
					     "sends already; write one of "
					     "them");
		transport->headers[i] = strdup(mse_conf_text(&value, i));
		if (transport->headers[i] == NULL)
			return mse_conf_no_memory();
		transport->header_count++;
	}
	return 0;
}

static int take_networks(struct mse_conf_section *section, const char *name,
			 struct mse_network **list_r, size_t *count_r)
{
	struct mse_error error;
	struct mse_conf_value value;
	unsigned int i;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count > NETWORKS_MAX)
		return mse_conf_fail((int)value.lines[NETWORKS_MAX], "%s has "
				     "more than %d networks; write larger ones",
				     name, NETWORKS_MAX);
	*list_r = calloc(value.count + 1, sizeof(**list_r));
	if (*list_r == NULL)
		return mse_conf_no_memory();
	for (i = 0; i < value.count; i++) {
		if (mse_network_parse(mse_conf_text(&value, i), &(*list_r)[i],
				      &error) < 0)
			return mse_conf_fail_value(&value, i, &error);
		(*count_r)++;
	}
	return 0;
}

static int take_bearer(struct mse_conf_section *section,
		       struct mse_conf_endpoint *endpoint)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, "bearer_file", &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	if (mse_conf_watch_file(endpoint, MSE_CONF_FILE_BEARER,
				mse_conf_text(&value, 0)) < 0)
		return mse_conf_no_memory();
	if (mse_conf_read_bearer_file(mse_conf_text(&value, 0),
				      &endpoint->transport.bearer, &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

static int watch_tls(struct mse_conf_endpoint *endpoint)
{
	const struct mse_conf_transport *transport = &endpoint->transport;

	if ((transport->ca_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->ca_file) < 0) ||
	    (transport->cert_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->cert_file) < 0) ||
	    (transport->key_file != NULL &&
	     mse_conf_watch_file(endpoint, MSE_CONF_FILE_TLS,
				 transport->key_file) < 0))
		return mse_conf_no_memory();
	return 0;
}

static int any_text(const char *text, struct mse_error *error_r)
{
	(void)text;
	(void)error_r;
	return 0;
}

static int take_tls(struct mse_conf_section *section,
		    struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_transport *transport = &endpoint->transport;
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_take_checked(section, "ca_file", mse_conf_check_ca_file,
				  &transport->ca_file) < 0 ||
	    mse_conf_take_checked(section, "cert_file", mse_conf_check_ca_file,
				  &transport->cert_file) < 0 ||
	    mse_conf_take_checked(section, "key_file", any_text,
				  &transport->key_file) < 0 ||
	    watch_tls(endpoint) < 0 ||
	    mse_conf_get(section, transport->key_file != NULL ? "key_file" :
			 "cert_file", &value) < 0)
		return -1;
	if (transport->cert_file == NULL && transport->key_file != NULL)
		return mse_conf_fail((int)value.lines[0], "key_file is the key "
				     "of no certificate; write cert_file = the "
				     "path of its certificate too");
	if (transport->cert_file != NULL &&
	    mse_conf_check_key_file(transport->cert_file, transport->key_file,
				    &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

int mse_conf_take_transport(struct mse_conf_section *section,
			    struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_transport *transport = &endpoint->transport;

	if (take_tls(section, endpoint) < 0 ||
	    take_bearer(section, endpoint) < 0 ||
	    take_headers(section, transport) < 0 ||
	    mse_conf_take_checked(section, "proxy", mse_conf_check_proxy,
				  &transport->proxy) < 0 ||
	    take_networks(section, "allow_networks", &transport->allow,
			  &transport->allow_count) < 0 ||
	    take_networks(section, "deny_networks", &transport->deny,
			  &transport->deny_count) < 0)
		return -1;
	if (transport->proxy != NULL && *transport->proxy == '\0') {
		free(transport->proxy);
		transport->proxy = NULL;
	}
	return 0;
}
