/*
 * The keys of a definition: one row each, with its type, its field, and what its values may be. A row without
 * a signature is a key of the contract that this version refuses by name; to carry it out is to complete the
 * row.
 */
#include "store/config-values.h"

#include <stddef.h>
#include <string.h>

/* ---- the words ---- */
#define WORDS(...)                                                                                           \
	.words = (const char *const[]){__VA_ARGS__, NULL},                                                   \
	.n_words = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)
#define LATER_WORDS(...)                                                                                     \
	.later = (const char *const[])                                                                       \
	{                                                                                                    \
		__VA_ARGS__, NULL                                                                            \
	}

const ConfigWords config_machine_type_words = {WORDS("q35", "pc")};
const ConfigWords config_accelerator_words = {WORDS("auto", "kvm", "tcg")};
const ConfigWords config_disk_format_words = {WORDS("raw", "qcow2")};
const ConfigWords config_disk_device_words = {WORDS("disk", "cdrom", "floppy")};
const ConfigWords config_disk_bus_words = {WORDS("virtio", "sata", "nvme", "scsi", "usb", "ide", "fdc")};
const ConfigWords config_disk_cache_words = {WORDS("writeback", "none", "unsafe")};
const ConfigWords config_console_type_words = {WORDS("serial", "virtio")};
const ConfigWords config_firmware_words = {WORDS("bios", "uefi", "uefi-secure")};
const ConfigWords config_display_words = {WORDS("none", "vnc"), LATER_WORDS("spice", "dbus")};
const ConfigWords config_watchdog_words = {WORDS("", "i6300esb", "ib700"), .open_ended = true};
const ConfigWords config_watchdog_action_words = {
	WORDS("reset", "shutdown", "poweroff", "pause", "inject-nmi", "none", "dump")};
const ConfigWords config_policy_words = {WORDS("destroy", "restart", "preserve")};
const ConfigWords config_crash_policy_words = {
	WORDS("destroy", "restart", "preserve", "dump-destroy", "dump-restart")};
const ConfigWords config_nic_type_words = {WORDS("user", "none"), LATER_WORDS("bridge", "tap")};
const ConfigWords config_nic_model_words = {WORDS("virtio", "e1000e"), LATER_WORDS("e1000", "rtl8139")};

/* ---- the tables ---- */
#define STRING(type, field, check_func)                                                                      \
	.signature = "s", .set = config_set_string, .get = config_get_string,                                \
	.offset = offsetof(type, field), .check = check_func
#define BOOLEAN(type, field)                                                                                 \
	.signature = "b", .set = config_set_boolean, .get = config_get_boolean,                              \
	.offset = offsetof(type, field)
#define WORD(type, field, enum_words)                                                                        \
	.signature = "s", .set = config_set_word, .get = config_get_word, .offset = offsetof(type, field),   \
	.words = &enum_words
#define LIST(config_list) .signature = "aa{sv}", .list = &config_list
#define TABLE(rows)                                                                                          \
	{                                                                                                    \
		.keys = rows, .n_keys = G_N_ELEMENTS(rows)                                                   \
	}

static const ConfigKey disk_keys[] = {
	{"Name", STRING(DiskConfig, name, config_check_device_name)},
	{"Path", STRING(DiskConfig, path, config_check_path)},
	{"Format", WORD(DiskConfig, format, config_disk_format_words), .required = true},
	{"Bus", WORD(DiskConfig, bus, config_disk_bus_words)},
	{"Device", WORD(DiskConfig, device, config_disk_device_words)},
	{"ReadOnly", BOOLEAN(DiskConfig, read_only)},
	{"Cache", WORD(DiskConfig, cache, config_disk_cache_words)},
	{"Discard", BOOLEAN(DiskConfig, discard)},
	{"Serial", STRING(DiskConfig, serial, config_check_serial)},
	{"BootIndex", .signature = "u", .set = config_set_uint32, .get = config_get_uint32,
		.offset = offsetof(DiskConfig, boot_index), .max = VM_DISK_BOOT_INDEX_MAX},
	{"Size", .signature = "t", .set = config_set_size, .get = config_get_uint64,
		.offset = offsetof(DiskConfig, size)},
	{"DetectZeroes"},
	{"AIO"},
	{"IOThread"},
	{"Shareable"},
	{"IOLimits"},
	{"ErrorPolicy"},
	{"WriteThreshold"},
	{"File"},
};
static const ConfigTable disk_table = TABLE(disk_keys);
static const ConfigList disk_list = {
	.table = &disk_table,
	.array_offset = offsetof(VmConfig, disks),
	.count_offset = offsetof(VmConfig, n_disks),
	.element_size = sizeof(DiskConfig),
	.max = VM_DISKS_MAX,
	.check = config_disk_check,
	.prefix = config_disk_prefix,
};

static const ConfigKey nic_keys[] = {
	{"Name", STRING(NicConfig, name, config_check_device_name)},
	{"Type", WORD(NicConfig, type, config_nic_type_words)},
	{"MAC", .signature = "s", .set = config_set_mac, .get = config_get_string,
		.offset = offsetof(NicConfig, mac)},
	{"Model", WORD(NicConfig, model, config_nic_model_words)},
	{"Bridge"},
};
static const ConfigTable nic_table = TABLE(nic_keys);
static const ConfigList nic_list = {
	.table = &nic_table,
	.array_offset = offsetof(VmConfig, nics),
	.count_offset = offsetof(VmConfig, n_nics),
	.element_size = sizeof(NicConfig),
	.max = VM_NICS_MAX,
	.check = config_nic_check,
	.prefix = config_nic_prefix,
};

static const ConfigKey console_keys[] = {
	{"Name", STRING(ConsoleConfig, name, config_check_device_name)},
	{"Type", WORD(ConsoleConfig, type, config_console_type_words)},
};
static const ConfigTable console_table = TABLE(console_keys);
static const ConfigList console_list = {
	.table = &console_table,
	.array_offset = offsetof(VmConfig, consoles),
	.count_offset = offsetof(VmConfig, n_consoles),
	.element_size = sizeof(ConsoleConfig),
	.max = VM_CONSOLES_MAX,
	.check = config_console_check,
	.prefix = config_console_prefix,
};

static const ConfigKey vm_keys[] = {
	{"Name", STRING(VmConfig, name, config_check_vm_name), .required = true},
	{"UUID", .signature = "s", .set = config_set_uuid, .get = config_get_string,
		.offset = offsetof(VmConfig, uuid)},
	{"Description", STRING(VmConfig, description, config_check_description)},
	{"VCPUs", .signature = "u", .set = config_set_uint32, .get = config_get_uint32,
		.offset = offsetof(VmConfig, vcpus), .min = 1, .max = VM_VCPUS_MAX},
	{"Memory", .signature = "t", .set = config_set_memory, .get = config_get_uint64,
		.offset = offsetof(VmConfig, memory), .required = true},
	{"MachineType", WORD(VmConfig, machine_type, config_machine_type_words)},
	{"Accelerator", WORD(VmConfig, accelerator, config_accelerator_words)},
	{"CPUModel", STRING(VmConfig, cpu_model, config_check_cpu_model)},
	{"Firmware", WORD(VmConfig, firmware, config_firmware_words)},
	{"Kernel", STRING(VmConfig, kernel, config_check_path)},
	{"Initrd", STRING(VmConfig, initrd, config_check_path)},
	{"KernelCommandLine", STRING(VmConfig, kernel_command_line, config_check_kernel_command_line)},
	{"Disks", LIST(disk_list)},
	{"NICs", LIST(nic_list)},
	{"Consoles", LIST(console_list)},
	{"Display", WORD(VmConfig, display, config_display_words)},
	{"RNG", BOOLEAN(VmConfig, rng)},
	{"Panic", BOOLEAN(VmConfig, panic)},
	{"Agent", BOOLEAN(VmConfig, agent)},
	{"Watchdog", WORD(VmConfig, watchdog, config_watchdog_words)},
	{"OnWatchdog", WORD(VmConfig, on_watchdog, config_watchdog_action_words)},
	{"OnPowerOff", WORD(VmConfig, on_power_off, config_policy_words)},
	{"OnReboot", WORD(VmConfig, on_reboot, config_policy_words)},
	{"OnCrash", WORD(VmConfig, on_crash, config_crash_policy_words)},
	{"Autostart", BOOLEAN(VmConfig, autostart)},
	/* A bound, so that a deadline made of it can't wrap around, and JSON's signed numbers hold it. */
	{"ShutdownTimeout", .signature = "t", .set = config_set_uint64, .get = config_get_uint64,
		.offset = offsetof(VmConfig, shutdown_timeout_usec), .max = VM_SHUTDOWN_TIMEOUT_MAX_USEC},
	{"CPUWeight", .signature = "u", .set = config_set_uint32, .get = config_get_uint32,
		.offset = offsetof(VmConfig, cpu_weight), .max = VM_UNIT_CPU_WEIGHT_MAX},
	{"MemoryMax", .signature = "t", .set = config_set_uint64, .get = config_get_uint64,
		.offset = offsetof(VmConfig, memory_max), .max = VM_UNIT_MEMORY_MAX},
	{"TasksMax", .signature = "u", .set = config_set_uint32, .get = config_get_uint32,
		.offset = offsetof(VmConfig, tasks_max), .max = VM_UNIT_TASKS_MAX},
	{"Metadata", .signature = "a{ss}", .set = config_set_pairs, .get = config_get_pairs,
		.offset = offsetof(VmConfig, metadata)},
	{"QemuArguments", .signature = "as", .set = config_set_strings, .get = config_get_strings,
		.offset = offsetof(VmConfig, qemu_arguments)},
	{"MaxMemory"},
	{"TPM"},
	{"StartOrder"},
	{"StartDelay"},
	{"OnHostShutdown"},
	{"OnHostSleep"},
};
const ConfigTable config_vm_table = TABLE(vm_keys);
G_STATIC_ASSERT(G_N_ELEMENTS(vm_keys) <= 64 && G_N_ELEMENTS(disk_keys) <= 64);
G_STATIC_ASSERT(offsetof(DiskConfig, name) == 0 && offsetof(NicConfig, name) == 0 &&
		offsetof(ConsoleConfig, name) == 0);

const ConfigKey *config_table_find(const ConfigTable *table, const char *name)
{
	for (unsigned i = 0; i < table->n_keys; i++)
		if (strcmp(table->keys[i].name, name) == 0)
			return &table->keys[i];
	return NULL;
}
