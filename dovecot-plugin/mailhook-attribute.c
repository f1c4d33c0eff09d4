/*
 * Mailbox attributes: what IMAP calls METADATA, and the trace that a change
 * of the ACL leaves among them. Dovecot notes each change in the index
 * transaction that commits it; that note is read here, so every way to set an
 * attribute is covered and none that rolls back. Invariant: values are never
 * looked at, and a transaction without such a note costs one comparison.
 */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "str.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "mailbox-attribute.h"
#include "mailhook-plugin.h"

#define MAILHOOK_ATTRIBUTE_CONTEXT(obj) \
	MODULE_CONTEXT(obj, mailhook_attribute_module)
/* Dovecot's own attributes; the server's annotations are among them. */
#define MAILHOOK_INTERNAL_PREFIX MAILBOX_ATTRIBUTE_PREFIX_DOVECOT_PVT
#define MAILHOOK_SERVER_PREFIX MAILBOX_ATTRIBUTE_PREFIX_DOVECOT_PVT_SERVER
/* Of the acl plugin: its attributes are named like this, its transactions
   (doveadm's and IMAP's, in every release) have this reason. */
#define MAILHOOK_ACL_PREFIX MAILHOOK_INTERNAL_PREFIX "acl/"
#define MAILHOOK_ACL_REASON "cmd_acl_mailbox_update"

#define MAILHOOK_ACL_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_ACL_CHANGE) | \
	 MSE_EVENT_BIT(MSE_EVENT_MAILBOX_CREATE) | \
	 MSE_EVENT_BIT(MSE_EVENT_MAILBOX_DELETE))
#define MAILHOOK_ATTRIBUTE_TYPES \
	(MAILHOOK_ACL_TYPES | MSE_EVENT_BIT(MSE_EVENT_METADATA_CHANGE))

struct mailhook_attributes {
	union mailbox_transaction_module_context module_ctx;
	pool_t pool;
	struct mailhook_place place;
	mse_event_types_t wants;
	int64_t now;
	struct mailhook_batch batch;
	bool acl_known; /* the ACL before is in acl */
	ARRAY_TYPE(mailhook_acl) acl;
	/* As the index notes them: "s" or "p", then the key. */
	ARRAY_TYPE(const_string) keys;
};

static MODULE_CONTEXT_DEFINE_INIT(mailhook_attribute_module,
				  &mail_storage_module_register);

/* NULL if nobody wants to know of this mailbox's attributes. */
static struct mailhook_attributes *
mailhook_attributes_get(struct mailbox_transaction_context *t)
{
	struct mailhook_attributes *attributes = MAILHOOK_ATTRIBUTE_CONTEXT(t);
	struct mailhook_user *muser =
		mailhook_user_get(t->box->storage->user);
	const struct mse_interest *interest;
	struct mailhook_place place;
	mse_event_types_t wants;
	pool_t pool;

	if (attributes != NULL)
		return attributes;
	/* Deleting a mailbox is MailboxDelete alone. */
	if (muser == NULL || t->box->deleting ||
	    (t->flags & (MAILBOX_TRANSACTION_FLAG_SYNC |
			 MAILBOX_TRANSACTION_FLAG_NO_NOTIFY)) != 0)
		return NULL;
	interest = mse_appender_interest(muser->appender);
	if ((interest->types & MAILHOOK_ATTRIBUTE_TYPES) == 0)
		return NULL;
	mailhook_place_init(&place, t->box);
	/* An attribute of the server has no mailbox and passes the filters of
	   any: decided when its name is known. */
	wants = mailhook_place_wants(interest, &place, NULL) &
		MAILHOOK_ATTRIBUTE_TYPES;
	place.mailbox = NULL;
	wants |= mailhook_place_wants(interest, &place, NULL) &
		MSE_EVENT_BIT(MSE_EVENT_METADATA_CHANGE);
	if (wants == 0)
		return NULL;
	pool = pool_alloconly_create("mailhook attributes", 512);
	attributes = p_new(pool, struct mailhook_attributes, 1);
	attributes->pool = pool;
	attributes->wants = wants;
	p_array_init(&attributes->keys, pool, 4);
	MODULE_CONTEXT_SET(t, mailhook_attribute_module, attributes);
	return attributes;
}

void mailhook_attributes_free(struct mailhook_attributes **_attributes)
{
	struct mailhook_attributes *attributes = *_attributes;
	pool_t pool;

	if (attributes == NULL)
		return;
	*_attributes = NULL;
	pool = attributes->pool;
	pool_unref(&pool);
}

void mailhook_attributes_drop(struct mailbox_transaction_context *t)
{
	struct mailhook_attributes *attributes = MAILHOOK_ATTRIBUTE_CONTEXT(t);

	mailhook_attributes_free(&attributes);
}

struct mailbox_transaction_context *
mailhook_transaction_begin(struct mailbox *box,
			   enum mailbox_transaction_flags flags,
			   const char *reason)
{
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_attributes *attributes;
	struct mailbox_transaction_context *t;

	t = mbox->module_ctx.super.transaction_begin(box, flags, reason);
	if (strcmp(reason, MAILHOOK_ACL_REASON) != 0)
		return t;
	attributes = mailhook_attributes_get(t);
	if (attributes != NULL &&
	    (attributes->wants & MAILHOOK_ACL_TYPES) != 0) {
		attributes->acl_known = mailhook_acl_list(
			box, attributes->pool, &attributes->acl) == 0;
	}
	return t;
}

/* The same attribute set twice in one transaction changed once. */
static void mailhook_attributes_note(struct mailhook_attributes *attributes,
				     const char *key)
{
	const char *const *old;

	array_foreach(&attributes->keys, old) {
		if (strcmp(*old, key) == 0)
			return;
	}
	key = p_strdup(attributes->pool, key);
	array_push_back(&attributes->keys, &key);
}

struct mailhook_attributes *
mailhook_attributes_take(struct mailbox_transaction_context *t)
{
	struct mailhook_attributes *attributes;
	const buffer_t *updates = t->itrans == NULL ? NULL :
		t->itrans->attribute_updates;
	const char *next, *end;

	if (updates == NULL || updates->used == 0) {
		mailhook_attributes_drop(t);
		return NULL;
	}
	attributes = mailhook_attributes_get(t);
	if (attributes == NULL)
		return NULL;
	/* [+-][ps]key\0 again and again */
	next = updates->data;
	end = next + updates->used;
	while (end - next > 2) {
		const char *nul = memchr(next, '\0', end - next);

		if (nul == NULL || nul - next < 3)
			break;
		mailhook_attributes_note(attributes, next + 1);
		next = nul + 1;
	}
	return attributes;
}

/* Metadata */

/* Its name as IMAP shows it; NULL if it is Dovecot's own affair. */
static const char *mailhook_attribute_entry(const char *key, bool *server_r)
{
	const char *prefix = *key == 'p' ? "/private/" : "/shared/";
	const char *name = key + 1;

	*server_r = strncmp(name, MAILHOOK_SERVER_PREFIX,
			    strlen(MAILHOOK_SERVER_PREFIX)) == 0;
	if (*server_r)
		name += strlen(MAILHOOK_SERVER_PREFIX);
	if (strncmp(name, MAILHOOK_INTERNAL_PREFIX,
		    strlen(MAILHOOK_INTERNAL_PREFIX)) == 0)
		return NULL;
	return t_strconcat(prefix, name, NULL);
}

static void mailhook_attribute_event(struct mailhook_attributes *attributes,
				     struct mse_event *event,
				     enum mse_event_type type,
				     const struct mailhook_place *place)
{
	mailhook_event_init(event, type, place, attributes->now);
	mse_event_set_string(event, MSE_PARAM_URI,
			     mailhook_place_url(place));
	if (place->mailbox != NULL)
		mse_event_set_string(event, MSE_PARAM_MAILBOX_ID,
				     mailhook_place_url(place));
}

static bool
mailhook_attribute_wanted(const struct mailhook_attributes *attributes,
			  const struct mailhook_place *place,
			  enum mse_event_type type)
{
	struct mailhook_user *muser = mailhook_user_get(place->user);
	const struct mse_interest *interest;

	if (muser == NULL || (attributes->wants & MSE_EVENT_BIT(type)) == 0)
		return FALSE;
	interest = mse_appender_interest(muser->appender);
	return (mailhook_place_wants(interest, place, NULL) &
		MSE_EVENT_BIT(type)) != 0;
}

static void mailhook_metadata_report(struct mailhook_attributes *attributes,
				     const char *key)
{
	struct mailhook_place place = attributes->place;
	struct mse_event event;
	const char *entry;
	bool server;

	entry = mailhook_attribute_entry(key, &server);
	if (entry == NULL)
		return;
	if (server) {
		/* It is kept with INBOX and belongs to no mailbox. */
		place.mailbox = place.guid = NULL;
		place.uidvalidity = 0;
	}
	if (!mailhook_attribute_wanted(attributes, &place,
				       MSE_EVENT_METADATA_CHANGE))
		return;
	mailhook_attribute_event(attributes, &event, MSE_EVENT_METADATA_CHANGE,
				 &place);
	mse_event_set_string(&event, MSE_PARAM_ENTRY, entry);
	mailhook_batch_add(&attributes->batch, &event);
}

/* ACL */

static const struct mailhook_acl *
mailhook_acl_find(const ARRAY_TYPE(mailhook_acl) *list, const char *id)
{
	static const struct mailhook_acl none;
	const struct mailhook_acl *acl;

	array_foreach(list, acl) {
		if (strcmp(acl->id, id) == 0)
			return acl;
	}
	return &none;
}

static void mailhook_acl_report_rights(struct mailhook_attributes *attributes,
				       const char *id, const char *before,
				       const char *after)
{
	struct mse_event event;

	if ((attributes->acl_known && null_strcmp(before, after) == 0) ||
	    !mailhook_attribute_wanted(attributes, &attributes->place,
				       MSE_EVENT_ACL_CHANGE))
		return;
	mailhook_attribute_event(attributes, &event, MSE_EVENT_ACL_CHANGE,
				 &attributes->place);
	mse_event_set_string(&event, MSE_PARAM_ACL_IDENTIFIER, id);
	mse_event_set_string(&event, MSE_PARAM_ACL_RIGHTS, after);
	mailhook_batch_add(&attributes->batch, &event);
}

/* RFC 5423 section 4.4: a mailbox that becomes accessible is created for who
   gains it. The event is that user's; who did it is its admin. An owner's
   access is no matter of one identifier. */
static void mailhook_acl_report_lookup(struct mailhook_attributes *attributes,
				       const char *id, const char *user,
				       bool gained)
{
	const struct mailhook_place *place = &attributes->place;
	enum mse_event_type type = gained ? MSE_EVENT_MAILBOX_CREATE :
		MSE_EVENT_MAILBOX_DELETE;
	struct mse_event event;

	if (null_strcmp(user, place->url_user) == 0 ||
	    !mailhook_attribute_wanted(attributes, place, type))
		return;
	mailhook_attribute_event(attributes, &event, type, place);
	event.user = user;
	mailhook_event_spell_out(&event, place->user);
	mse_event_set_string(&event, MSE_PARAM_USER, user);
	mse_event_set_string(&event, MSE_PARAM_ADMIN, place->user->username);
	mse_event_set_string(&event, MSE_PARAM_OWNER, place->url_user);
	mse_event_set_string(&event, MSE_PARAM_CAUSE, "acl");
	mse_event_set_string(&event, MSE_PARAM_ACL_IDENTIFIER, id);
	mailhook_batch_add(&attributes->batch, &event);
}

static void mailhook_acl_report(struct mailhook_attributes *attributes,
				const ARRAY_TYPE(mailhook_acl) *now,
				const char *id)
{
	const struct mailhook_acl *before, *after = mailhook_acl_find(now, id);
	const char *user = after->user;

	before = attributes->acl_known ?
		mailhook_acl_find(&attributes->acl, id) : after;
	if (user == NULL)
		user = before->user;
	mailhook_acl_report_rights(attributes, id, before->rights,
				   after->rights);
	/* Without a list from before, who has no negative rights is not
	   suspected of having lost some. */
	if (attributes->acl_known || after->neg_rights != NULL)
		mailhook_acl_report_rights(attributes,
			t_strconcat("-", id, NULL), before->neg_rights,
			after->neg_rights);
	if (user != NULL && before->lookup != after->lookup)
		mailhook_acl_report_lookup(attributes, id, user,
					   after->lookup);
}

/* The end */

static void mailhook_attributes_look(struct mailhook_attributes *attributes,
				     struct mailbox *box)
{
	mailhook_place_init(&attributes->place, box);
	if (box->view != NULL)
		attributes->place.uidvalidity =
			mail_index_get_header(box->view)->uid_validity;
	attributes->place.guid = mailhook_mailbox_guid(box);
	attributes->now = mailhook_now();
}

void mailhook_attributes_intend(const struct mailhook_attributes *attributes,
				struct mailbox *box,
				struct mailhook_intent *intent)
{
	struct mailhook_place place;

	i_zero(intent);
	if (attributes == NULL)
		return;
	mailhook_place_init(&place, box);
	mailhook_intent_begin(intent, &place, box, NULL);
}

void mailhook_attributes_report(struct mailhook_attributes *attributes,
				struct mailbox *box)
{
	ARRAY_TYPE(mailhook_acl) acl;
	const char *const *key;
	int acl_read = 1; /* not yet */

	mail_storage_last_error_push(box->storage);
	mailhook_attributes_look(attributes, box);
	mailhook_batch_init(&attributes->batch, attributes->place.user);
	array_foreach(&attributes->keys, key) T_BEGIN {
		if (strncmp(*key + 1, MAILHOOK_ACL_PREFIX,
			    strlen(MAILHOOK_ACL_PREFIX)) != 0) {
			mailhook_metadata_report(attributes, *key);
		} else if ((attributes->wants & MAILHOOK_ACL_TYPES) != 0) {
			if (acl_read > 0)
				acl_read = mailhook_acl_list(
					box, attributes->pool, &acl);
			if (acl_read == 0)
				mailhook_acl_report(attributes, &acl,
					*key + 1 + strlen(MAILHOOK_ACL_PREFIX));
		}
	} T_END;
	mailhook_batch_send(&attributes->batch);
	mail_storage_last_error_pop(box->storage);
}
