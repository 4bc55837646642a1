/*
 * A client in C, with the proxies that gdbus-codegen makes of the interfaces, under the names that their
 * annotations give. It defines a VM, starts it, and watches it to its end.
 *
 * Runs by with-roostd, on a bus where nobody else is. The cases are steps of one story: each goes on where
 * the one before has ended. Proxies change when the main loop runs; each wait runs it.
 */
#include <gio/gunixfdlist.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "roost-gen.h"

#define NAME         "org.roost1"
#define PATH         "/org/roost1"
#define WAIT_SECONDS 60

static struct {
	RoostManager *manager;
	GDBusObjectManager *objects;
	RoostVm *vm;
	GString *changes; /* the StateChanged signals, a line each */
	unsigned n_events;
	guint64 last_event;
	char *last_added, *last_removed; /* object paths */
	int console;
	bool is_answered;
} story;

static GVariant *no_options(void)
{
	return g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0);
}

typedef bool (*Condition)(void);

static gboolean is_late(gpointer what)
{
	g_error("%d s have passed, and not: %s; there was:\n%s", WAIT_SECONDS, (const char *)what,
		story.changes->str);
	return G_SOURCE_REMOVE;
}

static void wait_until(Condition condition, const char *what)
{
	guint source = g_timeout_add_seconds(WAIT_SECONDS, is_late, (gpointer)what);

	while (!condition())
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(source);
}

/* Waits for these StateChanged signals, and no others, since the last time. */
static void await_changes(const char *lines)
{
	guint source = g_timeout_add_seconds(WAIT_SECONDS, is_late, (gpointer)lines);

	while (story.changes->len < strlen(lines))
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(source);
	g_assert_cmpstr(story.changes->str, ==, lines);
	g_string_truncate(story.changes, 0);
}

static void on_state_changed(RoostVm *vm, const char *old, const char *new, const char *reason, gpointer user)
{
	g_string_append_printf(story.changes, "%s %s %s\n", old, new, reason);
	/* The property has changed before. */
	if (strcmp(new, "starting") != 0)
		g_assert_cmpstr(roost_vm_get_state(vm), ==, new);
}

static void on_event(RoostVm *vm, guint64 sequence, const char *event, guint count, guint64 previous,
	guint64 first, guint64 last, const char *origin, GVariant *data, gpointer user)
{
	g_assert_cmpuint(previous, ==, story.last_event);
	g_assert_cmpuint(sequence, >, previous);
	g_assert_cmpuint(count, >, 0);
	g_assert_cmpuint(first, <=, last);
	g_assert_true(g_variant_is_of_type(data, G_VARIANT_TYPE_VARDICT));
	story.last_event = sequence;
	story.n_events++;
}

static void on_vm_new(RoostManager *manager, const char *name, const char *path, gpointer user)
{
	g_assert_cmpstr(name, ==, "proxies");
	story.last_added = g_strdup(path);
}

static void on_vm_removed(RoostManager *manager, const char *name, const char *path, gpointer user)
{
	g_assert_cmpstr(name, ==, "proxies");
	story.last_removed = g_strdup(path);
}

/* ---- the steps ---- */
static bool is_told(void)
{
	return story.last_added && roost_manager_get_n_vms(story.manager) == 1;
}

static bool is_among_objects(void)
{
	g_autoptr(GDBusObject) object = g_dbus_object_manager_get_object(story.objects, story.last_added);

	return object != NULL;
}

static void test_define(void)
{
	g_autofree char *path = NULL;
	g_autoptr(GVariant) list = NULL;
	g_autoptr(GError) error = NULL;

	story.manager = roost_manager_proxy_new_for_bus_sync(
		G_BUS_TYPE_SYSTEM, G_DBUS_PROXY_FLAGS_NONE, NAME, PATH, NULL, &error);
	g_assert_no_error(error);
	g_signal_connect(story.manager, "vm-new", G_CALLBACK(on_vm_new), NULL);
	g_signal_connect(story.manager, "vm-removed", G_CALLBACK(on_vm_removed), NULL);
	story.objects = roost_object_manager_client_new_for_bus_sync(
		G_BUS_TYPE_SYSTEM, G_DBUS_OBJECT_MANAGER_CLIENT_FLAGS_NONE, NAME, PATH, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(roost_manager_get_n_vms(story.manager), ==, 0);
	g_assert_cmpuint(roost_manager_get_n_running(story.manager), ==, 0);
	g_assert_cmpstr(roost_manager_get_architecture(story.manager), ==, "x86_64");

	roost_manager_call_define_vm_sync(story.manager,
		g_variant_new_parsed(
			"{'Name': <'proxies'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>, "
			"'Consoles': <[{'Type': <'serial'>}]>}"),
		&path, NULL, &error);
	g_assert_no_error(error);
	wait_until(is_told, "VMNew");
	g_assert_cmpstr(story.last_added, ==, path);
	wait_until(is_among_objects, "InterfacesAdded");
	roost_manager_call_list_vms_sync(story.manager, &list, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(g_variant_n_children(list), ==, 1);
}

static void test_read(void)
{
	g_autoptr(GDBusObject) object = g_dbus_object_manager_get_object(story.objects, story.last_added);

	/* The generated client makes typed objects of what it finds. */
	g_assert_nonnull(object);
	story.vm = roost_object_get_vm(ROOST_OBJECT(object));
	g_assert_nonnull(story.vm);
	g_signal_connect(story.vm, "state-changed", G_CALLBACK(on_state_changed), NULL);
	g_signal_connect(story.vm, "event", G_CALLBACK(on_event), NULL);
	g_assert_cmpstr(roost_vm_get_name(story.vm), ==, "proxies");
	g_assert_cmpstr(roost_vm_get_state(story.vm), ==, "off");
	g_assert_cmpuint(strlen(roost_vm_get_uuid(story.vm)), ==, 36);
	g_assert_cmpuint(roost_vm_get_pid(story.vm), ==, 0);
	g_assert_cmpuint(roost_vm_get_vcpus(story.vm), ==, 1);
	g_assert_cmpuint(roost_vm_get_memory(story.vm), ==, 64 << 20);
	g_assert_cmpuint(roost_vm_get_owner_uid(story.vm), ==, getuid());
	g_assert_true(roost_vm_get_responsive(story.vm));
	g_assert_true(roost_vm_get_persistent(story.vm));
	g_assert_cmpstr(roost_vm_get_firmware(story.vm), ==, "bios");
}

static bool is_running(void)
{
	return strcmp(roost_vm_get_state(story.vm), "running") == 0 &&
	       roost_manager_get_n_running(story.manager) == 1 && story.n_events > 0;
}

static void test_start(void)
{
	g_autofree char *path = NULL;
	g_autoptr(GError) error = NULL;

	roost_vm_call_start_sync(story.vm, no_options(), NULL, &error);
	g_assert_no_error(error);
	await_changes("off starting user\nstarting running user\n");
	wait_until(is_running, "running, and an event");
	g_assert_cmpuint(roost_vm_get_pid(story.vm), >, 1);
	roost_manager_call_get_vm_by_pid_sync(story.manager, roost_vm_get_pid(story.vm), &path, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(path, ==, story.last_added);
}

static void on_paused(GObject *source, GAsyncResult *result, gpointer user)
{
	g_autoptr(GError) error = NULL;

	roost_vm_call_pause_finish(ROOST_VM(source), result, &error);
	g_assert_no_error(error);
	/* Who has the reply reads the new value. */
	g_assert_cmpstr(roost_vm_get_state(ROOST_VM(source)), ==, "paused");
	g_assert_cmpstr(roost_vm_get_state_reason(ROOST_VM(source)), ==, "user");
	story.is_answered = true;
}

static bool is_answered(void)
{
	return story.is_answered;
}

static void test_pause(void)
{
	g_autofree char *result = NULL;
	g_autoptr(GError) error = NULL;

	roost_vm_call_pause(story.vm, NULL, on_paused, NULL);
	wait_until(is_answered, "the reply of Pause");
	roost_vm_call_execute_qmp_sync(story.vm, "{\"execute\": \"query-status\"}", &result, NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(strstr(result, "\"paused\""));
	roost_vm_call_resume_sync(story.vm, NULL, &error);
	g_assert_no_error(error);
	await_changes("running paused user\npaused running user\n");
}

static void test_console(void)
{
	g_autoptr(GVariant) handle = NULL;
	g_autoptr(GUnixFDList) fds = NULL;
	g_autoptr(GError) error = NULL;

	roost_vm_call_open_console_sync(story.vm, "", no_options(), NULL, &handle, &fds, NULL, &error);
	g_assert_no_error(error);
	story.console = g_unix_fd_list_get(fds, g_variant_get_handle(handle), &error);
	g_assert_no_error(error);
}

static void expect(GError **error, const char *name)
{
	g_autofree char *found = NULL;

	g_assert_nonnull(*error);
	found = g_dbus_error_get_remote_error(*error);
	g_assert_cmpstr(found, ==, name);
	g_clear_error(error);
}

static void test_errors(void)
{
	g_autofree char *path = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_false(roost_vm_call_start_sync(story.vm, no_options(), NULL, &error));
	expect(&error, "org.roost1.Error.InvalidState");
	g_assert_false(roost_manager_call_get_vm_sync(story.manager, "nobody", &path, NULL, &error));
	expect(&error, "org.roost1.Error.NoSuchVM");
	g_assert_false(roost_manager_call_define_vm_sync(
		story.manager, g_variant_new_parsed("{'Memroy': <uint64 1>}"), &path, NULL, &error));
	expect(&error, "org.roost1.Error.InvalidConfig");
	g_assert_false(roost_vm_call_cancel_operation_sync(story.vm, 0, NULL, &error));
	expect(&error, "org.roost1.Error.InvalidState");
}

static bool is_off(void)
{
	return strcmp(roost_vm_get_state(story.vm), "off") == 0 &&
	       roost_manager_get_n_running(story.manager) == 0;
}

static void test_kill(void)
{
	g_autoptr(GError) error = NULL;
	char buffer[256];

	roost_manager_call_kill_vm_sync(story.manager, "proxies", NULL, &error);
	g_assert_no_error(error);
	await_changes("running off killed\n");
	wait_until(is_off, "off");
	g_assert_cmpuint(roost_vm_get_pid(story.vm), ==, 0);
	while (read(story.console, buffer, sizeof buffer) > 0)
		continue;
	close(story.console);
}

static bool is_gone(void)
{
	return story.last_removed && roost_manager_get_n_vms(story.manager) == 0 && !is_among_objects();
}

static void test_undefine(void)
{
	g_autoptr(GError) error = NULL;

	roost_vm_call_undefine_sync(story.vm, no_options(), NULL, &error);
	g_assert_no_error(error);
	wait_until(is_gone, "VMRemoved");
	g_assert_cmpstr(story.last_removed, ==, story.last_added);
	g_assert_false(roost_vm_call_pause_sync(story.vm, NULL, &error));
	expect(&error, "org.freedesktop.DBus.Error.UnknownObject");
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	story.changes = g_string_new(NULL);
	g_test_add_func("/proxies/define", test_define);
	g_test_add_func("/proxies/read", test_read);
	g_test_add_func("/proxies/start", test_start);
	g_test_add_func("/proxies/pause", test_pause);
	g_test_add_func("/proxies/console", test_console);
	g_test_add_func("/proxies/errors", test_errors);
	g_test_add_func("/proxies/kill", test_kill);
	g_test_add_func("/proxies/undefine", test_undefine);
	status = g_test_run();
	g_clear_object(&story.vm);
	g_clear_object(&story.objects);
	g_clear_object(&story.manager);
	g_string_free(story.changes, TRUE);
	g_free(story.last_added);
	g_free(story.last_removed);
	return status;
}
