/*
 * Quotas: QuotaExceed, and the figures (facts) from which the daemon derives
 * QuotaWithin and QuotaChange.
 *
 * Our hooks lie outside the quota plugin's, so they see what it refused. It
 * is reached by dlsym() only: without it nothing here does anything, but for
 * a file system that is out of quota. Invariants: the roots are asked only
 * for somebody who wants the answer, and only where the quota plugin asks
 * them itself, never while a message is being saved or a mailbox synced; the
 * client's error is the one it would get without us.
 *
 * Asking is not free: the count backend sums up all mailboxes in the mailbox
 * list's index, as it does itself once for every save. So: one look after a
 * commit that saved, one after a sync that expunged, one as a session begins.
 */

#include "lib.h"
#include "array.h"
#include "mail-namespace.h"
#include "mailbox-list-private.h"
#pragma GCC diagnostic push
/* Old-style declarations of Dovecot's. */
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "istream.h"
#pragma GCC diagnostic pop
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#include <dlfcn.h>

/* Dovecot 2.4 says UINT_MAX, or a percentage of it, for an unlimited number
   of messages. No mailbox user has that many. */
#define MAILHOOK_MESSAGES_UNLIMITED 1000000000

/* RFC 9208's names, for what ran out. */
#define MAILHOOK_STORAGE "STORAGE"
#define MAILHOOK_MESSAGE "MESSAGE"
#define MAILHOOK_MAILBOX "MAILBOX"

/* A fact's reason, for the daemon. */
#define MAILHOOK_LIMITS_ARE_NEW "limits"

static struct {
	bool looked_up, loaded;
	struct quota_root_iter *(*iter_box)(struct mailbox *box);
	struct quota_root_iter *(*iter_user)(struct mail_user *user);
	struct quota_root *(*iter_next)(struct quota_root_iter *iter);
	void (*iter_deinit)(struct quota_root_iter **iter);
	const char *(*get_name)(struct quota_root *root);
	bool (*is_hidden)(struct quota_root *root);
	void (*get_resource)(void);
	const void *settings;
} mailhook_quota;

struct mailhook_amount {
	uint64_t used, limit; /* octets or messages; limit 0: unlimited */
};

/* How one root stands. */
struct mailhook_figures {
	const char *root;
	struct mailhook_amount octets, messages;
};

/* What was not done, or not quite. */
struct mailhook_refusal {
	uint64_t octets, messages; /* what it would have added */
	const char *cause;
};

/* The quota plugin's functions */

static const struct {
	const char *name;
	void *function;
} mailhook_quota_symbols[] = {
	{ "quota_root_iter_init", &mailhook_quota.iter_box },
	{ "quota_root_iter_init_user", &mailhook_quota.iter_user },
	{ "quota_root_iter_next", &mailhook_quota.iter_next },
	{ "quota_root_iter_deinit", &mailhook_quota.iter_deinit },
	{ "quota_root_get_name", &mailhook_quota.get_name },
	{ "quota_root_is_hidden", &mailhook_quota.is_hidden },
	{ "quota_get_resource", &mailhook_quota.get_resource },
};

/* Ends with the first that is missing: to find that out the linker goes
   through all libraries, and composes an error. */
static bool mailhook_quota_look_up(void)
{
	unsigned int i;
	void *symbol;

	for (i = 0; i < N_ELEMENTS(mailhook_quota_symbols); i++) {
		symbol = dlsym(RTLD_DEFAULT, mailhook_quota_symbols[i].name);
		if (symbol == NULL)
			return FALSE;
		*(void **)mailhook_quota_symbols[i].function = symbol;
	}
	mailhook_quota.settings =
		dlsym(RTLD_DEFAULT, "quota_setting_parser_info");
	return TRUE;
}

/* Whether the quota plugin is loaded in this process. */
static bool mailhook_quota_loaded(void)
{
	/* Once: plugins are loaded before the first user is created. */
	if (!mailhook_quota.looked_up) {
		mailhook_quota.looked_up = TRUE;
		mailhook_quota.loaded = mailhook_quota_look_up();
	}
	return mailhook_quota.loaded;
}

static bool mailhook_quota_look(struct quota_root *root, struct mailbox *box,
				struct mailhook_figures *figures_r)
{
	i_zero(figures_r);
	figures_r->root = mailhook_quota.get_name(root);
	if (figures_r->root == NULL)
		figures_r->root = "";
	if (mailhook_quota_resource(mailhook_quota.get_resource, root, box,
				    QUOTA_NAME_STORAGE_BYTES,
				    &figures_r->octets.used,
				    &figures_r->octets.limit) < 0 ||
	    mailhook_quota_resource(mailhook_quota.get_resource, root, box,
				    QUOTA_NAME_MESSAGES,
				    &figures_r->messages.used,
				    &figures_r->messages.limit) < 0)
		return FALSE;
	if (figures_r->octets.limit > INT64_MAX)
		figures_r->octets.limit = 0;
	if (figures_r->messages.limit >= MAILHOOK_MESSAGES_UNLIMITED)
		figures_r->messages.limit = 0;
	return TRUE;
}

/* Events and facts */

static bool mailhook_quota_wants(struct mail_user *user, const char *lane,
				 enum mse_event_type type)
{
	struct mailhook_user *muser = mailhook_user_get(user);
	const struct mse_interest *interest;
	struct mse_event_route route;

	if (muser == NULL)
		return FALSE;
	interest = mse_appender_interest(muser->appender);
	i_zero(&route);
	route.type = type;
	route.owner = lane;
	return mse_interest_wants(interest, &route);
}

/* As IMAP's QUOTA answer rounds them (RFC 5423: 1024 octets). */
static uint64_t mailhook_kibibytes(uint64_t octets)
{
	return octets / 1024 + (octets % 1024 != 0 ? 1 : 0);
}

static void mailhook_event_set_figures(struct mse_event *event,
				       const struct mailhook_figures *figures)
{
	if (figures->octets.limit > 0) {
		mse_event_set_number(event, MSE_PARAM_DISK_QUOTA,
			mailhook_kibibytes(figures->octets.limit));
		mse_event_set_number(event, MSE_PARAM_DISK_USED,
			mailhook_kibibytes(figures->octets.used));
	}
	if (figures->messages.limit > 0) {
		mse_event_set_number(event, MSE_PARAM_MAX_MESSAGES,
				     figures->messages.limit);
		mse_event_set_number(event, MSE_PARAM_MESSAGES,
				     figures->messages.used);
	}
	/* "" where it has no name; absent where there is no root. */
	mse_event_set_string(event, MSE_PARAM_QUOTA_ROOT, figures->root);
}

/* Whose quota it is, without the mailbox. */
static void mailhook_quota_place_box(struct mailhook_place *place_r,
				     struct mailbox *box)
{
	mailhook_place_init(place_r, box);
	place_r->mailbox = NULL;
}

/* Whether this session tells these limits for the first time. They are its
   userdb's and stay as they are until it ends, but for backends that ask
   elsewhere: only then do they say anything that others, which have begun
   since, do not know better. */
static bool mailhook_limits_are_new(struct mailhook_user *muser,
				    const struct mailhook_place *place,
				    const struct mailhook_figures *figures)
{
	struct mailhook_told *told = muser->quota.told;
	bool news = TRUE;

	while (told != NULL && (strcmp(told->root, figures->root) != 0 ||
				strcmp(told->lane, place->lane) != 0))
		told = told->next;
	if (told == NULL) {
		told = p_new(place->user->pool, struct mailhook_told, 1);
		told->root = p_strdup(place->user->pool, figures->root);
		told->lane = p_strdup(place->user->pool, place->lane);
		told->next = muser->quota.told;
		muser->quota.told = told;
		/* A session that was hibernated brings its old ones along. */
		news = !place->user->session_restored;
	} else if (told->octets_limit == figures->octets.limit &&
		   told->messages_limit == figures->messages.limit) {
		return FALSE;
	}
	told->octets_limit = figures->octets.limit;
	told->messages_limit = figures->messages.limit;
	return news;
}

static void mailhook_quota_fact(struct mailhook_user *muser,
				struct mailhook_batch *batch,
				const struct mailhook_place *place,
				const struct mailhook_figures *figures,
				const char *cause)
{
	struct mse_event event;

	mailhook_event_init(&event, MSE_EVENT_FACT_QUOTA, place,
			    mailhook_now());
	mse_event_set_string(&event, MSE_PARAM_URI,
			     mailhook_place_url(place));
	mse_event_set_string(&event, MSE_PARAM_CAUSE, cause);
	if (mailhook_limits_are_new(muser, place, figures))
		mse_event_set_string(&event, MSE_PARAM_REASON,
				     MAILHOOK_LIMITS_ARE_NEW);
	mailhook_event_set_figures(&event, figures);
	mailhook_batch_add(batch, &event);
}

/* Tells how each of these roots stands. */
static void mailhook_quota_tell(struct quota_root_iter *iter,
				const struct mailhook_place *place,
				const char *cause)
{
	struct mailhook_user *muser = mailhook_user_get(place->user);
	struct mailhook_figures figures;
	struct mailhook_batch batch;
	struct quota_root *root;

	mailhook_batch_init(&batch, place->user);
	while ((root = mailhook_quota.iter_next(iter)) != NULL) T_BEGIN {
		if (!mailhook_quota.is_hidden(root) &&
		    mailhook_quota_look(root, NULL, &figures))
			mailhook_quota_fact(muser, &batch, place, &figures,
					    cause);
	} T_END;
	mailhook_batch_send(&batch);
}

static void mailhook_quota_tell_box(struct mailbox *box, const char *cause)
{
	struct mailhook_place place;
	struct mail_storage_error error;
	struct quota_root_iter *iter;

	mailhook_quota_place_box(&place, box);
	if (!mailhook_quota_loaded() ||
	    !mailhook_quota_wants(place.user, place.lane,
				  MSE_EVENT_FACT_QUOTA))
		return;
	mailhook_error_keep(box->storage, &error);
	iter = mailhook_quota.iter_box(box);
	T_BEGIN {
		mailhook_quota_tell(iter, &place, cause);
	} T_END;
	mailhook_quota.iter_deinit(&iter);
	mailhook_error_restore(box->storage, &error);
}

void mailhook_quota_session_begins(struct mail_user *user)
{
	struct mailhook_place place;
	struct quota_root_iter *iter;

	i_zero(&place);
	place.user = user;
	place.lane = place.url_user = user->username;
	if (!mailhook_quota_loaded() ||
	    !mailhook_quota_wants(user, place.lane, MSE_EVENT_FACT_QUOTA))
		return;
	iter = mailhook_quota.iter_user(user);
	T_BEGIN {
		mailhook_quota_tell(iter, &place, "login");
	} T_END;
	mailhook_quota.iter_deinit(&iter);
}

/* Limits are the same all through a session: a delivery, or a session that
   has not told them yet, tells them with its first save. */
static bool mailhook_quota_has_told(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);

	return muser == NULL || muser->quota.told != NULL;
}

/* What ran out */

/* The room that is left is compared with what was to be added. slack: the
   size is known roughly only (line ends, a size told by nobody). */
static bool mailhook_amount_is_short(const struct mailhook_amount *amount,
				     uint64_t added, bool slack)
{
	if (amount->limit == 0)
		return FALSE;
	if (amount->used >= amount->limit)
		return TRUE;
	if (slack)
		added += added / 16 + amount->limit / 16;
	return added > amount->limit - amount->used;
}

static const char *mailhook_resource_name(bool octets, bool messages)
{
	if (octets && messages)
		return MAILHOOK_STORAGE" "MAILHOOK_MESSAGE;
	return octets ? MAILHOOK_STORAGE : messages ? MAILHOOK_MESSAGE : NULL;
}

/* NULL: this root has room for it. */
static const char *
mailhook_figures_short_of(const struct mailhook_figures *figures,
			  const struct mailhook_refusal *refusal, bool slack)
{
	bool octets, messages;

	octets = mailhook_amount_is_short(&figures->octets, refusal->octets,
					  slack);
	messages = mailhook_amount_is_short(&figures->messages,
					    refusal->messages, FALSE);
	return mailhook_resource_name(octets, messages);
}

struct mailhook_blame {
	bool found;
	struct mailhook_figures figures; /* the root's own, as IMAP has them */
	const char *resource;            /* NULL: none is short */
};

/* The first root that explains the refusal; else the first limited one. */
static void mailhook_quota_blame(struct mailbox *box,
				 const struct mailhook_refusal *refusal,
				 bool slack, struct mailhook_blame *blame_r)
{
	struct mailhook_figures here, whole;
	struct quota_root_iter *iter = mailhook_quota.iter_box(box);
	struct quota_root *root;

	i_zero(blame_r);
	while (blame_r->resource == NULL &&
	       (root = mailhook_quota.iter_next(iter)) != NULL) {
		/* A rule for this mailbox may decide; what is reported is
		   the root's limit, which everyone else reports too. */
		if (mailhook_quota.is_hidden(root) ||
		    !mailhook_quota_look(root, box, &here) ||
		    !mailhook_quota_look(root, NULL, &whole))
			continue;
		blame_r->resource = mailhook_figures_short_of(&here, refusal,
							      slack);
		if (blame_r->resource == NULL &&
		    (blame_r->found || (whole.octets.limit == 0 &&
					whole.messages.limit == 0)))
			continue;
		blame_r->found = TRUE;
		blame_r->figures = whole;
	}
	mailhook_quota.iter_deinit(&iter);
}

/* Dovecot 2.4 can limit the messages of one mailbox, whatever its root. */
static bool mailhook_quota_blame_box(struct mailbox *box,
				     const struct mailhook_refusal *refusal,
				     struct mailhook_blame *blame_r)
{
	struct mailhook_figures figures;
	struct mailbox_status status;

	i_zero(&figures);
	figures.messages.limit =
		mailhook_quota_mailbox_messages(mailhook_quota.settings, box);
	if (figures.messages.limit == 0 || !box->opened)
		return FALSE;
	mailbox_get_open_status(box, STATUS_MESSAGES, &status);
	figures.messages.used = status.messages;
	if (!mailhook_amount_is_short(&figures.messages, refusal->messages,
				      FALSE))
		return FALSE;
	blame_r->found = TRUE;
	blame_r->figures = figures;
	blame_r->resource = MAILHOOK_MESSAGE;
	return TRUE;
}

static void mailhook_quota_find(struct mailbox *box,
				const struct mailhook_refusal *refusal,
				struct mailhook_blame *blame_r)
{
	i_zero(blame_r);
	if (!mailhook_quota_loaded())
		return;
	mailhook_quota_blame(box, refusal, FALSE, blame_r);
	if (blame_r->resource != NULL ||
	    mailhook_quota_blame_box(box, refusal, blame_r))
		return;
	mailhook_quota_blame(box, refusal, TRUE, blame_r);
}

static void mailhook_quota_exceed(const struct mailhook_place *place,
				  const struct mailhook_blame *blame,
				  const char *cause)
{
	struct mailhook_batch batch;
	struct mse_event event;

	mailhook_event_init(&event, MSE_EVENT_QUOTA_EXCEED, place,
			    mailhook_now());
	mse_event_set_string(&event, MSE_PARAM_URI,
			     mailhook_place_url(place));
	if (place->mailbox != NULL)
		mse_event_set_string(&event, MSE_PARAM_MAILBOX_ID,
				     mailhook_place_url(place));
	mse_event_set_string(&event, MSE_PARAM_CAUSE, cause);
	if (blame->found)
		mailhook_event_set_figures(&event, &blame->figures);
	mse_event_set_string(&event, MSE_PARAM_QUOTA_RESOURCE,
			     blame->resource);
	mailhook_batch_init(&batch, place->user);
	mailhook_batch_add(&batch, &event);
	mailhook_batch_send(&batch);
}

static void mailhook_quota_place_mailbox(struct mailhook_place *place_r,
					 struct mailbox *box)
{
	mailhook_place_init(place_r, box);
	if (box->opened) {
		place_r->uidvalidity = mailhook_fresh_uidvalidity(box);
		place_r->guid = mailhook_mailbox_guid(box);
	}
}

/* A delivery that is refused is tried again, in INBOX, before it fails. */
static bool mailhook_quota_is_retried(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);
	bool before;

	if (muser == NULL || user->service == NULL ||
	    (strcmp(user->service, "lmtp") != 0 &&
	     strcmp(user->service, "lda") != 0))
		return FALSE;
	/* Each delivery has a mail user of its own. */
	before = muser->quota.refused;
	muser->quota.refused = TRUE;
	return before;
}

static void mailhook_quota_refused(struct mailbox *box,
				   const struct mailhook_place *place,
				   const struct mailhook_refusal *refusal)
{
	struct mailhook_blame blame;
	struct mail_storage_error error;

	if (mailhook_quota_is_retried(place->user))
		return;
	/* The limits may be new to the daemon. */
	if (!mailhook_quota_has_told(place->user))
		mailhook_quota_tell_box(box, refusal->cause);
	mailhook_error_keep(box->storage, &error);
	mailhook_quota_find(box, refusal, &blame);
	mailhook_quota_exceed(place, &blame, refusal->cause);
	mailhook_error_restore(box->storage, &error);
}

static bool mailhook_error_is(struct mailbox *box, enum mail_error wanted)
{
	enum mail_error error;

	(void)mailbox_get_last_error(box, &error);
	return error == wanted;
}

/* Saving. What is refused is noted, and told once the transaction is over:
   only then may the roots be asked, and only then is it clear what is left
   of a MULTIAPPEND. */

static struct mailhook_transaction *
mailhook_quota_transaction(struct mailbox_transaction_context *t)
{
	struct mailhook_transaction *mt = mailhook_transaction_get(t);

	return mt != NULL && mailhook_transaction_wants(mt,
		MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED)) ? mt : NULL;
}

static void mailhook_quota_note(struct mailhook_transaction *mt,
				struct mailbox *box, const char *cause,
				uint64_t octets)
{
	if (mt->quota.refused || !mailhook_error_is(box, MAIL_ERROR_NOQUOTA))
		return;
	mt->quota.refused = TRUE;
	mt->quota.refused_octets = octets;
	mt->quota.refused_cause = cause;
}

static int mailhook_save_begin(struct mail_save_context *ctx,
			       struct istream *input)
{
	struct mailbox *box = ctx->transaction->box;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_transaction *mt = NULL;
	uoff_t size;
	int ret;

	mailhook_parameters_ask(ctx);
	/* Within a copy it is the copy that tells. */
	if (!ctx->copying_via_save)
		mt = mailhook_quota_transaction(ctx->transaction);
	if (mt == NULL)
		return mbox->module_ctx.super.save_begin(ctx, input);
	/* As the quota plugin itself asks; nobody else needs to know. */
	if (!mailhook_quota_loaded() ||
	    i_stream_get_size(input, TRUE, &size) <= 0)
		size = 0;
	mt->quota.save_octets = size;
	mt->quota.input = input;
	mt->quota.input_start = input->v_offset;
	ret = mbox->module_ctx.super.save_begin(ctx, input);
	if (ret < 0)
		mailhook_quota_note(mt, box, mailhook_save_cause(ctx), size);
	return ret;
}

static int mailhook_save_continue(struct mail_save_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_transaction *mt = NULL;
	uint64_t read;
	int ret;

	ret = mbox->module_ctx.super.save_continue(ctx);
	if (!ctx->copying_via_save)
		mt = mailhook_transaction_peek(ctx->transaction);
	if (mt == NULL || mt->quota.input == NULL)
		return ret;
	read = mt->quota.input->v_offset - mt->quota.input_start;
	if (mt->quota.save_octets < read)
		mt->quota.save_octets = read;
	if (ret < 0)
		mailhook_quota_note(mt, box, mailhook_save_cause(ctx),
				    mt->quota.save_octets);
	return ret;
}

void mailhook_quota_save_failed(struct mail_save_context *ctx)
{
	struct mailhook_transaction *mt =
		mailhook_quota_transaction(ctx->transaction);

	if (mt != NULL)
		mailhook_quota_note(mt, ctx->transaction->box,
				    mailhook_save_cause(ctx),
				    mt->quota.save_octets);
}

void mailhook_quota_copy_failed(struct mail_save_context *ctx,
				struct mail *src)
{
	struct mailbox *box = ctx->transaction->box;
	struct mailhook_transaction *mt =
		mailhook_quota_transaction(ctx->transaction);
	struct mail_storage_error error;
	uoff_t size = 0;

	if (mt == NULL || mt->quota.refused ||
	    !mailhook_error_is(box, MAIL_ERROR_NOQUOTA))
		return;
	mailhook_error_keep(box->storage, &error);
	if (mail_get_virtual_size(src, &size) < 0)
		size = 0;
	mailhook_error_restore(box->storage, &error);
	mailhook_quota_note(mt, box, mailhook_save_cause(ctx), size);
}

void mailhook_quota_saved(struct mailhook_transaction *mt,
			  struct mail_save_context *ctx, struct mail *mail)
{
	struct mail_storage_error error;
	uoff_t size;

	if (!mailhook_transaction_wants(mt,
			MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED) |
			MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA)))
		return;
	mt->quota.saved++;
	mt->quota.saved_cause = mailhook_save_cause(ctx);
	if (!mailhook_quota_loaded())
		return;
	mailhook_error_keep(mail->box->storage, &error);
	if (mail_get_virtual_size(mail, &size) == 0)
		mt->quota.saved_octets += size;
	mailhook_error_restore(mail->box->storage, &error);
}

static bool mailhook_amount_crossed(const struct mailhook_amount *amount,
				    uint64_t added)
{
	return amount->limit > 0 && amount->used > amount->limit &&
		amount->used - amount->limit <= added;
}

/* From within the limit that holds in this mailbox to beyond it: by a
   delivery within the grace, or where nothing is enforced. */
static const char *
mailhook_quota_crossed(struct quota_root *root, struct mailbox *box,
		       const struct mailhook_quota_notes *notes)
{
	struct mailhook_figures here;

	if (!mailhook_quota_look(root, box, &here))
		return NULL;
	return mailhook_resource_name(
		mailhook_amount_crossed(&here.octets, notes->saved_octets),
		mailhook_amount_crossed(&here.messages, notes->saved));
}

static void mailhook_quota_look_for_crossing(struct mailbox *box,
	const struct mailhook_quota_notes *notes)
{
	struct mailhook_blame blame;
	struct mailhook_place place;
	struct quota_root_iter *iter;
	struct quota_root *root;

	iter = mailhook_quota.iter_box(box);
	while ((root = mailhook_quota.iter_next(iter)) != NULL) T_BEGIN {
		i_zero(&blame);
		if (!mailhook_quota.is_hidden(root))
			blame.resource = mailhook_quota_crossed(root, box,
								notes);
		if (blame.resource != NULL) {
			blame.found = mailhook_quota_look(root, NULL,
							  &blame.figures);
			mailhook_quota_place_mailbox(&place, box);
			mailhook_quota_exceed(&place, &blame,
					      notes->saved_cause);
		}
	} T_END;
	mailhook_quota.iter_deinit(&iter);
}

void mailhook_quota_transaction_ended(struct mailhook_transaction *mt,
				      struct mailbox *box, bool committed)
{
	const struct mailhook_quota_notes *notes = &mt->quota;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_refusal refusal;
	struct mailhook_place place;

	if (committed && mt->expunge_cause != NULL && !box->deleting &&
	    mailhook_transaction_wants(mt, MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA)))
		mbox->quota_due = mt->expunge_cause;
	if (notes->refused) {
		refusal.octets = notes->refused_octets;
		refusal.messages = 1;
		if (!committed) {
			refusal.octets += notes->saved_octets;
			refusal.messages += notes->saved;
		}
		refusal.cause = notes->refused_cause;
		mailhook_quota_place_mailbox(&place, box);
		mailhook_quota_refused(box, &place, &refusal);
		return;
	}
	if (!committed || notes->saved == 0 || !mailhook_quota_loaded())
		return;
	if (!mailhook_quota_has_told(mt->user))
		mailhook_quota_tell_box(box, notes->saved_cause);
	if (mailhook_transaction_wants(mt,
			MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED)))
		mailhook_quota_look_for_crossing(box, notes);
}

void mailhook_quota_commit_failed(struct mailhook_transaction *mt,
				  struct mailbox *box)
{
	if (mailhook_transaction_wants(mt,
			MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED)))
		mailhook_quota_note(mt, box, mt->quota.saved_cause, 0);
}

/* Room that comes back: told when the quota plugin knows it, which is at the
   end of the sync that really expunges, at the mailbox's close at latest. */

static void mailhook_quota_tell_due(struct mailbox *box)
{
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	const char *cause = mbox->quota_due;

	if (cause == NULL)
		return;
	mbox->quota_due = NULL;
	/* The quota plugin looks away too. */
	if ((box->flags & MAILBOX_FLAG_DELETE_UNSAFE) == 0)
		mailhook_quota_tell_box(box, cause);
}

static int mailhook_sync_deinit(struct mailbox_sync_context *ctx,
				struct mailbox_sync_status *status_r)
{
	struct mailbox *box = ctx->box;
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	int ret;

	/* ctx is freed in here. */
	ret = mbox->module_ctx.super.sync_deinit(ctx, status_r);
	mailhook_quota_tell_due(box);
	return ret;
}

static void mailhook_box_close(struct mailbox *box)
{
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);

	mbox->module_ctx.super.close(box);
	mailhook_quota_tell_due(box);
}

void mailhook_quota_box_deleted(struct mailbox *box)
{
	mailhook_quota_tell_box(box, "delete");
}

/* Other refusals */

static bool mailhook_quota_wants_box(struct mailbox *box)
{
	struct mailhook_user *muser = mailhook_user_get(box->storage->user);
	const struct mse_interest *interest;
	struct mailhook_place place;

	if (muser == NULL)
		return FALSE;
	interest = mse_appender_interest(muser->appender);
	if ((interest->types & MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED)) == 0)
		return FALSE;
	mailhook_place_init(&place, box);
	return (mailhook_place_wants(interest, &place, NULL) &
		MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED)) != 0;
}

/* LMTP's question at RCPT (lmtp_rcpt_check_quota), the only one that asks
   so. The mailbox is INBOX whatever becomes of the message: not reported. */
static int mailhook_get_status(struct mailbox *box,
			       enum mailbox_status_items items,
			       struct mailbox_status *status_r)
{
	static const struct mailhook_refusal refusal = {
		.octets = 0, .messages = 1, .cause = "delivery"
	};
	struct mailhook_mailbox *mbox = mailhook_mailbox_get(box);
	struct mailhook_place place;
	int ret;

	ret = mbox->module_ctx.super.get_status(box, items, status_r);
	if (ret < 0 && (items & STATUS_CHECK_OVER_QUOTA) != 0 &&
	    mailhook_error_is(box, MAIL_ERROR_NOQUOTA)) T_BEGIN {
		mailhook_quota_place_box(&place, box);
		if (mailhook_quota_wants(place.user, place.lane,
					 MSE_EVENT_QUOTA_EXCEED))
			mailhook_quota_refused(box, &place, &refusal);
	} T_END;
	return ret;
}

/* Dovecot 2.4 can limit the number of mailboxes; nothing else fails so when
   one is created. Which number it is, nobody says. */
void mailhook_quota_create_failed(struct mailbox *box)
{
	struct mailhook_blame blame;
	struct mailhook_place place;

	i_zero(&blame);
	if (mailhook_error_is(box, MAIL_ERROR_LIMIT))
		blame.resource = MAILHOOK_MAILBOX;
	else if (!mailhook_error_is(box, MAIL_ERROR_NOQUOTA))
		return;
	if (!mailhook_quota_wants_box(box))
		return;
	T_BEGIN {
		mailhook_place_init(&place, box);
		mailhook_quota_exceed(&place, &blame, "create");
	} T_END;
}

void mailhook_quota_hook(struct mailbox_vfuncs *v)
{
	/* Read-only storages have none. */
	if (v->save_begin != NULL)
		v->save_begin = mailhook_save_begin;
	if (v->save_continue != NULL)
		v->save_continue = mailhook_save_continue;
	v->get_status = mailhook_get_status;
	v->sync_deinit = mailhook_sync_deinit;
	v->close = mailhook_box_close;
}
