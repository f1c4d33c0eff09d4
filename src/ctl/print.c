/*
 * Answers as people read them.
 *
 * Invariant: what comes from the daemon is printed without the octets that
 * move a terminal's cursor.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <string.h>
#include <time.h>

const char *mse_ctl_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) || value == NULL)
		return "";
	return json_object_get_string(value);
}

long long mse_ctl_number(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value))
		return 0;
	return json_object_get_int64(value);
}

void mse_ctl_print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void mse_ctl_print_safe(const char *text)
{
	for (; *text != '\0'; text++)
		putchar((unsigned char)*text < 0x20 && *text != '\n' &&
			*text != '\t' ? '?' : *text);
}

static void mse_ctl_duration(long long ms, char *text, size_t size)
{
	if (ms < 1000)
		(void)snprintf(text, size, ms <= 0 ? "-" : "<1s");
	else if (ms < 120000)
		(void)snprintf(text, size, "%llds", ms / 1000);
	else if (ms < 7200000)
		(void)snprintf(text, size, "%lldm", ms / 60000);
	else
		(void)snprintf(text, size, "%lldh", ms / 3600000);
}

void mse_ctl_print_status(struct json_object *answer)
{
	struct json_object *list, *one, *journal;
	char behind[32];
	size_t i;

	printf("mailhookd %s, pid %lld, up %llds, %s\n",
	       mse_ctl_text(answer, "version"), mse_ctl_number(answer, "pid"),
	       mse_ctl_number(answer, "uptime_ms") / 1000,
	       mse_ctl_text(answer, "dir"));
	if (json_object_object_get_ex(answer, "journal", &journal))
		printf("journal: %lld files, %.1f of %.0f MiB\n\n",
		       mse_ctl_number(journal, "files"),
		       (double)mse_ctl_number(journal, "octets") / 1048576,
		       (double)mse_ctl_number(journal, "limit") / 1048576);
	if (!json_object_object_get_ex(answer, "endpoints", &list))
		return;
	printf("%-20s %-9s %10s %7s %6s %6s %9s %7s\n", "endpoint", "state",
	       "sequence", "behind", "parked", "dead", "answered", "failed");
	for (i = 0; i < json_object_array_length(list); i++) {
		one = json_object_array_get_idx(list, i);
		mse_ctl_duration(mse_ctl_number(one, "behind_ms"), behind,
				 sizeof(behind));
		printf("%-20s %-9s %10lld %7s %6lld %6lld %9lld %7lld\n",
		       mse_ctl_text(one, "name"), mse_ctl_text(one, "state"),
		       mse_ctl_number(one, "sequence"), behind,
		       mse_ctl_number(one, "parked"),
		       mse_ctl_number(one, "dead"),
		       mse_ctl_number(one, "answered"),
		       mse_ctl_number(one, "failed"));
		if (strcmp(mse_ctl_text(one, "state"), "ok") == 0 ||
		    *mse_ctl_text(one, "last_error") == '\0')
			continue;
		printf("  %s: ", mse_ctl_text(one, "last_outcome"));
		mse_ctl_print_safe(mse_ctl_text(one, "last_error"));
		if (*mse_ctl_text(one, "held_id") != '\0')
			printf(" (event %s)", mse_ctl_text(one, "held_id"));
		putchar('\n');
	}
}

void mse_ctl_print_rows(struct json_object *answer)
{
	struct json_object *list, *row;
	char when[32];
	struct tm tm;
	time_t at;
	size_t i;

	if (!json_object_object_get_ex(answer, "rows", &list))
		return;
	if (json_object_array_length(list) == 0) {
		puts("none");
		return;
	}
	printf("%-16s %-36s %-19s %-19s %5s %s\n", "endpoint", "id", "type",
	       "last attempt", "tries", "why");
	for (i = 0; i < json_object_array_length(list); i++) {
		row = json_object_array_get_idx(list, i);
		at = (time_t)(mse_ctl_number(row, "changed_at_ms") / 1000);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S",
			 localtime_r(&at, &tm));
		printf("%-16s %-36s %-19s %-19s %5lld ",
		       mse_ctl_text(row, "endpoint"), mse_ctl_text(row, "id"),
		       mse_ctl_text(row, "type"), when,
		       mse_ctl_number(row, "attempts"));
		mse_ctl_print_safe(mse_ctl_text(row, "last_error"));
		putchar('\n');
	}
}

void mse_ctl_print_test(struct json_object *answer)
{
	struct json_object *list;
	size_t i;

	printf("POST %s\n", mse_ctl_text(answer, "url"));
	if (json_object_object_get_ex(answer, "headers", &list)) {
		for (i = 0; i < json_object_array_length(list); i++)
			printf("%s\n", json_object_get_string(
				json_object_array_get_idx(list, i)));
	}
	printf("\n%s\n\n", mse_ctl_text(answer, "body"));
	printf("%s after %lld ms: ", mse_ctl_text(answer, "outcome"),
	       mse_ctl_number(answer, "elapsed_ms"));
	if (mse_ctl_number(answer, "status") != 0)
		printf("%lld: ", mse_ctl_number(answer, "status"));
	mse_ctl_print_safe(mse_ctl_text(answer, "text"));
	putchar('\n');
	mse_ctl_print_safe(mse_ctl_text(answer, "answer"));
	if (*mse_ctl_text(answer, "answer") != '\0')
		putchar('\n');
}

void mse_ctl_print_record(struct json_object *record)
{
	mse_ctl_print_safe(mse_ctl_text(record, "time"));
	printf("  %-19s ", mse_ctl_text(record, "type"));
	mse_ctl_print_safe(*mse_ctl_text(record, "user") != '\0' ?
			   mse_ctl_text(record, "user") :
			   mse_ctl_text(record, "owner"));
	printf("  ");
	mse_ctl_print_safe(mse_ctl_text(record, "mailbox"));
	putchar('\n');
}
