/*
 * retry and drop of many that wait: what queue lists, one after the other.
 *
 * Invariant: each is a request of its own and done or not done by itself, so
 * that the same command goes on where one ended. One that is just being sent
 * or stored comes round again, as long as there is progress; Gaps are never
 * dropped: they say what else was.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event/event.h"

#define ROUND_MS 50
#define PATIENCE_MS 30000 /* without progress */

struct waiting {
	const struct mse_ctl *ctl;
	const char *command, *endpoint;
	bool drop;
	char (*ids)[MSE_UUID_SIZE];
	size_t count, size;
	size_t found, done, gone;
};

static int add_id(struct waiting *waiting, const char *id)
{
	size_t size = waiting->size == 0 ? 1024 : waiting->size * 2;
	void *ids;

	if (waiting->count == waiting->size) {
		ids = realloc(waiting->ids, size * sizeof(*waiting->ids));
		if (ids == NULL)
			return -1;
		waiting->ids = ids;
		waiting->size = size;
	}
	(void)snprintf(waiting->ids[waiting->count++], MSE_UUID_SIZE, "%s",
		       id);
	return 0;
}

static int take_page(struct waiting *waiting, struct json_object *page)
{
	struct json_object *list, *row;
	size_t i, count;

	if (!json_object_object_get_ex(page, "rows", &list))
		return -1;
	count = json_object_array_length(list);
	for (i = 0; i < count; i++) {
		row = json_object_array_get_idx(list, i);
		if (waiting->drop &&
		    strcmp(mse_ctl_text(row, "type"),
			   mse_event_type_name(MSE_EVENT_GAP)) == 0)
			continue;
		if (add_id(waiting, mse_ctl_text(row, "id")) < 0)
			return -1;
	}
	return 0;
}

/* An exit code. */
static int find_all(struct waiting *waiting)
{
	const struct mse_ctl *ctl = waiting->ctl;
	struct json_object *request, *page;
	bool more = true, failed = false;
	FILE *stream;
	int ret;

	request = mse_ctl_request(ctl, "queue", waiting->endpoint, NULL);
	if (request == NULL)
		return MSE_CTL_USAGE;
	stream = mse_ctl_send(ctl, request);
	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	page = mse_ctl_first(ctl, stream, &ret);
	while (page != NULL) {
		failed = take_page(waiting, page) < 0;
		more = mse_ctl_bool(page, "more");
		json_object_put(page);
		page = more && !failed ? mse_ctl_answer(stream) : NULL;
	}
	(void)fclose(stream);
	if (ret == MSE_CTL_OK && (more || failed)) {
		fprintf(stderr, "mailhookctl: what waits could not be read to "
			"its end; nothing was done\n");
		ret = MSE_CTL_UNREACHABLE;
	}
	waiting->found = waiting->count;
	return ret;
}

/* 1: to come round again; else an exit code, negative if that is the end. */
static int one_answered(struct waiting *waiting, struct json_object *answer)
{
	if (mse_ctl_bool(answer, "ok")) {
		waiting->done++;
		return 0;
	}
	if (mse_ctl_bool(answer, "again"))
		return 1;
	/* Answered meanwhile; to be tried: it waits behind another. */
	if (!waiting->drop || mse_ctl_bool(answer, "gone")) {
		waiting->gone++;
		return 0;
	}
	fprintf(stderr, "mailhookctl: %s\n", mse_ctl_text(answer, "error"));
	return -MSE_CTL_PROBLEM;
}

static int do_one(struct waiting *waiting, const char *id)
{
	struct json_object *answer;
	FILE *stream;
	int ret;

	stream = mse_ctl_send(waiting->ctl, mse_ctl_request(
		waiting->ctl, waiting->command, waiting->endpoint, id));
	if (stream == NULL)
		return -MSE_CTL_UNREACHABLE;
	answer = mse_ctl_answer(stream);
	(void)fclose(stream);
	if (answer == NULL) {
		fprintf(stderr, "mailhookctl: the daemon left without an "
			"answer\n");
		return -MSE_CTL_UNREACHABLE;
	}
	ret = one_answered(waiting, answer);
	json_object_put(answer);
	return ret;
}

static void rest(void)
{
	const struct timespec moment = { 0, ROUND_MS * 1000000L };

	(void)nanosleep(&moment, NULL);
}

/* Those that are left come first in the list. An exit code. */
static int do_all(struct waiting *waiting)
{
	int patience_ms = PATIENCE_MS, ret;
	size_t i, left;

	while (waiting->count > 0) {
		for (i = left = 0; i < waiting->count; i++) {
			ret = do_one(waiting, waiting->ids[i]);
			if (ret < 0)
				return -ret;
			if (ret > 0)
				memmove(waiting->ids[left++], waiting->ids[i],
					MSE_UUID_SIZE);
		}
		patience_ms = left < waiting->count ? PATIENCE_MS :
			patience_ms - ROUND_MS;
		waiting->count = left;
		if (left > 0 && patience_ms <= 0)
			return MSE_CTL_ENDED;
		if (left > 0)
			rest();
	}
	return MSE_CTL_OK;
}

static void print_json(const struct waiting *waiting, bool ok)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "ok", json_object_new_boolean(ok));
	json_object_object_add(object, "found", json_object_new_int64(
		(int64_t)waiting->found));
	json_object_object_add(object, waiting->drop ? "dropped" : "tried",
			       json_object_new_int64((int64_t)waiting->done));
	json_object_object_add(object, "left", json_object_new_int64(
		(int64_t)waiting->count));
	mse_ctl_print_json(object);
	json_object_put(object);
}

static void print(const struct waiting *waiting, int ret)
{
	if (waiting->ctl->json) {
		print_json(waiting, ret == MSE_CTL_OK);
		return;
	}
	if (waiting->ctl->dry_run)
		printf("%s: %zu wait\n", waiting->endpoint, waiting->found);
	else if (waiting->drop)
		printf("%s: %zu waiting events dropped\n", waiting->endpoint,
		       waiting->done);
	else
		printf("%s: %zu wait, of which %zu are tried now\n",
		       waiting->endpoint, waiting->found, waiting->done);
	if (ret == MSE_CTL_ENDED)
		fprintf(stderr, "mailhookctl: ended early: %zu are being sent "
			"all the time; pause %s, and the same command goes "
			"on\n", waiting->count, waiting->endpoint);
}

int mse_ctl_waiting(const struct mse_ctl *ctl, const char *command,
		    const char *endpoint)
{
	struct waiting waiting = {
		.ctl = ctl, .command = command, .endpoint = endpoint,
		.drop = strcmp(command, "drop") == 0
	};
	int ret;

	ret = find_all(&waiting);
	if (ret == MSE_CTL_OK) {
		if (!ctl->dry_run)
			ret = do_all(&waiting);
		print(&waiting, ret);
	}
	free(waiting.ids);
	return ret;
}
