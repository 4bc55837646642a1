/* store/state-dir-dumps.c: a few whole dumps of a VM, one that is not, and none without room. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/definition.h"
#include "util/fd.h"

#define UUID  "00000000-0000-4000-8000-000000000001"
#define OTHER "00000000-0000-4000-8000-000000000002"

static char *root, *folder;
static StateDir *dir;

static void begin(void)
{
	g_autofree char *complaint = NULL;

	root = g_dir_make_tmp("roost-dumps-XXXXXX", NULL);
	folder = g_build_filename(root, "dumps", NULL);
	g_assert_cmpint(state_dir_open(root, &dir, &complaint), ==, 0);
}

static unsigned n_files(void)
{
	g_autoptr(GDir) opened = g_dir_open(folder, 0, NULL);
	unsigned n = 0;

	while (opened && g_dir_read_name(opened))
		n++;
	return n;
}

static void end(void)
{
	char *argv[] = {(char *)"rm", (char *)"-r", root, NULL};

	state_dir_free(dir);
	g_assert_true(
		g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
	g_free(root);
	g_free(folder);
}

/* The path of a whole one. */
static char *dump(const char *uuid, const char *text)
{
	char *path = NULL;
	autofd int fd = -1;

	g_assert_cmpint(state_dir_begin_dump(dir, uuid, 1000, &fd), ==, 0);
	g_assert_true(state_dir_has_partial_dump(dir, uuid));
	g_assert_cmpint(fd_write_all(fd, text, strlen(text)), ==, 0);
	g_assert_cmpint(state_dir_finish_dump(dir, uuid, &path), ==, 0);
	g_assert_false(state_dir_has_partial_dump(dir, uuid));
	return path;
}

static void test_kept(void)
{
	g_autofree char *other = NULL, *content = NULL;
	char *paths[6];
	struct stat st;

	begin();
	other = dump(OTHER, "o");
	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		paths[i] = dump(UUID, "whole");
		g_assert_cmpint(stat(paths[i], &st), ==, 0);
		g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
	}
	g_assert_cmpuint(n_files(), ==, STATE_DIR_DUMPS_MAX + 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_assert_cmpint(
			g_access(paths[i], F_OK), ==, i + STATE_DIR_DUMPS_MAX < G_N_ELEMENTS(paths) ? -1 : 0);
		g_free(paths[i]);
	}
	g_assert_cmpint(stat(folder, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
	g_assert_true(g_file_get_contents(other, &content, NULL, NULL));
	g_assert_cmpstr(content, ==, "o");
	g_assert_cmpint(state_dir_remove_dumps(dir, UUID), ==, 0);
	g_assert_cmpuint(n_files(), ==, 1);
	end();
}

static void test_partial(void)
{
	g_autofree char *path = NULL;
	autofd int fd = -1, again = -1, none = -1;

	begin();
	g_assert_cmpint(state_dir_drop_dump(dir, UUID), ==, 0);
	g_assert_cmpint(state_dir_remove_dumps(dir, UUID), ==, 0);
	g_assert_cmpint(state_dir_finish_dump(dir, UUID, &path), ==, -ENOENT);
	g_assert_cmpint(state_dir_begin_dump(dir, UUID, 1, &fd), ==, 0);
	g_assert_cmpint(state_dir_begin_dump(dir, UUID, 1, &again), ==, 0);
	g_assert_cmpuint(n_files(), ==, 1);
	/* Of one that nobody has written to nothing is kept. */
	g_assert_cmpint(state_dir_finish_dump(dir, UUID, &path), ==, -EINVAL);
	g_assert_null(path);
	g_assert_cmpint(state_dir_drop_dump(dir, UUID), ==, 0);
	g_assert_cmpuint(n_files(), ==, 0);
	g_assert_cmpint(state_dir_begin_dump(dir, "../x", 1, &none), ==, -EINVAL);
	g_assert_cmpint(state_dir_drop_dump(dir, "../x"), ==, -EINVAL);
	end();
}

/* What there is stays when there is no room for more. */
static void test_room(void)
{
	autofd int fd = -1;

	begin();
	for (unsigned i = 0; i < STATE_DIR_DUMPS_MAX; i++)
		g_free(dump(UUID, "whole"));
	g_assert_cmpint(state_dir_begin_dump(dir, UUID, 1ULL << 60, &fd), ==, -ENOSPC);
	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpuint(n_files(), ==, STATE_DIR_DUMPS_MAX);
	end();
}

/* A folder of somebody else's, a link: nothing is written through it. */
static void test_links(void)
{
	g_autofree char *target = NULL, *partial = NULL;
	autofd int fd = -1;

	begin();
	target = g_build_filename(root, "target", NULL);
	g_assert_cmpint(g_mkdir(target, 0700), ==, 0);
	g_assert_cmpint(symlink(target, folder), ==, 0);
	g_assert_cmpint(state_dir_begin_dump(dir, UUID, 1, &fd), <, 0);
	g_assert_cmpint(unlink(folder), ==, 0);
	g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
	partial = g_build_filename(folder, UUID ".partial", NULL);
	g_assert_cmpint(symlink("/etc/passwd", partial), ==, 0);
	g_assert_cmpint(state_dir_begin_dump(dir, UUID, 1, &fd), ==, 0);
	g_assert_false(g_file_test(partial, G_FILE_TEST_IS_SYMLINK));
	end();
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/state-dir-dumps/kept", test_kept);
	g_test_add_func("/state-dir-dumps/partial", test_partial);
	g_test_add_func("/state-dir-dumps/room", test_room);
	g_test_add_func("/state-dir-dumps/links", test_links);
	return g_test_run();
}
