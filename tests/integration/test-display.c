/* OpenDisplay, Screenshot, SendKeys, on real QEMU: what comes out is looked into. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "picture.h"
#include "terminal.h"

static bool has_qemu(void)
{
	if (g_file_test(g_getenv("QEMU"), G_FILE_TEST_IS_EXECUTABLE))
		return true;
	g_test_skip("there is no QEMU");
	return false;
}

/* SeaBIOS writes on VGA's text screen: 80 by 25 letters, 9 by 16 pixels each. Before, QEMU itself shows a
 * remark on a screen of another size. */
#define TEXT_WIDTH  720
#define TEXT_HEIGHT 400

/* What the firmware shows, once it does; then it stands still. */
static void await_firmware(Client *c, const char *vm)
{
	bool shown;

	do {
		g_autoptr(Picture) picture = picture_take(c, vm, "ppm", NULL);

		shown = picture->width == TEXT_WIDTH && picture_count_drawn(picture) >= 500;
	} while (!shown);
	client_do(c, vm, VM, "Pause", NULL);
}

/* It is the caller's own, and nobody can change it. */
static void check_file(Client *c, const char *vm)
{
	int fd = client_result_fd(
		c, client_send(c, vm, VM, "Screenshot", g_variant_new_parsed("('', @a{sv} {})")));

	g_assert_cmpint(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, ==, F_SEAL_WRITE);
	g_assert_cmpint(pwrite(fd, "x", 1, 0), ==, -1);
	close(fd);
}

static void test_screenshot(void)
{
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Fixture) f = NULL;
	g_autofree char *web = NULL, *blind = NULL;
	g_autoptr(Picture) png = NULL, ppm = NULL;

	if (!has_qemu())
		return;
	f = fixture_new(&options);
	web = fixture_define(
		f, "web", NULL, "'Accelerator': <'tcg'>, 'Display': <'vnc'>, 'MachineType': <'pc'>");
	blind = fixture_define(f, "blind", NULL, "'Accelerator': <'tcg'>");
	client_refused(f->client, web, VM, "Screenshot", g_variant_new_parsed("('', @a{sv} {})"),
		ROOST_ERROR("InvalidState"), "*is off*");
	fixture_start_vm(f, web);
	fixture_start_vm(f, blind);
	await_firmware(f->client, web);
	check_file(f->client, web);
	/* In both formats it is the same picture; PNG is the default. */
	png = picture_take(f->client, web, "", "seabios.png");
	ppm = picture_take(f->client, web, "ppm", NULL);
	g_assert_cmpuint(png->width, ==, TEXT_WIDTH);
	g_assert_cmpuint(png->height, ==, TEXT_HEIGHT);
	g_assert_cmpuint(picture_count_drawn(png), >=, 500);
	g_assert_cmpmem(
		png->pixels, TEXT_WIDTH * TEXT_HEIGHT * 3, ppm->pixels, (gsize)ppm->width * ppm->height * 3);
	client_refused(f->client, web, VM, "Screenshot", g_variant_new_parsed("('jpeg', @a{sv} {})"),
		DBUS_ERROR("InvalidArgs"), "format: 'jpeg' is not one of *");
	client_refused(f->client, web, VM, "Screenshot", g_variant_new_parsed("('', {'Head': <uint32 3>})"),
		ROOST_ERROR("NoSuchDevice"), "options.Head: *no head 3*");
	client_refused(f->client, blind, VM, "Screenshot", g_variant_new_parsed("('', @a{sv} {})"),
		ROOST_ERROR("InvalidState"), "Screenshot: the VM 'blind' has no display*");
	client_refused(f->client, blind, VM, "SendKeys", g_variant_new_parsed("(['a'], @a{sv} {})"),
		ROOST_ERROR("InvalidState"), "SendKeys: the VM 'blind' has no display*");
	client_do(f->client, web, VM, "Kill", NULL);
	client_do(f->client, blind, VM, "Kill", NULL);
}

static void test_open(void)
{
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Fixture) f = NULL;
	g_autofree char *web = NULL;
	char hello[12];

	if (!has_qemu())
		return;
	f = fixture_new(&options);
	web = fixture_define(f, "web", NULL, "'Accelerator': <'tcg'>, 'Display': <'vnc'>");
	fixture_start_vm(f, web);
	/* Two viewers: QEMU greets each as a VNC server does. */
	for (unsigned i = 0; i < 2; i++) {
		int fd = client_result_fd(
			f->client, client_send(f->client, web, VM, "OpenDisplay",
					   g_variant_new_parsed("(%s, @a{sv} {})", i == 0 ? "" : "vnc")));

		g_assert_cmpint(read(fd, hello, sizeof hello), ==, sizeof hello);
		g_assert_cmpint(memcmp(hello, "RFB 003.008\n", sizeof hello), ==, 0);
		close(fd);
	}
	client_refused(f->client, web, VM, "OpenDisplay", g_variant_new_parsed("('spice', @a{sv} {})"),
		ROOST_ERROR("NoSuchDevice"), "kind: *'spice'*");
	client_do(f->client, web, VM, "Kill", NULL);
}

/*
 * A boot sector that says '!' on the serial port, reads the keyboard controller, and powers off when it gets
 * the make code of `q` (0x10): cli; mov dx,0x3f8; mov al,'!'; out dx,al; in al,0x64; test al,1; jz -6; in
 * al,0x60; cmp al,0x10; jne -12; mov dx,0x604; mov ax,0x2000; out dx,ax; jmp $
 */
static void test_keys(void)
{
	static const unsigned char code[] = {0xfa, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xe4, 0x64, 0xa8, 0x01,
		0x74, 0xfa, 0xe4, 0x60, 0x3c, 0x10, 0x75, 0xf4, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef,
		0xeb, 0xfe};
	FixtureOptions options = {.real_qemu = true};
	g_autoptr(Fixture) f = NULL;
	g_autoptr(Terminal) terminal = NULL;
	g_autofree char *web = NULL;
	Client *c;
	gsize mark;

	if (!has_qemu())
		return;
	f = fixture_new(&options);
	c = f->client;
	web = fixture_define_boot(
		f, "web", code, sizeof code, "'Display': <'vnc'>, 'Consoles': <[{'Type': <'serial'>}]>");
	mark = client_mark(c);
	fixture_start_vm(f, web);
	client_refused(c, web, VM, "SendKeys", g_variant_new_parsed("(@as [], @a{sv} {})"),
		DBUS_ERROR("InvalidArgs"), "keys: *");
	client_refused(c, web, VM, "SendKeys", g_variant_new_parsed("(['nokey'], @a{sv} {})"),
		ROOST_ERROR("QemuFailed"), "*nokey*");
	/* Not before: a key that comes while the firmware sets up the keyboard leaves it half set up. */
	terminal = terminal_open(c, web, "", true);
	terminal_expect(terminal, "!");
	client_do(c, web, VM, "SendKeys", g_variant_new_parsed("(['q'], {'HoldTime': <uint64 20000>})"));
	client_await(c, mark, web, "StateChanged", "(*, 'off', 'guest')");
	client_assert_property(c, web, "StateReason", "'guest'");
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/display/screenshot", test_screenshot);
	g_test_add_func("/display/open", test_open);
	g_test_add_func("/display/keys", test_keys);
	return g_test_run();
}
