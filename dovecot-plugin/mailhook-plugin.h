#ifndef MAILHOOK_PLUGIN_H
#define MAILHOOK_PLUGIN_H

#include "mail-storage-private.h"
#include "mail-user.h"

#include "base/buf.h"
#include "event/event.h"
#include "journal/append.h"

/*
 * The flow: a hook asks mailhook_transaction_get() (or, for a mailbox,
 * mailhook_box_wants()) whether anyone wants what is about to happen, notes
 * it, and after the commit the report turns the notes into records and
 * appends them in one go. All state hangs on users, mailboxes, transactions
 * and mails: LMTP has several users alive at once.
 */

struct module;

/* mailhook-plugin.c */

void mailhook_plugin_preinit(void);
void mailhook_plugin_init(struct module *module);
void mailhook_plugin_deinit(void);
/* The process's appender for dir (NULL: the default); opened at most once.
   NULL if there is no memory. Lives until the process ends. */
struct mse_appender *mailhook_appender(const char *dir);
/* One line a minute at most, whatever happens to how many events. */
void mailhook_warn(struct mail_user *user, const char *text);

/* mailhook-session.c: Login and Logout. Each protocol's file tells when its
   client is logged in, and before its end how it ends. */

struct mailhook_session {
	const void *super;      /* vfuncs below ours, of the client */
	bool begun;             /* logged in, or come back from hibernation */
	bool promised;          /* derive waits to hear of its end */
	bool hibernates;        /* this is not its end */
	bool counted;           /* the octets are known */
	const char *disconnect; /* a literal; NULL: nobody can tell */
	uint64_t bytes_in, bytes_out;
	unsigned int slot;
	char instance[MSE_UUID_SIZE];
	const char *socket;     /* of a session that hibernates */
};

/* Never NULL: a user who is not reported has one that nothing becomes of. */
struct mailhook_session *mailhook_session_get(struct mail_user *user);
/* Writes a Login, or that a hibernated session is back. Once. */
void mailhook_session_begin(struct mail_user *user);
/* How a session with this disconnect reason (may be NULL) ends. */
const char *mailhook_session_kind(const char *reason);
void mailhook_session_count(struct mailhook_session *session,
			    uint64_t bytes_in, uint64_t bytes_out);
/* The client's connection is handed to imap-hibernate. */
void mailhook_session_hibernates(struct mail_user *user, int fd);
/* When the user goes, after all that the session still did. */
void mailhook_session_end(struct mail_user *user);
/* Protocols without hooks of their own. */
void mailhook_session_namespaces_created(struct mail_user *user);

/* mailhook-imap.c, mailhook-pop3.c, mailhook-submission.c: the hooks of the
   program this is. FALSE: it is not that one. */

bool mailhook_imap_init(void);
void mailhook_imap_deinit(void);
bool mailhook_pop3_init(void);
void mailhook_pop3_deinit(void);
void mailhook_pop3_opens_inbox(struct mail_user *user);
bool mailhook_submission_init(void);
void mailhook_submission_deinit(void);

/* mailhook-user.c */

/* A quota root's limits as this session has told them; 0: unlimited. */
struct mailhook_told {
	struct mailhook_told *next;
	const char *root, *lane;
	uint64_t octets_limit, messages_limit;
};

struct mailhook_user {
	union mail_user_module_context module_ctx;
	struct mse_appender *appender;
	enum mse_durability durability;
	struct {
		struct mailhook_told *told;
		bool refused; /* a delivery was, and that is told */
	} quota;
	struct mailhook_session session;
	string_t *envelope; /* of his last delivery; NULL or "" if none */
	/* What all his events have, and the process in which it is so. */
	struct mse_printed printed;
	pid_t printed_by;
};

void mailhook_user_created(struct mail_user *user);
void mailhook_namespaces_created(struct mail_namespace *namespaces);
/* NULL: nothing of this user is reported (raw, autocreated, dsync). */
struct mailhook_user *mailhook_user_get(struct mail_user *user);

/* mailhook-event.c */

/* Who and where, looked up once and borrowed from box and its user. */
struct mailhook_place {
	struct mail_user *user;
	const char *mailbox;   /* name as its owner knows it */
	const char *lane;      /* owner, or a public namespace's prefix */
	const char *url_user;  /* NULL for a public mailbox */
	const char *owner;     /* NULL if that is the user */
	uint32_t uidvalidity;  /* 0: none or unknown */
	const char *guid;      /* NULL if unknown */
};

/* Records on their way to the journal: one append for all of them. */
struct mailhook_batch {
	struct mail_user *user;
	struct mse_buf bytes;
	unsigned int records;
	unsigned int lost;
};

void mailhook_place_init(struct mailhook_place *place_r, struct mailbox *box);
/* No mailbox: the user's root. */
void mailhook_place_init_user(struct mailhook_place *place_r,
			      struct mail_user *user);
/* The host of URLs. Until the interest is read again. */
const char *mailhook_server(struct mail_user *user);
/* Data stack. */
const char *mailhook_place_url(const struct mailhook_place *place);
/* Types of which anyone wants events at this place. 0 costs no lookup. */
mse_event_types_t mailhook_place_wants(const struct mse_interest *interest,
				       const struct mailhook_place *place,
				       const char *old_mailbox);
/* Envelope and the parameters that every event of this user carries. Those of
   the session are not to be set otherwise, unless they are spelt out. */
void mailhook_event_init(struct mse_event *event, enum mse_event_type type,
			 const struct mailhook_place *place, int64_t wall_ms);
void mailhook_event_spell_out(struct mse_event *event,
			      const struct mail_user *user);
/* Those of these parameters that are set, in the pool; none if there is no
   memory. */
void mailhook_event_print(struct mse_event *event, uint64_t params,
			  pool_t pool, struct mse_printed *printed_r);
/* Instead of the event's own; borrowed. */
void mailhook_event_use(struct mse_event *event,
			const struct mse_printed *printed);
void mailhook_batch_init(struct mailhook_batch *batch, struct mail_user *user);
void mailhook_batch_add(struct mailhook_batch *batch,
			const struct mse_event *event);
/* Appends, counts what was lost, frees. */
void mailhook_batch_send(struct mailhook_batch *batch);
/* Frees. Either may be called on zeros and again. */
void mailhook_batch_drop(struct mailhook_batch *batch);
void mailhook_batch_deinit(void);
int64_t mailhook_now(void);
bool mailhook_name_listed(char *const *names, const char *name);

/* mailhook-intent.c: should the process die before its events are appended,
   the daemon tells what it was changing. */

struct mailhook_intent {
	struct mse_appender *appender; /* NULL: nothing is under way */
	uint32_t id;
};

/* Before a change in box, known as place, that will be reported. old_mailbox:
   of a rename, else NULL. Copies all it needs. */
void mailhook_intent_begin(struct mailhook_intent *intent,
			   const struct mailhook_place *place,
			   struct mailbox *box, const char *old_mailbox);
/* It is reported, or did not happen. May be called on zeros and again. */
void mailhook_intent_end(struct mailhook_intent *intent);

/* mailhook-mailbox.c */

struct mailhook_mailbox {
	union mailbox_module_context module_ctx;
	const char *guid; /* once it has been asked for */
	const char *url;  /* once it has been made, with these */
	const char *url_server;
	uint32_t url_uidvalidity;
	/* What its events have, from the second one on that has this URL:
	   many mailboxes are opened for one. */
	bool used;
	struct mse_printed printed_url, printed_name;
	bool commits; /* nobody is between our transaction_commit and the
			 storage's */
	const char *quota_due; /* why quotas change at the next sync; or NULL */
	/* While the mailbox is being deleted: that its mails were expunged,
	   which is told only if the mailbox stays. */
	struct mailhook_batch emptied;
	struct mailhook_intent deleting; /* from then on, or from before */
};

struct mailhook_mailbox *mailhook_mailbox_get(struct mailbox *box);
void mailhook_mailbox_allocated(struct mailbox *box);
/* From the index as it is now; 0 if it cannot be read. */
uint32_t mailhook_fresh_uidvalidity(struct mailbox *box);
/* NULL if it has none or cannot tell. */
const char *mailhook_mailbox_guid(struct mailbox *box);
/* mailhook_place_url() of a place that is this mailbox, made once. */
const char *mailhook_mailbox_url(struct mailbox *box,
				 const struct mailhook_place *place);
/* Of a message in the mailbox that has this URL. Data stack. */
const char *mailhook_message_url(const char *url, uint32_t uid);
/* To an event of this mailbox, whose URL is url; uid: its message's, or 0. */
void mailhook_mailbox_set(struct mailbox *box, struct mse_event *event,
			  const char *url, uint32_t uid);

/* mailhook-transaction.c */

struct mailhook_transaction;

#define MAILHOOK_FLAG_TYPES \
	(MSE_EVENT_BIT(MSE_EVENT_MESSAGE_READ) | \
	 MSE_EVENT_BIT(MSE_EVENT_MESSAGE_TRASH) | \
	 MSE_EVENT_BIT(MSE_EVENT_FLAGS_SET) | \
	 MSE_EVENT_BIT(MSE_EVENT_FLAGS_CLEAR))

void mailhook_transaction_hook(struct mailbox_vfuncs *v);
void mailhook_transaction_deinit(void);
/* NULL if nothing of this transaction can be of interest; that is found out
   once. */
struct mailhook_transaction *
mailhook_transaction_get(struct mailbox_transaction_context *t);
/* NULL if nothing has been of interest yet. */
struct mailhook_transaction *
mailhook_transaction_peek(struct mailbox_transaction_context *t);
bool mailhook_transaction_wants(const struct mailhook_transaction *mt,
				mse_event_types_t types);
void mailhook_transaction_expunge(struct mailhook_transaction *mt,
				  struct mail *mail);
/* The id that its events and those of a MOVE's other half share. */
void mailhook_transaction_make_id(struct mailhook_transaction *mt);

/* Why a message is saved: a literal. */
const char *mailhook_save_cause(const struct mail_save_context *ctx);

/* As they are now, without \Recent. Never opens the message. */
enum mail_flags mailhook_flags_get(struct mail *mail);
/* Sorted, space-separated; data stack. Never opens the message. */
const char *mailhook_keywords_get(struct mail *mail);
/* Notes what has changed. */
void mailhook_transaction_flags(struct mailhook_transaction *mt,
				struct mail *mail, enum mail_flags before,
				enum mail_flags after);
/* Notes what has changed since before. */
void mailhook_transaction_keywords(struct mailhook_transaction *mt,
				   struct mail *mail, const char *before);

/* mailhook-mail.c */

void mailhook_mail_allocated(struct mail *mail);

/* mailhook-commit.c: reports what the storage commits. */

typedef int
mailhook_commit_func_t(struct mailbox_transaction_context *t,
		       struct mail_transaction_commit_changes *changes_r);

void mailhook_commit_init(void);
void mailhook_commit_deinit(void);
/* The storage's commit, and the report. */
int mailhook_commit_reported(struct mailbox_transaction_context *t,
			     struct mail_transaction_commit_changes *changes_r,
			     mailhook_commit_func_t *commit);

/* mailhook-acl.c */

/* What one identifier may do. Rights are RFC 4314's letters, "" if it has
   none, NULL if the ACL does not name it. */
struct mailhook_acl {
	const char *id;   /* "user=joe", "anyone", … as Dovecot writes it */
	const char *user; /* NULL unless the identifier is a user */
	const char *rights, *neg_rights;
	bool lookup;
};
ARRAY_DEFINE_TYPE(mailhook_acl, struct mailhook_acl);

/* The mailbox's own ACL, from the pool. -1 if it cannot be read or ACLs are
   not in use. */
int mailhook_acl_list(struct mailbox *box, pool_t pool,
		      ARRAY_TYPE(mailhook_acl) *list_r);

/* mailhook-attribute.c */

struct mailhook_attributes;

struct mailbox_transaction_context *
mailhook_transaction_begin(struct mailbox *box,
			   enum mailbox_transaction_flags flags,
			   const char *reason);
/* Before the commit: what it changes, NULL if nothing that anyone wants. */
struct mailhook_attributes *
mailhook_attributes_take(struct mailbox_transaction_context *t);
void mailhook_attributes_intend(const struct mailhook_attributes *attributes,
				struct mailbox *box,
				struct mailhook_intent *intent);
/* After it. */
void mailhook_attributes_report(struct mailhook_attributes *attributes,
				struct mailbox *box);
void mailhook_attributes_free(struct mailhook_attributes **attributes);
/* Instead of a commit. */
void mailhook_attributes_drop(struct mailbox_transaction_context *t);

/* mailhook-report.c: what a committed transaction noted, as records. */

struct mailhook_save {
	enum mse_event_type type;
	bool used;
	bool failed; /* reported only if it was committed all the same */
	bool size_known;
	uint64_t size;
	const char *flag_names; /* NULL if none */
	const char *cause;
	const char *source_uri; /* NULL unless copied */
	struct mailhook_optionals *optionals; /* NULL if none is wanted */
};

/* messageContent of one message. Sizes are in octets with CRLF. */
struct mailhook_content {
	uint64_t headers, body;
	unsigned int parts;     /* bit 1 << enum mse_content_part: those with
				   a text, which is in mt->content */
	size_t start;
	bool has_headers;       /* it begins with them, wanted or not */
	const char *suppressed; /* why there is none, beside limits */
};

/* What was looked up for one message. Strings are where they begin in
   mt->texts; 0: absent. */
struct mailhook_optionals {
	size_t body_structure;
	size_t headers[MSE_HEADER_COUNT];
	struct mailhook_content content;
};

/* Keywords as mailhook_keywords_get() has them; both NULL: not touched. */
struct mailhook_flag_change {
	uint32_t uid, seq;
	enum mail_flags flags_before, flags_after;
	const char *keywords_before, *keywords_after;
};

struct mailhook_quota_notes {
	struct istream *input;     /* of the save under way; borrowed */
	uint64_t input_start;
	uint64_t save_octets;      /* of that save, as far as known */
	bool refused;
	uint64_t refused_octets;
	const char *refused_cause;
	uint64_t saved_octets;
	unsigned int saved;        /* messages that are more than before */
	const char *saved_cause;
};

/* Of an array that may not have been created. */
#define MAILHOOK_COUNT(array) \
	(array_is_created(array) ? array_count(array) : 0)

struct mailhook_transaction {
	union mailbox_transaction_module_context module_ctx;
	pool_t pool;
	struct mail_user *user;
	mse_event_types_t wants;
	bool flag_events_full;
	bool expunges_expire;
	const char *left_by; /* "move" or "replace", if expunged by one */
	bool has_id;
	char id[MSE_UUID_SIZE];
	const char *expunge_cause, *flags_cause;
	/* Created by the first that is noted: see MAILHOOK_COUNT(). */
	ARRAY(struct mailhook_save) saves; /* by order of append */
	ARRAY_TYPE(seq_range) expunged, expired;
	ARRAY(struct mailhook_flag_change) changes; /* by uid */
	const char *kept[16]; /* keywords of the last changes */
	unsigned int kept_next;
	struct mailhook_quota_notes quota;
	/* Of saved messages, for as long as the transaction lasts. */
	struct mse_wanted wanted;
	struct mse_buf texts, content;
	/* The header fields that are told, as this mailbox knows them. */
	struct mailbox_header_lookup_ctx *headers;
	struct mailbox *headers_box;
};

/* Whether there is anything to report, should it be committed. */
bool mailhook_report_is_due(const struct mailhook_transaction *mt);
/* conflicts: the sequences whose flag changes the commit refused (STORE
   UNCHANGEDSINCE); NULL if it was not asked to. */
void mailhook_report(struct mailhook_transaction *mt, struct mailbox *box,
		     const struct mail_transaction_commit_changes *changes,
		     const ARRAY_TYPE(seq_range) *conflicts,
		     struct mailhook_batch *batch);

/* mailhook-parameters.c: what an endpoint gets only if it asks. */

/* What is wanted of a message saved in this transaction. */
void mailhook_parameters_init(struct mailhook_transaction *mt,
			      const struct mse_interest *interest,
			      const struct mailhook_place *place,
			      enum mse_event_type type);
/* Before the message is saved: Dovecot is to look out for what is wanted
   while it parses it. */
void mailhook_parameters_ask(struct mail_save_context *ctx);
/* When it is saved, and save knows its size. src: NULL unless copied. NULL if
   nothing is wanted. */
struct mailhook_optionals *
mailhook_parameters_take(struct mailhook_transaction *mt,
			 const struct mailhook_save *save,
			 const struct mail_save_context *ctx,
			 struct mail *dest, struct mail *src);
/* After the commit. hdr: as it then is, NULL if unknown. Borrowed from mt
   and its user. */
void mailhook_parameters_give(const struct mailhook_transaction *mt,
			      const struct mailhook_save *save,
			      struct mailbox *box,
			      const struct mail_index_header *hdr,
			      struct mse_optionals *optionals_r);
void mailhook_parameters_deinit(struct mailhook_transaction *mt);

/* mailhook-content.c */

void mailhook_content_take(struct mailhook_transaction *mt,
			   const struct mailhook_save *save,
			   struct mail *mail,
			   struct mailhook_content *content);
void mailhook_content_give(const struct mailhook_transaction *mt,
			   const struct mailhook_content *content,
			   struct mse_optionals *optionals);

/* mailhook-envelope.c */

/* For each user of a service that delivers, once his plugins are loaded. */
void mailhook_envelope_hook(void);
void mailhook_envelope_unhook(void);
/* Of his last delivery; NULL if there was none or nobody asked for it. */
const char *mailhook_envelope_get(struct mail_user *user);

/* mailhook-quota.c: refusals, and how quotas stand. */

void mailhook_quota_hook(struct mailbox_vfuncs *v);
/* Tells how the user's roots stand: their limits may have changed since his
   last session. */
void mailhook_quota_session_begins(struct mail_user *user);
/* Notes of a transaction. The storage's error must still be there. */
void mailhook_quota_save_failed(struct mail_save_context *ctx);
void mailhook_quota_copy_failed(struct mail_save_context *ctx,
				struct mail *src);
void mailhook_quota_commit_failed(struct mailhook_transaction *mt,
				  struct mailbox *box);
/* A message that is one more: neither moved nor put in another's place. */
void mailhook_quota_saved(struct mailhook_transaction *mt,
			  struct mail_save_context *ctx, struct mail *mail);
/* After the commit or rollback: tells what these notes come to. */
void mailhook_quota_transaction_ended(struct mailhook_transaction *mt,
				      struct mailbox *box, bool committed);
void mailhook_quota_create_failed(struct mailbox *box);
void mailhook_quota_box_deleted(struct mailbox *box);

#endif
