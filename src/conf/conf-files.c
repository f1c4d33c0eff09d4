/*
 * Files that mailhook.conf names, read again when they change: secrets, the
 * bearer token, certificates.
 *
 * Invariant: what was read last stays in use until what is there now is
 * right, and a mistake is told once, not at every look.
 */
#include "conf/conf-transport.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf-values.h"

static void look(const char *path, struct mse_conf_stamp *stamp_r)
{
	struct stat st;

	memset(stamp_r, 0, sizeof(*stamp_r));
	if (stat(path, &st) < 0)
		return;
	stamp_r->device = (uint64_t)st.st_dev;
	stamp_r->inode = (uint64_t)st.st_ino;
	stamp_r->size = (uint64_t)st.st_size;
	stamp_r->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
		st.st_mtim.tv_nsec;
	stamp_r->mode = st.st_mode;
}

int mse_conf_watch_file(struct mse_conf_endpoint *endpoint,
			enum mse_conf_file_kind kind, const char *path)
{
	struct mse_conf_file *files;

	files = realloc(endpoint->files, (endpoint->file_count + 1) *
			sizeof(*files));
	if (files == NULL)
		return -1;
	endpoint->files = files;
	files += endpoint->file_count;
	files->kind = kind;
	look(path, &files->stamp);
	files->path = strdup(path);
	if (files->path == NULL)
		return -1;
	endpoint->file_count++;
	return 0;
}

void mse_conf_forget_files(struct mse_conf_endpoint *endpoint)
{
	size_t i;

	for (i = 0; i < endpoint->file_count; i++)
		free(endpoint->files[i].path);
	free(endpoint->files);
	endpoint->files = NULL;
	endpoint->file_count = 0;
}

/* Of which kinds something changed since the last look; bits. */
static unsigned int look_again(struct mse_conf_endpoint *endpoint)
{
	struct mse_conf_stamp stamp;
	unsigned int changed = 0;
	size_t i;

	for (i = 0; i < endpoint->file_count; i++) {
		look(endpoint->files[i].path, &stamp);
		if (memcmp(&stamp, &endpoint->files[i].stamp,
			   sizeof(stamp)) == 0)
			continue;
		endpoint->files[i].stamp = stamp;
		changed |= 1U << endpoint->files[i].kind;
	}
	return changed;
}

struct secrets {
	struct mse_secret list[MSE_CONF_SECRETS_MAX];
	size_t count;
};

static int add(const struct mse_secret *secret, void *context,
	       struct mse_error *error_r)
{
	struct secrets *secrets = context;

	if (secrets->count == MSE_CONF_SECRETS_MAX)
		return mse_error_set(error_r, "makes more than %d secrets; "
				     "write those in use only",
				     MSE_CONF_SECRETS_MAX);
	secrets->list[secrets->count++] = *secret;
	return 0;
}

static int refresh_secrets(struct mse_conf_endpoint *endpoint,
			   struct mse_error *error_r)
{
	struct secrets secrets;
	size_t i;
	int ret = 0;

	memset(&secrets, 0, sizeof(secrets));
	secrets.count = endpoint->own_secret_count;
	memcpy(secrets.list, endpoint->secrets,
	       secrets.count * sizeof(secrets.list[0]));
	for (i = 0; i < endpoint->file_count && ret == 0; i++) {
		if (endpoint->files[i].kind == MSE_CONF_FILE_SECRETS)
			ret = mse_conf_read_secret_file(
				endpoint->files[i].path, add, &secrets,
				error_r);
	}
	if (ret == 0) {
		memcpy(endpoint->secrets, secrets.list, sizeof(secrets.list));
		endpoint->secret_count = secrets.count;
	} else {
		mse_error_prefix(error_r, "secret_file ");
	}
	explicit_bzero(&secrets, sizeof(secrets));
	return ret;
}

static int refresh_bearer(struct mse_conf_endpoint *endpoint,
			  struct mse_error *error_r)
{
	char *token;
	size_t i = 0;

	while (endpoint->files[i].kind != MSE_CONF_FILE_BEARER)
		i++;
	if (mse_conf_read_bearer_file(endpoint->files[i].path, &token,
				      error_r) < 0)
		return mse_error_prefix(error_r, "bearer_file ");
	mse_conf_free_token(&endpoint->transport.bearer);
	endpoint->transport.bearer = token;
	return 0;
}

/* libcurl reads them itself, for each new connection. */
static int refresh_tls(const struct mse_conf_endpoint *endpoint,
		       struct mse_error *error_r)
{
	const struct mse_conf_transport *transport = &endpoint->transport;

	if (transport->ca_file != NULL &&
	    mse_conf_check_ca_file(transport->ca_file, error_r) < 0)
		return mse_error_prefix(error_r, "ca_file ");
	if (transport->cert_file != NULL &&
	    mse_conf_check_key_file(transport->cert_file,
				    transport->key_file, error_r) < 0)
		return mse_error_prefix(error_r, "key_file ");
	return 0;
}

void mse_conf_refresh(struct mse_conf *conf,
		      void (*changed)(const struct mse_conf_endpoint *endpoint,
				      const struct mse_error *error,
				      void *context),
		      void *context)
{
	struct mse_conf_endpoint *endpoint;
	struct mse_error error;
	unsigned int kinds;
	size_t i;
	int ret;

	for (i = 0; i < conf->endpoint_count; i++) {
		endpoint = &conf->endpoints[i];
		kinds = look_again(endpoint);
		if (kinds == 0)
			continue;
		ret = 0;
		if ((kinds & (1U << MSE_CONF_FILE_SECRETS)) != 0)
			ret = refresh_secrets(endpoint, &error);
		if (ret == 0 && (kinds & (1U << MSE_CONF_FILE_BEARER)) != 0)
			ret = refresh_bearer(endpoint, &error);
		if (ret == 0 && (kinds & (1U << MSE_CONF_FILE_TLS)) != 0)
			ret = refresh_tls(endpoint, &error);
		changed(endpoint, ret < 0 ? &error : NULL, context);
	}
}
