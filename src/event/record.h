#ifndef MSE_EVENT_RECORD_H
#define MSE_EVENT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "event/json-scan.h"
#include "event/subscription.h"
#include "event/uuid.h"
#include "event/vocabulary.h"

#define MSE_RECORD_SEPARATOR '\x1e'
/* A longer record is foreign. */
#define MSE_RECORD_MAX (24 * 1024 * 1024)

/* The message, its headers or its body as a record has them. */
struct mse_record_content {
	bool present;             /* somebody wanted it when it happened */
	uint64_t octets;          /* of all of it, before any encoding */
	struct mse_slice text;       /* JSON string; data NULL: left out, and */
	struct mse_slice suppressed; /* why, a JSON string */
	struct mse_slice encoding;   /* JSON string; data NULL: as it is */
};

/*
 * A record as a reader sees it: the routing members decoded, `data` and the
 * large parameters as the bytes they are, for splicing; nothing is
 * re-encoded. Slices point into the bytes given to mse_record_parse().
 */
struct mse_record {
	char id[MSE_UUID_SIZE];
	enum mse_event_type type; /* UNKNOWN: type_name tells */
	char *type_name;          /* in `own`, like all of these: */
	char *time_text;          /* RFC 3339 as written */
	int64_t time_ms;
	char *user;               /* NULL if absent */
	char *owner;              /* never NULL: "" if there is neither */
	char *mailbox;
	char *old_mailbox;
	char *cause;
	char *socket;
	char instance[MSE_UUID_SIZE]; /* "" if absent; then slot is 0 */
	unsigned int slot;
	struct mse_slice data;    /* the JSON object, braces included */
	/* Their JSON values; data NULL: not recorded. MESSAGE_CONTENT is in
	   `content` instead. */
	struct mse_slice optionals[MSE_OPTIONAL_COUNT];
	struct mse_record_content content[MSE_CONTENT_MEMBER_COUNT];
	struct mse_slice bytes;   /* the JSON text, without RS and LF */
	char *own;                /* one piece of memory: its strings, and a
				     copy's bytes behind them */
	size_t strings_len;
};

/* Less than 0, but not -1: nothing is wrong with the record, nor proved to
   be right; the same text again, later. */
#define MSE_RECORD_NO_MEMORY (-2)
/* text is what stands between RS and LF. Checks that it is one well-formed
   JSON object of valid UTF-8 with id, type, time and data; -1 and a sentence
   if not, MSE_RECORD_NO_MEMORY if that cannot be told (*record_r is then
   clear). Free with mse_record_clear(). */
int mse_record_parse(const char *text, size_t len, struct mse_record *record_r,
		     struct mse_error *error_r);
void mse_record_clear(struct mse_record *record);
/* With bytes of its own, and a NUL behind them. -1: memory is out. Free with
   mse_record_clear(). */
int mse_record_copy(const struct mse_record *record,
		    struct mse_record *copy_r);
/* A value of the record's data. 1 found (of the kind the vocabulary names), 0
   not, -1 memory is out. Strings decoded, to be freed. */
int mse_record_string(const struct mse_record *record, enum mse_param param,
		      char **value_r);
/* A BOOL: 0 or 1. */
int mse_record_number(const struct mse_record *record, enum mse_param param,
		      uint64_t *value_r);
/* Borrowed view for filters; owner "" counts as owner "". */
void mse_record_route(const struct mse_record *record,
		      struct mse_event_route *route_r);

#endif
