/*
 * tail: the journal's records as they come, to one client.
 *
 * Invariant: a cursor like any other, so a slow client costs nothing: while
 * its buffer is full the reader stands still.
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
#include "journal/reader.h"

#define MSE_TAIL_BUFFERED (256 * 1024)
#define MSE_TAIL_RECORDS 500 /* a pass */

struct mse_control_tail {
	struct mse_journal_reader *reader;
	char *type, *user;
};

void mse_control_tail_free(struct mse_control_tail **tail_p)
{
	struct mse_control_tail *tail = *tail_p;

	*tail_p = NULL;
	if (tail == NULL)
		return;
	if (tail->reader != NULL)
		mse_journal_reader_free(&tail->reader);
	free(tail->type);
	free(tail->user);
	free(tail);
}

/* Facts are no events. */
static bool mse_control_tail_shows(enum mse_event_type type)
{
	return type != MSE_EVENT_UNKNOWN &&
	       mse_event_type_group(type) != MSE_GROUP_FACT;
}

static int mse_control_tail_open(struct mse_control_tail *tail,
				 struct mse_journal *journal,
				 const struct mse_control_request *request,
				 struct mse_error *error_r)
{
	struct mse_position position;

	if (request->type != NULL &&
	    !mse_control_tail_shows(mse_event_type_find(request->type)))
		return mse_error_set(error_r, "\"%.64s\" is no event; names "
				     "are those of RFC 5423, such as "
				     "MessageNew", request->type);
	if (mse_journal_newest(journal, &position, error_r) < 0)
		return -1;
	tail->type = request->type != NULL ? strdup(request->type) : NULL;
	tail->user = request->user != NULL ? strdup(request->user) : NULL;
	tail->reader = mse_journal_reader_new(journal, &position);
	if (tail->reader == NULL ||
	    (request->type != NULL && tail->type == NULL) ||
	    (request->user != NULL && tail->user == NULL))
		return mse_error_set(error_r, "there is no memory");
	return 0;
}

void mse_control_tail_start(struct mse_control_client *client,
			    const struct mse_control_request *request)
{
	struct mse_control_tail *tail = calloc(1, sizeof(*tail));
	struct mse_error error;

	if (tail == NULL) {
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	if (mse_control_tail_open(tail, client->daemon->journal, request,
				  &error) < 0) {
		mse_control_tail_free(&tail);
		mse_control_reply_error(client, error.text);
		return;
	}
	mse_control_tail_free(&client->tail);
	client->tail = tail;
	/* At half a buffer the rest may follow. */
	bufferevent_setwatermark(client->bev, EV_WRITE, MSE_TAIL_BUFFERED / 2,
				 0);
	mse_control_watch_output(client);
	mse_control_reply_ok(client);
}

static bool mse_control_tail_wants(const struct mse_control_tail *tail,
				   const struct mse_record *record)
{
	if (!mse_control_tail_shows(record->type))
		return false;
	if (tail->type != NULL && strcmp(tail->type, record->type_name) != 0)
		return false;
	return tail->user == NULL || strcmp(tail->user, record->owner) == 0 ||
		(record->user != NULL &&
		 strcmp(tail->user, record->user) == 0);
}

void mse_control_tail_pass(struct mse_control_client *client)
{
	struct evbuffer *output = bufferevent_get_output(client->bev);
	struct mse_control_tail *tail = client->tail;
	struct mse_read_result result;
	struct mse_error error;
	unsigned int i;
	enum mse_read read;

	for (i = 0; i < MSE_TAIL_RECORDS && !client->gone; i++) {
		if (evbuffer_get_length(output) > MSE_TAIL_BUFFERED)
			return; /* its drained callback wakes us */
		read = mse_journal_reader_next(tail->reader, &result, &error);
		if (read == MSE_READ_END)
			return;
		if (read == MSE_READ_ERROR) {
			mse_control_reply_error(client, error.text);
			client->gone = true;
			return;
		}
		if (read != MSE_READ_RECORD ||
		    !mse_control_tail_wants(tail, &result.record))
			continue;
		mse_control_send(client, result.record.bytes.data,
				 result.record.bytes.len);
		mse_control_send(client, "\n", 1);
	}
	/* More is there: come back soon, after everybody else. */
	client->daemon->hurry = true;
}
