#ifndef MSE_DAEMON_WEB_H
#define MSE_DAEMON_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/*
 * The listener of `metrics`: GET and HEAD of / (status page) and /metrics.
 * Read-only, counters only. It is small on purpose and written for clients
 * that mean no good: one request a connection, a head of at most 8 KiB, ten
 * seconds for everything, sixteen connections (the oldest one goes when there
 * are more). What has these bounds in libevent's evhttp is not in the versions
 * that distributions have.
 */
#define MSE_WEB_CLIENTS_MAX 16
#define MSE_WEB_HEAD_MAX 8192
#define MSE_WEB_TIME_S 10

struct mse_daemon;
struct mse_web;
struct mse_web_client;

/* Listens with the first pass. */
int mse_web_new(struct mse_daemon *daemon, struct mse_web **web_r,
		struct mse_error *error_r);
void mse_web_free(struct mse_web **web);
/* In every pass of the loop: listens where the configuration now says, if it
   does not yet. An address that cannot be had is logged once and tried again
   when the daemon wakes, at most each five seconds; nothing else suffers. */
void mse_web_pass(struct mse_web *web);
/* Why there is no listener although there should be one; NULL: all well. */
const char *mse_web_problem(const struct mse_web *web);

/* web-request.c */
struct mse_web_request {
	bool head;       /* HEAD, not GET */
	char path[256];  /* without the query */
	char accept[512];
	bool has_accept;
};
/* head: from the request line to the empty line, NUL-terminated; cut into
   pieces. Returns 0, or the HTTP status to refuse it with. */
int mse_web_parse(char *head, struct mse_web_request *request_r);

struct mse_web_answer {
	int status;
	const char *type;
	bool allow, page; /* say Allow; say what a page of ours may do */
	struct mse_buf body;
};
/* The whole answer: status line, headers and, unless head, the body. */
void mse_web_write(const struct mse_web_answer *answer, bool head,
		   int64_t wall_ms, struct mse_buf *response);

#endif
