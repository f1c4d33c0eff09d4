/*
 * How each endpoint is, for people.
 *
 * Invariant: looking changes nothing.
 */
#include "deliver/batch.h"

#include <string.h>

static const char *state_name(const struct mse_endpoint *endpoint)
{
	if (endpoint->cursor.disabled)
		return "disabled";
	if (endpoint->cursor.paused)
		return "paused";
	if (!mse_handshake_permits(endpoint))
		return "handshake";
	if (endpoint->breaker.open)
		return "outage";
	if (endpoint->waiting)
		return "waiting";
	if (endpoint->parked > 0 || endpoint->followers ||
	    mse_deliver_mono(endpoint->deliver) < endpoint->hold_until_ms)
		return "retrying";
	return "ok";
}

static int64_t oldest_ms(const struct mse_endpoint *endpoint)
{
	int64_t wall = mse_deliver_wall(endpoint->deliver), oldest = wall;
	const struct mse_lane *lane = endpoint->lanes.ring;
	size_t i;

	if (endpoint->first != NULL && endpoint->first->record.own != NULL)
		oldest = endpoint->first->record.time_ms;
	for (i = 0; i < endpoint->lanes.count; i++, lane = lane->next) {
		if (lane->parked > 0 && lane->head.sequence != 0 &&
		    lane->head.parked_at_ms < oldest)
			oldest = lane->head.parked_at_ms;
	}
	return wall > oldest ? wall - oldest : 0;
}

void mse_endpoint_died(struct mse_endpoint *endpoint, int status)
{
	endpoint->dead++;
	endpoint->counters.died++;
	endpoint->counters.dead[mse_dead_reason_of(status)]++;
}

void mse_endpoint_undied(struct mse_endpoint *endpoint, int status)
{
	uint64_t *dead = &endpoint->counters.dead[mse_dead_reason_of(status)];

	if (endpoint->dead > 0)
		endpoint->dead--;
	if (*dead > 0)
		(*dead)--;
}

void mse_endpoint_redied(struct mse_endpoint *endpoint, int before,
			 int status)
{
	uint64_t *dead = &endpoint->counters.dead[mse_dead_reason_of(before)];

	if (*dead > 0)
		(*dead)--;
	endpoint->counters.dead[mse_dead_reason_of(status)]++;
}

static int64_t next_attempt(const struct mse_endpoint *endpoint)
{
	const struct mse_lane *first = mse_lanes_first(&endpoint->lanes);
	int64_t now = mse_deliver_mono(endpoint->deliver), at;

	if ((first == NULL && endpoint->ready_first == NULL) ||
	    endpoint->cursor.paused || endpoint->cursor.disabled)
		return -1;
	at = endpoint->breaker.open ? endpoint->breaker.probe_at_ms :
		first != NULL ? first->due_ms : endpoint->linger_at_ms;
	if (at < endpoint->hold_until_ms)
		at = endpoint->hold_until_ms;
	return at > now ? at - now : 0;
}

/* The event that is waited for, if it is one lane's alone. */
static const char *held_id(const struct mse_endpoint *endpoint)
{
	const struct mse_lane *lane = endpoint->lanes.ring;

	/* Batches wait in lanes of their own. */
	if (endpoint->lanes.count != endpoint->batch_count + 1)
		return NULL;
	while (lane->batch != NULL)
		lane = lane->next;
	return lane->parked > 0 ? lane->head.id :
		lane->first != NULL ? lane->first->record.id : NULL;
}

static void fill_status(struct mse_endpoint *endpoint,
			struct mse_endpoint_status *status)
{
	const char *held = held_id(endpoint);

	memset(status, 0, sizeof(*status));
	status->name = endpoint->name;
	status->url = endpoint->conf->url;
	status->state = state_name(endpoint);
	memcpy(status->stream, endpoint->cursor.stream, MSE_UUID_SIZE);
	status->sequence = endpoint->next_sequence - 1;
	status->floor = mse_endpoint_floor(endpoint);
	status->behind_octets = endpoint->reader == NULL ? 0 :
		mse_journal_reader_behind(endpoint->reader);
	status->behind_ms = oldest_ms(endpoint);
	status->lagging = !endpoint->cursor.paused && status->behind_ms >
		endpoint->deliver->conf->lag_warning_ms;
	status->unanswered = endpoint->unresolved;
	status->in_flight = endpoint->in_flight;
	status->replays = mse_replay_count(endpoint);
	status->parked = endpoint->parked;
	status->dead = endpoint->dead;
	status->answered = endpoint->answered;
	status->failed = endpoint->failed;
	status->counters = endpoint->counters;
	status->next_attempt_ms = next_attempt(endpoint);
	status->last_outcome = endpoint->last_outcome != NULL ?
		endpoint->last_outcome : "";
	memcpy(status->last_error, endpoint->last_error,
	       sizeof(status->last_error));
	if (held != NULL)
		memcpy(status->held_id, held, MSE_UUID_SIZE);
}

void mse_deliver_each_status(struct mse_deliver *deliver,
			     void (*found)(const struct mse_endpoint_status *s,
					   void *context),
			     void *context)
{
	struct mse_endpoint_status status;
	struct mse_endpoint *endpoint;

	for (endpoint = deliver->endpoints; endpoint != NULL;
	     endpoint = endpoint->next) {
		if (endpoint->leaving)
			continue;
		fill_status(endpoint, &status);
		found(&status, context);
	}
}
