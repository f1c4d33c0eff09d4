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
 * test endpoint, pause endpoint, resume endpoint, show id [endpoint],
 * dead [endpoint], queue [endpoint] (pages of rows, one a line, the last with
 * "more":false), drop endpoint [id], resync user [mailbox] [uidvalidity].
 * retry endpoint, replay endpoint: lines of progress, the last with
 * "ended":true; it ends with the connection. Which events: id, type, user (a
 * pattern), since_ms, until_ms; retry and drop of dead letters without any of
 * them want "all":true. "dry_run":true counts. A drop of one event that is
 * refused says "again":true if it is only being sent or stored, "gone":true if
 * there is no such event.
 */
#define MSE_CONTROL_CLIENTS_MAX 16
#define MSE_CONTROL_LINE_MAX 4096
#define MSE_CONTROL_REPLY_MAX (4 * 1024 * 1024)
#define MSE_CONTROL_ROWS_MAX 1000

struct mse_daemon;
struct mse_json;
struct mse_position;
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
struct mse_control_list;
struct mse_control_replay;
struct mse_control_resync;
struct mse_control_show;
struct mse_control_sweep;
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
	/* What takes longer than a pass; what the client says next waits until
	   that is answered. */
	struct mse_control_list *list;
	struct mse_control_replay *replay;
	struct mse_control_show *show;
	struct mse_control_sweep *sweep;
	struct mse_control_resync *resync;
	bool reloading;
	char *dropping; /* a removed endpoint that still leaves */
	bool gone;
};

void mse_control_send(struct mse_control_client *client, const void *data,
		      size_t len);
/* A whole reply; the buffer is cleared. */
void mse_control_reply(struct mse_control_client *client, struct mse_buf *buf);
void mse_control_reply_ok(struct mse_control_client *client);
void mse_control_reply_error(struct mse_control_client *client,
			     const char *text);
/* kind: a further member, true; NULL: none. */
void mse_control_reply_refusal(struct mse_control_client *client,
			       const char *text, const char *kind);

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
/* control-replay.c: replay; retry; drop of many. */
void mse_control_replay_start(struct mse_control_client *client,
			      const struct mse_control_request *request,
			      bool dead);
void mse_control_replay_pass(struct mse_control_client *client);
void mse_control_replay_free(struct mse_control_replay **replay);
/* It goes on without its client. */
void mse_control_sweep_forget(struct mse_control_client *client);
void mse_control_drop_dead(struct mse_control_client *client,
			   const struct mse_control_request *request);
/* control-resync.c */
void mse_control_resync_start(struct mse_control_client *client,
			      const struct mse_control_request *request);
void mse_control_resync_pass(struct mse_control_client *client);
/* control-show.c */
void mse_control_show_start(struct mse_control_client *client,
			    const struct mse_control_request *request);
void mse_control_show_pass(struct mse_control_client *client);
void mse_control_show_free(struct mse_control_show **show);
/* control-find.c: where in the journal to look for what happened since then.
   Waits for the ledger's thread. */
int mse_control_find_since(struct mse_daemon *daemon, int64_t since_ms,
			   struct mse_position *position_r,
			   struct mse_error *error_r);
/* A header as it may be shown. */
void mse_control_header(struct mse_json *json, const char *header);
/* control-test.c */
void mse_control_test_start(struct mse_control_client *client,
			    const char *endpoint);
/* The answer, if still awaited, then goes nowhere. */
void mse_control_test_forget(struct mse_control_client *client);
/* control-rows.c: state is an enum mse_row_state. */
void mse_control_rows(struct mse_control_client *client,
		      const struct mse_control_request *request, int state);
void mse_control_list_pass(struct mse_control_client *client);
void mse_control_list_free(struct mse_control_list **list);
/* Everything of an endpoint that is no longer configured, once it has left. */
void mse_control_drop_endpoint(struct mse_control_client *client,
			       const char *endpoint);
void mse_control_drop_pass(struct mse_control_client *client);

#endif
