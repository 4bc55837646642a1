#include "qemu/image.h"

#include <errno.h>

#include "qemu/run.h"

const char *qemu_image_tool(void)
{
	return ROOST_QEMU_IMG;
}

int qemu_image_create(int fd, DiskFormat format, uint64_t size, uint64_t timeout_usec, char **ret_complaint)
{
	g_autofree char *path = g_strdup_printf("/dev/fd/%d", fd);
	g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);
	const char *const argv[] = {
		ROOST_QEMU_IMG, "create", "-q", "-f", disk_format_to_string(format), path, bytes, NULL};
	g_auto(QemuRun) run = {0};
	g_autofree char *end = NULL;
	int r;

	r = qemu_run((char **)argv, &fd, 1, timeout_usec, &run);
	if (r < 0) {
		*ret_complaint = g_strdup_printf("%s: %s", ROOST_QEMU_IMG, g_strerror(-r));
		return r;
	}
	if (!run.timed_out && run.code == 0 && run.signal == 0)
		return 0;
	end = qemu_run_describe(&run, timeout_usec);
	*ret_complaint = g_strdup_printf("qemu-img %s", end);
	return run.timed_out ? -ETIMEDOUT : -EIO;
}
