#ifndef TEST_FLOW_COMMON_H
#define TEST_FLOW_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "deliver/deliver.h"
#include "derive/derive.h"
#include "journal/append.h"

/*
 * A mail server in small: mail processes' appenders, the daemon's parts with
 * a ledger on disk and clocks that stand, and two receivers, one of single
 * events and one of batches, that check what they get: numbers and ids stay
 * together, no floor covers what was neither accepted nor announced, the same
 * request carries the same events for good, and events of whose request
 * nobody heard come again in that request.
 */

#define EVENTS_MAX 64
#define NUMBERS 32000
#define SENT_MAX 1000
#define REQUESTS_MAX 500
#define BATCH_EVENTS 6
#define POISONS_MAX 4
#define FILE_SIZE 6000

enum { PORTAL, FEED, ENDPOINTS }; /* FEED gets batches */

struct event {
	char id[MSE_UUID_SIZE];
	char owner[16];
	enum mse_append_result result;
};

/* An event that was accepted. */
struct sent {
	char id[MSE_UUID_SIZE], owner[16], type[32];
	char stream[MSE_UUID_SIZE];
	uint64_t sequence, from, to; /* a Gap's numbers; 0: none */
};

/* A request, each time it was out. */
struct carried {
	char id[MSE_UUID_SIZE], stream[MSE_UUID_SIZE];
	uint64_t numbers[BATCH_EVENTS];
	unsigned int count;
	bool answered; /* and the daemon heard of it */
};

struct receiver {
	const char *name;
	char ids[NUMBERS][MSE_UUID_SIZE];
	bool accepted[NUMBERS]; /* or named by a Gap that was */
	uint64_t floor, highest;
	struct sent sent[SENT_MAX];
	unsigned int sent_count;
	struct carried carried[REQUESTS_MAX];
	unsigned int carried_count;
	char stream[MSE_UUID_SIZE];
	unsigned int streams;
	uint64_t told_lost;     /* by Gaps */
	char reasons[1024];     /* of all Gaps */
};

/* An event for whose sake the feed refuses a request, so many times. */
struct poison {
	char id[MSE_UUID_SIZE];
	int status;
	unsigned int times;
};

struct world {
	struct mse_transport transport; /* first */
	struct mse_clock_fake clock;
	char dir[64];
	struct mse_conf conf;
	struct mse_conf_endpoint endpoints[ENDPOINTS];
	struct mse_secret secret;

	struct mse_journal *journal;
	struct mse_ledger_worker *ledger;
	struct mse_appender *appender; /* the daemon's */
	struct mse_derive *derive;
	struct mse_deliver *deliver;

	struct event events[EVENTS_MAX];
	unsigned int event_count;
	uint64_t lost;          /* told to the appending process */
	unsigned int intended;  /* and left so */
	unsigned int sessions;  /* whose end was promised */
	enum mse_durability durability;

	struct mse_request *out[64];
	struct carried *out_as[64];
	unsigned int out_count;
	bool cancelled[64];
	/* The feed accepts and does not answer: nobody will hear of it. */
	bool silent;

	struct receiver receivers[ENDPOINTS];
	unsigned int refusals;  /* the portal's, of u1 */
	struct poison poisons[POISONS_MAX];
	unsigned int poison_count;
	char why[256];          /* the round, for messages */
	/* Around what is the test's own; NULL: nothing to do. */
	void (*aside)(bool begin);
	/* Each event's end, each request that is out or whose answer is heard
	   of, each acceptance; NULL: nothing to do. */
	void (*appended)(struct world *world, const struct event *event);
	void (*posted)(struct receiver *receiver,
		       const struct carried *carried);
	void (*accepted_one)(struct receiver *receiver);
};

/* Ends this process. */
void fail_round(struct world *world, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

void init_world(struct world *world, const char *dir);
void release_world(struct world *world);
void empty_dir(const char *path);

/* The daemon: start() tries again as whoever started it would; a pass is
   what its loop does once; stop() is an orderly one that gives up what is not
   answered, take_down() leaves what is there. */
void start(struct world *world);
void one_pass(struct world *world);
void pass(struct world *world, int64_t ms, int64_t step_ms);
void upkeep(struct world *world);
void stop(struct world *world);
void take_down(struct world *world);

/* A mail process. What it appends is noted with the result. */
struct mse_appender *process(struct world *world);
void mail(struct world *world, struct mse_appender *appender,
	  const char *owner);
void quota(struct world *world, struct mse_appender *appender,
	   enum mse_event_type type, uint64_t used);
/* A session whose process dies. */
void session(struct world *world);
/* A process that dies while it changes two mailboxes. */
void killed(struct world *world);

/* From now on the event before is one. */
void poison(struct world *world, int status, unsigned int times);

/* What the receiver has. */
/* Of one that was accepted: its number, and those its Gap names. */
void know(struct receiver *receiver, const struct sent *sent);
unsigned int times_sent(const struct receiver *receiver, const char *id);
unsigned int types_sent(const struct receiver *receiver, const char *type);
void check_order(struct world *world, const struct receiver *receiver);
/* Every number up to the highest was accepted or named in a Gap. */
void check_numbers(struct world *world, const struct receiver *receiver);
/* With nothing in the way the story has batches of fresh events and of rows
   that nobody heard of and that come again, and such that are halved. */
void check_story(struct world *world);

#endif
