/*
 * The envelope of a delivery: MAIL FROM and this recipient's RCPT TO with
 * their ESMTP parameters, as RFC 5423 (envelope) wants them.
 *
 * lib-lda tells it to a hook, for the time of one delivery; the message is
 * saved within the hook (Sieve) or after it. So the text is kept with the user
 * until his next delivery. Sieve's own hook never calls the one it replaced:
 * ours has to be on top of it, and of every other that a later user's plugins
 * bring. Installed again it is further down as well; there it goes on with
 * what was below it then.
 *
 * Dovecot keeps parameters as values, without their order. Those of MAIL come
 * in the order of smtp_params_mail_write(), those of RCPT: NOTIFY, ORCPT,
 * others.
 */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "mail-deliver.h"
#include "smtp-address.h"
#include "smtp-params.h"
#include "mailhook-plugin.h"

#include <dlfcn.h>

#define MAILHOOK_HOOKS_MAX 8
#define MAILHOOK_ENVELOPE_MAX (16 * 1024)

/* What Dovecot's proxies tell each other of the user: nobody's business. */
static const char *const mailhook_private_params[] = {
	"XRCPTFORWARD", NULL
};

/* What was on top before ours was: each time it was installed. */
static deliver_mail_func_t *mailhook_below[MAILHOOK_HOOKS_MAX];
static unsigned int mailhook_hooks, mailhook_depth;

/* Printable ASCII but "+" and "=" is itself, the rest +XX (RFC 3461,
   section 4). */
static void mailhook_append_xtext(string_t *text, const char *value)
{
	const unsigned char *p;

	for (p = (const unsigned char *)value; *p != '\0'; p++) {
		if (*p > 0x20 && *p < 0x7f && *p != '+' && *p != '=')
			str_append_c(text, *p);
		else
			str_printfa(text, "+%02X", *p);
	}
}

static void mailhook_append_extra(string_t *text,
				  const ARRAY_TYPE(smtp_param) *params)
{
	const struct smtp_param *param;

	if (!array_is_created(params))
		return;
	array_foreach(params, param) {
		if (str_array_icase_find(mailhook_private_params,
					 param->keyword))
			continue;
		str_append_c(text, ' ');
		str_append(text, param->keyword);
		if (param->value != NULL)
			str_printfa(text, "=%s", param->value);
	}
}

static void mailhook_append_mail(string_t *text,
				 const struct smtp_address *from,
				 const struct smtp_params_mail *params)
{
	size_t len;

	str_printfa(text, "MAIL FROM:%s", smtp_address_encode_raw_path(from));
	len = str_len(text);
	str_append_c(text, ' ');
	/* Everything that was taken was offered. */
	smtp_params_mail_write(text, (enum smtp_capability)~0U, NULL, params);
	if (str_len(text) == len + 1)
		str_truncate(text, len);
	mailhook_append_extra(text, &params->extra_params);
	str_append(text, "\r\n");
}

static void mailhook_append_notify(string_t *text,
				   enum smtp_param_rcpt_notify notify)
{
	static const struct {
		enum smtp_param_rcpt_notify flag;
		const char *name;
	} names[] = {
		{ SMTP_PARAM_RCPT_NOTIFY_NEVER, "NEVER" },
		{ SMTP_PARAM_RCPT_NOTIFY_SUCCESS, "SUCCESS" },
		{ SMTP_PARAM_RCPT_NOTIFY_FAILURE, "FAILURE" },
		{ SMTP_PARAM_RCPT_NOTIFY_DELAY, "DELAY" },
	};
	const char *before = " NOTIFY=";
	unsigned int i;

	for (i = 0; i < N_ELEMENTS(names); i++) {
		if ((notify & names[i].flag) == 0)
			continue;
		str_append(text, before);
		str_append(text, names[i].name);
		before = ",";
	}
}

static void mailhook_append_rcpt(string_t *text, const struct smtp_address *to,
				 const struct smtp_params_rcpt *params)
{
	str_printfa(text, "RCPT TO:%s", smtp_address_encode_raw_path(to));
	mailhook_append_notify(text, params->notify);
	/* Dovecot fills in an address where there was no parameter. */
	if (params->orcpt.addr_type != NULL &&
	    params->orcpt.addr_raw != NULL) {
		str_printfa(text, " ORCPT=%s;", params->orcpt.addr_type);
		mailhook_append_xtext(text, params->orcpt.addr_raw);
	}
	mailhook_append_extra(text, &params->extra_params);
	str_append(text, "\r\n");
}

static void mailhook_envelope_take(struct mail_deliver_context *ctx)
{
	struct mailhook_user *muser = mailhook_user_get(ctx->rcpt_user);

	if (muser == NULL)
		return;
	if (muser->envelope != NULL)
		str_truncate(muser->envelope, 0);
	if ((mse_appender_interest(muser->appender)->optionals &
	     MSE_OPTIONAL_BIT(MSE_OPTIONAL_ENVELOPE)) == 0)
		return;
	if (muser->envelope == NULL)
		muser->envelope = str_new(ctx->rcpt_user->pool, 256);
	/* dovecot-lda without -f does not know the sender. */
	if (ctx->mail_from != NULL)
		mailhook_append_mail(muser->envelope, ctx->mail_from,
				     &ctx->mail_params);
	if (ctx->rcpt_to != NULL)
		mailhook_append_rcpt(muser->envelope, ctx->rcpt_to,
				     &ctx->rcpt_params);
	if (str_len(muser->envelope) > MAILHOOK_ENVELOPE_MAX)
		str_truncate(muser->envelope, 0);
}

static int mailhook_deliver(struct mail_deliver_context *ctx,
			    struct mail_storage **storage_r)
{
	deliver_mail_func_t *next = NULL;
	int ret;

	if (mailhook_depth == 0) T_BEGIN {
		mailhook_envelope_take(ctx);
	} T_END;
	if (mailhook_depth < mailhook_hooks)
		next = mailhook_below[mailhook_hooks - 1 - mailhook_depth];
	/* 0: not delivered by a hook, so it goes to the default mailbox. */
	if (next == NULL)
		return 0;
	mailhook_depth++;
	ret = next(ctx, storage_r);
	mailhook_depth--;
	return ret;
}

void mailhook_envelope_hook(void)
{
	deliver_mail_func_t *(*hook_set)(deliver_mail_func_t *);
	deliver_mail_func_t *before;

	/* Only where lib-lda is: lmtp, dovecot-lda. */
	hook_set = (deliver_mail_func_t *(*)(deliver_mail_func_t *))
		dlsym(RTLD_DEFAULT, "mail_deliver_hook_set");
	if (hook_set == NULL || mailhook_depth > 0 ||
	    mailhook_hooks == MAILHOOK_HOOKS_MAX)
		return;
	before = hook_set(mailhook_deliver);
	if (before != mailhook_deliver)
		mailhook_below[mailhook_hooks++] = before;
}

void mailhook_envelope_unhook(void)
{
	deliver_mail_func_t *(*hook_set)(deliver_mail_func_t *);
	deliver_mail_func_t *now;

	if (mailhook_hooks == 0)
		return;
	hook_set = (deliver_mail_func_t *(*)(deliver_mail_func_t *))
		dlsym(RTLD_DEFAULT, "mail_deliver_hook_set");
	if (hook_set == NULL)
		return;
	now = hook_set(mailhook_below[mailhook_hooks - 1]);
	if (now != mailhook_deliver)
		(void)hook_set(now);
}

const char *mailhook_envelope_get(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);

	return muser == NULL || muser->envelope == NULL ||
		str_len(muser->envelope) == 0 ? NULL : str_c(muser->envelope);
}
