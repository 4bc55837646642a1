#pragma once
/* The methods that only read: answered on the bus thread from what is installed there. */
#include "bus/members.h"

bool read_get_vm(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error);
bool read_get_vm_by_pid(
	Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error);
bool read_list_vms(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error);
bool read_get_events(Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error);
bool read_list_operations(
	Bus *bus, BusVm *none, sd_bus_message *message, sd_bus_message *reply, GError **error);
bool read_get_config(Bus *bus, BusVm *bv, sd_bus_message *message, sd_bus_message *reply, GError **error);
