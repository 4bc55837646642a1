#pragma once
/*
 * The one pair of functions between sd-bus messages and GVariants. What comes in is bounded in size and depth
 * while it is read; what goes out was made by us.
 */
#include <glib.h>
#include <systemd/sd-bus.h>

#define VARIANT_DEPTH_MAX 32

/* Reads one complete value of type `signature` from where the message stands. 0, with a reference that is not
 * floating; -EFBIG: over `max_size` bytes; -E2BIG: too deep; or a negative errno of sd-bus (a malformed
 * message). */
int variant_read(sd_bus_message *message, const char *signature, size_t max_size, GVariant **ret_value);

/* What is left of the message, as it would count for variant_read(). 0: it is in the bounds, and the message
 * stands at its beginning; else as variant_read(). */
int variant_measure(sd_bus_message *message, size_t max_size);

/* Appends one complete value; `fd` is what every 'h' in it stands for (borrowed; -1 when there is none). A
 * negative errno of sd-bus. */
int variant_append(sd_bus_message *message, GVariant *value, int fd);

/* Appends the children of a tuple: a reply's body. */
int variant_append_body(sd_bus_message *message, GVariant *tuple, int fd);
