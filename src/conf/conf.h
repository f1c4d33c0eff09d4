#ifndef MSE_CONF_CONF_H
#define MSE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "conf/conf-network.h"
#include "event/subscription.h"

/* mailhook.conf, checked. libconfuse stays inside conf-syntax.c. */

/* The body's form: CloudEvents 1.0 (structured, binary, batch), Standard
   Webhooks, Cyrus IMAP. */
enum mse_conf_format { MSE_FORMAT_CLOUDEVENTS, MSE_FORMAT_CLOUDEVENTS_BINARY,
		       MSE_FORMAT_CLOUDEVENTS_BATCH, MSE_FORMAT_STANDARD,
		       MSE_FORMAT_CYRUS };
enum mse_conf_order { MSE_ORDER_OWNER, MSE_ORDER_NONE };

enum mse_secret_kind {
	MSE_SECRET_HMAC,         /* whsec_: signs as v1 */
	MSE_SECRET_ED25519       /* whsk_: signs as v1a */
};

/* A Standard Webhooks secret, decoded. */
struct mse_secret {
	enum mse_secret_kind kind;
	unsigned char key[64];   /* Ed25519: the private key (RFC 8032) */
	size_t key_len;          /* HMAC: 24..64 as the spec says; else 32 */
};

/* How requests travel. */
struct mse_conf_transport {
	char *ca_file;              /* NULL: the system's */
	char *cert_file, *key_file; /* key_file NULL: in cert_file */
	char *bearer;               /* the token; NULL: none */
	char *proxy;                /* NULL: none */
	char **headers;             /* "Name: value" */
	size_t header_count;
	struct mse_network *allow, *deny;
	size_t allow_count, deny_count;
};

/* A file that is read again when it changes, and how it was seen last. */
enum mse_conf_file_kind { MSE_CONF_FILE_SECRETS, MSE_CONF_FILE_BEARER,
			  MSE_CONF_FILE_TLS };
struct mse_conf_stamp {
	uint64_t device, inode, size;
	int64_t mtime_ns;
	uint64_t mode;
};
struct mse_conf_file {
	enum mse_conf_file_kind kind;
	char *path;
	struct mse_conf_stamp stamp;
};

#define MSE_CONF_SECRETS_MAX 16
/* An endpoint reads 4096 events or 8 MiB ahead: several batches, always. */
#define MSE_BATCH_EVENTS_MAX 1000
#define MSE_BATCH_BYTES_MAX ((uint64_t)4 * 1024 * 1024)

struct mse_conf_endpoint {
	char *name;              /* [A-Za-z0-9_.-]+, at most 64 */
	char *url;               /* http:// or https:// */
	struct mse_secret *secrets;
	size_t secret_count;     /* at least 1 */
	size_t own_secret_count; /* of them, written in mailhook.conf itself */
	enum mse_conf_format format;
	enum mse_conf_order order;
	struct mse_subscription subscription;
	/* SHA-256 (hex) of events, users, mailboxes and order as configured:
	   when it changes, numbering may not go on silently. */
	char filters[65];
	/* Of a format that makes batches: events and octets of a body at
	   most, and how long an event waits for others. */
	unsigned int batch_events;
	uint64_t batch_bytes;
	int64_t linger_ms;
	bool compress;              /* gzip */
	bool handshake;             /* ask before the first delivery */
	unsigned int concurrency;   /* 1..1000 */
	unsigned int rate;          /* requests a second; 0: unlimited */
	int64_t timeout_ms, connect_timeout_ms;
	int64_t retry_first_ms, retry_max_ms, give_up_ms;
	char *tags;                 /* comma-separated; NULL: none */
	struct mse_conf_transport transport;
	struct mse_conf_file *files;
	size_t file_count;
};

struct mse_conf {
	char *server_name;          /* NULL in the file: the host's name */
	int64_t retention_ms;
	uint64_t journal_limit;     /* octets; at least 4 * 32 MiB */
	char *metrics;              /* ADDRESS:PORT, numeric; NULL: off */
	int64_t lag_warning_ms;
	bool flag_events_full;
	char **expire_services;     /* NULL-terminated */
	struct mse_conf_endpoint *endpoints;
	size_t endpoint_count;
};

/* Reads and checks everything, secrets in files too (a secret file readable
   by group or others is refused). On any mistake -1 and one sentence with
   "FILE:LINE: " that says what to write. */
int mse_conf_read(const char *path, struct mse_conf **conf_r,
		  struct mse_error *error_r);
void mse_conf_free(struct mse_conf **conf);
/* Looks at the files the endpoints name and reads those that changed: their
   secrets and token are then new. Tells of each endpoint with a change; with
   an error what was read before stays in use. */
void mse_conf_refresh(struct mse_conf *conf,
		      void (*changed)(const struct mse_conf_endpoint *endpoint,
				      const struct mse_error *error,
				      void *context),
		      void *context);
/* Whether both reach their receiver in the same way (host, certificates,
   proxy), so that a connection of one may serve the other. */
bool mse_conf_same_way(const struct mse_conf_endpoint *a,
		       const struct mse_conf_endpoint *b);
const struct mse_conf_endpoint *mse_conf_find(const struct mse_conf *conf,
					      const char *name);

#define MSE_SECRET_TEXT_SIZE 64
/* A new secret as it is written into mailhook.conf, from OpenSSL's private
   random generator: whsec_ and 32 octets, or whsk_ and an Ed25519 key, whose
   public half for the receiver (whpk_) goes to public_r (else ""). -1 if
   OpenSSL failed: nothing is written then. The caller wipes what it got. */
int mse_conf_new_secret(enum mse_secret_kind kind,
			char secret_r[MSE_SECRET_TEXT_SIZE],
			char public_r[MSE_SECRET_TEXT_SIZE]);

#endif
