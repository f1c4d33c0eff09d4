#ifndef MSE_CONF_CONF_H
#define MSE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "event/subscription.h"

/* mailhook.conf, checked. libconfuse stays inside conf.c. */

enum mse_conf_format { MSE_FORMAT_CLOUDEVENTS };
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

struct mse_conf_endpoint {
	char *name;              /* [A-Za-z0-9_.-]+, at most 64 */
	char *url;               /* http:// or https:// */
	struct mse_secret *secrets;
	size_t secret_count;     /* at least 1 */
	enum mse_conf_format format;
	enum mse_conf_order order;
	struct mse_subscription subscription;
	/* SHA-256 (hex) of events, users, mailboxes and order as configured:
	   when it changes, numbering may not go on silently. */
	char filters[65];
	unsigned int concurrency;   /* 1..1000 */
	unsigned int rate;          /* requests a second; 0: unlimited */
	int64_t timeout_ms, connect_timeout_ms;
	int64_t retry_first_ms, retry_max_ms, give_up_ms;
	char *ca_file;              /* NULL: the system's */
	char *tags;                 /* comma-separated; NULL: none */
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
