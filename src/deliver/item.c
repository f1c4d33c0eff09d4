/*
 * One event on its way to one endpoint.
 *
 * Invariant: the record's slices point into the item's own text.
 */
#include "deliver/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without its record. */
static struct mse_item *item_with_text(struct mse_endpoint *endpoint,
				       enum mse_item_origin origin,
				       const char *text, size_t len)
{
	struct mse_item *item = calloc(1, sizeof(*item));

	if (item == NULL)
		return NULL;
	item->endpoint = endpoint;
	item->origin = origin;
	item->text = malloc(len + 1);
	if (item->text == NULL) {
		free(item);
		return NULL;
	}
	memcpy(item->text, text, len);
	item->text[len] = '\0';
	item->len = len;
	return item;
}

struct mse_item *mse_item_new(struct mse_endpoint *endpoint,
			      enum mse_item_origin origin, const char *text,
			      size_t len)
{
	struct mse_item *item = item_with_text(endpoint, origin, text, len);

	if (item != NULL &&
	    mse_record_parse(item->text, len, &item->record, NULL) < 0) {
		free(item->text);
		free(item);
		return NULL;
	}
	return item;
}

struct mse_item *mse_item_take(struct mse_endpoint *endpoint,
			       const struct mse_slice *text)
{
	struct mse_item *item = item_with_text(endpoint, MSE_ITEM_FRESH,
					       text->data, text->len);

	if (item == NULL)
		return NULL;
	mse_journal_reader_take(endpoint->reader, &item->record);
	mse_record_move(&item->record, item->text);
	return item;
}

struct mse_item *mse_item_of_row(struct mse_endpoint *endpoint,
				 enum mse_item_origin origin,
				 const struct mse_ledger_row *row)
{
	struct mse_item *item = row->record == NULL ? NULL :
		mse_item_new(endpoint, origin, row->record, row->record_len);

	if (item == NULL)
		return NULL;
	item->sequence = row->sequence;
	item->gap = row->gap;
	item->tries.sequence = row->sequence;
	item->tries.attempts = row->attempts;
	item->tries.used_ms = row->used_ms;
	item->tries.parked_at_ms = row->parked_at_ms;
	item->last_status = row->last_status;
	snprintf(item->last_error, sizeof(item->last_error), "%s",
		 row->last_error);
	return item;
}

void mse_item_keep_answer(struct mse_item *item, const void *body, size_t len)
{
	free(item->answer);
	item->answer = NULL;
	item->answer_len = 0;
	if (len > MSE_LEDGER_ANSWER_MAX)
		len = MSE_LEDGER_ANSWER_MAX;
	if (len > 0)
		item->answer = malloc(len);
	/* Without memory it is not kept: nothing hangs on it. */
	if (item->answer == NULL)
		return;
	memcpy(item->answer, body, len);
	item->answer_len = len;
}

void mse_item_drop_text(struct mse_item *item)
{
	char id[MSE_UUID_SIZE];

	mse_sending_free(&item->flight.sending);
	mse_item_keep_answer(item, NULL, 0);
	if (item->text == NULL)
		return;
	memcpy(id, item->record.id, sizeof(id));
	mse_record_clear(&item->record);
	memset(&item->record, 0, sizeof(item->record));
	memcpy(item->record.id, id, sizeof(id));
	free(item->text);
	item->text = NULL;
}

void mse_item_free(struct mse_item **_item)
{
	struct mse_item *item = *_item;

	*_item = NULL;
	if (item == NULL)
		return;
	mse_item_drop_text(item);
	free(item);
}
