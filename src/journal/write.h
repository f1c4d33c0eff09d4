#ifndef MSE_JOURNAL_WRITE_H
#define MSE_JOURNAL_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A transaction up to this goes out in one write(). */
#define MSE_WRITE_MAX (1024 * 1024)

/*
 * Appends whole records to fd (O_APPEND, `size` octets long a moment ago) in
 * as few write() calls as the rules allow. -1 with errno; *whole_r says
 * either way how many octets went out as whole records. EFBIG without
 * SIGXFSZ if RLIMIT_FSIZE is in the way.
 */
int mse_write_records(int fd, uint64_t size, const char *data, size_t len,
		      size_t *whole_r);
/* Records (RS octets) within data. */
unsigned int mse_write_count(const char *data, size_t len);
/* Asks for RLIMIT_FSIZE again, which is otherwise remembered. */
void mse_write_look_at_limit(void);
/* Whether the process may write up to this file offset (RLIMIT_FSIZE). */
bool mse_write_may_reach(uint64_t offset);

#endif
