/*
 * What happens to a VM, and what is seen of it: the guest stops, goes on, powers off, is asked to; QEMU ends;
 * definitions change. tests/engine/ has the world; test-engine.c the way of one method.
 */
#include <signal.h>
#include <string.h>

#include "util/clock.h"
#include "world.h"

static World *world;
static Guest *guest;

static void begin(void) ON_BUS_THREAD
{
	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	guest_boot(guest);
}

static void end(void) ON_BUS_THREAD
{
	world_free(world);
}

/* ---- the guest stops ---- */
static const struct {
	const char *event, *data;
	VmReason reason;
} stops[] = {
	{NULL, NULL, VM_REASON_USER},
	{"BLOCK_IO_ERROR",
		"{\"device\": \"d\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": false}",
		VM_REASON_IO_ERROR},
	{"BLOCK_IO_ERROR",
		"{\"device\": \"d\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true}",
		VM_REASON_NO_SPACE},
	{"BLOCK_IO_ERROR", "{\"device\": \"d\", \"operation\": \"write\", \"action\": \"report\"}",
		VM_REASON_USER},
	{"WATCHDOG", "{\"action\": \"pause\"}", VM_REASON_WATCHDOG},
	{"WATCHDOG", "{\"action\": \"none\"}", VM_REASON_USER},
	{"GUEST_PANICKED", "{\"action\": \"pause\"}", VM_REASON_PANIC},
	{"GUEST_PANICKED", "{\"action\": \"run\"}", VM_REASON_USER},
};

static void test_stop_reasons(void) ON_BUS_THREAD
{
	begin();
	for (unsigned i = 0; i < G_N_ELEMENTS(stops); i++) {
		/* A reason serves one stop: each round would show that of the one before. */
		if (stops[i].event)
			guest_event(guest, stops[i].event, stops[i].data);
		guest_event(guest, "STOP", NULL);
		WORLD_UNTIL(world, guest->view->state == VM_STATE_PAUSED);
		g_assert_cmpint(guest->view->reason, ==, stops[i].reason);
		guest_event(guest, "RESUME", NULL);
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
	}
	end();
}

static void test_suspend(void) ON_BUS_THREAD
{
	begin();
	guest_event(guest, "SUSPEND", NULL);
	guest_expect_log(guest, "running>suspended(guest) SUSPEND");
	world_expect(world, world_call(guest, &operation_resume), VM_ERROR_INVALID_STATE);
	guest_event(guest, "WAKEUP", NULL);
	guest_expect_log(guest, "Resume:InvalidState suspended>running(guest) WAKEUP");
	end();
}

static void test_guest_resets(void) ON_BUS_THREAD
{
	begin();
	guest_event(guest, "RESET", "{\"guest\": true, \"reason\": \"guest-reset\"}");
	guest_expect_log(guest, "RESET");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	end();
}

/* ---- an operation's own STOP and RESUME ---- */
static bool run_flicker(Operation *op, GError **error) NO_THREAD_SAFETY_ANALYSIS
{
	bool done;

	vm_hold_state(op->vm);
	done = operation_execute(op, "stop", NULL, NULL, error) &&
	       operation_execute(op, "snap", NULL, NULL, error) &&
	       operation_execute(op, "cont", NULL, NULL, error);
	vm_release_state(op->vm);
	return done;
}
static const OperationType flicker = {"Flicker", VM_LANE_QMP, DEADLINE_COMMAND, true, run_flicker, NULL};

static void test_hold_state(void) ON_BUS_THREAD
{
	uint64_t since_usec, id;
	Call *call;

	begin();
	since_usec = guest->view->state_since_usec;
	call = world_call(guest, &flicker);
	id = guest_expect(guest, "stop");
	guest_event(guest, "BLOCK_IO_ERROR",
		"{\"device\": \"d\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": false}");
	guest_event(guest, "STOP", NULL);
	guest_return(guest, id, "{}");
	id = guest_expect(guest, "snap");
	/* The events are out, the state is not. */
	guest_expect_log(guest, "BLOCK_IO_ERROR STOP");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_USER);
	g_assert_cmpuint(guest->view->state_since_usec, ==, since_usec);
	guest_return(guest, id, "{}");
	id = guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	/* Nothing has happened. */
	guest_expect_log(guest, "RESUME Flicker:ok");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	g_assert_cmpuint(guest->view->state_since_usec, ==, since_usec);
	end();
}

static void test_hold_state_net_change(void) ON_BUS_THREAD
{
	uint64_t id;
	Call *call;

	begin();
	call = world_call(guest, &flicker);
	id = guest_expect(guest, "stop");
	guest_event(guest, "STOP", NULL);
	guest_return(guest, id, "{}");
	guest_fail(guest, guest_expect(guest, "snap"), "no");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	guest_expect_log(guest, "STOP running>paused(user) Flicker:QemuFailed");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_PAUSED);
	end();
}

static void test_hold_state_and_exit(void) ON_BUS_THREAD
{
	Call *call;

	begin();
	call = world_call(guest, &flicker);
	guest_expect(guest, "stop");
	guest_event(guest, "STOP", NULL);
	guest_die(guest, SIGABRT);
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_CRASHED);
	end();
}

/* ---- the guest powers off ---- */
static void test_guest_powers_off(void) ON_BUS_THREAD
{
	begin();
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_event(guest, "STOP", NULL);
	/* QEMU runs with -no-shutdown: Roost ends it. */
	guest_return(guest, guest_expect(guest, "quit"), "{}");
	guest_event(guest, "SHUTDOWN", "{\"guest\": false, \"reason\": \"host-qmp-quit\"}");
	guest_expect_log(guest, "running>stopping(guest) SHUTDOWN STOP SHUTDOWN");
	guest_exit(guest, 0);
	guest_expect_log(guest, "stopping>off(guest) EXIT@roost");
	g_assert_true(guest->view->last_exit.has_code);
	g_assert_cmpint(guest->view->last_exit.code, ==, 0);
	g_assert_cmpint(guest->view->last_exit.reason, ==, VM_REASON_GUEST);
	end();
}

static void shut_down(OperationArgs args) ON_BUS_THREAD
{
	Call *call = world_call_with(guest, &operation_shutdown, args);
	uint64_t id = guest_expect(guest, "system_powerdown");

	guest_event(guest, "POWERDOWN", NULL);
	guest_expect_log(guest, "POWERDOWN");
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	guest_expect_log(guest, "running>stopping(user) Shutdown:ok");
}

static void test_shutdown(void) ON_BUS_THREAD
{
	begin();
	shut_down((OperationArgs){0});
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_return(guest, guest_expect(guest, "quit"), "{}");
	guest_exit(guest, 0);
	guest_expect_log(guest, "SHUTDOWN stopping>off(user) EXIT@roost");
	end();
}

static void test_shutdown_of_a_quick_guest(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin();
	call = world_call(guest, &operation_shutdown);
	id = guest_expect(guest, "system_powerdown");
	/* Off before the answer is read. */
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_return(guest, id, "{}");
	guest_exit(guest, 0);
	world_expect_ok(world, call);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_USER);
	end();
}

static void test_shutdown_timeout(void) ON_BUS_THREAD
{
	begin();
	shut_down((OperationArgs){.shutdown = {.has_timeout = true, .timeout_usec = 20 * USEC_PER_MSEC}});
	/* A guest that does not listen runs on. */
	guest_expect_log(guest, "stopping>running(shutdown-timeout)");
	/* What it does later is its own. */
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_expect(guest, "quit");
	guest_expect_log(guest, "running>stopping(guest) SHUTDOWN");
	end();
}

static void test_shutdown_force(void) ON_BUS_THREAD
{
	begin();
	shut_down((OperationArgs){
		.shutdown = {.has_timeout = true, .timeout_usec = 20 * USEC_PER_MSEC, .force = true}});
	guest_expect_log(guest, "stopping>off(killed) EXIT@roost");
	end();
}

static void test_shutdown_replaced(void) ON_BUS_THREAD
{
	Call *call;

	begin();
	shut_down((OperationArgs){.shutdown = {.has_timeout = true, .timeout_usec = 3600 * USEC_PER_SEC}});
	/* A second one sets another time. */
	call = world_call_with(guest, &operation_shutdown,
		(OperationArgs){.shutdown = {.has_timeout = true, .timeout_usec = 20 * USEC_PER_MSEC}});
	guest_return(guest, guest_expect(guest, "system_powerdown"), "{}");
	world_expect_ok(world, call);
	guest_expect_log(guest, "Shutdown:ok stopping>running(shutdown-timeout)");
	end();
}

static void test_quit_not_obeyed(void) ON_BUS_THREAD
{
	begin();
	/* From here on by a clock of the test's own, long past in real time: timers are always due. */
	clock_set_fake(USEC_PER_SEC, 0);
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_expect(guest, "quit");
	guest_expect_log(guest, "running>stopping(guest) SHUTDOWN");
	clock_set_fake(USEC_PER_SEC + ENGINE_QUIT_USEC + 1, 0);
	guest_expect_log(guest, "stopping>off(guest) EXIT@roost");
	g_assert_cmpint(guest->view->last_exit.signal, ==, SIGKILL);
	end();
}

/* ---- Reboot ---- */
static void ask_for_reboot(void) ON_BUS_THREAD
{
	Call *call = world_call(guest, &operation_reboot);

	guest_return(guest, guest_expect(guest, "system_powerdown"), "{}");
	world_expect_ok(world, call);
	guest_expect_log(guest, "running>stopping(user) Reboot:ok");
}

static void test_reboot_by_power_off(void) ON_BUS_THREAD
{
	uint64_t id;

	begin();
	ask_for_reboot();
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_event(guest, "STOP", NULL);
	id = guest_expect(guest, "system_reset");
	guest_event(guest, "RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
	guest_expect_log(guest, "stopping>paused(user) SHUTDOWN STOP RESET");
	guest_return(guest, id, "{}");
	/* A look that comes in between (each unawaited answer causes one) changes nothing. */
	for (;;) {
		g_autofree char *command = NULL;

		WORLD_UNTIL(world, (command = guest_hear(guest, &id)));
		if (strcmp(command, "cont") == 0)
			break;
		g_assert_cmpstr(command, ==, "query-status");
		guest_return(guest, id, "{\"status\": \"prelaunch\"}");
	}
	guest_event(guest, "RESUME", NULL);
	guest_return(guest, id, "{}");
	WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
	guest_expect_log(guest, "paused>running(user) RESUME");
	g_assert_cmpuint(guest->view->pid, !=, 0);
	/* It was the same QEMU, and the next power-off is one. */
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	WORLD_UNTIL(world, guest->view->state == VM_STATE_STOPPING);
	end();
}

static void test_reboot_by_reset(void) ON_BUS_THREAD
{
	begin();
	ask_for_reboot();
	guest_event(guest, "RESET", "{\"guest\": true, \"reason\": \"guest-reset\"}");
	guest_expect_log(guest, "stopping>running(user) RESET");
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_expect_log(guest, "running>stopping(guest) SHUTDOWN");
	end();
}

/* ---- QEMU ends ---- */
static void test_exit_codes(void) ON_BUS_THREAD
{
	begin();
	guest_exit(guest, 0);
	guest_expect_log(guest, "running>off(qemu-exit) EXIT@roost");
	g_assert_cmpint(guest->view->last_exit.code, ==, 0);
	WORLD_UNTIL(world, guest_is_at_rest(guest));
	guest_boot(guest);
	guest_exit(guest, 7);
	guest_expect_log(guest, "running>crashed(qemu-exit) EXIT@roost");
	g_assert_true(guest->view->last_exit.has_code && !guest->view->last_exit.has_signal);
	g_assert_cmpint(guest->view->last_exit.code, ==, 7);
	end();
}

static void test_panic_and_power_off(void) ON_BUS_THREAD
{
	begin();
	guest_event(guest, "GUEST_PANICKED", "{\"action\": \"poweroff\"}");
	guest_expect_log(guest, "GUEST_PANICKED");
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-panic\"}");
	guest_expect(guest, "quit");
	guest_exit(guest, 0);
	guest_expect_log(guest, "running>stopping(panic) SHUTDOWN stopping>off(panic) EXIT@roost");
	end();
}

static void test_watchdog_powers_off(void) ON_BUS_THREAD
{
	begin();
	/* QEMU ends then without a SHUTDOWN. */
	guest_event(guest, "WATCHDOG", "{\"action\": \"poweroff\"}");
	guest_expect_log(guest, "WATCHDOG");
	guest_exit(guest, 0);
	guest_expect_log(guest, "running>off(watchdog) EXIT@roost");
	end();
}

static void test_start_fails(void) ON_BUS_THREAD
{
	Call *call;

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	call = guest_start(guest);
	guest_accept(guest);
	guest_handshake(guest);
	guest_fail(guest, guest_expect(guest, "cont"), "no such luck");
	world_expect(world, call, VM_ERROR_QEMU_FAILED);
	g_assert_nonnull(strstr(call->error->message, "no such luck"));
	g_assert_true(guest_log_has(guest, "off>starting(user)"));
	g_assert_true(guest_log_has(guest, "starting>off(start-failed)"));
	g_assert_true(guest_log_has(guest, "EXIT@roost"));
	g_assert_cmpint(guest->view->last_exit.reason, ==, VM_REASON_START_FAILED);
	end();
}

static void test_off_before_start_is_through(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	call = guest_start(guest);
	guest_accept(guest);
	guest_handshake(guest);
	id = guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
	guest_event(guest, "SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	guest_expect(guest, "quit");
	guest_exit(guest, 0);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_true(guest_log_has(guest, "starting>running(user)"));
	g_assert_true(guest_log_has(guest, "running>stopping(guest)"));
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_GUEST);
	end();
}

/* ---- who may do what ---- */
static void test_wrong_states(void) ON_BUS_THREAD
{
	static const OperationType *const needs_running[] = {&operation_pause, &operation_resume,
		&operation_reset, &operation_shutdown, &operation_reboot};

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(needs_running); i++) {
		Call *call = world_call(guest, needs_running[i]);

		world_expect(world, call, VM_ERROR_INVALID_STATE);
		g_assert_nonnull(strstr(call->error->message, "off"));
	}
	g_string_truncate(guest->log, 0);
	guest_boot(guest);
	world_expect(world, world_call(guest, &operation_start), VM_ERROR_INVALID_STATE);
	world_expect(world, world_call(guest, &operation_undefine), VM_ERROR_INVALID_STATE);
	end();
}

/* ---- definitions ---- */
typedef struct Found {
	unsigned n;
	uint64_t revision;
	bool autostart;
} Found;

static void look(Definition *definition, void *user)
{
	Found *found = user;

	found->n++;
	found->revision = definition->revision;
	found->autostart = definition->config->autostart;
}

static Found stored(void)
{
	Found found = {0};

	g_assert_cmpint(state_dir_load(world->state_dir, look, &found), ==, 0);
	return found;
}

static void test_definition(void) ON_BUS_THREAD
{
	OperationArgs on = {.set_autostart = {.autostart = true}};

	world = world_new(NULL);
	guest = guest_new(world, "vm", NULL);
	world_expect_ok(world, world_call(guest, &operation_define));
	g_assert_cmpuint(stored().n, ==, 1);
	world_expect_ok(world, world_call_with(guest, &operation_set_autostart, on));
	/* On disk, and in the view, with the reply. */
	g_assert_true(stored().autostart);
	g_assert_cmpuint(stored().revision, ==, 2);
	g_assert_true(guest->view->config->autostart);
	g_assert_cmpuint(guest->view->revision, ==, 2);
	/* Nothing to change is no change. */
	world_expect_ok(world, world_call_with(guest, &operation_set_autostart, on));
	g_assert_cmpuint(guest->view->revision, ==, 2);
	world_expect_ok(world, world_call(guest, &operation_undefine));
	g_assert_cmpuint(stored().n, ==, 0);
	g_assert_true(guest->view->gone);
	world_expect(world, world_call(guest, &operation_start), VM_ERROR_UNKNOWN_OBJECT);
	end();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine-state/stop-reasons", test_stop_reasons);
	g_test_add_func("/engine-state/suspend", test_suspend);
	g_test_add_func("/engine-state/guest-resets", test_guest_resets);
	g_test_add_func("/engine-state/hold/nothing", test_hold_state);
	g_test_add_func("/engine-state/hold/net-change", test_hold_state_net_change);
	g_test_add_func("/engine-state/hold/exit", test_hold_state_and_exit);
	g_test_add_func("/engine-state/guest-powers-off", test_guest_powers_off);
	g_test_add_func("/engine-state/shutdown/obeyed", test_shutdown);
	g_test_add_func("/engine-state/shutdown/quick-guest", test_shutdown_of_a_quick_guest);
	g_test_add_func("/engine-state/shutdown/timeout", test_shutdown_timeout);
	g_test_add_func("/engine-state/shutdown/force", test_shutdown_force);
	g_test_add_func("/engine-state/shutdown/replaced", test_shutdown_replaced);
	g_test_add_func("/engine-state/quit-not-obeyed", test_quit_not_obeyed);
	g_test_add_func("/engine-state/reboot/power-off", test_reboot_by_power_off);
	g_test_add_func("/engine-state/reboot/reset", test_reboot_by_reset);
	g_test_add_func("/engine-state/exit-codes", test_exit_codes);
	g_test_add_func("/engine-state/panic-and-power-off", test_panic_and_power_off);
	g_test_add_func("/engine-state/watchdog-powers-off", test_watchdog_powers_off);
	g_test_add_func("/engine-state/start/fails", test_start_fails);
	g_test_add_func("/engine-state/start/off-before-it-is-through", test_off_before_start_is_through);
	g_test_add_func("/engine-state/wrong-states", test_wrong_states);
	g_test_add_func("/engine-state/definition", test_definition);
	return g_test_run();
}
