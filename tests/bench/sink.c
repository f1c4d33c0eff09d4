/*
 * The fastest receiver that still answers for what it got: HTTP/1.1 on
 * loopback, one thread, epoll, keep-alive. What a request's path says is what
 * it does:
 *
 *   /ok…          204
 *   /fail…        500
 *   /hang…        never answered
 *   /tenth…       500 for one owner in ten (partitionkey "…N@…", N % 10 == 0)
 *   /stats?PATH   what came on this path, as JSON
 *   /reset?PATH   forgets it
 *   /mode?PATH=X  PATH behaves like X from now on
 *
 * An event that carries "tags":"@NANOSECONDS" (CLOCK_MONOTONIC, from feed)
 * is timed: commit to arrival. Batches are counted event by event, and which
 * numbers ("sequence") came.
 *
 * Usage: sink [PORT]; prints the port when it listens.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATHS 64
#define TIMES (2 * 1024 * 1024)
#define NUMBERS (16 * 1024 * 1024)
#define BUFFER_MAX (64 * 1024 * 1024)

struct path {
	char name[64];
	char mode[64];
	uint64_t requests, events, octets, answered;
	int64_t first_ns, last_ns;
	uint32_t *times_us;
	size_t time_count;
	unsigned char *numbers; /* a bit each; never reset */
	uint64_t distinct, highest;
};

struct client {
	int fd;
	char *data;
	size_t len, size;
};

static struct path paths[PATHS];
static int epoll_fd;

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct path *find_path(const char *name, size_t len)
{
	struct path *path;

	if (len >= sizeof(path->name))
		len = sizeof(path->name) - 1;
	for (path = paths; path < paths + PATHS && path->name[0] != '\0';
	     path++) {
		if (strlen(path->name) == len &&
		    memcmp(path->name, name, len) == 0)
			return path;
	}
	if (path == paths + PATHS)
		return NULL;
	memcpy(path->name, name, len);
	memcpy(path->mode, path->name, sizeof(path->mode));
	return path;
}

static void take_time(struct path *path, const char *body, size_t len,
		      int64_t now)
{
	const char *p = body, *end = body + len;
	int64_t then;

	while ((p = memmem(p, (size_t)(end - p), "\"tags\":\"@", 9)) != NULL) {
		p += 9;
		then = strtoll(p, NULL, 10);
		if (path->times_us == NULL)
			path->times_us = malloc(TIMES * sizeof(uint32_t));
		if (path->times_us != NULL && path->time_count < TIMES)
			path->times_us[path->time_count++] =
				(uint32_t)((now - then) / 1000);
	}
}

/* Which numbers came, of one stream: none missing is distinct == highest. */
static void take_numbers(struct path *path, const char *body, size_t len)
{
	const char *p = body, *end = body + len;
	uint64_t number;

	while ((p = memmem(p, (size_t)(end - p), "\"sequence\":\"", 12)) !=
	       NULL) {
		p += 12;
		number = strtoull(p, NULL, 10);
		if (number >= NUMBERS)
			continue;
		if (path->numbers == NULL)
			path->numbers = calloc(NUMBERS / 8, 1);
		if (path->numbers == NULL)
			return;
		if ((path->numbers[number / 8] & (1 << number % 8)) == 0)
			path->distinct++;
		path->numbers[number / 8] |= (unsigned char)(1 << number % 8);
		if (number > path->highest)
			path->highest = number;
	}
}

/* A batch is an array: one event a "specversion". */
static uint64_t count_events(const char *body, size_t len)
{
	const char *p = body, *end = body + len;
	uint64_t count = 0;

	if (len == 0 || *body != '[')
		return 1;
	while ((p = memmem(p, (size_t)(end - p), "\"specversion\"", 13)) !=
	       NULL) {
		p += 13;
		count++;
	}
	return count;
}

static bool is_tenth(const char *body, size_t len)
{
	const char *p = memmem(body, len, "\"partitionkey\":\"", 16);
	const char *end = body + len;

	if (p == NULL)
		return false;
	for (p += 16; p < end && *p != '"' && *p != '@' && *p != '%'; p++)
		;
	return p[-1] == '0';
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct path *path, double part)
{
	size_t at = (size_t)((double)path->time_count * part);

	if (path->time_count == 0)
		return 0;
	return path->times_us[at < path->time_count ? at :
		path->time_count - 1];
}

static void write_all(int fd, const char *data, size_t len)
{
	ssize_t ret;

	while (len > 0) {
		ret = send(fd, data, len, MSG_NOSIGNAL);
		if (ret < 0 && errno == EAGAIN)
			continue;
		if (ret < 0)
			return;
		data += ret;
		len -= (size_t)ret;
	}
}

static void say(int fd, const char *text)
{
	char head[256];
	int len = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n"
			   "Content-Length: %zu\r\n\r\n", strlen(text));

	write_all(fd, head, (size_t)len);
	write_all(fd, text, strlen(text));
}

static void say_stats(int fd, struct path *path)
{
	char text[2048];

	if (path->time_count > 1)
		qsort(path->times_us, path->time_count, sizeof(uint32_t),
		      compare);
	snprintf(text, sizeof(text),
		 "{\"requests\":%" PRIu64 ",\"events\":%" PRIu64
		 ",\"octets\":%" PRIu64 ",\"answered\":%" PRIu64
		 ",\"first_ns\":%" PRId64 ",\"last_ns\":%" PRId64
		 ",\"distinct\":%" PRIu64 ",\"highest\":%" PRIu64
		 ",\"timed\":%zu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
		 path->requests, path->events, path->octets, path->answered,
		 path->first_ns, path->last_ns, path->distinct,
		 path->highest, path->time_count,
		 percentile(path, 0.5), percentile(path, 0.99),
		 percentile(path, 1));
	say(fd, text);
}

static void reset(struct path *path)
{
	path->requests = path->events = path->octets = path->answered = 0;
	path->first_ns = path->last_ns = 0;
	path->time_count = 0;
}

/* True if it was one of the commands. */
static bool command(int fd, const char *target, size_t len)
{
	const char *query = memchr(target, '?', len), *value;
	size_t query_len;
	struct path *path;

	if (query == NULL)
		return false;
	query++;
	query_len = len - (size_t)(query - target);
	value = memchr(query, '=', query_len);
	path = find_path(query, value == NULL ? query_len :
			 (size_t)(value - query));
	if (path == NULL)
		return false;
	if (strncmp(target, "/stats?", 7) == 0) {
		say_stats(fd, path);
		return true;
	}
	if (strncmp(target, "/reset?", 7) == 0) {
		reset(path);
	} else if (strncmp(target, "/mode?", 6) == 0 && value != NULL) {
		snprintf(path->mode, sizeof(path->mode), "%.*s",
			 (int)(query_len - (size_t)(value + 1 - query)),
			 value + 1);
	} else {
		return false;
	}
	say(fd, "{}\n");
	return true;
}

static void answer(int fd, const char *target, size_t target_len,
		   const char *body, size_t body_len)
{
	static const char good[] = "HTTP/1.1 204 No Content\r\n\r\n";
	static const char bad[] = "HTTP/1.1 500 Internal Server Error\r\n"
		"Content-Length: 0\r\n\r\n";
	struct path *path;
	int64_t now;

	if (command(fd, target, target_len))
		return;
	path = find_path(target, target_len);
	if (path == NULL)
		die("more paths than there is room for");
	now = now_ns();
	path->requests++;
	path->octets += body_len;
	if (strncmp(path->mode, "/hang", 5) == 0)
		return;
	if (strncmp(path->mode, "/fail", 5) == 0 ||
	    (strncmp(path->mode, "/tenth", 6) == 0 &&
	     is_tenth(body, body_len))) {
		write_all(fd, bad, sizeof(bad) - 1);
		return;
	}
	path->answered++;
	path->events += count_events(body, body_len);
	if (path->first_ns == 0)
		path->first_ns = now;
	path->last_ns = now;
	take_time(path, body, body_len, now);
	take_numbers(path, body, body_len);
	write_all(fd, good, sizeof(good) - 1);
}

/* Octets the first request in data takes, 0 if it is not whole. */
static size_t take_request(struct client *client)
{
	char *head_end = memmem(client->data, client->len, "\r\n\r\n", 4);
	const char *p, *target, *end;
	size_t head, body = 0;

	if (head_end == NULL)
		return 0;
	head = (size_t)(head_end - client->data) + 4;
	*head_end = '\0';
	p = strcasestr(client->data, "\ncontent-length:");
	if (p != NULL)
		body = (size_t)strtoull(p + 16, NULL, 10);
	*head_end = '\r';
	if (client->len < head + body)
		return 0;
	target = memchr(client->data, ' ', head);
	end = target == NULL ? NULL :
		memchr(target + 1, ' ', head - (size_t)(target - client->data));
	if (end == NULL)
		die("not HTTP");
	answer(client->fd, target + 1, (size_t)(end - target - 1),
	       client->data + head, body);
	return head + body;
}

static void forget(struct client *client)
{
	close(client->fd);
	free(client->data);
	free(client);
}

static void readable(struct client *client)
{
	ssize_t ret;
	size_t used;

	if (client->len + 1 >= client->size) {
		if (client->size >= BUFFER_MAX)
			die("a request is too large");
		client->size = client->size == 0 ? 65536 : client->size * 2;
		client->data = realloc(client->data, client->size);
		if (client->data == NULL)
			die("realloc");
	}
	ret = recv(client->fd, client->data + client->len,
		   client->size - client->len - 1, 0);
	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		forget(client);
		return;
	}
	client->len += (size_t)ret;
	while (client->len > 0 && (used = take_request(client)) > 0) {
		memmove(client->data, client->data + used,
			client->len - used);
		client->len -= used;
	}
}

static void accept_one(int listen_fd)
{
	struct client *client = calloc(1, sizeof(*client));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = client };
	int one = 1;

	if (client == NULL)
		die("calloc");
	client->fd = accept4(listen_fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client->fd < 0) {
		free(client);
		return;
	}
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &ev) < 0)
		die("epoll_ctl");
}

static int listen_on(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, len) < 0 ||
	    listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char *argv[])
{
	struct epoll_event events[64], ev = { .events = EPOLLIN };
	int listen_fd = listen_on(argc > 1 ? atoi(argv[1]) : 0), count, i;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev) < 0)
		die("epoll_ctl");
	for (;;) {
		count = epoll_wait(epoll_fd, events, 64, -1);
		for (i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				accept_one(listen_fd);
			else
				readable(events[i].data.ptr);
		}
	}
}
