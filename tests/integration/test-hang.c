/* A QEMU that does not answer: nobody else notices, everybody can see who holds the VM, and Kill frees it. */
#include <signal.h>
#include <string.h>

#include "fixture.h"

/* Whether the reply has come already. */
static bool is_answered(Client *c, gsize mark, guint32 serial)
{
	gsize end = client_mark(c);

	for (gsize i = mark; i < end; i++)
		if (g_dbus_message_get_reply_serial(client_message(c, i)) == serial)
			return true;
	return false;
}

/* Waits until CurrentOperation shows this member; its ID. */
static guint64 await_current(Client *c, gsize from, const char *path, const char *member)
{
	g_autofree char *glob = g_strdup_printf("*'CurrentOperation': <{*'Member': <'%s'>*", member);
	g_autoptr(GVariant) current = NULL;
	guint64 id;

	client_await(c, from, path, "PropertiesChanged", glob);
	current = client_get(c, path, VM, "CurrentOperation");
	g_assert_true(g_variant_lookup(current, "ID", "t", &id));
	return id;
}

static void test_stopped(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL),
			*db = fixture_define(f, "db", NULL, NULL);
	g_autofree char *listed = NULL, *glob = NULL;
	g_autoptr(GVariant) list = NULL, all = NULL, objects = NULL, config = NULL;
	guint32 pause, reset;
	gsize mark;

	fixture_start_vm(f, web);
	fixture_start_vm(f, db);
	fixture_signal_qemu(f, web, SIGSTOP);
	mark = client_mark(c);
	pause = client_send(c, web, VM, "Pause", NULL);
	/* Reads, and every method of another VM. */
	client_assert_property(c, web, "State", "'running'");
	client_do(c, db, VM, "Pause", NULL);
	client_do(c, db, VM, "Resume", NULL);
	client_do(c, db, VM, "Shutdown", fixture_no_options());
	client_await_property(c, db, "State", "'off'");
	fixture_start_vm(f, db);

	await_current(c, mark, web, "Pause");
	reset = client_send(c, web, VM, "Reset", NULL);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 1>*");
	list = client_call(c, PATH, MANAGER, "ListOperations", NULL);
	listed = g_variant_print(list, FALSE);
	glob = g_strdup_printf(
		"([{'ID': <*>, 'Member': <'Pause'>, 'Sender': <'%s'>, 'UID': <*>, 'Since': <*>, "
		"'Deadline': <*>, 'VM': <objectpath '%s'>, 'Queued': <false>}, "
		"{'ID': <*>, 'Member': <'Reset'>, *'Queued': <true>}],)",
		client_name(c), web);
	if (!g_pattern_match_simple(glob, listed))
		g_error("%s", listed);
	all = client_call(c, web, "org.freedesktop.DBus.Properties", "GetAll", g_variant_new("(s)", VM));
	objects = client_call(c, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	config = client_call(c, web, VM, "GetConfig", fixture_no_options());
	g_assert_false(is_answered(c, mark, pause) || is_answered(c, mark, reset));

	client_do(c, web, VM, "Kill", NULL);
	client_assert_property(c, web, "State", "'off'");
	client_assert_property(c, web, "StateReason", "'killed'");
	client_expect_error(c, pause, ROOST_ERROR("Cancelled"), "Pause: *Kill*");
	client_expect_error(c, reset, ROOST_ERROR("Cancelled"), "Reset: *Kill*");
	client_assert_property(c, web, "CurrentOperation", "@a{sv} {}");
	client_assert_property(c, web, "QueuedOperations", "uint32 0");
	fixture_start_vm(f, web);
}

static void test_timeout(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.3});
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark;

	fixture_start_vm(f, web);
	fixture_signal_qemu(f, web, SIGSTOP);
	mark = client_mark(c);
	client_refused(c, web, VM, "Pause", NULL, ROOST_ERROR("Timeout"), "Pause: *");
	client_await(c, mark, web, "PropertiesChanged", "*'Responsive': <false>*");
	/* From now on it is not even tried. */
	client_refused(c, web, VM, "Reset", NULL, ROOST_ERROR("Unresponsive"), "*web*does not answer*");
	/* What does not need QEMU goes on. */
	client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	mark = client_mark(c);
	fixture_signal_qemu(f, web, SIGCONT);
	client_await(c, mark, web, "PropertiesChanged", "*'Responsive': <true>*");
	/* The late command was carried out, and that is shown. */
	client_await_property(c, web, "State", "'paused'");
	client_assert_property(c, web, "UnresponsiveSince", "uint64 0");
	client_do(c, web, VM, "Resume", NULL);
	client_assert_property(c, web, "State", "'running'");
}

/* Nobody calls: the service finds out by itself, and that Kill works without an answer. */
static void test_kill_unresponsive(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.3});
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop silent\n", NULL);

	fixture_start_vm(f, web);
	client_refused(c, web, VM, "Pause", NULL, ROOST_ERROR("Timeout"), "Pause: *");
	client_await_property(c, web, "Responsive", "false");
	client_do(c, web, VM, "Kill", NULL);
	client_assert_property(c, web, "State", "'off'");
	client_assert_property(c, web, "Responsive", "true");
	fixture_start_vm(f, web);
}

static void test_cancel(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop silent\n", NULL);
	guint32 pause, reset;
	guint64 id;
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	pause = client_send(c, web, VM, "Pause", NULL);
	id = await_current(c, mark, web, "Pause");
	reset = client_send(c, web, VM, "Reset", NULL);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 1>*");
	/* The one that waits is not the current one. */
	client_refused(c, web, VM, "CancelOperation", g_variant_new("(t)", id + 1),
		ROOST_ERROR("InvalidState"), "id: *");
	mark = client_mark(c);
	client_do(c, web, VM, "CancelOperation", g_variant_new("(t)", id));
	client_expect_error(c, pause, ROOST_ERROR("Cancelled"), "Pause: *");
	/* The next one's turn has come. */
	await_current(c, mark, web, "Reset");
	client_do(c, web, VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	client_expect_error(c, reset, ROOST_ERROR("Cancelled"), "Reset: *");
	client_do(c, web, VM, "Kill", NULL);
}

/* One that waits behind a longer one than its own deadline: it is told who holds the VM. */
static void test_queued_timeout(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.3});
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on start silent\n", NULL), *glob = NULL;
	gsize mark = client_mark(c), gone;
	guint32 start = client_send(c, web, VM, "Start", fixture_no_options());
	guint32 pause = client_send(c, web, VM, "Pause", NULL);

	glob = g_strdup_printf(
		"Pause: the VM 'web' is held by Start (operation * of %s) for more than *", client_name(c));
	client_expect_error(c, pause, ROOST_ERROR("Timeout"), glob);
	gone = client_find(c, mark, client_await_reply(c, pause), web, "PropertiesChanged",
		"*'QueuedOperations': <uint32 0>*");
	g_assert_cmpuint(gone, <, client_await_reply(c, pause));
	client_expect_error(c, start, ROOST_ERROR("Timeout"), "Start: *");
	client_assert_property(c, web, "State", "'off'");
}

static void test_busy(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop silent\n", NULL);
	guint32 calls[11];
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
		calls[i] = client_send(c, web, VM, "Pause", NULL);
		/* A Start that has been answered has its place for a moment still. */
		if (i == 0)
			await_current(c, mark, web, "Pause");
	}
	client_refused(
		c, web, VM, "Pause", NULL, ROOST_ERROR("Busy"), "Pause: 10 calls wait already, for Pause *");
	client_do(c, web, VM, "Kill", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		client_expect_error(c, calls[i], ROOST_ERROR("Cancelled"), "Pause: *");
}

/* A Start that hangs is cancelled by Kill, too, and leaves nothing behind. */
static void test_kill_start(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on start silent\n", NULL);
	gsize mark = client_mark(c);
	guint32 start = client_send(c, web, VM, "Start", fixture_no_options());

	await_current(c, mark, web, "Start");
	client_do(c, web, VM, "Kill", NULL);
	client_expect_error(c, start, ROOST_ERROR("Cancelled"), "Start: *");
	client_assert_property(c, web, "State", "'off'");
	client_assert_property(c, web, "PID", "uint32 0");
}

/* Who leaves the bus takes back what has not begun. */
static void test_caller_left(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client, *leaver = client_new(f->address);
	g_autofree char *web = fixture_define(f, "web", "on stop silent\n", NULL);
	gsize mark = client_mark(c);
	g_autoptr(GVariant) list = NULL, inner = NULL;

	fixture_start_vm(f, web);
	client_send(c, web, VM, "Pause", NULL);
	await_current(c, mark, web, "Pause");
	for (unsigned i = 0; i < 3; i++)
		client_send(leaver, web, VM, "Reset", NULL);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 3>*");
	mark = client_mark(c);
	client_free(leaver);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 0>*");
	list = client_call(c, PATH, MANAGER, "ListOperations", NULL);
	inner = g_variant_get_child_value(list, 0);
	g_assert_cmpuint(g_variant_n_children(inner), ==, 1);
	client_do(c, web, VM, "Kill", NULL);
}

/* A method that takes no time is never shown. */
static void test_quick_is_not_shown(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark;
	guint shown;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	for (unsigned i = 0; i < 20; i++) {
		client_do(c, web, VM, "Pause", NULL);
		client_do(c, web, VM, "Resume", NULL);
	}
	shown = client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'CurrentOperation'*");
	/* But for a host that stood still meanwhile. */
	g_assert_cmpuint(shown, <, 20);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/hang/stopped", test_stopped);
	g_test_add_func("/hang/timeout", test_timeout);
	g_test_add_func("/hang/kill-unresponsive", test_kill_unresponsive);
	g_test_add_func("/hang/cancel", test_cancel);
	g_test_add_func("/hang/queued-timeout", test_queued_timeout);
	g_test_add_func("/hang/busy", test_busy);
	g_test_add_func("/hang/kill-start", test_kill_start);
	g_test_add_func("/hang/caller-left", test_caller_left);
	g_test_add_func("/hang/quick-is-not-shown", test_quick_is_not_shown);
	return g_test_run();
}
