#ifndef TEST_DELIVER_COMMON_H
#define TEST_DELIVER_COMMON_H

/*
 * Delivery against a scripted transport, a standing clock, a ledger in
 * memory and a real journal. A model receiver watches every request: numbers
 * and ids stay together for life, the floor never covers a number that was
 * neither answered 2xx nor named in an answered Gap, no owner has two requests
 * out, and a batch that was out when the daemon died is the same afterwards.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "deliver/deliver.h"
#include "event/event.h"

#define NUMBERS 20000
#define DAY ((int64_t)86400000)

/* One event as it was sent. */
struct sent {
	char id[MSE_UUID_SIZE];
	char request[MSE_UUID_SIZE]; /* webhook-id */
	unsigned int of;             /* events in the request */
	char owner[32];
	unsigned long long sequence, floor;
	bool gap, replay, announces;
	unsigned long long from, to;
	char reason[96];             /* of a Gap */
};

struct composition {
	char request[MSE_UUID_SIZE];
	char numbers[2048];
};

struct world {
	struct mse_transport transport;
	struct mse_clock_fake clock;
	char dir[64];
	struct mse_journal *journal;
	struct mse_ledger_worker *worker;
	struct mse_deliver *deliver;
	struct mse_appender *appender;
	struct mse_conf conf;
	struct mse_conf_endpoint endpoints[2];
	struct mse_secret secret;
	bool rebuilt;
	size_t lanes_max;
	/* Requests that are out. */
	struct mse_request *out[256];
	bool cancelled[256];
	unsigned int out_count;
	bool hold; /* do not answer */
	int (*answer)(struct world *world, const struct sent *sent,
		      int64_t *retry_after_s);
	int status;
	/* The handshake: how often it was asked, and what is answered. */
	unsigned int asked;
	int permit_status;
	const char *allowed_origin, *allowed_rate;
	/* The model receiver. */
	char ids[NUMBERS][MSE_UUID_SIZE];
	bool accepted[NUMBERS];
	unsigned long long floor;
	struct sent *log;
	unsigned int log_count, log_size;
	unsigned int attempts;   /* events */
	unsigned int requests;
	unsigned int largest;    /* events of a request */
	size_t largest_body;
	/* The request an event was last in, if nobody heard of its answer. */
	char unanswered[NUMBERS][MSE_UUID_SIZE];
	struct composition *compositions; /* of all requests' ids */
	unsigned int composition_count;
	const char *poison;
	char test_body[256];
	/* Replays: what was accepted, and what was told to have failed. */
	struct sent replays[2000];
	unsigned int replay_count, replay_attempts, replay_failed;
	char replay_failed_id[MSE_UUID_SIZE];
	uint64_t dropped;
};

/* The ledger has a thread of its own, and answers when it likes. */
extern bool threaded;
/* Endpoints get cloudevents-batch. */
extern bool batching;

/* Until nothing more happens without the clock. When to come back. */
int64_t settle(struct world *world);
/* Lets time pass, from one thing planned to the next. */
void pass(struct world *world, int64_t ms);
/* Answers what is out, unless it is held. */
bool answer_all(struct world *world);
/* Events of u0, u1, ... in turn. id_r: NULL, or MSE_UUID_SIZE. */
void append(struct world *world, const char *owner, char *id_r);
void append_many(struct world *world, unsigned int count,
		 unsigned int owners);
void open_journal(struct world *world);
void start(struct world *world);
/* kill -9: what was out was perhaps received, and nobody hears of it. */
void crash(struct world *world, bool received);
void make_worker(struct world *world);
int setup(void **state);
int teardown(void **state);
const struct mse_endpoint_status *look(struct world *world);
/* What the receiver accepted, in order, its Gaps and the ids that came under
   two numbers; and the end of deliver's log: for somebody who wonders. */
void tell(const struct world *world);
/* Each owner's events in order of number, each id once; Gaps aside. */
void check_order(struct world *world, unsigned int expected);

#endif
