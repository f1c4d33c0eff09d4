/*
 * Which addresses may be talked to: allow_networks and deny_networks, after
 * the name was resolved.
 *
 * libcurl asks twice: before it connects to an address, and before it sends a
 * request, which may go out on a connection that another endpoint made. With
 * a proxy both see the proxy's address: what lies behind it is the proxy's to
 * allow.
 *
 * Invariant: no octet of a request goes to an address that is not permitted.
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static bool mse_http_permits(struct mse_http_transfer *transfer,
			     const struct mse_network *address)
{
	const struct mse_request *request = transfer->request;
	char text[INET6_ADDRSTRLEN] = "?";

	if (mse_networks_permit(request->allow, request->allow_count,
				request->deny, request->deny_count, address))
		return true;
	(void)inet_ntop(AF_INET6, address->address, text, sizeof(text));
	(void)snprintf(transfer->denied, sizeof(transfer->denied), "%s",
		       strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text);
	return false;
}

/* libcurl's own sockets would be inherited by a child. */
curl_socket_t mse_http_guard_socket(void *context, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct mse_http_transfer *transfer = context;
	struct mse_network network;
	int fd;

	if (mse_network_of_sockaddr(&address->addr, &network) == 0 &&
	    !mse_http_permits(transfer, &network))
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
		    address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	transfer->tried = true;
	return fd;
}

int mse_http_guard_request(void *context, char *remote_ip, char *local_ip,
			   int remote_port, int local_port)
{
	struct mse_http_transfer *transfer = context;
	struct mse_network network;
	char address[INET6_ADDRSTRLEN];

	(void)snprintf(address, sizeof(address), "%.*s",
		       (int)strcspn(remote_ip, "%"), remote_ip);
	/* What is no IP address (there is none such) is not permitted. */
	if (mse_network_parse(address, &network, NULL) == 0 &&
	    mse_http_permits(transfer, &network))
		return CURL_PREREQFUNC_OK;
	if (transfer->denied[0] == '\0')
		(void)snprintf(transfer->denied, sizeof(transfer->denied),
			       "%s", address);
	/* The connection is another endpoint's: not that one again. */
	mse_http_forget(transfer->http, transfer->request->endpoint);
	return CURL_PREREQFUNC_ABORT;
}
