/*
 * resync: receivers are told to read a user's mailboxes again.
 *
 * The daemon knows no mailboxes; doveadm does. Each becomes a Resync, with its
 * UIDVALIDITY and the state of an empty one: all of it is to be read. Mailboxes
 * of public and shared namespaces, which are not the user's own, are left out.
 * Where there is no doveadm, or with --all, one Resync names the user.
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

#define NOT_THERE 127

/* A program's standard output; its complaints go where ours go. NULL: it could
   not be run. *exit_r: its exit code, NOT_THERE: there is no such program. */
static char *run_program(const char *const *argv, int *exit_r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream, *into;
	int fds[2], status, c;
	pid_t pid;

	*exit_r = NOT_THERE;
	if (pipe(fds) < 0)
		return NULL;
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)close(fds[0]);
		(void)close(fds[1]);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(NOT_THERE);
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
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
		*exit_r = WEXITSTATUS(status);
		return text;
	}
	free(text);
	return NULL;
}

/* [{"mailbox":…,"uidvalidity":…},…]; NULL: doveadm says nothing. */
static struct json_object *list_mailboxes(const struct mse_ctl *ctl,
					  const char *user, int *exit_r)
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
	text = run_program(argv, exit_r);
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

/* What public and shared namespaces begin with: their mailboxes are others'. */
struct prefixes {
	char *list[64];
	size_t count;
};

static void clear_prefixes(struct prefixes *prefixes)
{
	while (prefixes->count > 0)
		free(prefixes->list[--prefixes->count]);
}

/* doveconf's "  KEY = VALUE" if it is of this key. */
static const char *value_of(const char *line, const char *key)
{
	size_t len = strlen(key);

	line += strspn(line, " ");
	if (strncmp(line, key, len) != 0 || strncmp(line + len, " = ", 3) != 0)
		return NULL;
	return line + len + 3;
}

/* "namespace NAME {" and, a level down, its prefix and type. A prefix ends
   where a variable begins: another user's name follows. */
static void read_prefixes(char *text, struct prefixes *prefixes)
{
	char prefix[512] = "", *line, *rest = NULL;
	const char *value;
	int depth = 0;

	for (line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (strchr(line, '{') != NULL && strchr(line, '=') == NULL) {
			if (depth++ == 0)
				prefix[0] = '\0';
			continue;
		}
		if (strcmp(line + strspn(line, " "), "}") == 0)
			depth--;
		if (depth != 1)
			continue;
		if ((value = value_of(line, "prefix")) != NULL)
			(void)snprintf(prefix, sizeof(prefix), "%.*s",
				       (int)strcspn(value, "%$"), value);
		value = value_of(line, "type");
		if (value == NULL || strcmp(value, "private") == 0 ||
		    *prefix == '\0' || prefixes->count == 64)
			continue;
		prefixes->list[prefixes->count] = strdup(prefix);
		if (prefixes->list[prefixes->count] != NULL)
			prefixes->count++;
	}
}

static void find_prefixes(const struct mse_ctl *ctl,
			  struct prefixes *prefixes)
{
	const char *argv[8];
	unsigned int n = 0;
	char *text;
	int code;

	prefixes->count = 0;
	argv[n++] = "doveconf";
	if (ctl->dovecot != NULL) {
		argv[n++] = "-c";
		argv[n++] = ctl->dovecot;
	}
	argv[n++] = "namespace";
	argv[n] = NULL;
	text = run_program(argv, &code);
	if (text != NULL)
		read_prefixes(text, prefixes);
	free(text);
}

static bool is_others(const struct prefixes *prefixes, const char *mailbox)
{
	size_t i;

	for (i = 0; i < prefixes->count; i++) {
		if (strncmp(mailbox, prefixes->list[i],
			    strlen(prefixes->list[i])) == 0)
			return true;
	}
	return false;
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

/* complained: doveadm did, and on standard error said of what. */
static int resync_each(const struct mse_ctl *ctl, const char *user,
		       struct json_object *list, bool complained)
{
	size_t i, sent = 0, count = json_object_array_length(list);
	struct prefixes prefixes;
	struct json_object *one;
	int ret = MSE_CTL_OK;

	find_prefixes(ctl, &prefixes);
	for (i = 0; i < count && ret == MSE_CTL_OK; i++) {
		one = json_object_array_get_idx(list, i);
		if (is_others(&prefixes, mse_ctl_text(one, "mailbox")))
			continue;
		ret = send_resync(ctl, user, mse_ctl_text(one, "mailbox"),
				  mse_ctl_number(one, "uidvalidity"));
		sent++;
	}
	clear_prefixes(&prefixes);
	if (sent > 0)
		return ret == MSE_CTL_OK && complained ? MSE_CTL_PROBLEM : ret;
	fprintf(stderr, "mailhookctl: doveadm knows no such mailbox of this "
		"user's own\n");
	return MSE_CTL_PROBLEM;
}

int mse_ctl_resync(const struct mse_ctl *ctl, char **arguments)
{
	const char *user = arguments[0];
	struct json_object *list;
	int ret, code;

	if (ctl->all)
		return send_resync(ctl, user, NULL, 0);
	list = list_mailboxes(ctl, user, &code);
	if (code == NOT_THERE) {
		json_object_put(list);
		if (ctl->mailbox == NULL)
			fprintf(stderr, "mailhookctl: there is no doveadm to "
				"list the mailboxes: one Resync is sent for "
				"all of them\n");
		return send_resync(ctl, user, ctl->mailbox, 0);
	}
	if (list == NULL) {
		fprintf(stderr, "mailhookctl: doveadm does not list this "
			"user's mailboxes; --all sends one Resync for all of "
			"them\n");
		return MSE_CTL_PROBLEM;
	}
	ret = resync_each(ctl, user, list, code != 0);
	json_object_put(list);
	return ret;
}
