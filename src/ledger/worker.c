#include "mse-config.h"
#include "ledger/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * The ledger's thread. A job is on exactly one of three lists: waiting (under
 * the mutex), the batch (the thread's own), finished (under the mutex); it
 * moves between them in the order of submission, so completions come in that
 * order too. A job's success is told only after the COMMIT that holds it.
 *
 *	submit → waiting
 *	       → batch: BEGIN, for each SAVEPOINT run RELEASE, COMMIT
 *	       → finished → dispatch → done
 *
 * A crash at any point leaves whole batches in the ledger; jobs whose done()
 * was not called may be in it or not, as with every write whose answer is
 * lost.
 */

#define BATCH_MAX 256

struct job_list {
	struct mse_ledger_job *head;
	struct mse_ledger_job *tail;
	unsigned int count;
};

struct mse_ledger_worker {
	struct mse_ledger *ledger;
	bool threaded;
	pthread_t thread;
	int fd;

	pthread_mutex_t mutex;
	pthread_cond_t work;     /* waiting is not empty, or stop */
	pthread_cond_t progress; /* finished is not empty */
	struct job_list waiting;
	struct job_list finished;
	struct mse_ledger_counts counts;
	bool stop;

	unsigned int queued; /* the submitter's: submitted, not done */
};

static void list_append(struct job_list *list, struct mse_ledger_job *job)
{
	job->next = NULL;
	if (list->tail != NULL)
		list->tail->next = job;
	else
		list->head = job;
	list->tail = job;
	list->count++;
}

static struct mse_ledger_job *list_shift(struct job_list *list)
{
	struct mse_ledger_job *job = list->head;

	if (job == NULL)
		return NULL;
	list->head = job->next;
	if (list->head == NULL)
		list->tail = NULL;
	list->count--;
	job->next = NULL;
	return job;
}

static void list_move(struct job_list *to, struct job_list *from,
		      unsigned int max)
{
	while (max-- > 0 && from->head != NULL)
		list_append(to, list_shift(from));
}

/* Those from first up to (not including) end share the transaction's fate. */
static void fail_jobs(struct mse_ledger_job *first,
		      const struct mse_ledger_job *end,
		      const struct mse_error *error)
{
	struct mse_ledger_job *job;

	for (job = first; job != end; job = job->next) {
		if (job->result < 0)
			continue; /* keeps its own, nearer reason */
		job->result = -1;
		job->error = *error;
	}
}

/* -1: the transaction is gone. Otherwise job->result tells. */
static int run_job(struct mse_ledger *ledger, struct mse_ledger_job *job,
		   struct mse_error *error_r)
{
	job->error.text[0] = '\0';
	if (mse_ledger_savepoint(ledger, error_r) < 0)
		return -1;
	job->result = job->run(ledger, job, &job->error);
	if (job->result == 0)
		return mse_ledger_release(ledger, error_r);

	job->result = -1;
	if (job->error.text[0] == '\0')
		mse_error_set(&job->error, "the ledger refused the change");
	if (mse_ledger_rollback_to(ledger, error_r) < 0) {
		/* SQLite gives up the whole transaction when the disk is
		   full; the job's own error says so best. */
		*error_r = job->error;
		return -1;
	}
	return 0;
}

/* One transaction, from first on. Returns the first job not in it: NULL, or
   where to go on after the transaction was lost. */
static struct mse_ledger_job *run_transaction(struct mse_ledger *ledger,
					      struct mse_ledger_job *first,
					      struct mse_ledger_counts *counts)
{
	struct mse_ledger_job *job;
	struct mse_error error;

	counts->failures++; /* until it is committed */
	if (mse_ledger_begin(ledger, &error) < 0) {
		fail_jobs(first, NULL, &error);
		return NULL;
	}
	for (job = first; job != NULL; job = job->next) {
		if (run_job(ledger, job, &error) < 0) {
			mse_ledger_rollback(ledger);
			fail_jobs(first, job->next, &error);
			return job->next;
		}
	}
	if (mse_ledger_commit(ledger, &error) < 0) {
		fail_jobs(first, NULL, &error);
		return NULL;
	}
	counts->failures--;
	counts->commits++;
	return NULL;
}

static void run_batch(struct mse_ledger *ledger, struct job_list *batch,
		      struct mse_ledger_counts *counts)
{
	struct mse_ledger_job *job = batch->head;

	while (job != NULL)
		job = run_transaction(ledger, job, counts);
}

static void add_counts(struct mse_ledger_worker *worker,
		       const struct mse_ledger_counts *more, unsigned int jobs)
{
	worker->counts.commits += more->commits;
	worker->counts.failures += more->failures;
	worker->counts.jobs += jobs;
}

static void wake_submitter(struct mse_ledger_worker *worker)
{
	uint64_t one = 1;

	/* Fails only if it is readable already. */
	while (write(worker->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *worker_main(void *context)
{
	struct mse_ledger_worker *worker = context;
	struct mse_ledger_counts counts;
	struct job_list batch;

	pthread_mutex_lock(&worker->mutex);
	for (;;) {
		while (worker->waiting.head == NULL && !worker->stop)
			pthread_cond_wait(&worker->work, &worker->mutex);
		if (worker->waiting.head == NULL)
			break;
		memset(&batch, 0, sizeof(batch));
		memset(&counts, 0, sizeof(counts));
		list_move(&batch, &worker->waiting, BATCH_MAX);
		pthread_mutex_unlock(&worker->mutex);

		run_batch(worker->ledger, &batch, &counts);

		pthread_mutex_lock(&worker->mutex);
		add_counts(worker, &counts, batch.count);
		list_move(&worker->finished, &batch, BATCH_MAX);
		pthread_cond_signal(&worker->progress);
		wake_submitter(worker);
	}
	pthread_mutex_unlock(&worker->mutex);
	return NULL;
}

static int start_thread(struct mse_ledger_worker *worker,
			struct mse_error *error_r)
{
	sigset_t all, before;
	int ret;

	worker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->fd < 0) {
		return mse_error_set(error_r, "ledger: eventfd: %s",
				     strerror(errno));
	}
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret != 0) {
		close(worker->fd);
		worker->fd = -1;
		return mse_error_set(error_r, "ledger: no thread: %s",
				     strerror(ret));
	}
	return 0;
}

int mse_ledger_worker_new(struct mse_ledger **ledger, bool threaded,
			  struct mse_ledger_worker **worker_r,
			  struct mse_error *error_r)
{
	struct mse_ledger_worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return mse_error_set(error_r, "out of memory");
	worker->ledger = *ledger;
	worker->threaded = threaded;
	worker->fd = -1;
	pthread_mutex_init(&worker->mutex, NULL);
	pthread_cond_init(&worker->work, NULL);
	pthread_cond_init(&worker->progress, NULL);
	if (threaded && start_thread(worker, error_r) < 0) {
		pthread_cond_destroy(&worker->progress);
		pthread_cond_destroy(&worker->work);
		pthread_mutex_destroy(&worker->mutex);
		free(worker);
		return -1;
	}
	*ledger = NULL;
	*worker_r = worker;
	return 0;
}

static void stop_thread(struct mse_ledger_worker *worker)
{
	if (!worker->threaded)
		return;
	pthread_mutex_lock(&worker->mutex);
	worker->stop = true;
	pthread_cond_signal(&worker->work);
	pthread_mutex_unlock(&worker->mutex);
	pthread_join(worker->thread, NULL);
	/* What the last completions submit runs in this thread. */
	worker->threaded = false;
}

void mse_ledger_worker_free(struct mse_ledger_worker **_worker)
{
	struct mse_ledger_worker *worker = *_worker;

	if (worker == NULL)
		return;
	*_worker = NULL;
	stop_thread(worker);
	while (mse_ledger_worker_dispatch(worker) > 0)
		;
	mse_ledger_free(&worker->ledger);
	if (worker->fd >= 0)
		close(worker->fd);
	pthread_cond_destroy(&worker->progress);
	pthread_cond_destroy(&worker->work);
	pthread_mutex_destroy(&worker->mutex);
	free(worker);
}

void mse_ledger_worker_submit(struct mse_ledger_worker *worker,
			      struct mse_ledger_job *job)
{
	struct mse_ledger_counts counts = { 0, 0, 0 };

	job->next = NULL;
	job->result = 0;
	worker->queued++;
	if (!worker->threaded) {
		(void)run_transaction(worker->ledger, job, &counts);
		add_counts(worker, &counts, 1);
		list_append(&worker->finished, job);
		return;
	}
	pthread_mutex_lock(&worker->mutex);
	list_append(&worker->waiting, job);
	pthread_cond_signal(&worker->work);
	pthread_mutex_unlock(&worker->mutex);
}

unsigned int mse_ledger_worker_queued(const struct mse_ledger_worker *worker)
{
	return worker->queued;
}

void mse_ledger_worker_counts(struct mse_ledger_worker *worker,
			      struct mse_ledger_counts *counts_r)
{
	pthread_mutex_lock(&worker->mutex);
	*counts_r = worker->counts;
	pthread_mutex_unlock(&worker->mutex);
}

int mse_ledger_worker_fd(const struct mse_ledger_worker *worker)
{
	return worker->fd;
}

/* NULL: there is none (never with wait while one is under way). */
static struct mse_ledger_job *next_finished(struct mse_ledger_worker *worker,
					    bool wait)
{
	struct mse_ledger_job *job;

	pthread_mutex_lock(&worker->mutex);
	while (wait && worker->threaded && worker->finished.head == NULL)
		pthread_cond_wait(&worker->progress, &worker->mutex);
	job = list_shift(&worker->finished);
	pthread_mutex_unlock(&worker->mutex);
	return job;
}

static void complete(struct mse_ledger_worker *worker,
		     struct mse_ledger_job *job)
{
	worker->queued--;
	job->done(job, job->result < 0 ? &job->error : NULL);
}

unsigned int mse_ledger_worker_dispatch(struct mse_ledger_worker *worker)
{
	struct mse_ledger_job *job;
	unsigned int max, count = 0;
	uint64_t wakes;

	/* Cleared first: what finishes from here on makes it readable again. */
	while (worker->fd >= 0 &&
	       read(worker->fd, &wakes, sizeof(wakes)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&worker->mutex);
	max = worker->finished.count;
	pthread_mutex_unlock(&worker->mutex);
	/* One at a time: a completion may itself wait for a later one. */
	while (count < max && (job = next_finished(worker, false)) != NULL) {
		complete(worker, job);
		count++;
	}
	return count;
}

struct call_job {
	struct mse_ledger_job job;
	int (*run)(struct mse_ledger *ledger, void *context,
		   struct mse_error *error_r);
	void *context;
	bool finished;
	bool failed;
	struct mse_error error;
};

static int call_run(struct mse_ledger *ledger, struct mse_ledger_job *job,
		    struct mse_error *error_r)
{
	struct call_job *call = (struct call_job *)job;

	return call->run(ledger, call->context, error_r);
}

static void call_done(struct mse_ledger_job *job,
		      const struct mse_error *error)
{
	struct call_job *call = (struct call_job *)job;

	call->finished = true;
	call->failed = error != NULL;
	if (error != NULL)
		call->error = *error;
}

int mse_ledger_worker_call(struct mse_ledger_worker *worker,
			   int (*run)(struct mse_ledger *ledger, void *context,
				      struct mse_error *error_r),
			   void *context, struct mse_error *error_r)
{
	struct call_job call;

	memset(&call, 0, sizeof(call));
	call.job.run = call_run;
	call.job.done = call_done;
	call.run = run;
	call.context = context;
	mse_ledger_worker_submit(worker, &call.job);
	while (!call.finished)
		complete(worker, next_finished(worker, true));
	if (call.failed)
		return mse_error_set(error_r, "%s", call.error.text);
	return 0;
}
