/*
 * The client's end of the control socket.
 *
 * Invariant: one connection, one request.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

static int mse_ctl_connect(const char *path)
{
	struct sockaddr_un address;
	int fd;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
			       sizeof(address)) < 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static void mse_ctl_add(struct json_object *request, const char *key,
			const char *value)
{
	if (value != NULL)
		json_object_object_add(request, key,
				       json_object_new_string(value));
}

static int mse_ctl_add_time(struct json_object *request, const char *key,
			    const char *value)
{
	struct mse_error error;
	int64_t ms;

	if (value == NULL)
		return 0;
	if (mse_ctl_time(value, mse_clock_wall(&mse_clock_system), &ms,
			 &error) < 0) {
		fprintf(stderr, "mailhookctl: %s\n", error.text);
		return -1;
	}
	json_object_object_add(request, key, json_object_new_int64(ms));
	return 0;
}

struct json_object *mse_ctl_request(const struct mse_ctl *ctl,
				    const char *command, const char *endpoint,
				    const char *id)
{
	struct json_object *request = json_object_new_object();

	mse_ctl_add(request, "command", command);
	mse_ctl_add(request, "endpoint", endpoint);
	mse_ctl_add(request, "id", id);
	mse_ctl_add(request, "type", ctl->type);
	mse_ctl_add(request, "user", ctl->user);
	if (ctl->all)
		json_object_object_add(request, "all",
				       json_object_new_boolean(1));
	if (ctl->dry_run)
		json_object_object_add(request, "dry_run",
				       json_object_new_boolean(1));
	if (mse_ctl_add_time(request, "since_ms", ctl->since) < 0 ||
	    mse_ctl_add_time(request, "until_ms", ctl->until) < 0) {
		json_object_put(request);
		return NULL;
	}
	return request;
}

static int mse_ctl_write(int fd, struct json_object *request)
{
	void (*before)(int);
	const char *text;
	int ret;

	text = json_object_to_json_string_ext(request,
					      JSON_C_TO_STRING_PLAIN);
	before = signal(SIGPIPE, SIG_IGN);
	ret = mse_file_write_all(fd, text, strlen(text), NULL);
	if (ret == 0)
		ret = mse_file_write_all(fd, "\n", 1, NULL);
	(void)signal(SIGPIPE, before);
	/* A daemon that takes no more clients has said so and hung up. */
	return ret < 0 && errno == EPIPE ? 0 : ret;
}

FILE *mse_ctl_send(const struct mse_ctl *ctl, struct json_object *request)
{
	FILE *stream = NULL;
	int fd;

	if (request == NULL)
		return NULL;
	fd = mse_ctl_connect(ctl->control);
	if (fd >= 0 && mse_ctl_write(fd, request) == 0)
		stream = fdopen(fd, "r");
	json_object_put(request);
	if (stream != NULL)
		return stream;
	fprintf(stderr, "mailhookctl: %s: %s%s\n", ctl->control,
		strerror(errno), errno == ENOENT || errno == ECONNREFUSED ?
		" (is mailhookd running?)" : "");
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

struct json_object *mse_ctl_answer(FILE *stream)
{
	struct json_object *object = NULL;
	char *line = NULL;
	size_t size = 0;

	if (getline(&line, &size, stream) > 0)
		object = json_tokener_parse(line);
	free(line);
	return object;
}

struct json_object *mse_ctl_first(const struct mse_ctl *ctl, FILE *stream,
				  int *exit_r)
{
	struct json_object *answer = mse_ctl_answer(stream);

	*exit_r = MSE_CTL_UNREACHABLE;
	if (answer == NULL) {
		fprintf(stderr, "mailhookctl: %s: the daemon left without an "
			"answer\n", ctl->control);
		return NULL;
	}
	if (mse_ctl_bool(answer, "ok")) {
		*exit_r = MSE_CTL_OK;
		return answer;
	}
	*exit_r = MSE_CTL_PROBLEM;
	fprintf(stderr, "mailhookctl: %s\n", mse_ctl_text(answer, "error"));
	json_object_put(answer);
	return NULL;
}

struct json_object *mse_ctl_call(const struct mse_ctl *ctl,
				 const char *command, const char *endpoint,
				 const char *id, int *exit_r)
{
	struct json_object *request = mse_ctl_request(ctl, command, endpoint,
						      id);
	struct json_object *answer;
	FILE *stream;

	*exit_r = request == NULL ? MSE_CTL_USAGE : MSE_CTL_UNREACHABLE;
	stream = mse_ctl_send(ctl, request);
	if (stream == NULL)
		return NULL;
	answer = mse_ctl_first(ctl, stream, exit_r);
	(void)fclose(stream);
	return answer;
}
