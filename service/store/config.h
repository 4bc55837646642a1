#pragma once
/*
 * VmConfig: the definition of a VM as a typed value. Immutable once made, and counted, since views,
 * operations and the command line hold it at once. It is made from a D-Bus a{sv}
 * (vm_config_new_from_variant), the same form in which it is given back (vm_config_to_variant) and stored as
 * JSON (store/definition.h): one table of keys serves all three.
 *
 * Everything in it has been validated by form: names, ranges, enumerations, absolute paths, no two devices of
 * one name. Whether a path exists is asked at Start, not here.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/ref.h"

#define VM_NAME_MAX                      64
#define VM_DESCRIPTION_MAX               1024
#define VM_VCPUS_MAX                     255 /* beyond, QEMU wants KVM's own interrupt controller */
#define VM_DEVICE_NAME_MAX               24U /* QEMU's node names are at most 31, with a prefix of ours */
#define VM_MEMORY_MIN                    (1ULL << 20)
#define VM_MEMORY_MAX                    (16ULL << 40)
#define VM_DISKS_MAX                     64
#define VM_SATA_MAX                      6U
#define VM_USB_DISKS_MAX                 8U
#define VM_IDE_MAX                       4U
#define VM_FLOPPIES_MAX                  2U
#define VM_NICS_MAX                      16
#define VM_CONSOLES_MAX                  8
#define VM_SERIALS_MAX                   4
#define VM_CONFIG_SIZE_MAX               (256 * 1024)
#define VM_DISK_SIZE_MIN                 (1ULL << 20)
#define VM_DISK_SIZE_MAX                 (64ULL << 40)
#define VM_DISK_SERIAL_MAX               20 /* what ATA and NVMe have room for */
#define VM_DISK_BOOT_INDEX_MAX           999
#define VM_CPU_MODEL_MAX                 64
#define VM_METADATA_MAX                  64 /* entries */
#define VM_METADATA_KEY_MAX              256
#define VM_METADATA_VALUE_MAX            4096
#define VM_QEMU_ARGUMENTS_MAX            64
#define VM_QEMU_ARGUMENT_MAX             4096                           /* bytes */
#define VM_SHUTDOWN_TIMEOUT_MAX_USEC     (365ULL * 24 * 3600 * 1000000) /* a year */
#define VM_UNIT_CPU_WEIGHT_MAX           10000
#define VM_UNIT_MEMORY_MAX               (1ULL << 60)
#define VM_UNIT_TASKS_MAX                1000000
#define VM_DEFAULT_SHUTDOWN_TIMEOUT_USEC 90000000ULL

typedef enum VmMachineType { VM_MACHINE_TYPE_Q35, VM_MACHINE_TYPE_PC, VM_MACHINE_TYPE_MAX } VmMachineType;
typedef enum VmAccelerator {
	VM_ACCELERATOR_AUTO,
	VM_ACCELERATOR_KVM,
	VM_ACCELERATOR_TCG,
	VM_ACCELERATOR_MAX
} VmAccelerator;
typedef enum VmFirmware {
	VM_FIRMWARE_BIOS,
	VM_FIRMWARE_UEFI,
	VM_FIRMWARE_UEFI_SECURE, /* on q35 only */
	VM_FIRMWARE_MAX
} VmFirmware;
typedef enum VmDisplay { VM_DISPLAY_NONE, VM_DISPLAY_VNC, VM_DISPLAY_MAX } VmDisplay;
typedef enum VmWatchdog {
	VM_WATCHDOG_NONE,
	VM_WATCHDOG_I6300ESB,
	VM_WATCHDOG_IB700, /* on pc only */
	VM_WATCHDOG_MAX
} VmWatchdog;
typedef enum VmWatchdogAction {
	VM_WATCHDOG_ACTION_RESET,
	VM_WATCHDOG_ACTION_SHUTDOWN,
	VM_WATCHDOG_ACTION_POWEROFF,
	VM_WATCHDOG_ACTION_PAUSE,
	VM_WATCHDOG_ACTION_INJECT_NMI,
	VM_WATCHDOG_ACTION_NONE,
	VM_WATCHDOG_ACTION_DUMP,
	VM_WATCHDOG_ACTION_MAX
} VmWatchdogAction;
/* What becomes of a VM whose guest powered off, reset or crashed. */
typedef enum VmPolicy {
	VM_POLICY_DESTROY,
	VM_POLICY_RESTART,
	VM_POLICY_PRESERVE,
	VM_POLICY_DUMP_DESTROY, /* OnCrash alone, and the next */
	VM_POLICY_DUMP_RESTART,
	VM_POLICY_MAX
} VmPolicy;
typedef enum NicType { NIC_TYPE_USER, NIC_TYPE_NONE, NIC_TYPE_MAX } NicType;
typedef enum NicModel { NIC_MODEL_VIRTIO, NIC_MODEL_E1000E, NIC_MODEL_MAX } NicModel;
typedef enum DiskFormat { DISK_FORMAT_RAW, DISK_FORMAT_QCOW2, DISK_FORMAT_MAX } DiskFormat;
typedef enum DiskDevice {
	DISK_DEVICE_DISK,
	DISK_DEVICE_CDROM,
	DISK_DEVICE_FLOPPY,
	DISK_DEVICE_MAX
} DiskDevice;
/* virtio for disks, ide for cdroms, fdc for floppies are the defaults. ide is what the machine has (AHCI on
 * q35), sata a controller beside it. */
typedef enum DiskBus {
	DISK_BUS_VIRTIO,
	DISK_BUS_SATA,
	DISK_BUS_NVME,
	DISK_BUS_SCSI,
	DISK_BUS_USB,
	DISK_BUS_IDE,
	DISK_BUS_FDC,
	DISK_BUS_MAX
} DiskBus;
typedef enum DiskCache { DISK_CACHE_WRITEBACK, DISK_CACHE_NONE, DISK_CACHE_UNSAFE, DISK_CACHE_MAX } DiskCache;
typedef enum ConsoleType { CONSOLE_TYPE_SERIAL, CONSOLE_TYPE_VIRTIO, CONSOLE_TYPE_MAX } ConsoleType;

/* The words of the contract. NULL / -EINVAL for what is none. */
const char *vm_machine_type_to_string(VmMachineType type);
int vm_machine_type_from_string(const char *s);
const char *vm_accelerator_to_string(VmAccelerator accelerator);
int vm_accelerator_from_string(const char *s);
const char *vm_firmware_to_string(VmFirmware firmware);
int vm_firmware_from_string(const char *s);
const char *vm_display_to_string(VmDisplay display);
int vm_display_from_string(const char *s);
const char *vm_watchdog_to_string(VmWatchdog watchdog); /* "" for none */
int vm_watchdog_from_string(const char *s);
const char *vm_watchdog_action_to_string(VmWatchdogAction action);
int vm_watchdog_action_from_string(const char *s);
const char *vm_policy_to_string(VmPolicy policy);
int vm_policy_from_string(const char *s);
const char *nic_type_to_string(NicType type);
int nic_type_from_string(const char *s);
const char *nic_model_to_string(NicModel model);
int nic_model_from_string(const char *s);
const char *disk_format_to_string(DiskFormat format);
int disk_format_from_string(const char *s);
const char *disk_device_to_string(DiskDevice device);
int disk_device_from_string(const char *s);
const char *disk_bus_to_string(DiskBus bus);
int disk_bus_from_string(const char *s);
const char *disk_cache_to_string(DiskCache cache);
int disk_cache_from_string(const char *s);
const char *console_type_to_string(ConsoleType type);
int console_type_from_string(const char *s);

typedef struct DiskConfig {
	char *name; /* default disk0, cdrom0, floppy0...: the first free number; [A-Za-z][A-Za-z0-9_-]{0,23}
		     */
	char *path; /* absolute; "" for a cdrom or floppy without a medium */
	DiskFormat format;
	DiskBus bus;
	DiskDevice device;
	bool read_only; /* always true for a cdrom */
	DiskCache cache;
	bool discard;
	char *serial;        /* "" when not given */
	uint64_t size;       /* bytes, of the image that is made if there is none at path; 0: none is made */
	uint32_t boot_index; /* 0: after those that have one, in the order of the list */
} DiskConfig;

typedef struct NicConfig {
	char *name; /* default nic0... */
	char *mac;  /* lower case; default made from the VM's UUID and the NIC's name, so it is stable:
		       52:54:00:... */
	NicType type;
	NicModel model;
} NicConfig;

typedef struct ConsoleConfig {
	char *name; /* default console0... */
	ConsoleType type;
} ConsoleConfig;

typedef struct VmConfig {
	Ref ref;
	char *name;
	char *uuid; /* dashed, lower case; made at random when not given */
	char *description;
	uint32_t vcpus;
	uint64_t memory; /* bytes, a multiple of 1 MiB */
	VmMachineType machine_type;
	VmAccelerator accelerator;
	char *cpu_model;                             /* "" when not given: by accelerator */
	char *kernel, *initrd, *kernel_command_line; /* "" when not given */
	VmFirmware firmware;
	VmDisplay display;
	bool rng;
	bool panic;
	bool agent;
	VmWatchdog watchdog;
	VmWatchdogAction on_watchdog;
	VmPolicy on_power_off, on_reboot, on_crash;
	bool autostart;
	uint64_t shutdown_timeout_usec; /* 0: no limit */
	/* Carried out by systemd, where QEMU runs in a unit of its own. 0: systemd's own, or none. */
	uint32_t cpu_weight;
	uint64_t memory_max; /* bytes; at least `memory` */
	uint32_t tasks_max;
	DiskConfig *disks;
	unsigned n_disks;
	NicConfig *nics;
	unsigned n_nics;
	ConsoleConfig *consoles;
	unsigned n_consoles;
	char **qemu_arguments; /* NULL-terminated; or NULL when there are none */
	char **metadata;       /* key, value, key, value..., NULL; or NULL when there is none */
} VmConfig;

/* Any thread that has a reference. */
VmConfig *vm_config_ref(VmConfig *config);
VmConfig *vm_config_unref(VmConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmConfig, vm_config_unref)

/* Any thread: reads a definition. `dict` is an a{sv}, hostile. 0, or with *ret_complaint set (culprit first,
 * as in "Disks[0].Path: must be absolute", the caller frees): -EINVAL     InvalidConfig: unknown (with a
 * suggestion), repeated, ill-typed or missing key, bad value -EOPNOTSUPP NotSupported: a key or value of the
 * contract that this version does not carry out yet -EFBIG      InvalidConfig: over VM_CONFIG_SIZE_MAX */
int vm_config_new_from_variant(GVariant *dict, VmConfig **ret_config, char **ret_complaint);

/* Any thread: the definition with whole values replaced by those of `changes` (an a{sv}, hostile) and the
 * keys in `unset` (known ones) back at their defaults; the UUID can't change. As
 * vm_config_new_from_variant(). */
int vm_config_change(const VmConfig *config, GVariant *changes, const char *const *unset,
	VmConfig **ret_config, char **ret_complaint);

/* Any thread: whether a definition may have this key. 0; -EINVAL with *ret_complaint (a suggestion);
 * -EOPNOTSUPP: in a later version. */
int vm_config_check_key(const char *key, char **ret_complaint);

/* Any thread. */
bool vm_config_equal(const VmConfig *a, const VmConfig *b);

/* Any thread: the keys, NULL-terminated, in which a QEMU that was started with `running` differs from
 * `defined`; NULL: none. Keys that are none of QEMU's business are left out. The caller g_strfreev()s. */
char **vm_config_pending(const VmConfig *defined, const VmConfig *running);

/* Any thread: the whole definition, all defaults in, as DefineVM takes it. A floating reference. */
GVariant *vm_config_to_variant(const VmConfig *config);

/* Any thread: a copy with one thing changed. */
VmConfig *vm_config_with_autostart(const VmConfig *config, bool autostart);
VmConfig *vm_config_with_name(const VmConfig *config, const char *name);
VmConfig *vm_config_with_on_watchdog(const VmConfig *config, VmWatchdogAction action);
VmConfig *vm_config_with_on_reboot(const VmConfig *config, VmPolicy policy);

/* Any thread: whether the guest can tell that it panicked: it is asked for, or something is to be done then.
 */
bool vm_config_has_panic(const VmConfig *config);

/* Any thread: whether the name is one (1-64 letters, digits, `._-`, first a letter or digit, not of a UUID's
 * form). With *ret_complaint set when it is not. */
bool vm_name_is_valid(const char *name, char **ret_complaint);

/* Any thread: whether CPUModel can be this; "" can. */
bool vm_cpu_model_is_valid(const char *name);

/* Any thread: dashed or 32 hex digits, any case, to the dashed lower-case form (37 bytes). False: no UUID. */
bool vm_uuid_normalize(const char *text, char ret_uuid[static 37]);
