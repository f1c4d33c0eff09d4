/*
 * test: one vnd.mailhook.Test to an endpoint, and what came back.
 *
 * Invariant: the answer may come after the client left; what waits for it is
 * the test's own and outlives the client.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "deliver/deliver.h"

struct mse_control_test {
	struct mse_control_client *client; /* NULL: left */
};

void mse_control_test_forget(struct mse_control_client *client)
{
	if (client->test != NULL)
		client->test->client = NULL;
	client->test = NULL;
}

/* A signature can be replayed for five minutes; a bearer token, or a key in a
   header that the administrator added, for ever. */
static bool mse_control_is_secret(const char *header)
{
	static const char *const shown[] = {
		"content-", "user-agent:", "webhook-", "mailhook-", "ce-", NULL
	};
	unsigned int i;

	for (i = 0; shown[i] != NULL; i++) {
		if (strncasecmp(header, shown[i], strlen(shown[i])) == 0)
			return false;
	}
	return true;
}

void mse_control_header(struct mse_json *json, const char *header)
{
	struct mse_buf hidden;

	if (!mse_control_is_secret(header)) {
		mse_json_string(json, NULL, header);
		return;
	}
	mse_buf_init(&hidden, 8192);
	mse_buf_append(&hidden, header, strcspn(header, ":"));
	mse_buf_append_str(&hidden, ": (hidden)");
	mse_json_string(json, NULL, mse_buf_str(&hidden));
	mse_buf_clear(&hidden);
}

static void mse_control_test_request(struct mse_json *json,
				     const struct mse_request *request)
{
	const char *const *header;

	mse_json_string(json, "url", request->url);
	mse_json_open(json, "headers", '[');
	for (header = request->headers; header != NULL && *header != NULL;
	     header++)
		mse_control_header(json, *header);
	mse_json_close(json, ']');
	mse_json_bytes(json, "body", request->plain, request->plain_len);
}

static void mse_control_test_done(const struct mse_request *request,
				  const struct mse_answer *answer,
				  void *context)
{
	struct mse_control_test *test = context;
	struct mse_control_client *client = test->client;
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	free(test);
	if (client == NULL)
		return;
	client->test = NULL;
	mse_buf_init(&buf, MSE_CONTROL_REPLY_MAX);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", true);
	mse_control_test_request(&json, request);
	mse_json_string(&json, "outcome", mse_outcome_name(answer->outcome));
	mse_json_number(&json, "status", answer->status);
	mse_json_number(&json, "elapsed_ms", answer->elapsed_ms);
	mse_json_string(&json, "text", answer->text);
	mse_json_bytes(&json, "answer", answer->body != NULL ? answer->body :
		       "", answer->body_len);
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
}

void mse_control_test_start(struct mse_control_client *client,
			    const char *endpoint)
{
	struct mse_control_test *test;
	struct mse_error error;

	if (client->test != NULL) {
		mse_control_reply_error(client, "one test at a time");
		return;
	}
	test = calloc(1, sizeof(*test));
	if (test == NULL) {
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	test->client = client;
	client->test = test;
	if (mse_deliver_test(client->daemon->deliver, endpoint,
			     mse_control_test_done, test, &error) < 0) {
		client->test = NULL;
		free(test);
		mse_control_reply_error(client, error.text);
	}
}
