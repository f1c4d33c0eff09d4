#ifndef MSE_DAEMON_OVERVIEW_H
#define MSE_DAEMON_OVERVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "daemon/history.h"
#include "deliver/deliver.h"
#include "derive/derive.h"
#include "ledger/worker.h"

struct mse_daemon;

/*
 * What can be seen of the daemon from outside: the last hour of each
 * endpoint, whether one lags, and all figures in one place for the metrics
 * and the status page.
 */
struct mse_overview;

int mse_overview_new(struct mse_daemon *daemon,
		     struct mse_overview **overview_r,
		     struct mse_error *error_r);
void mse_overview_free(struct mse_overview **overview);
/* In every pass of the loop; looks each ten seconds at most, and in each new
   minute. Logs when an endpoint falls behind lag_warning and when it is
   back. */
void mse_overview_pass(struct mse_overview *overview);

/* The figures of one moment. Endpoints' names and histories are borrowed:
   valid until the loop goes on. */
struct mse_figures_endpoint {
	struct mse_endpoint_status status;
	const struct mse_history *history; /* NULL: memory was out */
};

struct mse_figures {
	int64_t wall_ms, started_at_ms, lag_warning_ms;
	const char *server_fqdn;
	struct mse_figures_endpoint *endpoints;
	size_t endpoint_count;
	unsigned int journal_files;
	uint64_t journal_octets, journal_limit;
	uint64_t forced_releases;   /* files that went unread, since start */
	uint64_t lost;              /* by mail processes, as far as counted */
	int64_t lost_until_ms;      /* wall: the last of them; 0: none */
	struct mse_derive_status derive;
	struct mse_ledger_counts ledger;
	unsigned int ledger_queued;
};

/* -1 if memory is out. */
int mse_figures_take(struct mse_overview *overview,
		     struct mse_figures *figures_r);
void mse_figures_clear(struct mse_figures *figures);

#endif
