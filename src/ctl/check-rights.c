/*
 * check, rights: can the daemon read and write what is its own, can mail
 * processes append, and can nobody read the secrets.
 *
 * Mail processes append by the group of mailhook_dir (design: journal 0620,
 * presence 0660, interest 0640): imap, pop3, lmtp and submission have
 * Dovecot's group besides the mail user's, dovecot-lda has the mail user's
 * only. A Dovecot that is not started by root has one user for all of it, and
 * groups do not matter.
 */
#include "mse-config.h"

#include "ctl/check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "conf/conf.h"

#define NAME_SIZE 64
#define DIR_MODE "2711"

static const char *user_name(uid_t uid, char name[NAME_SIZE])
{
	const struct passwd *pw = getpwuid(uid);

	if (pw != NULL)
		(void)snprintf(name, NAME_SIZE, "%s", pw->pw_name);
	else
		(void)snprintf(name, NAME_SIZE, "%u", (unsigned int)uid);
	return name;
}

static const char *group_name(gid_t gid, char name[NAME_SIZE])
{
	const struct group *gr = getgrgid(gid);

	if (gr != NULL)
		(void)snprintf(name, NAME_SIZE, "%s", gr->gr_name);
	else
		(void)snprintf(name, NAME_SIZE, "%u", (unsigned int)gid);
	return name;
}

void mse_ctl_find_user(struct mse_ctl_check *check, pid_t pid)
{
	const struct passwd *pw;
	char text[4096];
	struct stat st;

	if (pid > 0) {
		(void)snprintf(text, sizeof(text), "/proc/%ld", (long)pid);
		if (stat(text, &st) == 0) {
			check->user_known = true;
			check->uid = st.st_uid;
			check->gid = st.st_gid;
			return;
		}
	}
	if (!check->dovecot ||
	    mse_ctl_doveconf_value(check->ctl, "default_internal_user", text,
				   sizeof(text)) < 0)
		return;
	pw = getpwnam(text);
	if (pw == NULL)
		return;
	check->user_known = true;
	check->uid = pw->pw_uid;
	check->gid = pw->pw_gid;
}

/* mailhook.conf */

/* As the daemon reads it, if we may become that user for a moment: what root
   can read says nothing. */
static int conf_read(const struct mse_ctl_check *check, const char *path,
		     struct mse_conf **conf_r, struct mse_error *error_r)
{
	bool change = geteuid() == 0 && check->user_known && check->uid != 0;
	int ret;

	if (change && (setgroups(1, &check->gid) < 0 ||
		       setegid(check->gid) < 0 || seteuid(check->uid) < 0))
		change = false;
	ret = mse_conf_read(path, conf_r, error_r);
	if (change && (seteuid(0) < 0 || setegid(0) < 0))
		abort();
	return ret;
}

static bool is_readable_by(const struct stat *st, uid_t uid, gid_t gid)
{
	if (st->st_uid == uid)
		return (st->st_mode & S_IRUSR) != 0;
	if (st->st_gid == gid)
		return (st->st_mode & S_IRGRP) != 0;
	return (st->st_mode & S_IROTH) != 0;
}

void mse_ctl_check_conf(struct mse_ctl_check *check, const char *path)
{
	char user[NAME_SIZE];
	struct mse_conf *conf;
	struct mse_error error;
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		mse_ctl_say(check, "problem", "%s: mode %04o lets others than "
			    "its owner at the secrets in it: chmod 0600 %s",
			    path, (unsigned int)st.st_mode & 07777, path);
	else if (access(path, R_OK) < 0 && errno == EACCES) {
		mse_ctl_say(check, "note", "%s: not readable for you; as root "
			    "check would read it", path);
		return;
	}
	if (check->user_known && stat(path, &st) == 0 &&
	    !is_readable_by(&st, check->uid, check->gid)) {
		(void)user_name(check->uid, user);
		mse_ctl_say(check, "problem", "%s: mailhookd runs as %s and "
			    "cannot read it: chown %s %s", path, user, user,
			    path);
	} else if (conf_read(check, path, &conf, &error) < 0) {
		mse_ctl_say(check, "problem", "%s", error.text);
	} else {
		mse_ctl_say(check, "ok", "%s: %zu endpoints", path,
			    conf->endpoint_count);
		mse_conf_free(&conf);
	}
}

/* mailhook_dir */

static void check_on_network(struct mse_ctl_check *check)
{
	int fd = open(check->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && mse_file_is_on_network(fd))
		mse_ctl_say(check, "problem", "%s is on a network file "
			    "system, where appends of several processes "
			    "overwrite each other; choose a local "
			    "mailhook_dir", check->dir);
	if (fd >= 0)
		(void)close(fd);
}

/* One of the daemon's files: it keeps what it finds, so a wrong mode, after a
   restored backup or a chmod -R, stays wrong. */
static void check_file(struct mse_ctl_check *check, const struct stat *dir,
		       const char *name, mode_t mode)
{
	char path[4096], group[NAME_SIZE];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", check->dir, name);
	if (stat(path, &st) < 0)
		return;
	if ((st.st_mode & 07777) != mode)
		mse_ctl_say(check, "problem", "%s: mode %04o instead of %04o: "
			    "chmod %04o %s", path,
			    (unsigned int)st.st_mode & 07777,
			    (unsigned int)mode, (unsigned int)mode, path);
	else if (st.st_gid != dir->st_gid) {
		(void)group_name(dir->st_gid, group);
		mse_ctl_say(check, "problem", "%s: has not the group of its "
			    "directory: chgrp %s %s && chmod " DIR_MODE " %s",
			    path, group, path, check->dir);
	}
}

/* Whether a list, as doveconf prints it, has this group. */
static bool lists_group(const char *list, const char *group, gid_t gid)
{
	char words[4096], number[NAME_SIZE], *word, *rest;

	(void)snprintf(words, sizeof(words), "%s", list);
	(void)snprintf(number, sizeof(number), "%u", (unsigned int)gid);
	for (word = strtok_r(words, " ,={}\"", &rest); word != NULL;
	     word = strtok_r(NULL, " ,={}\"", &rest)) {
		if (strcmp(word, group) == 0 || strcmp(word, number) == 0)
			return true;
	}
	return false;
}

static bool service_has_group(struct mse_ctl_check *check,
			      const char *service, const char *group,
			      gid_t gid, bool internal)
{
	char setting[64], text[4096];

	(void)snprintf(setting, sizeof(setting), "service/%s/extra_groups",
		       service);
	if (mse_ctl_doveconf(check->ctl, NULL, setting, text,
			     sizeof(text)) < 0 || *text == '\0')
		return true;
	/* $default_internal_group in 2.3, $SET:… in 2.4 */
	return lists_group(text, group, gid) ||
		(internal && strstr(text, "default_internal_group") != NULL);
}

/* Which mail processes can open a new journal file; those that were there
   before gave up root opened the first one in any case. */
static void check_groups(struct mse_ctl_check *check, gid_t gid)
{
	static const char *const services[] = {
		"imap", "pop3", "lmtp", "submission"
	};
	const size_t count = sizeof(services) / sizeof(services[0]);
	char group[NAME_SIZE], internal[NAME_SIZE], text[4096];
	bool lacks[sizeof(services) / sizeof(services[0])];
	size_t i, lacking = 0;

	(void)group_name(gid, group);
	if (mse_ctl_doveconf_value(check->ctl, "default_internal_group",
				   internal, sizeof(internal)) < 0)
		return;
	if (mse_ctl_doveconf(check->ctl, NULL, "mail_access_groups", text,
			     sizeof(text)) == 0 &&
	    lists_group(text, group, gid))
		return;
	for (i = 0; i < count; i++) {
		lacks[i] = !service_has_group(check, services[i], group, gid,
					      strcmp(internal, group) == 0);
		lacking += lacks[i] ? 1 : 0;
	}
	if (lacking == count) {
		mse_ctl_say(check, "problem", "%s: its group is %s, which "
			    "mail processes do not have: chgrp -R %s %s && "
			    "chmod " DIR_MODE " %s", check->dir, group,
			    internal, check->dir, check->dir);
		return;
	}
	for (i = 0; i < count; i++) {
		if (lacks[i])
			mse_ctl_say(check, "problem", "service %s has not the "
				"group %s, so %s processes cannot append to a "
				"new journal file: add %s to extra_groups in "
				"service %s { }", services[i], group,
				services[i], group, services[i]);
	}
}

/* Whether dovecot-lda is used cannot be seen, so this is a note. */
static void check_lda(struct mse_ctl_check *check, gid_t gid)
{
	char group[NAME_SIZE], text[4096];

	(void)group_name(gid, group);
	if (mse_ctl_doveconf(check->ctl, NULL, "mail_gid", text,
			     sizeof(text)) == 0 &&
	    lists_group(text, group, gid))
		return;
	mse_ctl_say(check, "note", "dovecot-lda can append only as a mail "
		    "user of group %s, that of %s; for others deliver by LMTP",
		    group, check->dir);
}

static bool is_rootless(const struct mse_ctl_check *check)
{
	struct stat st;

	return check->dovecot && stat(check->base_dir, &st) == 0 &&
		st.st_uid != 0;
}

static void check_mail_processes(struct mse_ctl_check *check,
				 const struct stat *dir)
{
	if ((dir->st_mode & S_IXGRP) == 0)
		mse_ctl_say(check, "problem", "%s: mode %04o keeps mail "
			    "processes out: chmod " DIR_MODE " %s", check->dir,
			    (unsigned int)dir->st_mode & 07777, check->dir);
	check_file(check, dir, "journal", 0620);
	check_file(check, dir, "presence", 0660);
	check_file(check, dir, "interest", 0640);
	if (check->dovecot) {
		check_groups(check, dir->st_gid);
		check_lda(check, dir->st_gid);
	}
}

void mse_ctl_check_dir(struct mse_ctl_check *check)
{
	unsigned int problems = check->problems;
	const char *dir = check->dir;
	char user[NAME_SIZE], group[NAME_SIZE];
	struct stat st;

	if (stat(dir, &st) < 0) {
		int error = errno;

		(void)user_name(check->uid, user);
		(void)group_name(check->gid, group);
		if (error == ENOENT && check->user_known)
			mse_ctl_say(check, "problem", "%s is missing: install "
				    "-d -o %s -g %s -m " DIR_MODE " %s", dir,
				    user, group, dir);
		else
			mse_ctl_say(check, "note", "%s: %s", dir,
				    strerror(error));
		return;
	}
	check_on_network(check);
	if (check->user_known && st.st_uid != check->uid) {
		(void)user_name(check->uid, user);
		mse_ctl_say(check, "problem", "%s: mailhookd runs as %s and "
			    "cannot make files there: chown %s %s", dir, user,
			    user, dir);
	}
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		mse_ctl_say(check, "problem", "%s: others than its owner may "
			    "make files there: chmod " DIR_MODE " %s", dir,
			    dir);
	if (!is_rootless(check))
		check_mail_processes(check, &st);
	if (check->problems == problems)
		mse_ctl_say(check, "ok", "%s: mode %04o", dir,
			    (unsigned int)st.st_mode & 07777);
}
