/*
 * Puts the daemon together and takes it apart.
 *
 * Invariant: nothing in the state directory is touched before the ledger's
 * lock is held (a predecessor may still be committing), and the interest is
 * written last: from that moment mail processes append.
 */
#include "mse-config.h"

#include "daemon/daemon-private.h"

#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/overview.h"
#include "daemon/web.h"
#include "deliver/deliver.h"
#include "derive/derive.h"
#include "http/http.h"
#include "journal/append.h"
#include "journal/journal.h"
#include "ledger/worker.h"

/* As Dovecot's my_hostdomain(), so that both say the same. */
static void mse_daemon_find_fqdn(char *name, size_t size)
{
	const char *given = getenv("DOVECOT_HOSTDOMAIN");
	struct addrinfo hints, *found = NULL;

	memset(&hints, 0, sizeof(hints));
	hints.ai_flags = AI_CANONNAME;
	if (given != NULL && *given != '\0') {
		(void)snprintf(name, size, "%s", given);
		return;
	}
	if (gethostname(name, size) < 0)
		(void)snprintf(name, size, "localhost");
	name[size - 1] = '\0';
	if (getaddrinfo(name, NULL, &hints, &found) != 0)
		return;
	if (found->ai_canonname != NULL && *found->ai_canonname != '\0')
		(void)snprintf(name, size, "%s", found->ai_canonname);
	freeaddrinfo(found);
}

const char *mse_daemon_server_name(const struct mse_daemon *daemon)
{
	return daemon->conf->server_name != NULL ?
		daemon->conf->server_name : daemon->server_fqdn;
}

static int mse_daemon_open_ledger(struct mse_daemon *daemon,
				  struct mse_error *error_r)
{
	const char *dir = daemon->options.dir;
	bool created;
	struct mse_ledger *ledger;
	struct mse_error error;

	if (mse_ledger_open_sqlite(dir, MSE_LOCK_WAIT_MS, &created, &ledger,
				   &error) < 0) {
		if (!mse_ledger_error_is_corrupt(&error)) {
			*error_r = error;
			return -1;
		}
		mse_log(MSE_LOG_ERROR, "%s; it is set aside as "
			"ledger.db.corrupt-TIME and a new one begun: what is "
			"in the journal is sent again, with a Gap",
			error.text);
		if (mse_ledger_set_aside(dir, error_r) < 0 ||
		    mse_ledger_open_sqlite(dir, MSE_LOCK_WAIT_MS, &created,
					   &ledger, error_r) < 0)
			return -1;
	}
	return mse_ledger_worker_new(&ledger, true, &daemon->ledger, error_r);
}

static int mse_daemon_open_journal(struct mse_daemon *daemon,
				   struct mse_error *error_r)
{
	struct mse_journal_limits limits = {
		.file_size = MSE_JOURNAL_FILE_SIZE,
		.retention_ms = daemon->conf->retention_ms,
		.journal_limit = daemon->conf->journal_limit
	};

	return mse_journal_open(daemon->options.dir, &limits,
				&mse_clock_system, &daemon->journal, error_r);
}

/* A file's name alone does not say where it is. */
static int mse_daemon_name_dir(const struct mse_daemon *daemon,
			       struct mse_error *error)
{
	const char *dir = daemon->options.dir;

	return strstr(error->text, dir) != NULL ? -1 :
		mse_error_prefix(error, "%s: ", dir);
}

/* A journal without a ledger means that the ledger was lost. */
static bool mse_daemon_has_journal(const char *dir)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, MSE_JOURNAL_NAME);
	return access(path, F_OK) == 0;
}

static int mse_daemon_new_derive(struct mse_daemon *daemon,
				 struct mse_error *error_r)
{
	struct mse_derive_parts parts;

	if (mse_appender_new(daemon->options.dir, &daemon->appender) < 0)
		return mse_error_set(error_r, "there is no memory");
	memset(&parts, 0, sizeof(parts));
	parts.journal = daemon->journal;
	parts.ledger = daemon->ledger;
	parts.appender = daemon->appender;
	parts.clock = &mse_clock_system;
	parts.server_name = mse_daemon_server_name(daemon);
	parts.server_fqdn = daemon->server_fqdn;
	return mse_derive_new(&parts, &daemon->derive, error_r);
}

static int mse_daemon_new_deliver(struct mse_daemon *daemon,
				  struct mse_error *error_r)
{
	struct mse_deliver_parts parts;

	if (mse_http_new(daemon->base, &daemon->http, error_r) < 0)
		return -1;
	memset(&parts, 0, sizeof(parts));
	parts.journal = daemon->journal;
	parts.ledger = daemon->ledger;
	parts.transport = mse_http_transport(daemon->http);
	parts.clock = &mse_clock_system;
	parts.server_fqdn = daemon->server_fqdn;
	parts.ledger_rebuilt = daemon->ledger_rebuilt;
	parts.unclean_boot = mse_derive_is_unclean_boot(daemon->derive);
	parts.log = mse_log_text;
	if (mse_deliver_new(&parts, &daemon->deliver, error_r) < 0 ||
	    mse_deliver_configure(daemon->deliver, daemon->conf, error_r) < 0)
		return -1;
	return mse_daemon_generation_done(daemon, error_r);
}

int mse_daemon_parts_new(struct mse_daemon *daemon, struct mse_error *error_r)
{
	bool had_journal;

	if (mse_conf_read(daemon->options.config_path, &daemon->conf,
			  error_r) < 0)
		return -1;
	mse_daemon_look_at_rights(daemon);
	mse_daemon_find_fqdn(daemon->server_fqdn, sizeof(daemon->server_fqdn));
	if (mse_daemon_open_ledger(daemon, error_r) < 0)
		return -1;
	had_journal = mse_daemon_has_journal(daemon->options.dir);
	if (mse_daemon_open_journal(daemon, error_r) < 0)
		return mse_daemon_name_dir(daemon, error_r);
	if (mse_daemon_generation_begin(daemon, had_journal, error_r) < 0 ||
	    mse_daemon_new_derive(daemon, error_r) < 0 ||
	    mse_daemon_new_deliver(daemon, error_r) < 0)
		return -1;
	if (mse_daemon_write_interest(daemon, error_r) < 0)
		return mse_daemon_name_dir(daemon, error_r);
	if (mse_overview_new(daemon, &daemon->overview, error_r) < 0 ||
	    mse_web_new(daemon, &daemon->web, error_r) < 0)
		return -1;
	return mse_control_new(daemon, &daemon->control, error_r);
}

void mse_daemon_parts_free(struct mse_daemon *daemon)
{
	mse_web_free(&daemon->web);
	mse_overview_free(&daemon->overview);
	mse_control_free(&daemon->control);
	/* Before deliver: it calls done() of what is in flight. */
	mse_http_free(&daemon->http);
	if (daemon->deliver != NULL)
		mse_deliver_free(&daemon->deliver);
	if (daemon->derive != NULL)
		mse_derive_free(&daemon->derive);
	if (daemon->ledger != NULL)
		mse_ledger_worker_free(&daemon->ledger);
	if (daemon->appender != NULL)
		mse_appender_free(&daemon->appender);
	if (daemon->journal != NULL)
		mse_journal_close(&daemon->journal);
	mse_daemon_forget_confs(daemon, true);
	if (daemon->conf != NULL)
		mse_conf_free(&daemon->conf);
}
