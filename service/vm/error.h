#pragma once
/* The one error domain of the vm room. bus/ maps it to D-Bus names, in one table. */
#include <glib.h>

#define VM_ERROR (vm_error_quark())
GQuark vm_error_quark(void);

typedef enum VmError {
	VM_ERROR_FAILED, /* ours: should not happen */
	VM_ERROR_INVALID_ARGS,
	VM_ERROR_UNKNOWN_OBJECT,
	VM_ERROR_ACCESS_DENIED,
	VM_ERROR_LIMIT_REACHED,
	VM_ERROR_INVALID_STATE,
	VM_ERROR_NOT_SUPPORTED,
	VM_ERROR_INVALID_CONFIG,
	VM_ERROR_VM_EXISTS,
	VM_ERROR_STORAGE_FAILED,
	VM_ERROR_NO_SUCH_VM,
	VM_ERROR_NO_SUCH_DEVICE,
	VM_ERROR_QEMU_FAILED,
	VM_ERROR_UNRESPONSIVE,
	VM_ERROR_TIMEOUT,
	VM_ERROR_BUSY,
	VM_ERROR_CANCELLED,
	VM_ERROR_CONFLICT,
	VM_ERROR_MAX,
} VmError;
