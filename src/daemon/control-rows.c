/*
 * dead and queue: rows of the ledger, without their bytes.
 *
 * Invariant: a person asks, so the loop may wait for the ledger's thread;
 * the answer is bounded all the same.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <string.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "ledger/worker.h"

struct mse_control_list {
	struct mse_json json;
	const char *only;     /* one endpoint; NULL: all */
	const char *endpoint; /* whose rows are being read */
	struct mse_ledger *ledger;
	int state;
	struct mse_error error;
};

static int mse_control_row(const struct mse_ledger_row *row, void *context)
{
	struct mse_control_list *list = context;
	struct mse_json *json = &list->json;

	mse_json_open(json, NULL, '{');
	mse_json_string(json, "endpoint", list->endpoint);
	mse_json_string(json, "id", row->id);
	mse_json_string(json, "type", row->type);
	mse_json_string(json, "lane", row->lane);
	mse_json_number(json, "sequence", (int64_t)row->sequence);
	mse_json_number(json, "attempts", row->attempts);
	mse_json_number(json, "parked_at_ms", row->parked_at_ms);
	mse_json_number(json, "changed_at_ms", row->changed_at_ms);
	mse_json_number(json, "last_status", row->last_status);
	mse_json_string(json, "last_error", row->last_error);
	mse_json_close(json, '}');
	return 0;
}

static int mse_control_rows_of(const char *endpoint,
			       const struct mse_ledger_cursor *cursor,
			       void *context)
{
	struct mse_control_list *list = context;
	struct mse_row_filter filter;

	if (list->only != NULL && strcmp(list->only, endpoint) != 0)
		return 0;
	memset(&filter, 0, sizeof(filter));
	filter.endpoint = endpoint;
	filter.state = list->state;
	filter.limit = MSE_CONTROL_ROWS_MAX;
	list->endpoint = endpoint;
	return mse_ledger_each_row(list->ledger, &filter, mse_control_row,
				   list, &list->error);
}

static int mse_control_rows_run(struct mse_ledger *ledger, void *context,
				struct mse_error *error_r)
{
	struct mse_control_list *list = context;

	/* The worker may repeat a job. */
	mse_buf_reset(list->json.buf);
	list->json.comma = false;
	mse_json_open(&list->json, NULL, '{');
	mse_json_bool(&list->json, "ok", true);
	mse_json_open(&list->json, "rows", '[');
	list->ledger = ledger;
	list->error.text[0] = '\0';
	if (mse_ledger_each_cursor(ledger, mse_control_rows_of, list,
				   error_r) < 0) {
		if (list->error.text[0] != '\0')
			*error_r = list->error;
		return -1;
	}
	mse_json_close(&list->json, ']');
	mse_json_close(&list->json, '}');
	return 0;
}

void mse_control_rows(struct mse_control_client *client, const char *endpoint,
		      int state)
{
	struct mse_control_list list;
	struct mse_error error;
	struct mse_buf buf;

	memset(&list, 0, sizeof(list));
	mse_buf_init(&buf, MSE_CONTROL_REPLY_MAX);
	list.json.buf = &buf;
	list.only = endpoint;
	list.state = state;
	if (mse_ledger_worker_call(client->daemon->ledger,
				   mse_control_rows_run, &list, &error) < 0) {
		mse_buf_clear(&buf);
		mse_control_reply_error(client, error.text);
		return;
	}
	mse_control_reply(client, &buf);
}

static int mse_control_drop_run(struct mse_ledger *ledger, void *context,
				struct mse_error *error_r)
{
	const char *endpoint = context;
	struct mse_ledger_cursor cursor;
	int ret;

	ret = mse_ledger_get_cursor(ledger, endpoint, &cursor, error_r);
	if (ret == 0)
		return mse_error_set(error_r, "there is no endpoint \"%.64s\"",
				     endpoint);
	return ret < 0 ? -1 :
		mse_ledger_drop_endpoint(ledger, endpoint, error_r);
}

void mse_control_drop_endpoint(struct mse_control_client *client,
			       const char *endpoint)
{
	char name[128];
	struct mse_error error;

	if (*endpoint == '\0' || strlen(endpoint) >= sizeof(name)) {
		mse_control_reply_error(client, "there is no such endpoint");
		return;
	}
	memcpy(name, endpoint, strlen(endpoint) + 1);
	if (mse_conf_find(client->daemon->conf, name) != NULL)
		mse_control_reply_error(client, "this endpoint is in the "
			"configuration: say which event to drop, or remove "
			"the endpoint, reload, and drop it then");
	else if (mse_ledger_worker_call(client->daemon->ledger,
					mse_control_drop_run, name,
					&error) < 0)
		mse_control_reply_error(client, error.text);
	else
		mse_control_reply_ok(client);
}
