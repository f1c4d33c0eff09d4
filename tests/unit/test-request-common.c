#include "test-request-common.h"

#include <string.h>

const char *header(const struct mse_request *request, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; request->headers[i] != NULL; i++) {
		if (strncmp(request->headers[i], name, len) == 0 &&
		    request->headers[i][len] == ':')
			return request->headers[i] + len + 2;
	}
	return NULL;
}

static const char *find_event(const char *p, const char *end)
{
	static const char begin[] = "{\"specversion\"";

	return memmem(p, (size_t)(end - p), begin, sizeof(begin) - 1);
}

bool next_event(const struct mse_request *request, const char **event,
		size_t *len)
{
	const char *body = request->body, *end = body + request->body_len;
	const char *next;

	*event = find_event(*event == NULL ? body : *event + *len, end);
	if (*event == NULL)
		return false;
	next = find_event(*event + 1, end);
	*len = (size_t)((next == NULL ? end : next) - *event);
	return true;
}
