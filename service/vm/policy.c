/*
 * Policies: what a definition wants done when its guest powers off, resets or panics, or its QEMU ends by
 * itself. They are carried out by whoever applies the event, under the VM lock, by commands that nobody waits
 * for: so a policy waits for no method, and none for a QEMU that hangs.
 *
 * A guest is started again in the same QEMU (reset, and `cont` once the RESET is heard). Only a QEMU that is
 * gone needs a Start. That is the bus thread's to ask for (restart_after in the mail), behind what was
 * accepted before it, and not at all once a Kill was accepted: two QEMUs of a VM can't be.
 *
 * With an OnReboot other than `restart` QEMU stops at a reset and says SHUTDOWN; also at one that Roost asks
 * for, and at the second one by which a firmware answers it. So before Roost resets, QEMU is told to reset,
 * and some time later to stop again.
 */
#include "util/clock.h"
#include "util/log.h"
#include "vm/vm.h"

#define RESTARTS_USEC     (300 * USEC_PER_SEC) /* as often as restarts_usec has places */
#define RESET_WINDOW_USEC (3 * USEC_PER_SEC)

/* ---- resets ---- */
bool policy_stops_resets(Vm *vm)
{
	return vm->running_config && vm->running_config->on_reboot != VM_POLICY_RESTART;
}

void policy_open_reset_window(Vm *vm)
{
	vm_set_alarm(vm, VM_ALARM_RESET_WINDOW, RESET_WINDOW_USEC);
}

void policy_close_reset_window(Vm *vm)
{
	if (vm->pid != 0 && policy_stops_resets(vm))
		vm_send(vm, "set-action", g_variant_new_parsed("{'reboot': <'shutdown'>}"));
}

/* ---- the same QEMU ---- */
void policy_restart_guest(Vm *vm, VmReason reason)
{
	/* It sits in `shutdown` or `guest-panicked`, is reset, goes on when the RESET is heard, and the
	 * RESUME makes it running. */
	vm->hints.powered_off = false;
	vm->hints.off_reason = VM_REASON_MAX;
	vm->hints.restarting = true;
	vm->hints.restart_reason = reason;
	vm->hints.shutdown_asked = vm->hints.reboot_asked = false;
	vm_set_deadlines(vm, 0, 0);
	vm_set_state(vm, VM_STATE_PAUSED, reason, true);
	if (policy_stops_resets(vm)) {
		vm_send(vm, "set-action", g_variant_new_parsed("{'reboot': <'reset'>}"));
		policy_open_reset_window(vm);
	}
	vm_send(vm, "system_reset", NULL);
}

void policy_end_qemu(Vm *vm, VmReason reason)
{
	if (vm->hints.off_reason == VM_REASON_MAX)
		vm->hints.off_reason = reason;
	vm->hints.powered_off = true;
	vm_set_state(vm, VM_STATE_STOPPING, reason, false);
	/* `quit` closes the images in order; if QEMU does not come to an end by it, it is killed. */
	vm_send(vm, "quit", NULL);
	vm_set_deadlines(vm, 0, clock_monotonic_usec() + engine_scaled_usec(vm->engine, ENGINE_QUIT_USEC));
}

/* ---- QEMU is not heard, and is heard again ---- */
void policy_unresponsive(Vm *vm)
{
	vm->hints.restart_lost = vm->hints.restart_lost || vm->hints.restarting;
	vm->hints.restarting = false;
	/* It is to be looked at. */
	if (vm->hints.dump == VM_DUMP_RUNNING)
		vm->hints.dump = VM_DUMP_WANTED;
}

bool policy_heard_again(Vm *vm, bool runs)
{
	bool lost = vm->hints.restart_lost;

	vm->hints.restart_lost = false;
	if (vm->hints.dump == VM_DUMP_WANTED)
		vm->wanted |= VM_WANT_DUMP;
	if (!lost || runs)
		return false;
	/* Whether it was reset is not known. Once more does no harm: it has not run since. */
	policy_restart_guest(vm, vm->hints.restart_reason);
	return true;
}

/* ---- what happened ---- */
typedef struct Incident {
	const char *what; /* for the log */
	const char *key;  /* the policy's */
	VmPolicy policy;
	VmReason reason;
} Incident;

/* One that comes back again and again is left alone at last. Counts. */
static bool may_restart(Vm *vm, const Incident *incident) REQUIRES(vm->lock)
{
	uint64_t now_usec = clock_monotonic_usec();
	uint64_t *oldest = &vm->restarts_usec[0];

	for (unsigned i = 1; i < G_N_ELEMENTS(vm->restarts_usec); i++)
		if (vm->restarts_usec[i] < *oldest)
			oldest = &vm->restarts_usec[i];
	if (*oldest != 0 && now_usec - *oldest < engine_scaled_usec(vm->engine, RESTARTS_USEC)) {
		log_vm(LOG_WARNING, vm->config->name, vm->uuid,
			"%s, and was started again %zu times within five minutes: %s is not carried out any "
			"more",
			incident->what, G_N_ELEMENTS(vm->restarts_usec), incident->key);
		return false;
	}
	*oldest = now_usec;
	return true;
}

void policy_forget_restarts(Vm *vm)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(vm->restarts_usec); i++)
		vm->restarts_usec[i] = 0;
}

static void tell(Vm *vm, const Incident *incident, const char *consequence) REQUIRES(vm->lock)
{
	log_vm(LOG_INFO, vm->config->name, vm->uuid, "%s: %s (%s is '%s')", incident->what, consequence,
		incident->key, vm_policy_to_string(incident->policy));
}

/* As it is. */
static void stay(Vm *vm, VmReason reason) REQUIRES(vm->lock)
{
	vm->hints.powered_off = false;
	vm->hints.preserved = true;
	vm_set_state(vm, VM_STATE_PAUSED, reason, false);
}

static void carry_out(Vm *vm, const Incident *incident) REQUIRES(vm->lock)
{
	/* Who has asked it to power off does not want it back. */
	if (incident->policy == VM_POLICY_RESTART && !vm->hints.shutdown_asked && may_restart(vm, incident)) {
		tell(vm, incident, "it is started again");
		policy_restart_guest(vm, incident->reason);
	} else if (incident->policy == VM_POLICY_DUMP_RESTART || incident->policy == VM_POLICY_DUMP_DESTROY) {
		stay(vm, incident->reason);
		dump_want(vm,
			incident->policy == VM_POLICY_DUMP_RESTART ? VM_POLICY_RESTART : VM_POLICY_DESTROY,
			incident->what);
	} else if (incident->policy == VM_POLICY_PRESERVE) {
		tell(vm, incident, "it is kept as it is");
		vm->hints.shutdown_asked = vm->hints.reboot_asked = false;
		vm_set_deadlines(vm, 0, 0);
		stay(vm, incident->reason);
	} else {
		tell(vm, incident, "its QEMU is ended");
		policy_end_qemu(vm, incident->reason);
	}
}

void policy_powered_off(Vm *vm)
{
	if (vm->hints.shutdown_asked)
		policy_end_qemu(vm, VM_REASON_USER);
	else
		carry_out(vm, &(Incident){"its guest has powered off", "OnPowerOff", vm->config->on_power_off,
				      VM_REASON_GUEST});
}

void policy_reset(Vm *vm)
{
	if (vm->hints.watchdog_resets)
		policy_restart_guest(vm, VM_REASON_WATCHDOG);
	else
		carry_out(vm, &(Incident){"its guest has rebooted", "OnReboot", vm->running_config->on_reboot,
				      VM_REASON_GUEST});
	vm->hints.watchdog_resets = false;
}

void policy_panicked(Vm *vm, bool powered_off)
{
	if (powered_off && vm->config->on_crash == VM_POLICY_PRESERVE)
		policy_end_qemu(vm, VM_REASON_PANIC);
	else
		carry_out(vm, &(Incident){"its guest has panicked", "OnCrash", vm->config->on_crash,
				      VM_REASON_PANIC});
}

/* QEMU has paused it; then it goes on. */
static void policy_watchdog(Vm *vm) REQUIRES(vm->lock)
{
	const Incident incident = {
		"its watchdog has fired", "OnWatchdog", VM_POLICY_PRESERVE, VM_REASON_WATCHDOG};

	if (may_restart(vm, &incident))
		dump_want(vm, VM_POLICY_PRESERVE, incident.what);
	else
		policy_after_dump(vm, VM_POLICY_PRESERVE);
}

void policy_stopped(Vm *vm)
{
	if (vm->reason == VM_REASON_PANIC)
		policy_panicked(vm, false);
	else if (vm->reason == VM_REASON_WATCHDOG && vm->running_config &&
		 vm->running_config->on_watchdog == VM_WATCHDOG_ACTION_DUMP)
		policy_watchdog(vm);
}

void policy_after_dump(Vm *vm, VmPolicy then)
{
	/* Somebody else has done something about it. */
	if (vm->state != VM_STATE_PAUSED)
		return;
	if (then == VM_POLICY_PRESERVE) {
		vm->hints.restart_reason = VM_REASON_WATCHDOG;
		vm_send(vm, "cont", NULL);
		return;
	}
	carry_out(vm, &(Incident){"its guest has panicked", "OnCrash", then, VM_REASON_PANIC});
}

void policy_qemu_died(Vm *vm)
{
	const Incident incident = {
		"its QEMU has crashed", "OnCrash", vm->config->on_crash, VM_REASON_QEMU_EXIT};
	bool restarts = incident.policy == VM_POLICY_RESTART || incident.policy == VM_POLICY_DUMP_RESTART;

	if (!restarts || !vm->persistent || vm->gone || vm->hints.shutdown_asked)
		return;
	if (!may_restart(vm, &incident))
		return;
	tell(vm, &incident, "it is started again");
	leaf_lock(&vm->mail.mutex);
	vm->mail.restart_after = vm->started_id;
	leaf_unlock(&vm->mail.mutex);
	vm->dirty = true;
}

bool vm_take_restart(Vm *vm)
{
	bool wanted;

	leaf_lock(&vm->mail.mutex);
	wanted = vm->mail.restart_after != 0 && vm->mail.kill_before < vm->mail.restart_after;
	vm->mail.restart_after = 0;
	leaf_unlock(&vm->mail.mutex);
	return wanted;
}
