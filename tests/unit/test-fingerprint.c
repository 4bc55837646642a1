/* Fingerprints: the same for the same, another one for whatever may be another QEMU. */
#include "qemu/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *fingerprint(const char *path)
{
	char *text = NULL;

	g_assert_cmpint(qemu_binary_fingerprint(path, &text), ==, 0);
	return text;
}

/* Remembers it if it is new. */
static void assert_new(GHashTable *seen, const char *path)
{
	g_autofree char *text = fingerprint(path), *again = fingerprint(path);

	g_assert_cmpstr(text, ==, again);
	g_assert_true(g_hash_table_add(seen, g_steal_pointer(&text)));
}

static void write_file(const char *path, const char *text)
{
	g_assert_true(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0755, NULL));
}

static void test_binary(void)
{
	g_autofree char *dir = g_dir_make_tmp("roost-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "qemu", NULL),
			*other = g_build_filename(dir, "new", NULL);
	g_autofree char *link = g_build_filename(dir, "link", NULL), *text = NULL;
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	const struct timespec old[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	g_assert_cmpint(qemu_binary_fingerprint(path, &text), ==, -ENOENT);
	g_assert_cmpint(qemu_binary_fingerprint(dir, &text), ==, -EISDIR);
	write_file(path, "one");
	assert_new(seen, path);
	/* The same words in another file in its place. */
	write_file(other, "one");
	g_assert_cmpint(rename(other, path), ==, 0);
	assert_new(seen, path);
	/* An older one, as a downgrade brings. */
	g_assert_cmpint(utimensat(AT_FDCWD, path, old, 0), ==, 0);
	assert_new(seen, path);
	/* By a link to it, and the link led elsewhere. */
	g_assert_cmpint(symlink(path, link), ==, 0);
	assert_new(seen, link);
	write_file(other, "two");
	g_assert_cmpint(unlink(link), ==, 0);
	g_assert_cmpint(symlink(other, link), ==, 0);
	assert_new(seen, link);
	g_assert_cmpint(chmod(path, 0644), ==, 0);
	g_assert_cmpint(qemu_binary_fingerprint(path, &text), ==, -EACCES);
	g_assert_null(text);
	unlink(path);
	unlink(other);
	unlink(link);
	rmdir(dir);
}

static void test_host(void)
{
	g_autofree char *host = qemu_host_fingerprint(), *host_again = qemu_host_fingerprint();
	g_autofree char *kvm = qemu_kvm_fingerprint(), *kvm_again = qemu_kvm_fingerprint(), *boot = NULL;

	g_assert_cmpstr(host, ==, host_again);
	g_assert_nonnull(strstr(host, " x86_64 "));
	g_assert_cmpstr(kvm, ==, kvm_again);
	g_assert_true(g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL));
	g_assert_true(g_str_has_prefix(kvm, g_strchomp(boot)));
	g_assert_null(strchr(kvm, '\n'));
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fingerprint/binary", test_binary);
	g_test_add_func("/fingerprint/host", test_host);
	return g_test_run();
}
