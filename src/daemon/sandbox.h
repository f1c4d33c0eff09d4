#ifndef MSE_DAEMON_SANDBOX_H
#define MSE_DAEMON_SANDBOX_H

#include <stdbool.h>

#include "base/error.h"

/* What the kernel could not be asked for: then the daemon runs without it. */
struct mse_sandbox {
	bool files;    /* Landlock */
	bool calls;    /* seccomp */
};

/* No core dump, by whatever signal, and no other process of this user looks
   into this one: in its memory are secrets and messages. To be called again
   after a change of user, which the kernel takes for a new start. */
void mse_sandbox_no_dumps(void);

/*
 * For the rest of this process's life, on every kernel that can:
 * - nothing is executed, and no right is won by it (no_new_privs);
 * - files are written, made and removed in `dir` only, and a socket in the
 *   directory of control_path (NULL: nowhere) (Landlock). What is open stays
 *   so; what is only read is not restricted, for mailhook.conf may name files
 *   anywhere;
 * - system calls that a daemon of this kind has no use for fail (seccomp).
 * To be called before the first thread. What a kernel or a container refuses
 * is told by sandbox_r; -1 only if memory is out.
 */
int mse_sandbox_enter(const char *dir, const char *control_path,
		      struct mse_sandbox *sandbox_r,
		      struct mse_error *error_r);

/* sandbox-files.c, sandbox-calls.c: 0; -1: not to be had here. */
int mse_sandbox_restrict_files(const char *dir, const char *control_path);
int mse_sandbox_restrict_calls(void);

#endif
