/*
 * Mailboxes created, deleted, renamed, subscribed. Each is reported after
 * the storage said it is done, one append each. Invariant: the caller's
 * error is never touched, and a mailbox is opened only if someone wants the
 * event and it exists.
 */

#include "lib.h"
#include "guid.h"
#include "mailhook-plugin.h"

#define MAILHOOK_CONTEXT(obj) \
	MODULE_CONTEXT(obj, mailhook_storage_module)

#define MAILHOOK_URL_PARAMS \
	(MSE_PARAM_BIT(MSE_PARAM_URI) | MSE_PARAM_BIT(MSE_PARAM_MAILBOX_ID))
#define MAILHOOK_NAME_PARAMS \
	(MSE_PARAM_BIT(MSE_PARAM_SESSION) | MSE_PARAM_BIT(MSE_PARAM_MAILBOX) | \
	 MSE_PARAM_BIT(MSE_PARAM_MAILBOX_GUID) | \
	 MSE_PARAM_BIT(MSE_PARAM_OWNER))

static MODULE_CONTEXT_DEFINE_INIT(mailhook_storage_module,
				  &mail_storage_module_register);

struct mailhook_mailbox *mailhook_mailbox_get(struct mailbox *box)
{
	return MAILHOOK_CONTEXT(box);
}

const char *mailhook_mailbox_guid(struct mailbox *box)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);
	struct mailbox_metadata metadata;

	if (mbox == NULL)
		return NULL;
	if (mbox->guid == NULL &&
	    mailbox_get_metadata(box, MAILBOX_METADATA_GUID, &metadata) == 0 &&
	    !guid_128_is_empty(metadata.guid)) {
		mbox->guid = p_strdup(box->pool,
				      guid_128_to_string(metadata.guid));
	}
	return mbox->guid;
}

const char *mailhook_mailbox_url(struct mailbox *box,
				 const struct mailhook_place *place)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);

	const char *server = mailhook_server(place->user);

	if (mbox == NULL)
		return mailhook_place_url(place);
	if (mbox->url == NULL || mbox->url_uidvalidity != place->uidvalidity ||
	    strcmp(mbox->url_server, server) != 0) {
		/* Rarely more than once: both hardly ever change. */
		mbox->url = p_strdup(box->pool, mailhook_place_url(place));
		mbox->url_server = p_strdup(box->pool, server);
		mbox->url_uidvalidity = place->uidvalidity;
		mbox->used = FALSE;
	}
	return mbox->url;
}

const char *mailhook_message_url(const char *url, uint32_t uid)
{
	return t_strconcat(url, "/;UID=", dec2str(uid), NULL);
}

void mailhook_mailbox_set(struct mailbox *box, struct mse_event *event,
			  const char *url, uint32_t uid)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);

	mse_event_set_string(event, MSE_PARAM_URI,
			     uid == 0 ? url : mailhook_message_url(url, uid));
	mse_event_set_string(event, MSE_PARAM_MAILBOX_ID, url);
	if (mbox == NULL || url != mbox->url)
		return;
	if (!mbox->used) {
		mbox->used = TRUE;
		i_zero(&mbox->printed_url);
		i_zero(&mbox->printed_name);
		return;
	}
	if (uid == 0) {
		if (mbox->printed_url.set == 0)
			mailhook_event_print(event, MAILHOOK_URL_PARAMS,
					     box->pool, &mbox->printed_url);
		mailhook_event_use(event, &mbox->printed_url);
	}
	/* Its GUID may not have been known before. */
	if (mbox->printed_name.set !=
	    (event->set & MAILHOOK_NAME_PARAMS))
		mailhook_event_print(event, MAILHOOK_NAME_PARAMS, box->pool,
				     &mbox->printed_name);
	mailhook_event_use(event, &mbox->printed_name);
}

static bool mailhook_box_wants(struct mailbox *box, enum mse_event_type type,
			       const char *old_mailbox)
{
	struct mailhook_user *muser = mailhook_user_get(box->storage->user);
	const struct mse_interest *interest;
	struct mse_event_route route;
	struct mailhook_place place;

	if (muser == NULL)
		return FALSE;
	interest = mse_appender_interest(muser->appender);
	if ((interest->types & MSE_EVENT_BIT(type)) == 0)
		return FALSE;
	mailhook_place_init(&place, box);
	i_zero(&route);
	route.type = type;
	route.owner = place.lane;
	route.mailbox = place.mailbox;
	route.old_mailbox = old_mailbox;
	return mse_interest_wants(interest, &route);
}

/* The view of a mailbox just created can be from before its UIDVALIDITY was
   (sdbox, mdbox). */
uint32_t mailhook_fresh_uidvalidity(struct mailbox *box)
{
	struct mail_index_view *view;
	uint32_t uidvalidity;

	if (box->index == NULL || mail_index_refresh(box->index) < 0)
		return 0;
	view = mail_index_view_open(box->index);
	uidvalidity = mail_index_get_header(view)->uid_validity;
	mail_index_view_close(&view);
	return uidvalidity;
}

/* UIDVALIDITY and GUID, if the mailbox is one that has them. Asks for its
   existence first: a status would create an auto=create mailbox. */
static void mailhook_box_identify(struct mailbox *box,
				  struct mailhook_place *place)
{
	enum mailbox_existence existence;
	struct mailbox_status status;

	mail_storage_last_error_push(box->storage);
	if (!box->opened &&
	    (mailbox_exists(box, FALSE, &existence) < 0 ||
	     existence != MAILBOX_EXISTENCE_SELECT)) {
		mail_storage_last_error_pop(box->storage);
		return;
	}
	if (mailbox_get_status(box, STATUS_UIDVALIDITY, &status) == 0) {
		place->uidvalidity = status.uidvalidity != 0 ?
			status.uidvalidity : mailhook_fresh_uidvalidity(box);
		place->guid = mailhook_mailbox_guid(box);
	}
	mail_storage_last_error_pop(box->storage);
}

static void mailhook_box_emit(enum mse_event_type type,
			      const struct mailhook_place *place,
			      const struct mailhook_place *old)
{
	struct mailhook_batch batch;
	struct mse_event event;

	mailhook_event_init(&event, type, place, mailhook_now());
	mse_event_set_string(&event, MSE_PARAM_URI,
			     mailhook_place_url(place));
	mse_event_set_string(&event, MSE_PARAM_MAILBOX_ID,
			     mailhook_place_url(place));
	if (old != NULL) {
		event.old_mailbox = old->mailbox;
		mse_event_set_string(&event, MSE_PARAM_OLD_MAILBOX_ID,
				     mailhook_place_url(old));
	}
	mailhook_batch_init(&batch, place->user);
	mailhook_batch_add(&batch, &event);
	mailhook_batch_send(&batch);
}

/* A change of the mailbox itself that someone wants to know of. */
struct mailhook_box_change {
	enum mse_event_type type;
	bool wanted;
	struct mailhook_place place;
	struct mailhook_intent intent;
};

static void mailhook_box_change_begin(struct mailhook_box_change *change,
				      struct mailbox *box,
				      enum mse_event_type type)
{
	i_zero(change);
	change->type = type;
	change->wanted = mailhook_box_wants(box, type, NULL);
	if (!change->wanted)
		return;
	mailhook_place_init(&change->place, box);
	mailhook_intent_begin(&change->intent, &change->place, box, NULL);
}

static void mailhook_box_change_end(struct mailhook_box_change *change,
				    struct mailbox *box, bool success)
{
	if (change->wanted && success) T_BEGIN {
		mailhook_box_identify(box, &change->place);
		mailhook_box_emit(change->type, &change->place, NULL);
	} T_END;
	mailhook_intent_end(&change->intent);
}

/* 1, 0, or -1: unknown. */
static int mailhook_box_exists(struct mailbox *box)
{
	enum mailbox_existence existence;
	int ret;

	mail_storage_last_error_push(box->storage);
	ret = mailbox_exists(box, FALSE, &existence);
	mail_storage_last_error_pop(box->storage);
	return ret < 0 ? -1 : existence != MAILBOX_EXISTENCE_NONE;
}

static int mailhook_create_box(struct mailbox *box,
			       const struct mailbox_update *update,
			       bool directory)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);
	struct mailhook_box_change change;
	bool made, was_not = FALSE;
	int ret;

	i_zero(&change);
	/* An INBOX comes by itself, with the user or after a rename: implied
	   (RFC 5423 section 4.4). */
	if (!box->inbox_user && !box->inbox_any)
		mailhook_box_change_begin(&change, box,
					  MSE_EVENT_MAILBOX_CREATE);
	if (change.wanted)
		was_not = mailhook_box_exists(box) == 0;
	ret = mbox->module_ctx.super.create_box(box, update, directory);
	/* A process that comes upon a mailbox that is being made finishes it,
	   and this one is told that it exists: made all the same. The list is
	   locked: it is nobody else's CREATE. */
	made = ret == 0 || (was_not &&
		mailbox_get_last_mail_error(box) == MAIL_ERROR_EXISTS &&
		mailhook_box_exists(box) > 0);
	if (ret < 0)
		mailhook_quota_create_failed(box);
	mailhook_box_change_end(&change, box, made);
	return ret < 0 ? -1 : 0;
}

/* DELETE of an auto=create mailbox that was never created succeeds, again
   and again; only what was there is reported. */
static bool mailhook_box_was_there(struct mailbox *box)
{
	return box->opened || mailhook_box_exists(box) > 0;
}

static int mailhook_delete_box(struct mailbox *box)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);
	struct mailhook_place place;
	bool wanted;
	int ret;

	wanted = mailhook_box_wants(box, MSE_EVENT_MAILBOX_DELETE, NULL) &&
		mailhook_box_was_there(box);
	T_BEGIN {
		mailhook_place_init(&place, box);
		if (wanted && box->opened)
			mailhook_box_identify(box, &place);
		if (wanted)
			mailhook_intent_begin(&mbox->deleting, &place, box,
					      NULL);
		ret = mbox->module_ctx.super.delete_box(box);
		if (ret == 0 && wanted)
			mailhook_box_emit(MSE_EVENT_MAILBOX_DELETE, &place,
					  NULL);
		if (ret == 0) {
			mailhook_batch_drop(&mbox->emptied);
			mailhook_quota_box_deleted(box);
		} else {
			/* Its mails are gone all the same. */
			mailhook_batch_send(&mbox->emptied);
		}
		mailhook_intent_end(&mbox->deleting);
	} T_END;
	return ret;
}

static void mailhook_box_renamed(struct mailhook_place *old,
				 struct mailbox *dest)
{
	struct mailhook_place place;

	mailhook_place_init(&place, dest);
	/* Both survive a rename; the old name can no longer be asked. */
	mailhook_box_identify(dest, &place);
	old->uidvalidity = place.uidvalidity;
	mailhook_box_emit(MSE_EVENT_MAILBOX_RENAME, &place, old);
}

static int mailhook_rename_box(struct mailbox *src, struct mailbox *dest)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(src);
	struct mailhook_place old, place;
	struct mailhook_intent intent;
	bool wanted;
	int ret;

	i_zero(&intent);
	mailhook_place_init(&old, src);
	wanted = mailhook_box_wants(dest, MSE_EVENT_MAILBOX_RENAME,
				    old.mailbox);
	if (wanted) {
		mailhook_place_init(&place, dest);
		mailhook_intent_begin(&intent, &place, src, old.mailbox);
	}
	ret = mbox->module_ctx.super.rename_box(src, dest);
	if (ret == 0 && wanted) T_BEGIN {
		mailhook_box_renamed(&old, dest);
	} T_END;
	mailhook_intent_end(&intent);
	return ret < 0 ? -1 : 0;
}

static int mailhook_set_subscribed(struct mailbox *box, bool set)
{
	struct mailhook_mailbox *mbox = MAILHOOK_CONTEXT(box);
	struct mailhook_box_change change;
	int ret;

	mailhook_box_change_begin(&change, box,
				  set ? MSE_EVENT_MAILBOX_SUBSCRIBE :
				  MSE_EVENT_MAILBOX_UNSUBSCRIBE);
	ret = mbox->module_ctx.super.set_subscribed(box, set);
	mailhook_box_change_end(&change, box, ret == 0);
	return ret < 0 ? -1 : 0;
}

void mailhook_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct mailhook_mailbox *mbox;

	if ((box->flags & MAILBOX_FLAG_POP3_SESSION) != 0)
		mailhook_pop3_opens_inbox(box->storage->user);
	/* A virtual mailbox's operations come again at the real ones. */
	if (mailhook_user_get(box->storage->user) == NULL ||
	    strcmp(box->storage->name, "virtual") == 0 ||
	    strcmp(box->storage->name, "raw") == 0)
		return;
	mbox = p_new(box->pool, struct mailhook_mailbox, 1);
	mbox->module_ctx.super = *v;
	box->vlast = &mbox->module_ctx.super;
	MODULE_CONTEXT_SET(box, mailhook_storage_module, mbox);

	v->create_box = mailhook_create_box;
	v->delete_box = mailhook_delete_box;
	v->rename_box = mailhook_rename_box;
	v->set_subscribed = mailhook_set_subscribed;
	mailhook_transaction_hook(v);
	mailhook_quota_hook(v);
}
