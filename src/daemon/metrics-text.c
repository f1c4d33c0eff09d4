/*
 * The text formats for metrics.
 *
 * Invariant: one sample is one line, whatever octets a label's value has; the
 * octets are UTF-8.
 */
#include "mse-config.h"

#include "daemon/metrics-text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const char *type_name(const struct mse_metrics *metrics)
{
	switch (metrics->type) {
	case MSE_METRIC_GAUGE:
		break;
	case MSE_METRIC_COUNTER:
		return "counter";
	case MSE_METRIC_HISTOGRAM:
		return "histogram";
	case MSE_METRIC_INFO:
		return metrics->openmetrics ? "info" : "gauge";
	}
	return "gauge";
}

static const char *sample_suffix(const struct mse_metrics *metrics)
{
	switch (metrics->type) {
	case MSE_METRIC_COUNTER:
		return "_total";
	case MSE_METRIC_INFO:
		return "_info";
	case MSE_METRIC_GAUGE:
	case MSE_METRIC_HISTOGRAM:
		break;
	}
	return "";
}

void mse_metrics_family(struct mse_metrics *metrics, const char *family,
			enum mse_metric_type type, const char *unit,
			const char *help)
{
	struct mse_buf *buf = metrics->buf;
	const char *suffix;

	metrics->family = family;
	metrics->type = type;
	suffix = metrics->openmetrics ? "" : sample_suffix(metrics);
	mse_buf_appendf(buf, "# TYPE %s%s %s\n", family, suffix,
			type_name(metrics));
	if (metrics->openmetrics && unit != NULL)
		mse_buf_appendf(buf, "# UNIT %s %s\n", family, unit);
	mse_buf_appendf(buf, "# HELP %s%s %s\n", family, suffix, help);
}

/* OpenMetrics 1.0, escaped-string: the three of them and no other. */
static void append_value(struct mse_buf *buf, const char *value)
{
	struct mse_buf text;
	const char *p;

	mse_buf_init(&text, strlen(value) * 3 + 16);
	mse_utf8_append_scrubbed(&text, value, strlen(value));
	for (p = mse_buf_str(&text); *p != '\0'; p++) {
		if (*p == '\n')
			mse_buf_append_str(buf, "\\n");
		else if (*p == '"' || *p == '\\')
			mse_buf_appendf(buf, "\\%c", *p);
		else
			mse_buf_append_char(buf, *p);
	}
	mse_buf_clear(&text);
}

static void append_labels(struct mse_buf *buf,
			  const struct mse_metric_label *labels,
			  const char *bound)
{
	char before = '{';

	for (; labels != NULL && labels->name != NULL; labels++) {
		mse_buf_appendf(buf, "%c%s=\"", before, labels->name);
		append_value(buf, labels->value);
		mse_buf_append_char(buf, '"');
		before = ',';
	}
	if (bound != NULL) {
		mse_buf_appendf(buf, "%cle=\"%s\"", before, bound);
		before = ',';
	}
	mse_buf_append_str(buf, before == ',' ? "} " : " ");
}

static void begin_sample(struct mse_metrics *metrics, const char *suffix,
			 const struct mse_metric_label *labels,
			 const char *bound)
{
	mse_buf_appendf(metrics->buf, "%s%s", metrics->family, suffix);
	append_labels(metrics->buf, labels, bound);
}

static void append_seconds(struct mse_buf *buf, int64_t ms)
{
	uint64_t size = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;

	mse_buf_appendf(buf, "%s%" PRIu64 ".%03u", ms < 0 ? "-" : "",
			size / 1000, (unsigned int)(size % 1000));
}

void mse_metrics_count(struct mse_metrics *metrics,
		       const struct mse_metric_label *labels, uint64_t value)
{
	begin_sample(metrics, sample_suffix(metrics), labels, NULL);
	mse_buf_appendf(metrics->buf, "%" PRIu64 "\n", value);
}

void mse_metrics_ms(struct mse_metrics *metrics,
		    const struct mse_metric_label *labels, int64_t ms)
{
	begin_sample(metrics, sample_suffix(metrics), labels, NULL);
	append_seconds(metrics->buf, ms);
	mse_buf_append_char(metrics->buf, '\n');
}

/* As OpenMetrics wants numbers in "le": 0.005, 1.0, never 1 or 1.000. */
static void format_bound(int64_t ms, char text[32])
{
	size_t len;

	(void)snprintf(text, 32, "%" PRId64 ".%03d", ms / 1000,
		       (int)(ms % 1000));
	for (len = strlen(text); text[len - 1] == '0' && text[len - 2] != '.';)
		text[--len] = '\0';
}

void mse_metrics_histogram(struct mse_metrics *metrics,
			   const struct mse_metric_label *labels,
			   const int64_t *bounds_ms, unsigned int bound_count,
			   const uint64_t *counts, int64_t sum_ms)
{
	char bound[32] = "+Inf";
	uint64_t below = 0;
	unsigned int i;

	for (i = 0; i <= bound_count; i++) {
		if (i < bound_count)
			format_bound(bounds_ms[i], bound);
		else
			(void)snprintf(bound, sizeof(bound), "+Inf");
		below += counts[i];
		begin_sample(metrics, "_bucket", labels, bound);
		mse_buf_appendf(metrics->buf, "%" PRIu64 "\n", below);
	}
	begin_sample(metrics, "_sum", labels, NULL);
	append_seconds(metrics->buf, sum_ms);
	mse_buf_append_char(metrics->buf, '\n');
	begin_sample(metrics, "_count", labels, NULL);
	mse_buf_appendf(metrics->buf, "%" PRIu64 "\n", below);
}

void mse_metrics_end(struct mse_metrics *metrics)
{
	if (metrics->openmetrics)
		mse_buf_append_str(metrics->buf, "# EOF\n");
}

bool mse_metrics_wants_open(const char *accept)
{
	return accept == NULL ||
		strcasestr(accept, "application/openmetrics-text") != NULL ||
		strcasestr(accept, "text/plain") == NULL;
}
