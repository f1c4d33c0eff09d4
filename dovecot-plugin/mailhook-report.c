/*
 * A committed transaction's notes as records, in one append: saves in UID
 * order, then flags (cleared, trashed, read, set), then expunges. Invariant:
 * called after the commit; looks at the index's own map, which is as the
 * commit has left it, because the mailbox's view is still the one from before.
 */

#include "lib.h"
#include "array.h"
#include "imap-util.h"
#include "str.h"
#include "mail-index-private.h"
#include "mail-index-modseq.h"
#include "mail-transaction-log.h"
#include "mailhook-plugin.h"

/* Flags of one kind that changed alike, and for which mails. */
struct mailhook_group {
	enum mse_event_type type;
	const char *flag_names; /* "" for MessageRead and MessageTrash */
	ARRAY_TYPE(seq_range) uids;
	uint32_t last_uid;      /* the one that was added last */
};

struct mailhook_report_context {
	struct mailhook_transaction *mt;
	struct mailbox *box;
	struct mailhook_place place;
	struct mailhook_batch *batch;
	struct mail_index_map *map;   /* NULL if the index cannot be read */
	const char *url;              /* of the mailbox; data stack */
	int64_t now;
	ARRAY(struct mailhook_group) groups;
};

struct mailhook_saved {
	uint32_t uid;
	const struct mailhook_save *save;
};

/* As FETCH has it: the message's own where the index keeps them. */
static uint64_t mailhook_modseq(struct mail_index_map *map, uint32_t seq)
{
	const struct mail_index_ext *ext;
	uint64_t modseq = 0;
	uint32_t idx;

	if (mail_index_map_get_ext_idx(map, map->index->modseq_ext_id, &idx)) {
		ext = array_idx(&map->extensions, idx);
		memcpy(&modseq, CONST_PTR_OFFSET(MAIL_INDEX_REC_AT_SEQ(map,
				seq), ext->record_offset), sizeof(modseq));
	}
	return modseq != 0 ? modseq : mail_index_map_modseq_get_highest(map);
}

static void mailhook_report_modseq(struct mailhook_report_context *ctx,
				   struct mse_event *event, uint32_t uid)
{
	uint32_t seq, last;
	uint64_t modseq;

	if (ctx->map == NULL)
		return;
	mail_index_map_lookup_seq_range(ctx->map, uid, uid, &seq, &last);
	modseq = seq == 0 ? 0 : mailhook_modseq(ctx->map, seq);
	if (modseq > 0)
		mse_event_set_number(event, MSE_PARAM_MODSEQ, modseq);
}

static void mailhook_report_event(struct mailhook_report_context *ctx,
				  struct mse_event *event,
				  enum mse_event_type type, uint32_t uid,
				  const char *cause)
{
	mailhook_event_init(event, type, &ctx->place, ctx->now);
	mailhook_mailbox_set(ctx->box, event, ctx->url, uid);
	mse_event_set_string(event, MSE_PARAM_CAUSE, cause);
	mse_event_set_string(event, MSE_PARAM_TRANSACTION, ctx->mt->id);
	if (ctx->map == NULL)
		return;
	mse_event_set_number(event, MSE_PARAM_UIDNEXT, ctx->map->hdr.next_uid);
	mse_event_set_number(event, MSE_PARAM_MESSAGES,
			     ctx->map->hdr.messages_count);
}

static void mailhook_report_save(struct mailhook_report_context *ctx,
				 const struct mailhook_saved *saved)
{
	const struct mailhook_save *save = saved->save;
	struct mse_optionals optionals;
	struct mse_event event;

	mailhook_report_event(ctx, &event, save->type, saved->uid,
			      save->cause);
	mse_event_set_string(&event, MSE_PARAM_FLAG_NAMES, save->flag_names);
	mse_event_set_string(&event, MSE_PARAM_SOURCE_URI, save->source_uri);
	if (save->size_known)
		mse_event_set_number(&event, MSE_PARAM_MESSAGE_SIZE,
				     save->size);
	if (saved->uid != 0)
		mailhook_report_modseq(ctx, &event, saved->uid);
	mailhook_parameters_give(ctx->mt, save, ctx->box,
				 ctx->map == NULL ? NULL : &ctx->map->hdr,
				 &optionals);
	event.optionals = &optionals;
	mailhook_batch_add(ctx->batch, &event);
}

static int mailhook_saved_cmp(const struct mailhook_saved *a,
			      const struct mailhook_saved *b)
{
	return a->uid < b->uid ? -1 : (a->uid > b->uid ? 1 : 0);
}

static void
mailhook_report_saves(struct mailhook_report_context *ctx,
		      const struct mail_transaction_commit_changes *changes)
{
	ARRAY(struct mailhook_saved) sorted;
	struct mailhook_saved saved, *each;
	struct seq_range_iter iter;
	unsigned int i, count = MAILHOOK_COUNT(&ctx->mt->saves);

	if (count == 0)
		return;
	t_array_init(&sorted, count);
	seq_range_array_iter_init(&iter, &changes->saved_uids);
	for (i = 0; i < count; i++) {
		saved.save = array_idx(&ctx->mt->saves, i);
		if (!saved.save->used)
			continue;
		/* In append order. Empty if the backend gives no UIDs. */
		if (!seq_range_array_iter_nth(&iter, i, &saved.uid)) {
			if (saved.save->failed)
				continue;
			saved.uid = 0;
		}
		array_push_back(&sorted, &saved);
	}
	array_sort(&sorted, mailhook_saved_cmp);
	array_foreach_modifiable(&sorted, each) T_BEGIN {
		mailhook_report_save(ctx, each);
	} T_END;
}

/* Flags */

static void mailhook_group_uid(struct mailhook_group *group, uint32_t uid)
{
	seq_range_array_add(&group->uids, uid);
	group->last_uid = uid;
}

static void mailhook_group_add(struct mailhook_report_context *ctx,
			       enum mse_event_type type,
			       const char *flag_names, uint32_t uid)
{
	struct mailhook_group *group, new_group;

	if ((ctx->mt->wants & MSE_EVENT_BIT(type)) == 0)
		return;
	array_foreach_modifiable(&ctx->groups, group) {
		if (group->type == type &&
		    strcmp(group->flag_names, flag_names) == 0) {
			mailhook_group_uid(group, uid);
			return;
		}
	}
	i_zero(&new_group);
	new_group.type = type;
	new_group.flag_names = p_strdup(ctx->mt->pool, flag_names);
	p_array_init(&new_group.uids, ctx->mt->pool, 4);
	mailhook_group_uid(&new_group, uid);
	array_push_back(&ctx->groups, &new_group);
}

/* The flags, and those of the keywords `a` that `b` has not, as names ("" if
   none). */
static const char *mailhook_names(enum mail_flags flags, const char *a,
				  const char *b)
{
	ARRAY_TYPE(const_string) keywords;
	string_t *names;
	const char *const *ours, *const *theirs;

	if (a == NULL || *a == '\0') {
		if (flags == 0)
			return "";
		names = t_str_new(64);
		imap_write_flags(names, flags, NULL);
		return str_c(names);
	}
	t_array_init(&keywords, 8);
	theirs = t_strsplit_spaces(b, " ");
	for (ours = t_strsplit_spaces(a, " "); *ours != NULL; ours++) {
		if (!str_array_find(theirs, *ours))
			array_push_back(&keywords, ours);
	}
	array_append_zero(&keywords);
	names = t_str_new(64);
	imap_write_flags(names, flags, array_front(&keywords));
	return str_c(names);
}

static void mailhook_group_change(struct mailhook_report_context *ctx,
				  const struct mailhook_flag_change *change)
{
	enum mail_flags set = change->flags_after & ~change->flags_before;
	enum mail_flags cleared = change->flags_before & ~change->flags_after;
	enum mail_flags simple = 0;
	const char *names;

	if (!ctx->mt->flag_events_full) {
		simple = MAIL_DELETED;
		/* POP3 knows no read messages (RFC 5423 section 4.2). */
		if (ctx->mt->flags_cause == NULL ||
		    strcmp(ctx->mt->flags_cause, "pop3") != 0)
			simple |= MAIL_SEEN;
	}
	names = mailhook_names(cleared, change->keywords_before,
			       change->keywords_after);
	if (*names != '\0')
		mailhook_group_add(ctx, MSE_EVENT_FLAGS_CLEAR, names,
				   change->uid);
	if ((set & simple & MAIL_DELETED) != 0)
		mailhook_group_add(ctx, MSE_EVENT_MESSAGE_TRASH, "",
				   change->uid);
	if ((set & simple & MAIL_SEEN) != 0)
		mailhook_group_add(ctx, MSE_EVENT_MESSAGE_READ, "",
				   change->uid);
	names = mailhook_names(set & ~simple, change->keywords_after,
			       change->keywords_before);
	if (*names != '\0')
		mailhook_group_add(ctx, MSE_EVENT_FLAGS_SET, names,
				   change->uid);
}

/* Kept keywords that are the same are mostly the same pointer, too. */
static bool mailhook_changed_alike(const struct mailhook_flag_change *a,
				   const struct mailhook_flag_change *b)
{
	return (a->flags_after & ~a->flags_before) ==
		(b->flags_after & ~b->flags_before) &&
		(a->flags_before & ~a->flags_after) ==
		(b->flags_before & ~b->flags_after) &&
		a->keywords_before == b->keywords_before &&
		a->keywords_after == b->keywords_after;
}

/* A thousand messages flagged alike are one group: what a change means is
   found out only if it is another than the last one's. */
static void mailhook_group_changes(struct mailhook_report_context *ctx,
				   const ARRAY_TYPE(seq_range) *conflicts)
{
	const struct mailhook_flag_change *change, *last = NULL;
	struct mailhook_group *group;

	array_foreach(&ctx->mt->changes, change) {
		if (conflicts != NULL &&
		    seq_range_exists(conflicts, change->seq))
			continue;
		if (last != NULL && mailhook_changed_alike(change, last)) {
			array_foreach_modifiable(&ctx->groups, group) {
				if (group->last_uid == last->uid)
					mailhook_group_uid(group, change->uid);
			}
		} else T_BEGIN {
			mailhook_group_change(ctx, change);
		} T_END;
		last = change;
	}
}

static uint32_t mailhook_single_uid(const ARRAY_TYPE(seq_range) *uids)
{
	const struct seq_range *range;

	if (array_count(uids) != 1)
		return 0;
	range = array_front(uids);
	return range->seq1 == range->seq2 ? range->seq1 : 0;
}

static const char *mailhook_uidset(const ARRAY_TYPE(seq_range) *uids)
{
	uint32_t uid = mailhook_single_uid(uids);
	string_t *set;

	if (uid != 0)
		return dec2str(uid);
	set = t_str_new(64);
	imap_write_seq_range(set, uids);
	return str_c(set);
}

static void mailhook_report_group(struct mailhook_report_context *ctx,
				  const struct mailhook_group *group)
{
	struct mse_event event;
	uint32_t uid = mailhook_single_uid(&group->uids);

	mailhook_report_event(ctx, &event, group->type, 0,
			      ctx->mt->flags_cause);
	mse_event_set_string(&event, MSE_PARAM_UIDSET,
			     mailhook_uidset(&group->uids));
	if (*group->flag_names != '\0')
		mse_event_set_string(&event, MSE_PARAM_FLAG_NAMES,
				     group->flag_names);
	if (uid != 0)
		mailhook_report_modseq(ctx, &event, uid);
	mailhook_batch_add(ctx->batch, &event);
}

static void mailhook_report_flags(struct mailhook_report_context *ctx,
				  const ARRAY_TYPE(seq_range) *conflicts)
{
	static const enum mse_event_type order[] = {
		MSE_EVENT_FLAGS_CLEAR, MSE_EVENT_MESSAGE_TRASH,
		MSE_EVENT_MESSAGE_READ, MSE_EVENT_FLAGS_SET
	};
	const struct mailhook_group *group;
	unsigned int i;

	if (MAILHOOK_COUNT(&ctx->mt->changes) == 0)
		return;
	p_array_init(&ctx->groups, ctx->mt->pool, 4);
	if (conflicts != NULL && !array_is_created(conflicts))
		conflicts = NULL;
	mailhook_group_changes(ctx, conflicts);
	for (i = 0; i < N_ELEMENTS(order); i++) {
		array_foreach(&ctx->groups, group) {
			if (group->type == order[i]) T_BEGIN {
				mailhook_report_group(ctx, group);
			} T_END;
		}
	}
}

/* Expunges */

/* How many of these the index still counts: an expunge is only asked for at
   commit, the next sync does it. */
static uint32_t mailhook_still_there(struct mail_index_map *map,
				     const ARRAY_TYPE(seq_range) *uids)
{
	const struct seq_range *range;
	uint32_t first, last, count = 0;

	if (!array_is_created(uids))
		return 0;
	array_foreach(uids, range) {
		mail_index_map_lookup_seq_range(map, range->seq1, range->seq2,
						&first, &last);
		if (first != 0)
			count += last - first + 1;
	}
	return count;
}

static uint32_t mailhook_messages_left(struct mailhook_report_context *ctx)
{
	uint32_t messages = ctx->map->hdr.messages_count;
	uint32_t going;

	going = mailhook_still_there(ctx->map, &ctx->mt->expunged) +
		mailhook_still_there(ctx->map, &ctx->mt->expired);
	return messages > going ? messages - going : 0;
}

static void mailhook_report_expunge(struct mailhook_report_context *ctx,
				    enum mse_event_type type,
				    const ARRAY_TYPE(seq_range) *uids)
{
	struct mse_event event;

	if (MAILHOOK_COUNT(uids) == 0 ||
	    (ctx->mt->wants & MSE_EVENT_BIT(type)) == 0)
		return;
	mailhook_report_event(ctx, &event, type, 0, ctx->mt->expunge_cause);
	mse_event_set_string(&event, MSE_PARAM_UIDSET, mailhook_uidset(uids));
	/* No modseq: it rises only at that sync. */
	if (ctx->map != NULL)
		mse_event_set_number(&event, MSE_PARAM_MESSAGES,
				     mailhook_messages_left(ctx));
	mailhook_batch_add(ctx->batch, &event);
}

/* Dovecot takes over what it commits at once, with all that others committed
   before it. That is not so where nothing was written (it was all private
   flags), nor if something came after it. */
static bool
mailhook_index_is_read(struct mail_index *index,
		       const struct mail_transaction_commit_changes *changes)
{
	uint32_t log_seq;
	uoff_t log_offset;

	if (changes->changes_mask == 0)
		return FALSE;
	mail_transaction_log_get_head(index->log, &log_seq, &log_offset);
	return index->map->hdr.log_file_seq == log_seq &&
		index->map->hdr.log_file_head_offset == log_offset;
}

static void
mailhook_report_look(struct mailhook_report_context *ctx,
		     const struct mail_transaction_commit_changes *changes)
{
	struct mail_index *index = ctx->box->index;

	/* It may have to look around for that. */
	ctx->place.guid = mailhook_mailbox_guid(ctx->box);
	/* Nothing of ours replaces the map from here on. */
	if (index != NULL && (mailhook_index_is_read(index, changes) ||
			      mail_index_refresh(index) == 0)) {
		ctx->map = index->map;
		ctx->place.uidvalidity = ctx->map->hdr.uid_validity;
	}
	if (changes->uid_validity != 0)
		ctx->place.uidvalidity = changes->uid_validity;
}

bool mailhook_report_is_due(const struct mailhook_transaction *mt)
{
	return MAILHOOK_COUNT(&mt->saves) > 0 ||
		MAILHOOK_COUNT(&mt->changes) > 0 ||
		MAILHOOK_COUNT(&mt->expunged) > 0 ||
		MAILHOOK_COUNT(&mt->expired) > 0;
}

void mailhook_report(struct mailhook_transaction *mt, struct mailbox *box,
		     const struct mail_transaction_commit_changes *changes,
		     const ARRAY_TYPE(seq_range) *conflicts,
		     struct mailhook_batch *batch)
{
	struct mailhook_report_context ctx;

	if (!mailhook_report_is_due(mt))
		return;
	i_zero(&ctx);
	ctx.mt = mt;
	ctx.box = box;
	ctx.now = mailhook_now();
	mailhook_place_init(&ctx.place, box);
	mailhook_report_look(&ctx, changes);
	ctx.url = mailhook_mailbox_url(box, &ctx.place);
	ctx.batch = batch;

	mailhook_report_saves(&ctx, changes);
	mailhook_report_flags(&ctx, conflicts);
	mailhook_report_expunge(&ctx, MSE_EVENT_MESSAGE_EXPUNGE, &mt->expunged);
	mailhook_report_expunge(&ctx, MSE_EVENT_MESSAGE_EXPIRE, &mt->expired);
}
