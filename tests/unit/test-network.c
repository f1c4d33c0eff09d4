/* allow_networks and deny_networks: what is a network, and what is in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf-network.h"

static const char *const bad[] = {
	"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
	"10.0.0.0/08", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0/8", "10.0.0.1/8",
	"10.0.0.0/8/8", "::/129", "::1/64", "fe80::1%lo", "localhost",
	"010.0.0.0/8", "0x0a000000", "10.0.0.0/4294967304",
	"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd",
};

static const struct {
	const char *network, *address;
	bool inside;
} members[] = {
	{ "10.0.0.0/8", "10.255.255.255", true },
	{ "10.0.0.0/8", "11.0.0.0", false },
	{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
	{ "::ffff:10.0.0.0/104", "10.1.2.3", true },
	{ "10.0.0.0/8", "::10.1.2.3", false },
	{ "192.0.2.64/26", "192.0.2.127", true },
	{ "192.0.2.64/26", "192.0.2.128", false },
	{ "192.0.2.64/26", "192.0.2.63", false },
	{ "127.0.0.1", "127.0.0.1", true },
	{ "127.0.0.1", "127.0.0.2", false },
	{ "0.0.0.0/0", "203.0.113.9", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "203.0.113.9", false },
	{ "::/64", "::1", true },
	{ "::/64", "127.0.0.1", false },
	{ "::ffff:0.0.0.0/96", "203.0.113.9", true },
	{ "::/0", "2001:db8::1", true },
	{ "2001:db8::/33", "2001:db8:7fff::1", true },
	{ "2001:db8::/33", "2001:db8:8000::1", false },
	{ "fe80::/10", "febf::1", true },
	{ "fe80::/10", "fec0::1", false },
};

static void test_bad(void **state)
{
	struct mse_network network;
	struct mse_error error;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		print_message("row %zu\n", i);
		error.text[0] = '\0';
		assert_int_equal(mse_network_parse(bad[i], &network, &error),
				 -1);
		assert_true(error.text[0] != '\0');
	}
}

static void test_members(void **state)
{
	struct mse_network network, address;
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		print_message("row %zu\n", i);
		assert_int_equal(mse_network_parse(members[i].network,
						   &network, NULL), 0);
		assert_int_equal(mse_network_parse(members[i].address,
						   &address, NULL), 0);
		assert_int_equal(mse_networks_contain(&network, 1, &address),
				 members[i].inside);
	}
}

static void test_deny_wins(void **state)
{
	struct mse_network allow[2], deny, address;

	assert_int_equal(mse_network_parse("10.0.0.0/8", &allow[0], NULL), 0);
	assert_int_equal(mse_network_parse("fd00::/8", &allow[1], NULL), 0);
	assert_int_equal(mse_network_parse("10.9.0.0/16", &deny, NULL), 0);
	assert_int_equal(mse_network_parse("10.9.1.1", &address, NULL), 0);
	assert_false(mse_networks_permit(allow, 2, &deny, 1, &address));
	assert_true(mse_networks_permit(allow, 2, NULL, 0, &address));
	assert_true(mse_networks_permit(NULL, 0, NULL, 0, &address));
	assert_false(mse_networks_permit(NULL, 0, &deny, 1, &address));
	assert_int_equal(mse_network_parse("192.0.2.1", &address, NULL), 0);
	assert_false(mse_networks_permit(allow, 2, NULL, 0, &address));
	assert_false(mse_networks_permit(allow, 2, &deny, 1, &address));
	assert_true(mse_networks_permit(NULL, 0, &deny, 1, &address));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad), cmocka_unit_test(test_members),
		cmocka_unit_test(test_deny_wins)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
