#ifndef MSE_DAEMON_CONTROL_H
#define MSE_DAEMON_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/*
 * The control socket: one JSON object a line each way.
 *
 *   > {"command":"pause","endpoint":"portal"}
 *   < {"ok":true}
 *   < {"ok":false,"error":"there is no endpoint \"portal\""}
 *
 * Commands: status, reload, tail [type] [user] (then records, one a line),
 * test endpoint, pause endpoint, resume endpoint, dead [endpoint],
 * queue [endpoint], retry endpoint id, drop endpoint [id].
 */
#define MSE_CONTROL_CLIENTS_MAX 16
#define MSE_CONTROL_LINE_MAX 4096
#define MSE_CONTROL_REPLY_MAX (4 * 1024 * 1024)
#define MSE_CONTROL_ROWS_MAX 1000

struct mse_daemon;
struct mse_control;
struct mse_control_client;
struct mse_control_request;

int mse_control_new(struct mse_daemon *daemon, struct mse_control **control_r,
		    struct mse_error *error_r);
void mse_control_free(struct mse_control **control);
/* After each pass of the loop: lets the tails go on. */
void mse_control_pass(struct mse_control *control);

/* A reload was done (NULL) or failed: tells those who asked for it. */
void mse_control_reloaded(struct mse_control *control, const char *error);

/* Between the files of control. */
struct mse_control_tail;
struct mse_control_test;
struct bufferevent;

struct mse_control_client {
	struct mse_control_client *next;
	struct mse_control *control;
	struct mse_daemon *daemon;
	struct bufferevent *bev;
	struct mse_control_tail *tail;
	struct mse_control_test *test;
	bool reloading; /* what it says next waits until that is answered */
	bool gone;
};

void mse_control_send(struct mse_control_client *client, const void *data,
		      size_t len);
/* A whole reply; the buffer is cleared. */
void mse_control_reply(struct mse_control_client *client, struct mse_buf *buf);
void mse_control_reply_ok(struct mse_control_client *client);
void mse_control_reply_error(struct mse_control_client *client,
			     const char *text);

/* Wakes the loop when the client has read what was sent. */
void mse_control_watch_output(struct mse_control_client *client);

/* control-socket.c: binds and listens; a socket nobody serves is replaced. */
int mse_control_listen(const char *path, int *fd_r, struct mse_error *error_r);
/* control-commands.c */
void mse_control_command(struct mse_control_client *client,
			 const char *line, size_t len);
/* control-tail.c */
void mse_control_tail_start(struct mse_control_client *client,
			    const struct mse_control_request *request);
void mse_control_tail_pass(struct mse_control_client *client);
void mse_control_tail_free(struct mse_control_tail **tail);
/* control-test.c */
void mse_control_test_start(struct mse_control_client *client,
			    const char *endpoint);
/* The answer, if still awaited, then goes nowhere. */
void mse_control_test_forget(struct mse_control_client *client);
/* control-rows.c: state is an enum mse_row_state. */
void mse_control_rows(struct mse_control_client *client, const char *endpoint,
		      int state);
/* Everything of an endpoint that is no longer configured. */
void mse_control_drop_endpoint(struct mse_control_client *client,
			       const char *endpoint);

#endif
