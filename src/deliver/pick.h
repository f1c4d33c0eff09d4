#ifndef MSE_DELIVER_PICK_H
#define MSE_DELIVER_PICK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "event/pattern.h"
#include "event/record.h"
#include "event/vocabulary.h"
#include "ledger/ledger.h"

/*
 * Which events a person means: those that all of it holds for. Pure.
 */
struct mse_pick {
	char *id;                   /* NULL: any; the same for: */
	char *type;
	struct mse_patterns *users; /* of the owner */
	int64_t since_ms, until_ms; /* wall, of the event, both included */
};

/* Copies. id, type, user may be NULL; user is a pattern as in mailhook.conf. A
   type nobody knows is a mistake. */
int mse_pick_init(struct mse_pick *pick, const char *id, const char *type,
		  const char *user, int64_t since_ms, int64_t until_ms,
		  struct mse_error *error_r);
void mse_pick_clear(struct mse_pick *pick);
bool mse_pick_record(const struct mse_pick *pick,
		     const struct mse_record *record);
/* A row's owner is known from its record (mse_pick_needs_record), or else
   from its lane; its time from its id. */
bool mse_pick_row(const struct mse_pick *pick,
		  const struct mse_ledger_row *row);
bool mse_pick_needs_record(const struct mse_pick *pick);

#endif
