/* A VM's life with an obedient stand-in: states, their order on the bus, and what a method refuses. */
#include <signal.h>
#include <string.h>

#include "fixture.h"

/* Calls, and returns the positions of what must come before the reply: the PropertiesChanged with the new
 * state, and the StateChanged. */
static void step(Fixture *f, const char *path, const char *member, GVariant *args, const char *state,
	const char *change)
{
	Client *c = f->client;
	g_autofree char *properties = g_strdup_printf("*'State': <'%s'>*", state);
	g_autofree char *text = g_strdup_printf("'%s'", state);
	gsize mark = client_mark(c), installed, changed, reply;
	guint32 serial = client_send(c, path, VM, member, args);

	g_variant_unref(client_result(c, serial));
	reply = client_await_reply(c, serial);
	installed = client_find(c, mark, reply, path, "PropertiesChanged", properties);
	changed = client_find(c, mark, reply, path, "StateChanged", change);
	g_assert_cmpuint(installed, <, changed);
	g_assert_cmpuint(changed, <, reply);
	client_assert_property(c, path, "State", text);
}

static void test_steps(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark = client_mark(c), first, second;

	step(f, web, "Start", fixture_no_options(), "running", "('starting', 'running', 'user')");
	first = client_await(c, mark, web, "StateChanged", "('off', 'starting', 'user')");
	second = client_await(c, mark, web, "StateChanged", "('starting', 'running', 'user')");
	g_assert_cmpuint(first, <, second);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), PATH, "PropertiesChanged",
				 "('" MANAGER "', {'NRunning': <uint32 1>}*"),
		==, 1);
	g_assert_cmpuint(fixture_pid(f, web), >, 1);

	step(f, web, "Pause", NULL, "paused", "('running', 'paused', 'user')");
	step(f, web, "Resume", NULL, "running", "('paused', 'running', 'user')");
	mark = client_mark(c);
	client_do(c, web, VM, "Reset", NULL);
	client_await(c, mark, web, "Event", "(*, 'RESET', *");
	client_assert_property(c, web, "State", "'running'");

	/* This guest obeys at once, perhaps before the reply. */
	mark = client_mark(c);
	client_do(c, web, VM, "Shutdown", fixture_no_options());
	client_await(c, mark, web, "StateChanged", "(*, 'off', 'user')");
	client_assert_property(c, web, "State", "'off'");
	client_assert_property(c, web, "PID", "uint32 0");
	g_assert_cmpuint(client_count(c, mark, client_sync(c), PATH, "PropertiesChanged",
				 "('" MANAGER "', {'NRunning': <uint32 0>}*"),
		==, 1);

	step(f, web, "Start", g_variant_new_parsed("({'Paused': <true>},)"), "paused",
		"('starting', 'paused', 'user')");
	step(f, web, "Kill", NULL, "off", "('paused', 'off', 'killed')");
	client_assert_property(c, web, "StateReason", "'killed'");
}

/* What changes nothing is told to nobody. */
static void test_idempotent(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark = client_mark(c);

	client_do(c, web, VM, "Kill", NULL);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'State*"), ==, 0);
	fixture_start_vm(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Resume", NULL);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'State*"), ==, 0);
	client_do(c, web, VM, "Pause", NULL);
	mark = client_mark(c);
	client_do(c, web, VM, "Pause", NULL);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'State*"), ==, 0);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "StateChanged", NULL), ==, 0);
}

/* Only what truly changed is in a PropertiesChanged. */
static void test_true_changes(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Pause", NULL);
	g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "PropertiesChanged",
				 "('" VM "', {'State': <'paused'>, 'StateSince': <uint64 *>}, *"),
		==, 1);
}

static void test_wrong_state(void)
{
	static const char *const when_off[] = {
		"Pause", "Resume", "Reset", "ExecuteQMP", "Shutdown", "Reboot", "OpenConsole"};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(when_off); i++) {
		g_autofree char *glob = g_strdup_printf("%s: *web*is off*", when_off[i]);
		GVariant *args = NULL;

		if (strcmp(when_off[i], "ExecuteQMP") == 0)
			args = g_variant_new("(s)", "{\"execute\":\"query-status\"}");
		else if (strcmp(when_off[i], "OpenConsole") == 0)
			args = g_variant_new_parsed("('', @a{sv} {})");
		else if (strcmp(when_off[i], "Shutdown") == 0 || strcmp(when_off[i], "Reboot") == 0)
			args = fixture_no_options();
		client_refused(c, web, VM, when_off[i], args, ROOST_ERROR("InvalidState"), glob);
	}
	fixture_start_vm(f, web);
	client_refused(c, web, VM, "Start", fixture_no_options(), ROOST_ERROR("InvalidState"),
		"Start: *web*is running*");
	client_refused(c, web, VM, "CancelOperation", g_variant_new("(t)", (guint64)0),
		ROOST_ERROR("InvalidState"), "id: the VM 'web' has no current operation");
	client_refused(c, web, VM, "CancelOperation", g_variant_new("(t)", (guint64)12345),
		ROOST_ERROR("InvalidState"), "id: 12345 is not the current operation of the VM 'web'");
}

static void test_reboot(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark, position;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Reboot", fixture_no_options());
	/* This guest powers off: it is started again. */
	position = client_await(c, mark, web, "Event", "(*, 'SHUTDOWN', *");
	client_await_property(c, web, "State", "'running'");
	g_assert_cmpuint(client_count(c, mark, position, web, "StateChanged", "(*, 'off', *"), ==, 0);
	client_assert_property(c, web, "State", "'running'");
	g_assert_cmpuint(fixture_pid(f, web), >, 1);
	g_test_message("process %u, then %u", pid, fixture_pid(f, web));
}

/* The guest's own doing. */
static void test_guest(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *off = fixture_define(f, "off",
		"after 300 event {\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
		"\"guest-shutdown\"}}\n",
		NULL);
	g_autofree char *panicked = fixture_define(f, "panicked",
		"after 300 event {\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}}\n"
		"after 300 event {\"event\": \"STOP\"}\n",
		NULL);
	g_autofree char *dead = fixture_define(f, "dead", "after 300 exit 3\n", NULL);
	gsize mark = client_mark(c);

	fixture_start_vm(f, off);
	client_await(c, mark, off, "StateChanged", "(*, 'off', 'guest')");
	fixture_start_vm(f, panicked);
	client_await(c, mark, panicked, "StateChanged", "('running', 'paused', 'panic')");
	fixture_start_vm(f, dead);
	client_await(c, mark, dead, "StateChanged", "('running', 'crashed', 'qemu-exit')");
	client_assert_property(c, dead, "State", "'crashed'");
	client_await_property(c, dead, "PID", "uint32 0");
	/* From crashed it can be started again. */
	fixture_start_vm(f, dead);
}

static void test_failed_start(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on start exit 1 the disk is on fire\n", NULL);
	g_autofree char *garbage = fixture_define(f, "garbage", "on qmp_capabilities garbage\n", NULL);
	g_autofree char *lost = fixture_define(f, "lost", NULL, "'Initrd': <'/nonexistent/initrd'>");
	gsize mark = client_mark(c);
	guint32 serial = client_send(c, web, VM, "Start", fixture_no_options());
	gsize reply = client_await_reply(c, serial);

	client_expect_error(c, serial, ROOST_ERROR("QemuFailed"), "*the disk is on fire*");
	g_assert_cmpuint(
		client_find(c, mark, reply, web, "StateChanged", "('off', 'starting', 'user')"), <, reply);
	g_assert_cmpuint(
		client_find(c, mark, reply, web, "StateChanged", "('starting', 'off', 'start-failed')"), <,
		reply);
	client_assert_property(c, web, "PID", "uint32 0");
	client_refused(c, garbage, VM, "Start", fixture_no_options(), ROOST_ERROR("QemuFailed"), "*");
	client_await_property(c, garbage, "State", "'off'");
	client_refused(c, lost, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"),
		"Initrd: /nonexistent/initrd: *");
	client_assert_property(c, lost, "State", "'off'");
}

/* Events that QEMU sends between a command and its late reply are on the bus before the reply. */
static void test_events_before_reply(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web",
		"on stop event {\"event\": \"RTC_CHANGE\", \"data\": {\"offset\": 5, \"qom-path\": "
		"\"/rtc\"}}\n"
		"on stop event {\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}\n"
		"on stop delay 1500\n",
		NULL);
	gsize mark, early, reply;
	guint32 serial;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	serial = client_send(c, web, VM, "Pause", NULL);
	early = client_await(c, mark, web, "Event", "(*, 'GUEST_CRASHLOADED', *");
	g_assert_cmpuint(client_find(c, mark, early, web, "Event", "(*, 'RTC_CHANGE', *"), <, early);
	/* They did not wait for it: the method is still under way. */
	client_await(c, mark, web, "PropertiesChanged", "*'CurrentOperation': <{*'Member': <'Pause'>*");
	reply = client_await_reply(c, serial);
	g_variant_unref(client_result(c, serial));
	g_assert_cmpuint(early, <, reply);
	g_assert_cmpuint(
		client_find(c, mark, reply, web, "PropertiesChanged", "*'State': <'paused'>*"), <, reply);
	/* And CurrentOperation went before the reply came. */
	g_assert_cmpuint(
		client_find(c, mark, reply, web, "PropertiesChanged", "*'CurrentOperation': <@a{sv} {}>*"), <,
		reply);
}

/* QEMU's own words reach the caller. */
static void test_refused_by_qemu(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop error GenericError not on a Monday\n", NULL);

	fixture_start_vm(f, web);
	client_refused(c, web, VM, "Pause", NULL, ROOST_ERROR("QemuFailed"), "*not on a Monday*");
	client_assert_property(c, web, "State", "'running'");
}

/* A guest that takes its time: meanwhile the state is stopping. */
static void test_stopping(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", "ignore powerdown\n", NULL);

	fixture_start_vm(f, web);
	step(f, web, "Shutdown", fixture_no_options(), "stopping", "('running', 'stopping', 'user')");
	/* Asked again, with other options: the state is the same. */
	client_do(f->client, web, VM, "Shutdown", g_variant_new_parsed("({'Force': <true>},)"));
	client_assert_property(f->client, web, "State", "'stopping'");
	step(f, web, "Kill", NULL, "off", "('stopping', 'off', 'killed')");
	fixture_start_vm(f, web);
	step(f, web, "Reboot", fixture_no_options(), "stopping", "('running', 'stopping', 'user')");
	step(f, web, "Kill", NULL, "off", "('stopping', 'off', 'killed')");
}

static void test_shutdown_timeout(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "ignore powerdown\n", NULL);
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Shutdown", g_variant_new_parsed("({'Timeout': <uint64 300000>},)"));
	client_await(c, mark, web, "StateChanged", "('stopping', 'running', 'shutdown-timeout')");
	mark = client_mark(c);
	client_do(c, web, VM, "Shutdown",
		g_variant_new_parsed("({'Timeout': <uint64 300000>, 'Force': <true>},)"));
	client_await(c, mark, web, "StateChanged", "('stopping', 'off', *");
	client_assert_property(c, web, "State", "'off'");
}

/* Each command is a round trip to a QEMU that is busy starting. */
static void test_commands_of_start(void)
{
	static const struct {
		const char *options, *commands;
	} rows[] = {
		{"(@a{sv} {},)", "qmp_capabilities\ncont\n"},
		{"({'Paused': <true>},)", "qmp_capabilities\nquery-status\n"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i), *commands = NULL, *web = NULL,
				*path = NULL;
		g_autofree char *script = g_strdup_printf("record %s/%s.commands\n", f->dir, name);
		g_autofree char *file = g_strdup_printf("%s.commands", name);

		web = fixture_define(f, name, script,
			"'Display': <'vnc'>, 'RNG': <true>, 'Watchdog': <'i6300esb'>, 'Consoles': <[{'Type': "
			"<'serial'>}]>, 'NICs': <[{'Type': <'user'>}]>");
		client_do(c, web, VM, "Start", g_variant_new_parsed(rows[i].options));
		path = g_build_filename(f->dir, file, NULL);
		g_assert_true(g_file_get_contents(path, &commands, NULL, NULL));
		g_assert_cmpstr(commands, ==, rows[i].commands);
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/lifecycle/steps", test_steps);
	g_test_add_func("/lifecycle/idempotent", test_idempotent);
	g_test_add_func("/lifecycle/true-changes", test_true_changes);
	g_test_add_func("/lifecycle/wrong-state", test_wrong_state);
	g_test_add_func("/lifecycle/stopping", test_stopping);
	g_test_add_func("/lifecycle/reboot", test_reboot);
	g_test_add_func("/lifecycle/guest", test_guest);
	g_test_add_func("/lifecycle/failed-start", test_failed_start);
	g_test_add_func("/lifecycle/events-before-reply", test_events_before_reply);
	g_test_add_func("/lifecycle/refused-by-qemu", test_refused_by_qemu);
	g_test_add_func("/lifecycle/shutdown-timeout", test_shutdown_timeout);
	g_test_add_func("/lifecycle/commands-of-start", test_commands_of_start);
	return g_test_run();
}
