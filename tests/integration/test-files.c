/* Files that Roost makes for a VM, with the real QEMU: images, and the variables of UEFI firmware. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"

#define UUID "5f0d5b0e-2a3c-4a55-8f6d-1d0b1c7a9e10"

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void undefine(Fixture *f, const char *path)
{
	client_do(f->client, path, VM, "Undefine", fixture_no_options());
}

static char *define_with_disk(Fixture *f, const char *image, const char *more)
{
	g_autofree char *config = g_strdup_printf("'UUID': <'" UUID "'>, 'Accelerator': <'tcg'>, 'Disks': <[{"
						  "'Path': <'%s'>, 'Format': <'qcow2'>, 'Size': <uint64 "
						  "4294967296>}]>%s",
		image, more);

	return fixture_define(f, "files", NULL, config);
}

/* Made at the first start, kept at the second, left alone by Undefine. */
static void test_image(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *path = NULL, *record = NULL;
	ino_t inode;

	if (!f)
		return;
	image = g_build_filename(f->dir, "new.qcow2", NULL);
	record = g_build_filename(f->dir, "state", "images", UUID, NULL);
	path = define_with_disk(f, image, "");
	g_assert_cmpuint(inode_of(image), ==, 0);
	fixture_start_vm(f, path);
	inode = inode_of(image);
	g_assert_cmpuint(inode, !=, 0);
	g_assert_cmpuint(inode_of(record), !=, 0);
	client_do(f->client, path, VM, "Kill", NULL);
	fixture_start_vm(f, path);
	g_assert_cmpuint(inode_of(image), ==, inode);
	client_do(f->client, path, VM, "Kill", NULL);
	undefine(f, path);
	g_assert_cmpuint(inode_of(image), ==, inode);
	g_assert_cmpuint(inode_of(record), ==, 0);
}

static void test_image_refused(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *path = NULL, *there = NULL, *text = NULL;

	if (!f)
		return;
	image = g_build_filename(f->dir, "no", "such", "folder.qcow2", NULL);
	path = define_with_disk(f, image, "");
	client_refused(f->client, path, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"),
		"Disks[0].Path: *folder.qcow2: can't be made: *");
	client_assert_property(f->client, path, "State", "'off'");
	undefine(f, path);

	/* What is there is not touched, even if it is no image. */
	there = fixture_write(f, "there", "precious", strlen("precious"));
	g_free(path);
	path = define_with_disk(f, there, "");
	client_refused(f->client, path, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"),
		"Disks?0?.Path: *there: is no qcow2 image");
	g_assert_true(g_file_get_contents(there, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "precious");
}

static void assert_problems(Fixture *f, const char *image, const char *expected)
{
	g_autofree char *text = g_strdup_printf(
		"({'Name': <'new'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>, 'Firmware': "
		"<'uefi'>, 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>, 'Size': <uint64 1048576>}]>},)",
		image);
	g_autoptr(GVariant) args =
		g_variant_ref_sink(g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, NULL));
	g_autoptr(GVariant) result = client_call(f->client, PATH, MANAGER, "ValidateVM", args);
	g_autofree char *printed = g_variant_print(result, FALSE);

	if (!g_pattern_match_simple(expected, printed))
		g_error("%s, not %s", printed, expected);
}

/* Undefine with Storage: what was made goes, what somebody else put there stays. */
static void test_storage(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *path = NULL;

	if (!f)
		return;
	image = g_build_filename(f->dir, "new.qcow2", NULL);
	for (unsigned i = 0; i < 2; i++) {
		g_free(path);
		path = define_with_disk(f, image, "");
		fixture_start_vm(f, path);
		client_do(f->client, path, VM, "Kill", NULL);
		if (i == 1) {
			g_assert_cmpint(remove(image), ==, 0);
			g_free(fixture_write(f, "new.qcow2", "hers", 4));
		}
		client_do(f->client, path, VM, "Undefine", g_variant_new_parsed("({'Storage': <true>},)"));
		g_assert_cmpint(inode_of(image) != 0, ==, i == 1);
	}
}

/* ValidateVM says what Start would find, and makes nothing. */
static void test_validate(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *nowhere = NULL, *variables = NULL;

	if (!f || !g_file_test("/usr/share/OVMF/OVMF_CODE_4M.fd", G_FILE_TEST_EXISTS))
		return;
	image = g_build_filename(f->dir, "new.raw", NULL);
	nowhere = g_build_filename(f->dir, "no", "new.raw", NULL);
	variables = g_build_filename(f->dir, "state", "nvram", NULL);
	assert_problems(f, image, "([],)");
	assert_problems(f, nowhere, "([('Disks[0].Path', *StorageFailed', *: No such file or directory*)],)");
	g_assert_cmpuint(inode_of(image), ==, 0);
	g_assert_cmpuint(inode_of(variables), ==, 0);
}

/* The variables are the VM's from its first start to its end. */
static void test_firmware(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *path = NULL, *variables = NULL;
	ino_t inode;

	if (!f)
		return;
	if (!g_file_test("/usr/share/OVMF/OVMF_CODE_4M.fd", G_FILE_TEST_EXISTS)) {
		g_test_skip("UEFI firmware is not installed");
		return;
	}
	image = g_build_filename(f->dir, "new.qcow2", NULL);
	variables = g_build_filename(f->dir, "state", "nvram", UUID ".fd", NULL);
	path = define_with_disk(f, image, ", 'Firmware': <'uefi'>");
	g_assert_cmpuint(inode_of(variables), ==, 0);
	client_assert_property(f->client, path, "Firmware", "'uefi'");
	fixture_start_vm(f, path);
	client_assert_property(f->client, path, "Firmware", "'uefi'");
	inode = inode_of(variables);
	g_assert_cmpuint(inode, !=, 0);
	client_do(f->client, path, VM, "Kill", NULL);
	fixture_start_vm(f, path);
	g_assert_cmpuint(inode_of(variables), ==, inode);
	client_do(f->client, path, VM, "Kill", NULL);
	undefine(f, path);
	g_assert_cmpuint(inode_of(variables), ==, 0);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/files/image", test_image);
	g_test_add_func("/files/image/refused", test_image_refused);
	g_test_add_func("/files/storage", test_storage);
	g_test_add_func("/files/validate", test_validate);
	g_test_add_func("/files/firmware", test_firmware);
	return g_test_run();
}
