/*
 * Which users are reported, and where to. Invariant: a user without this
 * context (raw delivery users, owners of shared mailboxes, dsync) causes no
 * event and no work.
 */

#include "lib.h"
#include "mail-namespace.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#define MAILHOOK_USER_CONTEXT(obj) \
	MODULE_CONTEXT(obj, mailhook_user_module)

static MODULE_CONTEXT_DEFINE_INIT(mailhook_user_module,
				  &mail_user_module_register);

static enum mse_durability
mailhook_durability(struct mail_user *user, const char *name)
{
	if (name == NULL || strcmp(name, "process") == 0)
		return MSE_DURABILITY_PROCESS;
	if (strcmp(name, "power") == 0)
		return MSE_DURABILITY_POWER;
	mailhook_warn(user, t_strdup_printf(
		"mailhook_durability is \"process\" or \"power\", not \"%s\"; "
		"going on with process", name));
	return MSE_DURABILITY_PROCESS;
}

/* Said once a process, for who wonders why nothing is reported. */
static void mailhook_user_say_idle(struct mailhook_user *muser,
				   struct mail_user *user)
{
	static bool said = FALSE;

	if (said || mse_appender_interest(muser->appender)->types != 0)
		return;
	said = TRUE;
	e_debug(user->event, "mailhook: No endpoint wants any event now "
		"(or mailhookd has never run here)");
}

static void mailhook_user_deinit(struct mail_user *user)
{
	struct mailhook_user *muser = MAILHOOK_USER_CONTEXT(user);

	mailhook_session_end(user);
	muser->module_ctx.super.deinit(user);
}

void mailhook_user_created(struct mail_user *user)
{
	struct mailhook_settings set;
	struct mailhook_user *muser;
	struct mail_user_vfuncs *v = user->vlast;
	struct mse_appender *appender;
	const char *warning;

	if (user->autocreated)
		return;
	mailhook_settings_get(user, &set, &warning);
	if (warning != NULL)
		mailhook_warn(user, warning);
	appender = mailhook_appender(set.dir);
	if (appender == NULL)
		return;

	muser = p_new(user->pool, struct mailhook_user, 1);
	muser->module_ctx.super = *v;
	user->vlast = &muser->module_ctx.super;
	v->deinit = mailhook_user_deinit;
	muser->appender = appender;
	muser->durability = mailhook_durability(user, set.durability);
	MODULE_CONTEXT_SET(user, mailhook_user_module, muser);
	mailhook_user_say_idle(muser, user);
	if (user->service != NULL && (strcmp(user->service, "lmtp") == 0 ||
				      strcmp(user->service, "lda") == 0))
		mailhook_envelope_hook();
}

struct mailhook_user *mailhook_user_get(struct mail_user *user)
{
	/* Set after the user was created. */
	if (user->dsyncing || user->autocreated)
		return NULL;
	return MAILHOOK_USER_CONTEXT(user);
}

void mailhook_namespaces_created(struct mail_namespace *namespaces)
{
	struct mail_user *user = namespaces->user;

	mailhook_session_namespaces_created(user);
	/* Deliveries tell with their save, doveadm only what it changes. */
	if (mailhook_user_get(user) == NULL || user->session_restored ||
	    user->service == NULL ||
	    (strcmp(user->service, "imap") != 0 &&
	     strcmp(user->service, "pop3") != 0))
		return;
	mailhook_quota_session_begins(user);
}

struct mailhook_session *mailhook_session_get(struct mail_user *user)
{
	static struct mailhook_session nobody;
	struct mailhook_user *muser = MAILHOOK_USER_CONTEXT(user);

	return muser == NULL ? &nobody : &muser->session;
}
