/* Defining, finding, listing, undefining; the ObjectManager; what is refused, and in which words. */
#include <string.h>

#include "fixture.h"

#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

static GVariant *parse_config(const char *text)
{
	g_autoptr(GError) error = NULL;
	GVariant *args = g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, &error);

	g_assert_no_error(error);
	return args;
}

static void test_define(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	gsize mark = client_mark(c), added, new, counted, reply;
	g_autoptr(GVariant) result = NULL, count = NULL;
	const char *path;
	guint32 serial;

	serial = client_send(c, PATH, MANAGER, "DefineVM",
		parse_config("({'Name': <'web'>, 'UUID': <'0A2E10CE-E319-43DD-9E24-5A015F250FDD'>,"
			     " 'Memory': <uint64 67108864>, 'Description': <'the first'>},)"));
	result = client_result(c, serial);
	reply = client_await_reply(c, serial);
	g_variant_get(result, "(&o)", &path);
	g_assert_cmpstr(path, ==, PATH "/vm/0a2e10cee31943dd9e245a015f250fdd");

	/* Before the reply, in this order. */
	counted = client_find(
		c, mark, reply, PATH, "PropertiesChanged", "('" MANAGER "', {'NVMs': <uint32 1>}, *");
	added = client_find(c, mark, reply, PATH, "InterfacesAdded",
		"('/org/roost1/vm/0a2e10cee31943dd9e245a015f250fdd', {'" VM "': {*'Name': <'web'>*");
	new = client_find(
		c, mark, reply, PATH, "VMNew", "('web', '/org/roost1/vm/0a2e10cee31943dd9e245a015f250fdd')");
	g_assert_cmpuint(counted, <, added);
	g_assert_cmpuint(added, <, new);
	g_assert_cmpuint(new, <, reply);

	client_assert_property(c, path, "Name", "'web'");
	client_assert_property(c, path, "UUID", "'0a2e10ce-e319-43dd-9e24-5a015f250fdd'");
	client_assert_property(c, path, "Description", "'the first'");
	client_assert_property(c, path, "State", "'off'");
	client_assert_property(c, path, "StateReason", "'defined'");
	client_assert_property(c, path, "ConfigRevision", "uint64 1");
	client_assert_property(c, path, "LastExit", "@a{sv} {}");
	client_assert_property(c, path, "CurrentOperation", "@a{sv} {}");
	count = client_get(c, PATH, MANAGER, "NVMs");
	g_assert_cmpuint(g_variant_get_uint32(count), ==, 1);
}

static void find(Client *c, const char *text, const char *path)
{
	g_autoptr(GVariant) result = client_call(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", text));
	const char *found;

	g_variant_get(result, "(&o)", &found);
	g_assert_cmpstr(found, ==, path);
}

static void test_find(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web =
		fixture_define(f, "web", NULL, "'UUID': <'0a2e10ce-e319-43dd-9e24-5a015f250fdd'>");
	g_autofree char *db = fixture_define(f, "db", NULL, NULL);
	g_autofree char *listed = NULL, *expected = NULL;
	g_autoptr(GVariant) list = NULL;

	find(c, "web", web);
	find(c, "db", db);
	find(c, "0a2e10ce-e319-43dd-9e24-5a015f250fdd", web);
	find(c, "0A2E10CE-E319-43DD-9E24-5A015F250FDD", web);
	find(c, "0a2e10cee31943dd9e245a015f250fdd", web);
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "wab"), ROOST_ERROR("NoSuchVM"),
		"name: there is no VM 'wab'; did you mean 'web'?");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", ""), ROOST_ERROR("NoSuchVM"), "*");
	client_refused(c, PATH, MANAGER, "StartVM",
		g_variant_new("(s@a{sv})", "none", g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0)),
		ROOST_ERROR("NoSuchVM"), "name: there is no VM 'none'");
	client_refused(c, PATH, MANAGER, "KillVM", g_variant_new("(s)", "none"), ROOST_ERROR("NoSuchVM"),
		"name: there is no VM 'none'");

	list = client_call(c, PATH, MANAGER, "ListVMs", NULL);
	listed = g_variant_print(list, FALSE);
	expected = g_strdup_printf("([('web', 'off', '%s'), ('db', 'off', '%s')],)", web, db);
	g_assert_cmpstr(listed, ==, expected);
}

static void test_by_name(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	GVariant *none = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE("{sv}"), NULL, 0));

	client_do(f->client, PATH, MANAGER, "StartVM", g_variant_new("(s@a{sv})", "web", none));
	client_assert_property(f->client, web, "State", "'running'");
	client_do(f->client, PATH, MANAGER, "ShutdownVM", g_variant_new("(s@a{sv})", "web", none));
	client_await_property(f->client, web, "State", "'off'");
	client_do(f->client, PATH, MANAGER, "StartVM", g_variant_new("(s@a{sv})", "web", none));
	client_do(f->client, PATH, MANAGER, "KillVM", g_variant_new("(s)", "web"));
	client_assert_property(f->client, web, "State", "'off'");
	g_variant_unref(none);
}

/* The object manager says of a VM what GetAll says. */
static void test_managed_objects(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, "'Description': <'d'>");
	g_autoptr(GVariant) objects = NULL, interfaces = NULL, managed = NULL, all = NULL, result = NULL;

	fixture_start_vm(f, web);
	objects = client_call(c, PATH, OBJECT_MANAGER, "GetManagedObjects", NULL);
	g_assert_cmpstr(g_variant_get_type_string(objects), ==, "(a{oa{sa{sv}}})");
	managed = g_variant_get_child_value(objects, 0);
	g_assert_cmpuint(g_variant_n_children(managed), ==, 1);
	g_assert_true(g_variant_lookup(managed, web, "@a{sa{sv}}", &interfaces));
	all = g_variant_lookup_value(interfaces, VM, G_VARIANT_TYPE("a{sv}"));
	result = client_call(c, web, "org.freedesktop.DBus.Properties", "GetAll", g_variant_new("(s)", VM));
	g_variant_unref(g_steal_pointer(&managed));
	managed = g_variant_get_child_value(result, 0);
	g_assert_true(g_variant_equal(all, managed));
	g_assert_cmpuint(g_variant_n_children(all), ==, 25);
}

static void test_undefine(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL), *again = NULL;
	g_autofree char *gone = g_strdup_printf("('web', '%s')", web);
	gsize mark, removed, told, reply;
	guint32 serial;

	fixture_start_vm(f, web);
	client_refused(c, web, VM, "Undefine", fixture_no_options(), ROOST_ERROR("InvalidState"),
		"*web*running*off*");
	client_do(c, web, VM, "Kill", NULL);
	mark = client_mark(c);
	serial = client_send(c, web, VM, "Undefine", fixture_no_options());
	reply = client_await_reply(c, serial);
	g_variant_unref(client_result(c, serial));
	g_assert_cmpuint(client_find(c, mark, reply, PATH, "PropertiesChanged",
				 "('" MANAGER "', {'NVMs': <uint32 0>}, *"),
		<, reply);
	removed = client_find(c, mark, reply, PATH, "InterfacesRemoved", NULL);
	told = client_find(c, mark, reply, PATH, "VMRemoved", gone);
	g_assert_cmpuint(removed, <, told);
	g_assert_cmpuint(told, <, reply);
	client_refused(c, web, VM, "Start", fixture_no_options(), DBUS_ERROR("UnknownObject"), "*");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "web"), ROOST_ERROR("NoSuchVM"), "*");
	/* Its name is free. */
	again = fixture_define(f, "web", NULL, NULL);
	g_assert_cmpstr(again, !=, web);
}

static void test_autostart(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	gsize mark = client_mark(c), changed, reply;
	guint32 serial = client_send(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));

	reply = client_await_reply(c, serial);
	g_variant_unref(client_result(c, serial));
	changed = client_find(c, mark, reply, web, "PropertiesChanged",
		"('" VM "', {'Autostart': <true>, 'ConfigRevision': <uint64 2>}, *)");
	g_assert_cmpuint(changed, <, reply);
	/* Again: nothing to do, nothing to tell. */
	mark = client_mark(c);
	client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	g_assert_cmpuint(
		client_count(c, mark, client_sync(c), web, "PropertiesChanged", "*'Autostart'*"), ==, 0);
	/* On a running VM it is not pending either. */
	fixture_start_vm(f, web);
	client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", FALSE));
	client_assert_property(c, web, "Autostart", "false");
	client_assert_property(c, web, "PendingChanges", "@as []");
}

static void test_get_config(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web =
		fixture_define(f, "web", NULL, "'VCPUs': <uint32 2>, 'Consoles': <[{'Type': <'serial'>}]>");
	g_autoptr(GVariant) result = NULL, config = NULL, running = NULL, again = NULL;
	g_autofree char *text = NULL;
	guint64 revision;

	result = client_call(c, web, VM, "GetConfig", fixture_no_options());
	g_variant_get(result, "(@a{sv}t)", &config, &revision);
	g_assert_cmpuint(revision, ==, 1);
	text = g_variant_print(config, FALSE);
	g_assert_true(
		g_pattern_match_simple("*'Name': <'web'>*'VCPUs': <uint32 2>*'MachineType': <'q35'>*", text));
	client_refused(c, web, VM, "GetConfig", g_variant_new_parsed("({'Running': <true>},)"),
		ROOST_ERROR("InvalidState"), "options.Running: the VM 'web' is off; this needs a QEMU");
	fixture_start_vm(f, web);
	running = client_call(c, web, VM, "GetConfig", g_variant_new_parsed("({'Running': <true>},)"));
	g_assert_true(g_variant_equal(running, result));
	/* What it gives, DefineVM takes. */
	client_do(c, web, VM, "Kill", NULL);
	client_do(c, web, VM, "Undefine", fixture_no_options());
	again = client_call(c, PATH, MANAGER, "DefineVM", g_variant_new("(@a{sv})", config));
}

/* ---- what is refused ---- */
static void test_bad_config(void)
{
	static const struct {
		const char *config, *error, *glob;
	} cases[] = {
		{"(@a{sv} {},)", ROOST_ERROR("InvalidConfig"), "Name: *"},
		{"({'Name': <'x'>},)", ROOST_ERROR("InvalidConfig"), "Memory: *"},
		{"({'Name': <''>, 'Memory': <uint64 1048576>},)", ROOST_ERROR("InvalidConfig"), "Name: *"},
		{"({'Name': <'../x'>, 'Memory': <uint64 1048576>},)", ROOST_ERROR("InvalidConfig"),
			"Name: *"},
		{"({'Name': <'a/b'>, 'Memory': <uint64 1048576>},)", ROOST_ERROR("InvalidConfig"), "Name: *"},
		{"({'Name': <'a\\nb'>, 'Memory': <uint64 1048576>},)", ROOST_ERROR("InvalidConfig"),
			"Name: *"},
		{"({'Name': <'0a2e10cee31943dd9e245a015f250fdd'>, 'Memory': <uint64 1048576>},)",
			ROOST_ERROR("InvalidConfig"), "Name: *"},
		{"({'Name': <'x'>, 'Memory': <uint64 1048576>, 'Memroy': <1>},)",
			ROOST_ERROR("InvalidConfig"), "Memroy: *Memory*"},
		{"({'Name': <'x'>, 'Memory': <uint64 1048576>, 'Memory': <uint64 1048576>},)",
			ROOST_ERROR("InvalidConfig"), "Memory: *"},
		{"({'Name': <'x'>, 'Memory': <uint32 1048576>},)", ROOST_ERROR("InvalidConfig"), "Memory: *"},
		{"({'Name': <'x'>, 'Memory': <uint64 1048576>, 'TPM': <true>},)", ROOST_ERROR("NotSupported"),
			"TPM*"},
		{"({'Name': <'x'>, 'Memory': <uint64 1048576>, 'Disks': <[{'Path': <'disk'>, 'Format': "
		 "<'raw'>}]>},)",
			ROOST_ERROR("InvalidConfig"), "Disks[0].Path: *"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	gsize mark = client_mark(c);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		client_refused(c, PATH, MANAGER, "DefineVM", parse_config(cases[i].config), cases[i].error,
			cases[i].glob);
	}
	/* Nothing half-made is left. */
	g_assert_cmpuint(client_count(c, mark, client_sync(c), PATH, "InterfacesAdded", NULL), ==, 0);
	g_variant_unref(client_call(c, PATH, MANAGER, "DefineVM",
		parse_config("({'Name': <'x'>, 'Memory': <uint64 67108864>},)")));
	client_refused(c, PATH, MANAGER, "DefineVM",
		parse_config("({'Name': <'x'>, 'Memory': <uint64 67108864>},)"), ROOST_ERROR("VMExists"),
		"Name: *'x'*");
}

static GVariant *nested(unsigned depth)
{
	GVariant *value = g_variant_new_boolean(TRUE);

	while (depth-- > 0)
		value = g_variant_new_variant(value);
	return g_variant_new("(@a{sv})", g_variant_new_parsed("{'Name': %v}", value));
}

static void test_huge_config(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *text = g_strnfill(1 << 20, 'x');
	GVariantBuilder builder;

	client_refused(c, PATH, MANAGER, "DefineVM",
		g_variant_new("(@a{sv})", g_variant_new_parsed("{%s: <true>}", text)),
		ROOST_ERROR("InvalidConfig"), "config: too large*");
	client_refused(c, PATH, MANAGER, "DefineVM",
		g_variant_new("(@a{sv})", g_variant_new_parsed("{'Description': <%s>}", text)),
		ROOST_ERROR("InvalidConfig"), "config: too large*");
	client_refused(c, PATH, MANAGER, "DefineVM", nested(40), ROOST_ERROR("InvalidConfig"),
		"config: nested too deep*");
	g_variant_builder_init(&builder, G_VARIANT_TYPE("a{sv}"));
	for (unsigned i = 0; i < 100000; i++)
		g_variant_builder_add(&builder, "{sv}", "N", g_variant_new_byte(0));
	client_refused(c, PATH, MANAGER, "DefineVM", g_variant_new("(a{sv})", &builder),
		ROOST_ERROR("InvalidConfig"), "config: too large*");
}

static void test_bad_options(void)
{
	static const struct {
		const char *member, *options, *error, *glob;
	} cases[] = {
		{"Start", "({'Pause': <true>},)", DBUS_ERROR("InvalidArgs"),
			"options.Pause: unknown, Start takes Paused"},
		{"Start", "({'Paused': <'yes'>},)", DBUS_ERROR("InvalidArgs"),
			"options.Paused: must be a boolean (b), not of type 's'"},
		{"Start", "({'Paused': <true>, 'Paused': <true>},)", DBUS_ERROR("InvalidArgs"),
			"options.Paused: is given twice"},
		{"Shutdown", "({'Timeout': <uint32 5>},)", DBUS_ERROR("InvalidArgs"),
			"options.Timeout: must be a 64-bit count (t), not of type 'u'"},
		{"Shutdown", "({'Mode': <'hard'>},)", DBUS_ERROR("InvalidArgs"),
			"options.Mode: 'hard' is not one of 'auto', 'acpi'"},
		{"Shutdown", "({'Mode': <'agent'>},)", ROOST_ERROR("NotSupported"),
			"options.Mode: 'agent' *"},
		{"Reboot", "({'Force': <true>},)", DBUS_ERROR("InvalidArgs"),
			"options.Force: unknown, Reboot takes Mode"},
		{"Undefine", "({'Disks': <true>},)", DBUS_ERROR("InvalidArgs"),
			"options.Disks: unknown, Undefine takes Storage"},
		{"GetConfig", "({'Run': <true>},)", DBUS_ERROR("InvalidArgs"),
			"options.Run: unknown, GetConfig takes Running"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
		client_refused(c, web, VM, cases[i].member, parse_config(cases[i].options), cases[i].error,
			cases[i].glob);
	/* The wrong arguments altogether. */
	client_refused(c, web, VM, "Start", NULL, DBUS_ERROR("InvalidArgs"), "*");
	client_refused(c, web, VM, "Pause", g_variant_new("(s)", "now"), DBUS_ERROR("InvalidArgs"), "*");
	client_refused(c, web, VM, "Explode", NULL, DBUS_ERROR("UnknownMethod"), "*");
	client_refused(c, PATH "/vm/0a2e10cee31943dd9e245a015f250fdd", VM, "Pause", NULL,
		DBUS_ERROR("UnknownObject"), "*");
	client_refused(c, PATH "/vm", VM, "Pause", NULL, DBUS_ERROR("UnknownMethod"), "*");
	client_refused(c, PATH, MANAGER, "GetEvents",
		g_variant_new_parsed("(@t 0, @u 0, {'VM': <objectpath '/x'>})"), DBUS_ERROR("UnknownObject"),
		"options.VM: '/x' is no VM's object");
	client_refused(c, web, "org.freedesktop.DBus.Properties", "Set",
		g_variant_new("(ssv)", VM, "Name", g_variant_new_string("db")),
		DBUS_ERROR("PropertyReadOnly"), "*");
}

/* How roostd itself refuses to begin. */
static void test_command_line(void)
{
	static const struct {
		const char *options[3], *glob;
	} cases[] = {
		{{"--bus=nowhere"}, "roostd: --bus=nowhere: must be *"},
		{{"--bus=unix:path=/nonexistent/bus"}, "roostd: --state-dir=*"},
		{{"--deadline-scale=0"}, "roostd: --deadline-scale=0: *"},
		{{"--max-workers=1"}, "roostd: --max-workers=1: *"},
		{{"--qemu=qemu"}, "roostd: --qemu=qemu: must be an absolute path*"},
		{{"--state-dir=here"}, "roostd: --state-dir=here: must be an absolute path*"},
		{{"--log-level=loud"}, "roostd: --log-level=loud: *"},
		{{"--frobnicate"}, "roostd: *--frobnicate*--help*"},
		{{"extra"}, "roostd: extra: *--help*"},
		/* The first roostd has the folder. */
		{{NULL}, "roostd: --state-dir=*"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		int code;
		g_autofree char *text = fixture_refused_start(f, cases[i].options, &code);

		g_test_message("%s", text);
		g_assert_cmpint(code, ==, 1);
		g_assert_true(g_pattern_match_simple(cases[i].glob, text));
	}
}

/* With folders of its own, it is the name that a second roostd does not get. */
static void test_name_taken(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *state = g_strdup_printf("--state-dir=%s/other/state", f->dir);
	g_autofree char *run = g_strdup_printf("--runtime-dir=%s/other/run", f->dir);
	const char *const options[] = {state, run, NULL};
	const char *const no_bus[] = {state, run, "--bus=unix:path=/nonexistent/bus", NULL};
	g_autofree char *text = NULL, *text_no_bus = NULL;
	int code;

	text = fixture_refused_start(f, options, &code);
	g_assert_cmpint(code, ==, 1);
	g_assert_true(g_pattern_match_simple("*roostd: org.roost1: another roostd has this name*", text));
	text_no_bus = fixture_refused_start(f, no_bus, &code);
	g_assert_cmpint(code, ==, 1);
	g_assert_true(g_pattern_match_simple(
		"*roostd: --bus=unix:path=/nonexistent/bus: can't connect: *", text_no_bus));
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/manager/define", test_define);
	g_test_add_func("/manager/find", test_find);
	g_test_add_func("/manager/by-name", test_by_name);
	g_test_add_func("/manager/managed-objects", test_managed_objects);
	g_test_add_func("/manager/undefine", test_undefine);
	g_test_add_func("/manager/autostart", test_autostart);
	g_test_add_func("/manager/get-config", test_get_config);
	g_test_add_func("/manager/bad-config", test_bad_config);
	g_test_add_func("/manager/huge-config", test_huge_config);
	g_test_add_func("/manager/bad-options", test_bad_options);
	g_test_add_func("/manager/command-line", test_command_line);
	g_test_add_func("/manager/name-taken", test_name_taken);
	return g_test_run();
}
