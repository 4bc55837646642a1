/*
 * Dumps of guests' memory: `dumps/<uuid>.partial` while one is written, one at a time for a VM, and
 * `dumps/<uuid>-<date>T<time>Z.elf` when it is whole. They hold all that the guest knew, so they are for the
 * service's user alone; and they are large, so a VM has a few at most, and none is begun that there is no
 * room for.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/file.h"
#include "store/state-dir-private.h"
#include "util/fd.h"
#include "util/thread.h"

#define DUMPS_FOLDER "dumps"
#define PARTIAL      ".partial"
#define WHOLE        ".elf"

/* The VM's whole ones, the oldest first. */
static int list_whole(int fd, const char *uuid, GPtrArray **ret_names)
{
	g_autofree char *prefix = g_strconcat(uuid, "-", NULL);
	g_autoptr(GPtrArray) names = NULL;
	int r = file_list_dir(fd, &names);

	if (r < 0)
		return r;
	for (unsigned i = names->len; i > 0; i--)
		if (!g_str_has_prefix(names->pdata[i - 1], prefix) ||
			!g_str_has_suffix(names->pdata[i - 1], WHOLE))
			g_ptr_array_remove_index(names, i - 1);
	*ret_names = g_steal_pointer(&names);
	return 0;
}

/* How many have to go, so that with one more there are STATE_DIR_DUMPS_MAX; and what that frees. */
static unsigned count_old(int fd, const GPtrArray *names, uint64_t *ret_bytes)
{
	unsigned n = names->len >= STATE_DIR_DUMPS_MAX ? names->len - STATE_DIR_DUMPS_MAX + 1 : 0;
	struct stat st;

	*ret_bytes = 0;
	for (unsigned i = 0; i < n; i++)
		if (fstatat(fd, names->pdata[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 1)
			*ret_bytes += (uint64_t)st.st_blocks * 512;
	return n;
}

static int make_room(int fd, const char *uuid, uint64_t bytes)
{
	g_autoptr(GPtrArray) names = NULL;
	struct statvfs room;
	uint64_t freed;
	unsigned n_old;
	int r = list_whole(fd, uuid, &names);

	if (r < 0)
		return r;
	if (fstatvfs(fd, &room) < 0)
		return -errno;
	n_old = count_old(fd, names, &freed);
	/* None is given up for one that can't be made. */
	if ((uint64_t)room.f_bavail * room.f_frsize + freed < bytes)
		return -ENOSPC;
	for (unsigned i = 0; i < n_old; i++)
		if (unlinkat(fd, names->pdata[i], 0) < 0 && errno != ENOENT)
			return -errno;
	return 0;
}

int state_dir_begin_dump(StateDir *dir, const char *uuid, uint64_t bytes, int *ret_fd)
{
	g_autofree char *partial = g_strconcat(uuid, PARTIAL, NULL);
	autofd int fd = -1, file = -1;
	int r;

	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	fd = file_open_dir_at(dir->root_fd, DUMPS_FOLDER, true);
	if (fd < 0)
		return fd;
	if (unlinkat(fd, partial, 0) < 0 && errno != ENOENT)
		return -errno;
	r = make_room(fd, uuid, bytes);
	if (r < 0)
		return r;
	file = openat(fd, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return -errno;
	*ret_fd = g_steal_fd(&file);
	return 0;
}

static char *whole_name(const char *uuid)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%S");

	return g_strdup_printf("%s-%s.%06dZ" WHOLE, uuid, time, g_date_time_get_microsecond(now));
}

int state_dir_finish_dump(StateDir *dir, const char *uuid, char **ret_path)
{
	g_autofree char *partial = g_strconcat(uuid, PARTIAL, NULL), *name = NULL;
	autofd int fd = -1, file = -1;
	struct stat st;

	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	fd = file_open_dir_at(dir->root_fd, DUMPS_FOLDER, false);
	if (fd < 0)
		return fd;
	file = openat(fd, partial, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file < 0 || fstat(file, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return -EINVAL;
	if (fsync(file) < 0)
		return -errno;
	name = whole_name(uuid);
	if (renameat2(fd, partial, fd, name, RENAME_NOREPLACE) < 0)
		return -errno;
	*ret_path = g_build_filename(dir->root, DUMPS_FOLDER, name, NULL);
	return fsync(fd) < 0 ? -errno : 0;
}

bool state_dir_has_partial_dump(StateDir *dir, const char *uuid)
{
	g_autofree char *name = g_strconcat(DUMPS_FOLDER "/", uuid, PARTIAL, NULL);
	struct stat st;

	return fstatat(dir->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

int state_dir_drop_dump(StateDir *dir, const char *uuid)
{
	g_autofree char *name = g_strconcat(DUMPS_FOLDER "/", uuid, PARTIAL, NULL);

	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	return unlinkat(dir->root_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int state_dir_remove_dumps(StateDir *dir, const char *uuid)
{
	g_autoptr(GPtrArray) names = NULL;
	autofd int fd = -1;
	int r = state_dir_drop_dump(dir, uuid);

	if (r < 0)
		return r;
	fd = file_open_dir_at(dir->root_fd, DUMPS_FOLDER, false);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = list_whole(fd, uuid, &names);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < names->len; i++)
		if (unlinkat(fd, names->pdata[i], 0) < 0 && errno != ENOENT)
			return -errno;
	return names->len > 0 && fsync(fd) < 0 ? -errno : 0;
}
