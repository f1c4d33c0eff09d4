/*
 * What an endpoint is told besides: optional parameters, the part of the
 * content, tags.
 */
#include "conf/conf-values.h"

#include <string.h>

#include "base/utf8.h"

int mse_conf_parse_parameters(const char *const *items, size_t count,
			      mse_optionals_t *optionals_r, size_t *bad_r,
			      struct mse_error *error_r)
{
	enum mse_optional optional;
	size_t i;

	*optionals_r = 0;
	for (i = 0; i < count; i++) {
		optional = mse_optional_find(items[i]);
		if (optional == MSE_OPTIONAL_COUNT) {
			*bad_r = i;
			return mse_error_set(error_r, "has \"%.40s\", which "
					     "cannot be asked for; write some "
					     "of envelope, bodyStructure, "
					     "messageContent, headers, unseen "
					     "(all others come with every "
					     "event)", items[i]);
		}
		*optionals_r |= MSE_OPTIONAL_BIT(optional);
	}
	return 0;
}

int mse_conf_parse_content_part(const char *text,
				enum mse_content_part *part_r,
				struct mse_error *error_r)
{
	enum mse_content_part part = mse_content_part_find(text);

	if (part == MSE_CONTENT_PART_COUNT)
		return mse_error_set(error_r, "is no part of a message; "
				     "write \"message\", \"headers\", "
				     "\"body\" or \"headersbody\"");
	*part_r = part;
	return 0;
}

int mse_conf_check_tag(const char *text, struct mse_error *error_r)
{
	size_t i, len = strlen(text);

	for (i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
		    text[i] == ',')
			break;
	}
	if (len == 0 || i < len || !mse_utf8_is_valid(text, len))
		return mse_error_set(error_r, "has something that is no tag; "
				     "write words of UTF-8 text without "
				     "commas, such as {\"portal\", "
				     "\"billing\"}");
	return 0;
}
