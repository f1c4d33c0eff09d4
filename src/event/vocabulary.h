#ifndef MSE_EVENT_VOCABULARY_H
#define MSE_EVENT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * RFC 5423's names, once. Everything else (enums, the configuration's event
 * names and groups, record and webhook members, documentation checks) comes
 * from these lists.
 */

/* X(symbol, wire name, group) */
#define MSE_EVENT_TYPES(X) \
	X(MESSAGE_APPEND, "MessageAppend", MESSAGE) \
	X(MESSAGE_EXPIRE, "MessageExpire", MESSAGE) \
	X(MESSAGE_EXPUNGE, "MessageExpunge", MESSAGE) \
	X(MESSAGE_NEW, "MessageNew", MESSAGE) \
	X(QUOTA_EXCEED, "QuotaExceed", QUOTA) \
	X(QUOTA_WITHIN, "QuotaWithin", QUOTA) \
	X(QUOTA_CHANGE, "QuotaChange", QUOTA) \
	X(MESSAGE_READ, "MessageRead", FLAGS) \
	X(MESSAGE_TRASH, "MessageTrash", FLAGS) \
	X(FLAGS_SET, "FlagsSet", FLAGS) \
	X(FLAGS_CLEAR, "FlagsClear", FLAGS) \
	X(LOGIN, "Login", ACCESS) \
	X(LOGOUT, "Logout", ACCESS) \
	X(MAILBOX_CREATE, "MailboxCreate", MAILBOX) \
	X(MAILBOX_DELETE, "MailboxDelete", MAILBOX) \
	X(MAILBOX_RENAME, "MailboxRename", MAILBOX) \
	X(MAILBOX_SUBSCRIBE, "MailboxSubscribe", SUBSCRIPTION) \
	X(MAILBOX_UNSUBSCRIBE, "MailboxUnSubscribe", SUBSCRIPTION) \
	X(ACL_CHANGE, "vnd.mailhook.AclChange", MAILBOX) \
	X(METADATA_CHANGE, "vnd.mailhook.MetadataChange", MAILBOX) \
	X(GAP, "vnd.mailhook.Gap", OWN) \
	X(RESYNC, "vnd.mailhook.Resync", OWN) \
	X(TEST, "vnd.mailhook.Test", OWN) \
	X(FACT_QUOTA, "vnd.mailhook.fact.quota", FACT) \
	X(FACT_HIBERNATED, "vnd.mailhook.fact.hibernated", FACT) \
	X(FACT_RESUMED, "vnd.mailhook.fact.resumed", FACT)

/* X(symbol, wire name, kind): members of an event's data, in the order in
   which they are written. */
#define MSE_PARAMS(X) \
	X(URI, "uri", STRING) \
	X(MAILBOX_ID, "mailboxID", STRING) \
	X(OLD_MAILBOX_ID, "oldMailboxID", STRING) \
	X(USER, "user", STRING) \
	X(ADMIN, "admin", STRING) \
	X(CLIENT_IP, "clientIP", STRING) \
	X(CLIENT_PORT, "clientPort", NUMBER) \
	X(SERVER_DOMAIN, "serverDomain", STRING) \
	X(SERVER_PORT, "serverPort", NUMBER) \
	X(SERVICE, "service", STRING) \
	X(PROCESS, "process", STRING) \
	X(PID, "pid", NUMBER) \
	X(SERVER_FQDN, "serverFQDN", STRING) \
	X(TIMESTAMP, "timestamp", STRING) \
	X(UIDSET, "uidset", STRING) \
	X(FLAG_NAMES, "flagNames", STRING) \
	X(UIDNEXT, "uidnext", NUMBER) \
	X(MESSAGES, "messages", NUMBER) \
	X(MODSEQ, "modseq", NUMBER) \
	X(MESSAGE_SIZE, "messageSize", NUMBER) \
	X(DISK_QUOTA, "diskQuota", NUMBER) \
	X(DISK_USED, "diskUsed", NUMBER) \
	X(MAX_MESSAGES, "maxMessages", NUMBER) \
	X(QUOTA_ROOT, "vnd.mailhook.quotaRoot", STRING) \
	X(QUOTA_RESOURCE, "vnd.mailhook.quotaResource", STRING) \
	X(TAGS, "tags", STRING) \
	X(SESSION, "vnd.mailhook.session", STRING) \
	X(MAILBOX, "vnd.mailhook.mailbox", STRING) \
	X(MAILBOX_GUID, "vnd.mailhook.mailboxGuid", STRING) \
	X(OWNER, "vnd.mailhook.owner", STRING) \
	X(CAUSE, "vnd.mailhook.cause", STRING) \
	X(TRANSACTION, "vnd.mailhook.transaction", STRING) \
	X(SOURCE_URI, "vnd.mailhook.sourceUri", STRING) \
	X(MECHANISM, "vnd.mailhook.mechanism", STRING) \
	X(TLS, "vnd.mailhook.tls", BOOL) \
	X(DISCONNECT, "vnd.mailhook.disconnect", STRING) \
	X(DURATION, "vnd.mailhook.duration", NUMBER) \
	X(BYTES_IN, "vnd.mailhook.bytesIn", NUMBER) \
	X(BYTES_OUT, "vnd.mailhook.bytesOut", NUMBER) \
	X(ACL_IDENTIFIER, "vnd.mailhook.aclIdentifier", STRING) \
	X(ACL_RIGHTS, "vnd.mailhook.aclRights", STRING) \
	X(ENTRY, "vnd.mailhook.entry", STRING) \
	X(LOST, "vnd.mailhook.lost", NUMBER) \
	X(SINCE, "vnd.mailhook.since", STRING) \
	X(UNTIL, "vnd.mailhook.until", STRING) \
	X(REASON, "vnd.mailhook.reason", STRING) \
	X(SEQUENCES, "vnd.mailhook.sequences", STRING)

/* X(symbol, name, member): what an endpoint gets only if it asks. `name` in
   mailhook.conf, the interest and beside a record's data; `member` in the data
   of a webhook. */
#define MSE_OPTIONALS(X) \
	X(ENVELOPE, "envelope", "envelope") \
	X(BODY_STRUCTURE, "bodyStructure", "bodyStructure") \
	X(MESSAGE_CONTENT, "messageContent", "messageContent") \
	X(HEADERS, "headers", "vnd.mailhook.headers") \
	X(UNSEEN, "unseen", "vnd.mailhook.unseen")

/* What may stand beside messageContent: */
#define MSE_CONTENT_ENCODING "vnd.mailhook.contentEncoding"
/* instead of it, why it does not. */
#define MSE_CONTENT_SUPPRESSED "vnd.mailhook.contentSuppressed"
/* Larger than the endpoint's content_limit, */
#define MSE_SUPPRESSED_LIMIT "limit"
/* its transaction had more content than is kept of one, */
#define MSE_SUPPRESSED_TRANSACTION "transaction"
/* the message could not be read again, */
#define MSE_SUPPRESSED_UNREADABLE "unreadable"
/* when it happened nobody had asked for it. */
#define MSE_SUPPRESSED_UNRECORDED "unrecorded"

/* X(symbol, name, member): the choices of content_part, and the member of a
   record that has it. The last one is made of the first two. */
#define MSE_CONTENT_PARTS(X) \
	X(MESSAGE, "message", "messageContent") \
	X(HEADERS, "headers", "messageContent.headers") \
	X(BODY, "body", "messageContent.body") \
	X(HEADERSBODY, "headersbody", NULL)

/* X(symbol, name, field): members of vnd.mailhook.headers, and the header
   field of RFC 5322 that each one is. */
#define MSE_HEADERS(X) \
	X(FROM, "from", "From") \
	X(TO, "to", "To") \
	X(SUBJECT, "subject", "Subject") \
	X(DATE, "date", "Date") \
	X(MESSAGE_ID, "messageId", "Message-ID")

enum mse_event_type {
#define X(symbol, name, group) MSE_EVENT_##symbol,
	MSE_EVENT_TYPES(X)
#undef X
	MSE_EVENT_TYPE_COUNT,
	/* A record of a newer version; never delivered. */
	MSE_EVENT_UNKNOWN = MSE_EVENT_TYPE_COUNT
};

enum mse_event_group {
	MSE_GROUP_MESSAGE,
	MSE_GROUP_FLAGS,
	MSE_GROUP_QUOTA,
	MSE_GROUP_ACCESS,
	MSE_GROUP_MAILBOX,
	MSE_GROUP_SUBSCRIPTION,
	MSE_GROUP_COUNT,
	/* Gap, Resync, Test: cannot be subscribed to, come to everybody; a
	   Resync only to who gets events of that owner and mailbox. */
	MSE_GROUP_OWN = MSE_GROUP_COUNT,
	/* For derive alone: never delivered, numbered, shown or replayed;
	   mail processes write them because something is derived from them. */
	MSE_GROUP_FACT
};

enum mse_param {
#define X(symbol, name, kind) MSE_PARAM_##symbol,
	MSE_PARAMS(X)
#undef X
	MSE_PARAM_COUNT
};

enum mse_param_kind { MSE_KIND_STRING, MSE_KIND_NUMBER, MSE_KIND_BOOL };

/* A parameter's name as it begins a member: quoted, with the colon. */
struct mse_param_key {
	const char *text;
	size_t len;
	enum mse_param_kind kind;
};

enum mse_optional {
#define X(symbol, name, member) MSE_OPTIONAL_##symbol,
	MSE_OPTIONALS(X)
#undef X
	MSE_OPTIONAL_COUNT
};

enum mse_content_part {
#define X(symbol, name, member) MSE_CONTENT_##symbol,
	MSE_CONTENT_PARTS(X)
#undef X
	MSE_CONTENT_PART_COUNT,
	/* Those that have a member of their own. */
	MSE_CONTENT_MEMBER_COUNT = MSE_CONTENT_HEADERSBODY
};

enum mse_header {
#define X(symbol, name, field) MSE_HEADER_##symbol,
	MSE_HEADERS(X)
#undef X
	MSE_HEADER_COUNT
};

/* No more of a message, or of a part of it, is ever in a record. */
#define MSE_CONTENT_MAX (1024 * 1024)

/* In sets of parameters. */
#define MSE_PARAM_BIT(param) ((uint64_t)1 << (param))

/* Sets of optional parameters: bit 1 << enum mse_optional. */
typedef unsigned int mse_optionals_t;
#define MSE_OPTIONAL_BIT(optional) ((mse_optionals_t)1 << (optional))

/* Sets of event types: bit 1 << enum mse_event_type. */
typedef uint32_t mse_event_types_t;
#define MSE_EVENT_BIT(type) ((mse_event_types_t)1 << (type))
/* Every type that can be subscribed to (all but groups OWN and FACT). */
#define MSE_EVENT_TYPES_ALL (MSE_EVENT_BIT(MSE_EVENT_GAP) - 1)
#define MSE_EVENT_TYPES_FACTS \
	(MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_HIBERNATED) | \
	 MSE_EVENT_BIT(MSE_EVENT_FACT_RESUMED))

const char *mse_event_type_name(enum mse_event_type type);
enum mse_event_group mse_event_type_group(enum mse_event_type type);
/* MSE_EVENT_UNKNOWN if there is none of this exact name. */
enum mse_event_type mse_event_type_find(const char *name);
/* The types of group "message", "flags", "quota", "access", "mailbox" or
   "subscription"; 0 if there is no such group. */
mse_event_types_t mse_event_group_types(const char *group_name);
/* What mail processes must write besides so that these can be derived: the
   Login and the hibernations behind a lost session's Logout, the figures
   behind QuotaWithin and QuotaChange. */
mse_event_types_t mse_event_types_behind(mse_event_types_t types);

const char *mse_param_name(enum mse_param param);
enum mse_param_kind mse_param_kind(enum mse_param param);
const struct mse_param_key *mse_param_key(enum mse_param param);

const char *mse_optional_name(enum mse_optional optional);
/* Its name in the data of a webhook. */
const char *mse_optional_member(enum mse_optional optional);
/* MSE_OPTIONAL_COUNT if there is none of this exact name. */
enum mse_optional mse_optional_find(const char *name);
const char *mse_content_part_name(enum mse_content_part part);
/* NULL for HEADERSBODY. */
const char *mse_content_part_member(enum mse_content_part part);
/* MSE_CONTENT_PART_COUNT if there is none of this exact name. */
enum mse_content_part mse_content_part_find(const char *name);
const char *mse_header_name(enum mse_header header);
const char *mse_header_field(enum mse_header header);

#endif
