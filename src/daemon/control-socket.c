/*
 * The control socket's file.
 *
 * Invariant: a socket that somebody serves is never taken away from them;
 * one that nobody serves (a daemon that was killed) does not keep us out.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int mse_control_is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int ret;

	if (fd < 0)
		return 1;
	ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	/* EAGAIN: its backlog is full, so there is somebody. */
	ret = ret == 0 || errno == EAGAIN;
	(void)close(fd);
	return ret;
}

static int mse_control_clear_path(const struct sockaddr_un *address,
				  struct mse_error *error_r)
{
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return mse_error_set(error_r, "%s is there and no socket; "
				     "give another path with --control",
				     address->sun_path);
	if (mse_control_is_served(address))
		return mse_error_set(error_r, "another mailhookd (or Dovecot) "
				     "serves %s; give another path with "
				     "--control", address->sun_path);
	(void)unlink(address->sun_path);
	return 0;
}

int mse_control_listen(const char *path, int *fd_r, struct mse_error *error_r)
{
	struct sockaddr_un address;
	int fd;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address.sun_path))
		return mse_error_set(error_r, "the path of the control socket "
				     "is too long: %s", path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (mse_control_clear_path(&address, error_r) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* umask 077 makes it 0600. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address,
			   sizeof(address)) < 0 || listen(fd, 16) < 0) {
		mse_error_set(error_r, "control socket %s: %s", path,
			      strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	*fd_r = fd;
	return 0;
}
