#ifndef MSE_JOURNAL_FILES_H
#define MSE_JOURNAL_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "journal/journal.h"

struct stat;

/* Private to the daemon's half: the files behind struct mse_journal. */

#define MSE_JOURNAL_TEMPORARY MSE_JOURNAL_NAME ".tmp"

/* One open file. The journal holds one reference, each reader standing in it
   another: a released file stays readable to the end. */
struct mse_jfile {
	unsigned int refs;
	int fd;                /* read only */
	dev_t dev;
	ino_t ino;
	uint64_t header_end;
	uint64_t synced_size;  /* what the last fdatasync covered */
	bool sync_failed;      /* sync.c's, in any thread */
	uint64_t late_offset;  /* read so far behind the seal; 0: not begun */
	bool released;
	struct mse_journal_file info;
};

struct mse_files {
	struct mse_jfile **list; /* oldest first, the current one last */
	unsigned int count;
	struct mse_journal_file *infos; /* for mse_journal_files() */
	/* Released by the last mse_journal_release(): their tails may still
	   be asked for. */
	struct mse_jfile **released;
	unsigned int released_count;
};

struct mse_journal {
	char *dir;
	int dir_fd;
	int presence_fd;
	const struct mse_clock *clock;
	struct mse_journal_limits limits;
	struct mse_files *files; /* looking refreshes their sizes */
	bool created;
	int watch_fd, watch_current, watch_previous;
};

/* Opens dir/name. 1: not there; 2: a regular file that is no journal; -1: it
   cannot be used, with a sentence. */
int mse_jfile_open(int dir_fd, const char *name, struct mse_jfile **file_r,
		   struct mse_error *error_r);
struct mse_jfile *mse_jfile_ref(struct mse_jfile *file);
void mse_jfile_unref(struct mse_jfile **file);
/* Size and time of its last change, as they are now. -1 with errno if they
   cannot be told: then they are what they were. */
int mse_jfile_refresh(struct mse_jfile *file);
/* Up to where readers read: the seal, else UINT64_MAX. */
uint64_t mse_jfile_limit(const struct mse_jfile *file);
/* len octets at offset, fewer only at the end; -1 with errno. */
ssize_t mse_jfile_read(const struct mse_jfile *file, void *data, size_t len,
		       uint64_t offset);
/* The last whole record that ends at or before limit (exact: at limit); the
   header counts. -1 if there is none, MSE_RECORD_NO_MEMORY if it cannot be
   told. */
int mse_jfile_last_record(const struct mse_jfile *file, uint64_t limit,
			  bool exact, char id_r[MSE_UUID_SIZE],
			  uint64_t *end_r);

/* Takes the reference. -1 if memory is out (the reference is dropped). */
int mse_files_add(struct mse_files *files, struct mse_jfile *file);
void mse_files_remove(struct mse_files *files, unsigned int index);
void mse_files_free(struct mse_files **files);
/* NULL if there is none. */
struct mse_jfile *mse_files_find(const struct mse_files *files,
				 const char *uuid);
struct mse_jfile *mse_files_current(const struct mse_files *files);
/* The oldest file newer than this one (which may be released); NULL if it is
   the current one. */
struct mse_jfile *mse_files_next(const struct mse_files *files,
				 const struct mse_jfile *file);
uint64_t mse_files_highest_number(const struct mse_files *files);

/* rotate.c: a new file with its header under the temporary name, synced. */
int mse_journal_make_temporary(struct mse_journal *journal,
			       struct mse_error *error_r);
/* Syncs the directory, renames the temporary over `journal`, syncs it again,
   opens the file. */
int mse_journal_put_current(struct mse_journal *journal,
			    struct mse_error *error_r);
/* files-open.c: finds what there is, finishes an interrupted rotation. */
int mse_journal_open_files(struct mse_journal *journal,
			   struct mse_error *error_r);
/* Renames a regular file that is no journal to journal.foreign-TIME. */
int mse_journal_move_aside(struct mse_journal *journal, const char *name,
			   struct mse_error *error_r);
/* watch.c */
void mse_journal_watch_init(struct mse_journal *journal);
void mse_journal_watch_rearm(struct mse_journal *journal);

#endif
