/* What the journal's unit tests share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/presence.h"
#include "test-journal-common.h"

int journal_test_setup_dir(void **state)
{
	struct journal_test *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	strcpy(test->dir, "/tmp/mailhook-test-XXXXXX");
	assert_non_null(mkdtemp(test->dir));
	mse_clock_fake_init(&test->clock, 1700000000000);
	test->limits.file_size = MSE_JOURNAL_FILE_SIZE;
	test->limits.retention_ms = 3600 * 1000;
	test->limits.journal_limit = 1024 * 1024 * 1024;
	*state = test;
	return 0;
}

void journal_test_open(struct journal_test *test)
{
	struct mse_error error = { "" };

	if (mse_journal_open(test->dir, &test->limits, &test->clock.clock,
			     &test->journal, &error) < 0)
		fail_msg("open: %s", error.text);
	if (mse_journal_allow(test->journal, 1, &error) < 0)
		fail_msg("allow: %s", error.text);
	assert_int_equal(mse_appender_new(test->dir, &test->appender), 0);
}

void journal_test_close(struct journal_test *test)
{
	mse_appender_free(&test->appender);
	mse_journal_close(&test->journal);
}

int journal_test_setup(void **state)
{
	journal_test_setup_dir(state);
	journal_test_open(*state);
	return 0;
}

int journal_test_teardown(void **state)
{
	struct journal_test *test = *state;
	const struct dirent *entry;
	DIR *dir;

	journal_test_close(test);
	dir = opendir(test->dir);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			(void)unlinkat(dirfd(dir), entry->d_name,
				       AT_REMOVEDIR);
	}
	if (dir != NULL)
		closedir(dir);
	(void)rmdir(test->dir);
	free(test);
	return 0;
}

const char *journal_test_path(const struct journal_test *test,
			      const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", test->dir, name);
	return path;
}

uint64_t journal_test_file_size(const struct journal_test *test,
				const char *name)
{
	struct stat st;

	assert_int_equal(stat(journal_test_path(test, name), &st), 0);
	return (uint64_t)st.st_size;
}

bool journal_test_exists(const struct journal_test *test, const char *name)
{
	struct stat st;

	return lstat(journal_test_path(test, name), &st) == 0;
}

void journal_test_put(const struct journal_test *test, const char *name,
		      const void *data, size_t len)
{
	int fd = open(journal_test_path(test, name),
		      O_WRONLY | O_APPEND | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

void journal_test_record(struct mse_buf *buf, unsigned int n, size_t pad)
{
	char uuid[MSE_UUID_SIZE], *filler;

	mse_uuid_make(1700000000000, uuid);
	mse_buf_appendf(buf, "\x1e{\"id\":\"%s\",\"type\":\"MessageNew\","
			"\"time\":\"2026-11-24T04:30:35.123+01:00\","
			"\"user\":\"u\",\"data\":{\"n\":%u,\"pad\":\"", uuid,
			n);
	filler = malloc(pad + 1);
	assert_non_null(filler);
	memset(filler, 'x', pad);
	mse_buf_append(buf, filler, pad);
	free(filler);
	mse_buf_append_str(buf, "\"}}\n");
	assert_false(mse_buf_failed(buf));
}

unsigned int journal_test_number(const struct mse_record *record)
{
	unsigned int n = 0;
	char start[32];

	/* What a record's slices point into has no NUL. */
	(void)snprintf(start, sizeof(start), "%.*s",
		       (int)(record->data.len < sizeof(start) ?
			     record->data.len : sizeof(start) - 1),
		       record->data.data);
	assert_int_equal(sscanf(start, "{\"n\":%u", &n), 1);
	return n;
}

enum mse_append_result journal_test_append(struct journal_test *test,
					   unsigned int n, unsigned int count,
					   size_t pad)
{
	enum mse_append_result result;
	struct mse_buf buf;
	unsigned int i;

	mse_buf_init(&buf, 64 * 1024 * 1024);
	for (i = 0; i < count; i++)
		journal_test_record(&buf, n + i, pad);
	result = mse_appender_append(test->appender, &buf, count,
				     MSE_DURABILITY_PROCESS);
	mse_buf_clear(&buf);
	return result;
}

static void add_slot(unsigned int slot, const struct mse_presence_slot *data,
		     void *context)
{
	uint64_t *lost = context;

	(void)slot;
	*lost += data->lost;
}

uint64_t journal_test_lost(const struct journal_test *test)
{
	uint64_t lost = 0;

	assert_int_equal(mse_presence_each_loss(
		mse_journal_presence_fd(test->journal), MSE_PRESENCE_SLOTS,
		add_slot, &lost), 0);
	return lost;
}

struct mse_journal_reader *journal_test_reader(struct journal_test *test)
{
	struct mse_journal_reader *reader;
	struct mse_position position;

	mse_journal_oldest(test->journal, &position);
	reader = mse_journal_reader_new(test->journal, &position);
	assert_non_null(reader);
	return reader;
}

void journal_test_expect(struct mse_journal_reader *reader, unsigned int n)
{
	struct mse_read_result result;
	struct mse_error error = { "" };

	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_RECORD);
	assert_int_equal(journal_test_number(&result.record), n);
	assert_string_equal(result.record.id, result.position.id);
}

void journal_test_expect_end(struct mse_journal_reader *reader)
{
	struct mse_read_result result;
	struct mse_error error = { "" };

	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_END);
}

void journal_test_expect_damage(struct mse_journal_reader *reader,
				uint64_t octets, bool torn)
{
	struct mse_read_result result;
	struct mse_error error = { "" };

	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_DAMAGE);
	assert_int_equal(result.damaged_octets, octets);
	assert_int_equal(result.torn, torn);
}
