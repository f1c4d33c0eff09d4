/*
 * What the daemon gives up before it reads anything that others wrote.
 */
#include "mse-config.h"

#include "daemon/sandbox.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void mse_sandbox_no_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	/* The limit stops no dump that goes to a program (core_pattern). */
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int mse_sandbox_enter(const char *dir, const char *control_path,
		      struct mse_sandbox *sandbox_r, struct mse_error *error_r)
{
	memset(sandbox_r, 0, sizeof(*sandbox_r));
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
