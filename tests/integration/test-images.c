/*
 * One image, two VMs, on real QEMU: what one may write no other gets, however its path is spelled; many may
 * read. The VMs are started paused: it is their start that matters.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fixture.h"

#define IMAGE_SIZE (1U << 20)
#define QEMU_IMG   "qemu-img"

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

/* ---- VMs with one disk ---- */
static char *define(Fixture *f, const char *name, const char *path, const char *format, bool read_only)
{
	g_autofree char *config =
		g_strdup_printf("'Accelerator': <'tcg'>, 'Disks': <[{'Path': <'%s'>, 'Format': <'%s'>, "
				"'ReadOnly': <%s>}]>",
			path, format, read_only ? "true" : "false");

	return fixture_define(f, name, NULL, config);
}

static GVariant *paused(void)
{
	return g_variant_new_parsed("({'Paused': <true>},)");
}

/* A VM that uses the image; its object. */
static char *use(Fixture *f, const char *name, const char *path, const char *format, bool read_only)
{
	char *vm = define(f, name, path, format, read_only);

	client_do(f->client, vm, VM, "Start", paused());
	client_assert_property(f->client, vm, "State", "'paused'");
	return vm;
}

static void end(Fixture *f, const char *vm)
{
	client_do(f->client, vm, VM, "Kill", NULL);
}

static void refused(
	Fixture *f, const char *path, const char *format, bool read_only, const char *error, const char *glob)
{
	g_autofree char *vm = define(f, "second", path, format, read_only);

	client_refused(f->client, vm, VM, "Start", paused(), error, glob);
	client_assert_property(f->client, vm, "State", "'off'");
	client_do(f->client, vm, VM, "Undefine", fixture_no_options());
}

/* By Roost, which names the other VM; by Start, and before it by ValidateVM. */
static void refused_as_used(Fixture *f, const char *path, bool read_only)
{
	g_autofree char *glob = g_strdup_printf("Disks[0].Path: %s: is in use by the VM 'first'", path);
	g_autofree char *problem = g_strdup_printf(
		"([('Disks[0].Path', '" ROOST_ERROR("StorageFailed") "', *in use by the VM *first*)],)");
	g_autofree char *text =
		g_strdup_printf("({'Name': <'third'>, 'Memory': <uint64 67108864>, 'Accelerator': <'tcg'>, "
				"'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>, 'ReadOnly': <%s>}]>},)",
			path, read_only ? "true" : "false");
	g_autoptr(GVariant) result = client_call(f->client, PATH, MANAGER, "ValidateVM",
		g_variant_parse(G_VARIANT_TYPE("(a{sv})"), text, NULL, NULL, NULL));
	g_autofree char *printed = g_variant_print(result, FALSE);

	if (!g_pattern_match_simple(problem, printed))
		g_error("%s, not %s", printed, problem);
	refused(f, path, "raw", read_only, ROOST_ERROR("StorageFailed"), glob);
}

static char *make_image(Fixture *f, const char *name)
{
	g_autofree char *zeros = g_malloc0(IMAGE_SIZE);

	return fixture_write(f, name, zeros, IMAGE_SIZE);
}

/* ---- spellings ---- */
static void test_spellings(void)
{
	static const char *const spellings[] = {"disk.img", "./disk.img", "/disk.img", "folder/../disk.img",
		"folder//.././/disk.img", "symbolic", "hard", "folder/relative", "elsewhere/disk.img"};
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *folder = NULL, *relative = NULL, *symbolic = NULL, *hard = NULL,
			*elsewhere = NULL, *first = NULL, *other = NULL, *second = NULL;

	if (!f)
		return;
	image = make_image(f, "disk.img");
	folder = g_build_filename(f->dir, "folder", NULL);
	relative = g_build_filename(folder, "relative", NULL);
	symbolic = g_build_filename(f->dir, "symbolic", NULL);
	hard = g_build_filename(f->dir, "hard", NULL);
	elsewhere = g_build_filename(f->dir, "elsewhere", NULL);
	g_assert_cmpint(mkdir(folder, 0700), ==, 0);
	g_assert_cmpint(symlink("../disk.img", relative), ==, 0);
	g_assert_cmpint(symlink(image, symbolic), ==, 0);
	g_assert_cmpint(link(image, hard), ==, 0);
	g_assert_cmpint(symlink(f->dir, elsewhere), ==, 0);

	first = use(f, "first", hard, "raw", false);
	for (gsize i = 0; i < G_N_ELEMENTS(spellings); i++) {
		g_autofree char *path = g_strdup_printf("%s/%s", f->dir, spellings[i]);

		refused_as_used(f, path, false);
		refused_as_used(f, path, true);
	}
	/* Another image is another one; and this one is free again when its VM is off. */
	other = make_image(f, "other.img");
	second = use(f, "other", other, "raw", false);
	end(f, second);
	end(f, first);
	g_free(second);
	second = use(f, "after", image, "raw", false);
	end(f, second);
}

/* A file and a folder that are mounted a second time elsewhere. */
static void test_bind_mounts(void)
{
	g_autoptr(Fixture) f = NULL;
	g_autofree char *image = NULL, *folder = NULL, *in_folder = NULL, *file = NULL, *first = NULL;

	/* A world of mounts of its own, for this test and those whom it starts. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		g_test_skip("mounting is not allowed here");
		return;
	}
	f = real();
	if (!f)
		return;
	image = make_image(f, "disk.img");
	folder = g_build_filename(f->dir, "folder", NULL);
	in_folder = g_build_filename(folder, "disk.img", NULL);
	file = fixture_write(f, "file", "", 0);
	g_assert_cmpint(mkdir(folder, 0700), ==, 0);
	g_assert_cmpint(mount(f->dir, folder, NULL, MS_BIND, NULL), ==, 0);
	g_assert_cmpint(mount(image, file, NULL, MS_BIND, NULL), ==, 0);

	first = use(f, "first", image, "raw", false);
	refused_as_used(f, in_folder, false);
	refused_as_used(f, file, false);
	end(f, first);
	g_assert_cmpint(umount(file), ==, 0);
	g_assert_cmpint(umount2(folder, MNT_DETACH), ==, 0);
}

/* A loop device over an image, closed with the fd; NULL: there is none to be had. */
static char *make_device(const char *image, int *ret_fd)
{
	g_autofree char *path = NULL;
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file, fd, number;
	struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};

	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (control >= 0)
		close(control);
	if (number < 0)
		return NULL;
	path = g_strdup_printf("/dev/loop%d", number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	file = open(image, O_RDWR | O_CLOEXEC);
	g_assert_cmpint(file, >=, 0);
	config.fd = (guint32)file;
	/* Somebody else may have been quicker. */
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
		close(fd);
		fd = -1;
	}
	close(file);
	*ret_fd = fd;
	return fd >= 0 ? g_steal_pointer(&path) : NULL;
}

/* A block device is known by its number, whatever leads to it. */
static void test_device(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *device = NULL, *node = NULL, *link = NULL, *first = NULL;
	struct stat st;
	int fd;

	if (!f)
		return;
	image = make_image(f, "disk.img");
	device = make_device(image, &fd);
	if (!device) {
		g_test_skip("there is no loop device to be had");
		return;
	}
	node = g_build_filename(f->dir, "node", NULL);
	link = g_build_filename(f->dir, "link", NULL);
	g_assert_cmpint(fstat(fd, &st), ==, 0);
	g_assert_cmpint(mknod(node, S_IFBLK | 0600, st.st_rdev), ==, 0);
	g_assert_cmpint(symlink(device, link), ==, 0);

	first = use(f, "first", device, "raw", false);
	refused_as_used(f, device, false);
	refused_as_used(f, node, false);
	refused_as_used(f, link, true);
	end(f, first);
	close(fd);
}

/* ---- readers ---- */
static void test_readers(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *image = NULL, *first = NULL, *second = NULL, *writer = NULL;

	if (!f)
		return;
	image = make_image(f, "disk.img");
	first = use(f, "first", image, "raw", true);
	second = use(f, "also", image, "raw", true);
	end(f, second);
	refused_as_used(f, image, false);
	end(f, first);
	writer = use(f, "writer", image, "raw", false);
	end(f, writer);
}

/* ---- images behind images ---- */
static char *make_overlay(Fixture *f, const char *name, const char *base)
{
	char *path = g_build_filename(f->dir, name, NULL);
	const char *const argv[] = {
		QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path, NULL};
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_assert_cmpint(status, ==, 0);
	return path;
}

static char *make_base(Fixture *f)
{
	char *path = g_build_filename(f->dir, "base.qcow2", NULL);
	const char *const argv[] = {QEMU_IMG, "create", "-q", "-f", "qcow2", path, "1M", NULL};
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_assert_cmpint(status, ==, 0);
	return path;
}

/* Many images may have one base, and nobody may write to it then. */
static void test_backing(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *base = NULL, *one = NULL, *two = NULL, *first = NULL, *second = NULL, *third = NULL;

	if (!f)
		return;
	base = make_base(f);
	one = make_overlay(f, "one.qcow2", base);
	two = make_overlay(f, "two.qcow2", base);

	first = use(f, "first", one, "qcow2", false);
	second = use(f, "also", two, "qcow2", false);
	third = use(f, "reader", base, "qcow2", true);
	end(f, third);
	refused(f, base, "qcow2", false, ROOST_ERROR("StorageFailed"),
		"Disks?0?.Path: */base.qcow2: is in use by the VM '*'");
	end(f, first);
	end(f, second);

	g_free(first);
	first = use(f, "writer", base, "qcow2", false);
	refused(f, one, "qcow2", false, ROOST_ERROR("StorageFailed"),
		"Disks?0?.Path: */one.qcow2: an image that it is based on is in use by the VM 'writer'");
	end(f, first);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/images/spellings", test_spellings);
	g_test_add_func("/images/bind-mounts", test_bind_mounts);
	g_test_add_func("/images/device", test_device);
	g_test_add_func("/images/readers", test_readers);
	g_test_add_func("/images/backing", test_backing);
	return g_test_run();
}
