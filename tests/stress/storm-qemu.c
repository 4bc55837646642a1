/*
 * storm-qemu: a QEMU that does at any moment whatever a QEMU may do: bursts of events, stops and resets of
 * its guest's own, power-offs, crashes, hangs, lost monitors, late answers. It counts the events that it sent
 * in a file that stress-engine maps (ROOST_STORM_DIR/<uuid>): before they are written, and after, so that the
 * count is known to the chunk even when it is killed. What it does follows from ROOST_SEED, the VM and the
 * number of the run. It always ends by _exit(2): a leak checker that traces it at its end would keep its
 * parent from reaping it.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine.h"
#include "storm.h"
#include "util/fd.h"

#define BURST_MAX 200

typedef struct Qemu {
	Machine machine;
	GString *input;
	int listener, fd;
	GRand *rand;
	Storm *storm;
	StormRun *run;
} Qemu;

static bool by_chance(Qemu *qemu, unsigned one_in)
{
	return g_rand_int_range(qemu->rand, 0, (gint32)one_in) == 0;
}

/* ---- birth ---- */
static void take_chardev(Qemu *qemu, const char *option)
{
	const char *fd = strstr(option, "fd=");

	if (strstr(option, "id=qmp") && fd)
		qemu->listener = atoi(fd + strlen("fd="));
}

static void take_storm(Qemu *qemu, const char *uuid)
{
	const char *folder = g_getenv("ROOST_STORM_DIR"), *seed = g_getenv("ROOST_SEED");
	g_autofree char *path = g_build_filename(folder, uuid, NULL);
	autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned number;

	g_assert_cmpint(fd, >=, 0);
	qemu->storm = mmap(NULL, sizeof *qemu->storm, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(qemu->storm != MAP_FAILED);
	number = atomic_fetch_add(&qemu->storm->n_runs, 1);
	g_assert_cmpuint(number, <, STORM_RUNS_MAX);
	qemu->run = &qemu->storm->runs[number];
	qemu->rand = g_rand_new_with_seed((guint32)strtoul(seed, NULL, 10) ^ g_str_hash(uuid) ^ number);
}

static void take_command_line(Qemu *qemu, int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "-chardev") == 0)
			take_chardev(qemu, argv[i + 1]);
		else if (strcmp(argv[i], "-uuid") == 0)
			take_storm(qemu, argv[i + 1]);
	/* As a probe starts it: it is none that could be asked. */
	if (qemu->listener < 0)
		_exit(1);
	g_assert_nonnull(qemu->storm);
}

/* ---- what it says ---- */
static void flush(Qemu *qemu)
{
	GString *output = qemu->machine.output;
	ssize_t n;

	if (output->len == 0 || qemu->fd < 0)
		return;
	atomic_store(&qemu->run->n_begun, qemu->machine.n_events);
	n = send(qemu->fd, output->str, output->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		g_string_erase(output, 0, n);
	if (output->len == 0)
		atomic_store(&qemu->run->n_done, qemu->machine.n_events);
}

static void flush_all(Qemu *qemu)
{
	while (qemu->machine.output->len > 0 && qemu->fd >= 0) {
		struct pollfd p = {.fd = qemu->fd, .events = POLLOUT};

		poll(&p, 1, -1);
		/* The service has gone. */
		if (p.revents & (POLLHUP | POLLERR))
			_exit(0);
		flush(qemu);
	}
}

static const char *const harmless[] = {
	"{\"event\": \"RTC_CHANGE\", \"data\": {\"offset\": $N}}",
	"{\"event\": \"BALLOON_CHANGE\", \"data\": {\"actual\": $N}}",
	"{\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}}",
	"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"run\"}}",
	"{\"event\": \"VSERPORT_CHANGE\", \"data\": {\"id\": \"port$N\", \"open\": true}}",
	"{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/machine/$N\"}}",
	"{\"event\": \"MEMORY_FAILURE\", \"data\": {\"recipient\": \"guest\", \"action\": \"inject\"}}",
	"{\"event\": \"SOMETHING_NEW\", \"data\": {\"n\": $N}}",
	"{\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}",
	"{\"event\": \"QUORUM_FAILURE\", \"data\": {\"reference\": \"q\"}}",
};

static void burst(Qemu *qemu)
{
	unsigned one = (unsigned)g_rand_int_range(qemu->rand, 0, G_N_ELEMENTS(harmless));
	bool mixed = g_rand_boolean(qemu->rand);

	for (int n = g_rand_int_range(qemu->rand, 1, BURST_MAX); n > 0; n--)
		machine_event(&qemu->machine,
			harmless[mixed ? (unsigned)g_rand_int_range(qemu->rand, 0, G_N_ELEMENTS(harmless))
				       : one]);
}

static void stop_or_go_on(Qemu *qemu)
{
	Machine *machine = &qemu->machine;

	if (machine->state == STATE_RUNNING) {
		machine->state = STATE_PAUSED;
		machine_event(machine, "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"d\", "
				       "\"operation\": \"write\", \"action\": \"stop\"}}");
		machine_event(machine, "{\"event\": \"STOP\"}");
	} else if (machine->state == STATE_PAUSED) {
		machine->state = STATE_RUNNING;
		machine_event(machine, "{\"event\": \"RESUME\"}");
	}
}

static void hang_up(Qemu *qemu)
{
	flush_all(qemu);
	fd_close(&qemu->fd);
	g_string_truncate(qemu->input, 0);
	qemu->machine.negotiated = false;
}

/* Something, or nothing. */
static void act(Qemu *qemu)
{
	if (atomic_load(&qemu->storm->calm) || !qemu->machine.negotiated)
		return;
	if (by_chance(qemu, 3))
		burst(qemu);
	if (by_chance(qemu, 20))
		stop_or_go_on(qemu);
	if (by_chance(qemu, 400) && qemu->machine.state == STATE_RUNNING)
		machine_power_off(&qemu->machine);
	if (by_chance(qemu, 300))
		hang_up(qemu);
	if (by_chance(qemu, 200))
		g_usleep((gulong)g_rand_int_range(qemu->rand, 1000, 1500000));
	if (by_chance(qemu, 500)) {
		flush_all(qemu);
		_exit(g_rand_int_range(qemu->rand, 0, 3));
	}
}

/* ---- what it is told ---- */
static void execute(Qemu *qemu)
{
	char *end;

	while ((end = memchr(qemu->input->str, '\n', qemu->input->len))) {
		g_autoptr(Command) command =
			command_parse(qemu->input->str, (size_t)(end - qemu->input->str));

		g_string_erase(qemu->input, 0, end + 1 - qemu->input->str);
		command->admitted = qemu->machine.negotiated;
		/* Between a command and its answer anything may happen. */
		if (by_chance(qemu, 4))
			burst(qemu);
		machine_execute(&qemu->machine, command);
	}
	/* Most guests listen. */
	if (qemu->machine.powerdown_wanted && by_chance(qemu, 3))
		qemu->machine.powerdown_wanted = false;
	if (qemu->machine.powerdown_wanted && qemu->machine.state == STATE_RUNNING && by_chance(qemu, 3))
		machine_power_off(&qemu->machine);
}

static void take_connection(Qemu *qemu)
{
	qemu->fd = accept4(qemu->listener, NULL, NULL, SOCK_CLOEXEC);
	if (qemu->fd >= 0)
		machine_greet(&qemu->machine);
}

static void turn(Qemu *qemu)
{
	struct pollfd p = {.fd = qemu->fd >= 0 ? qemu->fd : qemu->listener, .events = POLLIN};
	char buffer[4096];
	ssize_t n;

	if (qemu->machine.output->len > 0)
		p.events |= POLLOUT;
	poll(&p, 1, g_rand_int_range(qemu->rand, 1, 20));
	if (qemu->fd < 0) {
		if (p.revents & POLLIN)
			take_connection(qemu);
		return;
	}
	n = recv(qemu->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (n == 0)
		_exit(0);
	if (n > 0)
		g_string_append_len(qemu->input, buffer, n);
	execute(qemu);
	/* A QEMU that nobody reads does not make events without end here. */
	if (qemu->machine.output->len == 0)
		act(qemu);
	flush(qemu);
	if (qemu->machine.ended) {
		flush_all(qemu);
		_exit(0);
	}
}

int main(int argc, char **argv)
{
	Qemu qemu = {
		.machine = {.no_shutdown = true, .chardevs = g_ptr_array_new(), .output = g_string_new(NULL)},
		.input = g_string_new(NULL),
		.listener = -1,
		.fd = -1,
	};

	take_command_line(&qemu, argc, argv);
	for (;;)
		turn(&qemu);
}
