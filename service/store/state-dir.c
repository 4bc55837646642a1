/*
 * The state folder. One roostd has it at a time (flock); a file that is no definition is set aside and
 * logged, so that the service starts whatever it finds. Files that a newer version wrote stay where they are,
 * and are never written over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/definition-json.h"
#include "store/file.h"
#include "store/state-dir-private.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/thread.h"

#define SUFFIX          ".json"
#define SET_ASIDE_TRIES 1000

StateDir *state_dir_free(StateDir *dir)
{
	if (!dir)
		return NULL;
	fd_close(&dir->vms_fd);
	fd_close(&dir->root_fd);
	/* Closing it gives the lock back. */
	fd_close(&dir->lock_fd);
	g_hash_table_unref(dir->foreign);
	g_free(dir->path);
	g_free(dir->root);
	g_free(dir);
	return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateDir, state_dir_free)

static int complain(char **ret_complaint, int error, const char *path, const char *what)
{
	*ret_complaint = g_strdup_printf("%s: %s: %s", path, what, g_strerror(-error));
	return error;
}

static int take_lock(int dir_fd, const char *path, int *ret_fd, char **ret_complaint)
{
	g_autofree char *name = g_build_filename(path, "lock", NULL);
	autofd int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	if (fd < 0)
		return complain(ret_complaint, -errno, name, "can't open the lock file");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return complain(ret_complaint, -errno, name, "can't lock");
		*ret_complaint = g_strdup_printf("%s: another roostd has this state folder", path);
		return -EWOULDBLOCK;
	}
	*ret_fd = g_steal_fd(&fd);
	return 0;
}

int state_dir_open(const char *path, StateDir **ret_dir, char **ret_complaint)
{
	g_autofree char *absolute = g_canonicalize_filename(path, NULL);
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(StateDir) dir = NULL;
	autofd int fd = -1;
	int r;

	fd = file_open_dir(absolute);
	if (fd < 0)
		return complain(ret_complaint, fd, absolute, "can't make or open the state folder");
	dir = g_new0(StateDir, 1);
	*dir = (StateDir){.root_fd = -1, .lock_fd = -1, .vms_fd = -1};
	dir->root = g_strdup(absolute);
	dir->path = g_build_filename(absolute, "vms", NULL);
	dir->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	r = take_lock(fd, absolute, &dir->lock_fd, ret_complaint);
	if (r < 0)
		return r;
	dir->vms_fd = file_open_dir_at(fd, "vms", true);
	if (dir->vms_fd < 0)
		return complain(ret_complaint, dir->vms_fd, dir->path, "can't make or open");
	r = file_list_dir(dir->vms_fd, &names);
	if (r < 0)
		return complain(ret_complaint, r, dir->path, "can't read");
	file_remove_temporary(dir->vms_fd, names);
	dir->root_fd = g_steal_fd(&fd);
	state_dir_clean_files(dir);
	*ret_dir = g_steal_pointer(&dir);
	return 0;
}

/* ---- loading ---- */
static void set_aside(const StateDir *dir, const char *name, const char *complaint)
{
	g_autofree char *shown = g_strescape(name, NULL);

	for (unsigned i = 0; i < SET_ASIDE_TRIES; i++) {
		g_autofree char *aside = i == 0 ? g_strdup_printf("%s.damaged", name)
						: g_strdup_printf("%s.damaged.%u", name, i);
		g_autofree char *aside_shown = g_strescape(aside, NULL);
		struct stat st;

		if (fstatat(dir->vms_fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (renameat(dir->vms_fd, name, dir->vms_fd, aside) < 0)
			break;
		log_warning("%s/%s: not a usable definition: %s; set aside as %s", dir->path, shown,
			complaint, aside_shown);
		return;
	}
	log_warning("%s/%s: not a usable definition: %s; left where it is, it can't be renamed", dir->path,
		shown, complaint);
}

/* Errors of this process, not of the file. */
static bool is_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

/* -EINVAL, -ELOOP, -EISDIR, -ENXIO: not a regular file. */
/* 0; 1: there is nothing (more) to do with this file; or a negative errno. */
static int read_definition(StateDir *dir, const char *name, Definition *ret)
{
	g_autofree char *shown = g_strescape(name, NULL);
	g_autofree char *text = NULL, *complaint = NULL;
	size_t size;
	int r;

	r = fd_read_file_at(dir->vms_fd, name, DEFINITION_JSON_MAX, &text, &size);
	if (r == -ENOENT)
		return 1;
	if (is_shortage(r))
		return r;
	if (file_is_something_else(r)) {
		log_warning("%s/%s: not a regular file; left alone", dir->path, shown);
		return 1;
	}
	if (r < 0) {
		set_aside(dir, name, r == -EFBIG ? "is too large" : g_strerror(-r));
		return 1;
	}
	r = definition_from_json(text, size, ret, &complaint);
	if (r == -EPROTONOSUPPORT || r == -EOPNOTSUPP) {
		log_warning("%s/%s: a newer version's: %s; left alone, unread", dir->path, shown, complaint);
		g_hash_table_add(dir->foreign, g_strdup(name));
		return 1;
	}
	if (r < 0) {
		set_aside(dir, name, complaint);
		return 1;
	}
	return 0;
}

/* `files_by_name`: VM's name to file name. */
static bool fits_the_others(
	const StateDir *dir, const char *name, const VmConfig *config, GHashTable *files_by_name)
{
	g_autofree char *expected = g_strconcat(config->uuid, SUFFIX, NULL);
	const char *other = g_hash_table_lookup(files_by_name, config->name);
	g_autofree char *complaint = NULL;

	if (strcmp(expected, name) != 0)
		complaint = g_strdup_printf("the UUID inside is %s", config->uuid);
	else if (other)
		complaint = g_strdup_printf("%s has the same Name, '%s'", other, config->name);
	else
		return true;
	set_aside(dir, name, complaint);
	return false;
}

int state_dir_load(StateDir *dir, DefinitionFunc func, void *user)
{
	g_autoptr(GHashTable) files_by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GPtrArray) names = NULL;
	int r;

	r = file_list_dir(dir->vms_fd, &names);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		Definition definition = {.config = NULL};

		if (*name == '.' || !g_str_has_suffix(name, SUFFIX))
			continue;
		r = read_definition(dir, name, &definition);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (fits_the_others(dir, name, definition.config, files_by_name)) {
			g_hash_table_insert(files_by_name, g_strdup(definition.config->name), g_strdup(name));
			func(&definition, user);
		}
		definition_clear(&definition);
	}
	return 0;
}

/* ---- changing ---- */
int state_dir_write(StateDir *dir, const VmConfig *config, uint32_t owner_uid, uint64_t revision)
{
	Definition definition = {.config = (VmConfig *)config, .owner_uid = owner_uid, .revision = revision};
	g_autofree char *name = g_strconcat(config->uuid, SUFFIX, NULL);
	g_autofree char *text = NULL;
	size_t size;

	if (g_hash_table_contains(dir->foreign, name))
		return -EEXIST;
	text = definition_to_json(&definition, &size);
	return file_replace_at(dir->vms_fd, name, text, size, true);
}

char *state_dir_path(const StateDir *dir, const char *uuid)
{
	g_autofree char *name = g_strconcat(uuid, SUFFIX, NULL);

	return g_build_filename(dir->path, name, NULL);
}

int state_dir_remove(StateDir *dir, const char *uuid)
{
	g_autofree char *name = g_strconcat(uuid, SUFFIX, NULL);
	char normal[37];

	thread_assert_unlocked(__func__);
	if (!vm_uuid_normalize(uuid, normal) || strcmp(uuid, normal) != 0)
		return -EINVAL;
	if (g_hash_table_contains(dir->foreign, name))
		return -ENOENT;
	if (unlinkat(dir->vms_fd, name, 0) < 0)
		return -errno;
	return fsync(dir->vms_fd) < 0 ? -errno : 0;
}
