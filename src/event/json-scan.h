#ifndef MSE_EVENT_JSON_SCAN_H
#define MSE_EVENT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* Borrowed bytes. */
struct mse_slice {
	const char *data;
	size_t len;
};

/*
 * One pass over JSON text of valid UTF-8, without building a tree: tells
 * whether it is well-formed, and where its values stand. Begins as
 * { text, text + len, 0 }. Every function leaves `pos` behind what it took;
 * -1: that is not JSON, or deeper than 32.
 */
struct mse_json_scan {
	const char *pos;
	const char *end;
	unsigned int depth;
};

void mse_json_scan_space(struct mse_json_scan *scan);
bool mse_json_scan_take(struct mse_json_scan *scan, char c);
/* "key": of an object's member. key_r is what stands between the quotes, with
   its escapes. */
int mse_json_scan_key(struct mse_json_scan *scan, struct mse_slice *key_r);
/* Any value, a string's quotes and an object's braces included. */
int mse_json_scan_value(struct mse_json_scan *scan, struct mse_slice *value_r);
/* An object; member() is called for each of its members and must take it. */
int mse_json_scan_object(struct mse_json_scan *scan,
			 int (*member)(struct mse_json_scan *scan,
				       void *context),
			 void *context);
/* An array; element() likewise. */
int mse_json_scan_array(struct mse_json_scan *scan,
			int (*element)(struct mse_json_scan *scan,
				       void *context),
			void *context);
/* A scanned string with its quotes, unescaped; U+0000 becomes U+FFFD. `to` has
   room for string->len - 1 octets. Returns what is behind its NUL. */
char *mse_json_scan_decode(const struct mse_slice *string, char *to);

#endif
