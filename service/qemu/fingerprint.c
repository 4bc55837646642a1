#include "qemu/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/fd.h"

/* Where Debian's QEMU finds the parts of it that are packages of their own. */
#define MODULES_FOLDER "/usr/lib/x86_64-linux-gnu/qemu"
#define HEAD_MAX       (16 * 1024)
#define PARAMETERS_MAX 256

static void append_times(GString *text, const struct stat *st)
{
	g_string_append_printf(text, " %" G_GINT64_FORMAT ".%09ld %" G_GINT64_FORMAT ".%09ld",
		(gint64)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (gint64)st->st_ctim.tv_sec,
		st->st_ctim.tv_nsec);
}

int qemu_binary_fingerprint(const char *binary, char **ret_text)
{
	GString *text;
	struct stat st, modules;

	if (stat(binary, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (access(binary, X_OK) < 0)
		return -errno;
	text = g_string_new(binary);
	g_string_append_printf(text, " %u:%u %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT, major(st.st_dev),
		minor(st.st_dev), (guint64)st.st_ino, (gint64)st.st_size);
	append_times(text, &st);
	if (stat(MODULES_FOLDER, &modules) == 0)
		append_times(text, &modules);
	*ret_text = g_string_free(text, FALSE);
	return 0;
}

/* The beginning of a file of the kernel's, which tells no size; "" when there is none. */
static char *read_head(int dir_fd, const char *name)
{
	autofd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text = g_malloc(HEAD_MAX);
	size_t size = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && size < HEAD_MAX - 1) {
		n = read(fd, text + size, HEAD_MAX - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	text[size] = '\0';
	return text;
}

/* Of the first processor, without what is another number at each look. */
static char *describe_processor(void)
{
	static const char *const keys[] = {"vendor_id", "cpu family", "model", "model name", "stepping",
		"microcode", "flags", "vmx flags"};
	g_autofree char *head = read_head(AT_FDCWD, "/proc/cpuinfo");
	g_auto(GStrv) lines = g_strsplit(head, "\n", -1);
	GString *text = g_string_new(NULL);

	for (char **line = lines; *line && **line; line++) {
		const char *colon = strchr(*line, ':');
		g_autofree char *key = colon ? g_strchomp(g_strndup(*line, (size_t)(colon - *line))) : NULL;

		for (unsigned i = 0; key && i < G_N_ELEMENTS(keys); i++)
			if (g_str_equal(key, keys[i]))
				g_string_append_printf(text, "%s\n", *line);
	}
	return g_string_free(text, FALSE);
}

char *qemu_host_fingerprint(void)
{
	g_autofree char *processor = describe_processor();
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, processor, -1);
	struct utsname names = {{0}};

	uname(&names);
	return g_strdup_printf("%s %s %s", names.release, names.machine, sum);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What /sys/module/MODULE/parameters says, in the order of names. */
static void append_parameters(GString *text, const char *module)
{
	g_autofree char *path = g_strdup_printf("/sys/module/%s/parameters", module);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *name;

	g_string_append_printf(text, "%s%s\n", module, fd < 0 ? " is not there" : "");
	while (dir && fd >= 0 && names->len < PARAMETERS_MAX && (name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, compare_names);
	for (unsigned i = 0; i < names->len; i++) {
		g_autofree char *value = read_head(fd, names->pdata[i]);

		g_string_append_printf(text, "%s=%s\n", (const char *)names->pdata[i], value);
	}
}

char *qemu_kvm_fingerprint(void)
{
	static const char *const modules[] = {"kvm", "kvm_intel", "kvm_amd"};
	g_autofree char *boot = g_strchomp(read_head(AT_FDCWD, "/proc/sys/kernel/random/boot_id"));
	g_autoptr(GString) parameters = g_string_new(NULL);
	g_autofree char *sum = NULL;
	struct stat st = {0};
	bool is_there = stat("/dev/kvm", &st) == 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(modules); i++)
		append_parameters(parameters, modules[i]);
	sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, parameters->str, -1);
	return g_strdup_printf("%s %s %u:%u %o %u:%u %s %s", boot, is_there ? "kvm" : "-", major(st.st_rdev),
		minor(st.st_rdev), st.st_mode, st.st_uid, st.st_gid,
		access("/dev/kvm", R_OK | W_OK) == 0 ? "open" : "closed", sum);
}
