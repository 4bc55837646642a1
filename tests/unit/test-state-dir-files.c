/* What the state folder has of a VM beside its definition. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/definition.h"
#include "util/fd.h"

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"

typedef struct Fixture {
	char *path;
	char *template;
	StateDir *dir;
} Fixture;

static char *in_folder(const Fixture *f, const char *name)
{
	return g_build_filename(f->path, name, NULL);
}

static void put(const char *path, const char *text)
{
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void assert_content(const char *path, const char *expected)
{
	g_autofree char *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, expected);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void fixture_open(Fixture *f)
{
	g_autofree char *state = in_folder(f, "state"), *complaint = NULL;

	g_assert_cmpint(state_dir_open(state, &f->dir, &complaint), ==, 0);
}

static void fixture_setup(Fixture *f, gconstpointer unused)
{
	f->path = g_dir_make_tmp("roost-files-XXXXXX", NULL);
	g_assert_nonnull(f->path);
	f->template = in_folder(f, "template.fd");
	put(f->template, "factory settings");
	fixture_open(f);
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (g_file_test(child, G_FILE_TEST_IS_SYMLINK) || !g_file_test(child, G_FILE_TEST_IS_DIR))
			g_assert_cmpint(unlink(child), ==, 0);
		else
			remove_tree(child);
	}
	g_assert_cmpint(rmdir(path), ==, 0);
}

static void fixture_teardown(Fixture *f, gconstpointer unused)
{
	state_dir_free(f->dir);
	remove_tree(f->path);
	g_free(f->template);
	g_free(f->path);
}

/* ---- nvram ---- */
static void test_nvram(Fixture *f, gconstpointer unused)
{
	g_autofree char *path = NULL, *again = NULL, *secure = NULL, *other = NULL;
	g_autofree char *expected = in_folder(f, "state/nvram/" UUID_1 ".fd");
	struct stat st;

	g_assert_cmpint(state_dir_remove_nvram(f->dir, UUID_1), ==, 0);
	g_assert_cmpint(state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->template, &path), ==, 0);
	g_assert_cmpstr(path, ==, expected);
	assert_content(path, "factory settings");
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 0777, ==, 0600);

	/* What one firmware trusts is none of the other's. */
	g_assert_cmpint(
		state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI_SECURE, f->template, &secure), ==, 0);
	g_assert_cmpstr(secure, !=, path);
	/* What the guest stored stays, template or not. */
	put(path, "its own settings");
	unlink(f->template);
	g_assert_cmpint(state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->template, &again), ==, 0);
	g_assert_cmpstr(again, ==, path);
	assert_content(path, "its own settings");

	g_assert_cmpint(
		state_dir_make_nvram(f->dir, UUID_2, VM_FIRMWARE_UEFI, f->template, &other), ==, -ENOENT);
	g_assert_null(other);
	g_assert_cmpint(state_dir_remove_nvram(f->dir, UUID_2), ==, 0);
	g_assert_cmpint(state_dir_remove_nvram(f->dir, UUID_1), ==, 0);
	g_assert_false(exists(path));
	g_assert_false(exists(secure));
	g_assert_cmpint(state_dir_remove_nvram(f->dir, UUID_1), ==, 0);
}

static void test_nvram_refused(Fixture *f, gconstpointer unused)
{
	g_autofree char *folder = in_folder(f, "state/nvram"),
			*at = in_folder(f, "state/nvram/" UUID_1 ".fd");
	g_autofree char *path = NULL;

	g_assert_cmpint(
		state_dir_make_nvram(f->dir, "../x", VM_FIRMWARE_UEFI, f->template, &path), ==, -EINVAL);
	g_assert_cmpint(state_dir_remove_nvram(f->dir, "../x"), ==, -EINVAL);
	g_assert_cmpint(state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->path, &path), ==, -EISDIR);
	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	g_assert_cmpint(symlink(f->template, at), ==, 0);
	g_assert_cmpint(
		state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->template, &path), ==, -EINVAL);
	g_assert_cmpint(state_dir_remove_nvram(f->dir, UUID_1), ==, 0);
	assert_content(f->template, "factory settings");
	g_assert_cmpint(rmdir(folder), ==, 0);
	g_assert_cmpint(symlink(f->path, folder), ==, 0);
	g_assert_cmpint(
		state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->template, &path), ==, -ENOTDIR);
	g_assert_null(path);
}

/* What a crash left half-written is removed at the next start. */
static void test_nvram_crash(Fixture *f, gconstpointer unused)
{
	g_autofree char *left = in_folder(f, "state/nvram/.tmp-" UUID_1 ".fd-0"), *path = NULL;

	g_assert_cmpint(state_dir_make_nvram(f->dir, UUID_1, VM_FIRMWARE_UEFI, f->template, &path), ==, 0);
	put(left, "fact");
	state_dir_free(f->dir);
	fixture_open(f);
	g_assert_false(exists(left));
	assert_content(path, "factory settings");
}

/* ---- images ---- */
static int remove_file(const char *path, void *user)
{
	return unlink(path) < 0 ? -errno : 0;
}

static int record_image(Fixture *f, const char *uuid, const char *path, const char *image)
{
	autofd int fd = open(image, O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	return state_dir_record_image(f->dir, uuid, path, fd);
}

static void make(Fixture *f, const char *uuid, const char *path)
{
	g_autofree char *temporary = in_folder(f, ".new");

	put(temporary, "image");
	g_assert_cmpint(record_image(f, uuid, path, temporary), ==, 0);
	g_assert_cmpint(rename(temporary, path), ==, 0);
}

static void assert_images_removed(Fixture *f, const char *uuid)
{
	char *path = NULL;

	g_assert_cmpint(state_dir_remove_images(f->dir, uuid, remove_file, NULL, &path), ==, 0);
	g_assert_null(path);
}

/* What was made is removed, and nothing else. */
static void test_images(Fixture *f, gconstpointer unused)
{
	g_autofree char *ours = in_folder(f, "our disk"), *replaced = in_folder(f, "replaced");
	g_autofree char *gone = in_folder(f, "gone"), *linked = in_folder(f, "linked");
	g_autofree char *others = in_folder(f, "others"), *hers = in_folder(f, "hers"), *at = NULL;

	assert_images_removed(f, UUID_1);
	make(f, UUID_1, ours);
	make(f, UUID_1, replaced);
	make(f, UUID_1, gone);
	make(f, UUID_1, linked);
	make(f, UUID_2, others);
	put(hers, "not made by us");
	unlink(replaced);
	put(replaced, "by somebody else");
	unlink(gone);
	unlink(linked);
	g_assert_cmpint(symlink(hers, linked), ==, 0);

	assert_images_removed(f, UUID_1);
	g_assert_false(exists(ours));
	g_assert_false(exists(gone));
	g_assert_true(exists(replaced) && exists(linked) && exists(hers) && exists(others));
	at = in_folder(f, "state/images/" UUID_1);
	g_assert_false(exists(at));

	g_assert_cmpint(state_dir_forget_images(f->dir, UUID_2), ==, 0);
	g_assert_cmpint(state_dir_forget_images(f->dir, UUID_2), ==, 0);
	assert_images_removed(f, UUID_2);
	g_assert_true(exists(others));
}

/* A record does not grow: what is gone is forgotten. */
static void test_images_forgotten(Fixture *f, gconstpointer unused)
{
	g_autofree char *path = in_folder(f, "image"), *record = in_folder(f, "state/images/" UUID_1);
	g_autofree char *once = NULL, *again = NULL;

	make(f, UUID_1, path);
	g_assert_true(g_file_get_contents(record, &once, NULL, NULL));
	for (unsigned i = 0; i < 10; i++) {
		unlink(path);
		make(f, UUID_1, path);
	}
	g_assert_true(g_file_get_contents(record, &again, NULL, NULL));
	g_assert_cmpuint(strlen(again), <, strlen(once) + 32);
}

static void test_images_refused(Fixture *f, gconstpointer unused)
{
	g_autofree char *record = in_folder(f, "state/images/" UUID_1),
			*folder = in_folder(f, "state/images");
	char *path = NULL;

	g_assert_cmpint(record_image(f, "../x", "/a", f->template), ==, -EINVAL);
	g_assert_cmpint(state_dir_remove_images(f->dir, "../x", remove_file, NULL, &path), ==, -EINVAL);
	g_assert_cmpint(state_dir_forget_images(f->dir, ""), ==, -EINVAL);
	g_assert_cmpint(state_dir_record_image(f->dir, UUID_1, "/a", -1), ==, -EBADF);
	g_assert_cmpint(record_image(f, UUID_1, "/a", f->path), ==, -ESTALE);
	/* A record that is none removes nothing. */
	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	put(record, "nonsense\n1 2 relative\n\n1 2.3 /etc/passwd\n");
	assert_images_removed(f, UUID_1);
	g_assert_null(path);
}

#define ADD(name, func) g_test_add(name, Fixture, NULL, fixture_setup, func, fixture_teardown)

/* ---- the cache ---- */
static void assert_no_cache(Fixture *f, const char *key, int result)
{
	char *body = NULL;

	g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", key, &body), ==, result);
	g_assert_null(body);
}

static void assert_cache(Fixture *f, const char *key, const char *expected)
{
	g_autofree char *body = NULL;

	g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", key, &body), ==, 0);
	g_assert_cmpstr(body, ==, expected);
}

static void test_cache(Fixture *f, gconstpointer unused)
{
	static const char key[] = "/usr/bin/a \"b\"\n\\c \xff", body[] = "first\nsecond\n";

	assert_no_cache(f, key, -ENOENT);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", key, body), ==, 0);
	assert_cache(f, key, body);
	assert_no_cache(f, "another", -ESTALE);
	assert_no_cache(f, "", -ESTALE);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", "another", ""), ==, 0);
	assert_cache(f, "another", "");
	assert_no_cache(f, key, -ESTALE);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", key, body), ==, 0);
	state_dir_free(f->dir);
	fixture_open(f);
	assert_cache(f, key, body);
}

/* Whatever has become of the file: it is as if there were none, and the next one takes its place. */
static void test_damaged_cache(Fixture *f, gconstpointer unused)
{
	g_autofree char *path = in_folder(f, "state/cache/qemu"), *text = NULL;
	g_autofree char *large = g_strnfill(STATE_DIR_CACHE_MAX + 1, 'x');
	char *body = NULL;
	gsize size;

	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", "key", "body\nbody\n"), ==, 0);
	g_assert_true(g_file_get_contents(path, &text, &size, NULL));
	for (gsize i = 0; i < size; i++) {
		g_autofree char *damaged = g_memdup2(text, size);

		g_assert_true(g_file_set_contents(path, text, (gssize)i, NULL));
		g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", "key", &body), <, 0);
		damaged[i] ^= 0x20;
		g_assert_true(g_file_set_contents(path, damaged, (gssize)size, NULL));
		g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", "key", &body), <, 0);
		damaged[i] = '\0';
		g_assert_true(g_file_set_contents(path, damaged, (gssize)size, NULL));
		g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", "key", &body), <, 0);
	}
	put(path, large);
	assert_no_cache(f, "key", -EFBIG);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", "key", large), ==, -EFBIG);
	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
	g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", "key", &body), <, 0);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", "key", "body"), ==, 0);
	assert_cache(f, "key", "body");
	/* Somebody took the folder's place. */
	g_assert_cmpint(unlink(path), ==, 0);
	g_clear_pointer(&text, g_free);
	text = in_folder(f, "state/cache");
	g_assert_cmpint(rmdir(text), ==, 0);
	g_assert_cmpint(symlink("/tmp", text), ==, 0);
	g_assert_cmpint(state_dir_read_cache(f->dir, "qemu", "key", &body), <, 0);
	g_assert_cmpint(state_dir_write_cache(f->dir, "qemu", "key", "body"), <, 0);
	g_assert_cmpint(unlink(text), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("/state-dir-files/nvram", test_nvram);
	ADD("/state-dir-files/nvram/refused", test_nvram_refused);
	ADD("/state-dir-files/nvram/crash", test_nvram_crash);
	ADD("/state-dir-files/images", test_images);
	ADD("/state-dir-files/images/forgotten", test_images_forgotten);
	ADD("/state-dir-files/images/refused", test_images_refused);
	ADD("/state-dir-files/cache", test_cache);
	ADD("/state-dir-files/cache/damaged", test_damaged_cache);
	return g_test_run();
}
