/*
 * One endpoint on the status page: its state in a word, its card.
 *
 * Invariant: a state is said in words and by a mark, never by colour alone;
 * an outcome is said in words of our own, as an answer may say anything.
 */
#include "mse-config.h"

#include "daemon/page.h"

#include <inttypes.h>
#include <string.h>

const char *const mse_page_look_class[] = {
	[MSE_LOOK_GOOD] = "is-good", [MSE_LOOK_WARN] = "is-warn",
	[MSE_LOOK_BAD] = "is-bad", [MSE_LOOK_OFF] = "is-off"
};

/* Paths in a field of 20 by 20: a tick, a triangle with "!", a cross in a
   circle, two bars. */
static const char *const look_mark[] = {
	[MSE_LOOK_GOOD] = "M4 10.5l4 4 8-9",
	[MSE_LOOK_WARN] = "M10 2.5l8 14.5H2zM10 8v4M10 14.4v.1",
	[MSE_LOOK_BAD] = "M10 2a8 8 0 1 0 .01 0M7 7l6 6M13 7l-6 6",
	[MSE_LOOK_OFF] = "M7 4v12M13 4v12"
};

static const struct state {
	const char *name, *word;
	enum mse_page_look look;
	const char *why;
} states[] = {
	{ "ok", "delivering", MSE_LOOK_GOOD, "" },
	{ "retrying", "retrying", MSE_LOOK_WARN, "Some events were not "
	  "accepted and are tried again; those of other owners go on." },
	{ "outage", "outage", MSE_LOOK_BAD, "It accepts nothing: events wait "
	  "where they are, a probe is sent from time to time." },
	{ "waiting", "held up", MSE_LOOK_BAD, "So many events wait for their "
	  "next attempt that no more are read (a quarter of "
	  "journal_limit)." },
	{ "paused", "paused", MSE_LOOK_OFF, "Paused by the administrator; "
	  "mailhookctl resume goes on." },
	{ "disabled", "disabled", MSE_LOOK_BAD, "The receiver answered 410 "
	  "Gone; mailhookctl resume tries again." },
	{ "handshake", "not permitted", MSE_LOOK_BAD, "The receiver has not "
	  "permitted deliveries yet; it is asked again from time to time." }
};
static const struct state behind = {
	"ok", "behind", MSE_LOOK_WARN, "It delivers, but is behind by more "
	"than lag_warning."
};

static const struct state *state_of(const struct mse_endpoint_status *status)
{
	size_t i;

	if (strcmp(status->state, "ok") == 0 && status->lagging)
		return &behind;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i].name, status->state) == 0)
			return &states[i];
	}
	return &states[1];
}

enum mse_page_look
mse_page_look_of(const struct mse_endpoint_status *status)
{
	return state_of(status)->look;
}

void mse_page_mark(struct mse_buf *page, enum mse_page_look look)
{
	mse_buf_appendf(page, "<svg class=\"mark\" viewBox=\"0 0 20 20\" "
			"aria-hidden=\"true\"><path d=\"%s\"/></svg>",
			look_mark[look]);
}

static void append_state(struct mse_buf *page, const struct state *state)
{
	mse_buf_appendf(page, "<span class=\"state %s\">",
			mse_page_look_class[state->look]);
	mse_page_mark(page, state->look);
	mse_buf_appendf(page, "%s</span>", state->word);
}

void mse_page_state(struct mse_buf *page,
		    const struct mse_endpoint_status *status)
{
	append_state(page, state_of(status));
}

void mse_page_lag(struct mse_buf *page,
		  const struct mse_endpoint_status *status)
{
	if (status->behind_ms > 0)
		mse_page_duration(page, status->behind_ms);
	else if (strcmp(status->state, "paused") == 0 &&
		 status->behind_octets > 0)
		/* It reads nothing, so nobody knows what is there for it. */
		mse_buf_append_str(page, "–");
	else
		mse_buf_append_str(page, "none");
}

static void begin_figure(struct mse_buf *page, const char *name)
{
	mse_buf_appendf(page, "<div><dt>%s</dt><dd>", name);
}

static void end_figure(struct mse_buf *page)
{
	mse_buf_append_str(page, "</dd></div>");
}

/* In words of its own: an answer's text may say anything. */
static const char *result_words(enum mse_result result)
{
	static const char *const words[MSE_RESULT_COUNT] = {
		[MSE_RESULT_SUCCESS] = "accepted (2xx)",
		[MSE_RESULT_REDIRECT] = "redirected (3xx)",
		[MSE_RESULT_CLIENT_ERROR] = "refused (4xx)",
		[MSE_RESULT_SERVER_ERROR] = "receiver’s error (5xx)",
		[MSE_RESULT_RETRY_AFTER] = "asked to wait",
		[MSE_RESULT_GONE] = "gone (410)",
		[MSE_RESULT_DNS] = "host name not found",
		[MSE_RESULT_REFUSED] = "connection refused",
		[MSE_RESULT_CONNECT_TIMEOUT] = "no connection in time",
		[MSE_RESULT_PROXY] = "stopped by the proxy",
		[MSE_RESULT_DENIED] = "address not allowed",
		[MSE_RESULT_TLS] = "TLS failed",
		[MSE_RESULT_TIMEOUT] = "no answer in time",
		[MSE_RESULT_RESET] = "connection reset",
		[MSE_RESULT_BROKEN] = "connection broken",
		[MSE_RESULT_LOCAL] = "not sent (own error)"
	};

	/* One that is new has a name before it has words. */
	return words[result] != NULL ? words[result] :
		mse_result_name(result);
}

static void append_last(struct mse_buf *page,
			const struct mse_counters *counters, int64_t wall_ms)
{
	begin_figure(page, "Last outcome");
	if (counters->last == MSE_RESULT_COUNT) {
		mse_buf_append_str(page, "none yet");
	} else {
		if (counters->last_status != 0)
			mse_buf_appendf(page, "%d", counters->last_status);
		else
			mse_buf_append_str(page, result_words(counters->last));
		mse_buf_append_str(page, " <small>");
		mse_page_duration(page, wall_ms - counters->last_at_ms);
		mse_buf_append_str(page, " ago</small>");
	}
	end_figure(page);
}

static void append_numbers(struct mse_buf *page,
			   const struct mse_figures *figures,
			   const struct mse_figures_endpoint *endpoint)
{
	const struct mse_endpoint_status *status = &endpoint->status;
	const struct mse_history_sample *sample = endpoint->history == NULL ?
		NULL : mse_history_ago(endpoint->history, 0);

	mse_buf_append_str(page, "<dl class=\"figures\">");
	begin_figure(page, "Lag");
	mse_page_lag(page, status);
	end_figure(page);
	begin_figure(page, "Delivered last minute");
	if (sample == NULL)
		mse_buf_append_str(page, "–");
	else
		mse_buf_appendf(page, "%" PRIu64, sample->delivered);
	end_figure(page);
	append_last(page, &status->counters, figures->wall_ms);
	begin_figure(page, "Waiting events");
	mse_buf_appendf(page, "%" PRIu64, status->unanswered +
			status->parked);
	if (status->in_flight > 0)
		mse_buf_appendf(page, " <small>%u on the way</small>",
				status->in_flight);
	end_figure(page);
	begin_figure(page, "Journal unread");
	mse_page_octets(page, status->behind_octets);
	end_figure(page);
	begin_figure(page, "Dead letters");
	mse_buf_appendf(page, status->dead > 0 ?
			"<span class=\"alarm\">%" PRIu64 "</span>" :
			"%" PRIu64, status->dead);
	end_figure(page);
	mse_buf_append_str(page, "</dl>");
}

static void append_row(struct mse_buf *page, const char *name, uint64_t count)
{
	mse_buf_appendf(page, "<tr><th scope=\"row\">%s</th>"
			"<td class=\"n\">%" PRIu64 "</td></tr>", name, count);
}

static void append_dead(struct mse_buf *page,
			const struct mse_counters *counters)
{
	static const char *const words[MSE_DEAD_REASON_COUNT] = {
		[MSE_DEAD_REDIRECT] = "redirected (3xx)",
		[MSE_DEAD_CLIENT_ERROR] = "refused (4xx)",
		[MSE_DEAD_SERVER_ERROR] = "receiver’s error (5xx)",
		[MSE_DEAD_NO_ANSWER] = "no answer"
	};
	unsigned int i;

	mse_buf_append_str(page, "<table><caption>Dead letters by what their "
			   "last attempt came to</caption><thead><tr>"
			   "<th scope=\"col\">Reason</th><th scope=\"col\" "
			   "class=\"n\">Events</th></tr></thead><tbody>");
	for (i = 0; i < MSE_DEAD_REASON_COUNT; i++) {
		if (counters->dead[i] > 0)
			append_row(page, words[i], counters->dead[i]);
	}
	mse_buf_append_str(page, "</tbody></table>");
}

static void append_results(struct mse_buf *page,
			   const struct mse_counters *counters)
{
	unsigned int i;

	if (counters->last == MSE_RESULT_COUNT)
		return;
	mse_buf_append_str(page, "<table><caption>Requests since the start"
			   "</caption><thead><tr><th scope=\"col\">Outcome"
			   "</th><th scope=\"col\" class=\"n\">Requests</th>"
			   "</tr></thead><tbody>");
	for (i = 0; i < MSE_RESULT_COUNT; i++) {
		if (counters->results[i] > 0)
			append_row(page, result_words(i),
				   counters->results[i]);
	}
	mse_buf_append_str(page, "</tbody></table>");
}

static void append_why(struct mse_buf *page, const struct state *state,
		       const struct mse_endpoint_status *status)
{
	if (*state->why == '\0')
		return;
	mse_buf_appendf(page, "<p class=\"why\">%s", state->why);
	if (status->lagging && state != &behind)
		mse_buf_append_str(page, " It is behind by more than "
				   "lag_warning.");
	if (status->next_attempt_ms > 0 && state->look != MSE_LOOK_OFF) {
		mse_buf_append_str(page, " Next attempt in ");
		mse_page_duration(page, status->next_attempt_ms);
		mse_buf_append_char(page, '.');
	}
	mse_buf_append_str(page, "</p>");
}

void mse_page_endpoint(struct mse_buf *page,
			    const struct mse_figures *figures,
			    const struct mse_figures_endpoint *endpoint)
{
	const struct mse_endpoint_status *status = &endpoint->status;
	const struct state *state = state_of(status);

	mse_buf_appendf(page, "<article class=\"card\" id=\"e%zu\"><header>"
			"<h3>", (size_t)(endpoint - figures->endpoints));
	mse_page_text(page, status->name);
	mse_buf_append_str(page, "</h3>");
	append_state(page, state);
	mse_buf_append_str(page, "</header>");
	append_why(page, state, status);
	append_numbers(page, figures, endpoint);
	if (endpoint->history != NULL) {
		mse_page_chart(page, endpoint->history, MSE_CHART_DELIVERED);
		/* Of a paused one it would say that nothing waits. */
		if (state->look != MSE_LOOK_OFF)
			mse_page_chart(page, endpoint->history,
				       MSE_CHART_LAG);
	}
	if (status->dead > 0)
		append_dead(page, &status->counters);
	append_results(page, &status->counters);
	mse_buf_append_str(page, "</article>\n");
}
