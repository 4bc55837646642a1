#pragma once
/*
 * The machine that a mock-qemu pretends to be: its run state, what QMP says about it, and the replies of the
 * commands. Pure: text in, text out (appended to `output`); the loop in mock-qemu.c does the rest.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum RunState { STATE_PRELAUNCH, STATE_RUNNING, STATE_PAUSED, STATE_SHUTDOWN } RunState;

typedef struct Machine {
	RunState state;
	bool no_shutdown;
	bool negotiated;       /* qmp_capabilities is through: events go out */
	bool powerdown_wanted; /* the guest was asked, and has not obeyed yet */
	bool ended;            /* QEMU would exit now */
	bool mute;             /* who would read the replies has gone */
	uint64_t n_events;     /* what $N in an event's text is replaced by */
	GPtrArray *chardevs;   /* their labels, char * */
	GString *output;
} Machine;

/* A command as it was read. `complaint`: an error in QEMU's words instead of an execution. */
typedef struct Command {
	char *name;
	char *id;        /* JSON text, or NULL */
	bool admitted;   /* it came after the handshake */
	char *argument;  /* the name of the first one, or NULL */
	char *arguments; /* JSON text, or NULL */
	char *complaint;
} Command;

Command *command_parse(const char *line, size_t size);
Command *command_free(Command *command);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Command, command_free)

void machine_greet(Machine *machine);
/* An event without its timestamp: {"event": ...}. Dropped before the handshake, as in QEMU. */
void machine_event(Machine *machine, const char *event);
void machine_return(Machine *machine, const Command *command, const char *value);
/* A string of so many MiB; lists in each other. */
void machine_return_long(Machine *machine, const Command *command, uint64_t mib);
void machine_return_deep(Machine *machine, const Command *command, uint64_t n);
void machine_error(Machine *machine, const Command *command, const char *error_class, const char *desc);
/* Its events, its effects, its reply. */
void machine_execute(Machine *machine, const Command *command);
/* The guest powers off. */
void machine_power_off(Machine *machine);
void machine_terminate(Machine *machine, const char *reason);
