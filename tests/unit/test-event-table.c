/* vm/event-table.h: each row against the rules of the design, written down a second time here; and the whole
 * table against the schema of the real QEMU, its events and the members that make their keys. */
#include <glib.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <unistd.h>

#include "util/json.h"
#include "vm/event-table.h"

#define LAST  EVENT_MERGE_LAST
#define COUNT EVENT_MERGE_COUNT
#define NEVER EVENT_MERGE_NEVER
#define FIRST EVENT_MERGE_AFTER_FIRST

/* name, class, S, W, never dropped */
static const struct {
	const char *name;
	EventMerge merge;
	bool state, wakes, never_drop;
} rules[] = {
	{"SHUTDOWN", NEVER, true, true, true},
	{"RESET", COUNT, true, true, false},
	{"STOP", COUNT, true, false, false},
	{"RESUME", COUNT, true, false, false},
	{"POWERDOWN", COUNT, false, false, false},
	{"SUSPEND", COUNT, true, true, false},
	{"SUSPEND_DISK", COUNT, true, true, false},
	{"WAKEUP", COUNT, true, true, false},
	{"WATCHDOG", COUNT, true, true, false},
	{"GUEST_PANICKED", FIRST, true, false, true},
	{"GUEST_CRASHLOADED", COUNT, false, false, false},
	{"MEMORY_FAILURE", FIRST, false, false, true},
	{"BLOCK_IO_ERROR", COUNT, true, false, true},
	{"BLOCK_IMAGE_CORRUPTED", NEVER, false, false, true},
	{"BLOCK_WRITE_THRESHOLD", NEVER, false, false, true},
	{"JOB_STATUS_CHANGE", LAST, false, true, true},
	{"BLOCK_JOB_READY", LAST, false, true, false},
	{"BLOCK_JOB_PENDING", LAST, false, true, false},
	{"BLOCK_JOB_COMPLETED", NEVER, false, true, true},
	{"BLOCK_JOB_CANCELLED", NEVER, false, true, true},
	{"BLOCK_JOB_ERROR", COUNT, false, false, false},
	{"BLOCK_EXPORT_DELETED", NEVER, false, true, true},
	{"DEVICE_DELETED", NEVER, false, true, true},
	{"DEVICE_UNPLUG_GUEST_ERROR", NEVER, false, true, true},
	{"MEM_UNPLUG_ERROR", NEVER, false, true, true},
	{"ACPI_DEVICE_OST", LAST, false, true, false},
	{"DEVICE_TRAY_MOVED", LAST, false, true, false},
	{"MIGRATION", LAST, true, true, true},
	{"MIGRATION_PASS", LAST, false, false, false},
	{"UNPLUG_PRIMARY", NEVER, false, false, false},
	{"FAILOVER_NEGOTIATED", NEVER, false, false, false},
	{"COLO_EXIT", NEVER, true, false, false},
	{"DUMP_COMPLETED", NEVER, false, true, true},
	{"BALLOON_CHANGE", LAST, false, false, false},
	{"MEMORY_DEVICE_SIZE_CHANGE", LAST, false, true, false},
	{"RTC_CHANGE", LAST, false, false, false},
	{"VSERPORT_CHANGE", LAST, false, true, false},
	{"NIC_RX_FILTER_CHANGED", LAST, false, false, false},
	{"SPICE_CONNECTED", FIRST, false, false, false},
	{"SPICE_INITIALIZED", FIRST, false, false, false},
	{"SPICE_DISCONNECTED", FIRST, false, false, false},
	{"SPICE_MIGRATE_COMPLETED", NEVER, false, true, false},
	{"VNC_CONNECTED", FIRST, false, false, false},
	{"VNC_INITIALIZED", FIRST, false, false, false},
	{"VNC_DISCONNECTED", FIRST, false, false, false},
	{"NETDEV_STREAM_CONNECTED", LAST, false, false, false},
	{"NETDEV_STREAM_DISCONNECTED", LAST, false, false, false},
	{"PR_MANAGER_STATUS_CHANGED", LAST, false, true, false},
	{"RDMA_GID_STATUS_CHANGED", LAST, false, false, false},
	{"QUORUM_FAILURE", COUNT, false, false, false},
	{"QUORUM_REPORT_BAD", COUNT, false, false, false},
	{"VFU_CLIENT_HANGUP", NEVER, false, false, false},
};

static EventId id_of(const char *name)
{
	return event_id_from_name(name, strlen(name));
}

static void test_rules(void)
{
	g_assert_cmpuint(G_N_ELEMENTS(rules), ==, EVENT_UNKNOWN);
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		EventId id = id_of(rules[i].name);
		const EventRow *row = event_row(id);

		g_test_message("%s", rules[i].name);
		g_assert_cmpint(id, !=, EVENT_UNKNOWN);
		g_assert_cmpstr(row->name, ==, rules[i].name);
		g_assert_cmpint(row->merge, ==, rules[i].merge);
		g_assert_cmpint(row->state, ==, rules[i].state);
		g_assert_cmpint(row->wakes, ==, rules[i].wakes);
		g_assert_cmpint(row->never_drop, ==, rules[i].never_drop);
		g_assert_false(row->internal);
	}
}

static void test_rows(void)
{
	for (unsigned id = 0; id < EVENT_ID_MAX; id++) {
		const EventRow *row = event_row((EventId)id);

		g_assert_nonnull(row->name);
		g_assert_cmpint(row->name[0] == '\0', ==, id == EVENT_UNKNOWN);
		for (unsigned other = 0; other < id; other++)
			g_assert_cmpstr(event_row((EventId)other)->name, !=, row->name);
		/* A key with a hole in it would end there. */
		for (unsigned i = 1; i < G_N_ELEMENTS(row->keys); i++)
			g_assert_true(!row->keys[i] || row->keys[i - 1]);
	}
}

static void test_own_rows(void)
{
	static const EventId internal[] = {
		EVENT_RESYNC_STATUS, EVENT_UNRESPONSIVE, EVENT_RESPONSIVE, EVENT_SHUTDOWN_TIMEOUT};

	for (unsigned i = 0; i < G_N_ELEMENTS(internal); i++) {
		g_assert_true(event_row(internal[i])->internal);
		g_assert_true(event_row(internal[i])->state);
	}
	g_assert_false(event_row(EVENT_EXIT)->internal);
	g_assert_true(event_row(EVENT_EXIT)->state);
	g_assert_cmpint(event_row(EVENT_EXIT)->merge, ==, EVENT_MERGE_NEVER);
	g_assert_cmpint(event_row(EVENT_UNKNOWN)->merge, ==, EVENT_MERGE_NEVER);
	g_assert_false(event_row(EVENT_UNKNOWN)->state);
	/* Nobody can be made to believe in one of our own by QEMU's saying so. */
	for (unsigned id = EVENT_UNKNOWN + 1; id < EVENT_ID_MAX; id++)
		g_assert_cmpint(id_of(event_row((EventId)id)->name), ==, EVENT_UNKNOWN);
}

static void test_lookup(void)
{
	static const char *const unknown[] = {"", "STO", "STOPP", "stop", "RESUME ", " STOP", "SPICE_",
		"VNC_CONNECTE", "XYZ", "BLOCK_JOB_COMPLETED_", "resync query-status"};

	for (unsigned i = 0; i < G_N_ELEMENTS(unknown); i++)
		g_assert_cmpint(id_of(unknown[i]), ==, EVENT_UNKNOWN);
	/* The name is a slice of a longer text. */
	g_assert_cmpint(event_id_from_name("STOPPED", 4), ==, EVENT_STOP);
	g_assert_cmpint(event_id_from_name("SUSPEND_DISK", 7), ==, EVENT_SUSPEND);
	g_assert_cmpint(event_id_from_name("SUSPEND_DISK", 12), ==, EVENT_SUSPEND_DISK);
	g_assert_cmpint(event_id_from_name("STOP\0", 5), ==, EVENT_UNKNOWN);
	g_assert_cmpint(event_id_from_name("\0\0", 2), ==, EVENT_UNKNOWN);
	g_assert_cmpint(event_id_from_name("S", 0), ==, EVENT_UNKNOWN);
}

/* ---- QEMU's own list ---- */
#define SCHEMA_MAX (16U * 1024 * 1024)

typedef struct Schema {
	JsonNode *reply;
	GHashTable *by_name; /* borrowed names -> borrowed JsonObject */
} Schema;

static JsonNode *find_schema_reply(const char *output)
{
	g_auto(GStrv) lines = g_strsplit(output, "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		JsonNode *node = NULL;

		g_strchomp(lines[i]);
		if (json_parse(lines[i], strlen(lines[i]), SCHEMA_MAX, 64, &node) < 0)
			continue;
		if (JSON_NODE_HOLDS_OBJECT(node) &&
			json_object_has_member(json_node_get_object(node), "return") &&
			JSON_NODE_HOLDS_ARRAY(json_object_get_member(json_node_get_object(node), "return")))
			return node;
		json_node_unref(node);
	}
	return NULL;
}

static bool schema_load(Schema *schema, const char *binary)
{
	static const char script[] =
		"printf '%s\\n' '{\"execute\":\"qmp_capabilities\"}' '{\"execute\":\"query-qmp-schema\"}' "
		"'{\"execute\":\"quit\"}' | \"$0\" -M none -nodefaults -display none -qmp stdio";
	const char *argv[] = {"/bin/sh", "-c", script, binary, NULL};
	g_autofree char *output = NULL;
	g_autoptr(GError) error = NULL;
	JsonArray *array;

	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, NULL, &error);
	g_assert_no_error(error);
	schema->reply = find_schema_reply(output);
	if (!schema->reply)
		return false;
	schema->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	array = json_object_get_array_member(json_node_get_object(schema->reply), "return");
	for (unsigned i = 0; i < json_array_get_length(array); i++) {
		JsonObject *object = json_array_get_object_element(array, i);

		g_hash_table_insert(
			schema->by_name, (char *)json_object_get_string_member(object, "name"), object);
	}
	return true;
}

/* The type of a member of an object type, or NULL. */
static const char *member_type(const Schema *schema, const char *type, const char *member, size_t size)
{
	JsonObject *object = g_hash_table_lookup(schema->by_name, type);
	JsonArray *members;

	if (!object || !json_object_has_member(object, "members"))
		return NULL;
	members = json_object_get_array_member(object, "members");
	for (unsigned i = 0; i < json_array_get_length(members); i++) {
		JsonObject *m = json_array_get_object_element(members, i);
		const char *name = json_object_get_string_member(m, "name");

		if (strlen(name) == size && strncmp(name, member, size) == 0)
			return json_object_get_string_member(m, "type");
	}
	return NULL;
}

static bool path_exists(const Schema *schema, const char *type, const char *path)
{
	const char *dot = strchr(path, '.');

	type = member_type(schema, type, path, dot ? (size_t)(dot - path) : strlen(path));
	return type && (!dot || member_type(schema, type, dot + 1, strlen(dot + 1)));
}

static void check_event(const Schema *schema, const char *name, const char *arg_type)
{
	const EventRow *row;

	g_test_message("%s", name);
	g_assert_cmpint(id_of(name), !=, EVENT_UNKNOWN);
	row = event_row(id_of(name));
	for (unsigned i = 0; i < G_N_ELEMENTS(row->keys) && row->keys[i]; i++) {
		g_auto(GStrv) paths = g_strsplit(row->keys[i], "|", -1);

		g_assert_nonnull(paths[0]);
		for (unsigned j = 0; paths[j]; j++)
			g_assert_true(path_exists(schema, arg_type, paths[j]));
	}
}

static void test_schema(void)
{
	const char *binary = g_getenv("ROOST_TEST_QEMU");
	Schema schema = {0};
	GHashTableIter iter;
	gpointer object;
	unsigned n = 0;

	if (!binary)
		binary = "/usr/bin/qemu-system-x86_64";
	if (access(binary, X_OK) < 0) {
		g_test_skip("there is no QEMU here");
		return;
	}
	g_assert_true(schema_load(&schema, binary));
	g_hash_table_iter_init(&iter, schema.by_name);
	while (g_hash_table_iter_next(&iter, NULL, &object)) {
		if (strcmp(json_object_get_string_member(object, "meta-type"), "event") != 0)
			continue;
		check_event(&schema, json_object_get_string_member(object, "name"),
			json_object_get_string_member(object, "arg-type"));
		n++;
	}
	g_assert_cmpuint(n, >, 0);
	/* And none that this QEMU does not have. */
	g_assert_cmpuint(n, ==, EVENT_UNKNOWN);
	g_hash_table_unref(schema.by_name);
	json_node_unref(schema.reply);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/event-table/rules", test_rules);
	g_test_add_func("/event-table/rows", test_rows);
	g_test_add_func("/event-table/own-rows", test_own_rows);
	g_test_add_func("/event-table/lookup", test_lookup);
	g_test_add_func("/event-table/schema", test_schema);
	return g_test_run();
}
