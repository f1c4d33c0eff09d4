#include "mse-config.h"
#include "ledger/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * What ledger.h promises, asked of both backends: the same cases run against
 * each, with the same exact answers.
 */

struct backend {
	const char *name;
	struct mse_ledger *ledger;
	char dir[64];
};

#define NEVER ((uint64_t)INT64_MAX)

static struct mse_error error;

/* Parked, with a record "BYTES-sequence" unless changed. */
static struct mse_ledger_row make_row(uint64_t sequence, const char *lane)
{
	static char texts[16][48];
	static unsigned int n;
	struct mse_ledger_row row;
	char *id = texts[n++ % 16], *record = texts[n++ % 16];

	snprintf(id, 48, "id-%llu", (unsigned long long)sequence);
	snprintf(record, 48, "{\"n\":%llu}", (unsigned long long)sequence);
	memset(&row, 0, sizeof(row));
	row.sequence = sequence;
	row.id = id;
	row.type = "MessageNew";
	row.lane = lane;
	row.last_error = "";
	row.record = record;
	row.record_len = strlen(record);
	return row;
}

static void put(struct mse_ledger *ledger, const char *endpoint,
		uint64_t sequence, const char *lane, enum mse_row_state state)
{
	struct mse_ledger_row row = make_row(sequence, lane);

	row.state = state;
	assert_int_equal(mse_ledger_put_row(ledger, endpoint, &row, &error), 0);
}

static int add_number(const struct mse_ledger_row *row, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s%llu", len == 0 ? "" : " ",
		 (unsigned long long)row->sequence);
	return 0;
}

/* The numbers a filter lets through, as text. */
static const char *numbers(struct mse_ledger *ledger,
			   const struct mse_row_filter *filter)
{
	static char text[256];

	text[0] = '\0';
	assert_int_equal(mse_ledger_each_row(ledger, filter, add_number, text,
					     &error), 0);
	return text;
}

static const char *all_numbers(struct mse_ledger *ledger, const char *endpoint)
{
	struct mse_row_filter filter = {.endpoint = endpoint, .state = -1};

	return numbers(ledger, &filter);
}

static struct mse_ledger_cursor make_cursor(uint64_t sequence)
{
	struct mse_ledger_cursor cursor;

	memset(&cursor, 0, sizeof(cursor));
	strcpy(cursor.stream, "019a0000-0000-7000-8000-000000000001");
	strcpy(cursor.position.file, "019a0000-0000-7000-8000-000000000002");
	strcpy(cursor.position.id, "019a0000-0000-7000-8000-000000000003");
	cursor.position.offset = 5000000000ULL + sequence;
	cursor.sequence = sequence;
	memset(cursor.filters, 'f', 64);
	return cursor;
}

static void put_cursor(struct mse_ledger *ledger, const char *endpoint,
		       uint64_t sequence)
{
	struct mse_ledger_cursor cursor = make_cursor(sequence);

	assert_int_equal(mse_ledger_put_cursor(ledger, endpoint, &cursor,
					       &error), 0);
}

static void assert_same_cursor(const struct mse_ledger_cursor *a,
			       const struct mse_ledger_cursor *b)
{
	assert_string_equal(a->stream, b->stream);
	assert_string_equal(a->position.file, b->position.file);
	assert_string_equal(a->position.id, b->position.id);
	assert_int_equal(a->position.offset, b->position.offset);
	assert_int_equal(a->sequence, b->sequence);
	assert_int_equal(a->reserved, b->reserved);
	assert_string_equal(a->filters, b->filters);
	assert_int_equal(a->disabled, b->disabled);
	assert_int_equal(a->paused, b->paused);
}

static void test_cursor(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_cursor cursor = make_cursor(7), found;

	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 0);
	put_cursor(ledger, "portal", 7);
	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 1);
	assert_same_cursor(&found, &cursor);

	cursor = make_cursor(8);
	cursor.reserved = 1000;
	cursor.disabled = true;
	assert_int_equal(mse_ledger_put_cursor(ledger, "portal", &cursor,
					       &error), 0);
	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 1);
	assert_same_cursor(&found, &cursor);

	cursor.disabled = false;
	cursor.paused = true;
	assert_int_equal(mse_ledger_put_cursor(ledger, MSE_LEDGER_DERIVE,
					       &cursor, &error), 0);
	assert_int_equal(mse_ledger_get_cursor(ledger, MSE_LEDGER_DERIVE,
					       &found, &error), 1);
	assert_same_cursor(&found, &cursor);
}

static int add_endpoint(const char *endpoint,
			const struct mse_ledger_cursor *cursor, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s=%llu ", endpoint,
		 (unsigned long long)cursor->sequence);
	return strcmp(endpoint, "stop") == 0 ? 5 : 0;
}

static void test_each_cursor(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	char text[256] = "";

	assert_int_equal(mse_ledger_each_cursor(ledger, add_endpoint, text,
						&error), 0);
	assert_string_equal(text, "");
	put_cursor(ledger, "portal", 2);
	put_cursor(ledger, MSE_LEDGER_DERIVE, 9);
	put_cursor(ledger, "billing", 1);
	assert_int_equal(mse_ledger_each_cursor(ledger, add_endpoint, text,
						&error), 0);
	assert_string_equal(text, "billing=1 portal=2 ");
	put_cursor(ledger, "stop", 3);
	put_cursor(ledger, "zebra", 3);
	text[0] = '\0';
	assert_int_equal(mse_ledger_each_cursor(ledger, add_endpoint, text,
						&error), 5);
	assert_string_equal(text, "billing=1 portal=2 stop=3 ");
}

static int check_full_row(const struct mse_ledger_row *row, void *context)
{
	const struct mse_ledger_row *want = context;

	assert_int_equal(row->sequence, want->sequence);
	assert_int_equal(row->state, want->state);
	assert_int_equal(row->gap, want->gap);
	assert_string_equal(row->id, want->id);
	assert_string_equal(row->type, want->type);
	assert_string_equal(row->lane, want->lane);
	assert_int_equal(row->attempts, want->attempts);
	assert_int_equal(row->used_ms, want->used_ms);
	assert_int_equal(row->parked_at_ms, want->parked_at_ms);
	assert_int_equal(row->changed_at_ms, want->changed_at_ms);
	assert_int_equal(row->last_status, want->last_status);
	assert_string_equal(row->last_error, want->last_error);
	assert_int_equal(row->record_len, want->record_len);
	if (want->record == NULL)
		assert_null(row->record);
	else
		assert_memory_equal(row->record, want->record,
				    want->record_len);
	return 1;
}

static void assert_row(struct mse_ledger *ledger, bool with_record,
		       const struct mse_ledger_row *want)
{
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1,
					.after = want->sequence - 1,
					.with_record = with_record};
	struct mse_ledger_row copy = *want;

	if (!with_record)
		copy.record = NULL;
	assert_int_equal(mse_ledger_each_row(ledger, &filter, check_full_row,
					     &copy, &error), 1);
}

static void test_row(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_row row = make_row(42, "owner\xc3\xa9"), changed;

	row.record = "a\0b";
	row.record_len = 3;
	row.gap = true;
	row.attempts = 4000000000U;
	row.used_ms = 259200000;
	row.parked_at_ms = 1790000000123LL;
	row.changed_at_ms = 1790000000456LL;
	row.last_status = 503;
	row.last_error = "the receiver is busy";
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_row(ledger, true, &row);
	assert_row(ledger, false, &row);

	/* Everything but the bytes. */
	changed = make_row(42, "other");
	changed.state = MSE_ROW_DEAD;
	changed.record = "ignored";
	changed.record_len = 7;
	changed.attempts = 2;
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &changed,
					       &error), 0);
	changed.record = row.record;
	changed.record_len = row.record_len;
	assert_row(ledger, true, &changed);

	/* Replaced as a whole, also by one without bytes and back. */
	row.record = NULL;
	row.record_len = 0;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_row(ledger, true, &row);
	row.record = "again";
	row.record_len = 5;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_row(ledger, true, &row);

	/* Rows that are not there. */
	changed.sequence = 43;
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &changed,
					       &error), 0);
	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 43, &error),
			 0);
	assert_string_equal(all_numbers(ledger, "portal"), "42");
	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 42, &error),
			 0);
	assert_string_equal(all_numbers(ledger, "portal"), "");
	changed.sequence = 0;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &changed,
					    &error), -1);
}

static void test_filters(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	static const struct {
		uint64_t sequence;
		const char *lane;
		enum mse_row_state state;
	} rows[] = {
		/* Not in order: the order is by number. */
		{9, "c", MSE_ROW_PARKED},   {2, "a", MSE_ROW_PARKED},
		{10, "a", MSE_ROW_PARKED},  {3, "b", MSE_ROW_DEAD},
		{5, "b", MSE_ROW_PARKED},   {4, "a", MSE_ROW_PARKED},
		{6, "b", MSE_ROW_ANSWERED}, {7, "b", MSE_ROW_PARKED},
		{1, "c", MSE_ROW_ANSWERED}, {8, "", MSE_ROW_PARKED},
	};
	static const struct {
		struct mse_row_filter filter;
		const char *want;
	} cases[] = {
		{{.state = -1}, "1 2 3 4 5 6 7 8 9 10"},
		{{.state = -1, .after = 8}, "9 10"},
		{{.state = -1, .after = NEVER}, ""},
		{{.state = -1, .after = UINT64_MAX}, ""},
		{{.state = -1, .after = 3, .limit = 2}, "4 5"},
		{{.state = MSE_ROW_PARKED}, "2 4 5 7 8 9 10"},
		{{.state = MSE_ROW_DEAD}, "3"},
		{{.state = MSE_ROW_ANSWERED}, "1 6"},
		{{.state = -1, .lane = "b"}, "3 5 6 7"},
		{{.state = MSE_ROW_PARKED, .lane = "b"}, "5 7"},
		{{.state = MSE_ROW_PARKED, .lane = "b", .after = 5}, "7"},
		{{.state = MSE_ROW_PARKED, .lane = ""}, "8"},
		{{.state = -1, .lane = "B"}, ""},
		{{.state = -1, .id = "id-7"}, "7"},
		{{.state = MSE_ROW_DEAD, .id = "id-7"}, ""},
		{{.state = -1, .id = "id-7", .lane = "a"}, ""},
		{{.state = -1, .id = "id-77"}, ""},
		{{.state = -1, .heads_only = true}, "2 5 8 9"},
		{{.state = MSE_ROW_PARKED, .heads_only = true}, "2 5 8 9"},
		{{.state = MSE_ROW_DEAD, .heads_only = true}, ""},
		{{.state = -1, .heads_only = true, .limit = 3}, "2 5 8"},
		/* A head is one by its lane, not by what the filter shows. */
		{{.state = -1, .heads_only = true, .after = 2}, "5 8 9"},
		{{.state = -1, .heads_only = true, .lane = "a"}, "2"},
		{{.state = -1, .heads_only = true, .id = "id-7"}, ""},
		{{.state = -1, .heads_only = true, .id = "id-5"}, "5"},
	};
	struct mse_row_filter filter;
	unsigned int i, with;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(ledger, "portal", rows[i].sequence, rows[i].lane,
		    rows[i].state);
	}
	/* Somebody else's rows are nobody's business. */
	put(ledger, "other", 1, "a", MSE_ROW_PARKED);
	put(ledger, "porta", 6, "b", MSE_ROW_PARKED);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (with = 0; with < 2; with++) {
			filter = cases[i].filter;
			filter.endpoint = "portal";
			filter.with_record = with != 0;
			if (strcmp(numbers(ledger, &filter),
				   cases[i].want) != 0) {
				fail_msg("case %u: %s, not %s", i,
					 numbers(ledger, &filter),
					 cases[i].want);
			}
		}
	}
	assert_string_equal(all_numbers(ledger, "other"), "1");
	assert_string_equal(all_numbers(ledger, "none"), "");
}

static int stop_at_2(const struct mse_ledger_row *row, void *context)
{
	++*(unsigned int *)context;
	return row->sequence == 2 ? -7 : 0;
}

static void test_each_row_stops(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1};
	unsigned int count = 0;

	put(ledger, "portal", 1, "a", MSE_ROW_PARKED);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	put(ledger, "portal", 3, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_each_row(ledger, &filter, stop_at_2, &count,
					     &error), -7);
	assert_int_equal(count, 2);
}

static int read_within(const struct mse_ledger_row *row, void *context)
{
	struct backend *backend = context;
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1};
	unsigned int count = 0;

	(void)mse_ledger_each_row(backend->ledger, &filter, stop_at_2, &count,
				  &error);
	assert_int_equal(count, 2);
	return 0;
}

static void test_nested_reads(void **state)
{
	struct backend *backend = *state;
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1};

	put(backend->ledger, "portal", 1, "a", MSE_ROW_PARKED);
	put(backend->ledger, "portal", 2, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_each_row(backend->ledger, &filter,
					     read_within, backend, &error), 0);
}

static void test_answered_forgotten(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	static const struct {
		uint64_t sequence;
		const char *left;
	} cases[] = {
		{0, "1 2 3 4 5"}, {1, "2 3 4 5"}, {3, "2 4 5"},
		{4, "2 4 5"},	  {5, "2 4"},	  {9, "2 4"},
	};
	unsigned int i;

	for (i = 1; i <= 5; i++)
		put(ledger, "portal", i, "a", MSE_ROW_ANSWERED);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	put(ledger, "portal", 4, "a", MSE_ROW_DEAD);
	put(ledger, "other", 1, "a", MSE_ROW_ANSWERED);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_cursor(ledger, "portal", cases[i].sequence);
		if (strcmp(all_numbers(ledger, "portal"), cases[i].left) != 0)
			fail_msg("case %u: %s", i,
				 all_numbers(ledger, "portal"));
	}
	assert_string_equal(all_numbers(ledger, "other"), "1");
}

static void assert_totals(struct mse_ledger *ledger, uint64_t parked,
			  uint64_t parked_octets, uint64_t dead,
			  uint64_t dead_octets, uint64_t lowest,
			  uint64_t highest)
{
	struct mse_ledger_totals totals;

	assert_int_equal(mse_ledger_totals(ledger, "portal", &totals, &error),
			 0);
	assert_int_equal(totals.parked, parked);
	assert_int_equal(totals.parked_octets, parked_octets);
	assert_int_equal(totals.dead, dead);
	assert_int_equal(totals.dead_octets, dead_octets);
	assert_int_equal(totals.lowest_parked, lowest);
	assert_int_equal(totals.highest, highest);
}

/* A record is 7 octets up to number 9, 8 from 10 on. */
static void test_totals(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_row row;

	assert_totals(ledger, 0, 0, 0, 0, 0, 0);
	put(ledger, "portal", 10, "a", MSE_ROW_PARKED);
	put(ledger, "portal", 5, "b", MSE_ROW_PARKED);
	put(ledger, "portal", 12, "b", MSE_ROW_ANSWERED);
	put(ledger, "other", 99, "b", MSE_ROW_PARKED);
	assert_totals(ledger, 2, 15, 0, 0, 5, 12);

	row = make_row(5, "b");
	row.state = MSE_ROW_DEAD;
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &row, &error),
			 0);
	assert_totals(ledger, 1, 8, 1, 7, 10, 12);

	/* Replaced, longer. */
	row = make_row(10, "a");
	row.record = "0123456789";
	row.record_len = 10;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_totals(ledger, 1, 10, 1, 7, 10, 12);

	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 10, &error),
			 0);
	assert_totals(ledger, 0, 0, 1, 7, 0, 12);
	mse_ledger_rollback(ledger);
	assert_totals(ledger, 1, 10, 1, 7, 10, 12);

	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 10, &error),
			 0);
	put_cursor(ledger, "portal", 12);
	assert_totals(ledger, 0, 0, 1, 7, 0, 5);
}

static int add_length(const struct mse_ledger_row *row, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	assert_true((row->record != NULL) == (row->record_len > 0));
	snprintf(text + len, 256 - len, "%llu:%zu ",
		 (unsigned long long)row->sequence, row->record_len);
	return 0;
}

static void test_trim_dead(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	static const struct {
		int64_t before_ms;
		uint64_t octets;
		const char *want;
	} cases[] = {
		{0, 1000, "1:7 2:7 3:7 4:7 5:7 6:7 "},
		{1000, 1000, "1:7 2:7 3:7 4:7 5:7 6:7 "},
		/* Older than, not as old as. */
		{1001, 1000, "1:7 2:7 3:0 4:7 5:7 6:7 "},
		/* 28 octets dead, 21 allowed: the oldest goes; among equals
		   the lowest number. */
		{0, 28, "1:7 2:7 3:0 4:7 5:7 6:7 "},
		{0, 27, "1:7 2:0 3:0 4:7 5:7 6:7 "},
		{0, 14, "1:7 2:0 3:0 4:0 5:7 6:7 "},
		{4000, 14, "1:7 2:0 3:0 4:0 5:7 6:0 "},
		{0, 0, "1:7 2:0 3:0 4:0 5:0 6:0 "},
		{0, 0, "1:7 2:0 3:0 4:0 5:0 6:0 "},
	};
	static const int64_t died[] = {0, 0, 2000, 1000, 2000, 4000, 3000};
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1,
					.with_record = true};
	struct mse_ledger_row row;
	char text[256];
	unsigned int i;

	for (i = 1; i <= 6; i++) {
		row = make_row(i, "a");
		row.state = i == 1 ? MSE_ROW_PARKED : MSE_ROW_DEAD;
		row.changed_at_ms = died[i];
		assert_int_equal(mse_ledger_put_row(ledger, "portal", &row,
						    &error), 0);
	}
	put(ledger, "other", 1, "a", MSE_ROW_DEAD);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(mse_ledger_trim_dead(ledger, "portal",
						      cases[i].before_ms,
						      cases[i].octets, &error),
				 0);
		text[0] = '\0';
		assert_int_equal(mse_ledger_each_row(ledger, &filter,
						     add_length, text, &error),
				 0);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("case %u: %s", i, text);
	}
	assert_totals(ledger, 1, 7, 5, 0, 1, 6);
	filter.endpoint = "other";
	text[0] = '\0';
	assert_int_equal(mse_ledger_each_row(ledger, &filter, add_length, text,
					     &error), 0);
	assert_string_equal(text, "1:7 ");
}

static int take_answer(const struct mse_ledger_row *row, void *context)
{
	snprintf(context, 2048, "%.*s", (int)row->answer_len,
		 row->answer == NULL ? "" : (const char *)row->answer);
	return 0;
}

static const char *answer_of(struct mse_ledger *ledger, bool with_answer,
			     bool with_record)
{
	struct mse_row_filter filter = {.endpoint = "portal", .state = -1,
					.with_record = with_record,
					.with_answer = with_answer};
	static char text[2048];

	assert_int_equal(mse_ledger_each_row(ledger, &filter, take_answer,
					     text, &error), 0);
	return text;
}

/* How the receiver's last answer began: kept with a row until there is another
   one, bounded, and gone with the bytes of an old dead letter. */
static void test_answer(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_row row = make_row(7, "a");
	char longer[MSE_LEDGER_ANSWER_MAX + 100];

	memset(longer, 'x', sizeof(longer));
	row.state = MSE_ROW_DEAD;
	row.answer = "who are you?";
	row.answer_len = 12;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_string_equal(answer_of(ledger, true, false), "who are you?");
	assert_string_equal(answer_of(ledger, true, true), "who are you?");
	assert_string_equal(answer_of(ledger, false, true), "");
	row.answer = longer;
	row.answer_len = sizeof(longer);
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &row, &error),
			 0);
	assert_int_equal(strlen(answer_of(ledger, true, false)),
			 MSE_LEDGER_ANSWER_MAX);
	row.answer_len = 0;
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &row, &error),
			 0);
	assert_string_equal(answer_of(ledger, true, false), "");
	/* None appears for a row that is not there. */
	row.sequence = 8;
	row.answer_len = 5;
	assert_int_equal(mse_ledger_update_row(ledger, "portal", &row, &error),
			 0);
	row.sequence = 7;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_string_equal(answer_of(ledger, true, false), "xxxxx");
	assert_int_equal(mse_ledger_trim_dead(ledger, "portal", 0, 0, &error),
			 0);
	assert_string_equal(answer_of(ledger, true, true), "");
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 7, &error), 0);
	row.answer_len = 0;
	assert_int_equal(mse_ledger_put_row(ledger, "portal", &row, &error), 0);
	assert_string_equal(answer_of(ledger, true, false), "");
}

static void test_transaction(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_cursor found;

	assert_int_equal(mse_ledger_commit(ledger, &error), -1);
	put(ledger, "portal", 1, "a", MSE_ROW_ANSWERED);

	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	assert_int_equal(mse_ledger_begin(ledger, &error), -1);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	put_cursor(ledger, "portal", 1);
	assert_string_equal(all_numbers(ledger, "portal"), "2");
	mse_ledger_rollback(ledger);
	assert_string_equal(all_numbers(ledger, "portal"), "1");
	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 0);
	mse_ledger_rollback(ledger);

	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	put_cursor(ledger, "portal", 1);
	assert_int_equal(mse_ledger_commit(ledger, &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "2");
	mse_ledger_rollback(ledger);
	assert_string_equal(all_numbers(ledger, "portal"), "2");
	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 1);
}

static void test_savepoint(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;

	assert_int_equal(mse_ledger_release(ledger, &error), -1);
	assert_int_equal(mse_ledger_rollback_to(ledger, &error), -1);

	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	assert_int_equal(mse_ledger_release(ledger, &error), -1);
	put(ledger, "portal", 1, "a", MSE_ROW_PARKED);

	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_delete_row(ledger, "portal", 1, &error),
			 0);
	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 3, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_release(ledger, &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "2 3");
	assert_int_equal(mse_ledger_rollback_to(ledger, &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "1");

	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 4, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 5, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_rollback_to(ledger, &error), 0);
	assert_int_equal(mse_ledger_release(ledger, &error), 0);
	assert_int_equal(mse_ledger_commit(ledger, &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "1 4");

	/* Outermost: a transaction of its own. */
	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 6, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_rollback_to(ledger, &error), 0);
	assert_int_equal(mse_ledger_savepoint(ledger, &error), 0);
	put(ledger, "portal", 7, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_release(ledger, &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "1 4 7");
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	assert_int_equal(mse_ledger_commit(ledger, &error), 0);
}

static void test_drop_endpoint(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_ledger_cursor found;

	put_cursor(ledger, "portal", 1);
	put_cursor(ledger, "other", 1);
	put(ledger, "portal", 1, "a", MSE_ROW_DEAD);
	put(ledger, "portal", 2, "a", MSE_ROW_PARKED);
	put(ledger, "other", 2, "a", MSE_ROW_PARKED);
	assert_int_equal(mse_ledger_drop_endpoint(ledger, "portal", &error), 0);
	assert_int_equal(mse_ledger_get_cursor(ledger, "portal", &found,
					       &error), 0);
	assert_string_equal(all_numbers(ledger, "portal"), "");
	assert_totals(ledger, 0, 0, 0, 0, 0, 0);
	assert_int_equal(mse_ledger_get_cursor(ledger, "other", &found,
					       &error), 1);
	assert_string_equal(all_numbers(ledger, "other"), "2");
	assert_int_equal(mse_ledger_drop_endpoint(ledger, "none", &error), 0);
}

static int add_seal(const char *file, uint64_t length, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s=%llu ", file,
		 (unsigned long long)length);
	return strcmp(file, "stop") == 0 ? 3 : 0;
}

static int add_checkpoint(const struct mse_position *position, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s/%llu/%s ", position->file,
		 (unsigned long long)position->offset, position->id);
	return strcmp(position->id, "stop") == 0 ? 3 : 0;
}

static void put_checkpoint(struct mse_ledger *ledger, const char *file,
			   uint64_t offset, const char *id)
{
	struct mse_position position = {.offset = offset};

	strcpy(position.file, file);
	strcpy(position.id, id);
	assert_int_equal(mse_ledger_put_checkpoint(ledger, &position, &error),
			 0);
}

static void test_files(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	char text[256] = "";

	assert_int_equal(mse_ledger_put_seal(ledger, "f2", 33554432, &error),
			 0);
	assert_int_equal(mse_ledger_put_seal(ledger, "f1", 1, &error), 0);
	assert_int_equal(mse_ledger_put_seal(ledger, "f1", 7, &error), 0);
	assert_int_equal(mse_ledger_each_seal(ledger, add_seal, text, &error),
			 0);
	assert_string_equal(text, "f1=7 f2=33554432 ");

	put_checkpoint(ledger, "f1", 100, "a");
	put_checkpoint(ledger, "f1", 3 * 1048576, "d");
	put_checkpoint(ledger, "f1", 1048575, "b");
	put_checkpoint(ledger, "f1", 1048576, "stop");
	put_checkpoint(ledger, "f2", 5, "e");
	text[0] = '\0';
	assert_int_equal(mse_ledger_each_checkpoint(ledger, "f1",
						    add_checkpoint, text,
						    &error), 3);
	assert_string_equal(text, "f1/3145728/d f1/1048576/stop ");
	put_checkpoint(ledger, "f1", 1048580, "c");
	text[0] = '\0';
	assert_int_equal(mse_ledger_each_checkpoint(ledger, "f1",
						    add_checkpoint, text,
						    &error), 0);
	assert_string_equal(text, "f1/3145728/d f1/1048580/c f1/1048575/b ");

	assert_int_equal(mse_ledger_forget_file(ledger, "f1", &error), 0);
	text[0] = '\0';
	assert_int_equal(mse_ledger_each_seal(ledger, add_seal, text, &error),
			 0);
	assert_int_equal(mse_ledger_each_checkpoint(ledger, "f1",
						    add_checkpoint, text,
						    &error), 0);
	assert_int_equal(mse_ledger_each_checkpoint(ledger, "f2",
						    add_checkpoint, text,
						    &error), 0);
	assert_string_equal(text, "f2=33554432 f2/5/e ");
}

static void test_values(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	uint64_t lost = 77;
	char value[8];

	assert_int_equal(mse_ledger_get_announced(ledger, 0, &lost, &error), 0);
	assert_int_equal(lost, 0);
	assert_int_equal(mse_ledger_put_announced(ledger, 0, 5, &error), 0);
	assert_int_equal(mse_ledger_put_announced(ledger, 9999, 6, &error), 0);
	assert_int_equal(mse_ledger_put_announced(ledger, 0, 8, &error), 0);
	assert_int_equal(mse_ledger_get_announced(ledger, 0, &lost, &error), 1);
	assert_int_equal(lost, 8);
	assert_int_equal(mse_ledger_get_announced(ledger, 9999, &lost, &error),
			 1);
	assert_int_equal(lost, 6);

	assert_int_equal(mse_ledger_get_value(ledger, "clean", value,
					      sizeof(value), &error), 0);
	assert_int_equal(mse_ledger_put_value(ledger, "clean", "no", &error),
			 0);
	assert_int_equal(mse_ledger_get_value(ledger, "clean", value,
					      sizeof(value), &error), 1);
	assert_string_equal(value, "no");
	assert_int_equal(mse_ledger_put_value(ledger, "clean", "0123456789",
					      &error), 0);
	assert_int_equal(mse_ledger_get_value(ledger, "clean", value,
					      sizeof(value), &error), 1);
	assert_string_equal(value, "0123456");
	assert_int_equal(mse_ledger_put_value(ledger, "clean", "", &error), 0);
	assert_int_equal(mse_ledger_get_value(ledger, "clean", value,
					      sizeof(value), &error), 1);
	assert_string_equal(value, "");
}

static int add_batch(const struct mse_ledger_batch *batch, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 512 - len, "%s=%s/%llx/%u/%lld ", batch->id,
		 batch->members, (unsigned long long)batch->digest,
		 batch->attempts, (long long)batch->used_ms);
	return batch->attempts == 99 ? 7 : 0;
}

static const char *batches(struct mse_ledger *ledger, const char *endpoint,
			   int expected)
{
	static char text[512];

	text[0] = '\0';
	assert_int_equal(mse_ledger_each_batch(ledger, endpoint, add_batch,
					       text, &error), expected);
	return text;
}

static void put_batch(struct mse_ledger *ledger, const char *endpoint,
		      const char *id, const char *members, uint32_t attempts)
{
	struct mse_ledger_batch batch = {
		.id = id, .members = members, .attempts = attempts,
		.digest = INT64_MAX, .used_ms = attempts * 5000000000LL
	};

	assert_int_equal(mse_ledger_put_batch(ledger, endpoint, &batch,
					      &error), 0);
}

static void test_batches(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;

	assert_string_equal(batches(ledger, "portal", 0), "");
	assert_int_equal(mse_ledger_delete_batch(ledger, "portal", "x",
						 &error), 0);
	put_batch(ledger, "portal", "c", "12", 0);
	put_batch(ledger, "portal", "b", "4-9,11", 1);
	put_batch(ledger, "portal2", "b", "1-2", 2);
	put_batch(ledger, "porta", "z", "7", 0);
	assert_string_equal(batches(ledger, "portal", 0),
			    "b=4-9,11/7fffffffffffffff/1/5000000000 "
			    "c=12/7fffffffffffffff/0/0 ");
	put_batch(ledger, "portal", "b", "4-9,11", 99);
	assert_string_equal(batches(ledger, "portal", 7),
			    "b=4-9,11/7fffffffffffffff/99/495000000000 ");
	assert_int_equal(mse_ledger_delete_batch(ledger, "portal", "b",
						 &error), 0);
	assert_string_equal(batches(ledger, "portal", 0),
			    "c=12/7fffffffffffffff/0/0 ");
	assert_string_equal(batches(ledger, "portal2", 0),
			    "b=1-2/7fffffffffffffff/2/10000000000 ");
}

static void test_batches_go_with_their_endpoint(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;

	put_batch(ledger, "portal", "a", "1", 0);
	put_batch(ledger, "portal", "b", "2", 0);
	put_batch(ledger, "portal2", "b", "3", 0);
	assert_int_equal(mse_ledger_drop_endpoint(ledger, "portal", &error),
			 0);
	assert_string_equal(batches(ledger, "portal", 0), "");
	assert_string_equal(batches(ledger, "portal2", 0),
			    "b=3/7fffffffffffffff/0/0 ");
}

static void test_batches_roll_back(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;

	put_batch(ledger, "portal", "a", "1", 0);
	put_batch(ledger, "portal", "b", "2", 0);
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	put_batch(ledger, "portal", "a", "1", 5);
	put_batch(ledger, "portal", "c", "3", 0);
	assert_int_equal(mse_ledger_delete_batch(ledger, "portal", "b",
						 &error), 0);
	mse_ledger_rollback(ledger);
	assert_string_equal(batches(ledger, "portal", 0),
			    "a=1/7fffffffffffffff/0/0 "
			    "b=2/7fffffffffffffff/0/0 ");
}

static int add_derived(const char *key, const char *value, void *context)
{
	char *text = context;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s=%s ", key, value);
	return strcmp(value, "stop") == 0 ? 7 : 0;
}

static const char *derived(struct mse_ledger *ledger, const char *kind,
			   const char *after, unsigned int limit, int result)
{
	static char text[256];

	text[0] = '\0';
	assert_int_equal(mse_ledger_each_derived(ledger, kind, after, limit,
						 add_derived, text, &error),
			 result);
	return text;
}

static void put_derived(struct mse_ledger *ledger, const char *kind,
			const char *key, const char *value)
{
	assert_int_equal(mse_ledger_put_derived(ledger, kind, key, value,
						&error), 0);
}

static void test_derived(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;
	struct mse_buf value;

	mse_buf_init(&value, 100);
	assert_int_equal(mse_ledger_get_derived(ledger, "a", "k", &value,
						&error), 0);
	assert_int_equal(mse_ledger_delete_derived(ledger, "a", "k", &error),
			 0);
	put_derived(ledger, "a", "k/2", "two");
	put_derived(ledger, "a", "k\xc3\xa9", "e");
	put_derived(ledger, "a", "", "none");
	put_derived(ledger, "a", "k", "one");
	put_derived(ledger, "aa", "k", "other kind");
	put_derived(ledger, "b", "k", "");
	put_derived(ledger, "a", "k", "uno");

	mse_buf_append_str(&value, "=");
	assert_int_equal(mse_ledger_get_derived(ledger, "a", "k", &value,
						&error), 1);
	assert_string_equal(mse_buf_str(&value), "=uno");
	assert_int_equal(mse_ledger_get_derived(ledger, "b", "k", &value,
						&error), 1);
	assert_string_equal(mse_buf_str(&value), "=uno");

	assert_string_equal(derived(ledger, "a", NULL, 0, 0),
			    "=none k=uno k/2=two k\xc3\xa9=e ");
	assert_string_equal(derived(ledger, "a", NULL, 2, 0), "=none k=uno ");
	assert_string_equal(derived(ledger, "a", "k", 1, 0), "k/2=two ");
	assert_string_equal(derived(ledger, "a", "k/1", 0, 0),
			    "k/2=two k\xc3\xa9=e ");
	assert_string_equal(derived(ledger, "a", "z", 0, 0), "");
	assert_string_equal(derived(ledger, "", NULL, 0, 0), "");
	put_derived(ledger, "a", "k", "stop");
	assert_string_equal(derived(ledger, "a", NULL, 0, 7), "=none k=stop ");

	assert_int_equal(mse_ledger_delete_derived(ledger, "a", "k", &error),
			 0);
	assert_string_equal(derived(ledger, "a", NULL, 0, 0),
			    "=none k/2=two k\xc3\xa9=e ");
	assert_string_equal(derived(ledger, "aa", NULL, 0, 0), "k=other kind ");
	assert_int_equal(mse_ledger_clear_derived(ledger, "a", &error), 0);
	assert_int_equal(mse_ledger_clear_derived(ledger, "none", &error), 0);
	assert_string_equal(derived(ledger, "a", NULL, 0, 0), "");
	assert_string_equal(derived(ledger, "aa", NULL, 0, 0), "k=other kind ");
	assert_string_equal(derived(ledger, "b", NULL, 0, 0), "k= ");
	mse_buf_clear(&value);

	/* A value that does not fit is an error, not a part of it. */
	mse_buf_init(&value, 5);
	assert_int_equal(mse_ledger_get_derived(ledger, "aa", "k", &value,
						&error), -1);
	mse_buf_clear(&value);
}

/* With the cursor or not at all. */
static void test_derived_rolls_back(void **state)
{
	struct mse_ledger *ledger = ((struct backend *)*state)->ledger;

	put_derived(ledger, "a", "1", "one");
	put_derived(ledger, "a", "2", "two");
	assert_int_equal(mse_ledger_begin(ledger, &error), 0);
	put_derived(ledger, "a", "1", "changed");
	assert_int_equal(mse_ledger_delete_derived(ledger, "a", "2", &error),
			 0);
	put_derived(ledger, "a", "3", "three");
	put_cursor(ledger, MSE_LEDGER_DERIVE, 1);
	assert_string_equal(derived(ledger, "a", NULL, 0, 0),
			    "1=changed 3=three ");
	mse_ledger_rollback(ledger);
	assert_string_equal(derived(ledger, "a", NULL, 0, 0),
			    "1=one 2=two ");
}

static int memory_setup(void **state)
{
	static struct backend backend;

	backend.ledger = mse_ledger_new_memory();
	*state = &backend;
	return backend.ledger == NULL ? -1 : 0;
}

static int memory_teardown(void **state)
{
	mse_ledger_free(&((struct backend *)*state)->ledger);
	return 0;
}

static int sqlite_setup(void **state)
{
	static struct backend backend;
	bool created = false;

	strcpy(backend.dir, "/tmp/mse-ledger-XXXXXX");
	if (mkdtemp(backend.dir) == NULL)
		return -1;
	*state = &backend;
	if (mse_ledger_open_sqlite(backend.dir, 0, &created, &backend.ledger,
				   &error) < 0) {
		print_error("%s\n", error.text);
		return -1;
	}
	return created ? 0 : -1;
}

static int sqlite_teardown(void **state)
{
	struct backend *backend = *state;
	char path[128];

	mse_ledger_free(&backend->ledger);
	snprintf(path, sizeof(path), "%s/ledger.db", backend->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/ledger.lock", backend->dir);
	unlink(path);
	/* Fails if anything else was left behind. */
	return rmdir(backend->dir);
}

#define BOTH(test)                                                             \
	{"memory: " #test, test, memory_setup, memory_teardown, NULL},         \
	{"sqlite: " #test, test, sqlite_setup, sqlite_teardown, NULL}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		BOTH(test_cursor),	  BOTH(test_each_cursor),
		BOTH(test_row),		  BOTH(test_filters),
		BOTH(test_each_row_stops), BOTH(test_nested_reads),
		BOTH(test_answered_forgotten), BOTH(test_totals),
		BOTH(test_trim_dead),	  BOTH(test_transaction),
		BOTH(test_savepoint),	  BOTH(test_drop_endpoint),
		BOTH(test_files),	  BOTH(test_values),
		BOTH(test_answer),
		BOTH(test_batches),	  BOTH(test_batches_roll_back),
		BOTH(test_batches_go_with_their_endpoint),
		BOTH(test_derived),	  BOTH(test_derived_rolls_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
