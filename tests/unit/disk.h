#ifndef TEST_DISK_H
#define TEST_DISK_H

#include <stddef.h>

/*
 * What a power cut leaves. Linked into a test program, this stands before
 * libc and keeps a log of all that is done to the files of one directory
 * (SQLite's too). From it the directory can be made as it would be on disk
 * after a cut at any point of the log:
 *
 *   - octets are there once fsync or fdatasync of their file returned,
 *   - names are there once fsync of the directory returned,
 *   - of what came after that, whatever the policy says: nothing, all of it,
 *     or some: of the names those before a point (file systems keep their
 *     order), of the writes any, whole or cut in the middle, with zeros
 *     where one is missing.
 *
 * One thread, one directory, no mmap.
 */
enum disk_policy { DISK_NOTHING, DISK_SOME, DISK_ALL };

void disk_watch(const char *dir);
/* So far: a point to cut at. */
size_t disk_now(void);
/* Stops the log. */
void disk_stop(void);
void disk_forget(void);
/* Once, before the next sync of a directory in which something was renamed
   since the last: what another process does just then. */
void disk_before_names(void (*happens)(void));
/* Makes dir (empty, not the one watched) as it is after a cut behind the
   first `cut` steps. */
void disk_after_cut(size_t cut, enum disk_policy policy, unsigned int seed,
		    const char *dir);
/* What /proc says from now on: another boot. */
void disk_boot(unsigned int number);
/* From now on the n-th sync fails, and what it should have written is never
   tried again: the kernel takes it for clean. 0: none. */
void disk_fail_sync(unsigned int n);

#endif
