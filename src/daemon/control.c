/*
 * Connections to the control socket.
 *
 * Invariant: bounded in every direction: so many clients, so long a line, so
 * long a reply; who does not read his replies gets no more. A client is
 * freed only between passes, never under one of its own callbacks.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "daemon/log.h"

struct mse_control {
	struct mse_daemon *daemon;
	struct evconnlistener *listener;
	struct mse_control_client *clients;
	unsigned int client_count;
	bool own_path; /* bound by us: removed at the end */
};

void mse_control_send(struct mse_control_client *client, const void *data,
		      size_t len)
{
	struct evbuffer *output = bufferevent_get_output(client->bev);

	if (client->gone)
		return;
	if (evbuffer_get_length(output) + len > 2 * MSE_CONTROL_REPLY_MAX ||
	    bufferevent_write(client->bev, data, len) < 0)
		client->gone = true;
}

void mse_control_reply(struct mse_control_client *client, struct mse_buf *buf)
{
	mse_buf_append_char(buf, '\n');
	if (mse_buf_failed(buf))
		mse_control_reply_error(client, "the answer is too long");
	else
		mse_control_send(client, buf->data, buf->len);
	mse_buf_clear(buf);
}

void mse_control_reply_ok(struct mse_control_client *client)
{
	static const char text[] = "{\"ok\":true}\n";

	mse_control_send(client, text, sizeof(text) - 1);
}

void mse_control_reply_error(struct mse_control_client *client,
			     const char *text)
{
	mse_control_reply_refusal(client, text, NULL);
}

void mse_control_reply_refusal(struct mse_control_client *client,
			       const char *text, const char *kind)
{
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, 8192);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", false);
	mse_json_string(&json, "error", text);
	if (kind != NULL)
		mse_json_bool(&json, kind, true);
	mse_json_close(&json, '}');
	mse_buf_append_char(&buf, '\n');
	if (!mse_buf_failed(&buf))
		mse_control_send(client, buf.data, buf.len);
	mse_buf_clear(&buf);
}

static bool mse_control_is_busy(const struct mse_control_client *client)
{
	return client->reloading || client->list != NULL ||
		client->replay != NULL || client->show != NULL ||
		client->sweep != NULL || client->resync != NULL ||
		client->dropping != NULL;
}

static void mse_control_readable(struct bufferevent *bev, void *context)
{
	struct mse_control_client *client = context;
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t len;
	char *line;

	while (!client->gone && !mse_control_is_busy(client) &&
	       (line = evbuffer_readln(input, &len, EVBUFFER_EOL_LF)) != NULL) {
		mse_control_command(client, line, len);
		free(line);
	}
	/* No read watermark does this: libevent 2.1 goes round without an end
	   once one is reached and the callback takes nothing. */
	if (evbuffer_get_length(input) > MSE_CONTROL_LINE_MAX)
		client->gone = true;
}

static void mse_control_event(struct bufferevent *bev, short what,
			      void *context)
{
	struct mse_control_client *client = context;

	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		client->gone = true;
}

static void mse_control_drained(struct bufferevent *bev, void *context)
{
	/* Waking the loop is enough: a pass follows. */
}

void mse_control_watch_output(struct mse_control_client *client)
{
	bufferevent_setcb(client->bev, mse_control_readable,
			  mse_control_drained, mse_control_event, client);
}

static void mse_control_client_free(struct mse_control_client *client)
{
	mse_control_test_forget(client);
	mse_control_sweep_forget(client);
	mse_control_tail_free(&client->tail);
	mse_control_list_free(&client->list);
	mse_control_replay_free(&client->replay);
	mse_control_show_free(&client->show);
	free(client->resync);
	free(client->dropping);
	bufferevent_free(client->bev);
	client->control->client_count--;
	free(client);
}

static const char mse_control_crowded[] = "{\"ok\":false,\"error\":\"too "
	"many clients are connected to the control socket: try again\"}\n";

static void mse_control_accepted(struct evconnlistener *listener,
				 evutil_socket_t fd, struct sockaddr *address,
				 int len, void *context)
{
	struct mse_control *control = context;
	struct mse_control_client *client = NULL;

	if (control->client_count < MSE_CONTROL_CLIENTS_MAX)
		client = calloc(1, sizeof(*client));
	if (client != NULL) {
		client->bev = bufferevent_socket_new(control->daemon->base, fd,
						     BEV_OPT_CLOSE_ON_FREE);
	}
	if (client == NULL || client->bev == NULL) {
		free(client);
		(void)send(fd, mse_control_crowded,
			   sizeof(mse_control_crowded) - 1,
			   MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)close(fd);
		return;
	}
	client->control = control;
	client->daemon = control->daemon;
	client->next = control->clients;
	control->clients = client;
	control->client_count++;
	bufferevent_setcb(client->bev, mse_control_readable, NULL,
			  mse_control_event, client);
	(void)bufferevent_enable(client->bev, EV_READ | EV_WRITE);
}

int mse_control_new(struct mse_daemon *daemon, struct mse_control **control_r,
		    struct mse_error *error_r)
{
	struct mse_control *control = calloc(1, sizeof(*control));
	int fd = daemon->options.control_fd;

	if (control == NULL)
		return mse_error_set(error_r, "there is no memory");
	control->daemon = daemon;
	control->own_path = fd < 0;
	if (fd < 0 && mse_control_listen(daemon->options.control_path, &fd,
					 error_r) < 0) {
		free(control);
		return -1;
	}
	(void)evutil_make_socket_nonblocking(fd);
	control->listener = evconnlistener_new(daemon->base,
		mse_control_accepted, control,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (control->listener == NULL) {
		free(control);
		return mse_error_set(error_r, "the control socket cannot be "
				     "served");
	}
	*control_r = control;
	return 0;
}

void mse_control_free(struct mse_control **control_p)
{
	struct mse_control *control = *control_p;
	struct mse_control_client *client;

	*control_p = NULL;
	if (control == NULL)
		return;
	while ((client = control->clients) != NULL) {
		control->clients = client->next;
		mse_control_client_free(client);
	}
	if (control->own_path)
		(void)unlink(control->daemon->options.control_path);
	evconnlistener_free(control->listener);
	free(control);
}

void mse_control_reloaded(struct mse_control *control, const char *error)
{
	struct mse_control_client *client;

	for (client = control->clients; client != NULL;
	     client = client->next) {
		if (!client->reloading)
			continue;
		client->reloading = false;
		if (error != NULL)
			mse_control_reply_error(client, error);
		else
			mse_control_reply_ok(client);
	}
}

/* Then what it said meanwhile. */
static void mse_control_client_pass(struct mse_control_client *client)
{
	if (client->tail != NULL)
		mse_control_tail_pass(client);
	if (client->list != NULL)
		mse_control_list_pass(client);
	if (client->replay != NULL)
		mse_control_replay_pass(client);
	if (client->show != NULL)
		mse_control_show_pass(client);
	if (client->resync != NULL)
		mse_control_resync_pass(client);
	if (client->dropping != NULL)
		mse_control_drop_pass(client);
	mse_control_readable(client->bev, client);
}

void mse_control_pass(struct mse_control *control)
{
	struct mse_control_client **client_p = &control->clients, *client;

	while ((client = *client_p) != NULL) {
		if (!client->gone)
			mse_control_client_pass(client);
		if (!client->gone) {
			client_p = &client->next;
			continue;
		}
		*client_p = client->next;
		mse_control_client_free(client);
	}
}
