/*
 * From a definition to QEMU's command line.
 *
 * An option is a head and pairs of key and value; builder_add_option() joins them and doubles the commas in
 * values, so no other line has to think of it. The parts of a VM are added by one function each, in a fixed
 * order.
 *
 * A device's address in the guest is as stable as its name: guests name network interfaces and find disks by
 * it. So each kind of PCI device has a range of slots of its own, the same on both machine types, and a
 * device's place in its range is its index among those of its kind:
 *
 *   slot 00    host bridge (on pc, 01 is the PIIX: ISA, IDE, ACPI; on q35, 1f is the LPC bridge, AHCI, SMBus)
 *        02    the display
 *        03    the controller of virtio consoles and of the agent's port
 *        04    the random number generator
 *        05    the watchdog
 *        06    the SCSI controller
 *        07    the USB controller
 *        08-0f virtio disks, eight functions to a slot: 64
 *        10-11 NICs, likewise: 16
 *        12-19 NVMe disks, likewise: 64
 *        1a    the SATA controller
 *        1b-1c kept for kinds to come
 *
 * On pc, virtio and NVMe disks and NICs are functions of pci.0. On q35, each is alone behind a root port of
 * its own, and the root ports are the functions: nothing on pcie.0 itself can ever be plugged or unplugged
 * while the guest runs. The first function of a slot always exists when another does, since indices have no
 * gaps; guests look for the others only then.
 */
#include "qemu/command-line-private.h"

#include <stdarg.h>

#define FUNCTIONS_PER_SLOT 8

static const struct {
	uint8_t first_slot, n_slots;
	bool pluggable;
} pci_ranges[PCI_KIND_MAX] = {
	[PCI_KIND_DISPLAY] = {0x02, 1, false},
	[PCI_KIND_CONSOLES] = {0x03, 1, false},
	[PCI_KIND_RNG] = {0x04, 1, false},
	[PCI_KIND_WATCHDOG] = {0x05, 1, false},
	[PCI_KIND_SCSI] = {0x06, 1, false},
	[PCI_KIND_USB] = {0x07, 1, false},
	[PCI_KIND_DISK] = {0x08, 8, true},
	[PCI_KIND_NIC] = {0x10, 2, true},
	[PCI_KIND_NVME] = {0x12, 8, true},
	[PCI_KIND_SATA] = {0x1a, 1, false},
};

G_STATIC_ASSERT(VM_DISKS_MAX <= 8 * FUNCTIONS_PER_SLOT);
G_STATIC_ASSERT(VM_NICS_MAX <= 2 * FUNCTIONS_PER_SLOT);

const QemuMachine qemu_machines[VM_MACHINE_TYPE_MAX] = {
	[VM_MACHINE_TYPE_Q35] = {"q35", "pcie.0", true, false, 1}, /* AHCI: ide.0 to ide.5 */
	[VM_MACHINE_TYPE_PC] = {"pc", "pci.0", false, true,
		2}, /* ide.0 and ide.1, each with a master and a slave */
};

/*
 * For a definition that names none. KVM: the host's CPU as it is. TCG: all that it can do. Measured
 * with Debian's 6.1 kernel, `max` boots as fast as qemu64, and programs built for x86-64-v2 or -v3 run on it.
 * Intel's models are no choice: the kernel then isolates its page tables, and under TCG a guest busy with
 * system calls takes nine times as long.
 */
static const char *const cpu_models[VM_ACCELERATOR_MAX] = {
	[VM_ACCELERATOR_KVM] = "host",
	[VM_ACCELERATOR_TCG] = "max",
};

const char *qemu_cpu_model(VmAccelerator accelerator)
{
	g_assert(accelerator < VM_ACCELERATOR_MAX && cpu_models[accelerator]);
	return cpu_models[accelerator];
}

void builder_add_word(Builder *b, const char *word)
{
	g_ptr_array_add(b->words, g_strdup(word));
}

void builder_add_option(Builder *b, const char *flag, const char *head, ...)
{
	GString *option = g_string_new(head);
	const char *key;
	va_list pairs;

	va_start(pairs, head);
	while ((key = va_arg(pairs, const char *))) {
		const char *value = va_arg(pairs, const char *);

		if (!value)
			continue;
		g_string_append_printf(option, "%s%s=", option->len > 0 ? "," : "", key);
		for (; *value; value++)
			g_string_append(option, *value == ',' ? ",," : (char[]){*value, '\0'});
	}
	va_end(pairs);
	builder_add_word(b, flag);
	g_ptr_array_add(b->words, g_string_free(option, FALSE));
}

char *builder_add_fd(Builder *b, int inherited_fd)
{
	g_autofree char *fd = g_strdup_printf("%d", inherited_fd);
	g_autofree char *set = g_strdup_printf("%u", ++b->n_fd_sets);

	builder_add_option(b, "-add-fd", NULL, "fd", fd, "set", set, NULL);
	return g_strdup_printf("/dev/fdset/%s", set);
}

/* Gives the next device of its kind its place, and puts the root port there on qemu_machines where it needs
 * one.
 */
PciAddress builder_take_pci(Builder *b, PciKind kind)
{
	const char *root = qemu_machines[b->config->machine_type].pci_bus;
	unsigned index = b->n_pci[kind]++;
	unsigned slot = pci_ranges[kind].first_slot + index / FUNCTIONS_PER_SLOT;
	unsigned function = index % FUNCTIONS_PER_SLOT;
	g_autofree char *addr = g_strdup_printf("%02x.%x", slot, function);
	g_autofree char *port = NULL, *number = NULL;
	const char *multifunction = qemu_on_or_null(pci_ranges[kind].pluggable && function == 0);

	g_assert(index < pci_ranges[kind].n_slots * FUNCTIONS_PER_SLOT);
	if (!pci_ranges[kind].pluggable || !qemu_machines[b->config->machine_type].has_pcie)
		return (PciAddress){g_strdup(root), g_steal_pointer(&addr), multifunction};

	port = qemu_id_for("port", addr);
	number = g_strdup_printf("%u", slot * FUNCTIONS_PER_SLOT + function);
	builder_add_option(b, "-device", "pcie-root-port", "id", port, "bus", root, "addr", addr,
		"multifunction", multifunction, "chassis", number, "port", number, NULL);
	return (PciAddress){g_steal_pointer(&port), g_strdup("00.0"), NULL};
}

/* As Debian's package ovmf has them. */
static const struct {
	const char *code, *variables;
	bool is_secure; /* its variables are changed in system management mode alone */
} firmwares[VM_FIRMWARE_MAX] = {
	[VM_FIRMWARE_UEFI] = {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", false},
	[VM_FIRMWARE_UEFI_SECURE] = {"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
		"/usr/share/OVMF/OVMF_VARS_4M.ms.fd", true},
};

const char *qemu_firmware_code(VmFirmware firmware)
{
	return firmwares[firmware].code;
}

const char *qemu_firmware_variables(VmFirmware firmware)
{
	return firmwares[firmware].variables;
}

/* The flash chips that add_machine() names. */
static void add_firmware(Builder *b)
{
	VmFirmware firmware = b->config->firmware;
	g_autofree char *variables = NULL;

	if (!firmwares[firmware].code)
		return;
	builder_add_option(b, "-blockdev", NULL, "driver", "file", "node-name", "firmware-code", "read-only",
		"on", "filename", firmwares[firmware].code, NULL);
	variables = builder_add_fd(b, b->spec->nvram_fd);
	builder_add_option(b, "-blockdev", NULL, "driver", "file", "node-name", "firmware-variables",
		"filename", variables, NULL);
	if (firmwares[firmware].is_secure)
		builder_add_option(b, "-global", NULL, "driver", "cfi.pflash01", "property", "secure",
			"value", "on", NULL);
}

static void add_machine(Builder *b)
{
	bool has_flash = firmwares[b->config->firmware].code != NULL;
	const VmConfig *config = b->config;
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT "k", config->memory / 1024);
	g_autofree char *cpus = g_strdup_printf("%" G_GUINT32_FORMAT, config->vcpus);

	builder_add_option(b, "-name", NULL, "guest", config->name, "debug-threads", "on", NULL);
	builder_add_option(b, "-uuid", config->uuid, NULL);
	/* The memory of a guest has no place in a core dump of QEMU. */
	builder_add_option(b, "-machine", qemu_machines[config->machine_type].machine, "usb", "off", "vmport",
		"off", "dump-guest-core", "off", "pflash0", has_flash ? "firmware-code" : NULL, "pflash1",
		has_flash ? "firmware-variables" : NULL, "smm",
		qemu_on_or_null(firmwares[b->config->firmware].is_secure), NULL);
	builder_add_option(b, "-accel", vm_accelerator_to_string(b->spec->accelerator), NULL);
	builder_add_option(b, "-cpu",
		config->cpu_model && *config->cpu_model ? config->cpu_model
							: qemu_cpu_model(b->spec->accelerator),
		NULL);
	builder_add_option(b, "-smp", NULL, "cpus", cpus, NULL);
	builder_add_option(b, "-m", NULL, "size", size, NULL);
	builder_add_option(b, "-rtc", NULL, "base", "utc", NULL);
	builder_add_option(b, "-boot", NULL, "strict", "on", NULL);
}

static bool is_given(const char *text)
{
	return text && *text;
}

static void add_boot_file(Builder *b, const char *flag, int fd)
{
	g_autofree char *path = g_strdup_printf("/dev/fd/%d", fd);

	builder_add_word(b, flag);
	builder_add_word(b, path);
}

static void add_kernel(Builder *b)
{
	/* QEMU refuses the others without the first. */
	if (!is_given(b->config->kernel))
		return;
	add_boot_file(b, "-kernel", b->spec->kernel_fd);
	if (is_given(b->config->initrd))
		add_boot_file(b, "-initrd", b->spec->initrd_fd);
	if (is_given(b->config->kernel_command_line)) {
		builder_add_word(b, "-append");
		builder_add_word(b, b->config->kernel_command_line);
	}
}

static void add_socket(Builder *b, const char *id, int socket_fd)
{
	g_autofree char *fd = g_strdup_printf("%d", socket_fd);

	builder_add_option(b, "-chardev", "socket", "id", id, "fd", fd, "server", "on", "wait", "off", NULL);
}

static void add_monitor(Builder *b)
{
	add_socket(b, "qmp", b->spec->qmp_fd);
	builder_add_option(b, "-mon", NULL, "chardev", "qmp", "mode", "control", NULL);
}

static void add_serial_console(Builder *b, const char *id, const char *chardev)
{
	g_autofree char *index = g_strdup_printf("%u", b->n_serials++);

	builder_add_option(b, "-device", "isa-serial", "id", id, "chardev", chardev, "index", index, NULL);
}

/* The controller of virtio consoles and the agent's port, with the first of them. */
static void need_ports(Builder *b)
{
	g_auto(PciAddress) pci = {0};

	if (b->has_ports)
		return;
	b->has_ports = true;
	pci = builder_take_pci(b, PCI_KIND_CONSOLES);
	builder_add_option(
		b, "-device", "virtio-serial-pci", "id", "consoles", "bus", pci.bus, "addr", pci.addr, NULL);
}

static void add_virtio_console(Builder *b, const char *id, const char *chardev)
{
	g_autofree char *nr = g_strdup_printf("%u", b->n_ports++);

	need_ports(b);
	builder_add_option(b, "-device", "virtconsole", "id", id, "chardev", chardev, "bus", "consoles.0",
		"nr", nr, NULL);
}

static void (*const console_adders[CONSOLE_TYPE_MAX])(Builder *b, const char *id, const char *chardev) = {
	[CONSOLE_TYPE_SERIAL] = add_serial_console,
	[CONSOLE_TYPE_VIRTIO] = add_virtio_console,
};

static void add_console(Builder *b, const ConsoleConfig *console, int socket_fd)
{
	g_autofree char *id = qemu_id_for("console", console->name);
	g_autofree char *chardev = qemu_id_for("chardev", console->name);

	add_socket(b, chardev, socket_fd);
	console_adders[console->type](b, id, chardev);
}

/* Its number is beyond those of consoles, so it stays the same whatever consoles there are. */
#define AGENT_PORT "16"
G_STATIC_ASSERT(VM_CONSOLES_MAX <= 16);

static void add_agent(Builder *b)
{
	if (!b->config->agent)
		return;
	add_socket(b, QEMU_AGENT_ID, b->spec->agent_fd);
	need_ports(b);
	builder_add_option(b, "-device", "virtserialport", "id", QEMU_AGENT_ID, "chardev", QEMU_AGENT_ID,
		"bus", "consoles.0", "nr", AGENT_PORT, "name", "org.qemu.guest_agent.0", NULL);
}

static const char *const nic_types[NIC_TYPE_MAX] = {[NIC_TYPE_USER] = "user", [NIC_TYPE_NONE] = NULL};

static const char *const nic_models[NIC_MODEL_MAX] = {
	[NIC_MODEL_VIRTIO] = "virtio-net-pci",
	[NIC_MODEL_E1000E] = "e1000e",
};

static void add_nic(Builder *b, const NicConfig *nic)
{
	g_autofree char *id = qemu_id_for("nic", nic->name);
	g_autofree char *netdev = qemu_id_for("netdev", nic->name);
	g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_NIC);
	const char *type = nic_types[nic->type];

	if (type)
		builder_add_option(b, "-netdev", type, "id", netdev, NULL);
	/* No option ROM: no boot over the network is asked for, and the ROM's package may not be installed.
	 */
	builder_add_option(b, "-device", nic_models[nic->model], "id", id, "netdev", type ? netdev : NULL,
		"mac", nic->mac, "bus", pci.bus, "addr", pci.addr, "multifunction", pci.multifunction,
		"romfile", "", NULL);
}

/* A plain VGA card: firmware, boot loaders and every guest can draw on it. Nobody is listened to: viewers are
 * handed to QEMU over QMP (add_client), one by one. The keyboard and the mouse are the machine's own. */
static void add_display(Builder *b)
{
	g_auto(PciAddress) pci = {0};

	if (b->config->display == VM_DISPLAY_NONE)
		return;
	pci = builder_take_pci(b, PCI_KIND_DISPLAY);
	builder_add_option(b, "-vnc", "none", NULL);
	builder_add_option(b, "-device", "VGA", "id", "display", "bus", pci.bus, "addr", pci.addr, NULL);
}

static void add_rng(Builder *b)
{
	g_auto(PciAddress) pci = {0};

	if (!b->config->rng)
		return;
	pci = builder_take_pci(b, PCI_KIND_RNG);
	builder_add_option(b, "-object", "rng-random", "id", "entropy", "filename", "/dev/urandom", NULL);
	builder_add_option(b, "-device", "virtio-rng-pci", "id", "rng", "rng", "entropy", "bus", pci.bus,
		"addr", pci.addr, NULL);
}

/* A guest that resets itself is stopped before it does, and Roost is told. */
static void add_reboot_action(Builder *b)
{
	if (b->config->on_reboot != VM_POLICY_RESTART)
		builder_add_option(b, "-action", NULL, "reboot", "shutdown", NULL);
}

const char *qemu_watchdog_action(VmWatchdogAction action)
{
	return vm_watchdog_action_to_string(
		action == VM_WATCHDOG_ACTION_DUMP ? VM_WATCHDOG_ACTION_PAUSE : action);
}

static void add_watchdog(Builder *b)
{
	g_auto(PciAddress) pci = {0};
	VmWatchdog watchdog = b->config->watchdog;

	if (watchdog == VM_WATCHDOG_NONE)
		return;
	builder_add_option(
		b, "-action", NULL, "watchdog", qemu_watchdog_action(b->config->on_watchdog), NULL);
	if (watchdog == VM_WATCHDOG_I6300ESB)
		pci = builder_take_pci(b, PCI_KIND_WATCHDOG);
	builder_add_option(b, "-device", vm_watchdog_to_string(watchdog), "id", "watchdog", "bus", pci.bus,
		"addr", pci.addr, NULL);
}

/* What every VM gets, whatever its definition: nothing that was not asked for, and a QEMU that waits to be
 * told. */
static const char *const fixed_words[] = {
	"-nodefaults",
	"-no-user-config",
	"-sandbox",
	QEMU_SANDBOX_OPTIONS,
	"-S",
	"-no-shutdown",
	"-display",
	"none",
};

char **qemu_command_line_build(const QemuCommandLine *spec)
{
	const VmConfig *config = spec->config;
	Builder b = {.spec = spec, .config = config, .words = g_ptr_array_new()};

	builder_add_word(&b, spec->binary);
	for (unsigned i = 0; i < G_N_ELEMENTS(fixed_words); i++)
		builder_add_word(&b, fixed_words[i]);
	add_machine(&b);
	add_firmware(&b);
	add_kernel(&b);
	add_monitor(&b);
	for (unsigned i = 0; i < config->n_consoles; i++)
		add_console(&b, &config->consoles[i], spec->console_fds[i]);
	add_agent(&b);
	builder_add_disks(&b);
	for (unsigned i = 0; i < config->n_nics; i++)
		add_nic(&b, &config->nics[i]);
	add_display(&b);
	add_rng(&b);
	add_watchdog(&b);
	add_reboot_action(&b);
	if (vm_config_has_panic(config))
		builder_add_option(&b, "-device", "pvpanic", "id", "panic", NULL);
	/* Last, so that they can change what is said before. */
	for (char **word = config->qemu_arguments; word && *word; word++)
		builder_add_word(&b, *word);
	g_ptr_array_add(b.words, NULL);
	return (char **)g_ptr_array_free(b.words, FALSE);
}
