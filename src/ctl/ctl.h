#ifndef MSE_CTL_CTL_H
#define MSE_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct json_object;

/* Exit codes; the help lists them. */
enum { MSE_CTL_OK, MSE_CTL_PROBLEM, MSE_CTL_USAGE, MSE_CTL_UNREACHABLE,
       MSE_CTL_ENDED };

struct mse_ctl {
	const char *control;
	const char *config;  /* check: NULL: the one the daemon reads */
	const char *dovecot; /* dovecot.conf; NULL: the default */
	/* Which events; NULL: no matter. */
	const char *type, *user, *since, *until, *mailbox;
	bool all, dry_run, waiting;
	bool json;
	bool ed25519;        /* secret */
};

/* client.c */
/* The request's JSON, with what ctl says of which events. NULL after a
   sentence about a time that cannot be read. */
struct json_object *mse_ctl_request(const struct mse_ctl *ctl,
				    const char *command, const char *endpoint,
				    const char *id);
/* Sends it and opens the stream of answers. Takes the request, which may be
   NULL. NULL after having said on standard error why not. */
FILE *mse_ctl_send(const struct mse_ctl *ctl, struct json_object *request);
/* One line; NULL at the end, if a signal came, or if it is no JSON. Free:
   json_object_put(). */
struct json_object *mse_ctl_answer(FILE *stream);
/* The first line, checked. NULL with *exit_r set; an error is shown. */
struct json_object *mse_ctl_first(const struct mse_ctl *ctl, FILE *stream,
				  int *exit_r);
/* Asks, reads one answer. NULL with *exit_r set; an error is shown. */
struct json_object *mse_ctl_call(const struct mse_ctl *ctl,
				 const char *command, const char *endpoint,
				 const char *id, int *exit_r);

/* waiting.c: retry or drop of what waits; an exit code. */
int mse_ctl_waiting(const struct mse_ctl *ctl, const char *command,
		    const char *endpoint);

/* times.c */
/* RFC 3339 ("2026-11-24T14:05:00Z"), or how long before now_ms ("90s" "30m"
   "2h" "1d" "2w"). Pure. */
int mse_ctl_time(const char *text, int64_t now_ms, int64_t *wall_ms_r,
		 struct mse_error *error_r);

/* print.c */
const char *mse_ctl_text(struct json_object *object, const char *key);
long long mse_ctl_number(struct json_object *object, const char *key);
bool mse_ctl_bool(struct json_object *object, const char *key);
void mse_ctl_print_json(struct json_object *object);
/* Without what moves a terminal's cursor or turns its text around; lines:
   line feeds and tabs stay. */
void mse_ctl_print_safe(const char *text, bool lines);
/* "-" "<1s" "90s" "3m" "26h" */
const char *mse_ctl_duration(long long ms, char text[32]);
/* Local time to the second; "-" for 0. */
const char *mse_ctl_when(long long wall_ms, char text[32]);
void mse_ctl_print_status(struct json_object *answer);
void mse_ctl_print_request(struct json_object *request);
void mse_ctl_print_test(struct json_object *answer);
void mse_ctl_print_record(struct json_object *record);

/* table.c: the only file that knows libsmartcols. Cut to a terminal's width,
   never in a pipe; what could move a cursor is shown as \x... */
struct mse_ctl_table;
enum { MSE_CTL_RIGHT = 0x01, MSE_CTL_CUT = 0x02 };
struct mse_ctl_column {
	const char *name;
	int flags;
};
struct mse_ctl_table *mse_ctl_table_new(const struct mse_ctl_column *columns,
					size_t count);
void mse_ctl_table_add(struct mse_ctl_table *table,
		       const char *const *values);
/* Prints the rows there are and forgets them; headings only once. */
void mse_ctl_table_print(struct mse_ctl_table *table);
void mse_ctl_table_free(struct mse_ctl_table **table);

/* Commands: arguments, without the command's name, as many as its line in
   main.c says. Return an exit code. */
int mse_ctl_check(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_dead(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_drop(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_pause(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_queue(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_reload(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_replay(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_resume(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_resync(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_retry(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_secret(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_show(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_status(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_tail(const struct mse_ctl *ctl, char **arguments);
int mse_ctl_test(const struct mse_ctl *ctl, char **arguments);

#endif
