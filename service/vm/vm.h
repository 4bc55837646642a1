#pragma once
/*
 * Vm: one virtual machine, and the protocol by which its threads meet: the VM lock, the mail, the ready list,
 * the outbox. docs/THREADS.md tells the rules, tests/model/ proves them. Who may touch a field is written
 * beside it:
 *
 *   lock    the VM lock (vm_lock, vm_unlock): workers, and the event thread where it is free
 *   mail    the mail mutex, a leaf: O(1) work of any thread
 *   event   the event thread
 *   bus     the bus thread
 *
 * How an event goes: vm_file_event() puts it into the mail and marks the waiter that it matches; vm_list()
 * puts the VM on the ready list; vm_deliver() tries the VM lock, and whoever holds it applies what is filed
 * when it unlocks. Applied events become a view, state changes and signals in the outbox; vm_publish() posts
 * the VM to the bus inbox once.
 */
#include "exec/lane.h"
#include "qemu/process.h"
#include "qmp/wire.h"
#include "vm/engine.h"
#include "vm/error.h"
#include "vm/event-set.h"
#include "vm/outbox.h"

typedef enum VmLane { VM_LANE_QMP, VM_LANE_AGENT, VM_LANE_MAX } VmLane;

/* Internal work (Lane.wanted). */
#define VM_WANT_CLEANUP                                                                                      \
	(1U << 0) /* remove the run-time files of a QEMU that has exited, and with it a transient VM */
#define VM_WANT_DUMP (1U << 1) /* the next step of a dump */

typedef struct VmLink VmLink;       /* event thread: monitor, pidfd, timers, consoles (link.h) */
typedef struct VmHandoff VmHandoff; /* a new process's fds on their way to the event thread (link.h) */
typedef struct ConsoleRequest ConsoleRequest; /* a reader's fd on its way to the event thread (console.h) */
typedef struct Operation Operation;           /* operation.h */
typedef struct UnitRequest UnitRequest;       /* a Start's to the bus thread (unit.h) */

/* A waiter: an operation that sleeps until QEMU answered. On the worker's stack; registered in the mail
 * before its command is sent. Marks stay until it is unregistered. */
typedef struct Waiter {
	Cond cond;
	uint64_t command_id; /* the reply it waits for */
	uint64_t operation_id;
	bool want_event; /* and an event, too: */
	EventId event_id;
	const char *event_key; /* NULL: any key */
	bool cancellable;      /* not an undo step */
	bool reply_suffices;   /* an exit after the reply is no failure */
	int *fd;               /* goes along with the command, and is taken; NULL: none */
	bool exit_only;        /* no command: it waits for the exit */
	/* mail: the marks */
	QmpReply *reply;
	bool has_event;
	bool has_exit;
	bool has_closed; /* the monitor's connection is gone */
	bool is_cancelled;
	bool is_killed;
} Waiter;

/* A time that the event thread is to tell of, by an event of its own. */
typedef enum VmAlarm {
	VM_ALARM_RESET_WINDOW, /* QEMU is to stop at resets again */
	VM_ALARM_DUMP,         /* a dump should be done by now */
	VM_ALARM_MAX
} VmAlarm;

/* Of the guest's memory (dump.c). */
typedef enum VmDump {
	VM_DUMP_NONE,
	VM_DUMP_WANTED,  /* internal work begins it */
	VM_DUMP_RUNNING, /* QEMU writes */
	VM_DUMP_DONE,    /* internal work puts it away, and the policy goes on */
	VM_DUMP_FAILED   /* likewise */
} VmDump;

typedef struct VmMail {
	Leaf mutex;
	EventSet events;
	uint64_t n_exits; /* exits filed */
	Waiter *waiters[VM_LANE_MAX];
	Outbox out;
	GString *send; /* QMP commands to be written; NULL while no monitor is expected */
	int send_fd;   /* goes along with the command at send_fd_offset of `send`; -1: none */
	size_t send_fd_offset;
	bool silent;              /* an answer is overdue: the next reply means that QEMU is back */
	bool listed_for_io;       /* there is something for the event thread beyond events */
	QemuProcess *process;     /* shown by Start; NULL: none. A reference */
	UnitRequest *launch;      /* likewise, before there is a process */
	uint64_t kill_before;     /* operations accepted before this number that need QEMU are cancelled */
	bool killed;              /* the process was signalled by Kill */
	VmReason kill_reason;     /* why, while kill_before or killed bear on an operation or a process */
	char *closed_why;         /* why the connection was lost last, or NULL */
	char *last_words;         /* of the process that exited, or NULL */
	VmHandoff *handoff;       /* owned */
	ConsoleRequest *consoles; /* owned list */
	unsigned n_console_readers;
	bool resync_wanted;
	uint64_t shutdown_deadline_usec;    /* monotonic; 0: none */
	uint64_t quit_deadline_usec;        /* likewise: then QEMU is killed */
	uint64_t alarms_usec[VM_ALARM_MAX]; /* likewise: set, and not seen by the event thread yet */
	uint64_t restart_after; /* QEMU crashed, and is to be started again unless a Kill came after
				   this number, the Start's; 0: not wanted */
} VmMail;

/* What an operation asked of the guest, and what was heard that explains what comes next. All: lock. */
typedef struct VmHints {
	bool shutdown_asked; /* Shutdown is under way */
	bool reboot_asked;   /* Reboot: a power-off starts the guest again */
	bool restarting;   /* it powered off or panicked and is being reset by us: `cont` follows the RESET */
	bool restart_lost; /* the same, and QEMU was not heard since: a resync, or the RESET, tells what
			      became of it */
	VmReason restart_reason; /* why, while restarting and until the RESUME; VM_REASON_MAX: neither */
	bool preserved;          /* it powered off or reset, and is kept so: QEMU's `shutdown` is no news */
	bool watchdog_resets;    /* the watchdog has fired: the reset that comes is not the guest's */
	bool force;              /* at the timeout: kill */
	bool force_killed;       /* the timeout has passed and killed it */
	bool powered_off;        /* SHUTDOWN came: QEMU is being ended by us */
	bool powered_off_clean;  /* SHUTDOWN came from the host's side (quit, SIGTERM) */
	VmDump dump;
	VmPolicy dump_then;   /* what comes after it; PRESERVE: the guest goes on */
	VmReason stop_reason; /* for the next STOP; VM_REASON_MAX: none */
	VmReason off_reason;  /* for the exit; VM_REASON_MAX: none */
	bool holds_state; /* an operation owns the STOP and RESUME it causes: the view shows the state from
			     before */
} VmHints;

#define VM_HINTS_NONE                                                                                        \
	((VmHints){                                                                                          \
		.stop_reason = VM_REASON_MAX, .off_reason = VM_REASON_MAX, .restart_reason = VM_REASON_MAX})

struct Vm {
	Ref ref;
	Engine *engine;     /* immutable */
	char uuid[37];      /* immutable */
	uint32_t owner_uid; /* immutable */
	bool persistent;    /* immutable; false: it is gone when its QEMU is */
	char *bound_to;     /* immutable: whose leaving of the bus ends it, in bus/'s words; or NULL */
	void *bus_user;     /* bus: what bus/ keeps of it */

	InboxItem ready_item; /* the ready list's */
	InboxItem post_item;  /* the bus inbox's */
	Lane lanes[VM_LANE_MAX];
	bool internal_waiting; /* engine's internal_mutex */

	Lock lock;
	atomic_uint n_lock_waiters;
	atomic_uint_fast64_t last_answer_usec; /* monotonic, when QEMU last answered: any thread reads */

	VmMail mail;

	/* ---- lock ---- */
	VmConfig *config, *running_config;
	uint64_t revision;
	VmState state;
	VmReason reason;
	uint64_t state_since_usec; /* realtime */
	/* What the view says: differs from the above only while hints.holds_state. */
	VmState shown_state;
	VmReason shown_reason;
	uint64_t shown_since_usec;
	bool agent_connected; /* the guest has the agent's port open */
	bool responsive;
	uint64_t unresponsive_since_usec; /* realtime */
	VmAccelerator accelerator;        /* as run */
	uint32_t pid;
	char *unit;                /* of systemd's, that it runs in; NULL: none */
	uint64_t epoch;            /* number of this QEMU process */
	uint64_t started_id;       /* the number of the operation that started it */
	uint64_t restarts_usec[5]; /* monotonic: when policies started it again; 0: never */
	uint64_t n_exits;          /* exits applied */
	VmHints hints;
	VmLastExit last_exit;
	bool gone;             /* undefined */
	uint64_t claims_owner; /* whose claims are given back at the exit; 0: none */
	Outbox staged;         /* state changes and signals to be published */
	bool dirty;            /* the view is not what is published */
	uint64_t view_version;
	unsigned wanted; /* internal work to ask for after the unlock */

	/* ---- event ---- */
	VmLink *link;
};

/* The bus thread, or before threads start: a VM that is off, with one reference; the config is taken over.
 * Its outbox holds its first view. */
Vm *vm_new(Engine *engine, VmConfig *config_consume, uint32_t owner_uid, uint64_t revision);
/* Its maker, before anybody else knows it: the VM is transient. `bound_to`: see Vm; copied. */
void vm_make_transient(Vm *vm, const char *bound_to);
/* Any thread. The last reference is dropped with no lane busy and nothing in the mail but what can be thrown
 * away. */
Vm *vm_ref(Vm *vm);
Vm *vm_unref(Vm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vm, vm_unref)

static inline Vm *vm_from_ready_item(InboxItem *item)
{
	return (Vm *)((char *)item - offsetof(Vm, ready_item));
}
static inline Vm *vm_from_post_item(InboxItem *item)
{
	return (Vm *)((char *)item - offsetof(Vm, post_item));
}

/* ---- the lock (lock.c) ---- */
/* A worker: takes the VM lock and applies what is filed. */
void vm_lock(Vm *vm) ACQUIRES(vm->lock);
/* The holder: applies what is filed, publishes, releases, looks again. */
void vm_unlock(Vm *vm) RELEASES(vm->lock);
/* The holder: applies what is filed and publishes, if the state changed or there are signals. */
void vm_drain(Vm *vm) REQUIRES(vm->lock);
/* Any thread, no leaf held: puts the VM on the ready list. */
void vm_list(Vm *vm);
/* The event thread: applies what is filed, unless somebody holds the lock: then the holder will look. For a
 * monitor's turn, which needs no detour over the ready list. */
void vm_try_apply(Vm *vm) ON_EVENT_THREAD;
/* The event thread: a VM from the ready list, its item cleared; applies what is filed unless somebody holds
 * the lock. */
void vm_deliver(Vm *vm) ON_EVENT_THREAD;
/* The event thread (a worker, for what it found out by a deadline; the bus thread, for what systemd says):
 * files an event, marks the waiters. vm_list() must follow. */
void vm_file_event(Vm *vm, const EventRecord *record);
/* Any thread: a record of Roost's own, of now, without data. */
EventRecord vm_own_record(EventId id);
/* The event thread: files a reply. False: nobody waits for it (it came late). */
bool vm_file_reply(Vm *vm, uint64_t command_id, QmpReply *reply_consume) ON_EVENT_THREAD;
/* The event thread: the exit of QEMU, after its last byte. Once per process. */
void vm_file_exit(Vm *vm, bool known, int code, int signal, const char *last_words) ON_EVENT_THREAD;
/* The event thread: the monitor's connection is gone, the process is not. */
void vm_file_closed(Vm *vm, const char *why) ON_EVENT_THREAD;

/* The bus thread: takes what is to be emitted. `clear_posted`: it came from the inbox as INBOX_POST. */
void vm_take_outbox(Vm *vm, bool clear_posted, Outbox *ret_outbox) ON_BUS_THREAD;
/* The bus thread: the data of an event of an outbox as a{sv}; not floating. */
GVariant *vm_event_data(const EventEntry *entry) ON_BUS_THREAD;
/* The name under which an event is signalled. */
const char *vm_event_name(const EventEntry *entry);

/* ---- waiting (wait.c): see operation.h for what operations call ---- */
typedef enum WaitResult {
	WAIT_OK,        /* reply, and the event if one was wanted */
	WAIT_EXIT,      /* QEMU exited */
	WAIT_CLOSED,    /* the connection is gone */
	WAIT_CANCELLED, /* CancelOperation */
	WAIT_KILLED,    /* Kill */
	WAIT_TIMEOUT,
	WAIT_NO_QEMU, /* refused: there is no monitor */
} WaitResult;
/* The holder: registers, sends, unlocks, sleeps, locks. An exit that was the cause has been applied when it
 * returns. */
WaitResult vm_wait(Vm *vm, VmLane lane, Waiter *waiter, const char *line, uint64_t deadline_usec,
	const LaneEntry *entry) REQUIRES(vm->lock);
/* Any thread: marks the waiter of a cancelled operation. After lane_cancel(). */
void vm_wake_cancelled(Vm *vm, VmLane lane, uint64_t operation_id);

/* ---- the state (apply.c): the holder ---- */
/* A change of state; `own`: a step of an operation. Nothing if both are as they were. */
void vm_set_state(Vm *vm, VmState state, VmReason reason, bool own) REQUIRES(vm->lock);
/* Applies one entry. */
void vm_apply(Vm *vm, const EventEntry *entry) REQUIRES(vm->lock);
/* An operation owns the STOP and RESUME that it causes: the view keeps the state until vm_release_state(). */
void vm_hold_state(Vm *vm) REQUIRES(vm->lock);
void vm_release_state(Vm *vm) REQUIRES(vm->lock);
/* A view of now. */
VmView *vm_make_view(Vm *vm) REQUIRES(vm->lock);
/* The holder: sets the times (monotonic; 0: none) at which a Shutdown has failed, and at which a QEMU that
 * was told to quit is killed. */
void vm_set_deadlines(Vm *vm, uint64_t shutdown_usec, uint64_t quit_usec) REQUIRES(vm->lock);
/* The holder: an event tells of it after this long (scaled). */
void vm_set_alarm(Vm *vm, VmAlarm alarm, uint64_t usec) REQUIRES(vm->lock);
/* The holder: the former of the two. */
uint64_t vm_shutdown_deadline_usec(Vm *vm) REQUIRES(vm->lock);
/* The holder: appends a QMP command whose answer nobody waits for. */
void vm_send(Vm *vm, const char *command, GVariant *arguments) REQUIRES(vm->lock);

/* ---- policies (policy.c): the holder ---- */
/* The guest has powered off; has reset, and was stopped at it; has panicked, and is stopped (`powered_off`:
 * by arguments of its own QEMU does not keep one that panicked); QEMU has ended by itself: what the
 * definition wants is begun. */
void policy_powered_off(Vm *vm) REQUIRES(vm->lock);
void policy_reset(Vm *vm) REQUIRES(vm->lock);
void policy_panicked(Vm *vm, bool powered_off) REQUIRES(vm->lock);
void policy_qemu_died(Vm *vm) REQUIRES(vm->lock);
/* It has stopped, for the VM's reason. */
void policy_stopped(Vm *vm) REQUIRES(vm->lock);
/* The guest is stopped: it is reset and goes on, in the same QEMU. */
void policy_restart_guest(Vm *vm, VmReason reason) REQUIRES(vm->lock);
/* QEMU is told to quit, and killed if it does not. */
void policy_end_qemu(Vm *vm, VmReason reason) REQUIRES(vm->lock);
/* Whether QEMU stops at resets. */
bool policy_stops_resets(Vm *vm) REQUIRES(vm->lock);
/* QEMU does not answer, or its monitor is lost; its state was asked for and is known again (`runs`: the guest
 * does). True: the policy that was under way goes on from there. */
void policy_unresponsive(Vm *vm) REQUIRES(vm->lock);
bool policy_heard_again(Vm *vm, bool runs) REQUIRES(vm->lock);
/* An internal operation has dumped the guest's memory, or could not: what comes then. */
void policy_after_dump(Vm *vm, VmPolicy then) REQUIRES(vm->lock);
/* QEMU was told not to, for a reset of ours: from now on until the time for it has passed. */
void policy_open_reset_window(Vm *vm) REQUIRES(vm->lock);
void policy_close_reset_window(Vm *vm) REQUIRES(vm->lock);
/* Somebody has started it: what went before does not count any more. */
void policy_forget_restarts(Vm *vm) REQUIRES(vm->lock);
/* The bus thread: whether QEMU has crashed and is to be started again. It is asked once. */
bool vm_take_restart(Vm *vm) ON_BUS_THREAD;

/* ---- dumps (dump.c) ---- */
/* The holder: the guest is stopped, and its memory is to be dumped; policy_after_dump() follows. */
void dump_want(Vm *vm, VmPolicy then, const char *why) REQUIRES(vm->lock);
/* The holder: QEMU says that it is done; the time for it is over. */
void dump_completed(Vm *vm, bool failed, const char *words) REQUIRES(vm->lock);
void dump_timed_out(Vm *vm) REQUIRES(vm->lock);
/* A worker, internal work: the next step. */
void dump_run(Vm *vm) ON_WORKER;

/* ---- Kill (kill.c) ---- */
/* The bus thread, no lock: wants QEMU gone, for this reason; `before` is a fresh number of the service's
 * series. Signals the process if there is one. The caller then removes the queued operations of a lower
 * number that need QEMU, and answers its own call when a view without QEMU is installed. Returns whether a
 * process was there. */
uint64_t vm_kill(Vm *vm, uint64_t before, VmReason reason) ON_BUS_THREAD;
/* A worker, Start: shows the process and asks, in one hold. False: a Kill came first, and the process was
 * signalled. */
bool vm_show_process(Vm *vm, QemuProcess *process, uint64_t operation_id);
/* Any thread, no leaf held: whether Kill has signalled a process whose exit was not filed yet. */
bool vm_is_being_killed(Vm *vm);
/* Any thread, no leaf held: signals the process by the definition's or an operation's own decision. */
void vm_end_process(Vm *vm);

/* ---- internal operations (internal.c) ---- */
/* Any thread, no lock held: finds the lane's wanted work a thread, or puts the VM in line for one. */
void vm_start_internal(Vm *vm);
/* A worker: a slot of the 2 x cores. `false`: none is free, and the VM is in line if `wait`. */
bool internal_slot_take(Vm *vm, bool wait);
/* A worker: gives the slot back, to a VM in line if there is one. */
void internal_slot_give(Engine *engine);
/* The bus thread: a transient VM whose CreateVM will not come back goes. */
void vm_want_cleanup(Vm *vm) ON_BUS_THREAD;
/* A worker: carries the bits out, without the VM lock. */
void vm_run_internal(Vm *vm, unsigned bits) ON_WORKER;
