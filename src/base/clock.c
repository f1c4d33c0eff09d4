/*
 * The two clocks and RFC 3339. Invariant: a formatted timestamp parses back
 * to the same millisecond, whatever the local offset.
 */
#include "base/clock.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t clock_ms(clockid_t id)
{
	struct timespec now;

	if (clock_gettime(id, &now) < 0)
		return 0;
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall_ms(const struct mse_clock *clock)
{
	return clock_ms(CLOCK_REALTIME);
}

static int64_t system_mono_ms(const struct mse_clock *clock)
{
	return clock_ms(CLOCK_MONOTONIC);
}

const struct mse_clock mse_clock_system = { system_wall_ms, system_mono_ms };

static int64_t fake_wall_ms(const struct mse_clock *clock)
{
	return ((const struct mse_clock_fake *)clock)->wall;
}

static int64_t fake_mono_ms(const struct mse_clock *clock)
{
	return ((const struct mse_clock_fake *)clock)->mono;
}

void mse_clock_fake_init(struct mse_clock_fake *fake, int64_t wall_ms)
{
	fake->clock.wall_ms = fake_wall_ms;
	fake->clock.mono_ms = fake_mono_ms;
	fake->wall = wall_ms;
	fake->mono = 1000000;
}

void mse_clock_fake_advance(struct mse_clock_fake *fake, int64_t ms)
{
	fake->wall += ms;
	fake->mono += ms;
}

/* A clock that has lost its mind must not make a record unreadable: RFC 3339
   has years of four digits, so these are the second day of the first year and
   the last but one of the last, which no offset takes out of them. */
#define FIRST_SECOND ((time_t)-62135510400)
#define LAST_SECOND ((time_t)253402214399)

static void put_digits(char *text, unsigned int value)
{
	text[0] = (char)('0' + value / 10 % 10);
	text[1] = (char)('0' + value % 10);
}

/* With ".000" where the milliseconds go. In mail processes: no printf. */
static void format_second(time_t seconds, char text[MSE_TIMESTAMP_SIZE])
{
	static const char shape[] = "0000-00-00T00:00:00.000+00:00";
	struct tm tm;
	long offset;

	if (seconds < FIRST_SECOND)
		seconds = FIRST_SECOND;
	if (seconds > LAST_SECOND)
		seconds = LAST_SECOND;
	if (localtime_r(&seconds, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	offset = tm.tm_gmtoff / 60;
	memcpy(text, shape, sizeof(shape));
	put_digits(text, (unsigned int)(tm.tm_year + 1900) / 100);
	put_digits(text + 2, (unsigned int)(tm.tm_year + 1900));
	put_digits(text + 5, (unsigned int)(tm.tm_mon + 1));
	put_digits(text + 8, (unsigned int)tm.tm_mday);
	put_digits(text + 11, (unsigned int)tm.tm_hour);
	put_digits(text + 14, (unsigned int)tm.tm_min);
	put_digits(text + 17, (unsigned int)tm.tm_sec);
	text[23] = offset < 0 ? '-' : '+';
	put_digits(text + 24, (unsigned int)(labs(offset) / 60));
	put_digits(text + 27, (unsigned int)(labs(offset) % 60));
}

void mse_timestamp_format(int64_t wall_ms, char text[MSE_TIMESTAMP_SIZE])
{
	/* What comes in bursts comes within one second. */
	static __thread char last_text[MSE_TIMESTAMP_SIZE];
	static __thread time_t last_seconds;
	int64_t ms = wall_ms % 1000;
	time_t seconds = wall_ms / 1000;

	if (ms < 0) {
		ms += 1000;
		seconds--;
	}
	if (last_text[0] == '\0' || seconds != last_seconds) {
		format_second(seconds, last_text);
		last_seconds = seconds;
	}
	memcpy(text, last_text, MSE_TIMESTAMP_SIZE);
	text += strlen("YYYY-MM-DDTHH:MM:SS.");
	memcpy(text, (char [3]){ (char)('0' + ms / 100),
	       (char)('0' + ms / 10 % 10), (char)('0' + ms % 10) }, 3);
}

/* Reads exactly `digits` digits; -1 if they are not. */
static int take_digits(const char **text, int digits)
{
	int value = 0;

	for (; digits > 0; digits--, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

static int take_char(const char **text, char c)
{
	if (**text != c)
		return -1;
	(*text)++;
	return 0;
}

/* ".123" of any length, cut to milliseconds; nothing is 0. */
static int take_fraction(const char **text)
{
	int ms = 0, unit = 100;

	if (**text != '.')
		return 0;
	(*text)++;
	if (!isdigit((unsigned char)**text))
		return -1;
	for (; isdigit((unsigned char)**text); (*text)++, unit /= 10)
		ms += (**text - '0') * unit;
	return ms;
}

static int take_offset(const char **text, long *seconds_r)
{
	int sign, hours, minutes;

	if (**text == 'Z') {
		(*text)++;
		*seconds_r = 0;
		return 0;
	}
	if (**text != '+' && **text != '-')
		return -1;
	sign = *(*text)++ == '-' ? -1 : 1;
	if ((hours = take_digits(text, 2)) < 0 || hours > 23 ||
	    take_char(text, ':') < 0 ||
	    (minutes = take_digits(text, 2)) < 0 || minutes > 59)
		return -1;
	*seconds_r = sign * (hours * 3600L + minutes * 60L);
	return 0;
}

/* As timegm() would, but for its price: a record is read for a few
   microseconds. The year begins in March, so that the leap day is its last,
   and 400 years ago, so that it is not negative. */
static int64_t days_since_1970(int year, int month, int day)
{
	int y = year + 400 - (month < 3);

	return y * 365 + y / 4 - y / 100 + y / 400 +
		((month + 9) % 12 * 153 + 2) / 5 + day - 1 - 865565;
}

/* March would be made of the 30th of February. */
static bool is_a_day(int year, int month, int day)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31,
				    30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return day <= days[month - 1] && (month != 2 || day < 29 || leap);
}

int mse_timestamp_parse(const char *text, int64_t *wall_ms_r)
{
	int year, month, day, hour, minute, second, ms;
	long offset;
	int64_t hours;

	if ((year = take_digits(&text, 4)) < 0 || take_char(&text, '-') < 0 ||
	    (month = take_digits(&text, 2)) < 1 || month > 12 ||
	    take_char(&text, '-') < 0 ||
	    (day = take_digits(&text, 2)) < 1 || day > 31 ||
	    take_char(&text, 'T') < 0 ||
	    (hour = take_digits(&text, 2)) < 0 || hour > 23 ||
	    take_char(&text, ':') < 0 ||
	    (minute = take_digits(&text, 2)) < 0 || minute > 59 ||
	    take_char(&text, ':') < 0 ||
	    (second = take_digits(&text, 2)) < 0 || second > 60 ||
	    (ms = take_fraction(&text)) < 0 ||
	    take_offset(&text, &offset) < 0 || *text != '\0' ||
	    !is_a_day(year, month, day))
		return -1;
	hours = days_since_1970(year, month, day) * 24 + hour;
	*wall_ms_r = (hours * 3600 + minute * 60 + second - offset) * 1000 + ms;
	return 0;
}
