#ifndef MSE_DAEMON_PRIVATE_H
#define MSE_DAEMON_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/daemon.h"
#include "event/uuid.h"

struct event;
struct event_base;

#define MSE_SAFETY_MS 60000       /* idle, the daemon wakes this often */
#define MSE_LOCK_WAIT_MS 10000    /* for the predecessor to leave */
#define MSE_STOP_WAIT_MS 5000     /* for answers */
#define MSE_GENERATION_MS ((int64_t)3600 * 1000)
#define MSE_FILES_MS 1000         /* awake, it looks no more often */
#define MSE_THICK_US 250          /* events come closer than that: */
#define MSE_REST_US 400           /* it is not woken for so long */
#define MSE_IDLE_MS 10000         /* then it gives memory back */
#define MSE_SIGNALS 3
#define MSE_OLD_CONFS 16          /* then a reload waits for answers */

struct mse_daemon {
	struct mse_daemon_options options;
	struct event_base *base;
	/* conf is in force; those before live until deliver has let go of
	   them. */
	struct mse_conf *conf, *old_confs[MSE_OLD_CONFS];
	unsigned int old_conf_count;
	struct mse_journal *journal;
	struct mse_ledger_worker *ledger;
	struct mse_appender *appender;
	struct mse_derive *derive;
	struct mse_deliver *deliver;
	struct mse_http *http;
	struct mse_control *control;
	struct mse_overview *overview;
	struct mse_web *web;

	struct event *timer, *watch, *rest, *completions, *stop_pipe;
	struct event *signals[MSE_SIGNALS];
	int rest_fd;       /* a timer's; -1: it never rests */

	char server_fqdn[256];
	uint64_t generation;
	int64_t generation_at_ms; /* the next */
	bool ledger_rebuilt;
	char current_file[MSE_UUID_SIZE]; /* when upkeep last ran */
	uint64_t forced_releases; /* journal files some endpoint had not read */
	int64_t started_ms, derive_at_ms, upkeep_at_ms, files_at_ms;
	int64_t grew_at_us; /* the last time the journal woke us */
	int64_t busy_at_ms; /* the last time there was something to do */
	bool gave_back;     /* since then */
	bool derive_due;   /* the journal grew or commits completed */
	bool reload_due;   /* as soon as it may */
	bool hurry;        /* a tail has more to read: pass again at once */
	bool stopping, cancelled, quit;
	int64_t stop_at_ms;
};

/* daemon-parts.c */
int mse_daemon_parts_new(struct mse_daemon *daemon, struct mse_error *error_r);
void mse_daemon_parts_free(struct mse_daemon *daemon);
const char *mse_daemon_server_name(const struct mse_daemon *daemon);

/* daemon-generation.c */
/* Compares ledger, journal and presence, and begins the next generation.
   had_journal: there was one before this start. */
int mse_daemon_generation_begin(struct mse_daemon *daemon, bool had_journal,
				struct mse_error *error_r);
/* Counts one up, so that a backup of the ledger that was taken before is told
   from it. */
int mse_daemon_generation_next(struct mse_daemon *daemon,
			       struct mse_error *error_r);
/* Every configured endpoint has its cursor. */
int mse_daemon_generation_done(struct mse_daemon *daemon,
			       struct mse_error *error_r);

/* daemon-upkeep.c */
/* Writes the union of what the endpoints want. */
int mse_daemon_write_interest(struct mse_daemon *daemon,
			      struct mse_error *error_r);
/* False while reloads before, and too many of them, let requests be
   answered. */
bool mse_daemon_may_reload(const struct mse_daemon *daemon);
/* Configurations that nobody needs any more; all: there is nobody. */
void mse_daemon_forget_confs(struct mse_daemon *daemon, bool all);
/* Reads the configuration again, if it may. On a mistake the running one
   stays in force. On success the new interest is in place. */
int mse_daemon_reload(struct mse_daemon *daemon, struct mse_error *error_r);
/* Warns of a configuration that others than its owner may read or write. */
void mse_daemon_look_at_rights(const struct mse_daemon *daemon);
/* Secrets, tokens and certificates that changed are in use from now on. */
void mse_daemon_look_at_files(struct mse_daemon *daemon, int64_t now);
/* Releases journal files and tells producers how much they may append. */
void mse_daemon_upkeep(struct mse_daemon *daemon);

/* daemon.c */
void mse_daemon_stop(struct mse_daemon *daemon, const char *why);
int64_t mse_daemon_now(void);

#endif
