#ifndef MSE_JOURNAL_SCAN_H
#define MSE_JOURNAL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/record.h"

/*
 * Finds RS … LF in a growing file, forwards, through one buffer: no call for
 * a record, and never more memory than the largest record needs. Does not
 * look into the JSON.
 */
struct mse_scan {
	int fd;                 /* borrowed */
	uint64_t limit;         /* nothing at or behind it is read */
	uint64_t base;          /* file offset of data[0] */
	char *data;
	size_t size, pos, len;  /* unread: data[pos] … data[len - 1] */
	size_t searched;        /* from pos; no end in these octets */
	uint64_t damage_at, damaged;
	bool torn;
};

enum mse_scan_result {
	MSE_SCAN_TEXT,   /* what stands between an RS and its LF */
	MSE_SCAN_DAMAGE, /* a run of octets up to the next RS (or the end) */
	MSE_SCAN_END,
	MSE_SCAN_ERROR   /* errno */
};

struct mse_scan_found {
	struct mse_slice text; /* TEXT; valid until the next call */
	uint64_t start, end;   /* file offsets of what was found */
	bool torn;             /* DAMAGE: it began with an RS */
};

void mse_scan_init(struct mse_scan *scan, int fd, uint64_t offset,
		   uint64_t limit);
/* Forgets what was read ahead behind it. */
void mse_scan_set_limit(struct mse_scan *scan, uint64_t limit);
void mse_scan_clear(struct mse_scan *scan);
/* final: nothing will be added before the limit any more, so an incomplete
   record is torn. */
enum mse_scan_result mse_scan_next(struct mse_scan *scan, bool final,
				   struct mse_scan_found *found_r);
/* The text just found is no record after all: it joins the damage. */
void mse_scan_spoil(struct mse_scan *scan, const struct mse_scan_found *found);
/* The text just found is given out once more by the next call. */
void mse_scan_return(struct mse_scan *scan, const struct mse_scan_found *found);
/* Of the first octet that was not given out yet. */
uint64_t mse_scan_offset(const struct mse_scan *scan);

#endif
