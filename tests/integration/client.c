/* The client's half of the fixture. GDBus's own thread appends to the list, the test's thread waits on it. */
#include <gio/gunixfdlist.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define WAIT_SECONDS 60

struct Client {
	GDBusConnection *connection;
	GMutex mutex;
	GCond cond;
	GPtrArray *messages; /* mutex: GDBusMessage */
};

static GDBusMessage *take_message(
	GDBusConnection *connection, GDBusMessage *message, gboolean incoming, gpointer user)
{
	Client *client = user;

	if (!incoming)
		return message;
	g_mutex_lock(&client->mutex);
	g_ptr_array_add(client->messages, message);
	g_cond_broadcast(&client->cond);
	g_mutex_unlock(&client->mutex);
	return NULL;
}

guint32 client_send_message(Client *client, GDBusMessage *message)
{
	g_autoptr(GError) error = NULL;
	guint32 serial;

	g_dbus_connection_send_message(
		client->connection, message, G_DBUS_SEND_MESSAGE_FLAGS_NONE, &serial, &error);
	g_assert_no_error(error);
	return serial;
}

void client_flush(Client *client)
{
	g_autoptr(GError) error = NULL;

	g_dbus_connection_flush_sync(client->connection, NULL, &error);
	g_assert_no_error(error);
}

static guint32 send_to_bus(Client *client, const char *member, const char *text)
{
	g_autoptr(GDBusMessage) call = g_dbus_message_new_method_call(
		"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member);

	g_dbus_message_set_body(call, g_variant_new("(s)", text));
	return client_send_message(client, call);
}

void client_match(Client *client, const char *rule)
{
	g_variant_unref(client_result(client, send_to_bus(client, "AddMatch", rule)));
}

guint32 client_owner_pid(Client *client)
{
	return client_pid_of(client, NAME);
}

guint32 client_pid_of(Client *client, const char *name)
{
	gsize position = client_await_reply(client, send_to_bus(client, "GetConnectionUnixProcessID", name));
	GDBusMessage *reply = client_message(client, position);
	guint32 pid = 0;

	if (g_dbus_message_get_message_type(reply) == G_DBUS_MESSAGE_TYPE_METHOD_RETURN)
		g_variant_get(g_dbus_message_get_body(reply), "(u)", &pid);
	return pid;
}

void client_own_name(Client *client, const char *name)
{
	g_autoptr(GDBusMessage) call = g_dbus_message_new_method_call(
		"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName");
	g_autoptr(GVariant) result = NULL;
	guint32 code;

	g_dbus_message_set_body(call, g_variant_new("(su)", name, 0));
	result = client_result(client, client_send_message(client, call));
	g_variant_get(result, "(u)", &code);
	g_assert_cmpuint(code, ==, 1);
}

Client *client_new(const char *address)
{
	Client *client = g_new0(Client, 1);
	g_autoptr(GError) error = NULL;

	g_mutex_init(&client->mutex);
	g_cond_init(&client->cond);
	client->messages = g_ptr_array_new_with_free_func(g_object_unref);
	client->connection = g_dbus_connection_new_for_address_sync(address,
		G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
			G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
		NULL, NULL, &error);
	g_assert_no_error(error);
	g_dbus_connection_add_filter(client->connection, take_message, client, NULL);
	client_match(client, "type='signal',sender='org.roost1',path_namespace='/org/roost1'");
	client_match(client, "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'");
	return client;
}

Client *client_new_as(const char *address, guint uid)
{
	Client *client;

	/* The bus takes note of who connects. */
	g_assert_cmpint(seteuid(uid), ==, 0);
	client = client_new(address);
	g_assert_cmpint(seteuid(0), ==, 0);
	return client;
}

Client *client_free(Client *client)
{
	if (!client)
		return NULL;
	g_dbus_connection_close_sync(client->connection, NULL, NULL);
	g_object_unref(client->connection);
	g_ptr_array_unref(client->messages);
	g_mutex_clear(&client->mutex);
	g_cond_clear(&client->cond);
	g_free(client);
	return NULL;
}

const char *client_name(const Client *client)
{
	return g_dbus_connection_get_unique_name(client->connection);
}

/* ---- the list ---- */
typedef bool (*MatchFunc)(GDBusMessage *message, const void *what);

/* Waits for the first message from `from` on that matches. */
static gsize await(Client *client, gsize from, MatchFunc func, const void *what, const char *words)
{
	gint64 until = g_get_monotonic_time() + WAIT_SECONDS * G_TIME_SPAN_SECOND;
	gsize position = from;

	g_mutex_lock(&client->mutex);
	for (;; position++) {
		while (position >= client->messages->len)
			if (!g_cond_wait_until(&client->cond, &client->mutex, until))
				g_error("%d s have passed without: %s", WAIT_SECONDS, words);
		if (func(client->messages->pdata[position], what))
			break;
	}
	g_mutex_unlock(&client->mutex);
	return position;
}

gsize client_mark(Client *client)
{
	gsize n;

	g_mutex_lock(&client->mutex);
	n = client->messages->len;
	g_mutex_unlock(&client->mutex);
	return n;
}

GDBusMessage *client_message(Client *client, gsize position)
{
	GDBusMessage *message;

	g_mutex_lock(&client->mutex);
	message = client->messages->pdata[position];
	g_mutex_unlock(&client->mutex);
	return message;
}

static bool is_any(GDBusMessage *message, const void *what)
{
	return true;
}

void client_await_message(Client *client, gsize position)
{
	await(client, position, is_any, NULL, "another message");
}

/* ---- calls ---- */
static guint32 send_call(Client *client, const char *path, const char *interface, const char *member,
	GVariant *args, GDBusMessageFlags flags)
{
	g_autoptr(GDBusMessage) call = g_dbus_message_new_method_call(NAME, path, interface, member);

	if (args)
		g_dbus_message_set_body(call, args);
	g_dbus_message_set_flags(call, flags);
	return client_send_message(client, call);
}

guint32 client_send(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	return send_call(client, path, interface, member, args, G_DBUS_MESSAGE_FLAGS_NONE);
}

guint32 client_send_quietly(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	return send_call(client, path, interface, member, args, G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED);
}

guint32 client_send_with_fds(Client *client, const char *path, const char *interface, const char *member,
	GVariant *args, GUnixFDList *fds)
{
	g_autoptr(GDBusMessage) call = g_dbus_message_new_method_call(NAME, path, interface, member);
	g_autoptr(GError) error = NULL;
	guint32 serial;

	g_dbus_message_set_body(call, args);
	g_dbus_message_set_unix_fd_list(call, fds);
	g_dbus_connection_send_message(
		client->connection, call, G_DBUS_SEND_MESSAGE_FLAGS_NONE, &serial, &error);
	g_assert_no_error(error);
	return serial;
}

static bool is_call(GDBusMessage *message, const void *member)
{
	return g_dbus_message_get_message_type(message) == G_DBUS_MESSAGE_TYPE_METHOD_CALL &&
	       strcmp(g_dbus_message_get_member(message), member) == 0;
}

gsize client_await_call(Client *client, gsize from, const char *member)
{
	return await(client, from, is_call, member, member);
}

guint32 client_send_interactively(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	return send_call(
		client, path, interface, member, args, G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION);
}

static bool is_reply(GDBusMessage *message, const void *serial)
{
	return g_dbus_message_get_reply_serial(message) == *(const guint32 *)serial;
}

gsize client_await_reply(Client *client, guint32 serial)
{
	return await(client, 0, is_reply, &serial, "a reply");
}

GVariant *client_result(Client *client, guint32 serial)
{
	GDBusMessage *reply = client_message(client, client_await_reply(client, serial));
	g_autoptr(GError) error = NULL;
	GVariant *body = g_dbus_message_get_body(reply);

	g_dbus_message_to_gerror(reply, &error);
	g_assert_no_error(error);
	return body ? g_variant_ref(body) : g_variant_ref_sink(g_variant_new("()"));
}

int client_result_fd(Client *client, guint32 serial)
{
	GDBusMessage *reply = client_message(client, client_await_reply(client, serial));
	g_autofree int *fds = NULL;
	int n;

	g_variant_unref(client_result(client, serial));
	g_assert_nonnull(g_dbus_message_get_unix_fd_list(reply));
	/* The message stays in the list: a copy of the fd in it would keep the other end from seeing it
	 * closed. */
	fds = g_unix_fd_list_steal_fds(g_dbus_message_get_unix_fd_list(reply), &n);
	g_assert_cmpint(n, ==, 1);
	return fds[0];
}

void client_expect_error(Client *client, guint32 serial, const char *error, const char *glob)
{
	GDBusMessage *reply = client_message(client, client_await_reply(client, serial));
	const char *text = g_dbus_message_get_arg0(reply);

	g_assert_cmpint(g_dbus_message_get_message_type(reply), ==, G_DBUS_MESSAGE_TYPE_ERROR);
	if (strcmp(g_dbus_message_get_error_name(reply), error) != 0 || !g_pattern_match_simple(glob, text))
		g_error("got %s: %s\nnot %s: %s", g_dbus_message_get_error_name(reply), text, error, glob);
}

GVariant *client_call(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	return client_result(client, client_send(client, path, interface, member, args));
}

void client_do(Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	g_variant_unref(client_call(client, path, interface, member, args));
}

void client_refused(Client *client, const char *path, const char *interface, const char *member,
	GVariant *args, const char *error, const char *glob)
{
	client_expect_error(client, client_send(client, path, interface, member, args), error, glob);
}

gsize client_sync(Client *client)
{
	guint32 serial = client_send(client, PATH, "org.freedesktop.DBus.Peer", "Ping", NULL);

	return client_await_reply(client, serial);
}

/* ---- signals ---- */
typedef struct SignalMatch {
	const char *path, *member, *glob;
} SignalMatch;

static bool is_signal(GDBusMessage *message, const void *what)
{
	const SignalMatch *match = what;
	GVariant *body = g_dbus_message_get_body(message);
	g_autofree char *text = NULL;

	if (g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_SIGNAL ||
		(match->path && g_strcmp0(g_dbus_message_get_path(message), match->path) != 0) ||
		g_strcmp0(g_dbus_message_get_member(message), match->member) != 0)
		return false;
	if (!match->glob)
		return true;
	text = body ? g_variant_print(body, FALSE) : g_strdup("()");
	return g_pattern_match_simple(match->glob, text);
}

gsize client_await(Client *client, gsize from, const char *path, const char *member, const char *glob)
{
	SignalMatch match = {path, member, glob};
	g_autofree char *words = g_strdup_printf("%s %s %s", path, member, glob ? glob : "*");

	return await(client, from, is_signal, &match, words);
}

gsize client_find(
	Client *client, gsize from, gsize to, const char *path, const char *member, const char *glob)
{
	SignalMatch match = {path, member, glob};

	for (gsize i = from; i < to; i++)
		if (is_signal(client_message(client, i), &match))
			return i;
	return to;
}

guint client_count(
	Client *client, gsize from, gsize to, const char *path, const char *member, const char *glob)
{
	guint n = 0;

	for (gsize i = client_find(client, from, to, path, member, glob); i < to;
		i = client_find(client, i + 1, to, path, member, glob))
		n++;
	return n;
}

/* ---- properties ---- */
GVariant *client_get(Client *client, const char *path, const char *interface, const char *property)
{
	g_autoptr(GVariant) result = client_call(client, path, "org.freedesktop.DBus.Properties", "Get",
		g_variant_new("(ss)", interface, property));
	GVariant *value;

	g_variant_get(result, "(v)", &value);
	return value;
}

static char *get_text(Client *client, const char *path, const char *property)
{
	g_autoptr(GVariant) value = client_get(client, path, VM, property);

	/* As it stands in a PropertiesChanged. */
	return g_variant_print(value, TRUE);
}

void client_assert_property(Client *client, const char *path, const char *property, const char *text)
{
	g_autofree char *value = get_text(client, path, property);

	g_assert_cmpstr(value, ==, text);
}

void client_await_property(Client *client, const char *path, const char *property, const char *text)
{
	g_autofree char *glob = g_strdup_printf("*'%s': <%s>*", property, text);
	gsize mark = client_mark(client);
	g_autofree char *value = get_text(client, path, property);

	if (strcmp(value, text) != 0)
		client_await(client, mark, path, "PropertiesChanged", glob);
}
