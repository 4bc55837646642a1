/*
 * An image is made beside its place, under a name of its own, and put there when it is whole and on record: a
 * crash leaves either no image or a good one, and two that make one image at once make one.
 */
#include "vm/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/command-line.h"
#include "qemu/image.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/text.h"
#include "vm/disks.h"
#include "vm/link.h"

#define IMAGE_USEC (10 * USEC_PER_SEC)
#define COPY_STEP  (1U << 20)
#define COPY_MAX   (1LL << 30) /* of a kernel or an initrd */

bool vm_files_open_firmware(Vm *vm, const VmConfig *config, int *ret_fd, GError **error)
{
	const char *template = qemu_firmware_variables(config->firmware);
	g_autofree char *path = NULL;
	int r;

	if (!template)
		return true;
	if (vm->persistent)
		r = state_dir_make_nvram(
			vm->engine->options.state_dir, config->uuid, config->firmware, template, &path);
	else
		r = runtime_dir_make_nvram(vm->engine->options.runtime_dir, config->uuid, template, &path);
	if (r >= 0)
		r = *ret_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (r < 0)
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Firmware: its variables can't be stored: %s", g_strerror(path ? errno : -r));
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
G_GNUC_PRINTF(5, 6)
static bool fail(
	GError **error, VmError code, const DiskConfig *disk, unsigned index, const char *format, ...)
{
	g_autofree char *shown = text_path(disk->path), *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, VM_ERROR, code, "Disks[%u].Path: %s: %s", index, shown, text);
	return false;
}

/* `fd` is the file `temporary`, new and empty. */
static bool fill_image(Vm *vm, Rights *rights, const DiskConfig *disk, unsigned index, int fd,
	const char *temporary, const char *folder, GError **error)
{
	autofd int folder_fd = rights_open(rights, folder, O_RDONLY | O_DIRECTORY);
	g_autofree char *complaint = NULL;
	int r;

	r = qemu_image_create(
		fd, disk->format, disk->size, engine_scaled_usec(vm->engine, IMAGE_USEC), &complaint);
	if (r < 0)
		return fail(error, r == -ENOENT ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_STORAGE_FAILED, disk,
			index, "can't be made: %s", complaint);
	if (folder_fd < 0 || fsync(fd) < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, disk, index, "can't be made: %s",
			g_strerror(folder_fd < 0 ? -folder_fd : errno));
	/* What Undefine removes; a transient VM's stays. */
	r = vm->persistent ? state_dir_record_image(vm->engine->options.state_dir, vm->uuid, disk->path, fd)
			   : 0;
	if (r < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, disk, index,
			"that it is made can't be stored: %s", g_strerror(-r));
	r = rights_move(rights, temporary, disk->path);
	if (r == -EEXIST)
		return true;
	if (r < 0 || fsync(folder_fd) < 0)
		return fail(error, VM_ERROR_STORAGE_FAILED, disk, index, "can't be made: %s",
			g_strerror(r < 0 ? -r : errno));
	return true;
}

static bool make_image(Vm *vm, Rights *rights, const DiskConfig *disk, unsigned index, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(disk->path), *unique = g_uuid_string_random();
	g_autofree char *name = g_strdup_printf(".roost-%s", unique);
	g_autofree char *temporary = g_build_filename(folder, name, NULL);
	autofd int fd = rights_create(rights, temporary);
	bool ok;

	if (fd < 0)
		return fail(
			error, VM_ERROR_STORAGE_FAILED, disk, index, "can't be made: %s", g_strerror(-fd));
	ok = fill_image(vm, rights, disk, index, fd, temporary, folder, error);
	/* It is gone already when all went well. */
	rights_remove(rights, temporary);
	return ok;
}

bool vm_files_image_is_missing(Rights *rights, const DiskConfig *disk)
{
	autofd int fd = -1;

	if (disk->size == 0)
		return false;
	fd = rights_open(rights, disk->path, O_PATH | O_NOFOLLOW);
	return fd == -ENOENT;
}

bool vm_files_make_images(Vm *vm, const VmConfig *config, Rights *rights, StartFacts *facts, GError **error)
{
	for (unsigned i = 0; i < config->n_disks; i++) {
		/* One that was there is open. */
		if (config->disks[i].size == 0 || facts->disks[i].n_layers > 0)
			continue;
		if (vm_files_image_is_missing(rights, &config->disks[i]) &&
			!make_image(vm, rights, &config->disks[i], i, error))
			return false;
		if (!vm_disks_open(rights, config, i, &facts->disks[i], error))
			return false;
	}
	return true;
}

static int remove_image(const char *path, void *user)
{
	g_autofree char *folder = g_path_get_dirname(path);
	autofd int fd = rights_open(user, folder, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd < 0)
		return fd;
	r = rights_remove(user, path);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

int vm_files_remove_images(Vm *vm, uint64_t deadline_usec, char **ret_path)
{
	g_autofree char *complaint = NULL;
	g_autoptr(Rights) rights = NULL;
	int r;

	*ret_path = NULL;
	r = rights_new(vm->engine->options.helper, vm->owner_uid, deadline_usec, &rights, &complaint);
	if (r < 0) {
		log_warning("VM %s: the rights of its owner can't be had: %s", vm->uuid, complaint);
		return r;
	}
	return state_dir_remove_images(
		vm->engine->options.state_dir, vm->uuid, remove_image, rights, ret_path);
}

/* ---- what QEMU reads again ---- */
static int copy(int from, int to)
{
	off_t size = 0;

	for (;;) {
		ssize_t n = sendfile(to, from, &size, COPY_STEP);

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (size > COPY_MAX)
			return -EFBIG;
	}
}

bool vm_files_make_readable(const char *key, const char *path, int *fd, GError **error)
{
	autofd int memory = -1;
	struct stat st;
	int r;

	if (*fd < 0)
		return true;
	if (fstat(*fd, &st) == 0 && (st.st_mode & S_IROTH))
		return true;
	memory = memfd_create("roost-boot", MFD_CLOEXEC);
	r = memory < 0 ? -errno : copy(*fd, memory);
	if (r < 0) {
		g_set_error(error, VM_ERROR, memory < 0 ? VM_ERROR_LIMIT_REACHED : VM_ERROR_STORAGE_FAILED,
			"%s: %s: can't be copied: %s", key, path, g_strerror(-r));
		return false;
	}
	fd_close(fd);
	*fd = g_steal_fd(&memory);
	return true;
}
