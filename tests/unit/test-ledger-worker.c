#include "mse-config.h"
#include "ledger/worker.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/ledger-backend.h"

/*
 * The worker over a ledger that counts its transactions and fails when told
 * to; underneath is the memory backend. Only what is asserted in the tests'
 * thread after a completion is looked at without a lock.
 */

struct counting {
	struct mse_ledger ledger;
	struct mse_ledger_ops ops;
	struct mse_ledger *memory;
};

static struct {
	unsigned int begins, commits, rollbacks, frees;
	unsigned int fail_begin, fail_commit, lose_transaction;
} counts;

static struct mse_ledger *memory_of(struct mse_ledger *ledger)
{
	return ((struct counting *)ledger)->memory;
}

static int counting_begin(struct mse_ledger *ledger, struct mse_error *error_r)
{
	__atomic_add_fetch(&counts.begins, 1, __ATOMIC_SEQ_CST);
	if (counts.fail_begin > 0) {
		counts.fail_begin--;
		return mse_error_set(error_r, "no begin");
	}
	return mse_ledger_begin(memory_of(ledger), error_r);
}

static int counting_commit(struct mse_ledger *ledger,
			   struct mse_error *error_r)
{
	if (counts.fail_commit > 0) {
		counts.fail_commit--;
		mse_ledger_rollback(memory_of(ledger));
		return mse_error_set(error_r, "the disk is full");
	}
	counts.commits++;
	return mse_ledger_commit(memory_of(ledger), error_r);
}

static void counting_rollback(struct mse_ledger *ledger)
{
	counts.rollbacks++;
	mse_ledger_rollback(memory_of(ledger));
}

static int counting_savepoint(struct mse_ledger *ledger,
			      struct mse_error *error_r)
{
	return mse_ledger_savepoint(memory_of(ledger), error_r);
}

static int counting_release(struct mse_ledger *ledger,
			    struct mse_error *error_r)
{
	return mse_ledger_release(memory_of(ledger), error_r);
}

static int counting_rollback_to(struct mse_ledger *ledger,
				struct mse_error *error_r)
{
	if (counts.lose_transaction > 0) {
		counts.lose_transaction--;
		mse_ledger_rollback(memory_of(ledger));
		return mse_error_set(error_r, "no such savepoint");
	}
	return mse_ledger_rollback_to(memory_of(ledger), error_r);
}

static int counting_put_value(struct mse_ledger *ledger, const char *name,
			      const char *value, struct mse_error *error_r)
{
	return mse_ledger_put_value(memory_of(ledger), name, value, error_r);
}

static int counting_get_value(struct mse_ledger *ledger, const char *name,
			      char *value_r, size_t size,
			      struct mse_error *error_r)
{
	return mse_ledger_get_value(memory_of(ledger), name, value_r, size,
				    error_r);
}

static void counting_free(struct mse_ledger *ledger)
{
	struct counting *counting = (struct counting *)ledger;

	counts.frees++;
	mse_ledger_free(&counting->memory);
	free(counting);
}

static struct mse_ledger_worker *new_worker(bool threaded)
{
	struct counting *counting = calloc(1, sizeof(*counting));
	struct mse_ledger_worker *worker = NULL;
	struct mse_ledger *ledger;
	struct mse_error error;

	assert_non_null(counting);
	memset(&counts, 0, sizeof(counts));
	counting->memory = mse_ledger_new_memory();
	assert_non_null(counting->memory);
	counting->ops.free = counting_free;
	counting->ops.begin = counting_begin;
	counting->ops.commit = counting_commit;
	counting->ops.rollback = counting_rollback;
	counting->ops.savepoint = counting_savepoint;
	counting->ops.release = counting_release;
	counting->ops.rollback_to = counting_rollback_to;
	counting->ops.put_value = counting_put_value;
	counting->ops.get_value = counting_get_value;
	counting->ledger.ops = &counting->ops;
	ledger = &counting->ledger;
	assert_int_equal(mse_ledger_worker_new(&ledger, threaded, &worker,
					       &error), 0);
	assert_null(ledger);
	return worker;
}

/* Shut: the ledger's thread waits in the job that holds it. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

struct test_job {
	struct mse_ledger_job job;
	char name[16];
	bool fail;
	bool wait;
};

static char completions[4096];

static int test_run(struct mse_ledger *ledger, struct mse_ledger_job *job,
		    struct mse_error *error_r)
{
	struct test_job *test = (struct test_job *)job;

	if (test->wait) {
		pthread_mutex_lock(&gate);
		pthread_mutex_unlock(&gate);
	}
	if (mse_ledger_put_value(ledger, test->name, "done", error_r) < 0)
		return -1;
	if (test->fail)
		return mse_error_set(error_r, "refused");
	return 0;
}

static void test_done(struct mse_ledger_job *job,
		      const struct mse_error *error)
{
	struct test_job *test = (struct test_job *)job;
	size_t len = strlen(completions);

	snprintf(completions + len, sizeof(completions) - len, "%s%s%s%s ",
		 test->name, error == NULL ? "" : "(",
		 error == NULL ? "" : error->text, error == NULL ? "" : ")");
	free(test);
}

static void submit(struct mse_ledger_worker *worker, const char *name,
		   bool fail, bool wait)
{
	struct test_job *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	test->job.run = test_run;
	test->job.done = test_done;
	snprintf(test->name, sizeof(test->name), "%s", name);
	test->fail = fail;
	test->wait = wait;
	mse_ledger_worker_submit(worker, &test->job);
}

static void dispatch_all(struct mse_ledger_worker *worker)
{
	struct pollfd pfd = {.fd = mse_ledger_worker_fd(worker),
			     .events = POLLIN};

	while (mse_ledger_worker_queued(worker) > 0) {
		if (pfd.fd >= 0)
			assert_int_equal(poll(&pfd, 1, 10000), 1);
		(void)mse_ledger_worker_dispatch(worker);
	}
}

static int find_name(struct mse_ledger *ledger, void *context,
		     struct mse_error *error_r)
{
	char value[8];

	if (mse_ledger_get_value(ledger, context, value, sizeof(value),
				 error_r) == 1)
		return 0;
	return mse_error_set(error_r, "%s is not there",
			     (const char *)context);
}

static void assert_there(struct mse_ledger_worker *worker, const char *name,
			 bool there)
{
	struct mse_error error;
	char copy[16];

	snprintf(copy, sizeof(copy), "%s", name);
	assert_int_equal(mse_ledger_worker_call(worker, find_name, copy,
						&error), there ? 0 : -1);
	if (!there)
		assert_non_null(strstr(error.text, "is not there"));
}

/* Everything submitted while the thread waits in "first" is one batch. */
static void submit_first(struct mse_ledger_worker *worker)
{
	struct timespec pause = {0, 1000000};
	unsigned int i;

	completions[0] = '\0';
	pthread_mutex_lock(&gate);
	submit(worker, "first", false, true);
	for (i = 0; i < 5000 && __atomic_load_n(&counts.begins,
						__ATOMIC_SEQ_CST) == 0; i++)
		nanosleep(&pause, NULL);
}

static void test_order_and_batch(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);
	char name[16], want[4096] = "first ";
	unsigned int i;

	submit_first(worker);
	for (i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "%u", i);
		submit(worker, name, false, false);
		snprintf(want + strlen(want), sizeof(want) - strlen(want),
			 "%u ", i);
	}
	assert_int_equal(mse_ledger_worker_queued(worker), 601);
	assert_int_equal(mse_ledger_worker_dispatch(worker), 0);
	pthread_mutex_unlock(&gate);
	dispatch_all(worker);
	assert_string_equal(completions, want);
	/* "first", then 256, 256 and 88. */
	assert_int_equal(counts.commits, 4);
	assert_int_equal(counts.begins, 4);
	assert_int_equal(mse_ledger_worker_dispatch(worker), 0);
	mse_ledger_worker_free(&worker);
	assert_null(worker);
	assert_int_equal(counts.frees, 1);
}

static void test_failed_job_alone(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);

	submit_first(worker);
	submit(worker, "a", false, false);
	submit(worker, "b", true, false);
	submit(worker, "c", false, false);
	pthread_mutex_unlock(&gate);
	dispatch_all(worker);
	assert_string_equal(completions, "first a b(refused) c ");
	assert_int_equal(counts.commits, 2);
	assert_there(worker, "a", true);
	assert_there(worker, "b", false);
	assert_there(worker, "c", true);
	mse_ledger_worker_free(&worker);
}

static void test_failed_commit(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);
	struct mse_ledger_counts before, after;

	submit_first(worker);
	submit(worker, "a", false, false);
	submit(worker, "b", true, false);
	pthread_mutex_unlock(&gate);
	dispatch_all(worker);

	completions[0] = '\0';
	counts.begins = 0;
	mse_ledger_worker_counts(worker, &before);
	assert_int_equal(before.commits, counts.commits);
	assert_int_equal(before.failures, 0);
	assert_int_equal(before.jobs, 3);
	submit_first(worker);
	counts.fail_commit = 2;
	submit(worker, "c", false, false);
	submit(worker, "d", true, false);
	submit(worker, "e", false, false);
	pthread_mutex_unlock(&gate);
	dispatch_all(worker);
	assert_string_equal(completions,
			    "first(the disk is full) c(the disk is full) "
			    "d(refused) e(the disk is full) ");
	mse_ledger_worker_counts(worker, &after);
	assert_int_equal(after.commits, before.commits);
	assert_int_equal(after.failures, 2);
	assert_int_equal(after.jobs, before.jobs + 4);
	assert_there(worker, "a", true);
	assert_there(worker, "c", false);
	assert_there(worker, "e", false);
	mse_ledger_worker_free(&worker);
}

static void test_failed_begin(void **state)
{
	struct mse_ledger_worker *worker = new_worker(false);

	completions[0] = '\0';
	counts.fail_begin = 1;
	submit(worker, "a", false, false);
	submit(worker, "b", false, false);
	dispatch_all(worker);
	assert_string_equal(completions, "a(no begin) b ");
	mse_ledger_worker_free(&worker);
}

/* The failure of one job took the whole transaction with it: those before it
   are told, those behind it get a new one. */
static void test_lost_transaction(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);

	submit_first(worker);
	counts.lose_transaction = 1;
	submit(worker, "a", false, false);
	submit(worker, "b", true, false);
	submit(worker, "c", false, false);
	pthread_mutex_unlock(&gate);
	dispatch_all(worker);
	assert_string_equal(completions, "first a(refused) b(refused) c ");
	assert_there(worker, "a", false);
	assert_there(worker, "c", true);
	mse_ledger_worker_free(&worker);
}

static void test_call(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);

	submit_first(worker);
	submit(worker, "a", false, false);
	pthread_mutex_unlock(&gate);
	/* What was submitted before is complete when the call returns. */
	assert_there(worker, "a", true);
	assert_string_equal(completions, "first a ");
	assert_int_equal(mse_ledger_worker_queued(worker), 0);
	mse_ledger_worker_free(&worker);
}

static void test_free_finishes(void **state)
{
	struct mse_ledger_worker *worker = new_worker(true);

	submit_first(worker);
	submit(worker, "a", false, false);
	submit(worker, "b", true, false);
	pthread_mutex_unlock(&gate);
	mse_ledger_worker_free(&worker);
	assert_string_equal(completions, "first a b(refused) ");
	assert_int_equal(counts.frees, 1);
	mse_ledger_worker_free(&worker);
}

static void test_unthreaded(void **state)
{
	struct mse_ledger_worker *worker = new_worker(false);

	completions[0] = '\0';
	assert_int_equal(mse_ledger_worker_fd(worker), -1);
	submit(worker, "a", false, false);
	submit(worker, "b", true, false);
	assert_int_equal(counts.commits, 2);
	assert_int_equal(mse_ledger_worker_queued(worker), 2);
	assert_string_equal(completions, "");
	assert_int_equal(mse_ledger_worker_dispatch(worker), 2);
	assert_string_equal(completions, "a b(refused) ");
	assert_int_equal(mse_ledger_worker_dispatch(worker), 0);
	assert_there(worker, "a", true);
	assert_there(worker, "b", false);
	mse_ledger_worker_free(&worker);
}

struct chain_job {
	struct mse_ledger_job job;
	struct mse_ledger_worker *worker;
};

static int chain_run(struct mse_ledger *ledger, struct mse_ledger_job *job,
		     struct mse_error *error_r)
{
	return 0;
}

static void chain_done(struct mse_ledger_job *job,
		       const struct mse_error *error)
{
	struct chain_job *chain = (struct chain_job *)job;

	/* A completion may submit, and may wait for what is behind it. */
	submit(chain->worker, "z", false, false);
	assert_there(chain->worker, "z", true);
	free(chain);
}

static void test_completion_calls(void **state)
{
	struct mse_ledger_worker *worker;
	struct chain_job *chain;
	unsigned int threaded;

	for (threaded = 0; threaded < 2; threaded++) {
		worker = new_worker(threaded != 0);
		completions[0] = '\0';
		chain = calloc(1, sizeof(*chain));
		assert_non_null(chain);
		chain->job.run = chain_run;
		chain->job.done = chain_done;
		chain->worker = worker;
		mse_ledger_worker_submit(worker, &chain->job);
		submit(worker, "a", false, false);
		submit(worker, "b", false, false);
		dispatch_all(worker);
		assert_string_equal(completions, "a b z ");
		mse_ledger_worker_free(&worker);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_batch),
		cmocka_unit_test(test_failed_job_alone),
		cmocka_unit_test(test_failed_commit),
		cmocka_unit_test(test_failed_begin),
		cmocka_unit_test(test_lost_transaction),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_free_finishes),
		cmocka_unit_test(test_unthreaded),
		cmocka_unit_test(test_completion_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
