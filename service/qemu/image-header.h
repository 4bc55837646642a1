#pragma once
/*
 * What an image says of other images: the one that it is based on. QEMU would follow that by itself, with its
 * own rights; so it is read here, and QEMU is told.
 */
#include "store/config.h"

typedef struct ImageBacking {
	char *path; /* as the image has it, perhaps relative to its own folder; NULL: it is based on none */
	DiskFormat format;
} ImageBacking;

static inline void image_backing_clear(ImageBacking *backing)
{
	g_free(backing->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ImageBacking, image_backing_clear)

/* Any thread, no lock held: reads an open image. 0, or with *ret_complaint (the caller frees): -EBADMSG: no
 * image of this format; -EOPNOTSUPP: based on something that Roost does not follow (no local file, a format
 * that is not named, a data file of its own); or a negative errno of reading. Source: QEMU's
 * docs/interop/qcow2.txt. */
int image_read_backing(int fd, DiskFormat format, ImageBacking *ret_backing, char **ret_complaint);
