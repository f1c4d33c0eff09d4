#ifndef MSE_BASE_CLOCK_H
#define MSE_BASE_CLOCK_H

#include <stdint.h>

/*
 * Schedules use mono_ms (CLOCK_MONOTONIC), times in events wall_ms (Unix
 * milliseconds). Everything that decides takes its clock as an argument.
 */
struct mse_clock {
	int64_t (*wall_ms)(const struct mse_clock *clock);
	int64_t (*mono_ms)(const struct mse_clock *clock);
};

extern const struct mse_clock mse_clock_system;

/* For tests: both clocks stand until they are moved. */
struct mse_clock_fake {
	struct mse_clock clock;
	int64_t wall;
	int64_t mono;
};
void mse_clock_fake_init(struct mse_clock_fake *fake, int64_t wall_ms);
void mse_clock_fake_advance(struct mse_clock_fake *fake, int64_t ms);

static inline int64_t mse_clock_wall(const struct mse_clock *clock)
{
	return clock->wall_ms(clock);
}

static inline int64_t mse_clock_mono(const struct mse_clock *clock)
{
	return clock->mono_ms(clock);
}

#define MSE_TIMESTAMP_SIZE 32

/* RFC 3339 with milliseconds and the local offset:
   2026-11-24T04:30:35.123+01:00 (an offset of 0 is written +00:00). Always
   one that can be parsed: beyond the years 1 to 9999 the nearest of them. */
void mse_timestamp_format(int64_t wall_ms, char text[MSE_TIMESTAMP_SIZE]);
/* 0, or -1 if text (NUL-terminated) is not such a timestamp. */
int mse_timestamp_parse(const char *text, int64_t *wall_ms_r);

#endif
