/* Names: URLs, patterns, timestamps, ids, UTF-8 and JSON strings, each
   against what its rules say in another way. */
#include "fuzz.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "event/imap-url.h"
#include "event/json-scan.h"
#include "event/json-string.h"
#include "event/pattern.h"
#include "event/uuid.h"

const char fuzz_name[] = "names";

/* What percent-encoding hides; anything else must be a character that a URL
   may have there. */
static void check_decodes(const char *encoded, const char *name)
{
	unsigned int octet;

	for (; *encoded != '\0'; encoded++, name++) {
		if (*encoded == '%') {
			FUZZ_CHECK(sscanf(encoded, "%%%2X", &octet) == 1);
			FUZZ_CHECK((unsigned char)*name == octet);
			encoded += 2;
		} else {
			FUZZ_CHECK(*encoded == *name);
			FUZZ_CHECK(*encoded > 0x20 && *encoded < 0x7f);
			FUZZ_CHECK(strchr(";?#\"<>\\^`{|}", *encoded) == NULL);
		}
	}
	FUZZ_CHECK(*name == '\0');
}

static void check_url(const char *user, const char *mailbox)
{
	struct mse_imap_url url = { "mail.example.org", user, mailbox, 1, 2 };
	struct mse_buf buf;

	mse_buf_init(&buf, 1024 * 1024);
	mse_imap_url_encode_user(&buf, user);
	FUZZ_CHECK(strpbrk(mse_buf_str(&buf), "@/:") == NULL);
	check_decodes(mse_buf_str(&buf), user);
	mse_buf_reset(&buf);
	mse_imap_url_encode_mailbox(&buf, mailbox);
	check_decodes(mse_buf_str(&buf), mailbox);
	mse_buf_reset(&buf);
	mse_imap_url_append(&buf, &url);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(strncmp(buf.data, "imap://", 7) == 0);
	mse_buf_clear(&buf);
}

static bool naive_match(const char *pattern, const char *name)
{
	if (*pattern == '\0')
		return *name == '\0';
	/* Or it is slow even for so few. */
	while (pattern[0] == '*' && pattern[1] == '*')
		pattern++;
	if (*pattern == '*')
		return naive_match(pattern + 1, name) ||
			(*name != '\0' && naive_match(pattern, name + 1));
	if (*name == '\0')
		return false;
	if (*pattern == '?') {
		do
			name++;
		while (((unsigned char)*name & 0xc0) == 0x80);
		return naive_match(pattern + 1, name);
	}
	return *pattern == *name && naive_match(pattern + 1, name + 1);
}

static void check_pattern(const char *pattern, const char *name)
{
	const char *list[2] = { pattern, "!other" };
	struct mse_patterns *patterns;
	bool expected, matches;

	patterns = mse_patterns_new(list, 1, 0);
	FUZZ_CHECK(patterns != NULL);
	matches = mse_patterns_match(patterns, name);
	/* The naive one takes for ever with more. */
	if (strlen(pattern) < 16 && strlen(name) < 16) {
		expected = pattern[0] == '!' ? !naive_match(pattern + 1, name) :
			naive_match(pattern, name);
		FUZZ_CHECK(matches == expected);
	}
	mse_patterns_free(&patterns);

	patterns = mse_patterns_new(list, 2, MSE_PATTERNS_MAILBOX);
	FUZZ_CHECK(patterns != NULL);
	FUZZ_CHECK(!mse_patterns_match(patterns, "other"));
	FUZZ_CHECK(mse_patterns_match(patterns, "iNBOX") ==
		   mse_patterns_match(patterns, "INBOX"));
	(void)mse_patterns_match(patterns, name);
	mse_patterns_free(&patterns);
}

static void check_timestamp(const char *text)
{
	char again[MSE_TIMESTAMP_SIZE];
	int64_t ms, ms2;

	if (mse_timestamp_parse(text, &ms) < 0)
		return;
	mse_timestamp_format(ms, again);
	FUZZ_CHECK(mse_timestamp_parse(again, &ms2) == 0);
	/* The years 1 and 9999 are not whole. */
	FUZZ_CHECK(ms == ms2 || ms < -62135510400000 || ms > 253402214399999);
}

static void check_utf8(const char *data, size_t len)
{
	struct mse_buf buf, quoted;
	struct mse_json_scan scan;
	struct mse_slice value;
	char *decoded;

	mse_buf_init(&buf, 4 * len + 16);
	mse_utf8_append_scrubbed(&buf, data, len);
	FUZZ_CHECK(!mse_buf_failed(&buf));
	FUZZ_CHECK(mse_utf8_is_valid(mse_buf_str(&buf), buf.len));
	if (mse_utf8_is_valid(data, len))
		FUZZ_CHECK(buf.len == len &&
			   memcmp(mse_buf_str(&buf), data, len) == 0);

	mse_buf_init(&quoted, 8 * len + 16);
	mse_json_append_string(&quoted, data, len);
	FUZZ_CHECK(!mse_buf_failed(&quoted));
	scan = (struct mse_json_scan){ quoted.data, quoted.data + quoted.len,
				       0 };
	FUZZ_CHECK(mse_json_scan_value(&scan, &value) == 0);
	FUZZ_CHECK(scan.pos == scan.end && value.len == quoted.len);
	decoded = malloc(value.len - 1);
	FUZZ_CHECK(decoded != NULL);
	FUZZ_CHECK(mse_json_scan_decode(&value, decoded) ==
		   decoded + strlen(decoded) + 1);
	if (memchr(data, '\0', len) == NULL)
		FUZZ_CHECK(strcmp(decoded, mse_buf_str(&buf)) == 0);
	free(decoded);
	mse_buf_clear(&quoted);
	mse_buf_clear(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	char *one, *two, *rest;
	size_t len;

	if (size > 4096)
		return 0;
	check_utf8((const char *)data, size);
	one = fuzz_take_string(&input);
	two = fuzz_take_string(&input);
	rest = fuzz_take_rest(&input, &len);
	check_url(one, two);
	check_pattern(one, two);
	check_timestamp(one);
	if (mse_uuid_is_valid(one))
		FUZZ_CHECK(strlen(one) == MSE_UUID_SIZE - 1);
	free(one);
	free(two);
	free(rest);
	return 0;
}
