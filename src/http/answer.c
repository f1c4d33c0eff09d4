/*
 * What libcurl's result means to deliver/: an outcome and one sentence.
 *
 * Invariant: once a final status line and its headers came the request is
 * answered, whatever became of the body (too long, broken off, too slow).
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t mse_http_retry_after(const char *value, int64_t now_s)
{
	unsigned long long seconds;
	time_t date;
	char *end;

	while (*value == ' ' || *value == '\t')
		value++;
	if (isdigit((unsigned char)*value)) {
		seconds = strtoull(value, &end, 10);
		while (isspace((unsigned char)*end))
			end++;
		if (*end == '\0')
			return seconds > INT32_MAX ? INT32_MAX :
				(int64_t)seconds;
	}
	date = curl_getdate(value, NULL);
	if (date == (time_t)-1)
		return -1;
	return (int64_t)date > now_s ? (int64_t)date - now_s : 0;
}

/* Whether the request got as far as being sent. */
static bool mse_http_was_connected(CURL *easy)
{
	curl_off_t connect_us = 0, pretransfer_us = 0;
	long request_size = 0;

	(void)curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connect_us);
	(void)curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T,
				&pretransfer_us);
	(void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_size);
	return connect_us > 0 || pretransfer_us > 0 || request_size > 0;
}

static enum mse_outcome mse_http_outcome(struct mse_http_transfer *transfer)
{
	switch (transfer->code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return MSE_OUTCOME_DNS;
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return MSE_OUTCOME_REFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return mse_http_was_connected(transfer->easy) ?
			MSE_OUTCOME_TIMEOUT : MSE_OUTCOME_CONNECT_TIMEOUT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
	case CURLE_USE_SSL_FAILED:
		return MSE_OUTCOME_TLS;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_URL_MALFORMAT:
	case CURLE_BAD_FUNCTION_ARGUMENT:
	case CURLE_FAILED_INIT:
	case CURLE_NOT_BUILT_IN:
		return MSE_OUTCOME_LOCAL;
	case CURLE_UNSUPPORTED_PROTOCOL:
		/* Also what an answer without a status line comes to. */
		return mse_http_was_connected(transfer->easy) ?
			MSE_OUTCOME_BROKEN : MSE_OUTCOME_LOCAL;
	default:
		return MSE_OUTCOME_BROKEN;
	}
}

void mse_http_answer_decide(struct mse_http_transfer *transfer)
{
	long status = 0;

	if (transfer->headers_done) {
		(void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE,
					&status);
		transfer->outcome = MSE_OUTCOME_ANSWERED;
		transfer->status = (int)status;
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "the receiver answered %ld", status);
		return;
	}
	transfer->outcome = mse_http_outcome(transfer);
	(void)snprintf(transfer->text, sizeof(transfer->text), "%.200s",
		       transfer->curl_text[0] != '\0' ? transfer->curl_text :
		       curl_easy_strerror(transfer->code));
	if (transfer->code == CURLE_OK) /* ended without any answer */
		transfer->outcome = MSE_OUTCOME_BROKEN;
}
