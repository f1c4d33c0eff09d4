#ifndef MSE_DAEMON_CONTROL_JSON_H
#define MSE_DAEMON_CONTROL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* A request's members; NULL, false or as said where absent. Owned. */
struct mse_control_request {
	char *command, *endpoint, *id, *type, *user, *mailbox;
	int64_t since_ms, until_ms; /* wall; else INT64_MIN, INT64_MAX */
	int64_t uidvalidity; /* else 0 */
	bool all, dry_run;
};
int mse_control_request_parse(const char *line, size_t len,
			      struct mse_control_request *request_r,
			      struct mse_error *error_r);
void mse_control_request_clear(struct mse_control_request *request);
/* Whether it says which events, be it all. */
bool mse_control_picks(const struct mse_control_request *request);

/* Writes JSON straight into a buffer. key NULL: an array's element. */
struct mse_json {
	struct mse_buf *buf;
	bool comma;
};
void mse_json_open(struct mse_json *json, const char *key, char bracket);
void mse_json_close(struct mse_json *json, char bracket);
void mse_json_string(struct mse_json *json, const char *key,
		     const char *value);
void mse_json_bytes(struct mse_json *json, const char *key, const char *data,
		    size_t len);
void mse_json_number(struct mse_json *json, const char *key, int64_t value);
void mse_json_bool(struct mse_json *json, const char *key, bool value);

#endif
