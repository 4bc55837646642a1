/* roostd ends, dies and comes back: definitions are durable, QEMUs stay, every call is answered. */
#include <glib/gstdio.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

static void test_definitions(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, "'Description': <'täst'>, 'VCPUs': <uint32 3>");
	g_autofree char *gone = fixture_define(f, "gone", NULL, NULL);
	g_autoptr(GVariant) before = NULL, after = NULL;

	client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	client_do(c, gone, VM, "Undefine", fixture_no_options());
	before = client_call(c, web, VM, "GetConfig", fixture_no_options());
	fixture_stop_roostd(f);
	fixture_start_roostd(f);
	after = client_call(c, web, VM, "GetConfig", fixture_no_options());
	g_assert_true(g_variant_equal(before, after));
	client_assert_property(c, web, "ConfigRevision", "uint64 2");
	client_assert_property(c, web, "State", "'off'");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "gone"), ROOST_ERROR("NoSuchVM"), "*");
	/* Without a word: what was answered is durable. */
	client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", FALSE));
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_assert_property(c, web, "Autostart", "false");
	client_assert_property(c, web, "ConfigRevision", "uint64 3");
}

static void test_damaged(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL),
			*db = fixture_define(f, "db", NULL, NULL);
	g_autofree char *file = NULL, *aside = NULL;
	g_autoptr(GVariant) uuid = client_get(c, web, VM, "UUID");

	file = g_strdup_printf("%s/state/vms/%s.json", f->dir, g_variant_get_string(uuid, NULL));
	aside = g_strdup_printf("%s.damaged", file);
	fixture_stop_roostd(f);
	g_assert_true(g_file_set_contents(file, "{\"FormatVersion\": 1, \"Conf", -1, NULL));
	fixture_start_roostd(f);
	client_assert_property(c, db, "State", "'off'");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "web"), ROOST_ERROR("NoSuchVM"), "*");
	g_assert_true(g_file_test(aside, G_FILE_TEST_EXISTS));
}

/* A QEMU that outlived roostd can't be started twice; it is there, and can be ended. */
static void outlive(bool kill_it)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *glob = NULL;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	if (kill_it)
		fixture_kill_roostd(f);
	else
		fixture_stop_roostd(f);
	g_assert_cmpint(kill((pid_t)pid, 0), ==, 0);
	fixture_start_roostd(f);
	/* It is asked how it is. */
	client_await_property(c, web, "Responsive", "true");
	client_assert_property(c, web, "State", "'running'");
	glob = g_strdup_printf("*%u*", pid);
	client_refused(c, web, VM, "Start", fixture_no_options(), ROOST_ERROR("InvalidState"), glob);
	g_assert_cmpuint(fixture_pid(f, web), ==, pid);
	client_do(c, web, VM, "Kill", NULL);
	client_await_property(c, web, "State", "'off'");
	fixture_start_vm(f, web);
	g_assert_cmpuint(fixture_pid(f, web), !=, pid);
}

static void test_outlived_stop(void)
{
	outlive(false);
}

static void test_outlived_kill(void)
{
	outlive(true);
}

/* A QEMU that died while nobody looked. */
static void test_died_meanwhile(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	fixture_kill_roostd(f);
	kill((pid_t)pid, SIGKILL);
	fixture_start_roostd(f);
	client_await_property(f->client, web, "PID", "uint32 0");
	fixture_start_vm(f, web);
}

/* Whoever waits is told. */
static void test_shutdown_answers(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop silent\n", NULL);
	guint32 current, queued;
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	current = client_send(c, web, VM, "Pause", NULL);
	queued = client_send(c, web, VM, "Reset", NULL);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 1>*");
	fixture_stop_roostd(f);
	client_expect_error(c, current, ROOST_ERROR("Cancelled"), "Pause: *");
	client_expect_error(c, queued, ROOST_ERROR("Cancelled"), "Reset: roostd is shutting down");
	fixture_start_roostd(f);
	client_do(c, web, VM, "Kill", NULL);
}

/* Once after the host has started, which a run-time folder without the mark stands for. */
static void test_autostart(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, "'Autostart': <true>");
	g_autofree char *db = fixture_define(f, "db", NULL, NULL);
	g_autofree char *mark = g_build_filename(f->dir, "run", "autostarted", NULL);

	client_assert_property(c, web, "State", "'off'");
	client_do(c, db, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	fixture_stop_roostd(f);
	fixture_start_roostd(f);
	client_assert_property(c, web, "State", "'off'");
	fixture_stop_roostd(f);
	g_assert_cmpint(unlink(mark), ==, 0);
	fixture_start_roostd(f);
	client_await_property(c, web, "State", "'running'");
	client_await_property(c, db, "State", "'running'");
	/* What somebody ended since stays so. */
	client_do(c, web, VM, "Kill", NULL);
	fixture_stop_roostd(f);
	fixture_start_roostd(f);
	client_await_property(c, db, "State", "'running'");
	client_assert_property(c, web, "State", "'off'");
	client_await_property(c, db, "Responsive", "true");
	client_do(c, db, VM, "Kill", NULL);
}

/* As QEMU would: to its standard error. */
static void say_as_qemu(guint pid, const char *words)
{
	g_autofree char *path = g_strdup_printf("/proc/%u/fd/2", pid);
	int fd = open(path, O_WRONLY);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, words, strlen(words)), ==, (gssize)strlen(words));
	close(fd);
}

/* What QEMU says while no roostd runs neither hurts it nor is lost. */
static void test_output(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	g_autoptr(GVariant) last = NULL;
	const char *message;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	fixture_kill_roostd(f);
	say_as_qemu(pid, "is anybody there?\n");
	fixture_start_roostd(f);
	client_await_property(c, web, "Responsive", "true");
	say_as_qemu(pid, "ah");
	fixture_signal_qemu(f, web, SIGKILL);
	client_await_property(c, web, "State", "'crashed'");
	last = client_get(c, web, VM, "LastExit");
	g_assert_true(g_variant_lookup(last, "Message", "&s", &message));
	g_assert_cmpstr(message, ==, "is anybody there?\nah");
}

/* Without a bus there is nothing to serve. */
static void test_bus_lost(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);

	g_assert_cmpint(fixture_lose_bus(f), ==, 1);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/restart/definitions", test_definitions);
	g_test_add_func("/restart/damaged", test_damaged);
	g_test_add_func("/restart/outlived-stop", test_outlived_stop);
	g_test_add_func("/restart/outlived-kill", test_outlived_kill);
	g_test_add_func("/restart/died-meanwhile", test_died_meanwhile);
	g_test_add_func("/restart/shutdown-answers", test_shutdown_answers);
	g_test_add_func("/restart/autostart", test_autostart);
	g_test_add_func("/restart/output", test_output);
	g_test_add_func("/restart/bus-lost", test_bus_lost);
	return g_test_run();
}
