#ifndef MSE_CTL_CHECK_H
#define MSE_CTL_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ctl/ctl.h"

/* What the parts of `mailhookctl check` share. What cannot be looked at is a
   note, never a problem: "problem" is only what somebody has to change. */
struct mse_ctl_check {
	const struct mse_ctl *ctl;
	struct json_object *lines;   /* --json */
	unsigned int problems;
	bool running;                /* the daemon answered */
	const char *dir;             /* its mailhook_dir, or the likely one */
	/* Whom the daemon runs as; known from the running one or from
	   Dovecot's settings. */
	bool user_known;
	uid_t uid;
	gid_t gid;
	/* Dovecot's settings may be asked for: they are this daemon's. */
	bool dovecot;
	char base_dir[4096];
};

/* One line; what: "ok", "note" or "problem". */
void mse_ctl_say(struct mse_ctl_check *check, const char *what,
		 const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* check-dovecot.c: finds out whether dovecot.conf belongs to this daemon, and
   says it if not. */
void mse_ctl_find_dovecot(struct mse_ctl_check *check);
/* mail_plugins and mailhook's own settings. */
void mse_ctl_check_dovecot(struct mse_ctl_check *check);
/* doveconf's answer to one question, for filter ("protocol=imap") unless it
   is NULL, as one line: "NAME = VALUE", or blocks that contain such. Empty
   for a setting that Dovecot does not know. -1: no doveconf, or it refused. */
int mse_ctl_doveconf(const struct mse_ctl *ctl, const char *filter,
		     const char *setting, char *text, size_t size);
/* What dovecot.conf says mailhook_dir is; "" for the built-in one. -1: Dovecot
   cannot be asked or does not know it. */
int mse_ctl_dovecot_dir(const struct mse_ctl_check *check, char *text,
			size_t size);
/* A plain setting's value. */
int mse_ctl_doveconf_value(const struct mse_ctl *ctl, const char *setting,
			   char *text, size_t size);

/* check-rights.c: whom the daemon runs as. pid: the running one's, or 0. */
void mse_ctl_find_user(struct mse_ctl_check *check, pid_t pid);
/* mailhook.conf and what it names, read as the daemon reads it. */
void mse_ctl_check_conf(struct mse_ctl_check *check, const char *path);
/* mailhook_dir, its files, and whether mail processes can append. */
void mse_ctl_check_dir(struct mse_ctl_check *check);

#endif
