/*
 * Being told that the journal grew, instead of asking.
 *
 * The current file is watched for writes and the directory for `journal`
 * being replaced by anybody. After a rotation the old file stays watched
 * until the next one: late records come there. A watch that cannot be had
 * costs latency only, since the loop looks now and then anyway.
 */
#include "journal/files.h"

#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#define FILE_EVENTS (IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF)
#define DIR_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | \
		    IN_ONLYDIR)

static int add_watch(struct mse_journal *journal, const char *name,
		     uint32_t events)
{
	char path[PATH_MAX];
	int len;

	len = snprintf(path, sizeof(path), "%s/%s", journal->dir, name);
	if (len < 0 || (size_t)len >= sizeof(path))
		return -1;
	return inotify_add_watch(journal->watch_fd, path, events);
}

void mse_journal_watch_init(struct mse_journal *journal)
{
	journal->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (journal->watch_fd < 0)
		return;
	(void)add_watch(journal, ".", DIR_EVENTS);
	journal->watch_current = add_watch(journal, MSE_JOURNAL_NAME,
					   FILE_EVENTS);
}

void mse_journal_watch_rearm(struct mse_journal *journal)
{
	if (journal->watch_fd < 0)
		return;
	if (journal->watch_previous >= 0)
		(void)inotify_rm_watch(journal->watch_fd,
				       journal->watch_previous);
	journal->watch_previous = journal->watch_current;
	journal->watch_current = add_watch(journal, MSE_JOURNAL_NAME,
					   FILE_EVENTS);
}

int mse_journal_watch_fd(const struct mse_journal *journal)
{
	return journal->watch_fd;
}

bool mse_journal_watch_drain(struct mse_journal *journal)
{
	char events[4096]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	unsigned int rounds;

	if (journal->watch_fd < 0)
		return false;
	/* Bounded: a busy server may write faster than this reads. What is
	   left makes the descriptor readable again. */
	for (rounds = 0; rounds < 64; rounds++) {
		if (read(journal->watch_fd, events, sizeof(events)) <= 0)
			break;
	}
	return rounds > 0;
}
