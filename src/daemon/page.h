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
/* page-chart.c: the hour as bars. What the chart shows of a sample. */
enum mse_page_chart { MSE_CHART_DELIVERED, MSE_CHART_LAG };
void mse_page_chart(struct mse_buf *page, const struct mse_history *history,
		    enum mse_page_chart chart);
/* page-style.c */
extern const char mse_page_style[];

#endif
