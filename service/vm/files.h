#pragma once
/* The files on the host that Roost makes for a VM at its start. A worker, no lock held; may hang on dead
 * storage. */
#include "vm/checks.h"

/* Where the VM's definition is kept: durable for a persistent VM, in the run-time folder for a transient one,
 * which must have one there. 0 or a negative errno. */
int vm_files_write_definition(Vm *vm, const VmConfig *config, uint64_t revision);

/* The run-time folder of a VM without a QEMU: of a transient one it is all that there is, but images. -EBUSY:
 * a QEMU that an earlier service started has it, and must be found by a later one. */
int vm_files_remove_runtime(Vm *vm);

/* The file of the firmware's variables, made if there is none; NULL for a firmware without. *ret_path: the
 * caller frees. */
bool vm_files_prepare_firmware(Vm *vm, const VmConfig *config, char **ret_path, GError **error);

/* Whether it has a Size, and there is nothing at its Path. */
bool vm_files_image_is_missing(const DiskConfig *disk);

/* Makes those images and completes the facts with them; what is there is never touched. StorageFailed,
 * NotSupported: there is no qemu-img. */
bool vm_files_make_images(Vm *vm, const VmConfig *config, StartFacts *facts, GError **error);
