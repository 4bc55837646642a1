/*
 * Definitions as values: how large they may be, what is filled in, and that what is given back
 * is taken again and means the same.
 */
#include <errno.h>
#include <string.h>

#include "config-text.h"
#include "random-config.h"
#include "store/config-keys.h"

static GVariant *dict_with_string(const char *key, size_t length, const char *start)
{
	g_autofree char *filler = g_strnfill(length - strlen(start), 'a');
	g_autofree char *text = g_strconcat(start, filler, NULL);
	g_autoptr(GVariant) base = parse_dict("{" BASE ", 'Kernel': <'/k'>}");
	GVariantDict dict;

	g_variant_dict_init(&dict, base);
	g_variant_dict_insert(&dict, key, "s", text);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void test_lengths(void)
{
	static const struct {
		const char *key, *start;
		size_t max;
		const char *complaint;
	} rows[] = {
		{"Name", "a", 64, NULL},
		{"Description", "", 1024, "Description: has 1025 bytes, at most 1024 are allowed"},
		{"Kernel", "/", 4095, "Kernel: has 4096 bytes, a path at most 4095"},
		{"Initrd", "/", 4095, "Initrd: has 4096 bytes, a path at most 4095"},
		{"CPUModel", "a", 64, NULL},
		{"KernelCommandLine", "", 2047,
			"KernelCommandLine: has 2048 bytes, at most 2047 are allowed"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GVariant) fits = dict_with_string(rows[i].key, rows[i].max, rows[i].start);
		g_autoptr(GVariant) over = dict_with_string(rows[i].key, rows[i].max + 1, rows[i].start);
		g_autoptr(VmConfig) config = NULL;
		g_autofree char *complaint = NULL;

		g_assert_cmpint(vm_config_new_from_variant(fits, &config, &complaint), ==, 0);
		if (rows[i].complaint)
			assert_refused(over, -EINVAL, rows[i].complaint);
	}
}

static GVariant *dict_with_metadata(unsigned n, size_t key_length, size_t value_length)
{
	g_autofree char *value = g_strnfill(value_length, 'v');
	g_autoptr(GVariant) base = parse_dict("{" BASE "}");
	GVariantBuilder builder;
	GVariantDict dict;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("a{ss}"));
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *key = g_strdup_printf("%0*u", (int)key_length, i);

		g_variant_builder_add(&builder, "{ss}", key, value);
	}
	g_variant_dict_init(&dict, base);
	g_variant_dict_insert_value(&dict, "Metadata", g_variant_builder_end(&builder));
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void test_metadata(void)
{
	g_autoptr(GVariant) none = dict_with_metadata(0, 1, 0), one = dict_with_metadata(1, 256, 4096);
	g_autoptr(GVariant) most = dict_with_metadata(64, 2, 1000), over = dict_with_metadata(65, 2, 0);
	g_autoptr(GVariant) long_key = dict_with_metadata(1, 257, 0);
	g_autoptr(GVariant) long_value = dict_with_metadata(1, 1, 4097);
	g_autoptr(VmConfig) config_none = NULL, config_one = NULL, config_most = NULL;
	g_autofree char *complaint = NULL;

	g_assert_cmpint(vm_config_new_from_variant(none, &config_none, &complaint), ==, 0);
	g_assert_true(!config_none->metadata || !*config_none->metadata);
	g_assert_cmpint(vm_config_new_from_variant(one, &config_one, &complaint), ==, 0);
	g_assert_cmpuint(g_strv_length(config_one->metadata), ==, 2);
	g_assert_cmpuint(strlen(config_one->metadata[1]), ==, 4096);
	g_assert_cmpint(vm_config_new_from_variant(most, &config_most, &complaint), ==, 0);
	g_assert_cmpstr(config_most->metadata[126], ==, "63");
	assert_refused(over, -EINVAL, "Metadata: has 65 entries, at most 64 are allowed");
	assert_refused(long_key, -EINVAL,
		"Metadata: the key '0000000000000000000000000000000000000000000000000000000000000000...' "
		"must be of 1 to 256 bytes without control characters");
	assert_refused(
		long_value, -EINVAL, "Metadata: the value of '0' has 4097 bytes, at most 4096 are allowed");
}

static GVariant *dict_with_arguments(unsigned n, size_t length)
{
	g_autofree char *word = g_strnfill(length, 'w');
	g_autoptr(GVariant) base = parse_dict("{" BASE "}");
	GVariantBuilder builder;
	GVariantDict dict;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < n; i++)
		g_variant_builder_add(&builder, "s", word);
	g_variant_dict_init(&dict, base);
	g_variant_dict_insert_value(&dict, "QemuArguments", g_variant_builder_end(&builder));
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void test_qemu_arguments(void)
{
	g_autoptr(GVariant) none = dict_with_arguments(0, 0), one = dict_with_arguments(1, 4096);
	g_autoptr(GVariant) most = dict_with_arguments(64, 3000), over = dict_with_arguments(65, 1);
	g_autoptr(GVariant) longer = dict_with_arguments(2, 4097);
	g_autoptr(VmConfig) config_none = NULL, config_one = NULL, config_most = NULL;
	g_autofree char *complaint = NULL;

	g_assert_cmpint(vm_config_new_from_variant(none, &config_none, &complaint), ==, 0);
	g_assert_true(!config_none->qemu_arguments || !*config_none->qemu_arguments);
	g_assert_cmpint(vm_config_new_from_variant(one, &config_one, &complaint), ==, 0);
	g_assert_cmpuint(strlen(config_one->qemu_arguments[0]), ==, 4096);
	g_assert_cmpint(vm_config_new_from_variant(most, &config_most, &complaint), ==, 0);
	g_assert_cmpuint(g_strv_length(config_most->qemu_arguments), ==, 64);
	assert_refused(over, -EINVAL, "QemuArguments: has 65 entries, at most 64 are allowed");
	assert_refused(longer, -EINVAL, "QemuArguments: entry 0 has 4097 bytes, at most 4096 are allowed");
}

static GVariant *dict_with_disks(unsigned n, size_t path_length)
{
	GVariantBuilder builder;
	GVariant *disks;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *filler = g_strnfill(path_length - 1, 'a');
		g_autofree char *path = g_strconcat("/", filler, NULL);
		GVariantDict disk;

		g_variant_dict_init(&disk, NULL);
		g_variant_dict_insert(&disk, "Path", "s", path);
		g_variant_dict_insert(&disk, "Format", "s", "raw");
		g_variant_builder_add_value(&builder, g_variant_dict_end(&disk));
	}
	disks = g_variant_builder_end(&builder);
	g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&builder, "{sv}", "Name", g_variant_new_string("web"));
	g_variant_builder_add(&builder, "{sv}", "Memory", g_variant_new_uint64(1 << 20));
	g_variant_builder_add(&builder, "{sv}", "Disks", disks);
	return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static void test_sizes(void)
{
	g_autoptr(GVariant) fits = dict_with_disks(64, 3700), many = dict_with_disks(65, 2);
	g_autoptr(GVariant) big = dict_with_disks(64, 4095), grows = dict_with_disks(64, 3985);
	g_autofree char *complaint = NULL, *grown = NULL;
	g_autoptr(VmConfig) config = NULL;
	VmConfig *none = NULL;

	g_assert_cmpint(vm_config_new_from_variant(fits, &config, &complaint), ==, 0);
	g_assert_cmpuint(config->n_disks, ==, 64);
	assert_refused(many, -EINVAL, "Disks: has 65 entries, at most 64 are allowed");

	g_assert_cmpuint(g_variant_get_size(big), >, VM_CONFIG_SIZE_MAX);
	g_assert_cmpint(vm_config_new_from_variant(big, &none, &complaint), ==, -EFBIG);
	g_assert_true(g_str_has_prefix(complaint, "config: has 26"));
	g_assert_true(g_str_has_suffix(complaint, " bytes, at most 262144 are allowed"));

	/* It fits as it comes, but not with the defaults in: it could not be taken again. */
	g_assert_cmpuint(g_variant_get_size(grows), <, VM_CONFIG_SIZE_MAX);
	g_assert_cmpint(vm_config_new_from_variant(grows, &none, &grown), ==, -EFBIG);
	g_assert_null(none);
}

/* Bytes that are no GVariant of that type are read as GLib's defaults for them, never as memory elsewhere. */
static void test_not_normal(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		size_t size = (size_t)g_test_rand_int_range(0, 256);
		uint8_t *bytes = g_malloc(size);
		g_autofree char *complaint = NULL;
		g_autoptr(GVariant) dict = NULL;
		VmConfig *config = NULL;

		for (size_t k = 0; k < size; k++)
			bytes[k] = (uint8_t)g_test_rand_int_range(0, i % 2 ? 256 : 16);
		dict = g_variant_ref_sink(
			g_variant_new_from_data(G_VARIANT_TYPE_VARDICT, bytes, size, FALSE, g_free, bytes));
		g_assert_cmpint(vm_config_new_from_variant(dict, &config, &complaint), <, 0);
		g_assert_nonnull(complaint);
		g_assert_true(g_utf8_validate(complaint, -1, NULL));
	}
}

/* ---- what is taken ---- */
static void test_defaults(void)
{
	g_autoptr(VmConfig) config = config_from_text("{" BASE "}");
	char uuid[37];

	g_assert_cmpstr(config->name, ==, "web");
	g_assert_true(vm_uuid_normalize(config->uuid, uuid));
	g_assert_cmpstr(config->uuid, ==, uuid);
	g_assert_cmpstr(config->description, ==, "");
	g_assert_cmpuint(config->vcpus, ==, 1);
	g_assert_cmpuint(config->memory, ==, 1 << 30);
	g_assert_cmpint(config->machine_type, ==, VM_MACHINE_TYPE_Q35);
	g_assert_cmpint(config->accelerator, ==, VM_ACCELERATOR_AUTO);
	g_assert_cmpstr(config->kernel, ==, "");
	g_assert_cmpstr(config->initrd, ==, "");
	g_assert_cmpstr(config->kernel_command_line, ==, "");
	g_assert_cmpstr(config->cpu_model, ==, "");
	g_assert_cmpint(config->firmware, ==, VM_FIRMWARE_BIOS);
	g_assert_cmpint(config->display, ==, VM_DISPLAY_NONE);
	g_assert_cmpint(config->watchdog, ==, VM_WATCHDOG_NONE);
	g_assert_cmpint(config->on_watchdog, ==, VM_WATCHDOG_ACTION_RESET);
	g_assert_cmpint(config->on_power_off, ==, VM_POLICY_DESTROY);
	g_assert_cmpint(config->on_reboot, ==, VM_POLICY_RESTART);
	g_assert_cmpint(config->on_crash, ==, VM_POLICY_PRESERVE);
	g_assert_null(config->metadata);
	g_assert_null(config->qemu_arguments);
	g_assert_false(config->panic || config->autostart || config->rng);
	g_assert_cmpuint(config->shutdown_timeout_usec, ==, 90000000);
	g_assert_cmpuint(config->n_disks + config->n_nics + config->n_consoles, ==, 0);
}

static void test_limits_taken(void)
{
	g_autoptr(VmConfig) q35 =
		config_from_text("{'Name': <'a'>, 'Memory': <uint64 1048576>, 'VCPUs': <uint32 255>, "
				 "'ShutdownTimeout': <uint64 0>}");
	g_autoptr(VmConfig) pc = config_from_text("{'Name': <'0.a_b-c'>, 'Memory': <uint64 17592186044416>, "
						  "'VCPUs': <uint32 255>, 'MachineType': <'pc'>, "
						  "'Description': <'two\\nlines'>}");

	g_assert_cmpuint(q35->vcpus, ==, 255);
	g_assert_cmpuint(q35->shutdown_timeout_usec, ==, 0);
	g_assert_cmpuint(pc->memory, ==, 16ULL << 40);
	g_assert_cmpstr(pc->description, ==, "two\nlines");
}

static void test_devices(void)
{
	static const struct {
		const char *name;
		DiskBus bus;
		bool read_only;
	} disks[] = {
		{"disk1", DISK_BUS_VIRTIO, false},
		{"disk0", DISK_BUS_VIRTIO, true},
		{"cdrom0", DISK_BUS_IDE, true},
		{"floppy0", DISK_BUS_FDC, false},
		{"disk2", DISK_BUS_VIRTIO, false},
	};
	g_autoptr(VmConfig) config = config_from_text(
		"{" BASE ", 'Disks': <[{" DISK "}, {" DISK ", 'Name': <'disk0'>, 'ReadOnly': <true>}, "
		"{'Device': <'cdrom'>, 'Format': <'raw'>}, {'Device': <'floppy'>, 'Format': <'raw'>, 'Bus': "
		"<'fdc'>}, "
		"{" DISK "}]>, 'Consoles': <[@a{sv} {}, {'Type': <'virtio'>}]>}");

	g_assert_cmpuint(config->n_disks, ==, G_N_ELEMENTS(disks));
	for (unsigned i = 0; i < G_N_ELEMENTS(disks); i++) {
		g_assert_cmpstr(config->disks[i].name, ==, disks[i].name);
		g_assert_cmpint(config->disks[i].bus, ==, disks[i].bus);
		g_assert_cmpint(config->disks[i].read_only, ==, disks[i].read_only);
	}
	g_assert_cmpstr(config->disks[2].path, ==, "");
	g_assert_cmpstr(config->disks[0].serial, ==, "");
	g_assert_cmpint(config->disks[0].cache, ==, DISK_CACHE_WRITEBACK);
	g_assert_cmpuint(config->disks[0].boot_index, ==, 0);
	g_assert_false(config->disks[0].discard);
	g_assert_cmpstr(config->consoles[0].name, ==, "console0");
	g_assert_cmpint(config->consoles[0].type, ==, CONSOLE_TYPE_SERIAL);
	g_assert_cmpstr(config->consoles[1].name, ==, "console1");
	g_assert_cmpint(config->consoles[1].type, ==, CONSOLE_TYPE_VIRTIO);
}

static void test_macs(void)
{
	const char *text = "{" BASE ", 'NICs': <[@a{sv} {}, {'MAC': <'02:AB:cd:00:00:01'>}, {}]>, "
			   "'UUID': <'0123456789ABCDEF0123456789ABCDEF'>}";
	g_autoptr(VmConfig) one = config_from_text(text), same = config_from_text(text);
	g_autoptr(VmConfig) clash = NULL;
	g_autofree char *clash_text = NULL;

	g_assert_cmpstr(one->uuid, ==, "01234567-89ab-cdef-0123-456789abcdef");
	g_assert_true(g_str_has_prefix(one->nics[0].mac, "52:54:00:"));
	g_assert_cmpuint(strlen(one->nics[0].mac), ==, 17);
	g_assert_cmpstr(one->nics[0].mac, ==, same->nics[0].mac);
	g_assert_cmpstr(one->nics[0].mac, !=, one->nics[2].mac);
	g_assert_cmpstr(one->nics[1].mac, ==, "02:ab:cd:00:00:01");

	/* The address that would be drawn is taken by another NIC of the VM. */
	clash_text = g_strdup_printf("{" BASE ", 'NICs': <[@a{sv} {}, {'MAC': <'%s'>}]>, 'UUID': <'%s'>}",
		one->nics[0].mac, one->uuid);
	clash = config_from_text(clash_text);
	g_assert_cmpstr(clash->nics[1].mac, ==, one->nics[0].mac);
	g_assert_cmpstr(clash->nics[0].mac, !=, one->nics[0].mac);
	g_assert_true(g_str_has_prefix(clash->nics[0].mac, "52:54:00:"));
}

static void test_uuids(void)
{
	static const char *const bad[] = {"", "0", "0123456789abcdef0123456789abcde",
		"0123456789abcdef0123456789abcdef0", "01234567-89ab-cdef-0123-456789abcdefa",
		"01234567-89ab-cdef-0123456789abcdef-", "01234567-89ab-cdef-0123_456789abcdef",
		"g1234567-89ab-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdeg",
		"0123456-789ab-cdef-0123-456789abcdef"};
	char uuid[37] = "untouched";

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(vm_uuid_normalize(bad[i], uuid));
	g_assert_cmpstr(uuid, ==, "untouched");
	g_assert_true(vm_uuid_normalize("0123456789ABCDEF0123456789abcdef", uuid));
	g_assert_cmpstr(uuid, ==, "01234567-89ab-cdef-0123-456789abcdef");
	g_assert_true(vm_uuid_normalize("FFFFFFFF-89ab-cdef-0123-456789abcdef", uuid));
	g_assert_cmpstr(uuid, ==, "ffffffff-89ab-cdef-0123-456789abcdef");
}

#define CHECK_ENUM(prefix, max)                                                                              \
	do {                                                                                                 \
		for (int i = 0; i < (int)(max); i++) {                                                       \
			g_assert_nonnull(prefix##_to_string(i));                                             \
			g_assert_cmpint(prefix##_from_string(prefix##_to_string(i)), ==, i);                 \
		}                                                                                            \
		g_assert_null(prefix##_to_string(max));                                                      \
		g_assert_cmpint(prefix##_from_string("nonsense"), ==, -EINVAL);                              \
		g_assert_cmpint(prefix##_from_string(""), ==, -EINVAL);                                      \
		g_assert_cmpint(prefix##_from_string(NULL), ==, -EINVAL);                                    \
	} while (0)

static void test_enums(void)
{
	CHECK_ENUM(vm_machine_type, VM_MACHINE_TYPE_MAX);
	CHECK_ENUM(vm_accelerator, VM_ACCELERATOR_MAX);
	CHECK_ENUM(vm_firmware, VM_FIRMWARE_MAX);
	CHECK_ENUM(vm_display, VM_DISPLAY_MAX);
	CHECK_ENUM(vm_watchdog_action, VM_WATCHDOG_ACTION_MAX);
	CHECK_ENUM(nic_type, NIC_TYPE_MAX);
	CHECK_ENUM(nic_model, NIC_MODEL_MAX);
	CHECK_ENUM(disk_format, DISK_FORMAT_MAX);
	CHECK_ENUM(disk_device, DISK_DEVICE_MAX);
	CHECK_ENUM(disk_cache, DISK_CACHE_MAX);
	CHECK_ENUM(disk_bus, DISK_BUS_MAX);
	CHECK_ENUM(console_type, CONSOLE_TYPE_MAX);
	for (int i = 0; i < VM_WATCHDOG_MAX; i++)
		g_assert_cmpint(vm_watchdog_from_string(vm_watchdog_to_string((VmWatchdog)i)), ==, i);
	g_assert_cmpstr(vm_watchdog_to_string(VM_WATCHDOG_NONE), ==, "");
	g_assert_cmpstr(disk_bus_to_string(DISK_BUS_FDC), ==, "fdc");
	g_assert_cmpstr(vm_accelerator_to_string(VM_ACCELERATOR_TCG), ==, "tcg");
}

/* ---- there and back ---- */
static void test_round_trip(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		g_autoptr(GVariant) dict = random_config_dict(), given = NULL, again = NULL;
		g_autoptr(VmConfig) config = NULL, back = NULL;
		g_autofree char *complaint = NULL;

		if (vm_config_new_from_variant(dict, &config, &complaint) < 0)
			g_error("%s", complaint);
		given = g_variant_ref_sink(vm_config_to_variant(config));
		if (vm_config_new_from_variant(given, &back, &complaint) < 0)
			g_error("%s", complaint);
		assert_configs_equal(config, back);
		again = g_variant_ref_sink(vm_config_to_variant(back));
		g_assert_true(g_variant_equal(given, again));
	}
}

/* What is given back has every key that is carried out. */
static void test_whole(void)
{
	g_autoptr(VmConfig) config = config_from_text("{" BASE "}");
	g_autoptr(GVariant) given = g_variant_ref_sink(vm_config_to_variant(config));

	for (unsigned i = 0; i < config_vm_table.n_keys; i++) {
		const ConfigKey *key = &config_vm_table.keys[i];
		g_autoptr(GVariant) value = g_variant_lookup_value(given, key->name, NULL);

		g_assert_cmpstr(value ? g_variant_get_type_string(value) : NULL, ==, key->signature);
	}
}

static void test_with_autostart(void)
{
	for (unsigned i = 0; i < 200; i++) {
		g_autoptr(GVariant) dict = random_config_dict();
		g_autoptr(VmConfig) config = NULL, changed = NULL, back = NULL;
		g_autofree char *complaint = NULL;
		bool old;

		g_assert_cmpint(vm_config_new_from_variant(dict, &config, &complaint), ==, 0);
		old = config->autostart;
		changed = vm_config_with_autostart(config, !old);
		g_assert_cmpint(config->autostart, ==, old);
		g_assert_cmpint(changed->autostart, ==, !old);
		back = vm_config_with_autostart(changed, old);
		/* A copy owns all it has. */
		g_clear_pointer(&changed, vm_config_unref);
		assert_configs_equal(config, back);
	}
}

static void test_references(void)
{
	VmConfig *config = config_from_text("{" BASE "}");

	g_assert_true(vm_config_ref(config) == config);
	g_assert_null(vm_config_unref(config));
	g_assert_cmpstr(config->name, ==, "web");
	g_assert_null(vm_config_unref(config));
	g_assert_null(vm_config_unref(NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/lengths", test_lengths);
	g_test_add_func("/config/sizes", test_sizes);
	g_test_add_func("/config/metadata", test_metadata);
	g_test_add_func("/config/qemu-arguments", test_qemu_arguments);
	g_test_add_func("/config/not-normal", test_not_normal);
	g_test_add_func("/config/defaults", test_defaults);
	g_test_add_func("/config/limits-taken", test_limits_taken);
	g_test_add_func("/config/devices", test_devices);
	g_test_add_func("/config/macs", test_macs);
	g_test_add_func("/config/uuids", test_uuids);
	g_test_add_func("/config/enums", test_enums);
	g_test_add_func("/config/round-trip", test_round_trip);
	g_test_add_func("/config/whole", test_whole);
	g_test_add_func("/config/with-autostart", test_with_autostart);
	g_test_add_func("/config/references", test_references);
	return g_test_run();
}
