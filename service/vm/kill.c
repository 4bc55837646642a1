/*
 * Kill takes no VM lock and no place in a queue: it sets a number in the mail, below which every operation
 * that needs QEMU is cancelled, and signals the process in the same hold. Start shows its process (and before
 * that, its request for a unit) and asks for that number in one hold, too. So whichever comes second sees the
 * other.
 */
#include <signal.h>

#include "vm/unit.h"

uint64_t vm_kill(Vm *vm, uint64_t before, VmReason reason)
{
	uint64_t n_exits = 0;

	leaf_lock(&vm->mail.mutex);
	if (vm->mail.kill_before < before)
		vm->mail.kill_before = before;
	/* The first one counts while it is under way. */
	if (!vm->mail.killed || !vm->mail.process)
		vm->mail.kill_reason = reason;
	for (unsigned i = 0; i < VM_LANE_MAX; i++)
		if (vm->mail.waiters[i] && vm->mail.waiters[i]->cancellable &&
			vm->mail.waiters[i]->operation_id < before) {
			vm->mail.waiters[i]->is_killed = true;
			cond_signal(&vm->mail.waiters[i]->cond);
		}
	if (vm->mail.launch && vm->mail.launch->operation_id < before)
		unit_request_cancel(vm->mail.launch);
	if (vm->mail.process) {
		n_exits = vm->mail.n_exits + 1;
		vm->mail.killed = true;
		qemu_process_signal(vm->mail.process, SIGKILL);
	}
	leaf_unlock(&vm->mail.mutex);
	return n_exits;
}

bool vm_show_process(Vm *vm, QemuProcess *process, uint64_t operation_id)
{
	bool wanted;

	leaf_lock(&vm->mail.mutex);
	g_assert(!vm->mail.process);
	vm->mail.process = qemu_process_ref(process);
	wanted = vm->mail.kill_before < operation_id;
	vm->mail.killed = !wanted;
	if (!wanted)
		qemu_process_signal(process, SIGKILL);
	leaf_unlock(&vm->mail.mutex);
	return wanted;
}

bool vm_is_being_killed(Vm *vm)
{
	bool dying;

	leaf_lock(&vm->mail.mutex);
	dying = vm->mail.killed && vm->mail.process;
	leaf_unlock(&vm->mail.mutex);
	return dying;
}

void vm_end_process(Vm *vm)
{
	leaf_lock(&vm->mail.mutex);
	if (vm->mail.process)
		qemu_process_signal(vm->mail.process, SIGKILL);
	leaf_unlock(&vm->mail.mutex);
}
