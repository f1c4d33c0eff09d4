#ifndef MSE_HTTP_PRIVATE_H
#define MSE_HTTP_PRIVATE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/buf.h"
#include "http/http.h"

struct event;

#define MSE_HTTP_BODY_MAX (64 * 1024)
#define MSE_HTTP_HEADERS_MAX (256 * 1024)
#define MSE_HTTP_SPARE_MAX 64
/* After that long a connection is made anew: names and certificates change. */
#define MSE_HTTP_LIFETIME_S 3600

/* One request with its easy handle. Lives from post() until done() returned,
   then waits among the spare ones with its handle. */
struct mse_http_transfer {
	struct mse_http *http;
	struct mse_http_transfer *prev, *next;
	CURL *easy;
	struct mse_request *request;
	struct curl_slist *headers; /* an array */
	size_t header_count;        /* there is room for */
	struct mse_buf body;
	int64_t started_ms;
	int64_t retry_after_s;
	char allowed_origin[256], allowed_rate[32];
	size_t headers_len;
	bool used;           /* the handle, by a request before */
	bool status_line;    /* was the last line of the answer */
	bool headers_done;   /* a final status line and its headers came */
	bool finished;       /* in the done list; no longer curl's */
	CURLcode code;
	enum mse_outcome outcome;
	int status;
	bool tried;          /* to connect to an address */
	char denied[64];     /* an address that is not permitted; "" */
	char curl_text[CURL_ERROR_SIZE];
	char text[256];
};

/* A doubly linked list with an anchor of its own. */
struct mse_http_list {
	struct mse_http_transfer *first, *last;
	unsigned int count;
};
void mse_http_list_add(struct mse_http_list *list,
		       struct mse_http_transfer *transfer);
void mse_http_list_remove(struct mse_http_list *list,
			  struct mse_http_transfer *transfer);

/* When an endpoint's connections were last to be dropped. */
struct mse_http_forgotten {
	struct mse_http_forgotten *next;
	int64_t at_ms;
	char endpoint[];
};

/* A socket libcurl has, by its number. */
struct mse_http_watch {
	struct event *ev; /* NULL: not watched */
	short watched;    /* EV_READ and EV_WRITE, for libevent */
	short wanted;     /* by libcurl; 0: nothing now */
};

struct mse_http {
	struct mse_transport transport; /* first: the transport is the http */
	struct event_base *base;
	struct event *timer;   /* libcurl's */
	struct event *wake;    /* to call done() outside post() and cancel() */
	CURLM *multi;
	struct mse_http_watch *watches;
	size_t watch_count;
	unsigned int most; /* requests there ever were at once */
	bool looks_at_folds; /* mse_http_line() */
	bool deaf; /* a socket or the timer is not waited for */
	struct mse_http_list running, finished, spare;
	struct mse_http_forgotten *forgotten;
};

/* loop.c: libcurl's sockets and timer on libevent. */
int mse_http_loop_init(struct mse_http *http, struct mse_error *error_r);
void mse_http_loop_clear(struct mse_http *http);
/* libcurl closes connections with it; context: the http. */
int mse_http_close_socket(void *context, curl_socket_t fd);
/* http.c: collects what libcurl finished and calls done(). */
void mse_http_dispatch(struct mse_http *http);
/* Dispatches when the loop comes round. Needs no memory. */
void mse_http_wake(struct mse_http *http);

/* transfer.c */
struct mse_http_transfer *mse_http_transfer_new(struct mse_http *http);
void mse_http_transfer_free(struct mse_http_transfer *transfer);
/* -1: a bad URL or no memory; text says which. */
int mse_http_transfer_setup(struct mse_http_transfer *transfer,
			    struct mse_request *request);
/* NULL: the handle is one of libcurl's own. */
struct mse_http_transfer *mse_http_transfer_of(CURL *easy);
int64_t mse_http_mono_ms(void);

/* guard.c */
curl_socket_t mse_http_guard_socket(void *context, curlsocktype purpose,
				    struct curl_sockaddr *address);
int mse_http_guard_request(void *context, char *remote_ip, char *local_ip,
			   int remote_port, int local_port);

/* answer.c: what libcurl's result means. Sets outcome, status and text. */
void mse_http_answer_decide(struct mse_http_transfer *transfer);
/* "120" or an HTTP-date, in seconds from now; -1 if it is neither. */
int64_t mse_http_retry_after(const char *value, int64_t now_s);

#endif
