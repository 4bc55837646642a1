#pragma once
/*
 * A stand-in for systemd: the test owns its name on the private bus, gets each call that roostd makes, and
 * answers it or does not. The real systemd is in tests/world/systemd.
 */
#include "fixture.h"

#define SYSTEMD          "org.freedesktop.systemd1"
#define SYSTEMD_PATIENCE (120 * G_USEC_PER_SEC)

/* ---- the stand-in ---- */
typedef struct Systemd {
	GDBusConnection *connection;
	GAsyncQueue *calls; /* GDBusMessage */
	guint filter;
	guint n_refs; /* of units, asked for so far */
	gint refuses; /* atomic: every unit exists */
} Systemd;

/* It has the name when it returns; and gives it up, and takes it again. */
Systemd *systemd_new(Fixture *f);
Systemd *systemd_free(Systemd *systemd);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Systemd, systemd_free)
void systemd_come(Systemd *systemd);
void systemd_go(Systemd *systemd);

/* The next call of this member. What units are referenced is counted on the way; those that are let go are
 * not waited for. */
GDBusMessage *systemd_await_call(Systemd *systemd, const char *member);
void systemd_await_unref(Systemd *systemd);
void systemd_answer(Systemd *systemd, GDBusMessage *call, GVariant *body);
void systemd_refuse(Systemd *systemd, GDBusMessage *call, const char *name, const char *text);
/* It is asked how the main process ended: a code of waitid(2), and its status. */
void systemd_tell_end(Systemd *systemd, int code, int status);

/* ---- a unit that is to be started ---- */
typedef struct Unit {
	GDBusMessage *call;
	char *name;
	GVariant *properties; /* a(sv) */
	int fd;               /* its standard input */
} Unit;

/* Until unit_forget(). */
Unit systemd_await_unit(Systemd *systemd);
void systemd_accept(Systemd *systemd, const Unit *unit);
/* systemd closes what is its own; the launcher has its standard input. */
void unit_forget(Unit *unit);
/* NULL: it has none of this name. */
GVariant *unit_property(const Unit *unit, const char *name);
void unit_assert_property(const Unit *unit, const char *name, const char *text);
/* As ExecStart says. */
GPid unit_run(const Unit *unit);
/* The whole way: awaited, accepted, run. */
GPid systemd_start_unit(Systemd *systemd);
/* `ret_output`: of its standard output; NULL: ours. */
GPid unit_spawn(char **argv, int input, int *ret_output);
/* Its status, as of waitpid(2). */
int unit_reap(GPid pid);
