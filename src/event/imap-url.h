#ifndef MSE_EVENT_IMAP_URL_H
#define MSE_EVENT_IMAP_URL_H

#include <stdint.h>

#include "base/buf.h"

/* RFC 5092 percent-encodings. Bytes in, lossless: any byte that is not an
   achar (user) or bchar (mailbox) becomes %XX (upper case); "@" in a user is
   %40. */
void mse_imap_url_encode_user(struct mse_buf *buf, const char *user);
void mse_imap_url_encode_mailbox(struct mse_buf *buf, const char *mailbox);

struct mse_imap_url {
	const char *server;      /* host or IP; IPv6 literals get brackets */
	const char *user;        /* owner of the mailbox; NULL: no user part */
	const char *mailbox;     /* UTF-8 name; NULL: the server or user root */
	uint32_t uidvalidity;    /* 0: absent */
	uint32_t uid;            /* 0: absent */
};

/* imap://USER@SERVER/MAILBOX;UIDVALIDITY=n/;UID=n — without a mailbox
   imap://USER@SERVER/ */
void mse_imap_url_append(struct mse_buf *buf, const struct mse_imap_url *url);

#endif
