/*
 * libcurl's sockets and its one timer on a libevent base.
 *
 * Invariant: libcurl is entered from here and from post()/cancel() only, and
 * after each entry from here what it finished is dispatched, so that no
 * completion waits for an unrelated wake-up.
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <event2/event.h>
#include <stdlib.h>

static void mse_http_enter(struct mse_http *http, curl_socket_t fd, int what)
{
	int running;

	(void)curl_multi_socket_action(http->multi, fd, what, &running);
	mse_http_dispatch(http);
}

static void mse_http_socket_ready(evutil_socket_t fd, short what,
				  void *context)
{
	int flags = 0;

	if ((what & EV_READ) != 0)
		flags |= CURL_CSELECT_IN;
	if ((what & EV_WRITE) != 0)
		flags |= CURL_CSELECT_OUT;
	mse_http_enter(context, fd, flags);
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
	return evtimer_add(http->timer, &tv);
}

static int mse_http_socket_wanted(CURL *easy, curl_socket_t fd, int what,
				  void *context, void *socket_context)
{
	struct mse_http *http = context;
	struct event *ev = socket_context;
	short flags = EV_PERSIST;

	if (ev != NULL)
		event_free(ev);
	if (what == CURL_POLL_REMOVE) {
		(void)curl_multi_assign(http->multi, fd, NULL);
		return 0;
	}
	if ((what & CURL_POLL_IN) != 0)
		flags |= EV_READ;
	if ((what & CURL_POLL_OUT) != 0)
		flags |= EV_WRITE;
	/* libcurl's resolver makes sockets of its own. */
	(void)evutil_make_socket_closeonexec(fd);
	ev = event_new(http->base, fd, flags, mse_http_socket_ready, http);
	(void)curl_multi_assign(http->multi, fd, ev);
	if (ev == NULL)
		return -1;
	return event_add(ev, NULL);
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
	/* libcurl still calls both callbacks while it closes. */
	if (http->multi != NULL)
		(void)curl_multi_cleanup(http->multi);
	if (http->timer != NULL)
		event_free(http->timer);
	if (http->wake != NULL)
		event_free(http->wake);
}
