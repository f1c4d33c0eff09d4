/*
 * RFC 5423's names as tables, made from the lists in vocabulary.h.
 */
#include "event/vocabulary.h"

#include <string.h>

_Static_assert(MSE_EVENT_TYPE_COUNT <= 32, "a set of types has a bit for each");

static const struct {
	const char *name;
	enum mse_event_group group;
} types[MSE_EVENT_TYPE_COUNT] = {
#define X(symbol, name, group) { name, MSE_GROUP_##group },
	MSE_EVENT_TYPES(X)
#undef X
};

static const struct {
	const char *name;
	struct mse_param_key key;
} params[MSE_PARAM_COUNT] = {
#define X(symbol, name, kind) \
	{ name, { "\"" name "\":", sizeof("\"" name "\":") - 1, \
		  MSE_KIND_##kind } },
	MSE_PARAMS(X)
#undef X
};

/* A name and what it is called elsewhere. */
struct pair {
	const char *name, *other;
};

#define X(symbol, name, other) { name, other },
static const struct pair optionals[MSE_OPTIONAL_COUNT] = { MSE_OPTIONALS(X) };
static const struct pair parts[MSE_CONTENT_PART_COUNT] = {
	MSE_CONTENT_PARTS(X)
};
static const struct pair headers[MSE_HEADER_COUNT] = { MSE_HEADERS(X) };
#undef X

static const char *const groups[MSE_GROUP_COUNT] = {
	[MSE_GROUP_MESSAGE] = "message",
	[MSE_GROUP_FLAGS] = "flags",
	[MSE_GROUP_QUOTA] = "quota",
	[MSE_GROUP_ACCESS] = "access",
	[MSE_GROUP_MAILBOX] = "mailbox",
	[MSE_GROUP_SUBSCRIPTION] = "subscription",
};

const char *mse_event_type_name(enum mse_event_type type)
{
	return type < MSE_EVENT_TYPE_COUNT ? types[type].name : "unknown";
}

enum mse_event_group mse_event_type_group(enum mse_event_type type)
{
	return type < MSE_EVENT_TYPE_COUNT ? types[type].group : MSE_GROUP_OWN;
}

enum mse_event_type mse_event_type_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++)
		if (strcmp(types[i].name, name) == 0)
			return (enum mse_event_type)i;
	return MSE_EVENT_UNKNOWN;
}

mse_event_types_t mse_event_group_types(const char *group_name)
{
	mse_event_types_t found = 0;
	unsigned int i;

	for (i = 0; i < MSE_EVENT_TYPE_COUNT; i++)
		if (types[i].group < MSE_GROUP_COUNT &&
		    strcmp(groups[types[i].group], group_name) == 0)
			found |= MSE_EVENT_BIT(i);
	return found;
}

mse_event_types_t mse_event_types_behind(mse_event_types_t wanted)
{
	mse_event_types_t behind = 0;

	if ((wanted & MSE_EVENT_BIT(MSE_EVENT_LOGOUT)) != 0)
		behind |= MSE_EVENT_BIT(MSE_EVENT_LOGIN) |
			MSE_EVENT_BIT(MSE_EVENT_FACT_HIBERNATED) |
			MSE_EVENT_BIT(MSE_EVENT_FACT_RESUMED);
	if ((wanted & (MSE_EVENT_BIT(MSE_EVENT_QUOTA_WITHIN) |
		      MSE_EVENT_BIT(MSE_EVENT_QUOTA_CHANGE))) != 0)
		behind |= MSE_EVENT_BIT(MSE_EVENT_QUOTA_EXCEED) |
			MSE_EVENT_BIT(MSE_EVENT_FACT_QUOTA);
	return behind;
}

const char *mse_param_name(enum mse_param param)
{
	return params[param].name;
}

enum mse_param_kind mse_param_kind(enum mse_param param)
{
	return params[param].key.kind;
}

const struct mse_param_key *mse_param_key(enum mse_param param)
{
	return &params[param].key;
}

/* count if there is none. */
static unsigned int find_pair(const struct pair *pairs, unsigned int count,
			      const char *name)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (strcmp(pairs[i].name, name) == 0)
			break;
	return i;
}

const char *mse_optional_name(enum mse_optional optional)
{
	return optionals[optional].name;
}

const char *mse_optional_member(enum mse_optional optional)
{
	return optionals[optional].other;
}

enum mse_optional mse_optional_find(const char *name)
{
	return find_pair(optionals, MSE_OPTIONAL_COUNT, name);
}

const char *mse_content_part_name(enum mse_content_part part)
{
	return parts[part].name;
}

const char *mse_content_part_member(enum mse_content_part part)
{
	return parts[part].other;
}

enum mse_content_part mse_content_part_find(const char *name)
{
	return find_pair(parts, MSE_CONTENT_PART_COUNT, name);
}

const char *mse_header_name(enum mse_header header)
{
	return headers[header].name;
}

const char *mse_header_field(enum mse_header header)
{
	return headers[header].other;
}
