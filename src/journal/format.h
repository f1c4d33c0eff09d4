#ifndef MSE_JOURNAL_FORMAT_H
#define MSE_JOURNAL_FORMAT_H

#include <stdint.h>

#include "event/uuid.h"

/*
 * Files in mailhook_dir. `journal` is current, `journal.N` older (N grows
 * with age of the installation: the largest N is the newest of them).
 * A file is RFC 7464 records: RS (0x1E), a JSON object, LF. Its first record
 * names it:
 *
 *   {"id":"FILE UUID","type":"vnd.mailhook.journal","time":"…","data":{"version":1}}
 */
#define MSE_JOURNAL_NAME "journal"
#define MSE_INTEREST_NAME "interest"
#define MSE_PRESENCE_NAME "presence"
#define MSE_JOURNAL_VERSION 1
#define MSE_JOURNAL_HEADER_TYPE "vnd.mailhook.journal"
#define MSE_JOURNAL_FILE_SIZE (32 * 1024 * 1024)
#define MSE_CHECKPOINT_EVERY (1024 * 1024)

/* Where a cursor stands: behind the record `id` that ends at `offset` of the
   file `file`. At a file's start: behind its header record (id = file).
   Never an inode number (journal.md, Positions). */
struct mse_position {
	char file[MSE_UUID_SIZE];
	uint64_t offset;
	char id[MSE_UUID_SIZE];
};

#endif
