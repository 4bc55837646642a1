/*
 * What roostd leaves behind, and what it makes of what it finds: a QEMU that it can't record, one that was
 * never recorded, one of a VM that is not defined any more, one that ended while nobody looked; folders that
 * somebody cleared away.
 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

/* The file of a VM below the run-time folder, or the definition. */
static char *vm_file(Fixture *f, const char *path, const char *name)
{
	g_autoptr(GVariant) uuid = client_get(f->client, path, VM, "UUID");
	const char *text = g_variant_get_string(uuid, NULL);

	if (!name)
		return g_strdup_printf("%s/state/vms/%s.json", f->dir, text);
	return g_strdup_printf("%s/run/vm/%s/%s", f->dir, text, name);
}

static void write_record(const char *file, guint pid, guint64 start_time)
{
	g_autofree char *text = g_strdup_printf("{\"PID\": %u, \"StartTime\": %" G_GUINT64_FORMAT
						", \"Epoch\": 1, \"Accelerator\": \"tcg\", \"Claims\": []}",
		pid, start_time);
	g_autoptr(GError) error = NULL;

	g_file_set_contents(file, text, -1, &error);
	g_assert_no_error(error);
}

/* roostd was killed after it had spawned QEMU, before it could write which process that is. */
static void test_killed_amid_start(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *record = NULL, *glob = NULL;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	record = vm_file(f, web, "process");
	fixture_kill_roostd(f);
	write_record(record, 0, 0);
	fixture_start_roostd(f);
	g_assert_cmpuint(fixture_pid(f, web), ==, pid);
	glob = g_strdup_printf("*%u*", pid);
	client_refused(f->client, web, VM, "Start", fixture_no_options(), ROOST_ERROR("InvalidState"), glob);
	client_do(f->client, web, VM, "Kill", NULL);
	client_await_property(f->client, web, "State", "'off'");
}

/* ... or before it had spawned it. */
static void test_killed_before_spawn(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *record = NULL;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	record = vm_file(f, web, "process");
	fixture_kill_roostd(f);
	kill((pid_t)pid, SIGKILL);
	write_record(record, 0, 0);
	fixture_start_roostd(f);
	fixture_start_vm(f, web);
	client_assert_property(f->client, web, "State", "'running'");
}

/* The definition of a running VM was lost: its QEMU is not run a second time under a new one. */
static void test_stray(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *disk = fixture_write(f, "disk", "0123456789", 10);
	g_autofree char *keys =
		g_strdup_printf("'UUID': <'0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a'>, 'Disks': <[{'Path': "
				"<'%s'>, 'Format': <'raw'>}]>",
			disk);
	g_autofree char *other_keys =
		g_strdup_printf("'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}]>", disk);
	g_autofree char *web = fixture_define(f, "web", NULL, keys), *file = vm_file(f, web, NULL),
			*glob = NULL;
	g_autofree char *other = NULL, *again = NULL, *record = vm_file(f, web, "process");
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	fixture_kill_roostd(f);
	g_assert_cmpint(unlink(file), ==, 0);
	fixture_start_roostd(f);
	other = fixture_define(f, "other", NULL, other_keys);
	client_refused(f->client, other, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"),
		"*in use by*");
	again = fixture_define(f, "web", NULL, "'UUID': <'0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a'>");
	glob = g_strdup_printf("*%u*", pid);
	/* However often: it stays on record. */
	for (guint i = 0; i < 2; i++)
		client_refused(f->client, again, VM, "Start", fixture_no_options(),
			ROOST_ERROR("InvalidState"), glob);
	g_assert_true(g_file_test(record, G_FILE_TEST_EXISTS));
	kill((pid_t)pid, SIGKILL);
}

static void test_ended_meanwhile(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *record = NULL;
	g_autoptr(GVariant) last_exit = NULL;
	const char *reason;
	guint pid;

	fixture_start_vm(f, web);
	pid = fixture_pid(f, web);
	record = vm_file(f, web, "process");
	fixture_kill_roostd(f);
	kill((pid_t)pid, SIGKILL);
	fixture_start_roostd(f);
	client_await_property(f->client, web, "State", "'crashed'");
	client_assert_property(f->client, web, "StateReason", "'qemu-exit'");
	last_exit = client_get(f->client, web, VM, "LastExit");
	g_assert_true(g_variant_lookup(last_exit, "Reason", "&s", &reason));
	g_assert_cmpstr(reason, ==, "qemu-exit");
	/* The start makes the folder anew, whether it was removed already or not. */
	fixture_start_vm(f, web);
	g_assert_true(g_file_test(record, G_FILE_TEST_EXISTS));
}

/* A QEMU that a later roostd would not know is not let go on. */
static void test_no_record(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *record = vm_file(f, web, "process");
	g_autofree char *folder = g_path_get_dirname(record);

	/* Nothing can be renamed over a folder. */
	g_assert_cmpint(g_mkdir_with_parents(record, 0700), ==, 0);
	client_refused(
		f->client, web, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"), "*/vm/*");
	client_assert_property(f->client, web, "State", "'off'");
	client_assert_property(f->client, web, "PID", "uint32 0");
	rmdir(record);
	rmdir(folder);
	fixture_start_vm(f, web);
}

/* Somebody tidied up. */
static void test_cleared_away(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *file = vm_file(f, web, NULL);
	g_autofree char *mark = g_build_filename(f->dir, "run", "autostarted", NULL);
	g_autofree char *vms = g_build_filename(f->dir, "run", "vm", NULL),
			*run = g_build_filename(f->dir, "run", NULL);

	g_assert_cmpint(rmdir(vms), ==, 0);
	unlink(mark);
	g_assert_cmpint(rmdir(run), ==, 0);
	fixture_start_vm(f, web);
	client_do(f->client, web, VM, "Kill", NULL);
	/* And the definition, too: that it is gone is what Undefine is for. */
	g_assert_cmpint(unlink(file), ==, 0);
	client_do(f->client, web, VM, "Undefine", fixture_no_options());
}

/* Kill, with a Start before it and one behind it: it is answered when the first one's QEMU is gone. */
static void test_kill_between_starts(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	Client *c = f->client;

	for (guint i = 0; i < 20; i++) {
		guint32 first, kill, second;

		gsize mark = client_mark(c);

		first = client_send(c, web, VM, "Start", fixture_no_options());
		client_await(c, mark, web, "StateChanged", "('off', 'starting', *");
		kill = client_send(c, web, VM, "Kill", NULL);
		second = client_send(c, web, VM, "Start", fixture_no_options());
		client_await_reply(c, first);
		g_variant_unref(client_result(c, kill));
		g_variant_unref(client_result(c, second));
		client_do(c, web, VM, "Kill", NULL);
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/traces/killed-amid-start", test_killed_amid_start);
	g_test_add_func("/traces/killed-before-spawn", test_killed_before_spawn);
	g_test_add_func("/traces/stray", test_stray);
	g_test_add_func("/traces/ended-meanwhile", test_ended_meanwhile);
	g_test_add_func("/traces/no-record", test_no_record);
	g_test_add_func("/traces/cleared-away", test_cleared_away);
	g_test_add_func("/traces/kill-between-starts", test_kill_between_starts);
	return g_test_run();
}
