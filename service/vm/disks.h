#pragma once
/* A VM's disk images on the host: found, and claimed. */
#include "vm/vm.h"

/* A worker, no lock held; may hang on dead storage: opens each image as QEMU will, and says which (device,
 * inode) it is. *ret_claims has config->n_disks entries (one without a medium claims nothing: device and
 * inode 0). */
bool vm_disks_resolve(const VmConfig *config, Claim **ret_claims, bool **ret_block_devices, GError **error);

/* The holder: claims them all, for `owner`. StorageFailed names the other VM. */
bool vm_disks_claim(Vm *vm, const VmConfig *config, const Claim *claims, uint64_t owner, GError **error);
