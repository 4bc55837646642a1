#pragma once
/*
 * The log: to the journal, with fields, when standard error is connected to it; else lines on standard error.
 * Logging is done once, where an error is handled, never where it is passed on. Any thread, no leaf held. A
 * journal that does not read is waited for 50 ms in a second: what it does not take is counted, and the count
 * is told when it takes again. Standard error is waited for.
 */
#include <glib.h>
#include <syslog.h>

/* Messages above this level are dropped; LOG_INFO at birth. Set once, before threads start. */
void log_set_level(int level);

/* For tests: everything goes to a journal that listens here, and is waited for so long (0: as ever). While
 * there are no other threads. 0 or a negative errno. */
int log_use_journal(const char *path, unsigned wait_msec);

/* What a message is about, for programs that read the journal (MESSAGE_ID). */
typedef enum LogKind {
	LOG_KIND_PLAIN,        /* none */
	LOG_KIND_CALL,         /* somebody's call that changes something was answered */
	LOG_KIND_STARTED,      /* a VM's QEMU runs */
	LOG_KIND_ENDED,        /* it has ended, as somebody wanted */
	LOG_KIND_CRASHED,      /* unasked */
	LOG_KIND_UNRESPONSIVE, /* it does not answer */
	LOG_KIND_RESPONSIVE,   /* it does again */
	LOG_KIND_OUTPUT,       /* a line that it wrote */
	LOG_KIND_MAX,
} LogKind;

typedef struct LogField {
	const char *name;  /* of the journal's: capital letters, digits, _ */
	const char *value; /* NULL: there is no such field */
} LogField;

/* A line with fields, which the journal alone gets. `level` is one of syslog(3)'s. */
void log_fields(int level, LogKind kind, const LogField *fields, size_t n_fields, const char *format, ...)
	G_GNUC_PRINTF(5, 6);

/* A line about the service. */
void log_line(int level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A line about a VM: the journal gets ROOST_VM_NAME and ROOST_VM_UUID as fields; its name stands in front. */
void log_vm(int level, const char *vm_name, const char *vm_uuid, const char *format, ...) G_GNUC_PRINTF(4, 5);
void log_vm_kind(int level, LogKind kind, const char *vm_name, const char *vm_uuid, const char *format, ...)
	G_GNUC_PRINTF(5, 6);

#define log_error(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
