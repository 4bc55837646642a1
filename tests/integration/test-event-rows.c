/*
 * Each row of the event table, filed by the stand-in: its class, its key, its counts, its order, and what it
 * does to the state.
 *
 * A burst is four events of one name whose `tag` is 1 to 4, and then one that ends it. A case says how it
 * comes out: "2 4*3" is the event with tag 2, and then that with tag 4, which stands for three. A batch may
 * be cut in two on its way, so that less is merged: then the burst is sent again. What is merged wrongly
 * never comes out right, and counts, order and state are looked at each time.
 */
#include <string.h>

#include "fixture.h"
#include "vm/event-table.h"

#define END    "{\"event\": \"X_END\"}"
#define STOP   "{\"event\": \"STOP\"}"
#define N_TAGS 4U
#define TRIES  20U

/* What comes out of four, by class; keyed ones get the keys x y x x. */
#define LAST_KEYED  "2 4*3"
#define LAST_ALONE  "4*4"
#define COUNT_KEYED "2 4*3"
#define COUNT_ALONE "4*4"
#define EACH        "1 2 3 4"
#define FIRST_KEYED "1 2 4*2"
#define FIRST_ALONE "1 4*3"
/* Of class S: one that took in the second x would pass y. */
#define STATE_KEYED "1 2 4*2"

typedef struct Case {
	const char *name;
	const char *x, *y; /* members of `data`; y NULL: as x */
	const char *expected;
	const char *state, *reason; /* NULL: running, as before */
	const char *before, *after; /* events around the burst */
} Case;

/* clang-format off */
static const Case cases[] = {
	{"SHUTDOWN", "\"guest\": true, \"reason\": \"guest-shutdown\"", NULL, EACH, "off", "guest"},
	{"SHUTDOWN", "\"guest\": true, \"reason\": \"guest-panic\"", NULL, EACH, "off", "panic"},
	{"RESET", "\"guest\": true, \"reason\": \"guest-reset\"", NULL, COUNT_ALONE},
	{"STOP", "", NULL, COUNT_ALONE, "paused", "user"},
	{"RESUME", "", NULL, COUNT_ALONE, "running", "user", .before = STOP},
	{"POWERDOWN", "", NULL, COUNT_ALONE},
	{"SUSPEND", "", NULL, COUNT_ALONE, "suspended", "guest"},
	{"SUSPEND_DISK", "", NULL, COUNT_ALONE},
	{"WAKEUP", "", NULL, COUNT_ALONE, "running", "guest", .before = "{\"event\": \"SUSPEND\"}"},
	{"WATCHDOG", "\"action\": \"pause\"", "\"action\": \"none\"", STATE_KEYED},
	{"WATCHDOG", "\"action\": \"pause\"", NULL, COUNT_ALONE, "paused", "watchdog", .after = STOP},
	{"WATCHDOG", "\"action\": \"none\"", NULL, COUNT_ALONE, "paused", "user", .after = STOP},
	{"GUEST_PANICKED", "\"action\": \"run\"", NULL, FIRST_ALONE},
	{"GUEST_PANICKED", "\"action\": \"pause\"", NULL, FIRST_ALONE, "paused", "panic", .after = STOP},
	{"GUEST_CRASHLOADED", "\"action\": \"run\"", NULL, COUNT_ALONE},
	{"MEMORY_FAILURE", "\"recipient\": \"hypervisor\", \"action\": \"ignore\"",
		"\"recipient\": \"guest\", \"action\": \"ignore\"", FIRST_KEYED},
	{"MEMORY_FAILURE", "\"recipient\": \"guest\", \"action\": \"ignore\"",
		"\"recipient\": \"guest\", \"action\": \"inject\"", FIRST_KEYED},
	{"BLOCK_IO_ERROR", "\"device\": \"\", \"node-name\": \"a\", \"operation\": \"read\", \"action\": \"report\"",
		"\"device\": \"\", \"node-name\": \"b\", \"operation\": \"read\", \"action\": \"report\"", STATE_KEYED},
	{"BLOCK_IO_ERROR", "\"device\": \"a\", \"node-name\": \"1\", \"operation\": \"read\", \"action\": \"report\"",
		"\"device\": \"a\", \"node-name\": \"2\", \"operation\": \"read\", \"action\": \"report\"", COUNT_ALONE},
	{"BLOCK_IO_ERROR", "\"device\": \"a\", \"operation\": \"read\", \"action\": \"report\"",
		"\"device\": \"a\", \"operation\": \"write\", \"action\": \"report\"", STATE_KEYED},
	{"BLOCK_IO_ERROR", "\"device\": \"a\", \"operation\": \"read\", \"action\": \"stop\"",
		"\"device\": \"a\", \"operation\": \"read\", \"action\": \"report\"", STATE_KEYED,
		"paused", "io-error", .after = STOP},
	{"BLOCK_IO_ERROR", "\"device\": \"a\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true", NULL,
		COUNT_ALONE, "paused", "no-space", .after = STOP},
	{"BLOCK_IO_ERROR", "\"device\": \"a\", \"operation\": \"write\", \"action\": \"report\"", NULL,
		COUNT_ALONE, "paused", "user", .after = STOP},
	{"BLOCK_IMAGE_CORRUPTED", "\"device\": \"\", \"fatal\": true", NULL, EACH},
	{"BLOCK_WRITE_THRESHOLD", "\"node-name\": \"a\"", "\"node-name\": \"b\"", EACH},
	{"JOB_STATUS_CHANGE", "\"id\": \"a\", \"status\": \"running\"", "\"id\": \"b\", \"status\": \"running\"", LAST_KEYED},
	{"BLOCK_JOB_READY", "\"device\": \"a\", \"type\": \"mirror\"", "\"device\": \"b\", \"type\": \"mirror\"", LAST_KEYED},
	{"BLOCK_JOB_PENDING", "\"id\": \"a\", \"type\": \"mirror\"", "\"id\": \"b\", \"type\": \"mirror\"", LAST_KEYED},
	{"BLOCK_JOB_COMPLETED", "\"device\": \"a\"", "\"device\": \"b\"", EACH},
	{"BLOCK_JOB_CANCELLED", "\"device\": \"a\"", "\"device\": \"b\"", EACH},
	{"BLOCK_JOB_ERROR", "\"device\": \"a\", \"operation\": \"read\"", "\"device\": \"a\", \"operation\": \"write\"",
		COUNT_KEYED},
	{"BLOCK_JOB_ERROR", "\"device\": \"a\", \"operation\": \"read\"", "\"device\": \"b\", \"operation\": \"read\"",
		COUNT_KEYED},
	{"BLOCK_EXPORT_DELETED", "\"id\": \"a\"", "\"id\": \"b\"", EACH},
	{"DEVICE_DELETED", "\"path\": \"/a\"", "\"path\": \"/b\"", EACH},
	{"DEVICE_UNPLUG_GUEST_ERROR", "\"path\": \"/a\"", "\"path\": \"/b\"", EACH},
	{"MEM_UNPLUG_ERROR", "\"device\": \"a\", \"msg\": \"\"", "\"device\": \"b\", \"msg\": \"\"", EACH},
	{"ACPI_DEVICE_OST", "\"info\": {\"slot\": \"0\", \"slot-type\": \"DIMM\", \"source\": 1, \"status\": 0}",
		"\"info\": {\"slot\": \"1\", \"slot-type\": \"DIMM\", \"source\": 1, \"status\": 0}", LAST_KEYED},
	{"ACPI_DEVICE_OST", "\"info\": {\"slot\": \"0\", \"slot-type\": \"DIMM\", \"source\": 1, \"status\": 0}",
		"\"info\": {\"slot\": \"0\", \"slot-type\": \"CPU\", \"source\": 1, \"status\": 0}", LAST_KEYED},
	{"DEVICE_TRAY_MOVED", "\"id\": \"a\", \"device\": \"\", \"tray-open\": true",
		"\"id\": \"b\", \"device\": \"\", \"tray-open\": true", LAST_KEYED},
	{"MIGRATION", "\"status\": \"setup\"", "\"status\": \"active\"", STATE_KEYED},
	{"MIGRATION_PASS", "\"pass\": 1", "\"pass\": 2", LAST_ALONE},
	{"UNPLUG_PRIMARY", "\"device-id\": \"a\"", "\"device-id\": \"b\"", EACH},
	{"FAILOVER_NEGOTIATED", "\"device-id\": \"a\"", "\"device-id\": \"b\"", EACH},
	{"COLO_EXIT", "\"mode\": \"primary\", \"reason\": \"request\"", NULL, EACH},
	{"DUMP_COMPLETED", "\"result\": {\"status\": \"completed\", \"completed\": 1, \"total\": 1}", NULL, EACH},
	{"BALLOON_CHANGE", "\"actual\": 1", "\"actual\": 2", LAST_ALONE},
	{"MEMORY_DEVICE_SIZE_CHANGE", "\"qom-path\": \"/a\", \"size\": 1", "\"qom-path\": \"/b\", \"size\": 1", LAST_KEYED},
	{"RTC_CHANGE", "\"offset\": 1, \"qom-path\": \"/a\"", NULL, LAST_ALONE},
	{"VSERPORT_CHANGE", "\"id\": \"a\", \"open\": true", "\"id\": \"b\", \"open\": true", LAST_KEYED},
	{"NIC_RX_FILTER_CHANGED", "\"path\": \"/a\"", "\"path\": \"/b\"", LAST_KEYED},
#define VIEWER(host) "\"server\": {\"host\": \"s\"}, \"client\": {\"host\": \"" host "\", \"service\": \"1\"}"
	{"SPICE_CONNECTED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"SPICE_INITIALIZED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"SPICE_DISCONNECTED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"SPICE_MIGRATE_COMPLETED", "", NULL, EACH},
	{"VNC_CONNECTED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"VNC_INITIALIZED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"VNC_DISCONNECTED", VIEWER("a"), VIEWER("b"), FIRST_KEYED},
	{"NETDEV_STREAM_CONNECTED", "\"netdev-id\": \"a\"", "\"netdev-id\": \"b\"", LAST_KEYED},
	{"NETDEV_STREAM_DISCONNECTED", "\"netdev-id\": \"a\"", "\"netdev-id\": \"b\"", LAST_KEYED},
	{"PR_MANAGER_STATUS_CHANGED", "\"id\": \"a\", \"connected\": true", "\"id\": \"b\", \"connected\": true", LAST_KEYED},
	{"RDMA_GID_STATUS_CHANGED", "\"netdev\": \"a\"", "\"netdev\": \"b\"", LAST_KEYED},
	{"QUORUM_FAILURE", "\"reference\": \"a\"", "\"reference\": \"b\"", COUNT_KEYED},
	{"QUORUM_REPORT_BAD", "\"node-name\": \"a\"", "\"node-name\": \"b\"", COUNT_KEYED},
	{"VFU_CLIENT_HANGUP", "\"dev-id\": \"a\"", "\"dev-id\": \"b\"", EACH},
	{"SOMETHING_NEW", "\"a\": 1", "\"a\": 2", EACH},
};
/* clang-format on */

static char *make_script(const Case *row)
{
	GString *script = g_string_new("on query-name return {}\n");

	if (row->before)
		g_string_append_printf(script, "on query-name event %s\n", row->before);
	for (unsigned tag = 1; tag <= N_TAGS; tag++) {
		const char *members = tag == 2 && row->y ? row->y : row->x;

		g_string_append_printf(script,
			"on query-name event {\"event\": \"%s\", \"data\": {%s%s\"tag\": %u}}\n", row->name,
			members, *members ? ", " : "", tag);
	}
	if (row->after)
		g_string_append_printf(script, "on query-name event %s\n", row->after);
	g_string_append(script, "on query-name event " END "\n");
	return g_string_free(script, FALSE);
}

/* What has come of this name between two positions, "1 4*3"; *ret_total: the sum of its counts. */
static char *read_burst(Client *c, const Case *row, gsize from, gsize to, const char *path, guint *ret_total)
{
	GString *text = g_string_new(NULL);
	gint64 last_tag = 0;

	*ret_total = 0;
	for (gsize i = client_find(c, from, to, path, "Event", NULL); i < to;
		i = client_find(c, i + 1, to, path, "Event", NULL)) {
		g_autoptr(GVariant) data = NULL;
		const char *name, *origin;
		gint64 tag;
		guint count;

		g_variant_get(g_dbus_message_get_body(client_message(c, i)), "(t&sutttsa{sv})", NULL, &name,
			&count, NULL, NULL, NULL, NULL, NULL);
		g_variant_get_child(g_dbus_message_get_body(client_message(c, i)), 6, "&s", &origin);
		data = g_variant_get_child_value(g_dbus_message_get_body(client_message(c, i)), 7);
		if (!g_str_equal(name, row->name) || !g_variant_lookup(data, "tag", "x", &tag))
			continue;
		g_assert_cmpstr(origin, ==, "qemu");
		/* Each stands where its last one came. */
		g_assert_cmpint(tag, >, last_tag);
		last_tag = tag;
		*ret_total += count;
		g_string_append_printf(text, "%s%" G_GINT64_FORMAT, text->len > 0 ? " " : "", tag);
		if (count > 1)
			g_string_append_printf(text, "*%u", count);
	}
	return g_string_free(text, FALSE);
}

/* Whether it came out as it should. */
static bool run_burst(Fixture *f, const Case *row, const char *path)
{
	static const char command[] = "{\"execute\": \"query-name\"}";
	g_autofree char *state = g_strdup_printf("'%s'", row->state ? row->state : "running"),
			*reason = g_strdup_printf("'%s'", row->reason ? row->reason : "user"), *text = NULL;
	Client *c = f->client;
	gsize mark, end;
	guint total;

	fixture_start_vm(f, path);
	mark = client_mark(c);
	client_do(c, path, VM, "ExecuteQMP", g_variant_new("(s)", command));
	end = client_await(c, mark, path, "Event", "(*, 'X_END', *");
	text = read_burst(c, row, mark, end, path, &total);
	g_assert_cmpuint(total, ==, N_TAGS);
	/* QEMU is told to quit then, and does. */
	if (strcmp(state, "'off'") == 0)
		client_await_property(c, path, "State", state);
	client_assert_property(c, path, "State", state);
	client_assert_property(c, path, "StateReason", reason);
	client_assert_property(c, path, "Responsive", "true");
	if (strcmp(state, "'off'") != 0)
		client_do(c, path, VM, "Kill", NULL);
	g_test_message("%s: %s", row->name, text);
	return strcmp(text, row->expected) == 0;
}

static void test_rows(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *name = g_strdup_printf("row%u", (unsigned)i),
				*script = make_script(&cases[i]);
		g_autofree char *path = fixture_define(f, name, script, NULL);
		unsigned n = 1;

		while (!run_burst(f, &cases[i], path))
			if (++n > TRIES)
				g_error("%s: should be %s", cases[i].name, cases[i].expected);
		client_do(f->client, path, VM, "Undefine", fixture_no_options());
	}
}

/* No row without a case. */
static void test_all(void)
{
	for (unsigned id = 0; id < EVENT_UNKNOWN; id++) {
		const char *name = event_row((EventId)id)->name;
		gsize i = 0;

		while (i < G_N_ELEMENTS(cases) && strcmp(cases[i].name, name) != 0)
			i++;
		if (i == G_N_ELEMENTS(cases))
			g_error("%s: has no case", name);
	}
}

/* What says why QEMU ends comes before its end. */
static void test_exit(void)
{
	static const struct {
		const char *event, *code, *state, *reason;
	} rows[] = {
		{"{\"event\": \"WATCHDOG\", \"data\": {\"action\": \"poweroff\"}}", "0", "'off'",
			"'watchdog'"},
		{"{\"event\": \"WATCHDOG\", \"data\": {\"action\": \"none\"}}", "3", "'crashed'",
			"'qemu-exit'"},
		{"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"poweroff\"}}", "0", "'off'",
			"'panic'"},
		{"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-signal\"}}", "3",
			"'off'", "'qemu-exit'"},
		{"{\"event\": \"SOMETHING_NEW\"}", "0", "'off'", "'qemu-exit'"},
		{"{\"event\": \"SOMETHING_NEW\"}", "3", "'crashed'", "'qemu-exit'"},
	};
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *name = g_strdup_printf("exit%u", (unsigned)i);
		/* It dies a moment after the event, so that this is out. */
		g_autofree char *script = g_strdup_printf(
			"on query-name event %s\non query-name delay 1\non query-name exit %s\n",
			rows[i].event, rows[i].code);
		g_autofree char *path = fixture_define(f, name, script, NULL);
		g_autofree char *glob =
			g_strdup_printf("(*, 'EXIT', 1, *, 'roost', {*'code': <int64 %s>*", rows[i].code);
		gsize mark, exit;

		fixture_start_vm(f, path);
		mark = client_mark(c);
		client_send(c, path, VM, "ExecuteQMP", g_variant_new("(s)", "{\"execute\": \"query-name\"}"));
		exit = client_await(c, mark, path, "Event", glob);
		g_assert_cmpuint(client_find(c, mark, exit, path, "Event", "(*, 1, *, 'qemu', *"), <, exit);
		client_await_property(c, path, "State", rows[i].state);
		client_assert_property(c, path, "StateReason", rows[i].reason);
		client_assert_property(c, path, "PID", "uint32 0");
	}
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/event-rows/all", test_all);
	g_test_add_func("/event-rows/rows", test_rows);
	g_test_add_func("/event-rows/exit", test_exit);
	return g_test_run();
}
