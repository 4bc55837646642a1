/*
 * OnPowerOff, OnReboot, OnCrash, on real QEMU. The guests are boot sectors: they power off, reset themselves
 * or panic at once, so one that is started again does the same again.
 */
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

/* cli; mov dx,0x604; mov ax,0x2000; out dx,ax; jmp $ */
static const guint8 powers_off[] = {0xfa, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xeb, 0xfe};
/* cli; mov al,0xfe; out 0x64,al; jmp $ */
static const guint8 resets[] = {0xfa, 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe};
/* cli; mov dx,0x505; mov al,1; out dx,al; hlt; jmp to the hlt */
static const guint8 panics[] = {0xfa, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd};
/* cli; hlt; jmp to the hlt */
static const guint8 halts[] = {0xfa, 0xf4, 0xeb, 0xfd};
/* cli; mov dx,0x443; mov al,0x0f; out dx,al; hlt; jmp to the hlt: an ib700 fires */
static const guint8 fires[] = {0xfa, 0xba, 0x43, 0x04, 0xb0, 0x0f, 0xee, 0xf4, 0xeb, 0xfd};

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

static const struct {
	const char *name;
	const guint8 *code;
	gsize size;
	const char *keys;
	const char *event;
	const char *state; /* NULL: it is started again and again, in the same QEMU, until that is enough */
	const char *reason;
} rows[] = {
	{"power-off/destroy", powers_off, sizeof powers_off, "'OnPowerOff': <'destroy'>",
		"(*'SHUTDOWN', *'guest-shutdown'*", "'off'", "'guest'"},
	{"power-off/preserve", powers_off, sizeof powers_off, "'OnPowerOff': <'preserve'>",
		"(*'SHUTDOWN', *'guest-shutdown'*", "'paused'", "'guest'"},
	{"power-off/restart", powers_off, sizeof powers_off, "'OnPowerOff': <'restart'>",
		"(*'SHUTDOWN', *'guest-shutdown'*", NULL, "'guest'"},
	{"reboot/destroy", resets, sizeof resets, "'OnReboot': <'destroy'>", "(*'SHUTDOWN', *'guest-reset'*",
		"'off'", "'guest'"},
	{"reboot/preserve", resets, sizeof resets, "'OnReboot': <'preserve'>",
		"(*'SHUTDOWN', *'guest-reset'*", "'paused'", "'guest'"},
	{"crash/destroy", panics, sizeof panics, "'OnCrash': <'destroy'>", "(*'GUEST_PANICKED', *'pause'*",
		"'off'", "'panic'"},
	{"crash/preserve", panics, sizeof panics, "'OnCrash': <'preserve'>, 'Panic': <true>",
		"(*'GUEST_PANICKED', *'pause'*", "'paused'", "'panic'"},
	{"crash/restart", panics, sizeof panics, "'OnCrash': <'restart'>", "(*'GUEST_PANICKED', *'pause'*",
		NULL, "'panic'"},
};

/* How many such events there were, in however many signals. */
static guint count_events(Fixture *f, gsize from, const char *vm, const char *glob)
{
	guint sum = 0, count;

	for (gsize to = client_mark(f->client); client_count(f->client, from, to, vm, "Event", glob) > 0;
		from++) {
		from = client_await(f->client, from, vm, "Event", glob);
		g_variant_get(g_dbus_message_get_body(client_message(f->client, from)), "(tsutttsa{sv})",
			NULL, NULL, &count, NULL, NULL, NULL, NULL, NULL);
		sum += count;
	}
	return sum;
}

/* Five times it is started again, and then it is left off. */
static void assert_restarts(Fixture *f, const char *vm, unsigned row, gsize mark)
{
	g_autofree char *off = g_strdup_printf("(*, 'off', %s)", rows[row].reason);

	client_await(f->client, mark, vm, "StateChanged", off);
	client_await(f->client, mark, vm, "Event", "(*'EXIT', *");
	g_assert_cmpuint(count_events(f, mark, vm, rows[row].event), ==, 6);
	g_assert_cmpuint(count_events(f, mark, vm, "(*'RESET', *'host-qmp-system-reset'*"), ==, 5);
}

static void test_row(gconstpointer data)
{
	unsigned row = GPOINTER_TO_UINT(data);
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", rows[row].code, rows[row].size, rows[row].keys);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	if (!rows[row].state) {
		assert_restarts(f, vm, row, mark);
		return;
	}
	client_await(f->client, mark, vm, "Event", rows[row].event);
	client_await_property(f->client, vm, "State", rows[row].state);
	client_await_property(f->client, vm, "StateReason", rows[row].reason);
	client_do(f->client, vm, VM, "Kill", NULL);
	client_assert_property(f->client, vm, "State", "'off'");
}

/* What is kept goes on from the start when it is wanted. */
static void test_preserved(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;
	guint pid;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", powers_off, sizeof powers_off, "'OnPowerOff': <'preserve'>");
	fixture_start_vm(f, vm);
	pid = fixture_pid(f, vm);
	client_await_property(f->client, vm, "State", "'paused'");
	client_refused(f->client, vm, VM, "Resume", NULL, ROOST_ERROR("QemuFailed"), "*");
	client_do(f->client, vm, VM, "Reset", NULL);
	client_assert_property(f->client, vm, "State", "'paused'");
	mark = client_mark(f->client);
	client_do(f->client, vm, VM, "Resume", NULL);
	client_await(f->client, mark, vm, "Event", "(*'SHUTDOWN', *'guest-shutdown'*");
	client_await_property(f->client, vm, "State", "'paused'");
	g_assert_cmpuint(fixture_pid(f, vm), ==, pid);
	/* OnPowerOff as it is by then. */
	client_do(f->client, vm, VM, "Update",
		g_variant_new_parsed("({'OnPowerOff': <'destroy'>}, @a{sv} {})"));
	client_do(f->client, vm, VM, "Reset", NULL);
	client_do(f->client, vm, VM, "Resume", NULL);
	client_await_property(f->client, vm, "State", "'off'");
}

/* Resets that are not the guest's, and OnReboot of a VM that runs. */
static void test_other_resets(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", halts, sizeof halts, "'OnReboot': <'destroy'>");
	fixture_start_vm(f, vm);
	for (unsigned i = 0; i < 3; i++)
		client_do(f->client, vm, VM, "Reset", NULL);
	client_assert_property(f->client, vm, "State", "'running'");
	/* Past Roost: QEMU stops, Roost resets. */
	client_do(f->client, vm, VM, "ExecuteQMP",
		g_variant_new(
			"(s)", "{\"execute\": \"set-action\", \"arguments\": {\"reboot\": \"shutdown\"}}"));
	mark = client_mark(f->client);
	client_do(f->client, vm, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"system_reset\"}"));
	client_await(f->client, mark, vm, "Event", "(*'RESET', *");
	client_await(f->client, mark, vm, "StateChanged", "('paused', 'running', 'user')");
	client_do(f->client, vm, VM, "Kill", NULL);
}

static void test_watchdog(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", fires, sizeof fires,
		"'OnReboot': <'destroy'>, 'Watchdog': <'ib700'>, 'OnWatchdog': <'reset'>");
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	mark = client_await(f->client, mark, vm, "Event", "(*'WATCHDOG', *");
	client_await(f->client, mark, vm, "StateChanged", "('paused', 'running', 'watchdog')");
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* QEMU stops at resets from now on, or no more. */
static void test_update(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", resets, sizeof resets, NULL);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	client_await(f->client, mark, vm, "Event", "(*'RESET', *");
	client_do(
		f->client, vm, VM, "Update", g_variant_new_parsed("({'OnReboot': <'preserve'>}, @a{sv} {})"));
	client_await_property(f->client, vm, "State", "'paused'");
	client_assert_property(f->client, vm, "PendingChanges", "@as []");
	mark = client_mark(f->client);
	client_do(f->client, vm, VM, "Update",
		g_variant_new_parsed("({'OnReboot': <'restart'>, 'OnCrash': <'restart'>}, @a{sv} {})"));
	/* It has nothing to tell a panic by. */
	client_assert_property(f->client, vm, "PendingChanges", "['OnCrash']");
	client_do(f->client, vm, VM, "Reset", NULL);
	client_do(f->client, vm, VM, "Resume", NULL);
	for (unsigned i = 0; i < 5; i++)
		mark = client_await(f->client, mark, vm, "Event", "(*'RESET', *") + 1;
	client_assert_property(f->client, vm, "State", "'running'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* ---- QEMU itself ---- */
static void test_qemu_dies(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	Client *c;
	gsize mark;
	guint pid;

	if (!f)
		return;
	c = f->client;
	vm = fixture_define_boot(f, "web", halts, sizeof halts, "'OnCrash': <'restart'>");
	fixture_start_vm(f, vm);
	for (unsigned i = 0; i < 5; i++) {
		pid = fixture_pid(f, vm);
		mark = client_mark(c);
		fixture_signal_qemu(f, vm, i % 2 == 0 ? SIGKILL : SIGSEGV);
		mark = client_await(c, mark, vm, "StateChanged", "('running', 'crashed', 'qemu-exit')");
		mark = client_await(c, mark, vm, "StateChanged", "('crashed', 'starting', 'qemu-exit')");
		client_await(c, mark, vm, "StateChanged", "('starting', 'running', 'qemu-exit')");
		g_assert_cmpuint(fixture_pid(f, vm), !=, pid);
	}
	fixture_signal_qemu(f, vm, SIGSEGV);
	client_await_property(c, vm, "State", "'crashed'");
	/* By hand it is started, and then counts anew. */
	fixture_start_vm(f, vm);
	mark = client_mark(c);
	fixture_signal_qemu(f, vm, SIGABRT);
	client_await(c, mark, vm, "StateChanged", "('starting', 'running', 'qemu-exit')");
	mark = client_mark(c);
	client_do(c, vm, VM, "Kill", NULL);
	client_assert_property(c, vm, "State", "'off'");
	client_do(c, vm, VM, "Undefine", fixture_no_options());
	g_assert_cmpuint(client_count(c, mark, client_mark(c), vm, "StateChanged", "(*'starting'*"), ==, 0);
}

/* ---- dumps ---- */
/* How many whole ones; each must be one of ELF, and for us alone. */
static guint n_dumps(Fixture *f)
{
	g_autofree char *folder = g_build_filename(f->dir, "state/dumps", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *name;
	guint n = 0;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, name, NULL), *content = NULL;
		GStatBuf st;
		gsize size;

		g_assert_true(g_str_has_suffix(name, ".elf"));
		g_assert_true(g_file_get_contents(path, &content, &size, NULL));
		g_assert_cmpint(memcmp(content, "\177ELF", 4), ==, 0);
		g_assert_cmpuint(size, >=, 64 << 20);
		g_assert_cmpint(g_stat(path, &st), ==, 0);
		g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
		n++;
	}
	return n;
}

static void test_dump_destroy(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", panics, sizeof panics, "'OnCrash': <'dump-destroy'>");
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	mark = client_await(f->client, mark, vm, "Event", "(*'DUMP_COMPLETED', *'completed'*");
	client_await(f->client, mark, vm, "Event", "(*'EXIT', *");
	client_assert_property(f->client, vm, "State", "'off'");
	client_assert_property(f->client, vm, "StateReason", "'panic'");
	g_assert_cmpuint(n_dumps(f), ==, 1);
	client_do(f->client, vm, VM, "Undefine", g_variant_new_parsed("({'Storage': <true>},)"));
	g_assert_cmpuint(n_dumps(f), ==, 0);
}

static void test_dump_restart(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "web", panics, sizeof panics, "'OnCrash': <'dump-restart'>");
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	client_await(f->client, mark, vm, "Event", "(*'EXIT', *");
	client_assert_property(f->client, vm, "State", "'off'");
	g_assert_cmpuint(count_events(f, mark, vm, "(*'DUMP_COMPLETED', *'completed'*"), ==, 6);
	g_assert_cmpuint(count_events(f, mark, vm, "(*'RESET', *'host-qmp-system-reset'*"), ==, 5);
	g_assert_cmpuint(n_dumps(f), ==, 3);
	/* They are not the VM's own. */
	client_do(f->client, vm, VM, "Undefine", fixture_no_options());
	g_assert_cmpuint(n_dumps(f), ==, 3);
}

static void test_dump_watchdog(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(
		f, "web", fires, sizeof fires, "'Watchdog': <'ib700'>, 'OnWatchdog': <'dump'>");
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	mark = client_await(f->client, mark, vm, "Event", "(*'WATCHDOG', *'pause'*");
	mark = client_await(f->client, mark, vm, "Event", "(*'DUMP_COMPLETED', *'completed'*");
	client_await(f->client, mark, vm, "StateChanged", "('paused', 'running', 'watchdog')");
	g_assert_cmpuint(n_dumps(f), ==, 1);
	client_do(f->client, vm, VM, "Update", g_variant_new_parsed("({'OnWatchdog': <'none'>}, @a{sv} {})"));
	client_assert_property(f->client, vm, "PendingChanges", "@as []");
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* QEMU, as an unprivileged user, can open none of it. */
static void test_dump_as_user(void)
{
	FixtureOptions options = {.real_qemu = true, .deadline_scale = 3, .qemu_user = "nobody"};
	g_autoptr(Fixture) f = NULL;
	g_autofree char *vm = NULL;

	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE) || getuid() != 0) {
		g_test_skip("there is no QEMU, or this is not root");
		return;
	}
	f = fixture_new(&options);
	vm = fixture_define_boot(f, "web", panics, sizeof panics, "'OnCrash': <'dump-destroy'>");
	fixture_start_vm(f, vm);
	client_await_property(f->client, vm, "State", "'off'");
	client_assert_property(f->client, vm, "StateReason", "'panic'");
	g_assert_cmpuint(n_dumps(f), ==, 1);
}

/* ---- while no roostd runs ---- */
/* One command at a time on a monitor that nobody else has; what it says. */
static char *ask_qemu(GSocketConnection *connection, const char *command)
{
	GOutputStream *output = g_io_stream_get_output_stream(G_IO_STREAM(connection));
	GInputStream *input = g_io_stream_get_input_stream(G_IO_STREAM(connection));
	g_autoptr(GString) text = g_string_new(NULL);
	g_autofree char *line = g_strdup_printf("{\"execute\": \"%s\"}", command);
	char byte;

	g_assert_true(g_output_stream_write_all(output, line, strlen(line), NULL, NULL, NULL));
	do {
		g_string_truncate(text, 0);
		while (g_input_stream_read(input, &byte, 1, NULL, NULL) == 1 && byte != '\n')
			g_string_append_c(text, byte);
		g_assert_cmpuint(text->len, >, 0);
	} while (!strstr(text->str, "\"return\""));
	return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The guest goes on, and comes to this. */
static void go_on_alone(Fixture *f, const char *uuid, const char *status)
{
	g_autofree char *path = g_strdup_printf("%s/run/vm/%s/qmp", f->dir, uuid), *glob = NULL;
	g_autoptr(GSocketClient) client = g_socket_client_new();
	g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
	g_autoptr(GSocketConnection) connection =
		g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, NULL);

	g_assert_nonnull(connection);
	g_free(ask_qemu(connection, "qmp_capabilities"));
	g_free(ask_qemu(connection, "cont"));
	glob = g_strdup_printf("*\"status\": \"%s\"*", status);
	for (bool there = false; !there;) {
		g_autofree char *reply = ask_qemu(connection, "query-status");

		there = g_pattern_match_simple(glob, reply);
	}
}

static const struct {
	const char *name, *uuid;
	const guint8 *code;
	gsize size;
	const char *keys;
	const char *status; /* QEMU's, when the next roostd comes */
	const char *state, *reason;
} away_rows[] = {
	{"off", "00000000-0000-4000-8000-00000000000a", powers_off, sizeof powers_off, "", "shutdown",
		"'off'", "'guest'"},
	{"kept", "00000000-0000-4000-8000-00000000000b", powers_off, sizeof powers_off,
		", 'OnPowerOff': <'preserve'>", "shutdown", "'paused'", "'guest'"},
	{"panicked", "00000000-0000-4000-8000-00000000000c", panics, sizeof panics,
		", 'OnCrash': <'destroy'>", "guest-panicked", "'off'", "'panic'"},
	{"shown", "00000000-0000-4000-8000-00000000000d", panics, sizeof panics, ", 'Panic': <true>",
		"guest-panicked", "'paused'", "'panic'"},
	{"dumped", "00000000-0000-4000-8000-00000000000f", panics, sizeof panics,
		", 'OnCrash': <'dump-destroy'>", "guest-panicked", "'off'", "'panic'"},
	/* Again and again: it has been carried out once, and then five times. */
	{"again", "00000000-0000-4000-8000-00000000000e", panics, sizeof panics, ", 'OnCrash': <'restart'>",
		"guest-panicked", "'off'", "'panic'"},
};

static void test_away(void)
{
	g_autoptr(Fixture) f = real();
	char *vms[G_N_ELEMENTS(away_rows)];
	gsize mark;

	if (!f)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(away_rows); i++) {
		g_autofree char *keys =
			g_strdup_printf("'UUID': <'%s'>%s", away_rows[i].uuid, away_rows[i].keys);

		vms[i] =
			fixture_define_boot(f, away_rows[i].name, away_rows[i].code, away_rows[i].size, keys);
		client_do(f->client, vms[i], VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	}
	fixture_kill_roostd(f);
	for (unsigned i = 0; i < G_N_ELEMENTS(away_rows); i++)
		go_on_alone(f, away_rows[i].uuid, away_rows[i].status);
	mark = client_mark(f->client);
	fixture_start_roostd(f);
	for (unsigned i = 0; i < G_N_ELEMENTS(away_rows); i++) {
		client_await_property(f->client, vms[i], "State", away_rows[i].state);
		client_await_property(f->client, vms[i], "StateReason", away_rows[i].reason);
	}
	g_assert_cmpuint(n_dumps(f), ==, 1);
	client_await(f->client, mark, vms[5], "Event", "(*'EXIT', *");
	g_assert_cmpuint(count_events(f, mark, vms[5], "(*'GUEST_PANICKED', *"), ==, 5);
	for (unsigned i = 0; i < G_N_ELEMENTS(away_rows); i++) {
		client_do(f->client, vms[i], VM, "Kill", NULL);
		g_free(vms[i]);
	}
}

static void test_dead_meanwhile(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	guint pid;

	if (!f)
		return;
	vm = fixture_define_boot(f, "dead", halts, sizeof halts, "'OnCrash': <'restart'>");
	fixture_start_vm(f, vm);
	pid = fixture_pid(f, vm);
	fixture_kill_roostd(f);
	kill((pid_t)pid, SIGKILL);
	fixture_start_roostd(f);
	/* The next roostd may still have seen it die. */
	client_await_property(f->client, vm, "StateReason", "'qemu-exit'");
	client_await_property(f->client, vm, "State", "'running'");
	client_assert_property(f->client, vm, "StateReason", "'qemu-exit'");
	g_assert_cmpuint(fixture_pid(f, vm), !=, pid);
	/* Once. */
	client_do(f->client, vm, VM, "Kill", NULL);
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_assert_property(f->client, vm, "State", "'off'");
}

/* What was accepted before a crash comes first; and an Undefine is no place to come back to. */
static void test_undefine(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", "on stop silent\n", "'OnCrash': <'restart'>");
	Client *c = f->client;
	g_autoptr(GVariant) n = NULL;
	guint32 pause, undefine;
	gsize mark;

	fixture_start_vm(f, vm);
	mark = client_mark(c);
	pause = client_send(c, vm, VM, "Pause", NULL);
	undefine = client_send(c, vm, VM, "Undefine", fixture_no_options());
	client_await_property(c, vm, "QueuedOperations", "uint32 1");
	/* A SIGSEGV would be the stand-in's own to a sanitizer. */
	fixture_signal_qemu(f, vm, SIGABRT);
	client_expect_error(c, pause, ROOST_ERROR("QemuFailed"), "*");
	client_await_reply(c, undefine);
	client_await(c, mark, PATH, "VMRemoved", "('web', *");
	g_assert_cmpuint(client_count(c, mark, client_mark(c), vm, "StateChanged", "(*'starting'*"), ==, 0);
	n = client_get(c, PATH, MANAGER, "NRunning");
	g_assert_cmpuint(g_variant_get_uint32(n), ==, 0);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strconcat("/policies/", rows[i].name, NULL);

		g_test_add_data_func(name, GUINT_TO_POINTER(i), test_row);
	}
	g_test_add_func("/policies/preserved", test_preserved);
	g_test_add_func("/policies/other-resets", test_other_resets);
	g_test_add_func("/policies/watchdog", test_watchdog);
	g_test_add_func("/policies/update", test_update);
	g_test_add_func("/policies/qemu-dies", test_qemu_dies);
	g_test_add_func("/policies/dump-destroy", test_dump_destroy);
	g_test_add_func("/policies/dump-restart", test_dump_restart);
	g_test_add_func("/policies/dump-watchdog", test_dump_watchdog);
	g_test_add_func("/policies/dump-as-user", test_dump_as_user);
	g_test_add_func("/policies/undefine", test_undefine);
	g_test_add_func("/policies/away", test_away);
	g_test_add_func("/policies/dead-meanwhile", test_dead_meanwhile);
	return g_test_run();
}
