/*
 * check: both sides of an installation, from the configuration to the lag.
 *
 * Invariant: what cannot be looked at is a note, never a problem: check says
 * "problem" only of what somebody has to change.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"

struct mse_ctl_check {
	const struct mse_ctl *ctl;
	struct json_object *lines; /* --json */
	unsigned int problems;
};

static void mse_ctl_say(struct mse_ctl_check *check, const char *what,
			const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void mse_ctl_say(struct mse_ctl_check *check, const char *what,
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

static void mse_ctl_check_conf(struct mse_ctl_check *check, const char *path)
{
	struct mse_conf *conf;
	struct mse_error error;

	if (access(path, R_OK) < 0 && errno == EACCES) {
		mse_ctl_say(check, "note", "%s: not readable for you; as root "
			    "check would read it", path);
	} else if (mse_conf_read(path, &conf, &error) < 0) {
		mse_ctl_say(check, "problem", "%s", error.text);
	} else {
		mse_ctl_say(check, "ok", "%s: %zu endpoints", path,
			    conf->endpoint_count);
		mse_conf_free(&conf);
	}
}

static void mse_ctl_check_dir(struct mse_ctl_check *check, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		mse_ctl_say(check, "note", "%s: %s", path, strerror(errno));
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		mse_ctl_say(check, "problem", "%s: others than its owner may "
			    "make files there: chmod 2711 %s", path, path);
	else
		mse_ctl_say(check, "ok", "%s: mode %04o", path,
			    (unsigned int)st.st_mode & 07777);
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

/* Runs of white space as one space each, none at the end. */
static void mse_ctl_one_line(char *text, size_t len)
{
	size_t from, to = 0;

	for (from = 0; from < len; from++) {
		if (strchr(" \t\n", text[from]) == NULL)
			text[to++] = text[from];
		else if (to > 0 && text[to - 1] != ' ')
			text[to++] = ' ';
	}
	if (to > 0 && text[to - 1] == ' ')
		to--;
	text[to] = '\0';
}

/* doveconf's answer to one question, as one line. -1: no doveconf, or it
   refused. */
static int mse_ctl_doveconf(const struct mse_ctl *ctl, const char *filter,
			    const char *setting, char *text, size_t size)
{
	const char *argv[10];
	int fds[2], status, n = 0;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	argv[n++] = "doveconf";
	if (ctl->dovecot != NULL) {
		argv[n++] = "-c";
		argv[n++] = ctl->dovecot;
	}
	if (filter != NULL) {
		argv[n++] = "-f";
		argv[n++] = filter;
	}
	argv[n++] = setting;
	argv[n] = NULL;
	if (pipe(fds) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)close(fds[0]);
		(void)close(fds[1]);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(127);
		(void)execvp("doveconf", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(fds[1]);
	while (len < size - 1 &&
	       (got = read(fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)got;
	(void)close(fds[0]);
	mse_ctl_one_line(text, len);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* Whether an answer to "mail_plugins" has mailhook: 1, or 0, or -1 if it does
   not say. "mail_plugins = a b" (every answer of Dovecot 2.3) is all there is;
   "mail_plugins { a = yes b = no }" (2.4) is only what one place adds to the
   list above it. */
static int mse_ctl_lists_mailhook(const char *answer)
{
	char words[4096], *word, *rest;
	bool braces;

	(void)snprintf(words, sizeof(words), "%s", answer);
	(void)strtok_r(words, " ", &rest);
	word = strtok_r(NULL, " ", &rest);
	braces = word != NULL && strcmp(word, "{") == 0;
	while ((word = strtok_r(NULL, " ,:", &rest)) != NULL) {
		if (strcmp(word, "mailhook") != 0)
			continue;
		if (!braces)
			return 1;
		(void)strtok_r(NULL, " ", &rest);
		word = strtok_r(NULL, " ", &rest);
		return word != NULL && strcmp(word, "yes") == 0 ? 1 : 0;
	}
	return braces ? -1 : 0;
}

static void mse_ctl_check_protocol(struct mse_ctl_check *check,
				   const char *protocol, const char *global)
{
	char text[4096], filter[32];
	int has;

	(void)snprintf(filter, sizeof(filter), "protocol=%s", protocol);
	if (mse_ctl_doveconf(check->ctl, filter, "mail_plugins", text,
			     sizeof(text)) < 0)
		return;
	has = mse_ctl_lists_mailhook(text);
	if (has < 0)
		has = mse_ctl_lists_mailhook(global);
	if (has > 0)
		mse_ctl_say(check, "ok", "protocol %s has mailhook in "
			    "mail_plugins", protocol);
	else
		mse_ctl_say(check, "problem", "protocol %s lacks mailhook: "
			    "doveconf says \"%s\" for it", protocol, text);
}

static bool mse_ctl_same_dir(const char *a, const char *b)
{
	struct stat one, two;

	if (strcmp(a, b) == 0)
		return true;
	return stat(a, &one) == 0 && stat(b, &two) == 0 &&
		one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* Mail processes elsewhere than the daemon report nothing, and nobody says
   so. doveconf answers nothing at all to a setting it does not know: in 2.4
   mailhook_dir is known by our settings module, in 2.3 it is a plugin's. */
static void mse_ctl_check_settings(struct mse_ctl_check *check,
				   const char *daemon_dir)
{
	static const char *const names[] = {
		"mailhook_dir", "plugin/mailhook_dir"
	};
	char text[4096];
	const char *dir = NULL;
	unsigned int i;

	for (i = 0; i < 2 && dir == NULL; i++) {
		if (mse_ctl_doveconf(check->ctl, NULL, names[i], text,
				     sizeof(text)) == 0)
			dir = strchr(text, '=');
	}
	if (dir == NULL) {
		/* A setting that 2.4 alone has. */
		if (mse_ctl_doveconf(check->ctl, NULL, "mail_driver", text,
				     sizeof(text)) == 0 && *text != '\0')
			mse_ctl_say(check, "problem", "Dovecot does not know "
				"mailhook's settings: libmailhook_settings.so "
				"is missing in its modules/settings directory "
				"or was built for another release of Dovecot");
		return;
	}
	dir += strspn(dir, "= ");
	if (*dir != '\0' && daemon_dir != NULL &&
	    !mse_ctl_same_dir(dir, daemon_dir))
		mse_ctl_say(check, "problem", "mailhook_dir in dovecot.conf "
			"is %s, but mailhookd works in %s: nothing is "
			"reported; give both the same directory", dir,
			daemon_dir);
}

static void mse_ctl_check_dovecot(struct mse_ctl_check *check,
				  const char *daemon_dir)
{
	static const char *const protocols[] = {
		"imap", "pop3", "lmtp", "lda", "doveadm"
	};
	static const char base_dir[] = "base_dir = ";
	const struct mse_ctl *ctl = check->ctl;
	char text[4096], *dir = text + strlen(base_dir);
	unsigned int i;

	if (mse_ctl_doveconf(ctl, NULL, "base_dir", text, sizeof(text)) < 0 ||
	    strncmp(text, base_dir, strlen(base_dir)) != 0) {
		mse_ctl_say(check, "note", "Dovecot's settings were not "
			    "looked at: doveconf is missing or failed");
		return;
	}
	/* Another Dovecot's settings would say nothing about this daemon. */
	if (ctl->dovecot == NULL &&
	    (strncmp(ctl->control, dir, strlen(dir)) != 0 ||
	     ctl->control[strlen(dir)] != '/')) {
		mse_ctl_say(check, "note", "Dovecot's settings were not "
			"looked at: %s is not in its base_dir %s; say which "
			"with --dovecot FILE", ctl->control, dir);
		return;
	}
	if (mse_ctl_doveconf(ctl, NULL, "mail_plugins", text, sizeof(text)) < 0)
		return;
	for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		mse_ctl_check_protocol(check, protocols[i], text);
	mse_ctl_check_settings(check, daemon_dir);
}

int mse_ctl_check(const struct mse_ctl *ctl)
{
	struct mse_ctl_check check = { ctl, json_object_new_array(), 0 };
	struct json_object *status;
	const char *config = ctl->config;
	int ret;

	status = mse_ctl_call(ctl, "status", NULL, NULL, &ret);
	if (config == NULL)
		config = status != NULL ? mse_ctl_text(status, "config") :
			MAILHOOK_SYSCONFDIR "/mailhook.conf";
	mse_ctl_check_conf(&check, config);
	if (status != NULL) {
		mse_ctl_say(&check, "ok", "mailhookd runs, pid %lld",
			    mse_ctl_number(status, "pid"));
		mse_ctl_check_dir(&check, mse_ctl_text(status, "dir"));
		mse_ctl_check_endpoints(&check, status);
		mse_ctl_check_metrics(&check, status);
	} else {
		mse_ctl_say(&check, "problem", "mailhookd does not answer at "
			    "%s", ctl->control);
	}
	mse_ctl_check_dovecot(&check, status == NULL ? NULL :
			      mse_ctl_text(status, "dir"));
	if (ctl->json)
		mse_ctl_print_json(check.lines);
	json_object_put(check.lines);
	json_object_put(status);
	if (ret == MSE_CTL_UNREACHABLE)
		return ret;
	return check.problems > 0 ? MSE_CTL_PROBLEM : MSE_CTL_OK;
}
