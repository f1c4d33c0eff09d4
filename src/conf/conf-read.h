#ifndef MSE_CONF_CONF_READ_H
#define MSE_CONF_CONF_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "conf/conf.h"

/*
 * Between the files that read mailhook.conf. conf-syntax.c takes the text apart
 * and knows where each value stood; conf-keys.c takes a key's value of a kind
 * that several keys have; conf-endpoint.c and conf-endpoint-transport.c take
 * the keys of an endpoint, conf.c those outside. One file is read at a time, on
 * one thread, and what fails says so once: "FILE:LINE: …".
 */

/* The file, or an endpoint { … } in it. */
struct mse_conf_section;

/* A key as it is in a section. */
struct mse_conf_value {
	const char *name;
	bool given;
	unsigned int count;        /* of its values */
	const unsigned int *lines; /* where each stood */
	const void *option;        /* conf-syntax.c's */
};

/* conf-syntax.c */
/* Takes the text apart and calls take with what is outside of all endpoints;
   what that borrows is gone afterwards. The text is changed. -1 with the first
   mistake, its or take's. */
int mse_conf_take_apart(const char *path, struct mse_buf *text,
			int (*take)(struct mse_conf_section *top,
				    struct mse_conf *conf),
			struct mse_conf *conf, struct mse_error *error_r);
unsigned int mse_conf_count_endpoints(struct mse_conf_section *top);
struct mse_conf_section *mse_conf_endpoint(struct mse_conf_section *top,
					   unsigned int index);
/* An endpoint's name, and the line in which it ends. */
const char *mse_conf_section_name(const struct mse_conf_section *section);
int mse_conf_section_line(const struct mse_conf_section *section);
/* -1: it is there twice. */
int mse_conf_get(struct mse_conf_section *section, const char *name,
		 struct mse_conf_value *value_r);
/* Borrowed. */
const char *mse_conf_text(const struct mse_conf_value *value,
			  unsigned int index);
/* All return -1. The first mistake is the one that is told. */
int mse_conf_fail(int line, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The rest of a sentence from conf-values.h becomes a whole one. */
int mse_conf_fail_value(const struct mse_conf_value *value, unsigned int index,
			const struct mse_error *error);
int mse_conf_no_memory(void);

/* conf-keys.c: what a key says, if it is given; else *_r stays. */
#define MSE_SECOND ((int64_t)1000)
#define MSE_MINUTE (60 * MSE_SECOND)
#define MSE_HOUR (3600 * MSE_SECOND)
#define MSE_DAY (24 * MSE_HOUR)
int mse_conf_take_duration(struct mse_conf_section *section, const char *name,
			   int64_t min_ms, int64_t max_ms, int64_t *ms_r);
int mse_conf_take_number(struct mse_conf_section *section, const char *name,
			 unsigned int min, unsigned int max,
			 unsigned int *number_r);
int mse_conf_take_size(struct mse_conf_section *section, const char *name,
		       uint64_t min, uint64_t max, uint64_t *octets_r);
int mse_conf_take_switch(struct mse_conf_section *section, const char *name,
			 bool *on_r);
/* A copy of a text that check has nothing against. */
int mse_conf_take_checked(struct mse_conf_section *section, const char *name,
			  int (*check)(const char *text,
				       struct mse_error *error_r),
			  char **text_r);
/* The values as an array, NULL-terminated, borrowed; free() the array. NULL:
   out of memory. */
const char **mse_conf_list(const struct mse_conf_value *value);

/* conf-endpoint.c, conf-endpoint-transport.c */
int mse_conf_take_endpoint(struct mse_conf_section *section,
			   struct mse_conf_endpoint *endpoint);
int mse_conf_take_transport(struct mse_conf_section *section,
			    struct mse_conf_endpoint *endpoint);

#endif
