/*
 * What the state folder has of a VM beside its definition: `nvram/<uuid>.fd`, the variables of its UEFI
 * firmware, which QEMU writes to while the VM runs; each kind of firmware has its own. It is named by the
 * UUID, so a new name changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/state-dir-private.h"
#include "util/fd.h"
#include "util/thread.h"

#define NVRAM_FOLDER "nvram"

static const char *const nvram_suffixes[VM_FIRMWARE_MAX] = {
	[VM_FIRMWARE_UEFI] = ".fd",
	[VM_FIRMWARE_UEFI_SECURE] = ".secure.fd",
};

void state_dir_clean_files(const StateDir *dir)
{
	static const char *const folders[] = {NVRAM_FOLDER, STATE_DIR_IMAGES_FOLDER, STATE_DIR_CACHE_FOLDER};

	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autoptr(GPtrArray) names = NULL;
		autofd int fd = file_open_dir_at(dir->root_fd, folders[i], false);

		if (fd >= 0 && file_list_dir(fd, &names) >= 0)
			file_remove_temporary(fd, names);
	}
}

int state_dir_make_nvram(
	StateDir *dir, const char *uuid, VmFirmware firmware, const char *template, char **ret_path)
{
	g_autofree char *name = g_strconcat(uuid, nvram_suffixes[firmware], NULL);
	g_autofree char *data = NULL;
	autofd int fd = -1;
	struct stat st;
	size_t size;
	int r;

	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	fd = file_open_dir_at(dir->root_fd, NVRAM_FOLDER, true);
	if (fd < 0)
		return fd;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISREG(st.st_mode))
			return -EINVAL;
	} else if (errno == ENOENT) {
		r = fd_read_file_at(AT_FDCWD, template, NVRAM_SIZE_MAX, &data, &size);
		if (r >= 0)
			r = file_replace_at(fd, name, data, size, true);
		if (r < 0)
			return r;
	} else {
		return -errno;
	}
	*ret_path = g_build_filename(dir->root, NVRAM_FOLDER, name, NULL);
	return 0;
}

int state_dir_remove_nvram(StateDir *dir, const char *uuid)
{
	autofd int fd = -1;
	bool removed = false;

	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	fd = file_open_dir_at(dir->root_fd, NVRAM_FOLDER, false);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	for (unsigned i = 0; i < VM_FIRMWARE_MAX; i++) {
		g_autofree char *name = nvram_suffixes[i] ? g_strconcat(uuid, nvram_suffixes[i], NULL) : NULL;

		if (name && unlinkat(fd, name, 0) == 0)
			removed = true;
		else if (name && errno != ENOENT)
			return -errno;
	}
	return removed && fsync(fd) < 0 ? -errno : 0;
}
