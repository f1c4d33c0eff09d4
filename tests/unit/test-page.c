/* The status page and the metrics from figures of every kind: what is said,
   that nothing breaks out of its place, and that figures stay in theirs.
   With MSE_PAGE_OUT=FILE the page of all states is left there to be looked
   at. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/metrics.h"
#include "daemon/page.h"

#define NOW INT64_C(1795510000000)
#define MIB ((uint64_t)1024 * 1024)

/* One of each state; the histories of a busy hour, of an outage, none. */
struct example {
	struct mse_figures figures;
	struct mse_figures_endpoint endpoints[8];
	struct mse_history busy, outage, fresh;
};

static void answer(struct mse_counters *counters, enum mse_outcome outcome,
		   int status, int64_t elapsed_ms, unsigned int times)
{
	struct mse_answer one = {
		.outcome = outcome, .status = status, .retry_after_s = -1,
		.elapsed_ms = elapsed_ms
	};

	while (times-- > 0)
		mse_counters_attempt(counters, &one, NOW - 3000);
}

static struct mse_endpoint_status *add(struct example *example,
				       const char *name, const char *state,
				       const struct mse_history *history)
{
	struct mse_figures_endpoint *one =
		&example->endpoints[example->figures.endpoint_count++];

	one->history = history;
	one->status.name = name;
	one->status.state = state;
	one->status.url = "https://secret.example/path?token=x";
	snprintf(one->status.last_error, sizeof(one->status.last_error),
		 "secret words of an answer");
	one->status.next_attempt_ms = -1;
	mse_counters_init(&one->status.counters);
	return &one->status;
}

static void fill_histories(struct example *example)
{
	static const unsigned int wave[] = { 40, 52, 61, 70, 66, 58, 81, 90,
					     120, 97, 74, 45 };
	uint64_t delivered = 0, failed = 0;
	unsigned int i;

	mse_history_init(&example->busy, 0, 0, 0);
	mse_history_init(&example->outage, 0, 0, 0);
	mse_history_init(&example->fresh, 59, 0, 0);
	for (i = 0; i < 60; i++) {
		delivered += wave[i % 12] + i % 7;
		failed += i > 20 && i < 26 ? 14 : 0;
		mse_history_look(&example->busy, i + 1, delivered, failed,
				 i > 20 && i < 28 ? (i - 20) * 1500 : 0);
		mse_history_look(&example->outage, i + 1,
				 i < 35 ? i * 9 : 35 * 9,
				 i < 35 ? 0 : (i - 34) * 2,
				 i < 35 ? 200 : (i - 34) * 60000);
	}
	mse_history_look(&example->fresh, 60, 0, 0, 0);
}

static void make(struct example *example)
{
	struct mse_figures *figures = &example->figures;
	struct mse_endpoint_status *status;

	memset(example, 0, sizeof(*example));
	fill_histories(example);
	figures->wall_ms = NOW;
	figures->started_at_ms = NOW - 3 * 3600 * 1000 - 12 * 60 * 1000;
	figures->lag_warning_ms = 900000;
	figures->server_fqdn = "mx1.example.org";
	figures->endpoints = example->endpoints;
	figures->journal_files = 3;
	figures->journal_octets = 71 * MIB;
	figures->journal_limit = 1024 * MIB;
	figures->lost = 2;
	figures->lost_until_ms = NOW - 7200000;
	figures->ledger.commits = 48211;

	status = add(example, "portal", "ok", &example->busy);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 204, 12, 4121);
	status->in_flight = 3;
	status->unanswered = 3;
	status->behind_ms = 140;
	status = add(example, "billing", "outage", &example->outage);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 200, 80, 315);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 500, 80, 7);
	answer(&status->counters, MSE_OUTCOME_TIMEOUT, 0, 15000, 50);
	status->behind_ms = 1560000;
	status->lagging = true;
	status->unanswered = 4096;
	status->behind_octets = 11 * MIB;
	status->next_attempt_ms = 41000;
	status = add(example, "archive-of-the-compliance-department",
		     "retrying", &example->busy);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 204, 30, 900);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 422, 30, 61);
	status->behind_ms = 92000;
	status->parked = 27;
	status->dead = 5;
	status->counters.dead[MSE_DEAD_CLIENT_ERROR] = 4;
	status->counters.dead[MSE_DEAD_NO_ANSWER] = 1;
	status->next_attempt_ms = 9000;
	status = add(example, "crm", "paused", &example->fresh);
	status->behind_ms = 5 * 3600 * 1000;
	status = add(example, "old", "disabled", NULL);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 410, 8, 1);
	status = add(example, "slow", "ok", &example->outage);
	answer(&status->counters, MSE_OUTCOME_ANSWERED, 204, 8, 1);
	status->behind_ms = 1000000;
	status->lagging = true;
	(void)add(example, "full", "waiting", &example->fresh);
}

static void expect(const struct mse_buf *page, const char *text, bool there)
{
	if ((strstr(mse_buf_str(page), text) != NULL) != there)
		fail_msg("%s in the page: %s", there ? "not" : "should not be",
			 text);
}

static void leave(const struct mse_buf *page)
{
	const char *path = getenv("MSE_PAGE_OUT");
	FILE *file;

	if (path == NULL)
		return;
	file = fopen(path, "w");
	assert_non_null(file);
	fwrite(page->data, 1, page->len, file);
	fclose(file);
}

static void test_page(void **state)
{
	static const char *const words[] = {
		"<!DOCTYPE html>", "<meta http-equiv=\"refresh\"",
		"name=\"viewport\"", "5 of 7 endpoints need attention.",
		"mx1.example.org", "up 3 h 12 min",
		"delivering</span>", "retrying</span>", "outage</span>",
		"held up</span>", "paused</span>", "disabled</span>",
		"behind</span>", "<dt>Lag</dt><dd>26 min</dd>",
		"Next attempt in 41 s.", "refused (4xx)</th><td class=\"n\">4",
		"no answer</th><td class=\"n\">1", "71 MiB</b> of 1.0 GiB "
		"(7 %) in 3 files", "<b class=\"alarm\">2</b> in mail "
		"processes", "the last 2 h ago", "48211</b> commits",
		"Nothing was sent in the last hour.", "</html>"
	};
	static const char *const never[] = {
		"secret", "http://", "https://", "<script", "<img", "<link",
		"url(", "@import"
	};
	struct example example;
	struct mse_buf page;
	size_t i;

	make(&example);
	mse_buf_init(&page, MIB);
	mse_page_write(&page, &example.figures);
	assert_false(mse_buf_failed(&page));
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		expect(&page, words[i], true);
	for (i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		expect(&page, never[i], false);
	leave(&page);
	mse_buf_clear(&page);
}

static void test_verdicts(void **state)
{
	struct example example;
	struct mse_buf page;

	make(&example);
	mse_buf_init(&page, MIB);
	example.figures.endpoint_count = 1;
	mse_page_write(&page, &example.figures);
	expect(&page, "verdict is-good", true);
	expect(&page, "The endpoint delivers.", true);
	mse_buf_reset(&page);
	example.figures.endpoint_count = 2;
	mse_page_write(&page, &example.figures);
	expect(&page, "verdict is-bad", true);
	expect(&page, "1 of 2 endpoints needs attention.", true);
	mse_buf_reset(&page);
	example.endpoints[1].status.state = "paused";
	mse_page_write(&page, &example.figures);
	expect(&page, "verdict is-good", true);
	expect(&page, "1 of 2 endpoints delivers; the others are paused.",
	       true);
	mse_buf_reset(&page);
	example.endpoints[0].status.state = "paused";
	mse_page_write(&page, &example.figures);
	expect(&page, "verdict is-off", true);
	expect(&page, "All endpoints are paused.", true);
	mse_buf_reset(&page);
	example.figures.endpoint_count = 0;
	mse_page_write(&page, &example.figures);
	expect(&page, "No endpoint is configured.", true);
	mse_buf_clear(&page);
}

/* Each can be the last one, and each has words. */
static void test_every_result(void **state)
{
	struct example example;
	struct mse_buf page;
	unsigned int i;

	mse_buf_init(&page, MIB);
	for (i = 0; i < MSE_RESULT_COUNT; i++) {
		make(&example);
		example.endpoints[0].status.counters.results[i] = 1;
		example.endpoints[0].status.counters.last = i;
		example.endpoints[0].status.counters.last_status = 0;
		mse_buf_reset(&page);
		mse_page_write(&page, &example.figures);
		assert_false(mse_buf_failed(&page));
		expect(&page, "(null)", false);
	}
	mse_buf_clear(&page);
}

/* Names are checked by the configuration; the page trusts nobody. */
static void test_page_escapes(void **state)
{
	struct example example;
	struct mse_buf page;

	make(&example);
	example.endpoints[0].status.name = "<b>&\"'";
	example.figures.server_fqdn = "</title><script>";
	mse_buf_init(&page, MIB);
	mse_page_write(&page, &example.figures);
	expect(&page, "&lt;b&gt;&amp;&quot;&#39;</h3>", true);
	expect(&page, "&lt;/title&gt;&lt;script&gt;", true);
	expect(&page, "<script>", false);
	mse_buf_clear(&page);
}

static void test_durations(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{ -5, "0 s" }, { 0, "0 s" }, { 999, "under 1 s" },
		{ 1000, "1 s" }, { 119999, "119 s" }, { 120000, "2 min" },
		{ 7199999, "119 min" }, { 7200000, "2 h" },
		{ 172799999, "47 h 59 min" }, { 172800000, "2 days" },
		{ INT64_MAX, "106751991167 days" }
	};
	struct mse_buf text;
	size_t i;

	mse_buf_init(&text, 64);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		mse_buf_reset(&text);
		mse_page_duration(&text, rows[i].ms);
		assert_string_equal(mse_buf_str(&text), rows[i].text);
	}
	mse_buf_clear(&text);
}

/* Every bar is inside the drawing, however large the numbers. */
static void check_bars(const char *svg)
{
	unsigned int x, y, width, height, count = 0;

	for (; (svg = strstr(svg, "<rect")) != NULL; svg++, count++) {
		assert_int_equal(sscanf(svg, "<rect class=\"%*[a-z]\" "
			"x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>",
			&x, &y, &width, &height), 4);
		assert_true(x + width <= 600 && y + height <= 80 &&
			    height > 0);
	}
	assert_true(count > 0);
}

static void test_charts(void **state)
{
	static const uint64_t sizes[] = {
		1, 3, 10, 999, UINT64_C(1) << 40, UINT64_MAX / 4
	};
	struct mse_history history;
	struct mse_buf page;
	uint64_t sum;
	size_t i, j;

	mse_buf_init(&page, MIB);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		mse_buf_reset(&page);
		mse_history_init(&history, 0, 0, 0);
		for (j = 0, sum = 0; j < 3; j++) {
			sum += sizes[i];
			mse_history_look(&history, (int64_t)j + 1, sum,
					 sum / 3, (int64_t)(sizes[i] / 2));
		}
		mse_page_chart(&page, &history, MSE_CHART_DELIVERED);
		mse_page_chart(&page, &history, MSE_CHART_LAG);
		assert_false(mse_buf_failed(&page));
		check_bars(mse_buf_str(&page));
	}
	mse_buf_clear(&page);
}

static void test_history(void **state)
{
	const struct mse_history_sample *sample;
	struct mse_history history;
	int64_t minute;

	mse_history_init(&history, 100, 10, 1);
	assert_null(mse_history_ago(&history, 0));
	mse_history_look(&history, 100, 15, 1, 7); /* still that minute */
	assert_null(mse_history_ago(&history, 0));
	mse_history_look(&history, 101, 17, 3, 8);
	sample = mse_history_ago(&history, 0);
	assert_int_equal(sample->delivered, 7);
	assert_int_equal(sample->failed, 2);
	assert_int_equal(sample->lag_ms, 8);
	/* Two minutes slept through, then counters that began anew. */
	mse_history_look(&history, 104, 20, 3, 9);
	assert_int_equal(history.count, 4);
	assert_int_equal(mse_history_ago(&history, 2)->delivered, 3);
	assert_int_equal(mse_history_ago(&history, 1)->delivered, 0);
	assert_int_equal(mse_history_ago(&history, 0)->delivered, 0);
	mse_history_look(&history, 105, 2, 0, 0);
	assert_int_equal(mse_history_ago(&history, 0)->delivered, 0);
	/* An hour and no more. */
	for (minute = 106; minute < 300; minute++)
		mse_history_look(&history, minute, (uint64_t)minute, 0, 0);
	assert_int_equal(history.count, 60);
	assert_int_equal(mse_history_ago(&history, 59)->delivered, 1);
	assert_null(mse_history_ago(&history, 60));
	/* The machine was suspended for a week. */
	mse_history_look(&history, 10380, 500, 0, 5);
	assert_int_equal(history.count, 1);
	assert_int_equal(mse_history_ago(&history, 0)->delivered, 201);
}

static void write_metrics(struct mse_buf *text, bool openmetrics,
			  const struct mse_figures *figures)
{
	struct mse_metrics metrics = { .buf = text,
		.openmetrics = openmetrics };

	mse_buf_reset(text);
	mse_metrics_write(&metrics, figures);
	assert_false(mse_buf_failed(text));
}

static void test_metrics(void **state)
{
	static const char *const both[] = {
		"mailhook_endpoint_deliveries_total{endpoint=\"billing\","
		"outcome=\"timeout\"} 50\n",
		"mailhook_endpoint_deliveries_total{endpoint=\"billing\","
		"outcome=\"dns\"} 0\n",
		"mailhook_endpoint_delivery_duration_seconds_bucket{"
		"endpoint=\"billing\",le=\"0.05\"} 0\n",
		"mailhook_endpoint_delivery_duration_seconds_bucket{"
		"endpoint=\"billing\",le=\"0.1\"} 322\n",
		"mailhook_endpoint_delivery_duration_seconds_bucket{"
		"endpoint=\"billing\",le=\"10.0\"} 322\n",
		"mailhook_endpoint_delivery_duration_seconds_bucket{"
		"endpoint=\"billing\",le=\"+Inf\"} 372\n",
		"mailhook_endpoint_delivery_duration_seconds_sum{"
		"endpoint=\"billing\"} 775.760\n",
		"mailhook_endpoint_delivery_duration_seconds_count{"
		"endpoint=\"billing\"} 372\n",
		"mailhook_endpoint_lag_seconds{endpoint=\"portal\"} 0.140\n",
		"mailhook_endpoint_state{endpoint=\"crm\",state=\"paused\"} "
		"1\n",
		"mailhook_endpoint_dead_letters{endpoint=\"archive-of-the-"
		"compliance-department\",reason=\"client_error\"} 4\n",
		"mailhook_journal_bytes 74448896\n",
		"mailhook_lost_events_total 2\n"
	};
	struct example example;
	struct mse_buf text;
	size_t i;

	make(&example);
	mse_buf_init(&text, MIB);
	write_metrics(&text, false, &example.figures);
	for (i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		expect(&text, both[i], true);
	expect(&text, "# TYPE mailhook_lost_events_total counter\n", true);
	expect(&text, "# TYPE mailhook_build_info gauge\n", true);
	expect(&text, "# UNIT", false);
	expect(&text, "# EOF", false);
	expect(&text, "secret", false);
	write_metrics(&text, true, &example.figures);
	for (i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		expect(&text, both[i], true);
	expect(&text, "# TYPE mailhook_lost_events counter\n", true);
	expect(&text, "# TYPE mailhook_build info\n", true);
	expect(&text, "# UNIT mailhook_endpoint_lag_seconds seconds\n", true);
	expect(&text, "secret", false);
	assert_string_equal(text.data + text.len - 6, "# EOF\n");
	mse_buf_clear(&text);
}

static void test_metrics_escape(void **state)
{
	static const struct {
		const char *value, *line;
	} rows[] = {
		{ "plain", "x{l=\"plain\"} 7\n" },
		{ "a\\b\"c\nd", "x{l=\"a\\\\b\\\"c\\nd\"} 7\n" },
		{ "Gr\xc3\xbc\xc3\x9f" "e", "x{l=\"Gr\xc3\xbc\xc3\x9f"
		  "e\"} 7\n" },
		{ "\xff{}", "x{l=\"\xef\xbf\xbd{}\"} 7\n" },
		{ "", "x{l=\"\"} 7\n" }
	};
	struct mse_metric_label labels[] = { { "l", NULL }, { NULL, NULL } };
	struct mse_buf text;
	struct mse_metrics metrics = { .buf = &text, .openmetrics = true };
	size_t i;

	mse_buf_init(&text, 4096);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		mse_metrics_family(&metrics, "x", MSE_METRIC_GAUGE, NULL, "h");
		mse_buf_reset(&text);
		labels[0].value = rows[i].value;
		mse_metrics_count(&metrics, labels, 7);
		assert_string_equal(mse_buf_str(&text), rows[i].line);
	}
	mse_buf_reset(&text);
	mse_metrics_ms(&metrics, NULL, -1500);
	assert_string_equal(mse_buf_str(&text), "x -1.500\n");
	mse_buf_clear(&text);
}

static void test_accept(void **state)
{
	assert_true(mse_metrics_wants_open(NULL));
	assert_true(mse_metrics_wants_open("*/*"));
	assert_true(mse_metrics_wants_open(
		"application/openmetrics-text;version=1.0.0;q=0.75,"
		"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
	assert_true(mse_metrics_wants_open("text/html, */*"));
	assert_false(mse_metrics_wants_open("text/plain;version=0.0.4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_every_result),
		cmocka_unit_test(test_page_escapes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_charts),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_metrics_escape),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
