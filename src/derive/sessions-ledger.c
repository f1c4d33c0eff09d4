/*
 * Looking for lost sessions, the part that reads the ledger, presence and the
 * kernel's lists; in the ledger's thread, a page at a time, so that any
 * number of sessions costs neither memory nor a pause.
 *
 * Invariant: what cannot be seen is not lost.
 */
#include "derive/sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "derive/derive-private.h"
#include "derive/sockets.h"
#include "journal/presence.h"

#define PAGE_ROWS 5000
#define SUSPECTS_MAX 1000
#define INSTANCE_LEN (MSE_UUID_SIZE - 1)
#define LOGIN_MAX (1024 * 1024)
/* Hibernating where nobody can see it, for longer than any client does. */
#define FORGET_AFTER_MS ((int64_t)7 * 24 * 3600 * 1000)

const char *mse_session_id(const char *key, bool asleep)
{
	return asleep || strlen(key) <= INSTANCE_LEN ? key :
		key + INSTANCE_LEN + 1;
}

void mse_session_suspects_clear(struct mse_session_suspects *suspects)
{
	size_t i;

	for (i = 0; i < suspects->count; i++) {
		free(suspects->list[i].key);
		free(suspects->list[i].value);
		free(suspects->list[i].login);
	}
	free(suspects->list);
	memset(suspects, 0, sizeof(*suspects));
}

static int add_suspect(struct mse_session_suspects *suspects, const char *key,
		       const char *value, bool forget)
{
	struct mse_session_suspect *suspect;

	suspect = mse_derive_grow(suspects->list, &suspects->size,
				  suspects->count, sizeof(*suspect));
	if (suspect == NULL)
		return -1;
	suspects->list = suspect;
	suspect += suspects->count;
	memset(suspect, 0, sizeof(*suspect));
	suspect->key = strdup(key);
	suspect->value = strdup(value);
	suspect->forget = forget;
	if (suspect->key == NULL || suspect->value == NULL) {
		free(suspect->key);
		free(suspect->value);
		return -1;
	}
	suspects->count++;
	return 0;
}

/* One row after the other, those of an instance together. */
struct look {
	struct mse_session_page *page;
	char instance[MSE_UUID_SIZE]; /* asked for last */
	bool alive;
	char *last;
};

/* Whether the process with this instance still holds this slot. */
static bool is_alive(int presence_fd, const char *instance, unsigned long slot)
{
	struct mse_presence_slot now;
	int held;

	if (slot >= MSE_PRESENCE_SLOTS)
		return false;
	/* The lock first: who takes a free slot writes its instance then. */
	held = mse_presence_is_held(presence_fd, (unsigned int)slot);
	if (held < 0 || mse_presence_read_slot(presence_fd, (unsigned int)slot,
					       &now) < 0)
		return true;
	return held > 0 && strcmp(now.instance, instance) == 0;
}

static int look_at_process(struct look *look, const char *key,
			   const char *value)
{
	char instance[MSE_UUID_SIZE];

	snprintf(instance, sizeof(instance), "%.*s", INSTANCE_LEN, key);
	if (strcmp(instance, look->instance) != 0) {
		memcpy(look->instance, instance, sizeof(instance));
		look->alive = is_alive(look->page->presence_fd, instance,
				       strtoul(value, NULL, 10));
	}
	return look->alive ? 0 :
		add_suspect(&look->page->suspects, key, value, false);
}

static int look_at_socket(struct look *look, const char *key,
			  const char *value)
{
	struct mse_session_page *page = look->page;
	const char *name = strchr(value, ' ');

	switch (mse_sockets_state(page->sockets,
				  name == NULL ? NULL : name + 1)) {
	case MSE_SOCKET_GONE:
		return add_suspect(&page->suspects, key, value, false);
	case MSE_SOCKET_UNSEEN:
		if (page->wall_ms - strtoll(value, NULL, 10) > FORGET_AFTER_MS)
			return add_suspect(&page->suspects, key, value, true);
		break;
	case MSE_SOCKET_HELD:
		break;
	}
	return 0;
}

/* 1: the page is full. */
static int on_row(const char *key, const char *value, void *context)
{
	struct look *look = context;
	int ret;

	free(look->last);
	look->last = strdup(key);
	look->page->rows++;
	ret = look->last == NULL ? -1 :
		look->page->asleep ? look_at_socket(look, key, value) :
		look_at_process(look, key, value);
	if (ret < 0)
		return -1;
	return look->page->suspects.count >= SUSPECTS_MAX ? 1 : 0;
}

/* The list of sockets may be older than a session that was found not to be in
   it: asked again, now that the row is there. */
static int drop_held(struct mse_session_page *page)
{
	struct mse_session_suspect *suspect;
	const char *name;
	size_t i, kept = 0;

	if (!page->asleep || page->suspects.count == 0)
		return 0;
	if (mse_sockets_look(page->sockets) < 0)
		return -1;
	for (i = 0; i < page->suspects.count; i++) {
		suspect = &page->suspects.list[i];
		name = strchr(suspect->value, ' ');
		if (suspect->forget ||
		    mse_sockets_state(page->sockets, name == NULL ? NULL :
				      name + 1) == MSE_SOCKET_GONE) {
			page->suspects.list[kept++] = *suspect;
			continue;
		}
		free(suspect->key);
		free(suspect->value);
	}
	page->suspects.count = kept;
	return 0;
}

int mse_session_page_look(struct mse_ledger *ledger,
			  struct mse_session_page *page,
			  struct mse_error *error_r)
{
	const char *kind = page->asleep ? MSE_SESSION_ASLEEP : MSE_SESSION_AT;
	struct look look = { .page = page };
	int ret;

	page->rows = 0;
	mse_session_suspects_clear(&page->suspects);
	if (page->asleep && page->after == NULL &&
	    mse_sockets_look(page->sockets) < 0)
		return mse_error_set(error_r, "out of memory for sockets");
	error_r->text[0] = '\0';
	ret = mse_ledger_each_derived(ledger, kind, page->after, PAGE_ROWS,
				      on_row, &look, error_r);
	if (ret >= 0) {
		page->end = ret == 0 && page->rows < PAGE_ROWS;
		ret = drop_held(page);
	}
	free(page->last);
	page->last = look.last;
	if (ret < 0 && error_r->text[0] == '\0')
		mse_error_set(error_r, "out of memory for sessions");
	return ret < 0 ? -1 : 0;
}

static int confirm(struct mse_ledger *ledger, bool asleep,
		   struct mse_session_suspect *suspect, struct mse_buf *buf,
		   struct mse_error *error_r)
{
	const char *id = mse_session_id(suspect->key, asleep);
	int found;

	mse_buf_reset(buf);
	found = mse_ledger_get_derived(ledger, asleep ? MSE_SESSION_ASLEEP :
				       MSE_SESSION_AT, suspect->key, buf,
				       error_r);
	if (found <= 0)
		return found;
	suspect->confirmed = strcmp(mse_buf_str(buf), suspect->value) == 0;
	mse_buf_reset(buf);
	found = mse_ledger_get_derived(ledger, MSE_SESSION, id, buf, error_r);
	if (found <= 0)
		return found;
	suspect->login = strdup(mse_buf_str(buf));
	return suspect->login == NULL ?
		mse_error_set(error_r, "out of memory for sessions") : 0;
}

int mse_session_page_confirm(struct mse_ledger *ledger,
			     struct mse_session_page *page,
			     struct mse_error *error_r)
{
	struct mse_buf buf;
	size_t i;
	int ret = 0;

	mse_buf_init(&buf, LOGIN_MAX);
	for (i = 0; i < page->suspects.count && ret == 0; i++) {
		free(page->suspects.list[i].login);
		page->suspects.list[i].login = NULL;
		page->suspects.list[i].confirmed = false;
		ret = confirm(ledger, page->asleep, &page->suspects.list[i],
			      &buf, error_r);
	}
	mse_buf_clear(&buf);
	return ret;
}
