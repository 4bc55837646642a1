#pragma once
/*
 * What of a definition a QEMU can carry out. Pure. One table says which words of QemuCapabilities each value
 * of a definition needs; tests compare it with the command lines that definitions give.
 */
#include "qemu/capabilities.h"
#include "store/config.h"

/* One thing that a definition needs of its QEMU. All borrowed. */
typedef struct QemuNeed {
	const char *key;   /* "NICs[1].Model" */
	const char *value; /* "e1000e"; NULL: the key is a yes or no */
	const char *word;  /* "type e1000e", "machine q35"... */
} QemuNeed;

/* Any thread: calls `func` for each. */
void qemu_needs_foreach(const VmConfig *config, void (*func)(const QemuNeed *need, void *user), void *user);

/* Any thread: calls `func` with a complaint for each key that this QEMU can't carry out:
 * "NICs[1].Model: 'e1000e' is not supported by this QEMU (7.2.22)". */
void qemu_check_support(const VmConfig *config, const QemuCapabilities *capabilities,
	void (*func)(const char *complaint, void *user), void *user);

/* Any thread: whether a definition may name it here. The host's own part (KVM, files of firmware) is not
 * looked at. */
bool qemu_supports_machine_type(const QemuCapabilities *capabilities, VmMachineType type);
bool qemu_supports_firmware(const QemuCapabilities *capabilities, VmFirmware firmware);
bool qemu_supports_display(const QemuCapabilities *capabilities, VmDisplay display);
bool qemu_supports_accelerator(const QemuCapabilities *capabilities, VmAccelerator accelerator);

/* Any thread: whether a CPU model is one to offer: not deprecated, complete as far as that is known under the
 * accelerator that VMs get (`kvm`: KVM), and a value that CPUModel can have. */
bool qemu_offers_cpu_model(const QemuCapabilities *capabilities, const QemuCpuModel *model, bool kvm);
