/*
 * check, Dovecot's side: does every protocol have the plugin, and does Dovecot
 * mean the same directory as the daemon. doveconf is asked, never parsed for
 * more than one setting.
 */
#include "mse-config.h"

#include "ctl/check.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

int mse_ctl_doveconf(const struct mse_ctl *ctl, const char *filter,
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

int mse_ctl_doveconf_value(const struct mse_ctl *ctl, const char *setting,
			   char *text, size_t size)
{
	char *value;

	if (mse_ctl_doveconf(ctl, NULL, setting, text, size) < 0)
		return -1;
	value = strchr(text, '=');
	if (value == NULL)
		return -1;
	value += strspn(value, "= ");
	memmove(text, value, strlen(value) + 1);
	return 0;
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

int mse_ctl_dovecot_dir(const struct mse_ctl_check *check, char *text,
			size_t size)
{
	/* doveconf answers nothing at all to a setting it does not know: in
	   2.4 our settings module makes it known, in 2.3 it is a plugin's. */
	if (!check->dovecot)
		return -1;
	if (mse_ctl_doveconf_value(check->ctl, "mailhook_dir", text,
				   size) == 0)
		return 0;
	return mse_ctl_doveconf_value(check->ctl, "plugin/mailhook_dir", text,
				      size);
}

/* Mail processes elsewhere than the daemon report nothing, and nobody says
   so. */
static void mse_ctl_check_settings(struct mse_ctl_check *check)
{
	char text[4096];

	if (mse_ctl_dovecot_dir(check, text, sizeof(text)) < 0) {
		/* A setting that 2.4 alone has. */
		if (mse_ctl_doveconf(check->ctl, NULL, "mail_driver", text,
				     sizeof(text)) == 0 && *text != '\0')
			mse_ctl_say(check, "problem", "Dovecot does not know "
				"mailhook's settings: libmailhook_settings.so "
				"is missing in its modules/settings directory "
				"or was built for another release of Dovecot");
		return;
	}
	if (*text != '\0' && check->running &&
	    !mse_ctl_same_dir(text, check->dir))
		mse_ctl_say(check, "problem", "mailhook_dir in dovecot.conf "
			"is %s, but mailhookd works in %s: nothing is "
			"reported; give both the same directory", text,
			check->dir);
}

void mse_ctl_find_dovecot(struct mse_ctl_check *check)
{
	const struct mse_ctl *ctl = check->ctl;
	size_t len;

	if (mse_ctl_doveconf_value(ctl, "base_dir", check->base_dir,
				   sizeof(check->base_dir)) < 0) {
		mse_ctl_say(check, "note", "Dovecot's settings were not "
			    "looked at: doveconf is missing or failed");
		return;
	}
	/* Another Dovecot's settings would say nothing about this daemon. */
	len = strlen(check->base_dir);
	check->dovecot = ctl->dovecot != NULL ||
		(strncmp(ctl->control, check->base_dir, len) == 0 &&
		 ctl->control[len] == '/');
	if (!check->dovecot)
		mse_ctl_say(check, "note", "Dovecot's settings were not "
			"looked at: %s is not in its base_dir %s; say which "
			"with --dovecot FILE", ctl->control, check->base_dir);
}

void mse_ctl_check_dovecot(struct mse_ctl_check *check)
{
	static const char *const protocols[] = {
		"imap", "pop3", "lmtp", "lda", "doveadm"
	};
	char text[4096];
	unsigned int i;

	if (!check->dovecot ||
	    mse_ctl_doveconf(check->ctl, NULL, "mail_plugins", text,
			     sizeof(text)) < 0)
		return;
	for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		mse_ctl_check_protocol(check, protocols[i], text);
	mse_ctl_check_settings(check);
}
