/*
 * A key's value, of a kind that several keys have (conf-values.h), out of its
 * section.
 */
#include "conf/conf-read.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf-values.h"

int mse_conf_take_duration(struct mse_conf_section *section, const char *name,
			   int64_t min_ms, int64_t max_ms, int64_t *ms_r)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_duration(mse_conf_text(&value, 0), min_ms, max_ms,
				    ms_r, &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

int mse_conf_take_number(struct mse_conf_section *section, const char *name,
			 unsigned int min, unsigned int max,
			 unsigned int *number_r)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_number(mse_conf_text(&value, 0), min, max, number_r,
				  &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

int mse_conf_take_size(struct mse_conf_section *section, const char *name,
		       uint64_t min, uint64_t max, uint64_t *octets_r)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_size(mse_conf_text(&value, 0), min, max, octets_r,
				&error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

int mse_conf_take_switch(struct mse_conf_section *section, const char *name,
			 bool *on_r)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count > 0 &&
	    mse_conf_parse_switch(mse_conf_text(&value, 0), on_r, &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	return 0;
}

int mse_conf_take_checked(struct mse_conf_section *section, const char *name,
			  int (*check)(const char *text,
				       struct mse_error *error_r),
			  char **text_r)
{
	struct mse_error error;
	struct mse_conf_value value;

	if (mse_conf_get(section, name, &value) < 0)
		return -1;
	if (value.count == 0)
		return 0;
	if (check(mse_conf_text(&value, 0), &error) < 0)
		return mse_conf_fail_value(&value, 0, &error);
	*text_r = strdup(mse_conf_text(&value, 0));
	return *text_r == NULL ? mse_conf_no_memory() : 0;
}

const char **mse_conf_list(const struct mse_conf_value *value)
{
	const char **list = calloc(value->count + 1, sizeof(*list));
	unsigned int i;

	for (i = 0; list != NULL && i < value->count; i++)
		list[i] = mse_conf_text(value, i);
	return list;
}
