#ifndef MSE_HTTP_HTTP_H
#define MSE_HTTP_HTTP_H

#include "base/error.h"
#include "deliver/transport.h"

struct event_base;

/* libcurl's multi interface on a libevent base: keep-alive, HTTP/2 where
   offered, no redirects, answers read up to 64 KiB. */
struct mse_http;

int mse_http_new(struct event_base *base, struct mse_http **http_r,
		 struct mse_error *error_r);
/* Everything in flight is cancelled first (its done() is called). */
void mse_http_free(struct mse_http **http);
struct mse_transport *mse_http_transport(struct mse_http *http);
/* Frees what is kept for the next requests, but for connections. */
void mse_http_trim(struct mse_http *http);
/* The connections there are serve this endpoint no more (its TLS files or
   proxy changed). */
void mse_http_forget(struct mse_http *http, const char *endpoint);

#endif
