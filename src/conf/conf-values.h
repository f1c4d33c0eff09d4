#ifndef MSE_CONF_CONF_VALUES_H
#define MSE_CONF_CONF_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "conf/conf.h"

/*
 * One function for each kind of value in mailhook.conf: text in, checked
 * value out. On a mistake -1 and the rest of a sentence that begins with the
 * key's name ("is not …; write …"); conf-syntax.c puts FILE:LINE and the key
 * in front. No function repeats what could be a secret.
 */

/* "200ms" "15s" "5m" "1h" "3d" */
int mse_conf_parse_duration(const char *text, int64_t min_ms, int64_t max_ms,
			    int64_t *ms_r, struct mse_error *error_r);
/* Octets, or binary multiples "2K" "1M" "1G" "1T". */
int mse_conf_parse_size(const char *text, uint64_t min, uint64_t max,
			uint64_t *octets_r, struct mse_error *error_r);
int mse_conf_parse_number(const char *text, unsigned int min,
			  unsigned int max, unsigned int *number_r,
			  struct mse_error *error_r);
int mse_conf_check_url(const char *text, struct mse_error *error_r);
int mse_conf_check_server_name(const char *text, struct mse_error *error_r);
/* ADDRESS:PORT to listen on: "127.0.0.1:9423", "[::1]:9423". */
int mse_conf_check_listen(const char *text, struct mse_error *error_r);
/* The absolute path of a file, opened for reading: its descriptor. */
int mse_conf_open_file(const char *path, struct mse_error *error_r);
/* The same of a regular file that neither group nor others may read. */
int mse_conf_open_private(const char *path, struct mse_error *error_r);
int mse_conf_check_name(const char *text, struct mse_error *error_r);
int mse_conf_parse_format(const char *text, enum mse_conf_format *format_r,
			  struct mse_error *error_r);
/* "true" or "false" */
int mse_conf_parse_switch(const char *text, bool *on_r,
			  struct mse_error *error_r);
int mse_conf_parse_order(const char *text, enum mse_conf_order *order_r,
			 struct mse_error *error_r);

/* Event names and groups; "!" excludes; only exclusions: all but those; an
   empty list: all. *bad_r is the index of the item at fault (count: the list
   as a whole). */
int mse_conf_parse_events(const char *const *items, size_t count,
			  mse_event_types_t *types_r, size_t *bad_r,
			  struct mse_error *error_r);

/* Names of optional parameters. *bad_r: the index of the item at fault. */
int mse_conf_parse_parameters(const char *const *items, size_t count,
			      mse_optionals_t *optionals_r, size_t *bad_r,
			      struct mse_error *error_r);
int mse_conf_parse_content_part(const char *text,
				enum mse_content_part *part_r,
				struct mse_error *error_r);
/* One tag: not empty, valid UTF-8, no comma, no control character. */
int mse_conf_check_tag(const char *text, struct mse_error *error_r);

/* whsec_ and the base64 of 24..64 octets, or whsk_ and that of an Ed25519
   private key: 32 octets (RFC 8032), or 64, as many libraries keep it, with
   its public key behind it. */
int mse_conf_parse_secret(const char *text, struct mse_secret *secret_r,
			  struct mse_error *error_r);
/* One secret a line; blank lines and lines that begin with # are skipped.
   Calls back for each. Refuses a file that group or others may read. */
int mse_conf_read_secret_file(const char *path,
			      int (*found)(const struct mse_secret *secret,
					   void *context,
					   struct mse_error *error_r),
			      void *context, struct mse_error *error_r);

/* SHA-256 in hex of what numbering depends on. -1: OpenSSL failed. */
int mse_conf_digest_filters(const struct mse_conf_endpoint *endpoint,
			    char hex_r[65]);

#endif
