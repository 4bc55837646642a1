/*
 * Events that a real QEMU can be made to send without a guest's system: by commands of its own, or by a boot
 * sector. Each row: what is done, and which signals a client sees then, in this order.
 */
#include <gio/gunixsocketaddress.h>
#include <string.h>

#include "fixture.h"

#define DO_MAX  6
#define SEE_MAX 8
#define DISK    "'driver': 'file', 'filename': '$PATH', 'read-only': true"

/* The end of a socket that QEMU connects to: whatever comes is read, until its peer goes. */
typedef struct Sink {
	GSocketListener *listener;
	GSocketConnection *peer;
	char *path;
	GThread *thread;
	gint hang_up; /* atomic: it goes first */
} Sink;

static gpointer drain(gpointer user)
{
	Sink *sink = user;
	GInputStream *stream;
	char buffer[65536];

	sink->peer = g_socket_listener_accept(sink->listener, NULL, NULL, NULL);
	g_assert_nonnull(sink->peer);
	stream = g_io_stream_get_input_stream(G_IO_STREAM(sink->peer));
	while (!g_atomic_int_get(&sink->hang_up) &&
		g_input_stream_read(stream, buffer, sizeof buffer, NULL, NULL) > 0)
		;
	g_object_unref(sink->peer);
	return NULL;
}

static void sink_open(Sink *sink, Fixture *f, const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GSocketAddress) address = NULL;

	*sink = (Sink){.path = g_build_filename(f->dir, name, NULL), .listener = g_socket_listener_new()};
	address = g_unix_socket_address_new(sink->path);
	g_socket_listener_add_address(
		sink->listener, address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error);
	g_assert_no_error(error);
	sink->thread = g_thread_new("sink", drain, sink);
}

static void sink_close(Sink *sink)
{
	g_thread_join(sink->thread);
	g_object_unref(sink->listener);
	g_free(sink->path);
}

/* ' in the place of ", which JSON wants; $PATH is a path. */
static void execute(Fixture *f, const char *vm, const char *command, const char *path)
{
	g_autofree char *text = g_strdup(command), *whole = NULL;
	g_auto(GStrv) parts = NULL;

	g_strdelimit(text, "'", '"');
	parts = g_strsplit(text, "$PATH", -1);
	whole = g_strjoinv(path ? path : "", parts);
	client_do(f->client, vm, VM, "ExecuteQMP", g_variant_new("(s)", whole));
}

typedef struct Row {
	const char *name;
	const char *to_do[DO_MAX];
	const char *to_see[SEE_MAX]; /* globs of Event's arguments, after its number */
	const char *after[DO_MAX];
} Row;

/* clang-format off */
static const Row rows[] = {
	{"stop", {"{'execute': 'stop'}", "{'execute': 'cont'}"}, {"'STOP', 1, *", "'RESUME', 1, *"}},
	{"reset", {"{'execute': 'system_reset'}"}, {"'RESET', *'reason': <'host-qmp-system-reset'>*"}},
	{"powerdown", {"{'execute': 'system_powerdown'}"}, {"'POWERDOWN', *"}},
	{"tray",
		{"{'execute': 'blockdev-open-tray', 'arguments': {'id': 'cd9', 'force': true}}",
		 "{'execute': 'blockdev-close-tray', 'arguments': {'id': 'cd9'}}"},
		{"'DEVICE_TRAY_MOVED', *'tray-open': <true>, 'id': <'cd9'>*", "'DEVICE_TRAY_MOVED', *'tray-open': <false>*"}},
	{"device",
		{"{'execute': 'stop'}",
		 "{'execute': 'device_add', 'arguments': {'driver': 'usb-kbd', 'id': 'k9', 'bus': 'x9.0'}}",
		 "{'execute': 'device_del', 'arguments': {'id': 'k9'}}"},
		{"'DEVICE_DELETED', *'device': <'k9'>*"},
		{"{'execute': 'cont'}"}},
	{"backup",
		{"{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j1', 'device': 'good', 'target': 'to', 'sync': 'full'}}"},
		{"'BLOCK_JOB_COMPLETED', *'device': <'j1'>*", "'JOB_STATUS_CHANGE', *'status': <'null'>, 'id': <'j1'>*"}},
	{"pending",
		{"{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j2', 'device': 'good', 'target': 'to', 'sync': 'full', 'auto-finalize': false}}"},
		{"'BLOCK_JOB_PENDING', *'id': <'j2'>*"},
		{"{'execute': 'job-finalize', 'arguments': {'id': 'j2'}}"}},
	{"mirror",
		{"{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'j3', 'device': 'good', 'target': 'to2', 'sync': 'full'}}"},
		{"'BLOCK_JOB_READY', *'device': <'j3'>*"},
		{"{'execute': 'block-job-cancel', 'arguments': {'device': 'j3', 'force': true}}"}},
	{"cancelled", {0}, {"'BLOCK_JOB_CANCELLED', *'device': <'j3'>*"}},
	{"job error",
		{"{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j4', 'device': 'bad', 'target': 'to', 'sync': 'full', 'on-source-error': 'report'}}"},
		{"'BLOCK_JOB_ERROR', *'device': <'j4'>*'operation': <'read'>*", "'BLOCK_JOB_COMPLETED', *'device': <'j4'>*'error': <*"}},
	{"threshold",
		{"{'execute': 'block-set-write-threshold', 'arguments': {'node-name': 'to', 'write-threshold': 1}}",
		 "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j5', 'device': 'good', 'target': 'to', 'sync': 'full'}}"},
		{"'BLOCK_WRITE_THRESHOLD', *'node-name': <'to'>*", "'BLOCK_JOB_COMPLETED', *'device': <'j5'>*"}},
	{"quorum",
		{"{'execute': 'blockdev-add', 'arguments': {'driver': 'quorum', 'node-name': 'q', 'vote-threshold': 1, 'children': ["
			"{" DISK "}, {'driver': 'blkdebug', 'image': {" DISK "}, 'inject-error': [{'event': 'none', 'errno': 5}]}]}}",
		 "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j6', 'device': 'q', 'target': 'to', 'sync': 'full'}}"},
		{"'QUORUM_REPORT_BAD', *'type': <'read'>*"}},
	{"quorum failure",
		{"{'execute': 'blockdev-add', 'arguments': {'driver': 'quorum', 'node-name': 'q2', 'vote-threshold': 2, 'children': ["
			"{" DISK "}, {'driver': 'blkdebug', 'image': {" DISK "}, 'inject-error': [{'event': 'none', 'errno': 5}]}]}}",
		 "{'execute': 'blockdev-backup', 'arguments': {'job-id': 'j7', 'device': 'q2', 'target': 'to', 'sync': 'full'}}"},
		{"'QUORUM_FAILURE', *'reference': <'q2'>*"}},
	{"export",
		{"{'execute': 'nbd-server-start', 'arguments': {'addr': {'type': 'unix', 'data': {'path': '$PATH.nbd'}}}}",
		 "{'execute': 'block-export-add', 'arguments': {'type': 'nbd', 'id': 'e1', 'node-name': 'good'}}",
		 "{'execute': 'block-export-del', 'arguments': {'id': 'e1'}}"},
		{"'BLOCK_EXPORT_DELETED', *'id': <'e1'>*"},
		{"{'execute': 'nbd-server-stop'}"}},
	{"dump",
		{"{'execute': 'dump-guest-memory', 'arguments': {'paging': false, 'protocol': 'file:$PATH.dump', 'detach': true, 'begin': 0, 'length': 4096}}"},
		{"'STOP', *", "'DUMP_COMPLETED', *'status': <'completed'>*", "'RESUME', *"}},
};
/* clang-format on */

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

/* A VM with what the rows speak of; *ret_path: a file of 64 KiB, and what begins names of more. */
static char *define(Fixture *f, char **ret_path)
{
	g_autofree char *text = g_strnfill(65536, 'x'), *path = fixture_write(f, "data", text, 65536);
	g_autofree char *arguments =
		g_strdup_printf("'MachineType': <'q35'>, 'Accelerator': <'tcg'>, 'QemuArguments': <["
				"'-device', 'virtio-scsi-pci,id=s9', '-device', 'scsi-cd,id=cd9,bus=s9.0', "
				"'-device', 'qemu-xhci,id=x9', "
				"'-blockdev', 'file,node-name=good,filename=%s,read-only=on', "
				"'-blockdev', 'null-co,node-name=to,size=65536', '-blockdev', "
				"'null-co,node-name=to2,size=65536', "
				"'-blockdev', 'file,node-name=under,filename=%s,read-only=on', "
				"'-blockdev', 'blkdebug,node-name=bad,image=under,read-only=on,"
				"inject-error.0.event=none,inject-error.0.errno=5']>",
			path, path);

	*ret_path = g_steal_pointer(&path);
	return fixture_define(f, "all", NULL, arguments);
}

static gsize see(Fixture *f, const char *vm, gsize from, const char *glob)
{
	g_autofree char *whole = g_strdup_printf("(*, %s", glob);

	return client_await(f->client, from, vm, "Event", whole) + 1;
}

static void test_commands(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL, *path = NULL;
	gsize mark;

	if (!f)
		return;
	vm = define(f, &path);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_test_message("%s", rows[i].name);
		if (rows[i].to_do[0])
			mark = client_mark(f->client);
		for (gsize k = 0; k < DO_MAX && rows[i].to_do[k]; k++)
			execute(f, vm, rows[i].to_do[k], path);
		for (gsize k = 0; k < SEE_MAX && rows[i].to_see[k]; k++)
			mark = see(f, vm, mark, rows[i].to_see[k]);
		for (gsize k = 0; k < DO_MAX && rows[i].after[k]; k++)
			execute(f, vm, rows[i].after[k], path);
	}
	client_await_property(f->client, vm, "State", "'running'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

static void test_stream(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL, *path = NULL;
	Sink sink;
	gsize mark;

	if (!f)
		return;
	vm = define(f, &path);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	sink_open(&sink, f, "stream");
	g_atomic_int_set(&sink.hang_up, 1);
	execute(f, vm,
		"{'execute': 'netdev_add', 'arguments': {'type': 'stream', 'id': 'n9', 'server': false, "
		"'addr': {'type': 'unix', 'path': '$PATH'}}}",
		sink.path);
	mark = see(f, vm, mark, "'NETDEV_STREAM_CONNECTED', *'netdev-id': <'n9'>*");
	see(f, vm, mark, "'NETDEV_STREAM_DISCONNECTED', *'netdev-id': <'n9'>*");
	sink_close(&sink);
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* Each status is told; and in the end it is paused, for the guest is elsewhere. */
static void test_migration(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL, *path = NULL;
	Sink sink;
	gsize mark, end;

	if (!f)
		return;
	vm = define(f, &path);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	sink_open(&sink, f, "migration");
	execute(f, vm,
		"{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [{'capability': "
		"'events', 'state': true}]}}",
		NULL);
	execute(f, vm, "{'execute': 'migrate', 'arguments': {'uri': 'unix:$PATH'}}", sink.path);
	end = see(f, vm, mark, "'MIGRATION', *'status': <'completed'>*");
	g_assert_cmpuint(
		client_count(f->client, mark, end, vm, "Event", "(*'MIGRATION', *'status': <'setup'>*"), ==,
		1);
	g_assert_cmpuint(
		client_count(f->client, mark, end, vm, "Event", "(*'MIGRATION', *'status': <'active'>*"), ==,
		1);
	g_assert_cmpuint(client_count(f->client, mark, end, vm, "Event", "(*'STOP', *"), ==, 1);
	client_await_property(f->client, vm, "State", "'paused'");
	client_do(f->client, vm, VM, "Kill", NULL);
	sink_close(&sink);
}

/* ---- by a guest of a few bytes ---- */
/* A read from the disk that the firmware boots from fails, and QEMU stops the guest. */
static void test_io_error(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark, error;

	if (!f)
		return;
	vm = fixture_define(f, "io", NULL,
		"'MachineType': <'q35'>, 'Accelerator': <'tcg'>, 'QemuArguments': <["
		"'-blockdev', 'null-co,node-name=under,size=1048576', "
		"'-blockdev', "
		"'blkdebug,node-name=bad,image=under,inject-error.0.event=none,inject-error.0.errno=5', "
		"'-device', 'virtio-blk-pci,drive=bad,id=d9,rerror=stop,bootindex=0']>");
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	error = see(f, vm, mark, "'BLOCK_IO_ERROR', *'operation': <'read'>, 'action': <'stop'>*");
	see(f, vm, error, "'STOP', *");
	client_await(f->client, mark, vm, "StateChanged", "('running', 'paused', 'io-error')");
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* ACPI's S3, and back. */
static void test_suspend(void)
{
	static const guint8 code[] = {0xfa, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef, 0xeb, 0xfe};
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "sleeper", code, sizeof code, NULL);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	mark = see(f, vm, mark, "'SUSPEND', *");
	client_await_property(f->client, vm, "State", "'suspended'");
	execute(f, vm, "{'execute': 'system_wakeup'}", NULL);
	see(f, vm, mark, "'WAKEUP', *");
	client_await_property(f->client, vm, "State", "'running'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

/* The guest sets its clock again and again; the last one counts. */
static void test_clock(void)
{
	static const guint8 code[] = {0xfa, 0xb0, 0x04, 0xe6, 0x70, 0x88, 0xd8, 0xe6, 0x71, 0xfe, 0xc3, 0x80,
		0xe3, 0x07, 0xeb, 0xf1};
	g_autoptr(Fixture) f = real();
	g_autofree char *vm = NULL;
	gsize mark;

	if (!f)
		return;
	vm = fixture_define_boot(f, "clock", code, sizeof code, NULL);
	mark = client_mark(f->client);
	fixture_start_vm(f, vm);
	see(f, vm, mark, "'RTC_CHANGE', *'offset': <*");
	client_assert_property(f->client, vm, "State", "'running'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/real-events/commands", test_commands);
	g_test_add_func("/real-events/stream", test_stream);
	g_test_add_func("/real-events/migration", test_migration);
	g_test_add_func("/real-events/io-error", test_io_error);
	g_test_add_func("/real-events/suspend", test_suspend);
	g_test_add_func("/real-events/clock", test_clock);
	return g_test_run();
}
