#pragma once
/*
 * World: the engine without a bus and without a QEMU. The test's main thread is the bus thread: it polls the
 * inbox and does with what comes what bus/ does (view, state changes, events, and then the reply), writing it
 * down. A Guest is a VM with the other end of its monitor in the test's hands: the test reads what the engine
 * sends, and says what QEMU would say, word by word. Its process is a real one (it sleeps), so that pidfd,
 * kill and exit are real.
 *
 * There are no sleeps: WORLD_UNTIL() takes turns until a condition holds, and fails after a long time.
 */
#include "vm/operation.h"

#define WORLD_PATIENCE_USEC (60 * USEC_PER_SEC)

typedef struct World {
	char *folder;
	StateDir *state_dir;
	RuntimeDir *runtime_dir;
	Engine *engine;
	GPtrArray *guests; /* Guest */
	GPtrArray *calls;  /* Call */
	unsigned n_posts;  /* INBOX_POST items taken */
} World;

typedef struct WorldOptions {
	double deadline_scale; /* 0: 1 */
	unsigned max_workers;  /* 0: 64 */
	unsigned reserved_workers;
	const char *qemu_binary; /* NULL: none that works */
} WorldOptions;

/* What a call has come to. */
typedef struct Call {
	uint64_t id;
	const OperationType *type;
	Vm *vm; /* borrowed */
	unsigned n_replies;
	bool gone; /* taken back, or lost: it must not come */
	GError *error;
	GVariant *result;
	int fd;
} Call;

typedef struct Guest {
	World *world;
	Vm *vm;
	VmView *view; /* installed */
	GString *log; /* what was emitted, in order: "off>running(user) STOP RESET*2 STOP@resync Pause:ok" */
	uint64_t n_qemu_events; /* counts of origin qemu */
	bool emits_nothing;     /* its outbox is left to fill */
	bool is_kept_back;      /* taken from the inbox, still posted */

	/* The QEMU side. */
	int listener;   /* of its monitor, for reconnects */
	int peer;       /* the monitor's other end, or -1 */
	GString *heard; /* from the peer, not looked at yet */
	QemuProcess *process;
	int output;    /* its standard error's writing end, or -1 */
	int *consoles; /* QEMU's ends */
	int control;   /* what its process is told to exit with, or -1 */
} Guest;

World *world_new(const WorldOptions *options) ON_BUS_THREAD;
/* Kills what runs, waits for it, and checks that nothing is left. */
void world_free(World *world) ON_BUS_THREAD;
/* One turn of the bus thread: waits for the inbox for some milliseconds, and takes all that is there. */
void world_turn(World *world, int timeout_msec) ON_BUS_THREAD;

/* Emits what was kept back of a guest that emits_nothing, and goes on so. */
void world_let_go(Guest *guest) ON_BUS_THREAD;
/* Emits what nobody has posted: a view from before the start. */
void world_take_view(Guest *guest) ON_BUS_THREAD;

uint64_t world_patience(void);
void world_check_patience(uint64_t until_usec, const char *where, const char *condition);
#define WORLD_UNTIL(world, condition)                                                                        \
	do {                                                                                                 \
		uint64_t until_usec_ = world_patience();                                                     \
		while (!(condition)) {                                                                       \
			world_check_patience(until_usec_, G_STRLOC, #condition);                             \
			world_turn(world, 2);                                                                \
		}                                                                                            \
	} while (0)

/* Runs `func` on a thread with the worker role, to its end. */
void world_on_worker(void (*func)(void *data), void *data);

/* ---- calls ---- */
/* Accepts an operation; *ret_call is the world's. */
bool world_try_call(Guest *guest, const OperationType *type, OperationArgs *args, Call **ret_call,
	GError **error) ON_BUS_THREAD;
Call *world_call(Guest *guest, const OperationType *type) ON_BUS_THREAD;
Call *world_call_with(Guest *guest, const OperationType *type, OperationArgs args) ON_BUS_THREAD;
void world_wait(World *world, Call *call) ON_BUS_THREAD;
/* Waits, and asserts how it ended: VM_ERROR_MAX for success. */
void world_expect(World *world, Call *call, VmError error) ON_BUS_THREAD;
void world_expect_ok(World *world, Call *call) ON_BUS_THREAD;

/* The contract's word for it. */
const char *world_error_name(VmError error);

/* ---- guests ---- */
/* A VM that is off; `extra` adds to the definition (may be NULL). */
Guest *guest_new(World *world, const char *name, void (*extra)(GVariantDict *dict)) ON_BUS_THREAD;
/* Start, as far as the engine sees it: process, monitor, handshake, cont. Custom, so that no QEMU is needed:
 * `world_start` is the operation. Afterwards the log is empty. */
void guest_boot(Guest *guest) ON_BUS_THREAD;
extern const OperationType world_start;
/* Calls world_start; the rest of guest_boot() is for the test to do, by these: */
Call *guest_start(Guest *guest) ON_BUS_THREAD;
void guest_accept(Guest *guest) ON_BUS_THREAD;
void guest_handshake(Guest *guest) ON_BUS_THREAD;

/* Whether nothing is current in its QMP lane: a moment after the last reply. */
bool guest_is_at_rest(const Guest *guest);

/* QEMU's words. */
void guest_say(Guest *guest, const char *line);
void guest_event(Guest *guest, const char *name, const char *data);
void guest_return(Guest *guest, uint64_t id, const char *value);
void guest_fail(Guest *guest, uint64_t id, const char *desc);
/* The next command the engine sends must be this: its number. */
uint64_t guest_expect(Guest *guest, const char *command) ON_BUS_THREAD;
/* The next command, or NULL at once if there is none. The caller frees. */
char *guest_hear(Guest *guest, uint64_t *ret_id);
/* Nothing is there to be read. */
void guest_expect_silence(Guest *guest) ON_BUS_THREAD;
void guest_hang_up(Guest *guest);
/* The process ends, by a signal or with a code. */
void guest_die(Guest *guest, int signal);
void guest_exit(Guest *guest, int code);
/* A process like that of world_start. */
QemuProcess *guest_spawn(Guest *guest, int output_fd);

/* Asserts what was emitted since the last time, and forgets it. */
void guest_expect_log(Guest *guest, const char *expected) ON_BUS_THREAD;
/* Whether the log has come to be this. */
bool guest_log_is(const Guest *guest, const char *expected);
bool guest_log_has(const Guest *guest, const char *part);

/* ---- a gate: work that runs until it is let go ---- */
typedef struct Gate {
	Leaf mutex;
	Cond cond;
	bool open;
	unsigned n_entered, n_left;
} Gate;
void gate_init(Gate *gate);
void gate_done(Gate *gate);
void gate_pass(Gate *gate);
void gate_open(Gate *gate);
void gate_wait(Gate *gate, unsigned n_entered, unsigned n_left);

/* world_start passes this before it shows its process; NULL: none. */
extern Gate *world_start_gate;
