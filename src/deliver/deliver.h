#ifndef MSE_DELIVER_DELIVER_H
#define MSE_DELIVER_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "conf/conf.h"
#include "deliver/counters.h"
#include "deliver/replay.h"
#include "deliver/transport.h"
#include "journal/journal.h"
#include "ledger/worker.h"

/*
 * Every endpoint's cursor, lanes and schedule. Decides; touches no socket,
 * no file but through the journal, never waits. The caller calls
 * mse_deliver_run() when the journal grew, after completions of the ledger
 * or the transport, and when the time it returned has come.
 */
struct mse_deliver;

enum mse_log_level { MSE_LOG_DEBUG, MSE_LOG_INFO, MSE_LOG_WARNING,
		     MSE_LOG_ERROR };

/* So many owners (with order = "none": events) of one endpoint may be held up
   by a failure at once; some 300 octets of memory each. */
#define MSE_DELIVER_LANES_MAX 65536

struct mse_deliver_parts {
	struct mse_journal *journal;
	struct mse_ledger_worker *ledger;
	struct mse_transport *transport;
	const struct mse_clock *clock;
	const char *server_fqdn;
	/* The ledger was made anew beside existing journal files: endpoints
	   start at the oldest kept record, with a Gap. */
	bool ledger_rebuilt;
	size_t lanes_max; /* 0: MSE_DELIVER_LANES_MAX */
	/* What endpoints were sent last may be gone from the journal: its
	   numbers are not given out again. */
	bool unclean_boot;
	/* The daemon's log; deliver itself never writes one. */
	void (*log)(enum mse_log_level level, const char *text, void *context);
	void *log_context;
};

int mse_deliver_new(const struct mse_deliver_parts *parts,
		    struct mse_deliver **deliver_r, struct mse_error *error_r);
/* After the transport: done() of what is in flight comes back here. Waits for
   its own jobs in the ledger's worker, if that is still there. */
void mse_deliver_free(struct mse_deliver **deliver);

/* Takes on a configuration (borrowed until the next configure): at start and
   on reload. An endpoint whose cursor has no stream (the ledger was restored
   from a backup) goes on there in a new one, with a Gap. New endpoints start
   at the journal's end, removed ones keep their cursor in the ledger,
   unchanged ones notice nothing. Asynchronous: while a changed endpoint's
   requests are out, mse_deliver_is_settled() is false, and every configuration
   before must stay alive. The next one need not wait for that: it takes the
   place of what is not in force yet, and an endpoint that is given back while
   it leaves stays. */
int mse_deliver_configure(struct mse_deliver *deliver,
			  const struct mse_conf *conf,
			  struct mse_error *error_r);
bool mse_deliver_is_settled(const struct mse_deliver *deliver);
/* Cursor, rows and dead letters of an endpoint that is no longer configured go.
   Waits for the ledger's thread. 1: they are gone; 0: it has not left yet, its
   requests are given up, call again after the next run; -1 with a sentence. */
int mse_deliver_forget(struct mse_deliver *deliver, const char *endpoint,
		       struct mse_error *error_r);

/* Does what can be done now. Returns the monotonic time (ms) at which to
   call again at the latest; INT64_MAX: only when something happens. */
int64_t mse_deliver_run(struct mse_deliver *deliver);

/* Start no request any more; idle once nothing is in flight and every commit
   is durable. cancel: give up what is in flight. */
void mse_deliver_stop(struct mse_deliver *deliver);
void mse_deliver_cancel(struct mse_deliver *deliver);
bool mse_deliver_is_idle(const struct mse_deliver *deliver);

/* The journal is about to release this file: cursors that stand in it jump
   past it with a Gap of their own (forced), committed before this returns. */
int mse_deliver_file_released(struct mse_deliver *deliver,
			      const struct mse_journal_file *file,
			      bool forced, struct mse_error *error_r);
/* uuid of the oldest file a cursor stands in; NULL if there is no cursor. */
const char *mse_deliver_oldest_file(const struct mse_deliver *deliver);

struct mse_endpoint_status {
	const char *name;
	const char *url;
	const char *state;         /* "ok" "retrying" "outage" "paused"
				      "handshake" (not permitted yet)
				      "disabled" "waiting" (bound reached) */
	char stream[MSE_UUID_SIZE];
	uint64_t sequence;         /* highest number given out */
	uint64_t floor;
	uint64_t behind_octets;    /* journal not read yet */
	int64_t behind_ms;         /* age of the oldest event not answered */
	unsigned int in_flight;
	unsigned int replays;      /* under way; dead letters' retries too */
	bool lagging;              /* behind_ms beyond lag_warning, and nobody
				      paused it */
	unsigned int unanswered;   /* read from the journal, neither answered
				      nor parked; also what is in flight */
	uint64_t parked, dead;
	uint64_t answered, failed; /* since start: events, each time */
	struct mse_counters counters;
	int64_t next_attempt_ms;   /* from now; -1: none planned */
	const char *last_outcome;  /* its mse_outcome_name(); "" */
	char last_error[256];      /* of the last failure; "" */
	char held_id[MSE_UUID_SIZE]; /* one lane waiting: its head */
};
void mse_deliver_each_status(struct mse_deliver *deliver,
			     void (*found)(const struct mse_endpoint_status *s,
					   void *context),
			     void *context);

/* Sends vnd.mailhook.Test (sequence 0, no floor) now, whatever the breaker
   says; done gets the answer once, with the request's headers and body for
   showing. Of the answer nothing follows for the endpoint but of a 410, which
   disables it as a live event's does. -1 if there is no such endpoint. */
int mse_deliver_test(struct mse_deliver *deliver, const char *endpoint,
		     void (*done)(const struct mse_request *request,
				  const struct mse_answer *answer,
				  void *context),
		     void *context, struct mse_error *error_r);

int mse_deliver_pause(struct mse_deliver *deliver, const char *endpoint,
		      bool pause, struct mse_error *error_r);
/* The event options->pick.id at once: if it is parked, its next attempt, and
   *replay_r is NULL; if it is dead, a replay of it. */
int mse_deliver_retry(struct mse_deliver *deliver,
		      struct mse_replay_options *options,
		      struct mse_replay **replay_r, struct mse_error *error_r);
/* Gives a parked or dead event up (a parked one with a Gap). -1 with a
   sentence, or one of: */
#define MSE_DROP_AGAIN (-2) /* it is being sent or stored, or still read */
#define MSE_DROP_GONE (-3)  /* there is no such event */
int mse_deliver_drop(struct mse_deliver *deliver, const char *endpoint,
		     const char *id, struct mse_error *error_r);
/* Forgets the dead letters that are picked (moved if 0 is returned), page by
   page; done is called once, with how many went and NULL or why no more. */
int mse_deliver_drop_dead(struct mse_deliver *deliver, const char *endpoint,
			  struct mse_pick *pick,
			  void (*done)(uint64_t dropped, const char *problem,
				       void *context),
			  void *context, struct mse_error *error_r);

#endif
