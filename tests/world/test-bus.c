/*
 * What the system bus itself sees to: whose the name and the signals are, that nobody answers in another's
 * place or listens; and that a plain user's call starts the service.
 */
#include <signal.h>
#include <string.h>

#include "world.h"

static World *world;

/* ---- the name, and who says what ---- */
static GDBusMessage *bus_call(const char *member, GVariant *args)
{
	GDBusMessage *call = g_dbus_message_new_method_call(
		"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member);

	g_dbus_message_set_body(call, args);
	return call;
}

static void test_name(void)
{
	static const char *const users[] = {"owner", "member", "other"};

	for (gsize i = 0; i < G_N_ELEMENTS(users); i++) {
		g_autoptr(Client) client = world_client(users[i]);
		g_autoptr(GDBusMessage) call = bus_call("RequestName", g_variant_new("(su)", NAME, 4));

		client_expect_error(client, client_send_message(client, call), DENIED, "*" NAME "*");
	}
}

static void emit(Client *client, const char *path, const char *interface, const char *member, GVariant *args)
{
	g_autoptr(GDBusMessage) message = g_dbus_message_new_signal(path, interface, member);

	/* The bus puts the true sender in the place of this one. */
	g_dbus_message_set_sender(message, NAME);
	g_dbus_message_set_body(message, args);
	client_send_message(client, message);
}

/* A client that looks at paths and interfaces alone gets no signal of ours from anybody but us, and one that
 * looks at the sender nothing at all. */
static void test_signals(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL);
	g_autoptr(Client) other = world_client("other"), careless = world_client("member"),
			  careful = world_client("member");
	gsize mark, end;

	client_match(careless, "type='signal',path_namespace='/org/roost1'");
	client_match(careful, "type='signal',interface='org.example.Barrier'");
	mark = client_mark(careful);
	emit(other, web, VM, "StateChanged", g_variant_new("(sss)", "off", "running", "user"));
	emit(other, PATH, MANAGER, "VMRemoved", g_variant_new("(so)", "web-1", web));
	emit(other, web, "org.freedesktop.DBus.Properties", "PropertiesChanged",
		g_variant_new_parsed("('org.roost1.VM', {'State': <'crashed'>}, @as [])"));
	emit(other, PATH, "org.example.Barrier", "Here", g_variant_new("()"));
	end = client_await(careless, 0, PATH, "Here", NULL);
	g_assert_cmpuint(client_count(careless, 0, end, NULL, "StateChanged", NULL), ==, 0);
	g_assert_cmpuint(client_count(careless, 0, end, NULL, "VMRemoved", NULL), ==, 0);
	/* The one signal that everybody may send says who has sent it. */
	end = client_await(careless, 0, web, "PropertiesChanged", "*crashed*");
	g_assert_cmpstr(g_dbus_message_get_sender(client_message(careless, end)), ==, client_name(other));
	end = client_await(careful, mark, PATH, "Here", NULL);
	g_assert_cmpuint(client_count(careful, mark, end, web, "PropertiesChanged", NULL), ==, 0);
	/* And what roostd says gets through. */
	client_do(world->root, web, VM, "Start", fixture_no_options());
	client_await(careless, 0, web, "StateChanged", "*'running'*");
	client_await(careful, mark, web, "StateChanged", "*'running'*");
	world_undefine(world, web);
}

/* A user who answers for polkit: the bus lets through only what was asked for, by whom it was asked. */
static void test_forged_answer(void)
{
	g_autofree char *web = world_define(world, "owner", "web-1", NULL), *roostd = NULL;
	g_autoptr(Client) other = world_client("other");
	g_autoptr(GDBusMessage) question = bus_call("GetNameOwner", g_variant_new("(s)", NAME));
	g_autoptr(GVariant) result = NULL;
	guint32 call;

	result = client_result(other, client_send_message(other, question));
	g_variant_get(result, "(s)", &roostd);
	kill(world->polkitd, SIGSTOP);
	call = client_send(other, web, VM, "Start", fixture_no_options());
	client_sync(other);
	for (guint32 serial = 1; serial < 500; serial++) {
		g_autoptr(GDBusMessage) answer = g_dbus_message_new();

		g_dbus_message_set_message_type(answer, G_DBUS_MESSAGE_TYPE_METHOD_RETURN);
		g_dbus_message_set_destination(answer, roostd);
		g_dbus_message_set_reply_serial(answer, serial);
		g_dbus_message_set_body(answer, g_variant_new_parsed("((true, false, @a{ss} {}),)"));
		client_send_message(other, answer);
	}
	client_sync(other);
	client_assert_property(world->root, web, "State", "'off'");
	kill(world->polkitd, SIGCONT);
	client_expect_error(other, call, CHALLENGED, "*");
	client_assert_property(world->root, web, "State", "'off'");
	world_undefine(world, web);
}

static void test_eavesdropping(void)
{
	g_autoptr(Client) other = world_client("other");
	g_autoptr(GDBusMessage) monitor = g_dbus_message_new_method_call("org.freedesktop.DBus",
		"/org/freedesktop/DBus", "org.freedesktop.DBus.Monitoring", "BecomeMonitor");
	static const char *const rules[] = {
		"eavesdrop='true',type='method_call'", "eavesdrop='true',destination='" NAME "'"};

	g_dbus_message_set_body(monitor, g_variant_new_parsed("(@as [], uint32 0)"));
	client_expect_error(other, client_send_message(other, monitor), DENIED, "*");
	for (gsize i = 0; i < G_N_ELEMENTS(rules); i++) {
		g_autoptr(GDBusMessage) match = bus_call("AddMatch", g_variant_new("(s)", rules[i]));

		client_expect_error(other, client_send_message(other, match), DENIED, "*");
	}
}

/* ---- activation ---- */
static void end_activated(void)
{
	gsize mark = client_mark(world->root);

	kill((pid_t)client_pid_of(world->root, NAME), SIGTERM);
	client_await(
		world->root, mark, "/org/freedesktop/DBus", "NameOwnerChanged", "('" NAME "', ':*', '')");
}

/* Nothing runs but the bus: not polkit either. With the QEMU that an installation has. */
static void test_activation(void)
{
	static const char *const list[] = {
		"busctl", "--system", "call", NAME, PATH, MANAGER, "ListVMs", NULL};
	static const char *const define[] = {"busctl", "--system", "call", NAME, PATH, MANAGER, "DefineVM",
		"a{sv}", "3", "Name", "s", "real", "Memory", "t", "67108864", "Accelerator", "s", "tcg",
		NULL};
	static const char *const start[] = {
		"busctl", "--system", "call", NAME, PATH, MANAGER, "StartVM", "sa{sv}", "real", "0", NULL};
	static const char *const stop[] = {
		"busctl", "--system", "call", NAME, PATH, MANAGER, "KillVM", "s", "real", NULL};
	g_autoptr(GVariant) vm = NULL, owner = NULL;
	g_autofree char *text = NULL, *path = NULL, *refusal = NULL;
	int status;

	world_stop_roostd(world);
	world_stop_polkitd(world);
	g_assert_cmpuint(client_pid_of(world->root, NAME), ==, 0);
	text = world_run("other", ELSEWHERE, list, &status);
	g_assert_cmpstr(text, ==, "a(sso) 0\n");
	end_activated();
	/* By calls that change something, too. */
	g_free(world_run("owner", AT_THE_SCREEN, define, &status));
	g_assert_cmpint(status, ==, 0);
	end_activated();
	g_free(world_run("owner", AT_THE_SCREEN, start, &status));
	g_assert_cmpint(status, ==, 0);
	vm = client_call(world->root, PATH, MANAGER, "GetVM", g_variant_new("(s)", "real"));
	g_variant_get(vm, "(o)", &path);
	client_assert_property(world->root, path, "State", "'running'");
	owner = client_get(world->root, path, VM, "OwnerUID");
	g_assert_cmpuint(g_variant_get_uint32(owner), ==, world_uid("owner"));
	refusal = world_run("other", ELSEWHERE, stop, &status);
	g_assert_nonnull(strstr(refusal, "not authorized to manage another user's virtual machine 'real'"));
	g_free(world_run("owner", AT_THE_SCREEN, stop, &status));
	g_assert_cmpint(status, ==, 0);
	client_do(world->root, path, VM, "Undefine", fixture_no_options());
	end_activated();
	kill((pid_t)client_pid_of(world->root, POLKIT), SIGTERM);
}

int main(int argc, char **argv)
{
	int result;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/bus/name", test_name);
	g_test_add_func("/bus/signals", test_signals);
	g_test_add_func("/bus/forged-answer", test_forged_answer);
	g_test_add_func("/bus/eavesdropping", test_eavesdropping);
	g_test_add_func("/bus/activation", test_activation);
	world = world_new();
	world_start_roostd(world, NULL);
	result = g_test_run();
	world_free(world);
	return result;
}
