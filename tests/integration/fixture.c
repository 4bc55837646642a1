#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_SECONDS 60
#define KEEPER_DIR   "ROOST_TEST_KEEPER"
#define WORLD_DIR    "ROOST_TEST_DIR"
#define COMPLAINTS   "mock-complaints"

/* ---- the keeper: outlives a test that dies, ends what it left, removes the folder ---- */
static bool belongs_to(const char *pid, const char *mark)
{
	g_autofree char *path = g_build_filename("/proc", pid, "environ", NULL);
	g_autofree char *environment = NULL;
	gsize size;

	if (!g_file_get_contents(path, &environment, &size, NULL))
		return false;
	for (const char *s = environment; s < environment + size; s += strlen(s) + 1)
		if (strcmp(s, mark) == 0)
			return true;
	return false;
}

static G_NORETURN void keep(const char *dir)
{
	g_autofree char *mark = g_strdup_printf(WORLD_DIR "=%s", dir);
	g_autoptr(GDir) proc = NULL;
	const char *pid;
	char byte;

	/* Whoever ends a test that takes too long ends its whole group; this one is needed then. */
	setsid();
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	proc = g_dir_open("/proc", 0, NULL);
	while ((pid = g_dir_read_name(proc)))
		if (g_ascii_isdigit(pid[0]) && belongs_to(pid, mark))
			kill((pid_t)atoi(pid), SIGKILL);
	execlp("rm", "rm", "-rf", dir, NULL);
	_exit(1);
}

void fixture_init(int *argc, char ***argv)
{
	const char *dir = g_getenv(KEEPER_DIR);

	if (dir)
		keep(dir);
	g_test_init(argc, argv, NULL);
}

static void start_keeper(Fixture *fixture)
{
	g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), KEEPER_DIR, fixture->dir, TRUE);
	char *argv[] = {(char *)"/proc/self/exe", NULL};
	g_autoptr(GError) error = NULL;

	g_spawn_async_with_pipes(NULL, argv, environment, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
		&fixture->keeper, &fixture->keeper_pipe, NULL, NULL, &error);
	g_assert_no_error(error);
	fcntl(fixture->keeper_pipe, F_SETFD, FD_CLOEXEC);
}

static void stop_keeper(Fixture *fixture)
{
	close(fixture->keeper_pipe);
	waitpid(fixture->keeper, NULL, 0);
}

/* ---- children ---- */
/* The test's children end with it. */
static void die_with_parent(void *parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(1);
}

static GPid spawn(Fixture *fixture, char **argv, int *ret_stdout, int *ret_stderr)
{
	g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), WORLD_DIR, fixture->dir, TRUE);
	g_autoptr(GError) error = NULL;
	GPid pid;

	/* To a child this bus is the host's. */
	if (fixture->address)
		environment =
			g_environ_setenv(environment, "DBUS_SYSTEM_BUS_ADDRESS", fixture->address, TRUE);
	g_spawn_async_with_pipes(NULL, argv, environment, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH,
		die_with_parent, GINT_TO_POINTER(getpid()), &pid, NULL, ret_stdout, ret_stderr, &error);
	g_assert_no_error(error);
	return pid;
}

static int reap(GPid *pid)
{
	int status;

	g_assert_cmpint(waitpid(*pid, &status, 0), ==, *pid);
	*pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static char *read_line(int fd)
{
	GString *line = g_string_new(NULL);
	char c;

	while (read(fd, &c, 1) == 1 && c != '\n')
		g_string_append_c(line, c);
	return g_string_free(line, FALSE);
}

static void start_bus(Fixture *fixture)
{
	static const char format[] =
		"<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" "
		"\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
		"<busconfig><type>session</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>\n"
		"<servicedir>%s/services</servicedir>\n"
		"<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow "
		"send_destination=\"*\" "
		"eavesdrop=\"true\"/><allow eavesdrop=\"true\"/></policy></busconfig>\n";
	g_autofree char *text = g_strdup_printf(format, fixture->dir, fixture->dir);
	g_autofree char *config = fixture_write(fixture, "bus.conf", text, strlen(text));
	g_autofree char *option = g_strdup_printf("--config-file=%s", config);
	char *argv[] = {(char *)"dbus-daemon", option, (char *)"--nofork", (char *)"--nopidfile",
		(char *)"--print-address", NULL};
	g_autofree char *line = NULL;
	int out;

	fixture->bus = spawn(fixture, argv, &out, NULL);
	line = read_line(out);
	close(out);
	g_assert_true(g_str_has_prefix(line, "unix:"));
}

/* ---- roostd ---- */
static const char *program(const char *variable)
{
	const char *path = g_getenv(variable);

	if (!path)
		g_error("%s is not set: run the tests by meson", variable);
	return path;
}

static GPtrArray *roostd_arguments(Fixture *fixture)
{
	GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(argv, g_strdup(program("ROOSTD")));
	g_ptr_array_add(
		argv, g_strdup_printf("--bus=%s", fixture->options.is_system ? "system" : fixture->address));
	g_ptr_array_add(argv, g_strdup_printf("--state-dir=%s/state", fixture->dir));
	g_ptr_array_add(argv, g_strdup_printf("--runtime-dir=%s/run", fixture->dir));
	g_ptr_array_add(argv, fixture->options.qemu_script
				      ? g_strdup_printf("--qemu=%s/qemu", fixture->dir)
				      : g_strdup_printf("--qemu=%s",
						program(fixture->options.real_qemu ? "QEMU" : "MOCK_QEMU")));
	g_ptr_array_add(argv, g_strdup("--log-level=warning"));
	if (fixture->options.deadline_scale > 0)
		g_ptr_array_add(
			argv, g_strdup_printf("--deadline-scale=%g", fixture->options.deadline_scale));
	if (fixture->options.max_workers > 0)
		g_ptr_array_add(argv, g_strdup_printf("--max-workers=%d", fixture->options.max_workers));
	if (fixture->options.qemu_user)
		g_ptr_array_add(argv, g_strdup_printf("--qemu-user=%s", fixture->options.qemu_user));
	if (fixture->options.idle_exit > 0)
		g_ptr_array_add(argv, g_strdup_printf("--idle-exit=%g", fixture->options.idle_exit));
	return argv;
}

/* The bus learns how to start it. */
static void write_service_file(Fixture *fixture)
{
	g_autofree char *text = NULL, *words = NULL;
	g_autoptr(GPtrArray) argv = roostd_arguments(fixture);

	g_ptr_array_add(argv, NULL);
	words = g_strjoinv(" ", (char **)argv->pdata);
	text = g_strdup_printf("[D-BUS Service]\nName=" NAME "\nExec=%s\n", words);
	g_free(fixture_write(fixture, "services/" NAME ".service", text, strlen(text)));
}

void fixture_end_activated(Fixture *fixture)
{
	gsize mark = client_mark(fixture->client);
	guint32 pid = client_owner_pid(fixture->client);

	if (pid == 0)
		return;
	kill((pid_t)pid, SIGTERM);
	client_await(
		fixture->client, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', ':*', '')");
}

void fixture_start_roostd(Fixture *fixture)
{
	g_autoptr(GPtrArray) argv = roostd_arguments(fixture);
	gsize mark = client_mark(fixture->client);

	g_ptr_array_add(argv, NULL);
	fixture->roostd = spawn(fixture, (char **)argv->pdata, NULL, NULL);
	client_await(
		fixture->client, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', '', ':*");
}

void fixture_stop_roostd(Fixture *fixture)
{
	kill(fixture->roostd, SIGTERM);
	g_assert_cmpint(reap(&fixture->roostd), ==, 0);
}

void fixture_kill_roostd(Fixture *fixture)
{
	gsize mark = client_mark(fixture->client);

	kill(fixture->roostd, SIGKILL);
	reap(&fixture->roostd);
	client_await(
		fixture->client, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', ':*', '')");
}

int fixture_lose_bus(Fixture *fixture)
{
	kill(fixture->bus, SIGKILL);
	reap(&fixture->bus);
	return reap(&fixture->roostd);
}

int fixture_run_client(Fixture *fixture, char **argv)
{
	GPid pid = spawn(fixture, argv, NULL, NULL);

	return reap(&pid);
}

char *fixture_refused_start(Fixture *fixture, const char *const *options, int *ret_code)
{
	g_autoptr(GPtrArray) argv = roostd_arguments(fixture);
	GString *text = g_string_new(NULL);
	char buffer[1024];
	ssize_t n;
	GPid pid;
	int err;

	for (; *options; options++)
		g_ptr_array_add(argv, g_strdup(*options));
	g_ptr_array_add(argv, NULL);
	pid = spawn(fixture, (char **)argv->pdata, NULL, &err);
	while ((n = read(err, buffer, sizeof buffer)) > 0)
		g_string_append_len(text, buffer, n);
	close(err);
	*ret_code = reap(&pid);
	return g_string_free(text, FALSE);
}

Fixture *fixture_new(const FixtureOptions *options)
{
	Fixture *fixture = g_new0(Fixture, 1);
	g_autofree char *services = NULL, *complaints = NULL;
	g_autoptr(GError) error = NULL;

	if (options)
		fixture->options = *options;
	fixture->dir = g_dir_make_tmp("roost-XXXXXX", &error);
	g_assert_no_error(error);
	/* Other users' processes reach the bus. */
	g_assert_cmpint(g_chmod(fixture->dir, 0755), ==, 0);
	start_keeper(fixture);
	fixture->address = g_strdup_printf("unix:path=%s/bus", fixture->dir);
	services = g_build_filename(fixture->dir, "services", NULL);
	g_assert_cmpint(g_mkdir(services, 0755), ==, 0);
	if (fixture->options.activated && !fixture->options.own_service_file)
		write_service_file(fixture);
	start_bus(fixture);
	fixture->client = client_new(fixture->address);
	fixture->kernel = fixture_write(fixture, "kernel", "no kernel", 9);
	complaints = fixture_write(fixture, COMPLAINTS, "", 0);
	/* Whoever QEMU runs as. */
	g_assert_cmpint(g_chmod(complaints, 0666), ==, 0);
	if (fixture->options.qemu_script && *fixture->options.qemu_script)
		fixture_write_qemu(fixture, fixture->options.qemu_script);
	if (!fixture->options.activated && !fixture->options.waits)
		fixture_start_roostd(fixture);
	return fixture;
}

/* Commands that QEMU would not have understood: roostd must send none. */
static void check_complaints(Fixture *fixture)
{
	g_autofree char *path = g_build_filename(fixture->dir, COMPLAINTS, NULL), *text = NULL;

	if (!fixture->options.bad_commands && g_file_get_contents(path, &text, NULL, NULL) && *text)
		g_error("QEMU would not have understood: %s", text);
}

Fixture *fixture_free(Fixture *fixture)
{
	if (!fixture)
		return NULL;
	if (fixture->roostd)
		fixture_stop_roostd(fixture);
	if (fixture->options.activated)
		fixture_end_activated(fixture);
	client_free(fixture->client);
	if (fixture->bus) {
		kill(fixture->bus, SIGTERM);
		reap(&fixture->bus);
	}
	check_complaints(fixture);
	stop_keeper(fixture);
	g_free(fixture->dir);
	g_free(fixture->address);
	g_free(fixture->kernel);
	g_free(fixture);
	return NULL;
}

/* ---- VMs ---- */
char *fixture_write(Fixture *fixture, const char *name, const char *data, gsize size)
{
	char *path = g_build_filename(fixture->dir, name, NULL);
	g_autoptr(GError) error = NULL;

	g_file_set_contents(path, data, (gssize)size, &error);
	g_assert_no_error(error);
	return path;
}

void fixture_write_qemu(Fixture *fixture, const char *script)
{
	g_autofree char *path = g_build_filename(fixture->dir, "qemu", NULL);
	g_autoptr(GString) text = g_string_new("#!/bin/sh\n");
	g_autoptr(GError) error = NULL;

	g_string_append(text, script);
	g_string_replace(text, "@MOCK@", program("MOCK_QEMU"), 0);
	g_string_replace(text, "@QEMU@", program("QEMU"), 0);
	g_string_replace(text, "@DIR@", fixture->dir, 0);
	g_file_set_contents_full(
		path, text->str, (gssize)text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0755, &error);
	g_assert_no_error(error);
}

GVariant *fixture_no_options(void)
{
	return g_variant_new("(@a{sv})", g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0));
}

char *fixture_define(Fixture *fixture, const char *name, const char *script, const char *config)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GVariant) args = NULL, result = NULL;
	g_autoptr(GError) error = NULL;
	char *path;

	g_string_printf(text, "({'Name': <'%s'>, 'Memory': <uint64 %u>", name,
		(fixture->options.memory_mib > 0 ? fixture->options.memory_mib : 64U) << 20);
	if (!fixture->options.real_qemu) {
		g_autofree char *file = g_strdup_printf("%s.script", name);
		g_autofree char *script_path =
			fixture_write(fixture, file, script ? script : "", script ? strlen(script) : 0);

		g_string_append_printf(text,
			", 'Kernel': <'%s'>, 'KernelCommandLine': <'mock=%s'>, 'Accelerator': <'tcg'>",
			fixture->kernel, script_path);
	}
	g_string_append_printf(text, "%s%s},)", config ? ", " : "", config ? config : "");
	args = g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text->str, NULL, NULL, &error);
	g_assert_no_error(error);
	result = client_call(fixture->client, PATH, MANAGER, "DefineVM", args);
	g_variant_get(result, "(o)", &path);
	return path;
}

#define SECTOR      512
#define FLOPPY_SIZE (1440U * 1024)

char *fixture_define_boot(Fixture *f, const char *name, const guint8 *code, gsize size, const char *more)
{
	g_autofree char *floppy = g_malloc0(FLOPPY_SIZE), *file = g_strdup_printf("%s.img", name),
			*path = NULL, *config = NULL;

	g_assert_cmpuint(size, <=, SECTOR - 2);
	memcpy(floppy, code, size);
	floppy[SECTOR - 2] = 0x55;
	floppy[SECTOR - 1] = (char)0xaa;
	path = fixture_write(f, file, floppy, FLOPPY_SIZE);
	config = g_strdup_printf(
		"'MachineType': <'pc'>, 'Accelerator': <'tcg'>, 'Disks': <[{'Path': <'%s'>, 'Format': "
		"<'raw'>, 'Device': <'floppy'>}]>%s%s",
		path, more ? ", " : "", more ? more : "");
	return fixture_define(f, name, NULL, config);
}

void fixture_start_vm(Fixture *fixture, const char *path)
{
	client_do(fixture->client, path, VM, "Start", fixture_no_options());
}

guint fixture_pid(Fixture *fixture, const char *path)
{
	g_autoptr(GVariant) pid = client_get(fixture->client, path, VM, "PID");

	return g_variant_get_uint32(pid);
}

void fixture_signal_qemu(Fixture *fixture, const char *path, int signal)
{
	guint pid = fixture_pid(fixture, path);

	g_assert_cmpuint(pid, >, 1);
	g_assert_cmpint(kill((pid_t)pid, signal), ==, 0);
}
