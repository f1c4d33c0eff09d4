/* What a process in the sandbox can do, what it cannot, and how it is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox.h"

#define SKIPPED 77

static char dir[64], elsewhere[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/mailhook-test-XXXXXX");
	strcpy(elsewhere, "/tmp/mailhook-test-XXXXXX");
	return mkdtemp(dir) == NULL || mkdtemp(elsewhere) == NULL;
}

static int teardown(void **state)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/file", elsewhere);
	(void)unlink(path);
	return rmdir(dir) < 0 || rmdir(elsewhere) < 0;
}

/* Runs test() in a child that is in the sandbox; the child's exit status, or
   -n if signal n killed it. */
static int in_sandbox(int (*test)(const struct mse_sandbox *sandbox))
{
	struct mse_sandbox sandbox;
	struct mse_error error;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		mse_sandbox_no_dumps();
		if (mse_sandbox_enter(dir, NULL, &sandbox, &error) < 0)
			_exit(100);
		_exit(test(&sandbox));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void expect_good(int (*test)(const struct mse_sandbox *sandbox))
{
	int status = in_sandbox(test);

	if (status == SKIPPED)
		skip(); /* this kernel or container has it not */
	assert_int_equal(status, 0);
}

static int open_in(const char *where, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", where);
	return open(path, flags | O_CLOEXEC, 0600);
}

/* Each line that fails gives its own number. */
#define EXPECT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, \
				#condition, strerror(errno)); \
			return 1; \
		} \
	} while (0)

static int writes(const struct mse_sandbox *sandbox)
{
	char one[128], two[128];
	int fd;

	if (!sandbox->files)
		return SKIPPED;
	EXPECT((fd = open_in(dir, O_RDWR | O_CREAT)) >= 0);
	EXPECT(write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0);
	snprintf(one, sizeof(one), "%s/file", dir);
	snprintf(two, sizeof(two), "%s/other", dir);
	EXPECT(link(one, two) == 0 && rename(two, one) == 0);
	EXPECT(unlink(two) == 0);
	EXPECT(open_in(elsewhere, O_RDWR | O_CREAT) < 0 && errno == EACCES);
	snprintf(two, sizeof(two), "%s/file", elsewhere);
	EXPECT(rename(one, two) < 0);
	EXPECT(mkdir(two, 0700) < 0 && errno == ENOSYS);
	EXPECT(symlink(one, two) < 0 && errno == ENOSYS);
	EXPECT(open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0);
	EXPECT(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
	return 0;
}

static int calls(const struct mse_sandbox *sandbox)
{
	char *const argv[] = { (char *)"true", NULL };

	if (!sandbox->calls)
		return SKIPPED;
	EXPECT(execv("/bin/true", argv) < 0 && errno == EPERM);
	EXPECT(fork() < 0 && errno == EPERM);
	EXPECT(kill(getppid(), 0) < 0 && errno == EPERM);
	EXPECT(syscall(SYS_ptrace, 0, 0, 0, 0) < 0 && errno == EPERM);
	EXPECT(setuid(getuid()) < 0 && errno == EPERM);
	EXPECT(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS);
	EXPECT(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 && errno == ENOSYS);
	EXPECT(ioctl(0, TIOCSTI, "x") < 0 && errno == ENOSYS);
	EXPECT(chdir("/") < 0 && errno == ENOSYS);
	EXPECT(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
	return 0;
}

#ifdef __x86_64__
static int another_architecture(const struct mse_sandbox *sandbox)
{
	if (!sandbox->calls)
		return SKIPPED;
	(void)syscall(0x40000000 | SYS_getpid); /* x32's */
	return 1;
}
#endif

static void *thread(void *context)
{
	*(int *)context = 1;
	return context;
}

static int what_is_needed(const struct mse_sandbox *sandbox)
{
	struct addrinfo *found = NULL;
	pthread_t one;
	int ran = 0;

	EXPECT(pthread_create(&one, NULL, thread, &ran) == 0);
	EXPECT(pthread_join(one, NULL) == 0 && ran == 1);
	/* The container of a test may resolve nothing; it must not die. */
	if (getaddrinfo("localhost", "80", NULL, &found) == 0)
		freeaddrinfo(found);
	EXPECT(socket(AF_INET6, SOCK_STREAM, 0) >= 0 ||
	       errno == EAFNOSUPPORT);
	EXPECT(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	EXPECT(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	/* Of an int argument the kernel reads the lower half. */
	EXPECT(syscall(SYS_socket, (1L << 32) + AF_UNIX, SOCK_STREAM, 0) >= 0);
	EXPECT(!isatty(open("/dev/null", O_RDONLY)));
	return 0;
}

static int dumps(const struct mse_sandbox *sandbox)
{
	struct rlimit limit;

	EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	       sandbox->calls);
	EXPECT(getrlimit(RLIMIT_CORE, &limit) == 0);
	EXPECT(limit.rlim_cur == 0 && limit.rlim_max == 0);
	return 0;
}

static void test_writes(void **state)
{
	expect_good(writes);
}

static void test_calls(void **state)
{
	expect_good(calls);
}

#ifdef __x86_64__
static void test_another_architecture(void **state)
{
	int status = in_sandbox(another_architecture);

	if (status == SKIPPED)
		skip();
	assert_int_equal(status, -SIGSYS);
}
#endif

static void test_what_is_needed(void **state)
{
	expect_good(what_is_needed);
}

static void test_dumps(void **state)
{
	pid_t pid;
	int status;

	expect_good(dumps);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		mse_sandbox_no_dumps();
		_exit(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_calls),
#ifdef __x86_64__
		cmocka_unit_test(test_another_architecture),
#endif
		cmocka_unit_test(test_what_is_needed),
		cmocka_unit_test(test_dumps),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
