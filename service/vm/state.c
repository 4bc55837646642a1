#include "vm/state.h"

#include <glib.h>

static const struct {
	const char *name;
	bool active;
} states[VM_STATE_MAX] = {
	[VM_STATE_OFF] = {"off", false},
	[VM_STATE_STARTING] = {"starting", true},
	[VM_STATE_RUNNING] = {"running", true},
	[VM_STATE_PAUSED] = {"paused", true},
	[VM_STATE_SUSPENDED] = {"suspended", true},
	[VM_STATE_STOPPING] = {"stopping", true},
	[VM_STATE_CRASHED] = {"crashed", false},
};

static const char *const reasons[VM_REASON_MAX] = {
	[VM_REASON_DEFINED] = "defined",
	[VM_REASON_USER] = "user",
	[VM_REASON_GUEST] = "guest",
	[VM_REASON_START_FAILED] = "start-failed",
	[VM_REASON_SHUTDOWN_TIMEOUT] = "shutdown-timeout",
	[VM_REASON_CALLER_LEFT] = "caller-left",
	[VM_REASON_IO_ERROR] = "io-error",
	[VM_REASON_NO_SPACE] = "no-space",
	[VM_REASON_WATCHDOG] = "watchdog",
	[VM_REASON_PANIC] = "panic",
	[VM_REASON_KILLED] = "killed",
	[VM_REASON_QEMU_EXIT] = "qemu-exit",
	[VM_REASON_RESYNC] = "resync",
};

const char *vm_state_to_string(VmState state)
{
	g_assert((unsigned)state < VM_STATE_MAX);
	return states[state].name;
}

const char *vm_reason_to_string(VmReason reason)
{
	g_assert((unsigned)reason < VM_REASON_MAX);
	return reasons[reason];
}

bool vm_state_is_active(VmState state)
{
	g_assert((unsigned)state < VM_STATE_MAX);
	return states[state].active;
}
