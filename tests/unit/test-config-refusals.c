/* Definitions that are refused, and in which words: the culprit first. */
#include <errno.h>

#include "config-text.h"
#include "store/config-keys.h"

#define CDROM "'Format': <'raw'>, 'Device': <'cdrom'>"
#define SATA  DISK ", 'Bus': <'sata'>"
#define USB   DISK ", 'Bus': <'usb'>"

static const struct {
	const char *dict;
	int error;
	const char *complaint;
} refusals[] = {
	/* The dict itself. */
	{"'x'", -EINVAL, "config: has type 's', needs 'a{sv}'"},
	{"@as []", -EINVAL, "config: has type 'as', needs 'a{sv}'"},
	{"@a{sv} {}", -EINVAL, "Name: is required"},
	{"{'Name': <'web'>}", -EINVAL, "Memory: is required"},
	{"{'Memory': <uint64 1048576>}", -EINVAL, "Name: is required"},
	/* Unknown, misspelt, repeated and ill-typed keys, in the order of the dict. */
	{"{'Memroy': <uint64 1048576>}", -EINVAL, "Memroy: unknown key; did you mean 'Memory'?"},
	{"{'memory': <uint64 1048576>}", -EINVAL, "memory: unknown key; did you mean 'Memory'?"},
	{"{'cpus': <uint32 1>}", -EINVAL, "cpus: unknown key; did you mean 'VCPUs'?"},
	{"{'KernelComandLine': <'a'>}", -EINVAL,
		"KernelComandLine: unknown key; did you mean 'KernelCommandLine'?"},
	{"{'kernelcmdline': <'a'>}", -EINVAL, "kernelcmdline: unknown key"},
	{"{'Nmae': <'a'>, 'Memory': <'b'>}", -EINVAL, "Nmae: unknown key; did you mean 'Name'?"},
	{"{'Memory': <'b'>, 'Nmae': <'a'>}", -EINVAL, "Memory: has type 's', needs 't'"},
	{"{'Bogus': <true>}", -EINVAL, "Bogus: unknown key"},
	{"{'': <true>}", -EINVAL, "'': unknown key"},
	{"{'a\\nb': <true>}", -EINVAL, "'a\\x0ab': unknown key"},
	{"{'0123456789012345678901234567890123456789012345678901234567890123456789': <true>}", -EINVAL,
		"'0123456789012345678901234567890123456789012345678901234567890123...': unknown key"},
	{"{" BASE ", 'Name': <'web'>}", -EINVAL, "Name: is given twice"},
	{"{" BASE ", 'Disks': <@aa{sv} []>, 'Disks': <@aa{sv} []>}", -EINVAL, "Disks: is given twice"},
	{"{'Name': <b'web'>}", -EINVAL, "Name: has type 'ay', needs 's'"},
	{"{'Name': <<'web'>>}", -EINVAL, "Name: has type 'v', needs 's'"},
	{"{'VCPUs': <uint64 1>}", -EINVAL, "VCPUs: has type 't', needs 'u'"},
	{"{'VCPUs': <1>}", -EINVAL, "VCPUs: has type 'i', needs 'u'"},
	{"{'Autostart': <1>}", -EINVAL, "Autostart: has type 'i', needs 'b'"},
	{"{'Disks': <@as []>}", -EINVAL, "Disks: has type 'as', needs 'aa{sv}'"},
	{"{'Disks': <@a{sv} {}>}", -EINVAL, "Disks: has type 'a{sv}', needs 'aa{sv}'"},
	/* Names. */
	{"{'Name': <''>}", -EINVAL, "Name: is empty"},
	{"{'Name': <'a/b'>}", -EINVAL,
		"Name: 'a/b' must be of letters, digits, '.', '_' and '-', the first a letter or digit"},
	{"{'Name': <'..'>}", -EINVAL,
		"Name: '..' must be of letters, digits, '.', '_' and '-', the first a letter or digit"},
	{"{'Name': <'web\\n'>}", -EINVAL,
		"Name: 'web\\x0a' must be of letters, digits, '.', '_' and '-', the first a letter or digit"},
	{"{'Name': <'-web'>}", -EINVAL,
		"Name: '-web' must be of letters, digits, '.', '_' and '-', the first a letter or digit"},
	{"{'Name': <'w\u00e9b'>}", -EINVAL,
		"Name: 'w\u00e9b' must be of letters, digits, '.', '_' and '-', the first a letter or digit"},
	{"{'Name': <'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>}", -EINVAL,
		"Name: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...' has more than "
		"64 characters"},
	{"{'Name': <'01234567-89AB-cdef-0123-456789abcdef'>}", -EINVAL,
		"Name: '01234567-89AB-cdef-0123-456789abcdef' has the form of a UUID"},
	{"{'Name': <'0123456789ABcdef0123456789abcdef'>}", -EINVAL,
		"Name: '0123456789ABcdef0123456789abcdef' has the form of a UUID"},
	{"{'UUID': <'01234567-89ab-cdef-0123-456789abcde'>}", -EINVAL,
		"UUID: '01234567-89ab-cdef-0123-456789abcde' is not a UUID (32 hex digits, or 8-4-4-4-12 of "
		"them)"},
	{"{'UUID': <''>}", -EINVAL, "UUID: '' is not a UUID (32 hex digits, or 8-4-4-4-12 of them)"},
	{"{'UUID': <'../../../etc/passwd'>}", -EINVAL,
		"UUID: '../../../etc/passwd' is not a UUID (32 hex digits, or 8-4-4-4-12 of them)"},
	/* Numbers at their limits. */
	{"{'VCPUs': <uint32 0>}", -EINVAL, "VCPUs: 0 is not between 1 and 255"},
	{"{'VCPUs': <uint32 256>}", -EINVAL, "VCPUs: 256 is not between 1 and 255"},
	{"{'VCPUs': <uint32 4294967295>}", -EINVAL, "VCPUs: 4294967295 is not between 1 and 255"},
	{"{'Memory': <uint64 0>}", -EINVAL,
		"Memory: 0 bytes are not between 1 MiB and 16 TiB (the unit is bytes)"},
	{"{'Memory': <uint64 1048575>}", -EINVAL,
		"Memory: 1048575 bytes are not between 1 MiB and 16 TiB (the unit is bytes)"},
	{"{'Memory': <uint64 1048577>}", -EINVAL,
		"Memory: 1048577 bytes are not a multiple of 1 MiB (1048576)"},
	{"{'Memory': <uint64 17592187092992>}", -EINVAL,
		"Memory: 17592187092992 bytes are not between 1 MiB and 16 TiB (the unit is bytes)"},
	{"{'CPUWeight': <uint32 10001>}", -EINVAL, "CPUWeight: 10001 is not between 0 and 10000"},
	{"{'CPUWeight': <uint64 1>}", -EINVAL, "CPUWeight: has type 't', needs 'u'"},
	{"{'TasksMax': <uint32 1000001>}", -EINVAL, "TasksMax: 1000001 is not between 0 and 1000000"},
	{"{'MemoryMax': <uint64 1152921504606846977>}", -EINVAL,
		"MemoryMax: 1152921504606846977 is not between 0 and 1152921504606846976"},
	{"{'ShutdownTimeout': <uint64 31536000000001>}", -EINVAL,
		"ShutdownTimeout: 31536000000001 is not between 0 and 31536000000000"},
	{"{'ShutdownTimeout': <uint64 18446744073709551615>}", -EINVAL,
		"ShutdownTimeout: 18446744073709551615 is not between 0 and 31536000000000"},
	/* Words. */
	{"{'MachineType': <'q36'>}", -EINVAL, "MachineType: 'q36' is not one of 'q35', 'pc'"},
	{"{'MachineType': <'Q35'>}", -EINVAL, "MachineType: 'Q35' is not one of 'q35', 'pc'"},
	{"{'Accelerator': <''>}", -EINVAL, "Accelerator: '' is not one of 'auto', 'kvm', 'tcg'"},
	{"{'Display': <'vga'>}", -EINVAL, "Display: 'vga' is not one of 'none', 'vnc'"},
	{"{'Display': <'VNC'>}", -EINVAL, "Display: 'VNC' is not one of 'none', 'vnc'"},
	{"{'Display': <'spice'>}", -EOPNOTSUPP, "Display: 'spice' is not supported by this version yet"},
	/* Keys of the contract that are not carried out yet. */
	{"{'QemuArguments': <'-s'>}", -EINVAL, "QemuArguments: has type 's', needs 'as'"},
	{"{'QemuArguments': <['-device', 'a\\nb']>}", -EINVAL,
		"QemuArguments: entry 1 has a control character"},
	{"{'OnHostSleep': <'pause'>}", -EOPNOTSUPP, "OnHostSleep: not supported by this version yet"},
	{"{'Disks': <[{" DISK ", 'IOThread': <true>}]>}", -EOPNOTSUPP,
		"Disks[0].IOThread: not supported by this version yet"},
	{"{'NICs': <[{'Bridge': <'br0'>}]>}", -EOPNOTSUPP,
		"NICs[0].Bridge: not supported by this version yet"},
	{"{'NICs': <[{'Type': <'tap'>}]>}", -EOPNOTSUPP,
		"NICs[0].Type: 'tap' is not supported by this version yet"},
	{"{'NICs': <[{'Model': <'e1000'>}]>}", -EOPNOTSUPP,
		"NICs[0].Model: 'e1000' is not supported by this version yet"},
	/* Single devices and the CPU. */
	{"{'CPUModel': <true>}", -EINVAL, "CPUModel: has type 'b', needs 's'"},
	{"{'CPUModel': <'max,+vmx'>}", -EINVAL,
		"CPUModel: 'max,+vmx' must be of at most 64 letters, digits, '.', '_' and '-', the first a "
		"letter or digit"},
	{"{'CPUModel': <'-host'>}", -EINVAL,
		"CPUModel: '-host' must be of at most 64 letters, digits, '.', '_' and '-', the first a "
		"letter or digit"},
	{"{" BASE ", 'CPUModel': <'host'>, 'Accelerator': <'tcg'>}", -EINVAL,
		"CPUModel: 'host' does not go with Accelerator 'tcg'"},
	{"{'Name': <'a'>, 'Memory': <uint64 2097152>, 'MemoryMax': <uint64 2097151>}", -EINVAL,
		"MemoryMax: 2097151 bytes are less than Memory (2097152)"},
	{"{'Firmware': <'efi'>}", -EINVAL, "Firmware: 'efi' is not one of 'bios', 'uefi', 'uefi-secure'"},
	{"{'Firmware': <true>}", -EINVAL, "Firmware: has type 'b', needs 's'"},
	{"{" BASE ", 'Firmware': <'uefi-secure'>, 'MachineType': <'pc'>}", -EINVAL,
		"Firmware: 'uefi-secure' needs MachineType 'q35'"},
	{"{'RNG': <'yes'>}", -EINVAL, "RNG: has type 's', needs 'b'"},
	{"{'Watchdog': <'itco'>}", -EOPNOTSUPP,
		"Watchdog: 'itco' is not supported; there are 'i6300esb', 'ib700'"},
	{"{'Watchdog': <'\\n'>}", -EOPNOTSUPP,
		"Watchdog: '\\x0a' is not supported; there are 'i6300esb', 'ib700'"},
	{"{" BASE ", 'Watchdog': <'ib700'>}", -EINVAL, "Watchdog: 'ib700' needs MachineType 'pc'"},
	{"{'OnWatchdog': <'debug'>}", -EINVAL,
		"OnWatchdog: 'debug' is not one of 'reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', "
		"'none', 'dump'"},
	{"{'OnCrash': <'dump'>}", -EINVAL,
		"OnCrash: 'dump' is not one of 'destroy', 'restart', 'preserve', 'dump-destroy', "
		"'dump-restart'"},
	{"{" BASE ", 'OnWatchdog': <'pause'>}", -EINVAL, "OnWatchdog: needs Watchdog"},
	{"{'OnPowerOff': <'dump-destroy'>}", -EINVAL,
		"OnPowerOff: 'dump-destroy' is not one of 'destroy', 'restart', 'preserve'"},
	{"{'OnReboot': <''>}", -EINVAL, "OnReboot: '' is not one of 'destroy', 'restart', 'preserve'"},
	{"{'OnCrash': <true>}", -EINVAL, "OnCrash: has type 'b', needs 's'"},
	/* Metadata. */
	{"{'Metadata': <@a{sv} {}>}", -EINVAL, "Metadata: has type 'a{sv}', needs 'a{ss}'"},
	{"{'Metadata': <{'': 'a'}>}", -EINVAL,
		"Metadata: the key '' must be of 1 to 256 bytes without control characters"},
	{"{'Metadata': <{'a\\nb': 'a'}>}", -EINVAL,
		"Metadata: the key 'a\\x0ab' must be of 1 to 256 bytes without control characters"},
	{"{'Metadata': <{'a': '1', 'b': '2', 'a': '3'}>}", -EINVAL, "Metadata: the key 'a' is given twice"},
	/* What is run from a kernel. */
	{"{'Kernel': <'vmlinuz'>}", -EINVAL, "Kernel: 'vmlinuz' is not an absolute path"},
	{"{'Kernel': <'/boot/a\\nb'>}", -EINVAL, "Kernel: has a control character"},
	{"{" BASE ", 'Initrd': <'/i'>}", -EINVAL, "Initrd: needs Kernel"},
	{"{" BASE ", 'Initrd': <'/i'>, 'Kernel': <''>}", -EINVAL, "Initrd: needs Kernel"},
	{"{" BASE ", 'KernelCommandLine': <'quiet'>}", -EINVAL, "KernelCommandLine: needs Kernel"},
	{"{'Initrd': <'/i'>}", -EINVAL, "Initrd: needs Kernel"},
	{"{'KernelCommandLine': <'a\\nb'>}", -EINVAL, "KernelCommandLine: has a control character"},
	/* Disks. */
	{"{'Disks': <[@a{sv} {}]>}", -EINVAL, "Disks[0].Path: is required for a disk"},
	{"{'Disks': <[{'Path': <'/a'>}]>}", -EINVAL, "Disks[0].Format: is required"},
	{"{'Disks': <[{'Format': <'raw'>}]>}", -EINVAL, "Disks[0].Path: is required for a disk"},
	{"{'Disks': <[{'Path': <''>, 'Format': <'raw'>}]>}", -EINVAL,
		"Disks[0].Path: is empty, and a disk needs one"},
	{"{'Disks': <[{'Device': <'cdrom'>}]>}", -EINVAL, "Disks[0].Format: is required"},
	{"{'Disks': <[{'Path': <'a.img'>}]>}", -EINVAL, "Disks[0].Path: 'a.img' is not an absolute path"},
	{"{'Disks': <[{" DISK "}, {'Format': <'vmdk'>}]>}", -EINVAL,
		"Disks[1].Format: 'vmdk' is not one of 'raw', 'qcow2'"},
	{"{'Disks': <[{'Fromat': <'raw'>}]>}", -EINVAL,
		"Disks[0].Fromat: unknown key; did you mean 'Format'?"},
	{"{'Disks': <[{'Format': <'raw'>, 'Format': <'raw'>}]>}", -EINVAL, "Disks[0].Format: is given twice"},
	{"{'Disks': <[{'ReadOnly': <'yes'>}]>}", -EINVAL, "Disks[0].ReadOnly: has type 's', needs 'b'"},
	{"{'Disks': <[{" DISK ", 'Bus': <'fdc'>}]>}", -EINVAL, "Disks[0].Bus: a disk can't be on 'fdc'"},
	{"{'Disks': <[{" DISK ", 'Bus': <'SATA'>}]>}", -EINVAL,
		"Disks[0].Bus: 'SATA' is not one of 'virtio', 'sata', 'nvme', 'scsi', 'usb', 'ide', 'fdc'"},
	{"{'Disks': <[{" DISK ", 'Device': <'cdrom'>, 'Bus': <'virtio'>}]>}", -EINVAL,
		"Disks[0].Bus: a cdrom can't be on 'virtio'"},
	{"{'Disks': <[{" DISK ", 'Device': <'cdrom'>, 'Bus': <'nvme'>}]>}", -EINVAL,
		"Disks[0].Bus: a cdrom can't be on 'nvme'"},
	{"{'Disks': <[{" DISK ", 'Device': <'floppy'>, 'Bus': <'usb'>}]>}", -EINVAL,
		"Disks[0].Bus: a floppy can't be on 'usb'"},
	{"{'Disks': <[{" DISK ", 'Bus': <'ide'>}, {" CDROM "}, {" CDROM "}, {" CDROM "}, {" CDROM "}]>}",
		-EINVAL, "Disks[4].Device: at most 4 devices are allowed on 'ide'"},
	{"{'Disks': <[{" SATA "}, {" SATA "}, {" SATA "}, {" SATA "}, {" SATA "}, {" SATA "}, {" SATA "}]>}",
		-EINVAL, "Disks[6].Bus: at most 6 devices are allowed on 'sata'"},
	{"{'Disks': <[{" USB "}, {" USB "}, {" USB "}, {" USB "}, {" USB "}, {" USB "}, {" USB "}, {" USB
	 "}, {" USB "}]>}",
		-EINVAL, "Disks[8].Bus: at most 8 devices are allowed on 'usb'"},
	{"{'Disks': <[{" SATA ", 'ReadOnly': <true>}]>}", -EINVAL,
		"Disks[0].ReadOnly: a disk on 'sata' can't be read-only"},
	{"{'Disks': <[{" DISK ", 'Cache': <'writethrough'>}]>}", -EINVAL,
		"Disks[0].Cache: 'writethrough' is not one of 'writeback', 'none', 'unsafe'"},
	{"{'Disks': <[{" DISK ", 'Discard': <'unmap'>}]>}", -EINVAL,
		"Disks[0].Discard: has type 's', needs 'b'"},
	{"{'Disks': <[{" DISK ", 'Discard': <true>, 'ReadOnly': <true>}]>}", -EINVAL,
		"Disks[0].Discard: nothing is discarded on what is read-only"},
	{"{'Disks': <[{" CDROM ", 'Discard': <true>}]>}", -EINVAL,
		"Disks[0].Discard: nothing is discarded on what is read-only"},
	{"{'Disks': <[{" DISK ", 'Serial': <'123456789012345678901'>}]>}", -EINVAL,
		"Disks[0].Serial: '123456789012345678901' must be of at most 20 letters, digits, '.', '_' "
		"and '-'"},
	{"{'Disks': <[{" DISK ", 'Serial': <'a,b'>}]>}", -EINVAL,
		"Disks[0].Serial: 'a,b' must be of at most 20 letters, digits, '.', '_' and '-'"},
	{"{'Disks': <[{" DISK ", 'Device': <'floppy'>, 'Serial': <'a'>}]>}", -EINVAL,
		"Disks[0].Serial: a floppy has none"},
	{"{'Disks': <[{" DISK ", 'Size': <uint64 1048575>}]>}", -EINVAL,
		"Disks[0].Size: 1048575 bytes are not between 1 MiB and 64 TiB (the unit is bytes)"},
	{"{'Disks': <[{" DISK ", 'Size': <uint64 140737488355328>}]>}", -EINVAL,
		"Disks[0].Size: 140737488355328 bytes are not between 1 MiB and 64 TiB (the unit is bytes)"},
	{"{'Disks': <[{" DISK ", 'Size': <uint64 18446744073709551615>}]>}", -EINVAL,
		"Disks[0].Size: 18446744073709551615 bytes are not between 1 MiB and 64 TiB (the unit is "
		"bytes)"},
	{"{'Disks': <[{" DISK ", 'Size': <uint64 1048577>}]>}", -EINVAL,
		"Disks[0].Size: 1048577 bytes are not a multiple of 512"},
	{"{'Disks': <[{" DISK ", 'Size': <uint32 1048576>}]>}", -EINVAL,
		"Disks[0].Size: has type 'u', needs 't'"},
	{"{'Disks': <[{" CDROM ", 'Size': <uint64 1048576>}]>}", -EINVAL,
		"Disks[0].Size: is for a disk that can be written to: what is made is empty"},
	{"{'Disks': <[{" DISK ", 'Size': <uint64 1048576>, 'ReadOnly': <true>}]>}", -EINVAL,
		"Disks[0].Size: is for a disk that can be written to: what is made is empty"},
	{"{'Disks': <[{" DISK ", 'BootIndex': <uint32 1000>}]>}", -EINVAL,
		"Disks[0].BootIndex: 1000 is not between 0 and 999"},
	{"{'Disks': <[{" DISK ", 'BootIndex': <uint32 3>}, {" DISK "}, {" DISK ", 'BootIndex': <uint32 "
	 "3>}]>}",
		-EINVAL, "Disks[2].BootIndex: 3 is already that of Disks[0]"},
	{"{'Disks': <[{" DISK ", 'Device': <'cdrom'>, 'ReadOnly': <false>}]>}", -EINVAL,
		"Disks[0].ReadOnly: a cdrom is always read-only"},
	{"{'Disks': <[{" DISK ", 'Device': <'tape'>}]>}", -EINVAL,
		"Disks[0].Device: 'tape' is not one of 'disk', 'cdrom', 'floppy'"},
	{"{'Disks': <[{'Name': <'disk0'>, " DISK "}, {'Name': <'disk0'>, " DISK "}]>}", -EINVAL,
		"Disks[1].Name: 'disk0' is already the name of Disks[0]"},
	{"{'Disks': <[{'Name': <'0disk'>}]>}", -EINVAL,
		"Disks[0].Name: '0disk' must be of 1 to 24 letters, digits, '_' and '-', the first a letter"},
	{"{'Disks': <[{'Name': <''>}]>}", -EINVAL,
		"Disks[0].Name: '' must be of 1 to 24 letters, digits, '_' and '-', the first a letter"},
	{"{'Disks': <[{'Name': <'a,b=c'>}]>}", -EINVAL,
		"Disks[0].Name: 'a,b=c' must be of 1 to 24 letters, digits, '_' and '-', the first a letter"},
	{"{'Disks': <[{'Name': <'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>}]>}", -EINVAL,
		"Disks[0].Name: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' must be of 1 to 24 letters, digits, '_' "
		"and '-', "
		"the first a letter"},
	{"{'Disks': <[{'Device': <'floppy'>, 'Format': <'raw'>}, {'Device': <'floppy'>, 'Format': <'raw'>}, "
	 "{'Device': <'floppy'>, 'Format': <'raw'>}]>}",
		-EINVAL, "Disks[2].Device: at most 2 devices are allowed on 'fdc'"},
	/* NICs. */
	{"{'NICs': <[{'MAC': <'52:54:00:12:34'>}]>}", -EINVAL,
		"NICs[0].MAC: '52:54:00:12:34' is not a MAC address (xx:xx:xx:xx:xx:xx)"},
	{"{'NICs': <[{'MAC': <'52-54-00-12-34-56'>}]>}", -EINVAL,
		"NICs[0].MAC: '52-54-00-12-34-56' is not a MAC address (xx:xx:xx:xx:xx:xx)"},
	{"{'NICs': <[{'MAC': <''>}]>}", -EINVAL, "NICs[0].MAC: '' is not a MAC address (xx:xx:xx:xx:xx:xx)"},
	{"{'NICs': <[{'MAC': <'53:54:00:12:34:56'>}]>}", -EINVAL,
		"NICs[0].MAC: '53:54:00:12:34:56' is a multicast address"},
	{"{'NICs': <[{'MAC': <'FF:FF:FF:FF:FF:FF'>}]>}", -EINVAL,
		"NICs[0].MAC: 'FF:FF:FF:FF:FF:FF' is a multicast address"},
	{"{'NICs': <[{'MAC': <'00:00:00:00:00:00'>}]>}", -EINVAL,
		"NICs[0].MAC: '00:00:00:00:00:00' is the address of nobody"},
	{"{'NICs': <[{'MAC': <'52:54:00:aa:34:56'>}, {'MAC': <'52:54:00:AA:34:56'>}]>}", -EINVAL,
		"NICs[1].MAC: '52:54:00:aa:34:56' is already the address of NICs[0]"},
	{"{'NICs': <[{'Type': <'users'>}]>}", -EINVAL, "NICs[0].Type: 'users' is not one of 'user', 'none'"},
	{"{'NICs': <[{'Name': <'n'>}, {'Name': <'n'>}]>}", -EINVAL,
		"NICs[1].Name: 'n' is already the name of NICs[0]"},
	/* Consoles. */
	{"{'Consoles': <[{'Type': <'usb'>}]>}", -EINVAL,
		"Consoles[0].Type: 'usb' is not one of 'serial', 'virtio'"},
	{"{'Consoles': <[@a{sv} {}, {}, {}, {}, {}]>}", -EINVAL,
		"Consoles[4].Type: at most 4 serial consoles are allowed"},
	{"{'Consoles': <[@a{sv} {}, {}, {}, {}, {}, {}, {}, {}, {}]>}", -EINVAL,
		"Consoles: has 9 entries, at most 8 are allowed"},
	/* What is missing from a device comes with the device, what is missing at the top comes last. */
	{"{'Disks': <[{'Path': <'/a'>}]>, 'Bogus': <1>}", -EINVAL, "Disks[0].Format: is required"},
	{"{'NICs': <[@a{sv} {}]>, 'Bogus': <1>}", -EINVAL, "Bogus: unknown key"},
};

static void test_refusals(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
		g_autoptr(GVariant) dict = parse_dict(refusals[i].dict);

		assert_refused(dict, refusals[i].error, refusals[i].complaint);
	}
}

/* Every row without a signature is refused by its name, whatever its value. */
static void test_refusals_later(void)
{
	for (unsigned i = 0; i < config_vm_table.n_keys; i++) {
		const ConfigKey *key = &config_vm_table.keys[i];
		g_autofree char *text = g_strdup_printf("{'%s': <true>}", key->name);
		g_autofree char *expected =
			g_strdup_printf("%s: not supported by this version yet", key->name);
		g_autoptr(GVariant) dict = parse_dict(text);

		g_assert_true(!key->signature == (!key->get && !key->list));
		if (!key->signature)
			assert_refused(dict, -EOPNOTSUPP, expected);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config-refusals/table", test_refusals);
	g_test_add_func("/config-refusals/later", test_refusals_later);
	return g_test_run();
}
