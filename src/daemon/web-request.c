/*
 * HTTP as far as a read-only listener needs it (RFC 9112): a request's head
 * in, an answer's octets out.
 *
 * Invariant: pure; every request gets a status, also one that makes no sense.
 */
#include "mse-config.h"

#include "daemon/web.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char *status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	}
	return "Internal Server Error";
}

/* Cuts the next word off; NULL if there is none. */
static char *next_word(char **text)
{
	char *word = *text, *end = strchr(word, ' ');

	if (end != NULL)
		*end++ = '\0';
	*text = end != NULL ? end : word + strlen(word);
	return *word != '\0' ? word : NULL;
}

/* Not even a lone CR (RFC 9112 2.2). */
static bool has_controls(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

/* A proxy may send "http://host/path" (RFC 9112 3.2.2). */
static char *path_of(char *target)
{
	if (strncasecmp(target, "http://", 7) == 0) {
		target = strchr(target + 7, '/');
		if (target == NULL)
			return NULL;
	}
	target[strcspn(target, "?#")] = '\0';
	return *target == '/' ? target : NULL;
}

static bool is_method(const char *text)
{
	size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return len > 0 && text[len] == '\0';
}

static int parse_line(char *line, struct mse_web_request *request)
{
	bool controls = has_controls(line);
	char *method = next_word(&line), *target = next_word(&line);
	char *version = next_word(&line), *path;

	if (controls || method == NULL || target == NULL || version == NULL ||
	    *line != '\0' || strncmp(version, "HTTP/", 5) != 0 ||
	    !is_method(method))
		return 400;
	if (strncmp(version, "HTTP/1.", 7) != 0)
		return 505;
	request->head = strcmp(method, "HEAD") == 0;
	if (!request->head && strcmp(method, "GET") != 0)
		return 405;
	path = path_of(target);
	if (path == NULL)
		return 400;
	if (strlen(path) >= sizeof(request->path))
		return 414;
	(void)snprintf(request->path, sizeof(request->path), "%s", path);
	return 0;
}

/* Several Accept lines are one list (RFC 9110 5.3). */
static void take_accept(const char *value, struct mse_web_request *request)
{
	size_t len = strlen(request->accept);

	(void)snprintf(request->accept + len, sizeof(request->accept) - len,
		       "%s%s", request->has_accept ? ", " : "", value);
	request->has_accept = true;
}

static int parse_field(char *line, struct mse_web_request *request)
{
	char *colon = strchr(line, ':');

	/* No blank before the colon, no folded lines (RFC 9112 5.1, 5.2). */
	if (colon == NULL || colon == line ||
	    strcspn(line, " \t") < (size_t)(colon - line))
		return 400;
	*colon = '\0';
	if (strcasecmp(line, "Accept") == 0)
		take_accept(colon + 1 + strspn(colon + 1, " \t"), request);
	return 0;
}

int mse_web_parse(char *head, struct mse_web_request *request_r)
{
	char *line, *next;
	bool first = true;
	int status = 0;

	memset(request_r, 0, sizeof(*request_r));
	for (line = head; status == 0; line = next) {
		next = strchr(line, '\n');
		if (next == NULL)
			return 400;
		*next++ = '\0';
		if (next - line > 1 && next[-2] == '\r')
			next[-2] = '\0';
		if (*line == '\0')
			return first ? 400 : 0;
		status = first ? parse_line(line, request_r) :
			parse_field(line, request_r);
		first = false;
	}
	return status;
}

static void append_date(struct mse_buf *response, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char text[64];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) != NULL &&
	    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT",
		     &tm) > 0)
		mse_buf_appendf(response, "Date: %s\r\n", text);
}

void mse_web_write(const struct mse_web_answer *answer, bool head,
		   int64_t wall_ms, struct mse_buf *response)
{
	mse_buf_appendf(response, "HTTP/1.1 %d %s\r\n", answer->status,
			status_text(answer->status));
	append_date(response, wall_ms);
	mse_buf_appendf(response, "Content-Type: %s\r\n"
			"Content-Length: %zu\r\n"
			"Connection: close\r\n"
			"Cache-Control: no-store\r\n"
			"X-Content-Type-Options: nosniff\r\n"
			"Referrer-Policy: no-referrer\r\n",
			answer->type, answer->body.len);
	if (answer->allow)
		mse_buf_append_str(response, "Allow: GET, HEAD\r\n");
	mse_buf_append_str(response, answer->page ?
		"Content-Security-Policy: default-src 'none'; "
		"style-src 'unsafe-inline'; base-uri 'none'; "
		"form-action 'none'; frame-ancestors 'none'\r\n\r\n" :
		"Content-Security-Policy: default-src 'none'; "
		"frame-ancestors 'none'\r\n\r\n");
	if (!head)
		mse_buf_append(response, answer->body.data, answer->body.len);
}
