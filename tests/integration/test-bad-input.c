/*
 * The bad-input matrix (bad-input.h), twice: the first time it warms up and makes the table, the second time
 * all must come out the same, and the service must not have grown. Then bytes that are no messages, and
 * definitions by chance. After each: the service is the same process, and all that it has and has stored is
 * as it was.
 *
 * ROOST_REGENERATE_GOLDEN=1 rewrites the table; ROOST_SEED repeats a run of the parts that are by chance.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bad-input.h"

#define N_DEFINITIONS    2000
#define GROWTH_MAX_KIB   2048
#define SANITIZER_KIB    (1ULL << 30) /* of address space: a sanitizer's shadow */
#define SETTLE_SECONDS   60
#define SETTLE_STEP_USEC (10 * 1000)

/* ---- the process ---- */
typedef struct Size {
	guint64 rss_kib, address_kib;
	guint n_threads, n_fds;
} Size;

static guint64 status_number(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	g_assert_nonnull(at);
	return g_ascii_strtoull(at + strlen(key), NULL, 10);
}

static guint count_entries(const char *folder)
{
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	guint n = 0;

	while (dir && g_dir_read_name(dir))
		n++;
	return n;
}

static Size look_at_process(GPid pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", pid),
			*fds = g_strdup_printf("/proc/%d/fd", pid);
	g_autofree char *status = NULL;
	g_autoptr(GError) error = NULL;
	Size size = {0};

	g_file_get_contents(path, &status, NULL, &error);
	g_assert_no_error(error);
	size.rss_kib = status_number(status, "VmRSS:\t");
	size.address_kib = status_number(status, "VmSize:\t");
	size.n_threads = (guint)status_number(status, "Threads:\t");
	size.n_fds = count_entries(fds);
	return size;
}

static char *list_fds(GPid pid)
{
	g_autofree char *folder = g_strdup_printf("/proc/%d/fd", pid);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	GString *list = g_string_new(NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_autofree char *target = g_file_read_link(path, NULL);

		g_string_append_printf(list, "%s -> %s\n", name, target ? target : "?");
	}
	return g_string_free(list, FALSE);
}

/* Threads end when they have had nothing to do for a while, and a reader's fds when it has left. */
static Size await_rest(GPid pid, const Size *before)
{
	gint64 until = g_get_monotonic_time() + SETTLE_SECONDS * G_TIME_SPAN_SECOND;

	for (;;) {
		Size size = look_at_process(pid);

		if (size.n_threads <= before->n_threads && size.n_fds <= before->n_fds)
			return size;
		if (g_get_monotonic_time() > until) {
			g_autofree char *fds = list_fds(pid);

			g_error("%u threads and %u fds, before %u and %u:\n%s", size.n_threads, size.n_fds,
				before->n_threads, before->n_fds, fds);
		}
		g_usleep(SETTLE_STEP_USEC);
	}
}

/* ---- before and after ---- */
typedef struct Before {
	char *picture;
	guint32 owner;
	Size size;
} Before;

static void before_init(Before *before, World *world)
{
	*before = (Before){.picture = world_picture(world), .owner = client_owner_pid(world->client)};
	before->size = look_at_process(world->fixture->roostd);
	g_assert_cmpuint(before->owner, ==, (guint32)world->fixture->roostd);
}

static void before_check(Before *before, World *world)
{
	g_autofree char *picture = world_picture(world);

	g_assert_cmpstr(picture, ==, before->picture);
	g_assert_cmpuint(client_owner_pid(world->client), ==, before->owner);
	await_rest(world->fixture->roostd, &before->size);
	g_clear_pointer(&before->picture, g_free);
}

static GRand *new_random(void)
{
	guint32 seed =
		g_getenv("ROOST_SEED") ? (guint32)strtoul(g_getenv("ROOST_SEED"), NULL, 0) : g_random_int();

	g_test_message("ROOST_SEED=%u", seed);
	return g_rand_new_with_seed(seed);
}

/* ---- the tests ---- */
static char *run_round(World *world)
{
	g_autoptr(Service) service = NULL;
	gint64 start = g_get_monotonic_time();

	world_begin_round(world);
	service = service_learn(world);
	matrix_methods(world, service);
	matrix_objects(world, service);
	matrix_keys(world, service);
	world_end_round(world);
	g_test_message("%u calls, %u refused, in %.1f s", world->n_calls, world->n_refused,
		(double)(g_get_monotonic_time() - start) / G_TIME_SPAN_SECOND);
	return table_print(world->table);
}

static void test_matrix(void)
{
	g_autofree char *first = NULL, *second = NULL;
	World world;
	Before before;
	Size warm, after, last;

	world_init(&world, NULL);
	before_init(&before, &world);
	first = run_round(&world);
	table_compare(world.table, "matrix");
	warm = await_rest(world.fixture->roostd, &before.size);
	second = run_round(&world);
	table_assert_same(first, second, "in the second round something else came out");
	after = await_rest(world.fixture->roostd, &before.size);
	g_test_message("RSS: %" G_GUINT64_FORMAT " KiB, after one round %" G_GUINT64_FORMAT
		       ", after two %" G_GUINT64_FORMAT,
		before.size.rss_kib, warm.rss_kib, after.rss_kib);
	/* A sanitizer keeps what is freed. */
	if (after.address_kib < SANITIZER_KIB && after.rss_kib > warm.rss_kib + GROWTH_MAX_KIB) {
		/* Threads that meet have a heap each, once. What is lost is lost each time. */
		g_free(run_round(&world));
		last = await_rest(world.fixture->roostd, &before.size);
		g_test_message("after three: %" G_GUINT64_FORMAT, last.rss_kib);
		g_assert_cmpuint(last.rss_kib, <=, after.rss_kib + GROWTH_MAX_KIB);
	}
	before_check(&before, &world);
	world_done(&world);
}

/* What is for QEMU to judge, it judges. */
static void test_real_qemu(void)
{
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Service) service = NULL;
	World world;
	Before before;

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return;
	}
	world_init(&world, &options);
	before_init(&before, &world);
	world_begin_round(&world);
	service = service_learn(&world);
	matrix_words_to_qemu(&world, service);
	world_end_round(&world);
	g_test_message("%u calls, %u refused", world.n_calls, world.n_refused);
	table_compare(world.table, "real QEMU");
	before_check(&before, &world);
	world_done(&world);
}

static void test_wire(void)
{
	g_autoptr(GRand) random = new_random();
	World world;
	Before before;

	world_init(&world, NULL);
	before_init(&before, &world);
	wire_test(&world, random);
	before_check(&before, &world);
	world_done(&world);
}

static void test_random(void)
{
	g_autoptr(GRand) random = new_random();
	g_autoptr(Service) service = NULL;
	World world;
	Before before;

	world_init(&world, NULL);
	before_init(&before, &world);
	world_begin_round(&world);
	service = service_learn(&world);
	random_test(&world, service, random, N_DEFINITIONS);
	world_end_round(&world);
	before_check(&before, &world);
	world_done(&world);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	/* So that what the service has freed is not counted: one heap for all threads, and no large holes in
	 * it. */
	g_setenv("MALLOC_ARENA_MAX", "1", TRUE);
	g_setenv("MALLOC_MMAP_THRESHOLD_", "65536", TRUE);
	g_setenv("MALLOC_TRIM_THRESHOLD_", "65536", TRUE);
	g_test_add_func("/bad-input/matrix", test_matrix);
	g_test_add_func("/bad-input/real-qemu", test_real_qemu);
	g_test_add_func("/bad-input/wire", test_wire);
	g_test_add_func("/bad-input/random", test_random);
	return g_test_run();
}
