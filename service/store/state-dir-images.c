/*
 * Which disk images Roost has made: a file per VM, `images/<uuid>`, a line for each, "INODE BIRTH PATH". An
 * inode number alone is given again when its file is gone, so the time of birth is kept beside it: what
 * somebody else put in an image's place is never taken for ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/state-dir-private.h"
#include "util/fd.h"

#define RECORD_SIZE_MAX (4 * 1024 * 1024)
#define LINE_FORMAT     "%" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%u "

/* The start of a file's line: at `path`, or, if that is "", of an open one. 0 or a negative errno; -ESTALE:
 * no regular file. */
static int identify(int fd, const char *path, char **ret_identity)
{
	struct statx stx;

	if (statx(fd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &stx) <
		0)
		return -errno;
	if (!S_ISREG(stx.stx_mode))
		return -ESTALE;
	if (!(stx.stx_mask & STATX_BTIME))
		stx.stx_btime = (struct statx_timestamp){0};
	*ret_identity = g_strdup_printf(LINE_FORMAT, (guint64)stx.stx_ino, (gint64)stx.stx_btime.tv_sec,
		(unsigned)stx.stx_btime.tv_nsec);
	return 0;
}

/* NULL: a line that was never written by us. */
static const char *line_path(const char *line)
{
	const char *space = strchr(line, ' ');

	space = space ? strchr(space + 1, ' ') : NULL;
	return space && space[1] == '/' ? space + 1 : NULL;
}

/* 1: the file is there and is the one of this line; 0: it is not; or a negative errno: nobody knows. */
static int line_is_true(const char *line)
{
	const char *path = line_path(line);
	g_autofree char *identity = NULL;
	int r;

	if (!path)
		return 0;
	r = identify(AT_FDCWD, path, &identity);
	if (r == -ENOENT || r == -ENOTDIR || r == -ESTALE)
		return 0;
	return r < 0 ? r : g_str_has_prefix(line, identity) && line + strlen(identity) == path;
}

/* The lines, none when there is no record. 0 or a negative errno. */
static int read_record(int fd, const char *uuid, char ***ret_lines)
{
	g_autofree char *text = NULL;
	size_t size;
	int r;

	r = fd_read_file_at(fd, uuid, RECORD_SIZE_MAX, &text, &size);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_lines = g_strsplit(text ? text : "", "\n", -1);
	return 0;
}

static int write_record(int fd, const char *uuid, const GString *text)
{
	if (text->len > 0)
		return file_replace_at(fd, uuid, text->str, text->len, true);
	if (unlinkat(fd, uuid, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int state_dir_record_image(StateDir *dir, const char *uuid, const char *path, int image)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autofree char *identity = NULL;
	g_auto(GStrv) lines = NULL;
	autofd int fd = -1;
	int r;

	g_assert(*path == '/' && !strchr(path, '\n'));
	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	r = identify(image, "", &identity);
	if (r < 0)
		return r;
	fd = file_open_dir_at(dir->root_fd, STATE_DIR_IMAGES_FOLDER, true);
	if (fd < 0)
		return fd;
	r = read_record(fd, uuid, &lines);
	if (r < 0)
		return r;
	/* What is gone is forgotten, so a record does not grow over the years. */
	for (unsigned i = 0; lines[i]; i++)
		if (line_is_true(lines[i]) != 0)
			g_string_append_printf(text, "%s\n", lines[i]);
	g_string_append_printf(text, "%s%s\n", identity, path);
	return write_record(fd, uuid, text);
}

/* The open folder, -ENOENT: none, so no records. */
static int open_images(const StateDir *dir, const char *uuid)
{
	if (!state_dir_uuid_is_normal(uuid))
		return -EINVAL;
	return file_open_dir_at(dir->root_fd, STATE_DIR_IMAGES_FOLDER, false);
}

int state_dir_remove_images(
	StateDir *dir, const char *uuid, RemoveFileFunc remove, void *user, char **ret_path)
{
	g_autoptr(GString) left = g_string_new(NULL);
	autofd int fd = open_images(dir, uuid);
	g_autofree char *path = NULL;
	g_auto(GStrv) lines = NULL;
	int r, error = 0;

	*ret_path = NULL;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = read_record(fd, uuid, &lines);
	if (r < 0)
		return r;
	for (unsigned i = 0; lines[i]; i++) {
		r = line_is_true(lines[i]);
		if (r > 0)
			r = remove(line_path(lines[i]), user);
		if (r >= 0 || r == -ENOENT)
			continue;
		g_string_append_printf(left, "%s\n", lines[i]);
		if (error == 0) {
			error = r;
			path = g_strdup(line_path(lines[i]));
		}
	}
	r = write_record(fd, uuid, left);
	if (error != 0)
		*ret_path = g_steal_pointer(&path);
	return error != 0 ? error : r;
}

int state_dir_forget_images(StateDir *dir, const char *uuid)
{
	g_autoptr(GString) none = g_string_new(NULL);
	autofd int fd = open_images(dir, uuid);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return write_record(fd, uuid, none);
}
