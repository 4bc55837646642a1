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

/* An image, open, as QEMU inherits it: the one that the guest writes to first, then the one it is based on...
 */
typedef struct QemuLayer {
	int fd; /* for writing too, if it is the first and the disk not read-only */
	DiskFormat format;
	bool is_block_device;
} QemuLayer;
typedef struct QemuDisk {
	const QemuLayer *layers;
	unsigned n_layers; /* 0: no medium */
} QemuDisk;

typedef struct QemuCommandLine {
	const char *binary;
	const VmConfig *config;
	VmAccelerator accelerator; /* resolved: KVM or TCG */
	int qmp_fd;                /* the listening QMP socket, inherited under this number */
	const int *console_fds;    /* one listening socket for each of config->consoles, likewise */
	int agent_fd; /* a listening socket, likewise; not used where the definition has no Agent */
	int nvram_fd; /* the variables of UEFI firmware, for writing; not used for others */
	int kernel_fd,
		initrd_fd; /* to be read again by way of /dev/fd; not used where the definition has none */
	const QemuDisk *disks; /* one for each of config->disks */
} QemuCommandLine;

/* Any thread: a NULL-terminated argv; the caller g_strfreev()s. Files that a definition names are given as
 * fds, never by path: what QEMU opens itself it opens with its own rights. */
char **qemu_command_line_build(const QemuCommandLine *spec);

/* Any thread: the CPU model of a VM under `accelerator` (KVM or TCG), for -cpu. */
const char *qemu_cpu_model(VmAccelerator accelerator);
/* QEMU's word: what Roost does itself begins with a pause. */
const char *qemu_watchdog_action(VmWatchdogAction action);

/* The agent's port, on QEMU's side. */
#define QEMU_AGENT_ID "agent"

/* Any thread: the files of a firmware on the host: its code, and what a VM's variables start from. NULL: it
 * is QEMU's own, and has no variables. */
const char *qemu_firmware_code(VmFirmware firmware);
const char *qemu_firmware_variables(VmFirmware firmware);

/* Any thread: the ids on QEMU's side, for QMP commands and events; the caller frees. "disk-<name>" is the
 * device, "format-<name>" and "file-<name>" its block nodes (those it is based on: "q<n>-<name>",
 * "f<n>-<name>"), "nic-<name>", "netdev-<name>", "console-<name>", "chardev-<name>". */
char *qemu_disk_device_id(const char *disk_name);
char *qemu_disk_node_name(const char *disk_name);
