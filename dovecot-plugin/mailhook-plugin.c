/*
 * The module's entry points and what a process has one of: appenders and the
 * right to warn. Invariant: whatever is missing or broken here, the mail
 * process goes on as if the plugin were not loaded.
 */

#include "lib.h"
#include "ioloop.h"
#include "llist.h"
#include "module-dir.h"
#include "mail-storage-hooks.h"
#include "mailhook-plugin.h"

#include <stdlib.h>
#include <time.h>

#define MAILHOOK_WARN_EVERY_SECS 60

struct mailhook_dir {
	struct mailhook_dir *prev, *next;
	char *path;
	struct mse_appender *appender;
};

extern const char *mailhook_plugin_version;
const char *mailhook_plugin_version = DOVECOT_ABI_VERSION;
/* It needs no other plugin. Without saying so it would be asked in vain, which
   is dearer. */
extern const char *mailhook_plugin_dependencies[];
const char *mailhook_plugin_dependencies[] = { NULL };

static struct mailhook_dir *mailhook_dirs;
static time_t mailhook_warned;

static struct mail_storage_hooks mailhook_hooks = {
	.mail_user_created = mailhook_user_created,
	.mail_namespaces_created = mailhook_namespaces_created,
	.mailbox_allocated = mailhook_mailbox_allocated,
	.mail_allocated = mailhook_mail_allocated
};

static const char *mailhook_default_dir(void)
{
	const char *dir = getenv("MAILHOOK_DIR");

	return dir != NULL && *dir != '\0' ? dir : MAILHOOK_STATEDIR;
}

struct mse_appender *mailhook_appender(const char *path)
{
	struct mailhook_dir *dir;
	struct mse_appender *appender;

	if (path == NULL)
		path = mailhook_default_dir();
	for (dir = mailhook_dirs; dir != NULL; dir = dir->next) {
		if (strcmp(dir->path, path) == 0)
			return dir->appender;
	}
	if (mse_appender_new(path, &appender) < 0)
		return NULL;
	/* Read now: only dovecot's group may, and a mail process without a
	   master (lda, doveadm) is about to lose that right. */
	(void)mse_appender_interest(appender);
	dir = i_new(struct mailhook_dir, 1);
	dir->path = i_strdup(path);
	dir->appender = appender;
	DLLIST_PREPEND(&mailhook_dirs, dir);
	return appender;
}

void mailhook_warn(struct mail_user *user, const char *text)
{
	time_t now = time(NULL);

	if (mailhook_warned != 0 && now >= mailhook_warned &&
	    now - mailhook_warned < MAILHOOK_WARN_EVERY_SECS)
		return;
	mailhook_warned = now;
	e_warning(user->event, "mailhook: %s", text);
}

/* As root and before any chroot, where the service starts so: the only
   moment at which every mail process can open the journal. */
void mailhook_plugin_preinit(void)
{
	(void)mailhook_appender(NULL);
}

void mailhook_plugin_init(struct module *module)
{
	/* doveadm and lda have no preinit as root; harmless if there was. */
	(void)mailhook_appender(NULL);
	mail_storage_hooks_add(module, &mailhook_hooks);
	mailhook_commit_init();
	/* A process is one of them at most, and imap more often than any. */
	if (!mailhook_imap_init() && !mailhook_pop3_init())
		(void)mailhook_submission_init();
}

void mailhook_plugin_deinit(void)
{
	struct mailhook_dir *dir;

	mailhook_envelope_unhook();
	mailhook_submission_deinit();
	mailhook_pop3_deinit();
	mailhook_imap_deinit();
	mailhook_commit_deinit();
	mail_storage_hooks_remove(&mailhook_hooks);
	mailhook_batch_deinit();
	mailhook_transaction_deinit();
	while ((dir = mailhook_dirs) != NULL) {
		DLLIST_REMOVE(&mailhook_dirs, dir);
		mse_appender_free(&dir->appender);
		i_free(dir->path);
		i_free(dir);
	}
}
