/* The metrics listener's HTTP: which heads are taken, which are refused with
   what, and the answer octet by octet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/web.h"

#define END "\r\nHost: x\r\n\r\n"
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *head;
	int status;
	const char *path, *accept; /* NULL: none */
	bool is_head;
} heads[] = {
	{ "GET / HTTP/1.1" END, 0, "/", NULL, false },
	{ "GET / HTTP/1.0\n\n", 0, "/", NULL, false },
	{ "HEAD /metrics?x=1 HTTP/1.1" END, 0, "/metrics", NULL, true },
	{ "GET http://h:1/metrics HTTP/1.1" END, 0, "/metrics", NULL, false },
	{ "GET /m HTTP/1.1\r\naccept:  a/b \r\nX: y\r\nAccept: c/d\r\n\r\n",
	  0, "/m", "a/b , c/d", false },
	{ "GET /m HTTP/1.1\r\nAccept:\r\n\r\n", 0, "/m", "", false },
	{ "POST / HTTP/1.1" END, 405, "", NULL, false },
	{ "get / HTTP/1.1" END, 400, "", NULL, false },
	{ "DELETE /metrics HTTP/1.1" END, 405, "", NULL, false },
	{ "GET / HTTP/2.0" END, 505, "", NULL, false },
	{ "GET /" END, 400, "", NULL, false },
	{ "GET  / HTTP/1.1" END, 400, "", NULL, false },
	{ "GET / HTTP/1.1 x" END, 400, "", NULL, false },
	{ "GET /\r HTTP/1.1" END, 400, "", NULL, false },
	{ "GET metrics HTTP/1.1" END, 400, "", NULL, false },
	{ "GET http://h HTTP/1.1" END, 400, "", NULL, false },
	{ "GET /" A64 A64 A64 A64 " HTTP/1.1" END, 414, "", NULL, false },
	{ "GET / HTTP/1.1\r\nno field\r\n\r\n", 400, "/", NULL, false },
	{ "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, "/", NULL, false },
	{ "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400, "/", NULL,
	  false },
	{ "\r\n\r\n", 400, "", NULL, false },
	{ "", 400, "", NULL, false },
	{ "GET / HTTP/1.1\r\nHost: x\r\n", 400, "/", NULL, false },
	{ "\x16\x03\x01\x02\n\n", 400, "", NULL, false },
};

static void test_heads(void **state)
{
	struct mse_web_request request;
	char *head;
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		print_message("row %zu\n", i);
		/* In memory of its own, so that an overrun is seen. */
		head = strdup(heads[i].head);
		assert_non_null(head);
		assert_int_equal(mse_web_parse(head, &request),
				 heads[i].status);
		free(head);
		assert_string_equal(request.path, heads[i].path);
		assert_int_equal(request.head, heads[i].is_head);
		assert_int_equal(request.has_accept,
				 heads[i].accept != NULL);
		if (heads[i].accept != NULL)
			assert_string_equal(request.accept, heads[i].accept);
	}
}

static void test_long_accept(void **state)
{
	struct mse_web_request request;
	char head[4096] = "GET / HTTP/1.1\r\n";
	unsigned int i;

	for (i = 0; i < 20; i++)
		strcat(head, "Accept: " A64 "\r\n");
	strcat(head, "\r\n");
	assert_int_equal(mse_web_parse(head, &request), 0);
	assert_int_equal(strlen(request.accept), sizeof(request.accept) - 1);
}

static void test_answer(void **state)
{
	struct mse_web_answer answer = {
		.status = 405, .type = "text/plain", .allow = true
	};
	struct mse_buf response;

	mse_buf_init(&answer.body, 64);
	mse_buf_append_str(&answer.body, "no\n");
	mse_buf_init(&response, 4096);
	mse_web_write(&answer, false, INT64_C(784111777000), &response);
	assert_string_equal(mse_buf_str(&response),
		"HTTP/1.1 405 Method Not Allowed\r\n"
		"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
		"Content-Type: text/plain\r\nContent-Length: 3\r\n"
		"Connection: close\r\nCache-Control: no-store\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"Referrer-Policy: no-referrer\r\nAllow: GET, HEAD\r\n"
		"Content-Security-Policy: default-src 'none'; "
		"frame-ancestors 'none'\r\n\r\nno\n");
	/* HEAD: the same without the body. */
	mse_buf_reset(&response);
	answer.status = 200;
	answer.allow = false;
	answer.page = true;
	mse_web_write(&answer, true, 0, &response);
	assert_non_null(strstr(mse_buf_str(&response),
			       "Content-Length: 3\r\n"));
	assert_non_null(strstr(mse_buf_str(&response),
			       "style-src 'unsafe-inline'"));
	assert_null(strstr(mse_buf_str(&response), "Allow"));
	assert_string_equal(response.data + response.len - 4, "\r\n\r\n");
	mse_buf_clear(&response);
	mse_buf_clear(&answer.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_long_accept),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
