#ifndef MSE_CTL_CTL_H
#define MSE_CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

struct json_object;

/* Exit codes. */
enum { MSE_CTL_OK, MSE_CTL_PROBLEM, MSE_CTL_USAGE, MSE_CTL_UNREACHABLE };

struct mse_ctl {
	const char *control;
	const char *config;  /* check: NULL: the one the daemon reads */
	const char *dovecot; /* check: dovecot.conf; NULL: the default */
	const char *type, *user;
	bool json;
	bool ed25519;        /* secret */
};

/* client.c: sends {"command":…} and opens the stream of answers. NULL after
   having said on standard error why not. */
FILE *mse_ctl_ask(const struct mse_ctl *ctl, const char *command,
		  const char *endpoint, const char *id);
/* One line; NULL at the end or if it is no JSON. Free: json_object_put(). */
struct json_object *mse_ctl_answer(FILE *stream);
/* Asks, reads one answer. NULL with *exit_r set; an error is shown. */
struct json_object *mse_ctl_call(const struct mse_ctl *ctl,
				 const char *command, const char *endpoint,
				 const char *id, int *exit_r);

/* print.c */
const char *mse_ctl_text(struct json_object *object, const char *key);
long long mse_ctl_number(struct json_object *object, const char *key);
void mse_ctl_print_json(struct json_object *object);
void mse_ctl_print_status(struct json_object *answer);
void mse_ctl_print_rows(struct json_object *answer);
void mse_ctl_print_test(struct json_object *answer);
void mse_ctl_print_record(struct json_object *record);

/* check.c */
int mse_ctl_check(const struct mse_ctl *ctl);

/* secret.c */
int mse_ctl_secret(const struct mse_ctl *ctl);

#endif
