/*
 * The commands that ask one thing and show the answer.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>

/* done: what to say when it is; "%s" is the endpoint. */
static int ask(const struct mse_ctl *ctl, const char *command,
	       const char *endpoint,
	       void (*print)(struct json_object *answer), const char *done)
{
	struct json_object *answer;
	int ret;

	answer = mse_ctl_call(ctl, command, endpoint, NULL, &ret);
	if (answer == NULL)
		return ret;
	if (ctl->json)
		mse_ctl_print_json(answer);
	else if (print != NULL)
		print(answer);
	else if (endpoint != NULL)
		printf("%s %s\n", endpoint, done);
	else
		puts(done);
	json_object_put(answer);
	return ret;
}

int mse_ctl_status(const struct mse_ctl *ctl, char **arguments)
{
	return ask(ctl, "status", NULL, mse_ctl_print_status, NULL);
}

int mse_ctl_pause(const struct mse_ctl *ctl, char **arguments)
{
	return ask(ctl, "pause", arguments[0], NULL, "is paused");
}

int mse_ctl_resume(const struct mse_ctl *ctl, char **arguments)
{
	return ask(ctl, "resume", arguments[0], NULL, "goes on");
}

int mse_ctl_reload(const struct mse_ctl *ctl, char **arguments)
{
	return ask(ctl, "reload", NULL, NULL,
		   "the configuration is read and in force");
}

/* A test that was not answered 2xx is a problem found. */
int mse_ctl_test(const struct mse_ctl *ctl, char **arguments)
{
	struct json_object *answer;
	long long status;
	int ret;

	answer = mse_ctl_call(ctl, "test", arguments[0], NULL, &ret);
	if (answer == NULL)
		return ret;
	if (ctl->json)
		mse_ctl_print_json(answer);
	else
		mse_ctl_print_test(answer);
	status = mse_ctl_number(answer, "status");
	json_object_put(answer);
	return status >= 200 && status < 300 ? MSE_CTL_OK : MSE_CTL_PROBLEM;
}

int mse_ctl_tail(const struct mse_ctl *ctl, char **arguments)
{
	FILE *stream = mse_ctl_send(ctl, mse_ctl_request(ctl, "tail", NULL,
							 NULL));
	struct json_object *line;
	int ret;

	if (stream == NULL)
		return MSE_CTL_UNREACHABLE;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	line = mse_ctl_first(ctl, stream, &ret);
	if (line == NULL) {
		(void)fclose(stream);
		return ret;
	}
	json_object_put(line);
	while ((line = mse_ctl_answer(stream)) != NULL) {
		if (*mse_ctl_text(line, "error") != '\0')
			fprintf(stderr, "mailhookctl: %s\n",
				mse_ctl_text(line, "error"));
		else if (ctl->json)
			mse_ctl_print_json(line);
		else
			mse_ctl_print_record(line);
		json_object_put(line);
	}
	(void)fclose(stream);
	fprintf(stderr, "mailhookctl: the daemon closed the connection\n");
	return MSE_CTL_UNREACHABLE;
}
