/* vm/claims.h: many may read, one may write; all or nothing; and many threads at once. */
#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <stdatomic.h>

#include "util/thread.h"
#include "vm/claims.h"

#define READ(inode)                                                                                          \
	{                                                                                                    \
		1, (inode), false                                                                            \
	}
#define WRITE(inode)                                                                                         \
	{                                                                                                    \
		1, (inode), true                                                                             \
	}

typedef struct World {
	Claims *claims;
	unsigned index;
	char *holder;
} World;

static void setup(World *world, gconstpointer data)
{
	world->claims = claims_new();
	world->index = 99;
}

static void teardown(World *world, gconstpointer data)
{
	claims_free(world->claims);
	g_free(world->holder);
}

static int take(World *world, uint64_t owner, const char *name, const Claim *wanted, unsigned n)
{
	g_clear_pointer(&world->holder, g_free);
	world->index = 99;
	return claims_take(world->claims, owner, name, wanted, n, &world->index, &world->holder);
}

static void assert_refused(World *world, int r, unsigned index, const char *holder)
{
	g_assert_cmpint(r, ==, -EBUSY);
	g_assert_cmpuint(world->index, ==, index);
	g_assert_cmpstr(world->holder, ==, holder);
}

static void test_read_and_write(World *world, gconstpointer data)
{
	static const Claim read = READ(7), write = WRITE(7);

	g_assert_cmpint(take(world, 1, "a", &read, 1), ==, 0);
	g_assert_cmpint(take(world, 2, "b", &read, 1), ==, 0);
	g_assert_null(world->holder);
	assert_refused(world, take(world, 3, "c", &write, 1), 0, "a");
	claims_release(world->claims, 1);
	assert_refused(world, take(world, 3, "c", &write, 1), 0, "b");
	claims_release(world->claims, 2);
	g_assert_cmpint(take(world, 3, "c", &write, 1), ==, 0);
	assert_refused(world, take(world, 1, "a", &read, 1), 0, "c");
	assert_refused(world, take(world, 1, "a", &write, 1), 0, "c");
}

static void test_device_and_inode(World *world, gconstpointer data)
{
	static const Claim wanted[] = {{1, 7, true}, {2, 7, true}, {1, 8, true}};

	for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++)
		g_assert_cmpint(take(world, i + 1, "x", &wanted[i], 1), ==, 0);
}

static void test_all_or_nothing(World *world, gconstpointer data)
{
	static const Claim held = WRITE(3), free_one = WRITE(1);
	static const Claim wanted[] = {WRITE(1), WRITE(2), WRITE(3), WRITE(4)};

	g_assert_cmpint(take(world, 1, "a", &held, 1), ==, 0);
	assert_refused(world, take(world, 2, "b", wanted, 4), 2, "a");
	/* Nothing of it was taken. */
	g_assert_cmpint(take(world, 3, "c", &free_one, 1), ==, 0);
}

static void test_with_itself(World *world, gconstpointer data)
{
	static const Claim reads[] = {READ(1), READ(1), READ(1)};
	static const Claim mixed[] = {READ(2), READ(3), WRITE(2)};
	static const Claim writes[] = {WRITE(4), WRITE(4)};

	g_assert_cmpint(take(world, 1, "a", reads, 3), ==, 0);
	assert_refused(world, take(world, 2, "b", mixed, 3), 2, "");
	assert_refused(world, take(world, 2, "b", writes, 2), 1, "");
}

static void test_release(World *world, gconstpointer data)
{
	static const Claim many[] = {WRITE(1), WRITE(2), READ(3), WRITE(4)};
	static const Claim other = WRITE(9);

	g_assert_cmpint(take(world, 1, "a", many, 4), ==, 0);
	g_assert_cmpint(take(world, 2, "b", &other, 1), ==, 0);
	/* Of one who has none. */
	claims_release(world->claims, 77);
	claims_release(world->claims, 1);
	g_assert_cmpint(take(world, 3, "c", many, 4), ==, 0);
	assert_refused(world, take(world, 4, "d", &other, 1), 0, "b");
	claims_release(world->claims, 3);
	claims_release(world->claims, 3);
	claims_release(world->claims, 2);
}

static void test_none(World *world, gconstpointer data)
{
	g_assert_cmpint(take(world, 1, "a", NULL, 0), ==, 0);
	claims_release(world->claims, 1);
}

/* ---- threads ---- */
#define IMAGES  3
#define THREADS 4
#define ROUNDS  5000

typedef struct Shared {
	Claims *claims;
	atomic_int readers[IMAGES], writers[IMAGES];
	atomic_uint next_owner, n_got;
} Shared;

static void enter(Shared *shared, const Claim *claim)
{
	if (claim->write) {
		g_assert_cmpint(atomic_fetch_add(&shared->writers[claim->inode], 1), ==, 0);
		g_assert_cmpint(atomic_load(&shared->readers[claim->inode]), ==, 0);
	} else {
		atomic_fetch_add(&shared->readers[claim->inode], 1);
		g_assert_cmpint(atomic_load(&shared->writers[claim->inode]), ==, 0);
	}
}

static void leave(Shared *shared, const Claim *claim)
{
	atomic_fetch_sub(claim->write ? &shared->writers[claim->inode] : &shared->readers[claim->inode], 1);
}

static void use_images(void *data)
{
	Shared *shared = data;
	g_autoptr(GRand) rand = g_rand_new_with_seed(atomic_fetch_add(&shared->next_owner, 1));

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t owner = atomic_fetch_add(&shared->next_owner, 1);
		ino_t first = (ino_t)g_rand_int_range(rand, 0, IMAGES);
		Claim wanted[2] = {
			{1, first, g_rand_boolean(rand)}, {1, (first + 1) % IMAGES, g_rand_boolean(rand)}};
		g_autofree char *holder = NULL;
		unsigned index;

		if (claims_take(shared->claims, owner, "x", wanted, 2, &index, &holder) < 0)
			continue;
		atomic_fetch_add(&shared->n_got, 1);
		enter(shared, &wanted[0]);
		enter(shared, &wanted[1]);
		if (i % 8 == 0)
			sched_yield();
		leave(shared, &wanted[0]);
		leave(shared, &wanted[1]);
		claims_release(shared->claims, owner);
	}
}

static void test_threads(void)
{
	Shared shared = {.claims = claims_new()};
	pthread_t threads[THREADS];

	atomic_init(&shared.next_owner, 1);
	for (unsigned i = 0; i < THREADS; i++)
		g_assert_cmpint(
			thread_start_joinable(&threads[i], "user", &role_worker, use_images, &shared), ==, 0);
	for (unsigned i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	g_assert_cmpuint(atomic_load(&shared.n_got), >, 0);
	claims_free(shared.claims);
}

#define ADD(name, func) g_test_add("/claims/" name, World, NULL, setup, func, teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("read-and-write", test_read_and_write);
	ADD("device-and-inode", test_device_and_inode);
	ADD("all-or-nothing", test_all_or_nothing);
	ADD("with-itself", test_with_itself);
	ADD("release", test_release);
	ADD("none", test_none);
	g_test_add_func("/claims/threads", test_threads);
	return g_test_run();
}
