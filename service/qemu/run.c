#include "qemu/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "qemu/process.h"
#include "util/clock.h"
#include "util/fd.h"

#define CHUNK          4096
#define OUTPUT_MAX     4096
#define OUTPUT_LEFT    (64 * 1024) /* what a pipe holds */
#define KILL_USEC      (1 * USEC_PER_SEC)
#define LINE_MAX_BYTES 256

/* ---- what it says ---- */
typedef struct Stream {
	int fd; /* -1: it has ended, or there is none */
	GString *text;
	size_t max;
	bool overflown;
} Stream;

/* Returns the number of bytes read, 0 when there is nothing now or no more to come; the fd is closed in the
 * latter case. */
static size_t stream_read(Stream *stream)
{
	char buffer[CHUNK];
	size_t room;
	ssize_t n;

	if (stream->fd < 0)
		return 0;
	n = read(stream->fd, buffer, sizeof buffer);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		fd_close(&stream->fd);
	if (n <= 0)
		return 0;
	room = stream->max - stream->text->len;
	stream->overflown |= (size_t)n > room;
	g_string_append_len(stream->text, buffer, (gssize)MIN((size_t)n, room));
	return (size_t)n;
}

/* Not to the end of the pipe, which a child of the child may hold open for good. */
static void stream_read_left(Stream *stream)
{
	size_t left = OUTPUT_LEFT;

	while (left > 0) {
		size_t n = stream_read(stream);

		if (n == 0)
			break;
		left -= MIN(n, left);
	}
}

/* ---- the child ---- */
typedef struct Child {
	QemuProcess *process;
	Stream output, answer;
	int input_fd; /* our end: while it is open, the child's input has no end */
	int cancel_fd;
	const QemuRunOptions *options;
	bool told_goodbye;
} Child;

static void child_clear(Child *child)
{
	qemu_process_unref(child->process);
	fd_close(&child->output.fd);
	fd_close(&child->answer.fd);
	fd_close(&child->input_fd);
	if (child->output.text)
		g_string_free(child->output.text, TRUE);
	if (child->answer.text)
		g_string_free(child->answer.text, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Child, child_clear)

typedef enum End { END_BY_ITSELF, END_TIMEOUT, END_TOO_LONG, END_CANCELLED } End;

/* A pipe has room for both. */
static void say_goodbye(Child *child)
{
	const QemuRunOptions *options = child->options;

	if (!options->is_complete || child->told_goodbye ||
		!options->is_complete(child->answer.text->str, child->answer.text->len))
		return;
	child->told_goodbye = true;
	fd_write_all(child->input_fd, options->goodbye, strlen(options->goodbye));
}

static End wait_for_end(Child *child, uint64_t deadline_usec)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = child->process->pidfd, .events = POLLIN},
			{.fd = child->output.fd, .events = POLLIN},
			{.fd = child->answer.fd, .events = POLLIN},
			{.fd = child->cancel_fd, .events = POLLIN},
		};
		uint64_t now_usec = clock_monotonic_usec();
		uint64_t left_msec =
			now_usec < deadline_usec ? (deadline_usec - now_usec) / USEC_PER_MSEC + 1 : 0;

		if (poll(fds, G_N_ELEMENTS(fds), (int)MIN(left_msec, G_MAXINT)) < 0 && errno != EINTR)
			return END_TIMEOUT;
		if (fds[0].revents)
			return END_BY_ITSELF;
		if (fds[1].revents)
			stream_read(&child->output);
		if (fds[2].revents && stream_read(&child->answer) > 0)
			say_goodbye(child);
		if (child->answer.overflown)
			return END_TOO_LONG;
		if (fds[3].revents)
			return END_CANCELLED;
		if (left_msec == 0)
			return END_TIMEOUT;
	}
}

static void run_to_end(Child *child, uint64_t timeout_usec, QemuRun *run)
{
	End end = wait_for_end(child, clock_monotonic_usec() + timeout_usec);

	run->timed_out = end == END_TIMEOUT;
	run->answer_too_long = end == END_TOO_LONG;
	run->cancelled = end == END_CANCELLED;
	run->is_gone = end == END_BY_ITSELF;
	if (!run->is_gone) {
		run->cpu_usec = qemu_process_cpu_usec(child->process);
		qemu_process_signal(child->process, SIGKILL);
		child->cancel_fd = -1;
		/* It may not make us read on for ever, either. */
		fd_close(&child->answer.fd);
		child->answer.overflown = false;
		run->is_gone = wait_for_end(child, clock_monotonic_usec() + KILL_USEC) == END_BY_ITSELF;
	}
	if (run->is_gone)
		qemu_process_reap(child->process, &run->code, &run->signal);
	stream_read_left(&child->output);
	stream_read_left(&child->answer);
	run->answer_too_long |= child->answer.overflown;
	run->output = g_utf8_make_valid(child->output.text->str, (gssize)child->output.text->len);
	if (child->answer.text) {
		run->answer_size = child->answer.text->len;
		run->answer = g_string_free(g_steal_pointer(&child->answer.text), FALSE);
	}
}

/* Over 2, so that neither end is taken for another of the three. */
static int pipe_new(int *ret_read_end, int *ret_write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		int fd = ends[i] > STDERR_FILENO ? ends[i]
						 : fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

		if (fd != ends[i])
			close(ends[i]);
		ends[i] = fd;
	}
	*ret_read_end = ends[0];
	*ret_write_end = ends[1];
	return ends[0] < 0 || ends[1] < 0 ? -EMFILE : 0;
}

static int stream_open(Stream *stream, size_t max, int *ret_write_end)
{
	int r = pipe_new(&stream->fd, ret_write_end);

	stream->text = g_string_new(NULL);
	stream->max = max;
	return r < 0 ? r : fd_set_nonblocking(stream->fd, true);
}

/* A pipe holds it all: nobody has to be there to read it. */
static int write_input(Child *child, int *ret_read_end)
{
	size_t size = strlen(child->options->input);
	int r = pipe_new(ret_read_end, &child->input_fd);

	g_assert(size <= PIPE_BUF);
	return r < 0 ? r : fd_write_all(child->input_fd, child->options->input, size);
}

static int start(Child *child, char **argv, const QemuRunOptions *options)
{
	autofd int output = -1, answer = -1, input = -1;
	QemuStdio stdio;
	int r = stream_open(&child->output, OUTPUT_MAX, &output);

	if (r >= 0 && options->input) {
		r = stream_open(&child->answer, options->answer_max, &answer);
		if (r >= 0)
			r = write_input(child, &input);
	}
	if (r < 0)
		return r;
	stdio = (QemuStdio){
		.input_fd = input, .output_fd = options->input ? answer : output, .error_fd = output};
	r = qemu_process_spawn_stdio(argv, options->fds, options->n_fds, &stdio, &child->process);
	if (r < 0)
		return r;
	/* QEMU aborts on some hosts: an answer, and nothing that anybody wants a core dump of. */
	prlimit(child->process->pid, RLIMIT_CORE, &(struct rlimit){0, 0}, NULL);
	return 0;
}

static bool is_readable(int fd)
{
	return fd >= 0 && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

int qemu_run_with(char **argv, const QemuRunOptions *options, QemuRun *ret_run)
{
	g_auto(Child) child = {.output.fd = -1,
		.answer.fd = -1,
		.input_fd = -1,
		.cancel_fd = options->cancel_fd,
		.options = options};
	int r;

	if (is_readable(options->cancel_fd))
		return -ECANCELED;
	r = start(&child, argv, options);
	if (r < 0)
		return r;
	run_to_end(&child, options->timeout_usec, ret_run);
	return 0;
}

int qemu_run(char **argv, const int *fds, size_t n_fds, uint64_t timeout_usec, QemuRun *ret_run)
{
	QemuRunOptions options = {.fds = fds, .n_fds = n_fds, .timeout_usec = timeout_usec, .cancel_fd = -1};

	return qemu_run_with(argv, &options, ret_run);
}

/* The last line that is not empty, for messages. */
static char *last_line(const char *output)
{
	g_autofree char *text = g_strchomp(g_strdup(output));
	const char *line = strrchr(text, '\n');
	const char *end;

	line = line ? line + 1 : text;
	if (strlen(line) <= LINE_MAX_BYTES)
		return g_strdup(line);
	end = g_utf8_find_prev_char(line, line + LINE_MAX_BYTES + 1);
	return g_strdup_printf("%.*s...", (int)(end - line), line);
}

char *qemu_run_describe(const QemuRun *run, uint64_t timeout_usec)
{
	g_autofree char *words = last_line(run->output);
	const char *separator = *words ? ": " : "";

	if (run->timed_out)
		return g_strdup_printf("was still running after %.1f s%s%s%s",
			(double)timeout_usec / USEC_PER_SEC,
			run->is_gone ? "" : ", and not gone after SIGKILL", separator, words);
	if (run->answer_too_long)
		return g_strdup_printf("said more than any QEMU has to say%s%s", separator, words);
	if (run->cancelled)
		return g_strdup("was ended with the service");
	if (run->signal != 0)
		return g_strdup_printf("ended by signal %d%s%s", run->signal, separator, words);
	return g_strdup_printf("exited with code %d%s%s", run->code, separator, words);
}
