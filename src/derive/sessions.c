/*
 * Sessions that end without a Logout: their process was killed, the machine
 * stopped, or the client went away while they hibernated. Derived Logouts
 * say "lost" and name their Login as cause.
 *
 * All open sessions stand in the ledger's derived state, none in memory.
 * Records only ever put or delete keys there, so reading them again changes
 * nothing, and a Logout of our own, read back, ends its session like any
 * other. From time to time the sessions are looked through, a page at a time:
 *
 *   look      in the ledger's thread: whose process holds no slot, whose
 *             socket is gone? Those are suspects.
 *   wait      until the journal was read to an end that came after that
 *             look, and all of it is committed: a Logout written before the
 *             process died is known now.
 *   confirm   in the ledger's thread: which suspects are still there?
 *             They are lost; their Logouts are put in line.
 *
 * Exactly once: a crash before the append leaves the session, to be found
 * again; one after it leaves the Logout, which the next start reads before
 * it looks.
 */
#include "derive/sessions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "derive/derive-private.h"
#include "derive/sockets.h"
#include "event/event.h"

/* While others keep derive awake. Idle, it comes once a minute. */
#define LOOK_AT_EVERY_MS 2000
#define LOOK_ASLEEP_EVERY_MS 10000
/* Looking takes no more of the time than this part. */
#define LOOK_AT_SHARE 20
#define LOOK_ASLEEP_SHARE 100
#define FAILED_WAIT_MS 30000

enum phase { PHASE_IDLE, PHASE_LOOK, PHASE_WAIT, PHASE_CONFIRM };

/* What is known of one kind of session. */
struct kind {
	bool open;            /* there may be some */
	uint64_t noted_round; /* reading round of the last one that came */
	int64_t look_at;      /* mono: not before */
};

struct mse_sessions {
	struct kind at, asleep;
	enum phase phase;
	struct mse_sockets sockets;
	struct session_job *job;     /* out, or NULL */
	struct mse_session_page page; /* while no job has it */
	uint64_t round;              /* at which the suspects were found */
	int64_t took_ms;             /* this look through all, so far */
	bool any;                    /* it has met a session */
};

struct session_job {
	struct mse_ledger_job job;   /* first: the worker's view */
	struct mse_derive *derive;   /* NULL: it is gone */
	const struct mse_clock *clock;
	struct mse_sockets sockets;
	struct mse_session_page page;
	bool confirms;
	uint64_t committed;          /* all records up to this round are in */
	int64_t took_ms;
};

int mse_sessions_new(struct mse_derive *derive)
{
	struct mse_sessions *sessions = calloc(1, sizeof(*sessions));

	if (sessions == NULL)
		return -1;
	sessions->at.open = sessions->asleep.open = true;
	mse_sockets_init(&sessions->sockets, derive->boot_id);
	derive->sessions = sessions;
	return 0;
}

static void clear_page(struct mse_session_page *page)
{
	mse_session_suspects_clear(&page->suspects);
	free(page->after);
	free(page->last);
	memset(page, 0, sizeof(*page));
}

void mse_sessions_free(struct mse_sessions **_sessions)
{
	struct mse_sessions *sessions = *_sessions;

	*_sessions = NULL;
	if (sessions == NULL)
		return;
	if (sessions->job != NULL)
		sessions->job->derive = NULL;
	clear_page(&sessions->page);
	mse_sockets_clear(&sessions->sockets);
	free(sessions);
}

bool mse_sessions_is_busy(const struct mse_sessions *sessions)
{
	return sessions->phase != PHASE_IDLE;
}

static void note_open(const struct mse_derive *derive, struct kind *kind)
{
	kind->open = true;
	kind->noted_round = derive->read_round;
}

/* Records */

static int note_at(struct mse_derive *derive, const struct mse_record *record,
		   const char *id, bool there)
{
	char key[512], slot[16];

	/* Dovecot's session ids are short; one of those lengths is nobody's. */
	if (snprintf(key, sizeof(key), "%s/%s", record->instance, id) >=
	    (int)sizeof(key))
		return 0;
	snprintf(slot, sizeof(slot), "%u", record->slot);
	if (there)
		note_open(derive, &derive->sessions->at);
	return mse_derive_note_state(derive, MSE_SESSION_AT, key,
				     there ? slot : NULL);
}

static int take_login(struct mse_derive *derive,
		      const struct mse_record *record, const char *id)
{
	char *text = strndup(record->bytes.data, record->bytes.len);
	int ret;

	if (text == NULL)
		return -1;
	ret = mse_derive_note_state(derive, MSE_SESSION, id, text);
	free(text);
	return ret < 0 ? -1 : note_at(derive, record, id, true);
}

static int take_logout(struct mse_derive *derive,
		       const struct mse_record *record, const char *id)
{
	if (record->instance[0] != '\0' &&
	    note_at(derive, record, id, false) < 0)
		return -1;
	/* What promises nothing was never put anywhere. */
	if (record->instance[0] == '\0' && record->cause == NULL)
		return 0;
	if (mse_derive_note_state(derive, MSE_SESSION_ASLEEP, id, NULL) < 0)
		return -1;
	return mse_derive_note_state(derive, MSE_SESSION, id, NULL);
}

static int take_hibernated(struct mse_derive *derive,
			   const struct mse_record *record, const char *id)
{
	char value[256];

	if (record->instance[0] == '\0')
		return 0;
	if (note_at(derive, record, id, false) < 0)
		return -1;
	snprintf(value, sizeof(value), "%" PRId64 " %s", record->time_ms,
		 record->socket == NULL ? "" : record->socket);
	note_open(derive, &derive->sessions->asleep);
	return mse_derive_note_state(derive, MSE_SESSION_ASLEEP, id, value);
}

static int take_resumed(struct mse_derive *derive,
			const struct mse_record *record, const char *id)
{
	if (mse_derive_note_state(derive, MSE_SESSION_ASLEEP, id, NULL) < 0)
		return -1;
	/* Its process has no slot: its death would not be seen. */
	if (record->instance[0] == '\0')
		return mse_derive_note_state(derive, MSE_SESSION, id, NULL);
	return note_at(derive, record, id, true);
}

int mse_sessions_take(struct mse_derive *derive,
		      const struct mse_record *record, bool late)
{
	char *id = NULL;
	int ret;

	if (record->type != MSE_EVENT_LOGIN &&
	    record->type != MSE_EVENT_LOGOUT &&
	    record->type != MSE_EVENT_FACT_HIBERNATED &&
	    record->type != MSE_EVENT_FACT_RESUMED)
		return 0;
	/* Its Logout may have been read already. */
	if (record->type == MSE_EVENT_LOGIN &&
	    (late || record->instance[0] == '\0'))
		return 0;
	/* Nothing is committed yet: read again, now for good. */
	if (!derive->caught_up) {
		derive->has_missed = true;
		return 0;
	}
	ret = mse_record_string(record, MSE_PARAM_SESSION, &id);
	if (ret <= 0)
		return ret;
	if (record->type == MSE_EVENT_LOGIN)
		ret = take_login(derive, record, id);
	else if (record->type == MSE_EVENT_LOGOUT)
		ret = take_logout(derive, record, id);
	else if (record->type == MSE_EVENT_FACT_HIBERNATED)
		ret = take_hibernated(derive, record, id);
	else
		ret = take_resumed(derive, record, id);
	free(id);
	return ret;
}

int mse_sessions_forget(struct mse_derive *derive)
{
	return mse_derive_note_state(derive, MSE_SESSION_AT, NULL, NULL) < 0 ||
		mse_derive_note_state(derive, MSE_SESSION_ASLEEP, NULL,
				      NULL) < 0 ||
		mse_derive_note_state(derive, MSE_SESSION, NULL, NULL) < 0 ?
		-1 : 0;
}

/* Logouts */

static int put_in_line(struct mse_derive *derive,
		       const struct mse_record *login, const char *key,
		       bool asleep, const char *slot)
{
	struct mse_derive_copy copy;
	char instance[MSE_UUID_SIZE];
	int ret;

	if (mse_derive_copy_init(derive, login, MSE_EVENT_LOGOUT,
				 mse_clock_wall(derive->clock), &copy) < 0)
		return -1;
	copy.event.cause = login->id;
	if (!asleep) {
		snprintf(instance, sizeof(instance), "%.36s", key);
		copy.event.instance = instance;
		copy.event.slot = (unsigned int)strtoul(slot, NULL, 10);
	}
	mse_event_set_string(&copy.event, MSE_PARAM_DISCONNECT, "lost");
	ret = mse_derive_put_event(&copy.event, &derive->late);
	mse_derive_copy_clear(&copy);
	if (ret == 0)
		derive->late_records++;
	return ret;
}

/* Nothing can or need be told of it. */
static int forget(struct mse_derive *derive,
		  const struct mse_session_suspect *suspect, bool asleep)
{
	if (mse_derive_note_state(derive, asleep ? MSE_SESSION_ASLEEP :
				  MSE_SESSION_AT, suspect->key, NULL) < 0)
		return -1;
	return mse_derive_note_state(derive, MSE_SESSION,
				     mse_session_id(suspect->key, asleep),
				     NULL);
}

static int conclude(struct mse_derive *derive,
		    const struct mse_session_suspect *suspect, bool asleep)
{
	struct mse_record login;
	int ret;

	if (!suspect->confirmed)
		return 0;
	if (suspect->forget || suspect->login == NULL)
		return forget(derive, suspect, asleep);
	ret = mse_record_parse(suspect->login, strlen(suspect->login), &login,
			       NULL);
	if (ret < 0)
		return ret == MSE_RECORD_NO_MEMORY ? -1 :
			forget(derive, suspect, asleep);
	ret = put_in_line(derive, &login, suspect->key, asleep,
			  suspect->value);
	mse_record_clear(&login);
	return ret;
}

/* Looking */

static struct kind *current_kind(struct mse_sessions *sessions)
{
	return sessions->page.asleep ? &sessions->asleep : &sessions->at;
}

static int64_t pause_after(const struct mse_sessions *sessions)
{
	int64_t pause = sessions->took_ms * (sessions->page.asleep ?
					     LOOK_ASLEEP_SHARE :
					     LOOK_AT_SHARE);
	int64_t least = sessions->page.asleep ? LOOK_ASLEEP_EVERY_MS :
		LOOK_AT_EVERY_MS;

	return pause > least ? pause : least;
}

static void finish(struct mse_sessions *sessions, int64_t look_at)
{
	current_kind(sessions)->look_at = look_at;
	sessions->phase = PHASE_IDLE;
	mse_sockets_clear(&sessions->sockets);
	clear_page(&sessions->page);
}

static void go_on(struct mse_sessions *sessions, int64_t mono_ms)
{
	if (sessions->page.end) {
		finish(sessions, mono_ms + pause_after(sessions));
		return;
	}
	mse_session_suspects_clear(&sessions->page.suspects);
	free(sessions->page.after);
	sessions->page.after = sessions->page.last;
	sessions->page.last = NULL;
	sessions->phase = PHASE_LOOK;
}

static int run_job(struct mse_ledger *ledger, struct mse_ledger_job *_job,
		   struct mse_error *error_r)
{
	struct session_job *job = (struct session_job *)_job;
	int64_t started_at = mse_clock_mono(job->clock);
	int ret;

	job->page.sockets = &job->sockets;
	ret = job->confirms ?
		mse_session_page_confirm(ledger, &job->page, error_r) :
		mse_session_page_look(ledger, &job->page, error_r);
	job->took_ms = mse_clock_mono(job->clock) - started_at;
	return ret;
}

static void looked(struct mse_derive *derive, uint64_t committed,
		   int64_t mono_ms)
{
	struct mse_sessions *sessions = derive->sessions;
	struct kind *kind = current_kind(sessions);

	sessions->any = sessions->any || sessions->page.rows > 0;
	/* None, and none has come that could not be there yet. */
	if (sessions->page.end && !sessions->any &&
	    committed > kind->noted_round)
		kind->open = false;
	if (sessions->page.suspects.count == 0) {
		go_on(sessions, mono_ms);
		return;
	}
	sessions->round = derive->read_round;
	sessions->phase = PHASE_WAIT;
}

static int confirmed(struct mse_derive *derive)
{
	struct mse_session_page *page = &derive->sessions->page;
	size_t i;

	for (i = 0; i < page->suspects.count; i++) {
		if (conclude(derive, &page->suspects.list[i],
			     page->asleep) < 0)
			return -1;
	}
	return 0;
}

static void free_job(struct session_job *job)
{
	clear_page(&job->page);
	mse_sockets_clear(&job->sockets);
	free(job);
}

static void tell(struct mse_derive *derive, const char *text)
{
	derive->has_error = true;
	mse_error_set(&derive->error, "looking for lost sessions: %.400s",
		      text);
}

static void job_done(struct mse_ledger_job *_job, const struct mse_error *error)
{
	struct session_job *job = (struct session_job *)_job;
	struct mse_derive *derive = job->derive;
	struct mse_sessions *sessions;
	int64_t mono_ms;

	if (derive == NULL) {
		free_job(job);
		return;
	}
	sessions = derive->sessions;
	mono_ms = mse_clock_mono(derive->clock);
	sessions->job = NULL;
	sessions->took_ms += job->took_ms;
	sessions->page = job->page;
	sessions->sockets = job->sockets;
	sessions->page.sockets = NULL;
	memset(&job->page, 0, sizeof(job->page));
	memset(&job->sockets, 0, sizeof(job->sockets));
	if (error != NULL) {
		tell(derive, error->text);
		finish(sessions, mono_ms + FAILED_WAIT_MS);
	} else if (!job->confirms) {
		looked(derive, job->committed, mono_ms);
	} else if (confirmed(derive) < 0) {
		tell(derive, "out of memory");
		finish(sessions, mono_ms + FAILED_WAIT_MS);
	} else {
		go_on(sessions, mono_ms);
	}
	free_job(job);
}

static int submit(struct mse_derive *derive, bool confirms)
{
	struct mse_sessions *sessions = derive->sessions;
	struct session_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return -1;
	job->job.run = run_job;
	job->job.done = job_done;
	job->derive = derive;
	job->clock = derive->clock;
	job->confirms = confirms;
	job->committed = derive->committed_round;
	/* Moved there and back: the loop's thread has none of it meanwhile. */
	job->page = sessions->page;
	job->sockets = sessions->sockets;
	job->page.presence_fd = mse_journal_presence_fd(derive->journal);
	job->page.wall_ms = mse_clock_wall(derive->clock);
	memset(&sessions->page, 0, sizeof(sessions->page));
	sessions->page.asleep = job->page.asleep;
	sessions->sockets.inodes = NULL;
	sessions->sockets.count = sessions->sockets.size = 0;
	if (confirms)
		sessions->phase = PHASE_CONFIRM;
	sessions->job = job;
	mse_ledger_worker_submit(derive->ledger, &job->job);
	return 0;
}

/* Which kind is to be looked through now, if any. */
static bool begin(struct mse_sessions *sessions, int64_t mono_ms)
{
	bool at = sessions->at.open && mono_ms >= sessions->at.look_at;
	bool asleep = sessions->asleep.open &&
		mono_ms >= sessions->asleep.look_at;

	if (!at && !asleep)
		return false;
	clear_page(&sessions->page);
	sessions->page.asleep = !at;
	sessions->phase = PHASE_LOOK;
	sessions->took_ms = 0;
	sessions->any = false;
	return true;
}

/* Everything that was read up to the round, and what we appended, has been
   read and committed since. */
static bool is_settled(const struct mse_derive *derive, uint64_t round)
{
	return derive->gap_count == 0 && derive->late_records == 0 &&
		derive->committed_round > derive->appended_round &&
		derive->committed_round > round;
}

int mse_sessions_run(struct mse_derive *derive, int64_t mono_ms,
		     struct mse_error *error_r)
{
	struct mse_sessions *sessions = derive->sessions;
	int ret = 0;

	if (sessions->job != NULL)
		return 0;
	if (sessions->phase == PHASE_IDLE &&
	    (!is_settled(derive, 0) || !begin(sessions, mono_ms)))
		return 0;
	if (sessions->phase == PHASE_LOOK && is_settled(derive, 0))
		ret = submit(derive, false);
	else if (sessions->phase == PHASE_WAIT &&
		 is_settled(derive, sessions->round))
		ret = submit(derive, true);
	return ret < 0 ? mse_error_set(error_r, "derive is out of memory") : 0;
}
