/*
 * roostd and systemd, which the test plays: it owns systemd's name on the private bus, gets each call that
 * roostd makes, and answers it or does not. The launcher is the real one, or a child that stops half-way.
 */
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

#define SYSTEMD  "org.freedesktop.systemd1"
#define PATIENCE (120 * G_USEC_PER_SEC)

/* ---- systemd ---- */
typedef struct Systemd {
	GDBusConnection *connection;
	GAsyncQueue *calls; /* GDBusMessage */
	guint filter;
	guint n_refs; /* of units, asked for so far */
	gint refuses; /* atomic: every unit exists */
} Systemd;

static void answer(Systemd *systemd, GDBusMessage *call, GVariant *body)
{
	g_autoptr(GDBusMessage) reply = g_dbus_message_new_method_reply(call);

	if (body)
		g_dbus_message_set_body(reply, body);
	g_assert_true(g_dbus_connection_send_message(
		systemd->connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL));
}

static void refuse(Systemd *systemd, GDBusMessage *call, const char *name, const char *text)
{
	g_autoptr(GDBusMessage) reply = g_dbus_message_new_method_error_literal(call, name, text);

	g_assert_true(g_dbus_connection_send_message(
		systemd->connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL));
}

static GDBusMessage *on_message(
	GDBusConnection *connection, GDBusMessage *message, gboolean incoming, gpointer user)
{
	Systemd *systemd = user;

	if (!incoming || g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL)
		return message;
	if (g_atomic_int_get(&systemd->refuses) &&
		strcmp(g_dbus_message_get_member(message), "StartTransientUnit") == 0) {
		refuse(systemd, message, SYSTEMD ".UnitExists", "it is there");
		g_object_unref(message);
	} else {
		g_async_queue_push(systemd->calls, message);
	}
	return NULL;
}

static void bus_call(GDBusConnection *connection, const char *member, GVariant *args)
{
	g_autoptr(GError) error = NULL;
	GVariant *result =
		g_dbus_connection_call_sync(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus",
			"org.freedesktop.DBus", member, args, NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);

	g_assert_no_error(error);
	g_variant_unref(result);
}

static void systemd_come(Systemd *systemd)
{
	bus_call(systemd->connection, "RequestName", g_variant_new("(su)", SYSTEMD, 0));
}

static void systemd_go(Systemd *systemd)
{
	bus_call(systemd->connection, "ReleaseName", g_variant_new("(s)", SYSTEMD));
}

static Systemd *systemd_new(Fixture *f)
{
	Systemd *systemd = g_new0(Systemd, 1);
	g_autoptr(GError) error = NULL;

	systemd->connection = g_dbus_connection_new_for_address_sync(f->address,
		G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
			G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
		NULL, NULL, &error);
	g_assert_no_error(error);
	systemd->calls = g_async_queue_new_full(g_object_unref);
	systemd->filter = g_dbus_connection_add_filter(systemd->connection, on_message, systemd, NULL);
	systemd_come(systemd);
	return systemd;
}

static Systemd *systemd_free(Systemd *systemd)
{
	g_dbus_connection_remove_filter(systemd->connection, systemd->filter);
	g_dbus_connection_close_sync(systemd->connection, NULL, NULL);
	g_object_unref(systemd->connection);
	g_async_queue_unref(systemd->calls);
	g_free(systemd);
	return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Systemd, systemd_free)

/* The next call of this member. What units are referenced is counted on the way; those that are let go are
 * not waited for. */
static GDBusMessage *await_call(Systemd *systemd, const char *member)
{
	for (;;) {
		GDBusMessage *call = g_async_queue_timeout_pop(systemd->calls, PATIENCE);
		const char *name;

		if (!call)
			g_error("waited in vain for %s", member);
		name = g_dbus_message_get_member(call);
		if (strcmp(name, "RefUnit") == 0) {
			systemd->n_refs++;
			answer(systemd, call, NULL);
		}
		if (strcmp(name, member) == 0)
			return call;
		g_assert_true(strcmp(name, "UnrefUnit") == 0 || strcmp(name, "RefUnit") == 0);
		g_object_unref(call);
	}
}

static void await_unref(Systemd *systemd)
{
	g_object_unref(await_call(systemd, "UnrefUnit"));
}

/* ---- a unit that is to be started ---- */
typedef struct Unit {
	GDBusMessage *call;
	char *name;
	GVariant *properties; /* a(sv) */
	int fd;               /* its standard input */
} Unit;

static GVariant *property(const Unit *unit, const char *name)
{
	GVariantIter iter;
	const char *key;
	GVariant *value;

	g_variant_iter_init(&iter, unit->properties);
	while (g_variant_iter_next(&iter, "(&sv)", &key, &value)) {
		if (strcmp(key, name) == 0)
			return value;
		g_variant_unref(value);
	}
	return NULL;
}

static void assert_unit_property(const Unit *unit, const char *name, const char *text)
{
	g_autoptr(GVariant) value = property(unit, name);
	g_autofree char *found = value ? g_variant_print(value, TRUE) : NULL;

	g_assert_cmpstr(found, ==, text);
}

static Unit await_unit(Systemd *systemd)
{
	Unit unit = {.call = await_call(systemd, "StartTransientUnit")};
	g_autoptr(GVariant) auxiliary = NULL, input = NULL;
	const char *mode;

	g_variant_get(g_dbus_message_get_body(unit.call), "(s&s@a(sv)@a(sa(sv)))", &unit.name, &mode,
		&unit.properties, &auxiliary);
	g_assert_cmpstr(mode, ==, "fail");
	g_assert_cmpuint(g_variant_n_children(auxiliary), ==, 0);
	input = property(&unit, "StandardInputFileDescriptor");
	g_assert_nonnull(input);
	unit.fd = g_unix_fd_list_get(
		g_dbus_message_get_unix_fd_list(unit.call), g_variant_get_handle(input), NULL);
	g_assert_cmpint(unit.fd, >=, 0);
	/* The message's own copy goes with it. */
	return unit;
}

/* systemd closes what is its own; the launcher has its standard input. */
static void unit_forget(Unit *unit)
{
	if (unit->fd >= 0)
		close(unit->fd);
	g_clear_object(&unit->call);
	g_free(unit->name);
	g_variant_unref(unit->properties);
	*unit = (Unit){.fd = -1};
}

static void accept_unit(Systemd *systemd, const Unit *unit)
{
	answer(systemd, unit->call, g_variant_new("(o)", "/org/freedesktop/systemd1/job/1"));
}

static void set_up_child(gpointer input)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(GPOINTER_TO_INT(input), STDIN_FILENO);
}

/* `ret_output`: of its standard output; NULL: ours. */
static GPid spawn(char **argv, int input, int *ret_output)
{
	g_autoptr(GError) error = NULL;
	GPid pid;

	g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CHILD_INHERITS_STDIN,
		set_up_child, GINT_TO_POINTER(input), &pid, NULL, ret_output, NULL, &error);
	g_assert_no_error(error);
	return pid;
}

static int reap(GPid pid)
{
	int status;

	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return status;
}

/* As ExecStart says. */
static GPid run_unit(const Unit *unit)
{
	g_autoptr(GVariant) commands = property(unit, "ExecStart"), words = NULL;
	g_autofree const char **argv = NULL;
	const char *path;
	gboolean ignored;

	g_assert_cmpuint(g_variant_n_children(commands), ==, 1);
	g_variant_get_child(commands, 0, "(&s@asb)", &path, &words, &ignored);
	argv = g_variant_get_strv(words, NULL);
	g_assert_cmpstr(path, ==, argv[0]);
	g_assert_false(ignored);
	return spawn((char **)argv, unit->fd, NULL);
}

/* The whole way. */
static GPid start_unit(Systemd *systemd)
{
	Unit unit = await_unit(systemd);
	GPid pid;

	accept_unit(systemd, &unit);
	pid = run_unit(&unit);
	unit_forget(&unit);
	return pid;
}

/* systemd is asked how the main process ended: a code of waitid(2), and its status. */
static void tell_end(Systemd *systemd, int code, int status)
{
	g_autoptr(GDBusMessage) first = await_call(systemd, "Get"), second = NULL;
	const char *interface, *name;

	g_variant_get(g_dbus_message_get_body(first), "(&s&s)", &interface, &name);
	g_assert_cmpstr(interface, ==, SYSTEMD ".Service");
	g_assert_cmpstr(name, ==, "ExecMainCode");
	answer(systemd, first, g_variant_new("(v)", g_variant_new_int32(code)));
	if (code == 0)
		return;
	second = await_call(systemd, "Get");
	g_variant_get(g_dbus_message_get_body(second), "(&s&s)", &interface, &name);
	g_assert_cmpstr(name, ==, "ExecMainStatus");
	answer(systemd, second, g_variant_new("(v)", g_variant_new_int32(status)));
}

/* Its launcher's end was shut down. */
static void await_end_of_file(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	g_assert_cmpint(poll(&p, 1, PATIENCE / 1000), ==, 1);
	g_assert_cmpint(recv(fd, &byte, 1, MSG_DONTWAIT), ==, 0);
}

/* ---- the test's own world ---- */
static Fixture *world_new(Systemd **ret_systemd, double deadline_scale)
{
	Fixture *f = fixture_new(&(FixtureOptions){.waits = true, .deadline_scale = deadline_scale});

	*ret_systemd = systemd_new(f);
	fixture_start_roostd(f);
	return f;
}

static guint send_start(Fixture *f, const char *path)
{
	return client_send(f->client, path, VM, "Start", fixture_no_options());
}

static void kill_vm(Fixture *f, Systemd *systemd, const char *path, GPid pid)
{
	guint serial = client_send(f->client, path, VM, "Kill", NULL);
	int status = reap(pid);

	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	g_variant_unref(client_result(f->client, serial));
	tell_end(systemd, CLD_KILLED, SIGKILL);
	await_unref(systemd);
}

/* A VM that can be started as well as ever. */
static void assert_starts(Fixture *f, Systemd *systemd, const char *path)
{
	guint serial = send_start(f, path);
	GPid pid = start_unit(systemd);

	g_variant_unref(client_result(f->client, serial));
	g_assert_cmpint((int)fixture_pid(f, path), ==, pid);
	kill_vm(f, systemd, path, pid);
}

static guint count_fds(pid_t pid)
{
	g_autofree char *folder = g_strdup_printf("/proc/%d/fd", pid);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	guint n = 0;

	g_assert_nonnull(dir);
	while (g_dir_read_name(dir))
		n++;
	return n;
}

/* It has no more than that: what it has for a moment (it tidies up behind a VM) it closes. */
static void await_fds(Fixture *f, guint n)
{
	gint64 until = g_get_monotonic_time() + PATIENCE;

	while (count_fds(f->roostd) > n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		client_sync(f->client);
	}
}

/* ---- tests ---- */
static void assert_sandbox(const Unit *unit, const char *uuid)
{
	g_autofree char *field = g_strdup_printf("[b'ROOST_VM_NAME=web', b'ROOST_VM_UUID=%s']", uuid);
	g_autoptr(GVariant) fields = property(unit, "LogExtraFields");
	g_autoptr(GVariant) kvm = property(unit, "DeviceAllow");

	assert_unit_property(unit, "Slice", "'roost.slice'");
	assert_unit_property(unit, "Description", "'Virtual machine web'");
	assert_unit_property(unit, "SyslogIdentifier", "'roost-vm-web'");
	assert_unit_property(unit, "CollectMode", "'inactive-or-failed'");
	assert_unit_property(unit, "NoNewPrivileges", "true");
	assert_unit_property(unit, "ProtectSystem", "'strict'");
	assert_unit_property(unit, "CapabilityBoundingSet", "uint64 0");
	assert_unit_property(unit, "RestrictAddressFamilies", "(true, ['AF_UNIX'])");
	assert_unit_property(unit, "DevicePolicy", "'closed'");
	g_assert_null(kvm);
	/* Not asked for. */
	assert_unit_property(unit, "CPUWeight", NULL);
	assert_unit_property(unit, "MemoryMax", NULL);
	assert_unit_property(unit, "TasksMax", NULL);
	assert_unit_property(unit, "User", NULL);
	g_assert_cmpuint(g_variant_n_children(fields), ==, 2);
	for (guint i = 0; i < 2; i++) {
		g_autoptr(GVariant) bytes = g_variant_get_child_value(fields, i);
		gsize size;
		const char *text = g_variant_get_fixed_array(bytes, &size, 1);
		g_autofree char *copy = g_strndup(text, size);

		g_assert_nonnull(strstr(field, copy));
	}
}

static void test_start(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *wanted = NULL, *exe = NULL,
			*link = NULL;
	g_autoptr(GVariant) uuid = client_get(f->client, web, VM, "UUID");
	guint serial, n_fds;
	Unit unit;
	GPid pid;

	client_assert_property(f->client, web, "Unit", "''");
	/* The first one opens what stays open. */
	assert_starts(f, systemd, web);
	n_fds = count_fds(f->roostd);

	serial = send_start(f, web);
	unit = await_unit(systemd);
	wanted = g_strdup_printf("roost-vm-%s.service", g_variant_get_string(uuid, NULL));
	g_assert_cmpstr(unit.name, ==, wanted);
	assert_sandbox(&unit, g_variant_get_string(uuid, NULL));
	accept_unit(systemd, &unit);
	pid = run_unit(&unit);
	unit_forget(&unit);
	g_variant_unref(client_result(f->client, serial));
	g_assert_cmpint((int)fixture_pid(f, web), ==, pid);
	g_free(wanted);
	wanted = g_strdup_printf("'roost-vm-%s.service'", g_variant_get_string(uuid, NULL));
	client_assert_property(f->client, web, "Unit", wanted);
	client_assert_property(f->client, web, "State", "'running'");
	/* The launcher has become QEMU, and keeps nothing of its own. */
	link = g_strdup_printf("/proc/%d/exe", pid);
	exe = g_file_read_link(link, NULL);
	g_assert_cmpstr(exe, ==, g_getenv("MOCK_QEMU"));

	kill_vm(f, systemd, web, pid);
	client_assert_property(f->client, web, "Unit", "''");
	client_assert_property(f->client, web, "State", "'off'");
	await_fds(f, n_fds);
}

/* How it ended is asked of systemd, which may see it later than roostd. */
static void test_last_exit(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	Client *c = f->client;
	gsize mark;
	guint serial;
	GPid pid;

	serial = send_start(f, web);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	mark = client_mark(c);
	kill(pid, SIGKILL);
	reap(pid);
	client_await_property(c, web, "State", "'crashed'");
	tell_end(systemd, 0, 0);
	tell_end(systemd, 0, 0);
	tell_end(systemd, CLD_DUMPED, SIGSEGV);
	client_await(c, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	await_unref(systemd);

	/* By the next start it is nobody's business any more. */
	serial = send_start(f, web);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	kill(pid, SIGKILL);
	reap(pid);
	client_await_property(c, web, "State", "'crashed'");
	g_object_unref(await_call(systemd, "Get"));
	serial = send_start(f, web);
	await_unref(systemd);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	client_assert_property(c, web, "State", "'running'");
	kill_vm(f, systemd, web, pid);
}

/* systemd's answer comes when the QEMU has ended already (the bus thread was busy): its end is asked for all
 * the same, and the unit let go. */
static void test_late_answer(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint serial = send_start(f, web);
	Unit unit = await_unit(systemd);
	GPid pid = run_unit(&unit);
	gsize mark;

	g_variant_unref(client_result(f->client, serial));
	mark = client_mark(f->client);
	kill(pid, SIGKILL);
	reap(pid);
	client_await_property(f->client, web, "State", "'crashed'");
	accept_unit(systemd, &unit);
	unit_forget(&unit);
	tell_end(systemd, CLD_DUMPED, SIGSEGV);
	client_await(f->client, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	await_unref(systemd);
	assert_starts(f, systemd, web);
}

/* One that is to be started again waits for that. */
static void test_restart(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, "'OnCrash': <'restart'>");
	Client *c = f->client;
	gsize mark;
	guint serial;
	GPid pid;

	serial = send_start(f, web);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	mark = client_mark(c);
	kill(pid, SIGKILL);
	reap(pid);
	client_await_property(c, web, "State", "'crashed'");
	tell_end(systemd, CLD_DUMPED, SIGSEGV);
	await_unref(systemd);
	pid = start_unit(systemd);
	client_await(c, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	client_await(c, mark, web, "StateChanged", "('crashed', 'starting', 'qemu-exit')");
	client_await_property(c, web, "State", "'running'");
	kill_vm(f, systemd, web, pid);
	client_assert_property(c, web, "State", "'off'");
	/* Somebody's is quicker. */
	serial = send_start(f, web);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	kill(pid, SIGKILL);
	reap(pid);
	client_await_property(c, web, "State", "'crashed'");
	g_object_unref(await_call(systemd, "Get"));
	serial = send_start(f, web);
	await_unref(systemd);
	pid = start_unit(systemd);
	g_variant_unref(client_result(c, serial));
	kill_vm(f, systemd, web, pid);
	client_assert_property(c, web, "State", "'off'");
}

static void test_limits(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL,
		"'CPUWeight': <uint32 200>, 'MemoryMax': <uint64 1073741824>, 'TasksMax': <uint32 64>, "
		"'NICs': <[{'Type': <'user'>}]>");
	guint serial = send_start(f, web);
	Unit unit = await_unit(systemd);
	GPid pid;

	assert_unit_property(&unit, "CPUWeight", "uint64 200");
	assert_unit_property(&unit, "MemoryMax", "uint64 1073741824");
	assert_unit_property(&unit, "TasksMax", "uint64 64");
	assert_unit_property(&unit, "RestrictAddressFamilies", "(true, ['AF_UNIX', 'AF_INET', 'AF_INET6'])");
	accept_unit(systemd, &unit);
	pid = run_unit(&unit);
	unit_forget(&unit);
	g_variant_unref(client_result(f->client, serial));
	kill_vm(f, systemd, web, pid);
}

static void test_refused(void)
{
	static const struct {
		const char *name, *error;
	} rows[] = {
		{"org.freedesktop.DBus.Error.AccessDenied", ROOST_ERROR("QemuFailed")},
		{"org.freedesktop.systemd1.TransactionIsDestructive", ROOST_ERROR("QemuFailed")},
		{"org.freedesktop.DBus.Error.LimitsExceeded", ROOST_ERROR("LimitReached")},
	};
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint n_fds;

	assert_starts(f, systemd, web);
	n_fds = count_fds(f->roostd);
	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		guint serial = send_start(f, web);
		Unit unit = await_unit(systemd);

		refuse(systemd, unit.call, rows[i].name, "not today");
		client_expect_error(f->client, serial, rows[i].error,
			"Start: systemd does not start the unit *: not today");
		await_end_of_file(unit.fd);
		unit_forget(&unit);
		client_assert_property(f->client, web, "State", "'off'");
		client_assert_property(f->client, web, "StateReason", "'start-failed'");
	}
	assert_starts(f, systemd, web);
	await_fds(f, n_fds);
}

/* It does not answer; or it answers, and the launcher never comes. */
static void test_no_answer(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0.1);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	for (int accepted = 0; accepted <= 1; accepted++) {
		guint serial = send_start(f, web);
		Unit unit = await_unit(systemd);

		if (accepted)
			accept_unit(systemd, &unit);
		client_expect_error(f->client, serial, ROOST_ERROR("Timeout"),
			"Start: the unit * was not started in time");
		await_end_of_file(unit.fd);
		/* Too late: it is not wanted any more, and let go, so that its name is free. */
		if (!accepted)
			accept_unit(systemd, &unit);
		await_unref(systemd);
		unit_forget(&unit);
		client_assert_property(f->client, web, "State", "'off'");
	}
}

/* An earlier unit of the VM is on its way out. */
static void test_exists(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint serial = send_start(f, web);
	GPid pid;

	for (int i = 0; i < 3; i++) {
		Unit unit = await_unit(systemd);

		refuse(systemd, unit.call, SYSTEMD ".UnitExists", "it is there");
		unit_forget(&unit);
	}
	pid = start_unit(systemd);
	g_variant_unref(client_result(f->client, serial));
	kill_vm(f, systemd, web, pid);
}

static void test_exists_for_good(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0.1);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	g_atomic_int_set(&systemd->refuses, TRUE);
	client_expect_error(f->client, send_start(f, web), ROOST_ERROR("QemuFailed"),
		"Start: systemd does not start the unit *: it is there");
	client_assert_property(f->client, web, "State", "'off'");
}

/* systemd re-executes itself. */
static void test_away(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint serial;
	GPid pid;

	systemd_go(systemd);
	client_sync(f->client);
	serial = send_start(f, web);
	client_await_property(f->client, web, "State", "'starting'");
	systemd_come(systemd);
	pid = start_unit(systemd);
	g_variant_unref(client_result(f->client, serial));
	kill_vm(f, systemd, web, pid);

	/* While it has our question. */
	serial = send_start(f, web);
	{
		Unit unit = await_unit(systemd);

		systemd_go(systemd);
		refuse(systemd, unit.call, "org.freedesktop.DBus.Error.NoReply", "gone");
		unit_forget(&unit);
	}
	systemd_come(systemd);
	pid = start_unit(systemd);
	g_variant_unref(client_result(f->client, serial));
	kill_vm(f, systemd, web, pid);
}

/* ---- launchers that stop half-way ---- */
#define WORD        0x726f6f73U
#define PACKET_SIZE 2048 /* more than there is in one */

/* w says the word, r takes a packet, d tells the test, c closes the socket, p waits for good, k is killed. */
static int play(const char *script)
{
	const guint32 word = WORD;
	char packet[PACKET_SIZE];
	gssize n = 0;

	for (; *script && n >= 0; script++)
		switch (*script) {
		case 'w':
			n = send(STDIN_FILENO, &word, sizeof word, MSG_NOSIGNAL);
			break;
		case 'r':
			n = recv(STDIN_FILENO, packet, sizeof packet, 0);
			break;
		case 'd':
			n = write(STDOUT_FILENO, "d", 1);
			break;
		case 'c':
			close(STDIN_FILENO);
			break;
		case 'p':
			pause();
			break;
		case 'k':
			raise(SIGKILL);
			break;
		}
	return n < 0;
}

/* Returns when it has come to a `d`. */
static GPid play_unit(const Unit *unit, const char *script, const char *uuid)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	char *argv[] = {self, (char *)"play", (char *)script, (char *)"-uuid", (char *)uuid, NULL};
	int output;
	GPid pid = spawn(argv, unit->fd, &output);
	char byte;

	if (strchr(script, 'd'))
		g_assert_cmpint(read(output, &byte, 1), ==, 1);
	close(output);
	return pid;
}

static void test_launcher_ends(void)
{
	static const char *const scripts[] = {"k", "wk", "wrk", "wrwk", "wrwrk", "wrwrcp"};
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(scripts); i++) {
		guint serial = send_start(f, web);
		Unit unit = await_unit(systemd);
		GPid pid;
		int status;

		g_test_message("%s", scripts[i]);
		accept_unit(systemd, &unit);
		pid = play_unit(&unit, scripts[i], "x");
		unit_forget(&unit);
		client_expect_error(f->client, serial, ROOST_ERROR("QemuFailed"),
			"Start: the unit * ended before it became QEMU; its journal says why");
		/* One that has all it needs must not become QEMU any more. */
		status = reap(pid);
		g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		await_unref(systemd);
		client_assert_property(f->client, web, "State", "'off'");
	}
	assert_starts(f, systemd, web);
}

/* Kill and CancelOperation find a Start wherever it is. */
static void end_start(Fixture *f, Systemd *systemd, const char *path, const char *script, gboolean by_kill)
{
	Client *c = f->client;
	guint start = send_start(f, path), end;
	Unit unit = await_unit(systemd);
	GPid pid = 0;

	g_test_message("%s, %s", script ? script : "no answer", by_kill ? "Kill" : "CancelOperation");
	if (script)
		accept_unit(systemd, &unit);
	if (script && *script)
		pid = play_unit(&unit, script, "x");
	end = by_kill ? client_send(c, path, VM, "Kill", NULL)
		      : client_send(c, path, VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	g_variant_unref(client_result(c, end));
	client_expect_error(c, start, ROOST_ERROR("Cancelled"),
		by_kill ? "Start: cancelled by Kill" : "Start: cancelled");
	if (!pid)
		await_end_of_file(unit.fd);
	if (!script)
		accept_unit(systemd, &unit);
	await_unref(systemd);
	if (pid) {
		kill(pid, SIGKILL);
		reap(pid);
	}
	unit_forget(&unit);
	client_assert_property(c, path, "State", "'off'");
}

static void test_kill(void)
{
	/* systemd has not answered; no launcher has come; it has said its word; it is known; it has all. */
	static const char *const scripts[] = {NULL, "", "wrdp", "wrwrdp"};
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint n_fds;

	assert_starts(f, systemd, web);
	n_fds = count_fds(f->roostd);
	for (gsize i = 0; i < G_N_ELEMENTS(scripts); i++) {
		end_start(f, systemd, web, scripts[i], TRUE);
		end_start(f, systemd, web, scripts[i], FALSE);
	}
	assert_starts(f, systemd, web);
	await_fds(f, n_fds);
}

/* ---- roostd comes and goes ---- */
static void test_adopted(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *name = NULL;
	guint serial = send_start(f, web);
	GPid pid = start_unit(systemd);
	g_autoptr(GVariant) unit = NULL;

	g_variant_unref(client_result(f->client, serial));
	unit = client_get(f->client, web, VM, "Unit");
	name = g_variant_print(unit, FALSE);
	for (int killed = 0; killed <= 1; killed++) {
		if (killed)
			fixture_kill_roostd(f);
		else
			fixture_stop_roostd(f);
		fixture_start_roostd(f);
		client_await_property(f->client, web, "Responsive", "true");
		client_assert_property(f->client, web, "Unit", name);
	}
	/* Its end will be known, too. */
	kill_vm(f, systemd, web, pid);
	g_assert_cmpuint(systemd->n_refs, ==, 2);
}

/* roostd is killed when it has asked for a unit, and nothing has come of it. */
static void test_killed_between(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	Unit unit;
	int status;
	GPid pid;

	send_start(f, web);
	unit = await_unit(systemd);
	fixture_kill_roostd(f);
	/* The launcher comes too late, and ends by itself. */
	pid = run_unit(&unit);
	status = reap(pid);
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	unit_forget(&unit);
	fixture_start_roostd(f);
	client_assert_property(f->client, web, "Unit", "''");
	assert_starts(f, systemd, web);
}

static void become_nobody(gpointer ignored)
{
	if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
		setresuid(65534, 65534, 65534) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A user's process that has the words of a QEMU on its command line is none, when there is one to be looked
 * for. */
static void test_impostor(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = NULL;
	g_autoptr(GVariant) uuid = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *web = NULL;
	const char *argv[] = {"/bin/sh", "-c", "echo; read word", "sh", "-uuid", NULL, NULL};
	char byte;
	int words, input;
	Unit unit;
	GPid pid;

	if (geteuid() != 0) {
		g_test_skip("only root can be somebody else");
		return;
	}
	f = world_new(&systemd, 0);
	web = fixture_define(f, "web", NULL, NULL);
	uuid = client_get(f->client, web, VM, "UUID");
	argv[5] = g_variant_get_string(uuid, NULL);
	g_spawn_async_with_pipes("/", (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, become_nobody, NULL,
		&pid, &input, &words, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpint(read(words, &byte, 1), ==, 1);
	send_start(f, web);
	unit = await_unit(systemd);
	fixture_kill_roostd(f);
	unit_forget(&unit);
	fixture_start_roostd(f);
	client_assert_property(f->client, web, "PID", "uint32 0");
	assert_starts(f, systemd, web);
	close(input);
	reap(pid);
	close(words);
}

/* It is killed when the launcher has all, and before it has written down which process that is. What becomes
 * of it is found. */
static void test_killed_before_record(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *glob = NULL;
	g_autoptr(GVariant) uuid = client_get(f->client, web, VM, "UUID");
	Unit unit;
	GPid pid;

	send_start(f, web);
	unit = await_unit(systemd);
	accept_unit(systemd, &unit);
	pid = play_unit(&unit, "wrwrdp", g_variant_get_string(uuid, NULL));
	fixture_kill_roostd(f);
	glob = g_strdup_printf("'%s'", unit.name);
	unit_forget(&unit);
	fixture_start_roostd(f);
	client_assert_property(f->client, web, "Unit", glob);
	g_assert_cmpint((int)fixture_pid(f, web), ==, pid);
	client_refused(f->client, web, VM, "Start", fixture_no_options(), ROOST_ERROR("InvalidState"), "*");
	kill_vm(f, systemd, web, pid);
	assert_starts(f, systemd, web);
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "play") == 0)
		return play(argv[2]);
	fixture_init(&argc, &argv);
	g_test_add_func("/units/start", test_start);
	g_test_add_func("/units/last-exit", test_last_exit);
	g_test_add_func("/units/late-answer", test_late_answer);
	g_test_add_func("/units/restart", test_restart);
	g_test_add_func("/units/limits", test_limits);
	g_test_add_func("/units/refused", test_refused);
	g_test_add_func("/units/no-answer", test_no_answer);
	g_test_add_func("/units/exists", test_exists);
	g_test_add_func("/units/exists-for-good", test_exists_for_good);
	g_test_add_func("/units/away", test_away);
	g_test_add_func("/units/launcher-ends", test_launcher_ends);
	g_test_add_func("/units/kill", test_kill);
	g_test_add_func("/units/adopted", test_adopted);
	g_test_add_func("/units/killed-between", test_killed_between);
	g_test_add_func("/units/impostor", test_impostor);
	g_test_add_func("/units/killed-before-record", test_killed_before_record);
	return g_test_run();
}
