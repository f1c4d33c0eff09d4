#ifndef TEST_DERIVE_COMMON_H
#define TEST_DERIVE_COMMON_H

#include "derive/derive.h"
#include "test-journal-common.h"

/* derive on a journal of its own and a ledger in memory. */
struct derive_test {
	struct journal_test *journal;
	struct mse_ledger_worker *worker;
	struct mse_derive *derive;
};

void open_test(struct derive_test *test, struct journal_test *journal);
void open_derive(struct derive_test *test);
void close_test(struct derive_test *test);
/* The daemon stops; journal and ledger stay. Open derive again then. */
void stop(struct derive_test *test);
void restart(struct derive_test *test);
/* One pass, which must not fail. */
void run_once(struct derive_test *test);

#endif
