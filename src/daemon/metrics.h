#ifndef MSE_DAEMON_METRICS_H
#define MSE_DAEMON_METRICS_H

#include "daemon/metrics-text.h"
#include "daemon/overview.h"

/* All figures as metrics (doc/monitoring.md lists them). metrics->buf and
   ->openmetrics are set by the caller. No label names a user, a mailbox, a
   URL or an event: an endpoint's name, a state, an outcome, a reason. */
void mse_metrics_write(struct mse_metrics *metrics,
		       const struct mse_figures *figures);

#endif
