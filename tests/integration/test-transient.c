/* CreateVM: VMs that are there as long as their QEMU is, or as their caller. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define UUID "0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a"

/* The arguments of CreateVM. `config`, `options`: more keys in GVariant's text form, or NULL. */
static GVariant *arguments(
	Fixture *f, const char *name, const char *script, const char *config, const char *options)
{
	g_autofree char *file = g_strdup_printf("%s.script", name);
	g_autofree char *path = fixture_write(f, file, script ? script : "", script ? strlen(script) : 0);
	g_autofree char *text = g_strdup_printf(
		"({'Name': <'%s'>, 'Memory': <uint64 67108864>, 'Kernel': <'%s'>, 'KernelCommandLine': "
		"<'mock=%s'>, 'Accelerator': <'tcg'>%s%s}, @a{sv} {%s})",
		name, f->kernel, path, config ? ", " : "", config ? config : "", options ? options : "");
	g_autoptr(GError) error = NULL;
	GVariant *args = g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"), text, NULL, NULL, &error);

	g_assert_no_error(error);
	return args;
}

static char *create(Fixture *f, const char *name, const char *script, const char *config, const char *options)
{
	g_autoptr(GVariant) args = arguments(f, name, script, config, options);
	g_autoptr(GVariant) result = client_call(f->client, PATH, MANAGER, "CreateVM", args);
	char *path;

	g_variant_get(result, "(o)", &path);
	return path;
}

static guint n_entries(const char *dir, const char *below)
{
	g_autofree char *path = g_build_filename(dir, below, NULL);
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	guint n = 0;

	while (folder && g_dir_read_name(folder))
		n++;
	return n;
}

static void await_gone(Client *c, gsize mark, const char *vm)
{
	g_autofree char *glob = g_strdup_printf("*'%s'*", vm);

	client_await(c, mark, PATH, "InterfacesRemoved", glob);
	client_await(c, mark, PATH, "VMRemoved", glob);
	client_refused(c, vm, "org.freedesktop.DBus.Properties", "GetAll", g_variant_new("(s)", VM),
		DBUS_ERROR("UnknownObject"), "*");
}

static void test_life(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *vm = NULL, *again = NULL;
	gsize mark = client_mark(c), added, reply;

	vm = create(f, "job", NULL, NULL, "'Paused': <true>");
	reply = client_sync(c);
	client_assert_property(c, vm, "Persistent", "false");
	client_assert_property(c, vm, "State", "'paused'");
	added = client_find(c, mark, reply, PATH, "InterfacesAdded", "*'Persistent': <false>*");
	g_assert_cmpuint(added, <, reply);
	g_assert_cmpuint(client_find(c, added, reply, vm, "StateChanged", "('off', 'starting', 'user')"), <,
		client_find(c, added, reply, vm, "StateChanged", "('starting', 'paused', 'user')"));
	/* Nothing durable. */
	g_assert_cmpuint(n_entries(f->dir, "state/vms"), ==, 0);
	client_refused(c, vm, VM, "SetAutostart", g_variant_new("(b)", TRUE), ROOST_ERROR("InvalidState"),
		"*transient*");
	client_refused(c, vm, VM, "Undefine", fixture_no_options(), ROOST_ERROR("InvalidState"), "*");
	client_do(c, vm, VM, "Rename", g_variant_new("(s)", "work"));
	client_do(c, vm, VM, "Resume", NULL);

	mark = client_mark(c);
	client_do(c, vm, VM, "Kill", NULL);
	await_gone(c, mark, vm);
	client_await(c, mark, vm, "StateChanged", "('running', 'off', 'killed')");
	g_assert_cmpuint(n_entries(f->dir, "run/vm"), ==, 0);
	/* Its name is free. */
	again = create(f, "work", NULL, NULL, NULL);
	mark = client_mark(c);
	client_do(c, again, VM, "Shutdown", fixture_no_options());
	await_gone(c, mark, again);
}

static void test_refused(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *taken = fixture_define(f, "taken", NULL, NULL);
	Client *c = f->client;
	g_autoptr(GVariant) fails =
		g_variant_ref_sink(arguments(f, "fails", "on start exit 1\n", NULL, NULL));
	gsize mark = client_mark(c);

	client_refused(c, PATH, MANAGER, "CreateVM", arguments(f, "taken", NULL, NULL, NULL),
		ROOST_ERROR("VMExists"), "Name: *");
	client_refused(c, PATH, MANAGER, "CreateVM", arguments(f, "job", NULL, "'Autostart': <true>", NULL),
		ROOST_ERROR("InvalidConfig"), "Autostart: *");
	client_refused(c, PATH, MANAGER, "CreateVM", arguments(f, "job", NULL, NULL, "'Bind': <true>"),
		DBUS_ERROR("InvalidArgs"), "options.Bind: *BindToCaller*");
	g_assert_cmpuint(client_count(c, mark, client_sync(c), PATH, "VMNew", NULL), ==, 0);
	/* One that does not start was there, and is gone before the error comes. */
	for (guint i = 0; i < 2; i++) {
		gsize removed, reply;
		guint32 serial;

		mark = client_mark(c);
		serial = client_send(c, PATH, MANAGER, "CreateVM", fails);
		client_expect_error(c, serial, ROOST_ERROR("QemuFailed"), "CreateVM: *");
		reply = client_await_reply(c, serial);
		removed = client_find(c, mark, reply, PATH, "VMRemoved", "('fails', *");
		g_assert_cmpuint(client_find(c, mark, reply, PATH, "VMNew", "('fails', *"), <, removed);
		g_assert_cmpuint(removed, <, reply);
		client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "fails"),
			ROOST_ERROR("NoSuchVM"), "*");
	}
	g_assert_cmpuint(n_entries(f->dir, "run/vm"), ==, 0);
	client_assert_property(c, taken, "State", "'off'");
}

/* It shows while it starts, and can be killed then. */
static void test_killed_in_start(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	gsize mark = client_mark(c), removed;
	guint32 serial;

	serial = client_send(
		c, PATH, MANAGER, "CreateVM", arguments(f, "job", "on cont silent\n", NULL, NULL));
	client_await(c, mark, NULL, "PropertiesChanged", "*'PID': <uint32 *");
	client_do(c, PATH, MANAGER, "KillVM", g_variant_new("(s)", "job"));
	client_expect_error(c, serial, ROOST_ERROR("Cancelled"), "CreateVM: *");
	removed = client_await(c, mark, PATH, "VMRemoved", "('job', *");
	g_assert_cmpuint(removed, <, client_await_reply(c, serial));
	client_await(c, mark, NULL, "StateChanged", "('starting', 'off', 'killed')");
}

/* When Kill replies, the VM is gone, and its name and UUID are free; a VM that floods is kept back by none.
 */
static void test_kill_frees(void)
{
	static const char *const words[] = {
		"", "flood 0 {\"event\":\"GUEST_CRASHLOADED\",\"data\":{\"action\":\"run\"}}\n"};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;

	for (guint i = 0; i < 40; i++) {
		gsize mark = client_mark(c), reply;
		guint32 serial;

		g_free(create(f, "job", words[i % 2], "'UUID': <'" UUID "'>", NULL));
		serial = client_send(c, PATH, MANAGER, "KillVM", g_variant_new("(s)", "job"));
		g_variant_unref(client_result(c, serial));
		reply = client_await_reply(c, serial);
		g_assert_cmpuint(client_find(c, mark, reply, PATH, "VMRemoved", NULL), <, reply);
	}
}

static void expect_one_of(Client *c, guint32 serial, const char *error, const char *other)
{
	const char *name = g_dbus_message_get_error_name(client_message(c, client_await_reply(c, serial)));

	g_assert_nonnull(name);
	if (strcmp(name, error) != 0)
		g_assert_cmpstr(name, ==, other);
}

/* It is not started again, behind a Kill that has not had its effect yet neither. */
static void test_start_behind_kill(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;

	for (guint i = 0; i < 20; i++) {
		g_autofree char *vm = create(f, "job", NULL, NULL, NULL);
		gsize mark = client_mark(c);
		guint32 kill = client_send(c, vm, VM, "Kill", NULL),
			start = client_send(c, vm, VM, "Start", fixture_no_options());

		g_variant_unref(client_result(c, kill));
		/* Or the VM was quicker gone. */
		expect_one_of(c, start, ROOST_ERROR("InvalidState"), DBUS_ERROR("UnknownObject"));
		await_gone(c, mark, vm);
	}
	g_assert_cmpuint(n_entries(f->dir, "run/vm"), ==, 0);
}

static void test_crash(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = create(f, "job", NULL, NULL, NULL);
	Client *c = f->client;
	gsize mark = client_mark(c);

	fixture_signal_qemu(f, vm, SIGKILL);
	await_gone(c, mark, vm);
	client_await(c, mark, vm, "StateChanged", "('running', 'crashed', 'qemu-exit')");
}

/* ---- the caller ---- */
static guint32 send_bound(Fixture *f, Client *caller, const char *name, const char *script)
{
	return client_send(caller, PATH, MANAGER, "CreateVM",
		arguments(f, name, script, NULL, "'BindToCaller': <true>"));
}

static char *path_of(Client *c, guint32 serial)
{
	g_autoptr(GVariant) result = client_result(c, serial);
	char *path;

	g_variant_get(result, "(o)", &path);
	return path;
}

static void test_bound(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client, *caller = client_new(f->address), *other = client_new(f->address);
	g_autofree char *vm = path_of(caller, send_bound(f, caller, "job", NULL));
	g_autofree char *second = path_of(caller, send_bound(f, caller, "second", NULL));
	g_autofree char *kept = path_of(other, send_bound(f, other, "kept", NULL));
	gsize mark = client_mark(c);

	client_free(caller);
	await_gone(c, mark, vm);
	await_gone(c, mark, second);
	client_await(c, mark, vm, "StateChanged", "('running', 'off', 'caller-left')");
	client_assert_property(c, kept, "State", "'running'");
	client_free(other);
	await_gone(c, mark, kept);
}

/* It leaves while its VM starts, with a QEMU that says nothing. */
static void test_bound_in_start(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client, *caller = client_new(f->address);
	gsize mark = client_mark(c);

	send_bound(f, caller, "job", "on cont silent\n");
	client_await(c, mark, NULL, "PropertiesChanged", "*'PID': <uint32 *");
	client_free(caller);
	client_await(c, mark, PATH, "VMRemoved", "('job', *");
	client_await(c, mark, NULL, "StateChanged", "('starting', 'off', 'caller-left')");
}

/* A VM that another bus's caller is bound to ends, by whatever name that went; one of which nothing can be
 * known stays. */
static void test_bound_elsewhere(void)
{
	static const char *const words[] = {
		"0123456789abcdef0123456789abcdef :1.1", "nonsense", "non sense", ""};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	char *vms[G_N_ELEMENTS(words)];
	gsize mark;

	for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
		g_autofree char *name = g_strdup_printf("job%u", i), *text = NULL, *path = NULL, *own = NULL;
		g_autoptr(GVariant) uuid = NULL;
		g_autoptr(GRegex) regex = g_regex_new("\"BoundTo\" : \"[^\"]*\"", 0, 0, NULL);
		g_autofree char *changed = NULL;

		vms[i] = path_of(c, send_bound(f, c, name, NULL));
		uuid = client_get(c, vms[i], VM, "UUID");
		path = g_build_filename(
			f->dir, "run/vm", g_variant_get_string(uuid, NULL), "transient", NULL);
		g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
		own = g_strdup_printf("\"BoundTo\" : \"%s\"", words[i]);
		changed = g_regex_replace_literal(regex, text, -1, 0, own, 0, NULL);
		g_assert_cmpstr(changed, !=, text);
		g_assert_true(g_file_set_contents(path, changed, -1, NULL));
	}
	fixture_kill_roostd(f);
	mark = client_mark(c);
	fixture_start_roostd(f);
	client_await(c, mark, vms[0], "StateChanged", "('running', 'off', 'caller-left')");
	client_await(c, mark, vms[2], "StateChanged", "('running', 'off', 'caller-left')");
	client_await_property(c, vms[1], "Responsive", "true");
	client_do(c, vms[1], VM, "Kill", NULL);
	client_await_property(c, vms[3], "Responsive", "true");
	client_do(c, vms[3], VM, "Kill", NULL);
	for (guint i = 0; i < G_N_ELEMENTS(words); i++)
		g_free(vms[i]);
}

/* ---- roostd goes and comes ---- */
static void test_restart(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client, *caller = client_new(f->address), *leaver = client_new(f->address);
	g_autofree char *vm = create(f, "job", NULL, NULL, NULL), *dies = create(f, "dies", NULL, NULL, NULL);
	g_autofree char *bound = path_of(caller, send_bound(f, caller, "bound", NULL));
	g_autofree char *left = path_of(leaver, send_bound(f, leaver, "left", NULL));
	guint pid = fixture_pid(f, dies);
	gsize mark;

	client_do(c, vm, VM, "Rename", g_variant_new("(s)", "work"));
	fixture_kill_roostd(f);
	g_assert_cmpint(kill((pid_t)pid, SIGKILL), ==, 0);
	while (kill((pid_t)pid, 0) == 0)
		g_usleep(1000);
	client_free(leaver);
	mark = client_mark(c);
	fixture_start_roostd(f);
	client_await(c, mark, PATH, "VMRemoved", "('left', *");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "dies"), ROOST_ERROR("NoSuchVM"), "*");
	client_await_property(c, vm, "Responsive", "true");
	client_assert_property(c, vm, "Name", "'work'");
	client_assert_property(c, vm, "Persistent", "false");
	client_await_property(c, bound, "Responsive", "true");
	client_assert_property(c, bound, "State", "'running'");
	mark = client_mark(c);
	client_free(caller);
	await_gone(c, mark, bound);
	client_do(c, vm, VM, "Kill", NULL);
	await_gone(c, mark, vm);
	g_assert_cmpuint(n_entries(f->dir, "run/vm"), ==, 0);
	g_free(left);
	left = NULL;
}

/* What is known of it was lost, its QEMU runs on: it stays on record, and is not run a second time. */
static void test_stray(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *vm =
		create(f, "job", NULL, "'UUID': <'0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a'>", NULL);
	g_autofree char *folder =
		g_build_filename(f->dir, "run/vm/0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a", NULL);
	g_autofree char *definition = g_build_filename(folder, "transient", NULL);
	g_autofree char *process = g_build_filename(folder, "process", NULL);
	guint pid = fixture_pid(f, vm);

	fixture_kill_roostd(f);
	g_file_set_contents(definition, "{", 1, NULL);
	fixture_start_roostd(f);
	for (guint i = 0; i < 2; i++)
		client_refused(c, PATH, MANAGER, "CreateVM",
			arguments(f, "job", NULL, "'UUID': <'" UUID "'>", NULL), ROOST_ERROR("InvalidState"),
			"CreateVM: process *");
	g_assert_true(g_file_test(process, G_FILE_TEST_EXISTS));
	kill((pid_t)pid, SIGKILL);
}

static void test_real(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.real_qemu = true});
	Client *c = f->client;
	g_autoptr(GVariant) args = NULL, result = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *vm = NULL;
	gsize mark;

	args = g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"),
		"({'Name': <'job'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>}, @a{sv} {})", NULL,
		NULL, &error);
	g_assert_no_error(error);
	result = client_call(c, PATH, MANAGER, "CreateVM", args);
	g_variant_get(result, "(o)", &vm);
	client_assert_property(c, vm, "State", "'running'");
	mark = client_mark(c);
	client_do(c, vm, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"quit\"}"));
	await_gone(c, mark, vm);
	client_await(c, mark, vm, "StateChanged", "('running', 'off', *");
}

/* A newer Roost's VM, which this one does not read, keeps what it has. */
static void test_foreign(void)
{
	static const char text[] = "{ \"FormatVersion\": 99 }";
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *file = fixture_write(f, "state/vms/" UUID ".json", text, sizeof text - 1);
	g_autofree char *folder = g_build_filename(f->dir, "state/nvram", NULL), *variables = NULL,
			*vm = NULL;
	gsize mark;

	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	variables = fixture_write(f, "state/nvram/" UUID ".fd", "x", 1);
	fixture_stop_roostd(f);
	fixture_start_roostd(f);
	vm = create(f, "job", NULL, "'UUID': <'" UUID "'>", NULL);
	mark = client_mark(c);
	client_do(c, vm, VM, "Kill", NULL);
	await_gone(c, mark, vm);
	g_assert_true(g_file_test(variables, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
}

/* A host that loses its power while it runs has nothing of it afterwards. */
static void test_nothing_durable(void)
{
	g_autoptr(Fixture) f = NULL;
	g_autofree char *config = NULL, *vm = NULL;
	Client *c;
	gsize mark;

	if (!g_file_test("/usr/share/OVMF/OVMF_CODE_4M.fd", G_FILE_TEST_EXISTS)) {
		g_test_skip("UEFI firmware is not installed");
		return;
	}
	f = fixture_new(NULL);
	c = f->client;
	config = g_strdup_printf("'Firmware': <'uefi'>, 'Disks': <[{'Path': <'%s/new'>, 'Format': <'raw'>, "
				 "'Size': <uint64 1048576>}]>",
		f->dir);
	vm = create(f, "job", NULL, config, NULL);
	g_assert_cmpuint(n_entries(f->dir, "state/vms"), ==, 0);
	g_assert_cmpuint(n_entries(f->dir, "state/nvram"), ==, 0);
	g_assert_cmpuint(n_entries(f->dir, "state/images"), ==, 0);
	/* The service does not need it neither. */
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_await_property(c, vm, "Responsive", "true");
	mark = client_mark(c);
	client_do(c, vm, VM, "Kill", NULL);
	await_gone(c, mark, vm);
	g_assert_cmpuint(n_entries(f->dir, "run/vm"), ==, 0);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/transient/life", test_life);
	g_test_add_func("/transient/refused", test_refused);
	g_test_add_func("/transient/killed-in-start", test_killed_in_start);
	g_test_add_func("/transient/kill-frees", test_kill_frees);
	g_test_add_func("/transient/start-behind-kill", test_start_behind_kill);
	g_test_add_func("/transient/crash", test_crash);
	g_test_add_func("/transient/bound", test_bound);
	g_test_add_func("/transient/bound/in-start", test_bound_in_start);
	g_test_add_func("/transient/bound/elsewhere", test_bound_elsewhere);
	g_test_add_func("/transient/restart", test_restart);
	g_test_add_func("/transient/stray", test_stray);
	g_test_add_func("/transient/foreign", test_foreign);
	g_test_add_func("/transient/nothing-durable", test_nothing_durable);
	g_test_add_func("/transient/real", test_real);
	return g_test_run();
}
