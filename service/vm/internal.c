/*
 * Internal operations: what Roost gives itself to do on a VM. They are bits in the QMP lane's `wanted`; at
 * most 2 x cores of them run at once in the whole service. A slot is taken before the bits are, and a VM that
 * finds none stands in line; whoever gives a slot back hands it to the first in line, in one hold, so no VM
 * is forgotten there.
 */
#include "util/log.h"
#include "vm/files.h"
#include "vm/link.h"
#include "vm/operation.h"
#include "vm/vm.h"

bool internal_slot_take(Vm *vm, bool wait)
{
	Engine *engine = vm->engine;
	bool taken;

	leaf_lock(&engine->internal_mutex);
	taken = engine->n_internal < engine->max_internal;
	if (taken) {
		engine->n_internal++;
	} else if (wait && !vm->internal_waiting) {
		vm->internal_waiting = true;
		g_queue_push_tail(&engine->internal_waiting, vm_ref(vm));
	}
	leaf_unlock(&engine->internal_mutex);
	return taken;
}

/* With a slot: runs the VM's wanted work on a worker of its own. False: there is none any more; the slot is
 * still held. */
static bool start_with_slot(Vm *vm)
{
	if (!lane_begin_wanted(&vm->lanes[VM_LANE_QMP]))
		return false;
	return operation_run_internal_lane(vm);
}

void internal_slot_give(Engine *engine)
{
	for (;;) {
		g_autoptr(Vm) next = NULL;

		leaf_lock(&engine->internal_mutex);
		next = g_queue_pop_head(&engine->internal_waiting);
		if (next)
			next->internal_waiting = false;
		else
			engine->n_internal--;
		leaf_unlock(&engine->internal_mutex);
		if (!next || start_with_slot(next))
			return;
	}
}

void vm_start_internal(Vm *vm)
{
	if (internal_slot_take(vm, true) && !start_with_slot(vm))
		internal_slot_give(vm->engine);
}

void vm_want_cleanup(Vm *vm)
{
	if (lane_want(&vm->lanes[VM_LANE_QMP], VM_WANT_CLEANUP))
		vm_start_internal(vm);
}

void vm_run_internal(Vm *vm, unsigned bits)
{
	bool clean;
	int r;

	if (bits & VM_WANT_DUMP)
		dump_run(vm);
	if (!(bits & VM_WANT_CLEANUP))
		return;
	/* A Start may have been quicker than this, or the VM's UUID may be another's by now. From here on no
	 * Start can run: this is the lane's current entry. */
	vm_lock(vm);
	clean = vm->pid == 0 && !vm->gone;
	vm_unlock(vm);
	if (!clean)
		return;
	r = vm_files_remove_runtime(vm);
	if (r < 0)
		log_warning("run-time files of VM %s can't be removed: %s", vm->uuid, g_strerror(-r));
	r = state_dir_drop_dump(vm->engine->options.state_dir, vm->uuid);
	if (r < 0)
		log_warning(
			"a dump of VM %s that is not whole can't be removed: %s", vm->uuid, g_strerror(-r));
	if (vm->persistent)
		return;
	vm_lock(vm);
	vm->gone = true;
	vm->dirty = true;
	vm_unlock(vm);
}
