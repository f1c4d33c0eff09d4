/*
 * From Dovecot's objects to RFC 5423's parameters, and from events to one
 * append. Invariant: works with what is in memory; nothing here opens a
 * mailbox or a message.
 */

#include "lib.h"
#include "net.h"
#include "str.h"
#include "time-util.h"
#include "hostpid.h"
#include "master-service.h"
#include "mail-namespace.h"
#include "mailbox-list-private.h"
#include "mailhook-plugin.h"
#include "mailhook-compat.h"

#include "base/process.h"
#include "event/imap-url.h"

#define MAILHOOK_URL_MAX (64 * 1024)
#define MAILHOOK_BATCH_MAX (16 * 1024 * 1024)
/* Most transactions are one event, which is shorter. */
#define MAILHOOK_BATCH_USUAL 2000
#define MAILHOOK_SPARE_MAX 65536

static const struct {
	const char *dovecot, *rfc;
} mailhook_services[] = {
	{ "pop3", "pop" },
	{ "doveadm", "admincli" },
	{ "managesieve", "sieve" },
};

int64_t mailhook_now(void)
{
	struct timeval now;

	/* ioloop_time stands still during a long command. */
	i_gettimeofday(&now);
	return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

bool mailhook_name_listed(char *const *names, const char *name)
{
	if (names == NULL || name == NULL)
		return FALSE;
	for (; *names != NULL; names++) {
		if (strcmp(*names, name) == 0)
			return TRUE;
	}
	return FALSE;
}

static const char *mailhook_service(const struct mail_user *user)
{
	unsigned int i;

	if (user->service == NULL)
		return NULL;
	for (i = 0; i < N_ELEMENTS(mailhook_services); i++) {
		if (strcmp(user->service, mailhook_services[i].dovecot) == 0)
			return mailhook_services[i].rfc;
	}
	return user->service;
}

/* As the daemon says, so that all URLs and sources have one. */
const char *mailhook_server(struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);
	const char *name = muser == NULL ? NULL :
		mse_appender_known_interest(muser->appender)->server_name;

	if (name != NULL)
		return name;
	return user->set->hostname != NULL && *user->set->hostname != '\0' ?
		user->set->hostname : my_hostdomain();
}

/* A shared mailbox is seen under "shared/owner/…"; its URL has the owner as
   user, so the name must be the owner's too. */
static const char *
mailhook_owners_name(const struct mailbox *box, const struct mail_namespace *ns)
{
	if (strncmp(box->vname, ns->prefix, ns->prefix_len) == 0 &&
	    box->vname[ns->prefix_len] != '\0')
		return box->vname + ns->prefix_len;
	return strcmp(box->name, "INBOX") == 0 ? "INBOX" : box->vname;
}

void mailhook_place_init(struct mailhook_place *place_r, struct mailbox *box)
{
	struct mail_namespace *ns = box->list->ns;
	struct mail_user *user = box->storage->user;

	i_zero(place_r);
	place_r->user = user;
	place_r->mailbox = box->vname;
	if (ns->type == MAIL_NAMESPACE_TYPE_PUBLIC || ns->owner == NULL) {
		place_r->lane = ns->prefix_len > 0 ? ns->prefix :
			user->username;
		return;
	}
	place_r->lane = place_r->url_user = ns->owner->username;
	if (strcmp(ns->owner->username, user->username) == 0)
		return;
	place_r->owner = ns->owner->username;
	place_r->mailbox = mailhook_owners_name(box, ns);
}

void mailhook_place_init_user(struct mailhook_place *place_r,
			      struct mail_user *user)
{
	i_zero(place_r);
	place_r->user = user;
	place_r->lane = place_r->url_user = user->username;
}

/* Of what is made to be copied elsewhere at once. */
static struct mse_buf mailhook_scratch;

static struct mse_buf *mailhook_scratch_get(void)
{
	mailhook_scratch.limit = MAILHOOK_URL_MAX;
	mse_buf_reset(&mailhook_scratch);
	return &mailhook_scratch;
}

const char *mailhook_place_url(const struct mailhook_place *place)
{
	struct mse_buf *buf = mailhook_scratch_get();
	struct mse_imap_url url;

	i_zero(&url);
	url.server = mailhook_server(place->user);
	url.user = place->url_user;
	url.mailbox = place->mailbox;
	url.uidvalidity = place->uidvalidity;
	mse_imap_url_append(buf, &url);
	return t_strdup(mse_buf_str(buf));
}

mse_event_types_t mailhook_place_wants(const struct mse_interest *interest,
				       const struct mailhook_place *place,
				       const char *old_mailbox)
{
	struct mse_event_route route;

	if (interest->types == 0)
		return 0;
	i_zero(&route);
	route.owner = place->lane;
	route.mailbox = place->mailbox;
	route.old_mailbox = old_mailbox;
	return mse_interest_types(interest, &route);
}

static const char *mailhook_admin(const struct mail_user *user)
{
	const char *const *field, *value = user->auth_user;

	for (field = user->userdb_fields; field != NULL && *field != NULL;
	     field++) {
		if (strncmp(*field, "master_user=", 12) == 0)
			value = *field + 12;
	}
	if (value == NULL || *value == '\0' ||
	    strcmp(value, user->username) == 0)
		return NULL;
	return value;
}

/* The server as the client knows it. */
static const char *mailhook_server_domain(const struct mail_user *user)
{
	const struct mail_user_connection_data *conn = &user->conn;
	const char *domain = mailhook_conn_local_name(conn);

	if (domain == NULL)
		domain = user->set->hostname;
	if (domain != NULL && *domain != '\0')
		return domain;
	return conn->local_ip != NULL && conn->local_ip->family != 0 ?
		net_ip2addr(conn->local_ip) : my_hostdomain();
}

static void mailhook_event_set_connection(struct mse_event *event,
					  const struct mail_user *user)
{
	const struct mail_user_connection_data *conn = &user->conn;

	if (conn->remote_ip == NULL || conn->remote_ip->family == 0)
		return;
	mse_event_set_string(event, MSE_PARAM_CLIENT_IP,
			     net_ip2addr(conn->remote_ip));
	if (conn->remote_port != 0)
		mse_event_set_number(event, MSE_PARAM_CLIENT_PORT,
				     conn->remote_port);
	mse_event_set_string(event, MSE_PARAM_SERVER_DOMAIN,
			     mailhook_server_domain(user));
	if (conn->local_port != 0)
		mse_event_set_number(event, MSE_PARAM_SERVER_PORT,
				     conn->local_port);
}

static void mailhook_event_set_session(struct mse_event *event,
				       const struct mail_user *user)
{
	mse_event_set_string(event, MSE_PARAM_USER, user->username);
	mse_event_set_string(event, MSE_PARAM_ADMIN, mailhook_admin(user));
	mailhook_event_set_connection(event, user);
	mse_event_set_string(event, MSE_PARAM_SERVICE, mailhook_service(user));
	if (master_service != NULL)
		mse_event_set_string(event, MSE_PARAM_PROCESS,
				     master_service_get_name(master_service));
	mse_event_set_number(event, MSE_PARAM_PID, (uint64_t)mse_process_id());
	mse_event_set_string(event, MSE_PARAM_SERVER_FQDN, my_hostdomain());
}

static void mailhook_event_set_mailbox(struct mse_event *event,
				       const struct mailhook_place *place)
{
	mse_event_set_string(event, MSE_PARAM_SESSION,
			     place->user->session_id);
	mse_event_set_string(event, MSE_PARAM_MAILBOX, place->mailbox);
	mse_event_set_string(event, MSE_PARAM_MAILBOX_GUID, place->guid);
	mse_event_set_string(event, MSE_PARAM_OWNER, place->owner);
}

void mailhook_event_print(struct mse_event *event, uint64_t params,
			  pool_t pool, struct mse_printed *printed_r)
{
	struct mse_buf *buf = mailhook_scratch_get();

	i_zero(printed_r);
	params = mse_event_print(event, params, buf);
	if (mse_buf_failed(buf) || params == 0)
		return;
	printed_r->set = params;
	printed_r->text = p_strdup(pool, mse_buf_str(buf));
	printed_r->len = buf->len;
}

void mailhook_event_use(struct mse_event *event,
			const struct mse_printed *printed)
{
	unsigned int i;

	for (i = 0; i < MSE_EVENT_PRINTED_MAX; i++) {
		if (event->printed[i] == NULL && printed->set != 0) {
			event->printed[i] = printed;
			event->set &= ~printed->set;
			return;
		}
	}
}

/* What all events of a session have is printed at its first one. */
static void mailhook_event_use_session(struct mse_event *event,
				       struct mail_user *user)
{
	struct mailhook_user *muser = mailhook_user_get(user);

	if (muser == NULL || muser->printed.set == 0 ||
	    muser->printed_by != mse_process_id()) {
		mailhook_event_set_session(event, user);
		if (muser == NULL)
			return;
		mailhook_event_print(event, event->set, user->pool,
				     &muser->printed);
		muser->printed_by = mse_process_id();
	}
	mailhook_event_use(event, &muser->printed);
}

void mailhook_event_init(struct mse_event *event, enum mse_event_type type,
			 const struct mailhook_place *place, int64_t wall_ms)
{
	mse_event_init(event, type, wall_ms);
	event->user = place->user->username;
	event->owner = place->lane;
	event->mailbox = place->mailbox;
	mailhook_event_use_session(event, place->user);
	mailhook_event_set_mailbox(event, place);
}

void mailhook_event_spell_out(struct mse_event *event,
			      const struct mail_user *user)
{
	memset(event->printed, 0, sizeof(event->printed));
	mailhook_event_set_session(event, user);
}

/* The memory of the last batch, for the next one: a heap that a mailbox's
   index has been through takes its time to find two kilobytes. */
static struct mse_buf mailhook_spare;

void mailhook_batch_init(struct mailhook_batch *batch, struct mail_user *user)
{
	i_zero(batch);
	batch->user = user;
	batch->bytes = mailhook_spare;
	batch->bytes.limit = MAILHOOK_BATCH_MAX;
	i_zero(&mailhook_spare);
}

static void mailhook_batch_keep(struct mse_buf *bytes)
{
	if (mailhook_spare.data != NULL || bytes->size > MAILHOOK_SPARE_MAX) {
		mse_buf_clear(bytes);
		return;
	}
	mse_buf_reset(bytes);
	mailhook_spare = *bytes;
}

void mailhook_batch_deinit(void)
{
	mse_buf_clear(&mailhook_spare);
	mse_buf_clear(&mailhook_scratch);
}

static void mailhook_batch_complain(struct mailhook_batch *batch,
				    struct mailhook_user *muser,
				    enum mse_append_result result)
{
	const char *why = mse_appender_last_error(muser->appender);

	mailhook_warn(batch->user, t_strdup_printf("Events were lost%s: %s",
		result == MSE_APPEND_UNSEEN ? " and could not be counted" : "",
		*why != '\0' ? why : "no memory for them"));
}

static void mailhook_batch_append(struct mailhook_batch *batch)
{
	struct mailhook_user *muser = mailhook_user_get(batch->user);
	enum mse_append_result result;

	if (batch->records == 0 || muser == NULL)
		return;
	result = mse_appender_append(muser->appender, &batch->bytes,
				     batch->records, muser->durability);
	if (result != MSE_APPEND_DONE)
		mailhook_batch_complain(batch, muser, result);
	mse_buf_reset(&batch->bytes);
	batch->records = 0;
}

void mailhook_batch_add(struct mailhook_batch *batch,
			const struct mse_event *event)
{
	size_t whole = batch->bytes.len;

	if (whole == 0)
		(void)mse_buf_reserve(&batch->bytes, MAILHOOK_BATCH_USUAL);
	mse_event_write(event, &batch->bytes);
	if (!mse_buf_failed(&batch->bytes)) {
		batch->records++;
		return;
	}
	if (whole == 0) {
		mse_buf_reset(&batch->bytes);
		batch->lost++;
		return;
	}
	/* Full: what is whole goes out first, then once more. */
	mse_buf_truncate(&batch->bytes, whole);
	batch->bytes.failed = false;
	mailhook_batch_append(batch);
	mse_event_write(event, &batch->bytes);
	if (mse_buf_failed(&batch->bytes)) {
		mse_buf_reset(&batch->bytes);
		batch->lost++;
	} else {
		batch->records++;
	}
}

void mailhook_batch_drop(struct mailhook_batch *batch)
{
	mailhook_batch_keep(&batch->bytes);
	i_zero(batch);
}

void mailhook_batch_send(struct mailhook_batch *batch)
{
	struct mailhook_user *muser;

	if (batch->user == NULL)
		return;
	muser = mailhook_user_get(batch->user);
	mailhook_batch_append(batch);
	if (batch->lost > 0 && muser != NULL) {
		mailhook_batch_complain(batch, muser,
			mse_appender_count_lost(muser->appender, batch->lost));
	}
	mailhook_batch_drop(batch);
}
