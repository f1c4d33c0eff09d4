#ifndef MSE_DAEMON_MEMORY_H
#define MSE_DAEMON_MEMORY_H

/*
 * What an idle daemon gives back: memory that was freed and that malloc kept,
 * and its hold on the code of libraries. Nothing changes but how long the next
 * use of it takes, some tenths of a millisecond in all. In any thread, while
 * others run.
 */
void mse_memory_give_back(void);

#endif
