#pragma once
/*
 * Outbox: what was applied and is not on the bus yet: the newest view, state changes, and signals, coalesced
 * like the event set. Guarded by the VM's mail mutex; pure.
 *
 * State changes: the steps of an operation are each kept (a client sees off, starting, running); changes that
 * QEMU made by itself are merged while they wait: from the first old to the last new, and to nothing when
 * these are equal.
 */
#include "vm/event-set.h"
#include "vm/view.h"

#define OUTBOX_STEPS_MAX 32

typedef struct StateChange {
	VmState from, to;
	VmReason reason;
	bool own; /* a step of an operation */
} StateChange;

typedef struct Outbox {
	VmView *view; /* NULL: nothing new */
	EventSet events;
	StateChange changes[OUTBOX_STEPS_MAX];
	unsigned n_changes;
} Outbox;

void outbox_init(Outbox *outbox);
void outbox_clear(Outbox *outbox);
bool outbox_is_empty(const Outbox *outbox);

/* Takes the view over. */
void outbox_put_view(Outbox *outbox, VmView *view_consume);
void outbox_put_change(Outbox *outbox, const StateChange *change);
/* Moves everything to the uninitialised *ret, O(1). */
void outbox_take(Outbox *outbox, Outbox *ret);
