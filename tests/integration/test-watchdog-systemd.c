/* What systemd hears of roostd: that it is ready, that it goes on, that it does not when its event thread is
 * held fast, and that it is about to end. */
#include <dirent.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static int notifications = -1;

/* systemd's side of sd_notify(3). */
static char *listen_for_notifications(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 120};
	char *folder = g_dir_make_tmp("roost-notify-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "socket", NULL);

	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	notifications = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(notifications, (struct sockaddr *)&address, sizeof address), ==, 0);
	g_assert_cmpint(
		setsockopt(notifications, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), ==, 0);
	g_setenv("NOTIFY_SOCKET", path, TRUE);
	return folder;
}

static void stop_listening(char *folder)
{
	g_autofree char *path = g_build_filename(folder, "socket", NULL);

	close(notifications);
	unlink(path);
	g_assert_cmpint(rmdir(folder), ==, 0);
	g_free(folder);
}

/* The next word; what comes after a line end is another. NULL: none has come. */
static char *next_word(int flags)
{
	static char buffer[4096];
	static char *rest;
	char *word;

	if (!rest) {
		ssize_t n = recv(notifications, buffer, sizeof buffer - 1, flags);

		if (n < 0 && flags & MSG_DONTWAIT)
			return NULL;
		g_assert_cmpint(n, >, 0);
		buffer[n] = '\0';
		rest = buffer;
	}
	word = rest;
	rest = strchr(rest, '\n');
	if (rest)
		*rest++ = '\0';
	return g_strdup(word);
}

/* Waits for a word; how many times it heard another one meanwhile. */
static guint await_word(const char *word, const char *counted)
{
	guint n = 0;

	for (;;) {
		g_autofree char *next = next_word(0);

		if (g_str_has_prefix(next, word))
			return n;
		n += g_strcmp0(next, counted) == 0;
	}
}

static void drop_words(void)
{
	char *word;

	while ((word = next_word(MSG_DONTWAIT)))
		g_free(word);
}

static pid_t find_thread(pid_t process, const char *name)
{
	g_autofree char *folder = g_strdup_printf("/proc/%d/task", process);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *tid;

	g_assert_nonnull(dir);
	while ((tid = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, tid, "comm", NULL);
		g_autofree char *comm = NULL;

		if (g_file_get_contents(path, &comm, NULL, NULL) && strcmp(g_strchomp(comm), name) == 0)
			return (pid_t)atoi(tid);
	}
	g_error("no thread is called %s", name);
}

static void hold_thread(pid_t thread)
{
	int status;

	g_assert_cmpint(ptrace(PTRACE_SEIZE, thread, NULL, NULL), ==, 0);
	g_assert_cmpint(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), ==, 0);
	g_assert_cmpint(waitpid(thread, &status, __WALL), ==, thread);
	g_assert_true(WIFSTOPPED(status));
}

static void test_event_thread(void)
{
	char *folder = listen_for_notifications();
	g_autoptr(GVariant) n_vms = NULL;
	g_autoptr(Fixture) f = NULL;
	pid_t thread;

	g_setenv("WATCHDOG_USEC", "400000", TRUE);
	f = fixture_new(NULL);
	await_word("READY=1", NULL);
	await_word("WATCHDOG=1", NULL);
	await_word("WATCHDOG=1", NULL);

	thread = find_thread(f->roostd, "event");
	hold_thread(thread);
	drop_words();
	/* One at most: for the sign of life that it gave just before. */
	g_assert_cmpuint(await_word("STATUS=The event thread does not move", "WATCHDOG=1"), <=, 1);
	/* The bus thread goes on. */
	n_vms = client_get(f->client, PATH, MANAGER, "NVMs");
	g_assert_cmpuint(g_variant_get_uint32(n_vms), ==, 0);
	g_assert_cmpint(ptrace(PTRACE_DETACH, thread, NULL, NULL), ==, 0);
	g_assert_cmpuint(await_word("STATUS=", "WATCHDOG=1"), ==, 0);
	await_word("WATCHDOG=1", NULL);

	fixture_stop_roostd(f);
	await_word("STOPPING=1", NULL);
	g_unsetenv("NOTIFY_SOCKET");
	g_unsetenv("WATCHDOG_USEC");
	stop_listening(folder);
}

/* A call by its unique name that comes in the last moment: after it has told systemd of its end, before the
 * bus knows that it gives up its name. The bus is held meanwhile. */
static GVariant *call_late(
	Fixture *f, const char *path, const char *interface, const char *member, GVariant *args)
{
	g_autoptr(GDBusMessage) call = NULL,
				question = g_dbus_message_new_method_call("org.freedesktop.DBus",
					"/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner");
	g_autoptr(GVariant) owner = NULL;
	const char *unique;
	guint32 serial;

	g_dbus_message_set_body(question, g_variant_new("(s)", NAME));
	owner = client_result(f->client, client_send_message(f->client, question));
	g_variant_get(owner, "(&s)", &unique);
	call = g_dbus_message_new_method_call(unique, path, interface, member);
	g_dbus_message_set_body(call, args);
	await_word("READY=1", NULL);
	kill(f->bus, SIGSTOP);
	await_word("STOPPING=1", NULL);
	serial = client_send_message(f->client, call);
	client_flush(f->client);
	kill(f->bus, SIGCONT);
	return client_result(f->client, serial);
}

static int exit_code_of(Fixture *f)
{
	int status;

	g_assert_cmpint(waitpid(f->roostd, &status, 0), ==, f->roostd);
	g_assert_true(WIFEXITED(status));
	f->roostd = 0;
	return WEXITSTATUS(status);
}

/* It is answered, and roostd ends: systemd waits for that. */
static void test_late_read(void)
{
	static const FixtureOptions idle = {.idle_exit = 3};
	char *folder = listen_for_notifications();
	g_autoptr(Fixture) f = fixture_new(&idle);
	g_autoptr(GVariant) vms = NULL;

	vms = call_late(f, PATH, MANAGER, "ListVMs", NULL);
	g_assert_cmpuint(g_variant_n_children(vms), ==, 1);
	g_assert_cmpint(exit_code_of(f), ==, 0);
	g_unsetenv("NOTIFY_SOCKET");
	stop_listening(folder);
}

/* A VM runs by then: roostd ends, too, and wants to be started again. */
static void test_late_start(void)
{
	static const FixtureOptions idle = {.idle_exit = 3};
	char *folder = listen_for_notifications();
	g_autoptr(Fixture) f = fixture_new(&idle);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	g_variant_unref(call_late(f, web, VM, "Start", fixture_no_options()));
	g_assert_cmpint(exit_code_of(f), ==, 75);
	g_unsetenv("NOTIFY_SOCKET");
	stop_listening(folder);
	fixture_start_roostd(f);
	client_await_property(f->client, web, "Responsive", "true");
	client_assert_property(f->client, web, "State", "'running'");
	client_do(f->client, web, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/watchdog-systemd/late-read", test_late_read);
	g_test_add_func("/watchdog-systemd/late-start", test_late_start);
	g_test_add_func("/watchdog-systemd/event-thread", test_event_thread);
	return g_test_run();
}
