/*
 * Networks in allow_networks and deny_networks.
 *
 * Invariant: all addresses are compared as 128 bits, so that ::ffff:10.0.0.1
 * does not pass where 10.0.0.1 would not.
 */
#include "conf/conf-network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define IPV4_BITS_BEFORE 96

static void from_ipv4(const struct in_addr *in, struct mse_network *network_r)
{
	memset(network_r->address, 0, 10);
	network_r->address[10] = network_r->address[11] = 0xff;
	memcpy(network_r->address + 12, in, 4);
	network_r->prefix = 128;
}

static void from_ipv6(const struct in6_addr *in,
		      struct mse_network *network_r)
{
	memcpy(network_r->address, in, 16);
	network_r->prefix = 128;
}

static int parse_address(const char *text, struct mse_network *network_r,
			 bool *ipv4_r)
{
	struct in_addr in;
	struct in6_addr in6;

	*ipv4_r = inet_pton(AF_INET, text, &in) == 1;
	if (*ipv4_r)
		from_ipv4(&in, network_r);
	else if (inet_pton(AF_INET6, text, &in6) == 1)
		from_ipv6(&in6, network_r);
	else
		return -1;
	return 0;
}

/* Decimal, without leading zeros; -1. */
static int parse_prefix(const char *text, unsigned int max,
			unsigned int *prefix_r)
{
	unsigned int value = 0;
	const char *p;

	if (*text == '\0' || (*text == '0' && text[1] != '\0'))
		return -1;
	for (p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		value = value * 10 + (unsigned int)(*p - '0');
		if (value > max)
			return -1;
	}
	*prefix_r = value;
	return 0;
}

static bool bit(const unsigned char *address, unsigned int n)
{
	return (address[n / 8] >> (7 - n % 8)) & 1;
}

int mse_network_parse(const char *text, struct mse_network *network_r,
		      struct mse_error *error_r)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned int i;
	bool ipv4;

	if (len >= sizeof(address))
		goto bad;
	memcpy(address, text, len);
	address[len] = '\0';
	if (parse_address(address, network_r, &ipv4) < 0)
		goto bad;
	if (slash != NULL) {
		if (parse_prefix(slash + 1, ipv4 ? 32 : 128,
				 &network_r->prefix) < 0)
			goto bad;
		if (ipv4)
			network_r->prefix += IPV4_BITS_BEFORE;
	}
	for (i = network_r->prefix; i < 128; i++) {
		if (bit(network_r->address, i))
			return mse_error_set(error_r, "has an address that "
					     "is not the first of its "
					     "network; write it with zeros "
					     "behind the prefix, such as "
					     "\"10.0.0.0/8\"");
	}
	return 0;
bad:
	return mse_error_set(error_r, "has something that is no network; "
			     "write addresses or networks, such as "
			     "\"10.0.0.0/8\" or \"fd00::/8\"");
}

int mse_network_of_sockaddr(const struct sockaddr *address,
			    struct mse_network *network_r)
{
	/* Copied: libcurl's is not aligned for them. */
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		from_ipv4(&in.sin_addr, network_r);
	} else if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		from_ipv6(&in6.sin6_addr, network_r);
	} else {
		return -1;
	}
	return 0;
}

static bool is_ipv4(const unsigned char *address)
{
	static const unsigned char mapped[12] = {
		[10] = 0xff, [11] = 0xff
	};

	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

static bool contains(const struct mse_network *network,
		     const unsigned char *address)
{
	unsigned int whole = network->prefix / 8, rest = network->prefix % 8;

	/* ::/0 means IPv6, not IPv4 in its clothes. */
	if (network->prefix < IPV4_BITS_BEFORE && is_ipv4(address))
		return false;
	if (memcmp(network->address, address, whole) != 0)
		return false;
	return rest == 0 ||
		((network->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool mse_networks_contain(const struct mse_network *list, size_t count,
			  const struct mse_network *address)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (contains(&list[i], address->address))
			return true;
	}
	return false;
}

bool mse_networks_permit(const struct mse_network *allow, size_t allow_count,
			 const struct mse_network *deny, size_t deny_count,
			 const struct mse_network *address)
{
	return !mse_networks_contain(deny, deny_count, address) &&
		(allow_count == 0 ||
		 mse_networks_contain(allow, allow_count, address));
}
