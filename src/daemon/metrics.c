/*
 * What is measured, name by name.
 *
 * Invariant: the samples of a family stand together, and a label's values are
 * known from the start, so that a counter is there before it counts and an
 * alert on it can fire the first time.
 */
#include "mse-config.h"

#include "daemon/metrics.h"

#include <string.h>

#define LABELS(...) ((const struct mse_metric_label[]){ __VA_ARGS__, \
			{ NULL, NULL } })

static void write_build(struct mse_metrics *m,
			const struct mse_figures *figures)
{
	mse_metrics_family(m, "mailhook_build", MSE_METRIC_INFO, NULL,
			   "Which mailhookd this is.");
	mse_metrics_count(m, LABELS({ "version", MAILHOOK_VERSION }), 1);
	mse_metrics_family(m, "mailhook_start_time_seconds",
			   MSE_METRIC_GAUGE, "seconds",
			   "When the daemon was started, in Unix time.");
	mse_metrics_ms(m, NULL, figures->started_at_ms);
	mse_metrics_family(m, "mailhook_lag_warning_seconds",
			   MSE_METRIC_GAUGE, "seconds",
			   "The bound set by lag_warning.");
	mse_metrics_ms(m, NULL, figures->lag_warning_ms);
}

static void write_one(struct mse_metrics *m,
		      const struct mse_figures *figures, const char *family,
		      const char *unit, const char *help,
		      uint64_t (*value)(const struct mse_endpoint_status *s))
{
	const struct mse_endpoint_status *status;
	size_t i;

	mse_metrics_family(m, family, MSE_METRIC_GAUGE, unit, help);
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_metrics_count(m, LABELS({ "endpoint", status->name }),
				  value(status));
	}
}

static void write_states(struct mse_metrics *m,
			 const struct mse_figures *figures)
{
	static const char *const states[] = {
		"ok", "retrying", "outage", "waiting", "paused", "disabled",
		"handshake"
	};
	const struct mse_endpoint_status *status;
	size_t i, j;

	mse_metrics_family(m, "mailhook_endpoint_state", MSE_METRIC_GAUGE,
			   NULL, "1 for the state the endpoint is in, 0 for "
			   "the others.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		for (j = 0; j < sizeof(states) / sizeof(states[0]); j++)
			mse_metrics_count(m, LABELS(
				{ "endpoint", status->name },
				{ "state", states[j] }),
				strcmp(status->state, states[j]) == 0);
	}
}

static uint64_t breaker_open(const struct mse_endpoint_status *status)
{
	return strcmp(status->state, "outage") == 0;
}

static uint64_t lagging(const struct mse_endpoint_status *status)
{
	return status->lagging;
}

static uint64_t unread(const struct mse_endpoint_status *status)
{
	return status->behind_octets;
}

static uint64_t unanswered(const struct mse_endpoint_status *status)
{
	return status->unanswered;
}

static uint64_t parked(const struct mse_endpoint_status *status)
{
	return status->parked;
}

static uint64_t in_flight(const struct mse_endpoint_status *status)
{
	return status->in_flight;
}

static void write_lag(struct mse_metrics *m,
		      const struct mse_figures *figures)
{
	const struct mse_endpoint_status *status;
	size_t i;

	mse_metrics_family(m, "mailhook_endpoint_lag_seconds",
			   MSE_METRIC_GAUGE, "seconds",
			   "Age of the oldest event that was read for the "
			   "endpoint and not answered yet.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_metrics_ms(m, LABELS({ "endpoint", status->name }),
			       status->behind_ms);
	}
}

static void write_dead(struct mse_metrics *m,
		       const struct mse_figures *figures)
{
	const struct mse_endpoint_status *status;
	size_t i, j;

	mse_metrics_family(m, "mailhook_endpoint_dead_letters",
			   MSE_METRIC_GAUGE, NULL,
			   "Events that were given up and are still listed, "
			   "by what their last attempt came to.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		for (j = 0; j < MSE_DEAD_REASON_COUNT; j++)
			mse_metrics_count(m, LABELS(
				{ "endpoint", status->name },
				{ "reason", mse_dead_reason_name(j) }),
				status->counters.dead[j]);
	}
	mse_metrics_family(m, "mailhook_endpoint_given_up_events",
			   MSE_METRIC_COUNTER, NULL,
			   "Events that became dead letters, or were dropped "
			   "by hand.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_metrics_count(m, LABELS({ "endpoint", status->name },
					    { "how", "dead" }),
				  status->counters.died);
		mse_metrics_count(m, LABELS({ "endpoint", status->name },
					    { "how", "dropped" }),
				  status->counters.dropped);
	}
}

static void write_deliveries(struct mse_metrics *m,
			     const struct mse_figures *figures)
{
	const struct mse_endpoint_status *status;
	size_t i, j;

	mse_metrics_family(m, "mailhook_endpoint_deliveries",
			   MSE_METRIC_COUNTER, NULL,
			   "Requests that ended, by what they came to; all "
			   "but success are tried again.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		for (j = 0; j < MSE_RESULT_COUNT; j++)
			mse_metrics_count(m, LABELS(
				{ "endpoint", status->name },
				{ "outcome", mse_result_name(j) }),
				status->counters.results[j]);
	}
	mse_metrics_family(m, "mailhook_endpoint_delivery_duration_seconds",
			   MSE_METRIC_HISTOGRAM, "seconds",
			   "How long requests took until their answer or "
			   "failure.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_metrics_histogram(m, LABELS({ "endpoint", status->name }),
				      mse_latency_bounds_ms,
				      MSE_LATENCY_BUCKETS,
				      status->counters.latency,
				      status->counters.latency_ms);
	}
	mse_metrics_family(m,
			   "mailhook_endpoint_last_success_timestamp_seconds",
			   MSE_METRIC_GAUGE, "seconds",
			   "When the endpoint last answered 2xx, in Unix "
			   "time; 0 if not since the start.");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_metrics_ms(m, LABELS({ "endpoint", status->name }),
			       status->counters.last_success_at_ms);
	}
}

static void write_endpoints(struct mse_metrics *m,
			    const struct mse_figures *figures)
{
	write_states(m, figures);
	write_one(m, figures, "mailhook_endpoint_breaker_open", NULL,
		  "1 while the endpoint accepts nothing and its events wait.",
		  breaker_open);
	write_lag(m, figures);
	write_one(m, figures, "mailhook_endpoint_lagging", NULL,
		  "1 while the lag is beyond lag_warning and the endpoint is "
		  "not paused.", lagging);
	write_one(m, figures, "mailhook_endpoint_unread_bytes", "bytes",
		  "Journal that was not read for the endpoint yet.", unread);
	write_one(m, figures, "mailhook_endpoint_unanswered_events", NULL,
		  "Events read from the journal, neither answered nor parked.",
		  unanswered);
	write_one(m, figures, "mailhook_endpoint_parked_events", NULL,
		  "Events in the ledger that wait for their next attempt, and "
		  "those of the same owner behind them.", parked);
	write_one(m, figures, "mailhook_endpoint_in_flight_requests", NULL,
		  "Requests without an answer yet.", in_flight);
	write_dead(m, figures);
	write_deliveries(m, figures);
}

static void write_number(struct mse_metrics *m, const char *family,
			 enum mse_metric_type type, const char *unit,
			 const char *help, uint64_t value)
{
	mse_metrics_family(m, family, type, unit, help);
	mse_metrics_count(m, NULL, value);
}

static void write_journal(struct mse_metrics *m,
			  const struct mse_figures *figures)
{
	write_number(m, "mailhook_journal_files", MSE_METRIC_GAUGE, NULL,
		     "Journal files.", figures->journal_files);
	write_number(m, "mailhook_journal_bytes", MSE_METRIC_GAUGE, "bytes",
		     "Size of all journal files.", figures->journal_octets);
	write_number(m, "mailhook_journal_limit_bytes", MSE_METRIC_GAUGE,
		     "bytes", "The bound set by journal_limit.",
		     figures->journal_limit);
	write_number(m, "mailhook_journal_unread_releases",
		     MSE_METRIC_COUNTER, NULL,
		     "Journal files that were removed at journal_limit before "
		     "every endpoint had read them.",
		     figures->forced_releases);
	write_number(m, "mailhook_lost_events", MSE_METRIC_COUNTER, NULL,
		     "Events that mail processes could not append, counted "
		     "across restarts.", figures->lost);
	write_number(m, "mailhook_journal_torn_records", MSE_METRIC_COUNTER,
		     NULL, "Records whose end never came.",
		     figures->derive.torn);
	write_number(m, "mailhook_journal_damages", MSE_METRIC_COUNTER, NULL,
		     "Places with foreign octets in the journal.",
		     figures->derive.damaged);
	write_number(m, "mailhook_journal_late_records", MSE_METRIC_COUNTER,
		     NULL, "Records appended behind a file's end and taken "
		     "over into the next.", figures->derive.late);
	write_number(m, "mailhook_resyncs", MSE_METRIC_COUNTER, NULL,
		     "Times that receivers were told to read a mailbox "
		     "again.", figures->derive.resyncs);
	write_number(m, "mailhook_derive_unread_bytes", MSE_METRIC_GAUGE,
		     "bytes", "Journal that the daemon itself has not read "
		     "yet.", figures->derive.behind_octets);
}

static void write_ledger(struct mse_metrics *m,
			 const struct mse_figures *figures)
{
	write_number(m, "mailhook_ledger_commits", MSE_METRIC_COUNTER, NULL,
		     "Transactions of the ledger, each one sync of the disk.",
		     figures->ledger.commits);
	write_number(m, "mailhook_ledger_commit_failures", MSE_METRIC_COUNTER,
		     NULL, "Transactions of the ledger that failed and are "
		     "repeated.", figures->ledger.failures);
	write_number(m, "mailhook_ledger_jobs", MSE_METRIC_COUNTER, NULL,
		     "Changes and queries in those transactions.",
		     figures->ledger.jobs);
	write_number(m, "mailhook_ledger_queued_jobs", MSE_METRIC_GAUGE, NULL,
		     "Jobs that wait for the ledger's thread.",
		     figures->ledger_queued);
}

void mse_metrics_write(struct mse_metrics *metrics,
		       const struct mse_figures *figures)
{
	write_build(metrics, figures);
	write_endpoints(metrics, figures);
	write_journal(metrics, figures);
	write_ledger(metrics, figures);
	mse_metrics_end(metrics);
}
