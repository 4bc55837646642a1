#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/thread.h"

#define TEMPORARY_TRIES 1000

static int open_dir(int dir_fd, const char *name, int flags)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

static int make_dir_at(int dir_fd, const char *name)
{
	if (mkdirat(dir_fd, name, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int file_open_dir(const char *path)
{
	g_autofree char *parent = NULL, *name = NULL;
	autofd int parent_fd = -1;
	int r;

	thread_assert_unlocked(__func__);
	/* The root is always there, which ends the way up. */
	r = open_dir(AT_FDCWD, path, 0);
	if (r != -ENOENT || !g_path_is_absolute(path))
		return r;
	parent = g_path_get_dirname(path);
	name = g_path_get_basename(path);
	parent_fd = file_open_dir(parent);
	if (parent_fd < 0)
		return parent_fd;
	r = make_dir_at(parent_fd, name);
	if (r < 0)
		return r;
	return open_dir(parent_fd, name, 0);
}

int file_open_dir_at(int dir_fd, const char *name, bool make)
{
	int r;

	thread_assert_unlocked(__func__);
	r = make ? make_dir_at(dir_fd, name) : 0;
	if (r < 0)
		return r;
	return open_dir(dir_fd, name, O_NOFOLLOW);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int file_list_dir(int dir_fd, GPtrArray **ret_names)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	/* A descriptor of its own: reading moves its position. */
	autofd int fd = open_dir(dir_fd, ".", 0);
	struct dirent *entry;
	DIR *stream;
	int r;

	thread_assert_unlocked(__func__);
	if (fd < 0)
		return fd;
	stream = fdopendir(fd);
	if (!stream)
		return -errno;
	g_steal_fd(&fd);
	for (;;) {
		errno = 0;
		entry = readdir(stream);
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			g_ptr_array_add(names, g_strdup(entry->d_name));
	}
	r = -errno;
	closedir(stream);
	if (r < 0)
		return r;
	g_ptr_array_sort(names, compare_names);
	*ret_names = g_steal_pointer(&names);
	return 0;
}

/* Two workers may replace files of one folder at once: each gets a name of its own. */
static int create_temporary(int dir_fd, const char *name, char **ret_temporary)
{
	static atomic_uint last;

	for (unsigned i = 0; i < TEMPORARY_TRIES; i++) {
		g_autofree char *temporary =
			g_strdup_printf(FILE_TEMPORARY_PREFIX "%s-%u", name, atomic_fetch_add(&last, 1));
		int fd =
			openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd >= 0) {
			*ret_temporary = g_steal_pointer(&temporary);
			return fd;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int file_replace_at(int dir_fd, const char *name, const char *data, size_t size, bool durable)
{
	g_autofree char *temporary = NULL;
	autofd int fd = -1;
	int r;

	thread_assert_unlocked(__func__);
	fd = create_temporary(dir_fd, name, &temporary);
	if (fd < 0)
		return fd;
	r = fd_write_all(fd, data, size);
	if (r >= 0 && durable && fsync(fd) < 0)
		r = -errno;
	/* Some file systems tell of a failed write only now. */
	if (close(g_steal_fd(&fd)) < 0 && r >= 0)
		r = -errno;
	if (r >= 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, temporary, 0);
		return r;
	}
	return durable && fsync(dir_fd) < 0 ? -errno : 0;
}

void file_remove_temporary(int dir_fd, const GPtrArray *names)
{
	thread_assert_unlocked(__func__);
	for (unsigned i = 0; i < names->len; i++)
		if (g_str_has_prefix(names->pdata[i], FILE_TEMPORARY_PREFIX))
			unlinkat(dir_fd, names->pdata[i], 0);
}
