/*
 * Asking before delivering (handshake.h).
 *
 * Invariant: at most one question is out, and an answer counts only for the
 * configuration it was asked with.
 */
#include "deliver/endpoint.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NOT_YET_MS 5000

bool mse_handshake_permits(const struct mse_endpoint *endpoint)
{
	return !endpoint->conf->handshake || endpoint->handshake.granted;
}

unsigned int mse_handshake_rate(const struct mse_endpoint *endpoint)
{
	unsigned int ours = endpoint->conf->rate * 60;
	unsigned int theirs = endpoint->conf->handshake ?
		endpoint->handshake.per_minute : 0;

	return ours == 0 || (theirs > 0 && theirs < ours) ? theirs : ours;
}

/* The number, or "*" and nothing: any. -1: nonsense. */
static int parse_rate(const char *text, unsigned int *per_minute_r)
{
	unsigned long long number;
	char *end;

	*per_minute_r = 0;
	if (text == NULL || *text == '\0' || strcmp(text, "*") == 0)
		return 0;
	if (!isdigit((unsigned char)*text))
		return -1;
	number = strtoull(text, &end, 10);
	if (*end != '\0' || number == 0)
		return -1;
	*per_minute_r = number > 60000000 ? 60000000 : (unsigned int)number;
	return 0;
}

/* NULL: it permits. */
static const char *refusal(const struct mse_answer *answer,
			   const char *origin, unsigned int *per_minute_r)
{
	const char *allowed = answer->allowed_origin;

	if (answer->outcome != MSE_OUTCOME_ANSWERED)
		return answer->text;
	if (answer->status < 200 || answer->status > 299)
		return answer->text;
	if (allowed == NULL || *allowed == '\0')
		return "the answer has no WebHook-Allowed-Origin";
	if (strcmp(allowed, "*") != 0 && strcasecmp(allowed, origin) != 0)
		return "WebHook-Allowed-Origin names another origin than "
			"server_name";
	if (parse_rate(answer->allowed_rate, per_minute_r) < 0)
		return "WebHook-Allowed-Rate is no number of requests a "
			"minute";
	return NULL;
}

static void on_permission(struct mse_endpoint *endpoint,
			  unsigned int per_minute)
{
	struct mse_handshake *handshake = &endpoint->handshake;

	handshake->granted = true;
	handshake->attempts = 0;
	handshake->per_minute = per_minute;
	mse_deliver_log(endpoint->deliver, MSE_LOG_INFO,
			"endpoint %s: handshake: the receiver permits "
			"deliveries%s", endpoint->name, per_minute > 0 ?
			" at a rate of its own" : "");
}

static void on_refusal(struct mse_endpoint *endpoint,
		       const struct mse_answer *answer, const char *why)
{
	const struct mse_conf_endpoint *conf = endpoint->conf;
	struct mse_handshake *handshake = &endpoint->handshake;
	int64_t delay;

	handshake->attempts++;
	delay = mse_backoff_ms(conf->retry_first_ms, conf->retry_max_ms,
			       handshake->attempts,
			       mse_deliver_random(endpoint->deliver));
	handshake->at_ms = mse_deliver_mono(endpoint->deliver) + delay;
	endpoint->last_outcome = mse_outcome_name(answer->outcome);
	snprintf(endpoint->last_error, sizeof(endpoint->last_error),
		 "handshake: %.200s", why);
	mse_deliver_log(endpoint->deliver, MSE_LOG_WARNING,
			"endpoint %s: handshake: deliveries are not permitted "
			"(%s); asking again in %" PRId64 " s", endpoint->name,
			why, (delay + 999) / 1000);
}

static void landed(struct mse_flight *flight, const struct mse_answer *answer)
{
	struct mse_endpoint *endpoint = flight->endpoint;
	struct mse_handshake *handshake = &endpoint->handshake;
	unsigned int per_minute;
	const char *why;

	mse_sending_free(&flight->sending);
	handshake->out = false;
	if (answer->outcome == MSE_OUTCOME_CANCELLED || handshake->stale) {
		handshake->at_ms = mse_deliver_mono(endpoint->deliver) +
			(handshake->stale ? 0 : NOT_YET_MS);
		handshake->stale = false;
		return;
	}
	why = refusal(answer, mse_deliver_server_name(endpoint->deliver),
		      &per_minute);
	if (why != NULL)
		on_refusal(endpoint, answer, why);
	else
		on_permission(endpoint, per_minute);
	mse_endpoint_tick(endpoint);
}

static bool may_ask(const struct mse_endpoint *endpoint)
{
	return !mse_handshake_permits(endpoint) && !endpoint->handshake.out &&
		!endpoint->deliver->stopping && !endpoint->leaving &&
		!endpoint->cursor.paused && !endpoint->cursor.disabled;
}

void mse_handshake_run(struct mse_endpoint *endpoint, int64_t now)
{
	struct mse_handshake *handshake = &endpoint->handshake;

	if (!may_ask(endpoint) || now < handshake->at_ms)
		return;
	handshake->out = true;
	handshake->flight.endpoint = endpoint;
	handshake->flight.landed = landed;
	mse_flight_ask(&handshake->flight);
}

int64_t mse_handshake_at(const struct mse_endpoint *endpoint)
{
	return may_ask(endpoint) ? endpoint->handshake.at_ms : INT64_MAX;
}

void mse_handshake_forget(struct mse_endpoint *endpoint)
{
	struct mse_handshake *handshake = &endpoint->handshake;

	handshake->granted = false;
	handshake->stale = handshake->out;
	handshake->attempts = 0;
	handshake->at_ms = 0;
	handshake->per_minute = 0;
}
