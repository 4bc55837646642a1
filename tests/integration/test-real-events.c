/*
 * The events that QEMU itself can be made to send without an operating system in the guest: by ExecuteQMP, or
 * by a guest of a few bytes. test-event-rows.c has every row, by the stand-in; docs/EVENTS.md says which
 * event is shown where.
 */
#include <gio/gunixsocketaddress.h>
#include <string.h>

#include "fixture.h"

static Fixture *real(void)
{
	if (!g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE)) {
		g_test_skip("there is no QEMU");
		return NULL;
	}
	return fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
}

/* @DIR@ is the fixture's folder. */
static void execute(Fixture *f, const char *path, const char *command)
{
	g_autoptr(GString) text = g_string_new(command);

	g_string_replace(text, "@DIR@", f->dir, 0);
	g_test_message("%s", text->str);
	client_do(f->client, path, VM, "ExecuteQMP", g_variant_new("(s)", text->str));
}

/* These events, in this order (others may be between them): globs of name and data, each with a count of 1
 * and from QEMU. */
static void await_events(Fixture *f, gsize position, const char *path, const char *const *events)
{
	for (; *events; events++) {
		g_auto(GStrv) words = g_strsplit(*events, " ", 2);
		g_autofree char *glob =
			g_strdup_printf("(*, '%s', *, 'qemu', %s)", words[0], words[1] ? words[1] : "*");

		g_test_message("  %s", *events);
		position = client_await(f->client, position, path, "Event", glob) + 1;
	}
}

typedef struct Step {
	const char *command;
	const char *events[8];
} Step;

static void run_steps(Fixture *f, const char *path, const Step *steps, gsize n)
{
	for (gsize i = 0; i < n; i++) {
		gsize mark = client_mark(f->client);

		execute(f, path, steps[i].command);
		await_events(f, mark, path, steps[i].events);
		client_assert_property(f->client, path, "Responsive", "true");
	}
}

static char *define_paused(Fixture *f, const char *name, const char *config)
{
	g_autofree char *text =
		g_strdup_printf("'Accelerator': <'tcg'>%s%s", config ? ", " : "", config ? config : "");
	char *path = fixture_define(f, name, NULL, text);

	client_do(f->client, path, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	return path;
}

/* ---- block nodes and jobs ---- */
#define DO(name, arguments) "{\"execute\": \"" name "\", \"arguments\": {" arguments "}}"
#define HMP(line)           DO("human-monitor-command", "\"command-line\": \"" line "\"")
#define NULL_NODE(name)                                                                                      \
	DO("blockdev-add", "\"driver\": \"null-co\", \"node-name\": \"" name                                 \
			   "\", \"size\": 1048576, \"read-zeroes\": true")
/* Each read fails. */
#define BAD_NODE(name)                                                                                       \
	DO("blockdev-add",                                                                                   \
		"\"driver\": \"blkdebug\", \"node-name\": \"" name                                           \
		"\", \"image\": {\"driver\": \"null-co\", \"size\": 1048576}, \"inject-error\": "            \
		"[{\"event\": \"none\", \"iotype\": \"read\", \"errno\": 5, \"immediately\": true}]")
#define JOB(id, status) "JOB_STATUS_CHANGE {*'status': <'" status "'>*'id': <'" id "'>*"

static const Step block_steps[] = {
	{NULL_NODE("source")},
	{NULL_NODE("target")},
	{BAD_NODE("bad")},
	/* Of its states the last one counts. */
	{DO("blockdev-backup",
		 "\"job-id\": \"j1\", \"device\": \"source\", \"target\": \"target\", \"sync\": "
		 "\"full\", \"auto-dismiss\": false"),
		{"BLOCK_JOB_COMPLETED {*'device': <'j1'>*", JOB("j1", "concluded")}},
	{DO("job-dismiss", "\"id\": \"j1\""), {JOB("j1", "null")}},
	{DO("blockdev-backup",
		 "\"job-id\": \"j2\", \"device\": \"source\", \"target\": \"target\", \"sync\": "
		 "\"full\", \"auto-finalize\": false"),
		{JOB("j2", "pending"), "BLOCK_JOB_PENDING {*'id': <'j2'>*"}},
	{DO("job-finalize", "\"id\": \"j2\""),
		{"BLOCK_JOB_COMPLETED {*'device': <'j2'>*", JOB("j2", "null")}},
	{DO("blockdev-mirror",
		 "\"job-id\": \"j3\", \"device\": \"source\", \"target\": \"target\", \"sync\": "
		 "\"full\""),
		{JOB("j3", "ready"), "BLOCK_JOB_READY {*'device': <'j3'>*"}},
	{DO("block-job-cancel", "\"device\": \"j3\", \"force\": true"),
		{"BLOCK_JOB_CANCELLED {*'device': <'j3'>*", JOB("j3", "null")}},
	/* The error is in BLOCK_JOB_COMPLETED alone: the job is gone then. */
	{DO("blockdev-backup", "\"job-id\": \"j4\", \"device\": \"bad\", \"target\": \"target\", \"sync\": "
			       "\"full\""),
		{"BLOCK_JOB_ERROR {*'operation': <'read'>*",
			"BLOCK_JOB_COMPLETED {*'error': <'Input/output error'>*"}},
	/* One shot. */
	{DO("block-set-write-threshold", "\"node-name\": \"target\", \"write-threshold\": 4096")},
	{HMP("qemu-io target \\\"write 8192 512\\\""),
		{"BLOCK_WRITE_THRESHOLD {*'amount-exceeded': <int64 4608>*"}},
	{DO("nbd-server-start", "\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"@DIR@/nbd\"}}")},
	{DO("block-export-add", "\"type\": \"nbd\", \"id\": \"e\", \"node-name\": \"source\"")},
	{DO("block-export-del", "\"id\": \"e\""), {"BLOCK_EXPORT_DELETED {'id': <'e'>}"}},
};

static void test_block(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;

	if (!f)
		return;
	path = define_paused(f, "block", NULL);
	run_steps(f, path, block_steps, G_N_ELEMENTS(block_steps));
	client_assert_property(f->client, path, "State", "'paused'");
	client_do(f->client, path, VM, "Kill", NULL);
}

#define FILE_NODE(name)                                                                                      \
	DO("blockdev-add", "\"driver\": \"file\", \"node-name\": \"" name "\", \"filename\": \"@DIR@/" name  \
			   "\", \"locking\": \"off\"")
#define QUORUM(name, third)                                                                                  \
	DO("blockdev-add", "\"driver\": \"quorum\", \"node-name\": \"" name                                  \
			   "\", \"vote-threshold\": 2, \"children\": [\"one\", \"two\", \"" third "\"]")

static void test_quorum(void)
{
	static const Step steps[] = {
		{FILE_NODE("one")},
		{FILE_NODE("two")},
		{FILE_NODE("same")},
		{FILE_NODE("other")},
		{QUORUM("q1", "same")},
		{HMP("qemu-io q1 \\\"read 0 512\\\""), {"QUORUM_REPORT_BAD {*'node-name': <'two'>*"}},
		{DO("blockdev-del", "\"node-name\": \"q1\"")},
		{QUORUM("q2", "other")},
		{HMP("qemu-io q2 \\\"read 0 512\\\""), {"QUORUM_FAILURE *"}},
	};
	static const char *const names[] = {"one", "two", "same", "other"};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL, *data = g_malloc0(65536);

	if (!f)
		return;
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		memset(data, i == 2 ? 0 : (int)i, 65536);
		g_free(fixture_write(f, names[i], data, 65536));
	}
	path = define_paused(f, "quorum", NULL);
	run_steps(f, path, steps, G_N_ELEMENTS(steps));
	client_do(f->client, path, VM, "Kill", NULL);
}

/* A qcow2 image whose L1 table points to nowhere. */
static void test_corrupted(void)
{
	static const Step steps[] = {
		{DO("blockdev-add",
			"\"driver\": \"qcow2\", \"node-name\": \"broken\", \"file\": {\"driver\": "
			"\"file\", \"filename\": \"@DIR@/broken\"}")},
		{HMP("qemu-io broken \\\"read 0 512\\\""), {"BLOCK_IMAGE_CORRUPTED {*'fatal': <true>*"}},
	};
	/* The header's first fields: version 2, clusters of 64 KiB, 1 MiB, L1 of one entry at 64 KiB,
	 * refcounts at 128 KiB. */
	static const guint8 header[72] = {
		'Q', 'F', 'I', 0xfb, [7] = 2, [23] = 16, [29] = 0x10, [39] = 1, [45] = 1, [53] = 2, [59] = 1};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL, *image = g_malloc0(4 << 16);

	if (!f)
		return;
	memcpy(image, header, sizeof header);
	image[(1 << 16) + 5] = 3;
	image[(1 << 16) + 6] = 2;
	image[1 << 16] = (char)0x80;
	image[(2 << 16) + 5] = 3;
	g_free(fixture_write(f, "broken", image, 4 << 16));
	path = define_paused(f, "broken", NULL);
	run_steps(f, path, steps, G_N_ELEMENTS(steps));
	client_do(f->client, path, VM, "Kill", NULL);
}

/* ---- devices ---- */
static void test_devices(void)
{
	static const Step steps[] = {
		{DO("blockdev-open-tray", "\"id\": \"disk-cdrom0\""),
			{"DEVICE_TRAY_MOVED {*'tray-open': <true>*'id': <'disk-cdrom0'>*"}},
		{DO("blockdev-close-tray", "\"id\": \"disk-cdrom0\""),
			{"DEVICE_TRAY_MOVED {*'tray-open': <false>*'id': <'disk-cdrom0'>*"}},
		/* USB needs no guest for it. */
		{DO("device_del", "\"id\": \"tablet\""), {"DEVICE_DELETED {*'device': <'tablet'>*"}},
		/* On PCI the guest is asked. There is none: the next reset does it, and a virtio device is
		   two. */
		{DO("device_del", "\"id\": \"rng\"")},
		{"{\"execute\": \"system_reset\"}", {"RESET {*'reason': <'host-qmp-system-reset'>*",
							    "DEVICE_DELETED {'path': <'*/virtio-backend'>}",
							    "DEVICE_DELETED {*'device': <'rng'>*"}},
		{"{\"execute\": \"system_powerdown\"}", {"POWERDOWN"}},
	};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;

	if (!f)
		return;
	path = define_paused(f, "devices",
		"'MachineType': <'pc'>, 'Disks': <[{'Device': <'cdrom'>, 'Format': <'raw'>}]>, "
		"'QemuArguments': <['-device', 'qemu-xhci,id=usb0', '-device', "
		"'usb-tablet,bus=usb0.0,id=tablet', "
		"'-device', 'virtio-rng-pci,id=rng']>");
	run_steps(f, path, steps, G_N_ELEMENTS(steps));
	client_assert_property(f->client, path, "State", "'paused'");
	client_do(f->client, path, VM, "Kill", NULL);
}

/* Somebody who connects to the VM's network, and leaves. */
static void test_netdev(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL, *name = NULL;
	g_autoptr(GSocketClient) socket = g_socket_client_new();
	g_autoptr(GSocketAddress) address = NULL;
	g_autoptr(GSocketConnection) connection = NULL;
	g_autoptr(GError) error = NULL;
	gsize mark;

	if (!f)
		return;
	path = define_paused(f, "netdev", NULL);
	mark = client_mark(f->client);
	execute(f, path,
		DO("netdev_add",
			"\"type\": \"stream\", \"id\": \"n\", \"server\": true, \"addr\": {\"type\": "
			"\"unix\", \"path\": \"@DIR@/net\"}"));
	name = g_build_filename(f->dir, "net", NULL);
	address = g_unix_socket_address_new(name);
	/* It listens from a thread of its own, a moment later. */
	for (unsigned i = 0; i < 6000 && !connection; i++) {
		g_clear_error(&error);
		connection = g_socket_client_connect(socket, G_SOCKET_CONNECTABLE(address), NULL, &error);
		if (!connection)
			g_usleep(10000);
	}
	g_assert_no_error(error);
	await_events(
		f, mark, path, (const char *const[]){"NETDEV_STREAM_CONNECTED {*'netdev-id': <'n'>*", NULL});
	g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
	await_events(f, mark, path,
		(const char *const[]){"NETDEV_STREAM_DISCONNECTED {'netdev-id': <'n'>}", NULL});
	client_do(f->client, path, VM, "Kill", NULL);
}

/* ---- memory: dump and migration ---- */
static void test_dump(void)
{
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;
	gsize mark;

	if (!f)
		return;
	path = define_paused(f, "dump", NULL);
	client_do(f->client, path, VM, "Resume", NULL);
	mark = client_mark(f->client);
	execute(f, path,
		DO("dump-guest-memory",
			"\"paging\": false, \"detach\": true, \"protocol\": \"file:@DIR@/dump\""));
	await_events(f, mark, path,
		(const char *const[]){"STOP", "DUMP_COMPLETED {*'status': <'completed'>*", "RESUME", NULL});
	client_await_property(f->client, path, "State", "'running'");
	client_do(f->client, path, VM, "Kill", NULL);
}

/* Takes in a migration, and throws it away. */
static gpointer swallow(gpointer data)
{
	g_autoptr(GSocket) socket = g_socket_accept(data, NULL, NULL);
	g_autofree char *buffer = g_malloc(65536);

	while (socket && g_socket_receive(socket, buffer, 65536, NULL, NULL) > 0)
		continue;
	return NULL;
}

static void test_migration(void)
{
	static const char *const events[] = {"MIGRATION {'status': <'setup'>}", "MIGRATION_PASS",
		"MIGRATION {'status': <'active'>}", "STOP", "MIGRATION {'status': <'completed'>}", NULL};
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL, *name = NULL;
	g_autoptr(GSocket) socket = NULL;
	g_autoptr(GSocketAddress) address = NULL;
	g_autoptr(GError) error = NULL;
	GThread *thread;
	gsize mark;

	if (!f)
		return;
	socket = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, &error);
	g_assert_no_error(error);
	name = g_build_filename(f->dir, "migration", NULL);
	address = g_unix_socket_address_new(name);
	g_assert_true(g_socket_bind(socket, address, TRUE, &error) && g_socket_listen(socket, &error));
	thread = g_thread_new("swallow", swallow, socket);
	path = define_paused(f, "migration", NULL);
	client_do(f->client, path, VM, "Resume", NULL);
	execute(f, path,
		DO("migrate-set-capabilities",
			"\"capabilities\": [{\"capability\": \"events\", \"state\": true}]"));
	mark = client_mark(f->client);
	execute(f, path, DO("migrate", "\"uri\": \"unix:@DIR@/migration\""));
	await_events(f, mark, path, events);
	client_await_property(f->client, path, "State", "'paused'");
	client_do(f->client, path, VM, "Kill", NULL);
	g_thread_join(thread);
}

/* ---- guests of a few bytes ---- */
typedef struct Boot {
	const char *name;
	guint8 code[40];
	const char *config;
	const char *events[4];
	const char *state, *reason;
} Boot;

#define BAD_DISK(errno)                                                                                      \
	"'QemuArguments': <['-blockdev', '{\"driver\": \"blkdebug\", \"node-name\": \"bad\", \"image\": "    \
	"{\"driver\": \"null-co\", \"size\": 1048576, \"read-zeroes\": true}, \"inject-error\": "            \
	"[{\"event\": "                                                                                      \
	"\"none\", \"iotype\": \"read\", \"errno\": " errno ", \"immediately\": true}]}', '-device', "       \
	"'virtio-blk-pci,id=bad,drive=bad,rerror=stop,bootindex=0']>"
/* cli; mov dx,0x604; mov ax,VALUE; out dx,ax; jmp $: the PM1a control register; 3 is S3, and so on. */
#define SLEEP(high) 0xfa, 0xba, 0x04, 0x06, 0xb8, 0x00, high, 0xef, 0xeb, 0xfe

static const Boot boots[] = {
	{"s5", {SLEEP(0x20)}, NULL, {"SHUTDOWN {*'guest': <true>*'reason': <'guest-shutdown'>*"}, "'off'",
		"'guest'"},
	{"s4", {SLEEP(0x28)}, NULL, {"SUSPEND_DISK", "SHUTDOWN {*'guest-shutdown'*"}, "'off'", "'guest'"},
	{"s3", {SLEEP(0x24)}, NULL, {"SUSPEND"}, "'suspended'", "'guest'"},
	/* cli; mov al,0xfe; out 0x64,al: the keyboard controller resets the machine. */
	{"reset", {0xfa, 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe}, NULL, {"RESET {*'guest': <true>*"}, "'running'",
		"'user'"},
	/* cli; mov dx,0x505; mov al,1; out dx,al; jmp $. */
	{"panic", {0xfa, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xeb, 0xfe}, "'Panic': <true>",
		{"GUEST_PANICKED {'action': <'pause'>*", "STOP"}, "'paused'", "'panic'"},
	{"crash", {0xfa, 0xba, 0x05, 0x05, 0xb0, 0x02, 0xee, 0xeb, 0xfe}, "'Panic': <true>",
		{"GUEST_CRASHLOADED {'action': <'run'>*"}, "'running'", "'user'"},
	/* The day of the week, in a loop: at most one event a second. */
	{"rtc",
		{0xfa, 0xb0, 0x04, 0xe6, 0x70, 0x88, 0xd8, 0xe6, 0x71, 0xfe, 0xc3, 0x80, 0xe3, 0x07, 0xeb,
			0xf1},
		NULL, {"RTC_CHANGE {*'offset': <int64 *", "RTC_CHANGE {*'offset': <int64 *"}, "'running'",
		"'user'"},
	/* A guest that says how it fared with a DIMM: slot 0, source 0x103, status 1. */
	{"ost",
		{0xfa, 0xba, 0x00, 0x0a, 0x66, 0x31, 0xc0, 0x66, 0xef, 0xb2, 0x04, 0xb8, 0x03, 0x01, 0x66,
			0xef, 0xb2, 0x08, 0xb8, 0x01, 0x00, 0x66, 0xef, 0xeb, 0xfe},
		"'QemuArguments': <['-m', 'size=64M,slots=1,maxmem=1G']>",
		{"ACPI_DEVICE_OST {*'slot': <'0'>*"}, "'running'", "'user'"},
	/* The BIOS reads the boot sector of a disk that can't be read. */
	{"eio", {0xeb, 0xfe}, BAD_DISK("5"), {"BLOCK_IO_ERROR {*'action': <'stop'>*", "STOP"}, "'paused'",
		"'io-error'"},
	{"enospc", {0xeb, 0xfe}, BAD_DISK("28"), {"BLOCK_IO_ERROR {*'nospace': <true>*", "STOP"}, "'paused'",
		"'no-space'"},
};

static void test_boot(gconstpointer data)
{
	const Boot *boot = data;
	g_autoptr(Fixture) f = real();
	g_autofree char *path = NULL;
	gsize mark;

	if (!f)
		return;
	path = fixture_define_boot(f, boot->name, boot->code, sizeof boot->code, boot->config);
	mark = client_mark(f->client);
	fixture_start_vm(f, path);
	await_events(f, mark, path, boot->events);
	client_await_property(f->client, path, "State", boot->state);
	client_assert_property(f->client, path, "StateReason", boot->reason);
	if (strcmp(boot->name, "s3") == 0) {
		execute(f, path, "{\"execute\": \"system_wakeup\"}");
		await_events(f, mark, path, (const char *const[]){"WAKEUP", NULL});
		client_await(f->client, mark, path, "StateChanged", "('suspended', 'running', 'guest')");
	}
	client_do(f->client, path, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/real-events/block", test_block);
	g_test_add_func("/real-events/quorum", test_quorum);
	g_test_add_func("/real-events/corrupted", test_corrupted);
	g_test_add_func("/real-events/devices", test_devices);
	g_test_add_func("/real-events/netdev", test_netdev);
	g_test_add_func("/real-events/dump", test_dump);
	g_test_add_func("/real-events/migration", test_migration);
	for (gsize i = 0; i < G_N_ELEMENTS(boots); i++) {
		g_autofree char *name = g_strconcat("/real-events/boot/", boots[i].name, NULL);

		g_test_add_data_func(name, &boots[i], test_boot);
	}
	return g_test_run();
}
