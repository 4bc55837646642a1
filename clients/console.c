/*
 * roost-console: joins a VM's console to this terminal, or copies it to standard output.
 *
 * OpenConsole answers with a socket, which general D-Bus tools can't take. So there are two phases: a
 * conversation on the bus that ends with the socket, and then, with the bus closed, a loop that copies bytes
 * both ways until the VM ends, the reader leaves (Ctrl-]), a text was seen (--until), or the time is over
 * (--timeout).
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define KEY_LEAVE      0x1d /* Ctrl-] */
#define USEC_PER_SEC   1000000ULL
#define EXIT_USAGE     2
#define WRITE_SIZE_MAX 65536

typedef enum Outcome {
	OUTCOME_NONE,
	OUTCOME_LEFT,   /* Ctrl-], or a signal */
	OUTCOME_CLOSED, /* the other end of the console is gone */
	OUTCOME_SEEN,
	OUTCOME_TIMEOUT,
	OUTCOME_ERROR,
} Outcome;

typedef struct Console {
	char *bus;
	char *vm, *name;
	gboolean read_only;
	char *until;
	int timeout_sec; /* -1: none */

	int fd;
	bool is_terminal;
	struct termios old_mode;
	uint64_t deadline_usec; /* UINT64_MAX: none */
	GByteArray *input;      /* typed, not written yet */
	bool input_ended;
	GString *tail; /* the end of what was printed, in case the text comes in two pieces */
} Console;

static volatile sig_atomic_t caught_signal;

static void on_signal(int signal)
{
	caught_signal = signal;
}

static void fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void fail(const char *format, ...)
{
	va_list args;

	fputs("roost-console: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- the bus ---- */

static int open_bus(const char *address, sd_bus **ret_bus)
{
	sd_bus *bus = NULL;
	int r;

	if (g_str_equal(address, "system"))
		return sd_bus_open_system(ret_bus);
	if (g_str_equal(address, "session"))
		return sd_bus_open_user(ret_bus);
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, true);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*ret_bus = bus;
	return r;
}

static int find_vm(sd_bus *bus, const char *name, sd_bus_error *error, char **ret_path)
{
	sd_bus_message *reply = NULL;
	const char *path;
	int r;

	r = sd_bus_call_method(
		bus, "org.roost1", "/org/roost1", "org.roost1.Manager", "GetVM", error, &reply, "s", name);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		*ret_path = g_strdup(path);
	sd_bus_message_unref(reply);
	return r;
}

/* The socket, owned by the caller. */
static int call_open_console(sd_bus *bus, const char *path, const Console *console, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	int r, fd;

	if (console->read_only)
		r = sd_bus_call_method(bus, "org.roost1", path, "org.roost1.VM", "OpenConsole", error, &reply,
			"sa{sv}", console->name, 1, "ReadOnly", "b", true);
	else
		r = sd_bus_call_method(bus, "org.roost1", path, "org.roost1.VM", "OpenConsole", error, &reply,
			"sa{sv}", console->name, 0);
	if (r >= 0)
		r = sd_bus_message_read(reply, "h", &fd);
	if (r >= 0) {
		/* The message closes its own. */
		r = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (r < 0)
			r = -errno;
	}
	sd_bus_message_unref(reply);
	return r;
}

/* True, with console->fd open; or says why not. */
static bool console_open(Console *console)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	g_autofree char *path = NULL;
	sd_bus *bus = NULL;
	int r;

	r = open_bus(console->bus, &bus);
	if (r < 0) {
		fail("can't connect to the bus %s: %s", console->bus, g_strerror(-r));
		return false;
	}
	r = find_vm(bus, console->vm, &error, &path);
	if (r >= 0)
		r = call_open_console(bus, path, console, &error);
	if (r < 0)
		fail("%s", error.message ? error.message : g_strerror(-r));
	else
		console->fd = r;
	sd_bus_error_free(&error);
	sd_bus_flush_close_unref(bus);
	return r >= 0;
}

/* ---- the terminal ---- */

static void terminal_enter(Console *console)
{
	struct termios raw;

	console->is_terminal = !console->read_only && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
			       tcgetattr(STDIN_FILENO, &console->old_mode) == 0;
	if (!console->is_terminal)
		return;
	fprintf(stderr, "Console of %s. Ctrl-] leaves.\n", console->vm);
	raw = console->old_mode;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void terminal_leave(Console *console)
{
	if (!console->is_terminal)
		return;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &console->old_mode);
	fputc('\n', stderr);
}

/* ---- copying ---- */

static bool write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR && !caught_signal)
			continue;
		if (n < 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static bool text_was_seen(Console *console, const char *data, size_t size)
{
	size_t length = strlen(console->until);
	bool seen;

	g_string_append_len(console->tail, data, (gssize)size);
	seen = memmem(console->tail->str, console->tail->len, console->until, length) != NULL;
	if (console->tail->len >= length)
		g_string_erase(console->tail, 0, (gssize)(console->tail->len - (length - 1)));
	return seen;
}

static Outcome copy_output(Console *console)
{
	char data[4096];
	ssize_t n = recv(console->fd, data, sizeof data, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return OUTCOME_NONE;
	if (n <= 0)
		return OUTCOME_CLOSED;
	if (!write_all(STDOUT_FILENO, data, (size_t)n))
		return caught_signal ? OUTCOME_LEFT : OUTCOME_ERROR;
	if (console->until && text_was_seen(console, data, (size_t)n))
		return OUTCOME_SEEN;
	return OUTCOME_NONE;
}

static Outcome read_input(Console *console)
{
	char data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof data);
	char *leave;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return OUTCOME_NONE;
	if (n <= 0) {
		console->input_ended = true;
		return console->is_terminal ? OUTCOME_LEFT : OUTCOME_NONE;
	}
	leave = console->is_terminal ? memchr(data, KEY_LEAVE, (size_t)n) : NULL;
	g_byte_array_append(console->input, (const guint8 *)data, leave ? (guint)(leave - data) : (guint)n);
	return leave ? OUTCOME_LEFT : OUTCOME_NONE;
}

/* A guest that does not read must not keep its output from being shown: so what was typed waits here. */
static Outcome send_input(Console *console)
{
	ssize_t n = send(console->fd, console->input->data, console->input->len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? OUTCOME_NONE : OUTCOME_CLOSED;
	g_byte_array_remove_range(console->input, 0, (guint)n);
	return OUTCOME_NONE;
}

static bool wants_input(const Console *console)
{
	return !console->read_only && !console->input_ended && console->input->len < WRITE_SIZE_MAX;
}

/* Sleeps until there is something to do; the signals arrive only in here. */
static Outcome console_turn(Console *console, const sigset_t *unblocked)
{
	struct pollfd fds[] = {
		{.fd = console->fd, .events = POLLIN | (console->input->len > 0 ? POLLOUT : 0)},
		{.fd = wants_input(console) ? STDIN_FILENO : -1, .events = POLLIN},
	};
	uint64_t now = now_usec(), left = console->deadline_usec > now ? console->deadline_usec - now : 0;
	struct timespec timeout = {(time_t)(left / USEC_PER_SEC), (long)(left % USEC_PER_SEC) * 1000};
	Outcome outcome = OUTCOME_NONE;

	if (left == 0)
		return OUTCOME_TIMEOUT;
	if (ppoll(fds, G_N_ELEMENTS(fds), console->deadline_usec == UINT64_MAX ? NULL : &timeout, unblocked) <
		0)
		return errno != EINTR ? OUTCOME_ERROR : caught_signal ? OUTCOME_LEFT : OUTCOME_NONE;
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		outcome = copy_output(console);
	if (outcome == OUTCOME_NONE && fds[1].revents)
		outcome = read_input(console);
	if (outcome == OUTCOME_NONE && (fds[0].revents & POLLOUT) && console->input->len > 0)
		outcome = send_input(console);
	return outcome;
}

/* Only a terminal needs putting right before a signal ends us. */
static void catch_signals(const Console *console, sigset_t *ret_unblocked)
{
	const struct sigaction action = {.sa_handler = on_signal};
	const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; console->is_terminal && i < G_N_ELEMENTS(signals); i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, ret_unblocked);
}

static Outcome console_copy(Console *console)
{
	sigset_t unblocked;
	Outcome outcome = OUTCOME_NONE;

	console->is_terminal = !console->read_only && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
			       tcgetattr(STDIN_FILENO, &console->old_mode) == 0;
	console->deadline_usec = console->timeout_sec < 0
					 ? UINT64_MAX
					 : now_usec() + (uint64_t)console->timeout_sec * USEC_PER_SEC;
	catch_signals(console, &unblocked);
	terminal_enter(console);
	while (outcome == OUTCOME_NONE)
		outcome = console_turn(console, &unblocked);
	terminal_leave(console);
	return outcome;
}

/* ---- the command line ---- */

static int exit_status(const Console *console, Outcome outcome)
{
	switch (outcome) {
	case OUTCOME_SEEN:
		return EXIT_SUCCESS;
	case OUTCOME_TIMEOUT:
		if (console->until)
			fail("\"%s\" was not seen within %d s", console->until, console->timeout_sec);
		break;
	case OUTCOME_CLOSED:
		if (console->until)
			fail("the console was closed before \"%s\" was seen", console->until);
		else if (console->is_terminal)
			fail("the console was closed");
		break;
	case OUTCOME_ERROR:
		fail("%s", g_strerror(errno));
		return EXIT_FAILURE;
	default:
		break;
	}
	return console->until ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool parse_arguments(Console *console, int argc, char **argv)
{
	const GOptionEntry entries[] = {
		{"bus", 'b', 0, G_OPTION_ARG_STRING, &console->bus,
			"\"system\" (the default), \"session\", or a bus address", "BUS"},
		{"read-only", 'r', 0, G_OPTION_ARG_NONE, &console->read_only, "send nothing to the guest",
			NULL},
		{"until", 'u', 0, G_OPTION_ARG_STRING, &console->until,
			"leave with status 0 when TEXT was seen, with 1 if it never was", "TEXT"},
		{"timeout", 't', 0, G_OPTION_ARG_INT, &console->timeout_sec, "leave after S seconds", "S"},
		{NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new("VM [CONSOLE]");
	g_autoptr(GError) error = NULL;

	g_option_context_set_summary(context,
		"Joins a console of a running VM (its name or UUID; the first console unless one is named) "
		"to this\n"
		"terminal, or copies it to standard output and standard input to it. Ctrl-] leaves.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error))
		fail("%s", error->message);
	else if (argc < 2 || argc > 3)
		fail("the name of a VM is needed, and at most that of one console: see --help");
	else if (console->until && console->until[0] == '\0')
		fail("--until: the text is empty");
	else {
		console->bus = console->bus ? console->bus : g_strdup("system");
		console->vm = g_strdup(argv[1]);
		console->name = g_strdup(argc > 2 ? argv[2] : "");
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	Console console = {.fd = -1, .timeout_sec = -1};
	int status = EXIT_FAILURE;

	setlocale(LC_ALL, "");
	console.input = g_byte_array_new();
	console.tail = g_string_new(NULL);
	if (!parse_arguments(&console, argc, argv))
		status = EXIT_USAGE;
	else if (console_open(&console))
		status = exit_status(&console, console_copy(&console));
	if (console.fd >= 0)
		close(console.fd);
	g_byte_array_unref(console.input);
	g_string_free(console.tail, TRUE);
	g_free(console.bus);
	g_free(console.vm);
	g_free(console.name);
	g_free(console.until);
	return status;
}
