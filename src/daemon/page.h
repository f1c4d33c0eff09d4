#ifndef MSE_DAEMON_PAGE_H
#define MSE_DAEMON_PAGE_H

#include "base/buf.h"
#include "daemon/overview.h"

/* The status page: HTML 5 for people, without scripts, pictures or anything
   from elsewhere. As the metrics it names no user, mailbox, URL or event. */
void mse_page_write(struct mse_buf *page, const struct mse_figures *figures);

/* Between the files of the page. */
void mse_page_text(struct mse_buf *page, const char *text); /* escaped */
/* "3 s", "12 min", "4 h 10 min", "2 days". */
void mse_page_duration(struct mse_buf *page, int64_t ms);
/* "9.8 KiB", "1.0 GiB". */
void mse_page_octets(struct mse_buf *page, uint64_t octets);

/* page-endpoint.c */
enum mse_page_look {
	MSE_LOOK_GOOD, MSE_LOOK_WARN, MSE_LOOK_BAD, MSE_LOOK_OFF
};
extern const char *const mse_page_look_class[]; /* CSS classes */
enum mse_page_look
mse_page_look_of(const struct mse_endpoint_status *status);
void mse_page_mark(struct mse_buf *page, enum mse_page_look look);
/* The state's mark and word. */
void mse_page_state(struct mse_buf *page,
		    const struct mse_endpoint_status *status);
void mse_page_lag(struct mse_buf *page,
		  const struct mse_endpoint_status *status);
void mse_page_endpoint(struct mse_buf *page,
		       const struct mse_figures *figures,
		       const struct mse_figures_endpoint *endpoint);

/* page-chart.c: the hour as bars. What the chart shows of a sample. */
enum mse_page_chart { MSE_CHART_DELIVERED, MSE_CHART_LAG };
void mse_page_chart(struct mse_buf *page, const struct mse_history *history,
		    enum mse_page_chart chart);
/* page-style.c */
extern const char mse_page_style[];

#endif
