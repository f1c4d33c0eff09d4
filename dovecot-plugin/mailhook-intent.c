/*
 * What is about to be changed and will be reported: noted in presence before
 * the change, taken back when its events are appended or it was refused.
 * Invariant: nothing is looked up for it but what the open index has in
 * memory, and where no event would be sent nothing is noted.
 */

#include "lib.h"
#include "mail-index-private.h"
#include "mail-index-modseq.h"
#include "mailhook-plugin.h"

void mailhook_intent_begin(struct mailhook_intent *intent,
			   const struct mailhook_place *place,
			   struct mailbox *box, const char *old_mailbox)
{
	struct mailhook_user *muser = mailhook_user_get(place->user);
	const struct mail_index_header *hdr;
	struct mse_intent noted;

	i_zero(intent);
	if (muser == NULL)
		return;
	i_zero(&noted);
	noted.wall_ms = mailhook_now();
	noted.user = place->user->username;
	noted.owner = place->lane;
	noted.is_public = place->url_user == NULL;
	noted.mailbox = place->mailbox;
	noted.old_mailbox = old_mailbox;
	/* As this session last saw it: perhaps older, so rather too much is
	   read again than too little. */
	if (box->opened && box->view != NULL) {
		hdr = mail_index_get_header(box->view);
		noted.uidvalidity = hdr->uid_validity;
		noted.uidnext = hdr->next_uid;
		noted.modseq = mail_index_modseq_get_highest(box->view);
	}
	intent->appender = muser->appender;
	intent->id = mse_appender_intend(muser->appender, &noted);
}

void mailhook_intent_end(struct mailhook_intent *intent)
{
	if (intent->appender != NULL)
		mse_appender_done(intent->appender, intent->id);
	i_zero(intent);
}
