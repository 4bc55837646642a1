/* What a person would do at the machine: InjectNMI. */
#include "vm/operation.h"

static bool run_inject_nmi(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	if (op->vm->state != VM_STATE_RUNNING && op->vm->state != VM_STATE_PAUSED &&
		op->vm->state != VM_STATE_STOPPING) {
		operation_refuse_state(op, "running or paused", error);
		return false;
	}
	return operation_execute(op, "inject-nmi", NULL, NULL, error);
}

const OperationType operation_inject_nmi = {
	"InjectNMI", VM_LANE_QMP, DEADLINE_COMMAND, true, run_inject_nmi, NULL};
