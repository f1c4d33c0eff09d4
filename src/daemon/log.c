/*
 * The only place that logs.
 *
 * Invariant: a message is one line, and a write() has whole lines, so that
 * those of several processes on one pipe never mix; what is no printable text
 * in a message (an answer's words, a mailbox name) cannot forge another line.
 *
 * Thousands of deliveries a second are as many lines: what is no worse than
 * information waits in `held` until the loop's pass ends.
 */
#include "mse-config.h"

#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

/* A pipe takes this much at once (PIPE_BUF). */
#define MSE_LOG_HELD_MAX 4096
#define MSE_LOG_LINE_MAX 2048

/* "": Dovecot does not read it. */
static char mse_log_pid[16];
static bool mse_log_holds;
static char held[MSE_LOG_HELD_MAX];
static size_t held_len;

void mse_log_init(void)
{
	const char *service = getenv("LOG_SERVICE");

	mse_log_pid[0] = '\0';
	if (service != NULL && *service != '\0')
		(void)snprintf(mse_log_pid, sizeof(mse_log_pid), "%ld",
			       (long)getpid());
}

static int mse_log_prefix(enum mse_log_level level, char *line, size_t size)
{
	static const char *const names[] = {
		"Debug: ", "Info: ", "Warning: ", "Error: "
	};

	/* Dovecot's enum log_type has our order; on the wire it counts from
	   1 (its lib/failures.c). */
	if (mse_log_pid[0] != '\0')
		return snprintf(line, size, "\001%c%s ", (int)level + 1,
				mse_log_pid);
	return snprintf(line, size, "mailhookd: %s", names[level]);
}

void mse_log_flush(void)
{
	size_t len = held_len;

	held_len = 0;
	if (len > 0)
		(void)mse_file_write_all(STDERR_FILENO, held, len, NULL);
}

void mse_log_hold(bool hold)
{
	mse_log_holds = hold;
	if (!hold)
		mse_log_flush();
}

void mse_log_text(enum mse_log_level level, const char *text, void *context)
{
	char *line;
	size_t len;

	if (MSE_LOG_HELD_MAX - held_len < MSE_LOG_LINE_MAX)
		mse_log_flush();
	line = held + held_len;
	len = (size_t)mse_log_prefix(level, line, MSE_LOG_LINE_MAX);
	for (; *text != '\0' && len < MSE_LOG_LINE_MAX - 1; text++)
		line[len++] = (unsigned char)*text < 0x20 || *text == 0x7f ?
			' ' : *text;
	line[len++] = '\n';
	held_len += len;
	if (!mse_log_holds || level > MSE_LOG_INFO)
		mse_log_flush();
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
