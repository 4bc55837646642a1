/* exec/lane.h: every transition of a place, one by one; then two threads, a worker and a bus thread, at all
 * of them at once. */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <string.h>

#include "exec/lane.h"
#include "util/clock.h"

#define QUEUE_MAX 3

typedef struct World {
	Lane lane;
	LaneEntry a, b, c, d, e;
} World;

static void setup(World *world, gconstpointer data)
{
	lane_init(&world->lane);
	world->a = (LaneEntry){.id = 1, .member = "A", .since_usec = 11, .deadline_usec = 12};
	world->b = (LaneEntry){.id = 2, .member = "B"};
	world->c = (LaneEntry){.id = 3, .member = "C"};
	world->d = (LaneEntry){.id = 4, .member = "D"};
	world->e = (LaneEntry){.id = 5, .member = "E"};
}

static void teardown(World *world, gconstpointer data)
{
	lane_done(&world->lane);
}

static void assert_picture(Lane *lane, uint64_t current_id, const char *member, unsigned n_queued)
{
	LanePicture picture;

	lane_look(lane, &picture);
	g_assert_cmpint(picture.busy, ==, member != NULL);
	g_assert_cmpuint(picture.current_id, ==, current_id);
	g_assert_cmpstr(picture.member, ==, member);
	g_assert_cmpuint(picture.n_queued, ==, n_queued);
}

static void test_queue(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;
	LanePicture picture;

	assert_picture(lane, 0, NULL, 0);
	g_assert_cmpint(lane_submit(lane, &world->a, QUEUE_MAX), ==, 1);
	g_assert_cmpint(world->a.place, ==, LANE_RUNNING);
	lane_look(lane, &picture);
	g_assert_cmpuint(picture.since_usec, ==, 11);
	g_assert_cmpuint(picture.deadline_usec, ==, 12);
	g_assert_cmpint(lane_submit(lane, &world->b, QUEUE_MAX), ==, 0);
	g_assert_cmpint(lane_submit(lane, &world->c, QUEUE_MAX), ==, 0);
	g_assert_cmpint(lane_submit(lane, &world->d, QUEUE_MAX), ==, 0);
	g_assert_cmpint(world->d.place, ==, LANE_QUEUED);
	g_assert_cmpint(lane_submit(lane, &world->e, QUEUE_MAX), ==, -EBUSY);
	/* One that was refused is as new. */
	g_assert_cmpint(world->e.place, ==, LANE_NEW);
	assert_picture(lane, 1, "A", 3);

	g_assert_true(lane_next(lane, &world->a, true) == &world->b);
	g_assert_cmpint(world->a.place, ==, LANE_DONE);
	g_assert_cmpint(world->b.place, ==, LANE_RUNNING);
	g_assert_cmpint(lane_submit(lane, &world->e, QUEUE_MAX), ==, 0);
	g_assert_true(lane_next(lane, &world->b, true) == &world->c);
	g_assert_true(lane_next(lane, &world->c, false) == &world->d);
	g_assert_true(lane_next(lane, &world->d, true) == &world->e);
	g_assert_null(lane_next(lane, &world->e, true));
	assert_picture(lane, 0, NULL, 0);
}

static void test_nothing_may_wait(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	g_assert_cmpint(lane_submit(lane, &world->a, 0), ==, 1);
	g_assert_cmpint(lane_submit(lane, &world->b, 0), ==, -EBUSY);
	g_assert_null(lane_next(lane, &world->a, true));
	g_assert_cmpint(lane_submit(lane, &world->b, 0), ==, 1);
	g_assert_null(lane_next(lane, &world->b, true));
}

static void test_remove(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	lane_submit(lane, &world->c, QUEUE_MAX);
	lane_submit(lane, &world->d, QUEUE_MAX);
	/* The current one is not to be had, nor one that isn't there. */
	g_assert_null(lane_remove(lane, 1));
	g_assert_null(lane_remove(lane, 99));
	/* From the middle, the end, the head; and it can be appended to after each. */
	g_assert_true(lane_remove(lane, 3) == &world->c);
	g_assert_cmpint(world->c.place, ==, LANE_DONE);
	g_assert_true(lane_remove(lane, 4) == &world->d);
	g_assert_null(lane_remove(lane, 4));
	g_assert_cmpint(lane_submit(lane, &world->e, QUEUE_MAX), ==, 0);
	g_assert_true(lane_remove(lane, 2) == &world->b);
	assert_picture(lane, 1, "A", 1);
	g_assert_true(lane_next(lane, &world->a, true) == &world->e);
	g_assert_null(lane_next(lane, &world->e, true));
}

static void test_remove_last_then_append(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	g_assert_true(lane_remove(lane, 2) == &world->b);
	lane_submit(lane, &world->c, QUEUE_MAX);
	g_assert_true(lane_next(lane, &world->a, true) == &world->c);
	g_assert_null(lane_next(lane, &world->c, true));
}

/* ---- deadlines ---- */
static LaneExpiry expire(Lane *lane, uint64_t id, LaneEntry *removed, LaneEntry *next)
{
	LaneEntry *got_removed = (LaneEntry *)1, *got_next = (LaneEntry *)1;
	LaneExpiry expiry = lane_expire(lane, id, &got_removed, &got_next);

	g_assert_true(got_removed == removed);
	g_assert_true(got_next == next);
	return expiry;
}

static void test_expire_queued(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	lane_submit(lane, &world->c, QUEUE_MAX);
	g_assert_cmpint(expire(lane, 2, &world->b, NULL), ==, LANE_EXPIRY_QUEUED);
	g_assert_cmpint(world->b.place, ==, LANE_DONE);
	g_assert_cmpint(expire(lane, 2, NULL, NULL), ==, LANE_EXPIRY_NONE);
	g_assert_true(lane_next(lane, &world->a, true) == &world->c);
	g_assert_null(lane_next(lane, &world->c, true));
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_NONE);
}

static void test_expire_running(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_KEPT);
	g_assert_cmpint(world->a.place, ==, LANE_RUNNING);
	g_assert_null(lane_next(lane, &world->a, true));
}

static void test_expire_blocked(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	lane_block(lane, &world->a);
	g_assert_cmpint(world->a.place, ==, LANE_BLOCKED);
	g_assert_cmpint(expire(lane, 1, NULL, &world->b), ==, LANE_EXPIRY_LOST);
	g_assert_cmpint(world->a.place, ==, LANE_LOST);
	g_assert_cmpint(world->b.place, ==, LANE_RUNNING);
	assert_picture(lane, 2, "B", 0);
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_NONE);
	/* It comes back, and takes nobody's place. */
	g_assert_false(lane_unblock(lane, &world->a));
	lane_submit(lane, &world->c, QUEUE_MAX);
	g_assert_null(lane_next(lane, &world->a, true));
	assert_picture(lane, 2, "B", 1);
	g_assert_true(lane_next(lane, &world->b, true) == &world->c);
	g_assert_null(lane_next(lane, &world->c, true));
}

static void test_expire_blocked_alone(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_block(lane, &world->a);
	g_assert_false(lane_want(lane, 1));
	/* Internal work needs a slot, and who expires has none: it is left. */
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_LOST);
	assert_picture(lane, 0, NULL, 0);
	g_assert_true(lane_has_wanted(lane));
	g_assert_cmpint(lane_submit(lane, &world->b, QUEUE_MAX), ==, 1);
	g_assert_false(lane_unblock(lane, &world->a));
	g_assert_null(lane_next(lane, &world->a, true));
	g_assert_true(lane_next(lane, &world->b, true) == &lane->internal);
	g_assert_cmpuint(lane_taken(lane), ==, 1);
	g_assert_null(lane_next(lane, &lane->internal, true));
}

static void test_expire_committed(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	g_assert_true(lane_commit(lane, &world->a));
	g_assert_cmpint(world->a.place, ==, LANE_COMMITTED);
	/* A system call of a commit section does not put the place at stake. */
	lane_block(lane, &world->a);
	g_assert_cmpint(world->a.place, ==, LANE_COMMITTED);
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_KEPT);
	g_assert_true(lane_unblock(lane, &world->a));
	g_assert_cmpint(world->a.place, ==, LANE_COMMITTED);
	g_assert_null(lane_next(lane, &world->a, true));
}

static void test_unblock_in_time(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_block(lane, &world->a);
	g_assert_true(lane_unblock(lane, &world->a));
	g_assert_cmpint(world->a.place, ==, LANE_RUNNING);
	g_assert_cmpint(expire(lane, 1, NULL, NULL), ==, LANE_EXPIRY_KEPT);
	g_assert_null(lane_next(lane, &world->a, true));
}

/* ---- cancelling ---- */
static void test_cancel(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;
	uint64_t id = 77;

	g_assert_cmpint(lane_cancel(lane, 0, &id), ==, -ENOENT);
	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	/* A number that is queued, or was never given, is not current. */
	g_assert_cmpint(lane_cancel(lane, 2, &id), ==, -ENOENT);
	g_assert_cmpint(lane_cancel(lane, 99, &id), ==, -ENOENT);
	g_assert_cmpuint(id, ==, 77);
	g_assert_false(atomic_load(&world->a.cancelled));
	g_assert_cmpint(lane_cancel(lane, 1, &id), ==, 0);
	g_assert_cmpuint(id, ==, 1);
	g_assert_true(atomic_load(&world->a.cancelled));
	g_assert_false(atomic_load(&world->b.cancelled));
	g_assert_false(lane_commit(lane, &world->a));
	g_assert_cmpint(world->a.place, ==, LANE_RUNNING);
	lane_next(lane, &world->a, true);

	/* 0: whoever is current. */
	lane_block(lane, &world->b);
	g_assert_cmpint(lane_cancel(lane, 0, &id), ==, 0);
	g_assert_cmpuint(id, ==, 2);
	g_assert_true(lane_unblock(lane, &world->b));
	g_assert_true(atomic_load(&world->b.cancelled));
	g_assert_null(lane_next(lane, &world->b, true));
}

static void test_cancel_too_late(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;
	uint64_t id = 77;

	lane_submit(lane, &world->a, QUEUE_MAX);
	g_assert_true(lane_commit(lane, &world->a));
	g_assert_cmpint(lane_cancel(lane, 1, &id), ==, -EALREADY);
	g_assert_cmpint(lane_cancel(lane, 0, &id), ==, -EALREADY);
	g_assert_cmpuint(id, ==, 77);
	g_assert_false(atomic_load(&world->a.cancelled));
	/* A second commit is none. */
	g_assert_true(lane_commit(lane, &world->a));
	g_assert_null(lane_next(lane, &world->a, true));
}

static void test_cancel_internal(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;
	uint64_t id = 77;

	g_assert_true(lane_want(lane, 1));
	g_assert_true(lane_begin_wanted(lane));
	g_assert_cmpint(lane_cancel(lane, 0, &id), ==, -ENOENT);
	assert_picture(lane, 0, "internal", 0);
	g_assert_null(lane_next(lane, &lane->internal, true));
}

/* ---- internal work ---- */
static void test_wanted(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	g_assert_false(lane_begin_wanted(lane));
	g_assert_false(lane_has_wanted(lane));
	g_assert_true(lane_want(lane, 1));
	g_assert_true(lane_want(lane, 4));
	g_assert_true(lane_has_wanted(lane));
	g_assert_true(lane_begin_wanted(lane));
	g_assert_false(lane_begin_wanted(lane));
	g_assert_false(lane_has_wanted(lane));
	g_assert_cmpuint(lane_taken(lane), ==, 5);
	/* What is wanted meanwhile is for the next one. */
	g_assert_false(lane_want(lane, 2));
	g_assert_cmpint(lane_submit(lane, &world->a, QUEUE_MAX), ==, 0);
	g_assert_true(lane_next(lane, &lane->internal, true) == &lane->internal);
	g_assert_cmpuint(lane_taken(lane), ==, 2);
	g_assert_true(lane_next(lane, &lane->internal, true) == &world->a);
	g_assert_null(lane_next(lane, &world->a, true));
}

static void test_wanted_first(World *world, gconstpointer data)
{
	Lane *lane = &world->lane;

	lane_submit(lane, &world->a, QUEUE_MAX);
	lane_submit(lane, &world->b, QUEUE_MAX);
	lane_submit(lane, &world->c, QUEUE_MAX);
	g_assert_false(lane_want(lane, 1));
	/* Not allowed: the queue goes on, the bits stay. */
	g_assert_true(lane_next(lane, &world->a, false) == &world->b);
	g_assert_true(lane_next(lane, &world->b, true) == &lane->internal);
	g_assert_cmpuint(lane_taken(lane), ==, 1);
	g_assert_true(lane_next(lane, &lane->internal, true) == &world->c);
	g_assert_false(lane_want(lane, 1));
	g_assert_null(lane_next(lane, &world->c, false));
	g_assert_true(lane_has_wanted(lane));
	g_assert_true(lane_begin_wanted(lane));
	g_assert_cmpuint(lane_taken(lane), ==, 1);
	g_assert_null(lane_next(lane, &lane->internal, true));
}

static void test_done_asserts_empty(void)
{
	if (g_test_subprocess()) {
		World world;

		setup(&world, NULL);
		lane_submit(&world.lane, &world.a, QUEUE_MAX);
		teardown(&world, NULL);
		return;
	}
	g_test_trap_subprocess(NULL, 30 * USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
}

/* ---- races ---- */
#define ENTRIES 3000

typedef struct Race {
	Lane lane;
	LaneEntry entries[ENTRIES];
	atomic_uint n_runs[ENTRIES]; /* how often a worker got it */
	atomic_uint n_touching;      /* workers that hold the place: never two */
	atomic_uint n_returned;      /* runs that ended, in whatever way */
	unsigned fate[ENTRIES];      /* the bus thread's: what became of it */
	atomic_uint n_bits;          /* that internal runs carried out */
	atomic_uint n_workers;       /* threads that run */
	atomic_bool done;
	uint32_t seed;
} Race;

enum { FATE_RUNS = 1, FATE_BUSY, FATE_REMOVED, FATE_LOST };

static Race *race;

static void touch(void)
{
	g_assert_cmpuint(atomic_fetch_add(&race->n_touching, 1), ==, 0);
	g_assert_cmpuint(atomic_fetch_sub(&race->n_touching, 1), ==, 1);
}

static void run_entry(LaneEntry *entry, GRand *rand)
{
	Lane *lane = &race->lane;

	atomic_fetch_add(&race->n_runs[entry->id - 1], 1);
	touch();
	for (unsigned i = g_rand_int_range(rand, 0, 4); i > 0; i--) {
		lane_block(lane, entry);
		if (g_rand_boolean(rand))
			sched_yield();
		if (!lane_unblock(lane, entry))
			return;
		touch();
	}
	if (g_rand_boolean(rand) && lane_commit(lane, entry)) {
		lane_block(lane, entry);
		touch();
		g_assert_true(lane_unblock(lane, entry));
		g_assert_false(atomic_load(&entry->cancelled));
		touch();
	}
}

static void run_lane(void *data)
{
	LaneEntry *entry = data;
	GRand *rand = g_rand_new_with_seed(race->seed + (uint32_t)entry->id);

	while (entry) {
		LaneEntry *done = entry;

		if (entry == &race->lane.internal) {
			touch();
			for (unsigned bits = lane_taken(&race->lane); bits != 0; bits &= bits - 1)
				atomic_fetch_add(&race->n_bits, 1);
			touch();
		} else {
			run_entry(entry, rand);
		}
		entry = lane_next(&race->lane, done, g_rand_boolean(rand));
		if (done != &race->lane.internal)
			atomic_fetch_add(&race->n_returned, 1);
	}
	g_rand_free(rand);
	atomic_fetch_sub(&race->n_workers, 1);
}

static void start_worker(LaneEntry *entry)
{
	atomic_fetch_add(&race->n_workers, 1);
	g_assert_cmpint(thread_start("lane", &role_worker, run_lane, entry), ==, 0);
}

/* The event thread of this test: wants internal work all the time. */
static void want(void *data)
{
	unsigned *n_wanted = data;

	while (!atomic_load(&race->done)) {
		(*n_wanted)++;
		if (lane_want(&race->lane, 1U << (*n_wanted % 2)) && lane_begin_wanted(&race->lane))
			start_worker(&race->lane.internal);
		sched_yield();
	}
}

static void expire_or_remove(uint64_t id, bool remove)
{
	LaneEntry *removed = NULL, *next = NULL;

	if (remove) {
		if (lane_remove(&race->lane, id))
			race->fate[id - 1] = FATE_REMOVED;
		return;
	}
	switch (lane_expire(&race->lane, id, &removed, &next)) {
	case LANE_EXPIRY_NONE:
	case LANE_EXPIRY_KEPT:
		return;
	case LANE_EXPIRY_QUEUED:
		g_assert_cmpuint(removed->id, ==, id);
		race->fate[id - 1] = FATE_REMOVED;
		return;
	case LANE_EXPIRY_LOST:
		race->fate[id - 1] = FATE_LOST;
		if (next)
			start_worker(next);
		return;
	}
}

static void bus_step(GRand *rand, unsigned i)
{
	LanePicture picture;
	uint64_t id;

	lane_look(&race->lane, &picture);
	g_assert_cmpuint(picture.n_queued, <=, QUEUE_MAX);
	/* One of the last few. */
	id = i + 1 - (unsigned)g_rand_int_range(rand, 0, (gint32)MIN(i, 4) + 1);
	switch (g_rand_int_range(rand, 0, 4)) {
	case 0:
		lane_cancel(&race->lane, g_rand_boolean(rand) ? 0 : id, &id);
		break;
	case 1:
		expire_or_remove(id, false);
		break;
	case 2:
		expire_or_remove(id, true);
		break;
	default:
		break;
	}
}

static void submit(unsigned i)
{
	LaneEntry *entry = &race->entries[i];

	*entry = (LaneEntry){.id = i + 1, .member = "X"};
	switch (lane_submit(&race->lane, entry, QUEUE_MAX)) {
	case 1:
		race->fate[i] = FATE_RUNS;
		start_worker(entry);
		break;
	case 0:
		race->fate[i] = FATE_RUNS;
		break;
	default:
		race->fate[i] = FATE_BUSY;
		break;
	}
}

/* Each entry ran exactly once, or not at all if it was taken back or refused. */
static void check_fates(void)
{
	unsigned n_expected = 0;

	for (unsigned i = 0; i < ENTRIES; i++) {
		bool runs = race->fate[i] == FATE_RUNS || race->fate[i] == FATE_LOST;

		g_assert_cmpuint(atomic_load(&race->n_runs[i]), ==, runs ? 1 : 0);
		n_expected += runs;
	}
	g_assert_cmpuint(atomic_load(&race->n_returned), ==, n_expected);
}

static void test_race(void)
{
	uint32_t seed = (uint32_t)g_test_rand_int();
	GRand *rand = g_rand_new_with_seed(seed);
	uint64_t deadline_usec = clock_monotonic_usec() + 120 * USEC_PER_SEC;
	unsigned n_wanted = 0;
	pthread_t wanting;

	race = g_new0(Race, 1);
	race->seed = seed;
	lane_init(&race->lane);
	g_assert_cmpint(thread_start_joinable(&wanting, "wanting", &role_event, want, &n_wanted), ==, 0);
	for (unsigned i = 0; i < ENTRIES; i++) {
		LanePicture picture;

		submit(i);
		for (unsigned n = 0; n < 3; n++)
			bus_step(rand, i);
		/* Mostly with room in the queue. */
		do
			lane_look(&race->lane, &picture);
		while (i % 16 != 0 && picture.n_queued >= QUEUE_MAX && sched_yield() == 0);
	}
	atomic_store(&race->done, true);
	thread_join(wanting);
	while (atomic_load(&race->n_workers) > 0) {
		g_assert_cmpuint(clock_monotonic_usec(), <, deadline_usec);
		sched_yield();
	}
	check_fates();
	/* What was wanted while it was not allowed is still wanted, and the lane is at rest. */
	while (lane_has_wanted(&race->lane)) {
		g_assert_true(lane_begin_wanted(&race->lane));
		start_worker(&race->lane.internal);
		while (atomic_load(&race->n_workers) > 0)
			sched_yield();
	}
	g_assert_cmpuint(atomic_load(&race->n_bits), >, 0);
	g_assert_cmpuint(atomic_load(&race->n_bits), <=, n_wanted);
	lane_done(&race->lane);
	g_free(race);
	g_rand_free(rand);
}

#define ADD(name, func) g_test_add("/lane/" name, World, NULL, setup, func, teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("queue", test_queue);
	ADD("nothing-may-wait", test_nothing_may_wait);
	ADD("remove", test_remove);
	ADD("remove-last-then-append", test_remove_last_then_append);
	ADD("expire-queued", test_expire_queued);
	ADD("expire-running", test_expire_running);
	ADD("expire-blocked", test_expire_blocked);
	ADD("expire-blocked-alone", test_expire_blocked_alone);
	ADD("expire-committed", test_expire_committed);
	ADD("unblock-in-time", test_unblock_in_time);
	ADD("cancel", test_cancel);
	ADD("cancel-too-late", test_cancel_too_late);
	ADD("cancel-internal", test_cancel_internal);
	ADD("wanted", test_wanted);
	ADD("wanted-first", test_wanted_first);
	g_test_add_func("/lane/done-asserts-empty", test_done_asserts_empty);
	g_test_add_func("/lane/race", test_race);
	return g_test_run();
}
