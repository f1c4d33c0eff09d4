/*
 * replay, retry, and dropping dead letters by the thousand.
 *
 *   < {"ok":true,"since_ms":…,"oldest_ms":…}
 *   < {"refused":{"id":…,"type":…,"owner":…,"status":…,"error":…}}
 *   < {"found":…,"answered":…,"failed":…,…,"ended":false}
 *   < {…,"ended":true,"problem":""}
 *
 * Invariant: a replay of many lives as long as the client that asked for it. A
 * client that does not read gets fewer lines of progress, and of failures as
 * many as there is room for; how many there were stands in the last line.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "deliver/deliver.h"
#include "journal/reader.h"

#define MSE_REPLAY_EVERY_MS 500
#define MSE_REPLAY_BUFFERED (1024 * 1024)

struct mse_control_replay {
	struct mse_replay *replay;
	struct mse_control_client *client;
	bool single; /* one dead letter: it goes on without its client */
	int64_t told_at_ms;
	struct mse_replay_progress told;
};

void mse_control_replay_free(struct mse_control_replay **replay_p)
{
	struct mse_control_replay *replay = *replay_p;

	*replay_p = NULL;
	if (replay == NULL)
		return;
	if (replay->single)
		mse_deliver_replay_leave(&replay->replay);
	else
		mse_deliver_replay_end(&replay->replay);
	free(replay);
}

static bool mse_control_has_room(struct mse_control_client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->bev)) <
		MSE_REPLAY_BUFFERED;
}

static void mse_control_replay_failed(const char *id, const char *type,
				      const char *owner, int status,
				      const char *error, void *context)
{
	struct mse_control_replay *replay = context;
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	if (!mse_control_has_room(replay->client))
		return;
	mse_buf_init(&buf, 65536);
	mse_json_open(&json, NULL, '{');
	mse_json_open(&json, "refused", '{');
	mse_json_string(&json, "id", id);
	mse_json_string(&json, "type", type);
	mse_json_string(&json, "owner", owner);
	mse_json_number(&json, "status", status);
	mse_json_string(&json, "error", error);
	mse_json_close(&json, '}');
	mse_json_close(&json, '}');
	mse_control_reply(replay->client, &buf);
}

static void mse_control_replay_tell(struct mse_control_client *client,
				    const struct mse_replay_progress *progress)
{
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, 8192);
	mse_json_open(&json, NULL, '{');
	mse_json_number(&json, "found", (int64_t)progress->found);
	mse_json_number(&json, "answered", (int64_t)progress->answered);
	mse_json_number(&json, "failed", (int64_t)progress->failed);
	mse_json_number(&json, "in_flight", progress->in_flight);
	mse_json_number(&json, "read_octets", (int64_t)progress->read_octets);
	mse_json_number(&json, "total_octets",
			(int64_t)progress->total_octets);
	if (progress->resume_ms > 0)
		mse_json_number(&json, "resume_ms", progress->resume_ms);
	mse_json_string(&json, "waiting", progress->waiting);
	mse_json_bool(&json, "ended", progress->ended);
	mse_json_string(&json, "problem", progress->problem);
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
}

static bool mse_control_is_news(const struct mse_replay_progress *a,
				const struct mse_replay_progress *b)
{
	return a->found != b->found || a->answered != b->answered ||
		a->failed != b->failed || a->in_flight != b->in_flight ||
		a->read_octets != b->read_octets || a->waiting != b->waiting;
}

void mse_control_replay_pass(struct mse_control_client *client)
{
	struct mse_control_replay *replay = client->replay;
	struct mse_replay_progress progress;
	int64_t now = mse_daemon_now();

	mse_deliver_replay_progress(replay->replay, &progress);
	if (progress.ended) {
		mse_control_replay_tell(client, &progress);
		mse_control_replay_free(&client->replay);
		return;
	}
	if (now < replay->told_at_ms + MSE_REPLAY_EVERY_MS ||
	    !mse_control_is_news(&progress, &replay->told) ||
	    !mse_control_has_room(client))
		return;
	replay->told_at_ms = now;
	replay->told = progress;
	mse_control_replay_tell(client, &progress);
}

/* When the oldest record that is kept happened; 0: there is none. */
static int64_t mse_control_oldest_ms(struct mse_journal *journal)
{
	struct mse_journal_reader *reader;
	struct mse_read_result result;
	struct mse_position position;
	struct mse_error error;
	int64_t at = 0;

	mse_journal_oldest(journal, &position);
	reader = mse_journal_reader_new(journal, &position);
	if (reader != NULL &&
	    mse_journal_reader_next(reader, &result, &error) ==
	    MSE_READ_RECORD)
		at = result.record.time_ms;
	mse_journal_reader_free(&reader);
	return at;
}

static void mse_control_replay_begun(struct mse_control_client *client,
				     bool dead)
{
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	mse_buf_init(&buf, 8192);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", true);
	if (!dead)
		mse_json_number(&json, "oldest_ms", mse_control_oldest_ms(
			client->daemon->journal));
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
}

/* A parked event's next attempt is due: that is all there is to tell. */
static void mse_control_retry_begun(struct mse_control_client *client)
{
	static const char text[] = "{\"ok\":true}\n{\"found\":1,\"answered\":0,"
		"\"failed\":0,\"parked\":1,\"ended\":true,\"problem\":\"\"}\n";

	mse_control_send(client, text, sizeof(text) - 1);
}

static int mse_control_replay_new(struct mse_control_client *client,
				  const struct mse_control_request *request,
				  struct mse_replay_options *options,
				  struct mse_replay **replay_r,
				  struct mse_error *error_r)
{
	struct mse_daemon *daemon = client->daemon;

	if (options->dead && !mse_control_picks(request))
		return mse_error_set(error_r, "which dead letters? say an id, "
				     "or user, type, since or until, or all");
	if (!options->dead && request->since_ms == INT64_MIN)
		return mse_error_set(error_r, "since when? \"since_ms\" is "
				     "missing");
	if (mse_pick_init(&options->pick, request->id, request->type,
			  request->user, request->since_ms, request->until_ms,
			  error_r) < 0)
		return -1;
	if (!options->dead &&
	    mse_control_find_since(daemon, request->since_ms, &options->start,
				   error_r) < 0)
		return -1;
	if (options->dead && request->id != NULL && !request->dry_run)
		return mse_deliver_retry(daemon->deliver, options, replay_r,
					 error_r);
	return mse_deliver_replay(daemon->deliver, options, replay_r, error_r);
}

void mse_control_replay_start(struct mse_control_client *client,
			      const struct mse_control_request *request,
			      bool dead)
{
	struct mse_control_replay *replay = calloc(1, sizeof(*replay));
	struct mse_replay_options options = {
		.endpoint = request->endpoint, .dead = dead,
		.dry_run = request->dry_run,
		.failed = mse_control_replay_failed, .context = replay
	};
	struct mse_error error;

	if (replay == NULL) {
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	replay->client = client;
	replay->single = request->id != NULL;
	if (mse_control_replay_new(client, request, &options, &replay->replay,
				   &error) < 0) {
		mse_pick_clear(&options.pick);
		free(replay);
		mse_control_reply_error(client, error.text);
		return;
	}
	mse_pick_clear(&options.pick);
	if (replay->replay == NULL) {
		free(replay);
		mse_control_retry_begun(client);
		return;
	}
	client->replay = replay;
	mse_control_replay_begun(client, dead);
}

struct mse_control_sweep {
	struct mse_control_client *client; /* NULL: it left */
};

void mse_control_sweep_forget(struct mse_control_client *client)
{
	if (client->sweep != NULL)
		client->sweep->client = NULL;
	client->sweep = NULL;
}

static void mse_control_dropped(uint64_t dropped, const char *problem,
				void *context)
{
	struct mse_control_sweep *sweep = context;
	struct mse_control_client *client = sweep->client;
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	free(sweep);
	if (client == NULL)
		return;
	client->sweep = NULL;
	mse_buf_init(&buf, 8192);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", problem == NULL);
	if (problem != NULL)
		mse_json_string(&json, "error", problem);
	mse_json_number(&json, "dropped", (int64_t)dropped);
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
}

void mse_control_drop_dead(struct mse_control_client *client,
			   const struct mse_control_request *request)
{
	struct mse_control_sweep *sweep = calloc(1, sizeof(*sweep));
	struct mse_error error;
	struct mse_pick pick;

	if (sweep == NULL) {
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	sweep->client = client;
	if (mse_pick_init(&pick, NULL, request->type, request->user,
			  request->since_ms, request->until_ms, &error) < 0) {
		free(sweep);
		mse_control_reply_error(client, error.text);
		return;
	}
	if (mse_deliver_drop_dead(client->daemon->deliver, request->endpoint,
				  &pick, mse_control_dropped, sweep,
				  &error) < 0) {
		mse_pick_clear(&pick);
		free(sweep);
		mse_control_reply_error(client, error.text);
		return;
	}
	client->sweep = sweep;
}
