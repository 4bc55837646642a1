/* Rename, ValidateVM, GetVMByPID: what is asked and changed of definitions beside DefineVM. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

/* ---- Rename ---- */
static void test_rename(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	g_autoptr(GVariant) found = NULL;
	Client *c = f->client;
	gsize mark;

	g_free(fixture_define(f, "db", NULL, NULL));
	fixture_start_vm(f, web);
	mark = client_mark(c);
	client_do(c, web, VM, "Rename", g_variant_new("(s)", "shop"));
	client_assert_property(c, web, "Name", "'shop'");
	client_assert_property(c, web, "ConfigRevision", "uint64 2");
	client_assert_property(c, web, "PendingChanges", "@as []");
	g_assert_cmpuint(
		client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'Name': <'shop'>*"), ==, 1);
	client_refused(
		c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "web"), ROOST_ERROR("NoSuchVM"), "*'web'*");
	found = client_call(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "shop"));
	client_refused(
		c, web, VM, "Rename", g_variant_new("(s)", "db"), ROOST_ERROR("VMExists"), "Name: *'db'*");
	client_refused(
		c, web, VM, "Rename", g_variant_new("(s)", "a/b"), ROOST_ERROR("InvalidConfig"), "Name: *");
	client_refused(c, web, VM, "Rename", g_variant_new("(s)", ""), ROOST_ERROR("InvalidConfig"),
		"Name: is empty");
	/* The old name is free, and the change is durable. */
	g_free(fixture_define(f, "web", NULL, NULL));
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_assert_property(c, web, "Name", "'shop'");
	client_do(c, web, VM, "Kill", NULL);
}

/* Neither a name that is asked for nor one that is given up can be got twice. */
static void test_rename_races(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", "on stop delay 300\n", NULL);
	g_autofree char *db = fixture_define(f, "db", NULL, NULL);
	guint32 pause, first, second, third;
	Client *c = f->client;

	fixture_start_vm(f, web);
	pause = client_send(c, web, VM, "Pause", NULL);
	first = client_send(c, web, VM, "Rename", g_variant_new("(s)", "shop"));
	second = client_send(c, web, VM, "Rename", g_variant_new("(s)", "store"));
	third = client_send(c, db, VM, "Rename", g_variant_new("(s)", "shop"));
	client_expect_error(c, second, ROOST_ERROR("Busy"), "Name: *'shop'*");
	client_expect_error(c, third, ROOST_ERROR("VMExists"), "Name: *");
	/* Reserved, but not its name yet. */
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "shop"), ROOST_ERROR("NoSuchVM"), "*");
	g_variant_unref(client_result(c, pause));
	g_variant_unref(client_result(c, first));
	client_do(c, db, VM, "Rename", g_variant_new("(s)", "web"));
}

/* A caller that left while its Rename was queued reserves nothing any more. */
static void test_rename_dropped(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", "on stop delay 1000\n", NULL);
	g_autofree char *db = fixture_define(f, "db", NULL, NULL);
	Client *c = f->client, *other = client_new(f->address);
	guint32 pause;
	gsize mark;

	fixture_start_vm(f, web);
	mark = client_mark(c);
	pause = client_send(c, web, VM, "Pause", NULL);
	client_send(other, web, VM, "Rename", g_variant_new("(s)", "shop"));
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 1>*");
	client_free(other);
	client_await(c, mark, web, "PropertiesChanged", "*'QueuedOperations': <uint32 0>*");
	client_do(c, db, VM, "Rename", g_variant_new("(s)", "shop"));
	g_variant_unref(client_result(c, pause));
	client_assert_property(c, web, "Name", "'web'");
}

/* ---- ValidateVM ---- */
static void expect_problems(Fixture *f, const char *config, const char *const *globs)
{
	g_autofree char *text = g_strdup_printf("({%s},)", config);
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) args = g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, &error);
	g_autoptr(GVariant) result = NULL, problems = NULL;
	unsigned n = 0;

	g_assert_no_error(error);
	result = client_call(f->client, PATH, MANAGER, "ValidateVM", args);
	problems = g_variant_get_child_value(result, 0);
	for (; globs[n]; n++) {
		g_autoptr(GVariant) problem = NULL;
		g_autofree char *printed = NULL;

		g_assert_cmpuint(n, <, g_variant_n_children(problems));
		problem = g_variant_get_child_value(problems, n);
		printed = g_variant_print(problem, FALSE);
		if (!g_pattern_match_simple(globs[n], printed))
			g_error("problem %u is %s, not %s", n, printed, globs[n]);
	}
	g_assert_cmpuint(n, ==, g_variant_n_children(problems));
}

static void test_validate(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *disk = fixture_write(f, "disk", "0123456789", 10),
			*link = g_strconcat(disk, "-link", NULL);
	g_autofree char *keys = g_strdup_printf("'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}]>", disk);
	g_autofree char *bad = g_strdup_printf("'Name': <'web'>, 'Memory': <uint64 1099511627776>, 'Kernel': "
					       "<'/no/kernel'>, 'Initrd': <'/'>, 'Accelerator': "
					       "<'tcg'>, 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}, "
					       "{'Path': <'/no/disk'>, 'Format': <'raw'>}]>",
		link);
	g_autofree char *twice =
		g_strdup_printf("'Name': <'two'>, 'Memory': <uint64 33554432>, 'Disks': <[{'Path': <'%s'>, "
				"'Format': <'raw'>}, {'Path': <'%s'>, 'Format': <'raw'>}]>",
			f->kernel, f->kernel);
	g_autofree char *web = fixture_define(f, "web", NULL, keys);

	g_assert_cmpint(symlink(disk, link), ==, 0);
	fixture_start_vm(f, web);
	expect_problems(f, "'Name': <'ok'>, 'Memory': <uint64 33554432>", (const char *[]){NULL});
	expect_problems(f, "'Name': <'ok'>, 'Memroy': <uint64 33554432>",
		(const char *[]){"('Memroy', '*.InvalidConfig', \"Memroy: *'Memory'?\")", NULL});
	expect_problems(f, "'Name': <'ok'>, 'Memory': <uint64 33554432>, 'TPM': <true>",
		(const char *[]){"('TPM', '*.NotSupported', 'TPM: *')", NULL});
	expect_problems(f, bad,
		(const char *[]){"('Name', '*.VMExists', *",
			"('Disks[1].Path', '*.StorageFailed', '*/no/disk: No such*')",
			"('Kernel', '*.StorageFailed', *",
			"('Initrd', '*.StorageFailed', '*is no regular file')",
			"('Memory', '*.InvalidConfig', *",
			"('Disks[0].Path', '*.StorageFailed', \"*in use by the VM 'web'\")", NULL});
	expect_problems(f, twice,
		(const char *[]){
			"('Disks[1].Path', '*.StorageFailed', '*another disk of this VM, too')", NULL});
	/* No trace of it: the name is free. */
	g_free(fixture_define(f, "ok", NULL, NULL));
	client_do(f->client, web, VM, "Kill", NULL);
}

/* ---- GetVMByPID, InjectNMI ---- */
static void test_by_pid(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	g_autoptr(GVariant) found = NULL;
	const char *path;

	client_refused(f->client, PATH, MANAGER, "GetVMByPID", g_variant_new("(u)", 0),
		ROOST_ERROR("NoSuchVM"), "*");
	fixture_start_vm(f, web);
	found = client_call(
		f->client, PATH, MANAGER, "GetVMByPID", g_variant_new("(u)", fixture_pid(f, web)));
	g_variant_get(found, "(&o)", &path);
	g_assert_cmpstr(path, ==, web);
	client_refused(f->client, PATH, MANAGER, "GetVMByPID", g_variant_new("(u)", getpid()),
		ROOST_ERROR("NoSuchVM"), "pid: process * is no VM's QEMU");
}

static void test_nmi(void)
{
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Fixture) f = NULL;
	g_autofree char *web = NULL;

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return;
	}
	f = fixture_new(&options);
	web = fixture_define(f, "web", NULL, "'Accelerator': <'tcg'>");
	client_refused(
		f->client, web, VM, "InjectNMI", NULL, ROOST_ERROR("InvalidState"), "InjectNMI: *is off*");
	fixture_start_vm(f, web);
	client_do(f->client, web, VM, "InjectNMI", NULL);
	client_do(f->client, web, VM, "Kill", NULL);
}

/* ---- Firmware ---- */
static void test_firmware(void)
{
	static const struct {
		const char *word, *code, *variables;
	} rows[] = {
		{"bios"},
		{"uefi", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"uefi-secure", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
			"/usr/share/OVMF/OVMF_VARS_4M.ms.fd"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("vm%u", (unsigned)i);
		g_autofree char *key = g_strdup_printf("'Firmware': <'%s'>", rows[i].word);
		g_autofree char *text = g_strdup_printf("'%s'", rows[i].word);
		g_autofree char *vm = fixture_define(f, name, NULL, key);

		client_assert_property(f->client, vm, "Firmware", text);
		if (rows[i].code && (access(rows[i].code, R_OK) < 0 || access(rows[i].variables, R_OK) < 0))
			continue;
		fixture_start_vm(f, vm);
		client_assert_property(f->client, vm, "Firmware", text);
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/definitions/rename", test_rename);
	g_test_add_func("/definitions/rename-races", test_rename_races);
	g_test_add_func("/definitions/rename-dropped", test_rename_dropped);
	g_test_add_func("/definitions/validate", test_validate);
	g_test_add_func("/definitions/firmware", test_firmware);
	g_test_add_func("/definitions/by-pid", test_by_pid);
	g_test_add_func("/definitions/nmi", test_nmi);
	return g_test_run();
}
