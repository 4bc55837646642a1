#pragma once
/*
 * From a definition to QEMU's command line. Pure: the same input gives the same words (tests/golden/).
 *
 * QEMU gets nothing that was not asked for (-nodefaults, -no-user-config, -sandbox on), each device under a
 * stable id derived from its name, and starts stopped (-S) with -no-shutdown: Roost lets it go, and Roost
 * ends it.
 */
#include <glib.h>

#include "store/config.h"

/* What QEMU may not do once it has started. */
#define QEMU_SANDBOX_OPTIONS "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

typedef struct QemuCommandLine {
	const char *binary;
	const VmConfig *config;
	VmAccelerator accelerator; /* resolved: KVM or TCG */
	int qmp_fd;                /* the listening QMP socket, inherited under this number */
	const int *console_fds;    /* one listening socket for each of config->consoles, likewise */
	const char *nvram_path;    /* the variables of UEFI firmware; not used for others */
	const bool *block_devices; /* for each of config->disks: its path is a block device, no file. NULL:
				      none is */
} QemuCommandLine;

/* Any thread: a NULL-terminated argv; the caller g_strfreev()s. Commas in paths are doubled, as QEMU's
 * options want. */
char **qemu_command_line_build(const QemuCommandLine *spec);

/* Any thread: the CPU model of a VM under `accelerator` (KVM or TCG), for -cpu. */
const char *qemu_cpu_model(VmAccelerator accelerator);

/* Any thread: the files of a firmware on the host: its code, and what a VM's variables start from. NULL: it
 * is QEMU's own, and has no variables. */
const char *qemu_firmware_code(VmFirmware firmware);
const char *qemu_firmware_variables(VmFirmware firmware);

/* Any thread: the ids on QEMU's side, for QMP commands and events; the caller frees. "disk-<name>" is the
 * device, "format-<name>" and "file-<name>" its block nodes, "nic-<name>", "netdev-<name>", "console-<name>",
 * "chardev-<name>". */
char *qemu_disk_device_id(const char *disk_name);
char *qemu_disk_node_name(const char *disk_name);
