#ifndef MSE_DELIVER_TRANSPORT_H
#define MSE_DELIVER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf-network.h"

/*
 * The seam between deciding (deliver/) and doing (http/, and a scripted twin
 * in the tests).
 */
enum mse_outcome {
	MSE_OUTCOME_ANSWERED,  /* a complete status line and headers came */
	MSE_OUTCOME_DNS,
	MSE_OUTCOME_REFUSED,   /* connect refused or unreachable */
	MSE_OUTCOME_CONNECT_TIMEOUT,
	MSE_OUTCOME_PROXY,     /* the proxy did not let us through */
	MSE_OUTCOME_DENIED,    /* by allow_networks or deny_networks */
	MSE_OUTCOME_TLS,
	MSE_OUTCOME_TIMEOUT,
	MSE_OUTCOME_RESET,     /* by the receiver, before an answer */
	MSE_OUTCOME_BROKEN,    /* closed without an answer, garbage */
	MSE_OUTCOME_CANCELLED, /* by mse_transport cancel; no attempt counted */
	MSE_OUTCOME_LOCAL      /* our own fault: memory, bad URL */
};

struct mse_answer {
	enum mse_outcome outcome;
	int status;              /* ANSWERED */
	int64_t retry_after_s;   /* -1: no such header (both forms decoded) */
	/* WebHook-Allowed-Origin and -Rate; NULL or "": none. Borrowed. */
	const char *allowed_origin, *allowed_rate;
	int64_t elapsed_ms;
	char text[256];          /* one sentence on what happened */
	const char *body;        /* first octets of the answer, borrowed; "" */
	size_t body_len;         /* at most 64 KiB */
};

struct mse_request {
	const char *endpoint;        /* name, for connection reuse and logs */
	const char *url;
	const char *method;          /* NULL: POST; else without a body */
	const char *const *headers;  /* "Name: value", NULL-terminated */
	const void *body;
	size_t body_len;
	/* Before its Content-Encoding: what is signed, and shown. */
	const void *plain;
	size_t plain_len;
	int64_t timeout_ms;
	int64_t connect_timeout_ms;
	const char *ca_file;         /* NULL: the system's */
	const char *cert_file, *key_file; /* NULL: none; in cert_file */
	const char *proxy;           /* NULL: none */
	/* Which addresses may be connected to (mse_networks_permit). */
	const struct mse_network *allow, *deny;
	size_t allow_count, deny_count;
	/* Called exactly once, never from inside post(). */
	void (*done)(struct mse_request *request,
		     const struct mse_answer *answer);
	void *context;
	void *handle;                /* the transport's */
};

/* Everything a request points to stays the caller's and lives until done. */
struct mse_transport {
	int (*post)(struct mse_transport *transport,
		    struct mse_request *request);
	/* done() follows (CANCELLED), not from inside the call. */
	void (*cancel)(struct mse_transport *transport,
		       struct mse_request *request);
};

const char *mse_outcome_name(enum mse_outcome outcome);

#endif
