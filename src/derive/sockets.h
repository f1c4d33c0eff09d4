#ifndef MSE_DERIVE_SOCKETS_H
#define MSE_DERIVE_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/uuid.h"

/*
 * Which sockets exist. A hibernated session is in the hands of
 * imap-hibernate, where no plugin runs; but its connection is a socket with
 * an inode of its own, and the kernel lists those of a network namespace to
 * everybody in it: /proc/net/tcp and tcp6, and unix for connections that
 * come through TLS or a proxy in the login process.
 */
struct mse_sockets {
	char boot_id[MSE_UUID_SIZE]; /* "": unknown */
	uint64_t netns;              /* inode of our namespace; 0: unknown */
	uint64_t *inodes;            /* sorted */
	size_t count, size;
	bool seen;                   /* the lists could be read */
};

enum mse_socket_state {
	MSE_SOCKET_HELD,
	MSE_SOCKET_GONE,
	MSE_SOCKET_UNSEEN /* of another namespace, or nobody may look */
};

/* boot_id may be "". */
void mse_sockets_init(struct mse_sockets *sockets, const char *boot_id);
/* Reads the lists anew. -1 if memory is out. */
int mse_sockets_look(struct mse_sockets *sockets);
void mse_sockets_clear(struct mse_sockets *sockets);
/* name: "BOOT:NETNS:INODE" as a hibernated session's record gives it, NULL or
   anything else: unseen. A socket of another boot is gone. */
enum mse_socket_state mse_sockets_state(const struct mse_sockets *sockets,
					const char *name);

#endif
