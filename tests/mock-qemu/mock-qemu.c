/*
 * mock-qemu: a stand-in for qemu-system-x86_64 that roostd can start in its place. It takes the real command
 * line (what it does not know is skipped), speaks QMP on the listening socket of the chardev `qmp`, and
 * answers like a QEMU with an obedient guest. Every other socket chardev is a console: it says "mock
 * console", and then what it is told.
 *
 * A script makes it misbehave: script.h has its language.
 *
 * With `-qmp stdio`, as a probe starts it, it speaks QMP on standard input and output, and is ended by
 * `quit`; capabilities.h says what it can do.
 *
 * One thread, one poll loop. QMP is answered in order; when its peer hangs up, the next connection is greeted
 * anew, and what was in progress has its effect but no reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine.h"
#include "schema.h"
#include "script.h"
#include "util/clock.h"
#include "util/fd.h"

#define INPUT_MAX      (16U * 1024 * 1024)
#define FLOOD_CHUNK    (64U * 1024)
#define POWER_OFF_USEC (2 * USEC_PER_MSEC)
#define NEVER          UINT64_MAX

/* A socket chardev: listens, or is connected; one peer at a time, as in QEMU. */
typedef struct Chardev {
	int listener;
	int fd;
	GString *output;
} Chardev;

typedef struct Mock {
	Machine machine;
	Script *script;
	Chardev qmp;
	GArray *consoles; /* Chardev */
	int signals;
	bool stopped;  /* -S */
	bool on_stdio; /* -qmp stdio */
	char *script_path;
	GString *input;
	Command *current; /* being executed until due_usec */
	bool stuck;       /* silent: nothing is executed any more */
	bool flooding;
	bool hangs_up; /* as soon as what it says is out */
	uint64_t due_usec, power_off_usec;
	char *rest; /* of a reply that was split */
	uint64_t rest_usec;
	uint64_t flood_usec; /* since when it floods at a rate */
	uint64_t n_flooded;
} Mock;

/* ---- the command line ---- */

static void take_chardev(Mock *mock, const char *option)
{
	g_auto(GStrv) parts = g_strsplit(option, ",", -1);
	const char *id = "", *number = NULL;
	Chardev chardev = {.fd = -1, .output = NULL};
	guint64 fd;

	if (strcmp(parts[0], "socket") != 0)
		return;
	for (char **part = parts; *part; part++) {
		if (g_str_has_prefix(*part, "id="))
			id = *part + 3;
		else if (g_str_has_prefix(*part, "fd="))
			number = *part + 3;
	}
	if (!number)
		return;
	if (!g_ascii_string_to_unsigned(number, 10, 0, G_MAXINT, &fd, NULL) ||
		fd_set_nonblocking((int)fd, true) < 0) {
		fprintf(stderr, "qemu-system-x86_64: -chardev %s: not an open file descriptor\n", option);
		exit(1);
	}
	chardev.listener = (int)fd;
	chardev.output = g_string_new(NULL);
	g_ptr_array_add(mock->machine.chardevs, g_strdup(id));
	if (strcmp(id, "qmp") == 0)
		mock->qmp = chardev;
	else
		g_array_append_val(mock->consoles, chardev);
}

static void take_kernel_command_line(Mock *mock, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);

	for (char **word = words; *word; word++) {
		if (g_str_has_prefix(*word, "mock=")) {
			g_free(mock->script_path);
			mock->script_path = g_strdup(*word + strlen("mock="));
		}
	}
}

static void take_command_line(Mock *mock, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "-chardev") == 0) {
			take_chardev(mock, value);
			i++;
		} else if (strcmp(argv[i], "-append") == 0) {
			take_kernel_command_line(mock, value);
			i++;
		} else if (strcmp(argv[i], "-qmp") == 0 && strcmp(value, "stdio") == 0) {
			mock->on_stdio = true;
			i++;
		} else if (strcmp(argv[i], "-S") == 0) {
			mock->stopped = true;
		} else if (strcmp(argv[i], "-no-shutdown") == 0) {
			mock->machine.no_shutdown = true;
		}
	}
}

/* ---- QMP ---- */

static void hang_up(Mock *mock)
{
	fd_close(&mock->qmp.fd);
	g_string_truncate(mock->input, 0);
	g_string_truncate(mock->qmp.output, 0);
	g_clear_pointer(&mock->rest, g_free);
	mock->hangs_up = false;
	mock->machine.negotiated = false;
	mock->stuck = script_find(mock->script, "start", RULE_SILENT) != NULL;
	mock->machine.mute = true;
}

static void flush_qmp(Mock *mock)
{
	GString *output = mock->qmp.output;
	ssize_t n;

	if (output->len == 0 || mock->qmp.fd < 0)
		return;
	n = send(mock->qmp.fd, output->str, output->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		g_string_erase(output, 0, n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		hang_up(mock);
}

static G_NORETURN void end(Mock *mock)
{
	struct pollfd writable = {.fd = mock->qmp.fd, .events = POLLOUT};

	/* As much as the peer takes within a moment. */
	for (unsigned i = 0; i < 1000 && mock->qmp.fd >= 0 && mock->qmp.output->len > 0; i++) {
		poll(&writable, 1, 1);
		flush_qmp(mock);
	}
	exit(0);
}

/* What the script has in the reply's place; false: nothing. */
static bool execute_ending(Mock *mock, const Rule *ending)
{
	Machine *machine = &mock->machine;

	if (!ending)
		return false;
	if (machine->mute && ending->kind != RULE_EXIT)
		return true;
	switch (ending->kind) {
	case RULE_SILENT:
		mock->stuck = true;
		return true;
	case RULE_ERROR:
		machine_error(machine, mock->current, ending->word, ending->text);
		return true;
	case RULE_RETURN:
		machine_return(machine, mock->current, ending->text);
		return true;
	case RULE_GARBAGE:
		g_string_append(machine->output, "\x01garbage}{\r\n");
		return true;
	case RULE_HALF:
		g_string_append(machine->output, "{\"return\": {\"ha");
		mock->stuck = true;
		return true;
	case RULE_LONG:
		machine_return_long(machine, mock->current, ending->number);
		return true;
	case RULE_DEEP:
		machine_return_deep(machine, mock->current, ending->number);
		return true;
	case RULE_CUT:
		g_string_append(machine->output, *ending->text ? ending->text : "{\"return\": {\"ha");
		mock->hangs_up = true;
		return true;
	case RULE_EXIT:
		_exit((int)ending->number);
	default:
		return false;
	}
}

/* What QEMU would not understand is refused as by QEMU, and told to the test: a line in a file beside the
 * script, which the fixture looks at. True: it was. */
static bool refuse_unknown(Mock *mock)
{
	const Command *command = mock->current;
	g_autofree char *complaint = NULL, *dir = NULL, *path = NULL, *line = NULL;

	if (!command->name || !command->admitted || command->complaint ||
		strcmp(command->name, "qmp_capabilities") == 0)
		return false;
	complaint = schema_check(command->name, command->arguments);
	if (!complaint)
		return false;
	machine_error(&mock->machine, command,
		schema_has_command(command->name) ? "GenericError" : "CommandNotFound", complaint);
	if (mock->script_path) {
		dir = g_path_get_dirname(mock->script_path);
		path = g_build_filename(dir, "mock-complaints", NULL);
		line = g_strdup_printf("%s: %s", command->name, complaint);
		script_append_line(path, line);
	}
	return true;
}

static void execute(Mock *mock)
{
	Machine *machine = &mock->machine;
	const char *name = mock->current->name;
	const Rule *ending = name ? script_find_ending(mock->script, name) : NULL;
	bool wanted = machine->powerdown_wanted, cont = name && strcmp(name, "cont") == 0;

	const Rule *split = name ? script_find(mock->script, name, RULE_SPLIT) : NULL;
	gsize begin = machine->output->len;

	if (!refuse_unknown(mock) && !execute_ending(mock, ending))
		machine_execute(machine, mock->current);
	if (split) {
		gsize half = begin + (machine->output->len - begin) / 2;

		mock->rest = g_strdup(machine->output->str + half);
		mock->rest_usec = clock_monotonic_usec() + split->number * USEC_PER_MSEC;
		g_string_truncate(machine->output, half);
	}
	mock->flooding |= cont && mock->script->flood;
	if (machine->powerdown_wanted && mock->script->ignore_powerdown)
		machine->powerdown_wanted = false;
	if (machine->powerdown_wanted && !wanted)
		mock->power_off_usec = clock_monotonic_usec() + POWER_OFF_USEC;
	g_clear_pointer(&mock->current, command_free);
}

static void begin(Mock *mock, const char *line, size_t size)
{
	const Rule *delay;

	mock->current = command_parse(line, size);
	mock->current->admitted = mock->machine.negotiated;
	mock->machine.mute = false;
	mock->due_usec = 0;
	if (!mock->current->name)
		return;
	if (mock->script->record)
		script_append_line(mock->script->record, mock->current->name);
	for (guint i = 0; i < mock->script->rules->len; i++) {
		const Rule *rule = mock->script->rules->pdata[i];

		if (strcmp(rule->command, mock->current->name) != 0)
			continue;
		if (rule->kind == RULE_EVENT)
			machine_event(&mock->machine, rule->text);
		if (rule->kind == RULE_SAY)
			g_string_append_printf(mock->machine.output, "%s\r\n", rule->text);
	}
	delay = script_find(mock->script, mock->current->name, RULE_DELAY);
	if (delay)
		mock->due_usec = clock_monotonic_usec() + delay->number * USEC_PER_MSEC;
}

/* Executes what is due, in order. */
static void run_commands(Mock *mock)
{
	while (!mock->machine.ended) {
		const char *line_end;
		size_t size;

		if (mock->rest || mock->hangs_up)
			return;
		if (mock->current && mock->due_usec > clock_monotonic_usec())
			return;
		if (mock->current)
			execute(mock);
		line_end = mock->stuck ? NULL : memchr(mock->input->str, '\n', mock->input->len);
		if (!line_end)
			return;
		size = (size_t)(line_end - mock->input->str);
		if (strspn(mock->input->str, " \t\r") < size)
			begin(mock, mock->input->str, size);
		g_string_erase(mock->input, 0, (gssize)size + 1);
	}
}

static void read_qmp(Mock *mock)
{
	char buffer[4096];
	ssize_t n = recv(mock->qmp.fd, buffer, sizeof buffer, MSG_DONTWAIT);

	if (n > 0)
		g_string_append_len(mock->input, buffer, n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		hang_up(mock);
}

static void greet(Mock *mock)
{
	mock->qmp.fd = accept4(mock->qmp.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (mock->qmp.fd >= 0 && !mock->stuck)
		machine_greet(&mock->machine);
}

/* How many are due; each whole millisecond has its share. */
static uint64_t due_flood(Mock *mock)
{
	uint64_t now = clock_monotonic_usec();

	if (mock->script->flood_rate == 0)
		return UINT64_MAX;
	if (mock->flood_usec == 0)
		mock->flood_usec = now;
	return (now - mock->flood_usec) / USEC_PER_MSEC * mock->script->flood_rate / 1000 - mock->n_flooded;
}

static void flood(Mock *mock)
{
	uint64_t n = due_flood(mock);

	for (; n > 0 && mock->script->flood_count > 0 && mock->qmp.output->len < FLOOD_CHUNK; n--) {
		mock->n_flooded++;
		machine_event(&mock->machine, mock->script->flood);
		if (mock->script->flood_count != UINT64_MAX)
			mock->script->flood_count--;
	}
	mock->flooding = mock->script->flood_count > 0;
}

static bool is_flooding(const Mock *mock)
{
	return mock->flooding && mock->machine.negotiated && mock->machine.state == STATE_RUNNING;
}

/* ---- consoles ---- */

static void run_console(Chardev *console, short events)
{
	char buffer[4096];
	ssize_t n = 0;

	if (console->fd < 0) {
		console->fd = accept4(console->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (console->fd >= 0)
			g_string_assign(console->output, "mock console\n");
		return;
	}
	if (console->output->len > 0) {
		n = send(
			console->fd, console->output->str, console->output->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			g_string_erase(console->output, 0, n);
	} else {
		n = recv(console->fd, buffer, sizeof buffer, MSG_DONTWAIT);
		if (n > 0)
			g_string_append_len(console->output, buffer, n);
		if (n == 0)
			fd_close(&console->fd);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fd_close(&console->fd);
}

/* ---- time ---- */

static void run_timers(Mock *mock)
{
	uint64_t now = clock_monotonic_usec();

	if (mock->rest && mock->rest_usec <= now) {
		g_string_append(mock->machine.output, mock->rest);
		g_clear_pointer(&mock->rest, g_free);
	}
	for (guint i = 0; i < mock->script->timers->len; i++) {
		Timer *timer = mock->script->timers->pdata[i];

		if (timer->due_usec > now)
			continue;
		if (timer->exits)
			_exit(timer->code);
		/* One that nobody could hear comes when somebody can. */
		if (mock->rest || (timer->once && !mock->machine.negotiated))
			continue;
		machine_event(&mock->machine, timer->event);
		timer->due_usec = timer->once ? NEVER : now + timer->period_usec;
	}
	if (mock->machine.powerdown_wanted && mock->machine.state == STATE_RUNNING &&
		mock->power_off_usec <= now)
		machine_power_off(&mock->machine);
}

static uint64_t next_deadline(const Mock *mock)
{
	uint64_t deadline = mock->current ? mock->due_usec : NEVER;

	for (guint i = 0; i < mock->script->timers->len; i++) {
		const Timer *timer = mock->script->timers->pdata[i];

		if (timer->exits || (mock->machine.negotiated && !mock->rest))
			deadline = MIN(deadline, timer->due_usec);
	}
	if (mock->machine.powerdown_wanted && mock->machine.state == STATE_RUNNING)
		deadline = MIN(deadline, mock->power_off_usec);
	if (mock->rest)
		deadline = MIN(deadline, mock->rest_usec);
	if (is_flooding(mock) && mock->script->flood_rate > 0)
		deadline = MIN(deadline, clock_monotonic_usec() + USEC_PER_MSEC);
	return deadline;
}

static int poll_timeout(const Mock *mock)
{
	uint64_t deadline = next_deadline(mock), now = clock_monotonic_usec();

	if (deadline == NEVER)
		return -1;
	return deadline <= now ? 0 : (int)MIN((deadline - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC, G_MAXINT);
}

/* ---- the loop ---- */

static void take_signal(Mock *mock)
{
	struct signalfd_siginfo info;

	if (read(mock->signals, &info, sizeof info) != (ssize_t)sizeof info || mock->script->ignore_sigterm)
		return;
	fprintf(stderr, "qemu-system-x86_64: terminating on signal %u from pid %u (mock)\n", info.ssi_signo,
		info.ssi_pid);
	machine_terminate(&mock->machine, "host-signal");
}

static struct pollfd qmp_pollfd(const Mock *mock)
{
	struct pollfd pollfd = {.fd = mock->qmp.fd >= 0 ? mock->qmp.fd : mock->qmp.listener, .events = 0};

	/* One that hangs does not read; poll(2) still reports a peer that has gone. */
	if (mock->qmp.fd < 0 || (!mock->stuck && mock->input->len < INPUT_MAX))
		pollfd.events |= POLLIN;
	if (mock->qmp.output->len > 0 || (is_flooding(mock) && mock->script->flood_rate == 0))
		pollfd.events |= POLLOUT;
	return pollfd;
}

static void run_qmp(Mock *mock, short events)
{
	if (mock->qmp.fd < 0)
		greet(mock);
	else if ((events & (POLLHUP | POLLERR)) && mock->stuck)
		hang_up(mock);
	else if (events & ~POLLOUT)
		read_qmp(mock);
}

static void run(Mock *mock)
{
	guint n = mock->consoles->len + 2;
	struct pollfd *polled = g_newa(struct pollfd, n);

	while (!mock->machine.ended) {
		polled[0] = (struct pollfd){.fd = mock->signals, .events = POLLIN};
		polled[1] = qmp_pollfd(mock);
		for (guint i = 2; i < n; i++) {
			const Chardev *console = &g_array_index(mock->consoles, Chardev, i - 2);

			polled[i].fd = console->fd >= 0 ? console->fd : console->listener;
			polled[i].events = console->output->len > 0 ? POLLOUT : POLLIN;
			polled[i].revents = 0;
		}
		if (poll(polled, n, poll_timeout(mock)) < 0 && errno != EINTR)
			break;
		if (polled[0].revents)
			take_signal(mock);
		if (polled[1].revents)
			run_qmp(mock, polled[1].revents);
		for (guint i = 2; i < n; i++) {
			if (polled[i].revents)
				run_console(
					&g_array_index(mock->consoles, Chardev, i - 2), polled[i].revents);
		}
		run_timers(mock);
		run_commands(mock);
		if (is_flooding(mock) && !mock->rest)
			flood(mock);
		flush_qmp(mock);
		if (mock->hangs_up && mock->qmp.output->len == 0)
			hang_up(mock);
	}
}

/* ---- standard input and output ---- */

static G_NORETURN void run_on_stdio(Mock *mock)
{
	struct pollfd readable = {.fd = STDIN_FILENO, .events = POLLIN};
	GString *output = mock->machine.output;
	char buffer[4096];
	ssize_t n = 1;

	if (!mock->stuck)
		machine_greet(&mock->machine);
	while (!mock->machine.ended && n > 0) {
		run_commands(mock);
		if (fd_write_all(STDOUT_FILENO, output->str, output->len) < 0)
			break;
		g_string_truncate(output, 0);
		if (mock->machine.ended || poll(&readable, 1, poll_timeout(mock)) < 1)
			continue;
		n = read(STDIN_FILENO, buffer, sizeof buffer);
		g_string_append_len(mock->input, buffer, MAX(n, 0));
	}
	exit(0);
}

static void start_as_told(Mock *mock)
{
	const Rule *rule = script_find(mock->script, "start", RULE_SLEEP);
	uint64_t now;

	if (rule)
		g_usleep(rule->number * USEC_PER_MSEC);
	rule = script_find(mock->script, "start", RULE_EXIT);
	if (rule) {
		fprintf(stderr, "%s%s", rule->text, *rule->text ? "\n" : "");
		exit((int)rule->number);
	}
	mock->stuck = script_find(mock->script, "start", RULE_SILENT) != NULL;
	now = clock_monotonic_usec();
	for (guint i = 0; i < mock->script->timers->len; i++) {
		Timer *timer = mock->script->timers->pdata[i];

		timer->due_usec = now + timer->period_usec;
	}
}

int main(int argc, char **argv)
{
	Mock mock = {
		.qmp = {.listener = -1, .fd = -1},
		.consoles = g_array_new(FALSE, FALSE, sizeof(Chardev)),
		.input = g_string_new(NULL),
		.script_path = g_strdup(g_getenv("ROOST_MOCK_SCRIPT")),
	};
	sigset_t signals;

	mock.machine.chardevs = g_ptr_array_new_with_free_func(g_free);
	take_command_line(&mock, argc, argv);
	if (mock.on_stdio)
		mock.qmp.output = g_string_new(NULL);
	else if (mock.qmp.listener < 0) {
		/* As a trial VM is started: it can't run one, and says so at once. */
		fputs("mock-qemu: no -chardev socket,id=qmp,fd=N\n", stderr);
		exit(1);
	}
	mock.machine.output = mock.qmp.output;
	mock.machine.state = mock.stopped ? STATE_PRELAUNCH : STATE_RUNNING;
	mock.script = script_load(mock.script_path);
	start_as_told(&mock);
	if (mock.on_stdio)
		run_on_stdio(&mock);

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	mock.signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	run(&mock);
	end(&mock);
}
