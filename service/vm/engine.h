#pragma once
/*
 * Engine: what all VMs share. Workers, the ready list (consumed by the event thread), the bus inbox (consumed
 * by the bus thread), the claims on disks, the folders, and the event thread itself. There is one; it is made
 * before threads start and is not freed before they have ended.
 */
#include <systemd/sd-event.h>

#include "exec/inbox.h"
#include "exec/workers.h"
#include "store/definition.h"
#include "vm/claims.h"
#include "vm/host.h"

typedef struct Engine Engine;
typedef struct Vm Vm;

/* The bus inbox's kinds of items. */
typedef enum InboxKind {
	INBOX_POST,      /* Vm.post_item: its outbox has something to emit */
	INBOX_OPERATION, /* Operation.item: an operation is done */
	INBOX_HOST,      /* HostFacts.item: what a probe found */
	INBOX_UNIT,      /* UnitRequest.item: a Start wants a unit of systemd's. A reference */
} InboxKind;

typedef struct EngineOptions {
	const char *qemu_binary;
	const char *helper; /* roost-helper, for what is done with other rights; borrowed */
	/* Who QEMU is to be; only if roostd is root. */
	bool has_qemu_user;
	uid_t qemu_uid;
	gid_t qemu_gid;
	StateDir *state_dir;       /* borrowed for the engine's life */
	RuntimeDir *runtime_dir;   /* borrowed */
	double deadline_scale;     /* 1.0; more on slow hosts */
	unsigned max_workers;      /* 512 */
	unsigned reserved_workers; /* 64 */
} EngineOptions;

/* The classes of deadlines, from acceptance. */
typedef enum DeadlineClass {
	DEADLINE_QUERY,   /* 5 s */
	DEADLINE_COMMAND, /* 10 s */
	DEADLINE_DEVICE,  /* 15 s */
	DEADLINE_START,   /* 20 s */
	DEADLINE_MAX,
} DeadlineClass;

#define ENGINE_UNDO_USEC (5 * USEC_PER_SEC)
#define ENGINE_KILL_USEC (5 * USEC_PER_SEC)
#define ENGINE_QUIT_USEC                                                                                     \
	(5 * USEC_PER_SEC) /* after the guest powered off, QEMU may take this long to end                    \
			    */
#define ENGINE_PATIENCE_USEC                                                                                 \
	(2 * USEC_PER_SEC) /* a command that is not answered for so long shows a hang                        \
			    */
#define ENGINE_PROBE_IDLE_USEC    (10 * USEC_PER_SEC) /* a running VM that says nothing for so long is asked */
#define ENGINE_PROBE_ANSWER_USEC  (5 * USEC_PER_SEC)
#define ENGINE_RESYNC_PERIOD_USEC (1 * USEC_PER_SEC) /* a guest can provoke one per VM in this time */
#define ENGINE_RESYNC_MAX         64                 /* at once */
#define ENGINE_RECONNECT_USEC     (1 * USEC_PER_SEC)
#define LANE_QUEUE_MAX            10

struct Engine {
	EngineOptions options; /* immutable; qemu_binary copied */
	char *qemu_binary;     /* immutable */
	Workers *workers;
	Inbox ready; /* Vm.ready_item */
	Inbox inbox; /* InboxKind */
	Claims *claims;
	bool has_units; /* workers read it, and the bus thread sets it before there are operations: QEMUs run
			   in units of systemd's */

	/* Internal operations: at most 2 x cores at once. */
	Leaf internal_mutex;
	unsigned max_internal;   /* immutable */
	unsigned n_internal;     /* internal_mutex */
	GQueue internal_waiting; /* internal_mutex: Vm*, a reference each */

	/* The event thread. */
	sd_event *loop;         /* event thread */
	pthread_t event_thread; /* the thread that stops it */
	bool event_thread_runs; /* likewise */
	int stop_bell;          /* immutable */
	int ask_bell;           /* immutable */
	atomic_bool asked;      /* set by the bus thread, cleared by the event thread */
	bool stopping;          /* event thread */
	unsigned n_resyncing;   /* event thread: resyncs under way */
	GQueue resync_waiting;  /* event thread: Vm*, a reference each */

	Host *host; /* what QEMU is here */
};

/* Before threads start. 0 or a negative errno. */
int engine_new(const EngineOptions *options, Engine **ret_engine);
/* Starts the event thread. */
int engine_start(Engine *engine);
/* The bus thread: tells the event thread to read and apply what has come, and to end; joins it. Then no VM
 * changes. */
void engine_stop(Engine *engine) ON_BUS_THREAD;
/* The bus thread: asks the event thread for a sign of life; whether the one that was asked for last has come.
 */
void engine_ask(Engine *engine) ON_BUS_THREAD;
bool engine_has_answered(const Engine *engine) ON_BUS_THREAD;
/* After engine_stop(): frees what the event thread had of a VM, and files nothing. */
void engine_drop_links(Engine *engine, Vm *vm);
/* After engine_stop(), with no worker left and no link. */
void engine_free(Engine *engine);

/* Any thread: the length of a deadline class on this host. */
uint64_t engine_deadline_usec(const Engine *engine, DeadlineClass class);

/* Any thread: a length of time on this host. */
uint64_t engine_scaled_usec(const Engine *engine, uint64_t usec);

/* Any thread: a number for a QMP command, never given twice, never 0. */
uint64_t engine_next_command_id(void);
