#ifndef MSE_DELIVER_REPLAY_PRIVATE_H
#define MSE_DELIVER_REPLAY_PRIVATE_H

#include "deliver/endpoint.h"

/* Shared by replay.c, which sends and judges, and replay-read.c. */

struct mse_replay {
	struct mse_replay *next;
	struct mse_endpoint *endpoint; /* NULL: it ended */
	bool held, running;            /* by its holder; by run() */
	bool dead, dry_run;
	struct mse_pick pick;
	void (*failed_one)(const char *id, const char *type,
			   const char *owner, int status, const char *error,
			   void *context);
	void *context;

	struct mse_journal_reader *reader;
	struct mse_position end;       /* the live cursor when it began */
	char file[MSE_UUID_SIZE];      /* being read */
	bool read_all;
	struct replay_page *page;      /* dead: the job that is out */
	uint64_t after;                /* dead: rows up to it were read */

	struct mse_lanes lanes;
	unsigned int waiting_count, in_flight;
	size_t waiting_octets;

	struct mse_breaker breaker;
	int64_t opened_at_ms, hold_until_ms;
	uint64_t read_octets, total_octets, found, answered, failed;
	int64_t last_read_ms;          /* time of the last event read */
	int64_t resume_ms;             /* when it ended */
	const char *problem;
};

/* replay.c */
/* problem: NULL if it came to its end. It may be gone after this, unless it is
   held or running. */
void mse_replay_end(struct mse_replay *replay, const char *problem);
void mse_replay_free_if_done(struct mse_replay *replay);

/* replay-read.c */
/* Where reading begins and ends. -1: out of memory. */
int mse_replay_find_span(struct mse_replay *replay,
			 const struct mse_position *start);
/* Reads as far as there is room. False: it ended. */
bool mse_replay_read(struct mse_replay *replay);

#endif
