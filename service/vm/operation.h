#pragma once
/*
 * Operation: one method of one VM from acceptance to reply. The bus thread makes it and hands it in
 * (operation_submit()); a worker runs it when its turn has come; it comes back to the bus thread through the
 * inbox, done, with a result or an error, behind the view that shows what it did. Each one that was accepted
 * comes back exactly once, unless the bus thread took it back (operation_take_back()); one that lost its
 * place comes back late, or never.
 *
 * run() is a plain sequential function. It is called with the VM lock held, and keeps it but for waits: for
 * QEMU (operation_execute()) and in system calls (operation_block()/operation_unblock()). Undo steps are
 * registered as it goes and run backwards if it fails.
 */
#include "vm/vm.h"

typedef union OperationArgs {
	struct {
		bool paused;
		bool again; /* Roost's own: its QEMU has crashed */
	} start;
	struct {
		bool has_timeout;
		uint64_t timeout_usec;
		bool force;
	} shutdown; /* and reboot: no options but Mode, which can only be acpi or auto */
	struct {
		bool autostart;
	} set_autostart;
	struct {
		bool storage; /* also the images that were made for it */
	} undefine;
	struct {
		char *console; /* owned; "" = the first */
		bool read_only;
	} open_console;
	struct {
		char *command; /* owned */
	} execute_qmp;
	struct {
		char *name;    /* owned; valid */
		bool reserves; /* bus: the name is reserved for it */
	} rename;
	struct {
		GVariant *changes; /* a reference: a{sv}, as it came */
		char **unset;      /* owned; known keys */
		bool has_revision;
		bool reserves;     /* bus: a name is reserved for it */
		uint64_t revision; /* what the caller has read */
	} update;
	struct {
		char **keys; /* owned */
		uint64_t hold_usec;
	} send_keys;
	struct {
		char *kind; /* owned; "" = as defined */
	} open_display;
	struct {
		char *format; /* owned; "" = png */
		uint32_t head;
	} screenshot;
} OperationArgs;

typedef struct OperationType {
	const char *member; /* the D-Bus member */
	VmLane lane;
	DeadlineClass deadline;
	bool needs_qemu; /* cancelled by Kill, refused while the VM is not responsive */
	bool (*run)(Operation *op, GError **error); /* REQUIRES(op->vm->lock) */
	void (*clear_args)(OperationArgs *args);    /* or NULL */
	bool makes_qemu; /* Start: one that does not answer is none of its business */
	/* Of one that failed, after all has been undone, and even if it never began; REQUIRES(op->vm->lock).
	 * Or NULL. Not called when it lost its place. */
	void (*failed)(Operation *op);
} OperationType;

extern const OperationType operation_define, operation_create, operation_undefine, operation_set_autostart,
	operation_start, operation_shutdown, operation_reboot, operation_reset, operation_pause,
	operation_resume, operation_open_console, operation_execute_qmp, operation_rename, operation_validate,
	operation_update, operation_inject_nmi, operation_send_keys, operation_open_display,
	operation_screenshot;

typedef void (*UndoFunc)(Operation *op);

struct Operation {
	Ref ref;
	InboxItem item;            /* INBOX_OPERATION */
	LaneEntry entry;           /* the lane's */
	const OperationType *type; /* immutable */
	Vm *vm;                    /* immutable; a reference */
	uint64_t deadline_usec;    /* immutable; monotonic */
	bool own;                  /* immutable from submit on: nobody called for it, Roost itself wants it */
	OperationArgs args;        /* the worker's, once submitted */

	/* The worker's until it comes back, then the bus thread's. */
	GVariant *result; /* the reply's body, a tuple; NULL: empty. A reference */
	int fd;           /* or -1: for the one 'h' in the result */
	GError *error;

	/* The worker's. */
	GPtrArray *undo; /* UndoFunc */
	bool undoing;
	bool lost;                   /* its place */
	uint64_t undo_deadline_usec; /* monotonic */
};

/* ---- the bus thread ---- */
/* Accepts: gives the number (of the one series), the deadline; args are taken over. */
Operation *operation_new(const OperationType *type, Vm *vm, OperationArgs *args_consume) ON_BUS_THREAD;
Operation *operation_ref(Operation *op);
Operation *operation_unref(Operation *op);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Operation, operation_unref)
static inline Operation *operation_from_item(InboxItem *item)
{
	return (Operation *)((char *)item - offsetof(Operation, item));
}
static inline Operation *operation_from_entry(LaneEntry *entry)
{
	return (Operation *)((char *)entry - offsetof(Operation, entry));
}

/* Any thread: a fresh number of the series that operations are numbered by. */
uint64_t operation_next_id(void);

/* Queues or starts it. On success the lane has a reference of its own and INBOX_OPERATION will follow, once.
 * Fails with Busy (the VM's queue is full; names who holds it) or LimitReached (no worker): then nothing has
 * happened. */
bool operation_submit(Operation *op, GError **error) ON_BUS_THREAD;

/* Takes operation `id` back if it is still queued: it will not come. True: it was. */
bool operation_take_back(Vm *vm, VmLane lane, uint64_t id) ON_BUS_THREAD;

/* At its deadline, some grace added: what becomes of it. */
typedef enum OperationExpiry {
	OPERATION_EXPIRY_NONE = 0, /* it is done: it is in the inbox already */
	OPERATION_EXPIRY_GONE,     /* it was queued, or lost its place: it will never come; nothing was done.
				      Answer Timeout */
	OPERATION_EXPIRY_LATE,     /* it will come too late: answer Timeout now, but mind what it did when it
				      comes */
} OperationExpiry;
OperationExpiry operation_expire(Vm *vm, VmLane lane, uint64_t id) ON_BUS_THREAD;

/* CancelOperation. 0; -ENOENT: `id` is not current; -EALREADY: too late. */
int operation_cancel(Vm *vm, VmLane lane, uint64_t id) ON_BUS_THREAD;

/* ---- a worker, in run() ---- */
/* Sends a command and waits for its answer. `arguments`: a{sv}, consumed if floating, or NULL. The lock is
 * released meanwhile: look at the state again. On success *ret_reply (may be NULL) is the caller's. */
bool operation_execute(Operation *op, const char *command, GVariant *arguments, QmpReply **ret_reply,
	GError **error) REQUIRES(op->vm->lock);
/* The same with an fd that is passed along (QMP's getfd, add-fd). Taken over. */
bool operation_execute_fd(Operation *op, const char *command, GVariant *arguments, int fd_consume,
	QmpReply **ret_reply, GError **error) REQUIRES(op->vm->lock);
/* The same, and waits for an event of this kind, too (registered before the command is sent). */
bool operation_execute_and_wait(Operation *op, const char *command, GVariant *arguments, EventId event_id,
	const char *event_key, GError **error) REQUIRES(op->vm->lock);
/* The same with a line that was formatted already, for command number `command_id`; an exit of QEMU after the
 * answer is no failure. */
bool operation_execute_line(Operation *op, const char *line, uint64_t command_id, const char *command,
	QmpReply **ret_reply, GError **error) REQUIRES(op->vm->lock);

/* Waits until QEMU has exited. True: it has, or there is none. */
bool operation_wait_exit(Operation *op) REQUIRES(op->vm->lock);

/* Around system calls that may hang: releases the lock; the place may be lost at the deadline.
 * operation_unblock() locks again, always. False: the place was lost, or the operation was cancelled or
 * killed meanwhile: *error is set, and run() returns false. An operation that lost its place must not touch
 * the VM, and has nothing to undo: what would have to be undone is done only after operation_unblock(). */
void operation_block(Operation *op) RELEASES(op->vm->lock);
bool operation_unblock(Operation *op, GError **error) ACQUIRES(op->vm->lock);

/* Around system calls that don't hang (a socket, a process): releases the lock, keeps the place. */
void operation_release(Operation *op) RELEASES(op->vm->lock);
void operation_retake(Operation *op) ACQUIRES(op->vm->lock);

/* From here on it can't be cancelled. False: it was cancelled before: *error is set. */
bool operation_commit(Operation *op, GError **error);

/* A worker, for internal work, no lock held: runs it to its end, as an operation that nobody has called for
 * and that is in no lane. */
bool operation_run_own(const OperationType *type, Vm *vm, GError **error) ON_WORKER;

/* Registers a step to be undone if run() fails. The VM lock is held when it is called. */
void operation_push_undo(Operation *op, UndoFunc func);

/* Any thread, with a slot of the internal operations: finds the QMP lane, whose current entry is the internal
 * one, a worker. False: there is none to be had; the work is put back, the slot still held. */
bool operation_run_internal_lane(Vm *vm);

/* Whether QEMU can carry it out, the lock released. It may take a process to find out, within its time: the
 * place is kept. op-definition.c. */
bool operation_check_supported(Operation *op, const VmConfig *config, GError **error) REQUIRES(op->vm->lock);

/* Commits, and stores a changed definition, which is the VM's from then on. op-definition.c. */
bool operation_change_definition(Operation *op, VmConfig *changed_consume, GError **error)
	REQUIRES(op->vm->lock);

/* ---- helpers for the families (operation.c) ---- */
/* Whether a Kill was accepted after it: a QEMU that it finds is as good as gone. */
bool operation_is_before_kill(const Operation *op);
/* InvalidState: "it is off, Pause needs running". */
void operation_refuse_state(Operation *op, const char *needs, GError **error) REQUIRES(op->vm->lock);
