/* Errors and files: sentences, limits, and replacing as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

static char dir[] = "/tmp/mailhook-test-XXXXXX";
static int dir_fd = -1;

static int make_dir(void **state)
{
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
	unlinkat(dir_fd, "a", 0);
	unlinkat(dir_fd, "fifo", 0);
	close(dir_fd);
	return rmdir(dir);
}

static void test_error(void **state)
{
	struct mse_error error;

	assert_int_equal(mse_error_set(&error, "no %s", "room"), -1);
	assert_int_equal(mse_error_prefix(&error, "line %d: ", 7), -1);
	assert_string_equal(error.text, "line 7: no room");
	assert_int_equal(mse_error_set(NULL, "x"), -1);
	assert_int_equal(mse_error_prefix(NULL, "x"), -1);
	mse_error_set(&error, "%0600d", 1);
	mse_error_prefix(&error, "%s", "cut: ");
	assert_int_equal(strlen(error.text), MSE_ERROR_SIZE - 1);
	assert_memory_equal(error.text, "cut: 000", 8);
}

static void test_replace_and_read(void **state)
{
	struct mse_error error = { "untouched" };
	struct mse_buf buf;
	struct stat st;
	mode_t mask = umask(077);

	mse_buf_init(&buf, 10);
	assert_int_equal(mse_file_replace(dir_fd, "a", 0640, "old bytes", 9,
					  &error), 0);
	assert_int_equal(mse_file_replace(dir_fd, "a", 0640, "new\0", 4,
					  &error), 0);
	umask(mask);
	assert_string_equal(error.text, "untouched");
	assert_int_equal(mse_file_read(dir_fd, "a", &buf, &error), 0);
	assert_int_equal(buf.len, 4);
	assert_memory_equal(buf.data, "new\0", 4);
	assert_int_equal(fstatat(dir_fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	/* Nothing is left beside it. */
	assert_int_equal(faccessat(dir_fd, "a.tmp", F_OK, 0), -1);
	mse_buf_clear(&buf);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *name;
		size_t limit;
		int expected_errno;
	} rows[] = {
		{ "none", 10, ENOENT },
		{ "a", 9, EFBIG },
		{ ".", 10, EINVAL },
		/* Must not wait for a writer. */
		{ "fifo", 10, EINVAL },
	};
	struct mse_error error;
	struct mse_buf buf;
	size_t i;

	assert_int_equal(mkfifoat(dir_fd, "fifo", 0600), 0);
	assert_int_equal(mse_file_replace(dir_fd, "a", 0600, "0123456789", 10,
					  &error), 0);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mse_buf_init(&buf, rows[i].limit);
		error.text[0] = '\0';
		if (mse_file_read(dir_fd, rows[i].name, &buf, &error) == 0 ||
		    errno != rows[i].expected_errno || error.text[0] == '\0')
			fail_msg("row %zu: %s", i, error.text);
		mse_buf_clear(&buf);
	}
}

static void test_write_all(void **state)
{
	size_t written = 7;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(mse_file_write_all(fds[1], "abc", 3, &written), 0);
	assert_int_equal(written, 3);
	assert_int_equal(mse_file_write_all(fds[1], "", 0, NULL), 0);
	/* The wrong end. */
	assert_int_equal(mse_file_write_all(fds[0], "abc", 3, &written), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(written, 0);
	close(fds[0]);
	close(fds[1]);
	assert_false(mse_file_is_on_network(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_replace_and_read),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_write_all),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
