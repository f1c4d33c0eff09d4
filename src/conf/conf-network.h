#ifndef MSE_CONF_CONF_NETWORK_H
#define MSE_CONF_CONF_NETWORK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct sockaddr;

/* An IPv4 or IPv6 network; IPv4 as ::ffff:a.b.c.d, prefix and all, so that an
   IPv4 address is the same however it is written. A shorter prefix than that
   holds no IPv4 address. */
struct mse_network {
	unsigned char address[16];
	unsigned int prefix; /* 0..128 */
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. */
int mse_network_parse(const char *text, struct mse_network *network_r,
		      struct mse_error *error_r);
/* -1: neither IPv4 nor IPv6. */
int mse_network_of_sockaddr(const struct sockaddr *address,
			    struct mse_network *network_r);
bool mse_networks_contain(const struct mse_network *list, size_t count,
			  const struct mse_network *address);
/* What allow_networks and deny_networks say of an address: deny wins, an
   empty allow list allows everything. */
bool mse_networks_permit(const struct mse_network *allow, size_t allow_count,
			 const struct mse_network *deny, size_t deny_count,
			 const struct mse_network *address);

#endif
