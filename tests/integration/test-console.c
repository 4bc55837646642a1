/* OpenConsole: a socket that shows what was said before, and carries both ways. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define CONSOLES                                                                                             \
	"'Consoles': <[{'Name': <'first'>, 'Type': <'serial'>}, {'Name': <'second'>, 'Type': <'virtio'>}]>"

static GVariant *open_args(const char *name, bool read_only)
{
	return read_only ? g_variant_new_parsed("(%s, {'ReadOnly': <true>})", name)
			 : g_variant_new_parsed("(%s, @a{sv} {})", name);
}

static int open_console(Client *c, const char *path, const char *name, bool read_only)
{
	return client_result_fd(c, client_send(c, path, VM, "OpenConsole", open_args(name, read_only)));
}

/* Reads until `text` has come. */
static void expect(int fd, const char *text)
{
	g_autoptr(GString) got = g_string_new(NULL);
	char buffer[256];

	while (!strstr(got->str, text)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		g_assert_cmpint(poll(&p, 1, 60000), ==, 1);
		n = read(fd, buffer, sizeof buffer);
		g_assert_cmpint(n, >, 0);
		g_string_append_len(got, buffer, n);
	}
}

static void expect_end(int fd)
{
	char buffer[256];
	ssize_t n;

	do {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		g_assert_cmpint(poll(&p, 1, 60000), ==, 1);
		n = read(fd, buffer, sizeof buffer);
	} while (n > 0);
	g_assert_cmpint(n, ==, 0);
}

static void test_console(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, CONSOLES);
	int one, two, second, silent;

	fixture_start_vm(f, web);
	one = open_console(c, web, "", false);
	expect(one, "mock console\n");
	g_assert_cmpint(write(one, "hello\n", 6), ==, 6);
	expect(one, "hello\n");
	/* Who comes later first gets what was said. */
	two = open_console(c, web, "first", false);
	expect(two, "mock console\nhello\n");
	/* One that only reads is heard by nobody: what it writes does not come before what comes after it. */
	silent = open_console(c, web, "first", true);
	expect(silent, "hello\n");
	g_assert_cmpint(write(silent, "psst\n", 5), ==, 5);
	g_assert_cmpint(write(two, "aloud\n", 6), ==, 6);
	expect(one, "aloud\n");
	expect(silent, "aloud\n");
	/* Another console is another one. */
	second = open_console(c, web, "second", false);
	expect(second, "mock console\n");
	client_do(c, web, VM, "Kill", NULL);
	expect_end(one);
	expect_end(two);
	expect_end(silent);
	expect_end(second);
	close(one);
	close(two);
	close(silent);
	close(second);
}

static void test_refused(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, CONSOLES),
			*db = fixture_define(f, "db", NULL, NULL);

	client_refused(
		c, web, VM, "OpenConsole", open_args("", false), ROOST_ERROR("InvalidState"), "*web*is off*");
	fixture_start_vm(f, web);
	fixture_start_vm(f, db);
	client_refused(c, web, VM, "OpenConsole", open_args("third", false), ROOST_ERROR("NoSuchDevice"),
		"*'third'*");
	client_refused(
		c, db, VM, "OpenConsole", open_args("", false), ROOST_ERROR("NoSuchDevice"), "*no console*");
}

/* One that does not read holds up nobody. */
static void test_laggard(void)
{
	g_autoptr(Fixture) f = fixture_new(NULL);
	Client *c = f->client;
	g_autofree char *web = fixture_define(f, "web", NULL, CONSOLES);
	g_autofree char *block = g_strnfill(4096, 'x');
	int reader, laggard;

	fixture_start_vm(f, web);
	laggard = open_console(c, web, "", true);
	reader = open_console(c, web, "", false);
	expect(reader, "mock console\n");
	block[4095] = '\n';
	for (unsigned i = 0; i < 512; i++) {
		char echo[4096];

		g_assert_cmpint(write(reader, block, 4096), ==, 4096);
		for (gsize got = 0; got < 4096;) {
			ssize_t n = read(reader, echo, 4096 - got);

			g_assert_cmpint(n, >, 0);
			got += (gsize)n;
		}
	}
	client_do(c, web, VM, "Pause", NULL);
	close(laggard);
	close(reader);
	client_do(c, web, VM, "Kill", NULL);
}

int main(int argc, char **argv)
{
	fixture_init(&argc, &argv);
	g_test_add_func("/console/console", test_console);
	g_test_add_func("/console/refused", test_refused);
	g_test_add_func("/console/laggard", test_laggard);
	return g_test_run();
}
