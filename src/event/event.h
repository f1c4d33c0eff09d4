#ifndef MSE_EVENT_EVENT_H
#define MSE_EVENT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "event/optional.h"
#include "event/uuid.h"
#include "event/vocabulary.h"

/* Parameters that many events share, in the form in which they stand in a
   record: what does not change is printed once. */
struct mse_printed {
	uint64_t set;             /* bit 1 << enum mse_param */
	const char *text;         /* members, a comma behind each */
	size_t len;
};

#define MSE_EVENT_PRINTED_MAX 3

/*
 * One event on its way into the journal. Holds borrowed pointers only: they
 * must live until mse_event_write(). Strings need not be valid UTF-8; what
 * is not becomes U+FFFD in the record.
 */
struct mse_event {
	enum mse_event_type type;
	char id[MSE_UUID_SIZE];
	int64_t time_ms;          /* wall clock */
	const char *user;         /* who did it; may be NULL */
	const char *owner;        /* lane; NULL: the user */
	const char *mailbox;      /* may be NULL */
	const char *old_mailbox;  /* MailboxRename only */
	const char *cause;        /* events of the daemon: what caused them */
	/* Of a session: the presence slot of its process and its instance, by
	   which derive sees that it has died. NULL: no end is promised. */
	const char *instance;
	unsigned int slot;
	/* A hibernated session's connection: "BOOT:NETNS:INODE"; NULL:
	   unknown. */
	const char *socket;
	const struct mse_optionals *optionals; /* NULL: none */
	uint64_t set;             /* bit 1 << enum mse_param */
	union {
		const char *string;
		uint64_t number;  /* a BOOL: 0 or 1 */
	} values[MSE_PARAM_COUNT];
	/* The rest of its parameters, up to the first NULL. What is in one of
	   them is not set beside it. */
	const struct mse_printed *printed[MSE_EVENT_PRINTED_MAX];
};

/* Gives the event its id for life and its time; sets `timestamp`. */
void mse_event_init(struct mse_event *event, enum mse_event_type type,
		    int64_t wall_ms);
/* A NULL string is left out. */
void mse_event_set_string(struct mse_event *event, enum mse_param param,
			  const char *value);
void mse_event_set_number(struct mse_event *event, enum mse_param param,
			  uint64_t value);
void mse_event_set_bool(struct mse_event *event, enum mse_param param,
			bool value);

/* Appends those of these parameters that are set, as struct mse_printed has
   them; returns which they were. */
uint64_t mse_event_print(const struct mse_event *event, uint64_t params,
			 struct mse_buf *buf);

/* Appends one journal record: RS, JSON object, LF (RFC 7464). Members in
   this order: id type time user owner mailbox [oldMailbox] [cause]
   [socket] [slot instance] data [optional parameters]. On failure the buffer
   is marked failed. */
void mse_event_write(const struct mse_event *event, struct mse_buf *buf);

#endif
