/* derive as the daemon runs it, without the daemon. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "test-derive-common.h"

void open_derive(struct derive_test *test)
{
	struct mse_derive_parts parts = {
		.journal = test->journal->journal,
		.ledger = test->worker,
		.appender = test->journal->appender,
		.clock = &test->journal->clock.clock,
		.server_name = "mail.example", .server_fqdn = "b1.example",
	};
	struct mse_error error;

	if (mse_derive_new(&parts, &test->derive, &error) < 0)
		fail_msg("%s", error.text);
}

void open_test(struct derive_test *test, struct journal_test *journal)
{
	struct mse_ledger *ledger = mse_ledger_new_memory();
	struct mse_error error;

	test->journal = journal;
	assert_non_null(ledger);
	assert_int_equal(mse_ledger_worker_new(&ledger, false, &test->worker,
					       &error), 0);
	open_derive(test);
}

void close_test(struct derive_test *test)
{
	mse_derive_free(&test->derive);
	mse_ledger_worker_free(&test->worker);
}

void stop(struct derive_test *test)
{
	mse_derive_free(&test->derive);
	mse_ledger_worker_dispatch(test->worker);
	/* Or it would still be the one that has made everything anew. */
	journal_test_close(test->journal);
	journal_test_open(test->journal);
}

void restart(struct derive_test *test)
{
	stop(test);
	open_derive(test);
}

void run_once(struct derive_test *test)
{
	struct mse_error error;

	if (mse_derive_run(test->derive, &error) == INT64_MAX - 1)
		fail_msg("%s", error.text);
	mse_ledger_worker_dispatch(test->worker);
}
