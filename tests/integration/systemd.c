#include <gio/gunixfdlist.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "systemd.h"

/* ---- systemd ---- */

void systemd_answer(Systemd *systemd, GDBusMessage *call, GVariant *body)
{
	g_autoptr(GDBusMessage) reply = g_dbus_message_new_method_reply(call);

	if (body)
		g_dbus_message_set_body(reply, body);
	g_assert_true(g_dbus_connection_send_message(
		systemd->connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL));
}

void systemd_refuse(Systemd *systemd, GDBusMessage *call, const char *name, const char *text)
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
		systemd_refuse(systemd, message, SYSTEMD ".UnitExists", "it is there");
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

void systemd_come(Systemd *systemd)
{
	bus_call(systemd->connection, "RequestName", g_variant_new("(su)", SYSTEMD, 0));
}

void systemd_go(Systemd *systemd)
{
	bus_call(systemd->connection, "ReleaseName", g_variant_new("(s)", SYSTEMD));
}

Systemd *systemd_new(Fixture *f)
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

Systemd *systemd_free(Systemd *systemd)
{
	g_dbus_connection_remove_filter(systemd->connection, systemd->filter);
	g_dbus_connection_close_sync(systemd->connection, NULL, NULL);
	g_object_unref(systemd->connection);
	g_async_queue_unref(systemd->calls);
	g_free(systemd);
	return NULL;
}

GDBusMessage *systemd_await_call(Systemd *systemd, const char *member)
{
	for (;;) {
		GDBusMessage *call = g_async_queue_timeout_pop(systemd->calls, SYSTEMD_PATIENCE);
		const char *name;

		if (!call)
			g_error("waited in vain for %s", member);
		name = g_dbus_message_get_member(call);
		if (strcmp(name, "RefUnit") == 0) {
			systemd->n_refs++;
			systemd_answer(systemd, call, NULL);
		}
		if (strcmp(name, member) == 0)
			return call;
		g_assert_true(strcmp(name, "UnrefUnit") == 0 || strcmp(name, "RefUnit") == 0);
		g_object_unref(call);
	}
}

void systemd_await_unref(Systemd *systemd)
{
	g_object_unref(systemd_await_call(systemd, "UnrefUnit"));
}

/* ---- a unit that is to be started ---- */

GVariant *unit_property(const Unit *unit, const char *name)
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

void unit_assert_property(const Unit *unit, const char *name, const char *text)
{
	g_autoptr(GVariant) value = unit_property(unit, name);
	g_autofree char *found = value ? g_variant_print(value, TRUE) : NULL;

	g_assert_cmpstr(found, ==, text);
}

Unit systemd_await_unit(Systemd *systemd)
{
	Unit unit = {.call = systemd_await_call(systemd, "StartTransientUnit")};
	g_autoptr(GVariant) auxiliary = NULL, input = NULL;
	const char *mode;

	g_variant_get(g_dbus_message_get_body(unit.call), "(s&s@a(sv)@a(sa(sv)))", &unit.name, &mode,
		&unit.properties, &auxiliary);
	g_assert_cmpstr(mode, ==, "fail");
	g_assert_cmpuint(g_variant_n_children(auxiliary), ==, 0);
	input = unit_property(&unit, "StandardInputFileDescriptor");
	g_assert_nonnull(input);
	unit.fd = g_unix_fd_list_get(
		g_dbus_message_get_unix_fd_list(unit.call), g_variant_get_handle(input), NULL);
	g_assert_cmpint(unit.fd, >=, 0);
	/* The message's own copy goes with it. */
	return unit;
}

void unit_forget(Unit *unit)
{
	if (unit->fd >= 0)
		close(unit->fd);
	g_clear_object(&unit->call);
	g_free(unit->name);
	g_variant_unref(unit->properties);
	*unit = (Unit){.fd = -1};
}

void systemd_accept(Systemd *systemd, const Unit *unit)
{
	systemd_answer(systemd, unit->call, g_variant_new("(o)", "/org/freedesktop/systemd1/job/1"));
}

static void set_up_child(gpointer input)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(GPOINTER_TO_INT(input), STDIN_FILENO);
}

GPid unit_spawn(char **argv, int input, int *ret_output)
{
	g_autoptr(GError) error = NULL;
	GPid pid;

	g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CHILD_INHERITS_STDIN,
		set_up_child, GINT_TO_POINTER(input), &pid, NULL, ret_output, NULL, &error);
	g_assert_no_error(error);
	return pid;
}

int unit_reap(GPid pid)
{
	int status;

	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return status;
}

GPid unit_run(const Unit *unit)
{
	g_autoptr(GVariant) commands = unit_property(unit, "ExecStart"), words = NULL;
	g_autofree const char **argv = NULL;
	const char *path;
	gboolean ignored;

	g_assert_cmpuint(g_variant_n_children(commands), ==, 1);
	g_variant_get_child(commands, 0, "(&s@asb)", &path, &words, &ignored);
	argv = g_variant_get_strv(words, NULL);
	g_assert_cmpstr(path, ==, argv[0]);
	g_assert_false(ignored);
	return unit_spawn((char **)argv, unit->fd, NULL);
}

GPid systemd_start_unit(Systemd *systemd)
{
	Unit unit = systemd_await_unit(systemd);
	GPid pid;

	systemd_accept(systemd, &unit);
	pid = unit_run(&unit);
	unit_forget(&unit);
	return pid;
}

void systemd_tell_end(Systemd *systemd, int code, int status)
{
	g_autoptr(GDBusMessage) first = systemd_await_call(systemd, "Get"), second = NULL;
	const char *interface, *name;

	g_variant_get(g_dbus_message_get_body(first), "(&s&s)", &interface, &name);
	g_assert_cmpstr(interface, ==, SYSTEMD ".Service");
	g_assert_cmpstr(name, ==, "ExecMainCode");
	systemd_answer(systemd, first, g_variant_new("(v)", g_variant_new_int32(code)));
	if (code == 0)
		return;
	second = systemd_await_call(systemd, "Get");
	g_variant_get(g_dbus_message_get_body(second), "(&s&s)", &interface, &name);
	g_assert_cmpstr(name, ==, "ExecMainStatus");
	systemd_answer(systemd, second, g_variant_new("(v)", g_variant_new_int32(status)));
}
