/*
 * Login and Logout. Invariants: a Logout is written exactly once, when the
 * user goes, so behind everything the session still did (autoexpunge, POP3's
 * flags and deletions), and only for a session that began here. A session
 * that told derive where it runs tells it of its end too, whatever anyone
 * wants by then: otherwise it would be taken for lost.
 */

#include "lib.h"
#include "master-service.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAILHOOK_SESSION_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_LOGIN) | MSE_EVENT_BIT(MSE_EVENT_LOGOUT) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_HIBERNATED) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_RESUMED))

/* What Dovecot says in its log when it ends a session. Everything else is a
   client that went away, or was thrown out for what it sent. */
static const struct {
	const char *begin, *kind;
} mailhook_reasons[] = {
	{ "Inactivity", "timeout" },
	{ "Client has not read server output", "timeout" },
	{ "Disconnected for inactivity", "timeout" },
	{ "Server shutting down", "shutdown" },
	{ "Shutting down", "shutdown" },
	{ MAILHOOK_USER_KICKED_MSG, "shutdown" }
};

const char *mailhook_session_kind(const char *reason)
{
	unsigned int i;

	for (i = 0; reason != NULL && i < N_ELEMENTS(mailhook_reasons); i++) {
		if (strncmp(reason, mailhook_reasons[i].begin,
			    strlen(mailhook_reasons[i].begin)) == 0)
			return mailhook_reasons[i].kind;
	}
	return master_service_is_killed(master_service) ? "shutdown" : "abort";
}

void mailhook_session_count(struct mailhook_session *session,
			    uint64_t bytes_in, uint64_t bytes_out)
{
	session->counted = TRUE;
	session->bytes_in = bytes_in;
	session->bytes_out = bytes_out;
}

/* Types of which anyone wants events of this user's sessions. */
static mse_event_types_t mailhook_session_wants(struct mailhook_user *muser,
						struct mail_user *user)
{
	const struct mse_interest *interest =
		mse_appender_interest(muser->appender);
	struct mailhook_place place;

	if ((interest->types & MAILHOOK_SESSION_TYPES) == 0)
		return 0;
	mailhook_place_init_user(&place, user);
	return mailhook_place_wants(interest, &place, NULL);
}

static void mailhook_session_set_end(struct mse_event *event,
				     const struct mail_user *user,
				     const struct mailhook_session *session)
{
	time_t now = time(NULL);

	mse_event_set_string(event, MSE_PARAM_DISCONNECT, session->disconnect);
	/* The clock may have been set back since. */
	mse_event_set_number(event, MSE_PARAM_DURATION,
			     now < user->session_create_time ? 0 :
			     (uint64_t)(now - user->session_create_time));
	if (!session->counted)
		return;
	mse_event_set_number(event, MSE_PARAM_BYTES_IN, session->bytes_in);
	mse_event_set_number(event, MSE_PARAM_BYTES_OUT, session->bytes_out);
}

static void mailhook_session_write(struct mail_user *user,
				   const struct mailhook_session *session,
				   enum mse_event_type type)
{
	struct mailhook_batch batch;
	struct mailhook_place place;
	struct mse_event event;

	mailhook_place_init_user(&place, user);
	mailhook_event_init(&event, type, &place, mailhook_now());
	mse_event_set_string(&event, MSE_PARAM_URI,
			     mailhook_place_url(&place));
	mse_event_set_string(&event, MSE_PARAM_MECHANISM, user->auth_mech);
	/* Hibernation forgets whether there was TLS. */
	if (!user->session_restored || mailhook_conn_has_tls(&user->conn))
		mse_event_set_bool(&event, MSE_PARAM_TLS,
				   mailhook_conn_has_tls(&user->conn));
	if (session->promised) {
		event.instance = session->instance;
		event.slot = session->slot;
	}
	event.socket = session->socket;
	if (type == MSE_EVENT_LOGOUT)
		mailhook_session_set_end(&event, user, session);
	mailhook_batch_init(&batch, user);
	mailhook_batch_add(&batch, &event);
	mailhook_batch_send(&batch);
}

void mailhook_session_begin(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);
	enum mse_event_type type = user->session_restored ?
		MSE_EVENT_FACT_RESUMED : MSE_EVENT_LOGIN;
	struct mailhook_session *session;
	mse_event_types_t wants;

	if (muser == NULL || muser->session.begun)
		return;
	session = &muser->session;
	session->begun = TRUE;
	wants = mailhook_session_wants(muser, user);
	if ((wants & MSE_EVENT_BIT(type)) == 0)
		return;
	if ((wants & MSE_EVENT_BIT(MSE_EVENT_LOGOUT)) != 0 &&
	    user->session_id != NULL)
		session->promised =
			mse_appender_presence(muser->appender, &session->slot,
					      session->instance) == 0;
	T_BEGIN {
		mailhook_session_write(user, session, type);
	} T_END;
}

/* This boot's id, or "". */
static void mailhook_read_boot_id(char id_r[MSE_UUID_SIZE])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = 0;

	if (fd >= 0) {
		len = read(fd, id_r, MSE_UUID_SIZE - 1);
		(void)close(fd);
	}
	id_r[len < 0 ? 0 : len] = '\0';
}

/* By this the daemon finds the connection in imap-hibernate's hands, where no
   plugin runs: boot, network namespace, inode of the socket. */
void mailhook_session_hibernates(struct mail_user *user, int fd)
{
	struct mailhook_session *session = mailhook_session_get(user);
	struct stat socket, netns;
	char boot_id[MSE_UUID_SIZE];

	session->hibernates = TRUE;
	mailhook_read_boot_id(boot_id);
	if (*boot_id == '\0' || fstat(fd, &socket) < 0 ||
	    stat("/proc/self/ns/net", &netns) < 0)
		return;
	session->socket = p_strdup_printf(user->pool, "%s:%llu:%llu", boot_id,
					  (unsigned long long)netns.st_ino,
					  (unsigned long long)socket.st_ino);
}

void mailhook_session_end(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);
	struct mailhook_session *session;
	enum mse_event_type type;

	if (muser == NULL || !muser->session.begun)
		return;
	session = &muser->session;
	session->begun = FALSE;
	type = session->hibernates ? MSE_EVENT_FACT_HIBERNATED :
		MSE_EVENT_LOGOUT;
	if (!session->promised &&
	    (mailhook_session_wants(muser, user) & MSE_EVENT_BIT(type)) == 0)
		return;
	T_BEGIN {
		mailhook_session_write(user, session, type);
	} T_END;
}

/* ManageSieve has no hooks and installs no headers: how such a session ends,
   and how much went over it, cannot be seen. */
void mailhook_session_namespaces_created(struct mail_user *user)
{
	if (user->service == NULL || user->creator != NULL ||
	    (strcmp(user->service, "sieve") != 0 &&
	     strcmp(user->service, "managesieve") != 0))
		return;
	mailhook_session_begin(user);
}
