/*
 * order = "none": no lane holds anything back; and what bounds the lanes that
 * failures hold up.
 */
#include "test-deliver-common.h"

#include <string.h>

/* u1 is refused while `status` says so. */
static int refuse_u1(struct world *world, const struct sent *sent,
		     int64_t *retry_after_s)
{
	return strcmp(sent->owner, "u1") == 0 && !sent->gap ? world->status :
		200;
}

static bool is_third(const struct sent *sent)
{
	return sent->sequence % 10 == 3 && sent->sequence <= 200;
}

static int refuse_thirds(struct world *world, const struct sent *sent,
			 int64_t *retry_after_s)
{
	return is_third(sent) ? world->status : 200;
}

static int refuse_odd(struct world *world, const struct sent *sent,
		      int64_t *retry_after_s)
{
	return sent->sequence % 2 == 1 && !sent->gap ? world->status : 200;
}

static void no_order(struct world *world)
{
	world->endpoints[0].order = MSE_ORDER_NONE;
	world->answer = refuse_thirds;
	world->status = 500;
}

/* A failing event is alone: nothing waits behind it, of its owner either. */
static void test_order_none(void **state)
{
	struct world *world = *state;

	no_order(world);
	world->hold = true;
	append_many(world, 200, 2);
	settle(world);
	assert_int_equal(world->out_count, 8); /* of two owners */
	world->hold = false;
	pass(world, 1000);
	assert_int_equal(world->log_count, 180);
	assert_int_equal(world->attempts, 200);
	assert_int_equal(look(world)->parked, 20);
	assert_int_equal(look(world)->floor, 2);
	assert_string_equal(look(world)->state, "retrying");
	/* Each of them is tried on its own, and so after a restart. */
	pass(world, 7000);
	assert_true(world->attempts >= 220);
	crash(world, false);
	start(world);
	append(world, "u0", NULL);
	pass(world, 60000);
	assert_int_equal(world->log_count, 181);
	assert_int_equal(look(world)->parked, 20);
	world->status = 200;
	pass(world, 3600000);
	assert_int_equal(world->log_count, 201);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(look(world)->floor, 201);
	pass(world, DAY);
	assert_int_equal(world->log_count, 201);
}

/* What dies is announced one by one; the floor passes it then. */
static void test_order_none_gives_up(void **state)
{
	struct world *world = *state;
	unsigned int i, gaps = 0;

	no_order(world);
	world->endpoints[0].give_up_ms = 3600000;
	world->endpoints[0].retry_max_ms = 600000;
	append_many(world, 200, 2);
	/* It takes others all the time, or this would be an outage. */
	for (i = 0; i < 900; i++) {
		pass(world, 8000);
		append(world, "u1", NULL);
	}
	pass(world, DAY);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(look(world)->dead, 20);
	for (i = 0; i < world->log_count; i++) {
		if (!world->log[i].gap)
			continue;
		gaps++;
		assert_int_equal(world->log[i].from, world->log[i].to);
		assert_int_equal(world->log[i].from % 10, 3);
		assert_true(world->log[i].from < world->log[i].sequence);
	}
	assert_int_equal(gaps, 20);
	assert_int_equal(look(world)->floor, 200 + 900 + 20);
}

/* Turned on with events parked: those stay in their owner's order. */
static void test_order_none_later(void **state)
{
	struct world *world = *state;

	world->answer = refuse_u1;
	world->status = 500;
	append_many(world, 100, 10);
	pass(world, 1000);
	assert_int_equal(look(world)->parked, 10);
	world->endpoints[0].order = MSE_ORDER_NONE;
	strcpy(world->endpoints[0].filters, "other");
	crash(world, false);
	start(world);
	append(world, "u2", NULL);
	world->status = 200;
	pass(world, 3600000);
	assert_int_equal(look(world)->parked, 0);
	check_order(world, 101);
}

/* More failing owners than there is room for: then the cursor waits, and says
   so; nothing is lost. */
static void test_lanes_bound(void **state)
{
	struct world *world = *state;

	no_order(world);
	world->lanes_max = 72;
	crash(world, false);
	start(world);
	append_many(world, 900, 50);
	pass(world, 1000);
	assert_string_equal(look(world)->state, "retrying");
	world->answer = refuse_odd;
	append_many(world, 1000, 50);
	pass(world, 2000);
	assert_string_equal(look(world)->state, "waiting");
	assert_true(look(world)->parked <= 72);
	assert_true(look(world)->behind_octets > 0);
	world->status = 200;
	pass(world, 2 * 3600000);
	assert_int_equal(world->log_count, 1900);
	assert_int_equal(look(world)->parked, 0);
	assert_int_equal(look(world)->floor, 1900);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_order_none), T(test_order_none_gives_up),
		T(test_order_none_later), T(test_lanes_bound)
	};
#undef T

	int failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);

	threaded = true;
	return failed + cmocka_run_group_tests_name("threaded", tests, NULL,
						    NULL);
}
