/*
 * Shutdown and Reboot of a real guest that does not hear its power button: they come to their end by time.
 * (One that hears it is in test-guest-console.c.) And a watchdog that it arms. The cases share one guest; the
 * last one ends it.
 */
#include <string.h>

#include "guest.h"

static struct {
	Fixture *fixture;
	char *vm;
	Terminal *terminal;
} world;

static Client *start(void)
{
	if (world.fixture)
		return world.fixture->client;
	world.fixture = guest_fixture(128);
	world.vm = guest_define(world.fixture, "deaf", "guest.deaf",
		"'ShutdownTimeout': <uint64 200000>, 'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>");
	fixture_start_vm(world.fixture, world.vm);
	world.terminal = terminal_open(world.fixture->client, world.vm, "", false);
	terminal_expect(world.terminal, GUEST_UP);
	terminal_expect(world.terminal, "guest# ");
	return world.fixture->client;
}

/* It was not disturbed. */
static void assert_alive(void)
{
	g_autofree char *output = terminal_run(world.terminal, "echo ali''ve");

	g_assert_cmpstr(output, ==, "alive\n");
	client_assert_property(world.fixture->client, world.vm, "State", "'running'");
	client_assert_property(world.fixture->client, world.vm, "StateReason", "'shutdown-timeout'");
}

static void test_timeout(void)
{
	Client *c = start();
	static const char *const options[] = {
		"{'Mode': <'acpi'>, 'Timeout': <uint64 300000>}", "{'Mode': <'auto'>}", "{}"};

	/* The call's own time, and the definition's. */
	for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
		g_autofree char *text = g_strdup_printf("(@a{sv} %s,)", options[i]);
		gsize mark = client_mark(c);

		client_do(c, world.vm, VM, "Shutdown",
			g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, NULL));
		mark = client_await(c, mark, world.vm, "StateChanged", "('running', 'stopping', 'user')");
		client_await(
			c, mark, world.vm, "StateChanged", "('stopping', 'running', 'shutdown-timeout')");
		assert_alive();
	}
}

static void test_reboot_timeout(void)
{
	Client *c = start();
	gsize mark = client_mark(c);

	client_do(c, world.vm, VM, "Reboot", fixture_no_options());
	mark = client_await(c, mark, world.vm, "StateChanged", "('running', 'stopping', 'user')");
	client_await(c, mark, world.vm, "StateChanged", "('stopping', 'running', 'shutdown-timeout')");
	assert_alive();
}

static void test_refused(void)
{
	Client *c = start();
	gsize mark = client_mark(c);

	client_refused(c, world.vm, VM, "Shutdown", g_variant_new_parsed("({'Mode': <'polite'>},)"),
		DBUS_ERROR("InvalidArgs"), "options.Mode: *");
	client_refused(c, world.vm, VM, "Shutdown", g_variant_new_parsed("({'Timeout': <300>},)"),
		DBUS_ERROR("InvalidArgs"), "options.Timeout: *");
	client_refused(c, world.vm, VM, "Reboot", g_variant_new_parsed("({'Force': <true>},)"),
		DBUS_ERROR("InvalidArgs"), "options.Force: *");
	g_assert_cmpuint(client_count(c, mark, client_sync(c), world.vm, "StateChanged", NULL), ==, 0);
}

/*
 * The watchdog of the default machine type. The guest's kernel has no driver for it, so it is armed by hand:
 * two words unlock each of its registers, of which the first two are its two timers (in milliseconds, about);
 * a bit in its configuration space enables it. Its place on the bus is fixed.
 */
static void test_watchdog(void)
{
	Client *c = start();
	gsize mark = client_mark(c);
	g_autofree char *output = NULL;

	output = terminal_run(world.terminal,
		"d=/sys/bus/pci/devices/0000:00:05.0; cat $d/vendor $d/device; echo 1 >$d/enable");
	g_assert_cmpstr(output, ==, "0x8086\n0x25ab\n");
	terminal_type(world.terminal,
		"bar=$(head -n 1 $d/resource | cut -d ' ' -f 1)\n"
		"unlock() { devmem $((bar + 12)) 16 0x80; devmem $((bar + 12)) 16 0x86; }\n"
		"unlock; devmem $bar 32 16; unlock; devmem $((bar + 4)) 32 16\n"
		"printf '\\002' | dd of=$d/config bs=1 seek=104 conv=notrunc\n");
	client_await(c, mark, world.vm, "Event", "(*'WATCHDOG', *'action': <'pause'>*");
	client_await_property(c, world.vm, "State", "'paused'");
	client_assert_property(c, world.vm, "StateReason", "'watchdog'");
	client_do(c, world.vm, VM, "Resume", NULL);
	g_free(g_steal_pointer(&output));
	output = terminal_run(world.terminal, "echo ali''ve");
	g_assert_cmpstr(output, ==, "alive\n");
}

/* A Shutdown without a limit is under way; another one takes its place, and that one forces. */
static void test_force(void)
{
	Client *c = start();
	gsize mark = client_mark(c);
	g_autoptr(GVariant) exit = NULL;
	g_autofree char *text = NULL;

	client_do(c, world.vm, VM, "Shutdown", g_variant_new_parsed("({'Timeout': <uint64 0>},)"));
	client_assert_property(c, world.vm, "State", "'stopping'");
	client_do(c, world.vm, VM, "Shutdown",
		g_variant_new_parsed("({'Force': <true>, 'Timeout': <uint64 300000>},)"));
	client_await(c, mark, world.vm, "StateChanged", "('stopping', 'off', 'killed')");
	terminal_expect_end(world.terminal);
	g_assert_null(strstr(world.terminal->text->str, "powering off"));
	exit = client_get(c, world.vm, VM, "LastExit");
	text = g_variant_print(exit, FALSE);
	if (!g_pattern_match_simple("*'Signal': <9>*", text))
		g_error("%s", text);
}

int main(int argc, char **argv)
{
	int status;

	fixture_init(&argc, &argv);
	g_test_add_func("/guest-power/timeout", test_timeout);
	g_test_add_func("/guest-power/reboot-timeout", test_reboot_timeout);
	g_test_add_func("/guest-power/refused", test_refused);
	g_test_add_func("/guest-power/watchdog", test_watchdog);
	g_test_add_func("/guest-power/force", test_force);
	status = g_test_run();
	terminal_close(world.terminal);
	g_free(world.vm);
	fixture_free(world.fixture);
	return status;
}
