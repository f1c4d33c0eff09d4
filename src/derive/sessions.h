#ifndef MSE_DERIVE_SESSIONS_H
#define MSE_DERIVE_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "event/record.h"
#include "ledger/ledger.h"

/* Private to derive/: sessions that ended without a Logout. */

struct mse_derive;
struct mse_sessions;

/* Derived state. A session is "session", and "session.at" while a mail
   process has it or "session.asleep" while it hibernates. */
#define MSE_SESSION "session"              /* session id → its Login's record */
#define MSE_SESSION_AT "session.at"        /* instance "/" id → slot */
#define MSE_SESSION_ASLEEP "session.asleep" /* id → wall ms " " socket */

int mse_sessions_new(struct mse_derive *derive);
void mse_sessions_free(struct mse_sessions **sessions);
/* Notes what a record says of its session. late: it stood behind a seal, so
   others of the session may have come before it. -1: memory is out. */
int mse_sessions_take(struct mse_derive *derive,
		      const struct mse_record *record, bool late);
/* One step of looking for lost sessions, if it is time: their Logouts are put
   in line. */
int mse_sessions_run(struct mse_derive *derive, int64_t mono_ms,
		     struct mse_error *error_r);
/* Forgets all sessions without a word: what became of them was not read, or
   presence is a new one that knows nothing of them. -1: memory is out. */
int mse_sessions_forget(struct mse_derive *derive);
/* Whether the next run should come soon. */
bool mse_sessions_is_busy(const struct mse_sessions *sessions);

/* sessions-ledger.c, in the ledger's thread */

struct mse_session_suspect {
	char *key;      /* of session.at or session.asleep */
	char *value;
	bool forget;    /* too old to be told of any more */
	char *login;    /* once confirmed: the Login's record; NULL: none */
	bool confirmed; /* still there */
};

struct mse_session_suspects {
	struct mse_session_suspect *list;
	size_t count, size;
};

struct mse_session_page {
	bool asleep;             /* which kind */
	int presence_fd;
	struct mse_sockets *sockets;
	int64_t wall_ms;
	char *after;             /* NULL: from the beginning */
	char *last;              /* the key looked at last; NULL: none */
	unsigned int rows;       /* looked at */
	bool end;
	struct mse_session_suspects suspects;
};

/* The session's id within a key. */
const char *mse_session_id(const char *key, bool asleep);
void mse_session_suspects_clear(struct mse_session_suspects *suspects);
/* Looks at the next sessions of that kind; finds those whose process or
   connection is gone. */
int mse_session_page_look(struct mse_ledger *ledger,
			  struct mse_session_page *page,
			  struct mse_error *error_r);
/* Which of the suspects are still as they were. */
int mse_session_page_confirm(struct mse_ledger *ledger,
			     struct mse_session_page *page,
			     struct mse_error *error_r);

#endif
