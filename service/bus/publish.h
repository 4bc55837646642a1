#pragma once
/*
 * Publish: from a VM's outbox to the bus. A batch is: install the view; one PropertiesChanged with what truly
 * changed; objects that come or go; the Manager's signals; StateChanged; Event, numbered now. Then the caller
 * may reply.
 *
 * A VM that says more than its limiter allows, or while much waits to be written to the bus, is kept back:
 * its outbox goes on collecting, bounded and coalesced, and it stays posted, so that it does not come again,
 * until its time has come.
 */
#include "bus/service.h"

typedef enum PublishChange {
	PUBLISH_PLAIN,
	PUBLISH_NEW, /* the VM has just become visible */
} PublishChange;

int publish_init(Bus *bus);
void publish_done(Bus *bus);

/* INBOX_POST: emits now or keeps back. Takes the post's reference. */
void publish_post(Bus *bus, Vm *vm_consume) ON_BUS_THREAD;

/* Before a reply: emits what there is, limit or not. A VM that its view calls gone is taken from the
 * registry. */
void publish_vm(BusVm *bv, PublishChange change) ON_BUS_THREAD;

/* The VM has just become visible, with the view that is installed. */
void publish_new(BusVm *bv) ON_BUS_THREAD;

/* Emits what is kept back of this VM, and lets it be posted again: somebody waits for its next view. */
void publish_kept(BusVm *bv) ON_BUS_THREAD;

/* The calls of the VM changed, or grew old enough to be shown: emits the difference. */
void publish_overlay(BusVm *bv) ON_BUS_THREAD;

/* The Manager's counts, if they changed since they were told. */
void publish_manager(Bus *bus) ON_BUS_THREAD;

/* Emits all that is kept back. */
void publish_all_kept(Bus *bus) ON_BUS_THREAD;

/* PropertiesChanged of the Manager, for properties named in `names` (NULL-terminated). */
void publish_manager_properties(Bus *bus, const char *const *names);
