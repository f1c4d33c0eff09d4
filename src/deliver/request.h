#ifndef MSE_DELIVER_REQUEST_H
#define MSE_DELIVER_REQUEST_H

#include "base/buf.h"
#include "conf/conf.h"
#include "deliver/transport.h"
#include "format/body.h"

/* A request with everything it points to, so that a reload may take the
   configuration away while it is out. */
struct mse_sending {
	struct mse_request request;
	struct mse_body body;
	struct mse_buf packed; /* body.octets as they travel, if compressed */
	struct mse_buf text; /* url, files and headers, each with its NUL */
	const char **headers;
	struct mse_network *networks; /* allow, then deny */
};

enum mse_request_kind {
	MSE_REQUEST_LIVE,   /* says mailhook-floor */
	MSE_REQUEST_REPLAY, /* says mailhook-replay */
	MSE_REQUEST_TEST
};

/* A request for this body, signed as of wall_ms. Takes the body over, also on
   failure. id: webhook-id. -1: memory, limit or OpenSSL. request.done, context
   are the caller's. */
int mse_sending_new(const struct mse_conf_endpoint *conf,
		    struct mse_body *body, const char *id,
		    enum mse_request_kind kind, uint64_t floor,
		    int64_t wall_ms, struct mse_sending **sending_r);
/* OPTIONS with WebHook-Request-Origin and, if there is one, our rate. */
int mse_sending_ask(const struct mse_conf_endpoint *conf, const char *origin,
		    struct mse_sending **sending_r);
void mse_sending_free(struct mse_sending **sending);

#endif
