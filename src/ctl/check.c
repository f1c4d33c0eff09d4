/*
 * check: both sides of an installation, from the configuration to the lag.
 */
#include "mse-config.h"

#include "ctl/check.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void mse_ctl_say(struct mse_ctl_check *check, const char *what,
		 const char *format, ...)
{
	struct json_object *line;
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (strcmp(what, "problem") == 0)
		check->problems++;
	if (!check->ctl->json) {
		printf("%-8s %s\n", what, text);
		return;
	}
	line = json_object_new_object();
	json_object_object_add(line, "result", json_object_new_string(what));
	json_object_object_add(line, "text", json_object_new_string(text));
	json_object_array_add(check->lines, line);
}

static void mse_ctl_check_endpoints(struct mse_ctl_check *check,
				    struct json_object *status)
{
	struct json_object *list, *one;
	const char *state, *name;
	size_t i;

	if (!json_object_object_get_ex(status, "endpoints", &list))
		return;
	for (i = 0; i < json_object_array_length(list); i++) {
		one = json_object_array_get_idx(list, i);
		name = mse_ctl_text(one, "name");
		state = mse_ctl_text(one, "state");
		if (strcmp(state, "outage") == 0 ||
		    strcmp(state, "handshake") == 0 ||
		    strcmp(state, "disabled") == 0 ||
		    strcmp(state, "waiting") == 0)
			mse_ctl_say(check, "problem", "endpoint %s: %s: %s",
				    name, state,
				    mse_ctl_text(one, "last_error"));
		else if (mse_ctl_number(one, "lagging") != 0)
			mse_ctl_say(check, "problem", "endpoint %s: %s, %lld "
				"s behind, more than lag_warning (%lld s)",
				name, state,
				mse_ctl_number(one, "behind_ms") / 1000,
				mse_ctl_number(status, "lag_warning_ms") /
				1000);
		else
			mse_ctl_say(check, "ok", "endpoint %s: %s", name,
				    state);
	}
}

static void mse_ctl_check_metrics(struct mse_ctl_check *check,
				  struct json_object *status)
{
	const char *address = mse_ctl_text(status, "metrics");
	const char *problem = mse_ctl_text(status, "metrics_problem");

	if (*problem != '\0')
		mse_ctl_say(check, "problem", "metrics: %s", problem);
	else if (*address != '\0')
		mse_ctl_say(check, "ok", "metrics and status page at "
			    "http://%s/", address);
	else
		mse_ctl_say(check, "ok", "metrics are off");
}

/* Nobody answers at the control socket: why, as far as it can be seen. */
static void mse_ctl_say_unreachable(struct mse_ctl_check *check)
{
	const char *control = check->ctl->control;
	char other[sizeof(check->base_dir) + 16];

	(void)snprintf(other, sizeof(other), "%s/mailhook", check->base_dir);
	if (access(control, W_OK) < 0 && errno == EACCES)
		mse_ctl_say(check, "problem", "%s: you may not connect to it: "
			    "run mailhookctl as root or as Dovecot's user",
			    control);
	else if (*check->base_dir != '\0' && strcmp(other, control) != 0 &&
		 access(other, F_OK) == 0)
		mse_ctl_say(check, "problem", "mailhookd does not answer at "
			    "%s: Dovecot's is at %s, say --control %s",
			    control, other, other);
	else if (access(control, F_OK) < 0)
		mse_ctl_say(check, "problem", "mailhookd does not answer: "
			    "there is no %s; is 11-mailhook.conf read, and "
			    "does Dovecot run?", control);
	else
		mse_ctl_say(check, "problem", "mailhookd does not answer at "
			    "%s: Dovecot's log says why it does not start",
			    control);
}

int mse_ctl_check(const struct mse_ctl *ctl, char **arguments)
{
	struct mse_ctl_check check = { .ctl = ctl };
	struct json_object *status;
	const char *config = ctl->config;
	char dir[4096];
	int ret;

	check.lines = json_object_new_array();
	status = mse_ctl_call(ctl, "status", NULL, NULL, &ret);
	mse_ctl_find_dovecot(&check);
	check.running = status != NULL;
	if (status != NULL) {
		check.dir = mse_ctl_text(status, "dir");
		mse_ctl_find_user(&check, (pid_t)mse_ctl_number(status, "pid"));
		if (config == NULL)
			config = mse_ctl_text(status, "config");
		mse_ctl_say(&check, "ok", "mailhookd runs, pid %lld",
			    mse_ctl_number(status, "pid"));
	} else {
		check.dir = MAILHOOK_STATEDIR;
		if (mse_ctl_dovecot_dir(&check, dir, sizeof(dir)) == 0 &&
		    *dir != '\0')
			check.dir = dir;
		mse_ctl_find_user(&check, 0);
		if (config == NULL)
			config = MAILHOOK_SYSCONFDIR "/mailhook.conf";
		mse_ctl_say_unreachable(&check);
	}
	mse_ctl_check_conf(&check, config);
	mse_ctl_check_dir(&check);
	if (status != NULL) {
		mse_ctl_check_endpoints(&check, status);
		mse_ctl_check_metrics(&check, status);
	}
	mse_ctl_check_dovecot(&check);
	if (ctl->json)
		mse_ctl_print_json(check.lines);
	json_object_put(check.lines);
	json_object_put(status);
	if (ret == MSE_CTL_UNREACHABLE)
		return ret;
	return check.problems > 0 ? MSE_CTL_PROBLEM : MSE_CTL_OK;
}
