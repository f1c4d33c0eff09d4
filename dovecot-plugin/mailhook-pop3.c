/*
 * POP3 sessions. A POP3 client has no moment of its own for "logged in": it is
 * when its INBOX is first allocated, behind the answer to PASS (and behind the
 * session lock, where pop3_lock_session asks for one).
 */

#include "pop3-common.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#include <dlfcn.h>

static pop3_client_created_func_t *mailhook_pop3_next;

/* Migration tools open mailboxes as POP3 does, too. */
void mailhook_pop3_opens_inbox(struct mail_user *user)
{
	if (mailhook_session_get(user)->super != NULL)
		mailhook_session_begin(user);
}

static void mailhook_pop3_client_destroy(struct client *client,
					 const char *reason)
{
	struct mailhook_session *session = mailhook_session_get(client->user);
	const struct pop3_client_vfuncs *super = session->super;

	session->disconnect = client->quit_seen ? "graceful" :
		mailhook_session_kind(reason);
	mailhook_session_count(session,
			       i_stream_get_absolute_offset(client->input),
			       client->output->offset);
	super->destroy(client, reason);
}

static void mailhook_pop3_created(struct client **_client)
{
	struct client *client = *_client;
	struct pop3_client_vfuncs *super;

	if (mailhook_user_get(client->user) != NULL) {
		super = p_new(client->user->pool, struct pop3_client_vfuncs, 1);
		*super = client->v;
		mailhook_session_get(client->user)->super = super;
		client->v.destroy = mailhook_pop3_client_destroy;
	}
	if (mailhook_pop3_next != NULL)
		mailhook_pop3_next(_client);
}

typedef pop3_client_created_func_t *
mailhook_pop3_hook_set_t(pop3_client_created_func_t *new_hook);

/* The program's own; NULL: it is another program. */
static mailhook_pop3_hook_set_t *mailhook_pop3_hook_set;

bool mailhook_pop3_init(void)
{
	mailhook_pop3_hook_set = (mailhook_pop3_hook_set_t *)
		dlsym(RTLD_DEFAULT, "pop3_client_created_hook_set");
	if (mailhook_pop3_hook_set == NULL)
		return FALSE;
	mailhook_pop3_next =
		mailhook_pop3_hook_set(mailhook_pop3_created);
	return TRUE;
}

void mailhook_pop3_deinit(void)
{
	pop3_client_created_func_t *current;

	if (mailhook_pop3_hook_set == NULL)
		return;
	current = mailhook_pop3_hook_set(mailhook_pop3_next);
	/* Somebody came behind us and goes before or after: theirs again. */
	if (current != mailhook_pop3_created)
		(void)mailhook_pop3_hook_set(current);
}
