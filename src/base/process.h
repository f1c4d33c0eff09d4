#ifndef MSE_BASE_PROCESS_H
#define MSE_BASE_PROCESS_H

#include <sys/types.h>

/* getpid() without its system call: asked once, and once more in each child
   that fork() makes. */
pid_t mse_process_id(void);

#endif
