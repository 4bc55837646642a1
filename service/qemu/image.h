#pragma once
/* Disk images, made by qemu-img in a child process. */
#include <stdint.h>

#include "store/config.h"

/* Any thread: the program that makes them. */
const char *qemu_image_tool(void);

/* Any thread, no lock held; blocks up to the timeout and a second: makes an open, empty file an empty image
 * of `size` bytes; the file, not what its path leads to by then. 0, or with *ret_complaint (the caller
 * frees): -ETIMEDOUT, -EIO, or why qemu-img can't be run (-ENOENT: it is not there). */
int qemu_image_create(int fd, DiskFormat format, uint64_t size, uint64_t timeout_usec, char **ret_complaint);
