#ifndef MSE_JOURNAL_PRESENCE_H
#define MSE_JOURNAL_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "event/uuid.h"
#include "journal/intent.h"

/*
 * `presence` (journal.md, Presence): fixed size, preallocated, pread and
 * pwrite only. First block: magic, version, generation, the size allowed for
 * the current journal file. Then one slot per mail process: loss counter,
 * the span of the losses, a random instance. Behind the slots, for each of
 * them, what its process is about to change. A slot is claimed with an OFD
 * lock on its bytes; the kernel frees it when the process dies. One that was
 * left with intents is claimed by nobody until the daemon has cleared them.
 * Slot 0 is shared, for losses only, under a try-lock.
 */
#define MSE_PRESENCE_SLOTS 4096

struct mse_presence_head {
	uint64_t generation;   /* the ledger's; grows at each daemon start */
	uint64_t allowed_size; /* of the current journal file, octets */
	bool has_intents;      /* there is room for them, and who reads them */
};

struct mse_presence_slot {
	uint64_t lost;         /* only grows; belongs to the slot */
	int64_t lost_since_ms; /* wall; of the first loss ever counted here */
	int64_t lost_until_ms;
	char instance[MSE_UUID_SIZE];
};

/* Daemon's half. Creates (0660, preallocated) or opens; a foreign or short
   file is replaced by a new one and *created_r is set. Returns the fd. */
int mse_presence_open_daemon(int dir_fd, bool *created_r,
			     struct mse_error *error_r);
/* has_intents is as the file is, whatever head says. */
int mse_presence_write_head(int fd, const struct mse_presence_head *head);
int mse_presence_read_head(int fd, struct mse_presence_head *head_r);
int mse_presence_read_slot(int fd, unsigned int slot,
			   struct mse_presence_slot *slot_r);
/* Whether a living process holds the slot: 1, 0, -1 with errno. */
int mse_presence_is_held(int fd, unsigned int slot);
/* How many slots, from 0 on, are or were in use as far as can be told without
   reading them: all as soon as a process of a plugin that does not say which
   it uses is alive. One that came and went unseen is missed: look at
   MSE_PRESENCE_SLOTS now and then. -1 with errno. */
int mse_presence_reach(int fd);
/* Any of the first slots with lost > 0: calls back once for each. -1 with
   errno. */
int mse_presence_each_loss(int fd, unsigned int slots,
			   void (*found)(unsigned int slot,
					 const struct mse_presence_slot *data,
					 void *context),
			   void *context);

/* Those of the first slots that were left with intents, by a process that is
   dead: calls back once for each until its intents are cleared, though they
   may be not valid. -1 with errno. */
int mse_presence_each_intent(int fd, unsigned int slots,
			     void (*found)(unsigned int slot,
					   const struct mse_intents *intents,
					   void *context),
			     void *context);
int mse_presence_clear_intents(int fd, unsigned int slot);
/* Whether a living process has something under way since before that time
   (wall): 1, 0, -1 with errno. */
int mse_presence_is_under_way(int fd, int64_t before_ms);

/* Mail process's half: claims a free slot (random start) or, with none, slot
   0. Returns the slot number, or -1. Never waits. instance_r: of a slot of its
   own, else "". */
int mse_presence_claim(int fd, char instance_r[MSE_UUID_SIZE]);
/* All that are under way now, of a slot of its own in a file that has
   intents; over what it wrote before. -1 with errno. */
int mse_presence_write_intents(int fd, int slot, struct mse_intents *intents);
/* Adds to the slot's counter. -1 with errno if it could not be counted. */
int mse_presence_add_lost(int fd, int slot, uint64_t lost, int64_t wall_ms);

#endif
