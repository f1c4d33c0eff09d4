#ifndef MSE_BASE_ERROR_H
#define MSE_BASE_ERROR_H

#include <stddef.h>

#define MSE_ERROR_SIZE 512

/*
 * What went wrong, as one sentence for a person. Embedded by the caller,
 * untouched on success, cut (never overrun) at MSE_ERROR_SIZE. Libraries
 * return it; only daemon/ and ctl/ show it.
 */
struct mse_error {
	char text[MSE_ERROR_SIZE];
};

/* Sets the sentence and returns -1, so that `return mse_error_set(…)` reads
   well. error_r may be NULL. */
int mse_error_set(struct mse_error *error_r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Puts context in front of an error on its way up. Returns -1. */
int mse_error_prefix(struct mse_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
