#pragma once
/*
 * Inside the store: folders and files that survive a crash. A file is replaced as a whole, by way of a
 * temporary one beside it, whose name starts with FILE_TEMPORARY_PREFIX. Any thread, no lock held: all of it
 * blocks.
 */
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define FILE_TEMPORARY_PREFIX ".tmp-"

/* Opens the folder, made with mode 0700 if it is missing, with its parents, durably. `path` is absolute. The
 * fd (close-on-exec) or a negative errno. */
int file_open_dir(const char *path);

/* The same for one level below an open folder; a symbolic link there is refused (-ENOTDIR). `make`: or
 * -ENOENT. */
int file_open_dir_at(int dir_fd, const char *name, bool make);

/* The names in a folder but . and .., sorted. 0 or a negative errno. */
int file_list_dir(int dir_fd, GPtrArray **ret_names);

/* Makes `data` the content of `name` (mode 0600), all or nothing. With `durable`, the file and the folder are
 * on disk when it returns 0. A negative errno: what was there before is as it was (but when fsync of the
 * folder itself fails, after a crash either may be there), and no temporary file is left. */
int file_replace_at(int dir_fd, const char *name, const char *data, size_t size, bool durable);

/* Of a negative errno of opening and reading a file: there is something, but no regular file. */
static inline bool file_is_something_else(int error)
{
	return error == -EINVAL || error == -ELOOP || error == -EISDIR || error == -ENXIO;
}

/* Removes what a crash left of file_replace_at(). */
void file_remove_temporary(int dir_fd, const GPtrArray *names);
