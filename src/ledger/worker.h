#ifndef MSE_LEDGER_WORKER_H
#define MSE_LEDGER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

/*
 * Gives a ledger its own thread: jobs go in through a bounded queue, run in
 * order, those waiting together share one write transaction (so an fsync is
 * paid once for many and stalls no endpoint), and their completions come
 * back on the submitter's thread.
 */
struct mse_ledger_worker;

struct mse_ledger_job {
	/* In the ledger's thread, inside a transaction. -1: the whole job is
	   rolled back (a savepoint) and error set. May run again if the
	   transaction has to be repeated: it must not change the job before
	   it succeeds. */
	int (*run)(struct mse_ledger *ledger, struct mse_ledger_job *job,
		   struct mse_error *error_r);
	/* On the submitter's thread, after COMMIT (or failure: error != NULL).
	   Frees the job. */
	void (*done)(struct mse_ledger_job *job, const struct mse_error *error);
	struct mse_ledger_job *next; /* the worker's */
	int result;                  /* the worker's */
	struct mse_error error;      /* the worker's */
};

/* Takes the ledger over. threaded = false: jobs run at once inside submit
   (completions still only in mse_ledger_worker_dispatch): for tests. */
int mse_ledger_worker_new(struct mse_ledger **ledger, bool threaded,
			  struct mse_ledger_worker **worker_r,
			  struct mse_error *error_r);
/* Finishes what is queued, dispatches it, ends the thread, frees the ledger
   (which releases its lock). */
void mse_ledger_worker_free(struct mse_ledger_worker **worker);
/* Never blocks: the caller keeps its own bound (mse_ledger_worker_queued). */
void mse_ledger_worker_submit(struct mse_ledger_worker *worker,
			      struct mse_ledger_job *job);
unsigned int mse_ledger_worker_queued(const struct mse_ledger_worker *worker);
struct mse_ledger_counts {
	uint64_t commits;        /* transactions; each a sync of the disk */
	uint64_t failures;       /* transactions that were not committed */
	uint64_t jobs;           /* done, in all of them */
};
/* Since the start. */
void mse_ledger_worker_counts(struct mse_ledger_worker *worker,
			      struct mse_ledger_counts *counts_r);
/* Readable when there are completions; -1 if not threaded. */
int mse_ledger_worker_fd(const struct mse_ledger_worker *worker);
/* Runs the completions there are. Returns how many. */
unsigned int mse_ledger_worker_dispatch(struct mse_ledger_worker *worker);
/* Submits, waits and dispatches everything up to this job: start-up, reload
   and control only, never per event. */
int mse_ledger_worker_call(struct mse_ledger_worker *worker,
			   int (*run)(struct mse_ledger *ledger, void *context,
				      struct mse_error *error_r),
			   void *context, struct mse_error *error_r);

#endif
