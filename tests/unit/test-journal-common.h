#ifndef TEST_JOURNAL_COMMON_H
#define TEST_JOURNAL_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "journal/append.h"
#include "journal/journal.h"
#include "journal/reader.h"

/* A journal in a directory of its own, and one mail process's appender. */
struct journal_test {
	char dir[64];
	struct mse_clock_fake clock;
	struct mse_journal_limits limits;
	struct mse_journal *journal;
	struct mse_appender *appender;
};

/* cmocka fixtures; *state is a struct journal_test with nothing open but the
   directory made / with journal and appender open. */
int journal_test_setup_dir(void **state);
int journal_test_setup(void **state);
int journal_test_teardown(void **state);

void journal_test_open(struct journal_test *test);
void journal_test_close(struct journal_test *test);
/* dir/name; one static buffer. */
const char *journal_test_path(const struct journal_test *test,
			      const char *name);
uint64_t journal_test_file_size(const struct journal_test *test,
				const char *name);
bool journal_test_exists(const struct journal_test *test, const char *name);
/* Puts bytes at the end of dir/name as somebody else would. */
void journal_test_put(const struct journal_test *test, const char *name,
		      const void *data, size_t len);

/* One whole record with data {"n":N} and pad octets more. */
void journal_test_record(struct mse_buf *buf, unsigned int n, size_t pad);
/* N of a record's data. */
unsigned int journal_test_number(const struct mse_record *record);
/* Appends `count` records n, n + 1, … in one transaction. */
enum mse_append_result journal_test_append(struct journal_test *test,
					   unsigned int n, unsigned int count,
					   size_t pad);
/* Losses counted in all slots. */
uint64_t journal_test_lost(const struct journal_test *test);
/* A reader from the oldest record. */
struct mse_journal_reader *journal_test_reader(struct journal_test *test);
/* The next result must be the record N. */
void journal_test_expect(struct mse_journal_reader *reader, unsigned int n);
void journal_test_expect_end(struct mse_journal_reader *reader);
/* The next result must be damage of so many octets. */
void journal_test_expect_damage(struct mse_journal_reader *reader,
				uint64_t octets, bool torn);

#endif
