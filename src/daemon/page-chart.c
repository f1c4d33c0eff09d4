/*
 * One hour of an endpoint as inline SVG.
 *
 * A bar a minute, the newest at the right; where there is no sample yet there
 * is no bar. The drawing is stretched to the page's width, so it has shapes
 * only: its words are HTML around it, and a sentence for those who cannot see
 * it.
 *
 * Invariant: figures only, from the history.
 */
#include "mse-config.h"

#include "daemon/page.h"

#include <inttypes.h>
#include <stdio.h>

#define WIDTH 600
#define HEIGHT 80
#define STEP (WIDTH / MSE_HISTORY_MINUTES)
#define BAR (STEP - 2)
#define BAR_MIN 2 /* one event among thousands is seen */

struct chart {
	struct mse_buf *page;
	const struct mse_history *history;
	enum mse_page_chart kind;
	uint64_t top; /* of the scale */
};

/* The main value, and what stands on it. */
static uint64_t value_of(const struct chart *chart,
			 const struct mse_history_sample *sample)
{
	return chart->kind == MSE_CHART_LAG ? (uint64_t)sample->lag_ms :
		sample->delivered;
}

static uint64_t failed_of(const struct chart *chart,
			  const struct mse_history_sample *sample)
{
	return chart->kind == MSE_CHART_LAG ? 0 : sample->failed;
}

static uint64_t highest(const struct chart *chart)
{
	const struct mse_history_sample *sample;
	uint64_t top = 0, value;
	unsigned int ago;

	for (ago = 0; ago < chart->history->count; ago++) {
		sample = mse_history_ago(chart->history, ago);
		value = value_of(chart, sample) + failed_of(chart, sample);
		if (value > top)
			top = value;
	}
	return top;
}

/* 1, 2 or 5 and zeros: a number people can halve. */
static uint64_t round_up(uint64_t value)
{
	uint64_t step = 1;

	while (step <= value / 10)
		step *= 10;
	if (value <= step)
		return step;
	if (value <= 2 * step)
		return 2 * step;
	return value <= 5 * step ? 5 * step : 10 * step;
}

/* Minutes and hours are not decimal. */
static uint64_t round_up_lag(uint64_t ms)
{
	static const uint64_t steps[] = {
		1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400
	};
	unsigned int i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (ms <= steps[i] * 1000)
			return steps[i] * 1000;
	}
	return (ms / 86400000 + 1) * 86400000;
}

static unsigned int scaled(const struct chart *chart, uint64_t value)
{
	unsigned int height;

	if (value == 0)
		return 0;
	height = (unsigned int)((double)value / (double)chart->top * HEIGHT);
	if (chart->kind == MSE_CHART_LAG)
		return height > HEIGHT ? HEIGHT : height;
	return height < BAR_MIN ? BAR_MIN : height > HEIGHT ? HEIGHT : height;
}

static void append_bar(const struct chart *chart, unsigned int ago)
{
	const struct mse_history_sample *sample =
		mse_history_ago(chart->history, ago);
	unsigned int x = WIDTH - (ago + 1) * STEP + 1;
	unsigned int height = scaled(chart, value_of(chart, sample));
	unsigned int more = scaled(chart, failed_of(chart, sample));

	if (height + more > HEIGHT)
		height = HEIGHT - more;
	if (height > 0)
		mse_buf_appendf(chart->page, "<rect class=\"%s\" x=\"%u\" "
				"y=\"%u\" width=\"%u\" height=\"%u\"/>",
				chart->kind == MSE_CHART_LAG ? "lag" : "good",
				x, HEIGHT - height, BAR, height);
	/* Told apart by its shape as well: narrower, with a gap below. */
	if (more > 0)
		mse_buf_appendf(chart->page, "<rect class=\"bad\" x=\"%u\" "
				"y=\"%u\" width=\"%u\" height=\"%u\"/>",
				x + 2, HEIGHT - height - more, BAR - 4,
				more > 1 && height > 0 ? more - 1 : more);
}

static void append_value(const struct chart *chart, uint64_t value)
{
	if (chart->kind == MSE_CHART_LAG)
		mse_page_duration(chart->page, (int64_t)value);
	else
		mse_buf_appendf(chart->page, "%" PRIu64, value);
}

/* What a bar chart says in words. */
static void append_words(const struct chart *chart)
{
	const struct mse_history_sample *sample;
	uint64_t sum = 0, failed = 0;
	unsigned int ago, count = chart->history->count;

	for (ago = 0; ago < count; ago++) {
		sample = mse_history_ago(chart->history, ago);
		sum += value_of(chart, sample);
		failed += failed_of(chart, sample);
	}
	sample = mse_history_ago(chart->history, 0);
	if (chart->kind == MSE_CHART_LAG) {
		mse_buf_appendf(chart->page, "Lag at the end of each of the "
				"last %u minutes: at most ", count);
		append_value(chart, highest(chart));
		mse_buf_append_str(chart->page, ", now ");
		append_value(chart, value_of(chart, sample));
		return;
	}
	mse_buf_appendf(chart->page, "Last %u minutes: %" PRIu64 " delivered, "
			"%" PRIu64 " attempts failed; in the last minute %"
			PRIu64 " delivered", count, sum, failed,
			value_of(chart, sample));
}

static void append_svg(const struct chart *chart)
{
	unsigned int ago;

	mse_buf_appendf(chart->page, "<svg viewBox=\"0 0 %d %d\" "
			"preserveAspectRatio=\"none\" role=\"img\" "
			"aria-label=\"", WIDTH, HEIGHT);
	append_words(chart);
	mse_buf_appendf(chart->page, "\"><path class=\"grid\" d=\"M0 %d.5H%d"
			"M0 .5H%d\"/><path class=\"base\" d=\"M0 %d.5H%d\"/>",
			HEIGHT / 2, WIDTH, WIDTH, HEIGHT - 1, WIDTH);
	for (ago = chart->history->count; ago > 0; ago--)
		append_bar(chart, ago - 1);
	mse_buf_append_str(chart->page, "</svg>");
}

void mse_page_chart(struct mse_buf *page, const struct mse_history *history,
		    enum mse_page_chart kind)
{
	struct chart chart = { page, history, kind, 0 };
	bool lag = kind == MSE_CHART_LAG;

	chart.top = highest(&chart);
	mse_buf_appendf(page, "<figure><figcaption>%s%s</figcaption>",
			lag ? "Lag" : "Delivered per minute",
			lag || chart.top == 0 ? "" : "<span class=\"key\">"
			"<i class=\"good\"></i> delivered <i class=\"bad\">"
			"</i> failed attempts</span>");
	if (chart.top == 0) {
		mse_buf_appendf(page, "<p class=\"flat\">%s</p></figure>",
				history->count == 0 ? "The first minute is "
				"not over yet." : lag ?
				"Nothing waited in the last hour." :
				"Nothing was sent in the last hour.");
		return;
	}
	chart.top = lag ? round_up_lag(chart.top) : round_up(chart.top);
	mse_buf_append_str(page, "<div class=\"plot\"><span class=\"top\">");
	append_value(&chart, chart.top);
	mse_buf_append_str(page, "</span>");
	append_svg(&chart);
	mse_buf_append_str(page, "</div><div class=\"axis\"><span>60 min ago"
			   "</span><span>30</span><span>now</span></div>"
			   "</figure>");
}
