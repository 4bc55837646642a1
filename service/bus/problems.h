#pragma once
/* ValidateVM's answer: what is wrong with a definition, as a(sss): key, name of the error, complaint. */
#include "bus/service.h"

/* Appends a list of GError, a GPtrArray. A negative errno of sd-bus. */
int problems_append(sd_bus_message *reply, const void *problems);

/* Appends what a ValidateVM found, and what only the bus thread knows: whether the name and the UUID are
 * taken. */
int problems_append_validation(sd_bus_message *reply, const Bus *bus, const Operation *op) ON_BUS_THREAD;
