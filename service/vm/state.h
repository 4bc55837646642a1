#pragma once
/* States and reasons: the contract's words. New ones may be added; clients must expect that. */
#include <stdbool.h>

typedef enum VmState {
	VM_STATE_OFF,
	VM_STATE_STARTING,
	VM_STATE_RUNNING,
	VM_STATE_PAUSED,
	VM_STATE_SUSPENDED,
	VM_STATE_STOPPING,
	VM_STATE_CRASHED,
	VM_STATE_MAX,
} VmState;

typedef enum VmReason {
	VM_REASON_DEFINED,
	VM_REASON_USER,
	VM_REASON_GUEST,
	VM_REASON_START_FAILED,
	VM_REASON_SHUTDOWN_TIMEOUT,
	VM_REASON_CALLER_LEFT,
	VM_REASON_IO_ERROR,
	VM_REASON_NO_SPACE,
	VM_REASON_WATCHDOG,
	VM_REASON_PANIC,
	VM_REASON_KILLED,
	VM_REASON_QEMU_EXIT,
	VM_REASON_RESYNC,
	VM_REASON_MAX,
} VmReason;

/* Any thread; static text. */
const char *vm_state_to_string(VmState state);
const char *vm_reason_to_string(VmReason reason);

/* Any thread: whether a QEMU belongs to the state. Not so in off and crashed. */
bool vm_state_is_active(VmState state);
