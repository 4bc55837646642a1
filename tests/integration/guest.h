#pragma once
/*
 * The small Linux of tests/guest as a guest on real QEMU. It is made when a test first asks for it: by
 * make-guest, which downloads what it needs once and says what is wrong when it can't; that fails the test.
 */
#include "terminal.h"

#define GUEST_UP "roost-guest: up"

/* A fixture with real QEMU and memory for the guest; the files are there. */
Fixture *guest_fixture(unsigned memory_mib);
/* The folder with vmlinuz and initrd.img. */
const char *guest_dir(void);
/* Defines a VM that starts this kernel, with a serial and a virtio console (ttyS0, hvc0), and what the kernel
 * is told (NULL: nothing more); `more` as in fixture_define(). */
char *guest_define(Fixture *fixture, const char *name, const char *words, const char *more);
