/*
 * Devices of a definition: what concerns more than one key of a device, or more than one device; and the
 * names and addresses of those that were given none. These are made once and stored, so a device keeps them
 * when others go.
 */
#include "store/config-keys.h"

#include <errno.h>
#include <string.h>

#define BIT(bus) (1U << DISK_BUS_##bus)

static const struct {
	DiskBus default_bus;
	unsigned buses; /* a bit for each */
} disk_devices[DISK_DEVICE_MAX] = {
	[DISK_DEVICE_DISK] = {DISK_BUS_VIRTIO,
		BIT(VIRTIO) | BIT(SATA) | BIT(NVME) | BIT(SCSI) | BIT(USB) | BIT(IDE)},
	[DISK_DEVICE_CDROM] = {DISK_BUS_IDE, BIT(IDE) | BIT(SATA) | BIT(SCSI) | BIT(USB)},
	[DISK_DEVICE_FLOPPY] = {DISK_BUS_FDC, BIT(FDC)},
};

/* Of disks and cdroms together. */
static const unsigned disk_bus_max[DISK_BUS_MAX] = {
	[DISK_BUS_VIRTIO] = VM_DISKS_MAX,
	[DISK_BUS_SATA] = VM_SATA_MAX,
	[DISK_BUS_NVME] = VM_DISKS_MAX,
	[DISK_BUS_SCSI] = VM_DISKS_MAX,
	[DISK_BUS_USB] = VM_USB_DISKS_MAX,
	[DISK_BUS_IDE] = VM_IDE_MAX,
	[DISK_BUS_FDC] = VM_FLOPPIES_MAX,
};

static char *const *element_name(const void *array, size_t element_size, unsigned index)
{
	return (char *const *)(const void *)((const char *)array + index * element_size);
}

static int check_name_is_new(
	const ConfigReader *reader, const char *list, const void *array, size_t element_size, unsigned index)
{
	const char *name = *element_name(array, element_size, index);

	for (unsigned i = 0; name && i < index; i++)
		if (g_strcmp0(*element_name(array, element_size, i), name) == 0)
			return config_reader_complain(
				reader, -EINVAL, "Name", "'%s' is already the name of %s[%u]", name, list, i);
	return 0;
}

static int check_disk_bus(const ConfigReader *reader, const VmConfig *config, unsigned index)
{
	DiskConfig *disk = &config->disks[index];
	const char *device = disk_device_to_string(disk->device);
	bool given = config_reader_given(reader, "Bus");
	const char *bus;
	unsigned n = 0;

	if (!given)
		disk->bus = disk_devices[disk->device].default_bus;
	bus = disk_bus_to_string(disk->bus);
	if (!(disk_devices[disk->device].buses & (1U << disk->bus)))
		return config_reader_complain(reader, -EINVAL, "Bus", "a %s can't be on '%s'", device, bus);
	for (unsigned i = 0; i <= index; i++)
		n += config->disks[i].bus == disk->bus;
	if (n > disk_bus_max[disk->bus])
		return config_reader_complain(reader, -EINVAL, given ? "Bus" : "Device",
			"at most %u devices are allowed on '%s'", disk_bus_max[disk->bus], bus);
	return 0;
}

static int check_disk_path(const ConfigReader *reader, DiskConfig *disk)
{
	if (disk->device == DISK_DEVICE_CDROM) {
		if (config_reader_given(reader, "ReadOnly") && !disk->read_only)
			return config_reader_complain(
				reader, -EINVAL, "ReadOnly", "a cdrom is always read-only");
		disk->read_only = true;
	}
	if (!disk->path && disk->device != DISK_DEVICE_DISK)
		disk->path = g_strdup("");
	if (!disk->path)
		return config_reader_complain(reader, -EINVAL, "Path", "is required for a disk");
	if (!*disk->path && disk->device == DISK_DEVICE_DISK)
		return config_reader_complain(reader, -EINVAL, "Path", "is empty, and a disk needs one");
	return 0;
}

static int check_disk_options(const ConfigReader *reader, const VmConfig *config, unsigned index)
{
	DiskConfig *disk = &config->disks[index];

	if (!disk->serial)
		disk->serial = g_strdup("");
	if (*disk->serial && disk->device == DISK_DEVICE_FLOPPY)
		return config_reader_complain(reader, -EINVAL, "Serial", "a floppy has none");
	/* ATA has no word for it. */
	if (disk->read_only && disk->device == DISK_DEVICE_DISK &&
		(disk->bus == DISK_BUS_IDE || disk->bus == DISK_BUS_SATA))
		return config_reader_complain(reader, -EINVAL, "ReadOnly",
			"a disk on '%s' can't be read-only", disk_bus_to_string(disk->bus));
	if (disk->size != 0 && (disk->device != DISK_DEVICE_DISK || disk->read_only))
		return config_reader_complain(reader, -EINVAL, "Size",
			"is for a disk that can be written to: what is made is empty");
	if (disk->discard && disk->read_only)
		return config_reader_complain(
			reader, -EINVAL, "Discard", "nothing is discarded on what is read-only");
	for (unsigned i = 0; disk->boot_index != 0 && i < index; i++)
		if (config->disks[i].boot_index == disk->boot_index)
			return config_reader_complain(reader, -EINVAL, "BootIndex",
				"%u is already that of Disks[%u]", disk->boot_index, i);
	return 0;
}

int config_disk_check(ConfigReader *reader, VmConfig *config, unsigned index)
{
	int r;

	r = check_name_is_new(reader, "Disks", config->disks, sizeof *config->disks, index);
	if (r < 0)
		return r;
	r = check_disk_bus(reader, config, index);
	if (r < 0)
		return r;
	r = check_disk_path(reader, &config->disks[index]);
	if (r < 0)
		return r;
	return check_disk_options(reader, config, index);
}

int config_nic_check(ConfigReader *reader, VmConfig *config, unsigned index)
{
	const NicConfig *nic = &config->nics[index];
	int r;

	r = check_name_is_new(reader, "NICs", config->nics, sizeof *nic, index);
	if (r < 0)
		return r;
	for (unsigned i = 0; nic->mac && i < index; i++)
		if (g_strcmp0(config->nics[i].mac, nic->mac) == 0)
			return config_reader_complain(reader, -EINVAL, "MAC",
				"'%s' is already the address of NICs[%u]", nic->mac, i);
	return 0;
}

int config_console_check(ConfigReader *reader, VmConfig *config, unsigned index)
{
	unsigned n_serials = 0;
	int r;

	r = check_name_is_new(reader, "Consoles", config->consoles, sizeof *config->consoles, index);
	if (r < 0)
		return r;
	for (unsigned i = 0; i <= index; i++)
		n_serials += config->consoles[i].type == CONSOLE_TYPE_SERIAL;
	if (n_serials > VM_SERIALS_MAX)
		return config_reader_complain(
			reader, -EINVAL, "Type", "at most %d serial consoles are allowed", VM_SERIALS_MAX);
	return 0;
}

const char *config_disk_prefix(const void *element)
{
	return disk_device_to_string(((const DiskConfig *)element)->device);
}

const char *config_nic_prefix(const void *element)
{
	return "nic";
}

const char *config_console_prefix(const void *element)
{
	return "console";
}

void config_list_name_rest(const ConfigList *list, VmConfig *config)
{
	char *array = config_list_array(list, config);
	unsigned n = config_list_count(list, config);
	g_autoptr(GHashTable) taken = g_hash_table_new(g_str_hash, g_str_equal);

	for (unsigned i = 0; i < n; i++) {
		char *name = *element_name(array, list->element_size, i);

		if (name)
			g_hash_table_add(taken, name);
	}
	for (unsigned i = 0; i < n; i++) {
		char **name = (char **)(void *)(array + i * list->element_size);

		for (unsigned number = 0; !*name; number++) {
			*name = g_strdup_printf("%s%u", list->prefix(name), number);
			if (g_hash_table_contains(taken, *name))
				g_clear_pointer(name, g_free);
		}
		g_hash_table_add(taken, *name);
	}
}

static bool mac_is_taken(const VmConfig *config, const char *mac)
{
	for (unsigned i = 0; i < config->n_nics; i++)
		if (g_strcmp0(config->nics[i].mac, mac) == 0)
			return true;
	return false;
}

/* 52:54:00 is the prefix that QEMU uses; the other half is drawn from the VM's UUID and the NIC's name, so
 * that it is stable. Two of a VM that meet by chance: the later one draws again. */
void config_nics_address_rest(VmConfig *config)
{
	for (unsigned i = 0; i < config->n_nics; i++) {
		NicConfig *nic = &config->nics[i];

		for (unsigned draw = 0; !nic->mac; draw++) {
			g_autofree char *seed = g_strdup_printf("%s/%s/%u", config->uuid, nic->name, draw);
			g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);
			g_autofree char *mac =
				g_strdup_printf("52:54:00:%.2s:%.2s:%.2s", digest, digest + 2, digest + 4);

			if (!mac_is_taken(config, mac))
				nic->mac = g_steal_pointer(&mac);
		}
	}
}
