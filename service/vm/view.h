#pragma once
/*
 * VmView: an immutable, counted picture of everything that can be read of a VM. It is made by whoever holds
 * the VM lock and read by the bus thread, which answers property reads from the newest one it has installed:
 * a read never asks the VM. A view holds only what the VM itself knows; what the bus thread knows (the
 * current operation, the queue) is added there.
 */
#include "store/config.h"
#include "vm/state.h"

typedef struct VmLastExit {
	bool known;         /* false: the VM never ran; the property is empty */
	uint64_t time_usec; /* realtime */
	bool has_code, has_signal;
	int32_t code, signal;
	VmReason reason;
	char *message; /* QEMU's last words, or "" */
} VmLastExit;

typedef struct VmView {
	Ref ref;
	uint64_t n_exits;          /* how many QEMUs of this VM have ended */
	uint64_t version;          /* grows with each view of one VM */
	VmConfig *config;          /* as defined; a reference */
	VmConfig *running_config;  /* as QEMU has it, or NULL; a reference */
	VmAccelerator accelerator; /* as run, else as defined */
	VmState state;
	VmReason reason;
	uint64_t state_since_usec;
	bool agent_connected;
	bool responsive;
	uint64_t unresponsive_since_usec; /* realtime; 0 when responsive */
	uint32_t pid;                     /* 0: none */
	char *unit;                       /* "": none */
	uint32_t owner_uid;
	uint64_t revision;
	bool persistent;
	VmLastExit last_exit;
	bool gone; /* undefined, or transient and off: the object is to be removed */
} VmView;

/* Any thread: a zeroed view with one reference, to be filled by its maker. */
VmView *vm_view_new(void);
VmView *vm_view_ref(VmView *view);
VmView *vm_view_unref(VmView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmView, vm_view_unref)
