/* ExecuteQMP: a caller's own command. What it changes is found out by its events, and by a resync. */
#include <string.h>

#include "vm/operation.h"

static void want_resync(Vm *vm) REQUIRES(vm->lock)
{
	leaf_lock(&vm->mail.mutex);
	vm->mail.resync_wanted = true;
	vm->mail.listed_for_io = true;
	leaf_unlock(&vm->mail.mutex);
	vm_list(vm);
}

static bool run_execute_qmp(Operation *op, GError **error) REQUIRES(op->vm->lock)
{
	Vm *vm = op->vm;
	g_autofree char *line = NULL, *name = NULL, *complaint = NULL;
	g_autoptr(QmpReply) reply = NULL;
	uint64_t id = engine_next_command_id();
	bool done;

	if (qmp_command_format_json(op->args.execute_qmp.command, id, &line, &name, &complaint) < 0) {
		g_set_error_literal(error, VM_ERROR, VM_ERROR_INVALID_ARGS, complaint);
		return false;
	}
	if (!vm_state_is_active(vm->state) || vm->state == VM_STATE_STARTING) {
		operation_refuse_state(op, "a running QEMU", error);
		return false;
	}
	done = operation_execute_line(op, line, id, name, &reply, error);
	if (!g_str_has_prefix(name, "query-"))
		want_resync(op->vm);
	if (!done)
		return false;
	op->result = g_variant_ref_sink(g_variant_new("(s)", reply->text));
	return true;
}

static void clear_execute_qmp(OperationArgs *args)
{
	g_free(args->execute_qmp.command);
}

const OperationType operation_execute_qmp = {
	"ExecuteQMP", VM_LANE_QMP, DEADLINE_COMMAND, true, run_execute_qmp, clear_execute_qmp};
