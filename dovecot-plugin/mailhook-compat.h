#ifndef MAILHOOK_COMPAT_H
#define MAILHOOK_COMPAT_H

/*
 * Everything that differs between Dovecot releases, but for the settings,
 * which are one file per series. Today only 2.3 is built; what 2.4 calls
 * otherwise joins here behind DOVECOT_PREREQ(2,4,0).
 */

struct mail_user;

struct mailhook_settings {
	const char *dir;        /* NULL: the one opened before privileges fell */
	const char *durability; /* NULL: process */
};

/* The strings live as long as the user. */
void mailhook_settings_get(struct mail_user *user,
			   struct mailhook_settings *set_r);

#endif
