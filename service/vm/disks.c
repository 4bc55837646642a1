#include "vm/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/fd.h"

/* Such a path names another file in QEMU's process than in ours. */
static bool is_own_view(const char *path)
{
	g_autofree char *canonical = g_canonicalize_filename(path, "/");

	return g_str_has_prefix(canonical, "/proc/") || g_str_has_prefix(canonical, "/dev/fd/") ||
	       g_str_has_prefix(canonical, "/dev/std");
}

bool vm_disks_resolve(
	const VmConfig *config, unsigned index, Claim *ret_claim, bool *ret_block_device, GError **error)
{
	const DiskConfig *disk = &config->disks[index];
	/* Not blocking on a FIFO; writing is asked for as QEMU will ask for it. */
	autofd int fd =
		open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (is_own_view(disk->path)) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Disks[%u].Path: %s: is another file for each process", index, disk->path);
		return false;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "Disks[%u].Path: %s: %s", index,
			disk->path, g_strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Disks[%u].Path: %s: is neither a file nor a block device", index, disk->path);
		return false;
	}
	*ret_block_device = S_ISBLK(st.st_mode);
	ret_claim->write = !disk->read_only;
	/* A block device is known by its number: several nodes may lead to it. */
	ret_claim->device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	ret_claim->inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	return true;
}

static void set_conflict(const VmConfig *config, unsigned index, const char *holder, GError **error)
{
	if (holder[0] == '\0')
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Disks[%u].Path: %s: is the image of another disk of this VM, too", index,
			config->disks[index].path);
	else
		g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED,
			"Disks[%u].Path: %s: is in use by the VM '%s'", index, config->disks[index].path,
			holder);
}

/* Those of disks with a medium. */
static unsigned collect(const VmConfig *config, const Claim *claims, Claim *wanted, unsigned *disk_of)
{
	unsigned n_wanted = 0;

	for (unsigned i = 0; i < config->n_disks; i++)
		if (claims[i].device != 0 || claims[i].inode != 0) {
			disk_of[n_wanted] = i;
			wanted[n_wanted++] = claims[i];
		}
	return n_wanted;
}

bool vm_disks_claim(Vm *vm, const VmConfig *config, const Claim *claims, uint64_t owner, GError **error)
{
	g_autofree Claim *wanted = g_new0(Claim, config->n_disks + 1);
	g_autofree unsigned *disk_of = g_new0(unsigned, config->n_disks + 1);
	g_autofree char *holder = NULL;
	unsigned n_wanted = collect(config, claims, wanted, disk_of), index;

	if (claims_take(vm->engine->claims, owner, config->name, wanted, n_wanted, &index, &holder) == 0)
		return true;
	set_conflict(config, disk_of[index], holder, error);
	return false;
}

bool vm_disks_are_free(Engine *engine, const VmConfig *config, const Claim *claims, GError **error)
{
	g_autofree Claim *wanted = g_new0(Claim, config->n_disks + 1);
	g_autofree unsigned *disk_of = g_new0(unsigned, config->n_disks + 1);
	g_autofree char *holder = NULL;
	unsigned n_wanted = collect(config, claims, wanted, disk_of), index;

	if (claims_look(engine->claims, wanted, n_wanted, &index, &holder) == 0)
		return true;
	set_conflict(config, disk_of[index], holder, error);
	return false;
}
