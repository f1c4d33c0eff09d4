/*
 * Answers as people read them.
 *
 * Invariant: what comes from the daemon is printed without what moves a
 * terminal's cursor, changes its colours or turns its text around: it may
 * have come from a stranger's mailbox name.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"

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

bool mse_ctl_bool(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) &&
		json_object_get_boolean(value);
}

/* The C1 controls, U+0080 to U+009F, some terminals obey; what overrides the
   direction of text can make one name look like another. */
static bool is_control(const unsigned char *text, size_t len)
{
	if (len == 1)
		return *text < 0x20 || *text == 0x7f;
	if (len == 2)
		return text[0] == 0xc2 && text[1] < 0xa0;
	if (len != 3 || text[0] != 0xe2)
		return false;
	/* U+2028-202E, U+2066-2069 */
	return (text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
		(text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9);
}

void mse_ctl_print_safe(const char *text, bool lines)
{
	size_t left = strlen(text), len, bad;

	for (; left > 0; text += len, left -= len) {
		len = mse_utf8_char(text, left, &bad);
		if (len == 0) {
			len = bad;
			putchar('?');
		} else if (is_control((const unsigned char *)text, len) &&
			   !(lines && (*text == '\n' || *text == '\t'))) {
			putchar('?');
		} else {
			(void)fwrite(text, 1, len, stdout);
		}
	}
}

/* json-c escapes what is below U+0020 only. In JSON the rest of these stand
   within strings. */
void mse_ctl_print_json(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	for (; *text != '\0'; text++) {
		if (*text == 0x7f)
			printf("\\u007f");
		else if ((unsigned char)text[0] == 0xc2 &&
			 (unsigned char)text[1] >= 0x80 &&
			 (unsigned char)text[1] < 0xa0)
			printf("\\u%04x", (unsigned char)*++text);
		else
			putchar(*text);
	}
	putchar('\n');
}

const char *mse_ctl_duration(long long ms, char text[32])
{
	if (ms < 1000)
		(void)snprintf(text, 32, ms <= 0 ? "-" : "<1s");
	else if (ms < 120000)
		(void)snprintf(text, 32, "%llds", ms / 1000);
	else if (ms < 7200000)
		(void)snprintf(text, 32, "%lldm", ms / 60000);
	else
		(void)snprintf(text, 32, "%lldh", ms / 3600000);
	return text;
}

const char *mse_ctl_when(long long wall_ms, char text[32])
{
	time_t at = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (wall_ms <= 0 || localtime_r(&at, &tm) == NULL ||
	    strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(text, 32, "-");
	return text;
}

static void print_endpoint(struct mse_ctl_table *table,
			   struct json_object *one)
{
	char sequence[24], behind[32], parked[24], dead[24], answered[24];
	char failed[24], why[512];
	const char *values[] = {
		mse_ctl_text(one, "name"), mse_ctl_text(one, "state"),
		sequence, behind, parked, dead, answered, failed, why
	};

	(void)snprintf(sequence, sizeof(sequence), "%lld",
		       mse_ctl_number(one, "sequence"));
	(void)mse_ctl_duration(mse_ctl_number(one, "behind_ms"), behind);
	(void)snprintf(parked, sizeof(parked), "%lld",
		       mse_ctl_number(one, "parked"));
	(void)snprintf(dead, sizeof(dead), "%lld",
		       mse_ctl_number(one, "dead"));
	(void)snprintf(answered, sizeof(answered), "%lld",
		       mse_ctl_number(one, "answered"));
	(void)snprintf(failed, sizeof(failed), "%lld",
		       mse_ctl_number(one, "failed"));
	why[0] = '\0';
	if (strcmp(values[1], "ok") != 0 &&
	    *mse_ctl_text(one, "last_error") != '\0')
		(void)snprintf(why, sizeof(why), "%s: %s%s%s%s",
			       mse_ctl_text(one, "last_outcome"),
			       mse_ctl_text(one, "last_error"),
			       *mse_ctl_text(one, "held_id") != '\0' ?
			       " (event " : "", mse_ctl_text(one, "held_id"),
			       *mse_ctl_text(one, "held_id") != '\0' ?
			       ")" : "");
	mse_ctl_table_add(table, values);
}

void mse_ctl_print_status(struct json_object *answer)
{
	static const struct mse_ctl_column columns[] = {
		{ "ENDPOINT", 0 }, { "STATE", 0 },
		{ "SEQUENCE", MSE_CTL_RIGHT }, { "BEHIND", MSE_CTL_RIGHT },
		{ "PARKED", MSE_CTL_RIGHT }, { "DEAD", MSE_CTL_RIGHT },
		{ "ANSWERED", MSE_CTL_RIGHT }, { "FAILED", MSE_CTL_RIGHT },
		{ "WHY", MSE_CTL_CUT }
	};
	struct json_object *list, *journal;
	struct mse_ctl_table *table;
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
	table = mse_ctl_table_new(columns,
				  sizeof(columns) / sizeof(columns[0]));
	if (table == NULL ||
	    !json_object_object_get_ex(answer, "endpoints", &list))
		return;
	for (i = 0; i < json_object_array_length(list); i++)
		print_endpoint(table, json_object_array_get_idx(list, i));
	mse_ctl_table_print(table);
	mse_ctl_table_free(&table);
}

void mse_ctl_print_request(struct json_object *request)
{
	long long octets = mse_ctl_number(request, "body_octets");
	const char *body = mse_ctl_text(request, "body");
	struct json_object *list;
	size_t i;

	printf("POST ");
	mse_ctl_print_safe(mse_ctl_text(request, "url"), false);
	putchar('\n');
	if (json_object_object_get_ex(request, "headers", &list)) {
		for (i = 0; i < json_object_array_length(list); i++) {
			mse_ctl_print_safe(json_object_get_string(
				json_object_array_get_idx(list, i)), false);
			putchar('\n');
		}
	}
	putchar('\n');
	mse_ctl_print_safe(body, true);
	putchar('\n');
	if (octets > (long long)strlen(body))
		printf("(%lld octets, the rest is not shown)\n", octets);
}

void mse_ctl_print_test(struct json_object *answer)
{
	mse_ctl_print_request(answer);
	printf("\n%s after %lld ms: ", mse_ctl_text(answer, "outcome"),
	       mse_ctl_number(answer, "elapsed_ms"));
	if (mse_ctl_number(answer, "status") != 0)
		printf("%lld: ", mse_ctl_number(answer, "status"));
	mse_ctl_print_safe(mse_ctl_text(answer, "text"), false);
	putchar('\n');
	mse_ctl_print_safe(mse_ctl_text(answer, "answer"), true);
	if (*mse_ctl_text(answer, "answer") != '\0')
		putchar('\n');
	if (mse_ctl_number(answer, "status") == 410)
		printf("The endpoint is disabled until resumed.\n");
}

void mse_ctl_print_record(struct json_object *record)
{
	mse_ctl_print_safe(mse_ctl_text(record, "time"), false);
	printf("  %-19s ", mse_ctl_text(record, "type"));
	mse_ctl_print_safe(*mse_ctl_text(record, "user") != '\0' ?
			   mse_ctl_text(record, "user") :
			   mse_ctl_text(record, "owner"), false);
	printf("  ");
	mse_ctl_print_safe(mse_ctl_text(record, "mailbox"), false);
	putchar('\n');
}
