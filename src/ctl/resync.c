/*
 * resync: receivers are told to read a user's mailboxes again.
 *
 * The daemon knows no mailboxes; doveadm does. Each becomes a Resync, with its
 * UIDVALIDITY and no state to begin from: all of it is to be read. Mailboxes
 * that are not the user's own are left out. Where there is no doveadm, or with
 * --all, one Resync names the user.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (64 * 1024 * 1024)

/* doveadm's standard output; its complaints go where ours go. NULL: it could
   not be run or failed. */
static char *run_doveadm(const char *const *argv)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream, *into;
	int fds[2], status, c;
	pid_t pid;

	if (pipe(fds) < 0)
		return NULL;
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)close(fds[0]);
		(void)close(fds[1]);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(fds[1]);
	stream = fdopen(fds[0], "r");
	into = open_memstream(&text, &len);
	while (stream != NULL && into != NULL && len < OUTPUT_MAX &&
	       (c = getc_unlocked(stream)) != EOF) {
		(void)putc_unlocked(c, into);
	}
	if (stream != NULL)
		(void)fclose(stream);
	if (into != NULL)
		(void)fclose(into);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* [{"mailbox":…,"uidvalidity":…},…]; NULL: doveadm cannot say. */
static struct json_object *list_mailboxes(const struct mse_ctl *ctl,
					  const char *user)
{
	const char *argv[16];
	struct json_object *list;
	unsigned int n = 0;
	char *text;

	argv[n++] = "doveadm";
	if (ctl->dovecot != NULL) {
		argv[n++] = "-c";
		argv[n++] = ctl->dovecot;
	}
	argv[n++] = "-f";
	argv[n++] = "json";
	argv[n++] = "mailbox";
	argv[n++] = "status";
	argv[n++] = "-u";
	argv[n++] = user;
	argv[n++] = "uidvalidity";
	argv[n++] = ctl->mailbox != NULL ? ctl->mailbox : "*";
	argv[n] = NULL;
	text = run_doveadm(argv);
	if (text == NULL)
		return NULL;
	list = json_tokener_parse(text);
	free(text);
	if (list != NULL && !json_object_is_type(list, json_type_array)) {
		json_object_put(list);
		list = NULL;
	}
	return list;
}

static int send_resync(const struct mse_ctl *ctl, const char *user,
		       const char *mailbox, long long uidvalidity)
{
	struct mse_ctl which = *ctl;
	struct json_object *request, *answer;
	FILE *stream;
	int ret;

	which.user = user;
	which.all = false;
	request = mse_ctl_request(&which, "resync", NULL, NULL);
	if (request != NULL && mailbox != NULL)
		json_object_object_add(request, "mailbox",
				       json_object_new_string(mailbox));
	if (request != NULL && uidvalidity > 0)
		json_object_object_add(request, "uidvalidity",
				       json_object_new_int64(uidvalidity));
	stream = mse_ctl_send(ctl, request);
	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	answer = mse_ctl_first(ctl, stream, &ret);
	(void)fclose(stream);
	if (answer == NULL)
		return ret;
	if (ctl->json) {
		mse_ctl_print_json(answer);
	} else {
		printf("%s ", mse_ctl_text(answer, "id"));
		mse_ctl_print_safe(user, false);
		if (mailbox != NULL) {
			putchar(' ');
			mse_ctl_print_safe(mailbox, false);
		}
		putchar('\n');
	}
	json_object_put(answer);
	return ret;
}

static int resync_each(const struct mse_ctl *ctl, const char *user,
		       struct json_object *list)
{
	size_t i, count = json_object_array_length(list);
	struct json_object *one;
	int ret = MSE_CTL_OK;

	for (i = 0; i < count && ret == MSE_CTL_OK; i++) {
		one = json_object_array_get_idx(list, i);
		ret = send_resync(ctl, user, mse_ctl_text(one, "mailbox"),
				  mse_ctl_number(one, "uidvalidity"));
	}
	if (count == 0) {
		fprintf(stderr, "mailhookctl: doveadm knows no such mailbox "
			"of this user\n");
		return MSE_CTL_PROBLEM;
	}
	return ret;
}

int mse_ctl_resync(const struct mse_ctl *ctl, char **arguments)
{
	const char *user = arguments[0];
	struct json_object *list;
	int ret;

	if (ctl->all)
		return send_resync(ctl, user, NULL, 0);
	list = list_mailboxes(ctl, user);
	if (list == NULL && ctl->mailbox != NULL)
		return send_resync(ctl, user, ctl->mailbox, 0);
	if (list == NULL) {
		fprintf(stderr, "mailhookctl: doveadm does not list this "
			"user's mailboxes: one Resync is sent for all of "
			"them\n");
		return send_resync(ctl, user, NULL, 0);
	}
	ret = resync_each(ctl, user, list);
	json_object_put(list);
	return ret;
}
