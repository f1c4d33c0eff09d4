#ifndef MSE_DAEMON_METRICS_TEXT_H
#define MSE_DAEMON_METRICS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Writes OpenMetrics 1.0 text, or the older text format 0.0.4 of Prometheus,
 * into a buffer. The two differ in the name of a counter's family, in what an
 * info is, in UNIT and in the last line. Names and label names are the
 * caller's to get right; values of labels are escaped.
 */
enum mse_metric_type {
	MSE_METRIC_GAUGE, MSE_METRIC_COUNTER, MSE_METRIC_HISTOGRAM,
	MSE_METRIC_INFO
};

struct mse_metrics {
	struct mse_buf *buf;
	bool openmetrics;
	const char *family;         /* without _total or _info */
	enum mse_metric_type type;
};

#define MSE_METRICS_OPEN_TYPE \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"
#define MSE_METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Begins a family; its samples follow. unit: NULL, or the end of its name. */
void mse_metrics_family(struct mse_metrics *metrics, const char *family,
			enum mse_metric_type type, const char *unit,
			const char *help);

struct mse_metric_label {
	const char *name, *value;
};
/* labels end with { NULL, NULL }; NULL: none. */
void mse_metrics_count(struct mse_metrics *metrics,
		       const struct mse_metric_label *labels, uint64_t value);
/* The value in seconds. */
void mse_metrics_ms(struct mse_metrics *metrics,
		    const struct mse_metric_label *labels, int64_t ms);
/* Ascending bounds in milliseconds, as many counts and one more beyond the
   last bound, each on its own; the sum in milliseconds. */
void mse_metrics_histogram(struct mse_metrics *metrics,
			   const struct mse_metric_label *labels,
			   const int64_t *bounds_ms, unsigned int bound_count,
			   const uint64_t *counts, int64_t sum_ms);
void mse_metrics_end(struct mse_metrics *metrics);

/* Whether an Accept header (NULL: none) is content with OpenMetrics: it names
   it, or it does not name text/plain. */
bool mse_metrics_wants_open(const char *accept);

#endif
