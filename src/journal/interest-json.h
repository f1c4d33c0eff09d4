#ifndef MSE_JOURNAL_INTEREST_JSON_H
#define MSE_JOURNAL_INTEREST_JSON_H

#include "base/buf.h"
#include "journal/interest.h"

/*
 * The interest document:
 *
 *   {"version":1,"serverName":"mail.example.com","flagEvents":"simple",
 *    "expireServices":["doveadm"],
 *    "subscriptions":[{"events":["MessageNew",…],
 *                      "users":["*@example.com"],"mailboxes":[],
 *                      "parameters":["envelope","messageContent",…],
 *                      "contentPart":"message","contentLimit":2048}]}
 *
 * Where the lists of users are long, what can be looked up by name stands in
 * lines of its own behind the rest (interest-names.h), of which mail processes
 * read only what is about their user. Lists that have some of it are then
 *
 *   {…,"users":[],"userList":{"number":1,"takes":true,"patterns":["a*"]},…}
 *
 * `takes` says whether any of it includes; "users":[] makes who does not know
 * the rest take everybody. The document's first line ends with
 *   …,"namesOctets":123456,"names":{
 * so that the whole remains one JSON document.
 *
 * Names that the reader does not know are skipped: a newer daemon may want what
 * this plugin cannot make. `serverName` and `parameters` may be missing: an
 * older daemon's; what describes the content is there if it is among them.
 * Everything else that is missing, there twice or of the wrong kind makes the
 * document corrupt, and a corrupt interest means all events, without optional
 * parameters.
 */
#define MSE_INTEREST_VERSION 1

/* Some 200,000 names are 6 MB. */
#define MSE_INTEREST_MAX (64 * 1024 * 1024)

/* An open file: reads what it needs, and takes the descriptor in any case. 0
   with *interest_r, 1 and a sentence if it cannot be read or is not an interest
   of a version we know, -1 if memory is out. */
int mse_interest_load(int fd, struct mse_interest **interest_r,
		      struct mse_error *error_r);
/* Appends the document; the buffer is marked failed if memory is out. In the
   daemon only. */
void mse_interest_format(const struct mse_interest *interest,
			 struct mse_buf *buf);

#endif
