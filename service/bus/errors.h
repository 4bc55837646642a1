#pragma once
/* From VmError to D-Bus, in one table. */
#include <glib.h>
#include <systemd/sd-bus.h>

#include "vm/error.h"

/* The D-Bus name; static. Of a GError of another domain: Failed. */
const char *error_to_dbus_name(const GError *error);

/* Its text as it is told: bounded, and printable (lines stay: QEMU's words may have some). The caller frees.
 */
char *error_to_text(const GError *error);

/* Answers a call by an error: its name and its text. A negative errno of sd-bus. */
int error_reply(sd_bus_message *call, const GError *error);
