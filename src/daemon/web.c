/*
 * The listener of `metrics` and its connections.
 *
 *   reading --head is there--> answering --all sent--> leaving --EOF--> gone
 *
 * Whoever leaves is waited for: a connection that is closed with octets
 * unread is reset, and the answer may be lost on the way.
 *
 * Invariant: bounded in every direction (web.h); a client is freed only
 * between passes, never under one of its own callbacks; without a client
 * there is no timer.
 */
#include "mse-config.h"

#include "daemon/web.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/daemon-private.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/overview.h"
#include "daemon/page.h"

#define RETRY_MS 5000
#define BACKLOG 32
#define BODY_MAX ((size_t)16 * 1024 * 1024)

struct mse_web_client {
	struct mse_web_client *next;
	struct mse_web *web;
	struct bufferevent *bev;
	struct event *timer;
	bool answered, ended, gone; /* ended: it sends nothing more */
};

struct mse_web {
	struct mse_daemon *daemon;
	struct evconnlistener *listener;
	bool resting;                   /* accept() failed: not before retry */
	char address[64];               /* where that listens, or should */
	char problem[MSE_ERROR_SIZE];   /* "": none */
	int64_t retry_at_ms;
	struct mse_web_client *clients; /* the newest first */
};

int mse_web_new(struct mse_daemon *daemon, struct mse_web **web_r,
		struct mse_error *error_r)
{
	struct mse_web *web = calloc(1, sizeof(*web));

	if (web == NULL)
		return mse_error_set(error_r, "there is no memory");
	web->daemon = daemon;
	*web_r = web;
	return 0;
}

const char *mse_web_problem(const struct mse_web *web)
{
	return web->problem[0] != '\0' ? web->problem : NULL;
}

static void mse_web_client_free(struct mse_web_client *client)
{
	if (client->timer != NULL)
		event_free(client->timer);
	if (client->bev != NULL)
		bufferevent_free(client->bev);
	free(client);
}

static void mse_web_close(struct mse_web *web)
{
	if (web->listener != NULL)
		evconnlistener_free(web->listener);
	web->listener = NULL;
	web->resting = false;
	web->problem[0] = '\0';
	web->retry_at_ms = 0;
}

void mse_web_free(struct mse_web **web_p)
{
	struct mse_web *web = *web_p;
	struct mse_web_client *client;

	*web_p = NULL;
	if (web == NULL)
		return;
	mse_web_close(web);
	while ((client = web->clients) != NULL) {
		web->clients = client->next;
		mse_web_client_free(client);
	}
	free(web);
}

/* Fills answer; its body is to be cleared. */
static void mse_web_answer(struct mse_web *web, int status,
			   const struct mse_web_request *request,
			   struct mse_web_answer *answer)
{
	struct mse_metrics metrics = { .buf = &answer->body };
	bool is_metrics = strcmp(request->path, "/metrics") == 0;
	struct mse_figures figures;

	mse_buf_init(&answer->body, BODY_MAX);
	answer->type = "text/plain; charset=utf-8";
	answer->status = status;
	answer->allow = status == 405;
	if (status == 0 && !is_metrics && strcmp(request->path, "/") != 0)
		answer->status = 404;
	if (answer->status != 0)
		return;
	answer->status = 503;
	if (mse_figures_take(web->daemon->overview, &figures) < 0)
		return;
	if (is_metrics) {
		metrics.openmetrics = mse_metrics_wants_open(
			request->has_accept ? request->accept : NULL);
		answer->type = metrics.openmetrics ? MSE_METRICS_OPEN_TYPE :
			MSE_METRICS_TEXT_TYPE;
		mse_metrics_write(&metrics, &figures);
	} else {
		answer->type = "text/html; charset=utf-8";
		answer->page = true;
		mse_page_write(&answer->body, &figures);
	}
	mse_figures_clear(&figures);
	if (mse_buf_failed(&answer->body))
		mse_buf_reset(&answer->body);
	else
		answer->status = 200;
}

static void mse_web_send(struct mse_web_client *client, int status,
			 const struct mse_web_request *request)
{
	struct mse_web_answer answer;
	struct mse_buf response;

	memset(&answer, 0, sizeof(answer));
	mse_web_answer(client->web, status, request, &answer);
	if (answer.status != 200) {
		mse_buf_appendf(&answer.body, answer.status == 404 ?
				"Not here. There are / and /metrics.\n" :
				"This cannot be answered (%d). There are / "
				"and /metrics, for GET and HEAD.\n",
				answer.status);
	}
	mse_buf_init(&response, BODY_MAX + 4096);
	mse_web_write(&answer, request->head,
		      mse_clock_wall(&mse_clock_system), &response);
	mse_buf_clear(&answer.body);
	client->answered = true;
	if (mse_buf_failed(&response) ||
	    bufferevent_write(client->bev, response.data, response.len) < 0)
		client->gone = true;
	mse_buf_clear(&response);
}

/* The head, up to and with the empty line; NULL while it is not there. */
static char *mse_web_take_head(struct evbuffer *input)
{
	struct evbuffer_ptr crlf = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	struct evbuffer_ptr lf = evbuffer_search(input, "\n\n", 2, NULL);
	ssize_t len = crlf.pos < 0 ? -1 : crlf.pos + 4;
	char *head;

	if (lf.pos >= 0 && (len < 0 || lf.pos + 2 < len))
		len = lf.pos + 2;
	if (len < 0 || len > MSE_WEB_HEAD_MAX)
		return NULL;
	head = malloc((size_t)len + 1);
	if (head == NULL)
		return NULL;
	(void)evbuffer_remove(input, head, (size_t)len);
	head[len] = '\0';
	return head;
}

static void mse_web_readable(struct bufferevent *bev, void *context)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	struct mse_web_client *client = context;
	struct mse_web_request request;
	char *head;
	int status;

	if (client->gone || client->answered) {
		(void)evbuffer_drain(input, evbuffer_get_length(input));
		return;
	}
	head = mse_web_take_head(input);
	if (head != NULL) {
		status = mse_web_parse(head, &request);
		free(head);
		mse_web_send(client, status, &request);
	} else if (evbuffer_get_length(input) >= MSE_WEB_HEAD_MAX) {
		(void)evbuffer_drain(input, evbuffer_get_length(input));
		memset(&request, 0, sizeof(request));
		mse_web_send(client, 431, &request);
	}
}

static void mse_web_sent(struct bufferevent *bev, void *context)
{
	struct mse_web_client *client = context;

	if (!client->answered)
		return;
	if (client->ended)
		client->gone = true;
	else
		(void)shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void mse_web_event(struct bufferevent *bev, short what, void *context)
{
	struct mse_web_client *client = context;

	/* A client that has said all may still read. */
	client->ended = true;
	if ((what & BEV_EVENT_ERROR) != 0 || !client->answered ||
	    evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client->gone = true;
}

static void mse_web_late(evutil_socket_t fd, short what, void *context)
{
	struct mse_web_client *client = context;

	client->gone = true;
}

/* The oldest one makes room. */
static void mse_web_make_room(struct mse_web *web)
{
	struct mse_web_client *client, *oldest = NULL;
	unsigned int count = 0;

	for (client = web->clients; client != NULL; client = client->next) {
		if (client->gone)
			continue;
		oldest = client;
		count++;
	}
	if (count >= MSE_WEB_CLIENTS_MAX)
		oldest->gone = true;
}

static int mse_web_client_begin(struct mse_web_client *client)
{
	static const struct timeval time = { MSE_WEB_TIME_S, 0 };

	client->timer = evtimer_new(client->web->daemon->base, mse_web_late,
				    client);
	if (client->timer == NULL || evtimer_add(client->timer, &time) < 0)
		return -1;
	bufferevent_setcb(client->bev, mse_web_readable, mse_web_sent,
			  mse_web_event, client);
	return bufferevent_enable(client->bev, EV_READ | EV_WRITE);
}

static void mse_web_accepted(struct evconnlistener *listener,
			     evutil_socket_t fd, struct sockaddr *address,
			     int len, void *context)
{
	struct mse_web *web = context;
	struct mse_web_client *client = calloc(1, sizeof(*client));

	if (client != NULL)
		client->bev = bufferevent_socket_new(web->daemon->base, fd,
						     BEV_OPT_CLOSE_ON_FREE);
	if (client == NULL || client->bev == NULL) {
		free(client);
		(void)close(fd);
		return;
	}
	client->web = web;
	if (mse_web_client_begin(client) < 0) {
		mse_web_client_free(client);
		return;
	}
	mse_web_make_room(web);
	client->next = web->clients;
	web->clients = client;
}

/* Out of descriptors, perhaps: accept() would fail again and again. */
static void mse_web_accept_failed(struct evconnlistener *listener,
				  void *context)
{
	struct mse_web *web = context;

	(void)evconnlistener_disable(listener);
	web->resting = true;
	web->retry_at_ms = mse_daemon_now() + RETRY_MS;
}

static int mse_web_bind(struct mse_web *web)
{
	unsigned int flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
		LEV_OPT_REUSEABLE;
	struct sockaddr_storage address;
	int len = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (evutil_parse_sockaddr_port(web->address,
				       (struct sockaddr *)&address, &len) < 0) {
		errno = EINVAL;
		return -1;
	}
	/* "[::]" means what it says. */
	if (address.ss_family == AF_INET6)
		flags |= LEV_OPT_BIND_IPV6ONLY;
	web->listener = evconnlistener_new_bind(web->daemon->base,
		mse_web_accepted, web, flags, BACKLOG,
		(struct sockaddr *)&address, len);
	if (web->listener == NULL)
		return -1;
	evconnlistener_set_error_cb(web->listener, mse_web_accept_failed);
	return 0;
}

static void mse_web_open(struct mse_web *web)
{
	bool again = web->problem[0] != '\0';
	struct mse_error problem;

	web->retry_at_ms = mse_daemon_now() + RETRY_MS;
	if (mse_web_bind(web) == 0) {
		web->problem[0] = '\0';
		if (again)
			mse_log(MSE_LOG_INFO, "metrics: %s is served now",
				web->address);
		return;
	}
	mse_error_set(&problem, "%s cannot be had (%s); %s", web->address,
		      strerror(errno), errno == EADDRINUSE ?
		      "write another port, or end what uses it" :
		      errno == EADDRNOTAVAIL ?
		      "write an address of this machine" :
		      "write another address and port, or \"\" for none");
	if (strcmp(web->problem, problem.text) == 0)
		return;
	memcpy(web->problem, problem.text, sizeof(web->problem));
	mse_log(MSE_LOG_WARNING, "metrics: %s; all else goes on, and it is "
		"tried again", problem.text);
}

/* Where the configuration says, from now on. */
static void mse_web_follow_conf(struct mse_web *web)
{
	const char *wanted = web->daemon->conf->metrics;

	if (wanted == NULL)
		wanted = "";
	if (strcmp(web->address, wanted) == 0 ||
	    strlen(wanted) >= sizeof(web->address))
		return;
	mse_web_close(web);
	memcpy(web->address, wanted, strlen(wanted) + 1);
}

static void mse_web_forget_gone(struct mse_web *web)
{
	struct mse_web_client **p = &web->clients, *client;

	while ((client = *p) != NULL) {
		if (!client->gone) {
			p = &client->next;
			continue;
		}
		*p = client->next;
		mse_web_client_free(client);
	}
}

void mse_web_pass(struct mse_web *web)
{
	mse_web_forget_gone(web);
	mse_web_follow_conf(web);
	if (web->address[0] == '\0' || web->daemon->stopping ||
	    mse_daemon_now() < web->retry_at_ms)
		return;
	if (web->listener == NULL)
		mse_web_open(web);
	else if (web->resting)
		web->resting = evconnlistener_enable(web->listener) < 0;
}
