/*
 * replay, retry, drop.
 *
 * Invariant: the daemon sends as long as we are connected. Whatever ends us,
 * Ctrl-C or a daemon that stops, the last line says from when to go on.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define RESUME_SLACK_MS 1000 /* journal order is not exactly that of time */

static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

/* So that reading ends. */
static void watch_signals(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = interrupt;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
}

struct run {
	const struct mse_ctl *ctl;
	const char *command, *endpoint, *id;
	bool tty;                 /* a line of progress can be drawn */
	bool drawn;
	char waiting[80];         /* why, as told last; "" */
	struct json_object *last; /* line of progress; NULL: none came */
	long long resume_ms;
};

static void clear_progress(struct run *run)
{
	if (run->drawn)
		fprintf(stderr, "\r\033[K");
	run->drawn = false;
}

/* A log has a line whenever that changes, and nothing that moves. */
static void tell_waiting(struct run *run, const char *waiting)
{
	if (run->ctl->json || strcmp(run->waiting, waiting) == 0)
		return;
	(void)snprintf(run->waiting, sizeof(run->waiting), "%s", waiting);
	fprintf(stderr, "mailhookctl: %s%s\n", *waiting != '\0' ?
		"waiting: " : "it goes on", waiting);
}

static void draw_progress(struct run *run, struct json_object *line)
{
	long long total = mse_ctl_number(line, "total_octets");
	long long read = mse_ctl_number(line, "read_octets");
	const char *waiting = mse_ctl_text(line, "waiting");

	if (!run->tty) {
		tell_waiting(run, waiting);
		return;
	}
	clear_progress(run);
	fprintf(stderr, "%lld found, %lld answered, %lld failed",
		mse_ctl_number(line, "found"),
		mse_ctl_number(line, "answered"),
		mse_ctl_number(line, "failed"));
	if (total > 0)
		fprintf(stderr, ", %lld %%", read >= total ? 100 :
			read * 100 / total);
	if (*waiting != '\0')
		fprintf(stderr, "; waiting: %s", waiting);
	(void)fflush(stderr);
	run->drawn = true;
}

static void print_refused(struct run *run, struct json_object *refused)
{
	clear_progress(run);
	printf("refused: %s %s ", mse_ctl_text(refused, "id"),
	       mse_ctl_text(refused, "type"));
	mse_ctl_print_safe(mse_ctl_text(refused, "owner"), false);
	printf(": ");
	mse_ctl_print_safe(mse_ctl_text(refused, "error"), false);
	putchar('\n');
}

/* True: it was the last. */
static bool take_line(struct run *run, struct json_object *line)
{
	struct json_object *refused;

	if (run->ctl->json)
		mse_ctl_print_json(line);
	if (json_object_object_get_ex(line, "refused", &refused)) {
		if (!run->ctl->json)
			print_refused(run, refused);
		json_object_put(line);
		return false;
	}
	json_object_put(run->last);
	run->last = line;
	if (mse_ctl_number(line, "resume_ms") > 0)
		run->resume_ms = mse_ctl_number(line, "resume_ms");
	if (mse_ctl_bool(line, "ended"))
		return true;
	draw_progress(run, line);
	return false;
}

static void print_counts(const struct run *run)
{
	const char *verb = run->ctl->dry_run ? "would be sent" : "found";

	printf("%s: %lld %s", run->endpoint,
	       mse_ctl_number(run->last, "found"), verb);
	if (!run->ctl->dry_run)
		printf(", %lld answered, %lld failed",
		       mse_ctl_number(run->last, "answered"),
		       mse_ctl_number(run->last, "failed"));
	putchar('\n');
}

static void print_how_to_go_on(const struct run *run)
{
	const struct mse_ctl *ctl = run->ctl;
	char since[MSE_TIMESTAMP_SIZE];

	if (strcmp(run->command, "replay") != 0) {
		fprintf(stderr, "mailhookctl: what was answered is a dead "
			"letter no more: the same command goes on\n");
		return;
	}
	if (run->resume_ms > 0)
		mse_timestamp_format(run->resume_ms - RESUME_SLACK_MS, since);
	fprintf(stderr, "mailhookctl: to go on: mailhookctl replay %s "
		"--since %s", run->endpoint, run->resume_ms > 0 ? since :
		ctl->since);
	if (ctl->until != NULL)
		fprintf(stderr, " --until %s", ctl->until);
	if (ctl->user != NULL)
		fprintf(stderr, " --user '%s'", ctl->user);
	if (ctl->type != NULL)
		fprintf(stderr, " --type %s", ctl->type);
	fputc('\n', stderr);
}

static int broke_off(struct run *run, const char *why)
{
	clear_progress(run);
	if (run->last != NULL && !run->ctl->json)
		print_counts(run);
	fprintf(stderr, "mailhookctl: ended early: %s\n", why);
	if (!run->ctl->dry_run)
		print_how_to_go_on(run);
	return MSE_CTL_ENDED;
}

static int ended(struct run *run)
{
	const char *problem = mse_ctl_text(run->last, "problem");

	if (*problem != '\0')
		return broke_off(run, problem);
	clear_progress(run);
	if (mse_ctl_bool(run->last, "parked")) {
		if (!run->ctl->json)
			printf("%s: %s still waits; its next attempt is made "
			       "now\n", run->endpoint, run->id);
		return MSE_CTL_OK;
	}
	if (!run->ctl->json)
		print_counts(run);
	if (run->id != NULL && mse_ctl_number(run->last, "found") == 0)
		fprintf(stderr, "mailhookctl: %s has no dead letter %s\n",
			run->endpoint, run->id);
	else if (mse_ctl_number(run->last, "failed") == 0)
		return MSE_CTL_OK;
	return MSE_CTL_PROBLEM;
}

/* Events of before that are not there to be sent. */
static void warn_of_age(const struct run *run, struct json_object *first,
			long long since_ms)
{
	long long oldest_ms = mse_ctl_number(first, "oldest_ms");
	char text[MSE_TIMESTAMP_SIZE];

	if (oldest_ms == 0 || oldest_ms <= since_ms || run->ctl->json)
		return;
	mse_timestamp_format(oldest_ms, text);
	fprintf(stderr, "mailhookctl: the journal begins at %s: what happened "
		"before is not in it (see retention)\n", text);
}

static int follow(struct run *run, FILE *stream, long long since_ms)
{
	struct json_object *line;
	int ret;

	line = mse_ctl_first(run->ctl, stream, &ret);
	if (line == NULL)
		return ret;
	warn_of_age(run, line, since_ms);
	json_object_put(line);
	while (!interrupted && (line = mse_ctl_answer(stream)) != NULL) {
		if (take_line(run, line))
			return ended(run);
	}
	return broke_off(run, interrupted ? "interrupted" :
			 "mailhookd is gone");
}

static int run_one(const struct mse_ctl *ctl, const char *command,
		   const char *endpoint, const char *id)
{
	struct run run = {
		.ctl = ctl, .command = command, .endpoint = endpoint,
		.id = id, .tty = !ctl->json && isatty(STDERR_FILENO)
	};
	struct json_object *request = mse_ctl_request(ctl, command, endpoint,
						      id);
	long long since_ms;
	FILE *stream;
	int ret;

	if (request == NULL)
		return MSE_CTL_USAGE;
	since_ms = mse_ctl_number(request, "since_ms");
	stream = mse_ctl_send(ctl, request);
	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	watch_signals();
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	ret = follow(&run, stream, since_ms);
	json_object_put(run.last);
	(void)fclose(stream);
	return ret;
}

static bool picks(const struct mse_ctl *ctl)
{
	return ctl->all || ctl->type != NULL || ctl->user != NULL ||
		ctl->since != NULL || ctl->until != NULL;
}

static int usage(const char *text)
{
	fprintf(stderr, "mailhookctl: %s\n", text);
	return MSE_CTL_USAGE;
}

#define WAITING_IDS \
	"--waiting goes with options that pick events; an id says by itself " \
	"whether its event waits"

int mse_ctl_replay(const struct mse_ctl *ctl, char **arguments)
{
	if (ctl->since == NULL)
		return usage("replay wants to know since when: --since 2h");
	return run_one(ctl, "replay", arguments[0], NULL);
}

int mse_ctl_retry(const struct mse_ctl *ctl, char **arguments)
{
	int ret = MSE_CTL_OK, one;
	unsigned int i;

	if (arguments[1] != NULL && picks(ctl))
		return usage("retry takes ids or options that pick dead "
			     "letters, not both");
	if (arguments[1] == NULL && !picks(ctl))
		return usage("which dead letters? Write ids, or --user, "
			     "--type, --since, --until, or --all");
	if (ctl->waiting && arguments[1] != NULL)
		return usage(WAITING_IDS);
	if (ctl->waiting)
		return mse_ctl_waiting(ctl, "retry", arguments[0]);
	if (arguments[1] == NULL)
		return run_one(ctl, "retry", arguments[0], NULL);
	for (i = 1; arguments[i] != NULL && !interrupted; i++) {
		one = run_one(ctl, "retry", arguments[0], arguments[i]);
		if (one != MSE_CTL_OK)
			ret = one;
	}
	return ret;
}

static int drop_one(const struct mse_ctl *ctl, const char *endpoint,
		    const char *id)
{
	struct json_object *answer;
	int ret;

	answer = mse_ctl_call(ctl, "drop", endpoint, id, &ret);
	if (answer == NULL)
		return ret;
	if (ctl->json)
		mse_ctl_print_json(answer);
	else if (id != NULL)
		printf("%s: %s dropped\n", endpoint, id);
	else if (picks(ctl))
		printf("%s: %lld dead letters dropped\n", endpoint,
		       mse_ctl_number(answer, "dropped"));
	else
		printf("%s: forgotten, with all that waited for it\n",
		       endpoint);
	json_object_put(answer);
	return ret;
}

int mse_ctl_drop(const struct mse_ctl *ctl, char **arguments)
{
	int ret = MSE_CTL_OK, one;
	unsigned int i;

	if (arguments[1] != NULL && picks(ctl))
		return usage("drop takes ids or options that pick dead "
			     "letters, not both");
	if (ctl->waiting && arguments[1] != NULL)
		return usage(WAITING_IDS);
	if (ctl->waiting && !picks(ctl))
		return usage("which of those that wait? Write --user, --type, "
			     "--since, --until, or --all");
	if (ctl->waiting)
		return mse_ctl_waiting(ctl, "drop", arguments[0]);
	if (arguments[1] == NULL)
		return drop_one(ctl, arguments[0], NULL);
	for (i = 1; arguments[i] != NULL; i++) {
		one = drop_one(ctl, arguments[0], arguments[i]);
		if (one != MSE_CTL_OK)
			ret = one;
	}
	return ret;
}
