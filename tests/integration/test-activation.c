/* roostd started by the bus, and ended when it is idle: no call is lost by it. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

static const FixtureOptions activated = {.activated = true, .idle_exit = 0.1};

static gsize await_exit(Client *c, gsize mark)
{
	return client_await(c, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', ':*', '')");
}

static void await_end_of(guint32 pid)
{
	while (kill((pid_t)pid, 0) == 0)
		g_usleep(1000);
}

static void test_by_name(void)
{
	g_autoptr(Fixture) f = fixture_new(&activated);
	Client *c = f->client;
	gsize mark = client_mark(c);
	g_autofree char *vm = NULL;
	guint32 first, second;

	g_assert_cmpuint(client_owner_pid(c), ==, 0);
	vm = fixture_define(f, "web", NULL, NULL);
	first = client_owner_pid(c);
	g_assert_cmpuint(first, !=, 0);
	await_exit(c, mark);
	await_end_of(first);
	/* A new one, which knows what the other has been told. */
	mark = client_mark(c);
	client_assert_property(c, vm, "Name", "'web'");
	second = client_owner_pid(c);
	g_assert_cmpuint(second, !=, first);
	await_exit(c, mark);
}

/* Not while a VM runs: it says something long after the service would have ended. */
static void test_stays(void)
{
	g_autoptr(Fixture) f = fixture_new(&activated);
	Client *c = f->client;
	g_autofree char *vm = fixture_define(f, "web", "after 1000 event {\"event\": \"SUSPEND\"}\n", NULL);
	gsize mark, end;
	guint32 pid;

	fixture_start_vm(f, vm);
	pid = client_owner_pid(c);
	mark = client_mark(c);
	end = client_await(c, mark, vm, "StateChanged", "('running', 'suspended', *");
	g_assert_cmpuint(client_count(c, mark, end, "/org/freedesktop/DBus", "NameOwnerChanged",
				 "('" NAME "', ':*', '')"),
		==, 0);
	g_assert_cmpuint(client_owner_pid(c), ==, pid);
	client_do(c, vm, VM, "Kill", NULL);
	await_exit(c, mark);
	await_end_of(pid);
}

/* Calls that come just as it ends: each is answered, by it or by its successor. */
static void test_none_lost(void)
{
	static const FixtureOptions hasty = {.activated = true, .idle_exit = 0.001};
	g_autoptr(Fixture) f = fixture_new(&hasty);
	g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
	Client *c = f->client;
	g_autofree char *vm = fixture_define(f, "web", NULL, NULL);
	guint n_instances = 0;
	guint32 last = 0;

	for (guint64 i = 0; i < 40; i++) {
		g_autoptr(GVariant) args = g_variant_ref_sink(
			g_variant_new_parsed("({'Description': <%s>}, @a{sv} {})", i % 2 ? "odd" : "even"));
		g_autoptr(GVariant) result = NULL;
		guint32 pid;

		/* What is sent while the name is given up has the best chance to be lost. */
		if (g_rand_boolean(rand))
			g_usleep((gulong)g_rand_int_range(rand, 0, 4000));
		result = client_call(c, vm, VM, "Update", args);
		pid = client_owner_pid(c);
		n_instances += pid != last && pid != 0;
		if (pid != 0)
			last = pid;
	}
	g_test_message("%u instances", n_instances);
	g_assert_cmpuint(n_instances, >, 1);
	client_assert_property(c, vm, "ConfigRevision", "uint64 41");
}

/* It holds no name, and is told to end: it ends. */
static void test_terminated(void)
{
	g_autoptr(Fixture) f = fixture_new(&activated);
	Client *c = f->client;
	guint32 pid;

	g_variant_unref(client_call(c, PATH, MANAGER, "ListVMs", NULL));
	pid = client_owner_pid(c);
	kill((pid_t)pid, SIGTERM);
	await_end_of(pid);
	g_variant_unref(client_call(c, PATH, MANAGER, "ListVMs", NULL));
}

static void test_refused(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	static const char *const values[] = {"--idle-exit=-1", "--idle-exit=nan", "--idle-exit=1e9"};

	for (gsize i = 0; i < G_N_ELEMENTS(values); i++) {
		const char *const options[] = {values[i], NULL};
		g_autofree char *text = NULL;
		int code;

		text = fixture_refused_start(f, options, &code);
		g_assert_cmpint(code, ==, 1);
		g_assert_true(g_str_has_prefix(text, "roostd: --idle-exit="));
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/activation/by-name", test_by_name);
	g_test_add_func("/activation/stays", test_stays);
	g_test_add_func("/activation/none-lost", test_none_lost);
	g_test_add_func("/activation/terminated", test_terminated);
	g_test_add_func("/activation/refused", test_refused);
	return g_test_run();
}
