#ifndef MAILHOOK_COMPAT_H
#define MAILHOOK_COMPAT_H

/*
 * Everything that differs between Dovecot releases, but for the settings,
 * which are one file per series. The only #if on Dovecot's version are here.
 */

#include "mail-storage-private.h"
#include "mail-user.h"
#include "mail-storage-settings.h"
#include "master-interface.h"
#include "master-service.h"
#include "master-service-settings.h"
#include "quota.h"
#if DOVECOT_PREREQ(2,4,0)
#include "settings.h"
#include "quota-settings.h"
#endif
/* Each of these two declares a callback without its arguments. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "istream.h"
#include "ostream.h"
#pragma GCC diagnostic pop

#include <stdlib.h>
#include <unistd.h>

/* Settings */

struct mailhook_settings {
	/* NULL: the one opened before privileges fell. */
	const char *dir;
	const char *durability; /* NULL: process */
};

/* mailhook-settings-2.3.c or -2.4.c. Cannot fail: what is unusable is NULL,
   and a sentence about it in *warning_r (data stack; NULL if all is well).
   The settings' strings live as long as the user. */
void mailhook_settings_get(struct mail_user *user,
			   struct mailhook_settings *set_r,
			   const char **warning_r);

/* What to say of a user who has a mailhook_dir of his own. Data stack. */
static inline const char *mailhook_dir_is_global(const char *dir)
{
	return t_strdup_printf(
		"mailhook_dir is one for the whole server; \"%s\", which "
		"userdb gives this user, is not used: take it out there", dir);
}

/* Dovecot's `hostname`, for a service that has dropped no privileges yet; NULL
   if it cannot be read. Lives as long as the service. */
static inline const char *mailhook_hostname(struct master_service *service)
{
	const struct mail_user_settings *set;
	struct master_service_settings_input input = { .never_exec = TRUE };
	struct master_service_settings_output output;
	const char *error;
#if DOVECOT_PREREQ(2,4,0)

	if (master_service_settings_read(service, &input, &output,
					 &error) < 0 ||
	    /* Other settings have variables that only a user gives a value. */
	    settings_get(master_service_get_event(service),
			 &mail_user_setting_parser_info,
			 SETTINGS_GET_FLAG_NO_EXPAND, &set, &error) < 0)
		return NULL;
#else
	const struct setting_parser_info *const roots[] = {
		&mail_user_setting_parser_info, NULL
	};

	input.roots = roots;
	input.module = "mail";
	input.service = "mailhook";
	if (master_service_settings_read(service, &input, &output,
					 &error) < 0)
		return NULL;
	set = master_service_settings_get_others(service)[0];
#endif
	return set->hostname;
}

/* Connections */

/* The name the client asked for in TLS (SNI); NULL if unknown. Dovecot 2.3
   uses it to choose a certificate and then forgets it. */
static inline const char *
mailhook_conn_local_name(const struct mail_user_connection_data *conn)
{
#if DOVECOT_PREREQ(2,4,0)
	return conn->local_name != NULL && *conn->local_name != '\0' ?
		conn->local_name : NULL;
#else
	(void)conn;
	return NULL;
#endif
}

/* Whether the client's own connection is encrypted. 2.3 knows of the one to
   itself only, which may come from a proxy. */
static inline bool
mailhook_conn_has_tls(const struct mail_user_connection_data *conn)
{
#if DOVECOT_PREREQ(2,4,0)
	return conn->end_client_tls_secured;
#else
	return conn->ssl_secured;
#endif
}

/* Sessions */

/* An administrator ended it (doveadm kick); 2.3 uses SIGTERM for that. */
#ifdef MASTER_SERVICE_USER_KICKED_MSG
#  define MAILHOOK_USER_KICKED_MSG MASTER_SERVICE_USER_KICKED_MSG
#else
#  define MAILHOOK_USER_KICKED_MSG "User kicked"
#endif

/* Octets of an imap client before it hibernated. 2.3 forgets them: there a
   session that was restored (known_r) does not know its own figures. */
#if DOVECOT_PREREQ(2,4,0)
#  define MAILHOOK_IMAP_COUNTS_KNOWN(client) TRUE
#  define MAILHOOK_IMAP_BYTES_IN_BEFORE(client) \
	((client)->logout_stats.input_bytes_extra)
#  define MAILHOOK_IMAP_BYTES_OUT_BEFORE(client) \
	((client)->logout_stats.output_bytes_extra)
#else
#  define MAILHOOK_IMAP_COUNTS_KNOWN(client) \
	(!(client)->user->session_restored)
#  define MAILHOOK_IMAP_BYTES_IN_BEFORE(client) 0
#  define MAILHOOK_IMAP_BYTES_OUT_BEFORE(client) 0
#endif

/* Saving */

/* The message that this save puts out of its place (IMAP REPLACE, which 2.3
   does not have), or that a move leaves behind; NULL if none. */
static inline struct mail *
mailhook_save_replaced(const struct mail_save_context *ctx)
{
#if DOVECOT_PREREQ(2,4,0)
	return ctx->expunged_mail;
#else
	(void)ctx;
	return NULL;
#endif
}

/* The service's launcher */

/* From 2.4.2 on a master can accept a connection itself and start a child for
   it (only where client_limit is 1, which the shipped configuration avoids).
   mailhookd accepts its own; that client tries again rather than waiting. */
static inline void mailhook_drop_accepted_client(void)
{
#ifdef DOVECOT_ACCEPTED_CLIENT_LISTENER_FD_ENV
	if (getenv(DOVECOT_ACCEPTED_CLIENT_LISTENER_FD_ENV) != NULL)
		(void)close(MASTER_ACCEPTED_CLIENT_FD);
#endif
}

/* Errors */

/* Takes a storage's error away and puts the very same back. Unlike Dovecot's
   own push and pop it leaves the strings where they are: callers (IMAP COPY)
   ask for the error, roll back, and only then print it. */
static inline void mailhook_error_keep(struct mail_storage *storage,
				       struct mail_storage_error *kept_r)
{
	i_zero(kept_r);
	kept_r->error_string = storage->error_string;
	kept_r->error = storage->error;
	kept_r->last_internal_error = storage->last_internal_error;
	kept_r->last_error_is_internal = storage->last_error_is_internal;
#if DOVECOT_PREREQ(2,4,0)
	kept_r->last_internal_error_mailbox =
		storage->last_internal_error_mailbox;
	kept_r->last_internal_error_mail_uid =
		storage->last_internal_error_mail_uid;
	storage->last_internal_error_mailbox = NULL;
#endif
	storage->error_string = NULL;
	storage->last_internal_error = NULL;
	mail_storage_clear_error(storage);
}

static inline void
mailhook_error_restore(struct mail_storage *storage,
		       const struct mail_storage_error *kept)
{
	mail_storage_clear_error(storage);
	storage->error_string = kept->error_string;
	storage->error = kept->error;
	storage->last_internal_error = kept->last_internal_error;
	storage->last_error_is_internal = kept->last_error_is_internal;
#if DOVECOT_PREREQ(2,4,0)
	storage->last_internal_error_mailbox =
		kept->last_internal_error_mailbox;
	storage->last_internal_error_mail_uid =
		kept->last_internal_error_mail_uid;
#endif
}

/* Quota. The quota plugin's functions come from dlsym(); this is the one of
   them that is called otherwise in each series. */

struct quota_root;

/* One resource's use and limit (0: unlimited), in octets or messages: the
   limit that holds in box, or with NULL the root's own. -1 if they cannot be
   told now. 0 and both 0 if the root has no such resource. */
static inline int
mailhook_quota_resource(void (*get_resource)(void), struct quota_root *root,
			struct mailbox *box, const char *name,
			uint64_t *used_r, uint64_t *limit_r)
{
	enum quota_get_result result;
	const char *error;
#if DOVECOT_PREREQ(2,4,0)
	result = ((enum quota_get_result (*)(
		struct quota_root *, struct mailbox *, const char *,
		uint64_t *, uint64_t *, const char **))get_resource)(
			root, box, name, used_r, limit_r, &error);
#else
	result = ((enum quota_get_result (*)(
		struct quota_root *, const char *, const char *,
		uint64_t *, uint64_t *, const char **))get_resource)(
			root, box == NULL ? "" : mailbox_get_vname(box), name,
			used_r, limit_r, &error);
#endif
	if (result == QUOTA_GET_RESULT_UNKNOWN_RESOURCE)
		*used_r = *limit_r = 0;
	else if (result == QUOTA_GET_RESULT_UNLIMITED)
		*limit_r = 0;
	else if (result != QUOTA_GET_RESULT_LIMITED)
		return -1;
	return 0;
}

/* How many messages this one mailbox may hold; 0: as many as there is room
   for. info is the quota plugin's quota_setting_parser_info. */
static inline unsigned int
mailhook_quota_mailbox_messages(const void *info, struct mailbox *box)
{
#if DOVECOT_PREREQ(2,4,0)
	const struct quota_settings *set;
	unsigned int messages;
	const char *error;

	if (info == NULL ||
	    settings_get(box->event, info, 0, &set, &error) < 0)
		return 0;
	messages = set->quota_mailbox_message_count;
	settings_free(set);
	return messages == SET_UINT_UNLIMITED ? 0 : messages;
#else
	(void)info;
	(void)box;
	return 0;
#endif
}

#endif
