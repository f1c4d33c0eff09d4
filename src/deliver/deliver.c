/*
 * The set of endpoints: configure, run, stop.
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

void mse_deliver_body_context(const struct mse_endpoint *endpoint,
			      uint64_t sequence,
			      struct mse_body_context *context_r)
{
	context_r->server_name = mse_deliver_server_name(endpoint->deliver);
	context_r->server_fqdn = endpoint->deliver->server_fqdn;
	context_r->stream = endpoint->cursor.stream;
	context_r->sequence = sequence;
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

static int nothing(struct mse_ledger *ledger, void *context,
		   struct mse_error *error_r)
{
	(void)ledger;
	(void)context;
	(void)error_r;
	return 0;
}

/* Those that failed are here already. */
static unsigned int jobs_out(const struct mse_deliver *deliver)
{
	const struct mse_endpoint *endpoint;
	const struct mse_job *job;
	unsigned int out = 0;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		out += endpoint->jobs;
		for (job = endpoint->failed_jobs; job != NULL;
		     job = job->next_failed)
			out--;
	}
	return out;
}

/* Jobs point to endpoints: none may be left in the worker, also not of those
   that follow from others. */
static void finish_jobs(struct mse_deliver *deliver)
{
	deliver->stopping = true;
	while (jobs_out(deliver) > 0)
		(void)mse_ledger_worker_call(deliver->parts.ledger, nothing,
					     NULL, NULL);
}

void mse_deliver_free(struct mse_deliver **_deliver)
{
	struct mse_deliver *deliver = *_deliver;
	struct mse_endpoint *endpoint;

	*_deliver = NULL;
	if (deliver == NULL)
		return;
	finish_jobs(deliver);
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

struct mse_endpoint *mse_deliver_find(struct mse_deliver *deliver,
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

/* Whatever the change before was, and how far: what is read has a number and
   keeps it, so that the last one asked for is the one that counts. */
static void change(struct mse_endpoint *endpoint,
		   const struct mse_conf_endpoint *conf)
{
	endpoint->next_conf = NULL;
	endpoint->leaving = conf == NULL;
	endpoint->settling = true;
	if (conf == NULL)
		return;
	if (strcmp(endpoint->conf->filters, conf->filters) != 0) {
		endpoint->next_conf = conf;
		return;
	}
	endpoint->settling = false;
	mse_endpoint_reconfigured(endpoint, conf);
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

static void cancel(const struct mse_endpoint *endpoint)
{
	struct mse_transport *transport = endpoint->deliver->parts.transport;
	struct mse_flight *flight;

	for (flight = endpoint->flights; flight != NULL; flight = flight->next)
		transport->cancel(transport, &flight->sending->request);
}

void mse_deliver_cancel(struct mse_deliver *deliver)
{
	const struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next)
		cancel(endpoint);
}

struct forgotten {
	struct mse_deliver *deliver;
	const char *name;
};

static int forget_kept(struct mse_ledger *ledger, void *context,
		       struct mse_error *error_r)
{
	const struct forgotten *forgotten = context;
	struct mse_ledger_cursor cursor;
	int ret;

	ret = mse_ledger_get_cursor(ledger, forgotten->name, &cursor, error_r);
	if (ret == 0)
		return mse_error_set(error_r, "there is no endpoint \"%.64s\"",
				     forgotten->name);
	if (ret < 0 || mse_ledger_drop_endpoint(ledger, forgotten->name,
						error_r) < 0)
		return -1;
	return find_kept(ledger, forgotten->deliver, error_r);
}

int mse_deliver_forget(struct mse_deliver *deliver, const char *name,
		       struct mse_error *error_r)
{
	const struct mse_endpoint *endpoint = find(deliver, name);
	struct forgotten forgotten = { deliver, name };

	if (endpoint != NULL && !endpoint->leaving)
		return mse_error_set(error_r, "this endpoint is in the "
				     "configuration: say which event to drop, "
				     "or remove the endpoint, reload, and drop "
				     "it then");
	/* What it still commits would be there again. */
	if (endpoint != NULL) {
		cancel(endpoint);
		return 0;
	}
	return mse_ledger_worker_call(deliver->parts.ledger, forget_kept,
				      &forgotten, error_r) < 0 ? -1 : 1;
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
