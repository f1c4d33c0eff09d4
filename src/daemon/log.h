#ifndef MSE_DAEMON_LOG_H
#define MSE_DAEMON_LOG_H

#include "deliver/deliver.h"

/* To standard error, one line each. Under Dovecot's master ($LOG_SERVICE is
   set) as its log service wants it: SOH, the level's octet, pid, text. */
void mse_log_init(void);
/* Lines of no urgency are kept together until mse_log_flush() (or until
   there are too many); the loop does that after each pass. */
void mse_log_hold(bool hold);
void mse_log_flush(void);
void mse_log(enum mse_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* For mse_deliver_parts. */
void mse_log_text(enum mse_log_level level, const char *text, void *context);

#endif
