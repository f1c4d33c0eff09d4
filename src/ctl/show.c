/*
 * show: one event, and how it stands with each endpoint.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <json-c/json.h>
#include <string.h>

/* What the daemon's words mean. */
static const struct {
	const char *state, *text;
} states[] = {
	{ "waiting", "waits for its turn" },
	{ "held", "waits behind another event of the same owner:" },
	{ "sending", "is being sent" },
	{ "retrying", "was refused, waits for its next attempt" },
	{ "dead", "given up (dead letter)" },
	{ "answered", "answered" },
	{ "passed", "answered, dropped, or older than the endpoint" },
	{ "unread", "still in the journal: the endpoint is not that far" },
	{ "unwanted", "not for this endpoint, by its filters" }
};

static const char *state_text(const char *state)
{
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i].state, state) == 0)
			return states[i].text;
	}
	return state;
}

static void print_field(const char *name, const char *value)
{
	if (*value == '\0')
		return;
	printf("%-9s ", name);
	mse_ctl_print_safe(value, false);
	putchar('\n');
}

static void print_last(struct json_object *one)
{
	char when[32];

	printf("  %lld attempts", mse_ctl_number(one, "attempts"));
	if (mse_ctl_number(one, "changed_at_ms") > 0)
		printf(", the last at %s", mse_ctl_when(mse_ctl_number(one,
			"changed_at_ms"), when));
	if (*mse_ctl_text(one, "last_error") != '\0') {
		printf(": ");
		mse_ctl_print_safe(mse_ctl_text(one, "last_error"), false);
	}
	putchar('\n');
}

static void print_delivery(struct json_object *one)
{
	struct json_object *request;
	char text[32];

	printf("\n%s: %s", mse_ctl_text(one, "endpoint"),
	       state_text(mse_ctl_text(one, "state")));
	if (*mse_ctl_text(one, "held_by") != '\0')
		printf(" %s", mse_ctl_text(one, "held_by"));
	putchar('\n');
	if (mse_ctl_number(one, "sequence") > 0)
		printf("  sequence %lld\n", mse_ctl_number(one, "sequence"));
	if (mse_ctl_number(one, "attempts") > 0)
		print_last(one);
	if (json_object_object_get_ex(one, "next_attempt_ms", NULL))
		printf("  next attempt in %s\n", mse_ctl_duration(
			mse_ctl_number(one, "next_attempt_ms"), text));
	if (*mse_ctl_text(one, "answer") != '\0') {
		printf("\n  the answer began:\n");
		mse_ctl_print_safe(mse_ctl_text(one, "answer"), true);
		putchar('\n');
	}
	if (json_object_object_get_ex(one, "request", &request)) {
		printf("\n  the request, as it would be sent now:\n");
		mse_ctl_print_request(request);
	}
}

static void print_event(struct json_object *answer)
{
	struct json_object *list;
	size_t i;

	print_field("id", mse_ctl_text(answer, "id"));
	print_field("type", mse_ctl_text(answer, "type"));
	print_field("time", mse_ctl_text(answer, "time"));
	print_field("user", mse_ctl_text(answer, "user"));
	print_field("owner", mse_ctl_text(answer, "owner"));
	print_field("mailbox", mse_ctl_text(answer, "mailbox"));
	if (!mse_ctl_bool(answer, "in_journal"))
		printf("          (no longer in the journal)\n");
	if (!json_object_object_get_ex(answer, "deliveries", &list))
		return;
	for (i = 0; i < json_object_array_length(list); i++)
		print_delivery(json_object_array_get_idx(list, i));
}

int mse_ctl_show(const struct mse_ctl *ctl, char **arguments)
{
	struct json_object *answer;
	int ret;

	answer = mse_ctl_call(ctl, "show", arguments[1], arguments[0], &ret);
	if (answer == NULL)
		return ret;
	if (ctl->json)
		mse_ctl_print_json(answer);
	else
		print_event(answer);
	json_object_put(answer);
	return ret;
}
