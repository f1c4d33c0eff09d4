/*
 * mailhookd: options, rights, and the daemon's life.
 *
 * Invariant: nothing is opened before the process has the rights it will
 * keep, and everything it makes is for itself alone (umask 077; what mail
 * processes share is opened up by fchmod).
 */
#include "mse-config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/sandbox.h"

#define EXIT_USAGE 2

static const char help[] =
"Usage: mailhookd [OPTION]...\n"
"Sends what happens in Dovecot's mailboxes to webhooks.\n"
"\n"
"  --config FILE    endpoints and secrets (" MAILHOOK_SYSCONFDIR
	"/mailhook.conf)\n"
"  --dir DIR        journal and ledger ($MAILHOOK_DIR, else\n"
"                   " MAILHOOK_STATEDIR ")\n"
"  --control PATH   socket for mailhookctl ($MAILHOOK_CONTROL, else\n"
"                   " MAILHOOK_CONTROL ")\n"
"  --control-fd N   this inherited listening socket instead\n"
"  --stop-fd N      stop when this inherited pipe closes\n"
"  --user NAME      started as root: become this user first\n"
"  --help           this text\n"
"  --version        the version\n"
"\n"
"Dovecot starts it as service mailhook. Alone, in the foreground:\n"
"  mailhookd --user dovecot --control /run/mailhook.sock\n"
"Signals: TERM and INT stop, HUP reads the configuration again.\n"
"It gives up writing outside DIR and most system calls; with\n"
"MAILHOOK_SANDBOX=off in its environment it does not. Mail goes first: it runs\n"
"as a batch process at nice 10, or at $MAILHOOK_NICE.\n";

enum { OPT_CONFIG = 256, OPT_DIR, OPT_CONTROL, OPT_CONTROL_FD, OPT_STOP_FD,
       OPT_USER, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "control-fd", required_argument, NULL, OPT_CONTROL_FD },
	{ "stop-fd", required_argument, NULL, OPT_STOP_FD },
	{ "user", required_argument, NULL, OPT_USER },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 }
};

static const char *environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : otherwise;
}

/* An inherited descriptor: must be open; never handed on. */
static int inherited_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || fd < 0 || fd > 1000000 ||
	    fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr, "mailhookd: \"%s\" is not an open file "
			"descriptor\n", text);
		exit(EXIT_USAGE);
	}
	return (int)fd;
}

static int become(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL) {
		mse_log(MSE_LOG_ERROR, "--user %s: there is no such user",
			name);
		return -1;
	}
	if (pw->pw_uid == geteuid())
		return 0;
	if (initgroups(name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
	    setuid(pw->pw_uid) < 0) {
		mse_log(MSE_LOG_ERROR, "--user %s: %s", name,
			strerror(errno));
		return -1;
	}
	return 0;
}

static int take_rights(const char *user)
{
	if (user != NULL && become(user) < 0)
		return -1;
	if (geteuid() == 0) {
		mse_log(MSE_LOG_ERROR, "mailhookd never needs root: start it "
			"as Dovecot's user, or with --user dovecot");
		return -1;
	}
	(void)umask(077);
	return 0;
}

/* Mail comes first: a process that appends an event wakes us by it, and must
   not have to wait for us on its own processor. A batch process preempts
   nobody, and by its niceness leaves most of a processor that mail needs to
   mail; what nobody needs it gets. */
static void give_way(void)
{
	const struct sched_param none = { .sched_priority = 0 };
	int nice_by = atoi(environment("MAILHOOK_NICE", "10"));

	/* If not, mail waits a little. */
	(void)sched_setscheduler(0, SCHED_BATCH, &none);
	if (nice_by > 0 && getpriority(PRIO_PROCESS, 0) < nice_by)
		(void)setpriority(PRIO_PROCESS, 0, nice_by);
}

static const char *parse(int argc, char *argv[],
			 struct mse_daemon_options *options)
{
	const char *user = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_CONFIG:
			options->config_path = optarg;
			break;
		case OPT_DIR:
			options->dir = optarg;
			break;
		case OPT_CONTROL:
			options->control_path = optarg;
			break;
		case OPT_CONTROL_FD:
			options->control_fd = inherited_fd(optarg);
			break;
		case OPT_STOP_FD:
			options->stop_fd = inherited_fd(optarg);
			break;
		case OPT_USER:
			user = optarg;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			exit(0);
		case OPT_VERSION:
			puts("mailhookd " MAILHOOK_VERSION);
			exit(0);
		default:
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "mailhookd: %s: no such argument; see "
			"mailhookd --help\n", argv[optind]);
		exit(EXIT_USAGE);
	}
	return user;
}

/* Before anything is read that others wrote, and before the first thread. */
static int give_up_rights(const struct mse_daemon_options *options)
{
	const char *wanted = environment("MAILHOOK_SANDBOX", "on");
	struct mse_sandbox sandbox;
	struct mse_error error;

	if (strcmp(wanted, "off") == 0) {
		mse_log(MSE_LOG_INFO, "MAILHOOK_SANDBOX=off: a mistake in "
			"mailhookd or its libraries could reach more than it "
			"needs to");
		return 0;
	}
	if (mse_sandbox_enter(options->dir, options->control_fd < 0 ?
			      options->control_path : NULL, &sandbox,
			      &error) < 0) {
		mse_log(MSE_LOG_ERROR, "%s", error.text);
		return -1;
	}
	if (!sandbox.calls || !sandbox.files)
		mse_log(MSE_LOG_INFO, "this system lets a process not give up "
			"%s%s%s; without that mailhookd works as well",
			sandbox.calls ? "" : "system calls (seccomp)",
			sandbox.calls || sandbox.files ? "" : " and ",
			sandbox.files ? "" : "writing elsewhere (Landlock)");
	return 0;
}

/* libcurl's other protocols bring GnuTLS along, which would set itself up
   before main() for nobody. This is what it asks whether it shall
   (GNUTLS_SKIP_GLOBAL_INIT of its header); who uses it after all does it then. */
int _gnutls_global_init_skip(void);
int _gnutls_global_init_skip(void)
{
	return 1;
}

int main(int argc, char *argv[])
{
	struct mse_daemon_options options = {
		.config_path = MAILHOOK_SYSCONFDIR "/mailhook.conf",
		.dir = environment("MAILHOOK_DIR", MAILHOOK_STATEDIR),
		.control_path = environment("MAILHOOK_CONTROL",
					    MAILHOOK_CONTROL),
		.control_fd = -1,
		.stop_fd = -1
	};
	struct mse_daemon *daemon;
	struct mse_error error;
	const char *user;
	int ret;

	mse_log_init();
	user = parse(argc, argv, &options);
	if (take_rights(user) < 0)
		return EXIT_FAILURE;
	give_way();
	mse_sandbox_no_dumps();
	if (give_up_rights(&options) < 0)
		return EXIT_FAILURE;
	(void)signal(SIGPIPE, SIG_IGN);
	if (mse_daemon_new(&options, &daemon, &error) < 0) {
		mse_log(MSE_LOG_ERROR, "%s", error.text);
		return EXIT_FAILURE;
	}
	ret = mse_daemon_run(daemon);
	mse_daemon_free(&daemon);
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
