#pragma once
/*
 * Inside the command line: what its parts are added with. command-line.c tells where devices have their
 * places.
 */
#include "qemu/command-line.h"

typedef enum PciKind {
	PCI_KIND_DISPLAY,
	PCI_KIND_CONSOLES,
	PCI_KIND_RNG,
	PCI_KIND_WATCHDOG,
	PCI_KIND_SCSI,
	PCI_KIND_USB,
	PCI_KIND_DISK,
	PCI_KIND_NIC,
	PCI_KIND_NVME,
	PCI_KIND_SATA,
	PCI_KIND_MAX
} PciKind;

typedef struct QemuMachine {
	const char *machine;
	const char *pci_bus;
	bool has_pcie;
	bool has_fdc;
	unsigned units_per_ide_bus;
} QemuMachine;
extern const QemuMachine qemu_machines[VM_MACHINE_TYPE_MAX];

typedef struct Builder {
	const QemuCommandLine *spec;
	const VmConfig *config;
	GPtrArray *words;
	unsigned n_pci[PCI_KIND_MAX];
	unsigned n_on_bus[DISK_BUS_MAX]; /* disks added so far */
	unsigned n_serials, n_ports, n_fd_sets;
	bool has_ports; /* their controller */
} Builder;

void builder_add_word(Builder *b, const char *word);

/* `flag head,key=value,...`: pairs of strings up to a NULL key; a pair without a value is left out, as is a
 * NULL head. */
void builder_add_option(Builder *b, const char *flag, const char *head, ...) G_GNUC_NULL_TERMINATED;

/* Gives QEMU an inherited fd as a set of one; the name under which it can be opened. The caller frees. */
char *builder_add_fd(Builder *b, int fd);

/* The place of a PCI device, strings that live as long as this. */
typedef struct PciAddress {
	char *bus;
	char *addr;
	const char *multifunction;
} PciAddress;

static inline void pci_address_clear(PciAddress *address)
{
	g_free(address->bus);
	g_free(address->addr);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PciAddress, pci_address_clear)

/* Gives the next device of its kind its place, and puts the root port there on machines where it needs one.
 */
PciAddress builder_take_pci(Builder *b, PciKind kind);

static inline const char *qemu_on_or_null(bool on)
{
	return on ? "on" : NULL;
}

static inline char *qemu_id_for(const char *prefix, const char *name)
{
	return g_strdup_printf("%s-%s", prefix, name);
}

/* command-line-disks.c: the disks, and the controllers that they need. */
void builder_add_disks(Builder *b);
