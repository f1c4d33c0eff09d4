/*
 * What the control socket's commands do.
 *
 * Invariant: every request gets exactly one reply (a tail's records follow
 * its own), also one that makes no sense.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <string.h>
#include <unistd.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "daemon/web.h"
#include "deliver/deliver.h"
#include "journal/journal.h"
#include "ledger/worker.h"

static void mse_control_endpoint(const struct mse_endpoint_status *status,
				 void *context)
{
	struct mse_json *json = context;

	mse_json_open(json, NULL, '{');
	mse_json_string(json, "name", status->name);
	mse_json_string(json, "url", status->url);
	mse_json_string(json, "state", status->state);
	mse_json_string(json, "stream", status->stream);
	mse_json_number(json, "sequence", (int64_t)status->sequence);
	mse_json_number(json, "floor", (int64_t)status->floor);
	mse_json_number(json, "behind_octets",
			(int64_t)status->behind_octets);
	mse_json_number(json, "behind_ms", status->behind_ms);
	mse_json_bool(json, "lagging", status->lagging);
	mse_json_number(json, "in_flight", status->in_flight);
	mse_json_number(json, "replays", status->replays);
	mse_json_number(json, "parked", (int64_t)status->parked);
	mse_json_number(json, "dead", (int64_t)status->dead);
	mse_json_number(json, "answered", (int64_t)status->answered);
	mse_json_number(json, "failed", (int64_t)status->failed);
	mse_json_number(json, "next_attempt_ms", status->next_attempt_ms);
	mse_json_string(json, "last_outcome", status->last_outcome);
	mse_json_string(json, "last_error", status->last_error);
	if (status->held_id[0] != '\0')
		mse_json_string(json, "held_id", status->held_id);
	mse_json_close(json, '}');
}

static void mse_control_journal(struct mse_json *json,
				const struct mse_daemon *daemon)
{
	const struct mse_journal_file *files;
	unsigned int count, i;
	uint64_t octets = 0;

	files = mse_journal_files(daemon->journal, &count);
	for (i = 0; i < count; i++)
		octets += files[i].size;
	mse_json_open(json, "journal", '{');
	mse_json_number(json, "files", count);
	mse_json_number(json, "octets", (int64_t)octets);
	mse_json_number(json, "limit", (int64_t)daemon->conf->journal_limit);
	mse_json_close(json, '}');
}

static void mse_control_status(struct mse_control_client *client)
{
	struct mse_daemon *daemon = client->daemon;
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, MSE_CONTROL_REPLY_MAX);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", true);
	mse_json_string(&json, "version", MAILHOOK_VERSION);
	mse_json_number(&json, "pid", getpid());
	mse_json_number(&json, "uptime_ms",
			mse_daemon_now() - daemon->started_ms);
	mse_json_bool(&json, "stopping", daemon->stopping);
	mse_json_string(&json, "config", daemon->options.config_path);
	mse_json_string(&json, "dir", daemon->options.dir);
	mse_json_string(&json, "server_name", mse_daemon_server_name(daemon));
	mse_json_number(&json, "generation", (int64_t)daemon->generation);
	mse_json_number(&json, "ledger_queued",
			mse_ledger_worker_queued(daemon->ledger));
	mse_json_number(&json, "lag_warning_ms", daemon->conf->lag_warning_ms);
	mse_json_string(&json, "metrics", daemon->conf->metrics);
	mse_json_string(&json, "metrics_problem",
			mse_web_problem(daemon->web));
	mse_control_journal(&json, daemon);
	mse_json_open(&json, "endpoints", '[');
	mse_deliver_each_status(daemon->deliver, mse_control_endpoint, &json);
	mse_json_close(&json, ']');
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
}

static void mse_control_done(struct mse_control_client *client, int ret,
			     const struct mse_error *error)
{
	if (ret < 0)
		mse_control_reply_error(client, error->text);
	else
		mse_control_reply_ok(client);
}

static void mse_control_reload(struct mse_control_client *client)
{
	client->reloading = true;
	client->daemon->reload_due = true;
}

/* Who drops many does not read our sentences. */
static void mse_control_drop_one(struct mse_control_client *client,
				 const struct mse_control_request *request)
{
	struct mse_error error;
	int ret;

	ret = mse_deliver_drop(client->daemon->deliver, request->endpoint,
			       request->id, &error);
	if (ret >= 0)
		mse_control_reply_ok(client);
	else
		mse_control_reply_refusal(client, error.text,
			ret == MSE_DROP_AGAIN ? "again" :
			ret == MSE_DROP_GONE ? "gone" : NULL);
}

/* One event; or dead letters that something is said of; or all of an endpoint
   that is no longer configured. */
static void mse_control_drop(struct mse_control_client *client,
			     const struct mse_control_request *request)
{
	if (request->id != NULL)
		mse_control_drop_one(client, request);
	else if (mse_control_picks(request))
		mse_control_drop_dead(client, request);
	else
		mse_control_drop_endpoint(client, request->endpoint);
}

/* Commands that need an endpoint. False: it is none of them. */
static bool mse_control_endpoint_command(struct mse_control_client *client,
				const struct mse_control_request *request)
{
	struct mse_deliver *deliver = client->daemon->deliver;
	const char *command = request->command;
	const char *endpoint = request->endpoint;
	struct mse_error error;

	if (strcmp(command, "test") == 0)
		mse_control_test_start(client, endpoint);
	else if (strcmp(command, "pause") == 0 ||
		 strcmp(command, "resume") == 0)
		mse_control_done(client, mse_deliver_pause(deliver, endpoint,
			*command == 'p', &error), &error);
	else if (strcmp(command, "drop") == 0)
		mse_control_drop(client, request);
	else if (strcmp(command, "retry") == 0)
		mse_control_replay_start(client, request, true);
	else if (strcmp(command, "replay") == 0)
		mse_control_replay_start(client, request, false);
	else
		return false;
	return true;
}

static void mse_control_execute(struct mse_control_client *client,
				const struct mse_control_request *request)
{
	const char *command = request->command;

	if (strcmp(command, "status") == 0)
		mse_control_status(client);
	else if (strcmp(command, "reload") == 0)
		mse_control_reload(client);
	else if (strcmp(command, "tail") == 0)
		mse_control_tail_start(client, request);
	else if (strcmp(command, "dead") == 0)
		mse_control_rows(client, request, MSE_ROW_DEAD);
	else if (strcmp(command, "queue") == 0)
		mse_control_rows(client, request, MSE_ROW_PARKED);
	else if (strcmp(command, "show") == 0 && request->id != NULL)
		mse_control_show_start(client, request);
	else if (strcmp(command, "resync") == 0 && request->user != NULL)
		mse_control_resync_start(client, request);
	else if (request->endpoint == NULL ||
		 !mse_control_endpoint_command(client, request))
		mse_control_reply_error(client, "this daemon knows no such "
			"command, or its endpoint or id is missing");
}

void mse_control_command(struct mse_control_client *client,
			 const char *line, size_t len)
{
	struct mse_control_request request;
	struct mse_error error;

	if (len > MSE_CONTROL_LINE_MAX) {
		mse_control_reply_error(client, "the request is too long");
		return;
	}
	if (mse_control_request_parse(line, len, &request, &error) < 0) {
		mse_control_reply_error(client, error.text);
		return;
	}
	mse_control_execute(client, &request);
	mse_control_request_clear(&request);
}
