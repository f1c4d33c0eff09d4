/*
 * dead and queue: rows of the ledger, without their bytes, page by page.
 *
 *   < {"ok":true,"rows":[{…},…],"more":true}
 *   < {"rows":[…],"more":false}
 *
 * Invariant: a page is so many rows, read in the ledger's thread while the
 * loop goes on; the next is read once the client has taken most of this one.
 * So neither side ever holds more than that of a million rows.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "deliver/deliver.h"
#include "deliver/pick.h"
#include "ledger/worker.h"

#define MSE_LIST_PAGE 500                /* rows looked at */
#define MSE_LIST_OCTETS (1024 * 1024)    /* of a page */
#define MSE_LIST_BUFFERED (256 * 1024)
#define MSE_LIST_NAME 80                 /* an endpoint's, and more */

struct mse_control_list {
	struct mse_ledger_job job;          /* first: the worker's view */
	struct mse_control_client *client;  /* NULL: it left */
	bool busy;                          /* the job is out */
	bool started;                       /* the first page was sent */
	int state;
	struct mse_pick pick;
	char *only;                         /* one endpoint; NULL: all */
	/* Where the page begins. */
	char endpoint[MSE_LIST_NAME];
	uint64_t after;
	/* The page, made by the job. */
	struct mse_buf page;
	char next_endpoint[MSE_LIST_NAME];
	uint64_t next_after;
	bool more;
};

/* While a page is read. */
struct mse_control_page {
	struct mse_control_list *list;
	struct mse_json json;
	unsigned int looked_at;
};

static void mse_control_list_destroy(struct mse_control_list *list)
{
	mse_pick_clear(&list->pick);
	mse_buf_clear(&list->page);
	free(list->only);
	free(list);
}

void mse_control_list_free(struct mse_control_list **list_p)
{
	struct mse_control_list *list = *list_p;

	*list_p = NULL;
	if (list == NULL)
		return;
	list->client = NULL;
	if (!list->busy)
		mse_control_list_destroy(list);
}

static void mse_control_row(struct mse_json *json, const char *endpoint,
			    const struct mse_ledger_row *row)
{
	mse_json_open(json, NULL, '{');
	mse_json_string(json, "endpoint", endpoint);
	mse_json_string(json, "id", row->id);
	mse_json_string(json, "type", row->type);
	/* \x01: a lane of its own, which is no owner's. */
	mse_json_string(json, "lane", row->lane[0] == '\x01' ? "" : row->lane);
	mse_json_number(json, "time_ms", mse_uuid_time_ms(row->id));
	mse_json_number(json, "sequence", (int64_t)row->sequence);
	mse_json_number(json, "attempts", row->attempts);
	mse_json_number(json, "parked_at_ms", row->parked_at_ms);
	mse_json_number(json, "changed_at_ms", row->changed_at_ms);
	mse_json_number(json, "last_status", row->last_status);
	mse_json_string(json, "last_error", row->last_error);
	mse_json_number(json, "octets", (int64_t)row->record_len);
	mse_json_close(json, '}');
}

static int mse_control_take_row(const struct mse_ledger_row *row,
				void *context)
{
	struct mse_control_page *page = context;
	struct mse_control_list *list = page->list;

	page->looked_at++;
	list->next_after = row->sequence;
	if (mse_pick_row(&list->pick, row))
		mse_control_row(&page->json, list->next_endpoint, row);
	return page->looked_at >= MSE_LIST_PAGE ||
		list->page.len > MSE_LIST_OCTETS ? 1 : 0;
}

/* The first name that is not before the one wanted. */
static int mse_control_find_endpoint(const char *name,
				     const struct mse_ledger_cursor *cursor,
				     void *context)
{
	struct mse_control_list *list = context;

	if (strcmp(name, list->next_endpoint) < 0 ||
	    (list->only != NULL && strcmp(name, list->only) != 0))
		return 0;
	if (strcmp(name, list->next_endpoint) != 0) {
		list->next_after = 0;
		(void)snprintf(list->next_endpoint,
			       sizeof(list->next_endpoint), "%s", name);
	}
	return 1;
}

/* 1: the page is full, 0: there are no more rows, -1: error. */
static int mse_control_fill_page(struct mse_ledger *ledger,
				 struct mse_control_page *page,
				 struct mse_error *error_r)
{
	struct mse_control_list *list = page->list;
	struct mse_row_filter filter;
	int ret;

	for (;;) {
		ret = mse_ledger_each_cursor(ledger, mse_control_find_endpoint,
					     list, error_r);
		if (ret <= 0)
			return ret;
		memset(&filter, 0, sizeof(filter));
		filter.endpoint = list->next_endpoint;
		filter.state = list->state;
		filter.id = list->pick.id;
		filter.after = list->next_after;
		filter.with_record = mse_pick_needs_record(&list->pick);
		ret = mse_ledger_each_row(ledger, &filter,
					  mse_control_take_row, page, error_r);
		if (ret != 0)
			return ret;
		/* No name sorts between this one and itself with a space. */
		list->next_after = 0;
		(void)strncat(list->next_endpoint, " ",
			      sizeof(list->next_endpoint) - 1 -
			      strlen(list->next_endpoint));
	}
}

static int mse_control_list_run(struct mse_ledger *ledger,
				struct mse_ledger_job *job,
				struct mse_error *error_r)
{
	struct mse_control_list *list = (struct mse_control_list *)job;
	struct mse_control_page page = {
		.list = list, .json = { &list->page, false }
	};
	struct mse_ledger_cursor cursor;
	int ret;

	/* The worker may repeat a job. */
	mse_buf_reset(&list->page);
	memcpy(list->next_endpoint, list->endpoint, sizeof(list->endpoint));
	list->next_after = list->after;
	if (!list->started && list->only != NULL) {
		ret = mse_ledger_get_cursor(ledger, list->only, &cursor,
					    error_r);
		if (ret < 0)
			return -1;
		if (ret == 0)
			return mse_error_set(error_r, "there is no endpoint "
					     "\"%.64s\"", list->only);
	}
	mse_json_open(&page.json, NULL, '{');
	if (!list->started)
		mse_json_bool(&page.json, "ok", true);
	mse_json_open(&page.json, "rows", '[');
	ret = mse_control_fill_page(ledger, &page, error_r);
	if (ret < 0)
		return -1;
	list->more = ret > 0;
	mse_json_close(&page.json, ']');
	mse_json_bool(&page.json, "more", list->more);
	mse_json_close(&page.json, '}');
	mse_buf_append_char(&list->page, '\n');
	return mse_buf_failed(&list->page) ?
		mse_error_set(error_r, "there is no memory") : 0;
}

static void mse_control_list_done(struct mse_ledger_job *job,
				  const struct mse_error *error)
{
	struct mse_control_list *list = (struct mse_control_list *)job;
	struct mse_control_client *client = list->client;

	list->busy = false;
	if (client == NULL) {
		mse_control_list_destroy(list);
		return;
	}
	if (error != NULL) {
		mse_control_reply_error(client, error->text);
		mse_control_list_free(&client->list);
		return;
	}
	mse_control_send(client, list->page.data, list->page.len);
	list->started = true;
	memcpy(list->endpoint, list->next_endpoint, sizeof(list->endpoint));
	list->after = list->next_after;
	if (!list->more)
		mse_control_list_free(&client->list);
}

void mse_control_list_pass(struct mse_control_client *client)
{
	struct evbuffer *output = bufferevent_get_output(client->bev);
	struct mse_control_list *list = client->list;

	if (list->busy || evbuffer_get_length(output) > MSE_LIST_BUFFERED)
		return; /* the job or the drained callback wakes us */
	list->busy = true;
	memset(&list->job, 0, sizeof(list->job));
	list->job.run = mse_control_list_run;
	list->job.done = mse_control_list_done;
	mse_ledger_worker_submit(client->daemon->ledger, &list->job);
}

void mse_control_rows(struct mse_control_client *client,
		      const struct mse_control_request *request, int state)
{
	struct mse_control_list *list = calloc(1, sizeof(*list));
	struct mse_error error;

	if (list == NULL) {
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	mse_buf_init(&list->page, 2 * MSE_LIST_OCTETS);
	list->state = state;
	list->client = client;
	if (mse_pick_init(&list->pick, request->id, request->type,
			  request->user, request->since_ms, request->until_ms,
			  &error) < 0) {
		mse_control_list_destroy(list);
		mse_control_reply_error(client, error.text);
		return;
	}
	if (request->endpoint != NULL) {
		list->only = strdup(request->endpoint);
		if (list->only == NULL) {
			mse_control_list_destroy(list);
			mse_control_reply_error(client, "there is no memory");
			return;
		}
	}
	client->list = list;
	bufferevent_setwatermark(client->bev, EV_WRITE, MSE_LIST_BUFFERED / 2,
				 0);
	mse_control_watch_output(client);
	mse_control_list_pass(client);
}

void mse_control_drop_pass(struct mse_control_client *client)
{
	struct mse_error error;
	int ret;

	ret = mse_deliver_forget(client->daemon->deliver, client->dropping,
				 &error);
	if (ret == 0)
		return;
	free(client->dropping);
	client->dropping = NULL;
	if (ret < 0)
		mse_control_reply_error(client, error.text);
	else
		mse_control_reply_ok(client);
}

void mse_control_drop_endpoint(struct mse_control_client *client,
			       const char *endpoint)
{
	client->dropping = strdup(endpoint);
	if (client->dropping == NULL)
		mse_control_reply_error(client, "there is no memory");
	else
		mse_control_drop_pass(client);
}
