#include "qemu/image-header.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* qcow2, all big-endian. */
#define QCOW2_MAGIC             0x514649fb
#define QCOW2_V2_HEADER_SIZE    72
#define QCOW2_V3_HEADER_SIZE    104
#define QCOW2_CLUSTER_BITS_MIN  9
#define QCOW2_CLUSTER_BITS_MAX  21
#define QCOW2_BACKING_NAME_MAX  1023
#define QCOW2_INCOMPATIBLE_DATA (1ULL << 2)
#define QCOW2_EXTENSION_END     0
#define QCOW2_EXTENSION_FORMAT  0xe2792aca
#define QCOW2_FORMAT_NAME_MAX   15
#define QCOW2_HEADER_READ       (64U * 1024) /* it is in the first cluster; qemu-img puts all at its beginning */

typedef struct Header {
	uint8_t *data;
	size_t size; /* bytes there are, of the first cluster */
	uint32_t version, header_size;
} Header;

static uint32_t get32(const Header *header, size_t at)
{
	uint32_t value;

	memcpy(&value, header->data + at, sizeof value);
	return GUINT32_FROM_BE(value);
}

static uint64_t get64(const Header *header, size_t at)
{
	uint64_t value;

	memcpy(&value, header->data + at, sizeof value);
	return GUINT64_FROM_BE(value);
}

static int read_start(int fd, uint8_t *data, size_t max, size_t *ret_size)
{
	size_t size = 0;

	while (size < max) {
		ssize_t n = pread(fd, data + size, max - size, (off_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	*ret_size = size;
	return 0;
}

static int no_image(char **ret_complaint)
{
	*ret_complaint = g_strdup("is no qcow2 image");
	return -EBADMSG;
}

static int check_header(Header *header, char **ret_complaint)
{
	uint32_t cluster_bits;

	if (header->size < QCOW2_V2_HEADER_SIZE || get32(header, 0) != QCOW2_MAGIC)
		return no_image(ret_complaint);
	header->version = get32(header, 4);
	cluster_bits = get32(header, 20);
	if ((header->version != 2 && header->version != 3) || cluster_bits < QCOW2_CLUSTER_BITS_MIN ||
		cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return no_image(ret_complaint);
	header->size = MIN(header->size, (size_t)1 << cluster_bits);
	header->header_size = QCOW2_V2_HEADER_SIZE;
	if (header->version == 3) {
		if (header->size < QCOW2_V3_HEADER_SIZE)
			return no_image(ret_complaint);
		header->header_size = get32(header, 100);
		if (header->header_size < QCOW2_V3_HEADER_SIZE || header->header_size > header->size)
			return no_image(ret_complaint);
		if (get64(header, 72) & QCOW2_INCOMPATIBLE_DATA) {
			*ret_complaint = g_strdup("keeps its data in another file, which is not supported");
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

/* The name of the backing file's format; NULL: there is none. */
static char *find_format(const Header *header, size_t end)
{
	size_t at = header->header_size;

	while (at + 8 <= end) {
		uint32_t type = get32(header, at), size = get32(header, at + 4);

		at += 8;
		if (type == QCOW2_EXTENSION_END || size > end - at)
			return NULL;
		if (type == QCOW2_EXTENSION_FORMAT)
			return size <= QCOW2_FORMAT_NAME_MAX
				       ? g_strndup((const char *)header->data + at, size)
				       : NULL;
		at += (size + 7U) & ~7U;
	}
	return NULL;
}

/* A path, and no word of QEMU's for something else (json:..., nbd://...). */
static bool is_plain_path(const char *name)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

	for (const char *c = name; *c; c++)
		if (g_ascii_iscntrl(*c))
			return false;
	return *name != '\0' && (!colon || (slash && slash < colon)) && g_utf8_validate(name, -1, NULL);
}

static int read_backing(const Header *header, ImageBacking *ret, char **ret_complaint)
{
	uint64_t offset = get64(header, 8);
	uint32_t size = get32(header, 16);
	g_autofree char *name = NULL, *format = NULL;
	int word;

	if (offset == 0)
		return 0;
	if (size > QCOW2_BACKING_NAME_MAX || offset > header->size || size > header->size - offset)
		return no_image(ret_complaint);
	name = g_strndup((const char *)header->data + offset, size);
	if (!is_plain_path(name)) {
		*ret_complaint = g_strdup("is based on something that is no plain file");
		return -EOPNOTSUPP;
	}
	format = find_format(header, offset);
	word = format ? disk_format_from_string(format) : -EINVAL;
	if (word < 0) {
		/* Guessed, it could be chosen by whoever writes to that file. */
		*ret_complaint = g_strdup_printf(
			"does not say the format of the image that it is based on, or one that is not "
			"supported (qemu-img rebase -u -F would)");
		return -EOPNOTSUPP;
	}
	ret->path = g_steal_pointer(&name);
	ret->format = (DiskFormat)word;
	return 0;
}

int image_read_backing(int fd, DiskFormat format, ImageBacking *ret_backing, char **ret_complaint)
{
	g_autofree uint8_t *data = NULL;
	Header header = {0};
	int r;

	*ret_backing = (ImageBacking){0};
	if (format != DISK_FORMAT_QCOW2)
		return 0;
	data = g_malloc(QCOW2_HEADER_READ);
	r = read_start(fd, data, QCOW2_HEADER_READ, &header.size);
	if (r < 0) {
		*ret_complaint = g_strdup(g_strerror(-r));
		return r;
	}
	header.data = data;
	r = check_header(&header, ret_complaint);
	return r < 0 ? r : read_backing(&header, ret_backing, ret_complaint);
}
