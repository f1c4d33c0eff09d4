/*
 * The set of endpoints: configure, run, stop, status, and what a person asks
 * for (test, pause, retry, drop).
 *
 * Invariant: an endpoint is freed only when nothing of it is out, neither a
 * request nor a job of the ledger.
 */
#include "deliver/endpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/event.h"
#include "event/imap-url.h"

void mse_deliver_log(struct mse_deliver *deliver, enum mse_log_level level,
		     const char *format, ...)
{
	char text[1024];
	va_list args;

	if (deliver->parts.log == NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	deliver->parts.log(level, text, deliver->parts.log_context);
}

/* xorshift64*: jitter only. */
uint32_t mse_deliver_random(struct mse_deliver *deliver)
{
	uint64_t x = deliver->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	deliver->random = x;
	return (uint32_t)((x * UINT64_C(2685821657736338717)) >> 32);
}

const char *mse_deliver_server_name(const struct mse_deliver *deliver)
{
	return deliver->conf != NULL && deliver->conf->server_name != NULL ?
		deliver->conf->server_name : deliver->server_fqdn;
}

int mse_deliver_new(const struct mse_deliver_parts *parts,
		    struct mse_deliver **deliver_r, struct mse_error *error_r)
{
	struct mse_deliver *deliver = calloc(1, sizeof(*deliver));

	if (deliver != NULL)
		deliver->server_fqdn = strdup(parts->server_fqdn);
	if (deliver == NULL || deliver->server_fqdn == NULL) {
		free(deliver);
		return mse_error_set(error_r, "out of memory");
	}
	deliver->parts = *parts;
	deliver->random = ((uint64_t)mse_clock_wall(parts->clock) << 20) ^
		(uint64_t)getpid() ^ UINT64_C(0x9e3779b97f4a7c15);
	*deliver_r = deliver;
	return 0;
}

void mse_deliver_free(struct mse_deliver **_deliver)
{
	struct mse_deliver *deliver = *_deliver;
	struct mse_endpoint *endpoint;

	*_deliver = NULL;
	if (deliver == NULL)
		return;
	while ((endpoint = deliver->endpoints) != NULL) {
		deliver->endpoints = endpoint->next;
		mse_endpoint_free(&endpoint);
	}
	free(deliver->kept);
	free(deliver->server_fqdn);
	free(deliver);
}

static struct mse_endpoint *find(struct mse_deliver *deliver,
				 const char *name)
{
	struct mse_endpoint *endpoint = deliver->endpoints;

	while (endpoint != NULL && strcmp(endpoint->name, name) != 0)
		endpoint = endpoint->next;
	return endpoint;
}

static struct mse_endpoint *find_or_say(struct mse_deliver *deliver,
					const char *name,
					struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = find(deliver, name);

	if (endpoint == NULL || endpoint->leaving) {
		mse_error_set(error_r, "there is no endpoint %s", name);
		return NULL;
	}
	return endpoint;
}

/* Starts what is new; nothing is changed if one of them cannot. */
static int start_new(struct mse_deliver *deliver, const struct mse_conf *conf,
		     struct mse_endpoint **list_r, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint;
	size_t i;

	*list_r = NULL;
	for (i = 0; i < conf->endpoint_count; i++) {
		if (find(deliver, conf->endpoints[i].name) != NULL)
			continue;
		if (mse_endpoint_start(deliver, &conf->endpoints[i],
				       !deliver->configured, &endpoint,
				       error_r) < 0)
			goto fail;
		endpoint->next = *list_r;
		*list_r = endpoint;
	}
	return 0;
fail:
	while ((endpoint = *list_r) != NULL) {
		*list_r = endpoint->next;
		mse_endpoint_free(&endpoint);
	}
	return -1;
}

static void change(struct mse_endpoint *endpoint,
		   const struct mse_conf_endpoint *conf)
{
	endpoint->next_conf = NULL;
	if (conf == NULL) {
		endpoint->leaving = endpoint->settling = true;
		return;
	}
	if (strcmp(endpoint->conf->filters, conf->filters) == 0) {
		endpoint->conf = conf;
		return;
	}
	endpoint->next_conf = conf;
	endpoint->settling = true;
}

static int take_kept(const char *name, const struct mse_ledger_cursor *cursor,
		     void *context)
{
	struct mse_deliver *deliver = context;
	struct mse_id *kept;

	if (mse_conf_find(deliver->conf, name) != NULL)
		return 0;
	kept = realloc(deliver->kept,
		       (deliver->kept_count + 1) * sizeof(*kept));
	if (kept == NULL)
		return -1;
	deliver->kept = kept;
	memcpy(kept[deliver->kept_count++].text, cursor->position.file,
	       MSE_UUID_SIZE);
	return 0;
}

/* Removed endpoints' cursors stay until they are dropped, and hold the
   journal as far as journal_limit lets them. */
static int find_kept(struct mse_ledger *ledger, void *context,
		     struct mse_error *error_r)
{
	struct mse_deliver *deliver = context;

	deliver->kept_count = 0;
	return mse_ledger_each_cursor(ledger, take_kept, deliver,
				      error_r) != 0 ? -1 : 0;
}

int mse_deliver_configure(struct mse_deliver *deliver,
			  const struct mse_conf *conf,
			  struct mse_error *error_r)
{
	const struct mse_conf *old = deliver->conf;
	struct mse_endpoint *list, *endpoint, **p;

	if (!mse_deliver_is_settled(deliver))
		return mse_error_set(error_r, "the configuration before is "
				     "still being taken on; try again");
	deliver->conf = conf;
	if (mse_ledger_worker_call(deliver->parts.ledger, find_kept, deliver,
				   error_r) < 0 ||
	    start_new(deliver, conf, &list, error_r) < 0) {
		deliver->conf = old;
		return -1;
	}
	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next)
		change(endpoint, mse_conf_find(conf, endpoint->name));
	for (p = &deliver->endpoints; *p != NULL; p = &(*p)->next)
		;
	*p = list;
	deliver->configured = true;
	return 0;
}

bool mse_deliver_is_settled(const struct mse_deliver *deliver)
{
	const struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		if (endpoint->settling)
			return false;
	}
	return true;
}

static void forget_left(struct mse_deliver *deliver)
{
	struct mse_endpoint **p = &deliver->endpoints, *endpoint;

	while ((endpoint = *p) != NULL) {
		if (!endpoint->leaving || endpoint->first != NULL ||
		    !mse_endpoint_is_idle(endpoint)) {
			p = &endpoint->next;
			continue;
		}
		*p = endpoint->next;
		mse_endpoint_free(&endpoint);
	}
}

int64_t mse_deliver_run(struct mse_deliver *deliver)
{
	struct mse_endpoint *endpoint;
	int64_t at = INT64_MAX, next;

	deliver->again = false;
	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		next = mse_endpoint_run(endpoint);
		if (next < at)
			at = next;
	}
	forget_left(deliver);
	return deliver->again ? mse_deliver_mono(deliver) : at;
}

void mse_deliver_stop(struct mse_deliver *deliver)
{
	deliver->stopping = true;
}

void mse_deliver_cancel(struct mse_deliver *deliver)
{
	struct mse_transport *transport = deliver->parts.transport;
	struct mse_endpoint *endpoint;
	struct mse_item *item;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		for (item = endpoint->flights; item != NULL;
		     item = item->flight_next)
			transport->cancel(transport, &item->sending->request);
	}
}

bool mse_deliver_is_idle(const struct mse_deliver *deliver)
{
	const struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		if (!mse_endpoint_is_idle(endpoint))
			return false;
	}
	return true;
}

static bool stands_in(const struct mse_endpoint *endpoint, const char *uuid)
{
	return strcmp(endpoint->cursor.position.file, uuid) == 0;
}

const char *mse_deliver_oldest_file(const struct mse_deliver *deliver)
{
	const struct mse_endpoint *endpoint;
	const struct mse_journal_file *files;
	unsigned int count, i;
	size_t k;

	files = mse_journal_files(deliver->parts.journal, &count);
	for (i = 0; i < count; i++) {
		for (endpoint = deliver->endpoints; endpoint != NULL;
		     endpoint = endpoint->next) {
			if (stands_in(endpoint, files[i].uuid))
				return endpoint->cursor.position.file;
		}
		for (k = 0; k < deliver->kept_count; k++) {
			if (strcmp(deliver->kept[k].text, files[i].uuid) == 0)
				return deliver->kept[k].text;
		}
	}
	return NULL;
}

static const char *state_name(const struct mse_endpoint *endpoint)
{
	if (endpoint->cursor.disabled)
		return "disabled";
	if (endpoint->cursor.paused)
		return "paused";
	if (endpoint->breaker.open)
		return "outage";
	if (endpoint->waiting)
		return "waiting";
	if (endpoint->parked > 0 || endpoint->followers ||
	    mse_deliver_mono(endpoint->deliver) < endpoint->hold_until_ms)
		return "retrying";
	return "ok";
}

static int64_t oldest_ms(const struct mse_endpoint *endpoint)
{
	int64_t wall = mse_deliver_wall(endpoint->deliver), oldest = wall;
	const struct mse_lane *lane = endpoint->lanes.ring;
	size_t i;

	if (endpoint->first != NULL && endpoint->first->text != NULL)
		oldest = endpoint->first->record.time_ms;
	for (i = 0; i < endpoint->lanes.count; i++, lane = lane->next) {
		if (lane->parked > 0 && lane->head.sequence != 0 &&
		    lane->head.parked_at_ms < oldest)
			oldest = lane->head.parked_at_ms;
	}
	return wall - oldest;
}

static int64_t next_attempt(const struct mse_endpoint *endpoint)
{
	const struct mse_lane *first = mse_lanes_first(&endpoint->lanes);
	int64_t now = mse_deliver_mono(endpoint->deliver), at;

	if (first == NULL || endpoint->cursor.paused ||
	    endpoint->cursor.disabled)
		return -1;
	at = endpoint->breaker.open ? endpoint->breaker.probe_at_ms :
		first->due_ms;
	if (at < endpoint->hold_until_ms)
		at = endpoint->hold_until_ms;
	return at > now ? at - now : 0;
}

static void fill_status(struct mse_endpoint *endpoint,
			struct mse_endpoint_status *status)
{
	const struct mse_lane *lane = endpoint->lanes.ring;
	const char *held = NULL;

	memset(status, 0, sizeof(*status));
	status->name = endpoint->name;
	status->url = endpoint->conf->url;
	status->state = state_name(endpoint);
	memcpy(status->stream, endpoint->cursor.stream, MSE_UUID_SIZE);
	status->sequence = endpoint->next_sequence - 1;
	status->floor = mse_endpoint_floor(endpoint);
	status->behind_octets = endpoint->reader == NULL ? 0 :
		mse_journal_reader_behind(endpoint->reader);
	status->behind_ms = oldest_ms(endpoint);
	status->in_flight = endpoint->in_flight;
	status->parked = endpoint->parked;
	status->dead = endpoint->dead;
	status->answered = endpoint->answered;
	status->failed = endpoint->failed;
	status->next_attempt_ms = next_attempt(endpoint);
	memcpy(status->last_error, endpoint->last_error,
	       sizeof(status->last_error));
	if (endpoint->lanes.count == 1)
		held = lane->parked > 0 ? lane->head.id :
			lane->first != NULL ? lane->first->record.id : NULL;
	if (held != NULL)
		memcpy(status->held_id, held, MSE_UUID_SIZE);
}

void mse_deliver_each_status(struct mse_deliver *deliver,
			     void (*found)(const struct mse_endpoint_status *s,
					   void *context),
			     void *context)
{
	struct mse_endpoint_status status;
	struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		if (endpoint->leaving)
			continue;
		fill_status(endpoint, &status);
		found(&status, context);
	}
}

static struct mse_item *make_test(struct mse_endpoint *endpoint)
{
	struct mse_deliver *deliver = endpoint->deliver;
	struct mse_imap_url url = {
		.server = mse_deliver_server_name(deliver)
	};
	struct mse_item *item = NULL;
	struct mse_event event;
	struct mse_buf uri, record;

	mse_buf_init(&uri, 4096);
	mse_buf_init(&record, 65536);
	mse_imap_url_append(&uri, &url);
	mse_event_init(&event, MSE_EVENT_TEST, mse_deliver_wall(deliver));
	mse_event_set_string(&event, MSE_PARAM_URI, mse_buf_str(&uri));
	mse_event_set_string(&event, MSE_PARAM_SERVER_FQDN,
			     deliver->server_fqdn);
	mse_event_write(&event, &record);
	if (!mse_buf_failed(&record) && record.len > 2)
		item = mse_item_new(endpoint, MSE_ITEM_TEST, record.data + 1,
				    record.len - 2);
	mse_buf_clear(&uri);
	mse_buf_clear(&record);
	return item;
}

int mse_deliver_test(struct mse_deliver *deliver, const char *name,
		     void (*done)(const struct mse_request *request,
				  const struct mse_answer *answer,
				  void *context),
		     void *context, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = find_or_say(deliver, name, error_r);
	struct mse_item *item;

	if (endpoint == NULL)
		return -1;
	item = make_test(endpoint);
	if (item == NULL)
		return mse_error_set(error_r, "out of memory");
	item->test_done = done;
	item->test_context = context;
	mse_endpoint_send(item, false);
	return 0;
}

struct flags {
	const char *endpoint;
	bool paused, disabled;
};

static int store_flags(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	struct flags *flags = context;
	struct mse_ledger_cursor cursor;

	if (mse_ledger_get_cursor(ledger, flags->endpoint, &cursor,
				  error_r) != 1)
		return -1;
	cursor.paused = flags->paused;
	cursor.disabled = flags->disabled;
	return mse_ledger_put_cursor(ledger, flags->endpoint, &cursor,
				     error_r);
}

int mse_deliver_pause(struct mse_deliver *deliver, const char *name,
		      bool pause, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = find_or_say(deliver, name, error_r);
	struct flags flags = { .endpoint = name, .paused = pause };

	if (endpoint == NULL)
		return -1;
	flags.disabled = pause && endpoint->cursor.disabled;
	if (mse_ledger_worker_call(deliver->parts.ledger, store_flags, &flags,
				   error_r) < 0)
		return -1;
	mse_endpoint_tick(endpoint);
	endpoint->cursor.paused = pause;
	if (!pause) {
		endpoint->cursor.disabled = false;
		/* Somebody says that it is well: try at once. */
		endpoint->hold_until_ms = 0;
		endpoint->breaker.probe_at_ms = 0;
	}
	mse_endpoint_tick(endpoint);
	return 0;
}

struct lookup {
	const char *endpoint, *id;
	struct mse_row_copy row;
	bool found;
};

static int take_row(const struct mse_ledger_row *row, void *context)
{
	struct lookup *lookup = context;

	if (row->state == MSE_ROW_ANSWERED)
		return 0;
	lookup->found = mse_row_copy(&lookup->row, row) == 0;
	return lookup->found ? 1 : -1;
}

static int look_up(struct mse_ledger *ledger, void *context,
		   struct mse_error *error_r)
{
	struct lookup *lookup = context;
	struct mse_row_filter filter = {
		.endpoint = lookup->endpoint, .id = lookup->id, .state = -1,
		.with_record = true
	};

	return mse_ledger_each_row(ledger, &filter, take_row, lookup,
				   error_r) < 0 ? -1 : 0;
}

static int find_row(struct mse_deliver *deliver, struct lookup *lookup,
		    struct mse_error *error_r)
{
	if (mse_ledger_worker_call(deliver->parts.ledger, look_up, lookup,
				   error_r) < 0)
		return -1;
	if (!lookup->found)
		return mse_error_set(error_r, "endpoint %s has no parked or "
				     "dead event %s", lookup->endpoint,
				     lookup->id);
	return 0;
}

static struct mse_item *item_of_row(struct mse_endpoint *endpoint,
				    enum mse_item_origin origin,
				    const struct mse_ledger_row *row)
{
	struct mse_item *item = mse_item_new(endpoint, origin, row->record,
					     row->record_len);

	if (item == NULL)
		return NULL;
	item->sequence = row->sequence;
	item->gap = row->gap;
	item->tries.sequence = row->sequence;
	item->tries.attempts = row->attempts;
	item->tries.used_ms = row->used_ms;
	item->tries.parked_at_ms = row->parked_at_ms;
	item->last_status = row->last_status;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 row->last_error);
	return item;
}

static int retry_row(struct mse_endpoint *endpoint,
		     const struct mse_ledger_row *row,
		     struct mse_error *error_r)
{
	struct mse_item *item;
	struct mse_lane *lane;

	if (row->state == MSE_ROW_PARKED) {
		/* Not dead yet: its next attempt now. */
		lane = mse_lanes_find(&endpoint->lanes, row->lane);
		if (lane == NULL || lane->head.sequence != row->sequence)
			return mse_error_set(error_r, "%s waits behind "
					     "another event of its owner",
					     row->id);
		lane->not_before_ms = 0;
		mse_endpoint_update_lane(endpoint, lane);
		return 0;
	}
	if (row->record == NULL)
		return mse_error_set(error_r, "the content of %s is not kept "
				     "any more", row->id);
	item = item_of_row(endpoint, MSE_ITEM_REPLAY, row);
	if (item == NULL)
		return mse_error_set(error_r, "out of memory");
	mse_endpoint_send(item, false);
	return 0;
}

int mse_deliver_retry(struct mse_deliver *deliver, const char *name,
		      const char *id, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = find_or_say(deliver, name, error_r);
	struct lookup lookup = { .endpoint = name, .id = id };
	int ret;

	if (endpoint == NULL || find_row(deliver, &lookup, error_r) < 0)
		return -1;
	ret = retry_row(endpoint, &lookup.row.row, error_r);
	mse_row_clear(&lookup.row);
	return ret;
}

#define DROPPED "dropped by the administrator"

static int busy(const char *id, struct mse_error *error_r)
{
	return mse_error_set(error_r, "%s is being sent or stored just now; "
			     "try again", id);
}

/* Numbers read before a restart are known again in a moment. */
static int check_caught_up(const struct mse_endpoint *endpoint,
			   struct mse_error *error_r)
{
	if (endpoint->caught_up)
		return 0;
	return mse_error_set(error_r, "endpoint %s has just been started and "
			     "still reads; try again", endpoint->name);
}

static int drop_parked(struct mse_endpoint *endpoint,
		       const struct mse_ledger_row *row,
		       struct mse_error *error_r)
{
	struct mse_lane *lane = mse_lanes_find(&endpoint->lanes, row->lane);
	struct mse_item *item;
	int ret;

	if (check_caught_up(endpoint, error_r) < 0)
		return -1;
	if (lane == NULL || lane->busy > 0)
		return busy(row->id, error_r);
	item = item_of_row(endpoint, MSE_ITEM_PARKED, row);
	if (item == NULL)
		return mse_error_set(error_r, "out of memory");
	item->lane = lane;
	if (item->gap) {
		mse_gap_announced(endpoint, item->sequence);
		ret = item->sequence != lane->head.sequence ? -1 :
			mse_parked_leave(item, MSE_ROW_ANSWERED);
	} else {
		ret = mse_gap_die(item, MSE_ROW_ANSWERED, DROPPED);
	}
	if (ret < 0) {
		mse_item_free(&item);
		return busy(row->id, error_r);
	}
	return 0;
}

static void dropped(struct mse_job *job)
{
	if (job->endpoint->dead > 0)
		job->endpoint->dead--;
}

static int drop_dead(struct mse_endpoint *endpoint,
		     const struct mse_ledger_row *row,
		     struct mse_error *error_r)
{
	struct mse_job *job = mse_job_new(endpoint, NULL, NULL, dropped);

	if (job == NULL || mse_job_add_row(job, MSE_OP_RESOLVE, row) < 0) {
		mse_job_free(job);
		return mse_error_set(error_r, "out of memory");
	}
	mse_job_submit(job);
	return 0;
}

static int drop_waiting(struct mse_item *item, struct mse_error *error_r)
{
	if (check_caught_up(item->endpoint, error_r) < 0)
		return -1;
	if (item->state != MSE_ITEM_WAITING ||
	    mse_gap_die(item, MSE_ROW_ANSWERED, DROPPED) < 0)
		return busy(item->record.id, error_r);
	return 0;
}

int mse_deliver_drop(struct mse_deliver *deliver, const char *name,
		     const char *id, struct mse_error *error_r)
{
	struct mse_endpoint *endpoint = find_or_say(deliver, name, error_r);
	struct lookup lookup = { .endpoint = name, .id = id };
	struct mse_item *item;
	int ret;

	if (endpoint == NULL)
		return -1;
	for (item = endpoint->first; item != NULL; item = item->next) {
		if (item->state != MSE_ITEM_DONE &&
		    strcmp(item->record.id, id) == 0)
			return drop_waiting(item, error_r);
	}
	if (find_row(deliver, &lookup, error_r) < 0)
		return -1;
	ret = lookup.row.row.state == MSE_ROW_DEAD ?
		drop_dead(endpoint, &lookup.row.row, error_r) :
		drop_parked(endpoint, &lookup.row.row, error_r);
	mse_row_clear(&lookup.row);
	return ret;
}
