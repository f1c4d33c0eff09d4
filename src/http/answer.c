/*
 * What libcurl's result means to deliver/: an outcome and one sentence.
 *
 * Invariant: once a final status line and its headers came the request is
 * answered, whatever became of the body (too long, broken off, too slow).
 */
#include "mse-config.h"

#include "http/http-private.h"

#include <ctype.h>
#include <errno.h>
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

/* TLS 1.3 lets a receiver refuse our certificate only after the handshake. */
static bool mse_http_is_alert(const struct mse_http_transfer *transfer)
{
	return strstr(transfer->curl_text, "SSL") != NULL &&
		strstr(transfer->curl_text, "alert") != NULL;
}

/* CURLE_RECV_ERROR and the like: what the connection came to. */
static enum mse_outcome
mse_http_broken(const struct mse_http_transfer *transfer)
{
	if (mse_http_is_alert(transfer))
		return MSE_OUTCOME_TLS;
	/* Not CURLINFO_OS_ERRNO: it may be an earlier one. */
	if (strstr(transfer->curl_text, strerror(ECONNRESET)) != NULL ||
	    strstr(transfer->curl_text, strerror(EPIPE)) != NULL)
		return MSE_OUTCOME_RESET;
	return MSE_OUTCOME_BROKEN;
}

static bool mse_http_is_proxys(const struct mse_http_transfer *transfer)
{
	return transfer->request->proxy != NULL &&
		(transfer->code == CURLE_PROXY ||
		 strstr(transfer->curl_text, "proxy") != NULL ||
		 strstr(transfer->curl_text, "CONNECT") != NULL);
}

static enum mse_outcome mse_http_outcome(struct mse_http_transfer *transfer)
{
	if (transfer->denied[0] != '\0' &&
	    (transfer->code == CURLE_ABORTED_BY_CALLBACK || !transfer->tried))
		return MSE_OUTCOME_DENIED;
	switch (transfer->code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return MSE_OUTCOME_DNS;
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return MSE_OUTCOME_REFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		if (strstr(transfer->curl_text, "Resolving") != NULL)
			return MSE_OUTCOME_DNS;
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
	case CURLE_PROXY:
		return MSE_OUTCOME_PROXY;
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
		return mse_http_is_proxys(transfer) ? MSE_OUTCOME_PROXY :
			mse_http_broken(transfer);
	}
}

/* OpenSSL's X509_V_ERR_… numbers, as CURLINFO_SSL_VERIFYRESULT gives them. */
static const char *mse_http_tls_text(const struct mse_http_transfer *transfer)
{
	long verified = 0;

	if (transfer->code == CURLE_SSL_CERTPROBLEM)
		return "our client certificate cannot be used";
	if (transfer->code == CURLE_SSL_CACERT_BADFILE)
		return "the CA certificates (ca_file, else the system's: "
			"package ca-certificates) cannot be used";
	if (mse_http_is_alert(transfer))
		return "the receiver refused the TLS connection";
	if (transfer->code != CURLE_PEER_FAILED_VERIFICATION)
		return "TLS cannot be agreed on";
	/* The chain may be good all the same. */
	if (strstr(transfer->curl_text, "subject name") != NULL)
		return "the receiver's certificate is for another host";
	(void)curl_easy_getinfo(transfer->easy, CURLINFO_SSL_VERIFYRESULT,
				&verified);
	switch (verified) {
	case 9:
		return "the receiver's certificate is not valid yet";
	case 10:
		return "the receiver's certificate has expired";
	case 2:
	case 18:
	case 19:
	case 20:
	case 21:
		return "the receiver's certificate is from a CA that is not "
			"known here (see ca_file)";
	default:
		return "the receiver's certificate is not good";
	}
}

static const char *mse_http_timeout_text(CURL *easy)
{
	curl_off_t octets = 0;
	long header = 0;

	(void)curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &octets);
	(void)curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &header);
	return octets > 0 || header > 0 ?
		"the answer did not come to its end within timeout" :
		"no answer within timeout";
}

/* What happened, in our words; libcurl's own follow in brackets. */
static const char *mse_http_words(const struct mse_http_transfer *transfer)
{
	switch (transfer->outcome) {
	case MSE_OUTCOME_DNS:
		return "the host's name cannot be resolved";
	case MSE_OUTCOME_REFUSED:
		return "no connection: refused or unreachable";
	case MSE_OUTCOME_CONNECT_TIMEOUT:
		return "no connection within connect_timeout";
	case MSE_OUTCOME_PROXY:
		return "the proxy does not let the request through";
	case MSE_OUTCOME_TLS:
		return mse_http_tls_text(transfer);
	case MSE_OUTCOME_TIMEOUT:
		return mse_http_timeout_text(transfer->easy);
	case MSE_OUTCOME_RESET:
		return "the receiver reset the connection";
	case MSE_OUTCOME_BROKEN:
		if (transfer->headers_len > MSE_HTTP_HEADERS_MAX)
			return "the answer's headers are too long";
		if (transfer->code == CURLE_GOT_NOTHING)
			return "the receiver closed the connection without an "
				"answer";
		return transfer->code == CURLE_UNSUPPORTED_PROTOCOL ||
			transfer->code == CURLE_WEIRD_SERVER_REPLY ?
			"the answer is no HTTP" :
			"the connection broke before the answer was complete";
	case MSE_OUTCOME_LOCAL:
	default:
		return "the request could not be made";
	}
}

void mse_http_answer_decide(struct mse_http_transfer *transfer)
{
	const char *words;
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
	if (transfer->code == CURLE_OK) /* ended without any answer */
		transfer->outcome = MSE_OUTCOME_BROKEN;
	if (transfer->outcome == MSE_OUTCOME_DENIED) {
		(void)snprintf(transfer->text, sizeof(transfer->text),
			       "%s is not a permitted address "
			       "(allow_networks, deny_networks)",
			       transfer->denied);
		return;
	}
	words = mse_http_words(transfer);
	(void)snprintf(transfer->text, sizeof(transfer->text), "%s (%.160s)",
		       words, transfer->curl_text[0] != '\0' ?
		       transfer->curl_text :
		       curl_easy_strerror(transfer->code));
}
