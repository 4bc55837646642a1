#pragma once
/*
 * The properties of a VM, in one table: name, type, how changes are told, and where the value comes from. The
 * vtable, GetAll, GetManagedObjects and PropertiesChanged are all made from it.
 */
#include "bus/service.h"

/* The table as vtable rows; returns how many. NULL: only counts. */
unsigned properties_fill_vtable(sd_bus_vtable *rows, sd_bus_property_get_t get);

/* Appends one value (not a variant). -ENOENT: no such property. */
int properties_append_value(sd_bus_message *message, const char *name, const VmPicture *picture);

/* Appends an a{sv} of all. */
int properties_append_all(sd_bus_message *message, const VmPicture *picture);

/* Appends an a{sv} of those that differ and whose changes are told; without `message` only looks. Returns
 * whether any does, or a negative errno. */
int properties_append_changed(sd_bus_message *message, const VmPicture *old, const VmPicture *new);

/* About how many bytes all of them take in a message. */
size_t properties_size(const VmPicture *picture);

void vm_picture_clear(VmPicture *picture);

/* CurrentOperation's keys, to an open a{sv}. */
int properties_append_operation(sd_bus_message *message, const CurrentOperation *operation);
