/*
 * show: one event, found by its id, and how it stands with each endpoint.
 *
 * Its id says when it happened, so the journal is read from a little before
 * that. What a row of the ledger has is not looked for further; for the rest
 * (an id of a clock that was wrong) everything is read.
 *
 * Invariant: so many records a pass; the loop goes on meanwhile.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "deliver/deliver.h"
#include "deliver/show.h"
#include "journal/reader.h"

#define MSE_SHOW_RECORDS 500             /* a pass */
#define MSE_SHOW_LATE_MS (10 * 60000)    /* appended so long afterwards */
#define MSE_SHOW_BODY (64 * 1024)        /* of a request */
#define MSE_SHOW_BODIES (2 * 1024 * 1024) /* of all of them */

struct mse_control_show {
	struct mse_show *show;
	struct mse_journal_reader *reader;
	char id[MSE_UUID_SIZE];
	int64_t happened_ms;
	bool everything; /* reading all there is */
};

void mse_control_show_free(struct mse_control_show **show_p)
{
	struct mse_control_show *show = *show_p;

	*show_p = NULL;
	if (show == NULL)
		return;
	mse_deliver_show_free(&show->show);
	mse_journal_reader_free(&show->reader);
	free(show);
}

static void mse_control_show_request(struct mse_json *json,
				     const struct mse_request *request)
{
	const char *const *header;
	size_t len = request->plain_len;

	if (json->buf->len > MSE_SHOW_BODIES)
		len = 0;
	else if (len > MSE_SHOW_BODY)
		len = MSE_SHOW_BODY;
	mse_json_open(json, "request", '{');
	mse_json_string(json, "url", request->url);
	mse_json_open(json, "headers", '[');
	for (header = request->headers; *header != NULL; header++)
		mse_control_header(json, *header);
	mse_json_close(json, ']');
	mse_json_bytes(json, "body", request->plain, len);
	mse_json_number(json, "body_octets", (int64_t)request->plain_len);
	mse_json_close(json, '}');
}

static void mse_control_show_delivery(const struct mse_delivery *delivery,
				      void *context)
{
	struct mse_json *json = context;

	mse_json_open(json, NULL, '{');
	mse_json_string(json, "endpoint", delivery->endpoint);
	mse_json_string(json, "state", delivery->state);
	if (*delivery->held_by != '\0')
		mse_json_string(json, "held_by", delivery->held_by);
	mse_json_number(json, "sequence", (int64_t)delivery->sequence);
	mse_json_number(json, "attempts", delivery->attempts);
	if (delivery->changed_at_ms > 0)
		mse_json_number(json, "changed_at_ms",
				delivery->changed_at_ms);
	if (delivery->next_attempt_ms >= 0)
		mse_json_number(json, "next_attempt_ms",
				delivery->next_attempt_ms);
	mse_json_number(json, "last_status", delivery->last_status);
	mse_json_string(json, "last_error", delivery->last_error);
	if (delivery->answer_len > 0)
		mse_json_bytes(json, "answer", delivery->answer,
			       delivery->answer_len);
	if (delivery->request != NULL)
		mse_control_show_request(json, delivery->request);
	mse_json_close(json, '}');
}

static void mse_control_show_event(struct mse_json *json,
				   const struct mse_record *record)
{
	mse_json_string(json, "type", record->type_name);
	mse_json_string(json, "time", record->time_text);
	mse_json_string(json, "user", record->user);
	mse_json_string(json, "owner", record->owner);
	mse_json_string(json, "mailbox", record->mailbox);
	mse_json_number(json, "octets", (int64_t)record->bytes.len);
}

/* record, position: NULL: not known, not in the journal. */
static void mse_control_show_reply(struct mse_control_client *client,
				   const struct mse_record *record,
				   const struct mse_position *position)
{
	struct mse_control_show *show = client->show;
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, MSE_CONTROL_REPLY_MAX);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", true);
	mse_json_string(&json, "id", show->id);
	if (record != NULL)
		mse_control_show_event(&json, record);
	mse_json_bool(&json, "in_journal", position != NULL);
	mse_json_open(&json, "deliveries", '[');
	mse_deliver_show_each(show->show, record, position,
			      mse_control_show_delivery, &json);
	mse_json_close(&json, ']');
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
	mse_control_show_free(&client->show);
}

/* It is not in the journal. False: there is more of it to be read. */
static bool mse_control_show_missed(struct mse_control_client *client)
{
	struct mse_control_show *show = client->show;
	struct mse_position position;
	struct mse_record record;
	const char *text;
	size_t len;

	text = mse_deliver_show_record(show->show, &len);
	if (text != NULL &&
	    mse_record_parse(text, len, &record, NULL) == 0) {
		mse_control_show_reply(client, &record, NULL);
		mse_record_clear(&record);
		return true;
	}
	if (show->everything && mse_deliver_show_has_rows(show->show)) {
		mse_control_show_reply(client, NULL, NULL);
		return true;
	}
	if (show->everything) {
		mse_control_reply_error(client, "there is no such event: "
			"neither in the journal, which is kept for "
			"`retention`, nor waiting, nor dead");
		mse_control_show_free(&client->show);
		return true;
	}
	show->everything = true;
	mse_journal_oldest(client->daemon->journal, &position);
	mse_journal_reader_free(&show->reader);
	show->reader = mse_journal_reader_new(client->daemon->journal,
					      &position);
	return false;
}

void mse_control_show_pass(struct mse_control_client *client)
{
	struct mse_control_show *show = client->show;
	struct mse_read_result result;
	struct mse_error error = { "there is no memory" };
	enum mse_read read;
	unsigned int i;

	for (i = 0; i < MSE_SHOW_RECORDS; i++) {
		read = show->reader == NULL ? MSE_READ_ERROR :
			mse_journal_reader_next(show->reader, &result, &error);
		if (read == MSE_READ_ERROR) {
			mse_control_reply_error(client, error.text);
			mse_control_show_free(&client->show);
			return;
		}
		if (read == MSE_READ_RECORD &&
		    strcmp(result.record.id, show->id) == 0) {
			mse_control_show_reply(client, &result.record,
					       &result.position);
			return;
		}
		if (read == MSE_READ_END ||
		    (read == MSE_READ_RECORD && !show->everything &&
		     mse_uuid_time_ms(result.record.id) >
		     show->happened_ms + MSE_SHOW_LATE_MS)) {
			if (mse_control_show_missed(client))
				return;
		}
	}
	/* More is there: come back soon, after everybody else. */
	client->daemon->hurry = true;
}

void mse_control_show_start(struct mse_control_client *client,
			    const struct mse_control_request *request)
{
	struct mse_daemon *daemon = client->daemon;
	struct mse_control_show *show = calloc(1, sizeof(*show));
	struct mse_position position;
	struct mse_error error = { "there is no memory" };

	if (show == NULL ||
	    mse_deliver_show_new(daemon->deliver, request->id,
				 request->endpoint, &show->show,
				 &error) < 0) {
		mse_control_reply_error(client, error.text);
		mse_control_show_free(&show);
		return;
	}
	memcpy(show->id, request->id, MSE_UUID_SIZE);
	show->happened_ms = mse_uuid_time_ms(show->id);
	if (mse_control_find_since(daemon, show->happened_ms, &position,
				   &error) < 0) {
		mse_control_reply_error(client, error.text);
		mse_control_show_free(&show);
		return;
	}
	show->reader = mse_journal_reader_new(daemon->journal, &position);
	client->show = show;
}
