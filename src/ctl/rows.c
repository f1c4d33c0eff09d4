/*
 * dead, queue: events that were given up, events that wait.
 *
 * Invariant: a page at a time is held, however many there are.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <string.h>

static void add_row(struct mse_ctl_table *table, struct json_object *row)
{
	char when[32], last[32], tries[24];
	const char *values[] = {
		mse_ctl_text(row, "endpoint"), mse_ctl_text(row, "id"),
		mse_ctl_text(row, "type"), mse_ctl_text(row, "lane"), when,
		last, tries, mse_ctl_text(row, "last_error")
	};
	long long attempts = mse_ctl_number(row, "attempts");

	(void)mse_ctl_when(mse_ctl_number(row, "time_ms"), when);
	(void)mse_ctl_when(attempts > 0 ?
			   mse_ctl_number(row, "changed_at_ms") : 0, last);
	(void)snprintf(tries, sizeof(tries), "%lld", attempts);
	mse_ctl_table_add(table, values);
}

/* How many rows the page had. */
static size_t take_page(const struct mse_ctl *ctl, struct json_object *page,
			struct mse_ctl_table *table)
{
	struct json_object *list;
	size_t i, count;

	if (!json_object_object_get_ex(page, "rows", &list))
		return 0;
	count = json_object_array_length(list);
	for (i = 0; i < count; i++) {
		if (ctl->json)
			mse_ctl_print_json(json_object_array_get_idx(list, i));
		else
			add_row(table, json_object_array_get_idx(list, i));
	}
	return count;
}

static int print_pages(const struct mse_ctl *ctl, FILE *stream,
		       struct mse_ctl_table *table)
{
	struct json_object *page;
	size_t count = 0;
	bool more;
	int ret;

	page = mse_ctl_first(ctl, stream, &ret);
	if (page == NULL)
		return ret;
	for (;;) {
		count += take_page(ctl, page, table);
		more = mse_ctl_bool(page, "more");
		json_object_put(page);
		if (!more)
			break;
		page = mse_ctl_answer(stream);
		if (page == NULL || *mse_ctl_text(page, "error") != '\0') {
			mse_ctl_table_print(table);
			fprintf(stderr, "mailhookctl: there is more, but %s\n",
				page == NULL ? "the daemon left" :
				mse_ctl_text(page, "error"));
			json_object_put(page);
			return MSE_CTL_UNREACHABLE;
		}
	}
	mse_ctl_table_print(table);
	if (count == 0 && !ctl->json)
		puts("none");
	return MSE_CTL_OK;
}

static int list(const struct mse_ctl *ctl, const char *command,
		const char *endpoint)
{
	static const struct mse_ctl_column columns[] = {
		{ "ENDPOINT", 0 }, { "ID", 0 }, { "TYPE", 0 },
		{ "OWNER", MSE_CTL_CUT }, { "EVENT OF", 0 },
		{ "LAST ATTEMPT", 0 }, { "TRIES", MSE_CTL_RIGHT },
		{ "WHY", MSE_CTL_CUT }
	};
	struct json_object *request = mse_ctl_request(ctl, command, endpoint,
						      NULL);
	struct mse_ctl_table *table;
	FILE *stream;
	int ret;

	if (request == NULL)
		return MSE_CTL_USAGE;
	stream = mse_ctl_send(ctl, request);
	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	table = mse_ctl_table_new(columns,
				  sizeof(columns) / sizeof(columns[0]));
	if (table != NULL) {
		ret = print_pages(ctl, stream, table);
		mse_ctl_table_free(&table);
	} else {
		fprintf(stderr, "mailhookctl: out of memory\n");
		ret = MSE_CTL_PROBLEM;
	}
	(void)fclose(stream);
	return ret;
}

int mse_ctl_dead(const struct mse_ctl *ctl, char **arguments)
{
	return list(ctl, "dead", arguments[0]);
}

int mse_ctl_queue(const struct mse_ctl *ctl, char **arguments)
{
	return list(ctl, "queue", arguments[0]);
}
