/*
 * seccomp: the system calls that are left.
 *
 * Invariant: what is not listed fails with ENOSYS, as on a kernel that does
 * not have it, so that libraries of another age than this list fall back on
 * what they did before; never is a process killed for a call, except for one
 * by another architecture's numbers. glibc and its name services, libcurl,
 * OpenSSL, SQLite and libevent of Debian 12 and 13 get along with the list.
 *
 * The filter is written out as the kernel wants it, for lack of a library
 * that every system has: load the number, compare it with one after the
 * other, allow on the first that is equal. The common ones come first.
 */
#include "mse-config.h"

#include "daemon/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#  define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#  define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#  define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#  define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#  define ARCHITECTURE AUDIT_ARCH_S390X
#endif

#ifdef ARCHITECTURE

/* Calls that are allowed whatever their arguments. */
static const unsigned int calls[] = {
	/* the loop, the journal, the ledger */
	SYS_read, SYS_write, SYS_futex, SYS_epoll_pwait, SYS_epoll_ctl,
	SYS_pread64, SYS_pwrite64, SYS_fstat, SYS_fdatasync, SYS_fsync,
	SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_readv,
	SYS_writev, SYS_preadv, SYS_pwritev, SYS_clock_gettime,
	SYS_gettimeofday, SYS_close, SYS_openat, SYS_fcntl, SYS_lseek,
	SYS_statx, SYS_faccessat, SYS_readlinkat, SYS_getdents64, SYS_getcwd,
	SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_ftruncate, SYS_fallocate,
	SYS_sync_file_range, SYS_fchmod, SYS_fchmodat, SYS_flock,
	SYS_fadvise64, SYS_statfs, SYS_fstatfs, SYS_umask, SYS_fchown,
	SYS_utimensat, SYS_inotify_init1, SYS_inotify_add_watch,
	SYS_inotify_rm_watch, SYS_eventfd2, SYS_timerfd_create,
	SYS_timerfd_settime, SYS_signalfd4, SYS_epoll_create1, SYS_ppoll,
	SYS_pselect6, SYS_pipe2, SYS_dup, SYS_dup3,
#ifdef SYS_newfstatat
	SYS_newfstatat,
#endif
#ifdef SYS_renameat
	SYS_renameat,
#endif
#ifdef SYS_faccessat2
	SYS_faccessat2,
#endif
#ifdef SYS_epoll_pwait2
	SYS_epoll_pwait2,
#endif
#ifdef SYS_close_range
	SYS_close_range,
#endif
#ifdef SYS_preadv2
	SYS_preadv2, SYS_pwritev2,
#endif
	/* the network */
	SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept,
	SYS_accept4, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
	SYS_setsockopt, SYS_shutdown, SYS_sendmmsg, SYS_recvmmsg,
	SYS_sendfile,
	/* memory, threads, signals, time */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
	SYS_mlock, SYS_munlock, SYS_mincore, SYS_membarrier,
	SYS_set_robust_list, SYS_get_robust_list, SYS_set_tid_address,
	SYS_exit, SYS_exit_group, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_rt_sigsuspend,
	SYS_sigaltstack, SYS_tgkill, SYS_restart_syscall, SYS_clock_getres,
	SYS_clock_nanosleep, SYS_nanosleep, SYS_sched_yield,
	SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
	SYS_getcpu,
#ifdef SYS_mlock2
	SYS_mlock2,
#endif
#ifdef SYS_rseq
	SYS_rseq,
#endif
#ifdef SYS_arch_prctl
	SYS_arch_prctl,
#endif
#ifdef SYS_riscv_flush_icache
	SYS_riscv_flush_icache, SYS_riscv_hwprobe,
#endif
	/* who and where we are */
	SYS_getrandom, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid,
	SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid,
	SYS_getgroups, SYS_uname, SYS_sysinfo, SYS_prlimit64, SYS_getrusage,
	SYS_times,
	/* what older architectures have besides, and their libc still uses */
#ifdef SYS_open
	SYS_open,
#endif
#ifdef SYS_stat
	SYS_stat,
#endif
#ifdef SYS_lstat
	SYS_lstat,
#endif
#ifdef SYS_access
	SYS_access,
#endif
#ifdef SYS_readlink
	SYS_readlink,
#endif
#ifdef SYS_getdents
	SYS_getdents,
#endif
#ifdef SYS_unlink
	SYS_unlink,
#endif
#ifdef SYS_rename
	SYS_rename,
#endif
#ifdef SYS_link
	SYS_link,
#endif
#ifdef SYS_chmod
	SYS_chmod,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_select
	SYS_select,
#endif
#ifdef SYS_pipe
	SYS_pipe,
#endif
#ifdef SYS_dup2
	SYS_dup2,
#endif
#ifdef SYS_epoll_create
	SYS_epoll_create,
#endif
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
#ifdef SYS_inotify_init
	SYS_inotify_init,
#endif
#ifdef SYS_eventfd
	SYS_eventfd,
#endif
#ifdef SYS_time
	SYS_time,
#endif
#ifdef SYS_getrlimit
	SYS_getrlimit,
#endif
};

/* Told apart from calls that do not exist: nothing falls back on these. */
static const unsigned int forbidden[] = {
	SYS_execve, SYS_execveat, SYS_ptrace, SYS_kill, SYS_tkill, SYS_setuid,
	SYS_setgid, SYS_setgroups, SYS_setresuid, SYS_setresgid, SYS_mount,
	SYS_umount2, SYS_chroot, SYS_unshare, SYS_setns,
	SYS_process_vm_readv, SYS_process_vm_writev, SYS_add_key,
	SYS_keyctl, SYS_request_key, SYS_bpf, SYS_perf_event_open,
#ifdef SYS_fork
	SYS_fork,
#endif
#ifdef SYS_vfork
	SYS_vfork,
#endif
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
#define ERRNO(number) (SECCOMP_RET_ERRNO | (number))
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#  define LOW 0
#else
#  define LOW 4
#endif
#define NUMBER ((unsigned int)offsetof(struct seccomp_data, nr))
#define ARGUMENT(n) \
	((unsigned int)(offsetof(struct seccomp_data, args[n]) + LOW))

#define FILTER_MAX 1024

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void add(struct filter *filter, unsigned int code, unsigned int k,
		unsigned int jump_true, unsigned int jump_false)
{
	const struct sock_filter one = {
		(unsigned short)code, (unsigned char)jump_true,
		(unsigned char)jump_false, k
	};

	if (filter->len < FILTER_MAX)
		filter->code[filter->len++] = one;
}

static void load(struct filter *filter, unsigned int offset)
{
	add(filter, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void answer(struct filter *filter, unsigned int action)
{
	add(filter, BPF_RET | BPF_K, action, 0, 0);
}

/* If what was loaded last is one of the list. */
static void answer_if(struct filter *filter, const unsigned int *list,
		      size_t count, unsigned int action)
{
	size_t i;

	for (i = 0; i < count; i++) {
		add(filter, BPF_JMP | BPF_JEQ | BPF_K, list[i], 0, 1);
		answer(filter, action);
	}
}

/* One call whose argument must be in the list. */
static void allow_if(struct filter *filter, unsigned int call,
		     unsigned int argument, const unsigned int *list,
		     size_t count, unsigned int otherwise)
{
	add(filter, BPF_JMP | BPF_JEQ | BPF_K, call, 0,
	    (unsigned int)(2 * count + 2));
	load(filter, ARGUMENT(argument));
	answer_if(filter, list, count, SECCOMP_RET_ALLOW);
	answer(filter, otherwise);
}

/* Threads, no processes. clone3() keeps its flags in memory that a filter
   cannot read: without it libc takes clone(). */
static void allow_threads(struct filter *filter)
{
	add(filter, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
#ifdef __s390x__
	load(filter, ARGUMENT(1));
#else
	load(filter, ARGUMENT(0));
#endif
	add(filter, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
	answer(filter, SECCOMP_RET_ALLOW);
	answer(filter, ERRNO(EPERM));
}

static void write_filter(struct filter *filter)
{
	load(filter, (unsigned int)offsetof(struct seccomp_data, arch));
	add(filter, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	answer(filter, SECCOMP_RET_KILL_PROCESS);
	load(filter, NUMBER);
	answer_if(filter, calls, COUNT(calls), SECCOMP_RET_ALLOW);
	allow_if(filter, SYS_socket, 0, socket_families,
		 COUNT(socket_families), ERRNO(EAFNOSUPPORT));
	allow_if(filter, SYS_ioctl, 1, ioctls, COUNT(ioctls), ERRNO(ENOTTY));
	allow_if(filter, SYS_prctl, 0, prctls, COUNT(prctls), ERRNO(EPERM));
	allow_threads(filter);
	answer_if(filter, forbidden, COUNT(forbidden), ERRNO(EPERM));
	answer(filter, ERRNO(ENOSYS));
}

int mse_sandbox_restrict_calls(void)
{
	struct filter *filter = calloc(1, sizeof(*filter));
	struct sock_fprog program;
	int ret = -1;

	if (filter == NULL) {
		errno = ENOMEM;
		return -1;
	}
	write_filter(filter);
	program.len = filter->len;
	program.filter = filter->code;
	if (filter->len < FILTER_MAX)
		ret = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	free(filter);
	return ret;
}

#else

int mse_sandbox_restrict_calls(void)
{
	return -1;
}

#endif
