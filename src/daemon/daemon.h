#ifndef MSE_DAEMON_DAEMON_H
#define MSE_DAEMON_DAEMON_H

#include "base/error.h"

struct mse_daemon_options {
	const char *config_path;
	const char *dir;
	const char *control_path; /* unless control_fd is given */
	int control_fd;           /* a listening socket; -1: none */
	int stop_fd;              /* a pipe; its end of file means stop; -1 */
};

struct mse_daemon;

/* Puts the parts together; afterwards the daemon serves, except that nothing
   moves until mse_daemon_run(). Options are borrowed. */
int mse_daemon_new(const struct mse_daemon_options *options,
		   struct mse_daemon **daemon_r, struct mse_error *error_r);
/* Until a signal, the stop pipe or an error ends it. 0: a clean stop, every
   answer committed. */
int mse_daemon_run(struct mse_daemon *daemon);
/* Releases the ledger's lock. */
void mse_daemon_free(struct mse_daemon **daemon);

#endif
