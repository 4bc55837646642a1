/*
 * An image is made beside its place, under a name of its own, and put there when it is whole and on record: a
 * crash leaves either no image or a good one, and two that make one image at once make one.
 */
#include "vm/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/image.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "vm/disks.h"
#include "vm/link.h"

#define IMAGE_USEC (10 * USEC_PER_SEC)

bool vm_files_prepare_firmware(Vm *vm, const VmConfig *config, char **ret_path, GError **error)
{
	const char *template = qemu_firmware_variables(config->firmware);
	int r;

	*ret_path = NULL;
	if (!template)
		return true;
	if (vm->persistent)
		r = state_dir_make_nvram(
			vm->engine->options.state_dir, config->uuid, config->firmware, template, ret_path);
	else
		r = runtime_dir_make_nvram(vm->engine->options.runtime_dir, config->uuid, template, ret_path);
	if (r < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Firmware: its variables can't be stored: %s", g_strerror(-r));
	return r >= 0;
}

int vm_files_write_definition(Vm *vm, const VmConfig *config, uint64_t revision)
{
	Definition definition = {.config = (VmConfig *)config,
		.owner_uid = vm->owner_uid,
		.revision = revision,
		.bound_to = vm->bound_to};

	if (vm->persistent)
		return state_dir_write(vm->engine->options.state_dir, config, vm->owner_uid, revision);
	return runtime_dir_write_definition(
		vm->engine->options.runtime_dir, vm->uuid, RUNTIME_DEFINITION_TRANSIENT, &definition);
}

int vm_files_remove_runtime(Vm *vm)
{
	uint32_t pid;

	if (vm_find_stray(vm->engine, vm->uuid, &pid))
		return -EBUSY;
	return runtime_dir_remove_vm(vm->engine->options.runtime_dir, vm->uuid);
}

/* ---- images ---- */
G_GNUC_PRINTF(4, 5)
static bool fail(GError **error, VmError code, unsigned index, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, VM_ERROR, code, "Disks[%u].Path: %s", index, text);
	return false;
}

/* 0 or a negative errno; -EEXIST: there is something by now. */
static int move_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	/* Some network file systems can't. */
	if (errno != EINVAL)
		return -errno;
	if (link(from, to) < 0)
		return -errno;
	unlink(from);
	return 0;
}

/* `fd` is the file `temporary`, new and empty. */
static bool fill_image(Vm *vm, const DiskConfig *disk, unsigned index, int fd, const char *temporary,
	const char *folder, GError **error)
{
	autofd int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g_autofree char *complaint = NULL;
	int r;

	r = qemu_image_create(
		fd, disk->format, disk->size, engine_scaled_usec(vm->engine, IMAGE_USEC), &complaint);
	if (r < 0)
		return fail(error, r == -ENOENT ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_STORAGE_FAILED, index,
			"%s: can't be made: %s", disk->path, complaint);
	if (folder_fd < 0 || fsync(fd) < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, index, "%s: can't be made: %s", disk->path,
			g_strerror(errno));
	/* What Undefine removes; a transient VM's stays. */
	r = vm->persistent
		    ? state_dir_record_image(vm->engine->options.state_dir, vm->uuid, disk->path, temporary)
		    : 0;
	if (r < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, index, "%s: that it is made can't be stored: %s",
			disk->path, g_strerror(-r));
	r = move_new(temporary, disk->path);
	if (r == -EEXIST)
		return true;
	if (r < 0 || fsync(folder_fd) < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, index, "%s: can't be made: %s", disk->path,
			g_strerror(r < 0 ? -r : errno));
	return true;
}

static bool make_image(Vm *vm, const DiskConfig *disk, unsigned index, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(disk->path);
	g_autofree char *temporary = g_build_filename(folder, ".roost-XXXXXX", NULL);
	autofd int fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600);
	bool ok;

	if (fd < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, index, "%s: can't be made: %s", disk->path,
			g_strerror(errno));
	ok = fill_image(vm, disk, index, fd, temporary, folder, error);
	/* It is gone already when all went well. */
	unlink(temporary);
	return ok;
}

bool vm_files_image_is_missing(const DiskConfig *disk)
{
	struct stat st;

	return disk->size != 0 && lstat(disk->path, &st) < 0 && errno == ENOENT;
}

bool vm_files_make_images(Vm *vm, const VmConfig *config, StartFacts *facts, GError **error)
{
	for (unsigned i = 0; i < config->n_disks; i++) {
		/* One that was there has been resolved. */
		if (config->disks[i].size == 0 || facts->claims[i].device != 0)
			continue;
		if (vm_files_image_is_missing(&config->disks[i]) &&
			!make_image(vm, &config->disks[i], i, error))
			return false;
		if (!vm_disks_resolve(config, i, &facts->claims[i], &facts->block_devices[i], error))
			return false;
	}
	return true;
}
