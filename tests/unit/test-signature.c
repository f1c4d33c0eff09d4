/* Standard Webhooks: secrets as they are written, signatures octet by octet.
   The v1 vector is the specification's example; the v1a vectors use the keys
   of RFC 8032 §7.1 and were made with another implementation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "conf/conf-values.h"
#include "format/signature.h"

#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define TIMESTAMP 1614265330
#define BODY "{\"test\": 2432232314}"

#define HMAC "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define HMAC_SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define ED25519 "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define ED25519_SIGNATURE "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIx" \
	"bzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
/* The same key with its public half behind it. */
#define ED25519_LONG "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DX" \
	"WpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
#define OTHER "whsk_TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="
#define OTHER_EMPTY "v1a,FVIsR04J9uc4pVX+31bR+TD6oeIvULv1OgTUy1ORnhW65QVe" \
	"ga0PJOvgc1Q7Kku6pKDdn5cRAtDWixjGqmK0Cg=="

static void parse(const char *text, struct mse_secret *secret_r)
{
	struct mse_error error;

	if (mse_conf_parse_secret(text, secret_r, &error) < 0)
		fail_msg("%s: %s", text, error.text);
}

static const struct {
	const char *secrets[3];
	const char *signatures;
} golden[] = {
	{ { HMAC }, HMAC_SIGNATURE },
	{ { HMAC, HMAC }, HMAC_SIGNATURE " " HMAC_SIGNATURE },
	{ { ED25519 }, ED25519_SIGNATURE },
	{ { ED25519_LONG }, ED25519_SIGNATURE },
	{ { HMAC, ED25519 }, HMAC_SIGNATURE " " ED25519_SIGNATURE },
	{ { ED25519, HMAC, ED25519 },
	  ED25519_SIGNATURE " " HMAC_SIGNATURE " " ED25519_SIGNATURE },
};

static void test_golden(void **state)
{
	struct mse_secret secrets[3];
	struct mse_buf value;
	size_t i, count;

	mse_buf_init(&value, 1024);
	for (i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		print_message("row %zu\n", i);
		for (count = 0; count < 3 &&
		     golden[i].secrets[count] != NULL; count++)
			parse(golden[i].secrets[count], &secrets[count]);
		mse_buf_reset(&value);
		assert_int_equal(mse_signature_write(
			secrets, count, ID, TIMESTAMP, BODY, strlen(BODY),
			&value), 0);
		assert_string_equal(mse_buf_str(&value),
				    golden[i].signatures);
	}
	mse_buf_clear(&value);
}

static void test_no_body(void **state)
{
	struct mse_secret secret;
	struct mse_buf value;

	parse(OTHER, &secret);
	mse_buf_init(&value, 1024);
	assert_int_equal(mse_signature_write(&secret, 1, "x", 1, "", 0,
					     &value), 0);
	assert_string_equal(mse_buf_str(&value), OTHER_EMPTY);
	mse_buf_clear(&value);
	/* No room: said, not overrun. */
	mse_buf_init(&value, 20);
	assert_int_equal(mse_signature_write(&secret, 1, "x", 1, "", 0,
					     &value), -1);
	mse_buf_clear(&value);
}

#define A43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define MAKE "write one as printed by: mailhookctl secret"

static const struct {
	const char *text, *sentence;
} bad[] = {
	{ "", "begins with neither \"whsec_\" nor \"whsk_\"; " MAKE },
	{ "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	  "begins with neither \"whsec_\" nor \"whsk_\"; " MAKE },
	{ "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	  "is the public key, which is for the receiver; write the \"whsk_\" "
	  "key that belongs to it" },
	{ "whsec_…", "is not base64 behind \"whsec_\"; " MAKE },
	{ "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
	  "is not base64 behind \"whsec_\"; " MAKE },
	{ "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-",
	  "is not base64 behind \"whsec_\"; " MAKE },
	{ "whsec_", "has 0 octets behind \"whsec_\" where 24 to 64 belong; "
	  MAKE },
	{ "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ",
	  "has 23 octets behind \"whsec_\" where 24 to 64 belong; " MAKE },
	{ "whsec_" A43 A43 "A=",
	  "has 65 octets behind \"whsec_\" where 24 to 64 belong; " MAKE },
	{ "whsk_!", "is not base64 behind \"whsk_\"; " MAKE " --ed25519" },
	{ "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	  "has 24 octets behind \"whsk_\" where an Ed25519 key has 32, or 64 "
	  "with its public key; " MAKE " --ed25519" },
	{ "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2AAWpgBgrEKt9VL/tPJ"
	  "ZAc6DuFy89qmIyWvAhpo9wdRGg==",
	  "is an Ed25519 key with another key's public half behind it; " MAKE
	  " --ed25519" },
};

static void test_bad_secrets(void **state)
{
	static const struct mse_secret nothing;
	struct mse_secret secret;
	struct mse_error error;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		print_message("row %zu\n", i);
		memset(&secret, 1, sizeof(secret));
		assert_int_equal(mse_conf_parse_secret(bad[i].text, &secret,
						       &error), -1);
		assert_string_equal(error.text, bad[i].sentence);
		/* Nothing of it stays behind. */
		assert_memory_equal(&secret, &nothing, sizeof(secret));
	}
}

static void test_lengths(void **state)
{
	struct mse_secret secret;

	parse(HMAC, &secret);
	assert_int_equal(secret.kind, MSE_SECRET_HMAC);
	assert_int_equal(secret.key_len, 24);
	parse("whsec_" A43 A43, &secret);
	assert_int_equal(secret.key_len, 64);
	parse(ED25519_LONG, &secret);
	assert_int_equal(secret.kind, MSE_SECRET_ED25519);
	assert_int_equal(secret.key_len, 32);
}

static void test_new_secrets(void **state)
{
	char one[MSE_SECRET_TEXT_SIZE], two[MSE_SECRET_TEXT_SIZE];
	char public_one[MSE_SECRET_TEXT_SIZE], public_two[MSE_SECRET_TEXT_SIZE];
	struct mse_secret secret;

	assert_int_equal(mse_conf_new_secret(MSE_SECRET_HMAC, one,
					     public_one), 0);
	assert_int_equal(mse_conf_new_secret(MSE_SECRET_HMAC, two,
					     public_two), 0);
	assert_string_not_equal(one, two);
	assert_string_equal(public_one, "");
	parse(one, &secret);
	assert_int_equal(secret.kind, MSE_SECRET_HMAC);
	assert_int_equal(secret.key_len, 32);

	assert_int_equal(mse_conf_new_secret(MSE_SECRET_ED25519, one,
					     public_one), 0);
	assert_int_equal(mse_conf_new_secret(MSE_SECRET_ED25519, two,
					     public_two), 0);
	assert_string_not_equal(one, two);
	assert_string_not_equal(public_one, public_two);
	assert_memory_equal(public_one, "whpk_", 5);
	parse(one, &secret);
	assert_int_equal(secret.kind, MSE_SECRET_ED25519);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_no_body),
		cmocka_unit_test(test_bad_secrets),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_new_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
