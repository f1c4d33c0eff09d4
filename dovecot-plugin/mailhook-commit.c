/*
 * The moment of the commit, as seen from next to the storage. Our other hooks
 * are the outermost, because only there is known what became of a save or a
 * copy. A commit is another matter: plugins between us and the storage act
 * once it is done (imapsieve runs scripts that flag, move and file the new
 * messages) and may fail by that. What the storage has committed is reported
 * before they begin: in the order in which it happened, with the numbers of
 * that moment, and whatever they return. Hence a second place in the order of
 * the plugins, as Dovecot's mail_crypt has one; it is not taken where no
 * other plugin has to do with commits.
 */

#include "lib.h"
#include "module-dir.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "mail-storage-hooks.h"
#include "mailhook-compat.h"
#include "mailhook-plugin.h"

#define MAILHOOK_COMMIT_CONTEXT(obj) \
	MODULE_CONTEXT_REQUIRE(obj, mailhook_commit_module)

static MODULE_CONTEXT_DEFINE_INIT(mailhook_commit_module,
				  &mail_storage_module_register);

/* No file has this name: plugins are sorted by it, this one as the last. */
static struct module mailhook_last_module = {
	.path = "lib99z_mailhook_plugin.so"
};

/* Emptying a mailbox is reported when its deletion has ended: until then it is
   under way. */
static void mailhook_commit_begins(const struct mailhook_transaction *mt,
				   struct mailbox *box,
				   struct mailhook_intent *intent)
{
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_place place;

	i_zero(intent);
	if (mt == NULL || !mailhook_report_is_due(mt) ||
	    (box->deleting && mbox->deleting.appender != NULL))
		return;
	mailhook_place_init(&place, box);
	mailhook_intent_begin(box->deleting ? &mbox->deleting : intent, &place,
			      box, NULL);
}

static void
mailhook_committed(struct mailhook_transaction *mt, struct mailbox *box,
		   const struct mail_transaction_commit_changes *changes,
		   const ARRAY_TYPE(seq_range) *conflicts)
{
	struct mailhook_batch *emptied = &mailhook_mailbox_get(box)->emptied;
	struct mailhook_batch batch;
	struct mail_storage_error error;

	mailhook_transaction_make_id(mt);
	mailhook_error_keep(box->storage, &error);
	if (box->deleting) {
		/* Deleting empties the mailbox first, and is MailboxDelete
		   alone if it then succeeds. */
		if (emptied->user == NULL)
			mailhook_batch_init(emptied, mt->user);
		mailhook_report(mt, box, changes, conflicts, emptied);
	} else {
		mailhook_batch_init(&batch, mt->user);
		mailhook_report(mt, box, changes, conflicts, &batch);
		mailhook_batch_send(&batch);
	}
	mailhook_error_restore(box->storage, &error);
}

int mailhook_commit_reported(struct mailbox_transaction_context *t,
			     struct mail_transaction_commit_changes *changes_r,
			     mailhook_commit_func_t *commit)
{
	struct mailhook_transaction *mt = mailhook_transaction_peek(t);
	struct mailbox *box = t->box;
	const ARRAY_TYPE(seq_range) *conflicts;
	struct mailhook_intent intent;
	int ret;

	mailhook_commit_begins(mt, box, &intent);
	/* The caller's own array, filled by the commit. */
	conflicts = t->itrans != NULL ? t->itrans->conflict_seqs : NULL;
	/* t is freed in here. */
	ret = commit(t, changes_r);
	if (ret == 0 && mt != NULL) T_BEGIN {
		mailhook_committed(mt, box, changes_r, conflicts);
	} T_END;
	mailhook_intent_end(&intent);
	return ret;
}

static int
mailhook_commit(struct mailbox_transaction_context *t,
		struct mail_transaction_commit_changes *changes_r)
{
	union mailbox_module_context *mbox = MAILHOOK_COMMIT_CONTEXT(t->box);

	return mailhook_commit_reported(t, changes_r,
					mbox->super.transaction_commit);
}

static void mailhook_commit_allocated(struct mailbox *box)
{
	struct mailhook_mailbox *outermost = mailhook_mailbox_get(box);
	struct mailbox_vfuncs *v = box->vlast;
	union mailbox_module_context *mbox;

	/* Our outermost hook was called before and has decided. */
	if (outermost == NULL)
		return;
	/* Nobody between: each place costs a mailbox some thousand
	   instructions. */
	if (outermost->module_ctx.super.transaction_commit ==
	    v->transaction_commit) {
		outermost->commits = TRUE;
		return;
	}
	mbox = p_new(box->pool, union mailbox_module_context, 1);
	mbox->super = *v;
	box->vlast = &mbox->super;
	v->transaction_commit = mailhook_commit;
	MODULE_CONTEXT_SET_SELF(box, mailhook_commit_module, mbox);
}

static struct mail_storage_hooks mailhook_commit_hooks = {
	.mailbox_allocated = mailhook_commit_allocated
};

void mailhook_commit_init(void)
{
	mail_storage_hooks_add_forced(&mailhook_last_module,
				      &mailhook_commit_hooks);
}

void mailhook_commit_deinit(void)
{
	mail_storage_hooks_remove(&mailhook_commit_hooks);
}
