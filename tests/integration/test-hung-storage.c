/*
 * Storage that hangs, by fanotify, which holds up the opening of a file. Under a VM that is being created: it
 * goes at its deadline, and what it had is another's when the late worker comes back. Under an Update: it
 * fails late.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "fixture.h"

#define UUID   "0a0a0a0a-0000-4000-8000-0a0a0a0a0a0a"
#define OBJECT "/org/roost1/vm/0a0a0a0a0000400080000a0a0a0a0a0a"

/* Start: 4 s. */
static const FixtureOptions options = {.deadline_scale = 0.2};

typedef struct World {
	Fixture *f;
	Client *c;
	char *disk;
	int watch;
	GArray *opened; /* int: fds that fanotify gave with its questions */
} World;

static void end(World *world)
{
	if (world->watch >= 0)
		close(world->watch);
	g_free(world->disk);
	g_array_unref(world->opened);
	fixture_free(world->f);
}

/* False: not on this host. */
static bool begin(World *world)
{
	*world = (World){.f = fixture_new(&options), .opened = g_array_new(FALSE, FALSE, sizeof(int))};
	world->c = world->f->client;
	world->disk = fixture_write(world->f, "disk", "0123456789", 10);
	world->watch = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);
	if (world->watch >= 0 &&
		fanotify_mark(world->watch, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, world->disk) == 0)
		return true;
	g_test_skip("no fanotify");
	end(world);
	return false;
}

/* Until somebody opens the disk, and hangs. */
static void await_hang(World *world)
{
	struct pollfd p = {.fd = world->watch, .events = POLLIN};
	struct fanotify_event_metadata event;

	g_assert_cmpint(poll(&p, 1, 60000), ==, 1);
	g_assert_cmpint(read(world->watch, &event, sizeof event), ==, sizeof event);
	g_array_append_val(world->opened, event.fd);
}

static void answer_all(World *world, guint32 response)
{
	for (guint i = 0; i < world->opened->len; i++) {
		int fd = g_array_index(world->opened, int, i);
		struct fanotify_response answer = {.fd = fd, .response = response};

		g_assert_cmpint(write(world->watch, &answer, sizeof answer), ==, sizeof answer);
		close(fd);
	}
	g_array_set_size(world->opened, 0);
}

static void go_on(World *world)
{
	answer_all(world, FAN_ALLOW);
}

static GVariant *arguments(Fixture *f, const char *name, const char *config, const char *more)
{
	g_autofree char *text = g_strdup_printf("({'Name': <'%s'>, 'UUID': <'" UUID
						"'>, 'Memory': <uint64 67108864>, 'Kernel': <'%s'>, "
						"'Accelerator': <'tcg'>%s}, @a{sv} {%s})",
		name, f->kernel, config, more);
	g_autoptr(GError) error = NULL;
	GVariant *args = g_variant_parse(G_VARIANT_TYPE("(a{sv}a{sv})"), text, NULL, NULL, &error);

	g_assert_no_error(error);
	return args;
}

/* Its first disk hangs, its second one is to be made. */
static GVariant *hanging(World *world, const char *more)
{
	g_autofree char *disks =
		g_strdup_printf(", 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}, "
				"{'Path': <'%s/new'>, 'Format': <'raw'>, 'Size': <uint64 1048576>}]>",
			world->disk, world->f->dir);

	return arguments(world->f, "job", disks, more);
}

static guint n_entries(const char *dir, const char *below)
{
	g_autofree char *path = g_build_filename(dir, below, NULL);
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	guint n = 0;

	while (folder && g_dir_read_name(folder))
		n++;
	return n;
}

static void expect_some_error(Client *c, guint32 serial)
{
	g_assert_nonnull(g_dbus_message_get_error_name(client_message(c, client_await_reply(c, serial))));
}

/* Its name and UUID are free: of another VM. */
static char *create_again(World *world)
{
	g_autoptr(GVariant) args = arguments(world->f, "job", "", ""), result = NULL;
	char *vm;

	result = client_call(world->c, PATH, MANAGER, "CreateVM", args);
	g_variant_get(result, "(o)", &vm);
	return vm;
}

/* The late worker comes back and ends; it has made nothing, and the other VM is what it was. */
static void assert_untouched(World *world, const char *vm)
{
	g_autofree char *made = g_build_filename(world->f->dir, "new", NULL);
	Client *c = world->c;
	gsize mark;

	client_assert_property(c, vm, "State", "'running'");
	client_do(c, vm, VM, "Pause", NULL);
	client_do(c, vm, VM, "Rename", g_variant_new("(s)", "other"));
	g_assert_cmpuint(n_entries(world->f->dir, "run/vm/" UUID), >=, 4);
	mark = client_mark(c);
	client_do(c, vm, VM, "Kill", NULL);
	client_await(c, mark, PATH, "VMRemoved", "('other', *");
	fixture_stop_roostd(world->f);
	g_assert_cmpuint(n_entries(world->f->dir, "run/vm"), ==, 0);
	g_assert_cmpuint(n_entries(world->f->dir, "state/images"), ==, 0);
	g_assert_false(g_file_test(made, G_FILE_TEST_EXISTS));
}

static void test_late(void)
{
	guint32 create, rename, update, start;
	Client *c, *other;
	World world;
	gsize mark;

	if (!begin(&world))
		return;
	c = world.c;
	other = client_new(world.f->address);
	mark = client_mark(c);
	create = client_send(c, PATH, MANAGER, "CreateVM", hanging(&world, ""));
	client_await(c, mark, PATH, "VMNew", "('job', *");
	await_hang(&world);
	rename = client_send(c, OBJECT, VM, "Rename", g_variant_new("(s)", "work"));
	start = client_send(c, OBJECT, VM, "Start", fixture_no_options());
	update = client_send(c, OBJECT, VM, "Update",
		g_variant_new_parsed("({'Description': <'x'>, 'Name': <'job'>}, @a{sv} {})"));
	/* One whose caller leaves. */
	client_send(other, OBJECT, VM, "SetAutostart", g_variant_new("(b)", TRUE));
	client_sync(other);
	client_free(other);
	client_expect_error(c, create, ROOST_ERROR("Timeout"), "CreateVM: *");
	client_await(c, mark, PATH, "VMRemoved", "('job', *");
	expect_some_error(c, rename);
	expect_some_error(c, start);
	client_expect_error(c, update, ROOST_ERROR("Busy"), "Name: *");
	client_refused(c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "job"), ROOST_ERROR("NoSuchVM"), "*");
	g_free(fixture_define(world.f, "work", NULL, NULL));
	g_free(create_again(&world));
	go_on(&world);
	assert_untouched(&world, OBJECT);
	end(&world);
}

/* Killed while it hangs; and again, bound, by its caller's leaving. */
static void test_killed(void)
{
	g_autofree char *vm = NULL;
	Client *c, *caller;
	guint32 create, undefine;
	World world;
	gsize mark;

	if (!begin(&world))
		return;
	c = world.c;
	mark = client_mark(c);
	create = client_send(c, PATH, MANAGER, "CreateVM", hanging(&world, ""));
	client_await(c, mark, PATH, "VMNew", "('job', *");
	await_hang(&world);
	/* It can't be answered before CreateVM is, and that is in a system call. */
	for (guint i = 0; i < 2; i++)
		client_refused(
			c, PATH, MANAGER, "KillVM", g_variant_new("(s)", "job"), ROOST_ERROR("Timeout"), "*");
	/* Its time is up after CreateVM's: it gets the place that this one loses, unless this test is slow.
	 */
	undefine = client_send(c, OBJECT, VM, "Undefine", fixture_no_options());
	expect_some_error(c, undefine);
	client_expect_error(c, create, ROOST_ERROR("Timeout"), "CreateVM: *");
	client_await(c, mark, PATH, "VMRemoved", "('job', *");

	mark = client_mark(c);
	caller = client_new(world.f->address);
	client_send(caller, PATH, MANAGER, "CreateVM", hanging(&world, "'BindToCaller': <true>"));
	client_await(c, mark, PATH, "VMNew", "('job', *");
	await_hang(&world);
	client_free(caller);
	client_await(c, mark, PATH, "VMRemoved", "('job', *");
	vm = create_again(&world);
	go_on(&world);
	assert_untouched(&world, vm);
	end(&world);
}

/* roostd ends while it hangs. */
static void test_shutdown(void)
{
	World world;
	guint32 create;
	gsize mark;

	if (!begin(&world))
		return;
	mark = client_mark(world.c);
	create = client_send(world.c, PATH, MANAGER, "CreateVM", hanging(&world, ""));
	client_await(world.c, mark, PATH, "VMNew", "('job', *");
	await_hang(&world);
	fixture_stop_roostd(world.f);
	expect_some_error(world.c, create);
	go_on(&world);
	fixture_start_roostd(world.f);
	client_refused(
		world.c, PATH, MANAGER, "GetVM", g_variant_new("(s)", "job"), ROOST_ERROR("NoSuchVM"), "*");
	g_assert_cmpuint(n_entries(world.f->dir, "run/vm"), ==, 0);
	end(&world);
}

/* A definition that can't be stored, as it turns out late: QEMU has ended meanwhile, or does not answer. */
static void test_update(gconstpointer data)
{
	int signal = GPOINTER_TO_INT(data);
	g_autofree char *vm = NULL, *folder = NULL;
	guint32 update;
	World world;
	Client *c;
	gsize mark;

	if (!begin(&world))
		return;
	c = world.c;
	vm = fixture_define(world.f, "web",
		"on watchdog-set-action event {\"event\": \"SET\"}\non watchdog-set-action return {}\n",
		"'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>");
	fixture_start_vm(world.f, vm);
	folder = g_build_filename(world.f->dir, "state/vms", NULL);
	g_assert_cmpint(fanotify_mark(world.watch, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, AT_FDCWD,
				folder),
		==, 0);
	mark = client_mark(c);
	update = client_send(c, vm, VM, "Update",
		g_variant_new_parsed("({'Name': <'shop'>, 'OnWatchdog': <'none'>}, @a{sv} {})"));
	mark = client_await(c, mark, vm, "Event", "(*'SET'*") + 1;
	await_hang(&world);
	fixture_signal_qemu(world.f, vm, signal);
	if (signal == SIGKILL)
		client_await_property(c, vm, "State", "'crashed'");
	answer_all(&world, FAN_DENY);
	client_expect_error(c, update, ROOST_ERROR("StorageFailed"), "*/state/vms/*");
	g_assert_cmpint(fanotify_mark(world.watch, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL), ==, 0);
	client_assert_property(c, vm, "Name", "'web'");
	client_assert_property(c, vm, "ConfigRevision", "uint64 1");
	client_assert_property(c, vm, "PendingChanges", "@as []");
	g_free(fixture_define(world.f, "shop", NULL, NULL));
	if (signal == SIGSTOP) {
		fixture_signal_qemu(world.f, vm, SIGCONT);
		client_await(c, mark, vm, "Event", "(*'SET'*");
		client_await_property(c, vm, "Responsive", "true");
	}
	client_do(c, vm, VM, "Update",
		g_variant_new_parsed("({'Name': <'store'>, 'OnWatchdog': <'none'>}, @a{sv} {})"));
	client_assert_property(c, vm, "PendingChanges", "@as []");
	client_do(c, vm, VM, "Kill", NULL);
	end(&world);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/hung-storage/late", test_late);
	g_test_add_func("/hung-storage/killed", test_killed);
	g_test_add_func("/hung-storage/shutdown", test_shutdown);
	g_test_add_data_func("/hung-storage/update/qemu-ends", GINT_TO_POINTER(SIGKILL), test_update);
	g_test_add_data_func("/hung-storage/update/qemu-hangs", GINT_TO_POINTER(SIGSTOP), test_update);
	return g_test_run();
}
