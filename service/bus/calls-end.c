/* The end of the service: what waits is refused, what runs is cancelled, what is left is answered. */
#include "bus/authority.h"
#include "bus/calls-private.h"
#include "bus/senders.h"

static GError *ending_error(const Call *call)
{
	return g_error_new(VM_ERROR, VM_ERROR_CANCELLED, "%s: roostd is shutting down", call->row->name);
}

/* Those that were not accepted yet. */
static void fail_waiting(Bus *bus)
{
	Call *call;

	while ((call = senders_first_waiting(bus)))
		call_fail(call, ending_error(call));
	while ((call = authority_first_waiting(bus)))
		call_fail(call, ending_error(call));
}

void calls_begin_shutdown(Bus *bus)
{
	g_autoptr(GList) calls = NULL;

	fail_waiting(bus);
	calls = g_hash_table_get_values(bus->calls_by_id);
	/* First those that wait: else they begin when those before them are cancelled. */
	for (GList *l = calls; l; l = l->next) {
		Call *call = l->data;

		if (operation_take_back(call->vm->vm, call->type->lane, call->id)) {
			call_leave_vm(call);
			call_fail(call, ending_error(call));
			l->data = NULL;
		}
	}
	/* One that can't be cancelled any more comes back by itself. */
	for (GList *l = calls; l; l = l->next) {
		Call *call = l->data;

		if (call)
			operation_cancel(call->vm->vm, call->type->lane, call->id);
	}
}

bool calls_are_over(const Bus *bus)
{
	return g_hash_table_size(bus->calls_by_id) == 0 && bus->n_kills == 0;
}

void calls_finish(Bus *bus)
{
	g_autoptr(GList) calls = g_hash_table_get_values(bus->calls_by_id);

	fail_waiting(bus);
	for (GList *l = calls; l; l = l->next) {
		call_leave_vm(l->data);
		call_fail(l->data, ending_error(l->data));
	}
	while (bus->due[DUE_KILL].head) {
		Call *call = bus->due[DUE_KILL].head->data;

		call_fail(call, ending_error(call));
	}
}
