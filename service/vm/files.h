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

/* The file of the firmware's variables, open, made if there is none; -1 for a firmware without. The caller
 * closes. */
bool vm_files_open_firmware(Vm *vm, const VmConfig *config, int *ret_fd, GError **error);

/* Whether it has a Size, and there is nothing at its Path. */
bool vm_files_image_is_missing(Rights *rights, const DiskConfig *disk);

/* Makes those images, with these rights, and completes the facts with them; what is there is never touched.
 * StorageFailed, NotSupported: there is no qemu-img. */
bool vm_files_make_images(Vm *vm, const VmConfig *config, Rights *rights, StartFacts *facts, GError **error);

/* Removes the images that were made for the VM, with the owner's rights. 0, or a negative errno; *ret_path is
 * the first that is left (the caller frees), or NULL. */
int vm_files_remove_images(Vm *vm, uint64_t deadline_usec, char **ret_path);

/* A file that QEMU, which may be another user, can read by way of /dev/fd: `*fd` itself, or a copy in memory
 * in its place. LimitReached, StorageFailed. */
bool vm_files_make_readable(const char *key, const char *path, int *fd, GError **error);
