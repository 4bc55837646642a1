#include "vm/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "qemu/image-header.h"
#include "util/fd.h"
#include "util/text.h"

#define CHAIN_MAX 32U /* images of one disk */

void disk_images_clear(DiskImages *images)
{
	for (unsigned i = 0; i < images->n_layers; i++)
		fd_close(&images->layers[i].fd);
	g_clear_pointer(&images->layers, g_free);
	g_clear_pointer(&images->claims, g_free);
	images->n_layers = 0;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DiskImages, disk_images_clear)

/* Where in the definition, and in the chain, a problem is. */
typedef struct Place {
	unsigned disk, layer;
	const char *top, *path;
} Place;

G_GNUC_PRINTF(4, 5)
static bool fail(GError **error, const Place *place, VmError code, const char *format, ...)
{
	g_autofree char *top = text_path(place->top), *path = text_path(place->path), *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	if (place->layer == 0)
		g_set_error(error, VM_ERROR, code, "Disks[%u].Path: %s: %s", place->disk, path, text);
	else
		g_set_error(error, VM_ERROR, code, "Disks[%u].Path: %s: %s, which it is based on: %s",
			place->disk, top, path, text);
	return false;
}

/* Such a path is another file for each process. */
static bool is_own_view(const char *path)
{
	g_autofree char *canonical = g_canonicalize_filename(path, "/");

	return g_str_has_prefix(canonical, "/proc/") || g_str_has_prefix(canonical, "/dev/fd/") ||
	       g_str_has_prefix(canonical, "/dev/std");
}

/* Opens one image as the last of the chain. */
static bool add_layer(
	Rights *rights, const Place *place, DiskFormat format, bool write, DiskImages *images, GError **error)
{
	autofd int fd = -1;
	struct stat st;
	Claim *claim;

	if (is_own_view(place->path))
		return fail(error, place, VM_ERROR_STORAGE_FAILED, "is another file for each process");
	fd = rights_open(rights, place->path, write ? O_RDWR : O_RDONLY);
	if (fd == -EISDIR || fd == -ENOTBLK)
		return fail(error, place, VM_ERROR_STORAGE_FAILED, "is neither a file nor a block device");
	if (fd < 0)
		return fail(error, place, VM_ERROR_STORAGE_FAILED, "%s", g_strerror(-fd));
	if (fstat(fd, &st) < 0)
		return fail(error, place, VM_ERROR_STORAGE_FAILED, "%s", g_strerror(errno));
	images->layers = g_renew(QemuLayer, images->layers, images->n_layers + 1);
	images->claims = g_renew(Claim, images->claims, images->n_layers + 1);
	images->layers[images->n_layers] =
		(QemuLayer){.fd = g_steal_fd(&fd), .format = format, .is_block_device = S_ISBLK(st.st_mode)};
	claim = &images->claims[images->n_layers++];
	/* A block device is known by its number: several nodes may lead to it. */
	*claim = (Claim){.device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev,
		.inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino,
		.write = write};
	for (unsigned i = 0; i < images->n_layers - 1; i++)
		if (images->claims[i].device == claim->device && images->claims[i].inode == claim->inode)
			return fail(error, place, VM_ERROR_STORAGE_FAILED, "is based on itself");
	return true;
}

static bool read_backing(const Place *place, const QemuLayer *layer, ImageBacking *ret, GError **error)
{
	g_autofree char *complaint = NULL;
	int r = image_read_backing(layer->fd, layer->format, ret, &complaint);

	return r >= 0 ||
	       fail(error, place, r == -EOPNOTSUPP ? VM_ERROR_NOT_SUPPORTED : VM_ERROR_STORAGE_FAILED, "%s",
		       complaint);
}

bool vm_disks_open(
	Rights *rights, const VmConfig *config, unsigned index, DiskImages *ret_images, GError **error)
{
	const DiskConfig *disk = &config->disks[index];
	g_autofree char *path = g_strdup(disk->path);
	g_auto(DiskImages) images = {0};
	DiskFormat format = disk->format;

	for (;;) {
		g_auto(ImageBacking) backing = {0};
		g_autofree char *folder = NULL;
		Place place = {.disk = index, .layer = images.n_layers, .top = disk->path, .path = path};

		if (images.n_layers == CHAIN_MAX)
			return fail(error, &place, VM_ERROR_NOT_SUPPORTED,
				"is the image number %u of a chain, at most %u are allowed", CHAIN_MAX + 1,
				CHAIN_MAX);
		if (!add_layer(rights, &place, format, images.n_layers == 0 && !disk->read_only, &images,
			    error) ||
			!read_backing(&place, &images.layers[images.n_layers - 1], &backing, error))
			return false;
		if (!backing.path)
			break;
		folder = g_path_get_dirname(path);
		g_free(path);
		path = *backing.path == '/' ? g_steal_pointer(&backing.path)
					    : g_build_filename(folder, backing.path, NULL);
		format = backing.format;
	}
	*ret_images = images;
	images = (DiskImages){0};
	return true;
}

/* ---- claims ---- */
/* Of all images of all disks. */
typedef struct Wanted {
	Claim *claims;
	unsigned *disk_of, *layer_of;
	unsigned n;
} Wanted;

static void wanted_clear(Wanted *wanted)
{
	g_free(wanted->claims);
	g_free(wanted->disk_of);
	g_free(wanted->layer_of);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wanted, wanted_clear)

static Wanted collect(const VmConfig *config, const DiskImages *images)
{
	Wanted wanted = {0};
	unsigned n = 0;

	for (unsigned i = 0; i < config->n_disks; i++)
		n += images[i].n_layers;
	wanted.claims = g_new0(Claim, n + 1);
	wanted.disk_of = g_new0(unsigned, n + 1);
	wanted.layer_of = g_new0(unsigned, n + 1);
	for (unsigned i = 0; i < config->n_disks; i++)
		for (unsigned k = 0; k < images[i].n_layers; k++) {
			wanted.disk_of[wanted.n] = i;
			wanted.layer_of[wanted.n] = k;
			wanted.claims[wanted.n++] = images[i].claims[k];
		}
	return wanted;
}

static bool check_number(const Wanted *wanted, GError **error)
{
	if (wanted->n <= VM_CLAIMS_MAX)
		return true;
	g_set_error(error, VM_ERROR, VM_ERROR_NOT_SUPPORTED,
		"Disks: have %u images, those that others are based on counted; at most %u are allowed",
		wanted->n, VM_CLAIMS_MAX);
	return false;
}

static void set_conflict(
	const VmConfig *config, const Wanted *wanted, unsigned index, const char *holder, GError **error)
{
	unsigned disk = wanted->disk_of[index];
	const char *what = wanted->layer_of[index] == 0 ? "is" : "an image that it is based on is";
	g_autofree char *shown = text_path(config->disks[disk].path);
	g_autofree char *whose = holder[0] == '\0' ? g_strdup("the image of another disk of this VM, too")
						   : g_strdup_printf("in use by the VM '%s'", holder);

	g_set_error(error, VM_ERROR, VM_ERROR_STORAGE_FAILED, "Disks[%u].Path: %s: %s %s", disk, shown, what,
		whose);
}

bool vm_disks_claim(Vm *vm, const VmConfig *config, const DiskImages *images, uint64_t owner, GError **error)
{
	g_auto(Wanted) wanted = collect(config, images);
	g_autofree char *holder = NULL;
	unsigned index;

	if (!check_number(&wanted, error))
		return false;
	if (claims_take(vm->engine->claims, owner, config->name, wanted.claims, wanted.n, &index, &holder) ==
		0)
		return true;
	set_conflict(config, &wanted, index, holder, error);
	return false;
}

bool vm_disks_are_free(Engine *engine, const VmConfig *config, const DiskImages *images, GError **error)
{
	g_auto(Wanted) wanted = collect(config, images);
	g_autofree char *holder = NULL;
	unsigned index;

	if (!check_number(&wanted, error))
		return false;
	if (claims_look(engine->claims, wanted.claims, wanted.n, &index, &holder) == 0)
		return true;
	set_conflict(config, &wanted, index, holder, error);
	return false;
}
