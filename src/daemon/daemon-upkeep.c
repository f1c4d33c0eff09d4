/*
 * What the daemon does beside delivering: the interest, a changed
 * configuration, releasing journal files.
 *
 * Invariant: a configuration is either in force as a whole or not at all.
 */
#include "mse-config.h"

#include "daemon/daemon-private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "deliver/deliver.h"
#include "derive/derive.h"
#include "http/http.h"
#include "journal/interest.h"
#include "journal/journal.h"
#include "ledger/worker.h"

int mse_daemon_write_interest(struct mse_daemon *daemon,
			      struct mse_error *error_r)
{
	const struct mse_conf *conf = daemon->conf;
	struct mse_interest interest;
	size_t i;
	int ret;

	memset(&interest, 0, sizeof(interest));
	interest.subscriptions = calloc(conf->endpoint_count + 1,
					sizeof(*interest.subscriptions));
	if (interest.subscriptions == NULL)
		return mse_error_set(error_r, "there is no memory");
	interest.count = conf->endpoint_count;
	for (i = 0; i < conf->endpoint_count; i++) {
		interest.subscriptions[i] = conf->endpoints[i].subscription;
		interest.types |= conf->endpoints[i].subscription.types;
		interest.optionals |=
			conf->endpoints[i].subscription.optionals;
	}
	interest.flag_events_full = conf->flag_events_full;
	interest.expire_services = conf->expire_services;
	interest.server_name = conf->server_name;
	ret = mse_interest_write(mse_journal_dir_fd(daemon->journal),
				 &interest, error_r);
	/* The subscriptions' insides are the configuration's. */
	free(interest.subscriptions);
	return ret;
}

/* Kept-alive connections of endpoints that are now reached another way. */
static void mse_daemon_forget_connections(struct mse_daemon *daemon,
					  const struct mse_conf *before)
{
	const struct mse_conf_endpoint *endpoint, *now;
	size_t i;

	for (i = 0; i < before->endpoint_count; i++) {
		endpoint = &before->endpoints[i];
		now = mse_conf_find(daemon->conf, endpoint->name);
		if (now == NULL || !mse_conf_same_way(endpoint, now))
			mse_http_forget(daemon->http, endpoint->name);
	}
}

static void mse_daemon_file_changed(const struct mse_conf_endpoint *endpoint,
				    const struct mse_error *error,
				    void *context)
{
	struct mse_daemon *daemon = context;

	if (error != NULL) {
		mse_log(MSE_LOG_ERROR, "endpoint %s: %s; what was read before "
			"stays in use", endpoint->name, error->text);
		return;
	}
	mse_http_forget(daemon->http, endpoint->name);
	mse_log(MSE_LOG_INFO, "endpoint %s: its files changed and are in use",
		endpoint->name);
}

void mse_daemon_look_at_files(struct mse_daemon *daemon, int64_t now)
{
	if (now < daemon->files_at_ms)
		return;
	daemon->files_at_ms = now + MSE_FILES_MS;
	mse_conf_refresh(daemon->conf, mse_daemon_file_changed, daemon);
}

static void mse_daemon_apply_limits(struct mse_daemon *daemon)
{
	struct mse_journal_limits limits = {
		.file_size = MSE_JOURNAL_FILE_SIZE,
		.retention_ms = daemon->conf->retention_ms,
		.journal_limit = daemon->conf->journal_limit
	};

	mse_journal_set_limits(daemon->journal, &limits);
	daemon->upkeep_at_ms = 0;
}

bool mse_daemon_may_reload(const struct mse_daemon *daemon)
{
	return daemon->old_conf_count < MSE_OLD_CONFS ||
		mse_deliver_is_settled(daemon->deliver);
}

void mse_daemon_forget_confs(struct mse_daemon *daemon, bool all)
{
	if (daemon->old_conf_count == 0 ||
	    (!all && !mse_deliver_is_settled(daemon->deliver)))
		return;
	while (daemon->old_conf_count > 0)
		mse_conf_free(&daemon->old_confs[--daemon->old_conf_count]);
}

void mse_daemon_look_at_rights(const struct mse_daemon *daemon)
{
	const char *path = daemon->options.config_path;
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		mse_log(MSE_LOG_WARNING, "%s: mode %04o lets others than its "
			"owner at the secrets in it: chmod 0600 %s", path,
			(unsigned int)st.st_mode & 07777, path);
}

int mse_daemon_reload(struct mse_daemon *daemon, struct mse_error *error_r)
{
	struct mse_conf *conf, *before = daemon->conf;

	mse_daemon_forget_confs(daemon, false);
	if (mse_conf_read(daemon->options.config_path, &conf, error_r) < 0)
		return -1;
	if (mse_deliver_configure(daemon->deliver, conf, error_r) < 0) {
		mse_conf_free(&conf);
		return -1;
	}
	daemon->old_confs[daemon->old_conf_count++] = before;
	daemon->conf = conf;
	mse_daemon_look_at_rights(daemon);
	mse_daemon_forget_connections(daemon, before);
	mse_daemon_apply_limits(daemon);
	daemon->generation_at_ms = 0;
	return mse_daemon_write_interest(daemon, error_r);
}

static int mse_daemon_forget_file(struct mse_ledger *ledger, void *context,
				  struct mse_error *error_r)
{
	return mse_ledger_forget_file(ledger, context, error_r);
}

static void mse_daemon_file_released(const struct mse_journal_file *file,
				     bool forced, void *context)
{
	struct mse_daemon *daemon = context;
	char uuid[MSE_UUID_SIZE];
	struct mse_error error;

	memcpy(uuid, file->uuid, sizeof(uuid));
	if (mse_deliver_file_released(daemon->deliver, file, forced,
				      &error) < 0 ||
	    mse_ledger_worker_call(daemon->ledger, mse_daemon_forget_file,
				   uuid, &error) < 0)
		mse_log(MSE_LOG_ERROR, "a journal file goes: %s", error.text);
	if (!forced)
		return;
	daemon->forced_releases++;
	mse_log(MSE_LOG_WARNING, "journal_limit is reached: the oldest "
		"journal file goes although not every endpoint has read it; "
		"those get a Gap");
}

/* The older of two files, by their place in the journal. A uuid that is not
   there (any more) needs the oldest there is. */
static const char *mse_daemon_oldest_needed(struct mse_daemon *daemon)
{
	const char *one = mse_deliver_oldest_file(daemon->deliver);
	const char *two = mse_derive_file(daemon->derive);
	const struct mse_journal_file *files;
	unsigned int count, i;

	files = mse_journal_files(daemon->journal, &count);
	for (i = 0; i < count; i++) {
		if (one != NULL && strcmp(files[i].uuid, one) == 0)
			return one;
		if (two != NULL && strcmp(files[i].uuid, two) == 0)
			return two;
	}
	return one != NULL ? one : two;
}

void mse_daemon_upkeep(struct mse_daemon *daemon)
{
	const struct mse_journal_file *files;
	struct mse_error error;
	unsigned int count;
	const char *oldest;

	oldest = mse_daemon_oldest_needed(daemon);
	if (oldest != NULL &&
	    mse_journal_release(daemon->journal, oldest,
				mse_daemon_file_released, daemon,
				&error) < 0)
		mse_log(MSE_LOG_ERROR, "%s", error.text);
	if ((mse_daemon_now() >= daemon->generation_at_ms ?
	     mse_daemon_generation_next(daemon, &error) :
	     mse_journal_allow(daemon->journal, daemon->generation,
			       &error)) < 0)
		mse_log(MSE_LOG_ERROR, "%s", error.text);
	files = mse_journal_files(daemon->journal, &count);
	if (count > 0)
		memcpy(daemon->current_file, files[count - 1].uuid,
		       sizeof(daemon->current_file));
}
