/*
 * A journal file of any octets. The reader comes to its end, never goes
 * backwards, only gives out positions that match, and a record appended
 * afterwards is read, exactly once, whatever stands before it.
 */
#include "fuzz.h"

#include <string.h>

#include "event/event.h"
#include "journal/append.h"
#include "journal/journal.h"
#include "journal/reader.h"

const char fuzz_name[] = "journal";

#define HEADER "\x1e{\"id\":\"0190a0b0-0000-7000-8000-000000000001\"," \
	"\"type\":\"vnd.mailhook.journal\",\"time\":" \
	"\"2026-11-24T04:30:35.123+00:00\",\"data\":{\"version\":1}}\n"

struct seen {
	struct mse_journal *journal;
	struct mse_journal_reader *reader;
	struct mse_position position;
	uint64_t records, octets; /* damaged */
};

static void put_journal(struct fuzz_input *input)
{
	bool header = (fuzz_take_octet(input) & 1) != 0;
	size_t len, prefix = header ? sizeof(HEADER) - 1 : 0;
	char *rest = fuzz_take_rest(input, &len);
	char *file = malloc(prefix + len + 1);

	FUZZ_CHECK(file != NULL);
	memcpy(file, HEADER, prefix);
	memcpy(file + prefix, rest, len);
	fuzz_put_file("journal", file, prefix + len);
	free(file);
	free(rest);
}

/* Reads on to the end. */
static void read_all(struct seen *seen)
{
	struct mse_read_result result;
	struct mse_error error;
	unsigned int results = 0;

	for (;;) {
		enum mse_read read = mse_journal_reader_next(seen->reader,
							     &result, &error);

		FUZZ_CHECK(read != MSE_READ_ERROR &&
			   read != MSE_READ_RELEASED);
		FUZZ_CHECK(strcmp(result.position.file,
				  seen->position.file) == 0);
		FUZZ_CHECK(result.position.offset >= seen->position.offset);
		FUZZ_CHECK(mse_journal_match(seen->journal,
					     &result.position) ==
			   MSE_MATCH_YES);
		seen->position = result.position;
		if (read == MSE_READ_END)
			return;
		FUZZ_CHECK(++results < 100000);
		if (read == MSE_READ_RECORD)
			seen->records++;
		else
			seen->octets += result.damaged_octets;
	}
}

static void append_event(const char *user, char id_r[MSE_UUID_SIZE])
{
	struct mse_appender *appender;
	struct mse_event event;
	struct mse_buf buf;

	mse_event_init(&event, MSE_EVENT_LOGIN, 1700000000000);
	event.user = user;
	memcpy(id_r, event.id, MSE_UUID_SIZE);
	mse_buf_init(&buf, 65536);
	mse_event_write(&event, &buf);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(mse_appender_new(fuzz_directory(), &appender) == 0);
	FUZZ_CHECK(mse_appender_append(appender, &buf, 1,
				       MSE_DURABILITY_PROCESS) ==
		   MSE_APPEND_DONE);
	mse_appender_free(&appender);
	mse_buf_clear(&buf);
}

/* From the oldest position once more: the same. */
static void check_again(const struct seen *seen)
{
	struct seen again = { .journal = seen->journal };

	mse_journal_oldest(seen->journal, &again.position);
	again.reader = mse_journal_reader_new(seen->journal, &again.position);
	FUZZ_CHECK(again.reader != NULL);
	read_all(&again);
	FUZZ_CHECK(again.records == seen->records);
	FUZZ_CHECK(again.position.offset == seen->position.offset);
	mse_journal_reader_free(&again.reader);
}

static void check_journal(struct mse_journal *journal)
{
	struct seen seen = { .journal = journal };
	struct mse_position newest;
	struct mse_error error;
	char id[MSE_UUID_SIZE];
	uint64_t before;

	mse_journal_oldest(journal, &seen.position);
	seen.reader = mse_journal_reader_new(journal, &seen.position);
	FUZZ_CHECK(seen.reader != NULL);
	read_all(&seen);
	before = seen.records;
	append_event("one", id);
	read_all(&seen);
	FUZZ_CHECK(seen.records == before + 1);
	FUZZ_CHECK(strcmp(seen.position.id, id) == 0);
	FUZZ_CHECK(mse_journal_newest(journal, &newest, &error) == 0);
	FUZZ_CHECK(newest.offset == seen.position.offset);
	FUZZ_CHECK(mse_journal_reader_behind(seen.reader) == 0);
	check_again(&seen);
	mse_journal_reader_free(&seen.reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mse_journal_limits limits = {
		MSE_JOURNAL_FILE_SIZE, 3600 * 1000, 1024 * 1024 * 1024
	};
	struct fuzz_input input = { data, size };
	static struct mse_clock_fake clock;
	struct mse_journal *journal;
	struct mse_error error;

	if (size > 65536)
		return 0;
	mse_clock_fake_init(&clock, 1700000000000);
	fuzz_empty_directory("presence");
	put_journal(&input);
	FUZZ_CHECK(mse_journal_open(fuzz_directory(), &limits, &clock.clock,
				    &journal, &error) == 0);
	FUZZ_CHECK(mse_journal_allow(journal, 1, &error) == 0);
	check_journal(journal);
	mse_journal_close(&journal);
	return 0;
}
