/* tests/mock-qemu over real sockets: that it behaves as scripted, and, side by side with it, as the real one.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "qmp/monitor.h"
#include "util/clock.h"
#include "util/fd.h"

/* Far beyond what anything here takes. */
#define PATIENCE_MSEC 20000

typedef struct World {
	char *folder, *script, *qmp_path, *console_path;
	GPid pid;
	int errors; /* its standard error */
	int qmp;
	GString *heard; /* not asked for yet */
} World;

static void setup(World *world, gconstpointer data)
{
	*world = (World){.errors = -1, .qmp = -1, .heard = g_string_new(NULL)};
	world->folder = g_dir_make_tmp("mock-qemu-XXXXXX", NULL);
	g_assert_nonnull(world->folder);
	world->script = g_build_filename(world->folder, "script", NULL);
	world->qmp_path = g_build_filename(world->folder, "qmp", NULL);
	world->console_path = g_build_filename(world->folder, "console", NULL);
}

static int wait_for_exit(World *world)
{
	int status;

	g_assert_cmpint(waitpid(world->pid, &status, 0), ==, world->pid);
	world->pid = 0;
	return status;
}

static void teardown(World *world, gconstpointer data)
{
	if (world->pid > 0) {
		kill(world->pid, SIGKILL);
		wait_for_exit(world);
	}
	fd_close(&world->qmp);
	fd_close(&world->errors);
	g_autofree char *complaints = g_build_filename(world->folder, "mock-complaints", NULL);

	g_unlink(complaints);
	g_unlink(world->script);
	g_unlink(world->qmp_path);
	g_unlink(world->console_path);
	g_rmdir(world->folder);
	g_free(world->folder);
	g_free(world->script);
	g_free(world->qmp_path);
	g_free(world->console_path);
	g_string_free(world->heard, TRUE);
}

/* No test leaves a process behind, not even one that fails. */
static void die_with_parent(void *data)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Starts it with the fds 20 (QMP) and 21 (a console), by a command line as Roost builds it. */
static void start_binary(World *world, const char *binary, const char *script, bool no_shutdown)
{
	autofd int qmp = fd_listen_unix(world->qmp_path), console = fd_listen_unix(world->console_path);
	int from[] = {qmp, console}, to[] = {20, 21};
	g_autofree char *append = g_strdup_printf("console=ttyS0 mock=%s quiet", world->script);
	const char *argv[] = {binary, "-name", "guest=x", "-nodefaults", "-display", "none", "-M", "none",
		"-S", "-chardev", "socket,id=qmp,fd=20,server=on,wait=off", "-mon",
		"chardev=qmp,mode=control", "-chardev", "socket,id=chardev-a,fd=21,server=on,wait=off", NULL,
		NULL, NULL, NULL};
	size_t n = 15;
	GError *error = NULL;

	g_assert_cmpint(qmp, >=, 0);
	g_assert_cmpint(console, >=, 0);
	if (no_shutdown)
		argv[n++] = "-no-shutdown";
	if (script) {
		g_assert_true(g_file_set_contents(world->script, script, -1, NULL));
		argv[n++] = "-append";
		argv[n++] = append;
	}
	g_spawn_async_with_pipes_and_fds(NULL, argv, NULL,
		G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, die_with_parent, NULL, -1, -1, -1,
		from, to, 2, &world->pid, NULL, NULL, &world->errors, &error);
	g_assert_no_error(error);
	/* The socket listens already: no waiting. */
	world->qmp = fd_connect_unix(world->qmp_path);
	g_assert_cmpint(world->qmp, >=, 0);
}

static void start(World *world, const char *script)
{
	g_autofree char *binary = g_test_build_filename(G_TEST_BUILT, "mock-qemu", "mock-qemu", NULL);

	start_binary(world, binary, script, true);
}

static void say(World *world, const char *text)
{
	g_assert_cmpint(fd_write_all(world->qmp, text, strlen(text)), ==, 0);
}

/* Appends what comes; false at the end of the stream. */
static bool hear_more(int fd, GString *heard)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	char buffer[65536];
	ssize_t n;

	g_assert_cmpint(poll(&readable, 1, PATIENCE_MSEC), ==, 1);
	n = read(fd, buffer, sizeof buffer);
	if (n > 0)
		g_string_append_len(heard, buffer, n);
	return n > 0;
}

/* The next line without its end, timestamp and version; NULL: the end. */
static char *hear(World *world)
{
	g_autofree char *line = NULL;
	char *line_end, *from;

	while (!(line_end = strchr(world->heard->str, '\n'))) {
		if (!hear_more(world->qmp, world->heard))
			return NULL;
	}
	line = g_strndup(world->heard->str, (size_t)(line_end - world->heard->str));
	g_string_erase(world->heard, 0, line_end + 1 - world->heard->str);
	g_strchomp(line);
	if (g_str_has_prefix(line, "{\"timestamp\": ")) {
		from = strstr(line, "}, ");
		g_assert_nonnull(from);
		return g_strconcat("{", from + 3, NULL);
	}
	if (g_str_has_prefix(line, "{\"QMP\": "))
		return g_strdup("greeting");
	return g_steal_pointer(&line);
}

static void assert_hears(World *world, const char *expected)
{
	g_autofree char *line = hear(world);

	g_assert_cmpstr(line, ==, expected);
}

/* Sends a command with the id 1, expects lines: the arguments up to a NULL. */
static void G_GNUC_NULL_TERMINATED dialogue(World *world, const char *command, ...)
{
	g_autofree char *line = g_strdup_printf("{\"execute\":\"%s\",\"id\":1}\n", command);
	const char *expected;
	va_list list;

	say(world, line);
	va_start(list, command);
	while ((expected = va_arg(list, const char *)))
		assert_hears(world, expected);
	va_end(list);
}

#define DONE "{\"return\": {}, \"id\": 1}"
#define STATUS(s)                                                                                            \
	"{\"return\": {\"status\": \"" s "\", \"singlestep\": false, \"running\": false}, \"id\": 1}"
#define STATUS_RUN                                                                                           \
	"{\"return\": {\"status\": \"running\", \"singlestep\": false, \"running\": true}, \"id\": 1}"
#define ERROR(class, desc) "{\"id\": 1, \"error\": {\"class\": \"" class "\", \"desc\": \"" desc "\"}}"

static void handshake(World *world)
{
	assert_hears(world, "greeting");
	dialogue(world, "qmp_capabilities", DONE, NULL);
}

/* What the mock and the real one must say alike. Ends with their exit. */
static void full_dialogue(World *world)
{
	assert_hears(world, "greeting");
	dialogue(world, "query-status",
		ERROR("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'"), NULL);
	dialogue(world, "qmp_capabilities", DONE, NULL);
	dialogue(world, "qmp_capabilities",
		ERROR("CommandNotFound", "Capabilities negotiation is already complete, command ignored"),
		NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "stop", DONE, NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "cont", "{\"event\": \"RESUME\"}", DONE, NULL);
	dialogue(world, "cont", DONE, NULL);
	dialogue(world, "query-status", STATUS_RUN, NULL);
	dialogue(world, "system_reset",
		"{\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}}",
		DONE, NULL);
	dialogue(world, "query-status", STATUS_RUN, NULL);
	dialogue(world, "stop", "{\"event\": \"STOP\"}", DONE, NULL);
	dialogue(world, "stop", DONE, NULL);
	dialogue(world, "query-status", STATUS("paused"), NULL);
	dialogue(world, "system_reset",
		"{\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}}",
		DONE, NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "query-block", "{\"return\": [], \"id\": 1}", NULL);
	dialogue(world, "query-jobs", "{\"return\": [], \"id\": 1}", NULL);
	dialogue(world, "query-block-jobs", "{\"return\": [], \"id\": 1}", NULL);
	dialogue(world, "query-migrate", DONE, NULL);
	dialogue(world, "query-memory-devices", "{\"return\": [], \"id\": 1}", NULL);
	dialogue(world, "query-balloon", ERROR("DeviceNotActive", "No balloon device has been activated"),
		NULL);
	dialogue(world, "no_such", ERROR("CommandNotFound", "The command no_such has not been found"), NULL);
	say(world, "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/machine/peripheral\"},\"id\":1}\n");
	assert_hears(world, "{\"return\": [{\"name\": \"type\", \"type\": \"string\"}], \"id\": 1}");
	say(world, "{\"execute\":\"stop\",\"arguments\":{\"x\":1},\"id\":1}\n");
	assert_hears(world, ERROR("GenericError", "Parameter 'x' is unexpected"));
	say(world,
		"{\"execute\":1,\"id\":1}\n{\"id\":1}\n{\"execute\":\"stop\",\"extra\":1,\"id\":1}\n[1]\n");
	assert_hears(world, ERROR("GenericError", "QMP input member 'execute' must be a string"));
	assert_hears(world, ERROR("GenericError", "QMP input lacks member 'execute'"));
	assert_hears(world, ERROR("GenericError", "QMP input member 'extra' is unexpected"));
	assert_hears(world,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"QMP input must be a JSON object\"}}");
	say(world, "{\"execute\":\"stop\",\"id\":{\"a\": [1]}}\n{\"execute\":\"stop\"}\n");
	assert_hears(world, "{\"return\": {}, \"id\": {\"a\": [1]}}");
	assert_hears(world, "{\"return\": {}}");
	dialogue(world, "system_powerdown", "{\"event\": \"POWERDOWN\"}", DONE, NULL);
	dialogue(world, "quit",
		"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-quit\"}}",
		DONE, NULL);
	g_assert_null(hear(world));
	g_assert_cmpint(wait_for_exit(world), ==, 0);
}

static void test_dialogue(World *world, gconstpointer data)
{
	start(world, NULL);
	full_dialogue(world);
}

static void test_real(World *world, gconstpointer data)
{
	g_autofree char *binary = g_find_program_in_path("qemu-system-x86_64");

	if (!binary) {
		g_test_skip("no qemu-system-x86_64");
		return;
	}
	start_binary(world, binary, NULL, true);
	full_dialogue(world);
}

/* As a trial VM is started: no answer that could be taken for one, and no waiting. */
static void test_no_monitor(World *world, gconstpointer data)
{
	g_autofree char *binary = g_test_build_filename(G_TEST_BUILT, "mock-qemu", "mock-qemu", NULL);
	char *argv[] = {binary, (char *)"-accel", (char *)"kvm", NULL};
	g_autofree char *errors = NULL;
	int status;

	g_assert_true(
		g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &errors, &status, NULL));
	g_assert_cmpstr(errors, ==, "mock-qemu: no -chardev socket,id=qmp,fd=N\n");
	g_assert_cmpint(WEXITSTATUS(status), ==, 1);
}

#define POWER_OFF "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}"

static void test_powerdown(World *world, gconstpointer data)
{
	start(world, NULL);
	handshake(world);
	dialogue(world, "cont", "{\"event\": \"RESUME\"}", DONE, NULL);
	dialogue(world, "system_powerdown", "{\"event\": \"POWERDOWN\"}", DONE, POWER_OFF,
		"{\"event\": \"STOP\"}", NULL);
	dialogue(world, "query-status", STATUS("shutdown"), NULL);
	dialogue(world, "cont", ERROR("GenericError", "Resetting the Virtual Machine is required"), NULL);
	dialogue(world, "stop", DONE, NULL);
	dialogue(world, "system_reset",
		"{\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}}",
		DONE, NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "cont", "{\"event\": \"RESUME\"}", DONE, NULL);
}

static void test_powerdown_exits(World *world, gconstpointer data)
{
	g_autofree char *binary = g_test_build_filename(G_TEST_BUILT, "mock-qemu", "mock-qemu", NULL);

	start_binary(world, binary, NULL, false);
	handshake(world);
	/* A paused guest obeys when it runs again. */
	dialogue(world, "system_powerdown", "{\"event\": \"POWERDOWN\"}", DONE, NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "cont", "{\"event\": \"RESUME\"}", DONE, POWER_OFF, NULL);
	g_assert_null(hear(world));
	g_assert_cmpint(wait_for_exit(world), ==, 0);
}

static void test_ignore_powerdown(World *world, gconstpointer data)
{
	start(world, "ignore powerdown\n on query-status delay 30\n");
	handshake(world);
	dialogue(world, "cont", "{\"event\": \"RESUME\"}", DONE, NULL);
	dialogue(world, "system_powerdown", "{\"event\": \"POWERDOWN\"}", DONE, NULL);
	dialogue(world, "query-status", STATUS_RUN, NULL);
}

/* A late reply holds up the next, and events pass both. */
static void test_delay(World *world, gconstpointer data)
{
	uint64_t begin;

	start(world, "# comment\n\non stop delay 200\non stop event {\"event\": \"A\"}\non stop event "
		     "{\"event\": \"B\", \"data\": {}}\n"
		     "after 1 event {\"event\": \"C\"}\r\n");
	handshake(world);
	assert_hears(world, "{\"event\": \"C\"}");
	begin = clock_monotonic_usec();
	say(world, "{\"execute\":\"stop\",\"id\":1}\n{\"execute\":\"query-status\",\"id\":1}\n");
	assert_hears(world, "{\"event\": \"A\"}");
	assert_hears(world, "{\"event\": \"B\", \"data\": {}}");
	assert_hears(world, DONE);
	g_assert_cmpuint(clock_monotonic_usec() - begin, >=, 200 * USEC_PER_MSEC);
	assert_hears(world, STATUS("prelaunch"));
}

static void test_replies_replaced(World *world, gconstpointer data)
{
	start(world, "on cont error GenericError Could not \"open\" it\non query-block return [{\"device\": "
		     "\"d\"}]\n"
		     "on stop garbage\n");
	handshake(world);
	dialogue(world, "cont", ERROR("GenericError", "Could not \\\"open\\\" it"), NULL);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
	dialogue(world, "query-block", "{\"return\": [{\"device\": \"d\"}], \"id\": 1}", NULL);
	dialogue(world, "stop", "\x01garbage}{", NULL);
}

/* What QEMU would not understand, in its words, and a file that says so. */
static void test_schema(World *world, gconstpointer data)
{
	static const struct {
		const char *command, *complaint;
	} rows[] = {
		{"\"stop\", \"arguments\": {\"x\": 1}", "Parameter 'x' is unexpected"},
		{"\"blockdev-del\"", "Parameter 'node-name' is missing"},
		{"\"blockdev-del\", \"arguments\": {\"node-name\": 3}",
			"Invalid parameter type for 'node-name', expected: string"},
		{"\"blockdev-add\", \"arguments\": {\"driver\": \"rawer\"}",
			"Parameter 'driver' does not accept value 'rawer'"},
		{"\"blockdev-add\", \"arguments\": {\"driver\": \"raw\", \"file\": {\"driver\": "
		 "\"file\", \"filename\": \"f\", \"x\": 1}}",
			"Parameter 'file.x' is unexpected"},
		{"\"send-key\", \"arguments\": {\"keys\": [{\"type\": \"qcode\", \"data\": \"any\"}]}",
			"Parameter 'keys[0].data' does not accept value 'any'"},
	};
	g_autofree char *path = NULL, *text = NULL;

	start(world, "on query-name return {}\n");
	handshake(world);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *line = g_strdup_printf("{\"execute\": %s}\n", rows[i].command);
		g_autofree char *answer = g_strdup_printf(
			"{\"error\": {\"class\": \"GenericError\", \"desc\": \"%s\"}}", rows[i].complaint);

		say(world, line);
		assert_hears(world, answer);
	}
	dialogue(world, "query-name", "{\"return\": {}, \"id\": 1}", NULL);
	path = g_build_filename(world->folder, "mock-complaints", NULL);
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_true(g_str_has_prefix(text, "stop: Parameter 'x' is unexpected\nblockdev-del: "));
}

static void reconnect(World *world)
{
	fd_close(&world->qmp);
	g_string_truncate(world->heard, 0);
	world->qmp = fd_connect_unix(world->qmp_path);
	g_assert_cmpint(world->qmp, >=, 0);
}

/* Silence ends with the connection; meanwhile events go on. */
static void test_silent(World *world, gconstpointer data)
{
	start(world, "on stop silent\nevery 5 event {\"event\": \"TICK\", \"data\": {\"n\": \"$N\"}}\n");
	assert_hears(world, "greeting");
	say(world, "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"stop\"}\n{\"execute\":\"query-"
		   "status\"}\n");
	assert_hears(world, "{\"return\": {}}");
	assert_hears(world, "{\"event\": \"TICK\", \"data\": {\"n\": \"1\"}}");
	assert_hears(world, "{\"event\": \"TICK\", \"data\": {\"n\": \"2\"}}");
	assert_hears(world, "{\"event\": \"TICK\", \"data\": {\"n\": \"3\"}}");
	reconnect(world);
	assert_hears(world, "greeting");
}

static void test_half(World *world, gconstpointer data)
{
	start(world, "on stop half\n");
	handshake(world);
	dialogue(world, "stop", NULL);
	while (strcmp(world->heard->str, "{\"return\": {\"ha") != 0)
		g_assert_true(hear_more(world->qmp, world->heard));
	reconnect(world);
	handshake(world);
}

/* What was in progress when its peer left has its effect, and no reply for the next peer. */
static void test_reconnect(World *world, gconstpointer data)
{
	start(world, "on cont delay 50\non cont event {\"event\": \"SEEN\"}\n");
	handshake(world);
	dialogue(world, "cont", "{\"event\": \"SEEN\"}", NULL);
	reconnect(world);
	assert_hears(world, "greeting");
	say(world, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n{\"execute\":\"query-status\",\"id\":1}\n");
	assert_hears(world, DONE);
	assert_hears(world, STATUS_RUN);
}

static void test_start_silent(World *world, gconstpointer data)
{
	g_autoptr(GString) console = g_string_new(NULL);
	autofd int fd = -1;

	start(world, "on start silent\non start sleep 10\n");
	say(world, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	/* It lives, but says nothing on QMP. */
	fd = fd_connect_unix(world->console_path);
	while (!strchr(console->str, '\n'))
		g_assert_true(hear_more(fd, console));
	g_assert_cmpint(recv(world->qmp, console->str, 1, MSG_DONTWAIT), ==, -1);
	g_assert_cmpint(kill(world->pid, SIGTERM), ==, 0);
	g_assert_cmpint(wait_for_exit(world), ==, 0);
}

static char *hear_errors(World *world)
{
	GString *text = g_string_new(NULL);

	while (hear_more(world->errors, text))
		;
	return g_string_free(text, FALSE);
}

static void test_start_exit(World *world, gconstpointer data)
{
	g_autofree char *errors = NULL;

	start(world, "on start exit 3 qemu: could not load kernel 'x'\n");
	errors = hear_errors(world);
	g_assert_cmpstr(errors, ==, "qemu: could not load kernel 'x'\n");
	g_assert_cmpint(WEXITSTATUS(wait_for_exit(world)), ==, 3);
	g_assert_null(hear(world));
}

static void test_exits(World *world, gconstpointer data)
{
	start(world, "on stop exit 7\n");
	handshake(world);
	dialogue(world, "stop", NULL);
	g_assert_null(hear(world));
	g_assert_cmpint(WEXITSTATUS(wait_for_exit(world)), ==, 7);
}

static void test_after_exit(World *world, gconstpointer data)
{
	start(world, "after 20 exit 9\n");
	handshake(world);
	g_assert_null(hear(world));
	g_assert_cmpint(WEXITSTATUS(wait_for_exit(world)), ==, 9);
}

static void test_sigterm(World *world, gconstpointer data)
{
	start(world, NULL);
	handshake(world);
	g_assert_cmpint(kill(world->pid, SIGTERM), ==, 0);
	assert_hears(world,
		"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-signal\"}}");
	g_assert_null(hear(world));
	g_assert_cmpint(wait_for_exit(world), ==, 0);
}

static void test_ignore_sigterm(World *world, gconstpointer data)
{
	start(world, "ignore sigterm\n");
	handshake(world);
	g_assert_cmpint(kill(world->pid, SIGTERM), ==, 0);
	dialogue(world, "query-status", STATUS("prelaunch"), NULL);
}

static void test_console(World *world, gconstpointer data)
{
	start(world, NULL);
	handshake(world);
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GString) heard = g_string_new(NULL);
		autofd int fd = fd_connect_unix(world->console_path);

		g_assert_cmpint(fd_write_all(fd, "echo\n", 5), ==, 0);
		while (strcmp(heard->str, "mock console\necho\n") != 0)
			g_assert_true(hear_more(fd, heard));
	}
	dialogue(world, "query-chardev",
		"{\"return\": [{\"frontend-open\": true, \"filename\": \"disconnected:unix:mock,server=on\", "
		"\"label\": "
		"\"qmp\"}, {\"frontend-open\": true, \"filename\": \"disconnected:unix:mock,server=on\", "
		"\"label\": "
		"\"chardev-a\"}], \"id\": 1}",
		NULL);
}

static void test_bad_script(World *world, gconstpointer data)
{
	static const struct {
		const char *script, *complaint;
	} rows[] = {
		{"\nfly\n", "2: not understood: fly"},
		{"on stop fly\n", "1: unknown action: fly"},
		{"on stop\n", "1: something is missing: end of line"},
		{"on stop delay x\n", "1: not a number: x"},
		{"on stop event {\n", "1: not JSON: {"},
		{"on stop event {}\n", "1: not an event: {}"},
		{"on stop silent now\n", "1: too much: now"},
		{"pace 0 1 {\"event\": \"A\"}\n", "1: a rate of nothing: 0"},
		{"on stop split soon\n", "1: not a number: soon"},
		{"every 0 event {\"event\": \"A\"}\n", "1: a period of nothing: 0"},
		{"every 1 exit 1\n", "1: unknown action: exit"},
		{"ignore rain\n", "1: cannot be ignored: rain"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		World each;
		g_autofree char *errors = NULL, *expected = NULL;

		setup(&each, NULL);
		start(&each, rows[i].script);
		errors = hear_errors(&each);
		expected = g_strdup_printf("mock-qemu: %s:%s\n", each.script, rows[i].complaint);
		g_assert_cmpstr(errors, ==, expected);
		g_assert_cmpint(WEXITSTATUS(wait_for_exit(&each)), ==, 2);
		teardown(&each, NULL);
	}
}

/* ---- with the monitor at the other end ---- */

typedef struct Client {
	QmpMonitor *monitor;
	unsigned n_events, n_replies, n_turns;
	bool closed;
} Client;

static void client_send(Client *client, const char *command) NO_THREAD_SAFETY_ANALYSIS
{
	g_autofree char *line = qmp_command_format(command, NULL, 1);

	g_assert_cmpint(qmp_monitor_send(client->monitor, line, strlen(line)), ==, 0);
}

static void on_ready(void *user)
{
	client_send(user, "cont");
}

static void on_event(void *user, const QmpEvent *event)
{
	Client *client = user;

	client->n_events += event->name_size == 5 && memcmp(event->name, "FLOOD", 5) == 0;
}

static void on_reply(void *user, uint64_t id, QmpReply *reply_consume)
{
	Client *client = user;

	g_assert_false(reply_consume->failed);
	qmp_reply_free(reply_consume);
	client->n_replies++;
	/* One question after the other through the whole flood. */
	if (client->n_events < 200000)
		client_send(client, "query-status");
	else
		client_send(client, "quit");
}

static void on_turn(void *user)
{
	((Client *)user)->n_turns++;
}

static void on_closed(void *user, int error, const char *why)
{
	g_assert_cmpint(error, ==, 0);
	((Client *)user)->closed = true;
}

static void test_flood(World *world, gconstpointer data) NO_THREAD_SAFETY_ANALYSIS
{
	static const QmpMonitorCallbacks callbacks = {
		.session = {.ready = on_ready, .event = on_event, .reply = on_reply},
		.turn = on_turn,
		.closed = on_closed,
	};
	Client client = {0};
	sd_event *loop = NULL;
	uint64_t begin = clock_monotonic_usec();

	start(world, "flood 200000 {\"event\": \"FLOOD\", \"data\": {\"action\": \"run\"}}\n");
	g_assert_cmpint(sd_event_new(&loop), ==, 0);
	g_assert_cmpint(
		qmp_monitor_new(loop, g_steal_fd(&world->qmp), &callbacks, &client, &client.monitor), ==, 0);
	while (!client.closed)
		g_assert_cmpint(sd_event_run(loop, PATIENCE_MSEC * USEC_PER_MSEC), >, 0);
	g_assert_cmpuint(client.n_events, ==, 200000);
	g_assert_cmpuint(client.n_replies, >, 2);
	g_test_message("%u replies in %u turns, %.0f events a millisecond", client.n_replies, client.n_turns,
		200000.0 * USEC_PER_MSEC / (double)(clock_monotonic_usec() - begin));
	g_assert_cmpint(wait_for_exit(world), ==, 0);
	qmp_monitor_free(client.monitor);
	sd_event_unref(loop);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*func)(World *, gconstpointer);
	} tests[] = {
		{"/mock-qemu/dialogue", test_dialogue},
		{"/mock-qemu/real", test_real},
		{"/mock-qemu/no-monitor", test_no_monitor},
		{"/mock-qemu/powerdown", test_powerdown},
		{"/mock-qemu/powerdown-exits", test_powerdown_exits},
		{"/mock-qemu/ignore-powerdown", test_ignore_powerdown},
		{"/mock-qemu/delay", test_delay},
		{"/mock-qemu/replies-replaced", test_replies_replaced},
		{"/mock-qemu/schema", test_schema},
		{"/mock-qemu/silent", test_silent},
		{"/mock-qemu/half", test_half},
		{"/mock-qemu/reconnect", test_reconnect},
		{"/mock-qemu/start-silent", test_start_silent},
		{"/mock-qemu/start-exit", test_start_exit},
		{"/mock-qemu/exits", test_exits},
		{"/mock-qemu/after-exit", test_after_exit},
		{"/mock-qemu/sigterm", test_sigterm},
		{"/mock-qemu/ignore-sigterm", test_ignore_sigterm},
		{"/mock-qemu/console", test_console},
		{"/mock-qemu/bad-script", test_bad_script},
		{"/mock-qemu/flood", test_flood},
	};

	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_event);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].path, World, NULL, setup, tests[i].func, teardown);
	return g_test_run();
}
