/*
 * mailhookctl: a person's (or a program's) way to ask the daemon.
 *
 * Invariant: it talks to the control socket only; journal and ledger are the
 * daemon's.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/help.h"

enum { OPT_CONTROL = 256, OPT_JSON, OPT_TYPE, OPT_USER, OPT_SINCE, OPT_UNTIL,
       OPT_ALL, OPT_DRY_RUN, OPT_WAITING, OPT_MAILBOX, OPT_CONFIG,
       OPT_DOVECOT, OPT_ED25519, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "type", required_argument, NULL, OPT_TYPE },
	{ "user", required_argument, NULL, OPT_USER },
	{ "since", required_argument, NULL, OPT_SINCE },
	{ "until", required_argument, NULL, OPT_UNTIL },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "waiting", no_argument, NULL, OPT_WAITING },
	{ "mailbox", required_argument, NULL, OPT_MAILBOX },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "dovecot", required_argument, NULL, OPT_DOVECOT },
	{ "ed25519", no_argument, NULL, OPT_ED25519 },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 }
};

#define BIT(option) (1u << ((option) - OPT_CONTROL))
#define PICKS (BIT(OPT_TYPE) | BIT(OPT_USER) | BIT(OPT_SINCE) | BIT(OPT_UNTIL))
#define MANY 1000

/* How many arguments, which options besides --control, --json, --help. */
static const struct command {
	const char *name;
	int least, most;
	unsigned int options;
	int (*run)(const struct mse_ctl *ctl, char **arguments);
} commands[] = {
	{ "check", 0, 0, BIT(OPT_CONFIG) | BIT(OPT_DOVECOT), mse_ctl_check },
	{ "status", 0, 0, 0, mse_ctl_status },
	{ "test", 1, 1, 0, mse_ctl_test },
	{ "tail", 0, 0, BIT(OPT_TYPE) | BIT(OPT_USER), mse_ctl_tail },
	{ "show", 1, 2, 0, mse_ctl_show },
	{ "queue", 0, 1, PICKS, mse_ctl_queue },
	{ "dead", 0, 1, PICKS, mse_ctl_dead },
	{ "retry", 1, MANY, PICKS | BIT(OPT_ALL) | BIT(OPT_DRY_RUN) |
	  BIT(OPT_WAITING), mse_ctl_retry },
	{ "drop", 1, MANY, PICKS | BIT(OPT_ALL) | BIT(OPT_WAITING),
	  mse_ctl_drop },
	{ "replay", 1, 1, PICKS | BIT(OPT_DRY_RUN), mse_ctl_replay },
	{ "resync", 1, 1, BIT(OPT_MAILBOX) | BIT(OPT_ALL) | BIT(OPT_DOVECOT),
	  mse_ctl_resync },
	{ "pause", 1, 1, 0, mse_ctl_pause },
	{ "resume", 1, 1, 0, mse_ctl_resume },
	{ "reload", 0, 0, 0, mse_ctl_reload },
	{ "secret", 0, 0, BIT(OPT_ED25519), mse_ctl_secret }
};

static int usage(const char *what)
{
	fprintf(stderr, "mailhookctl: %s; see mailhookctl --help\n", what);
	return MSE_CTL_USAGE;
}

static const struct command *find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* An option that the command would not look at is a misunderstanding. */
static int check_options(const struct command *command, unsigned int given)
{
	unsigned int i;

	given &= ~(command->options | BIT(OPT_CONTROL) | BIT(OPT_JSON));
	for (i = 0; long_options[i].name != NULL; i++) {
		if ((given & BIT(long_options[i].val)) == 0)
			continue;
		fprintf(stderr, "mailhookctl: %s takes no --%s; see "
			"mailhookctl %s --help\n", command->name,
			long_options[i].name, command->name);
		return MSE_CTL_USAGE;
	}
	return MSE_CTL_OK;
}

static int run(const struct mse_ctl *ctl, unsigned int given, int argc,
	       char *argv[])
{
	const struct command *command = find(argv[0]);

	if (command == NULL)
		return usage("there is no such command");
	if (argc - 1 < command->least || argc - 1 > command->most) {
		fprintf(stderr, "mailhookctl: %s has too few or too many "
			"arguments; see mailhookctl %s --help\n",
			command->name, command->name);
		return MSE_CTL_USAGE;
	}
	if (check_options(command, given) != MSE_CTL_OK)
		return MSE_CTL_USAGE;
	return command->run(ctl, argv + 1);
}

static int help(int argc, char *argv[])
{
	if (argc == 0 || mse_ctl_help(argv[0]) < 0)
		mse_ctl_help(NULL);
	return MSE_CTL_OK;
}

int main(int argc, char *argv[])
{
	static char program[] = "mailhookctl";
	struct mse_ctl ctl = { .control = getenv("MAILHOOK_CONTROL") };
	unsigned int given = 0;
	bool want_help = false;
	int c;

	(void)setlocale(LC_CTYPE, "");
	if (ctl.control == NULL || *ctl.control == '\0')
		ctl.control = MAILHOOK_CONTROL;
	/* As getopt names us in its sentences. */
	argv[0] = program;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_CONTROL:
			ctl.control = optarg;
			break;
		case OPT_JSON:
			ctl.json = true;
			break;
		case OPT_TYPE:
			ctl.type = optarg;
			break;
		case OPT_USER:
			ctl.user = optarg;
			break;
		case OPT_SINCE:
			ctl.since = optarg;
			break;
		case OPT_UNTIL:
			ctl.until = optarg;
			break;
		case OPT_ALL:
			ctl.all = true;
			break;
		case OPT_DRY_RUN:
			ctl.dry_run = true;
			break;
		case OPT_WAITING:
			ctl.waiting = true;
			break;
		case OPT_MAILBOX:
			ctl.mailbox = optarg;
			break;
		case OPT_CONFIG:
			ctl.config = optarg;
			break;
		case OPT_DOVECOT:
			ctl.dovecot = optarg;
			break;
		case OPT_ED25519:
			ctl.ed25519 = true;
			break;
		case OPT_HELP:
			want_help = true;
			break;
		case OPT_VERSION:
			puts("mailhookctl " MAILHOOK_VERSION);
			return MSE_CTL_OK;
		default:
			return MSE_CTL_USAGE;
		}
		given |= BIT(c);
	}
	/* "dead retry ENDPOINT ID" is "retry ENDPOINT ID". */
	if (optind + 1 < argc && strcmp(argv[optind], "dead") == 0 &&
	    (strcmp(argv[optind + 1], "retry") == 0 ||
	     strcmp(argv[optind + 1], "drop") == 0))
		optind++;
	if (want_help)
		return help(argc - optind, argv + optind);
	if (optind >= argc)
		return usage("which command?");
	if (strcmp(argv[optind], "help") == 0)
		return help(argc - optind - 1, argv + optind + 1);
	return run(&ctl, given, argc - optind, argv + optind);
}
