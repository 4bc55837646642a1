#pragma once
/*
 * Bound VMs: transient VMs that end when the caller that made them leaves the bus. Who it was is kept with
 * the VM, so that a later roostd on the same bus goes on watching.
 */
#include "bus/service.h"

/* What a VM keeps of its caller: the bus and the unique name on it. The caller frees. */
char *bound_describe(Bus *bus, const char *sender);

/* The VM ends with this caller, which is on the bus now. */
void bound_add(BusVm *bv, const char *sender) ON_BUS_THREAD;
/* It is gone. Nothing if it is not bound. */
void bound_forget(BusVm *bv) ON_BUS_THREAD;

/* A connection has left the bus. */
void bound_sender_left(Bus *bus, const char *sender) ON_BUS_THREAD;

/* At the beginning: VMs that an earlier roostd has bound. Those whose callers are not there any more end. */
void bound_take_over(Bus *bus) ON_BUS_THREAD;
