#pragma once
/* For probe.c and its test. */
#include "qemu/probe.h"
#include "store/config.h"

/* As qemu_probe_kvm(), with either accelerator: TCG proves the firmware where there is no KVM to prove.
 * Worker. */
bool qemu_probe_accelerator(const char *binary, VmAccelerator accelerator, uint64_t timeout_usec,
	int cancel_fd, bool *ret_conclusive, char **ret_why);
