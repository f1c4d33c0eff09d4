#ifndef MSE_LEDGER_LOCK_H
#define MSE_LEDGER_LOCK_H

#include "base/error.h"

#define MSE_LEDGER_LOCK_NAME "ledger.lock"

/*
 * One process owns the ledger: it holds ledger.lock for as long as the
 * descriptor is open; the kernel lets go when the process dies. The file
 * stays (removing it would let two processes lock two files of one name)
 * and says whose lock it is.
 */

/* A descriptor, or -1 after wait_ms with a sentence that names the holder. */
int mse_ledger_lock(int dirfd, int wait_ms, struct mse_error *error_r);
void mse_ledger_unlock(int *fd);

#endif
