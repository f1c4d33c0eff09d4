#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <stdbool.h>

/*
 * Makes calls into the C library fail when a test wants it: the n-th of a
 * kind, and perhaps some after it. Linked into a test program, it stands
 * before libc for everything the program calls, the libraries it uses
 * (SQLite, json-c, OpenSSL) included; under AddressSanitizer, which has its
 * own malloc, memory fails for our own code only.
 *
 * fsync and fdatasync never reach the disk here: they succeed at once, or
 * fail when it is their turn. Threads are not told apart: one at a time.
 */
enum {
	FAULT_MEMORY = 1, /* malloc calloc realloc */
	FAULT_WRITE = 2,  /* write pwrite ftruncate fallocate */
	FAULT_SYNC = 4,   /* fsync fdatasync */
	FAULT_NAME = 8,   /* open rename link unlink fchmod */
	FAULT_READ = 16,  /* read pread fstat fstatat, locks, inotify */
	FAULT_CALL = 32   /* of what a test stands before itself */
};

/* Calls number at … at + burst - 1 (from 1) of these kinds fail with error.
   cut: a write puts half of its octets down first, if it can. */
void faults_arm(unsigned int kinds, unsigned long at, unsigned long burst,
		int error, bool cut);
/* Returns how many calls of these kinds there were. */
unsigned long faults_disarm(void);
/* For a call that is to fail when it is its turn: whether it is. Counts it. */
bool faults_strike(unsigned int kind);
/* Nothing fails and nothing counts in between; they nest. */
void faults_pause(void);
void faults_resume(void);
/* Whether the armed fault came to pass. */
bool faults_happened(void);
/* Blocks of memory in use; 0 where it is not counted (sanitizers). */
long faults_blocks(void);
const char *faults_kind_name(unsigned int kind);

#endif
