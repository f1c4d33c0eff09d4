#ifndef MSE_JOURNAL_READER_H
#define MSE_JOURNAL_READER_H

#include "event/record.h"
#include "journal/journal.h"

/* One cursor's eyes. Reads files in order, entering the next only when the
   one before is sealed. */
struct mse_journal_reader;

enum mse_match {
	MSE_MATCH_YES,      /* the record `id` ends at `offset` */
	MSE_MATCH_NO,       /* the file is there but not that record */
	MSE_MATCH_RELEASED, /* there is no such file */
	MSE_MATCH_UNKNOWN   /* memory is out: it cannot be told now */
};
/* Whether a position says the truth about what is there now. */
enum mse_match mse_journal_match(struct mse_journal *journal,
				 const struct mse_position *position);

/* Position behind the header of the oldest / behind the last whole record of
   the current file. */
void mse_journal_oldest(struct mse_journal *journal,
			struct mse_position *position_r);
int mse_journal_newest(struct mse_journal *journal,
		       struct mse_position *position_r,
		       struct mse_error *error_r);
/* Behind the header of file uuid, -1 if there is none. */
int mse_journal_file_start(struct mse_journal *journal, const char *uuid,
			   struct mse_position *position_r);
/* Behind the header of the file after uuid (for a released file: the oldest
   one there is). */
void mse_journal_next_file_start(struct mse_journal *journal,
				 const char *uuid,
				 struct mse_position *position_r);

/* position must match. One whose file is gone begins with RELEASED, in the
   oldest there is. NULL if memory is out. */
struct mse_journal_reader *
mse_journal_reader_new(struct mse_journal *journal,
		       const struct mse_position *position);
void mse_journal_reader_free(struct mse_journal_reader **reader);

enum mse_read {
	MSE_READ_RECORD,
	MSE_READ_END,      /* nothing more now; ask again when it grew */
	MSE_READ_DAMAGE,   /* zeros, foreign bytes, a torn record were passed */
	MSE_READ_RELEASED, /* the file went away under the cursor */
	MSE_READ_ERROR     /* nothing was passed; ask again later */
};
struct mse_read_result {
	struct mse_record record;     /* RECORD; valid until the next call */
	/* Behind the last whole record, so that it always matches; after
	   DAMAGE still the record before it (a reader from there reports the
	   same damage again). After RELEASED, DAMAGE at a file's end: start of
	   the file the reader goes on with. Set for every result. */
	struct mse_position position;
	char damage_file[MSE_UUID_SIZE]; /* DAMAGE: where it begins */
	uint64_t damage_offset;
	uint64_t damaged_octets;      /* DAMAGE */
	bool torn;                    /* DAMAGE: looked like the start of one */
};
/* Header records are never returned. Facts (vnd.mailhook.fact.*) and unknown
   types are: the consumer knows what it takes. An incomplete last record is
   END until an RS follows or the file is sealed. */
enum mse_read mse_journal_reader_next(struct mse_journal_reader *reader,
				      struct mse_read_result *result_r,
				      struct mse_error *error_r);
/* After RECORD: the next call returns it once more (it could not be used). */
void mse_journal_reader_again(struct mse_journal_reader *reader);
/* Octets between the reader and the journal's end (for lag figures). */
uint64_t mse_journal_reader_behind(const struct mse_journal_reader *reader);

#endif
