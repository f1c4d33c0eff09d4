/*
 * Settings under Dovecot 2.4: mailhook_dir and mailhook_durability. Compiled
 * into two modules: the plugin, which asks for them, and
 * libmailhook_settings.so, from which Dovecot's configuration learns their
 * names. Invariants: nothing here can fail a login; the settings module needs
 * no symbol but those of libdovecot.
 */

#include "lib.h"
#include "lib-event.h"
#include "master-service.h"
#include "settings.h"
#include "settings-parser.h"
#include "mail-user.h"
#include "mailhook-compat.h"

struct mailhook_plugin_settings {
	pool_t pool;
	const char *mailhook_dir;
	const char *mailhook_durability;
};

#undef DEF
#define DEF(type, name) \
	SETTING_DEFINE_STRUCT_##type(#name, name, \
				     struct mailhook_plugin_settings)

static const struct setting_define mailhook_setting_defines[] = {
	DEF(STR, mailhook_dir),
	DEF(ENUM, mailhook_durability),
	SETTING_DEFINE_LIST_END
};

static const struct mailhook_plugin_settings mailhook_default_settings = {
	.mailhook_dir = "",
	.mailhook_durability = "process:power",
};

static const struct setting_parser_info mailhook_setting_parser_info = {
	.name = "mailhook",

	.defines = mailhook_setting_defines,
	.defaults = &mailhook_default_settings,

	.struct_size = sizeof(struct mailhook_plugin_settings),
	.pool_offset1 = 1 + offsetof(struct mailhook_plugin_settings, pool),
};

/* What the config process looks for in libmailhook_settings.so. */
extern const char *mailhook_settings_version;
extern const struct setting_parser_info *mailhook_settings_set_infos[];
const char *mailhook_settings_version = DOVECOT_ABI_VERSION;
const struct setting_parser_info *mailhook_settings_set_infos[] = {
	&mailhook_setting_parser_info,
	NULL
};

static const char *mailhook_keep(struct mail_user *user, const char *value)
{
	return *value == '\0' ? NULL : p_strdup(user->pool, value);
}

/* The journal has one directory: what dovecot.conf says, without the user's
   own fields. */
static int mailhook_settings_get_dir(struct mail_user *user,
				     struct mailhook_settings *set_r,
				     const char **error_r)
{
	const struct mailhook_plugin_settings *set;
	struct event *event;
	int ret;

	event = event_create(master_service_get_event(master_service));
	if (user->protocol != NULL)
		event_add_str(event, "protocol", user->protocol);
	ret = settings_get(event, &mailhook_setting_parser_info, 0, &set,
			   error_r);
	event_unref(&event);
	if (ret < 0)
		return -1;
	set_r->dir = mailhook_keep(user, set->mailhook_dir);
	settings_free(set);
	return 0;
}

static const char *
mailhook_settings_complaint(const struct mailhook_settings *set,
			    const char *error)
{
	/* Dovecot calls that a bug; it is a file that is not there. */
	if (strstr(error, "no settings struct") != NULL)
		return "Settings are unknown, going on with the defaults: "
			"Dovecot found no libmailhook_settings.so of its own "
			"release in its modules/settings directory";
	return t_strdup_printf("Settings cannot be read, going on with %s: %s",
			       set->dir == NULL ? "the defaults" :
			       "mailhook_durability = process", error);
}

void mailhook_settings_get(struct mail_user *user,
			   struct mailhook_settings *set_r,
			   const char **warning_r)
{
	const struct mailhook_plugin_settings *set;
	const char *error;

	i_zero(set_r);
	*warning_r = NULL;
	if (mailhook_settings_get_dir(user, set_r, &error) < 0 ||
	    settings_get(user->event, &mailhook_setting_parser_info, 0, &set,
			 &error) < 0) {
		*warning_r = mailhook_settings_complaint(set_r, error);
		return;
	}
	set_r->durability = mailhook_keep(user, set->mailhook_durability);
	if (null_strcmp(set_r->dir,
			mailhook_keep(user, set->mailhook_dir)) != 0)
		*warning_r = mailhook_dir_is_global(set->mailhook_dir);
	settings_free(set);
}
