#pragma once
/*
 * The daemons of a world (see enter): dbus-daemon --system, polkitd, roostd on it with a stand-in for QEMU;
 * and ways to act as one of its users. One world for all cases of a program: they clean up what they make.
 *
 * A user's process is either a Client of this process, connected as that user, or a program that was run as
 * that user: only such a one can have an agent that asks for passwords, or be at the screen.
 */
#include "fixture.h"

#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"
#define POLKIT      "org.freedesktop.PolicyKit1"
#define DENIED      DBUS_ERROR("AccessDenied")
#define CHALLENGED  DBUS_ERROR("InteractiveAuthorizationRequired")

typedef struct World {
	GPid bus, polkitd, roostd;
	Client *root;
} World;

/* Where a process of a user is. */
typedef enum Place { ELSEWHERE, AT_THE_SCREEN } Place;

/* Checks that it is in a world: else it must not start anything. */
World *world_new(void);
World *world_free(World *world);

/* With more options (NULL-terminated), or NULL. It is reachable when it returns. */
void world_start_roostd(World *world, const char *const *options);
void world_stop_roostd(World *world);
void world_start_polkitd(World *world);
void world_stop_polkitd(World *world);
/* What the bus starts by itself: the file that tells how is there or not. */
void world_set_activatable(World *world, const char *name, bool activatable);

guint world_uid(const char *user);
/* A connection of this process, as a user. */
Client *world_client(const char *user);

/* Runs a program as a user; its output, both kinds. The status as of waitpid(2). */
char *world_run(const char *user, Place place, const char *const *argv, int *ret_status);

/* The same, but it goes on; it starts when a line is written to it. Its pid stays the same. */
typedef struct Program {
	GPid pid;
	int in, out;
} Program;
void program_spawn(Program *program, const char *user, Place place, const char *const *argv);
void program_begin(Program *program);
/* Waits for its end; its output. */
char *program_finish(Program *program, int *ret_status);

/* An agent on a terminal, that asks for passwords on behalf of a process of the same user. */
typedef struct Agent {
	GPid pid;
	int terminal;
	GString *text; /* what it has said */
} Agent;
/* Registered when it returns. */
void agent_spawn(World *world, Agent *agent, const char *user, GPid process);
/* Waits until it has said this; what came before and it is forgotten. */
void agent_await(Agent *agent, const char *text);
/* A password, and a line end: it was asked for. */
void agent_type(Agent *agent, const char *text);
void agent_finish(Agent *agent);

/* Defines a VM as this user (by a rule for a moment; the owner is the user), for the stand-in; its object. */
char *world_define(World *world, const char *user, const char *name, const char *more);
/* Ends it and undefines it, as root. */
void world_undefine(World *world, const char *path);

/* Writes a file of polkit's rules, or removes it (NULL), and waits until polkit has read it. */
void world_set_rule(World *world, const char *name, const char *text);
