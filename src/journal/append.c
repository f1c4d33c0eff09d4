/*
 * The producers' half of the journal: one transaction's records to the end
 * of the current file, from any number of processes at once.
 *
 * Invariant: when mse_appender_append() returns, the records stand whole in
 * a file that had a name after they were written, or presence counts them,
 * or the caller is told that neither was possible. No lock is taken and
 * nothing is waited for.
 *
 * How the rules of rotation and release meet here:
 *  - before: the path's inode is compared with ours; after a rotation the new
 *    file is opened. A process that may not open it (its uid changed) goes
 *    on with the old file while that has a name: what stands behind a seal
 *    is appended again by the daemon.
 *    Files here are only ever made, replaced and removed as a whole, so the
 *    directory's times tell of a change to any of them: one fstat() of it
 *    instead of one look at each (see look()). What the daemon writes into
 *    presence's head it announces by touching the directory.
 *  - after: a file without a name may have been read to its end before our
 *    write. The same bytes, with the same ids, go to the current file; a
 *    reader that sees both sees one id twice.
 *  - the file's allowed size stands in presence, so that a stopped daemon
 *    does not fill the disk with mail on it.
 *
 * Intents: what is under way stands in presence while it is.
 */
#include "journal/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "journal/format.h"
#include "journal/presence.h"
#include "journal/write.h"

/* Files released under our hands in a row before it counts as a loss. */
#define MAX_ATTEMPTS 4

/* A directory changed so long ago has no second change with the same time:
   the kernel's clock for files ticks at least every 10 ms, but some file
   systems keep whole (FAT: even) seconds. */
#define TICK_NS INT64_C(100000000)
#define WHOLE_SECONDS_NS INT64_C(2500000000)
/* A transaction that was begun so long ago need not look again. */
#define LOOK_AGAIN_NS INT64_C(10000000)

/* What may have changed since it was last looked at. */
enum due {
	DUE_INTEREST = 1 << 0,
	DUE_JOURNAL = 1 << 1,
	DUE_PRESENCE = 1 << 2,
	DUE_HEAD = 1 << 3,
	DUE_ALL = DUE_INTEREST | DUE_JOURNAL | DUE_PRESENCE | DUE_HEAD
};

struct file_identity {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct mse_appender {
	char *dir;
	int dir_fd;             /* O_PATH: mail processes may not list it */
	int journal_fd;
	dev_t journal_dev;
	ino_t journal_ino;
	int presence_fd;
	int slot;               /* -1: not claimed yet */
	pid_t slot_owner;
	struct mse_intents intents;  /* under way now */

	unsigned int due;       /* of enum due */
	bool settled;           /* dir_mtime tells of every later change */
	struct timespec dir_mtime, dir_ctime;
	int64_t looked_ns;      /* monotonic */
	struct mse_presence_head head;

	struct mse_interest *nothing, *everything, *interest;
	struct file_identity interest_seen;
	bool interest_known;
	bool interest_good;     /* it could be read */
	bool absent;            /* as is_absent() said last */

	struct mse_error error;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void look_at_all(struct mse_appender *appender)
{
	appender->settled = false;
	appender->due = DUE_ALL;
}

static bool same_inode(int a, int b)
{
	struct stat st_a, st_b;

	return fstat(a, &st_a) == 0 && fstat(b, &st_b) == 0 &&
		st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* Keeps the old descriptor if the directory cannot be opened now, or is the
   same. */
static void open_dir(struct mse_appender *appender)
{
	int fd = open(appender->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (appender->dir_fd >= 0 && same_inode(fd, appender->dir_fd)) {
		(void)close(fd);
		return;
	}
	close_fd(&appender->dir_fd);
	appender->dir_fd = fd;
	look_at_all(appender);
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec now;

	/* Without a system call. */
	if (clock_gettime(id, &now) < 0)
		return 0;
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_past(const struct timespec *changed)
{
	int64_t age = clock_ns(CLOCK_REALTIME_COARSE) -
		((int64_t)changed->tv_sec * 1000000000 + changed->tv_nsec);

	return age > (changed->tv_nsec == 0 ? WHOLE_SECONDS_NS : TICK_NS);
}

/* All that stands in the directory is to be looked at, and so it is again
   whenever the directory changes after this. */
static void look_at_dir(struct mse_appender *appender)
{
	struct stat st;

	look_at_all(appender);
	if (appender->dir_fd < 0 || fstat(appender->dir_fd, &st) < 0)
		return;
	appender->looked_ns = clock_ns(CLOCK_MONOTONIC_COARSE);
	mse_write_look_at_limit();
	/* Seen before the files are: a change between shows next time. */
	appender->dir_mtime = st.st_mtim;
	appender->dir_ctime = st.st_ctim;
	appender->settled = is_past(&st.st_mtim) && is_past(&st.st_ctim);
}

/* Finds out whether anything is to be looked at again: nothing, while the
   directory is as it was when all of it was looked at and was in order, long
   enough after its last change that another one would show. */
static void look(struct mse_appender *appender)
{
	struct stat st;

	if (appender->dir_fd < 0 || fstat(appender->dir_fd, &st) < 0) {
		look_at_all(appender);
		return;
	}
	appender->looked_ns = clock_ns(CLOCK_MONOTONIC_COARSE);
	if (appender->settled &&
	    same_time(&st.st_mtim, &appender->dir_mtime) &&
	    same_time(&st.st_ctim, &appender->dir_ctime))
		return;
	/* Perhaps another directory has its name now. */
	open_dir(appender);
	look_at_dir(appender);
}

/* The same before an append; what the transaction's beginning has seen is
   good enough if it was a moment ago. */
static void look_again(struct mse_appender *appender)
{
	if (!appender->settled || clock_ns(CLOCK_MONOTONIC_COARSE) -
	    appender->looked_ns > LOOK_AGAIN_NS)
		look(appender);
}

static bool is_due(const struct mse_appender *appender, enum due what)
{
	return (appender->due & what) != 0;
}

/* Looked at; if it was not in order, next time again. */
static void looked_at(struct mse_appender *appender, enum due what, bool good)
{
	appender->due &= ~(unsigned int)what;
	if (!good)
		appender->settled = false;
}

static int open_regular(int dir_fd, const char *name, int flags,
			struct stat *st_r)
{
	int fd, saved_errno;

	fd = openat(dir_fd, name,
		    flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (fstat(fd, st_r) == 0) {
		if (S_ISREG(st_r->st_mode))
			return fd;
		errno = EINVAL;
	}
	saved_errno = errno;
	(void)close(fd);
	errno = saved_errno;
	return -1;
}

static int open_journal(struct mse_appender *appender, struct stat *st_r)
{
	int fd = open_regular(appender->dir_fd, MSE_JOURNAL_NAME,
			      O_WRONLY | O_APPEND, st_r);

	if (fd < 0)
		return -1;
	close_fd(&appender->journal_fd);
	appender->journal_fd = fd;
	appender->journal_dev = st_r->st_dev;
	appender->journal_ino = st_r->st_ino;
	return 0;
}

/* A presence file that was replaced is read by nobody, and a child's locks
   would be its parent's: both open it again. */
static int open_presence(struct mse_appender *appender)
{
	struct stat st;
	int fd;

	if (appender->presence_fd >= 0 &&
	    (!is_due(appender, DUE_PRESENCE) ||
	     (fstat(appender->presence_fd, &st) == 0 && st.st_nlink > 0)) &&
	    (appender->slot < 0 ||
	     appender->slot_owner == mse_process_id())) {
		looked_at(appender, DUE_PRESENCE, true);
		return 0;
	}
	fd = open_regular(appender->dir_fd, MSE_PRESENCE_NAME, O_RDWR, &st);
	looked_at(appender, DUE_PRESENCE, fd >= 0);
	appender->due |= DUE_HEAD;
	if (fd < 0) {
		if (appender->slot > 0)
			appender->slot = 0;
		appender->slot_owner = mse_process_id();
		return appender->presence_fd < 0 ? -1 : 0;
	}
	close_fd(&appender->presence_fd);
	appender->presence_fd = fd;
	appender->slot = -1;
	return 0;
}

static int claim_slot(struct mse_appender *appender)
{
	uint32_t last_id = appender->intents.last_id;
	char instance[MSE_UUID_SIZE];

	if (open_presence(appender) < 0)
		return -1;
	if (appender->slot < 0) {
		appender->slot = mse_presence_claim(appender->presence_fd,
						    instance);
		appender->slot_owner = mse_process_id();
		/* What was under way is so no more for anybody who reads it:
		   presence is another file, or this is a child. */
		mse_intents_init(&appender->intents, instance);
		appender->intents.last_id = last_id;
	}
	return appender->slot < 0 ? -1 : 0;
}

int mse_appender_new(const char *dir, struct mse_appender **appender_r)
{
	struct mse_appender *appender = calloc(1, sizeof(*appender));
	struct stat st;

	*appender_r = NULL;
	if (appender == NULL)
		return -1;
	appender->dir_fd = appender->journal_fd = appender->presence_fd = -1;
	appender->slot = -1;
	appender->due = DUE_ALL;
	appender->dir = strdup(dir);
	appender->nothing = mse_interest_new(false);
	appender->everything = mse_interest_new(true);
	if (appender->dir == NULL || appender->nothing == NULL ||
	    appender->everything == NULL) {
		mse_appender_free(&appender);
		return -1;
	}
	open_dir(appender);
	if (appender->dir_fd >= 0) {
		look_at_dir(appender);
		(void)open_journal(appender, &st);
		(void)open_presence(appender);
	}
	*appender_r = appender;
	return 0;
}

void mse_appender_free(struct mse_appender **_appender)
{
	struct mse_appender *appender = *_appender;

	*_appender = NULL;
	if (appender == NULL)
		return;
	close_fd(&appender->presence_fd);
	close_fd(&appender->journal_fd);
	close_fd(&appender->dir_fd);
	mse_interest_free(&appender->interest);
	mse_interest_free(&appender->everything);
	mse_interest_free(&appender->nothing);
	free(appender->dir);
	free(appender);
}

/* The daemon has never run here, or all it made was taken away. */
static bool is_absent(struct mse_appender *appender)
{
	struct stat st;

	if (appender->journal_fd >= 0)
		return false;
	if (appender->dir_fd >= 0) {
		if (fstatat(appender->dir_fd, MSE_JOURNAL_NAME, &st,
			    AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			return false;
	}
	/* Perhaps another directory of that name now. */
	open_dir(appender);
	if (appender->dir_fd < 0)
		return errno == ENOENT;
	return fstatat(appender->dir_fd, MSE_JOURNAL_NAME, &st,
		       AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static bool same_file(const struct file_identity *a,
		      const struct file_identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
		a->mtime.tv_sec == b->mtime.tv_sec &&
		a->mtime.tv_nsec == b->mtime.tv_nsec &&
		a->ctime.tv_sec == b->ctime.tv_sec &&
		a->ctime.tv_nsec == b->ctime.tv_nsec;
}

/* A file that is not there has the identity of zeros. */
static void look_at_interest(struct mse_appender *appender,
			     struct file_identity *seen_r)
{
	struct stat st;

	memset(seen_r, 0, sizeof(*seen_r));
	if (fstatat(appender->dir_fd, MSE_INTEREST_NAME, &st,
		    AT_SYMLINK_NOFOLLOW) < 0)
		return;
	seen_r->dev = st.st_dev;
	seen_r->ino = st.st_ino;
	seen_r->size = st.st_size;
	seen_r->mtime = st.st_mtim;
	seen_r->ctime = st.st_ctim;
}

static void read_interest(struct mse_appender *appender)
{
	struct file_identity seen;
	struct mse_interest *interest;
	int ret;

	look_at_interest(appender, &seen);
	if (appender->interest_known &&
	    same_file(&seen, &appender->interest_seen)) {
		looked_at(appender, DUE_INTEREST, appender->interest_good);
		return;
	}
	/* Seen before it is read: a change between shows next time. */
	ret = mse_interest_read(appender->dir_fd, &interest, NULL);
	mse_interest_free(&appender->interest);
	appender->interest = interest;
	appender->interest_seen = seen;
	appender->interest_known = interest != NULL;
	appender->interest_good = ret == 0;
	looked_at(appender, DUE_INTEREST, appender->interest_good);
}

const struct mse_interest *
mse_appender_interest(struct mse_appender *appender)
{
	look(appender);
	if (is_due(appender, DUE_INTEREST)) {
		appender->absent = is_absent(appender);
		if (appender->absent)
			looked_at(appender, DUE_INTEREST, true);
		else if (appender->dir_fd >= 0)
			read_interest(appender);
	}
	return mse_appender_known_interest(appender);
}

const struct mse_interest *
mse_appender_known_interest(const struct mse_appender *appender)
{
	if (appender->absent)
		return appender->nothing;
	return appender->dir_fd < 0 || appender->interest == NULL ?
		appender->everything : appender->interest;
}

int mse_appender_presence(struct mse_appender *appender, unsigned int *slot_r,
			  char instance_r[MSE_UUID_SIZE])
{
	struct mse_presence_slot slot;

	look_again(appender);
	if (claim_slot(appender) < 0 || appender->slot <= 0 ||
	    mse_presence_read_slot(appender->presence_fd,
				   (unsigned int)appender->slot, &slot) < 0 ||
	    slot.instance[0] == '\0')
		return -1;
	*slot_r = (unsigned int)appender->slot;
	memcpy(instance_r, slot.instance, MSE_UUID_SIZE);
	return 0;
}

/* -1 if it is to be chosen anew. */
static int keep_file(struct mse_appender *appender, uint64_t *size_r)
{
	off_t size;

	if (is_due(appender, DUE_JOURNAL) || appender->journal_fd < 0)
		return -1;
	/* Cheaper than fstat(). */
	size = lseek(appender->journal_fd, 0, SEEK_END);
	*size_r = size < 0 ? 0 : (uint64_t)size;
	return size < 0 ? -1 : 0;
}

/* The file to append to and its size; -1 with errno if there is none. */
static int choose_file(struct mse_appender *appender, uint64_t *size_r)
{
	struct stat st;
	int saved_errno;

	if (keep_file(appender, size_r) == 0)
		return 0;
	if (appender->dir_fd < 0)
		open_dir(appender);
	if (appender->dir_fd < 0)
		return -1;
	if (fstatat(appender->dir_fd, MSE_JOURNAL_NAME, &st,
		    AT_SYMLINK_NOFOLLOW) == 0 &&
	    ((appender->journal_fd >= 0 &&
	      st.st_dev == appender->journal_dev &&
	      st.st_ino == appender->journal_ino) ||
	     open_journal(appender, &st) == 0)) {
		looked_at(appender, DUE_JOURNAL, true);
		*size_r = (uint64_t)st.st_size;
		return 0;
	}
	saved_errno = errno;
	looked_at(appender, DUE_JOURNAL, false);
	if (appender->journal_fd >= 0 &&
	    fstat(appender->journal_fd, &st) == 0 && st.st_nlink > 0) {
		*size_r = (uint64_t)st.st_size;
		return 0;
	}
	close_fd(&appender->journal_fd);
	errno = saved_errno;
	return -1;
}

static bool has_name(const struct mse_appender *appender)
{
	struct stat st;

	return fstat(appender->journal_fd, &st) < 0 || st.st_nlink > 0;
}

/* What the daemon says in presence. */
static const struct mse_presence_head *read_head(struct mse_appender *appender)
{
	struct mse_presence_head *head = &appender->head;
	bool known;

	if (!is_due(appender, DUE_HEAD))
		return head;
	known = appender->presence_fd >= 0 &&
		mse_presence_read_head(appender->presence_fd, head) == 0;
	if (!known)
		memset(head, 0, sizeof(*head));
	/* 0: made a moment ago, the daemon has not said yet. */
	looked_at(appender, DUE_HEAD, known && head->allowed_size != 0);
	if (head->allowed_size == 0)
		head->allowed_size = MSE_JOURNAL_FILE_SIZE;
	return head;
}

uint32_t mse_appender_intend(struct mse_appender *appender,
			     const struct mse_intent *intent)
{
	uint32_t id;

	look_again(appender);
	if (claim_slot(appender) < 0 || appender->slot == 0 ||
	    !read_head(appender)->has_intents)
		return 0;
	id = mse_intents_add(&appender->intents, intent);
	if (mse_presence_write_intents(appender->presence_fd, appender->slot,
				       &appender->intents) == 0)
		return id;
	mse_intents_remove(&appender->intents, id);
	/* If half of it stands there. */
	(void)mse_presence_write_intents(appender->presence_fd,
					 appender->slot, &appender->intents);
	return 0;
}

void mse_appender_done(struct mse_appender *appender, uint32_t id)
{
	/* A child that came into being meanwhile has nothing under way. */
	if (id == 0 || appender->slot <= 0 ||
	    appender->slot_owner != mse_process_id())
		return;
	mse_intents_remove(&appender->intents, id);
	/* If it cannot be written, the daemon tells of it in vain. */
	(void)mse_presence_write_intents(appender->presence_fd,
					 appender->slot, &appender->intents);
}

/* Counts what was lost; the sentence stands already. */
static enum mse_append_result count(struct mse_appender *appender,
				    unsigned int records)
{
	if (records == 0)
		return MSE_APPEND_DONE;
	look(appender);
	if (claim_slot(appender) == 0 &&
	    mse_presence_add_lost(appender->presence_fd, appender->slot,
				  records,
				  mse_clock_wall(&mse_clock_system)) == 0)
		return MSE_APPEND_LOST;
	mse_error_prefix(&appender->error, "cannot count the loss (%s)",
			 strerror(errno));
	return MSE_APPEND_UNSEEN;
}

enum mse_append_result
mse_appender_count_lost(struct mse_appender *appender, unsigned int records)
{
	appender->error.text[0] = '\0';
	if (is_absent(appender) && open_presence(appender) < 0)
		return MSE_APPEND_DONE;
	mse_error_set(&appender->error, "an event could not be made");
	return count(appender, records);
}

/* 0, or -1 with the number of records that are not in the file. */
static int append_once(struct mse_appender *appender, uint64_t size,
		       const struct mse_buf *bytes,
		       enum mse_durability durability,
		       unsigned int records, unsigned int *missing_r)
{
	uint64_t allowed = read_head(appender)->allowed_size;
	size_t whole = 0;
	unsigned int written;

	*missing_r = records;
	if (bytes->len > allowed || size > allowed - bytes->len) {
		return mse_error_set(&appender->error, "the journal has "
				     "reached its limit; is mailhookd "
				     "running?");
	}
	if (mse_write_records(appender->journal_fd, size, bytes->data,
			      bytes->len, &whole) < 0) {
		written = mse_write_count(bytes->data, whole);
		*missing_r = records > written ? records - written : 0;
		return mse_error_set(&appender->error, "cannot append to the "
				     "journal: %s", strerror(errno));
	}
	if (durability == MSE_DURABILITY_POWER &&
	    fdatasync(appender->journal_fd) < 0) {
		return mse_error_set(&appender->error, "cannot sync the "
				     "journal: %s", strerror(errno));
	}
	*missing_r = 0;
	return 0;
}

/* How many of the records are not in the journal; why, in appender->error. */
static unsigned int append(struct mse_appender *appender,
			   const struct mse_buf *bytes, unsigned int records,
			   enum mse_durability durability)
{
	unsigned int attempt, missing = records;
	uint64_t size;
	int ret;

	if (mse_buf_failed(bytes)) {
		mse_error_set(&appender->error, "memory is out");
		return records;
	}
	look_again(appender);
	(void)claim_slot(appender);
	for (attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
		if (choose_file(appender, &size) < 0) {
			mse_error_set(&appender->error, "cannot open %s/%s: %s",
				      appender->dir, MSE_JOURNAL_NAME,
				      strerror(errno));
			return records;
		}
		ret = append_once(appender, size, bytes, durability, records,
				  &missing);
		if (ret < 0 && missing == records)
			return missing;
		if (has_name(appender))
			return ret < 0 ? missing : 0;
		look_at_all(appender);
		missing = records;
		mse_error_set(&appender->error, "the journal's files go away "
			      "faster than they can be written");
	}
	return missing;
}

int mse_appender_try(struct mse_appender *appender,
		     const struct mse_buf *bytes, unsigned int records)
{
	appender->error.text[0] = '\0';
	return append(appender, bytes, records,
		      MSE_DURABILITY_PROCESS) == 0 ? 0 : -1;
}

enum mse_append_result
mse_appender_append(struct mse_appender *appender, const struct mse_buf *bytes,
		    unsigned int records, enum mse_durability durability)
{
	unsigned int missing;

	appender->error.text[0] = '\0';
	if (bytes->len == 0 || records == 0)
		return MSE_APPEND_DONE;
	missing = append(appender, bytes, records, durability);
	if (missing > 0 && !mse_buf_failed(bytes) &&
	    is_absent(appender) && appender->presence_fd < 0) {
		appender->error.text[0] = '\0';
		return MSE_APPEND_DONE;
	}
	return count(appender, missing);
}

const char *mse_appender_last_error(const struct mse_appender *appender)
{
	return appender->error.text;
}
