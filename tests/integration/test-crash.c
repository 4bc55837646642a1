/*
 * roostd is killed at each step of a method: fanotify holds up every opening in its folders, and at the n-th
 * it dies. The next roostd finds a VM that is whole, or none, and at the end nothing is left of it.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "fixture.h"

#define UUID   "0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a"
#define OBJECT "/org/roost1/vm/0a0a0a0a0000400080000a0a0a0a0a0a"

static int watch_folder(int watch, Fixture *f, const char *below)
{
	g_autofree char *path = g_build_filename(f->dir, below, NULL);

	return fanotify_mark(
		watch, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD | FAN_ONDIR, AT_FDCWD, path);
}

/* -1: not on this host. */
static int watch_folders(Fixture *f)
{
	int watch = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);

	if (watch < 0 || watch_folder(watch, f, "run/vm") < 0 || watch_folder(watch, f, "state/vms") < 0) {
		if (watch >= 0)
			close(watch);
		return -1;
	}
	return watch;
}

/* Lets roostd open something, if it wants to within `msec`. */
static bool allow_one(int watch, int msec)
{
	struct pollfd p = {.fd = watch, .events = POLLIN};
	struct fanotify_event_metadata event;
	struct fanotify_response answer;

	if (poll(&p, 1, msec) != 1)
		return false;
	g_assert_cmpint(read(watch, &event, sizeof event), ==, sizeof event);
	answer = (struct fanotify_response){.fd = event.fd, .response = FAN_ALLOW};
	g_assert_cmpint(write(watch, &answer, sizeof answer), ==, sizeof answer);
	close(event.fd);
	return true;
}

static bool is_answered(Client *c, guint32 serial)
{
	for (gsize i = client_mark(c); i > 0; i--)
		if (g_dbus_message_get_reply_serial(client_message(c, i - 1)) == serial)
			return true;
	return false;
}

/* Lets the call go on for `n_steps` and kills roostd at the next one. False: it had no more steps. */
static bool crash_at(Fixture *f, guint32 serial, int watch, guint n_steps)
{
	struct pollfd p = {.fd = watch, .events = POLLIN};
	bool hangs;

	for (guint i = 0; i < n_steps;)
		if (allow_one(watch, 10))
			i++;
		else if (is_answered(f->client, serial))
			break;
	while (!(hangs = poll(&p, 1, 10) == 1) && !is_answered(f->client, serial))
		continue;
	fixture_kill_roostd(f);
	close(watch);
	return hangs;
}

static guint n_entries(Fixture *f, const char *below)
{
	g_autofree char *path = g_build_filename(f->dir, below, NULL);
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	guint n = 0;

	while (folder && g_dir_read_name(folder))
		n++;
	return n;
}

static bool is_there(Client *c)
{
	guint32 serial = client_send(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", UUID));
	GDBusMessage *reply = client_message(c, client_await_reply(c, serial));

	return !g_dbus_message_get_error_name(reply);
}

/* ---- CreateVM ---- */
static bool crash_create(Fixture *f, guint n_steps)
{
	Client *c = f->client;
	int watch = watch_folders(f);
	bool hung, found;
	guint32 serial;
	gsize mark;

	serial = client_send(c, PATH, MANAGER, "CreateVM",
		g_variant_new_parsed("({'Name': <'job'>, 'UUID': <"
				     "'" UUID "'"
				     ">, 'Memory': <uint64 67108864>, "
				     "'Kernel': <%s>, 'Accelerator': <'tcg'>}, @a{sv} {})",
			f->kernel));
	hung = crash_at(f, serial, watch, n_steps);
	mark = client_mark(c);
	fixture_start_roostd(f);
	found = is_there(c);
	g_test_message("after %u steps: %s", n_steps, found ? "there" : "gone");
	g_assert_true(found || hung);
	if (found) {
		client_await_property(c, OBJECT, "Responsive", "true");
		client_assert_property(c, OBJECT, "Persistent", "false");
		client_do(c, OBJECT, VM, "Kill", NULL);
		client_await(c, mark, PATH, "VMRemoved", "('job', *");
	}
	if (n_entries(f, "run/vm") != 0)
		g_error("after %u steps, the run-time folder is left", n_steps);
	g_assert_cmpuint(n_entries(f, "state/vms"), ==, 0);
	return hung;
}

static void test_create(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	int watch = watch_folders(f);
	guint n = 0;

	if (watch < 0) {
		g_test_skip("no fanotify");
		return;
	}
	close(watch);
	while (crash_create(f, n))
		n++;
	g_assert_cmpuint(n, >, 5);
}

/* ---- Update ---- */
/* All of it or nothing; what QEMU has is shown as it is. */
static bool crash_update(Fixture *f, const char *vm, guint n_steps)
{
	Client *c = f->client;
	int watch = watch_folders(f);
	const char *action = n_steps % 2 == 0 ? "none" : "pause";
	g_autofree char *name = g_strdup_printf("web%u", n_steps), *text = NULL;
	g_autoptr(GVariant) told = NULL, key = NULL;
	bool hung, done;
	guint32 serial;

	serial = client_send(c, vm, VM, "Update",
		g_variant_new_parsed(
			"({'Name': <%s>, 'Description': <%s>, 'OnWatchdog': <%s>, 'RNG': <true>}, @a{sv} {})",
			name, name, action));
	hung = crash_at(f, serial, watch, n_steps);
	fixture_start_roostd(f);
	client_await_property(c, vm, "Responsive", "true");
	told = client_get(c, vm, VM, "Name");
	done = strcmp(g_variant_get_string(told, NULL), name) == 0;
	g_test_message("after %u steps: %s", n_steps, done ? "done" : "not done");
	key = client_get(c, vm, VM, "Description");
	g_assert_true(g_variant_equal(key, told));
	g_assert_true(done || hung);
	/* As that of one who has not heard. */
	client_do(c, vm, VM, "Update",
		g_variant_new_parsed("({'Name': <%s>, 'Description': <%s>, 'OnWatchdog': <%s>}, @a{sv} {})",
			name, name, action));
	client_assert_property(c, vm, "Name", (text = g_strdup_printf("'%s'", name)));
	g_assert_cmpuint(n_entries(f, "state/vms"), ==, 1);
	return hung;
}

static void test_update(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *vm = fixture_define(f, "web", "on watchdog-set-action return {}\n",
		"'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>, 'Description': <'web'>");
	int watch = watch_folders(f);
	guint n = 0;

	if (watch < 0) {
		g_test_skip("no fanotify");
		return;
	}
	close(watch);
	fixture_start_vm(f, vm);
	while (crash_update(f, vm, n))
		n++;
	g_assert_cmpuint(n, >=, 2);
	client_do(f->client, vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/crash/create", test_create);
	g_test_add_func("/crash/update", test_update);
	return g_test_run();
}
