/* Kill: past the lane; its caller is answered when a view without that QEMU is installed, or, of a transient
 * VM, the one that says that it is gone. */
#include "bus/autostart.h"
#include "bus/calls-private.h"
#include "bus/publish.h"
#include "util/clock.h"

static bool kill_waits_for(const BusVm *bv, uint64_t kill_id)
{
	if (bv->own_start_id != 0 && bv->own_start_id < kill_id)
		return true;
	for (const GList *l = bv->calls.head; l; l = l->next) {
		const Call *call = l->data;

		if (call->id < kill_id && call->type->needs_qemu)
			return true;
	}
	return false;
}

/* A transient VM without QEMU is about to be gone: whoever has killed it wants its name. */
static bool is_going(const BusVm *bv)
{
	return !bv->vm->persistent && bv->exported;
}

void calls_look_at_kills(BusVm *bv)
{
	GList *next;

	for (GList *l = bv->kills.head; l; l = next) {
		Call *call = l->data;

		next = l->next;
		if (bv->picture.view->n_exits < call->exits_wanted || kill_waits_for(bv, call->id) ||
			is_going(bv))
			continue;
		call_reply_empty(call);
	}
}

void calls_cancel_before(BusVm *bv, uint64_t kill_id)
{
	GQueue taken = G_QUEUE_INIT;
	GList *next;
	Call *call;

	for (GList *l = bv->calls.head; l; l = next) {
		call = l->data;
		next = l->next;
		if (call->id >= kill_id || !call->type->needs_qemu ||
			!operation_take_back(bv->vm, call->type->lane, call->id))
			continue;
		call_leave_vm(call);
		g_queue_push_tail(&taken, call);
	}
	if (bv->own_start_id != 0 && bv->own_start_id < kill_id &&
		operation_take_back(bv->vm, VM_LANE_QMP, bv->own_start_id))
		own_start_taken_back(bv);
	publish_overlay(bv);
	while ((call = g_queue_pop_head(&taken)))
		call_fail(call,
			g_error_new(VM_ERROR, VM_ERROR_CANCELLED, "%s: cancelled by Kill", call->row->name));
}

void call_kill(Call *call, BusVm *bv)
{
	Bus *bus = call->bus;
	uint64_t length = (uint64_t)((double)ENGINE_KILL_USEC * bus->engine->options.deadline_scale);

	assert_bus_thread(__func__);
	bus_vm_ref(bv);
	call->id = operation_next_id();
	call->since_usec = clock_realtime_usec();
	call_enter_vm(call, bv, &bv->kills);
	bus->n_kills++;
	call_set_due(call, DUE_KILL, call->accepted_usec + length);
	call->exits_wanted = vm_kill(bv->vm, call->id, VM_REASON_KILLED);
	calls_cancel_before(bv, call->id);
	publish_kept(bv);
	calls_look_at_kills(bv);
	bus_vm_unref(bv);
}
