/*
 * The only place that logs.
 *
 * Invariant: one message is one line and one write(), so that lines of
 * several processes on one pipe never mix; what is no printable text in a
 * message (an answer's words, a mailbox name) cannot forge another line.
 */
#include "mse-config.h"

#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

static bool mse_log_for_dovecot;

void mse_log_init(void)
{
	const char *service = getenv("LOG_SERVICE");

	mse_log_for_dovecot = service != NULL && *service != '\0';
}

static int mse_log_prefix(enum mse_log_level level, char *line, size_t size)
{
	static const char *const names[] = {
		"Debug: ", "Info: ", "Warning: ", "Error: "
	};

	/* Dovecot's enum log_type has our order; on the wire it counts from
	   1 (its lib/failures.c). */
	if (mse_log_for_dovecot)
		return snprintf(line, size, "\001%c%ld ", (int)level + 1,
				(long)getpid());
	return snprintf(line, size, "mailhookd: %s", names[level]);
}

void mse_log_text(enum mse_log_level level, const char *text, void *context)
{
	char line[2048];
	size_t len = (size_t)mse_log_prefix(level, line, sizeof(line));

	for (; *text != '\0' && len < sizeof(line) - 1; text++)
		line[len++] = (unsigned char)*text < 0x20 || *text == 0x7f ?
			' ' : *text;
	line[len++] = '\n';
	(void)mse_file_write_all(STDERR_FILENO, line, len, NULL);
}

void mse_log(enum mse_log_level level, const char *format, ...)
{
	char text[2000];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mse_log_text(level, text, NULL);
}
