/*
 * Command lines, by the judge that counts: the real QEMU is started with each golden one, its sockets passed
 * as descriptors, every file in place, and must greet, name the disks as Roost does, say nothing on its
 * standard error, and quit. Then boot sectors of a few bytes tell which disk the firmware boots, under TCG.
 * ROOST_TEST_QEMU names another QEMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "golden.h"
#include "qemu/command-line.h"
#include "qemu/process.h"
#include "util/clock.h"
#include "util/fd.h"

#define ANSWER_USEC  (60 * USEC_PER_SEC)
#define FLOPPY_SIZE  1474560
#define CLUSTER_SIZE 65536

static const char *binary;

/* ---- images ---- */
static void write_file(const char *path, size_t size, const void *start, size_t start_size)
{
	g_autofree char *data = g_malloc0(size);
	g_autoptr(GError) error = NULL;

	memcpy(data, start, start_size);
	g_file_set_contents(path, data, (gssize)size, &error);
	g_assert_no_error(error);
}

/* Boots into these bytes. */
static void write_boot_disk(const char *path, const void *code, size_t code_size)
{
	uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};

	memcpy(sector, code, code_size);
	write_file(path, FLOPPY_SIZE, sector, sizeof sector);
}

static void put(uint8_t *at, unsigned n_bytes, uint64_t value)
{
	while (n_bytes > 0) {
		at[--n_bytes] = (uint8_t)value;
		value >>= 8;
	}
}

/* An empty image of 1 MiB: header, refcount table, refcount block, L1 table, a cluster each. */
static void write_qcow2(const char *path)
{
	g_autofree uint8_t *data = g_malloc0(4 * CLUSTER_SIZE);

	memcpy(data, "QFI\xfb", 4);
	put(data + 4, 4, 3);                 /* version */
	put(data + 20, 4, 16);               /* cluster bits */
	put(data + 24, 8, 1 << 20);          /* size */
	put(data + 36, 4, 1);                /* entries of the L1 table */
	put(data + 40, 8, 3 * CLUSTER_SIZE); /* where it is */
	put(data + 48, 8, 1 * CLUSTER_SIZE); /* the refcount table */
	put(data + 56, 4, 1);                /* its clusters */
	put(data + 96, 4, 4);                /* refcounts of 16 bits */
	put(data + 100, 4, 104);             /* length of the header */
	put(data + CLUSTER_SIZE, 8, 2 * CLUSTER_SIZE);
	for (unsigned cluster = 0; cluster < 4; cluster++)
		put(data + 2 * CLUSTER_SIZE + 2 * cluster, 2, 1);
	write_file(path, 4 * CLUSTER_SIZE, data, 4 * CLUSTER_SIZE);
}

/* What QEMU takes for a kernel: a setup sector that says so. It never runs. */
static void write_kernel(const char *path)
{
	uint8_t setup[1024] = {[0x1f1] = 1, [0x1fe] = 0x55, [0x1ff] = 0xaa};

	memcpy(setup + 0x202, "HdrS", 4);
	memcpy(setup + 0x206, (uint8_t[]){0x0c, 0x02}, 2);             /* boot protocol 2.12 */
	setup[0x211] = 1;                                              /* loaded high */
	memcpy(setup + 0x22c, (uint8_t[]){0xff, 0xff, 0xff, 0x7f}, 4); /* the initrd's limit */
	write_file(path, 8192, setup, sizeof setup);
}

static void write_files(const VmConfig *config)
{
	for (unsigned i = 0; i < config->n_disks; i++) {
		const DiskConfig *disk = &config->disks[i];

		if (!disk->path || !*disk->path || g_file_test(disk->path, G_FILE_TEST_EXISTS))
			continue;
		if (disk->format == DISK_FORMAT_QCOW2)
			write_qcow2(disk->path);
		else
			write_file(disk->path, FLOPPY_SIZE, "", 0);
	}
	if (config->kernel && *config->kernel)
		write_kernel(config->kernel);
	if (config->initrd && *config->initrd)
		write_file(config->initrd, 4096, "", 0);
}

static void remove_folder(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *entry;

	while ((entry = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, entry, NULL);

		unlink(file);
	}
	rmdir(path);
}

/* ---- a QEMU and the sockets to it ---- */
typedef struct Guest {
	char *folder;
	VmConfig *config;
	QemuProcess *process;
	int output;
	int qmp;
	int consoles[VM_CONSOLES_MAX];
	GString *unread;
} Guest;

/* A listening socket and a connection that waits in it. */
static int connected_listener(const char *folder, const char *name, int *ret_connection)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	int listener = fd_listen_unix(path);

	g_assert_cmpint(listener, >=, 0);
	*ret_connection = fd_connect_unix(path);
	g_assert_cmpint(*ret_connection, >=, 0);
	return listener;
}

static bool has_firmware(const VmConfig *config)
{
	const char *code = qemu_firmware_code(config->firmware);

	return !code || access(code, R_OK) == 0;
}

/* -1: it has none. */
static int make_nvram(const Guest *guest)
{
	const char *template = qemu_firmware_variables(guest->config->firmware);
	g_autofree char *path = g_build_filename(guest->folder, "variables.fd", NULL);
	g_autofree char *data = NULL;
	gsize size;

	if (!template)
		return -1;
	g_assert_true(g_file_get_contents(template, &data, &size, NULL));
	write_file(path, size, data, size);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Opened, and to be inherited; -1: "". */
static int add_file(GArray *fds, const char *path, int flags)
{
	int fd;

	if (!path || *path == '\0')
		return -1;
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		g_error("%s: %s", path, g_strerror(errno));
	g_array_append_val(fds, fd);
	return fd;
}

static void guest_spawn(Guest *guest)
{
	const VmConfig *config = guest->config;
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
	QemuLayer layers[VM_DISKS_MAX];
	QemuDisk disks[VM_DISKS_MAX] = {0};
	int listeners[1 + VM_CONSOLES_MAX], nvram_fd = make_nvram(guest), agent = -1;
	g_auto(GStrv) argv = NULL;
	int r;

	for (unsigned i = 0; i < config->n_disks; i++) {
		const DiskConfig *disk = &config->disks[i];

		if (*disk->path == '\0')
			continue;
		layers[i] = (QemuLayer){.fd = add_file(fds, disk->path, disk->read_only ? O_RDONLY : O_RDWR),
			.format = disk->format};
		disks[i] = (QemuDisk){.layers = &layers[i], .n_layers = 1};
	}
	if (nvram_fd >= 0)
		g_array_append_val(fds, nvram_fd);

	listeners[0] = connected_listener(guest->folder, "qmp", &guest->qmp);
	for (unsigned i = 0; i < config->n_consoles; i++)
		listeners[1 + i] =
			connected_listener(guest->folder, config->consoles[i].name, &guest->consoles[i]);
	if (config->agent) {
		g_autofree char *path = g_build_filename(guest->folder, "agent", NULL);

		agent = fd_listen_unix(path);
		g_assert_cmpint(agent, >=, 0);
		g_array_append_val(fds, agent);
	}
	argv = qemu_command_line_build(&(QemuCommandLine){.binary = binary,
		.config = config,
		.accelerator = VM_ACCELERATOR_TCG,
		.qmp_fd = listeners[0],
		.console_fds = listeners + 1,
		.agent_fd = agent,
		.nvram_fd = nvram_fd,
		.kernel_fd = add_file(fds, config->kernel, O_RDONLY),
		.initrd_fd = add_file(fds, config->initrd, O_RDONLY),
		.disks = disks});
	g_array_append_vals(fds, listeners, 1 + config->n_consoles);
	guest->output = memfd_create("output", MFD_CLOEXEC);
	r = qemu_process_spawn(
		argv, (const int *)(const void *)fds->data, fds->len, guest->output, &guest->process);
	g_assert_cmpint(r, ==, 0);
	for (unsigned i = 0; i < fds->len; i++)
		close(g_array_index(fds, int, i));
}

/* What was asked for, QEMU finds worth a remark. */
static void remove_remarks(const Guest *guest, GString *text)
{
	for (unsigned i = 0; i < guest->config->n_nics; i++) {
		g_autofree char *remark = g_strdup_printf(
			"qemu-system-x86_64: warning: nic nic-%s has no peer\n", guest->config->nics[i].name);

		if (guest->config->nics[i].type == NIC_TYPE_NONE)
			g_string_replace(text, remark, "", 1);
	}
}

static void assert_output(const Guest *guest, const char *expected)
{
	char buffer[4096];
	ssize_t n = pread(guest->output, buffer, sizeof buffer - 1, 0);
	g_autoptr(GString) text = NULL;

	g_assert_cmpint(n, >=, 0);
	text = g_string_new_len(buffer, n);
	remove_remarks(guest, text);
	g_assert_cmpstr(text->str, ==, expected);
}

static size_t read_some(int fd, char *buffer, size_t size)
{
	ssize_t n;

	g_assert_cmpint(
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)(ANSWER_USEC / USEC_PER_MSEC)), ==,
		1);
	n = read(fd, buffer, size);
	return n > 0 ? (size_t)n : 0;
}

/* The next message that has `word` in it; what comes before is passed over. */
static char *guest_expect(Guest *guest, const char *word)
{
	for (;;) {
		char *end = memchr(guest->unread->str, '\n', guest->unread->len);
		char buffer[65536];
		size_t n;

		if (end) {
			size_t size = (size_t)(end - guest->unread->str) + 1;
			g_autofree char *line = g_strndup(guest->unread->str, size);

			g_string_erase(guest->unread, 0, (gssize)size);
			if (strstr(line, word))
				return g_steal_pointer(&line);
			g_assert_null(strstr(line, "\"error\""));
			continue;
		}
		n = read_some(guest->qmp, buffer, sizeof buffer);
		if (n == 0)
			assert_output(guest, "QEMU to live on");
		g_assert_cmpuint(n, >, 0);
		g_string_append_len(guest->unread, buffer, (gssize)n);
	}
}

/* `arguments`: JSON. */
static char *guest_execute_with(Guest *guest, const char *command, const char *arguments)
{
	g_autofree char *line =
		g_strdup_printf("{\"execute\": \"%s\", \"arguments\": %s}\n", command, arguments);

	g_assert_cmpint(fd_write_all(guest->qmp, line, strlen(line)), ==, 0);
	return guest_expect(guest, "\"return\"");
}

static char *guest_execute(Guest *guest, const char *command)
{
	return guest_execute_with(guest, command, "{}");
}

static Guest *guest_start(VmConfig *config_consume, char *folder_consume)
{
	Guest *guest = g_new0(Guest, 1);

	guest->config = config_consume;
	guest->folder = folder_consume;
	guest->unread = g_string_new(NULL);
	write_files(guest->config);
	guest_spawn(guest);
	g_free(guest_expect(guest, "\"QMP\""));
	g_free(guest_execute(guest, "qmp_capabilities"));
	return guest;
}

static void guest_quit(Guest *guest)
{
	int code = -1, signal = -1;

	g_free(guest_execute(guest, "quit"));
	g_assert_cmpint(poll(&(struct pollfd){.fd = guest->process->pidfd, .events = POLLIN}, 1,
				(int)(ANSWER_USEC / USEC_PER_MSEC)),
		==, 1);
	g_assert_true(qemu_process_reap(guest->process, &code, &signal));
	g_assert_cmpint(code, ==, 0);
	g_assert_cmpint(signal, ==, 0);
	assert_output(guest, "");

	for (unsigned i = 0; i < guest->config->n_consoles; i++)
		close(guest->consoles[i]);
	close(guest->qmp);
	close(guest->output);
	qemu_process_unref(guest->process);
	vm_config_unref(guest->config);
	g_string_free(guest->unread, TRUE);
	remove_folder(guest->folder);
	g_free(guest->folder);
	g_free(guest);
}

static char *make_folder(void)
{
	char *folder = g_dir_make_tmp("roost-test-XXXXXX", NULL);

	g_assert_nonnull(folder);
	return folder;
}

/* ---- every golden command line ---- */
static void assert_disks(const VmConfig *config, const char *answer)
{
	for (unsigned i = 0; i < config->n_disks; i++) {
		const DiskConfig *disk = &config->disks[i];
		g_autofree char *device = qemu_disk_device_id(disk->name);
		g_autofree char *node = qemu_disk_node_name(disk->name);
		g_autofree char *quoted = g_strdup_printf("\"%s\"", node);

		g_assert_nonnull(strstr(answer, device));
		g_assert_true((strstr(answer, quoted) != NULL) == (*disk->path != '\0'));
	}
}

static void test_golden(const void *data)
{
	char *folder = make_folder();
	VmConfig *config = golden_load(data, folder);
	g_autofree char *status = NULL, *blocks = NULL;
	Guest *guest;

	if (!has_firmware(config)) {
		g_test_skip("this firmware is not installed");
		vm_config_unref(config);
		remove_folder(folder);
		g_free(folder);
		return;
	}
	guest = guest_start(config, folder);
	status = guest_execute(guest, "query-status");
	blocks = guest_execute(guest, "query-block");

	g_assert_nonnull(strstr(status, "\"prelaunch\""));
	assert_disks(guest->config, blocks);
	guest_quit(guest);
}

/* ---- what boots ---- */
static const uint8_t poweroff_code[] = {0xfa, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xeb, 0xfe};
static const uint8_t halt_code[] = {0xfa, 0xf4, 0xeb, 0xfd};
static const uint8_t panic_code[] = {0xfa, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd};
static const uint8_t serial_code[] = {0xfa, 0xba, 0xf8, 0x03, 0xb0, 'R', 0xee, 0xf4, 0xeb, 0xfd};

#define DISK(file) "{\"Path\": \"@IMAGES@/" file "\", \"Format\": \"raw\"}"
#define DISK_ON(file, bus, more)                                                                             \
	"{\"Path\": \"@IMAGES@/" file "\", \"Format\": \"raw\", \"Bus\": \"" bus "\"" more "}"
#define FLOPPY(file) "{\"Path\": \"@IMAGES@/" file "\", \"Format\": \"raw\", \"Device\": \"floppy\"}"
#define NO_FLOPPY    "{\"Path\": \"\", \"Format\": \"raw\", \"Device\": \"floppy\"}"
#define NO_CDROM     "{\"Path\": \"\", \"Format\": \"raw\", \"Device\": \"cdrom\"}"
#define FOUR(disk)   disk ", " disk ", " disk ", " disk

/* poweroff must run, halt must not. Copies of halt are read-only: QEMU locks what it writes. */
#define HALTS "{\"Path\": \"@IMAGES@/halt\", \"Format\": \"raw\", \"ReadOnly\": true}"

static const char *const boot_rows[] = {
	DISK("poweroff"),
	FLOPPY("poweroff"),
	DISK("poweroff") ", " DISK("halt"),
	DISK("poweroff") ", " FLOPPY("halt"),
	FLOPPY("poweroff") ", " DISK("halt"),
	NO_FLOPPY ", " NO_CDROM ", " DISK("poweroff") ", " DISK("halt"),
	FLOPPY("poweroff") ", " NO_FLOPPY ", " HALTS,
	DISK_ON("poweroff", "sata", "") ", " DISK("halt"),
	DISK_ON("poweroff", "nvme", "") ", " DISK("halt"),
	DISK_ON("poweroff", "scsi", "") ", " DISK("halt"),
	DISK_ON("poweroff", "usb", "") ", " DISK("halt"),
	DISK_ON("poweroff", "ide", ", \"Cache\": \"unsafe\", \"Serial\": \"x\"") ", " DISK("halt"),
	HALTS ", " DISK_ON("poweroff", "scsi", ", \"BootIndex\": 5") ", " HALTS,
	DISK_ON("halt", "nvme", ", \"BootIndex\": 2") ", " DISK_ON("poweroff", "usb", ", \"BootIndex\": 1"),
	DISK("poweroff") ", " FOUR(FOUR(HALTS)) ", " FOUR(FOUR(HALTS)) ", " FOUR(FOUR(HALTS)),
};

static Guest *boot(const char *machine, const char *disks, const char *more)
{
	char *folder = make_folder();
	g_autofree char *json =
		g_strdup_printf("{\"Name\": \"vm\", \"UUID\": \"6b1c9d2e-0f3a-4c57-9e21-000000000000\", "
				"\"Memory\": 67108864, \"MachineType\": \"%s\", \"Disks\": [%s]%s}",
			machine, disks, more);
	static const struct {
		const char *name;
		const uint8_t *code;
		size_t size;
	} images[] = {
		{"poweroff", poweroff_code, sizeof poweroff_code},
		{"halt", halt_code, sizeof halt_code},
		{"panic", panic_code, sizeof panic_code},
		{"serial", serial_code, sizeof serial_code},
	};
	Guest *guest;

	for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
		g_autofree char *path = g_build_filename(folder, images[i].name, NULL);

		write_boot_disk(path, images[i].code, images[i].size);
	}
	guest = guest_start(golden_parse(json, folder), folder);
	g_free(guest_execute(guest, "cont"));
	return guest;
}

static void test_boot(const void *machine)
{
	for (size_t i = 0; i < G_N_ELEMENTS(boot_rows); i++) {
		uint64_t start_usec = clock_monotonic_usec();
		Guest *guest = boot(machine, boot_rows[i], "");
		g_autofree char *event = guest_expect(guest, "\"SHUTDOWN\"");

		g_assert_nonnull(strstr(event, "\"guest-shutdown\""));
		g_test_message("%.60s...: %.2f s", boot_rows[i],
			(double)(clock_monotonic_usec() - start_usec) / USEC_PER_SEC);
		guest_quit(guest);
	}
}

static void test_panic(const void *machine)
{
	Guest *guest = boot(machine, DISK("panic"), ", \"Panic\": true");
	g_autofree char *event = guest_expect(guest, "\"GUEST_PANICKED\"");
	g_autofree char *status = NULL;

	g_free(guest_expect(guest, "\"STOP\""));
	status = guest_execute(guest, "query-status");
	g_assert_nonnull(strstr(event, "\"pause\""));
	g_assert_nonnull(strstr(status, "\"guest-panicked\""));
	guest_quit(guest);
}

static void test_serial(const void *machine)
{
	Guest *guest = boot(machine, DISK("serial"), ", \"Consoles\": [{\"Type\": \"serial\"}]");
	char byte = 0;

	g_assert_cmpuint(read_some(guest->consoles[0], &byte, 1), ==, 1);
	g_assert_cmpint(byte, ==, 'R');
	guest_quit(guest);
}

/* The firmware's own words when it looks for something to boot. */
static void test_uefi(const void *keys)
{
	uint64_t start_usec = clock_monotonic_usec();
	g_autoptr(GString) text = g_string_new(NULL);
	Guest *guest;

	if (access(qemu_firmware_code(VM_FIRMWARE_UEFI_SECURE), R_OK) < 0) {
		g_test_skip("UEFI firmware is not installed");
		return;
	}
	guest = boot("q35", DISK("halt"), keys);
	while (!strstr(text->str, "BdsDxe")) {
		char buffer[4096];
		size_t n = read_some(guest->consoles[0], buffer, sizeof buffer);

		g_assert_cmpuint(n, >, 0);
		g_string_append_len(text, buffer, (gssize)n);
	}
	g_test_message("%.2f s", (double)(clock_monotonic_usec() - start_usec) / USEC_PER_SEC);
	guest_quit(guest);
}

/* Nobody listens for viewers: one that is handed in over QMP is served. */
static void test_vnc(const void *machine)
{
	Guest *guest = boot(machine, DISK("halt"), ", \"Display\": \"vnc\"");
	char command[] = "{\"execute\": \"getfd\", \"arguments\": {\"fdname\": \"viewer\"}}\n";
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr message = {.msg_iov = &(struct iovec){command, strlen(command)},
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	char greeting[12] = {0};
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &pair[1], sizeof(int));
	g_assert_cmpint(sendmsg(guest->qmp, &message, 0), ==, (gssize)strlen(command));
	close(pair[1]);
	g_free(guest_expect(guest, "\"return\""));
	g_free(guest_execute_with(
		guest, "add_client", "{\"protocol\": \"vnc\", \"fdname\": \"viewer\", \"skipauth\": true}"));
	g_assert_cmpuint(read_some(pair[0], greeting, sizeof greeting), ==, sizeof greeting);
	g_assert_cmpint(memcmp(greeting, "RFB 003.008\n", sizeof greeting), ==, 0);
	close(pair[0]);
	guest_quit(guest);
}

static void add_golden_tests(char **names)
{
	for (size_t i = 0; names[i]; i++) {
		g_autofree char *path = g_strconcat("/real-qemu/", names[i], NULL);

		g_test_add_data_func(path, names[i], test_golden);
	}
}

static void test_no_qemu(void)
{
	g_test_skip("there is no QEMU here");
}

int main(int argc, char *argv[])
{
	g_auto(GStrv) names = NULL;

	g_test_init(&argc, &argv, NULL);
	binary = g_getenv("ROOST_TEST_QEMU");
	if (!binary)
		binary = "/usr/bin/qemu-system-x86_64";
	if (access(binary, X_OK) < 0) {
		g_test_add_func("/real-qemu", test_no_qemu);
		return g_test_run();
	}
	names = golden_names();
	add_golden_tests(names);
	g_test_add_data_func("/real-qemu-boot/q35", "q35", test_boot);
	g_test_add_data_func("/real-qemu-boot/pc", "pc", test_boot);
	g_test_add_data_func("/real-qemu-panic/q35", "q35", test_panic);
	g_test_add_data_func("/real-qemu-panic/pc", "pc", test_panic);
	g_test_add_data_func("/real-qemu-serial/q35", "q35", test_serial);
	g_test_add_data_func("/real-qemu-serial/pc", "pc", test_serial);
	g_test_add_data_func("/real-qemu-uefi/plain",
		", \"Firmware\": \"uefi\", \"Consoles\": [{\"Type\": \"serial\"}]", test_uefi);
	g_test_add_data_func("/real-qemu-uefi/secure",
		", \"Firmware\": \"uefi-secure\", \"Consoles\": [{\"Type\": \"serial\"}]", test_uefi);
	g_test_add_data_func("/real-qemu-vnc/q35", "q35", test_vnc);
	g_test_add_data_func("/real-qemu-vnc/pc", "pc", test_vnc);
	return g_test_run();
}
