#ifndef MSE_EVENT_UUID_H
#define MSE_EVENT_UUID_H

#include <stdbool.h>
#include <stdint.h>

/* 8-4-4-4-12 lower-case hexadecimal and a NUL. */
#define MSE_UUID_SIZE 37

/* A UUIDv7 (RFC 9562) of the wall clock; strictly increasing within the
   process even if the clock steps back (the 12+ bits behind the millisecond
   count on, method 1), and fresh after fork(). Never fails: with no random
   numbers to be had it falls back on clock, pid and a counter. */
void mse_uuid_make(int64_t wall_ms, char uuid_r[MSE_UUID_SIZE]);
bool mse_uuid_is_valid(const char *text);
/* The wall clock (ms) a UUIDv7 was made at; of anything else nothing that
   means something. */
int64_t mse_uuid_time_ms(const char *uuid);

#endif
