/*
 * The transport of the daemon: requests in, answers out.
 *
 * Invariant: a transfer is in exactly one list. running: libcurl has it;
 * finished: its done() is still to be called, from the loop and never from
 * inside post() or cancel(); spare: free for the next request.
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mse_http_list_add(struct mse_http_list *list,
		       struct mse_http_transfer *transfer)
{
	transfer->next = NULL;
	transfer->prev = list->last;
	if (list->last != NULL)
		list->last->next = transfer;
	else
		list->first = transfer;
	list->last = transfer;
	list->count++;
}

void mse_http_list_remove(struct mse_http_list *list,
			  struct mse_http_transfer *transfer)
{
	if (transfer->prev != NULL)
		transfer->prev->next = transfer->next;
	else
		list->first = transfer->next;
	if (transfer->next != NULL)
		transfer->next->prev = transfer->prev;
	else
		list->last = transfer->prev;
	list->count--;
}

void mse_http_wake(struct mse_http *http)
{
	event_active(http->wake, EV_TIMEOUT, 1);
}

static struct mse_http_transfer *mse_http_take(struct mse_http *http)
{
	struct mse_http_transfer *transfer = http->spare.first;

	if (transfer == NULL)
		return mse_http_transfer_new(http);
	mse_http_list_remove(&http->spare, transfer);
	return transfer;
}

static void mse_http_give_back(struct mse_http *http,
			       struct mse_http_transfer *transfer)
{
	if (http->spare.count >= MSE_HTTP_SPARE_MAX) {
		mse_http_transfer_free(transfer);
		return;
	}
	transfer->request = NULL;
	mse_buf_clear(&transfer->body);
	mse_http_list_add(&http->spare, transfer);
}

/* libcurl lets go of it; done() is now due. */
static void mse_http_finish(struct mse_http *http,
			    struct mse_http_transfer *transfer)
{
	(void)curl_multi_remove_handle(http->multi, transfer->easy);
	mse_http_list_remove(&http->running, transfer);
	transfer->finished = true;
	mse_http_list_add(&http->finished, transfer);
}

/* libcurl by itself keeps four connections for each request that is out now:
   at the end of a burst it would close what the next one needs. */
static void mse_http_keep_connections(struct mse_http *http)
{
	if (http->running.count <= http->most)
		return;
	http->most = http->running.count;
	(void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS,
				4L * (long)http->most);
}

/* -1, and done() will not be called, only if memory is out. */
static int mse_http_post(struct mse_transport *transport,
			 struct mse_request *request)
{
	struct mse_http *http = (struct mse_http *)transport;
	struct mse_http_transfer *transfer = mse_http_take(http);

	if (transfer == NULL)
		return -1;
	request->handle = transfer;
	if (mse_http_transfer_setup(transfer, request) == 0 &&
	    curl_multi_add_handle(http->multi, transfer->easy) == CURLM_OK) {
		mse_http_list_add(&http->running, transfer);
		mse_http_keep_connections(http);
		return 0;
	}
	if (transfer->text[0] == '\0')
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "libcurl does not take the request");
	transfer->finished = true;
	mse_http_list_add(&http->finished, transfer);
	mse_http_wake(http);
	return 0;
}

static void mse_http_cancel(struct mse_transport *transport,
			    struct mse_request *request)
{
	struct mse_http *http = (struct mse_http *)transport;
	struct mse_http_transfer *transfer = request->handle;

	/* Answered already: what happened counts, done() is on its way. */
	if (transfer == NULL || transfer->finished)
		return;
	transfer->outcome = MSE_OUTCOME_CANCELLED;
	(void)snprintf(transfer->text, sizeof(transfer->text),
		       "the request was called off");
	mse_http_finish(http, transfer);
	mse_http_wake(http);
}

/* Nobody would tell of what they wait for, not even of their timeouts. */
static void mse_http_call_off(struct mse_http *http)
{
	struct mse_http_transfer *transfer;

	while ((transfer = http->running.first) != NULL) {
		transfer->outcome = MSE_OUTCOME_LOCAL;
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "there is no memory to wait for the answer");
		mse_http_finish(http, transfer);
	}
	http->deaf = false;
}

static void mse_http_collect(struct mse_http *http)
{
	struct mse_http_transfer *transfer;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		transfer = mse_http_transfer_of(msg->easy_handle);
		/* msg does not survive the removal of its handle. */
		transfer->code = msg->data.result;
		mse_http_answer_decide(transfer);
		mse_http_finish(http, transfer);
	}
}

static void mse_http_tell(struct mse_http *http,
			  struct mse_http_transfer *transfer)
{
	struct mse_request *request = transfer->request;
	struct mse_answer answer;

	memset(&answer, 0, sizeof(answer));
	answer.outcome = transfer->outcome;
	answer.status = transfer->status;
	answer.retry_after_s = transfer->retry_after_s;
	answer.allowed_origin = transfer->allowed_origin;
	answer.allowed_rate = transfer->allowed_rate;
	answer.elapsed_ms = mse_http_mono_ms() - transfer->started_ms;
	memcpy(answer.text, transfer->text, sizeof(answer.text));
	answer.body = mse_buf_str(&transfer->body);
	answer.body_len = transfer->body.len;
	request->handle = NULL;
	request->done(request, &answer);
	mse_http_give_back(http, transfer);
}

void mse_http_dispatch(struct mse_http *http)
{
	struct mse_http_transfer *transfer;

	mse_http_collect(http);
	if (http->deaf)
		mse_http_call_off(http);
	/* done() may post and cancel: only ever look at the first. */
	while ((transfer = http->finished.first) != NULL) {
		mse_http_list_remove(&http->finished, transfer);
		mse_http_tell(http, transfer);
	}
}

int mse_http_new(struct event_base *base, struct mse_http **http_r,
		 struct mse_error *error_r)
{
	struct mse_http *http = calloc(1, sizeof(*http));

	if (http == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(http);
		return mse_error_set(error_r, "libcurl cannot be initialised");
	}
	http->transport.post = mse_http_post;
	http->transport.cancel = mse_http_cancel;
	http->base = base;
	http->looks_at_folds =
		curl_version_info(CURLVERSION_NOW)->version_num < 0x080100;
	if (mse_http_loop_init(http, error_r) < 0) {
		mse_http_free(&http);
		return -1;
	}
	*http_r = http;
	return 0;
}

void mse_http_trim(struct mse_http *http)
{
	struct mse_http_transfer *transfer;

	while ((transfer = http->spare.first) != NULL) {
		mse_http_list_remove(&http->spare, transfer);
		mse_http_transfer_free(transfer);
	}
}

void mse_http_free(struct mse_http **http_p)
{
	struct mse_http *http = *http_p;
	struct mse_http_transfer *transfer;
	struct mse_http_forgotten *forgotten;

	*http_p = NULL;
	if (http == NULL)
		return;
	while ((transfer = http->running.first) != NULL)
		mse_http_cancel(&http->transport, transfer->request);
	if (http->multi != NULL)
		mse_http_dispatch(http);
	mse_http_trim(http);
	while ((forgotten = http->forgotten) != NULL) {
		http->forgotten = forgotten->next;
		free(forgotten);
	}
	mse_http_loop_clear(http);
	curl_global_cleanup();
	free(http);
}

struct mse_transport *mse_http_transport(struct mse_http *http)
{
	return &http->transport;
}

void mse_http_forget(struct mse_http *http, const char *endpoint)
{
	struct mse_http_forgotten *forgotten;
	size_t len = strlen(endpoint);

	for (forgotten = http->forgotten; forgotten != NULL;
	     forgotten = forgotten->next) {
		if (strcmp(forgotten->endpoint, endpoint) == 0)
			break;
	}
	if (forgotten == NULL) {
		forgotten = malloc(sizeof(*forgotten) + len + 1);
		if (forgotten == NULL)
			return; /* libcurl closes them after two minutes */
		memcpy(forgotten->endpoint, endpoint, len + 1);
		forgotten->next = http->forgotten;
		http->forgotten = forgotten;
	}
	forgotten->at_ms = mse_http_mono_ms();
}
