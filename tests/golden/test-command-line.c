/*
 * Command lines, word by word: every definition of this folder gives exactly its .args file.
 * ROOST_REGENERATE_GOLDEN=1 writes the .args files instead; look at what changed.
 */
#include "qemu/command-line.h"

#include <string.h>

#include "golden.h"

#define QMP_FD           10
#define FIRST_CONSOLE_FD 20

#define KERNEL_FD     11
#define AGENT_FD      14
#define INITRD_FD     12
#define NVRAM_FD      13
#define FIRST_DISK_FD 40

/* `below`: how many images each qcow2 one is based on. */
static char **build_based(const VmConfig *config, const bool *block_devices, unsigned below)
{
	int console_fds[VM_CONSOLES_MAX];
	QemuLayer layers[VM_DISKS_MAX][3];
	QemuDisk disks[VM_DISKS_MAX] = {0};
	int next_fd = FIRST_DISK_FD;

	for (unsigned i = 0; i < config->n_disks; i++) {
		if (*config->disks[i].path == '\0')
			continue;
		disks[i].layers = layers[i];
		disks[i].n_layers = config->disks[i].format == DISK_FORMAT_QCOW2 ? 1 + below : 1;
		for (unsigned k = 0; k < disks[i].n_layers; k++)
			layers[i][k] = (QemuLayer){.fd = next_fd++,
				.format = k == 2 ? DISK_FORMAT_RAW : config->disks[i].format,
				.is_block_device = block_devices && block_devices[i]};
	}
	for (int i = 0; i < VM_CONSOLES_MAX; i++)
		console_fds[i] = FIRST_CONSOLE_FD + i;
	return qemu_command_line_build(&(QemuCommandLine){
		.binary = "qemu-system-x86_64",
		.config = config,
		.accelerator =
			config->accelerator == VM_ACCELERATOR_KVM ? VM_ACCELERATOR_KVM : VM_ACCELERATOR_TCG,
		.qmp_fd = QMP_FD,
		.console_fds = console_fds,
		.nvram_fd = NVRAM_FD,
		.agent_fd = AGENT_FD,
		.kernel_fd = KERNEL_FD,
		.initrd_fd = INITRD_FD,
		.disks = disks,
	});
}

static char **build(const VmConfig *config, const bool *block_devices)
{
	return build_based(config, block_devices, 0);
}

static void test_pair(const void *data)
{
	const char *name = data;
	g_autoptr(VmConfig) config = golden_load(name, GOLDEN_IMAGES);
	g_auto(GStrv) argv = build(config, NULL);
	g_autofree char *path = golden_path(name, ".args");
	g_autofree char *joined = g_strjoinv("\n", argv);
	g_autofree char *text = g_strconcat(joined, "\n", NULL);
	g_autofree char *expected = NULL;
	g_auto(GStrv) lines = NULL;

	if (g_getenv("ROOST_REGENERATE_GOLDEN")) {
		g_assert_true(g_file_set_contents(path, text, -1, NULL));
		return;
	}
	if (!g_file_get_contents(path, &expected, NULL, NULL))
		g_error("%s is missing: ROOST_REGENERATE_GOLDEN=1 makes it", path);
	lines = g_strsplit(expected, "\n", -1);
	for (size_t i = 0; argv[i] && lines[i]; i++)
		g_assert_cmpstr(argv[i], ==, lines[i]);
	g_assert_cmpstr(text, ==, expected);
}

/* Each .args file has its definition. */
static void test_no_orphans(void)
{
	g_autofree char *folder = g_test_build_filename(G_TEST_DIST, "golden", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *entry;

	while ((entry = g_dir_read_name(dir))) {
		g_autofree char *name = NULL, *definition = NULL;

		if (!g_str_has_suffix(entry, ".args"))
			continue;
		name = g_strndup(entry, strlen(entry) - strlen(".args"));
		definition = golden_path(name, ".json");
		if (!g_file_test(definition, G_FILE_TEST_EXISTS))
			g_error("%s has no definition", entry);
	}
}

/* The guest sees devices; which fd is behind them it does not. */
static bool names_an_fd(const char *word)
{
	return strstr(word, "/dev/fdset/") || g_str_has_prefix(word, "fd=");
}

/* Taking the last device of a kind away changes no word about any other. */
static void assert_only_removed(const VmConfig *more, const VmConfig *less, const char *device)
{
	g_auto(GStrv) many = build(more, NULL);
	g_auto(GStrv) few = build(less, NULL);
	bool found = false;

	for (size_t i = 0; few[i]; i++)
		g_assert_true(names_an_fd(few[i]) || g_strv_contains((const char *const *)many, few[i]));
	g_assert_cmpuint(g_strv_length(few), <, g_strv_length(many));
	for (size_t i = 0; many[i]; i++)
		if (!g_strv_contains((const char *const *)few, many[i]))
			found |= strstr(many[i], device) != NULL;
	g_assert_true(found);
}

static void test_addresses_stay(void)
{
	static const char *const machines[] = {"q35", "pc"};

	for (size_t i = 0; i < G_N_ELEMENTS(machines); i++) {
		g_autofree char *json = g_strdup_printf(
			"{\"Name\": \"vm\", \"UUID\": \"6b1c9d2e-0f3a-4c57-9e21-000000000000\", "
			"\"Memory\": 268435456, \"MachineType\": \"%s\", \"Panic\": true, "
			"\"RNG\": true, \"Watchdog\": \"i6300esb\", \"Display\": \"vnc\", "
			"\"Disks\": [{\"Path\": \"/a\", \"Format\": \"raw\"}, {\"Path\": \"/b\", \"Format\": "
			"\"raw\"}], \"NICs\": [{}, {}], \"Consoles\": [{\"Type\": \"virtio\"}, {\"Type\": "
			"\"virtio\"}]}",
			machines[i]);
		g_autoptr(VmConfig) all = golden_parse(json, "");
		VmConfig less = *all;

		less.n_disks--;
		assert_only_removed(all, &less, "disk-disk1");
		less = *all;
		less.n_nics--;
		assert_only_removed(all, &less, "nic-nic1");
		less = *all;
		less.n_consoles--;
		assert_only_removed(all, &less, "console-console1");
		less = *all;
		less.rng = false;
		assert_only_removed(all, &less, "id=rng");
		less = *all;
		less.watchdog = VM_WATCHDOG_NONE;
		assert_only_removed(all, &less, "id=watchdog");
		less = *all;
		less.display = VM_DISPLAY_NONE;
		assert_only_removed(all, &less, "id=display");
	}
}

/* But for its turn to boot. */
static char **build_without_boot_order(const VmConfig *config)
{
	char **argv = build(config, NULL);

	for (size_t i = 0; argv[i]; i++) {
		char *boot_index = strstr(argv[i], ",bootindex=");

		if (boot_index)
			*boot_index = '\0';
	}
	return argv;
}

/* Taking the last disk of a bus away changes no word about those of the other buses. */
static void test_buses_stay(const void *name)
{
	g_autoptr(VmConfig) all = golden_load(name, GOLDEN_IMAGES);
	g_auto(GStrv) many = build_without_boot_order(all);

	for (unsigned i = 0; i < all->n_disks; i++) {
		g_autofree DiskConfig *disks = g_memdup2(all->disks, all->n_disks * sizeof *disks);
		VmConfig less = *all;
		g_auto(GStrv) few = NULL;

		if (i + 1 < all->n_disks && disks[i + 1].bus == disks[i].bus)
			continue;
		less.n_disks--;
		memmove(disks + i, disks + i + 1, (less.n_disks - i) * sizeof *disks);
		less.disks = disks;
		few = build_without_boot_order(&less);
		for (size_t k = 0; few[k]; k++)
			g_assert_true(
				names_an_fd(few[k]) || g_strv_contains((const char *const *)many, few[k]));
	}
}

static void test_block_device(void)
{
	g_autoptr(VmConfig) config = golden_load("disks", GOLDEN_IMAGES);
	bool block_devices[VM_DISKS_MAX] = {[1] = true};
	g_auto(GStrv) argv = build(config, block_devices);
	const char *const *words = (const char *const *)argv;

	g_assert_true(g_strv_contains(words, "driver=file,node-name=file-disk0,filename=/dev/fdset/1"));
	g_assert_true(g_strv_contains(words, "driver=host_device,node-name=file-data,filename=/dev/fdset/2"));
}

#define MIDDLE_NODE                                                                                          \
	"{\"driver\":\"qcow2\",\"node-name\":\"q1-disk0\",\"file\":\"f1-disk0\",\"backing\":"                \
	"\"q2-disk0\",\"read-only\":true}"
#define TOP_NODE                                                                                             \
	"{\"driver\":\"qcow2\",\"node-name\":\"format-disk0\",\"file\":\"file-disk0\",\"backing\":"          \
	"\"q1-disk0\"}"

/* Each image is told what it is based on, and that it is based on nothing. */
static void test_chain(void)
{
	g_autoptr(VmConfig) config = golden_load("disks", GOLDEN_IMAGES);
	g_auto(GStrv) argv = build_based(config, NULL, 2);
	const char *const *words = (const char *const *)argv;
	static const char *const expected[] = {
		"driver=file,node-name=f2-disk0,read-only=on,filename=/dev/fdset/1",
		"driver=raw,node-name=q2-disk0,read-only=on,file=f2-disk0",
		"driver=file,node-name=f1-disk0,read-only=on,filename=/dev/fdset/2",
		MIDDLE_NODE,
		"driver=file,node-name=file-disk0,filename=/dev/fdset/3",
		TOP_NODE,
	};
	size_t at = 0;

	/* In this order. */
	for (size_t i = 0; words[i] && at < G_N_ELEMENTS(expected); i++)
		at += g_str_equal(words[i], expected[at]);
	if (at < G_N_ELEMENTS(expected))
		g_error("there is no %s where it should be", expected[at]);
}

static void test_ids(void)
{
	g_autofree char *device = qemu_disk_device_id("root");
	g_autofree char *node = qemu_disk_node_name("root");

	g_assert_cmpstr(device, ==, "disk-root");
	g_assert_cmpstr(node, ==, "format-root");
}

int main(int argc, char *argv[])
{
	g_auto(GStrv) names = NULL;

	g_test_init(&argc, &argv, NULL);
	names = golden_names();
	for (size_t i = 0; names[i]; i++) {
		g_autofree char *path = g_strconcat("/command-line/", names[i], NULL);

		g_test_add_data_func(path, names[i], test_pair);
	}
	g_test_add_func("/command-line-rules/no-orphans", test_no_orphans);
	g_test_add_func("/command-line-rules/addresses-stay", test_addresses_stay);
	g_test_add_data_func("/command-line-rules/buses-stay/q35", "full-buses", test_buses_stay);
	g_test_add_data_func("/command-line-rules/buses-stay/pc", "full-buses-pc", test_buses_stay);
	g_test_add_func("/command-line-rules/block-device", test_block_device);
	g_test_add_func("/command-line-rules/chain", test_chain);
	g_test_add_func("/command-line-rules/ids", test_ids);
	return g_test_run();
}
