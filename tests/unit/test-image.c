/* Images made by qemu-img, seen by their bytes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/image.h"
#include "util/clock.h"
#include "util/fd.h"

#define TIMEOUT_USEC (60 * USEC_PER_SEC)

static bool has_qemu_img(void)
{
	if (access(qemu_image_tool(), X_OK) == 0)
		return true;
	g_test_skip("there is no qemu-img");
	return false;
}

static void test_formats(void)
{
	autofd int raw = memfd_create("raw", MFD_CLOEXEC), qcow2 = memfd_create("qcow2", MFD_CLOEXEC);
	g_autofree char *complaint = NULL;
	uint8_t header[32];
	struct stat st;

	if (!has_qemu_img())
		return;
	g_assert_cmpint(qemu_image_create(raw, DISK_FORMAT_RAW, 1 << 20, TIMEOUT_USEC, &complaint), ==, 0);
	g_assert_cmpint(fstat(raw, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 1 << 20);
	g_assert_cmpint(
		qemu_image_create(qcow2, DISK_FORMAT_QCOW2, 64ULL << 40, TIMEOUT_USEC, &complaint), ==, 0);
	g_assert_cmpint(pread(qcow2, header, sizeof header, 0), ==, sizeof header);
	g_assert_cmpint(memcmp(header, "QFI\xfb", 4), ==, 0);
	/* The size, big-endian. */
	g_assert_cmpint(memcmp(header + 24, (uint8_t[]){0, 0, 0x40, 0, 0, 0, 0, 0}, 8), ==, 0);
	g_assert_null(complaint);
}

static void test_failure(void)
{
	autofd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	g_autofree char *complaint = NULL;

	if (!has_qemu_img())
		return;
	g_assert_cmpint(qemu_image_create(fd, DISK_FORMAT_RAW, 1 << 20, TIMEOUT_USEC, &complaint), ==, -EIO);
	g_assert_true(g_str_has_prefix(complaint, "qemu-img exited with code 1: qemu-img: /dev/fd/"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/image/formats", test_formats);
	g_test_add_func("/image/failure", test_failure);
	return g_test_run();
}
