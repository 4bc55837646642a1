/*
 * What QEMU's devices have to tell, and are asked: the agent's port, receive filters of NICs. tests/engine/
 * has the world.
 */
#include <signal.h>

#include "world.h"

static World *world;
static Guest *guest;

static void end(void) ON_BUS_THREAD
{
	world_free(world);
}

/* ---- the agent's port ---- */
static void add_agent(GVariantDict *dict)
{
	g_variant_dict_insert(dict, "Agent", "b", TRUE);
}

static void test_agent(void) ON_BUS_THREAD
{
	world = world_new(NULL);
	guest = guest_new(world, "vm", add_agent);
	guest_boot(guest);
	g_assert_false(guest->view->agent_connected);
	guest_event(guest, "VSERPORT_CHANGE", "{\"id\": \"other\", \"open\": true}");
	WORLD_UNTIL(world, guest_log_has(guest, "VSERPORT_CHANGE"));
	g_assert_false(guest->view->agent_connected);
	guest_event(guest, "VSERPORT_CHANGE", "{\"id\": \"agent\", \"open\": true}");
	WORLD_UNTIL(world, guest->view->agent_connected);
	guest_event(guest, "VSERPORT_CHANGE", "{\"id\": \"agent\", \"open\": false}");
	WORLD_UNTIL(world, !guest->view->agent_connected);
	/* What was not heard is asked for, and told; garbage is no news. */
	guest_hang_up(guest);
	guest_accept(guest);
	guest_handshake(guest);
	g_string_truncate(guest->log, 0);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"running\"}");
	guest_return(guest, guest_expect(guest, "query-chardev"),
		"[{\"label\": \"qmp\", \"frontend-open\": false}, 3, {\"label\": 5}, {\"label\": \"agent\", "
		"\"frontend-open\": true, \"filename\": \"unix:x\"}]");
	WORLD_UNTIL(world, guest->view->agent_connected);
	guest_expect_log(guest, "VSERPORT_CHANGE@resync");
	/* It ends with QEMU. */
	guest_die(guest, SIGKILL);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_false(guest->view->agent_connected);
	end();
}

/* ---- NICs' receive filters ---- */
static void add_nic(GVariantDict *dict)
{
	g_variant_dict_insert_value(dict, "NICs", g_variant_new_parsed("[@a{sv} {}]"));
}

/* A NIC that has told of a change is silent until it is asked. That is done at a limited rate, one question
 * at a time, and the answer is nobody's: nothing else is asked because of it. */
static void test_filter(void) ON_BUS_THREAD
{
	uint64_t id;

	world = world_new(NULL);
	guest = guest_new(world, "vm", add_nic);
	guest_boot(guest);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 10; k++)
			guest_event(
				guest, "NIC_RX_FILTER_CHANGED", "{\"name\": \"nic-nic0\", \"path\": \"/x\"}");
		id = guest_expect(guest, "query-rx-filter");
		guest_return(guest, id, "[{\"name\": \"nic-nic0\"}]");
	}
	/* What was told while nobody listened: it is asked when somebody does again. */
	guest_hang_up(guest);
	guest_accept(guest);
	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), "{\"status\": \"running\"}");
	guest_return(guest, guest_expect(guest, "query-rx-filter"), "[]");
	end();
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine-devices/agent", test_agent);
	g_test_add_func("/engine-devices/filter", test_filter);
	return g_test_run();
}
