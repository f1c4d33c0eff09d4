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

#define MAILHOOK_FLAG_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_MESSAGE_READ) | \
	 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_TRASH) | \
	 MSE_EVENT_BIT(MSE_EVENT_FLAGS_SET) | \
	 MSE_EVENT_BIT(MSE_EVENT_FLAGS_CLEAR))
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

/* Flags and keywords are in the index; a message is never opened for them,
   unless a backend wants to, which lookup_abort forbids. */
static void mailhook_mail_note(struct mailhook_transaction *mt,
			       struct mail *mail,
			       const struct mailhook_state *before)
{
	enum mail_lookup_abort abort = mail->lookup_abort;

	mail->lookup_abort = MAIL_LOOKUP_ABORT_NOT_IN_CACHE;
	mailhook_transaction_flags(mt, mail, before);
	mail->lookup_abort = abort;
}

static void
mailhook_mail_update_flags(struct mail *mail, enum modify_type modify_type,
			   enum mail_flags flags)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	union mail_module_context *lmail = MAILHOOK_MAIL_CONTEXT(pmail);
	struct mailhook_transaction *mt =
		mailhook_mail_wanted(mail, MAILHOOK_FLAG_TYPES);
	struct mailhook_state before;

	if (mt == NULL) {
		lmail->super.update_flags(mail, modify_type, flags);
		return;
	}
	T_BEGIN {
		mailhook_state_get(mail, &before);
		lmail->super.update_flags(mail, modify_type, flags);
		mailhook_mail_note(mt, mail, &before);
	} T_END;
}

static void
mailhook_mail_update_keywords(struct mail *mail, enum modify_type modify_type,
			      struct mail_keywords *keywords)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	union mail_module_context *lmail = MAILHOOK_MAIL_CONTEXT(pmail);
	struct mailhook_transaction *mt =
		mailhook_mail_wanted(mail, MAILHOOK_FLAG_TYPES);
	struct mailhook_state before;

	if (mt == NULL) {
		lmail->super.update_keywords(mail, modify_type, keywords);
		return;
	}
	T_BEGIN {
		mailhook_state_get(mail, &before);
		lmail->super.update_keywords(mail, modify_type, keywords);
		mailhook_mail_note(mt, mail, &before);
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
