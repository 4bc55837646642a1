#pragma once
/* The files on the host that Roost makes for a VM at its start. A worker, no lock held; may hang on dead
 * storage. */
#include "vm/vm.h"

/* The file of the firmware's variables, made if there is none; NULL for a firmware without. *ret_path: the
 * caller frees. */
bool vm_files_prepare_firmware(Vm *vm, const VmConfig *config, char **ret_path, GError **error);
