/* Deadlines of calls, and the age from which on an operation is shown: one timer for both. */
#include "bus/calls-private.h"
#include "bus/publish.h"
#include "util/clock.h"

static GError *timeout_error(const Call *call)
{
	const BusVm *bv = call->vm;
	const Call *holder = bv->calls.head ? bv->calls.head->data : NULL;
	double seconds = (double)(clock_monotonic_usec() - call->accepted_usec) / USEC_PER_SEC;

	if (!call->type)
		return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT,
			"%s: QEMU of the VM '%s' (process %u) has not ended in %.1f s", call->row->name,
			bus_vm_name(bv), bv->picture.view->pid, seconds);
	if (holder && holder != call)
		return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT,
			"%s: the VM '%s' is held by %s (operation %" G_GUINT64_FORMAT
			" of %s) for more than %.1f s",
			call->row->name, bus_vm_name(bv), holder->type->member, holder->id,
			holder->sender_name, seconds);
	return g_error_new(VM_ERROR, VM_ERROR_TIMEOUT, "%s: not done in %.1f s, it may still be carried out",
		call->row->name, seconds);
}

static void expire(Call *call) ON_BUS_THREAD
{
	g_autoptr(GError) error = timeout_error(call);
	OperationExpiry expiry = OPERATION_EXPIRY_GONE;
	BusVm *bv = bus_vm_ref(call->vm);

	if (call->type)
		expiry = operation_expire(bv->vm, call->type->lane, call->id);
	switch (expiry) {
	case OPERATION_EXPIRY_NONE:
		call_set_due(call, DUE_AGAIN, clock_monotonic_usec() + CALLS_AGAIN_USEC);
		break;
	case OPERATION_EXPIRY_LATE:
		/* It still holds the VM, and is shown. */
		call_leave_due(call);
		call_answer_error(call, error);
		break;
	case OPERATION_EXPIRY_GONE:
		call_abandon(call);
		call_leave_vm(call);
		publish_overlay(bv);
		call_answer_error(call, error);
		call_free(call);
		calls_look_at_kills(bv);
		break;
	}
	bus_vm_unref(bv);
}

static void show_grown(Bus *bus, uint64_t now) ON_BUS_THREAD
{
	while (bus->young.head) {
		Call *call = bus->young.head->data;

		if (call->accepted_usec + CALLS_YOUNG_USEC > now)
			break;
		call_leave_young(call);
		publish_overlay(call->vm);
	}
}

void calls_on_time(void *user)
{
	Bus *bus = user;
	uint64_t now = clock_monotonic_usec();

	assert_bus_thread(__func__);
	show_grown(bus, now);
	for (unsigned i = 0; i < DUE_MAX; i++)
		while (bus->due[i].head && ((Call *)bus->due[i].head->data)->due_usec <= now)
			expire(bus->due[i].head->data);
	if (bus->young.head)
		timer_set(
			&bus->calls_timer, ((Call *)bus->young.head->data)->accepted_usec + CALLS_YOUNG_USEC);
	for (unsigned i = 0; i < DUE_MAX; i++)
		if (bus->due[i].head)
			timer_set(&bus->calls_timer, ((Call *)bus->due[i].head->data)->due_usec);
}
