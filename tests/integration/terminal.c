#include "terminal.h"

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A guest boots meanwhile, perhaps, and the machine may be busy. */
#define WAIT_MSEC  (180 * 1000)
#define LAST_WORDS 400

Terminal *terminal_open(Client *client, const char *vm, const char *console, bool read_only)
{
	Terminal *terminal = g_new0(Terminal, 1);
	GVariant *args = g_variant_new_parsed("(%s, {'ReadOnly': <%b>})", console, read_only);

	terminal->client = client;
	terminal->vm = g_strdup(vm);
	terminal->fd = client_result_fd(client, client_send(client, vm, VM, "OpenConsole", args));
	terminal->text = g_string_new(NULL);
	return terminal;
}

Terminal *terminal_close(Terminal *terminal)
{
	if (terminal) {
		close(terminal->fd);
		g_free(terminal->vm);
		g_string_free(terminal->text, TRUE);
		g_free(terminal);
	}
	return NULL;
}

void terminal_type(Terminal *terminal, const char *text)
{
	for (gsize size = strlen(text); size > 0;) {
		ssize_t n = write(terminal->fd, text, size);

		g_assert_cmpint(n, >, 0);
		text += n;
		size -= (gsize)n;
	}
}

void terminal_type_and_flush(Terminal *terminal, const char *text)
{
	gint64 until = g_get_monotonic_time() + WAIT_MSEC * G_TIME_SPAN_MILLISECOND;
	int unread;

	terminal_type(terminal, text);
	do {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		g_assert_cmpint(ioctl(terminal->fd, SIOCOUTQ, &unread), ==, 0);
		g_thread_yield();
	} while (unread > 0);
}

static G_NORETURN void fail(Terminal *terminal, const char *how, const char *text)
{
	g_autofree char *last =
		g_strescape(terminal->text->str + MAX((gssize)terminal->text->len - LAST_WORDS, 0), NULL);

	g_error("%s without: %s\nthe last that came: %s", how, text, last);
}

static G_NORETURN void fail_at_end(Terminal *terminal, const char *text)
{
	g_autoptr(GVariant) exit = NULL;
	g_autofree char *how = NULL, *words = NULL;

	client_await_property(terminal->client, terminal->vm, "PID", "uint32 0");
	exit = client_get(terminal->client, terminal->vm, VM, "LastExit");
	words = g_variant_print(exit, FALSE);
	how = g_strdup_printf("QEMU has ended (%s)", words);
	fail(terminal, how, text);
}

/* False: the end. */
static bool read_more(Terminal *terminal, const char *text)
{
	struct pollfd p = {.fd = terminal->fd, .events = POLLIN};
	char buffer[16384];
	ssize_t n;

	if (poll(&p, 1, WAIT_MSEC) != 1)
		fail(terminal, "the console has been silent for long", text);
	n = read(terminal->fd, buffer, sizeof buffer);
	g_assert_cmpint(n, >=, 0);
	g_string_append_len(terminal->text, buffer, n);
	return n > 0;
}

void terminal_expect(Terminal *terminal, const char *text)
{
	const char *found;

	/* The guest's firmware may print a NUL. */
	while (!(found = memmem(terminal->text->str + terminal->seen, terminal->text->len - terminal->seen,
			 text, strlen(text))))
		if (!read_more(terminal, text))
			fail_at_end(terminal, text);
	terminal->seen = (gsize)(found - terminal->text->str) + strlen(text);
}

void terminal_expect_end(Terminal *terminal)
{
	while (read_more(terminal, "the end"))
		;
}

/* The words around the output are typed in two parts each: so their echo is not taken for them. */
char *terminal_run(Terminal *terminal, const char *command)
{
	g_autofree char *line = g_strdup_printf("echo be''gin; %s; echo e''nd\n", command);
	g_auto(GStrv) pieces = NULL;
	g_autofree char *output = NULL;
	gsize from;

	terminal_type(terminal, line);
	terminal_expect(terminal, "begin\r\n");
	from = terminal->seen;
	terminal_expect(terminal, "end\r\n");
	output = g_strndup(terminal->text->str + from, terminal->seen - from - strlen("end\r\n"));
	pieces = g_strsplit(output, "\r", -1);
	return g_strjoinv("", pieces);
}
