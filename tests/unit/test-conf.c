/* mailhook.conf: what is taken, and the exact sentence for what is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/conf-values.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define URL "url = \"https://h.example/\"\n"
#define KEY "secret = \"" SECRET "\"\n"
#define WITH(text) "endpoint a {\n" URL KEY text "}\n"

#define BATCH "format = \"cloudevents-batch\"\n"

static char dir[] = "/tmp/mse-test-conf-XXXXXX";
static char conf_path[64], secret_path[64];

static int setup(void **state)
{
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(conf_path, sizeof(conf_path), "%s/c", dir);
	snprintf(secret_path, sizeof(secret_path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(conf_path);
	unlink(secret_path);
	return rmdir(dir);
}

static void put(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static struct mse_conf *read_good(const char *text)
{
	struct mse_conf *conf = NULL;
	struct mse_error error;

	put(conf_path, text, 0600);
	if (mse_conf_read(conf_path, &conf, &error) < 0)
		fail_msg("%s", error.text);
	return conf;
}

static void test_defaults(void **state)
{
	struct mse_conf *conf = read_good(WITH(""));
	const struct mse_conf_endpoint *a = mse_conf_find(conf, "a");

	assert_non_null(a);
	assert_null(mse_conf_find(conf, "b"));
	assert_non_null(conf->server_name);
	assert_int_equal(conf->retention_ms, 86400000);
	assert_int_equal(conf->journal_limit, 1 << 30);
	assert_false(conf->flag_events_full);
	assert_null(conf->expire_services[0]);
	assert_string_equal(conf->metrics, "127.0.0.1:9423");
	assert_int_equal(conf->lag_warning_ms, 900000);
	assert_string_equal(a->url, "https://h.example/");
	assert_int_equal(a->secret_count, 1);
	assert_int_equal(a->secrets[0].key_len, 24);
	assert_int_equal(a->format, MSE_FORMAT_CLOUDEVENTS);
	assert_int_equal(a->order, MSE_ORDER_OWNER);
	assert_int_equal(a->subscription.types, MSE_EVENT_TYPES_ALL);
	assert_int_equal(strlen(a->filters), 64);
	assert_int_equal(a->concurrency, 8);
	assert_int_equal(a->rate, 0);
	assert_int_equal(a->timeout_ms, 15000);
	assert_int_equal(a->connect_timeout_ms, 5000);
	assert_int_equal(a->retry_first_ms, 5000);
	assert_int_equal(a->retry_max_ms, 3600000);
	assert_int_equal(a->give_up_ms, 3 * 86400000);
	assert_null(a->transport.ca_file);
	assert_null(a->tags);
	assert_int_equal(a->subscription.optionals, 0);
	mse_conf_free(&conf);
	assert_null(conf);
	mse_conf_free(&conf);
}

static void test_formats(void **state)
{
	static const struct {
		const char *word;
		enum mse_conf_format format;
	} rows[] = {
		{ "cloudevents", MSE_FORMAT_CLOUDEVENTS },
		{ "\"cloudevents-binary\"", MSE_FORMAT_CLOUDEVENTS_BINARY },
		{ "\"cloudevents-batch\"", MSE_FORMAT_CLOUDEVENTS_BATCH },
		{ "standard", MSE_FORMAT_STANDARD },
		{ "cyrus", MSE_FORMAT_CYRUS },
	};
	struct mse_conf *conf;
	char text[512];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), WITH("format = %s\n"),
			 rows[i].word);
		conf = read_good(text);
		assert_int_equal(conf->endpoints[0].format, rows[i].format);
		mse_conf_free(&conf);
	}
}

static void test_batch_keys(void **state)
{
	struct mse_conf *conf = read_good(WITH(BATCH "batch_events = 7\n"
		"batch_bytes = 2K\nlinger = 0ms\n"));

	assert_int_equal(conf->endpoints[0].batch_events, 7);
	assert_int_equal(conf->endpoints[0].batch_bytes, 2048);
	assert_int_equal(conf->endpoints[0].linger_ms, 0);
	mse_conf_free(&conf);
	conf = read_good(WITH(BATCH "compress = true\n"));
	assert_true(conf->endpoints[0].compress);
	assert_int_equal(conf->endpoints[0].batch_events, 100);
	assert_int_equal(conf->endpoints[0].batch_bytes, 1048576);
	assert_int_equal(conf->endpoints[0].linger_ms, 200);
	mse_conf_free(&conf);
}

static void test_everything(void **state)
{
	struct mse_conf *conf = read_good(
		"server_name = mail.example.com\nretention = \"2h\"\n"
		"journal_limit = 256M\nflag_events = full\n"
		"expire_services = {doveadm, \"lmtp\"}\n"
		"metrics = \"[::1]:80\"\nlag_warning = 90s\n"
		"endpoint a-b.c_1 {\n"
		"url = 'http://[::1]:8080/x?y=1'\n"
		"secret = {\"" SECRET "\",\n\"" SECRET "\"}\n"
		"order = none\nevents = {message, \"!MessageExpire\"}\n"
		"users = {\"*@x\"}\nmailboxes = \"INBOX\"\n"
		"concurrency = 1\nrate = 20\ntimeout = 200ms\n"
		"connect_timeout = 1s\nretry_first = 1s\nretry_max = 2m\n"
		"give_up = 1d\ndeny_networks = {\"10.0.0.0/8\"}\n"
		"allow_networks = {\"::1\", \"192.0.2.0/24\"}\n"
		"headers = {\"X-Key: a b\"}\n"
		"proxy = \"http://user:pass@proxy:3128\"\n"
		"parameters = {unseen, messageContent}\n"
		"content_part = headersbody\ncontent_limit = 64K\n"
		"tags = {one, \"zw\xc3\xb6lf\"}\n}\n"
		"endpoint z {\n" URL KEY "parameters = messageContent\n}\n");
	const struct mse_conf_endpoint *a = mse_conf_find(conf, "a-b.c_1");
	const struct mse_conf_endpoint *z;
	struct mse_event_route route = {
		.type = MSE_EVENT_MESSAGE_NEW, .owner = "u@x",
		.mailbox = "inbox"
	};

	assert_non_null(a);
	assert_int_equal(conf->endpoint_count, 2);
	assert_string_equal(conf->server_name, "mail.example.com");
	assert_int_equal(conf->retention_ms, 7200000);
	assert_int_equal(conf->journal_limit, 256 << 20);
	assert_true(conf->flag_events_full);
	assert_string_equal(conf->metrics, "[::1]:80");
	assert_int_equal(conf->lag_warning_ms, 90000);
	assert_string_equal(conf->expire_services[0], "doveadm");
	assert_string_equal(conf->expire_services[1], "lmtp");
	assert_null(conf->expire_services[2]);
	assert_int_equal(a->secret_count, 2);
	assert_int_equal(a->order, MSE_ORDER_NONE);
	assert_int_equal(a->rate, 20);
	assert_int_equal(a->timeout_ms, 200);
	assert_int_equal(a->retry_max_ms, 120000);
	assert_int_equal(a->subscription.optionals,
			 MSE_OPTIONAL_BIT(MSE_OPTIONAL_UNSEEN) |
			 MSE_OPTIONAL_BIT(MSE_OPTIONAL_MESSAGE_CONTENT));
	assert_int_equal(a->subscription.content_part,
			 MSE_CONTENT_HEADERSBODY);
	assert_int_equal(a->subscription.content_limit, 65536);
	assert_string_equal(a->tags, "one,zw\xc3\xb6lf");
	z = mse_conf_find(conf, "z");
	assert_int_equal(z->subscription.content_part, MSE_CONTENT_MESSAGE);
	assert_int_equal(z->subscription.content_limit, 2048);
	assert_int_equal(a->transport.deny_count, 1);
	assert_int_equal(a->transport.allow_count, 2);
	assert_int_equal(a->transport.header_count, 1);
	assert_string_equal(a->transport.headers[0], "X-Key: a b");
	assert_string_equal(a->transport.proxy, "http://user:pass@proxy:3128");
	assert_true(mse_subscription_matches(&a->subscription, &route));
	route.type = MSE_EVENT_MESSAGE_EXPIRE;
	assert_false(mse_subscription_matches(&a->subscription, &route));
	route.type = MSE_EVENT_MESSAGE_NEW;
	route.owner = "u@y";
	assert_false(mse_subscription_matches(&a->subscription, &route));
	mse_conf_free(&conf);
}

static void test_empty(void **state)
{
	static const char *const texts[] = { "", "\n", "# nothing\n" };
	struct mse_conf *conf;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		conf = read_good(texts[i]);
		assert_int_equal(conf->endpoint_count, 0);
		mse_conf_free(&conf);
	}
}

static void test_sample(void **state)
{
	const char *top = getenv("srcdir");
	struct mse_conf *conf = NULL;
	struct mse_error error;
	char path[4096];

	snprintf(path, sizeof(path), "%s/conf.d/mailhook.conf",
		 top == NULL ? "." : top);
	if (mse_conf_read(path, &conf, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(conf->endpoint_count, 0);
	mse_conf_free(&conf);
}

static void expect_sentence(const char *text, const char *sentence)
{
	struct mse_conf *conf = NULL;
	struct mse_error error;
	char expected[MSE_ERROR_SIZE * 2];

	put(conf_path, text, 0600);
	snprintf(expected, sizeof(expected), "%s:%s", conf_path, sentence);
	assert_int_equal(mse_conf_read(conf_path, &conf, &error), -1);
	assert_null(conf);
	assert_string_equal(error.text, expected);
	assert_null(strstr(error.text, "whsec_Mf"));
}

static const char *const bad[][2] = {
	{ "nonsense = 1\n",
	  "1: nonsense is no key; write one of server_name retention "
	  "journal_limit flag_events expire_services metrics lag_warning, or "
	  "endpoint NAME { … }" },
	{ "\nmetrics = \"localhost:9423\"\n",
	  "2: metrics is no address and port; write \"127.0.0.1:9423\" or, "
	  "for IPv6, \"[::1]:9423\", or \"\" for none" },
	{ "timeout = 1s\n",
	  "1: timeout belongs to an endpoint; write it inside endpoint NAME "
	  "{ … }" },
	{ WITH("retention = 1d\n"),
	  "4: retention is no endpoint's own; write it outside endpoint NAME "
	  "{ … }" },
	{ WITH("tags = {x, \"a,b\"}\n"),
	  "4: tags has something that is no tag; write words of UTF-8 text "
	  "without commas, such as {\"portal\", \"billing\"}" },
	{ WITH("tags = {\"\"}\n"),
	  "4: tags has something that is no tag; write words of UTF-8 text "
	  "without commas, such as {\"portal\", \"billing\"}" },
	{ WITH("parameters = {envelope,\n\"uidnext\"}\n"),
	  "5: parameters has \"uidnext\", which cannot be asked for; write "
	  "some of envelope, bodyStructure, messageContent, headers, unseen "
	  "(all others come with every event)" },
	{ WITH("content_limit = 1M\n"),
	  "4: content_limit says something about messageContent, which this "
	  "endpoint does not get; write \"messageContent\" into its "
	  "parameters, or remove the line" },
	{ WITH("parameters = {messageContent}\ncontent_part = header\n"),
	  "5: content_part is no part of a message; write \"message\", "
	  "\"headers\", \"body\" or \"headersbody\"" },
	{ WITH("parameters = {messageContent}\ncontent_limit = 2M\n"),
	  "5: content_limit is out of range; write a value from \"1\" to "
	  "\"1M\"" },
	{ WITH("parameters = {messageContent}\ncontent_limit = 0\n"),
	  "5: content_limit is out of range; write a value from \"1\" to "
	  "\"1M\"" },
	{ WITH("timout = 1s\n"),
	  "4: timout is no key of an endpoint; write one of url secret "
	  "secret_file format order events users mailboxes parameters "
	  "content_part content_limit tags batch_events batch_bytes linger "
	  "compress handshake concurrency rate timeout connect_timeout retry_first retry_max "
	  "give_up ca_file cert_file key_file bearer_file proxy headers "
	  "allow_networks deny_networks" },
	{ WITH("format = standard\nbatch_events = 10\n"),
	  "5: batch_events is about batches, which this format does not "
	  "make; write format = \"cloudevents-batch\", or remove the line" },
	{ WITH("linger = 1s\n"),
	  "4: linger is about batches, which this format does not make; "
	  "write format = \"cloudevents-batch\", or remove the line" },
	{ WITH("compress = yes\n"),
	  "4: compress is neither; write true or false" },
	{ WITH(BATCH "batch_events = 1001\n"),
	  "5: batch_events is not a number it can be; write a whole number "
	  "from 1 to 1000" },
	{ WITH(BATCH "batch_bytes = 5M\n"),
	  "5: batch_bytes is out of range; write a value from \"1K\" to "
	  "\"4M\"" },
	{ WITH(BATCH "linger = 61s\n"),
	  "5: linger is out of range; write a value from \"0ms\" to "
	  "\"1m\"" },
	{ "endpoint a {\n" URL "secret = \"" SECRET "\" \"" SECRET "\"\n}\n",
	  "3: here stands something that is no key; write KEY = \"value\", or "
	  "put commas between the values of a list" },
	{ "endpoint a {\n" URL "secret = {\"" SECRET "\" \"" SECRET "\"}\n}\n",
	  "3: a value is missing or a comma; write KEY = \"value\" or KEY = "
	  "{\"one\", \"two\"}" },
	{ WITH("rate 3\n"),
	  "4: rate has no \"=\" behind it; write rate = \"…\"" },
	{ WITH("timeout = 1s\ntimeout = 2s\n"),
	  "5: timeout was given in line 4 already; write it once" },
	{ WITH("users = {a, b}\nusers = {c}\n"),
	  "5: users was given in line 4 already; write it once" },
	{ WITH("users = {a}\nusers = {}\n"),
	  "4: users is emptied further down; write it once" },
	{ "endpoint a {\n" URL KEY "}\nendpoint a {\n" URL KEY "}\n",
	  "5: endpoint \"a\" is there twice; write another name or put both "
	  "together" },
	{ "endpoint {\n}\n",
	  "1: an endpoint needs a name and braces; write endpoint NAME "
	  "{ … }" },
	{ "endpoint a {\n" URL KEY,
	  "4: the file ends inside endpoint \"a\"; write the missing \"}\"" },
	{ "endpoint a {\n" URL "secret = \"" SECRET "\n}\n",
	  "6: the file ends in the middle; write the missing quote or \"}\"" },
	{ "}\n", "1: a \"}\" closes nothing; remove it" },
	{ "endpoint a {\n" KEY "}\n",
	  "3: endpoint \"a\" ends here without a url; write url = "
	  "\"https://…\" in it" },
	{ "endpoint a {\n" URL "}\n",
	  "3: endpoint \"a\" ends here without a secret; write secret = "
	  "\"whsec_…\" or secret_file = \"/…\" in it" },
	{ "endpoint \"a b\" {\n" URL KEY "}\n",
	  "4: the endpoint that ends here has a name that cannot be used; "
	  "write 1 to 64 letters, digits, \"_\", \".\" or \"-\", such as "
	  "endpoint portal { … }" },
	{ "endpoint a {\nurl = \"ftp://x/\"\n" KEY "}\n",
	  "2: url is not a web address; write one that begins with "
	  "\"https://\" (or \"http://\")" },
	{ "endpoint a {\nurl = \"http://me:pw@x/\"\n" KEY "}\n",
	  "2: url has a user name or password in it; write it without "
	  "(requests are signed with the secret)" },
	{ "endpoint a {\nurl = \"https://x y/\"\n" KEY "}\n",
	  "2: url has a blank or a character outside ASCII in it; write it "
	  "percent-encoded (%20 for a blank)" },
	{ "endpoint a {\nurl = \"https://x/#f\"\n" KEY "}\n",
	  "2: url has a fragment (#…), which is never sent; write it "
	  "without" },
	{ "endpoint a {\nurl = \"https://x:99999/\"\n" KEY "}\n",
	  "2: url has no valid host; write it like "
	  "\"https://host.example.com/path\" or with a port, "
	  "\"https://host.example.com:8443/path\"" },
	{ "endpoint a {\n" URL "secret = \"whsec_MfKQ\"\n}\n",
	  "3: secret has 3 octets behind \"whsec_\" where 24 to 64 belong; "
	  "write one as printed by: mailhookctl secret" },
	{ WITH("secret_file = \"rel\"\n"),
	  "4: secret_file is not a full path; write one that begins with "
	  "\"/\"" },
	{ WITH("format = xml\n"),
	  "4: format is not a format; write \"cloudevents\", "
	  "\"cloudevents-binary\", \"cloudevents-batch\", \"standard\" or "
	  "\"cyrus\"" },
	{ WITH("order = any\n"),
	  "4: order is not an order; write \"owner\" or \"none\"" },
	{ WITH("events = {message,\nMesageNew}\n"),
	  "5: events has \"MesageNew\", which is no event; write RFC 5423's "
	  "names, such as \"MessageNew\", or groups: message, flags, quota, "
	  "access, mailbox, subscription" },
	{ WITH("events = {\"vnd.mailhook.Gap\"}\n"),
	  "4: events names an event of mailhook's own, which every endpoint "
	  "gets; leave it out" },
	{ WITH("events = {\"vnd.mailhook.fact.quota\"}\n"),
	  "4: events has \"vnd.mailhook.fact.quota\", a note between the plugin "
	  "and the daemon that no endpoint gets; leave it out" },
	{ WITH("events = {quota, \"!quota\"}\n"),
	  "4: events excludes everything it names; leave something over, or "
	  "remove the endpoint" },
	{ WITH("users = {\"!\"}\n"),
	  "4: users has an empty pattern; write a name, or a pattern such as "
	  "\"*@example.com\"" },
	{ WITH("concurrency = 0\n"),
	  "4: concurrency is not a number it can be; write a whole number "
	  "from 1 to 1000" },
	{ WITH("rate = -1\n"),
	  "4: rate is not a number it can be; write a whole number from 0 to "
	  "1000000" },
	{ WITH("timeout = 15\n"),
	  "4: timeout is not a duration; write a whole number and a unit (ms, "
	  "s, m, h or d), such as \"15s\" or \"3d\"" },
	{ WITH("timeout = 2h\n"),
	  "4: timeout is out of range; write a value from \"10ms\" to "
	  "\"1h\"" },
	{ WITH("retry_first = 2h\n"),
	  "4: retry_first is longer than retry_max; write a retry_max that is "
	  "at least as long" },
	{ WITH("ca_file = \"/no/such\"\n"),
	  "4: ca_file \"/no/such\" cannot be read (No such file or "
	  "directory); write the path of a file that the daemon may read" },
	{ WITH("ca_file = \"/dev/null\"\n"),
	  "4: ca_file \"/dev/null\" has no certificate in it; write the path "
	  "of a PEM file (-----BEGIN CERTIFICATE-----)" },
	{ WITH("key_file = \"/dev/null\"\n"),
	  "4: key_file is the key of no certificate; write cert_file = the "
	  "path of its certificate too" },
	{ WITH("bearer_file = \"token\"\n"),
	  "4: bearer_file is not a full path; write one that begins with "
	  "\"/\"" },
	{ WITH("headers = {\"X-Key\"}\n"),
	  "4: headers has something that is no header; write \"Name: "
	  "value\"" },
	{ WITH("headers = {\"X-A: b\",\n\"Webhook-Id: 1\"}\n"),
	  "5: headers has a header that is mailhook's own (Webhook-Id); "
	  "remove it" },
	{ WITH("headers = {\"content-TYPE: x\"}\n"),
	  "4: headers has a header that is mailhook's own (content-TYPE); "
	  "remove it" },
	{ WITH("headers = {\"X-A: one\\ntwo: 3\"}\n"),
	  "4: headers has a control character in the value of X-A; write it "
	  "in one line" },
	{ WITH("headers = {\"X-A:  \"}\n"),
	  "4: headers has no value for X-A; write \"X-A: value\"" },
	{ WITH("proxy = \"proxy:3128\"\n"),
	  "4: proxy is no proxy; write \"http://proxy.example.com:3128\" (or "
	  "https, socks5, socks5h), or \"\" for none" },
	{ WITH("proxy = \"http://user:secret@proxy:3128/path\"\n"),
	  "4: proxy is no proxy; write \"http://proxy.example.com:3128\" (or "
	  "https, socks5, socks5h), or \"\" for none" },
	{ WITH("deny_networks = {\"10.0.0.0/8\", \"inside\"}\n"),
	  "4: deny_networks has something that is no network; write addresses "
	  "or networks, such as \"10.0.0.0/8\" or \"fd00::/8\"" },
	{ WITH("allow_networks = \"10.1.0.0/8\"\n"),
	  "4: allow_networks has an address that is not the first of its "
	  "network; write it with zeros behind the prefix, such as "
	  "\"10.0.0.0/8\"" },
	{ "journal_limit = 100M\n",
	  "1: journal_limit is out of range; write a value from \"128M\" to "
	  "\"1024T\"" },
	{ "journal_limit = lots\n",
	  "1: journal_limit is not a size; write a whole number and a unit "
	  "(K, M, G or T), such as \"1G\"" },
	{ "flag_events = some\n",
	  "1: flag_events is neither; write \"simple\" or \"full\"" },
	{ "expire_services = {\"a b\"}\n",
	  "1: expire_services has something that is no service; write names "
	  "such as \"doveadm\"" },
	{ "server_name = \"a/b\"\n",
	  "1: server_name is not a host name; write the name mail clients "
	  "use, such as \"mail.example.com\"" },
};

static void test_bad(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		print_message("row %zu\n", i);
		expect_sentence(bad[i][0], bad[i][1]);
	}
}

static void test_unreadable(void **state)
{
	struct mse_conf *conf = NULL;
	struct mse_error error;

	assert_int_equal(mse_conf_read("/no/such", &conf, &error), -1);
	assert_non_null(strstr(error.text, "/no/such"));
	/* A directory must not end the process inside the scanner. */
	assert_int_equal(mse_conf_read("/tmp", &conf, &error), -1);
	assert_null(conf);
}

static void test_secret_files(void **state)
{
	char text[512], sentence[512];
	struct mse_conf *conf;

	snprintf(text, sizeof(text), "endpoint a {\n" URL
		 "secret_file = \"%s\"\n}\n", secret_path);
	put(secret_path, "# new, old\n" SECRET "\n\n  " SECRET "\r\n", 0600);
	conf = read_good(text);
	assert_int_equal(conf->endpoints[0].secret_count, 2);
	mse_conf_free(&conf);

	put(secret_path, SECRET "\n", 0640);
	snprintf(sentence, sizeof(sentence), "3: secret_file \"%s\" can be "
		 "read by its group or by others; run: chmod 600 %s",
		 secret_path, secret_path);
	expect_sentence(text, sentence);
	put(secret_path, "\n", 0600);
	snprintf(sentence, sizeof(sentence), "3: secret_file \"%s\" is empty; "
		 "write one secret a line into it", secret_path);
	expect_sentence(text, sentence);
	put(secret_path, "whsec_Mfoops\n", 0600);
	snprintf(sentence, sizeof(sentence), "3: secret_file \"%s\" has a "
		 "line that is not base64 behind \"whsec_\"; write one as "
		 "printed by: mailhookctl secret",
		 secret_path);
	expect_sentence(text, sentence);
}

static void test_filters(void **state)
{
	static const char *const same[] = {
		WITH("events = {message}\n"),
		WITH("rate = 3\nevents = {MessageNew, MessageAppend,\n"
		     "MessageExpunge, MessageExpire}\n")
	};
	static const char *const other[] = {
		WITH(""), WITH("events = {message}\norder = none\n"),
		WITH("events = {message}\nusers = {a}\n"),
		WITH("events = {message}\nmailboxes = {a}\n")
	};
	struct mse_conf *conf = read_good(same[0]);
	char digest[65];
	size_t i;

	memcpy(digest, conf->endpoints[0].filters, sizeof(digest));
	mse_conf_free(&conf);
	conf = read_good(same[1]);
	assert_string_equal(digest, conf->endpoints[0].filters);
	mse_conf_free(&conf);
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		conf = read_good(other[i]);
		assert_string_not_equal(digest, conf->endpoints[0].filters);
		mse_conf_free(&conf);
	}
}

static void test_metrics(void **state)
{
	static const char *const good[] = {
		"0.0.0.0:1", "[::]:65535", "10.1.2.3:9423",
		"[2001:db8::1]:9423"
	};
	static const char *const wrong[] = {
		":9423", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
		"127.0.0.1:65536", "127.0.0.1:1x", "::1:9423", "[::1]",
		"[127.0.0.1]:1", "[::1:9423", "1.2.3:1", "[fe80::1%lo]:1",
		"*:9423"
	};
	struct mse_conf *conf = read_good("metrics = \"\"\n");
	struct mse_error error;
	size_t i;

	assert_null(conf->metrics);
	mse_conf_free(&conf);
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(mse_conf_check_listen(good[i], &error), 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(mse_conf_check_listen(wrong[i], &error), -1);
}

static void test_only_exclusions(void **state)
{
	static const char *const items[] = { "!flags", "!Login" };
	mse_event_types_t types;
	struct mse_error error;
	size_t at;

	assert_int_equal(mse_conf_parse_events(items, 2, &types, &at, &error),
			 0);
	assert_int_equal(types, MSE_EVENT_TYPES_ALL &
			 ~mse_event_group_types("flags") &
			 ~MSE_EVENT_BIT(MSE_EVENT_LOGIN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_batch_keys),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_only_exclusions),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
