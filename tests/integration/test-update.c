/* Update: what it changes at once, what waits for the next start, and that it changes all or nothing. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

#define WATCHDOG "'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>"

/* In GVariant's text form, without braces. */
static GVariant *arguments(const char *changes, const char *options)
{
	g_autofree char *text =
		g_strdup_printf("(@a{sv} {%s}, @a{sv} {%s})", changes, options ? options : "");
	g_autoptr(GError) error = NULL;
	GVariant *args = g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"), text, NULL, NULL, &error);

	g_assert_no_error(error);
	return args;
}

/* `pending`: what it must answer, as text. */
static void update(Client *c, const char *vm, const char *changes, const char *options, const char *pending)
{
	g_autoptr(GVariant) args = arguments(changes, options);
	g_autoptr(GVariant) result = client_call(c, vm, VM, "Update", args);
	g_autofree char *text = g_variant_print(result, FALSE);

	g_assert_cmpstr(text, ==, pending);
}

static void refused(Client *c, const char *vm, const char *changes, const char *options, const char *error,
	const char *glob)
{
	client_refused(c, vm, VM, "Update", arguments(changes, options), error, glob);
}

/* The value of a key in GetConfig, as text. */
static void assert_key(Client *c, const char *vm, const char *key, const char *text)
{
	g_autoptr(GVariant) result = client_call(c, vm, VM, "GetConfig", fixture_no_options());
	g_autoptr(GVariant) dict = g_variant_get_child_value(result, 0);
	g_autoptr(GVariant) value = g_variant_lookup_value(dict, key, NULL);
	g_autofree char *printed = NULL;

	g_assert_nonnull(value);
	printed = g_variant_print(value, FALSE);
	g_assert_cmpstr(printed, ==, text);
}

static void test_off(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, "'VCPUs': <uint32 2>, 'Metadata': <{'a': 'b'}>");
	Client *c = f->client;
	gsize mark = client_mark(c);

	update(c, vm, "'VCPUs': <uint32 4>, 'Description': <'new'>", NULL, "([],)");
	g_assert_cmpuint(
		client_count(c, mark, client_sync(c), vm, "PropertiesChanged", "*'Description': <'new'>*"),
		==, 1);
	client_assert_property(c, vm, "VCPUs", "uint32 4");
	client_assert_property(c, vm, "ConfigRevision", "uint64 2");
	/* To their defaults. */
	update(c, vm, "", "'Unset': <['VCPUs', 'Metadata']>", "([],)");
	client_assert_property(c, vm, "VCPUs", "uint32 1");
	assert_key(c, vm, "Metadata", "{}");
	client_assert_property(c, vm, "ConfigRevision", "uint64 3");
	/* What is so already changes nothing. */
	mark = client_mark(c);
	update(c, vm, "'VCPUs': <uint32 1>", "'Revision': <uint64 3>", "([],)");
	update(c, vm, "", NULL, "([],)");
	client_assert_property(c, vm, "ConfigRevision", "uint64 3");
	g_assert_cmpuint(
		client_count(c, mark, client_sync(c), vm, "PropertiesChanged", "*'ConfigRevision'*"), ==, 0);
	/* Lists are replaced, and names and addresses made up again where none is given. */
	update(c, vm, "'NICs': <[@a{sv} {}, {'Model': <'e1000e'>}]>", NULL, "([],)");
	update(c, vm, "'NICs': <[{'Name': <'nic1'>}]>", NULL, "([],)");
	/* Durable. */
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_assert_property(c, vm, "Description", "'new'");
	client_assert_property(c, vm, "ConfigRevision", "uint64 5");
}

static void test_refused(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, NULL);
	static const struct {
		const char *changes, *options, *error, *glob;
	} rows[] = {
		{"'Memroy': <uint64 1>", NULL, ROOST_ERROR("InvalidConfig"), "Memroy: *'Memory'*"},
		{"'Memory': <uint32 1>", NULL, ROOST_ERROR("InvalidConfig"),
			"Memory: has type 'u', needs 't'"},
		{"'VCPUs': <uint32 0>", NULL, ROOST_ERROR("InvalidConfig"), "VCPUs: *"},
		{"'VCPUs': <uint32 2>, 'VCPUs': <uint32 3>", NULL, ROOST_ERROR("InvalidConfig"),
			"VCPUs: is given twice"},
		{"'Description': <'x'>, 'Disks': <[{'Path': <'/a'>}]>", NULL, ROOST_ERROR("InvalidConfig"),
			"Disks?0?.Format: is required"},
		{"'TPM': <true>", NULL, ROOST_ERROR("NotSupported"), "TPM: *"},
		{"'UUID': <'11111111222233334444555555555555'>", NULL, ROOST_ERROR("InvalidConfig"),
			"UUID: *can't be changed"},
		{"'Name': <'db'>", NULL, ROOST_ERROR("VMExists"), "Name: *'db'*"},
		{"'Name': <'a/b'>", NULL, ROOST_ERROR("InvalidConfig"), "Name: *"},
		{"'Watchdog': <''>, 'OnWatchdog': <'pause'>", NULL, ROOST_ERROR("InvalidConfig"),
			"OnWatchdog: needs Watchdog"},
		{"", "'Unset': <['Memory']>", ROOST_ERROR("InvalidConfig"), "Memory: is required"},
		{"", "'Unset': <['UUID']>", ROOST_ERROR("InvalidConfig"), "UUID: *can't be changed"},
		{"", "'Unset': <['Kernel', 'Kernl']>", DBUS_ERROR("InvalidArgs"),
			"options.Unset?1?: Kernl: unknown key; did you mean 'Kernel'?"},
		{"", "'Unset': <['TPM']>", ROOST_ERROR("NotSupported"), "options.Unset?0?: TPM: *"},
		{"'VCPUs': <uint32 2>", "'Unset': <['VCPUs']>", DBUS_ERROR("InvalidArgs"),
			"options.Unset?0?: VCPUs *"},
		{"", "'Unset': <['RNG', 'VCPUs', 'RNG']>", DBUS_ERROR("InvalidArgs"),
			"options.Unset?2?: RNG is given twice"},
		{"", "'Unset': <'VCPUs'>", DBUS_ERROR("InvalidArgs"),
			"options.Unset: must be an array of strings (as), not of type 's'"},
		{"", "'Revision': <uint32 1>", DBUS_ERROR("InvalidArgs"), "options.Revision: *"},
		{"", "'Force': <true>", DBUS_ERROR("InvalidArgs"), "options.Force: *Unset, Revision*"},
		{"'VCPUs': <uint32 2>", "'Revision': <uint64 7>", ROOST_ERROR("Conflict"),
			"options.Revision: *'web'*revision 1, not 7*"},
	};
	Client *c = f->client;
	g_autoptr(GVariant) before = client_call(c, vm, VM, "GetConfig", fixture_no_options()), after = NULL;

	g_free(fixture_define(f, "db", NULL, NULL));
	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
		refused(c, vm, rows[i].changes, rows[i].options, rows[i].error, rows[i].glob);
	after = client_call(c, vm, VM, "GetConfig", fixture_no_options());
	g_assert_true(g_variant_equal(before, after));
}

static void test_name(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, NULL);
	Client *c = f->client;

	update(c, vm, "'Name': <'shop'>, 'VCPUs': <uint32 2>", NULL, "([],)");
	client_assert_property(c, vm, "Name", "'shop'");
	/* What fails gives the name back. */
	refused(c, vm, "'Name': <'store'>, 'VCPUs': <uint32 0>", NULL, ROOST_ERROR("InvalidConfig"),
		"VCPUs: *");
	g_free(fixture_define(f, "store", NULL, NULL));
	g_free(fixture_define(f, "web", NULL, NULL));
	client_refused(
		c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "sho"), ROOST_ERROR("NoSuchVM"), "*'shop'*");
	update(c, vm, "'Name': <'shop'>", NULL, "([],)");
	client_assert_property(c, vm, "ConfigRevision", "uint64 2");
}

/* Those that ask for the name which the VM has, behind which a Rename waits: they leave the reserved name
 * alone, whether they succeed or fail. */
static void test_name_kept(const char *member, GVariant *args, const char *error)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", "on query-chardev delay 500\n", NULL);
	Client *c = f->client;
	guint32 same, second, rename;

	fixture_start_vm(f, vm);
	client_send(c, vm, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"query-chardev\"}"));
	same = client_send(c, vm, VM, member, args);
	second = client_send(
		c, vm, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"query-chardev\"}"));
	rename = client_send(c, vm, VM, "Rename", g_variant_new("(s)", "shop"));
	if (error)
		client_expect_error(c, same, error, "*");
	else
		g_variant_unref(client_result(c, same));
	client_refused(c, PATH, MANAGER, "DefineVM",
		g_variant_new_parsed("({'Name': <'shop'>, 'Memory': <uint64 67108864>},)"),
		ROOST_ERROR("VMExists"), "Name: *'shop'*");
	client_do(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "web"));
	g_variant_unref(client_result(c, second));
	g_variant_unref(client_result(c, rename));
	client_assert_property(c, vm, "Name", "'shop'");
	client_do(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "shop"));
	g_free(fixture_define(f, "web", NULL, NULL));
}

static void test_name_kept_by_update(void)
{
	test_name_kept("Update", arguments("'Name': <'web'>, 'Description': <'x'>", NULL), NULL);
}

static void test_name_kept_by_failure(void)
{
	test_name_kept("Update", arguments("'Name': <'web'>, 'VCPUs': <uint32 0>", NULL),
		ROOST_ERROR("InvalidConfig"));
}

static void test_name_kept_by_rename(void)
{
	test_name_kept("Rename", g_variant_new("(s)", "web"), NULL);
}

/* Who hears of a name finds the VM by it. */
static void test_name_told(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, WATCHDOG);
	Client *c = f->client;

	fixture_start_vm(f, vm);
	for (guint i = 0; i < 100; i++) {
		g_autofree char *name = g_strdup_printf("web%u", i),
				*glob = g_strdup_printf("*'Name': <'%s'>*", name),
				*changes = g_strdup_printf("'Name': <'%s'>, 'OnWatchdog': <'%s'>", name,
					i % 2 == 0 ? "none" : "pause");
		gsize mark = client_mark(c);
		guint32 serial = client_send(c, vm, VM, "Update", arguments(changes, NULL));

		client_await(c, mark, vm, "PropertiesChanged", glob);
		client_do(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", name));
		g_variant_unref(client_result(c, serial));
	}
	client_do(c, vm, VM, "Kill", NULL);
}

static void test_running(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, "'VCPUs': <uint32 2>");
	Client *c = f->client;

	fixture_start_vm(f, vm);
	update(c, vm, "'VCPUs': <uint32 4>, 'Description': <'x'>, 'RNG': <true>", NULL,
		"(['VCPUs', 'RNG'],)");
	client_assert_property(c, vm, "PendingChanges", "['VCPUs', 'RNG']");
	client_assert_property(c, vm, "Description", "'x'");
	/* As QEMU has it, until it is started again; a roostd that comes later knows it, too. */
	client_assert_property(c, vm, "VCPUs", "uint32 2");
	assert_key(c, vm, "VCPUs", "4");
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_await_property(c, vm, "Responsive", "true");
	client_assert_property(c, vm, "PendingChanges", "['VCPUs', 'RNG']");
	client_assert_property(c, vm, "VCPUs", "uint32 2");
	update(c, vm, "'VCPUs': <uint32 2>", NULL, "(['RNG'],)");
	client_do(c, vm, VM, "Kill", NULL);
	client_await_property(c, vm, "PendingChanges", "@as []");
	fixture_start_vm(f, vm);
	client_assert_property(c, vm, "PendingChanges", "@as []");
}

/* ---- what QEMU changes while it runs ---- */
static void test_live_real(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.real_qemu = true});
	g_autofree char *vm = fixture_define(f, "web", NULL, "'Accelerator': <'tcg'>, " WATCHDOG);
	Client *c = f->client;

	fixture_start_vm(f, vm);
	update(c, vm, "'OnWatchdog': <'inject-nmi'>", NULL, "([],)");
	client_assert_property(c, vm, "PendingChanges", "@as []");
	update(c, vm, "'OnWatchdog': <'none'>, 'RNG': <true>", NULL, "(['RNG'],)");
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_await_property(c, vm, "Responsive", "true");
	client_assert_property(c, vm, "PendingChanges", "['RNG']");
	client_do(c, vm, VM, "Kill", NULL);
}

/* QEMU won't: then it waits. A QEMU that does not answer: nothing is changed, or it is not asked. */
static void test_live_fails(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.05});
	g_autofree char *wont =
		fixture_define(f, "wont", "on watchdog-set-action error GenericError no\n", WATCHDOG);
	g_autofree char *hangs = fixture_define(f, "hangs", "on watchdog-set-action silent\n", WATCHDOG);
	Client *c = f->client;

	fixture_start_vm(f, wont);
	fixture_start_vm(f, hangs);
	update(c, wont, "'OnWatchdog': <'none'>", NULL, "(['OnWatchdog'],)");
	refused(c, hangs, "'OnWatchdog': <'none'>, 'Description': <'x'>", NULL, ROOST_ERROR("Timeout"), "*");
	client_assert_property(c, hangs, "ConfigRevision", "uint64 1");
	client_assert_property(c, hangs, "Description", "''");
	client_await_property(c, hangs, "Responsive", "false");
	update(c, hangs, "'OnWatchdog': <'none'>", NULL, "(['OnWatchdog'],)");
	client_do(c, hangs, VM, "Kill", NULL);
	client_do(c, wont, VM, "Kill", NULL);
}

/* One that waits its turn is not what a Kill cancels. */
static void test_killed(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", "on stop silent\n", WATCHDOG);
	Client *c = f->client;

	for (guint i = 0; i < 20; i++) {
		guint32 pause, change;

		fixture_start_vm(f, vm);
		pause = client_send(c, vm, VM, "Pause", NULL);
		change = client_send(c, vm, VM, "Update",
			arguments(i % 2 == 0 ? "'OnWatchdog': <'none'>" : "'OnWatchdog': <'pause'>", NULL));
		client_do(c, vm, VM, "Kill", NULL);
		client_expect_error(c, pause, ROOST_ERROR("Cancelled"), "*");
		g_variant_unref(client_result(c, change));
		assert_key(c, vm, "OnWatchdog", i % 2 == 0 ? "'none'" : "'pause'");
	}
}

/* Given up while QEMU was changing it: then QEMU has it from before. */
static void test_cancelled(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web",
		"on watchdog-set-action event {\"event\": \"SET\"}\non watchdog-set-action delay 3000\n",
		WATCHDOG);
	Client *c = f->client;
	guint32 change;
	gsize mark;

	fixture_start_vm(f, vm);
	mark = client_mark(c);
	change = client_send(c, vm, VM, "Update", arguments("'OnWatchdog': <'none'>", NULL));
	mark = client_await(c, mark, vm, "Event", "(*'SET'*") + 1;
	client_do(c, vm, VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	client_expect_error(c, change, ROOST_ERROR("Cancelled"), "Update: *");
	client_await(c, mark, vm, "Event", "(*'SET'*");
	client_assert_property(c, vm, "ConfigRevision", "uint64 1");
	client_do(c, vm, VM, "Kill", NULL);
}

/* What waits because QEMU did not answer needs no other start: the same change again. */
static void test_live_later(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.05});
	g_autofree char *vm = fixture_define(f, "web", "on watchdog-set-action return {}\n", WATCHDOG);
	Client *c = f->client;

	fixture_start_vm(f, vm);
	fixture_signal_qemu(f, vm, SIGSTOP);
	client_refused(c, vm, VM, "Pause", NULL, ROOST_ERROR("Timeout"), "*");
	client_await_property(c, vm, "Responsive", "false");
	update(c, vm, "'OnWatchdog': <'none'>", NULL, "(['OnWatchdog'],)");
	fixture_signal_qemu(f, vm, SIGCONT);
	client_await_property(c, vm, "Responsive", "true");
	update(c, vm, "'OnWatchdog': <'none'>", NULL, "([],)");
	client_assert_property(c, vm, "PendingChanges", "@as []");
	client_assert_property(c, vm, "ConfigRevision", "uint64 2");
	client_do(c, vm, VM, "Kill", NULL);
}

/* A definition that can't be stored is not changed, neither here nor in QEMU. */
static void test_storage_fails(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web",
		"on watchdog-set-action event {\"event\": \"SET\"}\non watchdog-set-action return {}\n",
		WATCHDOG);
	g_autofree char *folder = g_build_filename(f->dir, "state", "vms", NULL),
			*away = g_build_filename(f->dir, "away", NULL), *file = NULL, *aside = NULL;
	g_autoptr(GVariant) uuid = client_get(f->client, vm, VM, "UUID");
	Client *c = f->client;
	gsize mark;

	fixture_start_vm(f, vm);
	/* A folder can't be replaced by a file, by root neither. */
	file = g_strdup_printf("%s/%s.json", folder, g_variant_get_string(uuid, NULL));
	aside = g_strdup_printf("%s/aside", f->dir);
	g_assert_cmpint(g_rename(file, aside), ==, 0);
	g_assert_cmpint(g_mkdir(file, 0700), ==, 0);
	g_assert_cmpint(g_mkdir_with_parents(away, 0700), ==, 0);
	mark = client_mark(c);
	refused(c, vm, "'OnWatchdog': <'none'>, 'Description': <'x'>", NULL, ROOST_ERROR("StorageFailed"),
		"*");
	/* Set, and set back. */
	client_await(c, mark, vm, "Event", "(*'SET'*");
	client_assert_property(c, vm, "Description", "''");
	client_assert_property(c, vm, "ConfigRevision", "uint64 1");
	client_assert_property(c, vm, "PendingChanges", "@as []");
	g_assert_cmpint(g_rmdir(file), ==, 0);
	g_assert_cmpint(g_rename(aside, file), ==, 0);
	update(c, vm, "'Description': <'y'>", NULL, "([],)");
	client_do(c, vm, VM, "Kill", NULL);
}

/* The order of the lane: what was read before another change is refused. */
static void test_conflict(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", NULL, NULL);
	Client *c = f->client;
	guint32 first, second;

	first = client_send(c, vm, VM, "Update", arguments("'VCPUs': <uint32 2>", "'Revision': <uint64 1>"));
	second = client_send(c, vm, VM, "Update", arguments("'VCPUs': <uint32 3>", "'Revision': <uint64 1>"));
	g_variant_unref(client_result(c, first));
	client_expect_error(c, second, ROOST_ERROR("Conflict"), "*");
	client_assert_property(c, vm, "VCPUs", "uint32 2");
}

static void test_transient(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.real_qemu = true});
	g_autoptr(GVariant) args = g_variant_ref_sink(g_variant_new_parsed(
		"({'Name': <'job'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>}, @a{sv} {})"));
	Client *c = f->client;
	g_autoptr(GVariant) result = client_call(c, PATH, MANAGER, "CreateVM", args);
	const char *vm;

	g_variant_get(result, "(&o)", &vm);
	refused(c, vm, "'Autostart': <true>", NULL, ROOST_ERROR("InvalidConfig"), "Autostart: *transient*");
	update(c, vm, "'Description': <'x'>, 'VCPUs': <uint32 2>", NULL, "(['VCPUs'],)");
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_await_property(c, vm, "Responsive", "true");
	client_assert_property(c, vm, "Description", "'x'");
	client_assert_property(c, vm, "PendingChanges", "['VCPUs']");
	client_do(c, vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/update/off", test_off);
	g_test_add_func("/update/refused", test_refused);
	g_test_add_func("/update/name", test_name);
	g_test_add_func("/update/name/kept/update", test_name_kept_by_update);
	g_test_add_func("/update/name/kept/failure", test_name_kept_by_failure);
	g_test_add_func("/update/name/kept/rename", test_name_kept_by_rename);
	g_test_add_func("/update/name/told", test_name_told);
	g_test_add_func("/update/running", test_running);
	g_test_add_func("/update/live/real", test_live_real);
	g_test_add_func("/update/live/fails", test_live_fails);
	g_test_add_func("/update/killed", test_killed);
	g_test_add_func("/update/cancelled", test_cancelled);
	g_test_add_func("/update/live/later", test_live_later);
	g_test_add_func("/update/storage-fails", test_storage_fails);
	g_test_add_func("/update/conflict", test_conflict);
	g_test_add_func("/update/transient", test_transient);
	return g_test_run();
}
