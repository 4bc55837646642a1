#pragma once
/*
 * What QEMU's commands take, as a QEMU 7.2 said itself (qemu-7.2.schema, made by record-schema): a command
 * that roostd makes up is refused by the stand-in as QEMU would, not obeyed.
 */
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

bool schema_has_command(const char *command);
/* NULL, or what is wrong with a command, in QEMU's words. `arguments`: JSON, or
 * NULL. The caller frees. */
char *schema_check(const char *command, const char *arguments);
