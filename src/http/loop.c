/*
 * libcurl's sockets and its one timer on a libevent base.
 *
 * libcurl lets go of a socket when a request has its answer, and asks for it
 * again at the next request on that connection. Such a socket stays watched
 * in between, which spares two system calls a request.
 *
 * Invariants: libcurl is entered from here and from post()/cancel() only, and
 * after each entry from here what it finished is dispatched, so that no
 * completion waits for an unrelated wake-up. No watch outlives its socket:
 * only a connection's is kept, which libcurl closes with
 * mse_http_close_socket() (7.88 closes by itself, and tells later, those that
 * never came to be connected).
 *
 * Where memory is out libcurl may wait for a socket or its timer in vain,
 * whoever fails, it or libevent; its own way for the latter, a callback that
 * says so, leaves it without a timer for good. All requests end then.
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void mse_http_enter(struct mse_http *http, curl_socket_t fd, int what)
{
	int running;

	if (curl_multi_socket_action(http->multi, fd, what,
				     &running) != CURLM_OK)
		http->deaf = true;
	mse_http_dispatch(http);
}

/* NULL: there is none, and with make no memory for one. */
static struct mse_http_watch *mse_http_watch_of(struct mse_http *http,
						curl_socket_t fd, bool make)
{
	size_t count = (size_t)fd + 64;
	struct mse_http_watch *watches;

	if ((size_t)fd < http->watch_count)
		return &http->watches[fd];
	if (!make)
		return NULL;
	watches = realloc(http->watches, count * sizeof(*watches));
	if (watches == NULL)
		return NULL;
	memset(watches + http->watch_count, 0,
	       (count - http->watch_count) * sizeof(*watches));
	http->watches = watches;
	http->watch_count = count;
	return &watches[fd];
}

static void mse_http_unwatch(struct mse_http_watch *watch)
{
	if (watch->ev != NULL)
		event_free(watch->ev);
	watch->ev = NULL;
	watch->watched = 0;
}

static void mse_http_socket_ready(evutil_socket_t fd, short what,
				  void *context)
{
	struct mse_http *http = context;
	int flags = 0;

	/* An idle connection ends, or says what nobody asked for. libcurl
	   looks before it uses it again. */
	if (http->watches[fd].wanted == 0) {
		mse_http_unwatch(&http->watches[fd]);
		return;
	}
	if ((what & EV_READ) != 0)
		flags |= CURL_CSELECT_IN;
	if ((what & EV_WRITE) != 0)
		flags |= CURL_CSELECT_OUT;
	mse_http_enter(http, fd, flags);
}

static void mse_http_timer_expired(evutil_socket_t fd, short what,
				   void *context)
{
	mse_http_enter(context, CURL_SOCKET_TIMEOUT, 0);
}

static void mse_http_woken(evutil_socket_t fd, short what, void *context)
{
	mse_http_dispatch(context);
}

static void mse_http_lose(struct mse_http *http)
{
	http->deaf = true;
	mse_http_wake(http);
}

static int mse_http_timer_wanted(CURLM *multi, long timeout_ms, void *context)
{
	struct mse_http *http = context;
	struct timeval tv;

	if (timeout_ms < 0) {
		(void)evtimer_del(http->timer);
		return 0;
	}
	/* Never into libcurl from here, not even for 0. */
	tv.tv_sec = timeout_ms / 1000;
	tv.tv_usec = (timeout_ms % 1000) * 1000;
	if (evtimer_add(http->timer, &tv) < 0)
		mse_http_lose(http);
	return 0;
}

static int mse_http_watch(struct mse_http *http, curl_socket_t fd,
			  struct mse_http_watch *watch)
{
	mse_http_unwatch(watch);
	/* libcurl's resolver makes sockets of its own. */
	(void)evutil_make_socket_closeonexec(fd);
	watch->ev = event_new(http->base, fd, EV_PERSIST | watch->wanted,
			      mse_http_socket_ready, http);
	if (watch->ev == NULL || event_add(watch->ev, NULL) < 0) {
		mse_http_unwatch(watch);
		return -1;
	}
	watch->watched = watch->wanted;
	return 0;
}

/* The answer it was read for came, so it is connected. (Another address'
   socket, which lost, waits to be written to.) */
static bool mse_http_may_keep(const struct mse_http_watch *watch, CURL *easy)
{
	struct mse_http_transfer *transfer = mse_http_transfer_of(easy);

	return watch->wanted == EV_READ && transfer != NULL &&
		transfer->headers_done;
}

static int mse_http_socket_wanted(CURL *easy, curl_socket_t fd, int what,
				  void *context, void *socket_context)
{
	struct mse_http *http = context;
	struct mse_http_watch *watch = mse_http_watch_of(
		http, fd, what != CURL_POLL_REMOVE);
	bool idle;

	if (watch == NULL) {
		if (what != CURL_POLL_REMOVE)
			mse_http_lose(http);
		return 0;
	}
	if (what == CURL_POLL_REMOVE) {
		if (!mse_http_may_keep(watch, easy))
			mse_http_unwatch(watch);
		watch->wanted = 0;
		return 0;
	}
	idle = watch->wanted == 0;
	watch->wanted = 0;
	if ((what & CURL_POLL_IN) != 0)
		watch->wanted |= EV_READ;
	if ((what & CURL_POLL_OUT) != 0)
		watch->wanted |= EV_WRITE;
	/* Otherwise it may be another socket by now. */
	if ((!idle || watch->wanted != watch->watched) &&
	    mse_http_watch(http, fd, watch) < 0)
		mse_http_lose(http);
	return 0;
}

int mse_http_close_socket(void *context, curl_socket_t fd)
{
	struct mse_http_watch *watch = mse_http_watch_of(context, fd, false);

	if (watch != NULL)
		mse_http_unwatch(watch);
	return close(fd);
}

int mse_http_loop_init(struct mse_http *http, struct mse_error *error_r)
{
	http->timer = evtimer_new(http->base, mse_http_timer_expired, http);
	http->wake = evtimer_new(http->base, mse_http_woken, http);
	http->multi = curl_multi_init();
	if (http->timer == NULL || http->wake == NULL || http->multi == NULL)
		return mse_error_set(error_r,
				     "there is no memory for HTTP");
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION,
			  mse_http_socket_wanted);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION,
			  mse_http_timer_wanted);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	return 0;
}

void mse_http_loop_clear(struct mse_http *http)
{
	size_t i;

	/* libcurl still calls both callbacks while it closes. */
	if (http->multi != NULL)
		(void)curl_multi_cleanup(http->multi);
	for (i = 0; i < http->watch_count; i++)
		mse_http_unwatch(&http->watches[i]);
	free(http->watches);
	if (http->timer != NULL)
		event_free(http->timer);
	if (http->wake != NULL)
		event_free(http->wake);
}
