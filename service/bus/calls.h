#pragma once
/*
 * Calls: a Call is one D-Bus method call that is not answered at once. It is made when the message comes,
 * waits for its caller's uid, begins, and is answered exactly once; when its caller leaves the bus before
 * that, it is dropped. While its operation is not done it stays in its VM's list, answered or not: the list
 * shows who holds the VM.
 */
#include "bus/members.h"

#define CALLS_UID_MAX        256
#define CALLS_UID_SPARE      32 /* beyond, for those that free a VM, while they wait for polkit */
#define CALLS_VALIDATING_MAX 4U
#define CALLS_YOUNG_USEC     (100 * USEC_PER_MSEC) /* operations that are younger are not shown */
#define CALLS_GRACE_USEC                                                                                     \
	(300 * USEC_PER_MSEC) /* a worker that notices the deadline by itself answers better */
#define CALLS_AGAIN_USEC (500 * USEC_PER_MSEC) /* an operation that is about to come is looked at again */

typedef struct Sender Sender;

struct Call {
	Bus *bus;
	sd_bus_message *message; /* NULL: answered, or dropped */
	const MemberRow *row;
	char *sender_name;
	Sender *sender; /* until it is answered */
	GList sender_link;
	bool begun, counted;
	Ask *ask;            /* while it waits for polkit */
	bool reserves;       /* a name is reserved for it */
	bool audited;        /* its answer was told */
	uint64_t taken_usec; /* monotonic, when it came */
	char *vm_name;       /* as it was when it was accepted; NULL: it was not */
	char vm_uuid[37];
	uint32_t uid;

	/* From begin() on. */
	BusVm *vm; /* NULL: its operation is done, or it has none */
	GList vm_link;
	const OperationType *type;          /* NULL: Kill */
	uint64_t id;                        /* the operation's number; Kill has one of the series, too */
	uint64_t since_usec, deadline_usec; /* realtime */
	uint64_t due_usec;                  /* monotonic */
	uint64_t accepted_usec;             /* monotonic */
	GList due_link;
	int due_line; /* of Bus.due; -1: in none */
	GList young_link;
	bool young;
	uint32_t may_vcpus; /* Update: what the definition may have after it; 0: as before */
	uint64_t may_memory;
	uint64_t exits_wanted; /* Kill: a view with this many exits tells */
	GQueue *line;          /* waits in this line, for something else than a VM; or NULL */
	GList line_link;
};

int calls_init(Bus *bus);
void calls_done(Bus *bus);

/* A call from outside: it goes its way. `row` takes calls that are not reads. */
void calls_take(Bus *bus, sd_bus_message *message, const MemberRow *row);

/* senders.c: the caller is known; the bus does not tell; it left the bus. */
void call_identified(Call *call, uint32_t uid);
void call_unidentified(Call *call);
void call_drop(Call *call);

/* ---- for begin() ---- */
/* Accepts an operation. False: nothing has happened. `args` are taken over. */
bool call_submit(
	Call *call, BusVm *bv, const OperationType *type, OperationArgs *args_consume, GError **error);
void call_kill(Call *call, BusVm *bv);
/* Answers without an operation. */
void call_reply_empty(Call *call) ON_BUS_THREAD;
void call_reply(Call *call, int (*append)(sd_bus_message *reply, const void *data), const void *data);
/* Answers with an error; the call has no operation (any more), and is freed. */
void call_fail(Call *call, GError *error_consume);
/* It counts among its user's unanswered calls from now on, of which there may be `max`. LimitReached. */
bool call_count(Call *call, unsigned max, GError **error);
void call_uncount(Call *call);
/* Takes the VM's queued operations back that need QEMU and have a lower number; answers them Cancelled. */
void calls_cancel_before(BusVm *bv, uint64_t kill_id) ON_BUS_THREAD;

/* ---- the inbox ---- */
void calls_operation_done(Bus *bus, Operation *op_consume) ON_BUS_THREAD;
/* A view was installed: may a Kill be answered? */
void calls_look_at_kills(BusVm *bv) ON_BUS_THREAD;

/* ---- what is shown ---- */
/* The sender is borrowed. */
void calls_current(const BusVm *bv, CurrentOperation *ret_current, uint32_t *ret_n_queued);
/* Appends ListOperations' elements. */
int calls_append_list(const BusVm *bv, sd_bus_message *message);

/* ---- the end ---- */
void calls_begin_shutdown(Bus *bus) ON_BUS_THREAD;
bool calls_are_over(const Bus *bus);
/* Answers all that are left. */
void calls_finish(Bus *bus);
