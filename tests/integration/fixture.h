#pragma once
/*
 * A world for one test: a private message bus, a roostd on it with folders of its own, a stand-in for QEMU
 * (or the real one), and clients. Nothing of the host's is touched; what is left when a test dies is cleared
 * away by a keeper.
 *
 * A client is GDBus used at the level of messages: everything that arrives is kept in one list, in the order
 * in which it came, so that a test can ask what was before what. Waiting is for a message, never for a time;
 * the limit is generous.
 */
#include <gio/gio.h>
#include <stdbool.h>

#define NAME           "org.roost1"
#define PATH           "/org/roost1"
#define MANAGER        "org.roost1.Manager"
#define VM             "org.roost1.VM"
#define ROOST_ERROR(x) "org.roost1.Error." x
#define DBUS_ERROR(x)  "org.freedesktop.DBus.Error." x

/* ---- clients ---- */
typedef struct Client Client;

Client *client_new(const char *address);
/* Closes the connection. */
Client *client_free(Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)

const char *client_name(const Client *client);

/* The same, as another user; root only. */
Client *client_new_as(const char *address, guint uid);
/* Any message; its serial. */
guint32 client_send_message(Client *client, GDBusMessage *message);
/* What was sent is in the socket when it returns. */
void client_flush(Client *client);
/* Waits for a call to this client from position `from` on; its position. */
gsize client_await_call(Client *client, gsize from, const char *member);
/* Takes a name on the bus, which must be free. */
void client_own_name(Client *client, const char *name);
/* Wants more signals. */
void client_match(Client *client, const char *rule);

/* The process that has the name on the bus; 0: none. */
guint32 client_owner_pid(Client *client);
/* The same of another name. */
guint32 client_pid_of(Client *client, const char *name);

/* Sends a call; its serial. `args`: a tuple, consumed if floating, or NULL. */
guint32 client_send(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args);
/* The same, without wanting a reply. */
guint32 client_send_quietly(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args);
/* The same, with file descriptors along; they stay the caller's. */
guint32 client_send_with_fds(Client *client, const char *path, const char *interface, const char *member,
	GVariant *args, GUnixFDList *fds);
/* The same; the user may be asked to authenticate. */
guint32 client_send_interactively(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args);
/* Waits for the reply; its position in the list. */
gsize client_await_reply(Client *client, guint32 serial);
/* The message at a position; borrowed. */
GDBusMessage *client_message(Client *client, gsize position);
/* Waits until there is one at this position. */
void client_await_message(Client *client, gsize position);
/* The result, which must be none of an error. */
GVariant *client_result(Client *client, guint32 serial);
/* The one fd of the result, which is none of an error; the caller closes it. */
int client_result_fd(Client *client, guint32 serial);
/* Must be this error, its text matching the glob. */
void client_expect_error(Client *client, guint32 serial, const char *error, const char *glob);

/* Both at once. */
GVariant *client_call(
	Client *client, const char *path, const char *interface, const char *member, GVariant *args);
void client_do(Client *client, const char *path, const char *interface, const char *member, GVariant *args);
void client_refused(Client *client, const char *path, const char *interface, const char *member,
	GVariant *args, const char *error, const char *glob);

/* How many messages there are: the position of the next one. */
gsize client_mark(Client *client);
/* Waits for a signal from position `from` on, of this path (NULL: any), whose printed arguments match the
 * glob (NULL: any); its position. */
gsize client_await(Client *client, gsize from, const char *path, const char *member, const char *glob);
/* How many such signals there are in [from, to). */
guint client_count(
	Client *client, gsize from, gsize to, const char *path, const char *member, const char *glob);
/* The first such signal in [from, to), or `to`. */
gsize client_find(
	Client *client, gsize from, gsize to, const char *path, const char *member, const char *glob);
/* What was sent to this client before now has come when it returns. */
gsize client_sync(Client *client);

/* A property, asked for; as text. */
GVariant *client_get(Client *client, const char *path, const char *interface, const char *property);
void client_assert_property(Client *client, const char *path, const char *property, const char *text);
/* Waits until the property is so (told by PropertiesChanged, or so already). */
void client_await_property(Client *client, const char *path, const char *property, const char *text);

/* ---- the world ---- */
typedef struct FixtureOptions {
	bool real_qemu;
	unsigned memory_mib;   /* of VMs; 0: 64 */
	double deadline_scale; /* 0: 1 */
	int max_workers;       /* 0: roostd's own */
	const char *qemu_user; /* NULL: as roostd */
	double idle_exit;      /* 0: never */
	bool is_system;        /* roostd takes the bus for the system's: polkit is asked */
	bool activated;        /* roostd is not started: the bus starts it */
	bool waits;            /* roostd is not started: the test does it */
	bool bad_commands;     /* the test has QEMU sent what this does not understand */
	bool own_service_file; /* and the test says how: services/org.roost1.service in the folder */
	/* A shell script in QEMU's place, for fixture_write_qemu(); "": none is there yet. NULL: QEMU itself.
	 */
	const char *qemu_script;
} FixtureOptions;

typedef struct Fixture {
	FixtureOptions options;
	char *dir, *address, *kernel;
	GPid bus, roostd, keeper;
	int keeper_pipe;
	Client *client;
} Fixture;

/* main()'s first call: g_test_init(), and the keeper's own main. */
void fixture_init(int *argc, char ***argv);

Fixture *fixture_new(const FixtureOptions *options);
/* Ends roostd, which must end well. */
Fixture *fixture_free(Fixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fixture, fixture_free)

void fixture_start_roostd(Fixture *fixture);
/* Of an activated one: ends what runs, by the number that the bus has for it. */
void fixture_end_activated(Fixture *fixture);
void fixture_stop_roostd(Fixture *fixture);
/* Without a word. */
void fixture_kill_roostd(Fixture *fixture);
/* The bus dies; how roostd ends. Nothing but fixture_free() may follow. */
int fixture_lose_bus(Fixture *fixture);
/* Runs a client, for whom this bus is the system's, to its end; its exit status. */
int fixture_run_client(Fixture *fixture, char **argv);
/* A roostd with these further options, which must refuse to start; what it said on standard error. */
char *fixture_refused_start(Fixture *fixture, const char *const *options, int *ret_code);

/* Writes a file; its path. */
char *fixture_write(Fixture *fixture, const char *name, const char *data, gsize size);

/* Puts another script in the place of the one that is roostd's QEMU (FixtureOptions.qemu_script): another
 * file, as a package manager does it. In it, @MOCK@ and @QEMU@ are the stand-in and the real one, @DIR@ the
 * fixture's folder. */
void fixture_write_qemu(Fixture *fixture, const char *script);

/* Defines a VM; its object. `script`: what its stand-in does (may be NULL); `config`: more keys, in
 * GVariant's text form without braces, or NULL. */
char *fixture_define(Fixture *fixture, const char *name, const char *script, const char *config);
/* A VM on real QEMU that boots this code from a floppy; `more` as `config` above. */
char *fixture_define_boot(Fixture *f, const char *name, const guint8 *code, gsize size, const char *more);
void fixture_start_vm(Fixture *fixture, const char *path);
GVariant *fixture_no_options(void);

/* The VM's QEMU is sent a signal. */
void fixture_signal_qemu(Fixture *fixture, const char *path, int signal);
guint fixture_pid(Fixture *fixture, const char *path);
