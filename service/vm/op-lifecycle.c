/* Pause, Resume, Reset, Shutdown, Reboot. */
#include "util/clock.h"
#include "vm/operation.h"

static bool run_pause(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	/* Being started again by a policy or a Reboot, it does not go on. */
	if (vm->hints.restarting) {
		vm->hints.restarting = false;
		vm->hints.restart_reason = VM_REASON_MAX;
		vm_set_state(op->vm, VM_STATE_PAUSED, VM_REASON_USER, true);
	}
	/* Unless it was told to go on, and has not said so yet. */
	if (vm->state == VM_STATE_PAUSED && vm->hints.restart_reason == VM_REASON_MAX)
		return true;
	if (vm->state != VM_STATE_RUNNING && vm->state != VM_STATE_PAUSED) {
		operation_refuse_state(op, "running", error);
		return false;
	}
	/* The STOP comes before the answer, and is applied when the lock is taken again. */
	vm->hints.stop_reason = VM_REASON_USER;
	if (!operation_execute(op, "stop", NULL, NULL, error))
		return false;
	vm->hints.stop_reason = VM_REASON_MAX;
	return true;
}

static bool run_resume(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (vm->state == VM_STATE_RUNNING)
		return true;
	if (vm->state != VM_STATE_PAUSED) {
		operation_refuse_state(op, "paused", error);
		return false;
	}
	return operation_execute(op, "cont", NULL, NULL, error);
}

static bool run_reset(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;

	if (vm->state != VM_STATE_RUNNING && vm->state != VM_STATE_PAUSED &&
		vm->state != VM_STATE_SUSPENDED && vm->state != VM_STATE_STOPPING) {
		operation_refuse_state(op, "running or paused", error);
		return false;
	}
	if (policy_stops_resets(op->vm)) {
		if (!operation_execute(
			    op, "set-action", g_variant_new_parsed("{'reboot': <'reset'>}"), NULL, error))
			return false;
		policy_open_reset_window(op->vm);
	}
	return operation_execute_and_wait(op, "system_reset", NULL, EVENT_RESET, NULL, error);
}

/* Shutdown and Reboot: the power button is pressed; what the guest makes of it comes as events. */
static bool press_power_button(Operation *op, bool reboot, bool force, uint64_t timeout_usec, GError **error)
	REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	uint64_t id = engine_next_command_id(), earlier_usec;
	g_autofree char *line = qmp_command_format("system_powerdown", NULL, id);

	if (vm->state != VM_STATE_RUNNING && (vm->state != VM_STATE_STOPPING || vm->hints.powered_off)) {
		operation_refuse_state(op, "running", error);
		return false;
	}
	/* Before the guest can react: a power-off that comes at once is the answer to this. */
	vm->hints.shutdown_asked = true;
	vm->hints.reboot_asked = reboot;
	/* One that is under way is replaced: its time must not run out while this one waits for its answer.
	 */
	earlier_usec = vm_shutdown_deadline_usec(op->vm);
	vm_set_deadlines(op->vm, 0, 0);
	if (!operation_execute_line(op, line, id, "system_powerdown", NULL, error)) {
		/* One that is under way already goes on, and one that QEMU may still carry out is remembered.
		 */
		if (vm->state != VM_STATE_STOPPING && !g_error_matches(*error, VM_ERROR, VM_ERROR_TIMEOUT))
			vm->hints.shutdown_asked = vm->hints.reboot_asked = false;
		if (vm->state == VM_STATE_STOPPING && !vm->hints.powered_off)
			vm_set_deadlines(op->vm, earlier_usec, 0);
		return false;
	}
	/* Unless the guest was quicker. */
	if ((vm->state == VM_STATE_RUNNING || vm->state == VM_STATE_STOPPING) && vm->hints.shutdown_asked &&
		!vm->hints.powered_off) {
		vm_set_state(op->vm, VM_STATE_STOPPING, VM_REASON_USER, true);
		vm->hints.force = force;
		vm_set_deadlines(op->vm, timeout_usec != 0 ? clock_monotonic_usec() + timeout_usec : 0, 0);
	}
	return true;
}

static bool run_shutdown(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	uint64_t timeout_usec = op->args.shutdown.has_timeout ? op->args.shutdown.timeout_usec
							      : op->vm->config->shutdown_timeout_usec;

	if (timeout_usec > VM_SHUTDOWN_TIMEOUT_MAX_USEC) {
		g_set_error(error, VM_ERROR, VM_ERROR_INVALID_ARGS,
			"options.Timeout: %" G_GUINT64_FORMAT
			" is more than %llu (a year; the unit is microseconds)",
			timeout_usec, VM_SHUTDOWN_TIMEOUT_MAX_USEC);
		return false;
	}
	return press_power_button(op, false, op->args.shutdown.force, timeout_usec, error);
}

static bool run_reboot(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	return press_power_button(op, true, false, op->vm->config->shutdown_timeout_usec, error);
}

const OperationType operation_pause = {"Pause", VM_LANE_QMP, DEADLINE_COMMAND, true, run_pause, NULL};
const OperationType operation_resume = {"Resume", VM_LANE_QMP, DEADLINE_COMMAND, true, run_resume, NULL};
const OperationType operation_reset = {"Reset", VM_LANE_QMP, DEADLINE_COMMAND, true, run_reset, NULL};
const OperationType operation_shutdown = {
	"Shutdown", VM_LANE_QMP, DEADLINE_COMMAND, true, run_shutdown, NULL};
const OperationType operation_reboot = {"Reboot", VM_LANE_QMP, DEADLINE_COMMAND, true, run_reboot, NULL};
