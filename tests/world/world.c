#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define WAIT_SECONDS 60
#define RULES_DIR    "/etc/polkit-1/rules.d"
#define SERVICES_DIR "/usr/share/dbus-1/system-services"

/* ---- processes ---- */
typedef struct Identity {
	const char *user;
	uid_t uid;
	gid_t gid;
	Place place;
} Identity;

static Identity identity_of(const char *user, Place place)
{
	struct passwd *entry = getpwnam(user);

	g_assert_nonnull(entry);
	return (Identity){user, entry->pw_uid, entry->pw_gid, place};
}

/* In the child. */
static void become(void *data)
{
	const Identity *identity = data;

	if (identity->place == AT_THE_SCREEN &&
		mount("/run/world/at-the-screen", "/proc/self/cgroup", NULL, MS_BIND, NULL) < 0)
		_exit(126);
	if (initgroups(identity->user, identity->gid) < 0 ||
		setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
		setresuid(identity->uid, identity->uid, identity->uid) < 0)
		_exit(126);
}

static GPid spawn(const char *const *argv, Identity *identity, int *ret_in, int *ret_out)
{
	g_autoptr(GError) error = NULL;
	GPid pid;

	g_spawn_async_with_pipes("/", (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH,
		identity ? become : NULL, identity, &pid, ret_in, ret_out, NULL, &error);
	g_assert_no_error(error);
	return pid;
}

static void end(GPid *pid)
{
	int status;

	kill(*pid, SIGCONT);
	kill(*pid, SIGTERM);
	g_assert_cmpint(waitpid(*pid, &status, 0), ==, *pid);
	*pid = 0;
}

static char *read_all(int fd)
{
	GString *text = g_string_new(NULL);
	char buffer[4096];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		g_string_append_len(text, buffer, n);
	close(fd);
	return g_string_free(text, FALSE);
}

char *world_run(const char *user, Place place, const char *const *argv, int *ret_status)
{
	Program program;

	program_spawn(&program, user, place, argv);
	program_begin(&program);
	return program_finish(&program, ret_status);
}

void program_spawn(Program *program, const char *user, Place place, const char *const *argv)
{
	Identity identity = identity_of(user, place);
	g_autoptr(GPtrArray) words = g_ptr_array_new();

	g_ptr_array_add(words, (char *)"sh");
	g_ptr_array_add(words, (char *)"-c");
	g_ptr_array_add(words, (char *)"read go && exec \"$@\" 2>&1");
	g_ptr_array_add(words, (char *)"sh");
	for (; *argv; argv++)
		g_ptr_array_add(words, (char *)*argv);
	g_ptr_array_add(words, NULL);
	program->pid = spawn((const char *const *)words->pdata, &identity, &program->in, &program->out);
}

void program_begin(Program *program)
{
	g_assert_cmpint(write(program->in, "\n", 1), ==, 1);
}

char *program_finish(Program *program, int *ret_status)
{
	char *text = read_all(program->out);
	int status;

	close(program->in);
	g_assert_cmpint(waitpid(program->pid, &status, 0), ==, program->pid);
	if (ret_status)
		*ret_status = status;
	return text;
}

/* ---- users ---- */
guint world_uid(const char *user)
{
	return identity_of(user, ELSEWHERE).uid;
}

Client *world_client(const char *user)
{
	return client_new_as(BUS_ADDRESS, world_uid(user));
}

/* ---- agents ---- */
static void spawn_agent(Agent *agent, const char *user, GPid process)
{
	Identity identity = identity_of(user, ELSEWHERE);
	char pid_text[16], fd_text[16], byte;
	int registered[2];

	g_assert_cmpint(pipe2(registered, O_CLOEXEC), ==, 0);
	g_snprintf(pid_text, sizeof pid_text, "%d", process);
	g_snprintf(fd_text, sizeof fd_text, "%d", registered[1]);
	agent->text = g_string_new(NULL);
	agent->pid = forkpty(&agent->terminal, NULL, NULL, NULL);
	g_assert_cmpint(agent->pid, >=, 0);
	if (agent->pid == 0) {
		become(&identity);
		fcntl(registered[1], F_SETFD, 0);
		execlp("pkttyagent", "pkttyagent", "--process", pid_text, "--notify-fd", fd_text, NULL);
		_exit(127);
	}
	fcntl(agent->terminal, F_SETFD, FD_CLOEXEC);
	close(registered[1]);
	g_assert_cmpint(read(registered[0], &byte, 1), ==, 0);
	close(registered[0]);
}

/* It has said why before it gave up; one that is registered says nothing until it is asked. */
static bool has_given_up(Agent *agent)
{
	struct pollfd poll_fd = {.fd = agent->terminal, .events = POLLIN};
	char buffer[1024];
	ssize_t n = 0;

	if (poll(&poll_fd, 1, 0) > 0)
		n = read(agent->terminal, buffer, sizeof buffer);
	if (n > 0)
		g_string_append_len(agent->text, buffer, n);
	return strstr(agent->text->str, "Error registering authentication agent: Timeout") != NULL;
}

/* On a busy machine polkitd was seen to answer nobody any more, after agents that were killed: another one is
 * tried. */
void agent_spawn(World *world, Agent *agent, const char *user, GPid process)
{
	spawn_agent(agent, user, process);
	if (has_given_up(agent)) {
		g_test_message("polkitd is started anew: %s", agent->text->str);
		agent_finish(agent);
		world_stop_polkitd(world);
		world_start_polkitd(world);
		spawn_agent(agent, user, process);
	}
}

void agent_await(Agent *agent, const char *text)
{
	gint64 until = g_get_monotonic_time() + WAIT_SECONDS * G_TIME_SPAN_SECOND;
	struct pollfd poll_fd = {.fd = agent->terminal, .events = POLLIN};
	char buffer[1024], *found;

	while (!(found = strstr(agent->text->str, text))) {
		ssize_t n = 0;

		if (poll(&poll_fd, 1, 100) > 0)
			n = read(agent->terminal, buffer, sizeof buffer);
		if (n < 0 || g_get_monotonic_time() > until)
			g_error("the agent has not said: %s\nit said: %s", text, agent->text->str);
		g_string_append_len(agent->text, buffer, n);
	}
	g_string_erase(agent->text, 0, found - agent->text->str + (gssize)strlen(text));
}

/* As it turns the echo off, after it has asked, it throws away what was typed before. */
void agent_type(Agent *agent, const char *text)
{
	gint64 until = g_get_monotonic_time() + WAIT_SECONDS * G_TIME_SPAN_SECOND;
	struct termios settings;

	do {
		g_assert_cmpint(tcgetattr(agent->terminal, &settings), ==, 0);
		if (g_get_monotonic_time() > until)
			g_error("the agent does not hide what is typed");
		g_usleep(1000);
	} while (settings.c_lflag & ECHO);
	g_assert_cmpint(write(agent->terminal, text, strlen(text)), ==, (gssize)strlen(text));
}

void agent_finish(Agent *agent)
{
	end(&agent->pid);
	close(agent->terminal);
	g_string_free(agent->text, TRUE);
}

/* ---- daemons ---- */
static gsize await_owner(Client *client, gsize mark, const char *name, bool comes)
{
	g_autofree char *glob = g_strdup_printf(comes ? "('%s', '', ':*" : "('%s', ':*', '')", name);

	return client_await(client, mark, "/org/freedesktop/DBus", "NameOwnerChanged", glob);
}

void world_start_polkitd(World *world)
{
	static const char *const argv[] = {"/usr/lib/polkit-1/polkitd", "--no-debug", NULL};
	gsize mark = client_mark(world->root);

	world->polkitd = spawn(argv, NULL, NULL, NULL);
	await_owner(world->root, mark, POLKIT, true);
}

void world_stop_polkitd(World *world)
{
	gsize mark = client_mark(world->root);

	end(&world->polkitd);
	await_owner(world->root, mark, POLKIT, false);
}

void world_start_roostd(World *world, const char *const *options)
{
	g_autofree char *qemu = g_strdup_printf("--qemu=%s", g_getenv("MOCK_QEMU"));
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	gsize mark = client_mark(world->root);

	g_ptr_array_add(argv, (char *)g_getenv("ROOSTD"));
	g_ptr_array_add(argv, (char *)"--bus=system");
	g_ptr_array_add(argv, (char *)"--log-level=warning");
	g_ptr_array_add(argv, qemu);
	/* Slow machines are not what is tested. */
	g_ptr_array_add(argv, (char *)"--deadline-scale=10");
	for (; options && *options; options++)
		g_ptr_array_add(argv, (char *)*options);
	g_ptr_array_add(argv, NULL);
	world->roostd = spawn((const char *const *)argv->pdata, NULL, NULL, NULL);
	await_owner(world->root, mark, NAME, true);
}

void world_stop_roostd(World *world)
{
	gsize mark = client_mark(world->root);
	int status;

	kill(world->roostd, SIGTERM);
	g_assert_cmpint(waitpid(world->roostd, &status, 0), ==, world->roostd);
	g_assert_cmpint(status, ==, 0);
	world->roostd = 0;
	await_owner(world->root, mark, NAME, false);
}

void world_set_activatable(World *world, const char *name, bool activatable)
{
	g_autofree char *file = g_strdup_printf(SERVICES_DIR "/%s.service", name);
	g_autofree char *away = g_strdup_printf("/run/world/%s.service", name);
	static const char *const reload[] = {"busctl", "--system", "call", "org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig", NULL};
	const char *const move[] = {"mv", activatable ? away : file, activatable ? file : away, NULL};
	int status;

	g_free(world_run("root", ELSEWHERE, move, &status));
	g_assert_cmpint(status, ==, 0);
	g_free(world_run("root", ELSEWHERE, reload, &status));
	g_assert_cmpint(status, ==, 0);
}

static GPid start_bus(void)
{
	/* It logs what it refuses, which is what is tested. */
	static const char *const argv[] = {"sh", "-c",
		"exec dbus-daemon --system --nofork --nopidfile --nosyslog --print-address "
		"2>/run/world/bus.log",
		NULL};
	GPid pid;
	int out;
	char c = 0;

	pid = spawn(argv, NULL, NULL, &out);
	while (c != '\n' && read(out, &c, 1) == 1)
		continue;
	g_assert_cmpint(c, ==, '\n');
	close(out);
	return pid;
}

World *world_new(void)
{
	World *world = g_new0(World, 1);

	if (!g_getenv("ROOST_WORLD") || g_access("/run/world/kernel", R_OK) != 0)
		g_error("this is to be run by tests/world/enter");
	world->bus = start_bus();
	world->root = client_new(BUS_ADDRESS);
	world_start_polkitd(world);
	return world;
}

World *world_free(World *world)
{
	if (world->roostd)
		world_stop_roostd(world);
	if (world->polkitd)
		world_stop_polkitd(world);
	client_free(world->root);
	end(&world->bus);
	g_free(world);
	return NULL;
}

/* ---- VMs ---- */
char *world_define(World *world, const char *user, const char *name, const char *more)
{
	g_autofree char *config =
		g_strdup_printf("{'Name': <'%s'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>, "
				"'Kernel': <'/run/world/kernel'>, 'KernelCommandLine': "
				"<'mock=/run/world/script'>%s%s}",
			name, more ? ", " : "", more ? more : "");
	const char *const argv[] = {"gdbus", "call", "--system", "--dest", NAME, "--object-path", PATH,
		"--method", MANAGER ".DefineVM", config, NULL};
	g_autofree char *text = NULL;
	g_auto(GStrv) words = NULL;
	int status;

	text = world_run(user, AT_THE_SCREEN, argv, &status);
	if (status != 0)
		g_error("DefineVM of %s: %s", name, text);
	words = g_strsplit(text, "'", 3);
	return g_strdup(words[1]);
}

void world_undefine(World *world, const char *path)
{
	client_do(world->root, path, VM, "Kill", NULL);
	client_do(world->root, path, VM, "Undefine", fixture_no_options());
}

/* ---- rules ---- */
/* Each text brings a rule by which it is seen that polkit has it. */
void world_set_rule(World *world, const char *name, const char *text)
{
	static unsigned n;
	g_autofree char *path = g_build_filename(RULES_DIR, name, NULL);
	g_autofree char *number = g_strdup_printf("%u", ++n), *pid = g_strdup_printf("%d", world->polkitd);
	g_autofree char *whole = g_strdup_printf("polkit.addRule(function(action, subject) {\n"
						 "    if (action.lookup('probe') == '%s')\n"
						 "        return polkit.Result.YES;\n});\n%s",
		number, text ? text : "");
	const char *const argv[] = {"pkcheck", "--action-id", "org.roost1.qmp", "--process", pid, "--detail",
		"probe", number, NULL};
	gint64 until = g_get_monotonic_time() + WAIT_SECONDS * G_TIME_SPAN_SECOND;
	g_autoptr(GError) error = NULL;

	g_file_set_contents(path, whole, -1, &error);
	g_assert_no_error(error);
	for (;;) {
		int status;
		g_autofree char *said = world_run("root", ELSEWHERE, argv, &status);

		if (status == 0)
			return;
		if (g_get_monotonic_time() > until)
			g_error("polkit does not read its rules: %s", said);
		g_usleep(2000);
	}
}
