/* ExecuteQMP: a caller's own command, and what Roost makes of what it did. */
#include <string.h>

#include "fixture.h"

static char *execute(Fixture *f, const char *path, const char *command)
{
	g_autoptr(GVariant) result =
		client_call(f->client, path, VM, "ExecuteQMP", g_variant_new("(s)", command));
	char *text;

	g_variant_get(result, "(s)", &text);
	return text;
}

static void test_query(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(
		f, "web", "on query-name return {\"name\": \"täst\", \"n\": [1, null]}\n", NULL);
	g_autofree char *status = NULL, *name = NULL;

	fixture_start_vm(f, web);
	status = execute(f, web, "{\"execute\": \"query-status\"}");
	g_assert_true(g_pattern_match_simple("{*\"running\"*}", status));
	name = execute(f, web, " {\"execute\": \"query-name\", \"arguments\": {}} ");
	g_assert_true(g_pattern_match_simple("{*\"täst\"*null*}", name));
}

/* What it changes is seen. */
static void test_change(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	g_autofree char *result = NULL;

	fixture_start_vm(f, web);
	result = execute(f, web, "{\"execute\": \"stop\"}");
	g_assert_cmpstr(result, ==, "{}");
	client_assert_property(f->client, web, "State", "'paused'");
	client_do(f->client, web, VM, "Resume", NULL);
	client_assert_property(f->client, web, "State", "'running'");
}

static void test_refused(void)
{
	static const struct {
		const char *command, *error, *glob;
	} cases[] = {
		{"", DBUS_ERROR("InvalidArgs"), "command: *"},
		{"query-status", DBUS_ERROR("InvalidArgs"), "command: *"},
		{"[]", DBUS_ERROR("InvalidArgs"), "command: *"},
		{"{}", DBUS_ERROR("InvalidArgs"), "command.execute: *"},
		{"{\"execute\": 5}", DBUS_ERROR("InvalidArgs"), "command.execute: *"},
		{"{\"execute\": \"stop\", \"id\": 5}", DBUS_ERROR("InvalidArgs"), "command.id: *"},
		{"{\"execute\": \"stop\", \"arguments\": 5}", DBUS_ERROR("InvalidArgs"),
			"command.arguments: *"},
		{"{\"execute\": \"stop\"} {\"execute\": \"quit\"}", DBUS_ERROR("InvalidArgs"), "command: *"},
		{"{\"exec-oob\": \"stop\"}", DBUS_ERROR("InvalidArgs"), "command.exec-oob: *"},
		{"{\"execute\": \"no-such-command\"}", ROOST_ERROR("QemuFailed"), "*no-such-command*"},
	};
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.bad_commands = true});
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, NULL);
	g_autofree char *deep = g_strnfill(4000, '['), *deeper = NULL;

	fixture_start_vm(f, web);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
		client_refused(c, web, VM, "ExecuteQMP", g_variant_new("(s)", cases[i].command),
			cases[i].error, cases[i].glob);
	deeper = g_strdup_printf("{\"execute\": \"stop\", \"arguments\": {\"a\": %s", deep);
	client_refused(c, web, VM, "ExecuteQMP", g_variant_new("(s)", deeper), DBUS_ERROR("InvalidArgs"),
		"command: *");
	client_assert_property(c, web, "State", "'running'");
}

/* A large answer passes; one that the bus would not stand is refused, and the service stays. */
static void test_large(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	g_autofree char *text = g_strnfill(1 << 20, 'x');
	g_autofree char *script = g_strdup_printf("on query-name return \"%s\"\n", text);
	g_autofree char *web = fixture_define(f, "web", script, NULL);
	g_autofree char *result = NULL;

	fixture_start_vm(f, web);
	result = execute(f, web, "{\"execute\": \"query-name\"}");
	g_assert_cmpuint(strlen(result), ==, (1 << 20) + 2);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/execute-qmp/query", test_query);
	g_test_add_func("/execute-qmp/change", test_change);
	g_test_add_func("/execute-qmp/refused", test_refused);
	g_test_add_func("/execute-qmp/large", test_large);
	return g_test_run();
}
