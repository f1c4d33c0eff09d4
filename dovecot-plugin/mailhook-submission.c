/*
 * Submission sessions. Why one ends is known to the SMTP connection alone, in
 * what it says to its owner: we listen in on that.
 */

#include "submission-common.h"
#include "smtp-server-private.h"
#include "mailhook-plugin.h"

#include <dlfcn.h>

/* First in what `super` points to. */
struct mailhook_submission {
	struct submission_client_vfuncs super;
	struct smtp_server_callbacks callbacks;
	const struct smtp_server_callbacks *next;
	bool quit;
};

static submission_client_created_func_t *mailhook_submission_next;

static struct mailhook_submission *
mailhook_submission_get(struct client *client)
{
	return (struct mailhook_submission *)
		mailhook_session_get(client->user)->super;
}

static int mailhook_submission_cmd_quit(struct client *client,
					struct smtp_server_cmd_ctx *cmd)
{
	struct mailhook_submission *submission =
		mailhook_submission_get(client);

	submission->quit = TRUE;
	return submission->super.cmd_quit(client, cmd);
}

/* The reason is what Dovecot's log will say. */
static void mailhook_submission_disconnected(void *context, const char *reason)
{
	struct client *client = context;
	struct mailhook_submission *submission =
		mailhook_submission_get(client);

	mailhook_session_get(client->user)->disconnect = submission->quit ?
		"graceful" : mailhook_session_kind(reason);
	submission->next->conn_disconnect(context, reason);
}

static void mailhook_submission_client_destroy(struct client *client)
{
	struct mailhook_session *session = mailhook_session_get(client->user);
	struct mailhook_submission *submission =
		mailhook_submission_get(client);
	const struct smtp_server_stats *stats;

	if (client->conn != NULL) {
		stats = smtp_server_connection_get_stats(client->conn);
		mailhook_session_count(session, stats->input, stats->output);
	}
	submission->super.destroy(client);
}

static void mailhook_submission_listen(struct client *client,
				       struct mailhook_submission *submission)
{
	submission->next = client->conn->callbacks;
	if (submission->next == NULL ||
	    submission->next->conn_disconnect == NULL)
		return;
	submission->callbacks = *submission->next;
	submission->callbacks.conn_disconnect =
		mailhook_submission_disconnected;
	client->conn->callbacks = &submission->callbacks;
}

static void mailhook_submission_created(struct client **_client)
{
	struct client *client = *_client;
	struct mailhook_submission *submission;

	if (mailhook_user_get(client->user) != NULL) {
		submission = p_new(client->pool, struct mailhook_submission, 1);
		submission->super = client->v;
		mailhook_session_get(client->user)->super = submission;
		client->v.destroy = mailhook_submission_client_destroy;
		client->v.cmd_quit = mailhook_submission_cmd_quit;
		mailhook_submission_listen(client, submission);
		mailhook_session_begin(client->user);
	}
	if (mailhook_submission_next != NULL)
		mailhook_submission_next(_client);
}

typedef submission_client_created_func_t *
mailhook_submission_hook_set_t(submission_client_created_func_t *new_hook);

/* The program's own; NULL: it is another program. */
static mailhook_submission_hook_set_t *mailhook_submission_hook_set;

bool mailhook_submission_init(void)
{
	mailhook_submission_hook_set = (mailhook_submission_hook_set_t *)
		dlsym(RTLD_DEFAULT, "submission_client_created_hook_set");
	if (mailhook_submission_hook_set == NULL)
		return FALSE;
	mailhook_submission_next =
		mailhook_submission_hook_set(mailhook_submission_created);
	return TRUE;
}

void mailhook_submission_deinit(void)
{
	submission_client_created_func_t *current;

	if (mailhook_submission_hook_set == NULL)
		return;
	current = mailhook_submission_hook_set(mailhook_submission_next);
	/* Somebody came behind us and goes before or after: theirs again. */
	if (current != mailhook_submission_created)
		(void)mailhook_submission_hook_set(current);
}
