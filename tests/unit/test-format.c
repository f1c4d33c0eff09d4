/* Bodies octet by octet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "format/body.h"

#define ID "0193a1b2-c3d4-7000-8000-0123456789ab"
#define TIME "2026-11-24T04:30:35.123+01:00"
#define HEAD "{\"specversion\":\"1.0\",\"id\":\"" ID "\"," \
	"\"source\":\"imap://mail.example/#b1.example\",\"type\":"
#define TAIL ",\"time\":\"" TIME "\"," \
	"\"datacontenttype\":\"application/json\",\"stream\":\"st\"," \
	"\"sequence\":\"00000000000000000042\",\"data\":"

static const struct {
	const char *record, *body;
} bodies[] = {
	{ "{\"id\":\"" ID "\",\"type\":\"MessageNew\",\"time\":\"" TIME "\","
	  "\"user\":\"a@b\",\"owner\":\"o@b\",\"mailbox\":\"In box/x\","
	  "\"data\":{ \"uri\" : \"\\u00e4\" }}",
	  HEAD "\"org.ietf.rfc5423.MessageNew\",\"partitionkey\":\"o%40b\","
	  "\"subject\":\"o%40b/In%20box/x\"" TAIL
	  "{ \"uri\" : \"\\u00e4\" }}" },
	{ "{\"id\":\"" ID "\",\"type\":\"Login\",\"time\":\"" TIME "\","
	  "\"user\":\"a\",\"data\":{}}",
	  HEAD "\"org.ietf.rfc5423.Login\",\"partitionkey\":\"a\","
	  "\"subject\":\"a\"" TAIL "{}}" },
	{ "{\"id\":\"" ID "\",\"type\":\"vnd.mailhook.Gap\",\"time\":\"" TIME
	  "\",\"data\":{}}",
	  HEAD "\"vnd.mailhook.Gap\"" TAIL "{}}" },
};

static void test_bodies(void **state)
{
	static const struct mse_conf_endpoint endpoint = {
		.format = MSE_FORMAT_CLOUDEVENTS
	};
	static const struct mse_body_context context = {
		.server_name = "mail.example", .server_fqdn = "b1.example",
		.stream = "st", .sequence = 42
	};
	struct mse_record record;
	struct mse_error error;
	struct mse_buf body;
	size_t i;

	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		print_message("row %zu\n", i);
		if (mse_record_parse(bodies[i].record,
				     strlen(bodies[i].record), &record,
				     &error) < 0)
			fail_msg("%s", error.text);
		mse_buf_init(&body, 4096);
		assert_int_equal(mse_body_write(&endpoint, &context, &record,
						&body), 0);
		assert_string_equal(mse_buf_str(&body), bodies[i].body);
		mse_buf_clear(&body);
		mse_buf_init(&body, 100);
		assert_int_equal(mse_body_write(&endpoint, &context, &record,
						&body), -1);
		mse_buf_clear(&body);
		mse_record_clear(&record);
	}
	assert_string_equal(mse_body_content_type(MSE_FORMAT_CLOUDEVENTS),
			    "application/cloudevents+json");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
