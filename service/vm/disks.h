#pragma once
/*
 * A VM's disk images on the host: opened, and claimed. Each is opened with the rights of the VM's owner, and
 * so is every image that it is based on; QEMU gets the fds, and never a path of theirs. So what was looked at
 * is what is used.
 */
#include "qemu/command-line.h"
#include "qemu/rights.h"
#include "vm/vm.h"

/* A disk's image, and those below it. */
typedef struct DiskImages {
	QemuLayer *layers; /* owned, with their fds */
	Claim *claims;     /* one for each */
	unsigned n_layers; /* 0: no medium, or no image yet */
} DiskImages;
void disk_images_clear(DiskImages *images);

/* A worker, no lock held; may hang on dead storage: opens the image of disk `index` as QEMU will want it, and
 * those below it. StorageFailed, NotSupported: based on what is not followed. */
bool vm_disks_open(
	Rights *rights, const VmConfig *config, unsigned index, DiskImages *ret_images, GError **error);

/* The holder: claims them all, for `owner`. StorageFailed names the other VM. */
bool vm_disks_claim(Vm *vm, const VmConfig *config, const DiskImages *images, uint64_t owner, GError **error);

/* Any thread, no leaf held: whether they could be claimed now. */
bool vm_disks_are_free(Engine *engine, const VmConfig *config, const DiskImages *images, GError **error);
