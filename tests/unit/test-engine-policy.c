/*
 * OnPowerOff, OnReboot and OnCrash, word by word: what is said to QEMU when, and what is seen of it; and what
 * becomes of them when a method comes between. tests/engine/ has the world.
 */
#include <signal.h>

#include "util/clock.h"
#include "world.h"

static World *world;
static Guest *guest;

static const char *power_off_word, *reboot_word, *crash_word;

static void add_policies(GVariantDict *dict)
{
	if (power_off_word)
		g_variant_dict_insert(dict, "OnPowerOff", "s", power_off_word);
	if (reboot_word)
		g_variant_dict_insert(dict, "OnReboot", "s", reboot_word);
	if (crash_word)
		g_variant_dict_insert(dict, "OnCrash", "s", crash_word);
}

static void begin(const char *power_off, const char *reboot, const char *crash) ON_BUS_THREAD
{
	power_off_word = power_off;
	reboot_word = reboot;
	crash_word = crash;
	world = world_new(NULL);
	guest = guest_new(world, "vm", add_policies);
	guest_boot(guest);
}

static void end(void) ON_BUS_THREAD
{
	world_free(world);
}

static void power_off(const char *reason)
{
	g_autofree char *data = g_strdup_printf("{\"guest\": true, \"reason\": \"%s\"}", reason);

	guest_event(guest, "SHUTDOWN", data);
	guest_event(guest, "STOP", NULL);
}

static void panic(void) ON_BUS_THREAD
{
	guest_event(guest, "GUEST_PANICKED", "{\"action\": \"pause\"}");
	WORLD_UNTIL(world, guest_log_has(guest, "GUEST_PANICKED"));
	guest_event(guest, "STOP", NULL);
}

/* What QEMU makes of system_reset and cont. Answers that nobody waits for make Roost look at the state. */
static void reset_and_go_on(void) ON_BUS_THREAD
{
	guest_expect(guest, "system_reset");
	guest_event(guest, "RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
	guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
}

static void end_by_quit(void) ON_BUS_THREAD
{
	guest_expect(guest, "quit");
	guest_exit(guest, 0);
	WORLD_UNTIL(world, guest->view->pid == 0);
}

/* ---- the guest ---- */
static void test_power_off(void) ON_BUS_THREAD
{
	begin("restart", NULL, NULL);
	power_off("guest-shutdown");
	reset_and_go_on();
	guest_expect_log(guest, "running>paused(guest) SHUTDOWN STOP RESET paused>running(guest) RESUME");
	end();
	begin("preserve", NULL, NULL);
	power_off("guest-shutdown");
	guest_expect_log(guest, "running>paused(guest) SHUTDOWN STOP");
	guest_expect_silence(guest);
	end();
	begin("destroy", NULL, NULL);
	power_off("guest-shutdown");
	end_by_quit();
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_GUEST);
	end();
}

static void test_reboot(void) ON_BUS_THREAD
{
	begin(NULL, "destroy", NULL);
	power_off("guest-reset");
	end_by_quit();
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	end();
	begin(NULL, "preserve", NULL);
	power_off("guest-reset");
	guest_expect_log(guest, "running>paused(guest) SHUTDOWN STOP");
	guest_expect_silence(guest);
	end();
	/* The watchdog's is none of the guest's. */
	begin(NULL, "destroy", NULL);
	guest_event(guest, "WATCHDOG", "{\"action\": \"reset\"}");
	power_off("guest-reset");
	guest_expect(guest, "set-action");
	reset_and_go_on();
	WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_WATCHDOG);
	/* A while later. */
	guest_expect(guest, "set-action");
	power_off("guest-reset");
	end_by_quit();
	end();
}

static void test_panic(void) ON_BUS_THREAD
{
	begin(NULL, NULL, "restart");
	panic();
	reset_and_go_on();
	guest_expect_log(
		guest, "GUEST_PANICKED running>paused(panic) STOP RESET paused>running(panic) RESUME");
	end();
	begin(NULL, NULL, "preserve");
	panic();
	guest_expect_log(guest, "GUEST_PANICKED running>paused(panic) STOP");
	guest_expect_silence(guest);
	end();
	begin(NULL, NULL, "destroy");
	panic();
	end_by_quit();
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_PANIC);
	end();
}

static void test_bound(void) ON_BUS_THREAD
{
	begin("restart", NULL, "restart");
	for (unsigned i = 0; i < 5; i++) {
		if (i % 2 == 0)
			power_off("guest-shutdown");
		else
			panic();
		reset_and_go_on();
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING && guest_log_has(guest, "RESUME"));
		g_string_truncate(guest->log, 0);
	}
	panic();
	end_by_quit();
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_PANIC);
	end();
}

/* ---- with methods between ---- */
/* Whoever has asked for the power-off gets it. */
static void test_shutdown_asked(void) ON_BUS_THREAD
{
	for (unsigned i = 0; i < 2; i++) {
		Call *call;

		begin("restart", NULL, "restart");
		call = world_call_with(guest, &operation_shutdown, (OperationArgs){0});
		guest_return(guest, guest_expect(guest, "system_powerdown"), "{}");
		world_expect_ok(world, call);
		if (i == 0)
			power_off("guest-shutdown");
		else
			panic();
		end_by_quit();
		g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
		g_assert_cmpint(guest->view->reason, ==, i == 0 ? VM_REASON_USER : VM_REASON_PANIC);
		end();
	}
}

/* A VM that is being started again, and is paused, stays so. */
static void test_pause(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin("restart", NULL, NULL);
	power_off("guest-shutdown");
	guest_expect(guest, "system_reset");
	call = world_call(guest, &operation_pause);
	world_expect_ok(world, call);
	guest_event(guest, "RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
	WORLD_UNTIL(world, guest_log_has(guest, "RESET"));
	g_assert_cmpint(guest->view->state, ==, VM_STATE_PAUSED);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_USER);
	guest_expect_silence(guest);
	/* It was told to go on already, and has not. */
	call = world_call(guest, &operation_resume);
	id = guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	power_off("guest-shutdown");
	guest_expect(guest, "system_reset");
	guest_event(guest, "RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
	guest_expect(guest, "cont");
	call = world_call(guest, &operation_pause);
	id = guest_expect(guest, "stop");
	guest_event(guest, "RESUME", NULL);
	guest_event(guest, "STOP", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_PAUSED);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_USER);
	end();
}

/* Reset is no reboot, and QEMU is told so before it and after. */
static void test_reset(void) ON_BUS_THREAD
{
	Call *call;
	uint64_t id;

	begin(NULL, "destroy", NULL);
	call = world_call(guest, &operation_reset);
	guest_return(guest, guest_expect(guest, "set-action"), "{}");
	id = guest_expect(guest, "system_reset");
	guest_event(guest, "RESET", "{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}");
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	guest_event(guest, "RESET", "{\"guest\": true, \"reason\": \"guest-reset\"}");
	guest_expect(guest, "set-action");
	g_assert_cmpint(guest->view->state, ==, VM_STATE_RUNNING);
	end();
}

/* Kill while it is being started again. */
static void test_kill_amid(void) ON_BUS_THREAD
{
	begin(NULL, NULL, "restart");
	panic();
	guest_expect(guest, "system_reset");
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_KILLED);
	g_assert_false(vm_take_restart(guest->vm));
	end();
}

/* ---- the monitor is lost between ---- */
static void lose_monitor(const char *status) ON_BUS_THREAD
{
	g_autofree char *value = g_strdup_printf("{\"status\": \"%s\"}", status);

	guest_hang_up(guest);
	WORLD_UNTIL(world, !guest->view->responsive);
	guest_accept(guest);
	guest_handshake(guest);
	guest_return(guest, guest_expect(guest, "query-status"), value);
}

static void test_lost_restart(void) ON_BUS_THREAD
{
	/* Before the reset, after it, after `cont`. */
	static const char *const states[] = {"guest-panicked", "prelaunch", "running"};

	for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
		begin(NULL, NULL, "restart");
		panic();
		guest_expect(guest, "system_reset");
		lose_monitor(states[i]);
		if (i < 2)
			reset_and_go_on();
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
		end();
	}
}

static void test_lost_dump(void) ON_BUS_THREAD
{
	static const char *const states[] = {"active", "failed"};

	for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
		g_autofree char *value = g_strdup_printf("{\"status\": \"%s\"}", states[i]);

		begin(NULL, NULL, "dump-restart");
		panic();
		guest_return(guest, guest_expect(guest, "getfd"), "{}");
		guest_return(guest, guest_expect(guest, "dump-guest-memory"), "{}");
		WORLD_UNTIL(world, guest_is_at_rest(guest));
		lose_monitor("guest-panicked");
		guest_return(guest, guest_expect(guest, "query-dump"), value);
		/* What has failed is begun anew. */
		if (i == 1) {
			guest_return(guest, guest_expect(guest, "getfd"), "{}");
			guest_return(guest, guest_expect(guest, "dump-guest-memory"), "{}");
		}
		WORLD_UNTIL(world, guest_is_at_rest(guest));
		guest_event(
			guest, "DUMP_COMPLETED", "{\"result\": {\"status\": \"failed\"}, \"error\": \"no\"}");
		reset_and_go_on();
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
		end();
	}
}

/* ---- QEMU ---- */
static void boot_again(void) ON_BUS_THREAD
{
	Call *call = guest_start(guest);
	uint64_t id;

	guest_accept(guest);
	guest_handshake(guest);
	id = guest_expect(guest, "cont");
	guest_event(guest, "RESUME", NULL);
	guest_return(guest, id, "{}");
	world_expect_ok(world, call);
	WORLD_UNTIL(world, guest_is_at_rest(guest));
}

static void test_crash(void) ON_BUS_THREAD
{
	begin(NULL, NULL, "restart");
	for (unsigned i = 0; i < 5; i++) {
		guest_die(guest, SIGSEGV);
		WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
		g_assert_cmpint(guest->view->last_exit.signal, ==, SIGSEGV);
		/* Asked once. */
		g_assert_true(vm_take_restart(guest->vm));
		g_assert_false(vm_take_restart(guest->vm));
		boot_again();
	}
	guest_die(guest, SIGSEGV);
	WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
	g_assert_false(vm_take_restart(guest->vm));
	end();
	begin(NULL, NULL, "destroy");
	guest_exit(guest, 1);
	WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
	g_assert_false(vm_take_restart(guest->vm));
	end();
}

/* In each order of a crash and a Kill, once the Kill is accepted nothing is started. */
static void test_crash_and_kill(void) ON_BUS_THREAD
{
	/* After the crash was seen. */
	begin(NULL, NULL, "restart");
	guest_die(guest, SIGSEGV);
	WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	g_assert_false(vm_take_restart(guest->vm));
	/* An old Kill is no reason. */
	boot_again();
	guest_die(guest, SIGSEGV);
	WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
	g_assert_true(vm_take_restart(guest->vm));
	end();
	/* Before. */
	begin(NULL, NULL, "restart");
	guest_die(guest, SIGSEGV);
	vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_false(vm_take_restart(guest->vm));
	end();
}

/* Not one that is to be off. */
static void test_crash_amid_shutdown(void) ON_BUS_THREAD
{
	Call *call;

	begin(NULL, NULL, "restart");
	call = world_call_with(guest, &operation_shutdown, (OperationArgs){0});
	guest_return(guest, guest_expect(guest, "system_powerdown"), "{}");
	world_expect_ok(world, call);
	guest_die(guest, SIGSEGV);
	WORLD_UNTIL(world, guest->view->state == VM_STATE_CRASHED);
	g_assert_false(vm_take_restart(guest->vm));
	end();
}

/* ---- dumps ---- */
/* QEMU is told to write into the file that it was given; the number of that command. */
static uint64_t expect_dump(void) ON_BUS_THREAD
{
	guest_return(guest, guest_expect(guest, "getfd"), "{}");
	return guest_expect(guest, "dump-guest-memory");
}

static bool has_partial(void)
{
	return state_dir_has_partial_dump(world->state_dir, guest->vm->uuid);
}

static void complete(const char *status)
{
	g_autofree char *data = g_strdup_printf(
		"{\"result\": {\"total\": 1, \"status\": \"%s\", \"completed\": 1}, \"error\": \"no\"}",
		status);

	guest_event(guest, "DUMP_COMPLETED", data);
}

static void test_dump_fails(void) ON_BUS_THREAD
{
	/* QEMU says so at once, or later; then the policy goes on. What there is is removed. */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t id;

		begin(NULL, NULL, "dump-restart");
		panic();
		id = expect_dump();
		g_assert_true(has_partial());
		if (i == 0) {
			guest_fail(guest, id, "no");
		} else {
			guest_return(guest, id, "{}");
			complete("failed");
		}
		reset_and_go_on();
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
		g_assert_cmpint(guest->view->reason, ==, VM_REASON_PANIC);
		g_assert_false(has_partial());
		end();
	}
}

/* QEMU has it written before it answers. An empty file is none. */
static void test_dump_at_once(void) ON_BUS_THREAD
{
	uint64_t id;

	begin(NULL, NULL, "dump-destroy");
	panic();
	id = expect_dump();
	complete("completed");
	guest_return(guest, id, "{}");
	guest_expect(guest, "quit");
	g_assert_false(has_partial());
	guest_exit(guest, 0);
	WORLD_UNTIL(world, guest->view->pid == 0);
	g_assert_cmpint(guest->view->reason, ==, VM_REASON_PANIC);
	end();
}

/* While QEMU writes, methods have their turn; Kill ends it, and nothing is left. */
static void test_dump_and_kill(void) ON_BUS_THREAD
{
	for (unsigned i = 0; i < 2; i++) {
		begin(NULL, NULL, "dump-restart");
		panic();
		if (i == 0) {
			guest_expect(guest, "getfd");
		} else {
			guest_return(guest, expect_dump(), "{}");
			WORLD_UNTIL(world, guest_is_at_rest(guest));
			world_expect_ok(world, world_call(guest, &operation_pause));
		}
		g_assert_true(has_partial());
		vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
		WORLD_UNTIL(world, guest->view->pid == 0 && !has_partial());
		g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
		g_assert_cmpint(guest->view->reason, ==, VM_REASON_KILLED);
		g_assert_false(vm_take_restart(guest->vm));
		end();
	}
}

/* A QEMU that does not get done, or does not answer. */
static void test_dump_hangs(void) ON_BUS_THREAD
{
	for (unsigned i = 0; i < 2; i++) {
		crash_word = "dump-restart";
		power_off_word = reboot_word = NULL;
		world = world_new(&(WorldOptions){.deadline_scale = 0.02});
		guest = guest_new(world, "vm", add_policies);
		guest_boot(guest);
		panic();
		if (i == 0)
			guest_return(guest, expect_dump(), "{}");
		WORLD_UNTIL(world, guest->view->pid == 0 || !guest->view->responsive);
		if (i == 0) {
			g_assert_cmpint(guest->view->state, ==, VM_STATE_OFF);
			g_assert_cmpint(guest->view->reason, ==, VM_REASON_PANIC);
		} else {
			vm_kill(guest->vm, operation_next_id(), VM_REASON_KILLED);
		}
		WORLD_UNTIL(world, guest->view->pid == 0 && !has_partial());
		end();
	}
}

static void add_watchdog(GVariantDict *dict)
{
	g_variant_dict_insert(dict, "Watchdog", "s", "i6300esb");
	g_variant_dict_insert(dict, "OnWatchdog", "s", "dump");
}

static void test_watchdog_dump(void) ON_BUS_THREAD
{
	world = world_new(NULL);
	guest = guest_new(world, "vm", add_watchdog);
	guest_boot(guest);
	for (unsigned i = 0; i < 6; i++) {
		guest_event(guest, "WATCHDOG", "{\"action\": \"pause\"}");
		guest_event(guest, "STOP", NULL);
		/* Not again and again. */
		if (i < 5) {
			uint64_t id = expect_dump();

			g_assert_cmpint(guest->view->state, ==, VM_STATE_PAUSED);
			g_assert_cmpint(guest->view->reason, ==, VM_REASON_WATCHDOG);
			guest_return(guest, id, "{}");
			complete("failed");
		}
		guest_expect(guest, "cont");
		guest_event(guest, "RESUME", NULL);
		WORLD_UNTIL(world, guest->view->state == VM_STATE_RUNNING);
		g_assert_cmpint(guest->view->reason, ==, VM_REASON_WATCHDOG);
	}
	end();
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	thread_adopt_role(&role_bus);
	g_test_add_func("/engine-policy/power-off", test_power_off);
	g_test_add_func("/engine-policy/reboot", test_reboot);
	g_test_add_func("/engine-policy/panic", test_panic);
	g_test_add_func("/engine-policy/bound", test_bound);
	g_test_add_func("/engine-policy/shutdown-asked", test_shutdown_asked);
	g_test_add_func("/engine-policy/pause", test_pause);
	g_test_add_func("/engine-policy/reset", test_reset);
	g_test_add_func("/engine-policy/kill-amid", test_kill_amid);
	g_test_add_func("/engine-policy/crash", test_crash);
	g_test_add_func("/engine-policy/crash-and-kill", test_crash_and_kill);
	g_test_add_func("/engine-policy/crash-amid-shutdown", test_crash_amid_shutdown);
	g_test_add_func("/engine-policy/dump-fails", test_dump_fails);
	g_test_add_func("/engine-policy/dump-at-once", test_dump_at_once);
	g_test_add_func("/engine-policy/dump-and-kill", test_dump_and_kill);
	g_test_add_func("/engine-policy/dump-hangs", test_dump_hangs);
	g_test_add_func("/engine-policy/watchdog-dump", test_watchdog_dump);
	g_test_add_func("/engine-policy/lost-restart", test_lost_restart);
	g_test_add_func("/engine-policy/lost-dump", test_lost_dump);
	return g_test_run();
}
