/*
 * No confused deputy: what a VM's definition names is reached with the rights of its owner, and QEMU opens
 * nothing by itself. The owner here is nobody, the deputy root: needs root.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

#define OWNER  65534
#define UUID   "11111111-1111-4111-8111-111111111111"
#define OBJECT PATH "/vm/11111111111141118111111111111111"

static void own(const char *path, uid_t uid, mode_t mode)
{
	g_assert_cmpint(chown(path, uid, uid), ==, 0);
	g_assert_cmpint(g_chmod(path, mode), ==, 0);
}

/* Of the owner's, where others may not look. */
static char *home_of(Fixture *f)
{
	char *path = g_build_filename(f->dir, "home", NULL);

	if (g_mkdir(path, 0700) == 0)
		own(path, OWNER, 0700);
	return path;
}

static char *put(Fixture *f, const char *name, const char *data, gsize size, uid_t uid, mode_t mode)
{
	g_autofree char *below = g_build_filename("home", name, NULL);
	char *path;

	g_free(home_of(f));
	path = fixture_write(f, below, data, size);
	own(path, uid, mode);
	return path;
}

static char *put_image(Fixture *f, const char *name, uid_t uid, mode_t mode)
{
	g_autofree char *data = g_malloc0(1 << 20);

	return put(f, name, data, 1 << 20, uid, mode);
}

/* roostd comes up with this VM, the owner's. `config`: JSON, further keys of its definition with a comma
 * first. */
static void load(Fixture *f, const char *config)
{
	g_autofree char *text =
		g_strdup_printf("{\"FormatVersion\": 1, \"OwnerUID\": %d, \"Revision\": 1, \"Config\": "
				"{\"Name\": \"web\", \"UUID\": "
				"\"" UUID "\", \"Memory\": 67108864, \"Accelerator\": \"tcg\"%s}}",
			OWNER, config);

	if (f->roostd)
		fixture_stop_roostd(f);
	g_free(fixture_write(f, "state/vms/" UUID ".json", text, strlen(text)));
	fixture_start_roostd(f);
	client_assert_property(f->client, OBJECT, "OwnerUID", "uint32 65534");
}

static void load_disk(Fixture *f, const char *path, const char *format, bool read_only)
{
	g_autofree char *config =
		g_strdup_printf(", \"Disks\": [{\"Path\": \"%s\", \"Format\": \"%s\", \"ReadOnly\": %s}]",
			path, format, read_only ? "true" : "false");

	load(f, config);
}

static void refused(Fixture *f, const char *glob)
{
	client_refused(
		f->client, OBJECT, VM, "Start", fixture_no_options(), ROOST_ERROR("StorageFailed"), glob);
	client_assert_property(f->client, OBJECT, "State", "'off'");
}

static void starts(Fixture *f)
{
	fixture_start_vm(f, OBJECT);
	client_do(f->client, OBJECT, VM, "Kill", NULL);
}

static Fixture *world(void)
{
	static const FixtureOptions real = {.real_qemu = true};

	return fixture_new(&real);
}

/* ---- files that are not the owner's ---- */
static void test_disk(void)
{
	g_autoptr(Fixture) f = world();
	g_autofree char *own_image = put_image(f, "own", OWNER, 0600),
			*secret = put_image(f, "secret", 0, 0600),
			*readable = put_image(f, "readable", 0, 0644), *home = home_of(f),
			*symlink_path = g_build_filename(home, "symlink", NULL),
			*hard_link = g_build_filename(home, "hard-link", NULL);

	load_disk(f, own_image, "raw", false);
	starts(f);
	load_disk(f, secret, "raw", true);
	refused(f, "Disks?0?.Path: */secret: Permission denied");
	load_disk(f, readable, "raw", true);
	starts(f);
	load_disk(f, readable, "raw", false);
	refused(f, "Disks?0?.Path: */readable: Permission denied");
	g_assert_cmpint(symlink(secret, symlink_path), ==, 0);
	load_disk(f, symlink_path, "raw", true);
	refused(f, "Disks?0?.Path: */symlink: Permission denied");
	g_assert_cmpint(link(secret, hard_link), ==, 0);
	load_disk(f, hard_link, "raw", true);
	refused(f, "Disks?0?.Path: */hard-link: Permission denied");
}

static void make_qcow2(const char *path, const char *backing, const char *format)
{
	const char *const argv[] = {"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", format, "-b",
		backing, path, "1M", NULL};
	g_autoptr(GError) error = NULL;
	int status;

	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_assert_cmpint(status, ==, 0);
	own(path, OWNER, 0600);
}

static void test_backing(void)
{
	g_autoptr(Fixture) f = world();
	g_autofree char *secret = put_image(f, "secret", 0, 0600), *home = home_of(f),
			*top = g_build_filename(home, "top", NULL),
			*middle = g_build_filename(home, "middle", NULL);

	make_qcow2(top, secret, "raw");
	load_disk(f, top, "qcow2", false);
	refused(f, "Disks?0?.Path: */top: */secret, which it is based on: Permission denied");
	make_qcow2(middle, "secret", "raw");
	make_qcow2(top, "middle", "qcow2");
	load_disk(f, top, "qcow2", false);
	refused(f, "Disks?0?.Path: */top: */secret, which it is based on: Permission denied");
	g_free(put_image(f, "base", OWNER, 0600));
	make_qcow2(middle, "base", "raw");
	load_disk(f, top, "qcow2", false);
	starts(f);
	/* Without end. */
	make_qcow2(middle, "top", "qcow2");
	load_disk(f, top, "qcow2", false);
	refused(f, "*is based on itself");
	make_qcow2(top, "json:{\"driver\": \"file\", \"filename\": \"/etc/shadow\"}", "raw");
	load_disk(f, top, "qcow2", false);
	client_refused(f->client, OBJECT, VM, "Start", fixture_no_options(), ROOST_ERROR("NotSupported"),
		"*is based on something that is no plain file");
}

static void test_boot_files(void)
{
	g_autoptr(Fixture) f = world();
	g_autofree char *secret = put_image(f, "secret", 0, 0600),
			*kernel = put_image(f, "kernel", OWNER, 0600),
			*as_kernel = g_strdup_printf(", \"Kernel\": \"%s\"", secret),
			*as_initrd =
				g_strdup_printf(", \"Kernel\": \"%s\", \"Initrd\": \"%s\"", kernel, secret),
			*hidden = g_strdup(", \"Kernel\": \"/root/no/such/file\"");

	load(f, as_kernel);
	refused(f, "Kernel: */secret: Permission denied");
	load(f, as_initrd);
	refused(f, "Initrd: */secret: Permission denied");
	/* Whether it is there is nothing that they could know. */
	load(f, hidden);
	refused(f, "Kernel: /root/no/such/file: Permission denied");
}

/* An image is made, and removed, as the owner would. */
static void test_made(void)
{
	g_autoptr(Fixture) f = world();
	g_autofree char *home = home_of(f), *path = g_build_filename(home, "new", NULL),
			*elsewhere = g_build_filename(f->dir, "new", NULL),
			*made = g_strdup_printf(", \"Disks\": [{\"Path\": \"%s\", \"Format\": \"qcow2\", "
						"\"Size\": 1048576}]",
				path),
			*not_made = g_strdup_printf(", \"Disks\": [{\"Path\": \"%s\", \"Format\": \"qcow2\", "
						    "\"Size\": 1048576}]",
				elsewhere);
	struct stat st;

	load(f, not_made);
	refused(f, "Disks?0?.Path: */new: can't be made: Permission denied");
	load(f, made);
	starts(f);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_uid, ==, OWNER);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
	client_do(f->client, OBJECT, VM, "Undefine", g_variant_new_parsed("({'Storage': <true>},)"));
	g_assert_cmpint(stat(path, &st), <, 0);
}

static void test_no_such_user(void)
{
	g_autoptr(Fixture) f = world();
	static const char text[] = "{\"FormatVersion\": 1, \"OwnerUID\": 3999999999, \"Revision\": 1, "
				   "\"Config\": {\"Name\": \"web\", "
				   "\"UUID\": \"" UUID "\", \"Memory\": 67108864}}";

	fixture_stop_roostd(f);
	g_free(fixture_write(f, "state/vms/" UUID ".json", text, strlen(text)));
	fixture_start_roostd(f);
	refused(f, "OwnerUID: *3999999999*there is no user 3999999999*");
}

/* ---- while it is looked at ---- */
typedef struct Exchanger {
	char *good, *bad, *place;
	gint stop;
} Exchanger;

/* The image is now the owner's, now a link to what is not. */
static void *exchange(void *data)
{
	Exchanger *e = data;
	g_autofree char *new = g_strconcat(e->place, ".new", NULL);

	while (!g_atomic_int_get(&e->stop)) {
		for (int i = 0; i < 2; i++) {
			if (symlink(i == 0 ? e->bad : e->good, new) == 0)
				rename(new, e->place);
		}
	}
	return NULL;
}

static bool has_open(guint pid, const char *path)
{
	g_autofree char *folder = g_strdup_printf("/proc/%u/fd", pid);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *name;

	g_assert_nonnull(dir);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *fd = g_build_filename(folder, name, NULL),
				*target = g_file_read_link(fd, NULL);

		if (g_strcmp0(target, path) == 0)
			return true;
	}
	return false;
}

static void test_exchanged(void)
{
	g_autoptr(Fixture) f = world();
	g_autofree char *good = put_image(f, "good", OWNER, 0600), *bad = put_image(f, "bad", 0, 0600),
			*home = home_of(f), *place = g_build_filename(home, "place", NULL);
	Exchanger exchanger = {.good = good, .bad = bad, .place = place};
	unsigned n_started = 0, n_refused = 0;
	GThread *thread;

	g_assert_cmpint(symlink(good, place), ==, 0);
	load_disk(f, place, "raw", false);
	thread = g_thread_new("exchange", exchange, &exchanger);
	while (n_started < 5 || n_refused < 5) {
		guint32 serial = client_send(f->client, OBJECT, VM, "Start", fixture_no_options());
		GDBusMessage *reply = client_message(f->client, client_await_reply(f->client, serial));

		if (g_dbus_message_get_message_type(reply) == G_DBUS_MESSAGE_TYPE_ERROR) {
			n_refused++;
			continue;
		}
		n_started++;
		g_assert_true(has_open(fixture_pid(f, OBJECT), good));
		g_assert_false(has_open(fixture_pid(f, OBJECT), bad));
		client_do(f->client, OBJECT, VM, "Kill", NULL);
	}
	g_atomic_int_set(&exchanger.stop, 1);
	g_thread_join(thread);
	g_test_message("%u started, %u refused", n_started, n_refused);
}

/* ---- QEMU as somebody else ---- */
static char *status_of(guint pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%u/status", pid);
	char *text;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static void test_qemu_user(void)
{
	g_autoptr(Fixture) f = fixture_new(&(FixtureOptions){.real_qemu = true, .qemu_user = "nobody"});
	g_autofree char *image = NULL, *kernel = put(f, "kernel", "no kernel, but readable", 23, 0, 0600),
			*keys = NULL, *vm = NULL, *status = NULL;
	guint32 serial;

	/* Root's own: nobody could open neither. */
	image = put_image(f, "image", 0, 0600);
	keys = g_strdup_printf(
		"'Accelerator': <'tcg'>, 'Firmware': <'uefi'>, 'Display': <'vnc'>, 'Consoles': "
		"<[{'Type': <'serial'>}]>, 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}]>",
		image);
	vm = fixture_define(f, "web", NULL, keys);
	fixture_start_vm(f, vm);
	status = status_of(fixture_pid(f, vm));
	g_assert_nonnull(strstr(status, "\nUid:\t65534\t65534\t65534\t65534\n"));
	g_assert_nonnull(strstr(status, "\nGid:\t65534\t65534\t65534\t65534\n"));
	g_assert_nonnull(strstr(status, "\nCapEff:\t0000000000000000\n"));
	g_assert_nonnull(strstr(status, "\nNoNewPrivs:\t1\n"));
	g_assert_true(has_open(fixture_pid(f, vm), image));
	serial = client_send(f->client, vm, VM, "Screenshot", g_variant_new_parsed("('png', @a{sv} {})"));
	g_variant_unref(client_result(f->client, serial));
	client_do(f->client, vm, VM, "Pause", NULL);
	fixture_kill_roostd(f);
	fixture_start_roostd(f);
	client_await_property(f->client, vm, "Responsive", "true");
	client_do(f->client, vm, VM, "Kill", NULL);
	/* QEMU reads it, and finds that it is none. */
	g_free(keys);
	keys = g_strdup_printf("({'Kernel': <'%s'>}, {'Unset': <['Firmware']>})", kernel);
	{
		g_autoptr(GVariant) args =
			g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"), keys, NULL, NULL, NULL);

		g_variant_unref(client_call(f->client, vm, VM, "Update", args));
	}
	client_refused(f->client, vm, VM, "Start", fixture_no_options(), ROOST_ERROR("QemuFailed"),
		"Start: QEMU exited with code 1: *");
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	if (getuid() != 0) {
		g_test_message("needs root");
		return 77;
	}
	g_test_add_func("/owner/disk", test_disk);
	g_test_add_func("/owner/backing", test_backing);
	g_test_add_func("/owner/boot-files", test_boot_files);
	g_test_add_func("/owner/made", test_made);
	g_test_add_func("/owner/no-such-user", test_no_such_user);
	g_test_add_func("/owner/exchanged", test_exchanged);
	g_test_add_func("/owner/qemu-user", test_qemu_user);
	return g_test_run();
}
