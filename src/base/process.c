/*
 * The process's id, remembered. Invariant: never another process's: if the C
 * library cannot be made to tell of a fork(), nothing is remembered.
 */
#include "base/process.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool told_of_forks;
static pid_t known; /* 0: not asked yet */

static void forget(void)
{
	__atomic_store_n(&known, 0, __ATOMIC_RELAXED);
}

static void hear_of_forks(void)
{
	told_of_forks = pthread_atfork(NULL, NULL, forget) == 0;
}

pid_t mse_process_id(void)
{
	pid_t id = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (id != 0)
		return id;
	id = getpid();
	if (pthread_once(&once, hear_of_forks) == 0 && told_of_forks)
		__atomic_store_n(&known, id, __ATOMIC_RELAXED);
	return id;
}
