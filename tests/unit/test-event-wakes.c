/*
 * Which events wake an operation that waits for them, by which key: each row of class W. One of another key
 * passes it by.
 */
#include <string.h>

#include "world.h"

static EventId wanted;
static const char *wanted_key;

static bool run_wait(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	return operation_execute_and_wait(op, "system_reset", NULL, wanted, wanted_key, error);
}

static const OperationType operation_test = {"Test", VM_LANE_QMP, DEADLINE_COMMAND, true, run_wait, NULL};

/* `other`: the same event of another key; NULL: it has none. */
static const struct {
	const char *name, *data, *key, *other;
} rows[] = {
	{"SHUTDOWN", "{\"guest\": false, \"reason\": \"host-qmp-quit\"}"},
	{"RESET", "{\"guest\": true, \"reason\": \"guest-reset\"}"},
	{"SUSPEND", NULL},
	{"WAKEUP", NULL},
	{"SUSPEND_DISK", NULL},
	{"WATCHDOG", "{\"action\": \"none\"}", "none", "{\"action\": \"debug\"}"},
	{"JOB_STATUS_CHANGE", "{\"id\": \"a\", \"status\": \"ready\"}", "a",
		"{\"id\": \"b\", \"status\": \"ready\"}"},
	{"BLOCK_JOB_READY", "{\"device\": \"a\", \"type\": \"mirror\"}", "a",
		"{\"device\": \"b\", \"type\": \"mirror\"}"},
	{"BLOCK_JOB_PENDING", "{\"id\": \"a\", \"type\": \"mirror\"}", "a",
		"{\"id\": \"b\", \"type\": \"mirror\"}"},
	{"BLOCK_JOB_COMPLETED", "{\"device\": \"a\"}", "a", "{\"device\": \"b\"}"},
	{"BLOCK_JOB_CANCELLED", "{\"device\": \"a\"}", "a", "{\"device\": \"b\"}"},
	{"BLOCK_EXPORT_DELETED", "{\"id\": \"a\"}", "a", "{\"id\": \"b\"}"},
	/* As of a virtio disk, whose backend has no name. */
	{"DEVICE_DELETED", "{\"device\": \"d\", \"path\": \"/a\"}", "/a",
		"{\"path\": \"/a/virtio-backend\"}"},
	{"DEVICE_UNPLUG_GUEST_ERROR", "{\"path\": \"/a\"}", "/a", "{\"device\": \"d\", \"path\": \"/b\"}"},
	{"MEM_UNPLUG_ERROR", "{\"device\": \"a\", \"msg\": \"\"}", "a", "{\"device\": \"b\", \"msg\": \"\"}"},
	{"ACPI_DEVICE_OST", "{\"info\": {\"slot\": \"0\", \"slot-type\": \"DIMM\", \"source\": 3}}", NULL,
		NULL},
	{"DEVICE_TRAY_MOVED", "{\"device\": \"\", \"id\": \"a\", \"tray-open\": true}", "a",
		"{\"device\": \"\", \"id\": \"b\", \"tray-open\": true}"},
	{"MIGRATION", "{\"status\": \"completed\"}", "completed", "{\"status\": \"active\"}"},
	{"DUMP_COMPLETED", "{\"result\": {\"status\": \"completed\"}}"},
	{"MEMORY_DEVICE_SIZE_CHANGE", "{\"qom-path\": \"/a\", \"size\": 1}", "/a",
		"{\"qom-path\": \"/b\", \"size\": 1}"},
	{"VSERPORT_CHANGE", "{\"id\": \"a\", \"open\": true}", "a", "{\"id\": \"b\", \"open\": true}"},
	{"SPICE_MIGRATE_COMPLETED", NULL},
	{"PR_MANAGER_STATUS_CHANGED", "{\"id\": \"a\", \"connected\": true}", "a",
		"{\"id\": \"b\", \"connected\": true}"},
};

/* Nothing that was said before is on its way any more. */
static void fence(World *world, Guest *guest) ON_BUS_THREAD
{
	static unsigned n;
	g_autofree char *name = g_strdup_printf("FENCE_%u_", ++n);

	guest_event(guest, name, NULL);
	WORLD_UNTIL(world, guest_log_has(guest, name));
}

static Call *begin_wait(World *world, Guest *guest, EventId id, const char *key, const char *other)
	ON_BUS_THREAD
{
	Call *call;
	uint64_t command_id;

	wanted = id;
	wanted_key = key;
	call = world_call(guest, &operation_test);
	command_id = guest_expect(guest, "system_reset");
	if (other)
		guest_event(guest, event_row(id)->name, other);
	guest_return(guest, command_id, "{}");
	fence(world, guest);
	g_assert_cmpuint(call->n_replies, ==, 0);
	return call;
}

static void test_wakes(void) ON_BUS_THREAD
{
	World *world = world_new(NULL);
	Guest *guest = guest_new(world, "vm", NULL);

	guest_boot(guest);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		EventId id = event_id_from_name(rows[i].name, strlen(rows[i].name));
		const EventRow *row = event_row(id);
		g_autofree char *key = NULL;
		Call *call;

		g_test_message("%s", rows[i].name);
		g_assert_true(row->wakes);
		/* By how its row has it, "none" for those of one of their kind. */
		if (rows[i].key)
			key = g_strdup(rows[i].key);
		else if (row->keys[0])
			key = event_key(id, rows[i].data, strlen(rows[i].data));
		g_assert_true(row->keys[0] || !rows[i].key);
		call = begin_wait(world, guest, id, key, rows[i].other);
		guest_event(guest, rows[i].name, rows[i].data);
		world_expect_ok(world, call);
	}
	world_free(world);
}

/* No row of class W without a line. For the others there is no waiting: an operation that tried would fail an
 * assertion. */
static void test_all(void)
{
	for (unsigned id = 0; id < EVENT_ID_MAX; id++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(rows) && strcmp(rows[i].name, event_row((EventId)id)->name) != 0)
			i++;
		g_assert_cmpint(event_row((EventId)id)->wakes, ==, i < G_N_ELEMENTS(rows));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/event-wakes/wakes", test_wakes);
	g_test_add_func("/event-wakes/all", test_all);
	return g_test_run();
}
