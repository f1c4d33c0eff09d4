/*
 * Appends events to a journal as mail processes do, with their own code and
 * without their Dovecot: MessageNew as a delivery makes it, about 1.1 KB.
 *
 * Usage: feed DIR COUNT OWNERS [RATE [BATCH]]
 *   RATE   events a second, 0 (the default): as fast as it goes
 *   BATCH  events an append, 1 by default
 * Each event is stamped with the time of its append for sink to take.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event/event.h"
#include "event/imap-url.h"
#include "journal/append.h"

#define BATCH_MAX (16 * 1024 * 1024)

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void wait_until(int64_t at_ns)
{
	struct timespec ts = {
		.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0)
		;
}

static void set_strings(struct mse_event *event, const char *owner,
			const char *uri, const char *mailbox,
			const char *stamp)
{
	mse_event_set_string(event, MSE_PARAM_URI, uri);
	mse_event_set_string(event, MSE_PARAM_MAILBOX_ID, mailbox);
	mse_event_set_string(event, MSE_PARAM_USER, owner);
	mse_event_set_string(event, MSE_PARAM_CLIENT_IP, "127.0.0.1");
	mse_event_set_string(event, MSE_PARAM_SERVER_DOMAIN,
			     "mail.example.org");
	mse_event_set_string(event, MSE_PARAM_SERVICE, "lmtp");
	mse_event_set_string(event, MSE_PARAM_PROCESS, "lmtp");
	mse_event_set_string(event, MSE_PARAM_SERVER_FQDN, "mx1.example.org");
	mse_event_set_string(event, MSE_PARAM_SESSION, "kP0c8S9EkOZ/AAAB");
	mse_event_set_string(event, MSE_PARAM_MAILBOX, "INBOX");
	mse_event_set_string(event, MSE_PARAM_MAILBOX_GUID,
			     "2c8a3f1b7d5e6a4f9b0c1d2e3f405162");
	mse_event_set_string(event, MSE_PARAM_CAUSE, "delivery");
	mse_event_set_string(event, MSE_PARAM_TRANSACTION,
			     "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e12");
	mse_event_set_string(event, MSE_PARAM_TAGS, stamp);
}

static void write_event(struct mse_buf *records, uint64_t number,
			uint64_t owners)
{
	char owner[64], uri[256], mailbox[200], stamp[32];
	struct mse_event event;

	snprintf(owner, sizeof(owner), "user%" PRIu64 "@example.org",
		 number % owners);
	snprintf(mailbox, sizeof(mailbox), "imap://user%" PRIu64
		 "%%40example.org@mail.example.org/INBOX;"
		 "UIDVALIDITY=1795490000", number % owners);
	snprintf(uri, sizeof(uri), "%s/;UID=%" PRIu64, mailbox,
		 number / owners + 1);
	snprintf(stamp, sizeof(stamp), "@%" PRId64, now_ns(CLOCK_MONOTONIC));
	mse_event_init(&event, MSE_EVENT_MESSAGE_NEW,
		       now_ns(CLOCK_REALTIME) / 1000000);
	event.user = owner;
	event.mailbox = "INBOX";
	set_strings(&event, owner, uri, mailbox, stamp);
	mse_event_set_number(&event, MSE_PARAM_CLIENT_PORT, 50123);
	mse_event_set_number(&event, MSE_PARAM_SERVER_PORT, 24);
	mse_event_set_number(&event, MSE_PARAM_PID, 4711);
	mse_event_set_number(&event, MSE_PARAM_UIDNEXT, number / owners + 2);
	mse_event_set_number(&event, MSE_PARAM_MESSAGES, number / owners + 1);
	mse_event_set_number(&event, MSE_PARAM_MODSEQ, number + 7);
	mse_event_set_number(&event, MSE_PARAM_MESSAGE_SIZE, 4096);
	mse_event_write(&event, records);
}

int main(int argc, char *argv[])
{
	uint64_t count, owners, rate, batch, n, i, lost = 0;
	struct mse_appender *appender;
	struct mse_buf records;
	int64_t start;

	if (argc < 4) {
		fprintf(stderr, "Usage: feed DIR COUNT OWNERS "
			"[RATE [BATCH]]\n");
		return 2;
	}
	count = strtoull(argv[2], NULL, 10);
	owners = strtoull(argv[3], NULL, 10);
	rate = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	batch = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
	if (mse_appender_new(argv[1], &appender) < 0)
		return 1;
	mse_buf_init(&records, BATCH_MAX);
	start = now_ns(CLOCK_MONOTONIC);
	for (n = 0; n < count; n += i) {
		if (rate > 0)
			wait_until(start + (int64_t)(n * 1000000000 / rate));
		mse_buf_reset(&records);
		for (i = 0; i < batch && n + i < count; i++)
			write_event(&records, n + i, owners);
		/* At journal_limit a mail process goes on; this one waits. */
		while (mse_appender_append(appender, &records,
					   (unsigned int)i,
					   MSE_DURABILITY_PROCESS) !=
		       MSE_APPEND_DONE) {
			if (lost++ == 0)
				fprintf(stderr, "feed: %s\n",
					mse_appender_last_error(appender));
			usleep(10000);
		}
	}
	printf("%" PRIu64 " events in %.3f s, refused %" PRIu64 " times\n",
	       count, (double)(now_ns(CLOCK_MONOTONIC) - start) / 1e9, lost);
	mse_buf_clear(&records);
	mse_appender_free(&appender);
	return 0;
}
