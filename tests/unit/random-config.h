#pragma once
/* Random definitions, for tests that hold for all of them; and what makes two of them equal. */
#include <glib.h>

#include "store/config.h"

static void assert_equal_devices(const VmConfig *a, const VmConfig *b)
{
	g_assert_cmpuint(a->n_disks, ==, b->n_disks);
	for (unsigned i = 0; i < a->n_disks; i++) {
		g_assert_cmpstr(a->disks[i].name, ==, b->disks[i].name);
		g_assert_cmpstr(a->disks[i].path, ==, b->disks[i].path);
		g_assert_cmpint(a->disks[i].format, ==, b->disks[i].format);
		g_assert_cmpint(a->disks[i].bus, ==, b->disks[i].bus);
		g_assert_cmpint(a->disks[i].device, ==, b->disks[i].device);
		g_assert_cmpint(a->disks[i].read_only, ==, b->disks[i].read_only);
		g_assert_cmpint(a->disks[i].cache, ==, b->disks[i].cache);
		g_assert_cmpint(a->disks[i].discard, ==, b->disks[i].discard);
		g_assert_cmpstr(a->disks[i].serial, ==, b->disks[i].serial);
		g_assert_cmpuint(a->disks[i].size, ==, b->disks[i].size);
		g_assert_cmpuint(a->disks[i].boot_index, ==, b->disks[i].boot_index);
	}
	g_assert_cmpuint(a->n_nics, ==, b->n_nics);
	for (unsigned i = 0; i < a->n_nics; i++) {
		g_assert_cmpstr(a->nics[i].name, ==, b->nics[i].name);
		g_assert_cmpstr(a->nics[i].mac, ==, b->nics[i].mac);
		g_assert_cmpint(a->nics[i].type, ==, b->nics[i].type);
		g_assert_cmpint(a->nics[i].model, ==, b->nics[i].model);
	}
	g_assert_cmpuint(a->n_consoles, ==, b->n_consoles);
	for (unsigned i = 0; i < a->n_consoles; i++) {
		g_assert_cmpstr(a->consoles[i].name, ==, b->consoles[i].name);
		g_assert_cmpint(a->consoles[i].type, ==, b->consoles[i].type);
	}
}

static void assert_equal_strings(char *const *a, char *const *b)
{
	unsigned n = a ? g_strv_length((char **)a) : 0;

	g_assert_cmpuint(n, ==, b ? g_strv_length((char **)b) : 0);
	for (unsigned i = 0; i < n; i++)
		g_assert_cmpstr(a[i], ==, b[i]);
}

static void assert_configs_equal(const VmConfig *a, const VmConfig *b)
{
	g_assert_cmpstr(a->name, ==, b->name);
	g_assert_cmpstr(a->uuid, ==, b->uuid);
	g_assert_cmpstr(a->description, ==, b->description);
	g_assert_cmpuint(a->vcpus, ==, b->vcpus);
	g_assert_cmpuint(a->memory, ==, b->memory);
	g_assert_cmpint(a->machine_type, ==, b->machine_type);
	g_assert_cmpint(a->accelerator, ==, b->accelerator);
	g_assert_cmpstr(a->cpu_model, ==, b->cpu_model);
	g_assert_cmpstr(a->kernel, ==, b->kernel);
	g_assert_cmpstr(a->initrd, ==, b->initrd);
	g_assert_cmpstr(a->kernel_command_line, ==, b->kernel_command_line);
	g_assert_cmpint(a->firmware, ==, b->firmware);
	g_assert_cmpint(a->display, ==, b->display);
	g_assert_cmpint(a->rng, ==, b->rng);
	g_assert_cmpint(a->panic, ==, b->panic);
	g_assert_cmpint(a->agent, ==, b->agent);
	g_assert_cmpint(a->watchdog, ==, b->watchdog);
	g_assert_cmpint(a->on_watchdog, ==, b->on_watchdog);
	g_assert_cmpint(a->on_power_off, ==, b->on_power_off);
	g_assert_cmpint(a->on_reboot, ==, b->on_reboot);
	g_assert_cmpint(a->on_crash, ==, b->on_crash);
	assert_equal_strings(a->metadata, b->metadata);
	assert_equal_strings(a->qemu_arguments, b->qemu_arguments);
	g_assert_cmpint(a->autostart, ==, b->autostart);
	g_assert_cmpuint(a->shutdown_timeout_usec, ==, b->shutdown_timeout_usec);
	g_assert_cmpuint(a->cpu_weight, ==, b->cpu_weight);
	g_assert_cmpuint(a->memory_max, ==, b->memory_max);
	g_assert_cmpuint(a->tasks_max, ==, b->tasks_max);
	assert_equal_devices(a, b);
}

static bool maybe(void)
{
	return g_test_rand_bit();
}

static unsigned below(unsigned n)
{
	return (unsigned)g_test_rand_int_range(0, (gint32)n);
}

static void add(GVariantBuilder *builder, const char *key, GVariant *value)
{
	g_variant_builder_add(builder, "{sv}", key, value);
}

static char *random_text(unsigned max, bool with_controls)
{
	GString *text = g_string_new(NULL);

	for (unsigned n = below(max); n > 0; n--)
		g_string_append_unichar(text, maybe()         ? 0x20 + below(95)
					      : with_controls ? 1 + below(300)
							      : 0xa0 + below(300));
	return g_string_free(text, FALSE);
}

static void add_text(
	GVariantBuilder *builder, const char *key, const char *start, unsigned max, bool with_controls)
{
	g_autofree char *text = random_text(max, with_controls);

	add(builder, key, g_variant_new_take_string(g_strconcat(start, text, NULL)));
}

static void add_device_name(GVariantBuilder *builder, unsigned i)
{
	static const char *const words[] = {"disk", "nic", "console", "cdrom", "floppy", "X-_"};

	/* Words and numbers that meet those of the defaults. */
	if (maybe())
		add(builder, "Name", g_variant_new_take_string(g_strdup_printf("%s%u", words[below(6)], i)));
}

static void add_disk_options(GVariantBuilder *disk, DiskDevice device, unsigned i)
{
	/* Of disks, only those that can be read-only. */
	static const DiskBus buses[] = {DISK_BUS_VIRTIO, DISK_BUS_NVME, DISK_BUS_SCSI, DISK_BUS_USB};
	bool read_only = maybe();

	if (device == DISK_DEVICE_DISK && maybe())
		add(disk, "Bus", g_variant_new_string(disk_bus_to_string(buses[below(G_N_ELEMENTS(buses))])));
	if (device == DISK_DEVICE_CDROM && maybe())
		add(disk, "Bus", g_variant_new_string(maybe() ? "sata" : "scsi"));
	if (device != DISK_DEVICE_CDROM && maybe())
		add(disk, "ReadOnly", g_variant_new_boolean(read_only));
	else
		read_only = device == DISK_DEVICE_CDROM;
	if (maybe())
		add(disk, "Cache", g_variant_new_string(disk_cache_to_string(below(DISK_CACHE_MAX))));
	if (maybe())
		add(disk, "Discard", g_variant_new_boolean(!read_only && maybe()));
	if (device != DISK_DEVICE_FLOPPY && maybe())
		add(disk, "Serial", g_variant_new_take_string(g_strdup_printf("S_%u.a-", below(1000000))));
	if (device == DISK_DEVICE_DISK && !read_only && maybe())
		add(disk, "Size", g_variant_new_uint64((1ULL + below(1 << 26)) << 20));
	if (maybe())
		add(disk, "BootIndex", g_variant_new_uint32(maybe() ? 0 : 999 - i));
}

static GVariant *random_disks(void)
{
	unsigned n_of[DISK_DEVICE_MAX] = {0, 0, 0};
	GVariantBuilder disks;

	g_variant_builder_init(&disks, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0, n = below(8); i < n; i++) {
		DiskDevice device = (DiskDevice)below(DISK_DEVICE_MAX);

		if (device != DISK_DEVICE_DISK && ++n_of[device] > 2)
			device = DISK_DEVICE_DISK;
		g_variant_builder_open(&disks, G_VARIANT_TYPE_VARDICT);
		add_device_name(&disks, i);
		if (device == DISK_DEVICE_DISK || maybe())
			add_text(&disks, "Path", "/", 60, false);
		add(&disks, "Format",
			g_variant_new_string(disk_format_to_string((DiskFormat)below(DISK_FORMAT_MAX))));
		if (device != DISK_DEVICE_DISK || maybe())
			add(&disks, "Device", g_variant_new_string(disk_device_to_string(device)));
		add_disk_options(&disks, device, i);
		g_variant_builder_close(&disks);
	}
	return g_variant_builder_end(&disks);
}

static GVariant *random_nics(void)
{
	GVariantBuilder nics;

	g_variant_builder_init(&nics, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0, n = below(6); i < n; i++) {
		g_variant_builder_open(&nics, G_VARIANT_TYPE_VARDICT);
		add_device_name(&nics, i);
		if (maybe())
			add(&nics, "MAC",
				g_variant_new_take_string(g_strdup_printf(
					"%02X:%02x:00:00:00:%02x", below(120) * 2 + 2, below(256), i)));
		if (maybe())
			add(&nics, "Type", g_variant_new_string(nic_type_to_string(below(NIC_TYPE_MAX))));
		if (maybe())
			add(&nics, "Model", g_variant_new_string(nic_model_to_string(below(NIC_MODEL_MAX))));
		g_variant_builder_close(&nics);
	}
	return g_variant_builder_end(&nics);
}

static GVariant *random_consoles(void)
{
	GVariantBuilder consoles;

	g_variant_builder_init(&consoles, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0, n = below(9); i < n; i++) {
		g_variant_builder_open(&consoles, G_VARIANT_TYPE_VARDICT);
		add_device_name(&consoles, i);
		if (i >= 4 || maybe())
			add(&consoles, "Type", g_variant_new_string(i < 4 ? "serial" : "virtio"));
		g_variant_builder_close(&consoles);
	}
	return g_variant_builder_end(&consoles);
}

static GVariant *random_metadata(void)
{
	GVariantBuilder pairs;

	g_variant_builder_init(&pairs, G_VARIANT_TYPE("a{ss}"));
	for (unsigned i = 0, n = below(6); i < n; i++) {
		g_autofree char *key_end = random_text(20, false), *value = random_text(300, true);
		g_autofree char *key = g_strdup_printf("%u%s", i, key_end);

		g_variant_builder_add(&pairs, "{ss}", key, value);
	}
	return g_variant_builder_end(&pairs);
}

static GVariant *random_words(void)
{
	GVariantBuilder words;

	g_variant_builder_init(&words, G_VARIANT_TYPE("as"));
	for (unsigned n = below(6); n > 0; n--)
		g_variant_builder_add_value(&words, g_variant_new_take_string(random_text(100, false)));
	return g_variant_builder_end(&words);
}

static void add_single_devices(GVariantBuilder *builder)
{
	if (maybe())
		add(builder, "Firmware", g_variant_new_string(maybe() ? "bios" : "uefi"));
	if (maybe())
		add(builder, "Display", g_variant_new_string(vm_display_to_string(below(VM_DISPLAY_MAX))));
	if (maybe())
		add(builder, "RNG", g_variant_new_boolean(maybe()));
	if (maybe())
		add(builder, "Panic", g_variant_new_boolean(maybe()));
	if (maybe())
		add(builder, "Agent", g_variant_new_boolean(maybe()));
	if (maybe())
		add(builder, "OnPowerOff",
			g_variant_new_string(vm_policy_to_string(below(VM_POLICY_PRESERVE + 1))));
	if (maybe())
		add(builder, "OnReboot",
			g_variant_new_string(vm_policy_to_string(below(VM_POLICY_PRESERVE + 1))));
	if (maybe())
		add(builder, "OnCrash", g_variant_new_string(vm_policy_to_string(below(VM_POLICY_MAX))));
	if (maybe()) {
		add(builder, "Watchdog", g_variant_new_string("i6300esb"));
		add(builder, "OnWatchdog",
			g_variant_new_string(vm_watchdog_action_to_string(below(VM_WATCHDOG_ACTION_MAX))));
	}
}

static GVariant *random_config_dict(void)
{
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
	if (maybe())
		add(&builder, "Disks", random_disks());
	add(&builder, "Name", g_variant_new_take_string(g_strdup_printf("vm-%u", below(1000000))));
	if (maybe())
		add(&builder, "UUID", g_variant_new_take_string(g_uuid_string_random()));
	if (maybe())
		add_text(&builder, "Description", "", 300, true);
	if (maybe())
		add(&builder, "VCPUs", g_variant_new_uint32(1 + below(255)));
	add(&builder, "Memory", g_variant_new_uint64((1ULL + below(1 << 24)) << 20));
	if (maybe())
		add(&builder, "MachineType", g_variant_new_string(maybe() ? "q35" : "pc"));
	if (maybe())
		add(&builder, "Accelerator",
			g_variant_new_string(vm_accelerator_to_string((VmAccelerator)below(3))));
	if (maybe()) {
		add_text(&builder, "Kernel", "/", 80, false);
		add_text(&builder, "Initrd", "/", 80, false);
		add_text(&builder, "KernelCommandLine", "", 400, false);
	}
	if (maybe())
		add(&builder, "NICs", random_nics());
	if (maybe())
		add(&builder, "Consoles", random_consoles());
	if (maybe())
		add(&builder, "CPUModel", g_variant_new_string(maybe() ? "" : "EPYC-Rome-v2"));
	add_single_devices(&builder);
	if (maybe())
		add(&builder, "Metadata", random_metadata());
	if (maybe())
		add(&builder, "QemuArguments", random_words());
	if (maybe())
		add(&builder, "Autostart", g_variant_new_boolean(maybe()));
	if (maybe())
		add(&builder, "ShutdownTimeout", g_variant_new_uint64((uint64_t)below(1 << 30) * 1000));
	if (maybe())
		add(&builder, "CPUWeight", g_variant_new_uint32(below(VM_UNIT_CPU_WEIGHT_MAX + 1)));
	if (maybe())
		add(&builder, "MemoryMax", g_variant_new_uint64(below(2) * VM_UNIT_MEMORY_MAX));
	if (maybe())
		add(&builder, "TasksMax", g_variant_new_uint32(below(VM_UNIT_TASKS_MAX + 1)));
	return g_variant_ref_sink(g_variant_builder_end(&builder));
}
