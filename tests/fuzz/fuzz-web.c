/* A request to the metrics listener, and a network as mailhook.conf names
   one. */
#include "fuzz.h"

#include <string.h>

#include "conf/conf-network.h"
#include "daemon/metrics-text.h"
#include "daemon/web.h"

const char fuzz_name[] = "web";

static void check_head(char *head)
{
	struct mse_web_request request;
	struct mse_web_answer answer = { .type = "text/plain" };
	struct mse_buf response;

	answer.status = mse_web_parse(head, &request);
	FUZZ_CHECK(answer.status == 0 ||
		   (answer.status >= 400 && answer.status <= 505));
	FUZZ_CHECK(memchr(request.path, '\0', sizeof(request.path)) != NULL);
	FUZZ_CHECK(memchr(request.accept, '\0',
			  sizeof(request.accept)) != NULL);
	if (answer.status == 0)
		FUZZ_CHECK(request.path[0] == '/' &&
			   strpbrk(request.path, "?# \r\n") == NULL);
	(void)mse_metrics_wants_open(request.accept);
	mse_buf_init(&answer.body, 16);
	mse_buf_append_str(&answer.body, "x");
	mse_buf_init(&response, 4096);
	mse_web_write(&answer, request.head, 1700000000000, &response);
	FUZZ_CHECK(!mse_buf_failed(&response));
	FUZZ_CHECK(strstr(mse_buf_str(&response), "\r\n\r\n") != NULL);
	mse_buf_clear(&response);
	mse_buf_clear(&answer.body);
}

static void check_network(const char *text)
{
	struct mse_network network, address;
	struct mse_error error = { "" };

	if (mse_network_parse(text, &network, &error) < 0) {
		FUZZ_CHECK(error.text[0] != '\0');
		return;
	}
	FUZZ_CHECK(network.prefix <= 128);
	address = network;
	address.prefix = 128;
	/* A short IPv6 prefix in front of the IPv4 ones holds no IPv4. */
	(void)mse_networks_contain(&network, 1, &address);
	FUZZ_CHECK(!mse_networks_permit(NULL, 0, &network, 1, &network) ||
		   network.prefix < 96);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	size_t len;
	char *text;

	if (size > MSE_WEB_HEAD_MAX)
		return 0;
	text = fuzz_take_rest(&input, &len);
	check_network(text);
	check_head(text);
	free(text);
	return 0;
}
