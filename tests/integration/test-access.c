/* Another user reads everything and changes nothing. Needs root, for there to be another user. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

#define STRANGER     "ROOST_TEST_STRANGER" /* "ADDRESS PATH": this process is the other user */
#define STRANGER_UID 65534

static void refused(Client *c, const char *path, const char *interface, const char *member, GVariant *args)
{
	g_autofree char *text = g_strdup_printf("%s: only root may do this", member);

	client_refused(c, path, interface, member, args, DBUS_ERROR("AccessDenied"), text);
}

static int be_stranger(const char *where)
{
	g_auto(GStrv) words = g_strsplit(where, " ", 2);
	g_autoptr(Client) c = NULL;
	const char *web = words[1];
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}")), config = NULL,
			    vms = NULL, vm = NULL, events = NULL, operations = NULL, objects = NULL,
			    capabilities = NULL;

	if (setresgid(STRANGER_UID, STRANGER_UID, STRANGER_UID) < 0 ||
		setresuid(STRANGER_UID, STRANGER_UID, STRANGER_UID) < 0)
		return 1;
	c = client_new(words[0]);
	/* All at once, so that some wait for the bus to say who this is. */
	config = client_call(c, web, VM, "GetConfig", fixture_no_options());
	vm = client_call(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "web"));
	vms = client_call(c, PATH, MANAGER, "ListVMs", NULL);
	events = client_call(c, PATH, MANAGER, "GetEvents", g_variant_new("(tu@a{sv})", (guint64)0, 0, none));
	operations = client_call(c, PATH, MANAGER, "ListOperations", NULL);
	capabilities = client_call(c, PATH, MANAGER, "GetCapabilities", fixture_no_options());
	objects = client_call(c, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL);
	client_assert_property(c, web, "State", "'running'");

	refused(c, PATH, MANAGER, "DefineVM", fixture_no_options());
	refused(c, PATH, MANAGER, "StartVM", g_variant_new("(s@a{sv})", "web", none));
	refused(c, PATH, MANAGER, "ShutdownVM", g_variant_new("(s@a{sv})", "web", none));
	refused(c, PATH, MANAGER, "KillVM", g_variant_new("(s)", "web"));
	refused(c, web, VM, "Start", fixture_no_options());
	refused(c, web, VM, "Shutdown", fixture_no_options());
	refused(c, web, VM, "Reboot", fixture_no_options());
	refused(c, web, VM, "Reset", NULL);
	refused(c, web, VM, "Pause", NULL);
	refused(c, web, VM, "Resume", NULL);
	refused(c, web, VM, "Kill", NULL);
	refused(c, web, VM, "CancelOperation", g_variant_new("(t)", (guint64)0));
	refused(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	refused(c, web, VM, "Undefine", fixture_no_options());
	refused(c, web, VM, "OpenConsole", g_variant_new("(s@a{sv})", "", none));
	refused(c, web, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\":\"stop\"}"));
	client_assert_property(c, web, "State", "'running'");
	return 0;
}

static void test_stranger(void)
{
	g_autoptr(Fixture) f = NULL;
	g_auto(GStrv) environment = NULL;
	char *argv[] = {(char *)"/proc/self/exe", NULL};
	g_autoptr(GError) error = NULL;
	g_autofree char *web = NULL, *where = NULL;
	int status;

	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	f = fixture_new(NULL);
	web = fixture_define(f, "web", NULL, NULL);
	fixture_start_vm(f, web);
	where = g_strdup_printf("%s %s", f->address, web);
	environment = g_environ_setenv(g_get_environ(), STRANGER, where, TRUE);
	g_spawn_sync(NULL, argv, environment, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status,
		&error);
	g_assert_no_error(error);
	g_assert_cmpint(status, ==, 0);
	client_assert_property(f->client, web, "State", "'running'");
}

/* Calls that come before the bus has said who calls keep their order. */
static void test_order(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autoptr(Client) c = NULL;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	guint32 calls[4];

	fixture_start_vm(f, web);
	c = client_new(f->address);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		calls[i] = client_send(c, web, VM, i % 2 == 0 ? "Pause" : "Resume", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
		g_variant_unref(client_result(c, calls[i]));
	for (gsize i = 1; i < G_N_ELEMENTS(calls); i++)
		g_assert_cmpuint(client_await_reply(c, calls[i - 1]), <, client_await_reply(c, calls[i]));
	client_assert_property(c, web, "State", "'running'");
}

int main(int argc, char **argv)
{
	const char *where = g_getenv(STRANGER);

	if (where)
		return be_stranger(where);
	fixture_init(&argc, &argv);
	g_test_add_func("/access/stranger", test_stranger);
	g_test_add_func("/access/order", test_order);
	return g_test_run();
}
