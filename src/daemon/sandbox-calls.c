/*
 * seccomp: the system calls that are left.
 *
 * Invariant: what is not listed fails with ENOSYS, as on a kernel that does
 * not have it, so that libraries of another age than this list fall back on
 * what they did before; never is a process killed for a call, except for one
 * by another architecture's numbers. glibc and its name services, libcurl,
 * OpenSSL, SQLite and libevent of Debian 12 and 13 get along with the list.
 */
#include "mse-config.h"

#include "daemon/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Calls that are allowed whatever their arguments. libseccomp passes over
   those that this architecture does not have. */
static const int calls[] = {
	/* the loop, the journal, the ledger */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(futex), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
	SCMP_SYS(fstat), SCMP_SYS(fdatasync), SCMP_SYS(fsync),
	SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(preadv),
	SCMP_SYS(pwritev), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
	SCMP_SYS(close), SCMP_SYS(openat), SCMP_SYS(fcntl), SCMP_SYS(lseek),
	SCMP_SYS(statx), SCMP_SYS(faccessat), SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(unlinkat),
	SCMP_SYS(renameat2), SCMP_SYS(linkat), SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate), SCMP_SYS(sync_file_range), SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat), SCMP_SYS(flock), SCMP_SYS(fadvise64),
	SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(umask), SCMP_SYS(fchown),
	SCMP_SYS(utimensat), SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(signalfd4), SCMP_SYS(epoll_create1), SCMP_SYS(ppoll),
	SCMP_SYS(pselect6), SCMP_SYS(pipe2), SCMP_SYS(dup), SCMP_SYS(dup3),
	SCMP_SYS(newfstatat), SCMP_SYS(renameat), SCMP_SYS(faccessat2),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(close_range), SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	/* the network */
	SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind),
	SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg), SCMP_SYS(sendfile),
	/* memory, threads, signals, time */
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
	SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(munlock),
	SCMP_SYS(mincore), SCMP_SYS(membarrier), SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigsuspend), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
	SCMP_SYS(restart_syscall), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler), SCMP_SYS(getcpu), SCMP_SYS(mlock2),
	SCMP_SYS(rseq), SCMP_SYS(arch_prctl), SCMP_SYS(riscv_flush_icache),
	/* who and where we are */
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid),
	SCMP_SYS(getresgid), SCMP_SYS(getgroups), SCMP_SYS(uname),
	SCMP_SYS(sysinfo), SCMP_SYS(prlimit64), SCMP_SYS(getrusage),
	SCMP_SYS(times),
	/* what older architectures have besides, and their libc still uses */
	SCMP_SYS(open), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(access),
	SCMP_SYS(readlink), SCMP_SYS(getdents), SCMP_SYS(unlink),
	SCMP_SYS(rename), SCMP_SYS(link), SCMP_SYS(chmod), SCMP_SYS(poll),
	SCMP_SYS(select), SCMP_SYS(pipe), SCMP_SYS(dup2),
	SCMP_SYS(epoll_create), SCMP_SYS(epoll_wait), SCMP_SYS(inotify_init),
	SCMP_SYS(eventfd), SCMP_SYS(time), SCMP_SYS(getrlimit),
#ifdef __SNR_riscv_hwprobe /* libseccomp 2.6 */
	SCMP_SYS(riscv_hwprobe),
#endif
};

/* Told apart from calls that do not exist: nothing falls back on these. */
static const int forbidden[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(kill),
	SCMP_SYS(tkill), SCMP_SYS(setuid), SCMP_SYS(setgid),
	SCMP_SYS(setgroups), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(chroot), SCMP_SYS(unshare),
	SCMP_SYS(setns), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(add_key), SCMP_SYS(keyctl),
	SCMP_SYS(request_key), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
	SCMP_SYS(fork), SCMP_SYS(vfork),
};

static const unsigned int socket_families[] = {
	AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
};
/* isatty(), and what getaddrinfo() asks of interfaces. */
static const unsigned int ioctls[] = {
	FIONREAD, FIONBIO, FIOCLEX, 0x5401 /* TCGETS */,
	0x8910 /* SIOCGIFNAME */, 0x8912 /* SIOCGIFCONF */,
	0x8913 /* SIOCGIFFLAGS */, 0x8933 /* SIOCGIFINDEX */
};
static const unsigned int prctls[] = {
	PR_SET_NAME, PR_GET_NAME, 0x53564d41 /* PR_SET_VMA */
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* All of these return 0 or, as libseccomp does, an error below 0. */

static int answer(scmp_filter_ctx filter, const int *list, size_t count,
		  uint32_t action)
{
	int ret = 0;
	size_t i;

	for (i = 0; ret == 0 && i < count; i++)
		ret = seccomp_rule_add(filter, action, list[i], 0);
	return ret;
}

/* One call whose argument must be in the list. These arguments are int, so
   what a register holds above them means nothing. */
static int allow_if(scmp_filter_ctx filter, int call, unsigned int argument,
		    const unsigned int *list, size_t count)
{
	int ret = 0;
	size_t i;

	for (i = 0; ret == 0 && i < count; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
				       SCMP_CMP(argument, SCMP_CMP_MASKED_EQ,
						UINT32_MAX, list[i]));
	return ret;
}

/* Threads, no processes. clone3() keeps its flags in memory that a filter
   cannot read: without it libc takes clone(). */
static int allow_threads(scmp_filter_ctx filter)
{
#ifdef __s390x__
	const unsigned int flags = 1;
#else
	const unsigned int flags = 0;
#endif
	int ret;

	ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			       SCMP_CMP(flags, SCMP_CMP_MASKED_EQ,
					CLONE_THREAD, CLONE_THREAD));
	if (ret < 0)
		return ret;
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone),
				1, SCMP_CMP(flags, SCMP_CMP_MASKED_EQ,
					    CLONE_THREAD, 0));
}

static int add_rules(scmp_filter_ctx filter)
{
	int ret;

	ret = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
			       SCMP_ACT_KILL_PROCESS);
	if (ret == 0)
		ret = answer(filter, calls, COUNT(calls), SCMP_ACT_ALLOW);
	if (ret == 0)
		ret = answer(filter, forbidden, COUNT(forbidden),
			     SCMP_ACT_ERRNO(EPERM));
	if (ret == 0)
		ret = allow_if(filter, SCMP_SYS(socket), 0, socket_families,
			       COUNT(socket_families));
	if (ret == 0)
		ret = allow_if(filter, SCMP_SYS(ioctl), 1, ioctls,
			       COUNT(ioctls));
	if (ret == 0)
		ret = allow_if(filter, SCMP_SYS(prctl), 0, prctls,
			       COUNT(prctls));
	return ret == 0 ? allow_threads(filter) : ret;
}

int mse_sandbox_restrict_calls(void)
{
	scmp_filter_ctx filter;
	int ret;

	/* A 32-bit system has other calls besides (…64, …_time64), with which
	   nobody has tried this. */
	if (sizeof(void *) < 8)
		return -1;
	filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (filter == NULL)
		return -1;
	ret = add_rules(filter);
	if (ret == 0)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	if (ret == 0)
		return 0;
	errno = -ret;
	return -1;
}
