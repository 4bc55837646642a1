#include "guest.h"

#include <stdlib.h>

static void make_guest(const char *dir)
{
	const char *const argv[] = {g_getenv("MAKE_GUEST"), dir, NULL};
	g_autofree char *words = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	if (!argv[0])
		g_error("MAKE_GUEST is not set: run the tests by meson");
	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &words, &status,
		&error);
	g_assert_no_error(error);
	if (status != 0)
		g_error("there is no guest: %s", words);
}

const char *guest_dir(void)
{
	static const char *dir;

	/* ./check makes one for all its trees. */
	if (!dir) {
		dir = g_getenv("ROOST_GUEST") ? g_getenv("ROOST_GUEST") : g_getenv("GUEST_DIR");
		g_assert_nonnull(dir);
		make_guest(dir);
	}
	return dir;
}

Fixture *guest_fixture(unsigned memory_mib)
{
	guest_dir();
	return fixture_new(
		&(FixtureOptions){.real_qemu = true, .memory_mib = memory_mib, .deadline_scale = 3});
}

char *guest_define(Fixture *fixture, const char *name, const char *words, const char *more)
{
	g_autofree char *config = g_strdup_printf(
		"'Accelerator': <'tcg'>, 'Kernel': <'%s/vmlinuz'>, 'Initrd': <'%s/initrd.img'>, "
		"'KernelCommandLine': <'console=ttyS0 quiet%s%s'>, 'Consoles': <[{'Name': <'serial'>, "
		"'Type': <'serial'>}, {'Name': <'virtio'>, 'Type': <'virtio'>}]>%s%s",
		guest_dir(), guest_dir(), words ? " " : "", words ? words : "", more ? ", " : "",
		more ? more : "");

	return fixture_define(fixture, name, NULL, config);
}
