/* qemu/image-header.c: what images say they are based on. */
#include "qemu/image-header.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fd.h"

#define CLUSTER_BITS 16

/* A header, version 3, of `size` bytes in all. */
typedef struct Image {
	uint8_t data[4096];
	size_t size;
} Image;

static void put32(Image *image, size_t at, uint32_t value)
{
	value = GUINT32_TO_BE(value);
	memcpy(image->data + at, &value, sizeof value);
}

static void put64(Image *image, size_t at, uint64_t value)
{
	value = GUINT64_TO_BE(value);
	memcpy(image->data + at, &value, sizeof value);
}

static Image make(const char *backing, const char *format)
{
	Image image = {.size = sizeof image.data};
	size_t at = 104;

	put32(&image, 0, 0x514649fb);
	put32(&image, 4, 3);
	put32(&image, 20, CLUSTER_BITS);
	put32(&image, 100, 104);
	if (format) {
		put32(&image, at, 0xe2792aca);
		put32(&image, at + 4, (uint32_t)strlen(format));
		memcpy(image.data + at + 8, format, strlen(format));
		at += 8 + ((strlen(format) + 7) & ~7UL);
	}
	at += 8;
	if (backing) {
		put64(&image, 8, at);
		put32(&image, 16, (uint32_t)strlen(backing));
		memcpy(image.data + at, backing, strlen(backing));
	}
	return image;
}

static int read_image(const Image *image, ImageBacking *ret, char **ret_complaint)
{
	autofd int fd = memfd_create("image", MFD_CLOEXEC);

	g_assert_cmpint(fd_write_all(fd, image->data, image->size), ==, 0);
	return image_read_backing(fd, DISK_FORMAT_QCOW2, ret, ret_complaint);
}

static void expect(const Image *image, int expected, const char *path, DiskFormat format)
{
	g_autofree char *complaint = NULL;
	g_auto(ImageBacking) backing = {0};
	int r = read_image(image, &backing, &complaint);

	g_assert_cmpint(r, ==, expected);
	g_assert_cmpstr(backing.path, ==, path);
	g_assert_true((complaint != NULL) == (expected < 0));
	if (path)
		g_assert_cmpint(backing.format, ==, format);
}

static void test_good(void)
{
	Image none = make(NULL, NULL), raw = make("/srv/base", "raw"), relative = make("base.qcow2", "qcow2"),
	      colon = make("/srv/a:b", "raw");

	expect(&none, 0, NULL, 0);
	expect(&raw, 0, "/srv/base", DISK_FORMAT_RAW);
	expect(&relative, 0, "base.qcow2", DISK_FORMAT_QCOW2);
	expect(&colon, 0, "/srv/a:b", DISK_FORMAT_RAW);
	/* A header alone is all that is read. */
	raw.size = 256;
	expect(&raw, 0, "/srv/base", DISK_FORMAT_RAW);
}

static void test_raw(void)
{
	autofd int fd = memfd_create("image", MFD_CLOEXEC);
	g_autofree char *complaint = NULL;
	g_auto(ImageBacking) backing = {0};

	/* Whatever is in it. */
	g_assert_cmpint(fd_write_all(fd, "QFI\xfb", 4), ==, 0);
	g_assert_cmpint(image_read_backing(fd, DISK_FORMAT_RAW, &backing, &complaint), ==, 0);
	g_assert_null(backing.path);
}

static void test_not_followed(void)
{
	static const struct {
		const char *path, *format;
	} rows[] = {
		{"/srv/base", NULL},
		{"/srv/base", "vmdk"},
		{"/srv/base", "a format with a long name"},
		{"json:{\"driver\":\"nbd\"}", "raw"},
		{"nbd://host/disk", "raw"},
		{"host_device:/dev/sda", "raw"},
		{"fat:rw:/etc", "raw"},
		{"/srv/a\nb", "raw"},
		{"\xff\xfe", "raw"},
	};
	Image image;

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		image = make(rows[i].path, rows[i].format);
		expect(&image, -EOPNOTSUPP, NULL, 0);
	}
	/* Its data is in another file. */
	image = make(NULL, NULL);
	put64(&image, 72, 1ULL << 2);
	expect(&image, -EOPNOTSUPP, NULL, 0);
}

static void test_damaged(void)
{
	static const struct {
		size_t at;
		uint32_t value;
	} rows[] = {
		{0, 0x12345678},                                    /* the magic */
		{4, 1}, {4, 4},                                     /* the version */
		{20, 8}, {20, 22}, {20, 0xffffffff},                /* the clusters' size */
		{100, 100}, {100, 0xffffffff},                      /* the header's size */
		{8, 1}, {8, 0xffffffff}, {12, 0x10000}, {12, 4090}, /* where the name is */
		{16, 1024}, {16, 0xffffffff},                       /* how long it is */
	};
	Image image;

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		image = make("/srv/base", "raw");
		put32(&image, rows[i].at, rows[i].value);
		expect(&image, -EBADMSG, NULL, 0);
	}
	/* Cut anywhere, it is refused or read: never read past its end. */
	for (size_t size = 0; size < 300; size++) {
		g_autofree char *complaint = NULL;
		g_auto(ImageBacking) backing = {0};

		image = make("/srv/base", "raw");
		image.size = size;
		read_image(&image, &backing, &complaint);
	}
	/* Extensions that lie about their size. */
	for (uint32_t size = 0; size < 5000; size += 7) {
		g_autofree char *complaint = NULL;
		g_auto(ImageBacking) backing = {0};

		image = make("/srv/base", "raw");
		put32(&image, 108, size);
		read_image(&image, &backing, &complaint);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/image-header/good", test_good);
	g_test_add_func("/image-header/raw", test_raw);
	g_test_add_func("/image-header/not-followed", test_not_followed);
	g_test_add_func("/image-header/damaged", test_damaged);
	return g_test_run();
}
