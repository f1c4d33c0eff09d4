/*
 * What one transaction does, noted while it runs and reported when it has
 * committed; a rollback forgets it. Invariants: what is wanted is decided at
 * the first operation, once; if that is nothing, no more is looked at. A save
 * is known by its place among the transaction's appends, never by counting
 * calls: a copy that failed on quota may be committed all the same, and a
 * cancelled save's place is used again.
 */

#include "lib.h"
#include "array.h"
#include "bsearch-insert-pos.h"
#include "lib-event.h"
#include "imap-util.h"
#include "str.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#define MAILHOOK_TRANSACTION_CONTEXT(obj) \
	MODULE_CONTEXT(obj, mailhook_transaction_module)
/* The index can hold more; beyond it something is wrong. */
#define MAILHOOK_SAVES_MAX 1000000

static MODULE_CONTEXT_DEFINE_INIT(mailhook_transaction_module,
				  &mail_storage_module_register);

#define MAILHOOK_SAVE_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_MESSAGE_NEW) | \
	 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_APPEND))
#define MAILHOOK_EXPUNGE_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_MESSAGE_EXPUNGE) | \
	 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_EXPIRE))
#define MAILHOOK_QUOTA_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA))
#define MAILHOOK_TRANSACTION_TYPES \
	(MAILHOOK_SAVE_TYPES | MAILHOOK_EXPUNGE_TYPES | MAILHOOK_FLAG_TYPES | \
	 MAILHOOK_QUOTA_TYPES)

static bool mailhook_service_is(const struct mail_user *user, const char *name)
{
	return user->service != NULL && strcmp(user->service, name) == 0;
}

static bool mailhook_is_delivery(const struct mailbox *box)
{
	const struct mail_user *user = box->storage->user;

	/* Sieve opens mailboxes so in other services too. */
	return (box->flags & MAILBOX_FLAG_POST_SESSION) != 0 &&
		(mailhook_service_is(user, "lmtp") ||
		 mailhook_service_is(user, "lda"));
}

static enum mse_event_type mailhook_save_type(const struct mailbox *box)
{
	return mailhook_is_delivery(box) ? MSE_EVENT_MESSAGE_NEW :
		MSE_EVENT_MESSAGE_APPEND;
}

/* Of a transaction in which nothing is of interest: looked at once. */
static struct mailhook_transaction mailhook_nothing;

/* The memory of the last transaction that ended, for the next one. Most need
   no more. */
#define MAILHOOK_POOL_SIZE 2048
static pool_t mailhook_spare_pool;

static pool_t mailhook_pool_get(void)
{
	pool_t pool = mailhook_spare_pool;

	mailhook_spare_pool = NULL;
	return pool != NULL ? pool :
		pool_alloconly_create("mailhook transaction",
				      MAILHOOK_POOL_SIZE);
}

static void mailhook_pool_keep(pool_t pool)
{
	if (mailhook_spare_pool != NULL) {
		pool_unref(&pool);
		return;
	}
	/* All but its first block goes. */
	p_clear(pool);
	mailhook_spare_pool = pool;
}

void mailhook_transaction_deinit(void)
{
	pool_unref(&mailhook_spare_pool);
}

static struct mailhook_transaction *
mailhook_transaction_new(struct mail_user *user,
			 const struct mse_interest *interest,
			 mse_event_types_t wants)
{
	struct mailhook_transaction *mt;
	pool_t pool = mailhook_pool_get();

	mt = p_new(pool, struct mailhook_transaction, 1);
	mt->pool = pool;
	mt->user = user;
	mt->wants = wants;
	mt->flag_events_full = interest->flag_events_full;
	mt->expunges_expire = mailhook_name_listed(interest->expire_services,
						   user->service);
	return mt;
}

struct mailhook_transaction *
mailhook_transaction_peek(struct mailbox_transaction_context *t)
{
	struct mailhook_transaction *mt = MAILHOOK_TRANSACTION_CONTEXT(t);

	return mt == &mailhook_nothing ? NULL : mt;
}

/* NULL if nothing of it can be of interest. */
static struct mailhook_transaction *
mailhook_transaction_look(struct mailbox_transaction_context *t)
{
	struct mailhook_transaction *mt;
	struct mailhook_user *muser;
	const struct mse_interest *interest;
	struct mailhook_place place;
	mse_event_types_t wants;

	if ((t->flags & (MAILBOX_TRANSACTION_FLAG_SYNC |
			 MAILBOX_TRANSACTION_FLAG_NO_NOTIFY)) != 0 ||
	    mailhook_mailbox_get(t->box) == NULL)
		return NULL;
	muser = mailhook_user_get(t->box->storage->user);
	if (muser == NULL)
		return NULL;
	interest = mse_appender_interest(muser->appender);
	if ((interest->types & MAILHOOK_TRANSACTION_TYPES) == 0)
		return NULL;
	mailhook_place_init(&place, t->box);
	wants = mailhook_place_wants(interest, &place, NULL) &
		MAILHOOK_TRANSACTION_TYPES;
	if (wants == 0)
		return NULL;
	mt = mailhook_transaction_new(t->box->storage->user, interest, wants);
	mailhook_parameters_init(mt, interest, &place,
				 mailhook_save_type(t->box));
	return mt;
}

struct mailhook_transaction *
mailhook_transaction_get(struct mailbox_transaction_context *t)
{
	struct mailhook_transaction *mt = MAILHOOK_TRANSACTION_CONTEXT(t);

	if (mt == NULL) {
		mt = mailhook_transaction_look(t);
		if (mt == NULL)
			mt = &mailhook_nothing;
		MODULE_CONTEXT_SET(t, mailhook_transaction_module, mt);
	}
	return mt == &mailhook_nothing ? NULL : mt;
}

bool mailhook_transaction_wants(const struct mailhook_transaction *mt,
				mse_event_types_t types)
{
	return (mt->wants & types) != 0;
}

static void mailhook_transaction_free(struct mailhook_transaction *mt)
{
	pool_t pool = mt->pool;

	mailhook_parameters_deinit(mt);
	mailhook_pool_keep(pool);
}

void mailhook_transaction_make_id(struct mailhook_transaction *mt)
{
	if (mt->has_id)
		return;
	mse_uuid_make(mailhook_now(), mt->id);
	mt->has_id = TRUE;
}

/* Whether what goes on now has a reason code that begins so. A hint only: the
   command's event may be gone already. */
static bool mailhook_has_reason(struct mailbox *box, const char *begin)
{
	const struct event *event = event_get_global();
	const struct event_field *field;
	const char *const *reason;
	size_t len = strlen(begin);

	if (event == NULL)
		event = box->event;
	for (; event != NULL; event = event_get_parent(event)) {
		field = event_find_field_nonrecursive(event, EVENT_REASON_CODE);
		if (field == NULL ||
		    field->value_type != EVENT_FIELD_VALUE_TYPE_STRLIST ||
		    !array_is_created(&field->value.strlist))
			continue;
		array_foreach(&field->value.strlist, reason) {
			if (strncmp(*reason, begin, len) == 0)
				return TRUE;
		}
	}
	return FALSE;
}

/* Saves */

const char *mailhook_save_cause(const struct mail_save_context *ctx)
{
	struct mailbox_transaction_context *t = ctx->transaction;
	bool sieve = t->reason != NULL &&
		strncmp(t->reason, "act_store", 9) == 0;

	if (sieve)
		return "sieve";
	if (mailhook_is_delivery(t->box))
		return "delivery";
	if (mailhook_has_reason(t->box, "lazy_expunge:"))
		return "lazy_expunge";
	if (ctx->moving)
		return "move";
	if (ctx->copying_or_moving && !ctx->saving)
		return "copy";
	return mailhook_save_replaced(ctx) != NULL ? "replace" : "append";
}

static const char *mailhook_flag_names(pool_t pool, struct mail *mail)
{
	const char *const *keywords = mail_get_keywords(mail);
	enum mail_flags flags = mail_get_flags(mail) & MAIL_FLAGS_NONRECENT;
	string_t *names;

	if (flags == 0 && (keywords == NULL || keywords[0] == NULL))
		return NULL;
	names = t_str_new(64);
	imap_write_flags(names, flags, keywords);
	return p_strdup(pool, str_c(names));
}

static const char *mailhook_source_uri(pool_t pool, struct mail *mail)
{
	struct mailhook_place place;

	mailhook_place_init(&place, mail->box);
	if (mail->box->view != NULL)
		place.uidvalidity =
			mail_index_get_header(mail->box->view)->uid_validity;
	return p_strdup(pool, mailhook_message_url(
		mailhook_mailbox_url(mail->box, &place), mail->uid));
}

/* Its place among this transaction's appends. FALSE if the backend gave the
   mail none (it then has no UID to report either), or has taken it back. */
static bool mailhook_save_idx(const struct mail_save_context *ctx,
			      const struct mail *mail, unsigned int *idx_r)
{
	const struct mail_index_transaction *itrans = ctx->transaction->itrans;

	if (itrans == NULL || itrans->first_new_seq == 0 ||
	    mail->seq < itrans->first_new_seq ||
	    mail->seq > itrans->last_new_seq ||
	    mail->seq - itrans->first_new_seq >= MAILHOOK_SAVES_MAX)
		return FALSE;
	*idx_r = mail->seq - itrans->first_new_seq;
	return TRUE;
}

static bool mailhook_size_get(struct mail *mail, uint64_t *size_r)
{
	uoff_t size;
	bool known;

	mail_storage_last_error_push(mail->box->storage);
	known = mail_get_virtual_size(mail, &size) == 0;
	mail_storage_last_error_pop(mail->box->storage);
	if (known)
		*size_r = size;
	return known;
}

static void mailhook_note_save(struct mailhook_transaction *mt,
			       struct mail_save_context *ctx,
			       struct mail *mail, struct mail *src,
			       bool failed)
{
	struct mailbox *box = ctx->transaction->box;
	struct mailhook_save save;
	unsigned int idx;

	if (!mailhook_save_idx(ctx, mail, &idx))
		return;
	i_zero(&save);
	save.type = mailhook_save_type(box);
	if (!mailhook_transaction_wants(mt, MSE_EVENT_BIT(save.type)))
		return;
	save.used = TRUE;
	save.failed = failed;
	/* Where a file was linked the copy would be opened for its size; the
	   source's is mostly in the cache. */
	save.size_known = (src != NULL && !ctx->copying_via_save &&
			   mailhook_size_get(src, &save.size)) ||
		mailhook_size_get(mail, &save.size);
	mail_storage_last_error_push(box->storage);
	save.flag_names = mailhook_flag_names(mt->pool, mail);
	save.cause = mailhook_save_cause(ctx);
	/* A second LMTP recipient's mail comes from the first one's INBOX:
	   a save, and nobody's business. */
	if (src != NULL && !ctx->saving)
		save.source_uri = mailhook_source_uri(mt->pool, src);
	save.optionals = mailhook_parameters_take(mt, &save, ctx, mail, src);
	mail_storage_last_error_pop(box->storage);
	if (!array_is_created(&mt->saves))
		p_array_init(&mt->saves, mt->pool, 4);
	array_idx_set(&mt->saves, idx, &save);
	/* UIDs by the commit, not by some later sync. */
	ctx->transaction->flags |= MAILBOX_TRANSACTION_FLAG_ASSIGN_UIDS;
}

/* instead: of another message, which leaves. */
static void mailhook_note_saved(struct mailhook_transaction *mt,
				struct mail_save_context *ctx,
				struct mail *mail, struct mail *src,
				bool instead)
{
	if (mailhook_transaction_wants(mt, MAILHOOK_SAVE_TYPES)) T_BEGIN {
		mailhook_note_save(mt, ctx, mail, src, FALSE);
	} T_END;
	if (!instead)
		mailhook_quota_saved(mt, ctx, mail);
}

/* The mail's own transaction expunges it next: give that the same id. */
static void mailhook_note_leaving(struct mailhook_transaction *dest,
				  struct mail *src, const char *why)
{
	struct mailhook_transaction *mt =
		mailhook_transaction_get(src->transaction);

	if (mt == NULL)
		return;
	mt->left_by = why;
	if (mt->has_id || dest == NULL) {
		mailhook_transaction_make_id(mt);
		return;
	}
	mailhook_transaction_make_id(dest);
	memcpy(mt->id, dest->id, sizeof(mt->id));
	mt->has_id = TRUE;
}

static int mailhook_save_finish(struct mail_save_context *ctx)
{
	struct mailhook_mailbox *mbox =
		mailhook_mailbox_get(ctx->transaction->box);
	/* Within a copy it is the copy that tells. */
	struct mail *mail = ctx->copying_via_save ? NULL : ctx->dest_mail;
	struct mail *replaced = mailhook_save_replaced(ctx);
	struct mailhook_transaction *mt;

	if (mbox->module_ctx.super.save_finish(ctx) < 0) {
		if (mail != NULL)
			mailhook_quota_save_failed(ctx);
		return -1;
	}
	if (mail == NULL)
		return 0;
	mt = mailhook_transaction_get(ctx->transaction);
	if (mt != NULL)
		mailhook_note_saved(mt, ctx, mail, NULL, replaced != NULL);
	if (replaced != NULL) T_BEGIN {
		mailhook_note_leaving(mt, replaced, "replace");
	} T_END;
	return 0;
}

static uint32_t
mailhook_last_append(const struct mailbox_transaction_context *t)
{
	const struct mail_index_transaction *itrans = t->itrans;

	return itrans == NULL || itrans->first_new_seq == 0 ? 0 :
		itrans->last_new_seq;
}

/* What quota refuses is copied already, and who does not roll back (doveadm
   copy) commits it. */
static void mailhook_note_refused(struct mail_save_context *ctx,
				  struct mail *src)
{
	struct mailhook_transaction *mt =
		mailhook_transaction_get(ctx->transaction);

	if (mt == NULL || ctx->dest_mail == NULL ||
	    !mailhook_transaction_wants(mt, MAILHOOK_SAVE_TYPES))
		return;
	T_BEGIN {
		mailhook_note_save(mt, ctx, ctx->dest_mail, src, TRUE);
	} T_END;
}

static int mailhook_copy(struct mail_save_context *ctx, struct mail *src)
{
	struct mailhook_mailbox *mbox =
		mailhook_mailbox_get(ctx->transaction->box);
	struct mailhook_transaction *mt;
	uint32_t last = mailhook_last_append(ctx->transaction);
	bool moving = ctx->moving;

	if (mbox->module_ctx.super.copy(ctx, src) < 0) {
		mailhook_quota_copy_failed(ctx, src);
		if (mailhook_last_append(ctx->transaction) > last)
			mailhook_note_refused(ctx, src);
		return -1;
	}
	mt = mailhook_transaction_get(ctx->transaction);
	if (mt != NULL && ctx->dest_mail != NULL)
		mailhook_note_saved(mt, ctx, ctx->dest_mail, src, moving);
	if (moving) T_BEGIN {
		mailhook_note_leaving(mt, src, "move");
	} T_END;
	return 0;
}

/* Expunges and flags */

static const char *
mailhook_expunge_cause(const struct mailhook_transaction *mt, struct mail *mail)
{
	const struct mail_private *pmail = (const struct mail_private *)mail;

	if (pmail->autoexpunged)
		return "autoexpunge";
	if (mailhook_has_reason(mail->box, "lazy_expunge:"))
		return "lazy_expunge";
	if (mt->left_by != NULL)
		return mt->left_by;
	if (mailhook_service_is(mt->user, "pop3"))
		return "pop3";
	if (mailhook_has_reason(mail->box, "imap:cmd_close"))
		return "close";
	return "expunge";
}

void mailhook_transaction_expunge(struct mailhook_transaction *mt,
				  struct mail *mail)
{
	const struct mail_private *pmail = (const struct mail_private *)mail;
	ARRAY_TYPE(seq_range) *uids;
	bool expire;

	if (mt->expunge_cause == NULL)
		mt->expunge_cause = mailhook_expunge_cause(mt, mail);
	/* A service that expires mail may also move some. */
	expire = pmail->autoexpunged || (mt->expunges_expire &&
		(mt->left_by == NULL || mt->expunge_cause != mt->left_by));
	/* Noted for the quota alone, why is enough. */
	if (!mailhook_transaction_wants(mt, MAILHOOK_EXPUNGE_TYPES))
		return;
	uids = expire ? &mt->expired : &mt->expunged;
	if (!array_is_created(uids))
		p_array_init(uids, mt->pool, 4);
	seq_range_array_add(uids, mail->uid);
}

static int mailhook_name_cmp(const char *const *a, const char *const *b)
{
	return strcmp(*a, *b);
}

/* Both are in the index; a backend that would rather open the message is not
   to. */
enum mail_flags mailhook_flags_get(struct mail *mail)
{
	enum mail_lookup_abort abort = mail->lookup_abort;
	enum mail_flags flags;

	mail->lookup_abort = MAIL_LOOKUP_ABORT_NOT_IN_CACHE;
	flags = mail_get_flags(mail) & MAIL_FLAGS_NONRECENT;
	mail->lookup_abort = abort;
	return flags;
}

const char *mailhook_keywords_get(struct mail *mail)
{
	enum mail_lookup_abort abort = mail->lookup_abort;
	const char *const *keywords;
	ARRAY_TYPE(const_string) sorted;

	mail->lookup_abort = MAIL_LOOKUP_ABORT_NOT_IN_CACHE;
	keywords = mail_get_keywords(mail);
	mail->lookup_abort = abort;
	if (keywords == NULL || keywords[0] == NULL)
		return "";
	t_array_init(&sorted, 8);
	for (; *keywords != NULL; keywords++)
		array_push_back(&sorted, keywords);
	array_sort(&sorted, mailhook_name_cmp);
	array_append_zero(&sorted);
	return t_strarray_join(array_front(&sorted), " ");
}

static int mailhook_change_cmp(const uint32_t *uid,
			       const struct mailhook_flag_change *change)
{
	return *uid < change->uid ? -1 : (*uid > change->uid ? 1 : 0);
}

/* Most mails of a transaction have one of few lists of keywords. */
static const char *mailhook_keep(struct mailhook_transaction *mt,
				 const char *keywords)
{
	unsigned int i;

	if (*keywords == '\0')
		return "";
	for (i = 0; i < N_ELEMENTS(mt->kept) && mt->kept[i] != NULL; i++) {
		if (strcmp(mt->kept[i], keywords) == 0)
			return mt->kept[i];
	}
	i = mt->kept_next++ % N_ELEMENTS(mt->kept);
	mt->kept[i] = p_strdup(mt->pool, keywords);
	return mt->kept[i];
}

static const char *mailhook_flags_cause(const struct mailhook_transaction *mt,
					struct mail *mail)
{
	if (mailhook_service_is(mt->user, "pop3"))
		return "pop3";
	if (mailhook_has_reason(mail->box, "imap:cmd_fetch") ||
	    mailhook_has_reason(mail->box, "imap:fetch"))
		return "fetch";
	return "store";
}

/* The mail's change: the first state before and the last one after, so that a
   flag set and cleared again within one transaction did not change. */
static struct mailhook_flag_change *
mailhook_change_get(struct mailhook_transaction *mt, struct mail *mail)
{
	struct mailhook_flag_change change;
	const struct mailhook_flag_change *last = NULL;
	unsigned int idx;

	if (!array_is_created(&mt->changes))
		p_array_init(&mt->changes, mt->pool, 4);
	idx = array_count(&mt->changes);
	if (mt->flags_cause == NULL)
		mt->flags_cause = mailhook_flags_cause(mt, mail);
	if (idx > 0)
		last = array_back(&mt->changes);
	/* Mostly they come in order. */
	if (last != NULL && last->uid >= mail->uid &&
	    array_bsearch_insert_pos(&mt->changes, &mail->uid,
				     mailhook_change_cmp, &idx))
		return array_idx_modifiable(&mt->changes, idx);
	i_zero(&change);
	change.uid = mail->uid;
	change.seq = mail->seq;
	array_insert(&mt->changes, idx, &change, 1);
	return array_idx_modifiable(&mt->changes, idx);
}

void mailhook_transaction_flags(struct mailhook_transaction *mt,
				struct mail *mail, enum mail_flags before,
				enum mail_flags after)
{
	struct mailhook_flag_change *change;

	if (after == before)
		return;
	change = mailhook_change_get(mt, mail);
	if (change->flags_before == change->flags_after)
		change->flags_before = before;
	change->flags_after = after;
}

void mailhook_transaction_keywords(struct mailhook_transaction *mt,
				   struct mail *mail, const char *before)
{
	const char *after = mailhook_keywords_get(mail);
	struct mailhook_flag_change *change;

	if (strcmp(after, before) == 0)
		return;
	change = mailhook_change_get(mt, mail);
	if (change->keywords_before == NULL)
		change->keywords_before = mailhook_keep(mt, before);
	change->keywords_after = mailhook_keep(mt, after);
}

/* The end */

static void mailhook_transaction_ended(struct mailhook_transaction *mt,
				       struct mailbox *box, bool success)
{
	struct mail_storage_error error;

	T_BEGIN {
		mailhook_error_keep(box->storage, &error);
		mailhook_quota_transaction_ended(mt, box, success);
		mailhook_error_restore(box->storage, &error);
	} T_END;
	mailhook_transaction_free(mt);
}

static int
mailhook_transaction_commit(struct mailbox_transaction_context *t,
			    struct mail_transaction_commit_changes *changes_r)
{
	struct mailhook_transaction *mt = mailhook_transaction_peek(t);
	struct mailhook_attributes *attributes = mailhook_attributes_take(t);
	struct mailbox *box = t->box;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_intent intent;
	int ret;

	mailhook_attributes_intend(attributes, box, &intent);
	/* t is freed in here, and mailhook-commit.c has its turn. */
	if (mbox->commits)
		ret = mailhook_commit_reported(t, changes_r,
			mbox->module_ctx.super.transaction_commit);
	else
		ret = mbox->module_ctx.super.transaction_commit(t, changes_r);
	if (ret < 0 && mt != NULL)
		mailhook_quota_commit_failed(mt, box);
	if (mt != NULL)
		mailhook_transaction_ended(mt, box, ret == 0);
	if (ret == 0 && attributes != NULL) T_BEGIN {
		mailhook_attributes_report(attributes, box);
	} T_END;
	mailhook_intent_end(&intent);
	mailhook_attributes_free(&attributes);
	return ret;
}

static void
mailhook_transaction_rollback(struct mailbox_transaction_context *t)
{
	struct mailhook_transaction *mt = mailhook_transaction_peek(t);
	struct mailbox *box = t->box;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);

	mailhook_attributes_drop(t);
	mbox->module_ctx.super.transaction_rollback(t);
	if (mt != NULL)
		mailhook_transaction_ended(mt, box, FALSE);
}

void mailhook_transaction_hook(struct mailbox_vfuncs *v)
{
	v->save_finish = mailhook_save_finish;
	v->copy = mailhook_copy;
	v->transaction_begin = mailhook_transaction_begin;
	v->transaction_commit = mailhook_transaction_commit;
	v->transaction_rollback = mailhook_transaction_rollback;
}
