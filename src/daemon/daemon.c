/*
 * The loop: whatever woke the daemon, one pass then gives every part the
 * chance to do what it now can, and the timer is set to the earliest time
 * that any of them named.
 *
 * Invariant: idle, it wakes for the journal's inotify and the safety timer
 * only. Stopping, nothing new is sent and the ledger's lock is released
 * after the last commit.
 */
#include "mse-config.h"

#include "daemon/daemon-private.h"

#include <event2/event.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/memory.h"
#include "daemon/overview.h"
#include "daemon/web.h"
#include "deliver/deliver.h"
#include "derive/derive.h"
#include "http/http.h"
#include "journal/journal.h"
#include "ledger/worker.h"

int64_t mse_daemon_now(void)
{
	return mse_clock_mono(&mse_clock_system);
}

void mse_daemon_stop(struct mse_daemon *daemon, const char *why)
{
	if (daemon->stopping)
		return;
	mse_log(MSE_LOG_INFO, "stopping: %s", why);
	daemon->stopping = true;
	daemon->stop_at_ms = mse_daemon_now() + MSE_STOP_WAIT_MS;
	mse_deliver_stop(daemon->deliver);
}

static void mse_daemon_signalled(evutil_socket_t signo, short what,
				 void *context)
{
	struct mse_daemon *daemon = context;

	if (signo == SIGHUP)
		daemon->reload_due = true;
	else
		mse_daemon_stop(daemon, signo == SIGTERM ? "SIGTERM" :
				"SIGINT");
}

/* Dovecot's master never writes to its dead pipe: it closes it. */
static void mse_daemon_stop_pipe(evutil_socket_t fd, short what, void *context)
{
	struct mse_daemon *daemon = context;
	char octet;

	if (read(fd, &octet, 1) > 0)
		return;
	(void)event_del(daemon->stop_pipe);
	mse_daemon_stop(daemon, "Dovecot stops or reloads");
}

static int64_t mse_daemon_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Waking us costs a mail process more than its append. Where events come
   thick, that is done with for a moment: what comes meanwhile is read at its
   end. With a timer of the kernel's own: libevent's go by a clock that moves
   every four milliseconds or so, and so late would they be. */
static void mse_daemon_rest(struct mse_daemon *daemon)
{
	static const struct itimerspec moment = {
		.it_value = { 0, MSE_REST_US * 1000 }
	};

	if (timerfd_settime(daemon->rest_fd, 0, &moment, NULL) == 0)
		(void)event_del(daemon->watch);
}

static void mse_daemon_grew(evutil_socket_t fd, short what, void *context)
{
	struct mse_daemon *daemon = context;
	int64_t now_us = mse_daemon_now_us();

	(void)mse_journal_watch_drain(daemon->journal);
	daemon->derive_due = true;
	if (now_us - daemon->grew_at_us < MSE_THICK_US)
		mse_daemon_rest(daemon);
	daemon->grew_at_us = now_us;
	daemon->busy_at_ms = now_us / 1000;
}

static void mse_daemon_rested(evutil_socket_t fd, short what, void *context)
{
	struct mse_daemon *daemon = context;
	uint64_t times;

	if (read(fd, &times, sizeof(times)) != (ssize_t)sizeof(times))
		return;
	if (mse_journal_watch_drain(daemon->journal)) {
		daemon->derive_due = true;
		daemon->busy_at_ms = mse_daemon_now();
	} else if (event_add(daemon->watch, NULL) == 0) {
		return;
	}
	mse_daemon_rest(daemon);
}

static void mse_daemon_committed(evutil_socket_t fd, short what,
				 void *context)
{
	struct mse_daemon *daemon = context;

	(void)mse_ledger_worker_dispatch(daemon->ledger);
	daemon->derive_due = true;
}

static void mse_daemon_timer(evutil_socket_t fd, short what, void *context)
{
	/* The pass that follows looks at the clock. */
}

static struct event *mse_daemon_watch(struct mse_daemon *daemon, int fd,
				      short what, event_callback_fn callback)
{
	struct event *ev = event_new(daemon->base, fd, what | EV_PERSIST,
				     callback, daemon);

	if (ev != NULL && event_add(ev, NULL) < 0) {
		event_free(ev);
		ev = NULL;
	}
	return ev;
}

static int mse_daemon_watch_all(struct mse_daemon *daemon,
				struct mse_error *error_r)
{
	static const int signals[MSE_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
	int watch_fd = mse_journal_watch_fd(daemon->journal);
	bool failed = false;
	unsigned int i;

	for (i = 0; i < MSE_SIGNALS; i++) {
		daemon->signals[i] = mse_daemon_watch(daemon, signals[i],
			EV_SIGNAL, mse_daemon_signalled);
		failed = failed || daemon->signals[i] == NULL;
	}
	daemon->timer = evtimer_new(daemon->base, mse_daemon_timer, daemon);
	daemon->completions = mse_daemon_watch(daemon,
		mse_ledger_worker_fd(daemon->ledger), EV_READ,
		mse_daemon_committed);
	daemon->rest_fd = timerfd_create(CLOCK_MONOTONIC,
					 TFD_NONBLOCK | TFD_CLOEXEC);
	daemon->rest = mse_daemon_watch(daemon, daemon->rest_fd, EV_READ,
					mse_daemon_rested);
	if (watch_fd >= 0)
		daemon->watch = mse_daemon_watch(daemon, watch_fd, EV_READ,
						 mse_daemon_grew);
	else
		mse_log(MSE_LOG_WARNING, "inotify is not to be had: the "
			"journal is looked at every minute only");
	if (daemon->options.stop_fd >= 0) {
		daemon->stop_pipe = mse_daemon_watch(daemon,
			daemon->options.stop_fd, EV_READ,
			mse_daemon_stop_pipe);
		failed = failed || daemon->stop_pipe == NULL;
	}
	if (failed || daemon->timer == NULL || daemon->rest == NULL ||
	    daemon->completions == NULL)
		return mse_error_set(error_r, "libevent cannot be set up");
	return 0;
}

/* One reload answers everybody who asked before it. */
static void mse_daemon_run_reload(struct mse_daemon *daemon)
{
	struct mse_error error;
	int ret;

	if (!daemon->reload_due ||
	    (!daemon->stopping && !mse_daemon_may_reload(daemon)))
		return;
	daemon->reload_due = false;
	ret = daemon->stopping ?
		mse_error_set(&error, "mailhookd is stopping; the next one "
			      "reads the configuration at its start") :
		mse_daemon_reload(daemon, &error);
	if (ret < 0)
		mse_log(MSE_LOG_ERROR, "reload: %s", error.text);
	else
		mse_log(MSE_LOG_INFO, "reloaded %s",
			daemon->options.config_path);
	mse_control_reloaded(daemon->control, ret < 0 ? error.text : NULL);
}

static void mse_daemon_run_derive(struct mse_daemon *daemon, int64_t now)
{
	struct mse_error error;
	int64_t at;

	/* Also while stopping: it has its last commit to make. */
	if (!daemon->derive_due && now < daemon->derive_at_ms)
		return;
	daemon->derive_due = false;
	error.text[0] = '\0';
	at = mse_derive_run(daemon->derive, &error);
	if (at == INT64_MAX - 1 && error.text[0] != '\0')
		mse_log(MSE_LOG_WARNING, "%s", error.text);
	/* After an error as well it is asked again, if only by the clock. */
	daemon->derive_at_ms = at < now + MSE_SAFETY_MS ? at :
		now + MSE_SAFETY_MS;
}

static void mse_daemon_run_upkeep(struct mse_daemon *daemon, int64_t now)
{
	const struct mse_journal_file *files;
	unsigned int count;

	files = mse_journal_files(daemon->journal, &count);
	if (now < daemon->upkeep_at_ms && count > 0 &&
	    strcmp(files[count - 1].uuid, daemon->current_file) == 0)
		return;
	mse_daemon_upkeep(daemon);
	daemon->upkeep_at_ms = now + MSE_SAFETY_MS;
}

static void mse_daemon_run_stop(struct mse_daemon *daemon, int64_t now)
{
	if (mse_deliver_is_idle(daemon->deliver) &&
	    mse_derive_is_idle(daemon->derive)) {
		daemon->quit = true;
		return;
	}
	if (now < daemon->stop_at_ms)
		return;
	if (daemon->cancelled) {
		mse_log(MSE_LOG_WARNING, "not everything could be committed "
			"in time: some events will be sent again");
		daemon->quit = true;
		return;
	}
	mse_deliver_cancel(daemon->deliver);
	daemon->cancelled = true;
	daemon->stop_at_ms = now + 1000;
}

/* What nothing has needed for a while. Returns when to ask again: what is out
   or due wakes the daemon itself. */
static int64_t mse_daemon_give_back(struct mse_daemon *daemon, int64_t now)
{
	int64_t at_ms;

	if (!mse_deliver_is_idle(daemon->deliver) ||
	    !mse_derive_is_idle(daemon->derive)) {
		daemon->busy_at_ms = now;
		daemon->gave_back = false;
		return INT64_MAX;
	}
	at_ms = daemon->busy_at_ms + MSE_IDLE_MS;
	if (now < at_ms) {
		daemon->gave_back = false;
		return at_ms;
	}
	if (!daemon->gave_back) {
		mse_http_trim(daemon->http);
		mse_memory_give_back();
	}
	daemon->gave_back = true;
	return INT64_MAX;
}

static void mse_daemon_set_timer(struct mse_daemon *daemon, int64_t at_ms)
{
	int64_t wait_ms = at_ms - mse_daemon_now();
	struct timeval tv;

	if (wait_ms < 0)
		wait_ms = 0;
	tv.tv_sec = wait_ms / 1000;
	tv.tv_usec = (wait_ms % 1000) * 1000;
	(void)evtimer_add(daemon->timer, &tv);
}

static void mse_daemon_pass(struct mse_daemon *daemon)
{
	int64_t now = mse_daemon_now(), at_ms = now + MSE_SAFETY_MS;
	int64_t deliver_at_ms, give_back_at_ms;

	mse_daemon_run_derive(daemon, now);
	mse_daemon_run_reload(daemon);
	mse_daemon_look_at_files(daemon, now);
	deliver_at_ms = mse_deliver_run(daemon->deliver);
	mse_daemon_forget_confs(daemon, false);
	if (daemon->stopping)
		mse_daemon_run_stop(daemon, now);
	else
		mse_daemon_run_upkeep(daemon, now);
	daemon->hurry = false;
	mse_control_pass(daemon->control);
	mse_overview_pass(daemon->overview);
	mse_web_pass(daemon->web);

	/* A reload that waited for what has just been settled. */
	if (daemon->hurry ||
	    (daemon->reload_due && mse_daemon_may_reload(daemon)))
		at_ms = now;
	if (deliver_at_ms < at_ms)
		at_ms = deliver_at_ms;
	if (daemon->derive_at_ms < at_ms)
		at_ms = daemon->derive_at_ms;
	if (daemon->stopping && daemon->stop_at_ms < at_ms)
		at_ms = daemon->stop_at_ms;
	give_back_at_ms = mse_daemon_give_back(daemon, now);
	if (give_back_at_ms < at_ms)
		at_ms = give_back_at_ms;
	mse_daemon_set_timer(daemon, at_ms);
	mse_log_flush();
}

/* That the stop was a clean one is derive's to say: it knows whether it had
   read everything. */
static int mse_daemon_finish(struct mse_daemon *daemon)
{
	struct mse_error error;

	if (mse_journal_sync(daemon->journal, &error) < 0) {
		mse_log(MSE_LOG_ERROR, "%s", error.text);
		return -1;
	}
	return 0;
}

int mse_daemon_new(const struct mse_daemon_options *options,
		   struct mse_daemon **daemon_r, struct mse_error *error_r)
{
	struct mse_daemon *daemon = calloc(1, sizeof(*daemon));

	if (daemon == NULL)
		return mse_error_set(error_r, "there is no memory");
	daemon->options = *options;
	daemon->started_ms = mse_daemon_now();
	daemon->derive_due = true;
	daemon->rest_fd = -1;
	daemon->base = event_base_new();
	if (daemon->base == NULL) {
		free(daemon);
		return mse_error_set(error_r, "libevent cannot be set up");
	}
	if (mse_daemon_parts_new(daemon, error_r) < 0 ||
	    mse_daemon_watch_all(daemon, error_r) < 0) {
		mse_daemon_free(&daemon);
		return -1;
	}
	/* libcurl and libevent make some that a child would inherit. */
	(void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	*daemon_r = daemon;
	return 0;
}

int mse_daemon_run(struct mse_daemon *daemon)
{
	mse_log(MSE_LOG_INFO, "mailhook " MAILHOOK_VERSION " serves %zu "
		"endpoints from %s", daemon->conf->endpoint_count,
		daemon->options.dir);
	mse_log_hold(true);
	mse_daemon_pass(daemon);
	while (!daemon->quit) {
		if (event_base_loop(daemon->base, EVLOOP_ONCE) < 0) {
			mse_log_hold(false);
			mse_log(MSE_LOG_ERROR, "libevent's loop failed");
			return -1;
		}
		mse_daemon_pass(daemon);
	}
	mse_log_hold(false);
	return mse_daemon_finish(daemon);
}

static void mse_daemon_event_free(struct event *ev)
{
	if (ev != NULL)
		event_free(ev);
}

void mse_daemon_free(struct mse_daemon **daemon_p)
{
	struct mse_daemon *daemon = *daemon_p;
	unsigned int i;

	*daemon_p = NULL;
	if (daemon == NULL)
		return;
	for (i = 0; i < MSE_SIGNALS; i++)
		mse_daemon_event_free(daemon->signals[i]);
	mse_daemon_event_free(daemon->timer);
	mse_daemon_event_free(daemon->watch);
	mse_daemon_event_free(daemon->rest);
	if (daemon->rest_fd >= 0)
		(void)close(daemon->rest_fd);
	mse_daemon_event_free(daemon->completions);
	mse_daemon_event_free(daemon->stop_pipe);
	mse_daemon_parts_free(daemon);
	event_base_free(daemon->base);
	free(daemon);
}
