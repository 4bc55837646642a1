/* What of a definition a QEMU can carry out: each word that is lacking is complained of by the key that needs
 * it, and by no other. */
#include "qemu/support.h"

#include <string.h>

static VmConfig *parse(const char *text)
{
	g_autofree char *whole = g_strdup_printf("{'Name': <'x'>, 'Memory': <uint64 67108864>, %s}", text);
	g_autofree char *complaint = NULL;
	g_autoptr(GVariant) dict = NULL;
	g_autoptr(GError) error = NULL;
	VmConfig *config = NULL;

	dict = g_variant_parse(G_VARIANT_TYPE_VARDICT, whole, NULL, NULL, &error);
	g_assert_no_error(error);
	vm_config_new_from_variant(dict, &config, &complaint);
	g_assert_cmpstr(complaint, ==, NULL);
	return config;
}

/* As the stand-in has them, in short. */
static const char text[] = "version 7.2.22\n"
			   "kvm 0\n"
			   "machine pc-q35-7.2 q35 288\n"
			   "machine pc-i440fx-7.2 pc 200\n"
			   "cpu max 0 1\n"
			   "cpu host 0 0\n"
			   "cpu Skylake-Server 0 0\n"
			   "cpu EPYC 0 1\n"
			   "cpu old 1 1\n"
			   "cpu not,one 0 1\n"
			   "argument blockdev-add.cache\n"
			   "argument blockdev-add.discard\n"
			   "argument blockdev-add.driver=file\n"
			   "argument blockdev-add.driver=host_device\n"
			   "argument blockdev-add.driver=qcow2\n"
			   "argument blockdev-add.driver=raw\n"
			   "argument netdev_add.type=user\n"
			   "argument set-action.reboot=reset\n"
			   "argument set-action.reboot=shutdown\n"
			   "argument set-action.watchdog=pause\n"
			   "argument set-action.watchdog=reset\n"
			   "command add_client\n"
			   "command query-vnc\n"
			   "option action\n"
			   "property x86-machine.smm\n"
			   "type VGA\n"
			   "type cfi.pflash01\n"
			   "type e1000e\n"
			   "type floppy\n"
			   "type i6300esb\n"
			   "type ich9-ahci\n"
			   "type ide-cd\n"
			   "type ide-hd\n"
			   "type isa-fdc\n"
			   "type isa-serial\n"
			   "type kvm-accel\n"
			   "type nvme\n"
			   "type pcie-root-port\n"
			   "type pvpanic\n"
			   "type qemu-xhci\n"
			   "type rng-random\n"
			   "type scsi-cd\n"
			   "type scsi-hd\n"
			   "type tcg-accel\n"
			   "type usb-bot\n"
			   "type virtconsole\n"
			   "type virtserialport\n"
			   "type virtio-blk-pci\n"
			   "type virtio-net-pci\n"
			   "type virtio-rng-pci\n"
			   "type virtio-scsi-pci\n"
			   "type virtio-serial-pci\n";

/* Without the line that begins so; NULL: whole. */
static QemuCapabilities *capabilities_without(const char *line)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autoptr(GString) rest = g_string_new(NULL);
	QemuCapabilities *capabilities = NULL;
	unsigned n = 0;

	for (char **each = lines; *each && **each; each++) {
		if (line && g_str_has_prefix(*each, line))
			n++;
		else
			g_string_append_printf(rest, "%s\n", *each);
	}
	g_assert_cmpuint(n, ==, line ? 1 : 0);
	g_assert_cmpint(qemu_capabilities_from_text(rest->str, &capabilities), ==, 0);
	return capabilities;
}

static void take_complaint(const char *complaint, void *user)
{
	GString *all = user;

	g_string_append_printf(all, "%s%s", all->len > 0 ? "|" : "", complaint);
}

static void assert_complaints(const char *config_text, const char *lacking, const char *expected)
{
	g_autoptr(QemuCapabilities) capabilities = capabilities_without(lacking);
	g_autoptr(VmConfig) config = parse(config_text);
	g_autoptr(GString) all = g_string_new(NULL);

	qemu_check_support(config, capabilities, take_complaint, all);
	g_assert_cmpstr(all->str, ==, expected);
}

#define NOT       " is not supported by this QEMU (7.2.22)"
#define NO(name)  ": it has no " name
#define DISK(...) "'Disks': <[{'Path': <'/d'>, 'Format': <'raw'>, " __VA_ARGS__ "}]>"

static const struct {
	const char *config, *lacking, *complaints;
} rows[] = {
	{"'MachineType': <'q35'>", "machine pc-q35-7.2", "MachineType: 'q35'" NOT},
	{"'MachineType': <'pc'>", "machine pc-i440fx", "MachineType: 'pc'" NOT},
	{"'MachineType': <'q35'>", "type pcie-root-port", "MachineType: 'q35'" NOT NO("pcie-root-port")},
	{"'MachineType': <'pc'>", "type pcie-root-port", ""},
	{"'Accelerator': <'kvm'>", "type kvm-accel", "Accelerator: 'kvm'" NOT NO("kvm-accel")},
	{"'Accelerator': <'tcg'>", "type tcg-accel", "Accelerator: 'tcg'" NOT NO("tcg-accel")},
	{"'Accelerator': <'auto'>", "type kvm-accel", ""},
	{"'CPUModel': <'host'>", "type kvm-accel", "CPUModel: 'host'" NOT NO("kvm-accel")},
	{"'CPUModel': <'Skylake-Server'>", "cpu Skylake", "CPUModel: 'Skylake-Server'" NOT},
	{"'CPUModel': <'Skylake-server'>", NULL,
		"CPUModel: 'Skylake-server'" NOT "; did you mean 'Skylake-Server'?"},
	{"'CPUModel': <'EPIC'>", NULL, "CPUModel: 'EPIC'" NOT "; did you mean 'EPYC'?"},
	{"'CPUModel': <'nonsense'>", NULL, "CPUModel: 'nonsense'" NOT},
	{"'CPUModel': <'old'>", NULL, ""},
	{"'MachineType': <'pc'>, 'VCPUs': <uint32 200>", NULL, ""},
	{"'MachineType': <'pc'>, 'VCPUs': <uint32 201>", NULL,
		"VCPUs: 201 is more than MachineType 'pc' of this QEMU (7.2.22) can have, 200"},
	{"'Firmware': <'uefi'>", "type cfi.pflash01", "Firmware: 'uefi'" NOT NO("cfi.pflash01")},
	{"'Firmware': <'uefi'>", "property x86-machine.smm", ""},
	{"'Firmware': <'uefi-secure'>", "property x86-machine.smm",
		"Firmware: 'uefi-secure'" NOT NO("x86-machine.smm")},
	{DISK("'Bus': <'virtio'>"), "type virtio-blk-pci", "Disks[0].Bus: 'virtio'" NOT NO("virtio-blk-pci")},
	{DISK("'Bus': <'sata'>"), "type ich9-ahci", "Disks[0].Bus: 'sata'" NOT NO("ich9-ahci")},
	{DISK("'Bus': <'sata'>"), "type ide-hd", "Disks[0].Bus: 'sata'" NOT NO("ide-hd")},
	{DISK("'Bus': <'sata'>"), "type ide-cd", ""},
	{DISK("'Bus': <'sata'>, 'Device': <'cdrom'>"), "type ide-cd",
		"Disks[0].Bus: 'sata'" NOT NO("ide-cd")},
	{DISK("'Bus': <'nvme'>"), "type nvme", "Disks[0].Bus: 'nvme'" NOT},
	{DISK("'Bus': <'scsi'>"), "type virtio-scsi-pci", "Disks[0].Bus: 'scsi'" NOT NO("virtio-scsi-pci")},
	{DISK("'Bus': <'scsi'>"), "type scsi-hd", "Disks[0].Bus: 'scsi'" NOT NO("scsi-hd")},
	{DISK("'Bus': <'scsi'>, 'Device': <'cdrom'>"), "type scsi-cd",
		"Disks[0].Bus: 'scsi'" NOT NO("scsi-cd")},
	{DISK("'Bus': <'usb'>"), "type qemu-xhci", "Disks[0].Bus: 'usb'" NOT NO("qemu-xhci")},
	{DISK("'Bus': <'usb'>"), "type usb-bot", "Disks[0].Bus: 'usb'" NOT NO("usb-bot")},
	{DISK("'Bus': <'usb'>, 'Device': <'cdrom'>"), "type scsi-cd",
		"Disks[0].Bus: 'usb'" NOT NO("scsi-cd")},
	{DISK("'Bus': <'ide'>"), "type ide-hd", "Disks[0].Bus: 'ide'" NOT NO("ide-hd")},
	{DISK("'Device': <'cdrom'>"), "type ide-cd", "Disks[0].Bus: 'ide'" NOT NO("ide-cd")},
	{DISK("'Device': <'floppy'>"), "type isa-fdc", "Disks[0].Bus: 'fdc'" NOT NO("isa-fdc")},
	{DISK("'Device': <'floppy'>"), "type floppy", "Disks[0].Bus: 'fdc'" NOT NO("floppy")},
	{DISK("'Name': <'a'>"), "argument blockdev-add.driver=raw", "Disks[0].Format: 'raw'" NOT},
	{DISK("'Name': <'a'>"), "argument blockdev-add.driver=file", "Disks[0].Format: 'raw'" NOT NO("file")},
	{"'Disks': <[{'Path': <'/a'>, 'Format': <'raw'>}, {'Path': <'/b'>, 'Format': <'qcow2'>}]>",
		"argument blockdev-add.driver=qcow2", "Disks[1].Format: 'qcow2'" NOT},
	{"'Disks': <[{'Format': <'qcow2'>, 'Device': <'cdrom'>}]>", "argument blockdev-add.driver=qcow2", ""},
	{DISK("'Cache': <'none'>"), "argument blockdev-add.cache",
		"Disks[0].Cache: 'none'" NOT NO("blockdev-add.cache")},
	{DISK("'Cache': <'writeback'>"), "argument blockdev-add.cache", ""},
	{DISK("'Discard': <true>"), "argument blockdev-add.discard",
		"Disks[0].Discard:" NOT NO("blockdev-add.discard")},
	{"'NICs': <[{'Type': <'user'>}]>", "argument netdev_add.type=user", "NICs[0].Type: 'user'" NOT},
	{"'NICs': <[{'Type': <'none'>}]>", "argument netdev_add.type=user", ""},
	{"'NICs': <[{'Model': <'virtio'>}, {'Model': <'e1000e'>}]>", "type e1000e",
		"NICs[1].Model: 'e1000e'" NOT},
	{"'NICs': <[{'Model': <'virtio'>}, {'Model': <'e1000e'>}]>", "type virtio-net-pci",
		"NICs[0].Model: 'virtio'" NOT NO("virtio-net-pci")},
	{"'NICs': <[{'Model': <'e1000e'>}, {'Model': <'e1000e'>}]>", "type e1000e",
		"NICs[0].Model: 'e1000e'" NOT "|NICs[1].Model: 'e1000e'" NOT},
	{"'Consoles': <[{'Type': <'serial'>}]>", "type isa-serial",
		"Consoles[0].Type: 'serial'" NOT NO("isa-serial")},
	{"'Consoles': <[{'Type': <'virtio'>}]>", "type virtconsole",
		"Consoles[0].Type: 'virtio'" NOT NO("virtconsole")},
	{"'Consoles': <[{'Type': <'virtio'>}]>", "type virtio-serial-pci",
		"Consoles[0].Type: 'virtio'" NOT NO("virtio-serial-pci")},
	{"'Display': <'vnc'>", "command query-vnc", "Display: 'vnc'" NOT NO("query-vnc")},
	{"'Display': <'vnc'>", "command add_client", "Display: 'vnc'" NOT NO("add_client")},
	{"'Display': <'vnc'>", "type VGA", "Display: 'vnc'" NOT NO("VGA")},
	{"'Display': <'none'>", "command query-vnc", ""},
	{"'RNG': <true>", "type virtio-rng-pci", "RNG:" NOT NO("virtio-rng-pci")},
	{"'RNG': <true>", "type rng-random", "RNG:" NOT NO("rng-random")},
	{"'RNG': <false>", "type rng-random", ""},
	{"'Panic': <true>", "type pvpanic", "Panic:" NOT NO("pvpanic")},
	{"'Agent': <true>", "type virtserialport", "Agent:" NOT NO("virtserialport")},
	{"'Agent': <true>", "type virtio-serial-pci", "Agent:" NOT NO("virtio-serial-pci")},
	{"'Agent': <false>", "type virtserialport", ""},
	{"'Watchdog': <'i6300esb'>", "type i6300esb", "Watchdog: 'i6300esb'" NOT},
	{"'Watchdog': <'i6300esb'>, 'OnWatchdog': <'pause'>", "argument set-action.watchdog=pause",
		"OnWatchdog: 'pause'" NOT},
	{"'Watchdog': <'i6300esb'>, 'OnWatchdog': <'inject-nmi'>", NULL, "OnWatchdog: 'inject-nmi'" NOT},
	{"'Watchdog': <'i6300esb'>", "option action", "OnWatchdog: 'reset'" NOT NO("action")},
	{"'Panic': <false>", "option action", ""},
	{"'OnReboot': <'destroy'>", "argument set-action.reboot=shutdown",
		"OnReboot: 'destroy'" NOT NO("shutdown")},
	{"'OnReboot': <'preserve'>", "option action", "OnReboot: 'preserve'" NOT NO("action")},
	{"'OnReboot': <'restart'>", "option action", ""},
	{"'OnCrash': <'restart'>", "type pvpanic", "OnCrash: 'restart'" NOT NO("pvpanic")},
	{"'OnCrash': <'restart'>, 'Panic': <true>", "type pvpanic", "Panic:" NOT NO("pvpanic")},
	{"'OnCrash': <'preserve'>", "type pvpanic", ""},
};

static void test_complaints(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_test_message("%s without %s", rows[i].config, rows[i].lacking);
		assert_complaints(rows[i].config, rows[i].lacking, rows[i].complaints);
	}
}

/* A QEMU that has nothing: everything that may be complained of is, each key once. */
static void test_nothing(void)
{
	g_autoptr(VmConfig) config =
		parse("'MachineType': <'pc'>, 'CPUModel': <'EPYC'>, 'RNG': <true>, 'Panic': <true>, "
		      "'Watchdog': <'ib700'>, 'Display': <'vnc'>, 'Firmware': <'uefi'>, " DISK(
			      "'Bus': <'usb'>, 'Cache': <'none'>, 'Discard': <true>"));
	g_autoptr(GString) all = g_string_new(NULL), keys = g_string_new(NULL);
	g_autoptr(QemuCapabilities) nothing = NULL;
	g_auto(GStrv) complaints = NULL;

	g_assert_cmpint(qemu_capabilities_from_text("version 1.0.0\n", &nothing), ==, 0);
	qemu_check_support(config, nothing, take_complaint, all);
	complaints = g_strsplit(all->str, "|", -1);
	for (char **each = complaints; *each; each++)
		g_string_append_printf(keys, "%.*s ", (int)(strchr(*each, ':') - *each), *each);
	g_assert_cmpstr(keys->str, ==,
		"CPUModel MachineType Firmware Disks[0].Bus Disks[0].Format Disks[0].Cache Disks[0].Discard "
		"Display "
		"RNG Panic Watchdog OnWatchdog ");
}

static void test_offers(void)
{
	g_autoptr(QemuCapabilities) c = capabilities_without(NULL), bare = NULL;

	g_assert_true(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "max"), false));
	g_assert_true(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "max"), true));
	g_assert_false(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "host"), false));
	g_assert_true(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "host"), true));
	/* What it lacks under TCG says nothing about KVM. */
	g_assert_false(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "Skylake-Server"), false));
	g_assert_true(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "Skylake-Server"), true));
	g_assert_false(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "old"), true));
	g_assert_false(qemu_offers_cpu_model(c, qemu_capabilities_cpu_model(c, "not,one"), true));
	g_assert_true(qemu_supports_machine_type(c, VM_MACHINE_TYPE_PC));
	g_assert_true(qemu_supports_display(c, VM_DISPLAY_VNC));
	g_assert_true(qemu_supports_firmware(c, VM_FIRMWARE_UEFI_SECURE));
	g_assert_true(qemu_supports_accelerator(c, VM_ACCELERATOR_TCG));
	g_assert_cmpint(qemu_capabilities_from_text("version 1.0.0\n", &bare), ==, 0);
	g_assert_false(qemu_supports_machine_type(bare, VM_MACHINE_TYPE_PC));
	g_assert_false(qemu_supports_display(bare, VM_DISPLAY_VNC));
	g_assert_true(qemu_supports_display(bare, VM_DISPLAY_NONE));
	g_assert_true(qemu_supports_firmware(bare, VM_FIRMWARE_BIOS));
	g_assert_false(qemu_supports_firmware(bare, VM_FIRMWARE_UEFI));
	g_assert_false(qemu_supports_accelerator(bare, VM_ACCELERATOR_TCG));
}

int main(int argc, char *argv[])
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/support/complaints", test_complaints);
	g_test_add_func("/support/nothing", test_nothing);
	g_test_add_func("/support/offers", test_offers);
	return g_test_run();
}
