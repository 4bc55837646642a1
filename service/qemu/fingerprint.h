#pragma once
/*
 * Of what a finding is true: short texts that change when the binary, the host, or what KVM is here does, and
 * stay the same otherwise. All functions: any thread, no lock held; they look at files, and may hang where
 * the binary's storage does.
 */

/* The QEMU at this path. 0, or a negative errno: it can't be run. The caller frees. */
int qemu_binary_fingerprint(const char *binary, char **ret_text);

/* The kernel, and the processor as it shows itself. The caller frees. */
char *qemu_host_fingerprint(void);

/* The boot, /dev/kvm, and the parameters of KVM's modules. The caller frees. */
char *qemu_kvm_fingerprint(void);
