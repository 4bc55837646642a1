/* What one user may have, together; and what everybody else feels of a user who floods the service. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

#define LIMITED ROOST_ERROR("LimitReached")
#define MIB     (1ULL << 20)

static World *world;

/* ---- limits ---- */
static GVariant *definition(const char *name, guint vcpus, guint64 memory, const char *member)
{
	g_autofree char *text = g_strdup_printf("({'Name': <'%s'>, 'Memory': <uint64 %" G_GUINT64_FORMAT
						">, 'VCPUs': <uint32 %u>, "
						"'Accelerator': <'tcg'>, 'Kernel': <'/run/world/kernel'>, "
						"'KernelCommandLine': <'mock=/run/world/script'>}%s",
		name, memory, vcpus, strcmp(member, "CreateVM") == 0 ? ", @a{sv} {})" : ",)");

	return g_variant_new_parsed(text);
}

static char *define(Client *client, const char *name, guint vcpus, guint64 memory)
{
	g_autoptr(GVariant) result =
		client_call(client, PATH, MANAGER, "DefineVM", definition(name, vcpus, memory, "DefineVM"));
	char *path;

	g_variant_get(result, "(o)", &path);
	return path;
}

static void restart_with(const char *const *options)
{
	world_stop_roostd(world);
	world_start_roostd(world, options);
}

static void test_vms(void)
{
	static const char *const options[] = {"--max-vms-per-user=2", NULL};
	g_autoptr(Client) member = world_client("member");
	g_autofree char *a = NULL, *b = NULL, *c = NULL, *roots = NULL, *others = NULL;
	guint32 calls[2];

	restart_with(options);
	a = define(member, "a", 1, 64 * MIB);
	/* Two at once, for one place. */
	calls[0] = client_send(member, PATH, MANAGER, "DefineVM", definition("b", 1, 64 * MIB, "DefineVM"));
	calls[1] = client_send(member, PATH, MANAGER, "DefineVM", definition("c", 1, 64 * MIB, "DefineVM"));
	client_expect_error(member, calls[1], LIMITED, "uid * has 2 virtual machines; a user may have 2 *");
	g_variant_get(client_result(member, calls[0]), "(o)", &b);
	client_refused(
		member, PATH, MANAGER, "CreateVM", definition("c", 1, 64 * MIB, "CreateVM"), LIMITED, "*");
	/* Neither root nor others have less for it. */
	roots = define(world->root, "roots", 1, 64 * MIB);
	others = world_define(world, "owner", "others", NULL);
	client_do(member, b, VM, "Undefine", fixture_no_options());
	c = define(member, "c", 1, 64 * MIB);
	world_undefine(world, a);
	world_undefine(world, c);
	world_undefine(world, roots);
	world_undefine(world, others);
}

/* Two limits on what runs; what is only defined does not count. */
static void test_running(void)
{
	static const char *const options[] = {
		"--max-vcpus-per-user=4", "--max-memory-per-user=536870912", NULL};
	g_autoptr(Client) member = world_client("member");
	g_autofree char *a = NULL, *b = NULL, *c = NULL, *roots = NULL;
	guint32 calls[2];

	restart_with(options);
	a = define(member, "a", 2, 128 * MIB);
	b = define(member, "b", 3, 128 * MIB);
	c = define(member, "c", 1, 400 * MIB);
	/* Two at once, for one place. It is the owner's limit, whoever calls; and root's calls, which nobody
	 * is asked about, are accepted one right behind the other. */
	calls[0] = client_send(world->root, a, VM, "Start", fixture_no_options());
	calls[1] = client_send(world->root, b, VM, "Start", fixture_no_options());
	client_expect_error(world->root, calls[1], LIMITED,
		"VCPUs: with 'b', the running virtual machines of uid * would have 5; a user's may have 4 *");
	g_variant_unref(client_result(world->root, calls[0]));
	client_refused(member, b, VM, "Start", fixture_no_options(), LIMITED, "VCPUs: *");
	client_refused(member, PATH, MANAGER, "CreateVM", definition("d", 3, 64 * MIB, "CreateVM"), LIMITED,
		"VCPUs: with 'd', *");
	client_refused(member, c, VM, "Start", fixture_no_options(), LIMITED,
		"Memory: with 'c', the running virtual machines of uid * would have 528 MiB; a user's may "
		"have 512 "
		"MiB *");
	client_do(member, a, VM, "Kill", NULL);
	client_do(member, b, VM, "Start", fixture_no_options());

	/* Not by a change that is not carried out yet, nor by a new start of one that still seems to run. */
	client_do(member, b, VM, "Kill", NULL);
	calls[0] = client_send(
		world->root, a, VM, "Update", g_variant_new_parsed("({'VCPUs': <uint32 5>}, @a{sv} {})"));
	calls[1] = client_send(world->root, a, VM, "Start", fixture_no_options());
	client_expect_error(world->root, calls[1], LIMITED, "VCPUs: with 'a', *");
	g_variant_unref(client_result(world->root, calls[0]));
	client_do(member, a, VM, "Update", g_variant_new_parsed("({'VCPUs': <uint32 1>}, @a{sv} {})"));
	client_do(member, a, VM, "Start", fixture_no_options());
	client_do(member, a, VM, "Update", g_variant_new_parsed("({'VCPUs': <uint32 5>}, @a{sv} {})"));
	calls[0] = client_send(world->root, a, VM, "Kill", NULL);
	calls[1] = client_send(world->root, a, VM, "Start", fixture_no_options());
	client_expect_error(world->root, calls[1], LIMITED, "VCPUs: with 'a', *");
	g_variant_unref(client_result(world->root, calls[0]));

	roots = define(world->root, "roots", 9, 1024 * MIB);
	client_do(world->root, roots, VM, "Start", fixture_no_options());
	world_undefine(world, a);
	world_undefine(world, b);
	world_undefine(world, c);
	world_undefine(world, roots);
}

/* Those that are started with the host: as many as may run. */
static void test_autostart(void)
{
	static const char *const options[] = {"--max-vcpus-per-user=2", NULL};
	g_autoptr(Client) member = world_client("member");
	char *vms[3];
	guint n_running, n_off = 0;

	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		g_autofree char *name = g_strdup_printf("auto%u", (unsigned)i);

		vms[i] = define(member, name, 1, 64 * MIB);
		client_do(member, vms[i], VM, "SetAutostart", g_variant_new("(b)", TRUE));
	}
	world_stop_roostd(world);
	/* As after the host has started. */
	g_assert_cmpint(unlink("/run/roost/autostarted"), ==, 0);
	world_start_roostd(world, options);
	do {
		g_autoptr(GVariant) running = client_get(world->root, PATH, MANAGER, "NRunning");

		n_running = g_variant_get_uint32(running);
	} while (n_running < 2);
	/* In no order that one can tell. */
	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		g_autoptr(GVariant) state = client_get(world->root, vms[i], VM, "State");

		if (strcmp(g_variant_get_string(state, NULL), "off") != 0)
			continue;
		n_off++;
		client_refused(member, vms[i], VM, "Start", fixture_no_options(), LIMITED, "*");
	}
	g_assert_cmpuint(n_off, ==, 1);
	for (gsize i = 0; i < G_N_ELEMENTS(vms); i++) {
		world_undefine(world, vms[i]);
		g_free(vms[i]);
	}
}

/* ---- a flood ---- */
#define FLOOD_VM "ROOST_TEST_FLOOD" /* this process is one of those who flood; the VM */
#define FLOODERS 4
#define AT_ONCE  60
#define MEASURED 300

/* Never ends by itself. */
static void flood(const char *path)
{
	g_autoptr(Client) client = world_client("other");
	guint32 last = 0;

	puts("begun");
	fflush(stdout);
	for (;;) {
		for (guint i = 0; i < AT_ONCE; i++)
			last = client_send_interactively(client, path, VM, "Kill", NULL);
		client_await_reply(client, last);
	}
}

static int compare(const void *a, const void *b)
{
	gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

	return x < y ? -1 : x > y;
}

typedef struct Latency {
	gint64 p50, p99; /* microseconds */
} Latency;

static Latency measure(Client *client, const char *path, bool is_method)
{
	gint64 times[MEASURED];

	for (guint i = 0; i < MEASURED; i++) {
		gint64 begin = g_get_monotonic_time();

		if (is_method)
			client_do(client, path, VM, i % 2 == 0 ? "Pause" : "Resume", NULL);
		else
			g_variant_unref(client_get(client, path, VM, "State"));
		times[i] = g_get_monotonic_time() - begin;
	}
	qsort(times, MEASURED, sizeof *times, compare);
	return (Latency){times[MEASURED / 2], times[MEASURED * 99 / 100]};
}

static void tell(const char *what, Latency quiet, Latency flooded)
{
	g_test_message("%s: p50 %" G_GINT64_FORMAT " us, in the flood %" G_GINT64_FORMAT
		       " us (%.1f); p99 %" G_GINT64_FORMAT " us, in the flood %" G_GINT64_FORMAT " us (%.1f)",
		what, quiet.p50, flooded.p50, (double)flooded.p50 / (double)quiet.p50, quiet.p99, flooded.p99,
		(double)flooded.p99 / (double)quiet.p99);
}

/* Until it has said that it has begun. */
static void await_begun(int out)
{
	char c = 0;

	while (c != '\n')
		g_assert_cmpint(read(out, &c, 1), ==, 1);
	close(out);
}

/* Four connections of a user who may not, against one of a user who may. */
static void test_flood(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) member = world_client("member");
	char *argv[] = {(char *)"/proc/self/exe", NULL};
	g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), FLOOD_VM, web, TRUE);
	Latency quiet_read, quiet_method, flooded_read, flooded_method;
	GPid flooders[FLOODERS];

	restart_with(NULL);
	client_do(member, web, VM, "Start", fixture_no_options());
	quiet_read = measure(member, web, false);
	quiet_method = measure(member, web, true);
	for (guint i = 0; i < FLOODERS; i++) {
		g_autoptr(GError) error = NULL;
		int out;

		g_spawn_async_with_pipes(NULL, argv, environment, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
			&flooders[i], NULL, &out, NULL, &error);
		g_assert_no_error(error);
		await_begun(out);
	}
	flooded_read = measure(member, web, false);
	flooded_method = measure(member, web, true);
	for (guint i = 0; i < FLOODERS; i++) {
		kill(flooders[i], SIGKILL);
		waitpid(flooders[i], NULL, 0);
	}
	tell("property read", quiet_read, flooded_read);
	tell("authorized method", quiet_method, flooded_method);
	/* Nothing came of it, and nothing is left of it. */
	client_assert_property(world->root, web, "State", "'running'");
	client_do(member, web, VM, "Kill", NULL);
	world_undefine(world, web);
}

int main(int argc, char **argv)
{
	const char *vm = g_getenv(FLOOD_VM);
	int result;

	if (vm)
		flood(vm);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/user-limits/vms", test_vms);
	g_test_add_func("/user-limits/running", test_running);
	g_test_add_func("/user-limits/autostart", test_autostart);
	g_test_add_func("/user-limits/flood", test_flood);
	world = world_new();
	world_start_roostd(world, NULL);
	result = g_test_run();
	world_free(world);
	return result;
}
