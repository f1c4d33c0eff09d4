/*
 * mailhookctl: a person's (or a program's) way to ask the daemon.
 *
 * Invariant: it talks to the control socket only; journal and ledger are the
 * daemon's.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
"Usage: mailhookctl [OPTION]... COMMAND [ARGUMENT]...\n"
"\n"
"  check                look at everything and say what is wrong\n"
"  status               the endpoints and how far they are\n"
"  test ENDPOINT        send vnd.mailhook.Test, show request and answer\n"
"  tail                 show events as they come (--type, --user)\n"
"  queue [ENDPOINT]     events that wait for their next attempt\n"
"  dead [ENDPOINT]      events that were given up\n"
"  retry ENDPOINT ID    send a dead event again\n"
"  drop ENDPOINT ID     give up a waiting event; forget a dead one\n"
"  drop ENDPOINT        forget an endpoint no longer configured\n"
"  pause, resume ENDPOINT\n"
"  reload               read mailhook.conf again\n"
"  secret               print a new secret (--ed25519: a key pair)\n"
"\n"
"  --control PATH       the daemon's socket ($MAILHOOK_CONTROL, else\n"
"                       " MAILHOOK_CONTROL ")\n"
"  --json               for programs: one JSON value a line\n"
"  --type TYPE          tail: only events of this type\n"
"  --user USER          tail: only events of this user\n"
"  --config FILE        check: this mailhook.conf\n"
"  --dovecot FILE       check: this dovecot.conf\n"
"  --ed25519            secret: a private key; the receiver gets the public\n"
"  --help, --version\n"
"\n"
"Examples:\n"
"  mailhookctl check\n"
"  mailhookctl tail --type MessageNew --user alice@example.com\n"
"  mailhookctl --json status | jq '.endpoints[].behind_ms'\n"
"\n"
"Exit: 0 well, 1 a problem, 2 usage, 3 the daemon does not answer.\n";

enum { OPT_CONTROL = 256, OPT_JSON, OPT_TYPE, OPT_USER, OPT_CONFIG,
       OPT_DOVECOT, OPT_ED25519, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "type", required_argument, NULL, OPT_TYPE },
	{ "user", required_argument, NULL, OPT_USER },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "dovecot", required_argument, NULL, OPT_DOVECOT },
	{ "ed25519", no_argument, NULL, OPT_ED25519 },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 }
};

/* What a command takes and how its answer is shown (NULL: nothing to). */
static const struct mse_ctl_command {
	const char *name;
	int least, most;
	void (*print)(struct json_object *answer);
} commands[] = {
	{ "status", 0, 0, mse_ctl_print_status },
	{ "test", 1, 1, mse_ctl_print_test },
	{ "queue", 0, 1, mse_ctl_print_rows },
	{ "dead", 0, 1, mse_ctl_print_rows },
	{ "retry", 2, 2, NULL },
	{ "drop", 1, 2, NULL },
	{ "pause", 1, 1, NULL },
	{ "resume", 1, 1, NULL },
	{ "reload", 0, 0, NULL }
};

static int usage(const char *what)
{
	fprintf(stderr, "mailhookctl: %s; see mailhookctl --help\n", what);
	return MSE_CTL_USAGE;
}

static int tail(const struct mse_ctl *ctl)
{
	FILE *stream = mse_ctl_ask(ctl, "tail", NULL, NULL);
	struct json_object *line, *ok;
	bool first = true;

	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	while ((line = mse_ctl_answer(stream)) != NULL) {
		if (json_object_object_get_ex(line, "ok", &ok) &&
		    !json_object_get_boolean(ok)) {
			fprintf(stderr, "mailhookctl: %s\n",
				mse_ctl_text(line, "error"));
			return MSE_CTL_PROBLEM;
		}
		if (first)
			first = false;
		else if (ctl->json)
			mse_ctl_print_json(line);
		else
			mse_ctl_print_record(line);
		json_object_put(line);
	}
	(void)fclose(stream);
	fprintf(stderr, "mailhookctl: the daemon closed the connection\n");
	return MSE_CTL_UNREACHABLE;
}

/* A test that was not answered 2xx is a problem found. */
static int test_result(struct json_object *answer)
{
	long long status = mse_ctl_number(answer, "status");

	return status >= 200 && status < 300 ? MSE_CTL_OK : MSE_CTL_PROBLEM;
}

static int run(const struct mse_ctl *ctl, int argc, char *argv[])
{
	const struct mse_ctl_command *command = NULL;
	struct json_object *answer;
	unsigned int i;
	int ret;

	if (strcmp(argv[0], "check") == 0)
		return argc == 1 ? mse_ctl_check(ctl) :
			usage("check takes no argument");
	if (strcmp(argv[0], "secret") == 0)
		return argc == 1 ? mse_ctl_secret(ctl) :
			usage("secret takes options only");
	if (strcmp(argv[0], "tail") == 0)
		return argc == 1 ? tail(ctl) : usage("tail takes options only");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, argv[0]) == 0)
			command = &commands[i];
	}
	if (command == NULL)
		return usage("there is no such command");
	if (argc - 1 < command->least || argc - 1 > command->most)
		return usage("too few or too many arguments");
	answer = mse_ctl_call(ctl, argv[0], argc > 1 ? argv[1] : NULL,
			      argc > 2 ? argv[2] : NULL, &ret);
	if (answer == NULL)
		return ret;
	if (ctl->json)
		mse_ctl_print_json(answer);
	else if (command->print != NULL)
		command->print(answer);
	if (strcmp(argv[0], "test") == 0)
		ret = test_result(answer);
	json_object_put(answer);
	return ret;
}

int main(int argc, char *argv[])
{
	static char program[] = "mailhookctl";
	struct mse_ctl ctl = { .control = getenv("MAILHOOK_CONTROL") };
	int c;

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
			fputs(help, stdout);
			return MSE_CTL_OK;
		case OPT_VERSION:
			puts("mailhookctl " MAILHOOK_VERSION);
			return MSE_CTL_OK;
		default:
			return MSE_CTL_USAGE;
		}
	}
	/* "dead retry ENDPOINT ID" is "retry ENDPOINT ID". */
	if (optind + 1 < argc && strcmp(argv[optind], "dead") == 0 &&
	    (strcmp(argv[optind + 1], "retry") == 0 ||
	     strcmp(argv[optind + 1], "drop") == 0))
		optind++;
	if (optind >= argc)
		return usage("which command?");
	return run(&ctl, argc - optind, argv + optind);
}
