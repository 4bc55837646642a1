/*
 * A QEMU that says what none should: the VM is not lost for it, roostd's memory is bounded, and another VM
 * does not notice. What can't be understood costs the connection, which is made anew.
 */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define QUERY     "{\"execute\": \"query-name\"}"
#define MIB       (1U << 20)
#define SANITIZER (1ULL << 40)

/* A line of roostd's /proc/PID/status, in bytes. */
static guint64 memory(Fixture *f, const char *field)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", f->roostd), *text = NULL;
	const char *line;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	line = strstr(text, field);
	g_assert_nonnull(line);
	return g_ascii_strtoull(line + strlen(field), NULL, 10) * 1024;
}

/* Calls until the VM is not shown as unresponsive; the call. That it was so may never have been shown: it
 * passes within a moment. */
static guint32 call_when_awake(Client *c, const char *path, const char *member, const char *arg)
{
	for (;;) {
		guint32 call = client_send(c, path, VM, member, arg ? g_variant_new("(s)", arg) : NULL);
		GDBusMessage *reply = client_message(c, client_await_reply(c, call));

		if (g_strcmp0(g_dbus_message_get_error_name(reply), ROOST_ERROR("Unresponsive")) != 0)
			return call;
		client_await_property(c, path, "Responsive", "true");
	}
}

static const struct {
	const char *name;
	const char *script;
	const char *error; /* of the call; NULL: it succeeds */
	bool stays;        /* the connection */
} rows[] = {
	{"long", "on query-name long 64\n", ROOST_ERROR("QemuFailed")},
	{"deep", "on query-name deep 100000\n", ROOST_ERROR("QemuFailed")},
	{"garbage", "on query-name garbage\n", ROOST_ERROR("QemuFailed")},
	{"cut-reply", "on query-name cut\n", ROOST_ERROR("QemuFailed")},
	{"cut-event", "on query-name cut {\"timestamp\": {\"seconds\": 1, \"micro\n",
		ROOST_ERROR("QemuFailed")},
	{"no-object", "on query-name say [1, 2]\n", ROOST_ERROR("QemuFailed")},
	{"odd-event", "on query-name say {\"event\": 5}\n", ROOST_ERROR("QemuFailed")},
	{"zero", "on query-name say \x7f\x02\n", ROOST_ERROR("QemuFailed")},
	{"split", "on query-name return {}\non query-name split 50\n", NULL, true},
	{"unknown-id",
		"on query-name return {}\non query-name say {\"return\": {\"a\": 1}, \"id\": 4000000000}\n",
		NULL, true},
	{"no-id", "on query-name return {}\non query-name say {\"return\": {\"a\": 1}}\n", NULL, true},
	{"word-id", "on query-name return {}\non query-name say {\"return\": {\"a\": 1}, \"id\": \"x\"}\n",
		NULL, true},
	{"error-id",
		"on query-name return {}\non query-name say {\"error\": {\"class\": \"GenericError\", "
		"\"desc\": "
		"\"no\"}, \"id\": 4000000000}\n",
		NULL, true},
};

static void test_row(gconstpointer data)
{
	guint row = GPOINTER_TO_UINT(data);
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", rows[row].script, NULL),
			*db = fixture_define(f, "db", NULL, NULL);
	gsize mark = client_mark(c);
	guint32 call;
	guint pid;

	fixture_start_vm(f, web);
	fixture_start_vm(f, db);
	pid = fixture_pid(f, web);
	call = client_send(c, web, VM, "ExecuteQMP", g_variant_new("(s)", QUERY));
	for (unsigned i = 0; i < 5; i++) {
		client_do(c, db, VM, "Pause", NULL);
		client_do(c, db, VM, "Resume", NULL);
	}
	if (rows[row].error)
		client_expect_error(c, call, rows[row].error, "ExecuteQMP: *");
	else
		g_variant_unref(client_result(c, call));
	g_variant_unref(client_result(c, call_when_awake(c, web, "Pause", NULL)));
	client_assert_property(c, web, "State", "'paused'");
	client_do(c, web, VM, "Resume", NULL);
	client_assert_property(c, web, "State", "'running'");
	g_assert_cmpuint(fixture_pid(f, web), ==, pid);
	if (rows[row].stays)
		g_assert_cmpuint(client_count(c, mark, client_sync(c), web, "PropertiesChanged",
					 "*'Responsive': <false>*"),
			==, 0);
	g_assert_cmpuint(
		client_count(c, mark, client_sync(c), db, "PropertiesChanged", "*'Responsive': <false>*"), ==,
		0);
	client_do(c, web, VM, "Kill", NULL);
	client_do(c, db, VM, "Kill", NULL);
}

/* It goes on and on, and each time a line of 64 MiB: what is bounded for one is bounded for many. */
static void test_memory(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on query-name long 64\n", NULL);
	guint64 before, after;

	fixture_start_vm(f, web);
	before = memory(f, "VmHWM:");
	for (unsigned i = 0; i < 3; i++) {
		guint32 call = call_when_awake(c, web, "ExecuteQMP", QUERY);

		client_expect_error(c, call, ROOST_ERROR("QemuFailed"), "ExecuteQMP: *16 MiB");
	}
	after = memory(f, "VmHWM:");
	g_test_message("%" G_GUINT64_FORMAT " MiB, then %" G_GUINT64_FORMAT, before / MIB, after / MIB);
	/* A sanitizer has terabytes of shadow, and keeps what is freed. */
	if (memory(f, "VmSize:") < SANITIZER)
		g_assert_cmpuint(after - before, <, 40 * (guint64)MIB);
	client_do(c, web, VM, "Kill", NULL);
}

/* The answer comes when its caller has gone; nobody else takes it for theirs. */
static void test_late(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.deadline_scale = 0.3});
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", "on stop delay 5000\n", NULL);

	fixture_start_vm(f, web);
	client_refused(c, web, VM, "Pause", NULL, ROOST_ERROR("Timeout"), "Pause: *");
	client_await_property(c, web, "State", "'paused'");
	client_await_property(c, web, "Responsive", "true");
	client_do(c, web, VM, "Kill", NULL);
}

/* At a rate that QEMU keeps up for long: all are counted, and methods go on. */
static void test_pace(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web",
		"pace 1000 2000 {\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}\n", NULL);
	gsize position = client_mark(c), begin = position;
	guint64 sum = 0;

	fixture_start_vm(f, web);
	while (sum < 2000) {
		guint count;

		position = client_await(c, position, web, "Event", "(*, 'GUEST_CRASHLOADED', *");
		g_variant_get(g_dbus_message_get_body(client_message(c, position++)), "(tsutttsa{sv})", NULL,
			NULL, &count, NULL, NULL, NULL, NULL, NULL);
		sum += count;
		client_do(c, web, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	}
	g_assert_cmpuint(sum, ==, 2000);
	g_assert_cmpuint(
		client_count(c, begin, client_sync(c), web, "PropertiesChanged", "*'Responsive': <false>*"),
		==, 0);
	client_do(c, web, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strconcat("/hostile-qemu/", rows[i].name, NULL);

		g_test_add_data_func(name, GUINT_TO_POINTER((guint)i), test_row);
	}
	g_test_add_func("/hostile-qemu/memory", test_memory);
	g_test_add_func("/hostile-qemu/late", test_late);
	g_test_add_func("/hostile-qemu/pace", test_pace);
	return g_test_run();
}
