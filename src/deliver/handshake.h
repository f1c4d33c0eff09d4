#ifndef MSE_DELIVER_HANDSHAKE_H
#define MSE_DELIVER_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

struct mse_endpoint;

/*
 * With `handshake`: asking the receiver before the first delivery whether it
 * wants any, as CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" says
 * (section 4): OPTIONS with WebHook-Request-Origin (server_name) and, if
 * `rate` is set, WebHook-Request-Rate. Permitted is what is answered with 2xx
 * and a WebHook-Allowed-Origin of "*" or ours; WebHook-Allowed-Rate (requests
 * a minute) is kept to. Otherwise nothing is delivered, and it is asked again
 * after retry_first, then ever more rarely, up to retry_max.
 *
 * Nothing is remembered: it is asked again after each start, and when url,
 * rate or server_name are changed.
 */
bool mse_handshake_permits(const struct mse_endpoint *endpoint);
/* Asks, if it is time to. */
void mse_handshake_run(struct mse_endpoint *endpoint, int64_t now);
/* When it will be. */
int64_t mse_handshake_at(const struct mse_endpoint *endpoint);
/* What was permitted was for another configuration. */
void mse_handshake_forget(struct mse_endpoint *endpoint);
/* Requests a minute: ours and the receiver's limit. 0: none. */
unsigned int mse_handshake_rate(const struct mse_endpoint *endpoint);

#endif
