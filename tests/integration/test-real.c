/* With the real QEMU, and guests of a few bytes: a boot sector on a floppy. */
#include <signal.h>
#include <string.h>

#include "fixture.h"

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

static void assert_status(Fixture *f, const char *path, const char *status)
{
	g_autofree char *glob = g_strdup_printf("*\"status\": \"%s\"*", status);
	g_autoptr(GVariant) result = client_call(
		f->client, path, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"query-status\"}"));
	const char *text;

	g_variant_get(result, "(&s)", &text);
	g_assert_true(g_pattern_match_simple(glob, text));
}

static void live(Fixture *f, const char *machine)
{
	Client *c = f->client;
	g_autofree char *config =
		g_strdup_printf("'MachineType': <'%s'>, 'Accelerator': <'tcg'>, 'Consoles': "
				"<[{'Type': <'serial'>}]>, 'NICs': <[{'Type': <'user'>}]>",
			machine);
	g_autofree char *path = fixture_define(f, machine, NULL, config);
	gsize mark = client_mark(c);

	client_do(c, path, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	client_assert_property(c, path, "State", "'paused'");
	client_assert_property(c, path, "Accelerator", "'tcg'");
	client_do(c, path, VM, "Resume", NULL);
	assert_status(f, path, "running");
	client_assert_property(c, path, "State", "'running'");
	client_do(c, path, VM, "Pause", NULL);
	assert_status(f, path, "paused");
	client_assert_property(c, path, "State", "'paused'");
	client_do(c, path, VM, "Reset", NULL);
	client_await(c, mark, path, "Event", "(*, 'RESET', *");
	client_do(c, path, VM, "Resume", NULL);
	client_do(c, path, VM, "Kill", NULL);
	client_assert_property(c, path, "State", "'off'");
	client_assert_property(c, path, "PID", "uint32 0");
	/* At once again. */
	fixture_start_vm(f, path);
	client_do(c, path, VM, "Kill", NULL);
}

static void test_machines(void)
{
	g_autoptr(Fixture) f = real();

	if (!f)
		return;
	live(f, "q35");
	live(f, "pc");
}

/* ACPI's S5: the guest powers off by itself. */
static void test_power_off(void)
{
	static const guint8 code[] = {0xfa, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xeb, 0xfe};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;
	gsize mark;

	if (!f)
		return;
	path = fixture_define_boot(f, "off", code, sizeof code, NULL);
	mark = client_mark(f->client);
	fixture_start_vm(f, path);
	client_await(f->client, mark, path, "StateChanged", "(*, 'off', 'guest')");
	client_await(f->client, mark, path, "Event", "(*, 'SHUTDOWN', *'reason': <'guest-shutdown'>*");
	client_assert_property(f->client, path, "PID", "uint32 0");
}

/* The guest resets itself again and again; it stays the same QEMU. */
static void test_reset_loop(void)
{
	static const guint8 code[] = {0xfa, 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;
	gsize position;
	guint pid;

	if (!f)
		return;
	path = fixture_define_boot(f, "loop", code, sizeof code, NULL);
	fixture_start_vm(f, path);
	pid = fixture_pid(f, path);
	position = client_mark(f->client);
	for (unsigned i = 0; i < 10; i++)
		position = client_await(f->client, position, path, "Event", "(*, 'RESET', *") + 1;
	client_assert_property(f->client, path, "State", "'running'");
	g_assert_cmpuint(fixture_pid(f, path), ==, pid);
	client_do(f->client, path, VM, "Kill", NULL);
	client_assert_property(f->client, path, "State", "'off'");
}

/* Nine bytes that make 190,000 events a second. */
static void test_flood(void)
{
	static const guint8 code[] = {0xfa, 0xba, 0x05, 0x05, 0xb0, 0x02, 0xee, 0xeb, 0xfd};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL, *other = NULL;
	gint64 since;
	gsize position;
	guint64 sum = 0;

	if (!f)
		return;
	path = fixture_define_boot(f, "flood", code, sizeof code, "'Panic': <true>");
	other = fixture_define(f, "other", NULL, "'Accelerator': <'tcg'>");
	client_do(f->client, other, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	fixture_start_vm(f, path);
	position =
		client_await(f->client, client_mark(f->client), path, "Event", "(*, 'GUEST_CRASHLOADED', *");
	since = g_get_monotonic_time();
	for (unsigned i = 0; i < 100; i++) {
		guint count;

		position = client_await(f->client, position, path, "Event", "(*, 'GUEST_CRASHLOADED', *");
		g_variant_get(g_dbus_message_get_body(client_message(f->client, position++)),
			"(tsutttsa{sv})", NULL, NULL, &count, NULL, NULL, NULL, NULL, NULL);
		sum += count;
	}
	g_test_message("%" G_GUINT64_FORMAT " events in 100 signals, %.1f s", sum,
		(double)(g_get_monotonic_time() - since) / 1e6);
	g_assert_cmpint(g_get_monotonic_time() - since, >, G_TIME_SPAN_SECOND);
	/* Others, and the VM itself, go on. */
	client_do(f->client, other, VM, "Resume", NULL);
	client_do(f->client, other, VM, "Pause", NULL);
	client_do(f->client, path, VM, "Pause", NULL);
	client_assert_property(f->client, path, "State", "'paused'");
	client_do(f->client, path, VM, "Resume", NULL);
	client_do(f->client, path, VM, "Kill", NULL);
	client_assert_property(f->client, path, "State", "'off'");
}

static void test_stopped(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;
	guint32 pause;
	gsize mark;

	if (!f)
		return;
	path = fixture_define(f, "web", NULL, "'Accelerator': <'tcg'>");
	fixture_start_vm(f, path);
	fixture_signal_qemu(f, path, SIGSTOP);
	mark = client_mark(f->client);
	pause = client_send(f->client, path, VM, "Pause", NULL);
	client_await(
		f->client, mark, path, "PropertiesChanged", "*'CurrentOperation': <{*'Member': <'Pause'>*");
	client_do(f->client, path, VM, "Kill", NULL);
	client_expect_error(f->client, pause, ROOST_ERROR("Cancelled"), "Pause: *");
	client_assert_property(f->client, path, "State", "'off'");
}

/* What QEMU or the file system will not have: the caller reads why, and the VM is off. */
static void refused_start(
	Fixture *f, const char *name, const char *config, const char *error, const char *glob)
{
	g_autofree char *path = fixture_define(f, name, NULL, config);

	client_refused(f->client, path, VM, "Start", fixture_no_options(), error, glob);
	client_assert_property(f->client, path, "State", "'off'");
	client_assert_property(f->client, path, "PID", "uint32 0");
}

static void test_refused(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *text = NULL, *link = NULL, *config = NULL, *disk = NULL, *user = NULL;

	if (!f)
		return;
	refused_start(f, "absent", "'Disks': <[{'Path': <'/nonexistent/disk'>, 'Format': <'raw'>}]>",
		ROOST_ERROR("StorageFailed"), "Disks[0].Path: */nonexistent/disk*");
	refused_start(f, "folder", "'Disks': <[{'Path': <'/'>, 'Format': <'raw'>}]>",
		ROOST_ERROR("StorageFailed"), "Disks[0].Path: */*");
	text = g_strdup_printf("'Kernel': <'%s'>, 'Accelerator': <'tcg'>", f->kernel);
	refused_start(f, "kernel", text, ROOST_ERROR("QemuFailed"), "*kernel*");

	/* One image, two writers, two spellings. */
	disk = g_malloc0(1 << 20);
	link = fixture_write(f, "disk.img", disk, 1 << 20);
	config = g_strdup_printf(
		"'Accelerator': <'tcg'>, 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}]>", link);
	user = fixture_define(f, "user", NULL, config);
	client_do(f->client, user, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	g_free(config);
	config = g_strdup_printf(
		"'Accelerator': <'tcg'>, 'Disks': <[{'Path': <'%s/./disk.img'>, 'Format': <'raw'>}]>",
		f->dir);
	refused_start(f, "second", config, ROOST_ERROR("StorageFailed"), "Disks[0].Path: *user*");
	client_do(f->client, user, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/real/machines", test_machines);
	g_test_add_func("/real/power-off", test_power_off);
	g_test_add_func("/real/reset-loop", test_reset_loop);
	g_test_add_func("/real/flood", test_flood);
	g_test_add_func("/real/stopped", test_stopped);
	g_test_add_func("/real/refused", test_refused);
	return g_test_run();
}
