/*
 * Looks at the endpoints when a pass of the loop happens anyway.
 *
 * Invariant: one line in the log for each time an endpoint falls behind
 * lag_warning, one when it is well within it again (half of it, so that a lag
 * about the bound is one story, not hundreds).
 */
#include "mse-config.h"

#include "daemon/overview.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/daemon-private.h"
#include "daemon/log.h"
#include "journal/journal.h"
#include "journal/presence.h"

#define LOOK_EVERY_MS 10000
#define MINUTE_MS 60000

struct mse_watched {
	struct mse_watched *next;
	struct mse_history history;
	bool lagging; /* and the log said so */
	bool met;     /* in this look */
	char name[];
};

struct mse_overview {
	struct mse_daemon *daemon;
	struct mse_watched *watched;
	int64_t look_at_ms, minute, started_at_ms;
};

static int64_t mse_overview_minute(void)
{
	return mse_daemon_now() / MINUTE_MS;
}

int mse_overview_new(struct mse_daemon *daemon,
		     struct mse_overview **overview_r,
		     struct mse_error *error_r)
{
	struct mse_overview *overview = calloc(1, sizeof(*overview));

	if (overview == NULL)
		return mse_error_set(error_r, "there is no memory");
	overview->daemon = daemon;
	overview->started_at_ms = mse_clock_wall(&mse_clock_system);
	*overview_r = overview;
	return 0;
}

void mse_overview_free(struct mse_overview **overview_p)
{
	struct mse_overview *overview = *overview_p;
	struct mse_watched *one;

	*overview_p = NULL;
	if (overview == NULL)
		return;
	while ((one = overview->watched) != NULL) {
		overview->watched = one->next;
		free(one);
	}
	free(overview);
}

static struct mse_watched *mse_overview_find(struct mse_overview *overview,
					     const char *name)
{
	struct mse_watched *one = overview->watched;

	while (one != NULL && strcmp(one->name, name) != 0)
		one = one->next;
	return one;
}

static struct mse_watched *
mse_overview_add(struct mse_overview *overview,
		 const struct mse_endpoint_status *status)
{
	size_t size = strlen(status->name) + 1;
	struct mse_watched *one = calloc(1, sizeof(*one) + size);

	if (one == NULL)
		return NULL;
	memcpy(one->name, status->name, size);
	mse_history_init(&one->history, overview->minute, status->answered,
			 status->failed);
	one->next = overview->watched;
	overview->watched = one;
	return one;
}

static void mse_overview_say(const struct mse_overview *overview,
			     struct mse_watched *one,
			     const struct mse_endpoint_status *status)
{
	int64_t bound_ms = overview->daemon->conf->lag_warning_ms;

	if (!one->lagging && status->lagging) {
		one->lagging = true;
		mse_log(MSE_LOG_WARNING, "endpoint %s is %" PRId64 " s "
			"behind, more than lag_warning (%" PRId64 " s); it is "
			"in state %s, with %" PRIu64 " events parked and %"
			PRIu64 " octets of the journal unread", one->name,
			status->behind_ms / 1000, bound_ms / 1000,
			status->state, status->parked, status->behind_octets);
	} else if (one->lagging && status->behind_ms <= bound_ms / 2) {
		one->lagging = false;
		mse_log(MSE_LOG_INFO, "endpoint %s is within lag_warning "
			"again: %" PRId64 " s behind", one->name,
			status->behind_ms / 1000);
	}
}

static void mse_overview_look(const struct mse_endpoint_status *status,
			      void *context)
{
	struct mse_overview *overview = context;
	struct mse_watched *one = mse_overview_find(overview, status->name);

	if (one == NULL)
		one = mse_overview_add(overview, status);
	if (one == NULL)
		return;
	one->met = true;
	mse_history_look(&one->history, overview->minute, status->answered,
			 status->failed, status->behind_ms);
	mse_overview_say(overview, one, status);
}

/* Endpoints that are configured no more. */
static void mse_overview_forget(struct mse_overview *overview)
{
	struct mse_watched **p = &overview->watched, *one;

	while ((one = *p) != NULL) {
		if (one->met) {
			one->met = false;
			p = &one->next;
			continue;
		}
		*p = one->next;
		free(one);
	}
}

void mse_overview_pass(struct mse_overview *overview)
{
	int64_t now = mse_daemon_now(), minute = mse_overview_minute();

	if (minute == overview->minute && now < overview->look_at_ms)
		return;
	overview->minute = minute;
	overview->look_at_ms = now + LOOK_EVERY_MS;
	mse_deliver_each_status(overview->daemon->deliver, mse_overview_look,
				overview);
	mse_overview_forget(overview);
}

struct mse_figures_taking {
	struct mse_overview *overview;
	struct mse_figures *figures;
	size_t size;
	bool failed;
};

static void mse_figures_add(const struct mse_endpoint_status *status,
			    void *context)
{
	struct mse_figures_taking *taking = context;
	struct mse_figures *figures = taking->figures;
	struct mse_figures_endpoint *list = figures->endpoints;
	struct mse_watched *one;

	if (figures->endpoint_count == taking->size) {
		taking->size = taking->size == 0 ? 8 : taking->size * 2;
		list = realloc(list, taking->size * sizeof(*list));
		if (list == NULL) {
			taking->failed = true;
			taking->size = figures->endpoint_count;
			return;
		}
		figures->endpoints = list;
	}
	list += figures->endpoint_count++;
	list->status = *status;
	one = mse_overview_find(taking->overview, status->name);
	list->history = one != NULL ? &one->history : NULL;
}

static void mse_figures_loss(unsigned int slot,
			     const struct mse_presence_slot *data,
			     void *context)
{
	struct mse_figures *figures = context;

	figures->lost += data->lost;
	if (data->lost_until_ms > figures->lost_until_ms)
		figures->lost_until_ms = data->lost_until_ms;
}

static void mse_figures_journal(struct mse_journal *journal,
				struct mse_figures *figures)
{
	const struct mse_journal_file *files;
	unsigned int count, i;

	files = mse_journal_files(journal, &count);
	figures->journal_files = count;
	for (i = 0; i < count; i++)
		figures->journal_octets += files[i].size;
	/* Not to be read: nothing is known to be lost. */
	(void)mse_presence_each_loss(mse_journal_presence_fd(journal),
				     MSE_PRESENCE_SLOTS, mse_figures_loss,
				     figures);
}

/* As they stand in mailhook.conf. */
static int mse_figures_compare(const void *a, const void *b, void *context)
{
	const struct mse_figures_endpoint *one = a, *two = b;
	const struct mse_conf *conf = context;
	/* An endpoint that is taken on only now has no place yet. */
	const struct mse_conf_endpoint *end =
		conf->endpoints + conf->endpoint_count;
	const struct mse_conf_endpoint *p =
		mse_conf_find(conf, one->status.name);
	const struct mse_conf_endpoint *q =
		mse_conf_find(conf, two->status.name);

	p = p != NULL ? p : end;
	q = q != NULL ? q : end;
	return p < q ? -1 : p > q;
}

int mse_figures_take(struct mse_overview *overview,
		     struct mse_figures *figures_r)
{
	struct mse_daemon *daemon = overview->daemon;
	struct mse_figures_taking taking = { overview, figures_r, 0, false };

	memset(figures_r, 0, sizeof(*figures_r));
	/* New endpoints and the minute that just ended are in it. */
	mse_overview_pass(overview);
	figures_r->wall_ms = mse_clock_wall(&mse_clock_system);
	figures_r->started_at_ms = overview->started_at_ms;
	figures_r->lag_warning_ms = daemon->conf->lag_warning_ms;
	figures_r->server_fqdn = daemon->server_fqdn;
	figures_r->journal_limit = daemon->conf->journal_limit;
	figures_r->forced_releases = daemon->forced_releases;
	mse_figures_journal(daemon->journal, figures_r);
	mse_derive_get_status(daemon->derive, &figures_r->derive);
	mse_ledger_worker_counts(daemon->ledger, &figures_r->ledger);
	figures_r->ledger_queued = mse_ledger_worker_queued(daemon->ledger);
	mse_deliver_each_status(daemon->deliver, mse_figures_add, &taking);
	if (taking.failed) {
		mse_figures_clear(figures_r);
		return -1;
	}
	if (figures_r->endpoint_count > 1)
		qsort_r(figures_r->endpoints, figures_r->endpoint_count,
			sizeof(*figures_r->endpoints), mse_figures_compare,
			daemon->conf);
	return 0;
}

void mse_figures_clear(struct mse_figures *figures)
{
	free(figures->endpoints);
	memset(figures, 0, sizeof(*figures));
}
