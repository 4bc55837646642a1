#pragma once
/*
 * The log: to the journal, with fields, when standard error is connected to it; else lines on standard error.
 * Logging is done once, where an error is handled, never where it is passed on. Any thread; may block on the
 * journal's socket for moments, so not with a leaf held.
 */
#include <glib.h>
#include <syslog.h>

/* Messages above this level are dropped; LOG_INFO at birth. Set once, before threads start. */
void log_set_level(int level);

/* A line about the service. `level` is one of syslog(3)'s. */
void log_line(int level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A line about a VM: the journal gets ROOST_VM and ROOST_UUID as fields; on standard error its name stands in
 * front. */
void log_vm(int level, const char *vm_name, const char *vm_uuid, const char *format, ...) G_GNUC_PRINTF(4, 5);

#define log_error(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
