/*
 * What the daemon gives up before it reads anything that others wrote.
 */
#include "mse-config.h"

#include "daemon/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void mse_sandbox_no_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	/* The limit stops no dump that goes to a program (core_pattern). */
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Whoever starts us may have left some to be handed on: Dovecot 2.4 does. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	(void)syscall(SYS_capset, &header, none);
}

int mse_sandbox_enter(const char *dir, const char *control_path,
		      struct mse_sandbox *sandbox_r, struct mse_error *error_r)
{
	memset(sandbox_r, 0, sizeof(*sandbox_r));
	drop_capabilities();
	/* Both below need it of a process that is not root. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 0;
	errno = 0;
	sandbox_r->files = mse_sandbox_restrict_files(dir, control_path) == 0;
	sandbox_r->calls = mse_sandbox_restrict_calls() == 0;
	if (!sandbox_r->calls && errno == ENOMEM)
		return mse_error_set(error_r, "there is no memory");
	return 0;
}
