/*
 * One connection's worth of a mail operation after the other, timed by the
 * client that waits for each answer.
 *
 *   load OPERATION ADDRESS USER COUNT [SET]
 *
 *   lmtp      deliver 4 KB to USER
 *   append    APPEND 4 KB to INBOX
 *   store     STORE 1:SET of one flag in INBOX, set and cleared in turn
 *   expunge   EXPUNGE of SET messages; that they are copied to Work and
 *             marked is not timed
 *   login     connect, log in, log out, until the server closes
 *
 * ADDRESS is a port on loopback. A twentieth of COUNT comes first and is not
 * counted. Prints one line: operations a second of timed time, and the 50th
 * and 99th percentile in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_SIZE 4096
#define INPUT_SIZE 65536

static struct {
	int fd;
	size_t start, end;
	char input[INPUT_SIZE];
} peer;

static int port, set = 1;
static const char *user;
static char message[MESSAGE_SIZE + 256];
static size_t message_len;

static void die(const char *what)
{
	fprintf(stderr, "load: %s\n", what);
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void make_message(void)
{
	int len = snprintf(message, sizeof(message),
		"From: Sender <sender@example.org>\r\n"
		"To: Receiver <receiver@example.org>\r\n"
		"Subject: a message of four kilobytes\r\n"
		"Message-ID: <1@bench.example.org>\r\n"
		"Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n\r\n");

	message_len = (size_t)len;
	while (message_len < MESSAGE_SIZE) {
		memset(message + message_len, 'a' + (int)(message_len % 26),
		       70);
		memcpy(message + message_len + 70, "\r\n", 2);
		message_len += 72;
	}
}

static void dial(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1;

	peer.start = peer.end = 0;
	peer.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (peer.fd < 0 || connect(peer.fd, (struct sockaddr *)&address,
				   sizeof(address)) < 0)
		die("cannot connect");
	(void)setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void say_bytes(const char *data, size_t len)
{
	ssize_t sent;

	for (; len > 0; data += sent, len -= (size_t)sent) {
		sent = send(peer.fd, data, len, MSG_NOSIGNAL);
		if (sent <= 0)
			die("the server does not listen");
	}
}

__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
	char text[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say_bytes(text, (size_t)len);
}

/* NULL when the server has closed. */
static const char *hear(void)
{
	char *line, *newline;
	ssize_t got;

	for (;;) {
		line = peer.input + peer.start;
		newline = memchr(line, '\n', peer.end - peer.start);
		if (newline != NULL) {
			*newline = '\0';
			peer.start = (size_t)(newline - peer.input) + 1;
			return line;
		}
		memmove(peer.input, line, peer.end - peer.start);
		peer.end -= peer.start;
		peer.start = 0;
		got = recv(peer.fd, peer.input + peer.end,
			   INPUT_SIZE - peer.end, 0);
		if (got <= 0)
			return NULL;
		peer.end += (size_t)got;
	}
}

static void hear_until(const char *begin)
{
	const char *line;

	do {
		line = hear();
		if (line == NULL)
			die("the server has closed");
		if (strncmp(line, "a NO", 4) == 0 ||
		    strncmp(line, "a BAD", 5) == 0 || line[0] == '4' ||
		    line[0] == '5')
			die(line);
	} while (strncmp(line, begin, strlen(begin)) != 0);
}

__attribute__((format(printf, 1, 2)))
static void command(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say("a %s\r\n", text);
	hear_until("a OK");
}

static void log_in(void)
{
	dial();
	hear_until("* OK");
	command("LOGIN %s pass", user);
}

static void log_out(void)
{
	say("a LOGOUT\r\n");
	while (hear() != NULL)
		;
	close(peer.fd);
}

/* Operations */

static void lmtp_begin(void)
{
	dial();
	hear_until("220 ");
	say("LHLO bench\r\n");
	hear_until("250 ");
}

static void lmtp_end(void)
{
	say("QUIT\r\n");
	while (hear() != NULL)
		;
	close(peer.fd);
}

static double lmtp(unsigned int n)
{
	double start = now_us();

	(void)n;
	say("MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n",
	    user);
	hear_until("354");
	say_bytes(message, message_len);
	say(".\r\n");
	hear_until("250");
	return now_us() - start;
}

static void select_inbox(void)
{
	log_in();
	command("SELECT INBOX");
}

static double append(unsigned int n)
{
	double start = now_us();

	(void)n;
	say("a APPEND INBOX {%zu+}\r\n", message_len);
	say_bytes(message, message_len);
	say("\r\n");
	hear_until("a OK");
	return now_us() - start;
}

static double store(unsigned int n)
{
	double start = now_us();

	command("STORE 1:%d %cFLAGS.SILENT (\\Flagged)", set,
		n % 2 == 0 ? '+' : '-');
	return now_us() - start;
}

static void work_begin(void)
{
	log_in();
	say("a DELETE Work\r\n");
	(void)hear();
	command("CREATE Work");
}

static double expunge(unsigned int n)
{
	double start;

	(void)n;
	command("SELECT INBOX");
	command("COPY 1:%d Work", set);
	command("SELECT Work");
	command("STORE 1:* +FLAGS.SILENT (\\Deleted)");
	start = now_us();
	command("EXPUNGE");
	return now_us() - start;
}

static void nothing(void)
{
}

static double login(unsigned int n)
{
	double start = now_us();

	(void)n;
	log_in();
	log_out();
	return now_us() - start;
}

static const struct operation {
	const char *name;
	void (*begin)(void);
	double (*once)(unsigned int n);
	void (*end)(void);
} operations[] = {
	{ "lmtp", lmtp_begin, lmtp, lmtp_end },
	{ "append", select_inbox, append, log_out },
	{ "store", select_inbox, store, log_out },
	{ "expunge", work_begin, expunge, log_out },
	{ "login", nothing, login, nothing },
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void run(const struct operation *operation, unsigned int count)
{
	double *took = calloc(count, sizeof(*took)), total = 0;
	unsigned int i, n = 0;

	if (took == NULL)
		die("memory is out");
	operation->begin();
	for (i = 0; i < count / 20; i++)
		(void)operation->once(n++);
	for (i = 0; i < count; i++) {
		took[i] = operation->once(n++);
		total += took[i];
	}
	operation->end();
	qsort(took, count, sizeof(*took), compare);
	printf("%.2f %.1f %.1f\n", count / total * 1e6, took[count / 2],
	       took[count - 1 - count / 100]);
	free(took);
}

int main(int argc, char *argv[])
{
	size_t i;

	if (argc < 5)
		die("load OPERATION PORT USER COUNT [SET]");
	port = atoi(argv[2]);
	user = argv[3];
	if (argc > 5)
		set = atoi(argv[5]);
	make_message();
	for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(operations[i].name, argv[1]) == 0) {
			run(&operations[i], (unsigned int)atoi(argv[4]));
			return 0;
		}
	}
	die("there is no such operation");
}
