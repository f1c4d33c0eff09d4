/*
 * Hooks of one mail: what a session asks to be expunged or flagged. They
 * only take notes in the transaction. Invariant: unless someone wants the
 * outcome, not even the flags are looked at.
 */

#include "lib.h"
#include "mailhook-plugin.h"

#define MAILHOOK_MAIL_CONTEXT(obj) \
	MODULE_CONTEXT_REQUIRE(obj, mailhook_mail_module)

static MODULE_CONTEXT_DEFINE_INIT(mailhook_mail_module, &mail_module_register);

#define MAILHOOK_EXPUNGE_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_MESSAGE_EXPUNGE) | \
	 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_EXPIRE) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA))

/* The transaction to note this in, NULL if nobody wants it. */
static struct mailhook_transaction *
mailhook_mail_wanted(struct mail *mail, mse_event_types_t types)
{
	struct mailhook_transaction *mt;

	/* A mail still being saved has no change to tell: its flags belong
	   to its MessageAppend. */
	if (mail->saving || mail->expunged || mail->uid == 0)
		return NULL;
	mt = mailhook_transaction_get(mail->transaction);
	return mt != NULL && mailhook_transaction_wants(mt, types) ? mt : NULL;
}

static void mailhook_mail_expunge(struct mail *mail)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	union mail_module_context *lmail = MAILHOOK_MAIL_CONTEXT(pmail);
	struct mailhook_transaction *mt =
		mailhook_mail_wanted(mail, MAILHOOK_EXPUNGE_TYPES);

	if (mt != NULL)
		mailhook_transaction_expunge(mt, mail);
	lmail->super.expunge(mail);
}

/* What the mail's flags are after this change. Worked out, because asking for
   them makes the index copy the records of the whole mailbox (its view of a
   transaction that changes flags): only where some are one's own, and a mail
   may be unable to have them, it is asked. */
static enum mail_flags
mailhook_flags_after(struct mail *mail, enum mail_flags before,
		     enum modify_type modify_type, enum mail_flags flags)
{
	if (mail->box->view_pvt != NULL)
		return mailhook_flags_get(mail);
	flags &= MAIL_FLAGS_NONRECENT;
	switch (modify_type) {
	case MODIFY_ADD:
		return before | flags;
	case MODIFY_REMOVE:
		return before & ~flags;
	case MODIFY_REPLACE:
		return flags;
	}
	return mailhook_flags_get(mail);
}

static void
mailhook_mail_update_flags(struct mail *mail, enum modify_type modify_type,
			   enum mail_flags flags)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	union mail_module_context *lmail = MAILHOOK_MAIL_CONTEXT(pmail);
	struct mailhook_transaction *mt =
		mailhook_mail_wanted(mail, MAILHOOK_FLAG_TYPES);
	enum mail_flags before = mt == NULL ? 0 : mailhook_flags_get(mail);

	lmail->super.update_flags(mail, modify_type, flags);
	if (mt != NULL)
		mailhook_transaction_flags(mt, mail, before,
			mailhook_flags_after(mail, before, modify_type, flags));
}

static void
mailhook_mail_update_keywords(struct mail *mail, enum modify_type modify_type,
			      struct mail_keywords *keywords)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	union mail_module_context *lmail = MAILHOOK_MAIL_CONTEXT(pmail);
	struct mailhook_transaction *mt =
		mailhook_mail_wanted(mail, MAILHOOK_FLAG_TYPES);

	if (mt == NULL) {
		lmail->super.update_keywords(mail, modify_type, keywords);
		return;
	}
	T_BEGIN {
		const char *before = mailhook_keywords_get(mail);

		lmail->super.update_keywords(mail, modify_type, keywords);
		mailhook_transaction_keywords(mt, mail, before);
	} T_END;
}

void mailhook_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	struct mail_vfuncs *v = pmail->vlast;
	union mail_module_context *lmail;

	if (mailhook_mailbox_get(mail->box) == NULL)
		return;
	lmail = p_new(pmail->pool, union mail_module_context, 1);
	lmail->super = *v;
	pmail->vlast = &lmail->super;
	v->expunge = mailhook_mail_expunge;
	v->update_flags = mailhook_mail_update_flags;
	v->update_keywords = mailhook_mail_update_keywords;
	MODULE_CONTEXT_SET_SELF(pmail, mailhook_mail_module, lmail);
}
