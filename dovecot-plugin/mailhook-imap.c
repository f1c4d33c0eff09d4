/*
 * IMAP sessions. The program's symbols are looked up, not linked: in any other
 * program there is none of them.
 */

#include "imap-common.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#include <dlfcn.h>

static imap_client_created_func_t *mailhook_imap_next;

/* The tagged OK is on its way and the namespaces are there. */
static void mailhook_imap_client_init(struct client *client)
{
	const struct imap_client_vfuncs *super =
		mailhook_session_get(client->user)->super;

	mailhook_session_begin(client->user);
	super->init(client);
}

static const char *mailhook_imap_kind(const struct client *client,
				      const char *reason)
{
	if (client->logged_out)
		return "graceful";
	return mailhook_session_kind(client->disconnect_reason != NULL ?
				     client->disconnect_reason : reason);
}

static void mailhook_imap_client_destroy(struct client *client,
					 const char *reason)
{
	struct mailhook_session *session = mailhook_session_get(client->user);
	const struct imap_client_vfuncs *super = session->super;

	if (client->hibernated)
		mailhook_session_hibernates(client->user, client->fd_in);
	else
		session->disconnect = mailhook_imap_kind(client, reason);
	if (MAILHOOK_IMAP_COUNTS_KNOWN(client)) {
		mailhook_session_count(session,
			i_stream_get_absolute_offset(client->input) +
			MAILHOOK_IMAP_BYTES_IN_BEFORE(client),
			client->output->offset +
			MAILHOOK_IMAP_BYTES_OUT_BEFORE(client));
	}
	super->destroy(client, reason);
}

static void mailhook_imap_created(struct client **_client)
{
	struct client *client = *_client;
	struct imap_client_vfuncs *super;

	if (mailhook_user_get(client->user) != NULL) {
		super = p_new(client->user->pool, struct imap_client_vfuncs, 1);
		*super = client->v;
		mailhook_session_get(client->user)->super = super;
		client->v.init = mailhook_imap_client_init;
		client->v.destroy = mailhook_imap_client_destroy;
	}
	if (mailhook_imap_next != NULL)
		mailhook_imap_next(_client);
}

typedef imap_client_created_func_t *
mailhook_imap_hook_set_t(imap_client_created_func_t *new_hook);

/* The program's own; NULL: it is another program. */
static mailhook_imap_hook_set_t *mailhook_imap_hook_set;

bool mailhook_imap_init(void)
{
	mailhook_imap_hook_set = (mailhook_imap_hook_set_t *)
		dlsym(RTLD_DEFAULT, "imap_client_created_hook_set");
	if (mailhook_imap_hook_set == NULL)
		return FALSE;
	mailhook_imap_next =
		mailhook_imap_hook_set(mailhook_imap_created);
	return TRUE;
}

void mailhook_imap_deinit(void)
{
	imap_client_created_func_t *current;

	if (mailhook_imap_hook_set == NULL)
		return;
	current = mailhook_imap_hook_set(mailhook_imap_next);
	/* Somebody came behind us and goes before or after: theirs again. */
	if (current != mailhook_imap_created)
		(void)mailhook_imap_hook_set(current);
}
