/*
 * What mailhookctl says of itself.
 */
#include "mse-config.h"

#include "ctl/help.h"

#include <stdio.h>
#include <string.h>

static const char general[] =
"Usage: mailhookctl [OPTION]... COMMAND [ARGUMENT]...\n"
"\n"
"  check                   look at everything and say what is wrong\n"
"  status                  the endpoints and how far they are\n"
"  test ENDPOINT           send vnd.mailhook.Test, show request and answer\n"
"  tail                    show events as they come\n"
"  show ID [ENDPOINT]      one event: where it stands, its request, the answer\n"
"  queue [ENDPOINT]        events that wait for their next attempt\n"
"  dead [ENDPOINT]         events that were given up\n"
"  retry ENDPOINT [ID]...  send dead letters again\n"
"  drop ENDPOINT [ID]...   give up waiting events; forget dead letters\n"
"  replay ENDPOINT         send again what was delivered (--since)\n"
"  resync USER             tell receivers to read a user's mailboxes again\n"
"  pause, resume ENDPOINT  stop sending, go on\n"
"  reload                  read mailhook.conf again\n"
"  secret                  print a new secret\n"
"\n"
"  --control PATH          the daemon's socket ($MAILHOOK_CONTROL, else\n"
"                          " MAILHOOK_CONTROL ")\n"
"  --json                  for programs: JSON, one value a line\n"
"  --help, --version\n"
"\n"
"mailhookctl COMMAND --help says more, with examples.\n"
"\n"
"Examples:\n"
"  mailhookctl check\n"
"  mailhookctl tail --type MessageNew --user alice@example.com\n"
"  mailhookctl replay portal --since 2h\n"
"  mailhookctl --json status | jq '.endpoints[].behind_ms'\n"
"\n"
"Exit: 0 well, 1 a problem, 2 usage, 3 the daemon does not answer,\n"
"4 ended early (interrupted, daemon stopped): the last line says how to go on.\n";

#define PICKS \
"  --user PATTERN   of this mailbox owner; * and ? as in mailhook.conf\n" \
"  --type TYPE      of this type, such as MessageNew\n" \
"  --since TIME     that happened at this time or later\n" \
"  --until TIME     that happened at this time or before\n" \
"TIME is how long ago (90s, 30m, 2h, 1d, 2w) or 2026-11-24T14:05:00+01:00.\n"

static const struct {
	const char *name, *text;
} helps[] = {
	{ "check",
"Usage: mailhookctl check [--config FILE] [--dovecot FILE]\n"
"Looks at mailhook.conf, rights, the daemon, its endpoints, and whether every\n"
"protocol of Dovecot has the plugin. Exit 1 if something has to be changed.\n"
"  --config FILE    this mailhook.conf, not the daemon's\n"
"  --dovecot FILE   this dovecot.conf\n"
"Examples:\n"
"  mailhookctl check\n"
"  mailhookctl check --config /etc/dovecot/mailhook.conf.new\n" },
	{ "status",
"Usage: mailhookctl status\n"
"One line an endpoint. STATE is ok, retrying, outage (it accepts nothing),\n"
"paused, disabled (it answered 410), waiting (so much is refused that all\n"
"wait), handshake (it has not permitted deliveries yet). BEHIND is the age of\n"
"the oldest event it has not answered.\n"
"Examples:\n"
"  mailhookctl status\n"
"  mailhookctl --json status | jq '.endpoints[] | select(.state != \"ok\")'\n" },
	{ "test",
"Usage: mailhookctl test ENDPOINT\n"
"Sends one vnd.mailhook.Test now, shows the request and the answer. Exit 0 if\n"
"that is 2xx.\n"
"Example:\n"
"  mailhookctl test portal\n" },
	{ "tail",
"Usage: mailhookctl tail [--type TYPE] [--user USER]\n"
"Shows events as they are appended to the journal, until Ctrl-C.\n"
"Examples:\n"
"  mailhookctl tail --user alice@example.com\n"
"  mailhookctl tail --json | jq .data.uri\n" },
	{ "show",
"Usage: mailhookctl show ID [ENDPOINT]\n"
"Finds an event by its id (webhook-id) in the journal, among those that wait\n"
"and among dead letters; shows how it stands with each endpoint, the last\n"
"answer and how its body began, and the request. Secrets are hidden.\n"
"Examples:\n"
"  mailhookctl show 019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11\n"
"  mailhookctl show 019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11 portal\n" },
	{ "queue",
"Usage: mailhookctl queue [ENDPOINT] [OPTION]...\n"
"Events that were refused, and those that wait behind them for their owner's\n"
"sake. What an endpoint has not been sent yet is in the journal: see status.\n"
PICKS
"Examples:\n"
"  mailhookctl queue portal\n"
"  mailhookctl queue --json --until 1h | wc -l\n" },
	{ "dead",
"Usage: mailhookctl dead [ENDPOINT] [OPTION]...\n"
"Dead letters: events that were refused until give_up while others were\n"
"accepted. See show for the receiver's answer, retry, drop.\n"
PICKS
"Examples:\n"
"  mailhookctl dead portal --user '*@example.com'\n"
"  mailhookctl dead --json | jq -r .last_status | sort | uniq -c\n" },
	{ "retry",
"Usage: mailhookctl retry ENDPOINT ID...\n"
"       mailhookctl retry ENDPOINT (--all | OPTION...) [--waiting] [--dry-run]\n"
"Sends dead letters again, once each, with their old ids and numbers and the\n"
"header mailhook-replay; those that are refused stay dead letters and are\n"
"listed. An event that still waits gets its next attempt now.\n"
"  --all            all dead letters of this endpoint\n"
"  --waiting        not dead letters: the next attempt of what waits, now\n"
PICKS
"  --dry-run        count them only\n"
"Examples:\n"
"  mailhookctl retry portal 019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11\n"
"  mailhookctl retry portal --all\n"
"  mailhookctl retry portal --user '*@example.com' --since 1d\n"
"  mailhookctl retry portal --all --waiting\n" },
	{ "drop",
"Usage: mailhookctl drop ENDPOINT ID...\n"
"       mailhookctl drop ENDPOINT (--all | OPTION...) [--waiting]\n"
"       mailhookctl drop ENDPOINT\n"
"With ids: gives up events that wait (a Gap tells the receiver), forgets dead\n"
"letters. With options: forgets dead letters, or with --waiting gives up what\n"
"queue lists, but for Gaps. With neither: forgets all of an endpoint that is\n"
"no longer in mailhook.conf.\n"
"  --all            all dead letters of this endpoint\n"
"  --waiting        not dead letters: events that wait\n"
PICKS
"Examples:\n"
"  mailhookctl drop portal 019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11\n"
"  mailhookctl drop portal --until 2w\n"
"  mailhookctl drop portal --user bob@example.com --waiting\n"
"  mailhookctl drop oldportal\n" },
	{ "replay",
"Usage: mailhookctl replay ENDPOINT --since TIME [OPTION]... [--dry-run]\n"
"Sends again what the endpoint was sent since then, as far as the journal\n"
"goes back (retention): same ids and bodies but for sequence 0, header\n"
"mailhook-replay, in order for each owner, beside live delivery, which goes\n"
"first. Each event has three attempts; those refused are listed. It ends with\n"
"this command (Ctrl-C).\n"
PICKS
"  --dry-run        count them only\n"
"Examples:\n"
"  mailhookctl replay portal --since 2h --dry-run\n"
"  mailhookctl replay portal --since 2026-11-24T08:00:00Z --until 1h\n"
"  mailhookctl replay portal --since 1d --user alice@example.com\n" },
	{ "resync",
"Usage: mailhookctl resync USER [--mailbox NAME | --all] [--dovecot FILE]\n"
"Sends vnd.mailhook.Resync for each of the user's mailboxes, as doveadm lists\n"
"them, to every endpoint that gets events of them.\n"
"  --mailbox NAME   this mailbox only (* and % as in IMAP)\n"
"  --all            one event that names the user, without asking doveadm\n"
"  --dovecot FILE   this dovecot.conf\n"
"Examples:\n"
"  mailhookctl resync alice@example.com\n"
"  mailhookctl resync alice@example.com --mailbox INBOX\n" },
	{ "pause",
"Usage: mailhookctl pause ENDPOINT\n"
"Sends nothing more until resume, also after a restart; nothing is lost.\n"
"Example:\n"
"  mailhookctl pause portal\n" },
	{ "resume",
"Usage: mailhookctl resume ENDPOINT\n"
"Goes on after pause or 410 Gone, and tries at once after an outage.\n"
"Example:\n"
"  mailhookctl resume portal\n" },
	{ "reload",
"Usage: mailhookctl reload\n"
"Reads mailhook.conf again. A mistake in it is told and changes nothing.\n"
"Example:\n"
"  mailhookctl reload\n" },
	{ "secret",
"Usage: mailhookctl secret [--ed25519]\n"
"Prints a new secret for mailhook.conf. Asks no daemon.\n"
"  --ed25519        a private key, and the public one for the receiver\n"
"Example:\n"
"  mailhookctl secret\n" }
};

int mse_ctl_help(const char *command)
{
	size_t i;

	if (command == NULL) {
		fputs(general, stdout);
		return 0;
	}
	for (i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
		if (strcmp(helps[i].name, command) == 0) {
			fputs(helps[i].text, stdout);
			return 0;
		}
	}
	return -1;
}
