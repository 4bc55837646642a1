/*
 * The command line's disks.
 *
 * Each image has two block nodes, the file (an inherited fd) and what its format makes of it; a disk has an
 * image, those that it is based on below it, and a device on its bus. A bus of Roost's own making (scsi, usb,
 * sata) gets its controller with its first disk; ide and fdc are the machine's. A disk's place on its bus is
 * its index among those on that bus.
 */
#include "qemu/command-line-private.h"

char *qemu_disk_device_id(const char *disk_name)
{
	return qemu_id_for("disk", disk_name);
}

char *qemu_disk_node_name(const char *disk_name)
{
	return qemu_id_for("format", disk_name);
}

/* QEMU's words: past the host's cache; and what the guest asks to have flushed is not. */
static const struct {
	const char *direct, *no_flush;
} caches[DISK_CACHE_MAX] = {
	[DISK_CACHE_WRITEBACK] = {NULL, NULL},
	[DISK_CACHE_NONE] = {"on", NULL},
	[DISK_CACHE_UNSAFE] = {NULL, "on"},
};

/* Of layer `layer`: the two nodes of the disk's own image have the longer names. */
static char *file_node(const DiskConfig *disk, unsigned layer)
{
	return layer == 0 ? qemu_id_for("file", disk->name) : g_strdup_printf("f%u-%s", layer, disk->name);
}

static char *format_node(const DiskConfig *disk, unsigned layer)
{
	return layer == 0 ? qemu_disk_node_name(disk->name) : g_strdup_printf("q%u-%s", layer, disk->name);
}

static void add_file_node(Builder *b, const DiskConfig *disk, unsigned layer, const QemuLayer *image)
{
	g_autofree char *node = file_node(disk, layer), *file = builder_add_fd(b, image->fd);

	builder_add_option(b, "-blockdev", NULL, "driver", image->is_block_device ? "host_device" : "file",
		"node-name", node, "read-only", qemu_on_or_null(layer > 0 || disk->read_only), "cache.direct",
		caches[disk->cache].direct, "cache.no-flush", caches[disk->cache].no_flush, "discard",
		disk->discard ? "unmap" : NULL, "filename", file, NULL);
}

/* As JSON, which alone can say that there is no backing image: an image that is exchanged for another one
 * meanwhile must not lead QEMU anywhere. Names need no escapes. */
static void add_qcow2_node(Builder *b, const DiskConfig *disk, unsigned layer, bool is_last)
{
	g_autofree char *node = format_node(disk, layer), *file = file_node(disk, layer),
			*below = is_last ? NULL : format_node(disk, layer + 1);
	g_autoptr(GString) json = g_string_new(NULL);

	g_string_append_printf(
		json, "{\"driver\":\"qcow2\",\"node-name\":\"%s\",\"file\":\"%s\"", node, file);
	if (below)
		g_string_append_printf(json, ",\"backing\":\"%s\"", below);
	else
		g_string_append(json, ",\"backing\":null");
	if (layer > 0 || disk->read_only)
		g_string_append(json, ",\"read-only\":true");
	if (caches[disk->cache].direct)
		g_string_append(json, ",\"cache\":{\"direct\":true}");
	if (caches[disk->cache].no_flush)
		g_string_append(json, ",\"cache\":{\"no-flush\":true}");
	if (disk->discard)
		g_string_append(json, ",\"discard\":\"unmap\"");
	g_string_append_c(json, '}');
	builder_add_word(b, "-blockdev");
	builder_add_word(b, json->str);
}

static void add_raw_node(Builder *b, const DiskConfig *disk, unsigned layer)
{
	g_autofree char *node = format_node(disk, layer), *file = file_node(disk, layer);

	builder_add_option(b, "-blockdev", NULL, "driver", "raw", "node-name", node, "read-only",
		qemu_on_or_null(layer > 0 || disk->read_only), "cache.direct", caches[disk->cache].direct,
		"cache.no-flush", caches[disk->cache].no_flush, "discard", disk->discard ? "unmap" : NULL,
		"file", file, NULL);
}

/* From the lowest up: a node can only name what is there. */
static void add_medium(Builder *b, const DiskConfig *disk, const QemuDisk *images)
{
	for (unsigned layer = images->n_layers; layer-- > 0;) {
		add_file_node(b, disk, layer, &images->layers[layer]);
		if (images->layers[layer].format == DISK_FORMAT_QCOW2)
			add_qcow2_node(b, disk, layer, layer == images->n_layers - 1);
		else
			add_raw_node(b, disk, layer);
	}
}

typedef struct DiskWords {
	const DiskConfig *disk;
	unsigned index; /* on its bus */
	const char *id;
	const char *node;       /* NULL: no medium */
	const char *boot_index; /* from 1: 0 is the kernel's, when one is given */
	const char *serial;     /* NULL: none */
} DiskWords;

static void add_virtio_disk(Builder *b, const DiskWords *words)
{
	g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_DISK);

	builder_add_option(b, "-device", "virtio-blk-pci", "id", words->id, "drive", words->node, "bus",
		pci.bus, "addr", pci.addr, "multifunction", pci.multifunction, "serial", words->serial,
		"bootindex", words->boot_index, NULL);
}

static void add_nvme_disk(Builder *b, const DiskWords *words)
{
	g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_NVME);

	/* NVMe can't do without a serial number. */
	builder_add_option(b, "-device", "nvme", "id", words->id, "drive", words->node, "bus", pci.bus,
		"addr", pci.addr, "multifunction", pci.multifunction, "serial",
		words->serial ? words->serial : words->disk->name, "bootindex", words->boot_index, NULL);
}

static void add_on_ide_bus(Builder *b, const DiskWords *words, const char *bus, const char *unit)
{
	const char *model = words->disk->device == DISK_DEVICE_CDROM ? "ide-cd" : "ide-hd";

	builder_add_option(b, "-device", model, "id", words->id, "drive", words->node, "bus", bus, "unit",
		unit, "serial", words->serial, "bootindex", words->boot_index, NULL);
}

static void add_ide_disk(Builder *b, const DiskWords *words)
{
	unsigned units = qemu_machines[b->config->machine_type].units_per_ide_bus;
	g_autofree char *bus = g_strdup_printf("ide.%u", words->index / units);
	g_autofree char *unit = g_strdup_printf("%u", words->index % units);

	add_on_ide_bus(b, words, bus, unit);
}

static void add_sata_disk(Builder *b, const DiskWords *words)
{
	g_autofree char *bus = g_strdup_printf("sata.%u", words->index);

	if (words->index == 0) {
		g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_SATA);

		builder_add_option(
			b, "-device", "ich9-ahci", "id", "sata", "bus", pci.bus, "addr", pci.addr, NULL);
	}
	add_on_ide_bus(b, words, bus, "0");
}

static void add_on_scsi_bus(Builder *b, const DiskWords *words, const char *bus, const char *scsi_id)
{
	const char *model = words->disk->device == DISK_DEVICE_CDROM ? "scsi-cd" : "scsi-hd";

	builder_add_option(b, "-device", model, "id", words->id, "drive", words->node, "bus", bus, "scsi-id",
		scsi_id, "lun", "0", "serial", words->serial, "bootindex", words->boot_index, NULL);
}

static void add_scsi_disk(Builder *b, const DiskWords *words)
{
	g_autofree char *scsi_id = g_strdup_printf("%u", words->index);

	if (words->index == 0) {
		g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_SCSI);

		builder_add_option(b, "-device", "virtio-scsi-pci", "id", "scsi", "bus", pci.bus, "addr",
			pci.addr, NULL);
	}
	add_on_scsi_bus(b, words, "scsi.0", scsi_id);
}

/* A USB stick is a bridge to SCSI, and the disk behind it. */
static void add_usb_disk(Builder *b, const DiskWords *words)
{
	g_autofree char *bridge = qemu_id_for("usb", words->disk->name);
	g_autofree char *bus = g_strdup_printf("%s.0", bridge);
	g_autofree char *port = g_strdup_printf("%u", words->index + 1);

	if (words->index == 0) {
		g_auto(PciAddress) pci = builder_take_pci(b, PCI_KIND_USB);
		g_autofree char *n_ports = g_strdup_printf("%u", VM_USB_DISKS_MAX);

		builder_add_option(b, "-device", "qemu-xhci", "id", "usb", "bus", pci.bus, "addr", pci.addr,
			"p2", n_ports, "p3", n_ports, NULL);
	}
	builder_add_option(b, "-device", "usb-bot", "id", bridge, "bus", "usb.0", "port", port, NULL);
	add_on_scsi_bus(b, words, bus, "0");
}

static void add_floppy(Builder *b, const DiskWords *words)
{
	g_autofree char *unit = g_strdup_printf("%u", words->index);
	g_autofree char *boot_property = g_strdup_printf("isa-fdc.bootindex%c", (char)('A' + words->index));

	/* The drives of a floppy controller have no boot index, the controller has one for each. */
	builder_add_option(b, "-global", NULL, boot_property, words->boot_index, NULL);
	if (words->index == 0 && !qemu_machines[b->config->machine_type].has_fdc)
		builder_add_option(b, "-device", "isa-fdc", "id", "fdc", NULL);
	builder_add_option(b, "-device", "floppy", "id", words->id, "drive", words->node, "unit", unit, NULL);
}

static void (*const disk_adders[DISK_BUS_MAX])(Builder *b, const DiskWords *words) = {
	[DISK_BUS_VIRTIO] = add_virtio_disk,
	[DISK_BUS_SATA] = add_sata_disk,
	[DISK_BUS_NVME] = add_nvme_disk,
	[DISK_BUS_SCSI] = add_scsi_disk,
	[DISK_BUS_USB] = add_usb_disk,
	[DISK_BUS_IDE] = add_ide_disk,
	[DISK_BUS_FDC] = add_floppy,
};

/* First those with a BootIndex, then the others in the order of the list. */
static bool boots_before(const DiskConfig *a, const DiskConfig *b)
{
	if (a->boot_index != 0 && b->boot_index != 0)
		return a->boot_index < b->boot_index;
	return a->boot_index == b->boot_index ? a < b : a->boot_index != 0;
}

static unsigned boot_rank(const VmConfig *config, const DiskConfig *disk)
{
	unsigned rank = 1;

	for (unsigned i = 0; i < config->n_disks; i++)
		rank += boots_before(&config->disks[i], disk);
	return rank;
}

static void add_disk(Builder *b, unsigned index)
{
	const DiskConfig *disk = &b->config->disks[index];
	g_autofree char *id = qemu_disk_device_id(disk->name);
	g_autofree char *node = qemu_disk_node_name(disk->name);
	g_autofree char *boot_index = g_strdup_printf("%u", boot_rank(b->config, disk));
	const QemuDisk *images = &b->spec->disks[index];
	DiskWords words = {
		.disk = disk,
		.index = b->n_on_bus[disk->bus]++,
		.id = id,
		.node = images->n_layers > 0 ? node : NULL,
		.boot_index = boot_index,
		.serial = disk->serial && *disk->serial ? disk->serial : NULL,
	};

	add_medium(b, disk, images);
	disk_adders[disk->bus](b, &words);
}

void builder_add_disks(Builder *b)
{
	for (unsigned i = 0; i < b->config->n_disks; i++)
		add_disk(b, i);
}
