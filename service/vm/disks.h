#pragma once
/* A VM's disk images on the host: found, and claimed. */
#include "vm/vm.h"

/* A worker, no lock held; may hang on dead storage: opens the image of disk `index` as QEMU will, and says
 * which (device, inode) it is, and whether it is a block device. StorageFailed. */
bool vm_disks_resolve(
	const VmConfig *config, unsigned index, Claim *ret_claim, bool *ret_block_device, GError **error);

/* The holder: claims them all, for `owner`. StorageFailed names the other VM. */
bool vm_disks_claim(Vm *vm, const VmConfig *config, const Claim *claims, uint64_t owner, GError **error);

/* Any thread, no leaf held: whether they could be claimed now. */
bool vm_disks_are_free(Engine *engine, const VmConfig *config, const Claim *claims, GError **error);
