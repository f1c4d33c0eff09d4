#ifndef MSE_DELIVER_ANSWER_H
#define MSE_DELIVER_ANSWER_H

#include <stdint.h>

#include "deliver/transport.h"

#define MSE_HOLD_MAX_MS ((int64_t)24 * 3600 * 1000)

enum mse_verdict {
	MSE_VERDICT_SUCCESS,
	MSE_VERDICT_RETRY,
	MSE_VERDICT_HOLD,    /* the whole endpoint, for hold_ms */
	MSE_VERDICT_DISABLE, /* 410 */
	MSE_VERDICT_NOTHING  /* cancelled: as if it had not been tried */
};

/* What an answer means (design.md §6). Pure. hold_ms_r: HOLD only. */
enum mse_verdict mse_answer_judge(const struct mse_answer *answer,
				  int64_t *hold_ms_r);

#endif
