/*
 * VMs with UEFI firmware, on real QEMU: the small Linux started by its Kernel key and from a disk's EFI
 * system partition, the firmware's own shell on screen and keyboard, and Secure Boot that refuses what is not
 * signed.
 */
#include <string.h>

#include "guest.h"
#include "picture.h"

#define CONSOLE "'Consoles': <[{'Type': <'serial'>}]>"

/* Starts it with a terminal that misses nothing. */
static Terminal *start(Fixture *f, const char *vm)
{
	Terminal *terminal;

	client_do(f->client, vm, VM, "Start", g_variant_new_parsed("({'Paused': <true>},)"));
	terminal = terminal_open(f->client, vm, "", false);
	client_do(f->client, vm, VM, "Resume", NULL);
	return terminal;
}

static void test_kernel(void)
{
	g_autoptr(Fixture) f = guest_fixture(256);
	g_autofree char *vm = guest_define(f, "uefi", NULL, "'Firmware': <'uefi'>");
	g_autoptr(Terminal) terminal = start(f, vm);

	terminal_expect(terminal, GUEST_UP);
	terminal_expect(terminal, "UEFI, ");
	client_assert_property(f->client, vm, "Firmware", "'uefi'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

static char *make_disk(Fixture *f)
{
	char *image = g_build_filename(f->dir, "disk.img", NULL);
	const char *const argv[] = {g_getenv("MAKE_DISK"), guest_dir(), image, "guest.greet=from-disk", NULL};
	g_autofree char *words = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	g_assert_nonnull(argv[0]);
	g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &words, &status, &error);
	g_assert_no_error(error);
	if (status != 0)
		g_error("there is no disk: %s", words);
	return image;
}

/* The firmware finds the second disk by its BootIndex; the first is not bootable, but comes first in the
 * list. */
static void test_disk(void)
{
	g_autoptr(Fixture) f = guest_fixture(256);
	g_autofree char *image = make_disk(f), *blank = g_malloc0(1 << 20), *other = NULL, *config = NULL,
			*vm = NULL;
	g_autoptr(Terminal) terminal = NULL;
	gsize mark = client_mark(f->client);

	other = fixture_write(f, "blank.img", blank, 1 << 20);
	config = g_strdup_printf("'Accelerator': <'tcg'>, 'Firmware': <'uefi'>, " CONSOLE
				 ", 'Disks': <[{'Path': <'%s'>, 'Format': <'raw'>}, "
				 "{'Path': <'%s'>, 'Format': <'raw'>, 'BootIndex': <uint32 1>}]>",
		other, image);
	vm = fixture_define(f, "disk", NULL, config);
	terminal = start(f, vm);
	terminal_expect(terminal, "vda 1024 KiB, vdb 40960 KiB");
	terminal_expect(terminal, GUEST_UP);
	terminal_expect(terminal, "UEFI, ");
	terminal_expect(terminal, "from-disk");
	terminal_expect(terminal, "guest# ");
	/* It is shut down as one with another firmware is. */
	client_do(f->client, vm, VM, "Shutdown", fixture_no_options());
	client_await(f->client, mark, vm, "StateChanged", "('stopping', 'off', 'user')");
}

/* The next key when this one has been echoed: a keyboard keeps few. */
static void press(Client *c, const char *vm, const char *key, Terminal *terminal, const char *echo)
{
	client_do(c, vm, VM, "SendKeys", g_variant_new_parsed("([%s], {'HoldTime': <uint64 20000>})", key));
	terminal_expect(terminal, echo);
}

/* The firmware's shell writes on serial console and screen, and reads from keyboard and serial console. */
static void test_shell(void)
{
	static const char *const keys[] = {"e", "c", "h", "o", "spc", "k", "e", "y", "s"};
	g_autoptr(Fixture) f = guest_fixture(256);
	g_autofree char *vm = fixture_define(f, "shell", NULL,
		"'Accelerator': <'tcg'>, 'Firmware': <'uefi'>, 'Display': <'vnc'>, " CONSOLE);
	g_autoptr(Terminal) terminal = start(f, vm);
	g_autoptr(Picture) before = NULL, after = NULL, ppm = NULL;
	Client *c = f->client;

	terminal_expect(terminal, "UEFI Interactive Shell");
	terminal_expect(terminal, "any other key to continue");
	terminal_type(terminal, "\r");
	terminal_expect(terminal, "Shell> ");
	before = picture_take(c, vm, "png", NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(keys); i++)
		press(c, vm, keys[i], terminal, strcmp(keys[i], "spc") == 0 ? " " : keys[i]);
	press(c, vm, "ret", terminal, "\r\nkeys\r\n");
	terminal_expect(terminal, "Shell> ");
	client_do(c, vm, VM, "Pause", NULL);
	after = picture_take(c, vm, "", "uefi-shell.png");
	ppm = picture_take(c, vm, "ppm", NULL);
	g_assert_cmpuint(after->width, >=, 640);
	g_assert_cmpuint(after->height, >=, 480);
	g_assert_cmpuint(picture_count_drawn(after), >, 1000);
	g_assert_cmpuint(picture_count_drawn(after), >, picture_count_drawn(before));
	g_assert_cmpmem(after->pixels, (gsize)after->width * after->height * 3, ppm->pixels,
		(gsize)ppm->width * ppm->height * 3);
	client_do(c, vm, VM, "Kill", NULL);
}

/* The shell is not signed by those whose keys are in there. */
static void test_secure(void)
{
	g_autoptr(Fixture) f = guest_fixture(256);
	g_autofree char *vm = fixture_define(
		f, "secure", NULL, "'Accelerator': <'tcg'>, 'Firmware': <'uefi-secure'>, " CONSOLE);
	g_autoptr(Terminal) terminal = start(f, vm);

	terminal_expect(terminal, "EFI Internal Shell");
	terminal_expect(terminal, "Security Violation");
	client_assert_property(f->client, vm, "Firmware", "'uefi-secure'");
	client_do(f->client, vm, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/uefi/kernel", test_kernel);
	g_test_add_func("/uefi/disk", test_disk);
	g_test_add_func("/uefi/shell", test_shell);
	g_test_add_func("/uefi/secure", test_secure);
	return g_test_run();
}
