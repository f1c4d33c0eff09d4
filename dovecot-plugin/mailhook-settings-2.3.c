/*
 * Settings under Dovecot 2.3: the plugin {} section. Invariant: nothing here
 * can fail a login; what is wrong is judged by who uses it.
 */

#include "lib.h"
#include "mail-user.h"
#include "mailhook-compat.h"

static const char *mailhook_getenv(struct mail_user *user, const char *name)
{
	const char *value = mail_user_plugin_getenv(user, name);

	return value != NULL && *value == '\0' ? NULL : value;
}

/* The user's own fields are laid over plugin {}: what it said can no longer
   be asked, only that a field has changed it. */
static bool mailhook_dir_is_users(const struct mail_user *user)
{
	const char *const *field, *name;

	for (field = user->userdb_fields; field != NULL && *field != NULL;
	     field++) {
		name = *field;
		if (strncmp(name, "plugin/", 7) == 0)
			name += 7;
		if (strncmp(name, "mailhook_dir", 12) == 0 &&
		    (name[12] == '=' || name[12] == '+' || name[12] == '\0'))
			return TRUE;
	}
	return FALSE;
}

void mailhook_settings_get(struct mail_user *user,
			   struct mailhook_settings *set_r,
			   const char **warning_r)
{
	i_zero(set_r);
	*warning_r = NULL;
	set_r->durability = mailhook_getenv(user, "mailhook_durability");
	set_r->dir = mailhook_getenv(user, "mailhook_dir");
	if (set_r->dir != NULL && mailhook_dir_is_users(user)) {
		*warning_r = mailhook_dir_is_global(set_r->dir);
		set_r->dir = NULL;
	}
}
