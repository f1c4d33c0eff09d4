/*
 * resync: somebody wants receivers to read a mailbox again.
 *
 *   > {"command":"resync","user":"alice","mailbox":"INBOX","uidvalidity":7}
 *   < {"ok":true,"id":"…"}
 *
 * Invariant: the answer comes when the event is in the journal. The state it
 * names is that of an empty mailbox: all of it is to be read.
 */
#include "mse-config.h"

#include "daemon/control.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/control-json.h"
#include "daemon/daemon-private.h"
#include "derive/derive.h"

struct mse_control_resync {
	char id[MSE_UUID_SIZE];
};

void mse_control_resync_pass(struct mse_control_client *client)
{
	struct mse_buf buf;
	struct mse_json json = { &buf, false };

	if (mse_derive_has_resyncs(client->daemon->derive))
		return; /* derive's next run, or a commit, wakes us */
	mse_buf_init(&buf, 8192);
	mse_json_open(&json, NULL, '{');
	mse_json_bool(&json, "ok", true);
	mse_json_string(&json, "id", client->resync->id);
	mse_json_close(&json, '}');
	mse_control_reply(client, &buf);
	free(client->resync);
	client->resync = NULL;
}

void mse_control_resync_start(struct mse_control_client *client,
			      const struct mse_control_request *request)
{
	struct mse_control_resync *resync = calloc(1, sizeof(*resync));
	char cause[sizeof("control:") + MSE_UUID_SIZE] = "control:";
	struct mse_resync what = {
		.reason = "asked for by the administrator",
		.owner = request->user,
		.mailbox = request->mailbox
	};

	if (*request->user == '\0' ||
	    (request->mailbox != NULL && *request->mailbox == '\0')) {
		free(resync);
		mse_control_reply_error(client, "an empty name is no user's "
					"and no mailbox's");
		return;
	}
	if (request->mailbox != NULL)
		what.uidnext = what.modseq = 1;
	if (request->uidvalidity > 0 && request->uidvalidity <= UINT32_MAX)
		what.uidvalidity = (uint32_t)request->uidvalidity;
	mse_uuid_make(mse_clock_wall(&mse_clock_system),
		      cause + strlen(cause));
	if (resync == NULL ||
	    mse_derive_resync(client->daemon->derive, cause, &what,
			      resync->id) < 0) {
		free(resync);
		mse_control_reply_error(client, "there is no memory");
		return;
	}
	client->resync = resync;
	client->daemon->derive_due = true;
	client->daemon->hurry = true;
}
