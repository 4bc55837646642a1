#pragma once
/*
 * What this host's QEMU is and can do, asked by starting it. All functions: worker, no lock held; they take
 * up to timeout_usec, end what they started, and give up at once when cancel_fd (or -1) is readable.
 */
#include "qemu/capabilities.h"

/* Starts a QEMU without a machine and has it say what it can do. 0, or a negative errno with *ret_complaint
 * ("/usr/bin/qemu...: No such file or directory"; the caller frees). */
int qemu_probe_capabilities(const char *binary, uint64_t timeout_usec, int cancel_fd, QemuCapabilities **ret,
	char **ret_complaint);

/* Whether a vCPU really runs under KVM here: a QEMU with -accel kvm is given a firmware of a few bytes that
 * writes to the debug-exit port, and must end by that within the time. /dev/kvm alone proves nothing (nested
 * hosts, sandboxes). True, or false with *ret_why. *ret_conclusive: another try would come to the same; not
 * so when QEMU could not be started, or had too little of the host's time. */
bool qemu_probe_kvm(
	const char *binary, uint64_t timeout_usec, int cancel_fd, bool *ret_conclusive, char **ret_why);
