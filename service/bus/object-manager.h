#pragma once
/*
 * The one ObjectManager, at /org/roost1. sd-bus's own would ask every vtable for every object; this one
 * writes all VMs from their pictures in one go.
 */
#include "bus/service.h"

/* InterfacesAdded or InterfacesRemoved of a VM. 0 or a negative errno; *ret_message is set either way or
 * NULL. */
int object_manager_new_signal(BusVm *bv, bool added, sd_bus_message **ret_message);
