#include "qemu/support.h"

#include <string.h>

#include "util/text.h"

#define KVM          "type kvm-accel"
#define DRIVER(name) "argument blockdev-add.driver=" name
#define NEEDS_MAX    6

/* Of each value, the words; NULL ends them. */
typedef const char *const Needs[NEEDS_MAX];

static Needs machine_needs[VM_MACHINE_TYPE_MAX] = {
	[VM_MACHINE_TYPE_Q35] = {"machine q35", "type pcie-root-port"},
	[VM_MACHINE_TYPE_PC] = {"machine pc"},
};

static Needs accelerator_needs[VM_ACCELERATOR_MAX] = {
	[VM_ACCELERATOR_KVM] = {KVM},
	[VM_ACCELERATOR_TCG] = {"type tcg-accel"},
};

static Needs firmware_needs[VM_FIRMWARE_MAX] = {
	[VM_FIRMWARE_UEFI] = {"type cfi.pflash01", DRIVER("file")},
	[VM_FIRMWARE_UEFI_SECURE] = {"type cfi.pflash01", "property x86-machine.smm", DRIVER("file")},
};

static Needs display_needs[VM_DISPLAY_MAX] = {
	[VM_DISPLAY_VNC] = {"command query-vnc", "command add_client", "type VGA"},
};

static Needs watchdog_needs[VM_WATCHDOG_MAX] = {
	[VM_WATCHDOG_I6300ESB] = {"type i6300esb"},
	[VM_WATCHDOG_IB700] = {"type ib700"},
};

#define ACTION(name)                                                                                         \
	{                                                                                                    \
		"option action", "argument set-action.watchdog=" name                                        \
	}
static Needs watchdog_action_needs[VM_WATCHDOG_ACTION_MAX] = {
	[VM_WATCHDOG_ACTION_RESET] = ACTION("reset"),
	[VM_WATCHDOG_ACTION_SHUTDOWN] = ACTION("shutdown"),
	[VM_WATCHDOG_ACTION_POWEROFF] = ACTION("poweroff"),
	[VM_WATCHDOG_ACTION_PAUSE] = ACTION("pause"),
	[VM_WATCHDOG_ACTION_INJECT_NMI] = ACTION("inject-nmi"),
	[VM_WATCHDOG_ACTION_NONE] = ACTION("none"),
	[VM_WATCHDOG_ACTION_DUMP] = ACTION("pause"),
};

static Needs reboot_needs = {
	"option action", "argument set-action.reboot=shutdown", "argument set-action.reboot=reset"};

static Needs rng_needs = {"type virtio-rng-pci", "type rng-random"};
static Needs agent_needs = {"type virtio-serial-pci", "type virtserialport"};
static Needs panic_needs = {"type pvpanic"};

static Needs console_needs[CONSOLE_TYPE_MAX] = {
	[CONSOLE_TYPE_SERIAL] = {"type isa-serial"},
	[CONSOLE_TYPE_VIRTIO] = {"type virtio-serial-pci", "type virtconsole"},
};

static Needs nic_type_needs[NIC_TYPE_MAX] = {
	[NIC_TYPE_USER] = {"argument netdev_add.type=user"},
};

static Needs nic_model_needs[NIC_MODEL_MAX] = {
	[NIC_MODEL_VIRTIO] = {"type virtio-net-pci"},
	[NIC_MODEL_E1000E] = {"type e1000e"},
};

static Needs disk_bus_needs[DISK_BUS_MAX][DISK_DEVICE_MAX] = {
	[DISK_BUS_VIRTIO] = {[DISK_DEVICE_DISK] = {"type virtio-blk-pci"}},
	[DISK_BUS_SATA] = {[DISK_DEVICE_DISK] = {"type ich9-ahci", "type ide-hd"},
		[DISK_DEVICE_CDROM] = {"type ich9-ahci", "type ide-cd"}},
	[DISK_BUS_NVME] = {[DISK_DEVICE_DISK] = {"type nvme"}},
	[DISK_BUS_SCSI] = {[DISK_DEVICE_DISK] = {"type virtio-scsi-pci", "type scsi-hd"},
		[DISK_DEVICE_CDROM] = {"type virtio-scsi-pci", "type scsi-cd"}},
	[DISK_BUS_USB] = {[DISK_DEVICE_DISK] = {"type qemu-xhci", "type usb-bot", "type scsi-hd"},
		[DISK_DEVICE_CDROM] = {"type qemu-xhci", "type usb-bot", "type scsi-cd"}},
	[DISK_BUS_IDE] = {[DISK_DEVICE_DISK] = {"type ide-hd"}, [DISK_DEVICE_CDROM] = {"type ide-cd"}},
	[DISK_BUS_FDC] = {[DISK_DEVICE_FLOPPY] = {"type isa-fdc", "type floppy"}},
};

/* What a path is, a file or a block device, is known at Start; every QEMU on Linux has both or neither. */
static Needs disk_format_needs[DISK_FORMAT_MAX] = {
	[DISK_FORMAT_RAW] = {DRIVER("raw"), DRIVER("file"), DRIVER("host_device")},
	[DISK_FORMAT_QCOW2] = {DRIVER("qcow2"), DRIVER("file"), DRIVER("host_device")},
};

static Needs disk_cache_needs[DISK_CACHE_MAX] = {
	[DISK_CACHE_NONE] = {"argument blockdev-add.cache"},
	[DISK_CACHE_UNSAFE] = {"argument blockdev-add.cache"},
};

static Needs discard_needs = {"argument blockdev-add.discard"};

/* ---- what a definition needs ---- */
typedef struct Walk {
	void (*func)(const QemuNeed *need, void *user);
	void *user;
} Walk;

static void add(const Walk *walk, const char *key, const char *value, const char *const *words)
{
	for (; *words; words++)
		walk->func(&(QemuNeed){.key = key, .value = value, .word = *words}, walk->user);
}

/* A device's: "NICs[1].Model". */
static void add_of(const Walk *walk, const char *list, unsigned index, const char *name, const char *value,
	const char *const *words)
{
	g_autofree char *key = g_strdup_printf("%s[%u].%s", list, index, name);

	add(walk, key, value, words);
}

static void add_disk(const Walk *walk, const DiskConfig *disk, unsigned i)
{
	add_of(walk, "Disks", i, "Bus", disk_bus_to_string(disk->bus),
		disk_bus_needs[disk->bus][disk->device]);
	if (disk->path[0] == '\0')
		return;
	add_of(walk, "Disks", i, "Format", disk_format_to_string(disk->format),
		disk_format_needs[disk->format]);
	add_of(walk, "Disks", i, "Cache", disk_cache_to_string(disk->cache), disk_cache_needs[disk->cache]);
	if (disk->discard)
		add_of(walk, "Disks", i, "Discard", NULL, discard_needs);
}

static void add_devices(const Walk *walk, const VmConfig *config)
{
	for (unsigned i = 0; i < config->n_disks; i++)
		add_disk(walk, &config->disks[i], i);
	for (unsigned i = 0; i < config->n_nics; i++) {
		const NicConfig *nic = &config->nics[i];

		add_of(walk, "NICs", i, "Type", nic_type_to_string(nic->type), nic_type_needs[nic->type]);
		add_of(walk, "NICs", i, "Model", nic_model_to_string(nic->model),
			nic_model_needs[nic->model]);
	}
	for (unsigned i = 0; i < config->n_consoles; i++) {
		ConsoleType type = config->consoles[i].type;

		add_of(walk, "Consoles", i, "Type", console_type_to_string(type), console_needs[type]);
	}
}

void qemu_needs_foreach(const VmConfig *config, void (*func)(const QemuNeed *need, void *user), void *user)
{
	static Needs host_needs = {KVM};
	const Walk walk = {.func = func, .user = user};

	add(&walk, "MachineType", vm_machine_type_to_string(config->machine_type),
		machine_needs[config->machine_type]);
	add(&walk, "Accelerator", vm_accelerator_to_string(config->accelerator),
		accelerator_needs[config->accelerator]);
	if (g_str_equal(config->cpu_model, "host"))
		add(&walk, "CPUModel", config->cpu_model, host_needs);
	add(&walk, "Firmware", vm_firmware_to_string(config->firmware), firmware_needs[config->firmware]);
	add_devices(&walk, config);
	add(&walk, "Display", vm_display_to_string(config->display), display_needs[config->display]);
	if (config->rng)
		add(&walk, "RNG", NULL, rng_needs);
	if (config->agent)
		add(&walk, "Agent", NULL, agent_needs);
	if (vm_config_has_panic(config))
		add(&walk, config->panic ? "Panic" : "OnCrash",
			config->panic ? NULL : vm_policy_to_string(config->on_crash), panic_needs);
	add(&walk, "Watchdog", vm_watchdog_to_string(config->watchdog), watchdog_needs[config->watchdog]);
	if (config->watchdog != VM_WATCHDOG_NONE)
		add(&walk, "OnWatchdog", vm_watchdog_action_to_string(config->on_watchdog),
			watchdog_action_needs[config->on_watchdog]);
	if (config->on_reboot != VM_POLICY_RESTART)
		add(&walk, "OnReboot", vm_policy_to_string(config->on_reboot), reboot_needs);
}

/* ---- what a QEMU has of it ---- */
static bool has(const QemuCapabilities *capabilities, const char *word)
{
	return g_str_has_prefix(word, "machine ")
		       ? qemu_capabilities_machine(capabilities, word + strlen("machine ")) != NULL
		       : qemu_capabilities_has(capabilities, word);
}

static bool has_all(const QemuCapabilities *capabilities, const char *const *words)
{
	for (; *words; words++)
		if (!has(capabilities, *words))
			return false;
	return true;
}

bool qemu_supports_machine_type(const QemuCapabilities *capabilities, VmMachineType type)
{
	return has_all(capabilities, machine_needs[type]);
}

bool qemu_supports_firmware(const QemuCapabilities *capabilities, VmFirmware firmware)
{
	return has_all(capabilities, firmware_needs[firmware]);
}

bool qemu_supports_display(const QemuCapabilities *capabilities, VmDisplay display)
{
	return has_all(capabilities, display_needs[display]);
}

bool qemu_supports_accelerator(const QemuCapabilities *capabilities, VmAccelerator accelerator)
{
	return has_all(capabilities, accelerator_needs[accelerator]);
}

bool qemu_offers_cpu_model(const QemuCapabilities *capabilities, const QemuCpuModel *model, bool kvm)
{
	if (g_str_equal(model->name, "host"))
		return kvm;
	return !model->deprecated && (kvm != capabilities->is_kvm || model->complete) &&
	       vm_cpu_model_is_valid(model->name);
}

/* ---- complaints ---- */
typedef struct Check {
	const VmConfig *config;
	const QemuCapabilities *capabilities;
	void (*func)(const char *complaint, void *user);
	void *user;
	char *last_key; /* complained of: a key is complained of once */
} Check;

/* The name of what is lacking. */
static const char *name_in_word(const char *word)
{
	const char *name = strrchr(word, '=');

	return (name ? name : strchr(word, ' ')) + 1;
}

static void check_need(const QemuNeed *need, void *user)
{
	Check *check = user;
	const char *lacking = name_in_word(need->word);
	g_autofree char *value = need->value ? g_strdup_printf("'%s' ", need->value) : NULL;
	g_autofree char *complaint = NULL;

	if (has(check->capabilities, need->word) || g_strcmp0(check->last_key, need->key) == 0)
		return;
	g_free(check->last_key);
	check->last_key = g_strdup(need->key);
	complaint = g_strdup_printf("%s: %sis not supported by this QEMU (%s)%s%s", need->key,
		value ? value : "", check->capabilities->version,
		g_strcmp0(lacking, need->value) == 0 ? "" : ": it has no ",
		g_strcmp0(lacking, need->value) == 0 ? "" : lacking);
	check->func(complaint, check->user);
}

static const char *nearest_cpu_model(const QemuCapabilities *capabilities, const char *name)
{
	unsigned best = text_distance_limit(name);
	const char *nearest = NULL;

	for (unsigned i = 0; i < capabilities->n_cpu_models; i++) {
		unsigned distance = text_distance(name, capabilities->cpu_models[i].name);

		if (distance < best) {
			best = distance;
			nearest = capabilities->cpu_models[i].name;
		}
	}
	return nearest;
}

static void check_cpu_model(Check *check)
{
	const char *name = check->config->cpu_model, *nearest;
	g_autofree char *complaint = NULL;

	/* `host` is looked at as a need. */
	if (name[0] == '\0' || g_str_equal(name, "host") ||
		qemu_capabilities_cpu_model(check->capabilities, name))
		return;
	nearest = nearest_cpu_model(check->capabilities, name);
	complaint = g_strdup_printf("CPUModel: '%s' is not supported by this QEMU (%s)%s%s%s", name,
		check->capabilities->version, nearest ? "; did you mean '" : "", nearest ? nearest : "",
		nearest ? "'?" : "");
	check->func(complaint, check->user);
}

static void check_vcpus(Check *check)
{
	const char *type = vm_machine_type_to_string(check->config->machine_type);
	const QemuMachineInfo *machine = qemu_capabilities_machine(check->capabilities, type);
	g_autofree char *complaint = NULL;

	if (!machine || check->config->vcpus <= machine->max_vcpus)
		return;
	complaint = g_strdup_printf(
		"VCPUs: %" G_GUINT32_FORMAT
		" is more than MachineType '%s' of this QEMU (%s) can have, %" G_GUINT32_FORMAT,
		check->config->vcpus, type, check->capabilities->version, machine->max_vcpus);
	check->func(complaint, check->user);
}

void qemu_check_support(const VmConfig *config, const QemuCapabilities *capabilities,
	void (*func)(const char *complaint, void *user), void *user)
{
	Check check = {.config = config, .capabilities = capabilities, .func = func, .user = user};

	check_vcpus(&check);
	check_cpu_model(&check);
	qemu_needs_foreach(config, check_need, &check);
	g_free(check.last_key);
}
