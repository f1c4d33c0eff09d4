/*
 * The status page: is all well, and if not, where.
 *
 * Invariant: a state is said in words and by a mark, never by colour alone;
 * what comes from outside (names) is escaped; no answer's words, no URL, no
 * user, mailbox or event is on it.
 */
#include "mse-config.h"

#include "daemon/page.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define REFRESH_S 15
#define SECOND_MS ((int64_t)1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

void mse_page_text(struct mse_buf *page, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			mse_buf_append_str(page, "&amp;");
			break;
		case '<':
			mse_buf_append_str(page, "&lt;");
			break;
		case '>':
			mse_buf_append_str(page, "&gt;");
			break;
		case '"':
			mse_buf_append_str(page, "&quot;");
			break;
		case '\'':
			mse_buf_append_str(page, "&#39;");
			break;
		default:
			mse_buf_append_char(page, *text);
		}
	}
}

void mse_page_duration(struct mse_buf *page, int64_t ms)
{
	if (ms <= 0)
		mse_buf_append_str(page, "0 s");
	else if (ms < SECOND_MS)
		mse_buf_append_str(page, "under 1 s");
	else if (ms < 2 * MINUTE_MS)
		mse_buf_appendf(page, "%" PRId64 " s", ms / SECOND_MS);
	else if (ms < 2 * HOUR_MS)
		mse_buf_appendf(page, "%" PRId64 " min", ms / MINUTE_MS);
	else if (ms < 2 * DAY_MS && ms % HOUR_MS < MINUTE_MS)
		mse_buf_appendf(page, "%" PRId64 " h", ms / HOUR_MS);
	else if (ms < 2 * DAY_MS)
		mse_buf_appendf(page, "%" PRId64 " h %" PRId64 " min",
				ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS);
	else
		mse_buf_appendf(page, "%" PRId64 " days", ms / DAY_MS);
}

void mse_page_octets(struct mse_buf *page, uint64_t octets)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double value = (double)octets / 1024;
	unsigned int unit = 0;

	if (octets < 1024) {
		mse_buf_appendf(page, "%" PRIu64 " B", octets);
		return;
	}
	while (value >= 1000 && unit < 3) {
		value /= 1024;
		unit++;
	}
	mse_buf_appendf(page, value < 10 ? "%.1f %s" : "%.0f %s", value,
			units[unit]);
}

static void append_time(struct mse_buf *page, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char text[64], machine[64];
	struct tm tm;

	if (localtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm) == 0 ||
	    strftime(machine, sizeof(machine), "%Y-%m-%dT%H:%M:%S%z",
		     &tm) == 0)
		return;
	mse_buf_appendf(page, "<time datetime=\"%s\">", machine);
	mse_page_text(page, text);
	mse_buf_append_str(page, "</time>");
}

static size_t count_looks(const struct mse_figures *figures,
			  enum mse_page_look look)
{
	size_t i, count = 0;

	for (i = 0; i < figures->endpoint_count; i++) {
		if (mse_page_look_of(&figures->endpoints[i].status) == look)
			count++;
	}
	return count;
}

static void append_sentence(struct mse_buf *page, size_t count, size_t ill,
			    size_t paused)
{
	if (count == 0)
		mse_buf_append_str(page, "No endpoint is configured.");
	else if (ill > 0)
		mse_buf_appendf(page, "%zu of %zu endpoints %s attention.",
				ill, count, ill == 1 ? "needs" : "need");
	else if (paused == count)
		mse_buf_append_str(page, count == 1 ?
				   "The endpoint is paused." :
				   "All endpoints are paused.");
	else if (paused > 0)
		mse_buf_appendf(page, "%zu of %zu endpoints %s; the others are "
				"paused.", count - paused, count,
				count - paused == 1 ? "delivers" : "deliver");
	else
		mse_buf_append_str(page, count == 1 ?
				   "The endpoint delivers." :
				   "All endpoints deliver.");
}

static void append_verdict(struct mse_buf *page,
			   const struct mse_figures *figures)
{
	size_t bad = count_looks(figures, MSE_LOOK_BAD);
	size_t warn = count_looks(figures, MSE_LOOK_WARN);
	size_t paused = count_looks(figures, MSE_LOOK_OFF);
	enum mse_page_look look = MSE_LOOK_GOOD;

	if (bad > 0)
		look = MSE_LOOK_BAD;
	else if (warn > 0)
		look = MSE_LOOK_WARN;
	else if (paused == figures->endpoint_count)
		look = MSE_LOOK_OFF;
	mse_buf_appendf(page, "<p class=\"verdict %s\">",
			mse_page_look_class[look]);
	mse_page_mark(page, look);
	mse_buf_append_str(page, "<span>");
	append_sentence(page, figures->endpoint_count, bad + warn, paused);
	mse_buf_append_str(page, "</span></p>");
}

static void append_head(struct mse_buf *page,
			const struct mse_figures *figures)
{
	mse_buf_appendf(page, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
			"<meta charset=\"utf-8\"><meta name=\"viewport\" "
			"content=\"width=device-width,initial-scale=1\">"
			"<meta http-equiv=\"refresh\" content=\"%d\">"
			"<meta name=\"robots\" content=\"noindex\">"
			"<title>mailhook on ", REFRESH_S);
	mse_page_text(page, figures->server_fqdn);
	mse_buf_appendf(page, "</title><style>%s</style></head>\n<body>"
			"<header><h1>mailhook <small>on ", mse_page_style);
	mse_page_text(page, figures->server_fqdn);
	mse_buf_append_str(page, "</small></h1><p class=\"soft\">");
	append_time(page, figures->wall_ms);
	mse_buf_append_str(page, " · up ");
	mse_page_duration(page, figures->wall_ms - figures->started_at_ms);
	mse_buf_append_str(page, " · version " MAILHOOK_VERSION "</p>");
	append_verdict(page, figures);
	mse_buf_append_str(page, "</header>\n<main>");
}

/* With several: all of them at a glance. */
static void append_list(struct mse_buf *page,
			const struct mse_figures *figures)
{
	const struct mse_endpoint_status *status;
	size_t i;

	mse_buf_append_str(page, "<div class=\"card list\"><table><thead><tr>"
			   "<th scope=\"col\">Endpoint</th><th scope=\"col\">"
			   "State</th><th scope=\"col\" class=\"n\">Lag</th>"
			   "<th scope=\"col\" class=\"n wide\">Waiting</th>"
			   "<th scope=\"col\" class=\"n wide\">Dead letters"
			   "</th></tr></thead><tbody>");
	for (i = 0; i < figures->endpoint_count; i++) {
		status = &figures->endpoints[i].status;
		mse_buf_appendf(page, "<tr><th scope=\"row\"><a href=\"#e%zu\""
				">", i);
		mse_page_text(page, status->name);
		mse_buf_append_str(page, "</a></th><td>");
		mse_page_state(page, status);
		mse_buf_append_str(page, "</td><td class=\"n\">");
		mse_page_lag(page, status);
		mse_buf_appendf(page, "</td><td class=\"n wide\">%" PRIu64
				"</td><td class=\"n wide%s\">%" PRIu64
				"</td></tr>",
				status->unanswered + status->parked,
				status->dead > 0 ? " alarm" : "",
				status->dead);
	}
	mse_buf_append_str(page, "</tbody></table></div>");
}

static void append_endpoints(struct mse_buf *page,
			     const struct mse_figures *figures)
{
	size_t i;

	mse_buf_append_str(page, "<section><h2>Endpoints</h2>");
	if (figures->endpoint_count > 1)
		append_list(page, figures);
	mse_buf_append_str(page, "<div class=\"cards\">");
	for (i = 0; i < figures->endpoint_count; i++)
		mse_page_endpoint(page, figures, &figures->endpoints[i]);
	if (figures->endpoint_count == 0)
		mse_buf_append_str(page, "<p class=\"flat\">Write one into "
				   "mailhook.conf, then mailhookctl reload."
				   "</p>");
	mse_buf_append_str(page, "</div></section>\n");
}

static void append_size(struct mse_buf *page,
			const struct mse_figures *figures)
{
	double share = figures->journal_limit == 0 ? 0 :
		100.0 * (double)figures->journal_octets /
		(double)figures->journal_limit;

	mse_buf_append_str(page, "<tr><th scope=\"row\">Journal</th><td><b>");
	mse_page_octets(page, figures->journal_octets);
	mse_buf_append_str(page, "</b> of ");
	mse_page_octets(page, figures->journal_limit);
	mse_buf_appendf(page, " (%.0f %%) in %u %s<div class=\"bar%s\">"
			"<span style=\"width:%.1f%%\"></span></div></td></tr>",
			share, figures->journal_files,
			figures->journal_files == 1 ? "file" : "files",
			share >= 90 ? " full" : "", share > 100 ? 100 : share);
}

/* A count that should be nought; the last of them ago_ms ago (-1: nobody
   knows). */
static void append_bad(struct mse_buf *page, const char *name, uint64_t count,
		       const char *what, int64_t ago_ms)
{
	mse_buf_appendf(page, "<tr><th scope=\"row\">%s</th><td>"
			"<b%s>%" PRIu64 "</b> %s", name, count > 0 ?
			" class=\"alarm\"" : "", count, what);
	if (count > 0 && ago_ms >= 0) {
		mse_buf_append_str(page, ", the last ");
		mse_page_duration(page, ago_ms);
		mse_buf_append_str(page, " ago");
	}
	mse_buf_append_str(page, "</td></tr>");
}

static void append_journal(struct mse_buf *page,
			   const struct mse_figures *figures)
{
	const struct mse_derive_status *derive = &figures->derive;

	mse_buf_append_str(page, "<section><h2>Journal and losses</h2>"
			   "<div class=\"card\"><table><thead><tr>"
			   "<th scope=\"col\">What</th><th scope=\"col\">"
			   "Figures</th></tr></thead><tbody>");
	append_size(page, figures);
	append_bad(page, "Lost events", figures->lost,
		   "in mail processes that could not append",
		   figures->wall_ms - figures->lost_until_ms);
	append_bad(page, "Unread files removed", figures->forced_releases,
		   "at journal_limit, since the start", -1);
	append_bad(page, "Damage", derive->torn + derive->damaged,
		   "torn records or foreign octets in the journal, since the "
		   "start", -1);
	mse_buf_appendf(page, "<tr><th scope=\"row\">Late records</th><td><b>"
			"%" PRIu64 "</b> taken over into the next file, since "
			"the start</td></tr><tr><th scope=\"row\">Read by the "
			"daemon</th><td><b>", derive->late);
	mse_page_octets(page, derive->behind_octets);
	mse_buf_appendf(page, "</b> behind</td></tr><tr><th scope=\"row\">"
			"Ledger</th><td><b>%" PRIu64 "</b> commits since the "
			"start, <b>%u</b> %s waiting", figures->ledger.commits,
			figures->ledger_queued, figures->ledger_queued == 1 ?
			"job" : "jobs");
	if (figures->ledger.failures > 0)
		mse_buf_appendf(page, ", <b class=\"alarm\">%" PRIu64
				"</b> failed", figures->ledger.failures);
	mse_buf_append_str(page, "</td></tr></tbody></table></div>"
			   "</section></main>\n");
}

void mse_page_write(struct mse_buf *page, const struct mse_figures *figures)
{
	append_head(page, figures);
	append_endpoints(page, figures);
	append_journal(page, figures);
	mse_buf_appendf(page, "<footer><p>This page shows itself anew every "
			"%d seconds. For Prometheus: <a href=\"/metrics\">"
			"/metrics</a>. For more: mailhookctl status, queue, "
			"dead.</p></footer></body></html>\n", REFRESH_S);
}
