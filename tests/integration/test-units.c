/* roostd and systemd, which the test plays. The launcher is the real one, or a child that stops half-way. */
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

#include "systemd.h"

/* Its launcher's end was shut down. */
static void await_end_of_file(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	g_assert_cmpint(poll(&p, 1, SYSTEMD_PATIENCE / 1000), ==, 1);
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
	int status = unit_reap(pid);

	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	g_variant_unref(client_result(f->client, serial));
	systemd_tell_end(systemd, CLD_KILLED, SIGKILL);
	systemd_await_unref(systemd);
}

/* A VM that can be started as well as ever. */
static void assert_starts(Fixture *f, Systemd *systemd, const char *path)
{
	guint serial = send_start(f, path);
	GPid pid = systemd_start_unit(systemd);

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
	gint64 until = g_get_monotonic_time() + SYSTEMD_PATIENCE;

	while (count_fds(f->roostd) > n) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		client_sync(f->client);
	}
}

/* ---- tests ---- */
static void assert_sandbox(const Unit *unit, const char *uuid)
{
	g_autofree char *field = g_strdup_printf("[b'ROOST_VM_NAME=web', b'ROOST_VM_UUID=%s']", uuid);
	g_autoptr(GVariant) fields = unit_property(unit, "LogExtraFields");
	g_autoptr(GVariant) kvm = unit_property(unit, "DeviceAllow");

	unit_assert_property(unit, "Slice", "'roost.slice'");
	unit_assert_property(unit, "Description", "'Virtual machine web'");
	unit_assert_property(unit, "SyslogIdentifier", "'roost-vm-web'");
	unit_assert_property(unit, "CollectMode", "'inactive-or-failed'");
	unit_assert_property(unit, "NoNewPrivileges", "true");
	unit_assert_property(unit, "ProtectSystem", "'strict'");
	unit_assert_property(unit, "CapabilityBoundingSet", "uint64 0");
	unit_assert_property(unit, "RestrictAddressFamilies", "(true, ['AF_UNIX'])");
	unit_assert_property(unit, "DevicePolicy", "'closed'");
	g_assert_null(kvm);
	/* Not asked for. */
	unit_assert_property(unit, "CPUWeight", NULL);
	unit_assert_property(unit, "MemoryMax", NULL);
	unit_assert_property(unit, "TasksMax", NULL);
	unit_assert_property(unit, "User", NULL);
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
	unit = systemd_await_unit(systemd);
	wanted = g_strdup_printf("roost-vm-%s.service", g_variant_get_string(uuid, NULL));
	g_assert_cmpstr(unit.name, ==, wanted);
	assert_sandbox(&unit, g_variant_get_string(uuid, NULL));
	systemd_accept(systemd, &unit);
	pid = unit_run(&unit);
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

static void start_and_crash(Fixture *f, Systemd *systemd, const char *path)
{
	guint serial = send_start(f, path);
	GPid pid = systemd_start_unit(systemd);

	g_variant_unref(client_result(f->client, serial));
	kill(pid, SIGKILL);
	unit_reap(pid);
	client_await_property(f->client, path, "State", "'crashed'");
}

/* It crashes, and is started again before systemd has said how it ended. */
static GPid start_before_told(Fixture *f, Systemd *systemd, const char *path)
{
	guint serial;
	GPid pid;

	start_and_crash(f, systemd, path);
	g_object_unref(systemd_await_call(systemd, "Get"));
	serial = send_start(f, path);
	systemd_await_unref(systemd);
	pid = systemd_start_unit(systemd);
	g_variant_unref(client_result(f->client, serial));
	return pid;
}

/* How it ended is asked of systemd, which may see it later than roostd. */
static void test_last_exit(void)
{
	g_autoptr(Systemd) systemd = NULL;
	g_autoptr(Fixture) f = world_new(&systemd, 0);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	Client *c = f->client;
	gsize mark;
	GPid pid;

	mark = client_mark(c);
	start_and_crash(f, systemd, web);
	systemd_tell_end(systemd, 0, 0);
	systemd_tell_end(systemd, 0, 0);
	systemd_tell_end(systemd, CLD_DUMPED, SIGSEGV);
	client_await(c, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	systemd_await_unref(systemd);

	/* By the next start it is nobody's business any more. */
	pid = start_before_told(f, systemd, web);
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
	Unit unit = systemd_await_unit(systemd);
	GPid pid = unit_run(&unit);
	gsize mark;

	g_variant_unref(client_result(f->client, serial));
	mark = client_mark(f->client);
	kill(pid, SIGKILL);
	unit_reap(pid);
	client_await_property(f->client, web, "State", "'crashed'");
	systemd_accept(systemd, &unit);
	unit_forget(&unit);
	systemd_tell_end(systemd, CLD_DUMPED, SIGSEGV);
	client_await(f->client, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	systemd_await_unref(systemd);
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
	GPid pid;

	mark = client_mark(c);
	start_and_crash(f, systemd, web);
	systemd_tell_end(systemd, CLD_DUMPED, SIGSEGV);
	systemd_await_unref(systemd);
	pid = systemd_start_unit(systemd);
	client_await(c, mark, web, "PropertiesChanged", "*'Signal': <11>*");
	client_await(c, mark, web, "StateChanged", "('crashed', 'starting', 'qemu-exit')");
	client_await_property(c, web, "State", "'running'");
	kill_vm(f, systemd, web, pid);
	client_assert_property(c, web, "State", "'off'");
	/* Somebody's is quicker. */
	pid = start_before_told(f, systemd, web);
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
	Unit unit = systemd_await_unit(systemd);
	GPid pid;

	unit_assert_property(&unit, "CPUWeight", "uint64 200");
	unit_assert_property(&unit, "MemoryMax", "uint64 1073741824");
	unit_assert_property(&unit, "TasksMax", "uint64 64");
	unit_assert_property(&unit, "RestrictAddressFamilies", "(true, ['AF_UNIX', 'AF_INET', 'AF_INET6'])");
	systemd_accept(systemd, &unit);
	pid = unit_run(&unit);
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
		Unit unit = systemd_await_unit(systemd);

		systemd_refuse(systemd, unit.call, rows[i].name, "not today");
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
		Unit unit = systemd_await_unit(systemd);

		if (accepted)
			systemd_accept(systemd, &unit);
		client_expect_error(f->client, serial, ROOST_ERROR("Timeout"),
			"Start: the unit * was not started in time");
		await_end_of_file(unit.fd);
		/* Too late: it is not wanted any more, and let go, so that its name is free. */
		if (!accepted)
			systemd_accept(systemd, &unit);
		systemd_await_unref(systemd);
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
		Unit unit = systemd_await_unit(systemd);

		systemd_refuse(systemd, unit.call, SYSTEMD ".UnitExists", "it is there");
		unit_forget(&unit);
	}
	pid = systemd_start_unit(systemd);
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
	pid = systemd_start_unit(systemd);
	g_variant_unref(client_result(f->client, serial));
	kill_vm(f, systemd, web, pid);

	/* While it has our question. */
	serial = send_start(f, web);
	{
		Unit unit = systemd_await_unit(systemd);

		systemd_go(systemd);
		systemd_refuse(systemd, unit.call, "org.freedesktop.DBus.Error.NoReply", "gone");
		unit_forget(&unit);
	}
	systemd_come(systemd);
	pid = systemd_start_unit(systemd);
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
	GPid pid = unit_spawn(argv, unit->fd, &output);
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
		Unit unit = systemd_await_unit(systemd);
		GPid pid;
		int status;

		g_test_message("%s", scripts[i]);
		systemd_accept(systemd, &unit);
		pid = play_unit(&unit, scripts[i], "x");
		unit_forget(&unit);
		client_expect_error(f->client, serial, ROOST_ERROR("QemuFailed"),
			"Start: the unit * ended before it became QEMU; its journal says why");
		/* One that has all it needs must not become QEMU any more. */
		status = unit_reap(pid);
		g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		systemd_await_unref(systemd);
		client_assert_property(f->client, web, "State", "'off'");
	}
	assert_starts(f, systemd, web);
}

/* Kill and CancelOperation find a Start wherever it is. */
static void end_start(Fixture *f, Systemd *systemd, const char *path, const char *script, gboolean by_kill)
{
	Client *c = f->client;
	guint start = send_start(f, path), end;
	Unit unit = systemd_await_unit(systemd);
	GPid pid = 0;

	g_test_message("%s, %s", script ? script : "no answer", by_kill ? "Kill" : "CancelOperation");
	if (script)
		systemd_accept(systemd, &unit);
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
		systemd_accept(systemd, &unit);
	systemd_await_unref(systemd);
	if (pid) {
		kill(pid, SIGKILL);
		unit_reap(pid);
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
	GPid pid = systemd_start_unit(systemd);
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
	unit = systemd_await_unit(systemd);
	fixture_kill_roostd(f);
	/* The launcher comes too late, and ends by itself. */
	pid = unit_run(&unit);
	status = unit_reap(pid);
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
	unit = systemd_await_unit(systemd);
	fixture_kill_roostd(f);
	unit_forget(&unit);
	fixture_start_roostd(f);
	client_assert_property(f->client, web, "PID", "uint32 0");
	assert_starts(f, systemd, web);
	close(input);
	unit_reap(pid);
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
	unit = systemd_await_unit(systemd);
	systemd_accept(systemd, &unit);
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
