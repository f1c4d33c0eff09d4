/*
 * One sentence about what went wrong. Invariant: always NUL-terminated, cut
 * rather than overrun, untouched on success.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mse_error_set(struct mse_error *error_r, const char *format, ...)
{
	va_list args;

	if (error_r == NULL)
		return -1;
	va_start(args, format);
	vsnprintf(error_r->text, sizeof(error_r->text), format, args);
	va_end(args);
	return -1;
}

int mse_error_prefix(struct mse_error *error, const char *format, ...)
{
	struct mse_error prefixed;
	va_list args;
	size_t len;

	if (error == NULL)
		return -1;
	va_start(args, format);
	vsnprintf(prefixed.text, sizeof(prefixed.text), format, args);
	va_end(args);
	len = strlen(prefixed.text);
	snprintf(prefixed.text + len, sizeof(prefixed.text) - len, "%s",
		 error->text);
	*error = prefixed;
	return -1;
}
