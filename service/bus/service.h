#pragma once
/*
 * What the files of this room share. Everything in it belongs to the bus thread.
 *
 * A BusVm is what the bus knows of a VM: the picture that property reads are answered from, and its
 * unanswered calls. It is counted (plainly): the registry's VM, each call and a place in the line of those
 * kept back hold one.
 */
#include <glib.h>
#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "bus/history.h"
#include "bus/limiter.h"
#include "bus/timer.h"
#include "vm/operation.h"
#include "vm/view.h"

#define BUS_PATH        "/org/roost1"
#define BUS_VM_PREFIX   "/org/roost1/vm"
#define BUS_MANAGER     "org.roost1.Manager"
#define BUS_VM          "org.roost1.VM"
#define BUS_REPLY_MAX   (16U * 1024 * 1024)
#define BUS_OPTIONS_MAX (16U * 1024)
#define BUS_BACKLOG_MAX 16U /* messages not taken by the bus: then no more lists are made */

typedef struct Call Call;
typedef struct Ask Ask;

/* The operation that CurrentOperation shows. */
typedef struct CurrentOperation {
	uint64_t id;        /* 0: none */
	const char *member; /* static */
	char *sender;
	uint32_t uid;
	uint64_t since_usec, deadline_usec; /* realtime */
} CurrentOperation;

/* All that can be read of a VM: its view, and what the bus thread adds. */
typedef struct VmPicture {
	VmView *view;
	char **pending; /* PendingChanges */
	CurrentOperation current;
	uint32_t n_queued;
	uint64_t event_sequence;
} VmPicture;

typedef struct BusVm {
	unsigned n_refs;
	Bus *bus;
	Vm *vm;     /* a reference */
	char *path; /* its object */
	VmPicture picture;
	bool exported;         /* the object is on the bus */
	uint64_t own_start_id; /* of a Start that Roost itself has asked for, and that is not done; 0: none */
	bool own_start_again;  /* it is because its QEMU has crashed */
	GQueue calls;          /* Call.vm_link: whose operations are not done, by number */
	GQueue kills;          /* Call.vm_link: Kills */
	Limiter limiter;
	bool kept_back;   /* something waits in its outbox, and is still posted */
	GList kept_link;  /* Bus.kept */
	char *bound_name; /* who ends it by leaving the bus; NULL: nobody */
	GList bound_link; /* Bus.bound */
	sd_bus_slot *bound_question;
	uint64_t kept_until_usec;
} BusVm;

/* capabilities.c: what is known of the host's QEMU, and who waits to hear it. */
typedef struct HostPicture {
	HostFacts *facts; /* the newest, or NULL */
	GQueue calls;     /* Call.line_link: GetCapabilities, for a check that has not begun */
	GQueue checked;   /* likewise, for the one under way */
	uint64_t check;   /* the number of the last one */
	bool checking;    /* it is under way */
	Timer timer;      /* when the first of the calls is due */
} HostPicture;

/* Calls by when they are due: those of one class in the order of their acceptance, so each line's first is
 * its earliest. */
enum { DUE_KILL = DEADLINE_MAX, DUE_AGAIN, DUE_MAX };

struct Bus {
	GQueue autostart; /* BusVm, a reference each: to be started */
	unsigned n_autostarting;
	unsigned n_restarting; /* Starts of VMs whose QEMU has crashed */
	unsigned n_validating; /* ValidateVM's under way */
	sd_bus *connection;
	sd_event *loop;     /* borrowed */
	Engine *engine;     /* borrowed */
	Registry *registry; /* borrowed */
	uid_t own_uid;
	BusLimits limits;
	bool lost;   /* the connection */
	bool ending; /* refuses what comes */
	sd_event_source *inbox_source;
	sd_bus_vtable *vm_vtable;
	Timer ending_timer;

	/* calls.c */
	GHashTable *calls_by_id;  /* number of an operation that is not done -> Call */
	GHashTable *calls_by_uid; /* uid -> number of unanswered calls */
	GQueue due[DUE_MAX];      /* Call.due_link */
	GQueue young;             /* Call.young_link: too young to be shown */
	unsigned n_kills;
	Timer calls_timer;

	/* authority.c */
	bool has_polkit;                /* it is the system's bus: who is not root is asked about */
	uint64_t polkit_complaint_usec; /* monotonic: the last; 0: none */
	GQueue asks;                    /* Ask.link: calls that wait for polkit, in the order they came */
	GQueue prompted;                /* Ask.link: likewise, for which somebody must authenticate */
	GQueue questions;               /* Question.link: what polkit has not answered */
	GHashTable *askers_by_uid;      /* uid -> Asker */
	GQueue askers;                  /* Asker.turn_link: who may have one more question sent */
	unsigned n_prompts;             /* questions for which somebody is asked to authenticate */
	uint64_t last_prompt;
	Timer asks_timer;

	/* senders.c */
	GHashTable *senders; /* unique name -> Sender */

	/* bound.c */
	GQueue bound; /* BusVm.bound_link */

	/* idle.c */
	struct {
		uint64_t usec;                          /* 0: never */
		uint64_t last_call_usec, released_usec; /* monotonic */
		Timer timer;
		sd_bus_slot *slot; /* the name is being given up, or taken again */
		bool is_last;      /* systemd was told that this is the end */
	} idle;
	int exit_code;

	GHashTable *audit_by_uid; /* audit.c: uid -> User; NULL: nobody yet */

	/* units.c */
	struct {
		bool is_there;    /* systemd, on the bus */
		GQueue starts;    /* UnitStart.link */
		GHashTable *held; /* name -> Unit */
		Timer timer;      /* when to try again */
	} units;

	/* watchdog.c */
	struct {
		uint64_t period_usec;
		bool told; /* that the event thread does not move */
		Timer timer;
	} watchdog;

	/* publish.c */
	GQueue kept; /* BusVm.kept_link */
	Timer kept_timer;
	History *history;
	uint64_t sequence; /* of the last Event */
	uint32_t n_vms, n_running, shown_vms, shown_running;
	HostPicture host;
};

/* vm-object.c: a VM that is not on the bus yet; the registry's count. */
BusVm *bus_vm_new(Bus *bus, Vm *vm);
BusVm *bus_vm_ref(BusVm *bv);
BusVm *bus_vm_unref(BusVm *bv);
/* For messages and signals. */
const char *bus_vm_name(const BusVm *bv);
static inline BusVm *bus_vm_of(const Vm *vm)
{
	return vm->bus_user;
}
/* The visible VM of an object path, or NULL. */
BusVm *bus_vm_by_path(Bus *bus, const char *path) ON_BUS_THREAD;
/* By name or UUID; NULL with NoSuchVM. */
BusVm *bus_vm_by_name(Bus *bus, const char *name, GError **error) ON_BUS_THREAD;

/* Each file's objects, on the connection. 0 or a negative errno. */
int manager_register(Bus *bus);
int vm_object_register(Bus *bus);
int object_manager_register(Bus *bus);
