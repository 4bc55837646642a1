#pragma once
/*
 * Units: where systemd manages the host, each VM's QEMU is started by it, in a transient unit of its own:
 * systemd is its parent, so it outlives roostd, and it has a sandbox, limits, and a name in the journal.
 *
 * A worker's request (vm/unit.h) becomes a call of StartTransientUnit, whose answer matters only when it is
 * an error. One that comes while systemd is away from the bus (it re-executes itself), or while an earlier
 * unit of the VM is still there, waits. The unit of a QEMU that runs is held (systemd: referenced), so that
 * systemd can be asked how it ended; then it is let go.
 */
#include "bus/service.h"
#include "vm/unit.h"

/* Finds out whether there is a systemd: Engine.has_units. `address`: bus_open()'s. Blocks on the bus. 0 or a
 * negative errno. */
int units_init(Bus *bus, const char *address) ON_BUS_THREAD;
void units_done(Bus *bus) ON_BUS_THREAD;

/* The inbox. */
void units_take(Bus *bus, UnitRequest *request_consume) ON_BUS_THREAD;
/* A Start is done. */
void units_start_done(Bus *bus, const Vm *vm) ON_BUS_THREAD;
/* A view with this many exits was installed, after one with fewer. */
void units_vm_ended(Bus *bus, Vm *vm, uint64_t n_exits) ON_BUS_THREAD;
/* Whether systemd is being asked how the VM's QEMU ended; restart_look_at() follows. */
bool units_is_asking(const Bus *bus, const Vm *vm) ON_BUS_THREAD;
/* A VM that was taken over from an earlier roostd, in this unit. */
void units_adopt(Bus *bus, Vm *vm, const char *unit) ON_BUS_THREAD;

/* unit-properties.c: appends what StartTransientUnit takes. 0 or a negative errno. */
int unit_properties_append(sd_bus_message *message, const Engine *engine, const UnitRequest *request);
