#ifndef MSE_EVENT_OPTIONAL_H
#define MSE_EVENT_OPTIONAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "event/vocabulary.h"

/* The message, its headers or its body, on the way into a record. */
struct mse_content {
	bool wanted;
	uint64_t octets;        /* of all of it, with CRLF */
	const char *text;       /* so many octets; NULL: left out */
	const char *suppressed; /* MSE_SUPPRESSED_…: why text is NULL */
};

/*
 * Optional parameters of one event, all borrowed until mse_event_write().
 * Strings need not be valid UTF-8; content that is not text is written in
 * base64.
 */
struct mse_optionals {
	mse_optionals_t set;    /* which are there */
	const char *envelope;
	const char *body_structure;
	const char *headers[MSE_HEADER_COUNT]; /* NULL: the message has none */
	uint64_t unseen;
	/* If MESSAGE_CONTENT is set; by member. */
	struct mse_content content[MSE_CONTENT_MEMBER_COUNT];
};

/*
 * Appends them as members of a record behind others:
 *
 *   ,"envelope":"MAIL FROM:<…","bodyStructure":"…","headers":{"from":"…",…},
 *   "unseen":3,"messageContent":{"octets":4711,"text":"…"},
 *   "messageContent.body":{"octets":4000,"encoding":"base64","text":"…"},
 *   "messageContent.headers":{"octets":90000,"suppressed":"limit"}
 *
 * A content is base64 if it is not valid UTF-8, or has a NUL, or more control
 * characters other than TAB, CR and LF than one in 16 octets: so it never takes
 * much more than twice its octets.
 */
void mse_optionals_write(const struct mse_optionals *optionals,
			 struct mse_buf *buf);

#endif
