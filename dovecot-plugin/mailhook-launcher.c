/*
 * Dovecot's master starts this as service mailhook. It speaks the master's
 * protocol for the one moment that matters (without a status report a child
 * is killed after 30 seconds) and becomes mailhookd, which knows nothing of
 * Dovecot and inherits two descriptors: the listening socket and the pipe
 * that closes when the master stops or reloads.
 */

#include "lib.h"
#include "fd-util.h"
#include "restrict-access.h"
#include "master-service.h"
#include "master-interface.h"
#include "mailhook-compat.h"

#include <stdlib.h>
#include <unistd.h>

static const char *mailhook_env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : otherwise;
}

int main(int argc, char *argv[])
{
	const char *config, *dir, *hostname, *control_fd, *stop_fd;

	master_service = master_service_init("mailhook",
		MASTER_SERVICE_FLAG_DONT_SEND_STATS |
		MASTER_SERVICE_FLAG_NO_IDLE_DIE, &argc, &argv, "");
	if (master_getopt(master_service) > 0)
		return FATAL_DEFAULT;
	config = mailhook_env("MAILHOOK_CONFIG",
			      MAILHOOK_SYSCONFDIR"/mailhook.conf");
	dir = mailhook_env("MAILHOOK_DIR", MAILHOOK_STATEDIR);
	hostname = mailhook_hostname(master_service);
	if (hostname != NULL)
		(void)setenv("MAILHOOK_HOSTNAME", hostname, 1);
	/* The master leaves dropping root to its children. */
	restrict_access_by_env(0, NULL);
	master_service_init_finish(master_service);

	mailhook_drop_accepted_client();
	fd_close_on_exec(MASTER_LISTEN_FD_FIRST, FALSE);
	fd_close_on_exec(MASTER_DEAD_FD, FALSE);
	control_fd = t_strdup_printf("%d", MASTER_LISTEN_FD_FIRST);
	stop_fd = t_strdup_printf("%d", MASTER_DEAD_FD);
	execl(MAILHOOK_DAEMON, "mailhookd", "--config", config, "--dir", dir,
	      "--control-fd", control_fd, "--stop-fd", stop_fd, (char *)NULL);
	i_fatal("mailhook: Can't start " MAILHOOK_DAEMON ": %m");
}
