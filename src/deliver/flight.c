/*
 * A request that is out, whatever it carries, and what its answer says of the
 * endpoint as a whole.
 *
 * Invariant: in_flight is the length of the list; landed() is called once for
 * each flight that was started, from inside mse_flight_start() if no request
 * could be made.
 */
#include "deliver/endpoint.h"

#include <stdio.h>
#include <stdlib.h>

static void take_off(struct mse_flight *flight)
{
	struct mse_endpoint *endpoint = flight->endpoint;

	flight->prev = NULL;
	flight->next = endpoint->flights;
	if (flight->next != NULL)
		flight->next->prev = flight;
	endpoint->flights = flight;
	endpoint->in_flight++;
}

static void land(struct mse_flight *flight)
{
	struct mse_endpoint *endpoint = flight->endpoint;

	if (flight->prev != NULL)
		flight->prev->next = flight->next;
	else
		endpoint->flights = flight->next;
	if (flight->next != NULL)
		flight->next->prev = flight->prev;
	endpoint->in_flight--;
}

static void on_answer(struct mse_flight *flight,
		      const struct mse_answer *answer)
{
	mse_endpoint_tick(flight->endpoint);
	land(flight);
	flight->endpoint->deliver->again = true;
	flight->landed(flight, answer);
}

static void request_done(struct mse_request *request,
			 const struct mse_answer *answer)
{
	on_answer(request->context, answer);
}

static int hand_over(struct mse_flight *flight)
{
	struct mse_transport *transport =
		flight->endpoint->deliver->parts.transport;

	flight->sending->request.done = request_done;
	flight->sending->request.context = flight;
	return transport->post(transport, &flight->sending->request);
}

static int post(struct mse_flight *flight, struct mse_body *body,
		const char *id, enum mse_request_kind kind)
{
	struct mse_endpoint *endpoint = flight->endpoint;

	if (mse_body_end(body) < 0) {
		mse_body_clear(body);
		return -1;
	}
	if (mse_sending_new(endpoint->conf, body, id, kind,
			    mse_endpoint_floor(endpoint),
			    mse_deliver_wall(endpoint->deliver),
			    &flight->sending) < 0)
		return -1;
	return hand_over(flight);
}

static void not_made(struct mse_flight *flight)
{
	struct mse_answer answer = {
		.outcome = MSE_OUTCOME_LOCAL,
		.retry_after_s = -1,
		.text = "the request could not be made (memory?)",
		.body = ""
	};

	on_answer(flight, &answer);
}

void mse_flight_start(struct mse_flight *flight, struct mse_body *body,
		      const char *id, enum mse_request_kind kind, bool probe)
{
	flight->probe = probe;
	take_off(flight);
	if (post(flight, body, id, kind) < 0)
		not_made(flight);
}

void mse_flight_ask(struct mse_flight *flight)
{
	const struct mse_endpoint *endpoint = flight->endpoint;

	take_off(flight);
	if (mse_sending_ask(endpoint->conf,
			    mse_deliver_server_name(endpoint->deliver),
			    &flight->sending) < 0 || hand_over(flight) < 0)
		not_made(flight);
}

static void on_success(struct mse_endpoint *endpoint)
{
	if (!mse_breaker_success(&endpoint->breaker))
		return;
	mse_deliver_log(endpoint->deliver, MSE_LOG_INFO,
			"endpoint %s accepts events again", endpoint->name);
	endpoint->followers = true;
}

static void on_failure(struct mse_endpoint *endpoint, bool probe)
{
	const struct mse_conf_endpoint *conf = endpoint->conf;

	if (mse_breaker_failure(&endpoint->breaker, probe,
				mse_deliver_mono(endpoint->deliver),
				conf->retry_first_ms, conf->retry_max_ms,
				mse_deliver_random(endpoint->deliver)))
		mse_deliver_log(endpoint->deliver, MSE_LOG_WARNING,
				"endpoint %s accepts nothing: an outage; its "
				"events wait", endpoint->name);
}

static void keep_failure(struct mse_endpoint *endpoint,
			 const struct mse_answer *answer)
{
	endpoint->last_outcome = mse_outcome_name(answer->outcome);
	snprintf(endpoint->last_error, sizeof(endpoint->last_error), "%s",
		 answer->text);
}

void mse_flight_gone(struct mse_endpoint *endpoint,
		     const struct mse_answer *answer)
{
	endpoint->cursor.disabled = true;
	endpoint->cursor_dirty = true;
	keep_failure(endpoint, answer);
	mse_endpoint_tick(endpoint);
}

enum mse_verdict mse_flight_judge(struct mse_flight *flight,
				  const struct mse_answer *answer,
				  unsigned int events, int64_t *hold_ms_r)
{
	struct mse_endpoint *endpoint = flight->endpoint;
	enum mse_verdict verdict = mse_answer_judge(answer, hold_ms_r);

	mse_counters_attempt(&endpoint->counters, answer,
			     mse_deliver_wall(endpoint->deliver));
	if (flight->probe)
		endpoint->probing = false;
	switch (verdict) {
	case MSE_VERDICT_SUCCESS:
		endpoint->answered += events;
		on_success(endpoint);
		return verdict;
	case MSE_VERDICT_NOTHING:
		return verdict;
	case MSE_VERDICT_RETRY:
		on_failure(endpoint, flight->probe);
		break;
	case MSE_VERDICT_HOLD:
		break;
	case MSE_VERDICT_DISABLE:
		mse_flight_gone(endpoint, answer);
		break;
	}
	endpoint->failed += events;
	keep_failure(endpoint, answer);
	return verdict;
}
