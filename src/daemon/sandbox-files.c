/*
 * Landlock: where the daemon may write.
 *
 * By system call, as no libc has functions for it. A right that the running
 * kernel does not know yet must not be named: the version says which it does.
 */
#include "mse-config.h"

#include "daemon/sandbox.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HAVE_LINUX_LANDLOCK_H
#  include <linux/landlock.h>
#endif

#if defined(HAVE_LINUX_LANDLOCK_H) && defined(SYS_landlock_create_ruleset)

#ifndef LANDLOCK_ACCESS_FS_REFER
#  define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#  define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

#define FIRST_VERSION \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)
#define STATE_RIGHTS \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_TRUNCATE)
#define SOCKET_RIGHTS \
	(LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_SOCK)

static uint64_t known_rights(int version)
{
	uint64_t rights = FIRST_VERSION;

	if (version >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_CLOEXEC)
	};
	int ret;

	if (rule.parent_fd < 0)
		return -1;
	ret = (int)syscall(SYS_landlock_add_rule, ruleset,
			   LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	(void)close(rule.parent_fd);
	return ret;
}

static int allow_socket(int ruleset, const char *path, uint64_t known)
{
	char copy[4096];

	if (path == NULL)
		return 0;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	return allow(ruleset, dirname(copy), SOCKET_RIGHTS & known);
}

int mse_sandbox_restrict_files(const char *dir, const char *control_path)
{
	struct landlock_ruleset_attr attr = { 0 };
	int version, ruleset, ret = -1;

	version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return -1;
	attr.handled_access_fs = known_rights(version);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
			       sizeof(attr), 0);
	if (ruleset < 0)
		return -1;
	/* Who opens it writes nowhere. */
	(void)allow(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE);
	/* A directory that is not there is for others to complain of. */
	if (allow(ruleset, dir, STATE_RIGHTS & attr.handled_access_fs) == 0 &&
	    allow_socket(ruleset, control_path,
			 attr.handled_access_fs) == 0)
		ret = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	(void)close(ruleset);
	return ret;
}

#else

int mse_sandbox_restrict_files(const char *dir, const char *control_path)
{
	return -1;
}

#endif
