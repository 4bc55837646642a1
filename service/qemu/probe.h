#pragma once
/*
 * What this host's QEMU is and can do, asked by starting it. All functions: worker, no lock held; they take
 * up to timeout_usec, end what they started, and are cancelled by nothing.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* `qemu --version`: "7.2.22". 0, or a negative errno with *ret_complaint ("/usr/bin/qemu...: No such file or
 * directory"). */
int qemu_probe_version(const char *binary, uint64_t timeout_usec, char **ret_version, char **ret_complaint);

/* Whether a vCPU really runs under KVM here: a QEMU with -accel kvm is given a firmware of a few bytes that
 * writes to the debug-exit port, and must end by that within the time. /dev/kvm alone proves nothing (nested
 * hosts, sandboxes). True, or false with *ret_why. */
bool qemu_probe_kvm(const char *binary, uint64_t timeout_usec, char **ret_why);
