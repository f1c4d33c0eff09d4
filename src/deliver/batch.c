/*
 * Putting batches together, and their way to the receiver.
 *
 * Lanes of fresh events that could go wait in a list; a batch takes from the
 * front of each in turn, up to batch_events and batch_bytes, once there is
 * enough or the oldest event has waited for `linger`. Its body has the events
 * in order of their numbers, so that the numbers alone say what it is. Whole
 * ones are made ahead, several times as many as may be out at once, while the
 * ledger commits those before: it takes all that wait into one transaction.
 */
#include "deliver/batch.h"

#include <stdlib.h>
#include <string.h>

/* Of a batch's body, beyond batch_bytes: one event may be larger. */
#define BODY_MAX ((size_t)MSE_BATCH_BYTES_MAX + MSE_RECORD_MAX + \
		  (size_t)1024 * 1024)
/* What an event's body has beside its data, about. */
#define ENVELOPE_OCTETS 512
/* Made, and never sent: this many times as many as may be out, as long as
   their bodies are small. */
#define AHEAD 4
#define AHEAD_OCTETS ((size_t)4 * 1024 * 1024)
#define NOT_YET_MS 5000
#define DIGEST_MASK ((uint64_t)INT64_MAX)

bool mse_batch_mode(const struct mse_endpoint *endpoint)
{
	return mse_body_is_batch(endpoint->conf->format);
}

/* FNV-1a, 64 bits. */
uint64_t mse_batch_hash(const char *id)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *id != '\0'; id++)
		hash = (hash ^ (unsigned char)*id) *
			UINT64_C(1099511628211);
	return hash;
}

uint64_t mse_batch_add_digest(uint64_t digest, uint64_t hash)
{
	return ((digest ^ hash) * UINT64_C(1099511628211) + 1) & DIGEST_MASK;
}

static struct mse_lane *own_lane(struct mse_endpoint *endpoint,
				 const char *id)
{
	char key[MSE_UUID_SIZE + 1];

	key[0] = '\x02';
	memcpy(key + 1, id, MSE_UUID_SIZE);
	return mse_lanes_get(&endpoint->lanes, key);
}

struct mse_batch *mse_batch_new(struct mse_endpoint *endpoint, const char *id,
				unsigned int count)
{
	struct mse_batch *batch = mse_batch_make_room(endpoint) < 0 ? NULL :
		calloc(1, sizeof(*batch));

	if (batch == NULL)
		return NULL;
	batch->members = calloc(count, sizeof(*batch->members));
	batch->lanes = calloc(count, sizeof(struct mse_lane *));
	if (batch->members != NULL && batch->lanes != NULL)
		batch->own = own_lane(endpoint, id);
	if (batch->own == NULL) {
		free(batch->members);
		free(batch->lanes);
		free(batch);
		return NULL;
	}
	memcpy(batch->id, id, MSE_UUID_SIZE);
	batch->own->batch = batch;
	batch->endpoint = batch->flight.endpoint = endpoint;
	batch->flight.landed = mse_batch_landed;
	batch->next = endpoint->batches;
	if (batch->next != NULL)
		batch->next->prev = batch;
	endpoint->batches = batch;
	endpoint->batch_count++;
	return batch;
}

static void drop_body(struct mse_batch *batch)
{
	if (batch->has_body)
		mse_body_clear(&batch->body);
	batch->has_body = false;
}

static void prepare(struct mse_batch *batch)
{
	batch->prepared = true;
	batch->prepared_octets = batch->has_body ? batch->body.octets.len : 0;
	batch->endpoint->prepared++;
	batch->endpoint->prepared_octets += batch->prepared_octets;
}

void mse_batch_unprepare(struct mse_batch *batch)
{
	if (batch->prepared) {
		batch->endpoint->prepared--;
		batch->endpoint->prepared_octets -= batch->prepared_octets;
	}
	batch->prepared = false;
	drop_body(batch);
}

void mse_batch_free(struct mse_batch **_batch)
{
	struct mse_batch *batch = *_batch;
	struct mse_endpoint *endpoint;

	*_batch = NULL;
	if (batch == NULL)
		return;
	endpoint = batch->endpoint;
	mse_batch_unprepare(batch);
	if (batch->prev != NULL)
		batch->prev->next = batch->next;
	else
		endpoint->batches = batch->next;
	if (batch->next != NULL)
		batch->next->prev = batch->prev;
	endpoint->batch_count--;
	batch->own->batch = NULL;
	mse_lanes_remove(&endpoint->lanes, batch->own);
	mse_sending_free(&batch->flight.sending);
	free(batch->answer);
	free(batch->members);
	free(batch->lanes);
	free(batch);
}

static int compare_members(const void *a, const void *b)
{
	const struct mse_member *first = a, *second = b;

	return (first->sequence > second->sequence) -
		(first->sequence < second->sequence);
}

struct mse_member *mse_batch_find_member(const struct mse_batch *batch,
					 uint64_t sequence)
{
	struct mse_member key = { .sequence = sequence };

	if (sequence < batch->members[0].sequence ||
	    sequence > batch->members[batch->count - 1].sequence)
		return NULL;
	return bsearch(&key, batch->members, batch->count,
		       sizeof(*batch->members), compare_members);
}

struct mse_batch *mse_batch_of_row(const struct mse_endpoint *endpoint,
				   uint64_t sequence)
{
	struct mse_batch *batch;

	for (batch = endpoint->batches; batch != NULL; batch = batch->next) {
		if (batch->parked &&
		    mse_batch_find_member(batch, sequence) != NULL)
			return batch;
	}
	return NULL;
}

/* -- lanes that are held */

static unsigned int count_first(const struct mse_lane *lane,
				const struct mse_batch *batch)
{
	const struct mse_item *item;
	unsigned int count = 0;

	for (item = lane->first; item != NULL && item->batch == batch;
	     item = item->lane_next)
		count++;
	return count;
}

static unsigned int count_rows(const struct mse_lane *lane,
			       const struct mse_batch *batch)
{
	unsigned int i, count = 0;

	for (i = 0; i < batch->count; i++)
		count += batch->members[i].lane == lane;
	return count;
}

static void hold(struct mse_batch *batch, struct mse_lane *lane,
		 unsigned int events)
{
	lane->holder = batch;
	lane->busy++;
	batch->lanes[batch->lane_count++] = lane;
	batch->held += events;
}

void mse_batch_look(struct mse_batch *batch)
{
	if (batch->state != MSE_BATCH_GATHERING || batch->held < batch->count)
		return;
	batch->state = MSE_BATCH_READY;
	mse_endpoint_update_lane(batch->endpoint, batch->own);
}

bool mse_batch_claim(struct mse_endpoint *endpoint, struct mse_lane *lane)
{
	struct mse_batch *batch = NULL;

	if (endpoint->batches == NULL)
		return false;
	if (lane->parked > 0)
		batch = mse_batch_of_row(endpoint, lane->head.sequence);
	else if (lane->first != NULL)
		batch = lane->first->batch;
	if (batch == NULL)
		return false;
	hold(batch, lane, lane->parked > 0 ? count_rows(lane, batch) :
	     count_first(lane, batch));
	mse_batch_look(batch);
	return true;
}

void mse_batch_overtaken(struct mse_lane *lane)
{
	struct mse_batch *batch = lane->holder;
	unsigned int i = 0;

	if (batch == NULL || !batch->parked ||
	    batch->state != MSE_BATCH_GATHERING ||
	    !mse_parked_is_overtaken(lane))
		return;
	while (batch->lanes[i] != lane)
		i++;
	batch->lanes[i] = batch->lanes[--batch->lane_count];
	batch->held -= count_rows(lane, batch);
	lane->holder = NULL;
	lane->busy--;
}

void mse_batch_release(struct mse_batch *batch)
{
	struct mse_lane *lanes[MSE_BATCH_EVENTS_MAX];
	struct mse_endpoint *endpoint = batch->endpoint;
	unsigned int count = batch->lane_count, i;

	for (i = 0; i < count; i++) {
		lanes[i] = batch->lanes[i];
		lanes[i]->holder = NULL;
		lanes[i]->busy--;
	}
	batch->lane_count = batch->held = 0;
	/* Each may be claimed at once, also by this batch, or go away. */
	for (i = 0; i < count; i++)
		mse_endpoint_update_lane(endpoint, lanes[i]);
}

void mse_batch_wait(struct mse_batch *batch, int64_t not_before_ms)
{
	batch->state = MSE_BATCH_READY;
	batch->own->not_before_ms = not_before_ms;
	mse_endpoint_update_lane(batch->endpoint, batch->own);
}

/* -- lanes that wait to be taken from */

static void count_ready(struct mse_endpoint *endpoint, struct mse_lane *lane,
			unsigned int events, size_t octets)
{
	endpoint->ready_events += events - lane->ready_events;
	endpoint->ready_octets += octets - lane->ready_octets;
	lane->ready_events = events;
	lane->ready_octets = octets;
}

static int64_t linger_until(const struct mse_endpoint *endpoint,
			    const struct mse_lane *lane)
{
	return lane->first->read_at_ms + endpoint->conf->linger_ms;
}

void mse_batch_lane_ready(struct mse_endpoint *endpoint,
			  struct mse_lane *lane)
{
	int64_t until = linger_until(endpoint, lane);

	count_ready(endpoint, lane, lane->count, lane->octets);
	if (endpoint->ready_first == NULL || until < endpoint->linger_at_ms)
		endpoint->linger_at_ms = until;
	if (lane->is_ready)
		return;
	lane->is_ready = true;
	lane->ready_next = NULL;
	lane->ready_prev = endpoint->ready_last;
	if (endpoint->ready_last != NULL)
		endpoint->ready_last->ready_next = lane;
	else
		endpoint->ready_first = lane;
	endpoint->ready_last = lane;
}

void mse_batch_lane_unready(struct mse_endpoint *endpoint,
			    struct mse_lane *lane)
{
	if (!lane->is_ready)
		return;
	count_ready(endpoint, lane, 0, 0);
	lane->is_ready = false;
	if (lane->ready_prev != NULL)
		lane->ready_prev->ready_next = lane->ready_next;
	else
		endpoint->ready_first = lane->ready_next;
	if (lane->ready_next != NULL)
		lane->ready_next->ready_prev = lane->ready_prev;
	else
		endpoint->ready_last = lane->ready_prev;
}

static bool has_enough(const struct mse_endpoint *endpoint)
{
	return endpoint->ready_events >= endpoint->conf->batch_events ||
		endpoint->ready_octets >= endpoint->conf->batch_bytes;
}

/* Only while less than a batch is left: the list is short. */
static void look_when(struct mse_endpoint *endpoint)
{
	const struct mse_lane *lane = endpoint->ready_first;

	endpoint->linger_at_ms = INT64_MAX;
	for (; lane != NULL; lane = lane->ready_next) {
		if (linger_until(endpoint, lane) < endpoint->linger_at_ms)
			endpoint->linger_at_ms = linger_until(endpoint, lane);
	}
}

/* -- putting one together */

/* About as much as its part of a body will have. */
static size_t octets_of(const struct mse_endpoint *endpoint,
			const struct mse_item *item)
{
	const struct mse_record *record = &item->record;
	mse_optionals_t asked = endpoint->conf->subscription.optionals;
	size_t octets = record->data.len + ENVELOPE_OCTETS;
	unsigned int i;

	if ((asked & MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT)) != 0)
		return item->len + ENVELOPE_OCTETS;
	for (i = 0; i < MSE_OPTIONAL_COUNT; i++) {
		if ((asked & MSE_OPTIONAL_BIT(i)) != 0 &&
		    record->optionals[i].data != NULL)
			octets += record->optionals[i].len;
	}
	return octets;
}

static void take(struct mse_batch *batch, struct mse_item *item)
{
	struct mse_member *member = &batch->members[batch->count++];

	member->sequence = item->sequence;
	member->item = item;
	member->lane = item->lane;
	member->hash = mse_batch_hash(item->record.id);
	item->batch = batch;
	item->state = MSE_ITEM_BATCHED;
	batch->attached++;
}

/* From the lane's front, as much as there is room for. False if the batch is
   complete. Own events go alone: their rows do not wait for their turn. */
static bool take_from(struct mse_batch *batch, struct mse_lane *lane,
		      size_t *octets)
{
	const struct mse_conf_endpoint *conf = batch->endpoint->conf;
	struct mse_item *item = lane->first;
	unsigned int before = batch->count;
	bool more = true;

	while (more && item != NULL && item->batch == NULL &&
	       (!item->gap || batch->count == 0)) {
		*octets += octets_of(batch->endpoint, item);
		if (batch->count > 0 && *octets > conf->batch_bytes)
			more = false;
		else
			take(batch, item);
		if (item->gap || batch->count == conf->batch_events)
			more = false;
		item = item->lane_next;
	}
	if (batch->count > before)
		hold(batch, lane, batch->count - before);
	return more;
}

static void take_all(struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_lane *lane = endpoint->ready_first, *next;
	size_t octets = 0;
	bool more = true;

	for (; more && lane != NULL; lane = next) {
		next = lane->ready_next;
		more = take_from(batch, lane, &octets);
		mse_endpoint_update_lane(endpoint, lane);
	}
	qsort(batch->members, batch->count, sizeof(*batch->members),
	      compare_members);
}

/* Lanes of which nothing is left in the batch. */
static void let_go(struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_lane *lane;
	unsigned int i = 0;

	while (i < batch->lane_count) {
		lane = batch->lanes[i];
		if (lane->first->batch == batch) {
			i++;
			continue;
		}
		batch->lanes[i] = batch->lanes[--batch->lane_count];
		lane->holder = NULL;
		lane->busy--;
		mse_endpoint_update_lane(endpoint, lane);
	}
}

/* The last ones go back to where they waited. */
static void cut(struct mse_batch *batch, unsigned int count)
{
	struct mse_item *item;
	unsigned int i;

	if (count == batch->count)
		return;
	for (i = count; i < batch->count; i++) {
		item = batch->members[i].item;
		item->batch = NULL;
		item->state = MSE_ITEM_WAITING;
	}
	batch->count = batch->attached = batch->held = count;
	let_go(batch);
}

static void add_event(struct mse_batch *batch, struct mse_body *body,
		      const struct mse_member *member)
{
	struct mse_body_context context;

	mse_deliver_body_context(batch->endpoint, member->sequence, &context);
	mse_body_add(body, batch->endpoint->conf, &context,
		     &member->item->record);
}

/* Ends before batch_bytes are exceeded. */
static void write_body(struct mse_batch *batch)
{
	const struct mse_conf_endpoint *conf = batch->endpoint->conf;
	struct mse_body *body = &batch->body;
	size_t before;
	unsigned int i;

	mse_body_init(body, conf->format, BODY_MAX);
	batch->has_body = true;
	for (i = 0; i < batch->count; i++) {
		before = body->octets.len;
		add_event(batch, body, &batch->members[i]);
		if (i == 0 || body->octets.len < conf->batch_bytes)
			continue;
		mse_body_cut(body, before);
		cut(batch, i);
	}
}

static void digest(struct mse_batch *batch)
{
	unsigned int i;

	batch->digest = 0;
	for (i = 0; i < batch->count; i++)
		batch->digest = mse_batch_add_digest(batch->digest,
						     batch->members[i].hash);
}

/* Durable: it may go. */
static void committed(struct mse_job *job)
{
	struct mse_batch *batch = mse_batch_job_subject(job);
	struct mse_endpoint *endpoint = batch->endpoint;
	bool probe = batch->probe;

	batch->probe = false;
	mse_batch_wait(batch, mse_deliver_mono(endpoint->deliver));
	if (!probe)
		return;
	if (endpoint->breaker.open && mse_endpoint_may_send(endpoint))
		mse_batch_go(batch, true);
	else
		endpoint->probing = false;
}

/* Nothing of it happened. */
static void undo(struct mse_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->count; i++) {
		batch->members[i].item->batch = NULL;
		batch->members[i].item->state = MSE_ITEM_WAITING;
	}
	mse_batch_release(batch);
	mse_batch_free(&batch);
}

/* Of one event the id is the event's own. */
static int commit(struct mse_batch *batch)
{
	struct mse_endpoint *endpoint = batch->endpoint;
	struct mse_job *job;

	digest(batch);
	batch->state = MSE_BATCH_COMMITTING;
	job = mse_batch_job(endpoint, batch, NULL, &batch, 1, NULL,
			    MSE_BATCH_ROWS_STAY, committed);
	if (job == NULL) {
		undo(batch);
		return -1;
	}
	prepare(batch);
	mse_job_submit(job);
	return 0;
}

static int compose_one(struct mse_endpoint *endpoint)
{
	char id[MSE_UUID_SIZE];
	struct mse_batch *batch;

	mse_uuid_make(mse_deliver_wall(endpoint->deliver), id);
	batch = mse_batch_new(endpoint, id, endpoint->conf->batch_events);
	if (batch == NULL)
		return -1;
	take_all(batch);
	write_body(batch);
	if (batch->count == 1)
		memcpy(batch->id, batch->members[0].item->record.id,
		       MSE_UUID_SIZE);
	return commit(batch);
}

int mse_batch_probe(struct mse_endpoint *endpoint, struct mse_lane *lane)
{
	struct mse_batch *batch = mse_batch_new(
		endpoint, lane->first->record.id, 1);

	if (batch == NULL)
		return -1;
	take(batch, lane->first);
	hold(batch, lane, 1);
	mse_endpoint_update_lane(endpoint, lane);
	batch->probe = true;
	return commit(batch);
}

/* Whole ones also beyond what may be out: the ledger commits all that wait in
   one transaction, and what was answered meanwhile is replaced at once. */
static bool may_prepare(const struct mse_endpoint *endpoint)
{
	unsigned int concurrency = endpoint->conf->concurrency;

	return endpoint->prepared < concurrency ||
		(endpoint->prepared < AHEAD * concurrency &&
		 endpoint->prepared_octets < AHEAD_OCTETS);
}

static bool may_compose(const struct mse_endpoint *endpoint)
{
	return mse_batch_mode(endpoint) && endpoint->ready_first != NULL &&
		!endpoint->deliver->stopping && !endpoint->leaving &&
		!endpoint->breaker.open && !endpoint->cursor.paused &&
		!endpoint->cursor.disabled &&
		mse_handshake_permits(endpoint) && may_prepare(endpoint);
}

/* There is a place for it at once: it need not become more. */
static bool has_place(const struct mse_endpoint *endpoint)
{
	return endpoint->in_flight + endpoint->fetching +
		endpoint->prepared < endpoint->conf->concurrency;
}

void mse_batch_compose(struct mse_endpoint *endpoint, int64_t now)
{
	while (may_compose(endpoint) && now >= endpoint->hold_until_ms &&
	       (has_enough(endpoint) || (has_place(endpoint) &&
					 now >= endpoint->linger_at_ms))) {
		if (compose_one(endpoint) < 0) {
			mse_deliver_log(endpoint->deliver, MSE_LOG_ERROR,
					"endpoint %s: out of memory",
					endpoint->name);
			endpoint->linger_at_ms = now + NOT_YET_MS;
			return;
		}
		if (!has_enough(endpoint))
			look_when(endpoint);
	}
}

int64_t mse_batch_compose_at(const struct mse_endpoint *endpoint)
{
	if (!may_compose(endpoint) || !has_place(endpoint))
		return INT64_MAX;
	return endpoint->linger_at_ms > endpoint->hold_until_ms ?
		endpoint->linger_at_ms : endpoint->hold_until_ms;
}

/* -- sending */

void mse_batch_send(struct mse_batch *batch, struct mse_body *body)
{
	mse_batch_unprepare(batch);
	batch->state = MSE_BATCH_SENDING;
	mse_endpoint_update_lane(batch->endpoint, batch->own);
	mse_flight_start(&batch->flight, body, batch->id, MSE_REQUEST_LIVE,
			 batch->flight.probe);
}

static void send_fresh(struct mse_batch *batch)
{
	struct mse_body body;
	unsigned int i;

	if (batch->has_body) {
		body = batch->body;
		batch->has_body = false;
		mse_batch_send(batch, &body);
		return;
	}
	mse_body_init(&body, batch->endpoint->conf->format, BODY_MAX);
	for (i = 0; i < batch->count; i++)
		add_event(batch, &body, &batch->members[i]);
	mse_batch_send(batch, &body);
}

void mse_batch_go(struct mse_batch *batch, bool probe)
{
	struct mse_endpoint *endpoint = batch->endpoint;

	/* The format was changed: there are no batches any more. */
	if (!mse_batch_mode(endpoint)) {
		endpoint->probing = endpoint->probing && !probe;
		(void)mse_batch_dissolve(batch);
		return;
	}
	batch->flight.probe = probe;
	if (!batch->parked) {
		send_fresh(batch);
		return;
	}
	if (mse_batch_fetch(batch) < 0) {
		endpoint->probing = endpoint->probing && !probe;
		mse_batch_wait(batch, mse_deliver_mono(endpoint->deliver) +
			       NOT_YET_MS);
	}
}

void mse_batch_forget_bodies(struct mse_endpoint *endpoint)
{
	struct mse_batch *batch;

	for (batch = endpoint->batches; batch != NULL; batch = batch->next)
		drop_body(batch);
}
