#include "vm/outbox.h"

void outbox_init(Outbox *outbox)
{
	outbox->view = NULL;
	outbox->n_changes = 0;
	event_set_init(&outbox->events);
}

void outbox_clear(Outbox *outbox)
{
	outbox->view = vm_view_unref(outbox->view);
	outbox->n_changes = 0;
	event_set_clear(&outbox->events);
}

bool outbox_is_empty(const Outbox *outbox)
{
	return !outbox->view && outbox->n_changes == 0 && event_set_is_empty(&outbox->events);
}

void outbox_put_view(Outbox *outbox, VmView *view_consume)
{
	vm_view_unref(outbox->view);
	outbox->view = view_consume;
}

void outbox_put_change(Outbox *outbox, const StateChange *change)
{
	StateChange *last = outbox->n_changes > 0 ? &outbox->changes[outbox->n_changes - 1] : NULL;

	/* At the bound even steps are merged: what is lost is a step on the way, never the state that came of
	 * it. */
	if (last && ((!last->own && !change->own) || outbox->n_changes == OUTBOX_STEPS_MAX)) {
		last->to = change->to;
		last->reason = change->reason;
		last->own = last->own && change->own;
		if (last->from == last->to)
			outbox->n_changes--;
		return;
	}
	outbox->changes[outbox->n_changes++] = *change;
}

void outbox_take(Outbox *outbox, Outbox *ret)
{
	*ret = *outbox;
	outbox_init(outbox);
}
