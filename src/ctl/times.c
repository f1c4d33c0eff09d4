/*
 * Points in time as people write them.
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <ctype.h>

#include "base/clock.h"

static int64_t unit_ms(char unit)
{
	switch (unit) {
	case 's':
		return 1000;
	case 'm':
		return 60 * 1000;
	case 'h':
		return 3600 * 1000;
	case 'd':
		return (int64_t)24 * 3600 * 1000;
	case 'w':
		return (int64_t)7 * 24 * 3600 * 1000;
	}
	return 0;
}

static int ago_ms(const char *text, int64_t *ms_r)
{
	int64_t number = 0;

	if (!isdigit((unsigned char)*text))
		return -1;
	for (; isdigit((unsigned char)*text); text++) {
		number = number * 10 + (*text - '0');
		if (number > 1000000)
			return -1;
	}
	if (unit_ms(*text) == 0 || text[1] != '\0')
		return -1;
	*ms_r = number * unit_ms(*text);
	return 0;
}

int mse_ctl_time(const char *text, int64_t now_ms, int64_t *wall_ms_r,
		 struct mse_error *error_r)
{
	int64_t ms;

	if (ago_ms(text, &ms) == 0) {
		*wall_ms_r = now_ms - ms;
		return 0;
	}
	if (mse_timestamp_parse(text, wall_ms_r) == 0)
		return 0;
	return mse_error_set(error_r, "\"%.64s\" is no time: write how long "
			     "ago (90s, 30m, 2h, 1d, 2w) or a time with its "
			     "offset (2026-11-24T14:05:00+01:00)", text);
}
