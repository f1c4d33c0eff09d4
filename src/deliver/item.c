/*
 * One event on its way to one endpoint.
 *
 * Invariant: the record is a copy of its own, until it needs no text any more:
 * then nothing is left of it but its id.
 */
#include "deliver/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mse_item *mse_item_of_record(struct mse_endpoint *endpoint,
				    enum mse_item_origin origin,
				    const struct mse_record *record)
{
	struct mse_item *item = calloc(1, sizeof(*item));

	if (item == NULL)
		return NULL;
	if (mse_record_copy(record, &item->record) < 0) {
		free(item);
		return NULL;
	}
	item->endpoint = endpoint;
	item->origin = origin;
	item->len = record->bytes.len;
	return item;
}

struct mse_item *mse_item_new(struct mse_endpoint *endpoint,
			      enum mse_item_origin origin, const char *text,
			      size_t len)
{
	struct mse_record record;
	struct mse_item *item;

	if (mse_record_parse(text, len, &record, NULL) < 0)
		return NULL;
	item = mse_item_of_record(endpoint, origin, &record);
	mse_record_clear(&record);
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
	memcpy(id, item->record.id, sizeof(id));
	mse_record_clear(&item->record);
	memcpy(item->record.id, id, sizeof(id));
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
