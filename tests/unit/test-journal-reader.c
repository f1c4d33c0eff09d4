/*
 * Reading: records, what is no record, files in order, positions.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test-journal-common.h"

static const char zeros[70000];

static void rotate(struct journal_test *test)
{
	struct mse_error error;
	bool rotated;

	assert_int_equal(mse_journal_rotate(test->journal, true, &rotated,
					    &error), 0);
	assert_true(rotated);
}

static void put_record(struct journal_test *test, const char *name,
		       unsigned int n, size_t cut)
{
	struct mse_buf buf;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, n, 0);
	journal_test_put(test, name, buf.data, buf.len - cut);
	mse_buf_clear(&buf);
}

static void test_growing(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);

	journal_test_expect_end(reader);
	journal_test_append(test, 1, 2, 0);
	assert_true(mse_journal_reader_behind(reader) > 0);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	journal_test_expect_end(reader);
	assert_int_equal(mse_journal_reader_behind(reader), 0);
	journal_test_append(test, 3, 1, 0);
	journal_test_expect(reader, 3);
	mse_journal_reader_free(&reader);
}

static void test_large_record(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);

	journal_test_append(test, 1, 3, 3 * 1000 * 1000);
	journal_test_append(test, 4, 1, 0);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	journal_test_expect(reader, 3);
	journal_test_expect(reader, 4);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_incomplete_then_whole(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	struct mse_buf buf;

	mse_buf_init(&buf, 4096);
	journal_test_record(&buf, 1, 0);
	journal_test_put(test, "journal", buf.data, 20);
	journal_test_expect_end(reader);
	journal_test_expect_end(reader);
	journal_test_put(test, "journal", buf.data + 20, buf.len - 20);
	journal_test_expect(reader, 1);
	mse_buf_clear(&buf);
	mse_journal_reader_free(&reader);
}

static void test_torn(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);

	journal_test_append(test, 1, 1, 0);
	journal_test_put(test, "journal", "\x1e{\"id\":\"", 8);
	journal_test_put(test, "journal", "\x1e{", 2);
	journal_test_expect(reader, 1);
	/* The first has an RS behind it, the second has not. */
	journal_test_expect_damage(reader, 8, true);
	journal_test_expect_end(reader);
	journal_test_append(test, 2, 1, 0);
	journal_test_expect_damage(reader, 2, true);
	journal_test_expect(reader, 2);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_zeros_are_one_damage(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);

	journal_test_append(test, 1, 1, 0);
	journal_test_put(test, "journal", zeros, sizeof(zeros));
	journal_test_put(test, "journal", zeros, sizeof(zeros));
	journal_test_expect(reader, 1);
	journal_test_expect_end(reader);
	journal_test_put(test, "journal", "garbage\n", 8);
	journal_test_append(test, 2, 1, 0);
	journal_test_expect_damage(reader, 2 * sizeof(zeros) + 8, false);
	journal_test_expect(reader, 2);
	mse_journal_reader_free(&reader);
}

/* RS and LF, but no JSON between them; what follows belongs to it. */
static void test_bad_json(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);

	journal_test_put(test, "journal", "\x1e{\"id\":}\nxyz", 12);
	journal_test_append(test, 1, 1, 0);
	journal_test_expect_damage(reader, 12, true);
	journal_test_expect(reader, 1);
	mse_journal_reader_free(&reader);
}

/* A position after damage is that of the record before it, so that it still
   says the truth after a restart. */
static void test_position_after_damage(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	struct mse_read_result result;
	struct mse_error error;

	journal_test_append(test, 1, 1, 0);
	journal_test_put(test, "journal", "xx", 2);
	journal_test_append(test, 2, 1, 0);
	journal_test_expect(reader, 1);
	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_DAMAGE);
	assert_int_equal(result.damage_offset, result.position.offset);
	assert_string_equal(result.damage_file, result.position.file);
	assert_int_equal(mse_journal_match(test->journal, &result.position),
			 MSE_MATCH_YES);
	mse_journal_reader_free(&reader);
	reader = mse_journal_reader_new(test->journal, &result.position);
	journal_test_expect_damage(reader, 2, false);
	journal_test_expect(reader, 2);
	mse_journal_reader_free(&reader);
}

static void test_waits_for_seal(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	const struct mse_journal_file *files;
	unsigned int count;

	journal_test_append(test, 1, 1, 0);
	rotate(test);
	journal_test_append(test, 3, 1, 0);
	journal_test_expect(reader, 1);
	/* A slow process still has the old file. */
	journal_test_expect_end(reader);
	put_record(test, "journal.1", 2, 0);
	journal_test_expect(reader, 2);
	journal_test_expect_end(reader);
	files = mse_journal_files(test->journal, &count);
	assert_int_equal(count, 2);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	journal_test_expect(reader, 3);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_torn_at_seal(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	const struct mse_journal_file *files;
	unsigned int count;

	journal_test_append(test, 1, 1, 0);
	journal_test_put(test, "journal", "\x1e{\"id\"", 6);
	rotate(test);
	journal_test_append(test, 2, 1, 0);
	journal_test_expect(reader, 1);
	journal_test_expect_end(reader);
	files = mse_journal_files(test->journal, &count);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	journal_test_expect_damage(reader, 6, true);
	journal_test_expect(reader, 2);
	mse_journal_reader_free(&reader);
}

/* Sealed at a length that is not there any more. */
static void test_sealed_file_shrunken(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	const struct mse_journal_file *files;
	unsigned int count;

	journal_test_append(test, 1, 1, 0);
	rotate(test);
	journal_test_append(test, 2, 1, 0);
	files = mse_journal_files(test->journal, &count);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size + 77);
	journal_test_expect(reader, 1);
	journal_test_expect_damage(reader, 77, false);
	journal_test_expect(reader, 2);
	mse_journal_reader_free(&reader);
}

static void test_current_file_shrunken(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	struct mse_position start;
	uint64_t size;

	mse_journal_oldest(test->journal, &start);
	reader = journal_test_reader(test);
	journal_test_append(test, 1, 1, 0);
	size = journal_test_file_size(test, "journal");
	journal_test_append(test, 2, 2, 0);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 2);
	journal_test_expect(reader, 3);
	assert_int_equal(truncate(journal_test_path(test, "journal"),
				  (off_t)size), 0);
	journal_test_append(test, 4, 1, 0);
	journal_test_expect_damage(reader, size - start.offset, false);
	journal_test_expect(reader, 1);
	journal_test_expect(reader, 4);
	journal_test_expect_end(reader);
	mse_journal_reader_free(&reader);
}

static void test_match(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	struct mse_read_result result;
	struct mse_position position, wrong;
	struct mse_error error;

	mse_journal_oldest(test->journal, &position);
	assert_int_equal(mse_journal_match(test->journal, &position),
			 MSE_MATCH_YES);
	assert_string_equal(position.id, position.file);
	journal_test_append(test, 1, 2, 100000);
	journal_test_expect(reader, 1);
	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_RECORD);
	assert_int_equal(mse_journal_match(test->journal, &result.position),
			 MSE_MATCH_YES);
	wrong = result.position;
	wrong.offset--;
	assert_int_equal(mse_journal_match(test->journal, &wrong),
			 MSE_MATCH_NO);
	wrong = result.position;
	wrong.offset += 1000;
	assert_int_equal(mse_journal_match(test->journal, &wrong),
			 MSE_MATCH_NO);
	wrong = result.position;
	strcpy(wrong.id, position.file);
	assert_int_equal(mse_journal_match(test->journal, &wrong),
			 MSE_MATCH_NO);
	wrong = result.position;
	wrong.offset = 0;
	assert_int_equal(mse_journal_match(test->journal, &wrong),
			 MSE_MATCH_NO);
	wrong = result.position;
	wrong.file[0] = wrong.file[0] == 'f' ? 'e' : 'f';
	assert_int_equal(mse_journal_match(test->journal, &wrong),
			 MSE_MATCH_RELEASED);
	/* What a power cut leaves: the length, without the bytes. */
	assert_int_equal(truncate(journal_test_path(test, "journal"),
				  (off_t)result.position.offset - 50), 0);
	assert_int_equal(mse_journal_match(test->journal, &result.position),
			 MSE_MATCH_NO);
	journal_test_put(test, "journal", zeros, 50);
	assert_int_equal(mse_journal_match(test->journal, &result.position),
			 MSE_MATCH_NO);
	mse_journal_reader_free(&reader);
}

static void test_newest(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader;
	struct mse_position position, oldest;
	struct mse_error error;

	mse_journal_oldest(test->journal, &oldest);
	assert_int_equal(mse_journal_newest(test->journal, &position, &error),
			 0);
	assert_memory_equal(&position, &oldest, sizeof(position));
	journal_test_append(test, 1, 2, 200000);
	journal_test_put(test, "journal", zeros, sizeof(zeros));
	journal_test_put(test, "journal", "\x1e{\"id\":1}\n\x1e{", 12);
	assert_int_equal(mse_journal_newest(test->journal, &position, &error),
			 0);
	assert_int_equal(mse_journal_match(test->journal, &position),
			 MSE_MATCH_YES);
	journal_test_append(test, 3, 1, 0);
	reader = mse_journal_reader_new(test->journal, &position);
	journal_test_expect_damage(reader, sizeof(zeros), false);
	journal_test_expect_damage(reader, 10, true);
	journal_test_expect_damage(reader, 2, true);
	journal_test_expect(reader, 3);
	mse_journal_reader_free(&reader);
}

static void test_file_starts(void **state)
{
	struct journal_test *test = *state;
	struct mse_position first, second, position;
	const char *unknown = "00000000-0000-7000-8000-000000000000";

	mse_journal_oldest(test->journal, &first);
	rotate(test);
	assert_int_equal(mse_journal_file_start(test->journal, first.file,
						&position), 0);
	assert_memory_equal(&position, &first, sizeof(first));
	assert_int_equal(mse_journal_file_start(test->journal, unknown,
						&position), -1);
	mse_journal_next_file_start(test->journal, first.file, &second);
	assert_string_not_equal(second.file, first.file);
	mse_journal_next_file_start(test->journal, unknown, &position);
	assert_memory_equal(&position, &first, sizeof(first));
}

static void test_released(void **state)
{
	struct journal_test *test = *state;
	struct mse_journal_reader *reader = journal_test_reader(test);
	struct mse_journal_reader *passed = journal_test_reader(test);
	const struct mse_journal_file *files;
	struct mse_read_result result;
	struct mse_error error;
	unsigned int count;

	journal_test_append(test, 1, 2, 0);
	rotate(test);
	journal_test_append(test, 3, 1, 0);
	files = mse_journal_files(test->journal, &count);
	mse_journal_seal(test->journal, files[0].uuid, files[0].size);
	journal_test_expect(reader, 1);
	journal_test_expect(passed, 1);
	journal_test_expect(passed, 2);
	test->limits.journal_limit = 1;
	mse_journal_set_limits(test->journal, &test->limits);
	assert_int_equal(mse_journal_release(test->journal, NULL, NULL, NULL,
					     &error), 0);
	assert_int_equal(mse_journal_reader_next(reader, &result, &error),
			 MSE_READ_RELEASED);
	assert_int_equal(mse_journal_match(test->journal, &result.position),
			 MSE_MATCH_YES);
	journal_test_expect(reader, 3);
	/* One that had read all of it misses nothing and hears nothing. */
	journal_test_expect(passed, 3);
	mse_journal_reader_free(&reader);
	mse_journal_reader_free(&passed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, journal_test_setup, \
						journal_test_teardown)
		T(test_growing),
		T(test_large_record),
		T(test_incomplete_then_whole),
		T(test_torn),
		T(test_zeros_are_one_damage),
		T(test_bad_json),
		T(test_position_after_damage),
		T(test_waits_for_seal),
		T(test_torn_at_seal),
		T(test_sealed_file_shrunken),
		T(test_current_file_shrunken),
		T(test_match),
		T(test_newest),
		T(test_file_starts),
		T(test_released),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
