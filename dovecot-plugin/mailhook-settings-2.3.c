/*
 * Settings under Dovecot 2.3: the plugin {} section. Invariant: nothing here
 * can fail a login; what is wrong is judged by who uses it.
 */

#include "lib.h"
#include "mail-user.h"
#include "mailhook-compat.h"

void mailhook_settings_get(struct mail_user *user,
			   struct mailhook_settings *set_r)
{
	set_r->dir = mail_user_plugin_getenv(user, "mailhook_dir");
	set_r->durability = mail_user_plugin_getenv(user,
						    "mailhook_durability");
	if (set_r->dir != NULL && *set_r->dir == '\0')
		set_r->dir = NULL;
	if (set_r->durability != NULL && *set_r->durability == '\0')
		set_r->durability = NULL;
}
